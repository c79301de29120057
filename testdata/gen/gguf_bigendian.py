"""Write testdata/gguf/bigendian: big-endian files by gguf-py's writer and by its gguf_convert_endian.py.

    $BOWLINE_PEERS/venv/bin/python testdata/gen/gguf_bigendian.py

Needs gcc and llama.cpp's sources: the block types that gguf_convert_endian.py does not know are swapped by a C program that takes the
members of each block from ggml-common.h. golden.json says, in the form of formats/gguf/testdata/golden.json, what was given to the writers:
the hashes are of little-endian data.
"""
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(sys.path.pop(0))  # this folder comes last: it has files with the names of libraries
import gguf
import numpy as np
import provenance

OUT = Path(__file__).resolve().parent.parent / "gguf" / "bigendian"
Q = gguf.GGMLQuantizationType
INTS = {"UINT8": "uint8", "INT8": "int8", "UINT16": "uint16", "INT16": "int16", "UINT32": "uint32", "INT32": "int32", "UINT64": "uint64", "INT64": "int64"}
SCALARS = [("UINT8", 254), ("INT8", -128), ("UINT16", 0x0102), ("INT16", -2), ("UINT32", 0x01020304), ("INT32", -3), ("FLOAT32", 1e-5), ("BOOL", True),
           ("STRING", "größer"), ("UINT64", 0x0102030405060708), ("INT64", -4), ("FLOAT64", 0.1)]
ARRAYS = [("UINT8", [1, 2]), ("INT8", [-1, 2]), ("UINT16", [1, 0x0102]), ("INT16", [-1, 2]), ("UINT32", [1, 2**32 - 2]), ("INT32", list(range(-40, 40))),
          ("FLOAT32", [0.5, float("inf")]), ("BOOL", [True, False]), ("STRING", ["", "a", b"\xff raw", "x" * 300]), ("UINT64", [2**64 - 2]),
          ("INT64", [-2**63, 1]), ("FLOAT64", [0.1, -1e300])]

# Members of the blocks whose bytes depend on the byte order, with the width of their numbers where the struct declares bytes.
MEMBERS = {
    "Q4_1": ["d", "m"], "Q5_0": ["d", "qh:4"], "Q5_1": ["d", "m", "qh:4"], "Q8_1": ["d", "s"], "Q2_K": ["d", "dmin"], "Q3_K": ["d"],
    "Q5_K": ["d", "dmin"], "Q8_K": ["d", "bsums"], "IQ2_XS": ["d", "qs"], "IQ2_S": ["d"], "IQ3_XXS": ["d", "qs:4:QK_K/4"], "IQ3_S": ["d"],
    "IQ1_S": ["d", "qh"], "IQ1_M": ["scales:2"], "IQ4_NL": ["d"], "IQ4_XS": ["d", "scales_h"], "TQ1_0": ["d"],
}
PROGRAM = """
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#define GGML_COMMON_DECL_C
#include "ggml-common.h"
static unsigned char b[1 << 16];
static void swap(size_t at, size_t bytes, size_t width, size_t block, size_t n) {
    for (size_t i = at; i < n; i += block)
        for (size_t j = i; j < i + bytes; j += width)
            for (size_t k = 0; k < width / 2; k++) { unsigned char t = b[j + k]; b[j + k] = b[j + width - 1 - k]; b[j + width - 1 - k] = t; }
}
int main(int argc, char ** argv) {
    size_t n = fread(b, 1, sizeof b, stdin);
    (void) argc;
%s
    return fwrite(b, 1, n, stdout) != n;
}
"""


def scalar(kind, v):
    if kind in INTS:
        return {"t": INTS[kind], "v": str(int(v))}
    if kind == "BOOL":
        return {"t": "bool", "v": str(bool(v)).lower()}
    if kind == "FLOAT32":
        return {"t": "float32", "v": struct.pack(">f", v).hex()}
    if kind == "FLOAT64":
        return {"t": "float64", "v": struct.pack(">d", v).hex()}
    return {"t": "string", "v": (v.encode() if isinstance(v, str) else bytes(v)).hex()}


