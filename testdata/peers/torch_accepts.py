"""What torch.load makes of files, with weights_only=True: every tensor that it holds, by the names this project gives them.

    python torch_accepts.py FILE...      a line of JSON each: {"file", "error"} or {"file", "tensors": [{name, dtype, shape, sha256}]}

Each file is loaded in a process of its own with 8 GiB and 5 seconds.
Dictionaries, lists and tuples join their keys and places with dots; wrappers (model, state_dict, module, model_state_dict) are not taken
off, so a caller compares the ends of names. Tensors that are no strided numbers have "kind" instead of a hash.
"""
import hashlib
import json
import os
import resource
import sys
import warnings

import torch

from torch_load import TYPES, raw


def walk(prefix, value, out):
    stack = [(prefix, value)]
    while stack:
        name, v = stack.pop()
        if isinstance(v, torch.Tensor):
            kind = str(v.dtype)[6:]
            if v.layout != torch.strided or v.is_quantized or v.is_nested or kind not in TYPES or v.device.type == "meta":
                out.append(dict(name=name, kind=f"{v.layout} {v.dtype} {v.device.type}"))
            else:
                out.append(dict(name=name, dtype=TYPES[kind], shape=list(v.shape), sha256=hashlib.sha256(raw(v.resolve_conj().resolve_neg())).hexdigest()))
        elif isinstance(v, dict):
            stack += [(f"{name}.{k}" if name else str(k), x) for k, x in v.items()]
        elif isinstance(v, (list, tuple)):
            stack += [(f"{name}.{i}" if name else str(i), x) for i, x in enumerate(v)]
    return sorted(out, key=lambda x: x["name"])


def one(path):
    try:
        print(json.dumps(dict(file=path, tensors=walk("", torch.load(path, weights_only=True, map_location="cpu"), []))))
    except BaseException as e:
        print(json.dumps(dict(file=path, error=f"{type(e).__name__}: {e}"[:300])))
    sys.stdout.flush()


def main():
    warnings.simplefilter("ignore")
    for path in sys.argv[1:]:
        child = os.fork()  # what takes all memory or crashes takes only itself down
        if child == 0:
            resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
            resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
            one(path)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status:
            print(json.dumps(dict(file=path, error=f"died with status {status}")), flush=True)


if __name__ == "__main__":
    main()
