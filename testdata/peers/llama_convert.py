"""Run llama.cpp's convert_hf_to_gguf.py, its file unchanged, with a named pre-tokenizer.

    python llama_convert.py SRC OUT --outtype T [--pre NAME] [ARGUMENT...]
    python llama_convert.py --jobs      {"src", "out", "outtype", "pre"} a line, see jobs.py

The converter knows a tokenizer by the hash of what it does to one text and stops on every
tokenizer that is not published. --pre answers for that lookup, in memory; without it the
lookup runs. Further arguments go to the converter. Prints one JSON object.
"""
import argparse
import contextlib
import json
import os
import runpy
import sys
from pathlib import Path

PEERS = Path(os.environ.get("BOWLINE_PEERS", Path.home() / ".cache/bowline-peers-ci"))


def convert(src, out, outtype, pre=None, rest=()):
    from conversion import base

    script = PEERS / "llama.cpp/convert_hf_to_gguf.py"
    kept = {}
    if pre:
        for c in vars(base).values():
            if isinstance(c, type) and "get_vocab_base_pre" in vars(c):
                kept[c] = c.get_vocab_base_pre
                c.get_vocab_base_pre = lambda self, tokenizer: pre
    sys.argv = [str(script), src, "--outfile", out, "--outtype", outtype, *rest]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            runpy.run_path(str(script), run_name="__main__")
    finally:
        for c, f in kept.items():
            c.get_vocab_base_pre = f
    return dict(src=src, out=out, outtype=outtype, pre=pre, bytes=os.path.getsize(out))


def main():
    root = PEERS / "llama.cpp"
    # its own gguf-py, which is newer than the published one
    sys.path[:0] = [str(root), str(root / "gguf-py")]
    if sys.argv[1:] == ["--jobs"]:
        sys.path.append(str(Path(__file__).parent))
        import jobs

        return jobs.serve(lambda job: convert(**job))
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("src")
    p.add_argument("out")
    p.add_argument("--outtype", required=True)
    p.add_argument("--pre")
    a, rest = p.parse_known_args()
    print(json.dumps(convert(a.src, a.out, a.outtype, a.pre, rest)))


if __name__ == "__main__":
    main()
