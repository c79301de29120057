"""Small tokenizers, and what other people's programs make of them.

    LLAMA_CPP_DIR=llama.cpp PYTHONPATH=llama-cpp-python python tokenizers.py OUT
    python tokenizers.py check DIR CORPUS.json IDS.json

For each tokenizer OUT/NAME gets its Hugging Face files and
  ids.json   ids of OUT/corpus.json: by the tokenizers library (without and with special
             tokens), and by libllama from the GGUF file that llama.cpp's converter wrote;
             and the lengths of the pieces that the library's pre-tokenizer makes
  gguf.json  the keys tokenizer.* of that file: [key, type, value], in its order
LLAMA_CPP_DIR holds convert_hf_to_gguf.py; llama_cpp is the module of llama-cpp-python
(for the struct layouts), LLAMA_CPP_LIB_PATH the folder of its libllama.so.

check reads the tokenizer files of DIR, which somebody wrote, and fails unless the
tokenizers library and AutoTokenizer encode the corpus to the ids (special tokens
included), and the library saves tokenizer.json as it stands, byte for byte.
"""
import ctypes
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.pop(0)  # the folder of this file, which has the library's name
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXT = """
The bowline is a knot that holds under any load and still unties by hand. Sailors tie it, climbers tie it,
and it's been tied for centuries; they'll tell you it doesn't slip, I'm sure we've all heard that, and you'd agree.
def convert(path, out=None):
    with open(path) as f:
        return [int(x) for x in f.read().split() if x != ""]
for i in range(10):
    print(i, i * i, "value", 3.14159, 2024, 1000000)
if (a == b && c != d) { return x->next[0]; } else { x += 1; y -= 2; }   // comment
Die Größe des Schiffes überraschte uns. L'été à la plage, où êtes-vous allés? El niño corrió rápido.
Нещо на български език, привет мир. Καλημέρα κόσμε. 今天天气很好，我们去公园。日本語の文章です。안녕하세요 세계.
שלום עולם. مرحبا بالعالم. नमस्ते दुनिया. កាន់តែពិសេសអាច. ข้อความภาษาไทย.
The quick brown fox jumps over the lazy dog. THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG.
	tabs	and	tabs

blank lines above, trailing spaces here    
and there, the the the the ship ship sails sailed sailing harbour harbour rope ropes roping
"""

