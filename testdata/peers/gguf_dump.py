"""What gguf-py reads from a GGUF file, as one JSON object.

    python gguf_dump.py FILE

kv: key, type (an array's as ["ARRAY", element type]) and whole value; tensors: name,
shape in file order (fastest dimension first), type, offset from the start of the data,
size and sha256 of the bytes. Both in file order.
"""
import hashlib
import json
import sys

import numpy as np
from gguf import GGUFReader, GGUFValueType


def scalar(x):
    """A JSON value; a float32 is the shortest decimal that rounds to it."""
    x = x.item() if x.dtype != np.float32 else float(str(x))
    return x if x == x and x not in (float("inf"), float("-inf")) else str(x)


def value(field):
    t = field.types[-1]
    if t == GGUFValueType.STRING:
        v = [bytes(field.parts[i]).decode("utf-8", "surrogateescape") for i in field.data]
    else:
        v = [scalar(field.parts[i][0]) for i in field.data]
    return v if field.types[0] == GGUFValueType.ARRAY else v[0]


def kind(field):
    return [t.name for t in field.types] if len(field.types) > 1 else field.types[0].name


def dump(path):
    r = GGUFReader(path)
    kv = [dict(key=f.name, type=kind(f), value=value(f)) for f in r.fields.values() if not f.name.startswith("GGUF.")]
    tensors = [dict(name=t.name, shape=[int(x) for x in t.shape], type=t.tensor_type.name,
                    offset=int(t.data_offset - r.data_offset), bytes=int(t.n_bytes),
                    sha256=hashlib.sha256(t.data.tobytes()).hexdigest()) for t in r.tensors]
    return dict(version=int(r.fields["GGUF.version"].parts[-1][0]), alignment=int(r.alignment),
                data_offset=int(r.data_offset), kv=kv, tensors=tensors)


if __name__ == "__main__":
    print(json.dumps(dump(sys.argv[1])))
