"""Write testdata/expected/NAME/logits.safetensors: what transformers computes from a checkpoint.

    $BOWLINE_PEERS/venv/bin/python testdata/gen/logits.py

Float32, eager attention, CPU; see testdata/peers/hf_load.py for the tensors. The sharded
Granite Code must give the very numbers of the other, so it has no file of its own.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(sys.path.pop(0))  # this folder comes last: some files here have the names of libraries
import numpy as np
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parent.parent
TOKENS = {"granite-code": 48, "llama-linear": 40, "llama3": 48, "mistral": 40, "smollm2": 40}


def tokens(name, vocab):
    """The first and last ids, a spread of the others, each once; the last four positions repeat earlier ones."""
    n = TOKENS[name]
    ids = [0, vocab - 1, 1, vocab - 2, 2, 3, 4]
    rest = np.random.RandomState(len(name) + vocab).permutation(np.arange(5, vocab - 2))
    ids += [int(x) for x in rest[: n - 4 - len(ids)]]
    return ids + [ids[9], 0, ids[20], vocab - 1]


def trace(folder, ids, out):
    subprocess.run([sys.executable, str(ROOT / "peers/hf_load.py"), str(folder), "--hidden", "--out", str(out),
                    "--tokens", ",".join(map(str, ids))], check=True, stdout=subprocess.DEVNULL)


def main():
    for name in TOKENS:
        folder, out = ROOT / "checkpoints" / name, ROOT / "expected" / name / "logits.safetensors"
        out.parent.mkdir(parents=True, exist_ok=True)
        trace(folder, tokens(name, json.loads((folder / "config.json").read_text())["vocab_size"]), out)
    one = load_file(ROOT / "expected/granite-code/logits.safetensors")
    with tempfile.TemporaryDirectory() as t:
        trace(ROOT / "checkpoints/granite-code-sharded", one["input_ids"], Path(t) / "x")
        other = load_file(Path(t) / "x")
    if any(not np.array_equal(one[k], other[k]) for k in one):
        sys.exit("granite-code-sharded computes something else than granite-code")


if __name__ == "__main__":
    main()
