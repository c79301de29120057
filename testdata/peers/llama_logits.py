"""Logits of a GGUF file by libllama: all positions, F32 cache, no flash attention.

    python llama_logits.py FILE IDS OUT      IDS is 1,2,3; OUT gets logits [T, V] and input_ids
    python llama_logits.py --check           only loads the library
    python llama_logits.py --jobs            {"file", "tokens", "out"} or {"file", "texts"} a line, see jobs.py; texts give ids,
                                             with and without special tokens

The library is $BOWLINE_PEERS/libllama/libllama.so, or $BOWLINE_LIBLLAMA names its folder.
Its parameter structs change with every release, and setting the wrong slot gives wrong
logits without an error, so the slots are found by their documented defaults and the
program stops when those are not where they are expected.
"""
import contextlib
import ctypes
import json
import os
import struct
import sys
from pathlib import Path

PEERS = Path(os.environ.get("BOWLINE_PEERS", Path.home() / ".cache/bowline-peers-ci"))
LIB = Path(os.environ.get("BOWLINE_LIBLLAMA", PEERS / "libllama"))


# Larger than any release's struct. Both are passed in memory, so a callee reads its part of it.
class Params(ctypes.Structure):
    _fields_ = [("raw", ctypes.c_uint8 * 1024)]


class Batch(ctypes.Structure):
    _fields_ = [
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.POINTER(ctypes.c_float)),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    ]


LOG = []


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def keep_log(level, text, _):
    LOG.append((level, text.decode(errors="replace").strip()))


def library():
    ggml = ctypes.CDLL(str(LIB / "libggml.so"))
    lib = ctypes.CDLL(str(LIB / "libllama.so"))
    p = ctypes.c_void_p
    for name, result, arguments in [
        ("llama_log_set", None, [p, p]),
        ("llama_backend_init", None, []),
        ("llama_model_default_params", Params, []),
        ("llama_context_default_params", Params, []),
        ("llama_model_load_from_file", p, [ctypes.c_char_p, Params]),
        ("llama_init_from_model", p, [p, Params]),
        ("llama_model_get_vocab", p, [p]),
        ("llama_vocab_n_tokens", ctypes.c_int32, [p]),
        ("llama_batch_init", Batch, [ctypes.c_int32] * 3),
        ("llama_decode", ctypes.c_int32, [p, Batch]),
        ("llama_get_logits", ctypes.POINTER(ctypes.c_float), [p]),
        ("llama_tokenize", ctypes.c_int32, [p, ctypes.c_char_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_int32), ctypes.c_int32, ctypes.c_bool, ctypes.c_bool]),
        ("llama_set_n_threads", None, [p, ctypes.c_int32, ctypes.c_int32]),
        ("llama_batch_free", None, [Batch]),
        ("llama_free", None, [p]),
        ("llama_model_free", None, [p]),
    ]:
        f = getattr(lib, name)
        f.restype, f.argtypes = result, arguments
    lib.llama_log_set(ctypes.cast(keep_log, p), None)
    ggml.ggml_backend_load_all_from_path.argtypes = [ctypes.c_char_p]
    ggml.ggml_backend_load_all_from_path(str(LIB).encode())
    lib.llama_backend_init()
    return lib


def context_params(lib, tokens):
    """The defaults with room for tokens in one batch, F32 keys and values, flash attention off."""
    c = lib.llama_context_default_params()
    words = list(struct.unpack("<256i", bytes(c.raw)))
    # llama.h: n_ctx, n_batch, n_ubatch are 512, 2048, 512; rope scaling, pooling, attention and
    # flash attention are -1; type_k, type_v are F16 = 1 after two null pointers
    auto = [i for i in range(60) if words[i : i + 4] == [-1] * 4]
    if words[:3] != [512, 2048, 512] or len(auto) != 1:
        raise SystemExit("libllama: llama_context_params has another layout")
    flash = auto[0] + 3
    kv = [i for i in range(flash, 60) if words[i - 4 : i + 2] == [0, 0, 0, 0, 1, 1]]
    if len(kv) != 1:
        raise SystemExit("libllama: the cache types are not where they were")
    words[:3] = [max(512, tokens)] * 3
    words[flash] = 0
    words[kv[0]] = words[kv[0] + 1] = 0
    c.raw[:] = struct.pack("<256i", *words)
    return c


