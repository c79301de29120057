"""Write formats/gguf/testdata with gguf-py and llama-gguf-split, or check files of ours with gguf-py.

    $BOWLINE_PEERS/venv/bin/python testdata/gen/gguf.py
    $BOWLINE_PEERS/venv/bin/python testdata/gen/gguf.py check DIR

The first form needs $BOWLINE_PEERS/llama-build/bin/llama-gguf-split, and fetches two old gguf-py for versions 1 and 2 of
the format. It writes the files, what they hold as it was given to the writer (golden.json) and PROVENANCE. The second reads
each file that DIR/golden.json lists with gguf-py's GGUFReader and compares all it finds; DIR is what
`go test ./formats/gguf -run TestPeer -dump DIR` leaves.

A value in golden.json is {"t": Go type, "v": text or list}: integers in decimal, floats as the hex of their bits, strings as
the hex of their bytes.
"""
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(sys.path.pop(0))  # this folder comes last: this file has the name of a library
import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "formats" / "gguf" / "testdata"
INTS = {"UINT8": "uint8", "INT8": "int8", "UINT16": "uint16", "INT16": "int16", "UINT32": "uint32", "INT32": "int32",
        "UINT64": "uint64", "INT64": "int64"}


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
    one = scalar(kind, "" if kind == "STRING" else 0)["t"]
    return {"t": "[]" + one, "v": [scalar(kind, v)["v"] for v in vs]}


def sha(b):
    return hashlib.sha256(b).hexdigest()


SCALARS = [("UINT8", 255), ("INT8", -128), ("UINT16", 65535), ("INT16", -32768), ("UINT32", 4294967295), ("INT32", -2147483648),
           ("FLOAT32", 1e-5), ("BOOL", True), ("STRING", "zwei\nZeilen, naïve 模型"), ("UINT64", 2**64 - 1), ("INT64", -2**63), ("FLOAT64", 0.1)]
ARRAYS = [("UINT8", [0, 1, 255]), ("INT8", [-128, 127]), ("UINT16", [0, 65535]), ("INT16", [-32768, 32767]), ("UINT32", [0, 2**32 - 1]),
          ("INT32", list(range(-50, 50))), ("FLOAT32", [0.0, -0.0, 1.5, float("inf"), 3.4e38]), ("BOOL", [True, False, True]),
          ("STRING", ["", "a", b"\xff\xfe raw", "▁模型", "x" * 300]), ("UINT64", [2**64 - 1]), ("INT64", [-2**63, 2**63 - 1]),
          ("FLOAT64", [0.1, -1e300])]


def write_values(w, gguf):
    T = gguf.GGUFValueType
    want = [{"key": "general.architecture", **scalar("STRING", "test")}]
    for kind, v in SCALARS:
        key = "test." + kind.lower()
        w.add_key_value(key, v, T[kind])
        want.append({"key": key, **scalar(kind, v)})
    for kind, vs in ARRAYS:
        key = "test.array." + kind.lower()
        w.add_key_value(key, vs, T.ARRAY, sub_type=T[kind])
        want.append({"key": key, **array(kind, vs)})
    w.add_key_value("test.nested2", [[1, 2], [3]], T.ARRAY)
    want.append({"key": "test.nested2", "t": "[]any", "v": [array("INT32", [1, 2]), array("INT32", [3])]})
    w.add_key_value("test.nested4", [[[["a", ""], ["b"]]], [[["c"]]]], T.ARRAY)
    deep = [{"t": "[]any", "v": [{"t": "[]any", "v": [array("STRING", ["a", ""]), array("STRING", ["b"])]}]},
            {"t": "[]any", "v": [{"t": "[]any", "v": [array("STRING", ["c"])]}]}]
    want.append({"key": "test.nested4", "t": "[]any", "v": deep})
    return want


def tensor(name, dtype, shape, data):
    return {"name": name, "dtype": dtype, "shape": list(shape), "sha256": sha(data.tobytes())}


