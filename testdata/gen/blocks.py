"""Write testdata/dtype and kernels/grids.go: block types and small floats as other programs decode them.

    $BOWLINE_PEERS/venv/bin/python testdata/gen/blocks.py --ggml .../libggml-base.so

blocks.json holds, per block type, blocks of three kinds: "random" (random bytes under scales
that are zero, subnormal, extreme, infinite, NaN and ordinary), "sample" (what ggml's quantizer
makes of the sample of formats/dtype) and "every" (each entry of a grid or each code of a scale
once). Beside each block are the bits of its first four values and the first 8 bytes of the
SHA-256 of all of them as little-endian float32, every NaN as 0x7fc00000. They come from
libggml-base; gguf-py decodes the same blocks and a hundred times as many, and PROVENANCE says
where the two differ. TYPE.f32 holds the float32 of all codes of a small float, in order.

grids.go comes from the library's behaviour: blocks with scale 1 name each grid entry in turn.
"""
import argparse
import ctypes
import hashlib
import json
import sys
from pathlib import Path

sys.path.append(sys.path.pop(0))  # this folder comes last: some files here have the names of libraries
import gguf
import numpy as np
import torch
from torch.onnx._internal.exporter import _type_casting
from triton.tools.mxfp import MXFP4Tensor

import provenance

SEED = 20261124
ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "testdata/dtype"
# Type: its id in ggml.h, and the offsets of the float16 fields of its blocks.
TYPES = {
    "Q8_1": (9, [0, 2]), "Q2_K": (10, [80, 82]), "Q3_K": (11, [108]), "Q8_K": (15, []), "IQ2_XXS": (16, [0]), "IQ2_XS": (17, [0]),
    "IQ3_XXS": (18, [0]), "IQ1_S": (19, [0]), "IQ4_NL": (20, [0]), "IQ3_S": (21, [0]), "IQ2_S": (22, [0]), "IQ4_XS": (23, [0]),
    "IQ1_M": (29, []), "TQ1_0": (34, [52]), "TQ2_0": (35, [64]), "MXFP4": (39, []), "NVFP4": (40, []), "Q1_0": (41, [0]), "Q2_0": (42, [0]),
}
NEED_IMATRIX = {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS"}
# Zeros, subnormals, the extremes, ordinary ones of both signs, infinities, NaN of both signs.
SCALES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x3C00, 0x2E66, 0xA123, 0x1999, 0x0777, 0x7C00, 0xFC00, 0x7E01, 0xFD00]
WIDE = [0x00000000, 0x80000000, 0x00000001, 0x807FFFFF, 0x00800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x3F800000, 0x3DCCCCCD, 0x7F800000, 0xFF800000, 0x7FC00001]
# Grid: type, number of entries, values in an entry, and what d makes the scale of a block 1.
GRIDS = {
    "iq2xxs": ("IQ2_XXS", 256, 8, 8.0), "iq2xs": ("IQ2_XS", 512, 8, 8.0), "iq2s": ("IQ2_S", 1024, 8, 8.0),
    "iq3xxs": ("IQ3_XXS", 256, 4, 4.0), "iq3s": ("IQ3_S", 512, 4, 1.0), "iq1s": ("IQ1_S", 2048, 8, 1.0),
}
LEVELS = {
    "iq2xxs": [8, 25, 43], "iq2xs": [8, 25, 43], "iq2s": [8, 25, 43], "iq1s": [-1, 0, 1],
    "iq3xxs": [4, 12, 20, 28, 36, 44, 52, 62], "iq3s": [1, 3, 5, 7, 9, 11, 13, 15],
}


