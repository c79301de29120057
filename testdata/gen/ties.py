"""Write testdata/ties/readers.json: how other programs read each state of a tie.

    $BOWLINE_PEERS/venv/bin/python testdata/gen/ties.py      after checkpoints.py

Judged by logits: all states share one body, so a reader's head is known by whether its
logits are the body's last hidden state times the embedding or times the stored head.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(sys.path.pop(0))  # this folder comes last: some files here have the names of libraries
import numpy as np
from safetensors.torch import load_file

import provenance

ROOT = Path(__file__).resolve().parent.parent
PEERS, TIES = ROOT / "peers", ROOT / "ties"
IDS = [0, 5, 17, 300, 330] + [i * 37 % 331 for i in range(1, 36)]


def run(script, *args):
    r = subprocess.run([sys.executable, str(PEERS / script), *map(str, args)], capture_output=True, text=True)
    if r.returncode:
        return {"error": r.stderr.strip().splitlines()[-1][:300].replace(str(TIES) + "/", "")}
    return json.loads(r.stdout)


def head(path, last, weights):
    """embedding, stored, both (they are equal) or neither (a random head)."""
    y = load_file(path)["logits"].double().numpy()
    names = {"embedding": "model.embed_tokens.weight", "stored": "lm_head.weight"}
    fits = []
    for label, n in names.items():
        if n in weights:
            want = last @ weights[n].double().numpy().T
            if ((y - want) ** 2).sum() / (want**2).sum() < 1e-8:
                fits.append(label)
    return "both" if len(fits) == 2 else fits[0] if fits else "neither"


def main():
    states = sorted(p.name for p in TIES.iterdir() if p.is_dir())
    result = {}
    with tempfile.TemporaryDirectory() as tmp:
        out = Path(tmp) / "out"
        tokens = ",".join(map(str, IDS))
        run("hf_load.py", TIES / "tied", "--tokens", tokens, "--hidden", "--out", out)
        last = load_file(out)["final_norm"].double().numpy()
        for s in states:
            weights = load_file(TIES / s / "model.safetensors")
            row = result[s] = {}
            for peer, args in (("transformers5", []), ("transformers4", ["--tf4"])):
                out.unlink(missing_ok=True)
                r = run("hf_load.py", TIES / s, "--tokens", tokens, "--out", out, *args)
                keep = ("error", "engine_version", "missing", "unexpected", "tied")
                row[peer] = {k: r[k] for k in keep if k in r}
                row[peer]["warned"] = bool(r.get("warnings"))
                if out.exists():
                    row[peer]["head"] = head(out, last, weights)
            # the converter wants a tokenizer; Granite Code's has as many tokens
            src, g = Path(tmp) / s, Path(tmp) / "x.gguf"
            src.mkdir()
            for f in [*(TIES / s).iterdir(), *(ROOT / "checkpoints/granite-code").glob("*token*")]:
                (src / f.name).symlink_to(f)
            r = run("llama_convert.py", src, g, "--outtype", "f32", "--pre", "refact")
            row["llama.cpp"] = {"error": r["error"]} if "error" in r else {}
            if "error" not in r:
                names = [t["name"] for t in run("gguf_dump.py", g)["tensors"]]
                row["llama.cpp"]["output.weight"] = "output.weight" in names
                row["llama.cpp"]["token_embd.weight"] = "token_embd.weight" in names
                out.unlink(missing_ok=True)
                r = run("llama_logits.py", g, tokens, out)
                if "error" in r:
                    row["llama.cpp"]["load_error"] = r["error"]
                else:
                    row["llama.cpp"]["head"] = head(out, last, weights)
            print(s, json.dumps({p: v.get("head") for p, v in row.items()}), flush=True)
    (TIES / "readers.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    provenance.write(TIES, "numpy RandomState written by safetensors.torch.save_file; readers.json: transformers 4.57.6, llama.cpp 0c1e57098 "
                     "(converter), llama.cpp v0.5.0 (libllama); " + provenance.versions("numpy", "torch", "safetensors", "transformers"),
                     "testdata/gen/checkpoints.py, testdata/gen/ties.py", 20261123)


if __name__ == "__main__":
    main()
