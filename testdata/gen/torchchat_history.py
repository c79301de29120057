"""What older commits of TorchChat compute of the biased, grouped-query, tied checkpoint granite-code: docs/torchchat.md's table.

    $BOWLINE_PEERS/venv/bin/python testdata/gen/torchchat_history.py CHECKOUT COMMIT...

Each commit is checked out beside CHECKOUT and loads testdata/torchchat/granite-code/model.pth as torchchat.py does it. Packages for images, quantizing and
evaluation, which a text model does not use, are empty modules; keys that a commit does not know yet and that are of tokenizers are left out.
"""
import importlib.abc
import importlib.machinery
import json
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parent
DATA = HERE.parent
UNUSED = {"torchvision", "torchtune", "lm_eval", "torchao", "executorch"}
TOKENIZER_KEYS = ["use_hf_tokenizer", "use_tiktoken", "tokenizer_prepend_bos"]


class Empty(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] in UNUSED else None

    def create_module(self, spec):
        return MagicMock(__path__=[], __spec__=spec, __name__=spec.name)

    def exec_module(self, module):
        pass


def load(checkout, model, tokens, out):
    sys.meta_path.insert(0, Empty())
    sys.argv = ["torchchat.py", "--torchchat", checkout, "--load", model, "--tokens", tokens, "-o", out]
    sys.path.insert(0, str(HERE))
    runpy.run_path(str(HERE / "torchchat.py"), run_name="__main__")


def main():
    checkout, *commits = sys.argv[1:]
    expected = DATA / "expected/granite-code/logits.safetensors"
    want = load_file(expected)["logits"].astype("f8")
    for commit in commits:
        with tempfile.TemporaryDirectory() as t:
            tree, model, out = Path(t) / "torchchat", Path(t) / "model", Path(t) / "logits.safetensors"
            subprocess.run(["git", "-C", checkout, "worktree", "add", "-q", "--detach", tree, commit], check=True)
            shutil.copytree(DATA / "torchchat/granite-code", model)
            params = json.loads((model / "params.json").read_text())
            for old in (False, True):
                run = subprocess.run([sys.executable, __file__, "--load", tree, model, expected, out], capture_output=True, text=True)
                if run.returncode == 0 or old:
                    break
                (model / "params.json").write_text(json.dumps({k: v for k, v in params.items() if k not in TOKENIZER_KEYS}))
            subprocess.run(["git", "-C", checkout, "worktree", "remove", "--force", tree], check=True)
            if run.returncode:
                print(commit, run.stdout[-200:], run.stderr[-300:])
                continue
            got = load_file(out)["logits"].astype("f8").reshape(want.shape)
            print(commit, "NMSE of the worst row", float((((got - want) ** 2).sum(1) / (want**2).sum(1)).max()))


if __name__ == "__main__":
    if sys.argv[1] == "--load":
        load(*map(str, sys.argv[2:]))
    else:
        main()
