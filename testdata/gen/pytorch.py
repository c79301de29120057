"""Write formats/pytorch/testdata with torch, what it holds (golden.json), and PROVENANCE.

    $BOWLINE_PEERS/venv/bin/python testdata/gen/pytorch.py

golden.json lists for each file the tensors that have to be found, with the sha256 of their bytes in row-major order as torch has them,
and which names share a tensor: same storage, offset, shape and strides. Files that have to be refused are listed with the reason.
Run again it gives the same bytes but for legacy*, whose keys are addresses in memory.
zip64.head and zip64.tail are the two ends of a file of more than 4 GiB, whose bytes between them are zero.
"""
import argparse
import collections
import hashlib
import io
import json
import pathlib
import pickle
import sys
import tempfile
import warnings
import zipfile
import zlib
from pathlib import Path

sys.path.append(sys.path.pop(0))  # this folder comes last: some files here have the names of libraries
import numpy as np
import torch

import provenance

SEED = 7
ROOT = Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "formats" / "pytorch" / "testdata"
TYPES = {"bool": "BOOL", "uint8": "U8", "int8": "I8", "float8_e5m2": "F8_E5M2", "float8_e4m3fn": "F8_E4M3", "float8_e8m0fnu": "F8_E8M0",
         "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ", "int16": "I16", "uint16": "U16", "float16": "F16", "bfloat16": "BF16",
         "int32": "I32", "uint32": "U32", "float32": "F32", "complex64": "C64", "float64": "F64", "int64": "I64", "uint64": "U64"}
golden = {}
refused = {}


def raw(t):
    t = t.detach().contiguous()
    return t.reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""


def entry(name, t):
    return dict(name=name, dtype=TYPES[str(t.dtype)[6:]], shape=list(t.shape), sha256=hashlib.sha256(raw(t)).hexdigest())


def save(file, obj, tensors, aliases=(), **how):
    """Save obj; tensors are those that it holds by their names, without the aliases."""
    torch.save(obj, OUT / file, **how)
    tell([file], tensors, aliases)


def tell(files, tensors, aliases=(), index=""):
    golden[files[0]] = dict(files=files, index=index, tensors=[entry(n, t) for n, t in tensors.items()], aliases=[list(a) for a in aliases])


def randn(*shape):
    return torch.randn(shape)


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = torch.nn.Embedding(6, 4)
        self.norm = torch.nn.BatchNorm1d(4)
        self.proj = torch.nn.Linear(4, 3)
        self.lm_head = torch.nn.Linear(4, 6, bias=False)
        self.lm_head.weight = self.embed_tokens.weight


def states():
    m = Tied()
    sd = m.state_dict()
    tensors = {k: v for k, v in sd.items() if k != "lm_head.weight"}
    save("tied.bin", sd, tensors, [("lm_head.weight", "embed_tokens.weight")])
    two = collections.OrderedDict(sd)
    two["lm_head.weight"] = sd["lm_head.weight"].clone()
    save("two-storages.bin", two, two)
    save("one-object.pt", {"first": m.proj.weight, "second": m.proj.weight}, {"first": m.proj.weight}, [("second", "first")])
    save("parameters.pt", dict(m.named_parameters()), dict(m.named_parameters()))
    for p in range(6):
        part = collections.OrderedDict((k, sd[k]) for k in ("proj.weight", "proj.bias", "norm.num_batches_tracked"))
        save(f"protocol{p}.pt", dict(part, **{"größe": sd["norm.weight"]}), dict(part, **{"größe": sd["norm.weight"]}), pickle_protocol=p)
    big = collections.OrderedDict((f"t{i:04}", torch.full((1 + i % 3,), i, dtype=torch.int32)) for i in range(1203))
    blob = io.BytesIO()
    torch.save(big, blob)
    golden["many"] = dict(pickle=hashlib.sha256(zipfile.ZipFile(blob).read("archive/data.pkl")).hexdigest(), size=len(blob.getvalue()))


