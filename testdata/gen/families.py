"""Write checkpoints/NAME and expected/NAME for the families that checkpoints.py, logits.py and gguf_convert.py leave out.

    $BOWLINE_PEERS/venv/bin/python testdata/gen/families.py [NAME...]      with names: those alone

A family is a row of FAMILIES: config.json as its publisher has it, the tokenizer's files, how its numbers are drawn.
Names and shapes of the tensors are those that transformers 4 gives the class that the config names; transformers 5
writes and reads the same. Then, as for the older checkpoints: transformers 5 and 4 load it with no missing and no
unexpected key, transformers 5 records what it computes, llama.cpp's converter converts it, libllama runs the F32 file.

Where llama.cpp computes something else, the row says why: "twin" is what to change in config.json for transformers
to agree with it, and "mend" makes of the converter's file one that libllama computes right.
"""
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(sys.path.pop(0))  # this folder comes last: some files here have the names of libraries
import numpy as np
import torch
import safetensors.torch
from safetensors.numpy import load_file

import checkpoints
import families_mend
import gguf_convert
import logits
import provenance
import vocabularies as vocab

ROOT, PEERS = checkpoints.ROOT, checkpoints.PEERS
sys.path.append(str(PEERS))
import gguf_dump
import hf_load  # for save

BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32
NATIVE = {BF16: "bf16", F16: "f16", F32: "f32"}


def config(kind, cls, dtype, V, version="4.46.0", **more):
    """What every config.json of transformers 4 says, with the class's own keys."""
    c = dict(architectures=[cls], model_type=kind, vocab_size=V, initializer_range=0.02, use_cache=True, transformers_version=version)
    if dtype is not None:
        c["torch_dtype"] = str(dtype)[6:]
    return c | more


def sizes(H, A, K, F, L, D=None):
    return dict(hidden_size=H, num_attention_heads=A, num_key_value_heads=K, intermediate_size=F, num_hidden_layers=L) | ({"head_dim": D} if D else {})


def openai(H, A, L, P):
    """The names that GPT-2 gave the sizes; the feed-forward width is four times the hidden size."""
    return dict(n_embd=H, n_head=A, n_layer=L, n_positions=P, n_inner=None, layer_norm_epsilon=1e-05, attn_pdrop=0.1, embd_pdrop=0.1, resid_pdrop=0.1,
                scale_attn_weights=True)


END = "<|endoftext|>"
ALL0 = dict(bos_token_id=0, eos_token_id=0, pad_token_id=0)
SILU = dict(hidden_act="silu", attention_bias=False, attention_dropout=0.0, rope_scaling=None)
GRANITE = dict(ALL0, **SILU, rms_norm_eps=1e-05, rope_theta=5000000.0, max_position_embeddings=448, tie_word_embeddings=True)
MOE = dict(num_local_experts=5, num_experts_per_tok=2, output_router_logits=False, router_aux_loss_coef=0.0)
BIGCODE = dict(bos_token_id=0, eos_token_id=0, activation_function="gelu_pytorch_tanh", attention_softmax_in_fp32=True, scale_attention_softmax_in_fp32=True,
               tie_word_embeddings=True)
GEMMA = dict(bos_token_id=2, eos_token_id=1, pad_token_id=0, attention_bias=False, attention_dropout=0.0, rms_norm_eps=1e-06)
PHI3 = dict(attention_bias=False, attention_dropout=0.0, embd_pdrop=0.0, resid_pdrop=0.0, hidden_act="silu", rms_norm_eps=1e-05)
NEOX = dict(bos_token_id=0, eos_token_id=0, hidden_act="gelu", layer_norm_eps=1e-05, max_position_embeddings=208, rotary_pct=0.25, tie_word_embeddings=False)
GEMMA_CONTROL = dict(pad="<pad>", eos="<eos>", bos="<bos>", unk="<unk>")
# what the chat needs, behind the SentencePiece vocabulary; some swallow the spaces after them
PHI3_ADDED = [vocab.added_token(s, rstrip=r) for s, r in [(END, False), ("<|assistant|>", True), ("<|placeholder1|>", True), ("<|end|>", False), ("<|user|>", True)]]


