"""Write testdata/torchchat: what TorchChat's own converter, loader and model make of checkpoints.

    git clone https://github.com/pytorch/torchchat CHECKOUT && git -C CHECKOUT checkout a1a7f370
    $BOWLINE_PEERS/venv/bin/python testdata/gen/torchchat.py --torchchat CHECKOUT     after checkpoints.py and logits.py
    ... testdata/gen/torchchat.py --torchchat CHECKOUT --load DIR [--tokens LIST|FILE] [-o OUT.safetensors]

The second form loads DIR/model.pth with DIR/params.json as `torchchat.py generate` does: its builder, a model on the
meta device, torch.load with mmap and weights_only, a strict load, float32. It exits 1 with the loader's words where that
fails, prints one JSON object where it does not, and writes OUT (logits, input_ids) if asked to. Tokens are a list
1,2,3, a text file of such a list, or a safetensors file with input_ids.

TorchChat is in no package registry, so it is taken from a checkout; only its imports are met from the venv. Its source
runs unchanged but for three answers: parameters are looked up in a folder of ours instead of its own model_params, which
knows published models alone; its quantizers, which want torchao and are not used, are left out; and the converter gets
the tensors of a safetensors file by name, for safetensors.torch.load gives them in another order each run.
"""
import argparse
import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from unittest import mock

sys.path.append(sys.path.pop(0))  # this folder comes last: some files here have the names of libraries
import numpy as np
import safetensors.torch
import torch
from safetensors.torch import load_file

import provenance

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "torchchat"
PEERS = ROOT / "peers"
sys.path.append(str(PEERS))
import hf_load  # for save

COMMIT = "a1a7f3702e52fffd798e302fa049b56b608602aa"
SEED = 20261123
OTHERS = ["llama-linear", "llama3", "mistral", "smollm2"]  # head_dim is not hidden_size / heads


# --- TorchChat ---------------------------------------------------------------


def ordered(raw, load=safetensors.torch.load):
    return dict(sorted(load(raw).items()))


class TorchChat:
    def __init__(self, checkout):
        self.commit = subprocess.run(["git", "-C", checkout, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
        quantize = types.ModuleType("torchchat.utils.quantize")
        quantize.quantize_model = None
        sys.modules[quantize.__name__] = quantize
        sys.path.insert(0, str(Path(checkout).resolve()))
        with contextlib.redirect_stdout(sys.stderr):
            from torchchat import model
            from torchchat.cli import builder, convert_hf_checkpoint
            from torchchat.utils.build_utils import set_precision
        set_precision(torch.float32)
        self.model, self.builder, self.converter = model, builder, convert_hf_checkpoint

    def convert(self, source, params, out):
        """Convert a Hugging Face directory of ours, by way of a copy: the converter wants an index even of one file, and writes beside it."""
        out.mkdir(parents=True, exist_ok=True)
        (out / "params.json").write_text(json.dumps(params, indent=2) + "\n")
        with tempfile.TemporaryDirectory() as tmp, contextlib.redirect_stdout(sys.stderr):
            tmp = Path(tmp)
            for f in source.glob("*.safetensors*"):
                shutil.copyfile(f, tmp / f.name)
            if not list(tmp.glob("*.index.json")):
                names = load_file(tmp / "model.safetensors")
                (tmp / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {n: "model.safetensors" for n in names}}))
            shutil.copyfile(out / "params.json", tmp / "source.json")
            with mock.patch.object(self.model, "config_path", tmp), mock.patch.object(safetensors.torch, "load", ordered):
                self.converter.convert_hf_checkpoint(model_dir=tmp, model_name="source")
            shutil.copyfile(tmp / "model.pth", out / "model.pth")

    def load(self, folder):
        args = self.builder.BuilderArgs(checkpoint_path=Path(folder) / "model.pth", params_path=Path(folder) / "params.json",
                                        device="cpu", precision=torch.float32)
        with contextlib.redirect_stdout(sys.stderr):
            return self.builder._initialize_model(args, {})

    def run(self, model, ids, hidden=False):
        """Logits of one causal pass, as its prefill makes them; with hidden, what goes into the head instead."""
        got = {}
        if hidden:
            model.model.norm.register_forward_hook(lambda module, args, out: got.update(norm=out[0].double().numpy()))
        with torch.no_grad():
            model.setup_caches(max_batch_size=1, max_seq_length=len(ids))
            y = model(torch.tensor([ids], dtype=torch.int), torch.arange(len(ids), dtype=torch.int))
        return got["norm"] if hidden else y[0].float().numpy().copy()

    def save(self, path, ids, logits):
        meta = dict(schema="logits/v1", engine="torchchat", engine_version=self.commit, torch=torch.__version__.split("+")[0],
                    dtype="float32", device="cpu")
        hf_load.save(path, {"input_ids": np.array(ids, np.int64), "logits": logits}, meta)