def strides():
    a = torch.arange(48, dtype=torch.int32).reshape(6, 8)
    b = randn(2, 3, 4, 5)
    c = torch.arange(300 * 70, dtype=torch.int16).reshape(300, 70)
    d = {
        "whole": a, "transposed": a.t(), "rows": a[2:5], "columns": a[:, 3:6], "steps": a[::2, ::3], "one column": a[:, 7:], "element": a[3, 4],
        "diagonal": torch.diagonal(a), "windows": a.reshape(-1).unfold(0, 5, 2), "overlap": torch.as_strided(a, (4, 3), (1, 2), 7),
        "expanded rows": a[1].expand(5, 8), "expanded columns": a[:, 2:3].expand(6, 4), "expanded all": a[0, 5].expand(2, 3), "empty slice": a[6:],
        "empty columns": a[:, 8:], "channels last": b.to(memory_format=torch.channels_last), "permuted": b.permute(3, 1, 0, 2), "transposed 4d": b.transpose(1, 2),
        "squeezed": b[:1, :, 2:3, :1], "expanded middle": b[:, :1].expand(2, 7, 4, 5).transpose(0, 3), "wide transposed": c.t(), "wide part": c[5:290, 3:60].t(),
        "wide expanded": c[:, None, ::7].expand(300, 3, 10), "tail": c[-1],
    }
    save("strided.pt", d, d)


def types():
    d, values = collections.OrderedDict(), torch.arange(-20, 22, dtype=torch.float64).reshape(6, 7) / 2
    for name in TYPES:
        t = getattr(torch, name)
        x = values.abs().to(torch.float32) if name.startswith("float8") or name.startswith("uint") or name.startswith("bool") else values
        d[f"type.{name}"] = x.to(torch.float32).to(t) if name.startswith("float8") else x.to(t)
        d[f"part.{name}"] = d[f"type.{name}"][1:4, ::2]
    save("types.pt", d, d)
    whole = collections.OrderedDict((k, v) for k, v in d.items() if k.startswith("type."))
    for name, shape in [("scalar", ()), ("empty", (0, 3, 2)), ("vector", (300,)), ("rank5", (1, 2, 1, 3, 2))]:
        whole[name] = randn(*shape)
    whole["wide"] = torch.zeros(1, 70000, dtype=torch.uint8)
    whole["first alias"] = whole["vector"][:]
    whole["second alias"] = whole["type.float16"].view(6, 7)
    order = list(whole)
    order.remove("first alias")
    order.insert(order.index("vector") + 1, "first alias")
    order.remove("second alias")
    order.insert(order.index("type.float16") + 1, "second alias")
    blob = io.BytesIO()  # its folder is then called "archive", as ours is
    torch.save(collections.OrderedDict((k, whole[k]) for k in order), blob)
    (OUT / "stream.pt").write_bytes(blob.getvalue())
    tell(["stream.pt"], {k: v for k, v in whole.items() if "alias" not in k}, [("second alias", "type.float16"), ("first alias", "vector")])


