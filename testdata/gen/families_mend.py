"""What a GGUF file of llama.cpp's converter must look like for libllama to compute what transformers does.

The file is rewritten with gguf-py: the changes are ours, the proof that they are right is libllama's logits.
"""
import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter


def rewrite(source, target, tensor=lambda name, x: x, keys=None):
    """An F32 file again, its tensors through tensor, its keys as they were but for those given as {name: value}."""
    r = GGUFReader(source)
    field = {f.name: f for f in r.fields.values() if not f.name.startswith("GGUF.")}
    w = GGUFWriter(target, field["general.architecture"].contents())
    for name, f in field.items():
        if name == "general.architecture":
            continue
        value = (keys or {}).get(name, f.contents())
        if f.types[0] == GGUFValueType.ARRAY:
            w.add_key_value(name, value, f.types[0], sub_type=f.types[-1])
        else:
            w.add_key_value(name, value, f.types[0])
    for t in r.tensors:
        # gguf-py gives the bytes in the order of numpy: the first dimension of the file is the last
        w.add_tensor(t.name, np.ascontiguousarray(tensor(t.name, np.array(t.data))))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def bigcode(source, target, c):
    """multi_query false: q, k, v of each head after each other become all q, all k, all v; as many heads for k and v as for q."""
    heads = c["n_head"]
    d = c["n_embd"] // heads

    def split(name, x):
        return x.reshape(heads, 3, d, -1).swapaxes(0, 1).reshape(x.shape) if ".attn_qkv." in name else x

    rewrite(source, target, split, {"starcoder.attention.head_count_kv": heads})
    return f"attn_qkv from [head, qkv, {d}] to [qkv, head, {d}], head_count_kv {heads} for 1"
