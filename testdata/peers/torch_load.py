"""What torch loads from a file, with weights_only=True and mmap=True. Jobs come on stdin, see jobs.py:

    {"torch": FILE}     {"tensors": [{name, dtype, shape, sha256}], "shared": [[name, ...], ...]}; the latter are names over one address
    {"check": DIR}      the same of each file that DIR/golden.json lists, compared with what it says; {"files": count, "wrong": [...]}

    python torch_load.py FILE|DIR       one such job

Every file is loaded three times: mapped, mapped with the offsets of its storages worked out instead of read from the headers
(torch.utils.serialization.config.load.calculate_storage_offsets), and into memory. Any difference is an error.
"""
import hashlib
import json
import os
import sys
from pathlib import Path

import torch
from torch.utils.serialization import config

import jobs

TYPES = {"bool": "BOOL", "uint8": "U8", "int8": "I8", "float8_e5m2": "F8_E5M2", "float8_e4m3fn": "F8_E4M3", "float8_e8m0fnu": "F8_E8M0",
         "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ", "int16": "I16", "uint16": "U16", "float16": "F16", "bfloat16": "BF16",
         "int32": "I32", "uint32": "U32", "float32": "F32", "complex64": "C64", "float64": "F64", "int64": "I64", "uint64": "U64"}


def raw(t):
    t = t.detach().contiguous()
    return t.reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""


def describe(sd):
    at = {}
    for name, t in sd.items():
        if t.numel():
            at.setdefault(t.data_ptr(), []).append(name)
    tensors = [dict(name=n, dtype=TYPES[str(t.dtype)[6:]], shape=list(t.shape), sha256=hashlib.sha256(raw(t)).hexdigest()) for n, t in sd.items()]
    return dict(tensors=tensors, shared=sorted(sorted(v) for v in at.values() if len(v) > 1))


def load(path):
    mapped = describe(torch.load(path, weights_only=True, mmap=True))
    config.load.calculate_storage_offsets = True
    try:
        worked_out = describe(torch.load(path, weights_only=True, mmap=True))
    finally:
        config.load.calculate_storage_offsets = False
    if worked_out != mapped or describe(torch.load(path, weights_only=True)) != mapped:
        raise ValueError(f"{path}: loaded in another way it is another checkpoint")
    return mapped


def check(folder):
    folder, wrong = Path(folder), []
    golden = json.loads((folder / "golden.json").read_text())
    for name, want in golden.items():
        got = load(folder / name)
        key = lambda x: x["name"]
        if sorted(got["tensors"], key=key) != sorted(want["tensors"], key=key) or got["shared"] != want["shared"]:
            wrong.append(name)
    return dict(files=len(golden), wrong=wrong)


def do(job):
    return check(job["check"]) if "check" in job else load(job["torch"])


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(json.dumps(do({"check" if os.path.isdir(sys.argv[1]) else "torch": sys.argv[1]})))
    else:
        jobs.serve(do)