def containers():
    a, b, c = randn(2, 3), randn(3), torch.tensor([1, 2, 3])
    save("nested.pt", {"enc": {"w": a, 0: {"b": b, "note": "x"}}, "n": c, "size": a.shape, "dtype": torch.float16, "none": None, "empty": {}},
         {"enc.w": a, "enc.0.b": b, "n": c})
    sd = collections.OrderedDict([("w", a), ("b", b)])
    adam = {"state": {0: {"exp_avg": c}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    save("wrapped-model.pt", {"model": sd, "optimizer": adam, "epoch": 3, "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("/tmp/x"))}, sd)
    save("wrapped-state-dict.pt", {"state_dict": sd, "optimizer_states": [adam], "callbacks": {"best": c}, "loss": np.float64(0.5), "rng": np.arange(4)}, sd)
    save("wrapped-module.pt", {"module": {"model": sd}}, sd)
    save("beside.pt", {"model": sd, "lm_head": {"weight": c}}, {"model.w": a, "model.b": b, "lm_head.weight": c})
    save("bare.pt", a, {"bare": a})
    x = randn(2, 2)
    x.note = "kept by torch"
    p = torch.nn.Parameter(randn(2, 2))
    p.tag = {"a": 1}
    save("attributes.pt", {"x": x, "p": p}, {"x": x, "p": p})
    save("counted.pt", collections.defaultdict(dict, {"a": a}), {"a": a})
    torch.serialization.set_crc32_options(False)
    save("no-crc.pt", sd, sd)
    torch.serialization.set_crc32_options(True)

    # The same records packed by Python's zipfile: headers with sizes, no padding, other order, times, a folder.
    src = zipfile.ZipFile(OUT / "nested.pt")
    for name, method in (("repacked.pt", zipfile.ZIP_STORED), ("deflated-pickle.pt", zipfile.ZIP_DEFLATED), ("deflated.pt", None)):
        with zipfile.ZipFile(OUT / name, "w") as z:
            if method == zipfile.ZIP_STORED:
                z.writestr(zipfile.ZipInfo("again/"), b"")
            for i in sorted(src.infolist(), key=lambda i: i.filename.endswith("data.pkl")):
                rest = i.filename.split("/", 1)[1]
                packed = zipfile.ZIP_DEFLATED if method is None or method == zipfile.ZIP_DEFLATED and rest == "data.pkl" else zipfile.ZIP_STORED
                z.writestr(zipfile.ZipInfo("again/" + rest, (2026, 11, 23, 1, 2, 4)), src.read(i.filename), packed)
    tensors = {"enc.w": a, "enc.0.b": b, "n": c}
    tell(["repacked.pt"], tensors)
    tell(["deflated-pickle.pt"], tensors)
    refused["deflated.pt"] = "E_UNSUPPORTED"


def sharded():
    from huggingface_hub import save_torch_state_dict
    m = Tied()
    sd = {k: v.detach().clone() for k, v in m.state_dict().items()}
    save_torch_state_dict(sd, OUT, safe_serialization=False, max_shard_size=150)
    files = sorted(p.name for p in OUT.glob("pytorch_model-*.bin"))
    where = json.loads((OUT / "pytorch_model.bin.index.json").read_text())["weight_map"]
    tell(files, {k: v for f in files for k, v in sd.items() if where[k] == f}, index="pytorch_model.bin.index.json")


def legacy():
    """Files as before 1.6. Keys of storages are addresses in memory, so each run gives other bytes."""
    old = dict(_use_new_zipfile_serialization=False)
    a, sd = randn(2, 3), Tied().state_dict()
    tied = {k: v for k, v in sd.items() if k != "lm_head.weight"}
    for p in range(1, 6):
        part = dict(w=a, t=a.t(), row=a[1], half=a.half(), n=torch.arange(5), **{"größe": torch.tensor(2.5)})
        save(f"legacy{p}.pt", dict(part, again=a), part, [("again", "w")], pickle_protocol=p, **old)
    save("legacy-tied.bin", sd, tied, [("lm_head.weight", "embed_tokens.weight")], **old)
    values = torch.arange(-20, 22, dtype=torch.float64).reshape(6, 7) / 2
    d = {}
    for name in TYPES:
        x = values.abs().float()
        d[name] = x.to(getattr(torch, name)) if "complex" not in name else torch.complex(x, -x)
    save("legacy-types.pt", d, d, **old)
    save("legacy-wrapped.pt", {"state_dict": sd, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": a}}, "param_groups": [{"lr": 0.1}]}}, tied,
         [("lm_head.weight", "embed_tokens.weight")], **old)
    save("legacy-parameters.pt", {"p": torch.nn.Parameter(a)}, {"p": a}, **old)
    save("legacy-long.pt", {f"layers.{i}.weight": torch.full((2,), float(i)) for i in range(700)}, {f"layers.{i}.weight": torch.full((2,), float(i)) for i in range(700)}, **old)
    save("legacy-empty.pt", {"e": torch.empty(0, 3), "s": torch.tensor(7)}, {"e": torch.empty(0, 3), "s": torch.tensor(7)}, **old)

    # Parts of storages, which torch wrote until 0.4: this torch loads them from a file that is put together by hand. Values are those it has.
    (OUT / "legacy-parts.pt").write_bytes(parts())
    loaded = torch.load(OUT / "legacy-parts.pt", weights_only=True)
    tell(["legacy-parts.pt"], {k: v for k, v in loaded.items() if k != "again"}, [("again", "a")])


def parts():
    b = io.BytesIO()
    for x in (torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 8}}):
        pickle.dump(x, b, protocol=2)

    class Part:
        def __init__(self, numel, first, count, key):
            self.id = ("storage", torch.FloatStorage, "7", "cpu", numel, key and (key, first, count))

    class View:
        def __init__(self, part, *how):
            self.how = (part, *how)

        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (*self.how, False, collections.OrderedDict())

    class Pickler(pickle._Pickler):
        def persistent_id(self, x):
            return x.id if isinstance(x, Part) else None

    whole, middle, end = Part(16, 0, 0, None), Part(16, 4, 8, "8"), Part(16, 12, 4, "9")
    Pickler(b, 2).dump({"a": View(whole, 0, (4, 4), (4, 1)), "m": View(middle, 1, (3,), (2,)), "t": View(middle, 0, (2, 4), (1, 2)), "e": View(end, 0, (2, 2), (1, 2)),
                        "again": View(whole, 0, (4, 4), (4, 1))})
    pickle.dump(["7"], b, protocol=2)
    b.write((16).to_bytes(8, "little") + randn(16).numpy().tobytes())
    return b.getvalue()


def swap(b, width):
    return np.frombuffer(b, dtype=np.uint8).reshape(-1, width)[:, ::-1].tobytes()


def big_endian():
    """types.pt and others with the bytes of each number swapped, as a big-endian machine writes them. torch has to load the same from both."""
    widths = {"complex64": 4}
    d = {n: (torch.arange(-20, 22).reshape(6, 7) / 2).to(getattr(torch, n)) for n in ("bool", "int8", "int16", "float16", "bfloat16", "int32", "float32", "float64", "int64")}
    d["complex64"] = torch.complex(torch.arange(6.0), -torch.arange(6.0)).reshape(2, 3)
    d["float32.t"], d["complex64.t"], d["int16.part"] = d["float32"].t(), d["complex64"].t(), d["int16"][1:4, ::2]
    d["scalar"], d["empty"] = torch.tensor(1.5), torch.empty(0, 3)
    blob = io.BytesIO()
    torch.save(d, blob)
    src = zipfile.ZipFile(blob)
    keys = {}
    for n, t in d.items():
        keys[n] = t.untyped_storage()._cdata
    order = list(dict.fromkeys(keys.values()))
    width = {str(i): next(widths.get(str(t.dtype)[6:], t.element_size()) for n, t in d.items() if keys[n] == c) for i, c in enumerate(order)}
    with zipfile.ZipFile(OUT / "big-endian.pt", "w") as z:
        for i in src.infolist():
            b = src.read(i.filename)
            rest = i.filename.split("/", 1)[1]
            if rest == "byteorder":
                b = b"big"
            elif rest.startswith("data/") and b:
                b = swap(b, width[rest[5:]])
            z.writestr(zipfile.ZipInfo(i.filename), b, zipfile.ZIP_STORED)
    for n, t in torch.load(OUT / "big-endian.pt", weights_only=True).items():
        assert raw(t) == raw(d[n]) and t.shape == d[n].shape, n
    tell(["big-endian.pt"], d)
    # A type without a storage of its own is swapped by nobody: torch 2.13 loads other numbers than were saved.
    blob = io.BytesIO()
    torch.save({"x": torch.arange(4).to(torch.uint16)}, blob)
    src = zipfile.ZipFile(blob)
    with zipfile.ZipFile(OUT / "big-endian-uint16.pt", "w") as z:
        for i in src.infolist():
            b = src.read(i.filename)
            rest = i.filename.split("/", 1)[1]
            z.writestr(zipfile.ZipInfo(i.filename), b"big" if rest == "byteorder" else swap(b, 2) if rest.startswith("data/") else b, zipfile.ZIP_STORED)
    assert torch.load(OUT / "big-endian-uint16.pt", weights_only=True)["x"].int().tolist() == [0, 256, 512, 768]
    refused["big-endian-uint16.pt"] = "E_UNSUPPORTED"


def training():
    a, b, c = randn(2, 3), randn(3), torch.tensor([1, 2, 3])
    p = torch.nn.Parameter(a.clone())
    opt = torch.optim.Adam([p])
    p.sum().backward()
    opt.step()
    adam, rng = opt.state_dict(), torch.get_rng_state()
    save("list.pt", {"w": [a, (b, c)], "betas": (0.9, 0.999)}, {"w.0": a, "w.1.0": b, "w.1.1": c})
    save("tuple.pt", (a, {"b": b}), {"0": a, "1.b": b})
    save("tutorial.pt", {"epoch": 3, "model_state_dict": {"w": a}, "optimizer_state_dict": adam, "loss": 0.5}, {"w": a})
    save("beside-optimizer.pt", {"w": a, "enc": {"b": b}, "optimizer": adam, "lr_scheduler": {"base_lrs": [0.1], "last": c}, "rng_state": rng, "cuda_rng_state": [rng], "step": 7}, {"w": a, "enc.b": b})
    save("optimizer.pt", adam, {f"state.0.{k}": v for k, v in adam["state"][0].items()})
    save("counter.pt", {"w": a, "n": collections.Counter("knot"), "s": {1, 2}, "size": torch.Size([2]), "device": torch.device("cpu"), "f": np.float32(1.5), "x": np.arange(3)}, {"w": a})


class Sub(torch.Tensor):
    pass


def others():
    """What torch writes and this tool refuses."""
    a = randn(2, 3)
    warnings.simplefilter("ignore")
    for file, obj in [
        ("sparse.pt", {"w": a.to_sparse()}), ("quantized.pt", {"w": torch.quantize_per_tensor(a, 0.1, 0, torch.qint8)}),
        ("meta.pt", {"w": torch.empty(2, device="meta")}), ("conjugate.pt", {"w": torch.complex(a, a).conj()}), ("negative.pt", {"w": torch.complex(a, a).conj().imag}),
        ("subclass.pt", {"w": a.as_subclass(Sub)}), ("whole-module.pt", torch.nn.Linear(2, 2)),
        ("nested-tensor.pt", {"w": torch.nested.nested_tensor([a, a])}),
    ]:
        torch.save(obj, OUT / file)
        refused[file] = "E_UNSUPPORTED"
    for file, t in [("complex128.pt", torch.complex64), ("complex32.pt", torch.complex32), ("bits.pt", None), ("float4.pt", None)]:
        x = {"complex128.pt": a.to(torch.complex128), "complex32.pt": torch.zeros(3, dtype=torch.complex32), "bits.pt": torch.zeros(4, dtype=torch.uint8).view(torch.bits8),
             "float4.pt": torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)}[file]
        torch.save({"w": x}, OUT / file)
        refused[file] = "E_DTYPE"
    torch.save({"w": a.to_sparse_csr()}, OUT / "sparse-csr.pt")
    torch.save({"w": torch.quantize_per_channel(a, torch.ones(2), torch.zeros(2), 0, torch.quint8)}, OUT / "quantized-rows.pt", _use_new_zipfile_serialization=False)
    refused.update({"sparse-csr.pt": "E_UNSUPPORTED", "quantized-rows.pt": "E_UNSUPPORTED"})
    torch.save(torch.nn.Linear(2, 2), OUT / "legacy-module.pt", _use_new_zipfile_serialization=False)
    path = torch.nn.modules.linear.__file__.encode()  # torch writes where its source lies; another path of that length takes its place
    tail = b"/python3.11/site-packages/torch/nn/modules/linear.py"
    at = OUT / "legacy-module.pt"
    at.write_bytes(at.read_bytes().replace(path, b"/usr/lib/".ljust(len(path) - len(tail), b"x") + tail))
    refused["legacy-module.pt"] = "E_UNSUPPORTED"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), OUT / "script.pt")
    refused["script.pt"] = "E_UNSUPPORTED"
    np.savez(OUT / "arrays.npz", w=a.numpy())
    refused["arrays.npz"] = "E_MAGIC"