def starcoder_tokens(size):
    return lambda out: vocab.byte_level(out, size, checkpoints.FIM, END, END, END)


def qwen_tokens(size):
    return lambda out: vocab.byte_split(
        out, size, vocab.SPLIT_QWEN2, nfc=True, slow=True, last=[END, "<|im_start|>", "<|im_end|>"], config=dict(
            add_prefix_space=False, additional_special_tokens=["<|im_start|>", "<|im_end|>"], bos_token=None, chat_template=vocab.CHATML,
            clean_up_tokenization_spaces=False, eos_token="<|im_end|>", errors="replace", model_max_length=131072, pad_token=END,
            split_special_tokens=False, tokenizer_class="Qwen2Tokenizer", unk_token=None))


def gemma_tokens(size):
    return lambda out: vocab.sentence_piece(
        out, size, GEMMA_CONTROL, prefix=False, symbols=["<start_of_turn>", "<end_of_turn>"], config=dict(tokenizer_class="GemmaTokenizer"))


def phi3_tokens(size):
    return lambda out: vocab.sentence_piece(out, size, added=PHI3_ADDED, config=dict(
        bos_token="<s>", eos_token=END, pad_token=END, legacy=False, model_max_length=4096, padding_side="left"))


def cl100k_tokens(size, **more):
    """OLMo 2's and Phi 4's."""
    return lambda out: vocab.byte_split(
        out, size, vocab.SPLIT_LLAMA3, slow=True, last=[END, "<|im_start|>", "<|im_end|>", "<|pad|>"], config=dict(
            add_prefix_space=False, bos_token=END, clean_up_tokenization_spaces=False, eos_token=END, model_max_length=4096, pad_token="<|pad|>",
            tokenizer_class="GPT2Tokenizer", unk_token=END) | more)


def gpt2_tokens(size):
    return lambda out: vocab.byte_split(out, size, None, slow=True, last=[END], config=dict(
        add_prefix_space=False, bos_token=END, eos_token=END, model_max_length=1024, tokenizer_class="GPT2Tokenizer", unk_token=END))


def neox_tokens(size):
    return lambda out: vocab.byte_split(out, size, None, nfc=True, first=[END, "<|padding|>"], spaces=3, config=dict(
        add_prefix_space=False, bos_token=END, clean_up_tokenization_spaces=True, eos_token=END, tokenizer_class="GPTNeoXTokenizer", unk_token=END))


def f(config, dtype, tokens, pre, T=None, **more):
    """tokens: how its tokenizer's files are written; T: its size where the embedding has more rows than it has tokens."""
    return dict(config=config, dtype=dtype, tokens=tokens, pre=pre, T=T or config["vocab_size"], n=40, embed=1.0, **more)


def bigcode(multi_query, H, V, P):
    return f(config("gpt_bigcode", "GPTBigCodeForCausalLM", BF16, V, "4.28.1", multi_query=multi_query, **openai(H, 6, 2, P), **BIGCODE),
             BF16, starcoder_tokens(V), "refact")


def gpt2(V, P, **more):
    return f(config("gpt2", "GPT2LMHeadModel", None, V, "4.37.0", activation_function="gelu_new", n_ctx=P, bos_token_id=V - 1, eos_token_id=V - 1,
                    **openai(48, 6, 2, P)), F32, gpt2_tokens(V), "gpt-2", **more)


def neox(V, T, F, base, parallel, **more):
    c = config("gpt_neox", "GPTNeoXForCausalLM", F16, V, "4.24.0", rotary_emb_base=base, use_parallel_residual=parallel, **sizes(72, 3, 3, F, 2), **NEOX)
    del c["num_key_value_heads"]
    return f(c, F16, neox_tokens(T), "gpt-2", T, again=(beside_four, "what it makes beside transformers 4.57.6"), **more)


