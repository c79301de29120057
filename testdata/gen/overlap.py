"""A checkpoint whose head and embedding are views of one storage that overlap in part, as no program of the field wants it.

    python testdata/gen/overlap.py

testdata/overlap gets the config of testdata/ties/untied and its tensors in a pytorch_model.bin: the embedding is the first rows of a storage, the head
begins half a vocabulary later.
"""
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

import provenance

ROOT = Path(__file__).resolve().parent.parent


def main():
    src, out = ROOT / "ties/untied", ROOT / "overlap"
    out.mkdir(exist_ok=True)
    t = load_file(src / "model.safetensors")
    embed = t["model.embed_tokens.weight"]
    rows = embed.shape[0]
    both = torch.cat([embed, t["lm_head.weight"]])
    t["model.embed_tokens.weight"], t["lm_head.weight"] = both[:rows], both[rows // 2 : rows // 2 + rows]
    torch.save(t, out / "pytorch_model.bin")
    shutil.copy(src / "config.json", out)
    provenance.write(out, provenance.versions("torch", "safetensors"), "testdata/gen/overlap.py")


if __name__ == "__main__":
    main()