class Sparse:
    """A stream that leaves zeros out of the file."""

    def __init__(self, f):
        self.f = f

    def write(self, b):
        if len(b) >= 1 << 16:
            self.f.seek(len(b), 1)
        else:
            self.f.write(b)
        return len(b)

    def flush(self):
        self.f.flush()


def zip64():
    d = collections.OrderedDict(small=torch.ones(3), big=torch.zeros((1 << 32) + 4096, dtype=torch.uint8), after=torch.ones(2, 2).bfloat16(), last=torch.empty(0))
    with tempfile.NamedTemporaryFile(dir=OUT) as f:
        torch.save(d, Sparse(f))
        size = f.tell()
        f.seek(0)
        head = f.read(4096).rstrip(b"\0")
        f.seek(size - 4096)
        tail = f.read(4096).lstrip(b"\0")
    (OUT / "zip64.head").write_bytes(head)
    (OUT / "zip64.tail").write_bytes(tail)
    crc = 0
    for _ in range(1 << 12):
        crc = zlib.crc32(bytes(1 << 20), crc)
    golden["zip64"] = dict(size=size, zeros=zlib.crc32(bytes(4096), crc), tensors=[dict(name=n, dtype=TYPES[str(t.dtype)[6:]], shape=list(t.shape)) for n, t in d.items()])