def write_types(w, gguf, rng):
    """A tensor of every type that gguf-py can size; Q8_1 is left out because it counts 40 bytes a block where ggml counts 36."""
    want = []
    for q, (block, size) in gguf.GGML_QUANT_SIZES.items():
        if q.name == "Q8_1":
            continue
        name = f"blk.0.{q.name.lower()}.weight"
        shape = (3, 2 * block if block > 1 else 5)
        real = rng.standard_normal(shape, dtype=np.float32)
        if block == 1 and q.name != "BF16":
            data = (real * 100).astype({"F": "float", "I": "int"}[q.name[0]] + q.name[1:])
            w.add_tensor(name, data)
        else:
            try:
                data = gguf.quants.quantize(real, q)
            except NotImplementedError:  # any bytes will do
                data = rng.integers(0, 256, (shape[0], shape[1] // block * size), dtype=np.uint8)
            w.add_tensor(name, data, raw_dtype=q)
        want.append(tensor(name, q.name, shape, data))
    for name, shape in [("scalar", ()), ("empty", (0, 4)), ("vector", (7,)), ("rank4", (2, 3, 1, 4)), ("n" * 63, (1,))]:
        data = rng.standard_normal(shape, dtype=np.float32).reshape(shape) if shape else np.array(0.25, dtype=np.float32)
        w.add_tensor(name, data)
        want.append(tensor(name, "F32", shape, data))
    return want


def write_small(w, rng, sizes):
    want = []
    for i, shape in enumerate(sizes):
        data = rng.standard_normal(shape, dtype=np.float32).astype(np.float16 if i % 2 else np.float32)
        w.add_tensor(f"blk.{i}.weight", data)
        want.append(tensor(f"blk.{i}.weight", "F16" if i % 2 else "F32", shape, data))
    return want


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def legacy(out):
    """Run under an old gguf-py: a file of the version that it writes."""
    import gguf
    w = gguf.GGUFWriter(out, "test")
    w.add_uint32("test.uint32", 7)
    w.add_float32("test.float32", 1e-5)
    w.add_bool("test.bool", True)
    w.add_array("test.tokens", ["a", "", "▁模型"])
    w.add_array("test.scores", [0.5, -1.0])
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((3, 5), dtype=np.float32), rng.standard_normal(9, dtype=np.float32).astype(np.float16)
    w.add_tensor("a.weight", a)
    w.add_tensor("b.bias", b)
    finish(w)
    print(json.dumps({"version": gguf.GGUF_VERSION, "files": [Path(out).name], "metadata": [
        {"key": "general.architecture", **scalar("STRING", "test")}, {"key": "test.uint32", **scalar("UINT32", 7)},
        {"key": "test.float32", **scalar("FLOAT32", 1e-5)}, {"key": "test.bool", **scalar("BOOL", True)},
        {"key": "test.tokens", **array("STRING", ["a", "", "▁模型"])}, {"key": "test.scores", **array("FLOAT32", [0.5, -1.0])}],
        "tensors": [tensor("a.weight", "F32", a.shape, a), tensor("b.bias", "F16", b.shape, b)]}))


def generate():
    import gguf
    import provenance
    rng = np.random.default_rng(1)
    for old in OUT.glob("*.gguf"):
        old.unlink()
    golden = []

    def add(want_kv, want_tensors, *files):
        golden.append({"version": 3, "files": list(files), "metadata": want_kv, "tensors": want_tensors})

    arch = {"key": "general.architecture", **scalar("STRING", "test")}
    w = gguf.GGUFWriter(OUT / "values.gguf", "test")
    kv = write_values(w, gguf)
    finish(w)
    add(kv, [], "values.gguf")

    w = gguf.GGUFWriter(OUT / "types.gguf", "test")
    tensors = write_types(w, gguf, rng)
    finish(w)
    add([arch], tensors, "types.gguf")

    for align in (1, 8, 64):
        name = f"aligned{align}.gguf"
        w = gguf.GGUFWriter(OUT / name, "test")
        w.add_custom_alignment(align)
        tensors = write_small(w, rng, [(3, 3), (5,), (2, 2)])
        finish(w)
        add([arch, {"key": "general.alignment", **scalar("UINT32", align)}], tensors, name)

    for stem, first in (("split", False), ("bare-first", True)):
        w = gguf.GGUFWriter(OUT / f"{stem}.gguf", "test", split_max_tensors=2, small_first_shard=first)
        w.add_uint32("test.uint32", 7)
        tensors = write_small(w, rng, [(3, 3), (5,), (2, 2), (4,), (1, 7)])
        finish(w)
        n = 4 if first else 3
        add([arch, {"key": "test.uint32", **scalar("UINT32", 7)}], tensors, *(f"{stem}-{i + 1:05d}-of-{n:05d}.gguf" for i in range(n)))

    # The same tensors, cut and merged by llama.cpp.
    tool = Path(os.environ["BOWLINE_PEERS"]) / "llama-build" / "bin" / "llama-gguf-split"
    with tempfile.TemporaryDirectory() as tmp:
        w = gguf.GGUFWriter(f"{tmp}/whole.gguf", "test")
        w.add_uint32("test.uint32", 7)
        tensors = write_small(w, rng, [(3, 3), (5,), (2, 2)])
        finish(w)
        kv = [arch, {"key": "test.uint32", **scalar("UINT32", 7)}]
        subprocess.run([tool, "--split-max-tensors", "2", f"{tmp}/whole.gguf", OUT / "cut"], check=True, capture_output=True)
        add(kv, tensors, "cut-00001-of-00002.gguf", "cut-00002-of-00002.gguf")
        subprocess.run([tool, "--merge", OUT / "cut-00001-of-00002.gguf", OUT / "merged.gguf"], check=True, capture_output=True)
        add(kv, tensors, "merged.gguf")

        for name, release in (("version1.gguf", "0.2.1"), ("version2.gguf", "0.4.0")):
            subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", f"{tmp}/{release}", f"gguf=={release}"], check=True)
            r = subprocess.run([sys.executable, __file__, "legacy", str(OUT / name)], check=True, capture_output=True, text=True,
                               env={**os.environ, "PYTHONPATH": f"{tmp}/{release}"})
            golden.append(json.loads(r.stdout.splitlines()[-1]))

    (OUT / "golden.json").write_text("[\n" + ",\n".join(json.dumps(g) for g in golden) + "\n]\n")
    provenance.write(OUT, provenance.versions("gguf", "numpy") + "; version1.gguf: gguf 0.2.1; version2.gguf: gguf 0.4.0; "
                     "cut-*.gguf, merged.gguf: llama-gguf-split of llama.cpp 0c1e57098",
                     "$BOWLINE_PEERS/venv/bin/python testdata/gen/gguf.py", seed="1 (5 for version1 and version2)", notes=[
                         "golden.json is what was given to the writers, not what any reader returned",
                         "gguf-py reads back what Layout writes: go test ./formats/gguf -run TestPeer -dump DIR, "
                         "then $BOWLINE_PEERS/venv/bin/python testdata/gen/gguf.py check DIR: 73 files read with equal keys, types, shapes and bytes",
                         "llama-gguf-hash (gguf.cpp) opens the same files but for three that hold arrays of arrays, which it refuses by design; "
                         "it also takes the file of the case \"Q8_1 and Q2_0\" of the corpus, whose block sizes gguf-py gets wrong or lacks"])


def flat(v):
    """The leaves of a value of golden.json: GGUFReader flattens nested arrays."""
    if v["t"] == "[]any":
        return [x for e in v["v"] for x in flat(e)]
    return v["v"] if v["t"].startswith("[]") else [v["v"]]


def check(folder):
    import gguf
    problems, files = [], 0
    for g in json.loads((folder / "golden.json").read_text()):
        tensors, fields = [], {}
        for name in g["files"]:
            r = gguf.GGUFReader(folder / name)
            files += 1
            for key, f in r.fields.items():
                if not key.startswith(("GGUF.", "split.")):
                    leaf = f.types[-1]
                    fields[key] = ["[]" if len(f.types) > 1 else "", leaf.name,
                                   [scalar(leaf.name, f.parts[i].tobytes() if leaf.name == "STRING" else f.parts[i][0])["v"] for i in f.data]]
            tensors += [{"name": t.name, "dtype": t.tensor_type.name, "shape": [int(d) for d in reversed(t.shape)],
                         "sha256": sha(t.data.tobytes())} for t in r.tensors]
            for t in r.tensors:
                if t.data_offset % 32:
                    problems.append(f"{name}: {t.name} is at {t.data_offset}")
        if tensors != g["tensors"]:
            problems.append(f"{g['files']}: got tensors {tensors}\nwant {g['tensors']}")
        if list(fields) != [kv["key"] for kv in g["metadata"]]:
            problems.append(f"{g['files']}: got keys {list(fields)}")
        for kv in g["metadata"]:
            brackets, kind, leaves = fields.get(kv["key"], ["", "", None])
            text = kv["t"] if "any" in kv["t"] else brackets + (scalar(kind, "" if kind == "STRING" else 0)["t"] if kind and kind != "ARRAY" else "")
            if leaves != flat(kv) or flat(kv) and text != kv["t"]:
                problems.append(f"{g['files']}: {kv['key']}: got {kind} {leaves}, want {kv['t']} {flat(kv)}")
    print("\n".join(problems) or f"{files} files read with equal keys, types, shapes and bytes")
    return len(problems) > 0


if sys.argv[1:2] == ["legacy"]:
    legacy(sys.argv[2])
elif sys.argv[1:2] == ["check"]:
    sys.exit(check(Path(sys.argv[2])))
else:
    generate()