def array(kind, vs):
    return {"t": "[]" + scalar(kind, "" if kind == "STRING" else 0)["t"], "v": [scalar(kind, v)["v"] for v in vs]}


def values(w):
    want = [{"key": "general.architecture", **scalar("STRING", "test")}]
    for kind, v in SCALARS:
        w.add_key_value("test." + kind.lower(), v, gguf.GGUFValueType[kind])
        want.append({"key": "test." + kind.lower(), **scalar(kind, v)})
    for kind, vs in ARRAYS:
        w.add_key_value("test.array." + kind.lower(), vs, gguf.GGUFValueType.ARRAY, sub_type=gguf.GGUFValueType[kind])
        want.append({"key": "test.array." + kind.lower(), **array(kind, vs)})
    w.add_key_value("test.nested", [[1, 2], [3]], gguf.GGUFValueType.ARRAY)
    return want + [{"key": "test.nested", "t": "[]any", "v": [array("INT32", [1, 2]), array("INT32", [3])]}]


def tensor(name, dtype, shape, data):
    return {"name": name, "dtype": dtype, "shape": list(shape), "sha256": hashlib.sha256(data.tobytes()).hexdigest()}


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def big(path, **more):
    return gguf.GGUFWriter(path, "test", endianess=gguf.GGUFEndian.BIG, **more)


def scalars(w, rng, names):
    want = []
    for i, n in enumerate(names):
        data = (rng.standard_normal((3, 5)) * 100).astype(n)
        w.add_tensor(f"{i}.{n}", data)
        want.append(tensor(f"{i}.{n}", {"f": "F", "i": "I"}[data.dtype.kind] + str(8 * data.dtype.itemsize), data.shape, data))
    return want


