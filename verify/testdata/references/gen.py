"""Write the first rows of testdata/expected/llama3/logits.safetensors, which transformers computed, in other forms.

    $BOWLINE_PEERS/venv/bin/python verify/testdata/references/gen.py
"""
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TEST = HERE.parent.parent.parent / "testdata"
sys.path.append(str(TEST / "gen"))
import numpy as np
import torch
from safetensors.numpy import load_file

import provenance

ROWS = 6


def main():
    all_ = load_file(TEST / "expected/llama3/logits.safetensors")
    logits, ids = all_["logits"][:ROWS], all_["input_ids"][:ROWS]
    np.savez(HERE / "logits.npz", logits=logits, input_ids=ids)
    np.savez_compressed(HERE / "compressed.npz", logits=logits[None], tokens=ids.astype(np.int32))
    np.savez(HERE / "no-logits.npz", input_ids=ids)
    torch.save({"logits": torch.tensor(logits), "input_ids": torch.tensor(ids)}, HERE / "logits.pt")
    text = {"input_ids": ids.tolist(), "logits": logits.tolist(), "engine": {"name": "transformers"}}
    (HERE / "logits.json").write_text(json.dumps(text))
    text["logits"] = [[float("nan")] + r[1:] for r in text["logits"]]
    (HERE / "nan.json").write_text(json.dumps(text))
    provenance.write(HERE, provenance.versions("torch", "numpy"), "verify/testdata/references/gen.py")


if __name__ == "__main__":
    main()
