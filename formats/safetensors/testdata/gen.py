"""Makes the fixtures of this folder; see PROVENANCE for what each is.

    python gen.py                 types, numpy, shards and golden.json
    python gen.py DIR             verdicts.json and ours.json, from the files that `go test -run TestDump -dump DIR` leaves in DIR
"""
import hashlib
import json
import os
import sys

import numpy
import safetensors
import safetensors.numpy
import safetensors.torch
import torch

HERE = os.path.dirname(os.path.abspath(__file__))


def listing(path):
    """What the reference reads: dtype, shape and digest of each tensor, and the metadata."""
    with open(path, "rb") as f:
        raw = f.read()
    out = {"sha256": hashlib.sha256(raw).hexdigest(), "tensors": {}}
    for name, t in safetensors.deserialize(raw):
        out["tensors"][name] = {"dtype": t["dtype"], "shape": list(t["shape"]), "sha256": hashlib.sha256(bytes(t["data"])).hexdigest()}
    with safetensors.safe_open(path, framework="np") as f:
        out["metadata"] = f.metadata()
    return out


def dump(name, value):
    with open(os.path.join(HERE, name), "w") as f:
        json.dump(value, f, indent=1, sort_keys=True, ensure_ascii=True)
        f.write("\n")


def types():
    g = torch.Generator().manual_seed(1)

    def raw(shape, dtype, width):
        n = 1
        for d in shape:
            n *= d
        b = torch.randint(0, 256, (n * width,), dtype=torch.uint8, generator=g)
        return b.view(dtype).reshape(shape)

    t = {
        "bool": torch.tensor([[True, False], [False, True]]),
        "u8": raw((5,), torch.uint8, 1),
        "i8": raw((5,), torch.int8, 1),
        "f8_e5m2": raw((3, 1), torch.float8_e5m2, 1),
        "f8_e4m3": raw((3, 1), torch.float8_e4m3fn, 1),
        "f8_e8m0": raw((2, 2), torch.float8_e8m0fnu, 1),
        "f8_e4m3fnuz": raw((2,), torch.float8_e4m3fnuz, 1),
        "f8_e5m2fnuz": raw((2,), torch.float8_e5m2fnuz, 1),
        "f4": raw((2, 2), torch.float4_e2m1fn_x2, 1),
        "i16": raw((3,), torch.int16, 2),
        "u16": raw((3,), torch.uint16, 2),
        "f16": raw((2, 3), torch.float16, 2),
        "bf16": raw((3, 2), torch.bfloat16, 2),
        "i32": raw((2,), torch.int32, 4),
        "u32": raw((2,), torch.uint32, 4),
        "f32": raw((1, 2, 3), torch.float32, 4),
        "c64": raw((2,), torch.complex64, 8),
        "f64": raw((2,), torch.float64, 8),
        "i64": raw((), torch.int64, 8),
        "u64": raw((1,), torch.uint64, 8),
        "empty": torch.zeros((0, 4), dtype=torch.float32),
    }
    safetensors.torch.save_file(t, os.path.join(HERE, "types.safetensors"), metadata={"format": "pt"})


def array():
    t = {
        "naïve.模型 🪢": numpy.arange(6, dtype=numpy.float32).reshape(2, 3),
        'quote " back \\ slash /': numpy.array(-0.0, dtype=numpy.float64),
        "line\nfeed\x01": numpy.zeros((2, 0), dtype=numpy.int16),
        "../up": numpy.array([numpy.nan, numpy.inf], dtype=numpy.float16),
    }
    safetensors.numpy.save_file(t, os.path.join(HERE, "numpy.safetensors"), metadata={"ключ": "значение\n"})


def shards():
    import transformers

    torch.manual_seed(1)
    config = transformers.LlamaConfig(vocab_size=24, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
                                      num_key_value_heads=1, tie_word_embeddings=False)
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(os.path.join(HERE, "shards"), max_shard_size="1KB")
    for name in os.listdir(os.path.join(HERE, "shards")):
        if "safetensors" not in name:
            os.remove(os.path.join(HERE, "shards", name))


def judge(folder):
    with open(os.path.join(folder, "cases.json")) as f:
        cases = json.load(f)
    verdicts = {}
    for name, path in cases.items():
        with open(os.path.join(folder, path), "rb") as f:
            raw = f.read()
        try:
            safetensors.deserialize(raw)
            verdicts[name] = "accepted"
        except safetensors.SafetensorError as e:
            verdicts[name] = str(e)[:100]
    dump("verdicts.json", verdicts)
    dump("ours.json", listing(os.path.join(folder, "ours.safetensors")))


if __name__ == "__main__":
    print("safetensors", safetensors.__version__, "torch", torch.__version__, "numpy", numpy.__version__)
    if len(sys.argv) > 1:
        judge(sys.argv[1])
    else:
        types()
        array()
        shards()
        paths = ["types.safetensors", "numpy.safetensors"] + ["shards/" + n for n in sorted(os.listdir(os.path.join(HERE, "shards")))]
        dump("golden.json", {p: listing(os.path.join(HERE, p)) for p in paths if p.endswith(".safetensors")})
