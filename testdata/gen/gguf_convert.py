"""Run llama.cpp's converter and libllama over testdata/checkpoints.

    $BOWLINE_PEERS/venv/bin/python testdata/gen/gguf_convert.py      after logits.py

Writes expected/NAME/gguf/TYPE.json (keys, tensors and their sha256, as gguf-py reads them
from the converter's file), two of those files whole into gguf/llamacpp/, and
expected/NAME/llamacpp.safetensors: libllama's logits of the F32 file, for the token ids
of logits.safetensors. Then the PROVENANCE of expected/ and gguf/llamacpp/.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(sys.path.pop(0))  # this folder comes last: some files here have the names of libraries
import numpy as np
from safetensors.numpy import load_file

import provenance

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "peers"
sys.path.append(str(PEERS))
import hf_load  # for save

# name: pre-tokenizer, types. Which published tokenizer ours imitates is what the converter would look up by hash.
MODELS = {
    "granite-code": ("refact", ["bf16", "f32", "q8_0"]),
    "llama-linear": ("refact", ["bf16", "f32"]),
    "llama3": ("llama-bpe", ["f32"]),
    "mistral": (None, ["f16", "f32"]),
    "smollm2": ("smollm", ["bf16", "f32"]),
}
WHOLE = [("granite-code", "bf16"), ("llama3", "f32")]


def run(script, *args):
    r = subprocess.run([sys.executable, str(PEERS / script), *map(str, args)], capture_output=True, text=True, cwd=ROOT / "checkpoints")
    if r.returncode:
        sys.exit(f"{script} {args}: {r.stderr[-2000:]}")
    return json.loads(r.stdout)


def dumps(d):
    """One line a key and a tensor, so that a change can be read."""
    lines = [f'"{k}": {json.dumps(v)}' for k, v in d.items() if k not in ("kv", "tensors")]
    for k in ("kv", "tensors"):
        lines.append(f'"{k}": [\n' + ",\n".join("  " + json.dumps(x, ensure_ascii=False) for x in d[k]) + "\n]")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def nmse(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (((a - b) ** 2).sum(1) / (b**2).sum(1)).max()


def main():
    whole = ROOT / "gguf/llamacpp"
    whole.mkdir(parents=True, exist_ok=True)
    notes = []
    with tempfile.TemporaryDirectory() as tmp:
        for name, (pre, types) in MODELS.items():
            out = ROOT / "expected" / name
            (out / "gguf").mkdir(parents=True, exist_ok=True)
            for t in types:
                g = Path(tmp) / f"{name}-{t}.gguf"
                run("llama_convert.py", name, g, "--outtype", t, *(["--pre", pre] if pre else []))
                if (name, t) in WHOLE:
                    (whole / g.name).write_bytes(g.read_bytes())
                (out / "gguf" / f"{t}.json").write_text(dumps(run("gguf_dump.py", g)))
            want = load_file(out / "logits.safetensors")
            raw = Path(tmp) / "logits"
            r = run("llama_logits.py", Path(tmp) / f"{name}-f32.gguf", ",".join(map(str, want["input_ids"])), raw)
            got = load_file(raw)
            hf_load.save(out / "llamacpp.safetensors", got, {k: r[k] for k in (
                "schema", "engine", "engine_version", "dtype", "attn_implementation", "device")})
            notes.append(f"{name}: llamacpp.safetensors against logits.safetensors, NMSE of the worst row {nmse(got['logits'], want['logits']):.1e}")
    pins = json.dumps({n: p for n, (p, _) in MODELS.items() if p})
    converter = "convert_hf_to_gguf.py of llama.cpp 0c1e57098 (llama-cpp-python 0.3.36)"
    own = provenance.versions("torch", "transformers", "numpy")
    provenance.write(ROOT / "expected", f"logits: transformers ({own}); gguf/*.json: {converter} read by gguf-py "
                     f"{provenance.versions('gguf')}; llamacpp: libllama of llama.cpp v0.5.0 (prebuilt, node-llama-cpp 3.22.1)",
                     "testdata/gen/logits.py, testdata/gen/gguf_convert.py", notes=[f"pre-tokenizer names given: {pins}"] + notes)
    provenance.write(whole, f"{converter} with {own}", "testdata/gen/gguf_convert.py", notes=[f"pre-tokenizer names given: {pins}"])


if __name__ == "__main__":
    main()