class Library:
    def __init__(self, path):
        self.lib = ctypes.CDLL(path)
        self.lib.ggml_quantize_chunk.restype = ctypes.c_size_t
        self.lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
        self.lib.ggml_blck_size.restype = ctypes.c_int64
        self.lib.ggml_type_size.restype = ctypes.c_size_t

    def sizes(self, name):
        return self.lib.ggml_blck_size(TYPES[name][0]), self.lib.ggml_type_size(TYPES[name][0])

    def row(self, function, src, dst, n):
        f = getattr(self.lib, function)
        f.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
        f.restype = None
        f(src.ctypes.data, dst.ctypes.data, n)
        return dst

    def decode(self, name, b):
        b = np.ascontiguousarray(b)
        n = b.shape[0] * self.sizes(name)[0]
        if name == "Q8_1":  # ggml has no function for it; without the sum, a block is one of Q8_0 (ggml-common.h)
            b, name = np.ascontiguousarray(np.delete(b, [2, 3], axis=1)), "Q8_0"
        low = name.lower().replace("_k", "_K")
        return self.row("dequantize_row_" + low, b, np.zeros(n, np.float32), n).reshape(b.shape[0], -1)

    def encode(self, name, x):
        elems, size = self.sizes(name)
        out = np.zeros(x.size // elems * size, np.uint8)
        if name in ("Q8_1", "Q8_K"):
            self.row(f"quantize_row_{name.lower().replace('_k', '_K')}_ref", x, out, x.size)
        else:
            ones = np.ones(x.shape[1], np.float32)
            self.lib.ggml_quantize_init(TYPES[name][0])
            weights = ones.ctypes.data if name in NEED_IMATRIX else None
            assert self.lib.ggml_quantize_chunk(TYPES[name][0], x.ctypes.data, out.ctypes.data, 0, *x.shape, weights) == out.size
        return out.reshape(-1, size)


def sample():
    """The sample of formats/dtype: 4 kinds of 64 rows of 512 values from a splitmix64 counter."""
    n = 64 * 512
    out = []
    for kind in range(4):
        z = (np.arange(1, n + 1, dtype=np.uint64) + np.uint64(kind << 32)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
        r = (((z >> np.uint64(40)).astype(np.int64) - (1 << 23)) / (1 << 23)).astype(np.float32)
        if kind == 1:
            r = r * r * r * np.float32(8)
        elif kind == 2:
            r = r / np.float32(65536)
        elif kind == 3:
            r[::61] *= np.float32(30)
        out.append(r.reshape(-1, 512))
    return np.ascontiguousarray(np.concatenate(out))


def put(b, offset, dtype, v):
    b[offset : offset + np.dtype(dtype).itemsize] = np.array([v], dtype).view(np.uint8)


def random(rng, name, size, n):
    """n blocks: each scale runs through its list, the second one with another phase; every other later block has ordinary scales."""
    b = rng.randint(0, 256, (n, size), dtype=np.uint8)
    for i in range(n):
        ordinary = i >= len(SCALES) and i % 2
        for k, offset in enumerate(TYPES[name][1]):
            if i < len(SCALES) or ordinary:
                put(b[i], offset, "<u2", rng.randint(0x1000, 0x3800) | rng.randint(2) << 15 if ordinary else SCALES[(i + 5 * k) % len(SCALES)])
        if name == "Q8_K" and (i < len(WIDE) or ordinary):
            put(b[i], 0, "<f4" if ordinary else "<u4", rng.standard_normal() if ordinary else WIDE[i])
        if name == "IQ1_M" and i < len(SCALES):  # the scale is in the top nibbles of four words
            for k in range(4):
                b[i, 49 + 2 * k] = b[i, 49 + 2 * k] & 15 | (SCALES[i] >> 4 * k & 15) << 4
    return b


def enumerate_grid(name):
    """Blocks of scale 1 and positive sign that name each entry of a grid in turn."""
    type_, n, width, d = GRIDS[name]
    per = 256 // width
    size = {"IQ2_XXS": 66, "IQ2_XS": 74, "IQ2_S": 82, "IQ3_XXS": 98, "IQ3_S": 110, "IQ1_S": 50}[type_]
    b = np.zeros((n // per, size), np.uint8)
    for i in range(n):
        at, j = divmod(i, per)
        row = b[at]
        put(row, 0, "<f2", d)
        if type_ == "IQ2_XXS":
            row[2 + 8 * (j // 4) + j % 4] = i
        elif type_ == "IQ2_XS":
            put(row, 2 + 2 * j, "<u2", i)
        elif type_ == "IQ2_S":
            row[2 + j] = i & 255
            row[66 + j // 4] |= (i >> 8) << 2 * (j % 4)
        elif type_ == "IQ3_XXS":
            row[2 + j] = i
        elif type_ == "IQ3_S":
            row[2 + j] = i & 255
            row[66 + j // 8] |= (i >> 8) << j % 8
        else:  # IQ1_S
            row[2 + j] = i & 255
            row[34 + 2 * (j // 4) : 36 + 2 * (j // 4)] |= np.array([(i >> 8) << 3 * (j % 4)], "<u2").view(np.uint8)
    return b


def every(rng, name):
    for grid, (type_, *_) in GRIDS.items():
        if type_ == name:
            return enumerate_grid(grid)
    size = {"MXFP4": 17, "NVFP4": 36}.get(name, 0)
    scales = size and {17: 1, 36: 4}[size]
    if not size:
        return np.zeros((0, 1), np.uint8)
    b = rng.randint(0, 256, (256 // scales, size), dtype=np.uint8)
    b[:, :scales] = np.arange(256, dtype=np.uint8).reshape(-1, scales)
    return b


def bits(y):
    return np.where(np.isnan(y), np.uint32(0x7FC00000), y.view(np.uint32))


def entry(kind, block, y):
    u = bits(y).astype("<u4").tobytes()
    return {"kind": kind, "block": block.tobytes().hex(), "first": [f"{v:08x}" for v in np.frombuffer(u, "<u4")[:4]],
            "sha256": hashlib.sha256(u).hexdigest()[:16]}


def compare(lib, name, b):
    """What gguf-py makes of the blocks that ggml does not: the number of blocks, or why there is none."""
    t = next((t for t in gguf.GGMLQuantizationType if t.name == name), None)
    if t is None or gguf.GGML_QUANT_SIZES[t][1] != b.shape[1]:
        return None
    try:
        y = gguf.quants.dequantize(b, t).astype(np.float32).reshape(b.shape[0], -1)
    except NotImplementedError:
        return None
    return int((bits(y) != bits(lib.decode(name, b))).any(axis=1).sum())


def grids(lib):
    """The Go file of the grids, from behaviour; gguf-py's grids must be the same."""
    text = ["// Code generated by testdata/gen/blocks.py from what libggml-base of llama.cpp 0c1e57098 decodes. DO NOT EDIT.", "", "package kernels", "",
            "// The grids are part of the format: ggml-common.h, iq2xxs_grid and its siblings (MIT, Copyright (c) 2023-2026 The ggml authors).",
            "// An entry is 8 values in pairs of bits, or 4 values in threes, the first lowest: each the number of a level."]
    for grid, (type_, n, width, _) in GRIDS.items():
        y = lib.decode(type_, enumerate_grid(grid)).reshape(n, width) - (0.125 if grid == "iq1s" else 0)
        theirs = getattr(gguf.quants, type_)
        theirs.init_grid()
        assert (theirs.grid.reshape(n, width) == y).all(), grid
        levels, wide = LEVELS[grid], 2 if width == 8 else 3
        assert set(np.unique(y)) == set(levels), grid
        codes = [sum(levels.index(int(v)) << wide * j for j, v in enumerate(row)) for row in y]
        text += ["", f"// Levels: {', '.join(map(str, levels))}.", f"var {grid}Grid = [{n}]uint16{{"]
        digits = 4 if width == 8 else 3
        text += ["\t" + ", ".join(f"0x{c:0{digits}x}" for c in codes[i : i + 16]) + "," for i in range(0, n, 16)] + ["}"]
    (ROOT / "kernels/grids.go").write_text("\n".join(text) + "\n")


def scalars():
    codes = torch.arange(256, dtype=torch.uint8)
    for name, t in (("f8_e8m0", torch.float8_e8m0fnu), ("f8_e4m3fnuz", torch.float8_e4m3fnuz), ("f8_e5m2fnuz", torch.float8_e5m2fnuz)):
        bits(codes.view(t).to(torch.float32).numpy()).tofile(OUT / f"{name}.f32")
    # torch does not cast its packed float4, but says how it unpacks it; triton knows the values of the codes.
    pairs = codes.reshape(256, 1).view(torch.float4_e2m1fn_x2)
    unpacked = torch.from_numpy(np.ascontiguousarray(_type_casting.unpack_float4x2_as_uint8(pairs)))
    y = MXFP4Tensor(size=tuple(unpacked.shape), device="cpu")
    y.data = unpacked
    bits(y.to(torch.float32).numpy()).tofile(OUT / "f4.f32")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--ggml", required=True)
    lib = Library(p.parse_args().ggml)
    rng = np.random.RandomState(SEED)
    np.seterr(all="ignore")
    OUT.mkdir(exist_ok=True)
    grids(lib)
    scalars()

    x, out, differ, alone = sample(), {}, {}, []
    for name in TYPES:
        elems, size = lib.sizes(name)
        blocks = {"random": random(rng, name, size, 24), "every": every(rng, name)}
        whole = lib.encode(name, x)
        blocks["sample"] = whole[:: whole.shape[0] // 16][:16]  # four of each kind of rows
        out[name] = [entry(kind, b, y) for kind, bs in blocks.items() if len(bs) for b, y in zip(bs, lib.decode(name, bs))]
        many = np.concatenate([whole, *(b for b in blocks.values() if len(b)), random(rng, name, size, 2400)])
        n = compare(lib, name, many)
        if n is None:
            alone.append(name)
        elif n:
            differ[name] = n
    rows = [f"{json.dumps(name)}: [\n  " + ",\n  ".join(map(json.dumps, entries)) + "\n ]" for name, entries in out.items()]
    (OUT / "blocks.json").write_text("{\n " + ",\n ".join(rows) + "\n}\n")
    notes = ["blocks by llama.cpp 0c1e57098 (dequantize_row_*, built without FMA); Q8_1, which has no such function, by dequantize_row_q8_0 without its sum",
             "gguf-py decodes " + ", ".join(n for n in TYPES if n not in alone) + "; not " + ", ".join(alone),
             "its values differ from ggml's in " + (", ".join(f"{n} blocks of {t}" for t, n in differ.items()) or "no block, any NaN being equal to any other"),
             "f8_* by torch; f4 by torch.onnx's unpacking and triton.tools.mxfp; every NaN is written as 0x7fc00000 in all files here",
             "the grids in kernels/grids.go are facts of the format, first published in ggml-common.h: MIT, Copyright (c) 2023-2026 The ggml authors"]
    provenance.write(OUT, provenance.versions("gguf", "numpy", "torch", "triton"), "testdata/gen/blocks.py --ggml LIBRARY", SEED, notes=notes)


if __name__ == "__main__":
    main()