def main():
    OUT.mkdir(exist_ok=True)
    for old in OUT.iterdir():
        if old.is_file() and old.name != "PROVENANCE":
            old.unlink()
    torch.manual_seed(SEED)
    for make in (states, strides, types, containers, sharded, others, zip64, legacy, big_endian, training):
        make()
    (OUT / "golden.json").write_text(json.dumps(dict(files=golden, refused=refused), indent=1, ensure_ascii=False) + "\n")
    provenance.write(OUT, provenance.versions("torch", "numpy", "huggingface_hub"), "$BOWLINE_PEERS/venv/bin/python testdata/gen/pytorch.py", SEED,
                     notes=["golden.json is what torch had in memory, not what any reader returned",
                            "protocol0.pt is what torch writes in protocol 0, and cannot load itself: it has persistent ids as text there",
                            "torch loads what Layout writes, with weights_only=True and mmap=True: go test ./formats/pytorch -run TestPeer -dump DIR, then "
                            "$BOWLINE_PEERS/venv/bin/python testdata/peers/torch_load.py DIR: 78 files with equal types, shapes and bytes, aliases at one address",
                            "22 of the 47 pickles of unsafe_test.go make their file when Python 3.11's pickle loads them (-run TestPayloads -dump DIR)"])


if __name__ == "__main__":
    main()
