"""What safetensors and gguf-py read and write, and what their blocks hold. Jobs come on stdin, see jobs.py:

    {"dump": GGUF}              what gguf-py reads from it, see gguf_dump.py
    {"values": GGUF}            sha256 of each tensor's values as float32, by gguf-py's dequantize
    {"quantize": GGUF, "type"}  sha256 of each tensor of an F32 file as gguf-py quantizes it, null where rows hold no whole blocks
    {"gguf": FILE, "seed"}      gguf-py writes a file: keys of every type, tensors of every type it can make
    {"safetensors": FILE, "seed", "by": "numpy" or "torch"}
                                the library writes a file: random names, types and shapes; gives them and sha256 of the bytes
"""
import hashlib
from importlib.metadata import version

import gguf
import numpy as np

import gguf_dump
import jobs

QUANTS = gguf.GGMLQuantizationType
# Block types that gguf-py encodes, and those that it only decodes, whose blocks are made here; the offsets are of float16 scales.
ENCODED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
DECODED = {"Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
# Torch's types by safetensors' names. numpy holds the first ones too.
NUMPY = {"F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool"}
TORCH = {**NUMPY, "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}


def sha(x):
    return hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()


def values(path):
    return {t.name: sha(gguf.quants.dequantize(t.data, t.tensor_type).astype("<f4")) for t in gguf.GGUFReader(path).tensors
            if t.tensor_type.name[0] != "I" and t.tensor_type.name != "F64"}


def quantize(path, kind):
    block = gguf.GGML_QUANT_SIZES[QUANTS[kind]][0]
    return {t.name: None if t.shape[0] % block else sha(gguf.quants.quantize(np.array(t.data), QUANTS[kind])) for t in gguf.GGUFReader(path).tensors}


def word(rng, n):
    return "".join(rng.choice(list("abcdefgh_.äλ漢🪢 \n\""), n))


def write_gguf(path, seed):
    rng = np.random.RandomState(seed)
    w = gguf.GGUFWriter(path, "unknown")
    for bits in (8, 16, 32, 64):
        top = 2 ** (bits - 1)
        getattr(w, f"add_uint{bits}")(f"test.uint{bits}", 2 * top - 1 - int(rng.randint(100)))
        getattr(w, f"add_int{bits}")(f"test.int{bits}", -top + int(rng.randint(100)))
    w.add_float32("test.float32", float(np.float32(rng.standard_normal() * 10.0 ** rng.randint(-30, 30))))
    w.add_float64("test.float64", float(rng.standard_normal() * 10.0 ** rng.randint(-200, 200)))
    w.add_bool("test.bool", bool(rng.randint(2)))
    w.add_string("test.string", word(rng, 20))
    w.add_string("test.empty", "")
    w.add_array("test.strings", [word(rng, rng.randint(0, 9)) for _ in range(rng.randint(1, 50))])
    w.add_array("test.ints", [int(x) for x in rng.randint(-(2**31), 2**31 - 1, 40)])
    w.add_array("test.floats", [float(x) for x in rng.standard_normal(40).astype(np.float32)])
    w.add_array("test.bools", [bool(x) for x in rng.randint(0, 2, 40)])
    for dtype in (np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8):
        shape = rng.randint(1, 9, rng.randint(1, 5))
        w.add_tensor(f"plain.{np.dtype(dtype).name}", (rng.standard_normal(shape) * 50).astype(dtype))
    x = rng.standard_normal((rng.randint(1, 7), 32 * rng.randint(1, 7))).astype(np.float32)
    w.add_tensor("plain.bfloat16", gguf.quants.quantize(x, QUANTS.BF16), raw_dtype=QUANTS.BF16)
    for kind in ENCODED:
        w.add_tensor("blocks." + kind, gguf.quants.quantize(x, QUANTS[kind]), raw_dtype=QUANTS[kind])
    for kind, scales in DECODED.items():
        rows, blocks, size = rng.randint(1, 7), rng.randint(1, 4), gguf.GGML_QUANT_SIZES[QUANTS[kind]][1]
        raw = rng.randint(0, 256, (rows, blocks, size)).astype(np.uint8)
        for at in scales:
            raw[:, :, at : at + 2] = (rng.standard_normal((rows, blocks)) * 0.01).astype("<f2").reshape(rows, blocks, 1).view(np.uint8)
        w.add_tensor("blocks." + kind, raw.reshape(rows, blocks * size), raw_dtype=QUANTS[kind])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return {}


def write_safetensors(path, seed, by):
    import torch
    from safetensors.numpy import save_file as save_numpy
    from safetensors.torch import save_file as save_torch

    rng = np.random.RandomState(seed)
    types = list(NUMPY if by == "numpy" else TORCH)
    tensors, want = {}, []
    for i in range(rng.randint(5, 40)):
        kind = types[rng.randint(len(types))]
        shape = [int(d) for d in rng.randint(0 if rng.rand() < 0.1 else 1, 12, rng.randint(0, 5))]
        x = torch.from_numpy(np.asarray(rng.standard_normal(shape) * 50)).to(getattr(torch, TORCH[kind]))
        name = f"{word(rng, rng.randint(1, 12))}.{i}"
        raw = x.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if x.numel() else b""
        want.append(dict(name=name, dtype=kind, shape=shape, bytes=len(raw), sha256=hashlib.sha256(raw).hexdigest()))
        tensors[name] = x.numpy() if by == "numpy" else x
    meta = {word(rng, 5) + str(i): word(rng, 9) for i in range(rng.randint(0, 4))}
    (save_numpy if by == "numpy" else save_torch)(tensors, path, metadata=meta or None)
    return dict(tensors=want, metadata=meta)


def do(job):
    return dict(engine_version=version("safetensors" if "safetensors" in job else "gguf"), **answer(job))


def answer(job):
    if "dump" in job:
        return gguf_dump.dump(job["dump"])
    if "values" in job:
        return dict(values=values(job["values"]))
    if "quantize" in job:
        return dict(values=quantize(job["quantize"], job["type"]))
    if "gguf" in job:
        return write_gguf(job["gguf"], job["seed"])
    return write_safetensors(job["safetensors"], job["seed"], job["by"])


if __name__ == "__main__":
    jobs.serve(do)