def unmasked(job, tmp):
    """Convert a copy of a checkpoint without attn.bias, which is a mask."""
    out = tmp / "unmasked" / job["src"]  # the converter takes the name of the model from the folder
    shutil.copytree(ROOT / "checkpoints" / job["src"], out, dirs_exist_ok=True)
    t = safetensors.torch.load_file(out / "model.safetensors")
    checkpoints.weights({n: x for n, x in t.items() if not n.endswith(".attn.bias")}, out / "model.safetensors")
    return ask("llama_convert.py", [job | dict(src=str(out))])[0]


def beside_four(job, tmp):
    """Convert with transformers 4, which the converter reads config.json with if it is there."""
    return ask("llama_convert.py", [job], env=dict(os.environ, PYTHONPATH=str(hf_load.PEERS / "tf4")))[0]


# the salt of a mixture is the first with which no token is near to another choice of experts
FAMILIES = {
    "granite": f(config("granite", "GraniteForCausalLM", BF16, 311, "4.47.0", mlp_bias=False, embedding_multiplier=6.5, attention_multiplier=0.21,
                        residual_multiplier=0.43, logits_scaling=3.7, **sizes(60, 6, 2, 92, 2), **GRANITE), BF16, starcoder_tokens(311), "refact") | {"embed": 0.15},
    "gpt-bigcode-mq": bigcode(True, 48, 313, 76),
    "gpt-bigcode-mha": bigcode(False, 54, 317, 68) | {"mend": families_mend.bigcode},
    "qwen2": f(config("qwen2", "Qwen2ForCausalLM", BF16, 307, "4.43.1", bos_token_id=297, eos_token_id=299, hidden_act="silu", attention_dropout=0.0,
                      max_position_embeddings=352, max_window_layers=2, rms_norm_eps=1e-06, rope_theta=1000000.0, sliding_window=352,
                      use_sliding_window=False, tie_word_embeddings=True, **sizes(48, 6, 2, 84, 3)), BF16, qwen_tokens(300), "qwen2", 300),
    "qwen3": f(config("qwen3", "Qwen3ForCausalLM", BF16, 309, "4.51.0", bos_token_id=300, eos_token_id=302, max_position_embeddings=416, max_window_layers=2,
                      rms_norm_eps=1e-06, rope_theta=1000000, sliding_window=None, use_sliding_window=False, tie_word_embeddings=True,
                      **SILU, **sizes(54, 6, 2, 100, 2, 16)), BF16, qwen_tokens(303), "qwen2", 303),
    "starcoder2": f(config("starcoder2", "Starcoder2ForCausalLM", BF16, 331, "4.39.0", attention_dropout=0.1, attention_softmax_in_fp32=True, bos_token_id=0,
                           embedding_dropout=0.1, eos_token_id=0, hidden_act="gelu_pytorch_tanh", max_position_embeddings=288, mlp_type="default",
                           norm_epsilon=1e-05, norm_type="layer_norm", residual_dropout=0.1, rope_theta=999999.4420358813,
                           scale_attention_softmax_in_fp32=True, scale_attn_weights=True, sliding_window=11, use_bias=True, **sizes(60, 6, 2, 106, 2)),
                    BF16, starcoder_tokens(331), "starcoder", twin=dict(sliding_window=None)),
    "gemma": f(config("gemma", "GemmaForCausalLM", BF16, 347, "4.38.0", hidden_act="gelu_pytorch_tanh", hidden_activation=None, max_position_embeddings=336,
                      rope_scaling=None, rope_theta=10000.0, **GEMMA, **sizes(42, 6, 2, 90, 2, 16)), BF16, gemma_tokens(347), None) | {"embed": 42**-0.5},
    "gemma2": f(config("gemma2", "Gemma2ForCausalLM", F32, 351, "4.42.4", attn_logit_softcapping=2.0, cache_implementation="hybrid",
                       final_logit_softcapping=1.5, hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh", max_position_embeddings=272,
                       query_pre_attn_scalar=10, rope_theta=10000.0, sliding_window=7, **GEMMA, **sizes(36, 6, 2, 52, 5, 10)),
                F32, gemma_tokens(351), None) | {"embed": 1 / 6},
    "gemma3": f(config("gemma3_text", "Gemma3ForCausalLM", BF16, 353, "4.50.0.dev0", attn_logit_softcapping=None, cache_implementation="hybrid",
                       final_logit_softcapping=None, hidden_activation="gelu_pytorch_tanh", max_position_embeddings=304, query_pre_attn_scalar=10,
                       rope_local_base_freq=10000, rope_scaling=None, rope_theta=1000000, sliding_window=7, sliding_window_pattern=6,
                       **(GEMMA | dict(eos_token_id=[1, 5])), **sizes(36, 6, 2, 50, 13, 10)), BF16, gemma_tokens(350), None, 350) | {"embed": 1 / 6},
    "granitemoe": f(config("granitemoe", "GraniteMoeForCausalLM", BF16, 319, "4.46.0", embedding_multiplier=5.5, attention_multiplier=0.23,
                           residual_multiplier=0.47, logits_scaling=2.9, **MOE, **sizes(48, 6, 2, 40, 2), **(GRANITE | dict(rms_norm_eps=1e-06))),
                    BF16, starcoder_tokens(319), "refact", salt=0) | {"embed": 0.2},
    "granitemoeshared": f(config("granitemoeshared", "GraniteMoeSharedForCausalLM", BF16, 323, "4.49.0", embedding_multiplier=4.5, attention_multiplier=0.19,
                                 residual_multiplier=0.53, logits_scaling=3.1, shared_intermediate_size=56, **MOE, **sizes(48, 6, 2, 36, 2), **GRANITE),
                          BF16, starcoder_tokens(323), "refact", salt=1) | {"embed": 0.2},
    "granitemoehybrid-dense": f(config(
        "granitemoehybrid", "GraniteMoeHybridForCausalLM", BF16, 325, "4.56.0", embedding_multiplier=12, attention_multiplier=0.17,
        residual_multiplier=0.37, logits_scaling=4.3, layer_types=["attention"] * 3, position_embedding_type="rope", init_method="mup",
        normalization_function="rmsnorm", shared_intermediate_size=76, mamba_chunk_size=256, mamba_conv_bias=True, mamba_d_conv=4, mamba_d_head=24,
        mamba_d_state=32, mamba_expand=2, mamba_n_groups=1, mamba_n_heads=5, mamba_proj_bias=False,
        **(MOE | dict(num_local_experts=0, num_experts_per_tok=0)), **sizes(60, 6, 2, 76, 3), **(GRANITE | dict(rope_theta=10000000))),
        BF16, starcoder_tokens(325), "refact") | {"embed": 0.08},
    "mixtral": f(config("mixtral", "MixtralForCausalLM", BF16, 389, "4.36.0", attention_dropout=0.0, bos_token_id=1, eos_token_id=2, hidden_act="silu",
                        max_position_embeddings=496, rms_norm_eps=1e-05, rope_theta=1000000.0, sliding_window=None, tie_word_embeddings=False,
                        **MOE, **sizes(48, 6, 2, 44, 2, 12)), BF16, lambda out: vocab.sentence_piece(out, 389), None, salt=0),
    "phi3": f(config("phi3", "Phi3ForCausalLM", BF16, 365, "4.40.2", bos_token_id=1, eos_token_id=355, pad_token_id=355, max_position_embeddings=240,
                     original_max_position_embeddings=240, rope_scaling=None, rope_theta=10000.0, sliding_window=13, tie_word_embeddings=False,
                     **PHI3, **sizes(48, 6, 2, 70, 3)), BF16, phi3_tokens(355), None, 360, twin=dict(sliding_window=None)),
    "phi4-mini": f(config("phi3", "Phi3ForCausalLM", BF16, 303, "4.45.0", bos_token_id=296, eos_token_id=296, pad_token_id=296, full_attn_mod=1,
                              interpolate_factor=1, lm_head_bias=False, mlp_bias=False, max_position_embeddings=512, original_max_position_embeddings=16,
                              partial_rotary_factor=0.8, rope_theta=10000.0, sliding_window=512, tie_word_embeddings=True,
                              rope_scaling=dict(type="longrope", long_factor=[1.1, 1.7, 3.3, 9.5], short_factor=[1.0, 1.05, 1.4, 2.2]),
                              **PHI3, **sizes(60, 6, 2, 82, 2)), BF16, cl100k_tokens(300), "dbrx", 300, short=14),
    "gpt2": gpt2(293, 64, bare=True, again=(unmasked, "of a copy without the masks")),
    "gpt2-prefixed": gpt2(295, 72),
    "gpt-neox": neox(312, 308, 110, 10000, True),
    "gpt-neox-sequential": neox(314, 306, 102, 24000, False, twin=dict(rotary_emb_base=10000)),
    "olmo2": f(config("olmo2", "Olmo2ForCausalLM", BF16, 306, "4.47.0", bos_token_id=296, eos_token_id=296, pad_token_id=299, max_position_embeddings=320,
                      rms_norm_eps=1e-06, rope_theta=500000, tie_word_embeddings=False, **SILU, **sizes(48, 6, 2, 88, 3)),
               BF16, cl100k_tokens(300), "dbrx", 300),
}