CORPUS = [
    "", " ", "  ", "   ", "\n", "\n\n", " \n", "\n ", "\t", "\t\t \t", "\r\n", "\r\n\r\n  x", " \r \n\t", "a", "é",
    "Hello, world!", " Hello", "  Hello  world  ", "the ship sails", "The bowline is a knot.\n", "trailing   ", "x\n\n\ny",
    "I'm you're he'd we'll they've it's don't", "I'M YOU'RE HE'D WE'LL THEY'VE IT'S DON'T", "'s 't 'x ''s '", "it’s l’été", "'ſ 'K 'S's",
    "2024", "1 22 333 4444 55555 666666 7777777", "3.14159e-10", "a1b22c333", " 7", "  42 ", "x²+y³=z⁴ ½ Ⅷ ①②③", "٣٤٥ ३४५ 一二三",
    "def f(x):\n    return x*2\n\n\nprint(f(3))", "if (a==b&&c!=d){return x->y[0];}", "a  b   c    d", "#include <stdio.h>\r\nint main(){}\r\n",
    "......!!!!!!??????", "'''''' `````` \"\"\"\"", "https://example.org/a?b=c&d=%20#e", "foo_bar-baz.qux", "$100 €200 £300 ¥400",
    "今天天气很好，我们去公园。", "日本語の文章です。カタカナ", "안녕하세요 세계", "Привет, мир! Нещо на Български", "Καλημέρα κόσμε",
    "שלום עולם", "مرحبا بالعالم ١٢٣", "नमस्ते दुनिया", "កាន់តែពិសេសអាច😁", "ข้อความภาษาไทย", "Tiếng Việt có dấu",
    "🚀 (normal) 😶\u200d🌫️ (multiple emojis) ✅ 🦙🦙", "👩\u200d👩\u200d👧\u200d👦🏳️\u200d🌈", "e\u0301 vs \u00e9", "a\u0300\u0301b",
    "nbsp\u00a0thin\u2009ideo\u3000zero\u200bwidth\u2060x", "\u0085next\u2028line\u2029para\u000bvt\u000cff\u001cfs", " \u00a0 \u3000x", "\x00\x01\x7f",
    "\ufeffbom", "\U0001d400\U0001d7d8\U00020000", "ǅ ǈ ß ﬁ İ ı", "<|endoftext|>", "a<|endoftext|>b <|endoftext|> c", "<|im_start|>user\nhi<|im_end|>\n",
    "<|begin_of_text|>x<|eot_id|>", "x <strip> y <strip>z", "word single word singleword single", "<tool_call>{}</tool_call>", "a ▁b Ġc Ġzz  zz", "spam  eggs spam eggs",
    "<fim_prefix>a<fim_suffix>b<fim_middle>", "<|endoftext", "unreachable unreachable", "harbour\u00a0ropes 1234ropes",
    "x'\u017fabc x'sabc 'KABC 'REabc x'llama", "\u0378\ue000\U0010ffff \u180e", "\u1c89\u1c8a \U0002ebf0\U0002ebf1a \U00010d40\U00010d41 \U00011de0", "a\u0345b \u0301c ำเ", "a \r b\r\r\n  \n  c \u2028 d", "x\t y \t\tz  \n", "1 \u00b2 a\u00b2b 12\u00bd3",
    "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n x 3 33 333 3333 33333 3..3 3...3 ?我想在apple工作1314151天～ ------======= I've been 'told he's there, 'RE you sure? We'Ve a'lL",
]

CL100_3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CL100_1 = CL100_3.replace("{1,3}", "")
CL100_M = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CHATML = "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n'}}{% endfor %}"


def digits():
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])


def split(regex):
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(regex), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )


