"""Load a model directory with transformers and record what it computes.

    python hf_load.py DIR [--tokens 1,2,3 --out FILE [--hidden]] [--tf4]
    python hf_load.py --jobs [--tf4]

Float32, eager attention, CPU. Prints one JSON object: the version, the missing and
unexpected keys, warnings, whether head and embedding share memory. With --tokens,
FILE gets logits and input_ids; with --hidden also embed (what enters the first layer),
L.{i}.out (the output of layer i, before the final norm) and final_norm. With --tokens,
"gap" is the least difference between the last expert chosen and the first not chosen, in
router logits, where a model has experts. --tf4 uses the transformers 4 that
.ci/peers.sh puts beside the newer one.

--jobs reads jobs from stdin (see jobs.py), each one of
    {"dir", "tokens", "out", "hidden"}   as above
    {"new", "config", "dtype", "shard", "seed", "tokens", "out"}
                                         a new LlamaForCausalLM, random in every tensor, saved into the directory new
    {"tokenizer", "gguf", "texts"}       ids by AutoTokenizer of a directory, or of the file gguf in it
    {"shapes"}                           names and shapes of the tensors of the class that a directory's config.json names
"""
import argparse
import json
import logging
import os
import sys
import warnings
from pathlib import Path

PEERS = Path(os.environ.get("BOWLINE_PEERS", Path.home() / ".cache/bowline-peers-ci"))


def automatic(path):
    """The class of transformers that chooses a model's class."""
    import transformers

    kind = json.loads((Path(path) / "config.json").read_text()).get("model_type")
    return {"t5": transformers.AutoModelForSeq2SeqLM, "bert": transformers.AutoModelForMaskedLM}.get(kind, transformers.AutoModelForCausalLM)


def load(path):
    """The model in evaluation mode and what the loader said."""
    import torch
    import transformers

    said = []

    class Keep(logging.Handler):
        def emit(self, record):
            said.append(record.getMessage())

    transformers.logging.disable_progress_bar()
    logging.getLogger("transformers").handlers = [Keep()]
    warnings.showwarning = lambda message, *a, **k: said.append(str(message))
    torch.manual_seed(0)  # for the tensors that a loader makes up
    model, info = automatic(path).from_pretrained(
        path, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    head, embed = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    # A tensor that lies somewhere in a mapped file is multiplied in another order than an aligned one.
    for p in model.parameters():
        p.data = p.data.clone()
    return model.eval(), dict(
        engine="transformers", engine_version=transformers.__version__,
        missing=sorted(info["missing_keys"]), unexpected=sorted(info["unexpected_keys"]),
        mismatched=sorted(map(str, info["mismatched_keys"])), warnings=said,
        tied=head is embed or (not head.is_meta and head.data_ptr() == embed.data_ptr()))


def run(model, ids, hidden=False):
    """The logits, as float32 numpy; with hidden the whole trace of a decoder. The second answer is the gap between experts, or None."""
    import torch

    got, gaps = {}, []

    def keep(name):
        def hook(module, args, out):
            got[name] = (out[0] if isinstance(out, tuple) else out)[0].float().numpy().copy()
        return hook

    def entry(module, args, kwargs):
        got["embed"] = (args[0] if args else kwargs["hidden_states"])[0].float().numpy().copy()

    def gap(module, args, kwargs):
        x = args[0] if args else kwargs["hidden_states"]
        w = getattr(module, "layer", module).weight
        r = torch.nn.functional.linear(x.reshape(-1, w.shape[1]), w).sort(dim=1, descending=True).values
        k = model.config.num_experts_per_tok
        gaps.append((r[:, k - 1] - r[:, k]).min().item())

    if hidden:
        # hidden_states[-1] of transformers is after the final norm, hence hooks
        inner = getattr(model, "model", None) or model.base_model
        layers = inner.layers if hasattr(inner, "layers") else inner.h
        norm = next(getattr(inner, n) for n in ("norm", "ln_f", "final_layer_norm") if hasattr(inner, n))
        layers[0].register_forward_pre_hook(entry, with_kwargs=True)
        norm.register_forward_hook(keep("final_norm"))
        for i, layer in enumerate(layers):
            layer.register_forward_hook(keep(f"L.{i}.out"))
    for name, module in model.named_modules():
        if name.endswith((".router", "_moe.gate", "mlp.gate")):
            module.register_forward_pre_hook(gap, with_kwargs=True)
    with torch.inference_mode():
        got["logits"] = model(torch.tensor([ids]), use_cache=False).logits[0].float().numpy().copy()
    return got, min(gaps, default=None)


def shapes(path):
    """Every tensor that the class would save, tied ones under their source's name alone."""
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(path)
    with torch.device("meta"):
        model = automatic(path).from_config(config)
    out = {n: list(x.shape) for n, x in model.state_dict().items()}
    if model.get_output_embeddings().weight is model.get_input_embeddings().weight:
        head = next(n for n, m in model.named_modules() if m is model.get_output_embeddings())
        del out[head + ".weight"]
    return dict(engine_version=transformers.__version__, shapes=out)


def save(path, tensors, meta):
    """A safetensors file whose metadata is in alphabetical order: save alone orders it differently each run."""
    from safetensors.numpy import save as encode

    raw = encode(tensors, meta)
    n = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + n])
    header["__metadata__"] = dict(sorted(meta.items()))
    text = json.dumps(header, separators=(",", ":")).encode().ljust(n)
    assert len(text) == n
    Path(path).write_bytes(raw[:8] + text + raw[8 + n :])


