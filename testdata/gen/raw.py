"""Write testdata/raw with numpy and ml_dtypes, what it holds (golden.json), and PROVENANCE.

    pip install ml_dtypes==0.6.0    # besides the numpy of the peers
    $BOWLINE_PEERS/venv/bin/python testdata/gen/raw.py

alone/ has .npy files as numpy saves them, folder/ a checkpoint with a manifest. golden.json lists for each file the type, the shape and
the sha256 of the values in row-major, little-endian order, as numpy has them; files that numpy.save writes of such an array with its default
options are "plain": a writer of the format has to give the same bytes. Files that have to be refused are listed with the reason.
"""
import hashlib
import json
import sys
from pathlib import Path

sys.path.append(sys.path.pop(0))  # this folder comes last: some files here have the names of libraries
import ml_dtypes
import numpy as np

import provenance

SEED = 11
ROOT = Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "testdata" / "raw"
ALONE, FOLDER = OUT / "alone", OUT / "folder"
TYPES = {"bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "uint16": "U16", "float16": "F16", "int32": "I32", "uint32": "U32", "float32": "F32",
         "complex64": "C64", "float64": "F64", "int64": "I64", "uint64": "U64", "bfloat16": "BF16", "float8_e5m2": "F8_E5M2", "float8_e4m3fn": "F8_E4M3",
         "float8_e8m0fnu": "F8_E8M0", "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ"}
rng = np.random.RandomState(SEED)
alone, refused = {}, {}


def values(dtype, *shape):
    """Random bytes, so that floats are also NaNs with payloads, infinities and subnormals."""
    dtype = np.dtype(dtype)
    n = int(np.prod(shape, dtype=np.int64))
    if dtype == np.bool_:
        return rng.randint(0, 2, n).astype(bool).reshape(shape)
    return np.frombuffer(rng.bytes(n * dtype.itemsize), dtype).reshape(shape)


def entry(a):
    name = a.dtype.newbyteorder("=").name
    little = np.ascontiguousarray(a) if a.dtype.kind == "V" or a.dtype.itemsize == 1 else np.ascontiguousarray(a).astype(a.dtype.newbyteorder("<"))
    return dict(dtype=TYPES[name], shape=list(a.shape), sha256=hashlib.sha256(little.tobytes()).hexdigest())


def save(name, a, version=None, plain=False, stored=None):
    with open(ALONE / f"{name}.npy", "wb") as f:
        if version is None:
            np.save(f, a if stored is None else stored)
        else:
            np.lib.format.write_array(f, a, version=version)
    alone[name] = dict(entry(a), plain=plain)


def refuse(name, a, why):
    np.save(ALONE / f"{name}.npy", a)
    refused[name] = why