def train(pre, head=(), tail=(), normalizer=None, post=None, size=500):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre
    if normalizer:
        t.normalizer = normalizer
    t.decoder = decoders.ByteLevel()
    if post:
        t.post_processor = post
    t.train_from_iterator(
        [TEXT], trainers.BpeTrainer(vocab_size=size, special_tokens=list(head), initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    )
    for a in tail:
        (t.add_special_tokens if isinstance(a, str) or a.special else t.add_tokens)([a])
    return t


def template(t, single, ids):
    return processors.TemplateProcessing(single=single, pair=single + " $B:1", special_tokens=[(i, t.token_to_id(i)) for i in ids])


def granite():
    """As ibm-granite's code models: digits one by one, every special token in the vocabulary, GPT2Tokenizer."""
    t = train(digits(), ["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>"], post=processors.ByteLevel(add_prefix_space=True, trim_offsets=False))
    e = "<|endoftext|>"
    return t, dict(tokenizer_class="GPT2Tokenizer", add_prefix_space=False, bos_token=e, eos_token=e, unk_token=e, pad_token=e, clean_up_tokenization_spaces=True), dict(bos_token_id=0, eos_token_id=0, pad_token_id=0), "refact", {}


def llama3():
    """As Llama 3: special tokens after the vocabulary, BOS by a template, whole words before merges."""
    tail = ["<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>", "<|eot_id|>", AddedToken("<|python_tag|>", special=True, normalized=False)]
    t = train(split(CL100_3), tail=tail)
    b = "<|begin_of_text|>"
    t.post_processor = processors.Sequence([processors.ByteLevel(add_prefix_space=True, trim_offsets=False), template(t, b + " $A", [b])])

    def edit(j):
        # a whole word that no merges lead to: only ignore_merges finds it
        last = max(j["model"]["vocab"].values())
        old = [k for k, v in j["model"]["vocab"].items() if v == last][0]
        j["model"]["vocab"] = {("Ġunreachable" if k == old else k): v for k, v in j["model"]["vocab"].items()}
        j["model"]["merges"] = [m for m in j["model"]["merges"] if "".join(m) != old]
        j["model"]["ignore_merges"] = True

    i = t.token_to_id
    cfg = dict(tokenizer_class="PreTrainedTokenizerFast", bos_token=b, eos_token="<|eot_id|>", chat_template="{{ bos_token }}" + CHATML, clean_up_tokenization_spaces=True)
    return t, cfg, dict(bos_token_id=i(b), eos_token_id=[i("<|end_of_text|>"), i("<|eot_id|>")]), "llama-bpe", dict(
        edit=edit, generation=dict(bos_token_id=i(b), eos_token_id=[i("<|end_of_text|>"), i("<|eot_id|>")], pad_token_id=i("<|finetune_right_pad_id|>"))
    )


def gpt2():
    """As GPT-2: no special token named but in config.json, merges as strings."""
    t = train(pre_tokenizers.ByteLevel(add_prefix_space=False), tail=["<|endoftext|>"], post=processors.ByteLevel(add_prefix_space=True, trim_offsets=False))

    def edit(j):
        j["model"]["merges"] = [" ".join(m) for m in j["model"]["merges"]]

    n = t.token_to_id("<|endoftext|>")
    return t, dict(model_max_length=1024, tokenizer_class="GPT2Tokenizer"), dict(model_type="gpt2", bos_token_id=n, eos_token_id=n), "gpt-2", dict(edit=edit)


def qwen2():
    """As Qwen2: NFC, added tokens that are not special, more embedding rows than tokens, a template in its own file."""
    tail = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + [AddedToken(s, special=False, normalized=False) for s in ("<tool_call>", "</tool_call>", "<|fim_prefix|>", "e\u0301x")]
    t = train(split(CL100_1), tail=tail, normalizer=normalizers.NFC(), post=processors.ByteLevel(add_prefix_space=False, trim_offsets=False))
    i = t.token_to_id
    cfg = dict(tokenizer_class="Qwen2Tokenizer", add_prefix_space=False, add_bos_token=False, bos_token=None, eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token=None, clean_up_tokenization_spaces=False)
    return t, cfg, dict(model_type="qwen2", bos_token_id=i("<|endoftext|>"), eos_token_id=i("<|im_end|>"), vocab_size=t.get_vocab_size() + 9), "qwen2", dict(jinja=CHATML)


def smol():
    """As SmolLM2: 49152 rows, for which llama.cpp says add_bos_token false; named templates; added tokens with every flag."""
    tail = [
        AddedToken("<strip>", special=False, normalized=False, lstrip=True, rstrip=True), AddedToken("single", special=False, normalized=False, single_word=True),
        AddedToken("spam  eggs", special=False, normalized=True), AddedToken("▁b Ġc", special=False, normalized=True), AddedToken("Ġzz", special=False, normalized=False),
        AddedToken("<pad>", special=False, normalized=False),
    ]
    t = train(digits(), ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"], tail=tail, post=processors.ByteLevel(add_prefix_space=True, trim_offsets=False))
    cfg = dict(
        tokenizer_class="PreTrainedTokenizerFast", add_prefix_space=False, bos_token="<|im_start|>", eos_token=dict(content="<|im_end|>", lstrip=False, normalized=False, rstrip=False, single_word=False, __type="AddedToken"),
        unk_token="<|endoftext|>", pad_token="<|im_end|>", clean_up_tokenization_spaces=False,
        chat_template=[dict(name="default", template=CHATML), dict(name="tool_use", template="tools" + CHATML)],
    )
    return t, cfg, dict(bos_token_id=1, eos_token_id=2, vocab_size=49152), "smollm", dict()


def ends():
    """A template with both ends whose last token is not the declared EOS; no ByteLevel post-processor; CL100 spelled out; no ignore_merges."""
    spelled = CL100_3.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)", "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])")
    t = train(split(spelled), ["<s>", "</s>", "<|end|>"])
    t.post_processor = template(t, "<s> $A </s>", ["<s>", "</s>"])
    return t, dict(tokenizer_class="PreTrainedTokenizerFast", eos_token="<|end|>", unk_token="<s>", add_sep_token=False), dict(), "dbrx", {}