def draw(family, name, shape, row):
    """One tensor: checkpoints.fill with what differs here. Inputs are the last dimension, but of GPT-2's matrices the first."""
    c = row["config"]
    router = name.endswith((".router.layer.weight", "block_sparse_moe.gate.weight"))
    x = checkpoints.fill(f"{family}.{row['salt']}" if router else family, name, shape, F32)
    if name.endswith(".bias"):
        pass
    elif len(shape) == 1:
        x = x - 1 if c["model_type"].startswith("gemma") else x
    elif name.endswith("embed_tokens.weight"):
        x = x * row["embed"]
    elif name.endswith(("wte.weight", "wpe.weight", "embed_in.weight")):
        x = x * math.sqrt(shape[1]) * (0.5 if "wpe" in name else 1)
    else:
        x = x * math.sqrt(shape[1] / (shape[0] if c["model_type"] == "gpt2" else shape[-1])) * (3 if router else 1)
        if name.endswith(("qkv_proj.weight", "c_attn.weight", "query_key_value.weight")):
            x = enlarge(x, c)
    return x if row["dtype"] == F32 else x.to(BF16).to(row["dtype"])


def enlarge(x, c):
    """A fused matrix, its queries and keys half as large again."""
    d = c.get("hidden_size", c.get("n_embd")) // c.get("num_attention_heads", c.get("n_head"))
    if c["model_type"] == "gpt2":  # columns: all q, all k, all v
        own = torch.arange(x.shape[1]) < x.shape[1] // 3 * 2
        return torch.where(own, 1.5 * x, x)
    rows = torch.arange(x.shape[0])
    if c["model_type"] == "gpt_neox" or c.get("multi_query") is False:  # q, k, v of one head after those of another
        own = rows // d % 3 < 2
    elif c["model_type"] == "gpt_bigcode":
        own = rows < x.shape[0] - d
    else:
        own = rows < (c["num_attention_heads"] + c["num_key_value_heads"]) * d
    return torch.where(own[:, None], 1.5 * x, x)