def main():
    for d in (ALONE, FOLDER):
        d.mkdir(parents=True, exist_ok=True)
        for old in d.iterdir():
            old.unlink()
    for t in list(TYPES)[:13]:
        save(t, values(t, 3, 5), plain=True)
    save("scalar", values("f4"), plain=True)
    save("vector", values("f8", 7), plain=True)
    save("wide", values("u1", 1, 100000)[:, ::1000].copy(), plain=True)
    save("deep", values("i2", 2, 1, 3, 2, 1, 2, 2), plain=True)
    save("empty", values("f4", 0), plain=True)
    save("empty-inside", values("f4", 3, 0, 5), plain=True)
    save("fortran", np.asfortranarray(values("f4", 13, 7)))
    save("fortran3", np.asfortranarray(values("i2", 3, 5, 7)))
    save("fortran4", np.asfortranarray(values("u1", 2, 3, 4, 5)))
    save("fortran-ones", np.asfortranarray(values("f8", 1, 6, 1, 4)))
    for t in ("f2", "f4", "f8", "c8", "i2", "i4", "i8", "u2", "u4", "u8"):
        a = values("<" + t, 4, 3)
        save("big-" + t, a.byteswap().view(">" + t))
    save("big-fortran", np.asfortranarray(values(">f4", 5, 9)))
    save("version2", values("f4", 2, 3), version=(2, 0))
    save("version3", values("f4", 2, 3), version=(3, 0))
    b = values(ml_dtypes.bfloat16, 4, 6)
    save("bfloat16", b)
    save("bfloat16-view", b, stored=b.view("V2"), plain=True)
    save("bfloat16-fortran", np.asfortranarray(values(ml_dtypes.bfloat16, 4, 6)))
    save("float8_e5m2", values(ml_dtypes.float8_e5m2, 4, 6))

    refuse("float8_e4m3fn", values(ml_dtypes.float8_e4m3fn, 2, 2), "E_DTYPE")
    refuse("float8_e8m0fnu", values(ml_dtypes.float8_e8m0fnu, 2, 2), "E_DTYPE")
    refuse("objects", np.array([None, {"a": 1}], dtype=object), "E_UNSAFE")
    refuse("fields", np.zeros(3, dtype=[("a", "<f4"), ("b", "<i2")]), "E_UNSUPPORTED")
    refuse("fields-of-umlauts", np.zeros(3, dtype=[("ä", "<f4")]), "E_UNSUPPORTED")
    refuse("subarrays", np.zeros(3, dtype=[("a", "<f4", (2,))]), "E_UNSUPPORTED")
    refuse("strings", np.array(["ab", "c"]), "E_UNSUPPORTED")
    refuse("bytes", np.array([b"ab", b"c"]), "E_UNSUPPORTED")
    refuse("dates", np.array(["2020-01-01"], dtype="M8[D]"), "E_UNSUPPORTED")
    refuse("spans", np.array([5], dtype="m8[ms]"), "E_UNSUPPORTED")
    refuse("complex128", values("c16", 2), "E_UNSUPPORTED")
    refuse("longdouble", np.zeros(2, np.longdouble), "E_UNSUPPORTED")
    refuse("records", values("V3", 2), "E_UNSUPPORTED")

    tensors, manifest = [], []

    def told(name, a, file, **more):
        tensors.append(dict(entry(a), name=name))
        e = dict(name=name, dtype=tensors[-1]["dtype"], shape=list(a.shape), file=file, **more)
        manifest.append(e)
        return e

    def saved(name, a, file):
        np.save(FOLDER / file, a)
        return told(name, a, file)

    saved("embed.weight", values("f4", 6, 4), "embed.npy")
    saved("norm.weight", values(ml_dtypes.bfloat16, 4), "norm.npy")
    for t in ("float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "float8_e4m3fnuz", "float8_e5m2fnuz"):
        saved(t, values(getattr(ml_dtypes, t), 3, 2), t + ".npy")
    e = saved("named.alone", np.asfortranarray(values(">f8", 3, 2)), "named.npy")
    del e["dtype"], e["shape"]
    e = saved("said.again", np.asfortranarray(values(">i4", 3, 2)), "said.npy")
    e.update(order="F", byteorder="big", bytes=24)
    a = values("f4", 2, 3)
    a.tofile(FOLDER / "whole.bin")
    told("whole", a, "whole.bin")
    with open(FOLDER / "several.f32", "wb") as f:  # a header of its own, as llama2.c's files have
        f.write(b"header of 28 bytes, no tensor"[:28])
        first, second, third = values("f4", 5), values("f4", 4, 3), values(">i2", 3, 4)
        f.write(first.tobytes() + second.tobytes("F") + third.tobytes())
    told("third", third, "several.f32", offset=28 + 20 + 48, byteorder="big")
    told("first", first, "several.f32", offset=28, bytes=20)
    told("second", second, "several.f32", offset=48, order="F")
    aliases = [dict(name="lm_head.weight", of="embed.weight")]
    manifest.append(dict(name="embed.again", dtype="F32", shape=[6, 4], file="embed.npy"))
    manifest.append(dict(name="first.again", dtype="F32", shape=[5], file="several.f32", offset=28))
    text = json.dumps(dict(format="bowline.raw/1", tensors=manifest, aliases=aliases, metadata={"made": "by hand", "ü": "é"}), indent=1)
    (FOLDER / "tensors.json").write_text(text)

    golden = dict(alone=alone, refused=refused, folder=dict(tensors=tensors, aliases=[["embed.again", "embed.weight"], ["first.again", "first"], ["lm_head.weight", "embed.weight"]]))
    (OUT / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    provenance.write(OUT, provenance.versions("numpy", "ml_dtypes"), "$BOWLINE_PEERS/venv/bin/python testdata/gen/raw.py", SEED,
                     notes=["golden.json is what numpy had in memory, not what any reader returned",
                            "folder/tensors.json is written by hand, in the form of this project; its arrays and dumps are by numpy.save and ndarray.tofile"])


main()