def qwen35():
    """Letters and marks together, as Qwen 3.5."""
    t = train(split(CL100_M), tail=["<|endoftext|>", "<|im_end|>"], normalizer=normalizers.NFC())
    return t, dict(tokenizer_class="PreTrainedTokenizerFast", eos_token="<|im_end|>", pad_token="<|endoftext|>", clean_up_tokenization_spaces=False), dict(), "qwen35", {}


def extra():
    """Tokens that other files name: AutoTokenizer appends them and lets their flags win. A config of ids alone for some roles."""
    tail = ["<|endoftext|>", AddedToken("<tool>", special=False, normalized=False), AddedToken("<say>", special=False, normalized=False), AddedToken("<plain>", special=True)]
    t = train(pre_tokenizers.ByteLevel(add_prefix_space=False), tail=tail)
    i = t.token_to_id
    flags = dict(lstrip=False, normalized=False, rstrip=False, single_word=False)
    decoder = {str(i("<tool>")): dict(content="<tool>", special=True, **flags), str(i("<plain>")): dict(content="<plain>", special=False, **flags), "504": dict(content="<|more|>", special=False, **flags)}
    cfg = dict(tokenizer_class="PreTrainedTokenizerFast", eos_token="<say>", pad_token="<newpad>", unk_token="<|endoftext|>", add_bos_token=False, added_tokens_decoder=decoder, additional_special_tokens=["<extra>"])
    return t, cfg, dict(bos_token_id=500, eos_token_id=3, mask_token_id=7, vocab_size=512), "gpt-2", dict(files={"special_tokens_map.json": dict(sep_token="<sep>", eos_token="<say>")})


def dump(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1, sort_keys=False) + "\n", encoding="utf-8")


