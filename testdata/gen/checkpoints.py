"""Write testdata/checkpoints and testdata/ties: random models of known families.

    $BOWLINE_PEERS/venv/bin/python testdata/gen/checkpoints.py

The numbers make faults visible: biases that are not zero, norms away from one, q and k
half as large again so that attention is far from uniform, dimensions that differ from
each other, heads/kv heads = 3. Each tensor has its own generator, seeded by SEED, the
model's name and the tensor's, so that another set of tensors changes nothing else.
"""
import hashlib
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.append(sys.path.pop(0))  # this folder comes last: some files here have the names of libraries
import numpy as np
import torch
import transformers
from safetensors.torch import save_file

import provenance
import vocabularies as vocab

SEED = 20261123
ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "peers"


def fill(model, name, shape, dtype):
    """One tensor. Values of a bf16 or f16 tensor are exact in bf16, those of f32 are not."""
    seed = hashlib.sha256(f"{SEED}:{model}:{name}".encode()).digest()
    x = np.random.RandomState(np.frombuffer(seed, "<u4")).standard_normal(shape)
    if name.endswith(".bias"):
        x *= 0.2
    elif len(shape) == 1:
        x = 1 + 0.3 * x
    elif "embed_tokens" not in name:
        x /= math.sqrt(shape[1])
        if "q_proj" in name or "k_proj" in name:
            x *= 1.5
    x = torch.from_numpy(x.astype(np.float32))
    return x if dtype == torch.float32 else x.to(torch.bfloat16).to(dtype)


def llama(model, dtype, H, A, K, D, F, L, V, bias=False, head=False):
    """The tensors of a LlamaForCausalLM (a MistralForCausalLM has the same)."""
    shapes = {"model.embed_tokens.weight": (V, H)}
    for i in range(L):
        p = f"model.layers.{i}."
        for name, n, m in [("self_attn.q_proj", A * D, H), ("self_attn.k_proj", K * D, H), ("self_attn.v_proj", K * D, H),
                           ("self_attn.o_proj", H, A * D), ("mlp.gate_proj", F, H), ("mlp.up_proj", F, H), ("mlp.down_proj", H, F)]:
            shapes[p + name + ".weight"] = (n, m)
            if bias:
                shapes[p + name + ".bias"] = (n,)
        shapes[p + "input_layernorm.weight"] = shapes[p + "post_attention_layernorm.weight"] = (H,)
    shapes["model.norm.weight"] = (H,)
    if head:
        shapes["lm_head.weight"] = (V, H)
    return {name: fill(model, name, s, dtype) for name, s in shapes.items()}


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def weights(tensors, path):
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)  # the library makes it unreadable to others


def write(out, config, tensors, generation=None):
    """config: a dict in the style of transformers 4, or a config object, written as transformers 5 writes it."""
    if isinstance(config, dict):
        text = json.dumps(dict(sorted(config.items())), indent=2) + "\n"
        (out / "config.json").write_text(text)
    else:
        config.save_pretrained(out)
    if generation:
        vocab.dump(out / "generation_config.json", generation)
    weights(tensors, out / "model.safetensors")


def config4(d, **more):
    """config.json as transformers 4 wrote it for these models."""
    c = dict(architectures=["LlamaForCausalLM"], attention_bias=False, attention_dropout=0.0, hidden_act="silu",
             hidden_size=d["H"], initializer_range=0.02, intermediate_size=d["F"], mlp_bias=False, model_type="llama",
             num_attention_heads=d["A"], num_hidden_layers=d["L"], num_key_value_heads=d["K"], pretraining_tp=1,
             rms_norm_eps=1e-05, rope_scaling=None, use_cache=True, vocab_size=d["V"])
    c.update(more)
    return c


FIM = ["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>"]


