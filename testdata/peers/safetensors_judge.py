"""What the Python package safetensors says of a file. Jobs come on stdin, see jobs.py:

    {"file": BASE64}    its verdict: {"refused": why} or {"tensors": {name: [dtype, shape, sha256]}, "metadata": {...}}

The verdict is that of safetensors.deserialize, the reference in Rust; safe_open, which opens the file a second way, gives the metadata, and
numpy's loader must give the same bytes for the types that numpy has.
"""
import base64
import hashlib
import os
import sys
import tempfile

import numpy
import safetensors
import safetensors.numpy

import jobs

NUMPY = {"F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "U64": "uint64", "I32": "int32", "U32": "uint32", "I16": "int16",
         "U16": "uint16", "I8": "int8", "U8": "uint8", "BOOL": "bool"}


def sha(b):
    return hashlib.sha256(bytes(b)).hexdigest()


def judge(job):
    raw = base64.b64decode(job["file"])
    try:
        tensors = safetensors.deserialize(raw)
    except safetensors.SafetensorError as e:
        return {"refused": str(e)[:300]}
    out = {name: [t["dtype"], list(t["shape"]), sha(t["data"])] for name, t in tensors}
    fd, path = tempfile.mkstemp()
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(raw)
        with safetensors.safe_open(path, framework="np") as f:
            metadata = f.metadata() or {}
            for name in f.keys():
                if out[name][0] in NUMPY and len(out[name][1]) <= 32 and 0 not in out[name][1]:  # what numpy can hold
                    x = f.get_tensor(name)
                    if x.dtype != numpy.dtype(NUMPY[out[name][0]]) or sha(x.tobytes()) != out[name][2]:
                        raise ValueError(f"numpy reads {name!r} as {x.dtype} with other bytes")
    finally:
        os.remove(path)
    return {"tensors": out, "metadata": metadata}


if __name__ == "__main__":
    print("safetensors", safetensors.__version__, "numpy", numpy.__version__, file=sys.stderr)
    jobs.serve(judge)