def ask(script, jobs, *args, env=None):
    """The answers to jobs, by one process."""
    r = subprocess.run([sys.executable, str(PEERS / script), "--jobs", *args], input="".join(json.dumps(j) + "\n" for j in jobs),
                       capture_output=True, text=True, cwd=ROOT / "checkpoints", env=env)
    answers = [json.loads(line) for line in r.stdout.splitlines()]
    if len(answers) != len(jobs):
        sys.exit(f"{script}: {r.stderr[-2000:]}")
    return answers


def right(answers):
    for a in answers:
        if "error" in a or a.get("missing") or a.get("unexpected") or a.get("mismatched"):
            sys.exit(json.dumps(a))
    return answers


def write(rows):
    """The checkpoints."""
    for name, row in rows.items():
        out, c = checkpoints.fresh(ROOT / "checkpoints" / name), row["config"]
        vocab.dump(out / "config.json", dict(sorted(c.items())))
        ids = {k: c[k] for k in ("bos_token_id", "eos_token_id", "pad_token_id") if k in c}
        vocab.dump(out / "generation_config.json", dict(_from_model_config=True, **ids, transformers_version=c["transformers_version"]))
        row["tokens"](out)
    answers = right(ask("hf_load.py", [dict(shapes=name) for name in rows], "--tf4"))
    for (name, row), answer in zip(rows.items(), answers):
        t = {n: draw(name, n, s, row) for n, s in answer["shapes"].items()}
        if row.get("bare"):  # as OpenAI's file: no prefix, and the causal mask of every layer
            t = {n.removeprefix("transformer."): x for n, x in t.items()}
            p = row["config"]["n_positions"]
            t |= {f"h.{i}.attn.bias": torch.ones(p, p).tril()[None, None] for i in range(row["config"]["n_layer"])}
        checkpoints.weights(t, ROOT / "checkpoints" / name / "model.safetensors")


