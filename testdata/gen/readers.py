"""Write testdata/readers/answers.json: what each program makes of each state of a tie, container by container.

    git clone https://github.com/pytorch/torchchat CHECKOUT && git -C CHECKOUT checkout a1a7f370
    $BOWLINE_PEERS/venv/bin/python testdata/gen/readers.py --torchchat CHECKOUT          after checkpoints.py

Every state is made of the tensors of ties/untied in float32, so that all have one body. A loaded model is judged by its
logits: they are the body's last hidden state times the embedding, or times the stored head. Every model is loaded twice
with another seed; a matrix that differs then was made up. Where the two members are equal, memory tells: `tied` is one
matrix, `untied` two.

The answers are tied (the embedding is the head), untied (the stored head is), random (a matrix that is not stored is made
up), fails (it does not load) and null (not a format that it reads, so it was not asked). Of Hugging Face directories
llama.cpp and TorchChat read what their own converters made, without a hint; their words are kept where they refuse.
"""
import argparse
import contextlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(sys.path.pop(0))  # this folder comes last: some files here have the names of libraries
import numpy as np
import torch
from safetensors.torch import load_file, save_file

import provenance

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "peers"
OUT = ROOT / "readers"
SEED = 20261123
IDS = [0, 5, 17, 300, 330] + [i * 37 % 331 for i in range(1, 36)]
EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
FLAG = "tie_word_embeddings"

# what is stored: a function of the embedding e and of another matrix o, giving the two members
MEMBERS = {
    "embedding only": lambda e, o: (e, None),
    "head only": lambda e, o: (None, e),
    "equal": lambda e, o: (e, e.clone()),
    "different": lambda e, o: (e, o),
    "near": lambda e, o: (e, torch.cat([e[:7], o[7:8], e[8:]])),
    "scaled": lambda e, o: (e, e * 4),
    "cast": lambda e, o: (e, e.bfloat16()),
    "cast, embedding narrower": lambda e, o: (e.bfloat16(), e.clone()),
    "longer": lambda e, o: (e, torch.cat([e, o[:5]])),
    "shorter": lambda e, o: (e, e[:-5].clone()),
    "narrower": lambda e, o: (e, o[:, :-8].clone()),
    "one storage": lambda e, o: (e, e),
    "neither": lambda e, o: (None, None),
}
COMMON = ["embedding only", "head only", "equal", "different"]


def states():
    """Every state: what it is called, and how to make it."""
    out = []

    def add(container, members, flag, family="llama", **more):
        out.append(dict(family=family, container=container, members=members, flag=flag, **more))

    for container in ("safetensors", "sharded", "bin", "model.pth"):
        for members in COMMON + (["one storage"] if container in ("bin", "model.pth") else []):
            for flag in (True, False, None):
                add(container, members, flag)
    for members in MEMBERS:
        if members not in COMMON + ["one storage"]:
            for flag in (True, False):
                add("safetensors", members, flag)
                add("model.pth", members, flag)
    for members in COMMON:
        for flag in (True, False, None):
            add("safetensors", members, flag, family="mistral")
        for version in ("4.57.6", "5.23.0"):
            add("safetensors", members, None, version=version)
    for members in ("embedding only", "different"):
        for top, inner in ((None, True), (None, False), (True, False), (False, True)):
            add("safetensors", members, top, text=inner)
    for members in COMMON + ["longer", "shorter", "narrower", "cast", "neither"]:
        add("gguf", members, None)
    return out


# --- in a child: transformers 5 or 4 -----------------------------------------