@contextlib.contextmanager
def opened(lib, path):
    LOG.clear()
    model = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
    if not model:
        raise SystemExit("libllama: " + "; ".join(t for level, t in LOG if level == 4 and t))
    yield model
    lib.llama_model_free(model)


def logits(lib, path, ids):
    import numpy as np

    with opened(lib, path) as model:
        vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
        ctx = lib.llama_init_from_model(model, context_params(lib, len(ids)))
        if not ctx:
            raise SystemExit("libllama: no context")
        lib.llama_set_n_threads(ctx, 1, 1)  # its threads wait by spinning: two on a busy machine are slower than one
        # read back what the library believes it was given
        said = " ".join(t for _, t in LOG)
        if "K (f32)" not in said or "V (f32)" not in said or "flash_attn            = disabled" not in said:
            raise SystemExit("libllama: the cache is not F32, or flash attention is on")
        b = lib.llama_batch_init(len(ids), 0, 1)
        b.n_tokens = len(ids)
        for i, t in enumerate(ids):
            b.token[i], b.pos[i], b.n_seq_id[i], b.logits[i] = t, i, 1, 1
            b.seq_id[i][0] = 0
        if rc := lib.llama_decode(ctx, b):
            raise SystemExit(f"libllama: llama_decode: {rc}")
        y = np.ctypeslib.as_array(lib.llama_get_logits(ctx), (len(ids), vocab)).copy()
        lib.llama_batch_free(b)
        lib.llama_free(ctx)
    return y


def tokenize(lib, path, texts):
    """Ids of texts, in which special tokens are looked for; with what the model puts around a text, and without."""
    out = dict(ids=[], plain=[], engine="llama.cpp", engine_version=version())
    with opened(lib, path) as model:
        vocab = lib.llama_model_get_vocab(model)
        for name, special in (("ids", True), ("plain", False)):
            for text in texts:
                raw = text.encode()
                buf = (ctypes.c_int32 * (len(raw) + 16))()
                n = lib.llama_tokenize(vocab, raw, len(raw), buf, len(buf), special, True)
                if n < 0:
                    raise SystemExit(f"libllama: llama_tokenize: {n}")
                out[name].append(list(buf[:n]))
    return out


def write(lib, path, ids, out):
    import numpy as np
    from safetensors.numpy import save_file

    y = logits(lib, path, ids)
    meta = dict(schema="logits/v1", engine="llama.cpp", engine_version=version(), dtype="float32",
                attn_implementation="no flash attention, F32 cache", device="cpu")
    save_file({"logits": y, "input_ids": np.array(ids, np.int64)}, out, meta)
    return dict(file=str(path), out=out, shape=list(y.shape), argmax=y.argmax(1).tolist(), **meta)


def main():
    if sys.argv[1:] == ["--check"]:
        context_params(library(), 512)
        return
    if sys.argv[1:] == ["--jobs"]:
        import jobs

        lib = library()
        return jobs.serve(lambda job: tokenize(lib, job["file"], job["texts"]) if "texts" in job else write(lib, job["file"], job["tokens"], job["out"]))
    path, ids, out = sys.argv[1:]
    print(json.dumps(write(library(), path, [int(x) for x in ids.replace(",", " ").split()], out)))


def version():
    note = LIB / "_nlcBuildMetadata.json"
    return json.loads(note.read_text())["buildOptions"]["llamaCpp"]["release"] if note.exists() else "unknown"


if __name__ == "__main__":
    main()