def ids(name, row):
    logits.TOKENS[name] = row["n"]
    return logits.tokens(name, row["T"])


def record(rows, tmp):
    """transformers 5's numbers, and what either says of each checkpoint: a note a family."""
    for name in rows:
        (checkpoints.fresh(ROOT / "expected" / name) / "gguf").mkdir()
    jobs = [dict(dir=n, tokens=ids(n, r), out=str(ROOT / "expected" / n / "logits.safetensors"), hidden=True) for n, r in rows.items()]
    five = right(ask("hf_load.py", jobs))
    four = right(ask("hf_load.py", [j | dict(out=str(tmp / j["dir"])) for j in jobs], "--tf4"))
    right(ask("hf_load.py", [j | dict(tokens=j["tokens"][: rows[j["dir"]]["short"]], out=j["out"].replace("logits.", "short."))
                             for j in jobs if "short" in rows[j["dir"]]]))
    notes = []
    for j, a, b in zip(jobs, five, four):
        if a.get("gap", 1) < 0.03:
            sys.exit(f"{j['dir']}: choose another salt, the experts are only {a['gap']:.4f} apart")
        apart = gguf_convert.nmse(load_file(tmp / j["dir"])["logits"], load_file(j["out"])["logits"])
        notes.append(f"{j['dir']}: loaded by transformers {a['engine_version']} and {b['engine_version']}, no missing, no unexpected key; "
                     f"their logits differ by NMSE {apart:.1e}" + (f"; router gap {a['gap']:.3f}" if "gap" in a else ""))
    return notes


