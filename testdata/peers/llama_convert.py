"""Run llama.cpp's convert_hf_to_gguf.py, its file unchanged, with a named pre-tokenizer.

    python llama_convert.py SRC OUT --outtype T [--pre NAME] [ARGUMENT...]

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


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("src")
    p.add_argument("out")
    p.add_argument("--outtype", required=True)
    p.add_argument("--pre")
    a, rest = p.parse_known_args()
    root = PEERS / "llama.cpp"
    # its own gguf-py, which is newer than the published one
    sys.path[:0] = [str(root), str(root / "gguf-py")]
    if a.pre:
        from conversion import base

        for c in vars(base).values():
            if isinstance(c, type) and "get_vocab_base_pre" in vars(c):
                c.get_vocab_base_pre = lambda self, tokenizer: a.pre
    script = root / "convert_hf_to_gguf.py"
    sys.argv = [str(script), a.src, "--outfile", a.out, "--outtype", a.outtype, *rest]
    with contextlib.redirect_stdout(sys.stderr):
        runpy.run_path(str(script), run_name="__main__")
    print(json.dumps(dict(src=a.src, out=a.out, outtype=a.outtype, pre=a.pre, bytes=os.path.getsize(a.out))))


if __name__ == "__main__":
    main()