def swap_program(folder):
    """The C program that swaps the blocks of the type that its argument names."""
    lines = []
    for q, members in MEMBERS.items():
        s = "block_" + q.lower().replace("_k", "_K")
        lines.append(f'    if (!strcmp(argv[1], "{q}")) {{')
        for m in members:
            name, _, rest = m.partition(":")
            width, _, skip = rest.partition(":")
            size = f"sizeof((({s} *) 0)->{name})"
            width = width or {"qs": "sizeof(uint16_t)", "qh": "sizeof(uint16_t)", "bsums": "sizeof(int16_t)"}.get(name, size)
            lines.append(f"        swap(offsetof({s}, {name}) + {skip or 0}, {size} - ({skip or 0}), {width}, sizeof({s}), n);")
        lines.append("    }")
    (folder / "swap.c").write_text(PROGRAM % "\n".join(lines))
    source = Path(os.environ["BOWLINE_PEERS"]) / "llama.cpp" / "ggml" / "src"
    subprocess.run(["gcc", "-Wall", "-Werror", "-I", source, "-o", folder / "swap", folder / "swap.c"], check=True)
    return folder / "swap"


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.glob("*.gguf"):
        old.unlink()
    rng = np.random.default_rng(11)
    golden = []
    arch = {"key": "general.architecture", **scalar("STRING", "test")}

    def add(kv, tensors, *files):
        golden.append({"version": 3, "files": list(files), "metadata": kv, "tensors": tensors})

    # As gguf-py writes them: every value type, and the tensors that it swaps by their numpy type.
    w = big(OUT / "written.gguf")
    kv = values(w)
    tensors = scalars(w, rng, ["float32", "float16", "float64", "int8", "int16", "int32", "int64"])
    for name, data in (("scalar", np.array(0.25, dtype=np.float32)), ("empty", np.zeros((0, 4), dtype=np.float32)), ("rank4", rng.standard_normal((2, 3, 1, 4)).astype(np.float16))):
        w.add_tensor(name, data)
        tensors.append(tensor(name, f"F{8 * data.dtype.itemsize}", data.shape, data))
    finish(w)
    add(kv, tensors, "written.gguf")

    w = big(OUT / "split.gguf", split_max_tensors=2)
    w.add_uint32("test.uint32", 7)
    tensors = scalars(w, rng, ["float32", "float16", "float32"])
    finish(w)
    add([arch, {"key": "test.uint32", **scalar("UINT32", 7)}], tensors, "split-00001-of-00002.gguf", "split-00002-of-00002.gguf")

    # A little-endian file, turned round by gguf_convert_endian.py: all types that it knows.
    path = OUT / "converted.gguf"
    w = gguf.GGUFWriter(path, "test")
    w.add_array("test.tokens", ["a", "", "▁模型"])
    tensors = scalars(w, rng, ["float32", "float16"])
    for q in (Q.BF16, Q.Q1_0, Q.Q4_0, Q.Q8_0, Q.Q4_K, Q.Q6_K, Q.TQ2_0, Q.MXFP4, Q.NVFP4):
        block, size = gguf.GGML_QUANT_SIZES[q]
        shape = (3, 2 * block if block > 1 else 5)
        data = rng.integers(0, 256, (shape[0], shape[1] // block * size), dtype=np.uint8)
        w.add_tensor(q.name.lower(), data, raw_dtype=q)
        tensors.append(tensor(q.name.lower(), q.name, shape, data))
    finish(w)
    script = Path(os.environ["BOWLINE_PEERS"]) / "llama.cpp" / "gguf-py" / "gguf" / "scripts" / "gguf_convert_endian.py"
    subprocess.run([sys.executable, script, path, "big"], input="YES\n", text=True, check=True, capture_output=True)
    add([arch, {"key": "test.tokens", **array("STRING", ["a", "", "▁模型"])}], tensors, "converted.gguf")

    # The other block types.
    w = big(OUT / "structs.gguf")
    tensors = []
    with tempfile.TemporaryDirectory() as tmp:
        program = swap_program(Path(tmp))
        for name in MEMBERS:
            block, size = (32, 36) if name == "Q8_1" else gguf.GGML_QUANT_SIZES[Q[name]]  # gguf-py counts 40
            shape = (2, 2 * block)
            data = rng.integers(0, 256, (2, 2 * size), dtype=np.uint8)
            swapped = np.frombuffer(subprocess.run([program, name], input=data.tobytes(), check=True, capture_output=True).stdout, dtype=np.uint8).reshape(data.shape)
            assert swapped.nbytes == data.nbytes and (swapped != data).any()
            if name == "Q8_1":  # of a size that gguf-py takes for whole blocks
                shape = (2, 10 * block)
                data = rng.integers(0, 256, (2, 10 * size), dtype=np.uint8)
                swapped = np.frombuffer(subprocess.run([program, name], input=data.tobytes(), check=True, capture_output=True).stdout, dtype=np.uint8)
                w.add_tensor_info(name.lower(), (2, 9 * 40), np.dtype(np.uint8), data.nbytes, raw_dtype=Q[name])
                w.tensors[-1][name.lower()].tensor = swapped
                w.tensors[-1][name.lower()].shape = shape
            else:
                w.add_tensor(name.lower(), swapped, raw_dtype=Q[name])
            tensors.append(tensor(name.lower(), name, shape, data))
    finish(w)
    add([arch], tensors, "structs.gguf")

    (OUT / "golden.json").write_text("[\n" + ",\n".join(json.dumps(g) for g in golden) + "\n]\n")
    provenance.write(OUT, provenance.versions("gguf", "numpy") + "; structs.gguf: members of the blocks from ggml-common.h of llama.cpp 0c1e57098, by gcc",
                     "$BOWLINE_PEERS/venv/bin/python testdata/gen/gguf_bigendian.py", seed="11", notes=[
                         "golden.json is what was given to the writers, the hashes of tensors those of their little-endian bytes",
                         "written.gguf, split-*.gguf: GGUFWriter with endianess BIG; converted.gguf: turned round by gguf_convert_endian.py of llama.cpp 0c1e57098, which knows more types than that of gguf 0.19.0",
                         "structs.gguf: header by GGUFWriter, data swapped by a C program; the widths in Q5_0.qh, Q5_1.qh, IQ3_XXS.qs and IQ1_M.scales, which "
                         "the structs declare as bytes, are those that ggml-quants.c copies there"])


main()