def granite_code():
    """As ibm-granite/granite-8b-code: a llama with every bias and a tied head."""
    d = dict(H=96, A=6, K=2, D=16, F=160, L=2, V=331)
    out = fresh(ROOT / "checkpoints/granite-code")
    t = llama("granite-code", torch.bfloat16, bias=True, **d)
    c = config4(d, attention_bias=True, attention_dropout=0.1, mlp_bias=True, bos_token_id=0, eos_token_id=0, pad_token_id=0,
                max_position_embeddings=512, rope_theta=10000000, tie_word_embeddings=True, torch_dtype="bfloat16",
                transformers_version="4.41.0")
    write(out, c, t, dict(_from_model_config=True, bos_token_id=0, eos_token_id=0, pad_token_id=0, transformers_version="4.41.0"))
    vocab.byte_level(out, d["V"], FIM, FIM[0], FIM[0], FIM[0])

    # the same tensors in three shards, config as transformers 5 writes it
    out5 = fresh(ROOT / "checkpoints/granite-code-sharded")
    transformers.LlamaConfig(
        architectures=["LlamaForCausalLM"], vocab_size=331, hidden_size=96, intermediate_size=160, num_hidden_layers=2,
        num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=512, rms_norm_eps=1e-5, attention_bias=True,
        attention_dropout=0.1, mlp_bias=True, bos_token_id=0, eos_token_id=0, pad_token_id=0, tie_word_embeddings=True,
        rope_parameters=dict(rope_type="default", rope_theta=10000000.0), dtype="bfloat16").save_pretrained(out5)
    for f in sorted(out.iterdir()):
        if f.name not in ("config.json", "model.safetensors"):
            shutil.copyfile(f, out5 / f.name)
    names = list(t)
    cut = [0, names.index("model.layers.0.mlp.gate_proj.weight"), names.index("model.layers.1.self_attn.o_proj.weight"), len(names)]
    where = {}
    for i in range(3):
        f = f"model-{i + 1:05d}-of-00003.safetensors"
        weights({n: t[n] for n in names[cut[i] : cut[i + 1]]}, out5 / f)
        where.update({n: f for n in names[cut[i] : cut[i + 1]]})
    meta = dict(total_parameters=sum(v.numel() for v in t.values()), total_size=sum(v.nbytes for v in t.values()))
    (out5 / "model.safetensors.index.json").write_text(
        json.dumps(dict(metadata=meta, weight_map=dict(sorted(where.items()))), indent=2) + "\n")


def llama3():
    """As Llama 3.1: scaled rope, a head of its own, head_dim that is not hidden/heads, several end tokens."""
    d = dict(H=60, A=6, K=2, D=12, F=88, L=3, V=347)
    out = fresh(ROOT / "checkpoints/llama3")
    # wavelengths 6.3, 56, 500...: with an original length of 64 the first pair stays, the second is blended, the rest are slowed
    rope = dict(factor=8.0, high_freq_factor=4.0, low_freq_factor=1.0, original_max_position_embeddings=64, rope_type="llama3")
    c = config4(d, head_dim=d["D"], bos_token_id=339, eos_token_id=[340, 343], max_position_embeddings=512, rope_scaling=rope,
                rope_theta=500000.0, tie_word_embeddings=False, torch_dtype="float32", transformers_version="4.43.0")
    write(out, c, llama("llama3", torch.float32, head=True, **d),
          dict(bos_token_id=339, do_sample=True, eos_token_id=[340, 343], temperature=0.6, top_p=0.9, transformers_version="4.43.0"))
    vocab.tiktoken_like(out, d["V"], ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                                      "<|eot_id|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>", "<|python_tag|>"])


def llama_linear():
    """Linear rope scaling, a config of transformers 5 alone."""
    d = dict(H=48, A=6, K=2, D=10, F=92, L=2, V=293)
    out = fresh(ROOT / "checkpoints/llama-linear")
    c = transformers.LlamaConfig(
        architectures=["LlamaForCausalLM"], vocab_size=293, hidden_size=48, intermediate_size=92, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, head_dim=10, max_position_embeddings=256, rms_norm_eps=1e-6, bos_token_id=0, eos_token_id=0, pad_token_id=None,
        tie_word_embeddings=True, rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=10000.0), dtype="bfloat16")
    write(out, c, llama("llama-linear", torch.bfloat16, **d), dict(bos_token_id=0, eos_token_id=0, transformers_version="5.23.0"))
    vocab.byte_level(out, d["V"], ["<|endoftext|>"], *["<|endoftext|>"] * 3)


def mistral():
    """F16 weights, a head of its own, a SentencePiece vocabulary."""
    d = dict(H=72, A=6, K=2, D=14, F=104, L=2, V=389)
    out = fresh(ROOT / "checkpoints/mistral")
    c = config4(d, architectures=["MistralForCausalLM"], model_type="mistral", head_dim=d["D"], bos_token_id=1, eos_token_id=2,
                max_position_embeddings=640, rope_theta=1000000.0, sliding_window=None, tie_word_embeddings=False,
                torch_dtype="float16", transformers_version="4.42.0")
    for k in ("attention_bias", "mlp_bias", "pretraining_tp", "rope_scaling"):  # keys that Mistral's config has not
        del c[k]
    write(out, c, llama("mistral", torch.float16, head=True, **d),
          dict(_from_model_config=True, bos_token_id=1, eos_token_id=2, transformers_version="4.42.0"))
    vocab.sentence_piece(out, d["V"])


