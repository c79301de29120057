"""What the reference readers say of the corpus of hostile files.

    go run ./formats/formatstest/corpus/write DIR
    python testdata/peers/corpus_judge.py DIR [--ggml LIBGGML-BASE]

DIR/vectors.json lists the cases. Each that is one file is given to the readers of its group, every time in a process of its own with
little memory and little time: safetensors.deserialize; torch.load(weights_only=True); gguf-py's GGUFReader and ggml's
gguf_init_from_file; numpy.load. Prints {reader: {group: {name: "read" or why not}}}.
"""
import argparse
import ctypes
import json
import os
import resource
import signal
import sys
import warnings
from pathlib import Path

MEMORY, SECONDS = 6 << 30, 10


def safetensors(path):
    import safetensors as st

    st.deserialize(Path(path).read_bytes())


def torch(path):
    import torch as t

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        t.load(path, weights_only=True, map_location="cpu")


def gguf_py(path):
    import gguf

    gguf.GGUFReader(path)


def numpy(path):
    import numpy as np

    np.load(path, allow_pickle=False)


class ggml:
    """gguf_init_from_file, with room for the tensors' headers alone."""

    def __init__(self, library):
        class params(ctypes.Structure):
            _fields_ = [("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p)]

        self.params, self.lib = params, ctypes.CDLL(library)
        self.lib.gguf_init_from_file.restype = ctypes.c_void_p
        self.lib.gguf_init_from_file.argtypes = [ctypes.c_char_p, params]

    def __call__(self, path):
        if not self.lib.gguf_init_from_file(os.fsencode(path), self.params(True, None)):
            raise ValueError("refused")


def judged(reader, path):
    """The verdict of a reader that may take all memory, crash, or never return."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 1), os.dup2(devnull, 2)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.alarm(SECONDS)
        try:
            reader(path)
            said = "read"
        except BaseException as e:  # what it raises is what it says
            said = f"{type(e).__name__}: {e}".split("\n")[0][:200]
        os.write(w, said.encode(errors="replace"))
        os._exit(0)
    os.close(w)
    with os.fdopen(r, "rb") as f:
        said = f.read().decode(errors="replace")
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return "no answer in time" if os.WTERMSIG(status) == signal.SIGALRM else f"killed by signal {os.WTERMSIG(status)}"
    return said


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("dir", type=Path)
    p.add_argument("--ggml")
    a = p.parse_args()
    import gguf  # noqa: F401  loaded once, before the forks
    import numpy as np  # noqa: F401
    import safetensors as st  # noqa: F401
    import torch as t

    t.set_num_threads(1)
    torch_groups = {g: torch for g in ("pickle", "payload", "zip", "legacy and tar")}
    readers = {"torch": torch_groups, "safetensors": {"safetensors": safetensors}, "gguf-py": {"gguf": gguf_py}, "numpy": {"npy": numpy}}
    if a.ggml:
        readers["ggml"] = {"gguf": ggml(a.ggml)}
    out = {}
    for v in json.loads((a.dir / "vectors.json").read_text()):
        path = a.dir / v["path"]
        if not path.is_file():
            continue
        for name, groups in readers.items():
            if v["group"] in groups:
                said = judged(groups[v["group"]], str(path))
                out.setdefault(name, {}).setdefault(v["group"], {})[v["name"]] = said.replace(str(a.dir), "DIR")
    json.dump(out, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