CONVERT = """
import os, runpy, sys
src = os.environ["LLAMA_CPP_DIR"]
sys.path[:0] = [src, os.path.join(src, "gguf-py")]
import conversion.base as base
# The hash table of the converter knows published vocabularies only: the name is given.
for c in list(vars(base).values()):
    if isinstance(c, type) and "get_vocab_base_pre" in vars(c):
        c.get_vocab_base_pre = lambda self, tokenizer: os.environ["PRE"]
sys.argv[0] = os.path.join(src, "convert_hf_to_gguf.py")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def gguf_keys(path):
    import gguf

    out = []
    for k, f in gguf.GGUFReader(path).fields.items():
        if k.startswith("tokenizer."):
            v = f.contents()
            if isinstance(v, list) and len(v) > 2000:  # the padded vocabulary: its first tokens and a digest of all
                v = {"count": len(v), "sha256": hashlib.sha256("\0".join(map(str, v)).encode()).hexdigest(), "head": v[:520]}
            out.append([k, " ".join(t.name for t in f.types), v])
    return out


def runtime_ids(path, texts):
    from llama_cpp import llama_cpp as L

    global quiet
    quiet = L.llama_log_callback(lambda level, text, data: None)
    L.llama_log_set(quiet, ctypes.c_void_p(0))
    L.llama_backend_init()
    p = L.llama_model_default_params()
    p.vocab_only = True
    m = L.llama_model_load_from_file(str(path).encode(), p)
    assert m, path
    v = L.llama_model_get_vocab(m)
    out = []
    for text in texts:
        b = text.encode()
        buf = (L.llama_token * (len(b) + 16))()
        n = L.llama_tokenize(v, b, len(b), buf, len(buf), True, True)
        assert n >= 0
        out.append(list(buf[:n]))
    L.llama_model_free(m)
    return out


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    dump(out / "corpus.json", CORPUS)
    for make in (granite, llama3, gpt2, qwen2, smol, ends, qwen35, extra):
        t, tok_cfg, cfg, pre, more = make()
        d = out / make.__name__
        d.mkdir(exist_ok=True)
        t.save(str(d / "tokenizer.json"))
        if "edit" in more:
            j = json.loads((d / "tokenizer.json").read_text(encoding="utf-8"))
            more["edit"](j)
            (d / "tokenizer.json").write_text(json.dumps(j, ensure_ascii=False, indent=2), encoding="utf-8")
        kind = cfg.get("model_type", "llama")
        arch = {"llama": "LlamaForCausalLM", "gpt2": "GPT2LMHeadModel", "qwen2": "Qwen2ForCausalLM"}[kind]
        n = Tokenizer.from_file(str(d / "tokenizer.json")).get_vocab_size()
        sizes = dict(n_ctx=64, n_embd=8, n_head=2, n_layer=1, n_positions=64, layer_norm_epsilon=1e-5) if kind == "gpt2" else dict(
            hidden_size=8, intermediate_size=16, num_attention_heads=2, num_key_value_heads=2, num_hidden_layers=1, max_position_embeddings=64, rms_norm_eps=1e-5)
        dump(d / "config.json", {"architectures": [arch], "model_type": kind, **sizes, "vocab_size": n, **cfg})
        dump(d / "tokenizer_config.json", tok_cfg)
        for name, value in more.get("files", {}).items():
            dump(d / name, value)
        if "jinja" in more:
            (d / "chat_template.jinja").write_text(more["jinja"], encoding="utf-8")
        if "generation" in more:
            dump(d / "generation_config.json", more["generation"])
        t = Tokenizer.from_file(str(d / "tokenizer.json"))
        ids = {k: [t.encode(x, add_special_tokens=s).ids for x in CORPUS] for k, s in (("plain", False), ("special", True))}
        with tempfile.TemporaryDirectory() as tmp:
            g = Path(tmp) / "v.gguf"
            subprocess.run([sys.executable, "-c", CONVERT, str(d), "--vocab-only", "--outfile", str(g)], check=True, env={**os.environ, "PRE": pre}, capture_output=True)
            dump(d / "gguf.json", gguf_keys(g))
            ids["llama.cpp"] = runtime_ids(g, CORPUS)
        # the lengths in bytes of the pieces that the pre-tokenizer makes: byte-level spelling has a character a byte
        ids["pieces"] = [[len(p) for p, _ in t.pre_tokenizer.pre_tokenize_str(x)] for x in CORPUS]
        (d / "ids.json").write_text(
            "{\n" + ",\n".join(json.dumps(k) + ": [\n" + ",\n".join(json.dumps(x, separators=(",", ":")) for x in v) + "\n]" for k, v in ids.items()) + "\n}\n"
        )
        differ = [x for x, a, b in zip(CORPUS, ids["special"], ids["llama.cpp"]) if a != b]
        print(make.__name__, n, "tokens;", len(differ), "texts differ between tokenizers and libllama", differ)


def check(d, corpus, ids):
    import transformers

    corpus, want = (json.loads(Path(p).read_text(encoding="utf-8")) for p in (corpus, ids))
    if isinstance(want, dict):
        want = want["special"]
    t = Tokenizer.from_file(str(d / "tokenizer.json"))
    a = transformers.AutoTokenizer.from_pretrained(d)
    bad = 0
    for x, w in zip(corpus, want, strict=True):
        for who, got in (("tokenizers", t.encode(x).ids), (type(a).__name__, a(x)["input_ids"])):
            if got != w:
                bad += 1
                print(f"{d}: {who}: {x!r}: got {got}, want {w}")
    with tempfile.TemporaryDirectory() as tmp:
        t.save(tmp + "/t.json")
        same = Path(tmp, "t.json").read_bytes() == (d / "tokenizer.json").read_bytes()
    print(f"{d}: transformers {transformers.__version__}: {len(corpus)} texts, {bad} differ; saved again: {'the same' if same else 'OTHER'} bytes; bos {a.bos_token_id} eos {a.eos_token_id} pad {a.pad_token_id} template {bool(a.chat_template)}")
    return bad or not same


if __name__ == "__main__":
    if sys.argv[1] == "check":
        sys.exit(bool(check(Path(sys.argv[2]), *sys.argv[3:])))
    main(Path(sys.argv[1]))