def load(job):
    """Load twice, with two seeds, and say what came of it."""
    import transformers

    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model, info = transformers.AutoModelForCausalLM.from_pretrained(job["dir"], dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
        model.eval()
        head, embed = model.get_output_embeddings().weight, model.get_input_embeddings().weight
        one = head is embed or not head.is_meta and head.data_ptr() == embed.data_ptr()
        with torch.inference_mode():
            runs.append(model(torch.tensor([IDS]), use_cache=False).logits[0].float().numpy().copy())
    np.save(job["out"], np.stack(runs))
    return dict(one=bool(one), missing=sorted(info["missing_keys"]), version=transformers.__version__)


def child():
    import jobs

    jobs.serve(load)


# --- the states --------------------------------------------------------------


def config(s, base):
    c = json.loads((ROOT / "ties/untied/config.json").read_text())
    c.pop(FLAG)
    c["transformers_version"], c["torch_dtype"] = s.get("version", c["transformers_version"]), "float32"
    if s["family"] == "mistral":
        c.update(architectures=["MistralForCausalLM"], model_type="mistral", head_dim=8, sliding_window=None)
        for k in ("attention_bias", "mlp_bias", "pretraining_tp", "rope_scaling"):
            del c[k]
    if s["flag"] is not None:
        c[FLAG] = s["flag"]
    if s.get("text") is not None:
        c["text_config"] = {FLAG: s["text"]}
    return c


def tensors(s, base):
    body = {n: t for n, t in base.items() if n not in (EMBED, HEAD) and not (s["family"] == "mistral" and n.endswith(".bias"))}
    embed, head = MEMBERS[s["members"]](base[EMBED], base[HEAD])
    return {**body, **{n: t for n, t in ((EMBED, embed), (HEAD, head)) if t is not None}}


def write(s, base, folder):
    """A Hugging Face directory, with a tokenizer, for converters want one."""
    folder.mkdir(parents=True)
    for f in (ROOT / "checkpoints/granite-code").glob("*token*"):
        shutil.copyfile(f, folder / f.name)
    (folder / "config.json").write_text(json.dumps(config(s, base), indent=2))
    t = tensors(s, base)
    if s["container"] == "bin":
        torch.save(t, folder / "pytorch_model.bin")
    elif s["container"] == "sharded":
        where = {n: f"model-{2 if n == HEAD else 1:05d}-of-00002.safetensors" for n in t}
        where["model.norm.weight"] = "model-00002-of-00002.safetensors"  # so that there are two
        for f in sorted(set(where.values())):
            save_file({n: x for n, x in t.items() if where[n] == f}, folder / f, metadata={"format": "pt"})
        index = dict(metadata=dict(total_size=sum(x.nbytes for x in t.values())), weight_map=where)
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        save_file(t, folder / "model.safetensors", metadata={"format": "pt"})


def gguf_variant(s, base, untied, path):
    """The converter's file of ties/untied, its members replaced."""
    import gguf

    r = gguf.GGUFReader(untied)
    w = gguf.GGUFWriter(path, "llama")
    for f in r.fields.values():
        if f.name.startswith("GGUF.") or f.name == "general.architecture":
            continue
        w.add_key_value(f.name, f.contents(), f.types[0], f.types[-1] if f.types[0] == gguf.GGUFValueType.ARRAY else None)
    embed, head = MEMBERS[s["members"]](base[EMBED], base[HEAD])
    for t in r.tensors:
        if t.name not in ("token_embd.weight", "output.weight"):
            w.add_tensor(t.name, np.array(t.data), raw_dtype=t.tensor_type)
    for name, x in (("token_embd.weight", embed), ("output.weight", head)):
        if x is not None and x.dtype == torch.bfloat16:
            w.add_tensor(name, x.half().numpy())
        elif x is not None:
            w.add_tensor(name, x.numpy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


# --- the verdicts ------------------------------------------------------------


def judge(runs, hidden, members, one):
    """tied, untied or random, of logits [2, T, V]."""
    a, b = (r.astype(np.float64) for r in runs)
    if ((a - b) ** 2).sum() > 1e-8 * (a**2).sum():
        return "random"
    fits = []
    for label, m in zip(("tied", "untied"), members):
        if m is not None:
            want = hidden @ m.double().numpy().T
            # llama.cpp rounds what it multiplies with a float16 matrix; another member is 1e-3 away or more
            if want.shape == a.shape and ((a - want) ** 2).sum() < 1e-5 * (want**2).sum():
                fits.append(label)
    if not fits:
        raise SystemExit("the logits fit neither member")
    return fits[0] if len(fits) == 1 and members[0] is not None else "tied" if one else "untied"


def words(e):
    e = e if isinstance(e, str) else f"{type(e).__name__}: {e}"
    return " ".join(e.split())[:200]


def serve(script, jobs, *args):
    p = subprocess.run([sys.executable, str(script), *args], input="\n".join(map(json.dumps, jobs)), capture_output=True, text=True)
    lines = [json.loads(x) for x in p.stdout.splitlines()]
    if len(lines) != len(jobs):
        raise SystemExit(f"{script} {args}: {p.stderr[-2000:]}")
    return lines


def gen_torchchat():
    spec = importlib.util.spec_from_file_location("gen_torchchat", Path(__file__).parent / "torchchat.py")
    m = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(m)
    return m


def hidden_state(tmp, base, family):
    """The body's last hidden state, by transformers 5."""
    folder = tmp / f"reference-{family}"
    write(dict(family=family, container="safetensors", members="embedding only", flag=True), base, folder)
    out = tmp / f"hidden-{family}"
    subprocess.run([sys.executable, str(PEERS / "hf_load.py"), str(folder), "--tokens", ",".join(map(str, IDS)), "--hidden", "--out", str(out)],
                   check=True, stdout=subprocess.DEVNULL)
    return load_file(out)["final_norm"].double().numpy()


def main():
    if sys.argv[1:2] == ["--child"]:
        if sys.argv[2:]:
            sys.path.insert(0, sys.argv[2])
        sys.path.append(str(PEERS))
        return child()
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--torchchat", required=True, metavar="CHECKOUT")
    a = p.parse_args()
    sys.path.append(str(PEERS))
    import hf_load

    gen = gen_torchchat()
    tc = gen.TorchChat(a.torchchat)
    base = {n: t.float() for n, t in load_file(ROOT / "ties/untied/model.safetensors").items()}
    rows = states()
    answers = [dict(s, answers={}, said={}) for s in rows]
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        hidden = {f: hidden_state(tmp, base, f) for f in ("llama", "mistral")}
        folders = [tmp / f"s{i}" for i in range(len(rows))]
        hf = [i for i, s in enumerate(rows) if s["container"] not in ("gguf", "model.pth")]
        for i in hf:
            write(rows[i], base, folders[i])

        def members(i):
            return MEMBERS[rows[i]["members"]](base[EMBED], base[HEAD])

        def record(i, who, f):
            try:
                answers[i]["answers"][who] = f()
            except Exception as e:
                answers[i]["answers"][who], answers[i]["said"][who] = "fails", words(e).replace(str(folders[i]), "DIR")

        # transformers
        versions = {}
        for who, path in (("transformers4", str(hf_load.PEERS / "tf4")), ("transformers5", None)):
            out = [str(tmp / f"{who}-{i}.npy") for i in hf]
            got = serve(__file__, [dict(dir=str(folders[i]), out=o) for i, o in zip(hf, out)], "--child", *([path] if path else []))
            for i, o, g in zip(hf, out, got):
                if "error" in g:
                    answers[i]["answers"][who], answers[i]["said"][who] = "fails", words(g["error"].replace(str(folders[i]), "DIR"))
                    continue
                versions[who] = g["version"]
                answers[i]["answers"][who] = judge(np.load(o), hidden[rows[i]["family"]], members(i), g["one"])

        # llama.cpp: its converter, then its loader; of GGUF only the loader
        files = {i: tmp / f"{i}.gguf" for i, s in enumerate(rows) if s["container"] != "model.pth"}
        got = serve(PEERS / "llama_convert.py", [dict(src=str(folders[i]), out=str(files[i]), outtype="f32", pre="refact") for i in hf], "--jobs")
        refusals = {i: g["error"] for i, g in zip(hf, got) if "error" in g}
        untied = next(i for i in hf if rows[i] == dict(family="llama", container="safetensors", members="different", flag=False))
        for i, s in enumerate(rows):
            if s["container"] == "gguf":
                gguf_variant(s, base, files[untied], files[i])
        todo = [i for i in files if i not in refusals]
        out = {i: tmp / f"logits-{i}" for i in todo}
        got = serve(PEERS / "llama_logits.py", [dict(file=str(files[i]), tokens=IDS, out=str(out[i])) for i in todo], "--jobs")
        for i, g in zip(todo, got):
            if "error" in g:
                refusals[i] = g["error"]
                continue
            y = load_file(out[i])["logits"].numpy()
            import gguf

            one = "output.weight" not in [t.name for t in gguf.GGUFReader(files[i]).tensors]
            versions["llama.cpp"] = g["engine_version"]
            answers[i]["answers"]["llama.cpp"] = judge([y, y], hidden[rows[i]["family"]], members(i), one)
        for i, e in refusals.items():
            answers[i]["answers"]["llama.cpp"] = "fails"
            answers[i]["said"]["llama.cpp"] = words(e).replace(str(files[i]), "FILE").replace(str(folders[i]), "DIR").split("; llama_model_load_from_file")[0]

        # TorchChat: its converter, then its strict loader; of a model.pth only the loader
        for i, s in enumerate(rows):
            if s["container"] == "gguf":
                continue

            def run():
                c = gen.params(config(s, base))
                if s["flag"] is None:
                    del c[FLAG]
                made = tmp / f"tc-{i}"
                if s["container"] == "model.pth":
                    # a model.pth whose body is its converter's, of ties/untied
                    shutil.copytree(tmp / f"tc-{untied}", made)
                    sd = torch.load(made / "model.pth", weights_only=True)
                    for n, x in zip(("tok_embeddings.weight", "output.weight"), members(i)):
                        sd.pop(n, None)
                        if x is not None:
                            sd[n] = x
                    torch.save(sd, made / "model.pth")
                    (made / "params.json").write_text(json.dumps(c))
                else:
                    if s["container"] == "bin":  # the converter reads these by an index
                        names = torch.load(folders[i] / "pytorch_model.bin", weights_only=True)
                        (folders[i] / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {n: "pytorch_model.bin" for n in names}}))
                    tc_convert(tc, folders[i], c, made)
                model = tc.load(made)
                y = tc.run(model, IDS)
                inner = model.model
                one = inner.output.weight.data_ptr() == inner.tok_embeddings.weight.data_ptr() or "output.weight" not in torch.load(made / "model.pth", weights_only=True)
                return judge([y, tc.run(tc.load(made), IDS)], hidden[s["family"]], members(i), one)

            record(i, "torchchat", run)
    for r in answers:
        r["answers"] = {w: r["answers"].get(w) for w in ("transformers4", "transformers5", "llama.cpp", "torchchat")}
        if not r["said"]:
            del r["said"]
        print(json.dumps(r), flush=True)
    versions["torchchat"] = tc.commit[:8]
    text = '{\n"versions": ' + json.dumps(dict(sorted(versions.items()))) + ',\n"rows": [\n' + ",\n".join(json.dumps(r, ensure_ascii=False) for r in answers) + "\n]\n}\n"
    OUT.mkdir(exist_ok=True)
    (OUT / "answers.json").write_text(text)
    provenance.write(OUT, "transformers 5 and 4, llama.cpp (convert_hf_to_gguf.py of 0c1e57098, libllama of v0.5.0), TorchChat a1a7f370; "
                     + ", ".join(f"{k} {v}" for k, v in sorted(versions.items())) + "; " + provenance.versions("torch", "safetensors", "gguf", "numpy"),
                     "testdata/gen/readers.py --torchchat CHECKOUT", SEED)


def tc_convert(tc, source, params, out):
    """As gen's convert, for every kind of weights file."""
    if list(source.glob("*.safetensors")):
        return tc.convert(source, params, out)
    from unittest import mock

    out.mkdir(parents=True)
    (out / "params.json").write_text(json.dumps(params))
    with tempfile.TemporaryDirectory() as tmp, contextlib.redirect_stdout(sys.stderr):
        tmp = Path(tmp)
        for f in source.glob("pytorch_model*"):
            shutil.copyfile(f, tmp / f.name)
        (tmp / "source.json").write_text(json.dumps(params))
        with mock.patch.object(tc.model, "config_path", tmp):
            tc.converter.convert_hf_checkpoint(model_dir=tmp, model_name="source")
        shutil.copyfile(tmp / "model.pth", out / "model.pth")


if __name__ == "__main__":
    main()
