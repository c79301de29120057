"""Ids of arch/tokenizer/testdata/corpus.json by the SentencePiece fixtures, by three programs.

    LLAMA_CPP_LIB_PATH=lib python testdata/gen/sentencepiece_ids.py

For each of mistral, gemma and phi3 testdata/sentencepiece/NAME.json gets "plain" and "special" (the tokenizers library on tokenizer.json), "model" (the
sentencepiece library on tokenizer.model, which knows no added tokens: texts that hold one are null) and "llama.cpp" (libllama on the F32 file of
llama.cpp's converter, with what it puts around a text). The converter runs as testdata/peers/llama_convert.py.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = sys.path.pop(0)  # it has the library's name
import sentencepiece
import tokenizers

sys.path.insert(0, HERE)
import provenance

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "peers"


def ask(script, jobs):
    run = subprocess.run([sys.executable, PEERS / script, "--jobs"], input="".join(json.dumps(j) + "\n" for j in jobs), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def main():
    texts = json.loads((ROOT.parent / "arch/tokenizer/testdata/corpus.json").read_text())
    out = ROOT / "sentencepiece"
    out.mkdir(exist_ok=True)
    names = ["mistral", "gemma", "phi3"]
    with tempfile.TemporaryDirectory() as tmp:
        made = ask("llama_convert.py", [dict(src=str(ROOT / "checkpoints" / n), out=f"{tmp}/{n}.gguf", outtype="f32") for n in names])
        assert not any("error" in a for a in made), made
        lib = ask("llama_logits.py", [dict(file=f"{tmp}/{n}.gguf", texts=texts) for n in names])
    for n, a in zip(names, lib):
        at = ROOT / "checkpoints" / n
        t = tokenizers.Tokenizer.from_file(str(at / "tokenizer.json"))
        sp = sentencepiece.SentencePieceProcessor(model_file=str(at / "tokenizer.model"))
        added = [x["content"] for x in json.loads((at / "tokenizer.json").read_text())["added_tokens"]]
        d = dict(
            plain=[t.encode(x, add_special_tokens=False).ids for x in texts],
            special=[t.encode(x).ids for x in texts],
            model=[None if any(c in x for c in added) else sp.encode(x) for x in texts],
        )
        d["llama.cpp"] = a["ids"]
        (out / f"{n}.json").write_text(json.dumps(d, separators=(",", ":")) + "\n")
        for what in ("model", "llama.cpp"):
            ours = d["plain" if what == "model" else "special"]
            differ = [x for x, p, q in zip(texts, ours, d[what]) if q is not None and p != q]
            print(n, what, "differs from tokenizers in", len(differ), "texts", differ[:4])
    provenance.write(out, f"{provenance.versions('tokenizers', 'sentencepiece')}; libllama {lib[0].get('engine_version')}", "testdata/gen/sentencepiece_ids.py")


if __name__ == "__main__":
    main()