def metadata(info):
    return dict(schema="logits/v1", engine="transformers", engine_version=info["engine_version"],
                dtype="float32", attn_implementation="eager", device="cpu")


def trace(model, info, ids, out=None, hidden=False):
    """Run a model and say so in info."""
    import numpy as np

    got, gap = run(model, ids, hidden)
    if gap is not None:
        info["gap"] = gap
    info["shape"] = list(got["logits"].shape)
    info["argmax"] = got["logits"].argmax(1).tolist()
    if out:
        save(out, {"input_ids": np.array(ids, np.int64), **got}, metadata(info))
        info["out"] = out
    return info


def new(job):
    """Save a random model as transformers saves them, load it again and run it."""
    import hashlib

    import torch
    import transformers

    torch.manual_seed(job["seed"])
    config = transformers.LlamaConfig(**job["config"], attn_implementation="eager")
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            x = torch.randn(p.shape)
            p.copy_(1 + 0.3 * x if name.endswith("norm.weight") else 0.2 * x if p.dim() == 1 else x / p.shape[1] ** 0.5)
    model = model.to(getattr(torch, job["dtype"]))
    model.save_pretrained(job["new"], max_shard_size=job["shard"])
    tensors = {n: dict(dtype=str(x.dtype)[6:], shape=list(x.shape), sha256=hashlib.sha256(x.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest())
               for n, x in model.state_dict().items()}
    # not the model in memory, whose rope frequencies were rounded to its type
    model, info = load(job["new"])
    return trace(model, {**info, "tensors": tensors}, job["tokens"], job["out"])


def tokenize(job):
    import transformers

    more = {"gguf_file": job["gguf"]} if job.get("gguf") else {}
    t = transformers.AutoTokenizer.from_pretrained(job["tokenizer"], **more)
    return dict(engine="transformers", engine_version=transformers.__version__, kind=type(t).__name__,
                ids=[t(x)["input_ids"] for x in job["texts"]], plain=[t(x, add_special_tokens=False)["input_ids"] for x in job["texts"]])


def do(job):
    if "new" in job:
        return new(job)
    if "tokenizer" in job:
        return tokenize(job)
    if "shapes" in job:
        return shapes(job["shapes"])
    model, info = load(job["dir"])
    return trace(model, info, job["tokens"], job["out"], job.get("hidden", False)) if job.get("tokens") else info


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("dir", nargs="?")
    p.add_argument("--tokens", default="")
    p.add_argument("--out")
    p.add_argument("--hidden", action="store_true")
    p.add_argument("--tf4", action="store_true")
    p.add_argument("--jobs", action="store_true")
    a = p.parse_args()
    if a.tf4:
        sys.path.insert(0, str(PEERS / "tf4"))
    if a.jobs:
        import jobs

        return jobs.serve(do)
    if not a.dir:
        p.error("DIR or --jobs")
    ids = [int(x) for x in a.tokens.replace(",", " ").split()]
    print(json.dumps(do(dict(dir=a.dir, tokens=ids, out=a.out, hidden=a.hidden))))


if __name__ == "__main__":
    main()
