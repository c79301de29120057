"""Write the checkpoints whose ties are more than a pair, and what each class of transformers ties by itself.

    $BOWLINE_PEERS/venv/bin/python testdata/gen/groups.py

checkpoints/t5 and bert are saved by transformers 5, which keeps one tensor of each group; t5-bin and bert-bin hold
the same weights as torch.save writes a state dict: every name, those of a group over one storage. They have no
tokenizer. readers/family_defaults.json is filled by this script's --defaults, which runs beside either transformers:
the config class made without arguments, and the parameters that are one object in a model made from it ("groups"), or
in one made with the flag false at every level; "decides" is the level of a nested config whose flag counts.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(sys.path.pop(0))  # this folder comes last: some files here have the names of libraries

CLASSES = """LlamaForCausalLM MistralForCausalLM GraniteForCausalLM GPTBigCodeForCausalLM Qwen2ForCausalLM Qwen3ForCausalLM Starcoder2ForCausalLM
GemmaForCausalLM Gemma2ForCausalLM Gemma3ForCausalLM Gemma3ForConditionalGeneration GraniteMoeForCausalLM GraniteMoeSharedForCausalLM
GraniteMoeHybridForCausalLM MixtralForCausalLM Phi3ForCausalLM GPT2LMHeadModel GPTNeoXForCausalLM Olmo2ForCausalLM SmolLM3ForCausalLM
T5ForConditionalGeneration BertForMaskedLM""".split()

T5 = dict(
    architectures=["T5ForConditionalGeneration"], d_ff=72, d_kv=8, d_model=36, decoder_start_token_id=0, dropout_rate=0.1, eos_token_id=1,
    feed_forward_proj="relu", initializer_factor=1.0, is_encoder_decoder=True, layer_norm_epsilon=1e-06, model_type="t5", n_positions=96, num_decoder_layers=2,
    num_heads=6, num_layers=1, pad_token_id=0, relative_attention_max_distance=24, relative_attention_num_buckets=16, use_cache=True, vocab_size=257)
BERT = dict(
    architectures=["BertForMaskedLM"], attention_probs_dropout_prob=0.1, hidden_act="gelu", hidden_dropout_prob=0.1, hidden_size=48, initializer_range=0.02,
    intermediate_size=100, layer_norm_eps=1e-12, max_position_embeddings=80, model_type="bert", num_attention_heads=6, num_hidden_layers=2, pad_token_id=0,
    position_embedding_type="absolute", type_vocab_size=2, use_cache=True, vocab_size=263)


def shared(model):
    """The names of parameters that are one object, in groups."""
    names = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(p), []).append(name)
    return sorted(sorted(g) for g in names.values() if len(g) > 1)


def made(cls, **flags):
    """A model of one layer, without memory; flags set tie_word_embeddings of the config and of its text_config."""
    import torch

    config = cls.config_class()
    for part in (config, getattr(config, "text_config", None), getattr(config, "vision_config", None)):
        if part is None:
            continue
        for name in ("num_hidden_layers", "num_decoder_layers"):
            if hasattr(part, name):
                setattr(part, name, 1)
        if getattr(part, "layer_types", None):
            part.layer_types = part.layer_types[:1]
    if config.model_type == "granitemoehybrid":
        config.layer_types = ["attention"]  # transformers 4 cannot make a model of its default, which is none
    for level, flag in flags.items():
        (config if level == "config" else config.text_config).tie_word_embeddings = flag
    with torch.device("meta"):
        return cls(config)


def defaults():
    """What the transformers that is here says of each class."""
    import transformers

    def flag(c):
        return getattr(c, "tie_word_embeddings", None)

    out = {}
    for name in CLASSES:
        cls = getattr(transformers, name)
        config, keys = cls.config_class(), getattr(cls, "_tied_weights_keys", None)
        levels = ["config"] + ["text_config"] * hasattr(config, "text_config")
        said = dict(model_type=config.model_type, tie_word_embeddings=flag(config), false_kept=flag(cls.config_class(tie_word_embeddings=False)) is False,
                    tied_weights_keys=keys, groups=shared(made(cls)), groups_if_false=shared(made(cls, **dict.fromkeys(levels, False))))
        if len(levels) > 1:
            said["text_config"] = dict(model_type=config.text_config.model_type, tie_word_embeddings=flag(config.text_config))
        # the level that alone makes of a model what all levels would
        true, false = shared(made(cls, **dict.fromkeys(levels, True))), said["groups_if_false"]
        said["decides"] = [x for x in levels if true != false and shared(made(cls, **{y: y == x for y in levels})) == true
                           and shared(made(cls, **{y: y != x for y in levels})) == false]
        out[name] = said
    print(json.dumps(dict(version=transformers.__version__, classes=out)))


def models(checkpoints):
    """The four checkpoints; what each holds, a note each."""
    import torch
    import transformers

    for name, c in dict(t5=T5, bert=BERT).items():
        out, raw = checkpoints.fresh(checkpoints.ROOT / "checkpoints" / name), checkpoints.fresh(checkpoints.ROOT / "checkpoints" / (name + "-bin"))
        for folder in (out, raw):
            (folder / "config.json").write_text(json.dumps(dict(sorted((c | dict(transformers_version="4.40.0")).items())), indent=2) + "\n")
        cls = getattr(transformers, c["architectures"][0])
        model = cls(cls.config_class.from_pretrained(out))
        with torch.no_grad():
            for n, p in model.named_parameters():
                p.copy_(checkpoints.fill(name, n, list(p.shape), torch.float32))
        with tempfile.TemporaryDirectory() as t:
            model.save_pretrained(t)
            shutil.copyfile(Path(t) / "model.safetensors", out / "model.safetensors")
        torch.save(model.state_dict(), raw / "pytorch_model.bin")
        yield f"{name}: shared in memory: {json.dumps(shared(model))}"


def main():
    import checkpoints
    import families
    import provenance

    root = checkpoints.ROOT
    notes, names = list(models(checkpoints)), ["t5", "t5-bin", "bert", "bert-bin"]
    for args in ([], ["--tf4"]):
        for name, a in zip(names, families.right(families.ask("hf_load.py", [dict(dir=n) for n in names], *args))):
            notes.append(f"{name}: loaded by transformers {a['engine_version']}, no missing, no unexpected key, tied: {a['tied']}")
    print("\n".join(notes))
    provenance.write(root / "checkpoints", "transformers save_pretrained, torch.save; " + provenance.versions(
        "numpy", "torch", "safetensors", "transformers"), "testdata/gen/groups.py", checkpoints.SEED, notes=notes, part="groups", names=names)

    readers(root, families, provenance)


def readers(root, families, provenance):
    """family_defaults.json."""
    said = {}
    for major, path in {"4": str(families.hf_load.PEERS / "tf4"), "5": ""}.items():
        r = subprocess.run([sys.executable, __file__, "--defaults"], env=dict(os.environ, PYTHONPATH=path), capture_output=True, text=True)
        if r.returncode:
            sys.exit(r.stderr[-3000:])
        said[major] = json.loads(r.stdout)
    table = dict(versions={m: s["version"] for m, s in said.items()}, classes={n: {m: s["classes"][n] for m, s in said.items()} for n in CLASSES})
    (root / "readers/family_defaults.json").write_text(json.dumps(table, indent=1) + "\n")
    provenance.write(root / "readers", "transformers " + " and ".join(table["versions"].values()) + ": config classes made without arguments",
                     "testdata/gen/groups.py", part="groups", names=["family_defaults.json"])


if __name__ == "__main__":
    defaults() if sys.argv[1:] == ["--defaults"] else main()
