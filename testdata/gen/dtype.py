"""Write formats/dtype/testdata: casts and blocks as other programs compute them.

    $BOWLINE_PEERS/venv/bin/python testdata/gen/dtype.py [--ggml .../libggml-base.so]

All files are little-endian. casts.f32 holds float32 bits, casts.f16 and casts.bf16 the
same values narrowed; f8_*.f32 holds the 256 codes in order; TYPE.blocks and TYPE.f32 hold
blocks and their values; q8_0.in holds what q8_0.blocks encodes. With --ggml the block
files are also compared with llama.cpp's C functions, and PROVENANCE says so.
"""
import argparse
import ctypes
import sys
from pathlib import Path

sys.path.append(sys.path.pop(0))  # this folder comes last: some files here have the names of libraries
import gguf
import numpy as np
import torch

import provenance

SEED = 20261123
OUT = Path(__file__).resolve().parents[2] / "formats/dtype/testdata"
T = gguf.GGMLQuantizationType
# The offsets of the float16 fields of a block.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
# Zeros, subnormals, the extremes, ordinary ones of both signs, infinity.
SCALES = [0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x7bff, 0xfbff, 0x3c00, 0x2e66, 0xa123, 0x1999, 0x0777, 0x7c00]


def casts(rng):
    """Every exponent and sign with mantissas around the ties of both half types, and NaN payloads."""
    exponents = np.arange(256, dtype=np.uint32) << 23
    low = [0, 1, 0xFFF, 0x1000, 0x1001, 0x1FFF, 0x2000, 0x3000, 0x7FFF, 0x8000, 0x8001, 0x18000, 0x7FEFFF, 0x7FF000, 0x7F7FFF, 0x7F8000, 0x7FFFFF]
    u = np.concatenate([exponents | np.uint32(m) for m in low] + [rng.randint(0, 2**32, 2048, dtype=np.uint32)])
    u = np.concatenate([u, u ^ np.uint32(1 << 31)])
    return u.view(np.float32)


def q8_rows(rng):
    f = np.float32
    rows = [np.zeros(32), np.full(32, -0.0)]
    rows.append(np.arange(32) * 2.0**-149)  # subnormals so small that 1/d is infinite
    for top in (2.0**-128, np.nextafter(f(2.0**-128), f(1)), np.nextafter(f(2.0**-128), f(0))):
        rows.append(np.arange(-15, 17) / 16 * 127 * float(top))  # d at the border of that
    for e in (-122, -30, -24, -17, -14):  # d below, at and above the subnormals of float16
        rows.append(rng.uniform(-1, 1, 32) * 2.0**e)
    last = rng.uniform(-1, 1, 32)
    last[31] = 1.5
    rows += [last, -last, np.eye(32)[7], -np.eye(32)[31]]
    ties = np.arange(32) * 4 - 62 + 0.5
    ties[0] = 127  # d = 1: every other value is a tie, and rounds away from zero
    rows += [ties, -ties, ties * 2, ties / 8, np.nextafter(ties.astype(f), f(0)), np.nextafter(ties.astype(f), f(1000))]
    small = np.full(32, np.nextafter(f(0.5), f(0)))
    small[3] = -127
    rows.append(small)
    rows += [last * 1e6, last / 1.5 * 127 * 65504, last / 1.5 * 127 * 65519]  # the largest d of float16
    rows += [last / 1.5 * 127 * 65520, last / 1.5 * 3.4e38]  # d is infinite
    rows += [rng.standard_normal(32) * s for s in (1e-3, 0.02, 1, 50)]
    return np.stack(rows).astype(f)


def blocks(name, rng):
    n = 24 if gguf.GGML_QUANT_SIZES[T[name]][0] == 32 else 14
    b = rng.randint(0, 256, (n, gguf.GGML_QUANT_SIZES[T[name]][1]), dtype=np.uint8)
    for k, offset in enumerate(HALVES[name]):
        for i in range(n):
            # Each field runs through the list, the second one with another phase; later blocks get ordinary halves.
            h = SCALES[(i + 5 * k) % len(SCALES)] if i < len(SCALES) else rng.randint(0x1000, 0x3800) | rng.randint(2) << 15
            b[i, offset : offset + 2] = np.array([h], "<u2").view(np.uint8)
    return b


def same(a, b):
    """Equal bits; a NaN of any payload equals another."""
    return bool(((a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))).all())


def c_decode(lib, name, b, n):
    y = np.zeros(n, np.float32)
    f = getattr(lib, "dequantize_row_" + name.replace("Q", "q", 1))
    f.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    f.restype = None
    f(np.ascontiguousarray(b).ctypes.data, y.ctypes.data, n)
    return y


def c_encode_q8(lib, x):
    b = np.zeros(x.size // 32 * 34, np.uint8)
    f = lib.quantize_row_q8_0_ref
    f.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    f.restype = None
    f(x.ctypes.data, b.ctypes.data, x.size)
    return b


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--ggml")
    lib = (a := p.parse_args()).ggml and ctypes.CDLL(a.ggml)
    rng = np.random.RandomState(SEED)
    np.seterr(all="ignore")
    OUT.mkdir(exist_ok=True)

    x = casts(rng)
    x.tofile(OUT / "casts.f32")
    half, brain = x.astype(np.float16), gguf.quants.quantize(x, T.BF16).view(np.uint16)
    half.tofile(OUT / "casts.f16")
    brain.tofile(OUT / "casts.bf16")
    finite = ~np.isnan(x)
    assert (torch.from_numpy(x).to(torch.float16).numpy().view(np.uint16) == half.view(np.uint16))[finite].all()
    assert (torch.from_numpy(x).to(torch.bfloat16).view(torch.uint16).numpy() == brain)[finite].all()

    codes = torch.arange(256, dtype=torch.uint8)
    for name, t in (("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)):
        codes.view(t).to(torch.float32).numpy().tofile(OUT / f"f8_{name}.f32")

    rows = q8_rows(rng)
    rows.tofile(OUT / "q8_0.in")
    for name in HALVES:
        b = gguf.quants.quantize(rows, T.Q8_0).reshape(-1, 34) if name == "Q8_0" else blocks(name, rng)
        y = gguf.quants.dequantize(b, T[name]).astype(np.float32).ravel()
        b.tofile(OUT / f"{name.lower()}.blocks")
        y.tofile(OUT / f"{name.lower()}.f32")
        if lib:
            assert same(c_decode(lib, name, b, y.size), y), name
    if lib:
        c = c_encode_q8(lib, rows).reshape(-1, 34)
        b = gguf.quants.quantize(rows, T.Q8_0).reshape(-1, 34)
        assert (c == b).all(), np.nonzero((c != b).any(1))

    note = ["float16 by numpy, bfloat16 by gguf.quants.quantize (both equal torch but for NaN), float8 by torch, blocks by gguf.quants"]
    if lib:
        note.append("the blocks, both ways, equal llama.cpp 0c1e57098 (dequantize_row_*, quantize_row_q8_0_ref, built without FMA)")
    provenance.write(OUT, provenance.versions("gguf", "numpy", "torch"), "testdata/gen/dtype.py --ggml LIBRARY", SEED, notes=note)


if __name__ == "__main__":
    main()