def smollm2():
    """As SmolLM2-Instruct: tied, chat tokens; three rows more than the tokenizer has tokens."""
    d = dict(H=54, A=6, K=2, D=16, F=120, L=2, V=310)
    out = fresh(ROOT / "checkpoints/smollm2")
    c = config4(d, head_dim=d["D"], bos_token_id=1, eos_token_id=2, pad_token_id=2, max_position_embeddings=384, rope_theta=100000,
                rope_interleaved=False, tie_word_embeddings=True, torch_dtype="bfloat16", transformers_version="4.47.1")
    write(out, c, llama("smollm2", torch.bfloat16, **d),
          dict(_from_model_config=True, bos_token_id=1, eos_token_id=2, pad_token_id=2, transformers_version="4.47.1"))
    vocab.byte_level(out, d["V"] - 3, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "<|im_start|>", "<|im_end|>", "<|im_end|>", vocab.CHATML)


def ties():
    """One granite-code in every state that its embedding and head can be found in."""
    d = dict(H=48, A=6, K=2, D=8, F=80, L=2, V=331)
    embed, own = "model.embed_tokens.weight", "lm_head.weight"
    base = llama("ties", torch.bfloat16, bias=True, head=True, **d)
    e, far = base[embed], base.pop(own)
    near = e.clone()
    for row in (5, 17, 300):
        near[row] = (e[row].float() + 0.5 * fill("ties", f"delta.{row}", (1, d["H"]), torch.float32)[0] * math.sqrt(d["H"])).to(e.dtype)
    fresh(ROOT / "ties")
    for state, flag, embedding, head in [
        ("tied", True, e, None), ("untied", False, e, far), ("tied-equal-head", True, e, e), ("tied-different-head", True, e, near),
        ("tied-distinct-head", True, e, far), ("tied-cast", True, e.float(), e), ("untied-equal-head", False, e, e),
        ("untied-missing-head", False, e, None), ("head-only", True, None, e),
        ("absent-no-head", None, e, None), ("absent-equal-head", None, e, e), ("absent-different-head", None, e, far),
    ]:
        t = {n: v for n, v in base.items() if n != embed}
        if embedding is not None:
            t[embed] = embedding.clone()
        if head is not None:
            t[own] = head.clone()
        c = config4(d, attention_bias=True, attention_dropout=0.1, mlp_bias=True, bos_token_id=0, eos_token_id=0, pad_token_id=0,
                    max_position_embeddings=512, rope_theta=10000000, torch_dtype="bfloat16", transformers_version="4.41.0")
        if flag is not None:
            c["tie_word_embeddings"] = flag
        write(fresh(ROOT / "ties" / state), c, t)


def loads(folder, four):
    """Stop unless both transformers load the checkpoint with all of its tensors and no other."""
    said = []
    for args in [[], ["--tf4"]] if four else [[]]:
        r = json.loads(subprocess.run([sys.executable, str(PEERS / "hf_load.py"), str(folder), *args],
                                      check=True, capture_output=True, text=True).stdout)
        if r["missing"] or r["unexpected"] or r["mismatched"]:
            sys.exit(f"{folder.name}: {r}")
        said.append(r["engine_version"])
    return f"{folder.name}: loaded by transformers {' and '.join(said)}, no missing, no unexpected key"


def main():
    for f in (granite_code, llama3, llama_linear, mistral, smollm2, ties):
        f()
    program = "numpy RandomState written by safetensors.torch.save_file; " + provenance.versions(
        "numpy", "torch", "safetensors", "tokenizers", "sentencepiece", "transformers")
    command = "testdata/gen/checkpoints.py"
    # a config of transformers 5 means something else to 4, which knows no rope_parameters
    notes = [loads(ROOT / "checkpoints" / n, n not in ("granite-code-sharded", "llama-linear"))
             for n in ("granite-code", "granite-code-sharded", "llama-linear", "llama3", "mistral", "smollm2")]
    provenance.write(ROOT / "checkpoints", program, command, SEED, notes=notes)
    provenance.write(ROOT / "ties", program, command + "; readers.json by testdata/gen/ties.py", SEED)


if __name__ == "__main__":
    main()