def params(c):
    """The keys of TorchChat's own model_params for Granite Code, with the values of a config.json."""
    rope = c.get("rope_scaling") or {k: v for k, v in (c.get("rope_parameters") or {}).items() if k != "rope_theta"}
    kind = rope.get("rope_type", rope.get("type", "default"))
    keys = ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"]
    p = dict(block_size=c["max_position_embeddings"], dim=c["hidden_size"], hidden_dim=c["intermediate_size"],
             n_heads=c["num_attention_heads"], n_local_heads=c["num_key_value_heads"], n_layers=c["num_hidden_layers"],
             rope_base=c.get("rope_theta") or c["rope_parameters"]["rope_theta"], vocab_size=c["vocab_size"], use_hf_tokenizer=True,
             tokenizer_prepend_bos=False, norm_eps=c["rms_norm_eps"], max_seq_length=min(8192, c["max_position_embeddings"]),
             rope_scaling=None if kind == "default" else {k: rope[k] for k in keys if k in rope},
             attention_bias=c.get("attention_bias", False), feed_forward_bias=c.get("mlp_bias", False),
             tie_word_embeddings=bool(c.get("tie_word_embeddings")))
    for k in ("embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling"):
        if k in c:
            p[k] = c[k]
    return p


# --- what is recorded --------------------------------------------------------


def sources():
    """Checkpoints that TorchChat can express and testdata/checkpoints has not: head_dim = hidden_size / heads, no bias."""
    from checkpoints import config4, fresh, llama, write

    def make(name, dtype, d, head, **more):
        c = config4(d, bos_token_id=0, eos_token_id=0, transformers_version="4.47.1", tie_word_embeddings=not head, **more)
        write(fresh(OUT / name / "hf"), c, llama("torchchat/" + name, dtype, head=head, **d))

    make("llama", torch.bfloat16, dict(H=60, A=6, K=2, D=10, F=92, L=2, V=293), True,
         max_position_embeddings=256, rope_theta=10000.0, torch_dtype="bfloat16")
    # wavelengths 6.3, 167, 4443...: with an original length of 256 the first pair stays, the second is blended, the others are slowed
    make("llama3-rope", torch.float32, dict(H=48, A=6, K=2, D=8, F=88, L=2, V=347), False, max_position_embeddings=512, rope_theta=500000.0,
         rope_scaling=dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=256, rope_type="llama3"),
         torch_dtype="float32")
    make("granite", torch.bfloat16, dict(H=54, A=9, K=3, D=6, F=76, L=2, V=311), False, architectures=["GraniteForCausalLM"],
         model_type="granite", max_position_embeddings=384, rope_theta=10000.0, torch_dtype="bfloat16", embedding_multiplier=12.0,
         attention_multiplier=0.3125, residual_multiplier=0.22, logits_scaling=8.0)
    return ["llama", "llama3-rope", "granite"]