def llama(rows, tmp):
    """The converter's files and libllama's logits; a note for each fact."""
    jobs, notes = [], []
    for name, row in rows.items():
        for t in dict.fromkeys((NATIVE[row["dtype"]], "f32")):
            jobs.append(dict(src=name, out=str(tmp / f"{name}-{t}.gguf"), outtype=t, **({"pre": row["pre"]} if row["pre"] else {})))
    for j, a in zip(jobs, ask("llama_convert.py", jobs)):
        if "error" in a:
            again, how = rows[j["src"]].get("again", (None, None))
            notes.append(f"{j['src']}, {j['outtype']}: the converter says {a['error']!r}" + (f"; gguf/{j['outtype']}.json is {how}" if again else ""))
            right([again(j, tmp)] if again else [a])
        (ROOT / "expected" / j["src"] / "gguf" / f"{j['outtype']}.json").write_text(gguf_convert.dumps(gguf_dump.dump(j["out"])))
    run = {n: dict(file=str(tmp / f"{n}-f32.gguf"), tokens=ids(n, r), out=str(tmp / f"{n}.logits")) for n, r in rows.items()}
    said = dict(zip(run, ask("llama_logits.py", run.values())))
    twins = {n: r["twin"] for n, r in rows.items() if "twin" in r}
    for n, change in twins.items():
        shutil.copytree(ROOT / "checkpoints" / n, tmp / ("twin-" + n))
        vocab.dump(tmp / ("twin-" + n) / "config.json", rows[n]["config"] | change)
    right(ask("hf_load.py", [dict(dir=str(tmp / ("twin-" + n)), tokens=run[n]["tokens"], out=str(tmp / ("twin-" + n) / "logits")) for n in twins]))
    for name, row in rows.items():
        out, a = ROOT / "expected" / name, said[name]
        want = load_file(out / "logits.safetensors")
        if row.get("mend"):
            notes.append(f"{name}: the converter's F32 file, libllama: {a.get('error') or worst(run[name]['out'], want)}")
            how = row["mend"](run[name]["file"], str(tmp / "mended.gguf"), row["config"])
            a = right(ask("llama_logits.py", [run[name] | dict(file=str(tmp / "mended.gguf"))]))[0]
            (out / "gguf/f32-mended.json").write_text(gguf_convert.dumps(gguf_dump.dump(str(tmp / "mended.gguf"))))
            notes.append(f"{name}: gguf/f32-mended.json and llamacpp.safetensors are of that file after gguf-py changed it: {how}")
        if "error" in a:
            vocab.dump(out / "llamacpp.json", dict(engine="llama.cpp", error=a["error"]))
            notes.append(f"{name}: libllama does not load the converter's F32 file: {a['error']}")
            continue
        hf_load.save(out / "llamacpp.safetensors", load_file(run[name]["out"]), {k: a[k] for k in (
            "schema", "engine", "engine_version", "dtype", "attn_implementation", "device")})
        note = f"{name}: llamacpp.safetensors against logits.safetensors, {worst(run[name]['out'], want)}"
        if name in twins:
            twin = load_file(tmp / ("twin-" + name) / "logits")
            note += f"; against transformers with {json.dumps(twins[name])} in config.json, {worst(run[name]['out'], twin)}"
        notes.append(note)
    return notes


def worst(path, want):
    """Only the columns that both have: the converter cuts rows of the embedding that have no token, for gemma3."""
    got = load_file(path)["logits"]
    n = min(got.shape[1], want["logits"].shape[1])
    less = "" if n == want["logits"].shape[1] else f" over its {n} columns of {want['logits'].shape[1]}"
    return f"NMSE of the worst row {gguf_convert.nmse(got[:, :n], want['logits'][:, :n]):.1e}{less}"


def main():
    rows = {n: FAMILIES[n] for n in sys.argv[1:] or FAMILIES}
    write(rows)
    with tempfile.TemporaryDirectory() as t:
        loaded = record(rows, Path(t))
        facts = llama(rows, Path(t))
    own, command = provenance.versions("torch", "transformers", "numpy"), "testdata/gen/families.py"
    describe("checkpoints", "numpy RandomState written by safetensors.torch.save_file; " + provenance.versions(
        "numpy", "torch", "safetensors", "tokenizers", "sentencepiece", "transformers"), command, loaded, rows, checkpoints.SEED)
    converter = "convert_hf_to_gguf.py of llama.cpp 0c1e57098 (llama-cpp-python 0.3.36)"
    pins = json.dumps({n: r["pre"] for n, r in FAMILIES.items() if r["pre"]})
    describe("expected", f"logits, short: transformers ({own}); gguf/*.json: {converter} read by gguf-py {provenance.versions('gguf')}; "
             "llamacpp: libllama of llama.cpp v0.5.0 (prebuilt, node-llama-cpp 3.22.1)", command, facts, rows, first=[f"pre-tokenizer names given: {pins}"])


def describe(folder, program, command, notes, rows, seed="none", first=()):
    """PROVENANCE.families; what it said of the families that did not run now stays."""
    old = ROOT / folder / "PROVENANCE.families"
    said = [line[9:] for line in old.read_text().splitlines() if line.startswith("note:    ")] if old.exists() else []
    family = lambda note: note.split(":")[0].split(",")[0]
    notes = [n for n in said if family(n) not in rows and family(n) in FAMILIES] + notes
    print("\n".join(notes))
    notes.sort(key=lambda n: list(FAMILIES).index(family(n)))
    provenance.write(ROOT / folder, program, command, seed, notes=[*first, *notes], part="families", names=FAMILIES)


if __name__ == "__main__":
    main()