def reference(name, folder):
    """The ids and transformers' logits: recorded already, or recorded now."""
    path = ROOT / "expected" / name / "logits.safetensors"
    if folder.parent == ROOT / "checkpoints":
        return load_file(path)
    vocab = json.loads((folder / "config.json").read_text())["vocab_size"]
    ids = [0, vocab - 1, 1, vocab - 2] + [i * 37 % vocab for i in range(1, 35)] + [0, vocab - 1]
    path = OUT / name / "transformers.safetensors"
    subprocess.run([sys.executable, str(PEERS / "hf_load.py"), str(folder), "--out", str(path), "--tokens", ",".join(map(str, ids))],
                   check=True, stdout=subprocess.DEVNULL)
    return load_file(path)


def nmse(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float((((a - b) ** 2).sum(1) / (b**2).sum(1)).max())


def config(folder):
    return json.loads((folder / "config.json").read_text())


def fixture(tc, name, folder):
    tc.convert(folder, params(config(folder)), OUT / name)
    want = reference(name, folder)
    ids = want["input_ids"].tolist()
    got = tc.run(tc.load(OUT / name), ids)
    tc.save(OUT / name / "logits.safetensors", ids, got)
    return f"{name}: logits.safetensors against transformers, NMSE of the worst row {nmse(got, want['logits'].numpy()):.1e}"


def words(e):
    return f"{type(e).__name__}: {' '.join(str(e).split())}"


def refused(tc, name):
    """Convert and load what TorchChat cannot say, and keep its words."""
    folder = ROOT / "checkpoints" / name
    c = config(folder)
    why = f"checkpoints/{name}: refused, head_dim {c['head_dim']} is not {c['hidden_size']} / {c['num_attention_heads']}, which TorchChat takes: "
    with tempfile.TemporaryDirectory() as tmp:
        try:
            tc.convert(folder, params(c), Path(tmp))
        except Exception as e:
            return why + "its converter says " + words(e)
        try:
            tc.run(tc.load(tmp), [0, 1])
        except Exception as e:
            return why + "its converter says nothing, its loader " + words(e)[:160]
    sys.exit(f"{name}: TorchChat takes it, so it should be a fixture")


def sharded(tc):
    """Three shards give the very tensors of one file."""
    one = torch.load(OUT / "granite-code/model.pth", weights_only=True)
    with tempfile.TemporaryDirectory() as tmp:
        folder = ROOT / "checkpoints/granite-code-sharded"
        tc.convert(folder, params(config(folder)), Path(tmp))
        other = torch.load(Path(tmp) / "model.pth", weights_only=True)
    if one.keys() != other.keys() or any(not torch.equal(one[k], other[k]) for k in one):
        sys.exit("granite-code-sharded converts to something else than granite-code")


def ties(tc):
    """Each state of a tie: what the converter stores, whether it loads, and with which head it computes (ties.head)."""
    from ties import IDS, head

    result, last = {}, None
    states = sorted(p for p in (ROOT / "ties").iterdir() if p.is_dir())
    for folder in sorted(states, key=lambda p: p.name != "tied"):  # tied first: it gives the body's last hidden state
        with tempfile.TemporaryDirectory() as tmp:
            tmp = Path(tmp)
            tc.convert(folder, params(config(folder)), tmp)
            names = torch.load(tmp / "model.pth", weights_only=True)
            r = result[folder.name] = {n: n in names for n in ("tok_embeddings.weight", "output.weight")}
            r["tie_word_embeddings"] = config(folder).get("tie_word_embeddings", False)
            try:
                if last is None:
                    last = tc.run(tc.load(tmp), IDS, hidden=True)
                tc.save(tmp / "logits", IDS, tc.run(tc.load(tmp), IDS))
                r["head"] = head(tmp / "logits", last, load_file(folder / "model.safetensors"))
            except Exception as e:
                r["load_error"] = words(e)
    return dict(sorted(result.items()))


def arguments(tc):
    """The fields of TransformerArgs, and what it says to others."""
    A = tc.model.TransformerArgs
    fields = [dict(name=f.name, type=getattr(f.type, "__name__", str(f.type)).replace("typing.", ""), default=f.default)
              for f in dataclasses.fields(A)]
    say = {}
    for k in ("attention_dropout", "eos_token_id", "hidden_act", "hidden_size", "model_type", "rms_norm_eps", "rope_parameters",
              "sliding_window", "torch_dtype", "unknown"):
        try:
            A.from_params({k: 1})
            sys.exit(f"TransformerArgs takes {k}")
        except TypeError as e:
            say[k] = words(e)
    renamed = {k: f for k, f in (("rope_theta", "rope_base"), ("n_kv_heads", "n_local_heads")) if getattr(A.from_params({k: 7}), f) == 7}
    given = dict(dim=48, n_heads=6, head_dim=12, multiple_of=16)
    derived = {k: getattr(A.from_params(dict(given)), k) for k in ("head_dim", "n_local_heads", "hidden_dim")}
    llama3 = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
    scalings = []
    for s in (None, llama3, {**llama3, "rope_type": "llama3"}, {**llama3, "rope_type": "yarn"}, {"rope_type": "linear", "factor": 2.0},
              {"type": "dynamic", "factor": 2.0}, {"rope_type": "default"}, {}):
        row = dict(rope_scaling=s)
        try:
            table = tc.model.precompute_freqs_cis(8, 4, 10000.0, rope_scaling=s)
            row["angles"] = torch.atan2(table[1, :, 1], table[1, :, 0]).tolist()  # of position 1
        except Exception as e:
            text = str(e).split(" Expected:")[0]  # then a set, in no order
            row["error"] = f"{type(e).__name__}: {text}"
        scalings.append(row)
    return dict(commit=tc.commit, fields=fields, renamed=renamed, refused=say, derived=dict(given=given, **derived), rope_scaling=scalings)


def record(tc):
    if tc.commit != COMMIT:
        sys.exit(f"the checkout is of {tc.commit}, want {COMMIT}")
    names = sources()
    notes = [fixture(tc, "granite-code", ROOT / "checkpoints/granite-code")]
    notes += [fixture(tc, n, OUT / n / "hf") for n in names]
    notes += [refused(tc, n) for n in OTHERS]
    sharded(tc)
    notes.append("granite-code-sharded: converts to the tensors of granite-code")
    notes.append("NAME/params.json: from config.json by the script, with the keys of TorchChat's model_params for Granite Code")
    notes.append("NAME/hf, where it is: the source, and transformers.safetensors its logits; else the source is checkpoints/NAME")
    for name, d in (("ties.json", ties(tc)), ("args.json", arguments(tc))):
        (OUT / name).write_text(json.dumps(d, indent=1) + "\n")
    provenance.write(OUT, f"TorchChat {COMMIT[:8]} (2025-08-12): convert_hf_checkpoint, builder, model; "
                     + provenance.versions("numpy", "torch", "safetensors", "transformers"),
                     "testdata/gen/torchchat.py --torchchat CHECKOUT", SEED, notes=notes)
    print("\n".join(notes))


# --- the command -------------------------------------------------------------


def token_ids(text):
    if Path(text).is_file():
        if text.endswith(".safetensors"):
            return load_file(text)["input_ids"].tolist()
        text = Path(text).read_text()
    return [int(x) for x in text.replace(",", " ").split()]


def try_load(tc, a):
    try:
        model = tc.load(a.load)
        answer = dict(engine="torchchat", engine_version=tc.commit, loaded=True)
        if a.tokens:
            ids = token_ids(a.tokens)
            logits = tc.run(model, ids)
            answer.update(shape=list(logits.shape), argmax=logits.argmax(1).tolist())
            if a.out:
                tc.save(a.out, ids, logits)
    except Exception as e:
        sys.exit(f"torchchat: {type(e).__name__}: {e}")
    print(json.dumps(answer))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--torchchat", required=True, metavar="CHECKOUT")
    p.add_argument("--load", metavar="DIR", help="a directory with model.pth and params.json")
    p.add_argument("--tokens", default="")
    p.add_argument("-o", dest="out")
    a = p.parse_args()
    if a.out and not a.tokens:
        p.error("-o wants --tokens")
    tc = TorchChat(a.torchchat)
    try_load(tc, a) if a.load else record(tc)


if __name__ == "__main__":
    main()
