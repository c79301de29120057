"""Small tokenizers of the kinds that the model families carry, trained on the text below.

byte_level: StarCoder's, Granite Code's and SmolLM2's pre-tokenizer (single digits, then
GPT-2's split). tiktoken_like: Llama 3's. sentence_piece: Llama 2's and Mistral's, with
byte fallback; Gemma's and Phi 3's with the arguments that families.py gives. byte_split:
Qwen's, GPT-2's, GPT-NeoX's and OLMo 2's. Each writes the files that such a model
directory has.
"""
import io
import json

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXT = """
A bowline is the knot that holds under any load and still unties by hand. To tie it, make a
small loop in the standing part, pass the working end up through the loop, around behind the
standing part, and back down through the loop. The end goes up through the hole, around the
tree, and back down the hole. It was used to hold the foot of a square sail to the wind, and
it is used today to make a boat fast to a ring or to a post on the quay. When the load is
taken off, the knot can be opened with one hand, which is why sailors call it the king of
the knots. Other knots hold as well, but they hold what they hold for good.
The other side of the harbour was quiet that morning. There were 12 boats in 1987, then 27
in 2003, and in 2024 there were only 3. "Where are they?" he asked. "They're at sea," she
said, "and they'll be back before the rain."
def total(values, start=0):
    result = start
    for value in values:
        if value is None:
            continue
        result += value
    return result
func (r *Reader) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	n = copy(p, r.buf[r.off:])
	r.off += n
	return n, err
}
for (int i = 0; i < count; i++) {
    if (table[i] != NULL) {
        printf("%d: %s\\n", i, table[i]->name);
    }
}
"""

CHATML = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
          "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")

# Llama 3's split, from its published tokenizer.json
SPLIT_LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

# Qwen2's split, from its published tokenizer.json: as Llama 3's, each digit alone
SPLIT_QWEN2 = SPLIT_LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def dump(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def train(tok, size, specials=()):
    tok.train_from_iterator([TEXT], trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, special_tokens=list(specials), show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    assert tok.get_vocab_size() == size, (tok.get_vocab_size(), size)


def byte_level(out, size, specials, bos, eos, pad, extra=None):
    """size tokens, the specials first; with the slow tokenizer's files, as the published directories have."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tok.decoder = decoders.ByteLevel()
    train(tok, size, [AddedToken(s, special=True, normalized=False) for s in specials])
    tok.save(str(out / "tokenizer.json"))
    model = json.loads((out / "tokenizer.json").read_text())["model"]
    (out / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False))
    (out / "merges.txt").write_text("#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in model["merges"]))
    added = {str(i): dict(content=s, lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
             for i, s in enumerate(specials)}
    dump(out / "tokenizer_config.json", dict(
        add_prefix_space=False, added_tokens_decoder=added, additional_special_tokens=list(specials), bos_token=bos,
        **({"chat_template": extra} if extra else {}), clean_up_tokenization_spaces=True, eos_token=eos,
        model_max_length=9223372036854775807, pad_token=pad, tokenizer_class="GPT2Tokenizer", unk_token=specials[0], vocab_size=size))
    dump(out / "special_tokens_map.json", dict(
        additional_special_tokens=list(specials), bos_token=bos, eos_token=eos, pad_token=pad, unk_token=specials[0]))


def tiktoken_like(out, size, specials):
    """Bytes and merges, one word that no merge reaches (ignore_merges finds it), then the specials."""
    tok = Tokenizer(models.BPE(ignore_merges=True))
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT_LLAMA3), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    train(tok, size - len(specials) - 1)
    raw = json.loads(tok.to_str())
    assert "Ġharbour" not in raw["model"]["vocab"]
    raw["model"]["vocab"]["Ġharbour"] = len(raw["model"]["vocab"])
    tok = Tokenizer.from_str(json.dumps(raw))
    tok.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in specials])
    bos = specials[0]
    template = processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1",
                                             special_tokens=[(bos, tok.token_to_id(bos))])
    tok.post_processor = processors.Sequence([processors.ByteLevel(add_prefix_space=True, trim_offsets=False, use_regex=True), template])
    assert tok.get_vocab_size() == size
    tok.save(str(out / "tokenizer.json"))
    added = {str(tok.token_to_id(s)): dict(content=s, lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
             for s in specials}
    dump(out / "tokenizer_config.json", dict(
        added_tokens_decoder=added, bos_token=bos, clean_up_tokenization_spaces=True, eos_token=specials[1],
        model_input_names=["input_ids", "attention_mask"], model_max_length=131072, tokenizer_class="PreTrainedTokenizerFast"))
    dump(out / "special_tokens_map.json", dict(bos_token=bos, eos_token=specials[1]))


# the control tokens of Llama 2, in the order of their ids
LLAMA2 = dict(unk="<unk>", bos="<s>", eos="</s>")


def added_token(content, **more):
    return dict(content=content, **{**dict(lstrip=False, normalized=False, rstrip=False, single_word=False, special=True), **more})


def sentence_piece(out, size, control=LLAMA2, prefix=True, symbols=(), added=(), config=None):
    """tokenizer.model, and the tokenizer.json that says the same; the two are compared on TEXT.

    control: the names of pad, eos, bos and unk, in the order of their ids; symbols: user-defined pieces after
    them; prefix: a space before the text, as Llama 2 and not Gemma; added: tokens that tokenizer.json alone has,
    behind the others, as added_token gives them; config: what tokenizer_config.json says besides.
    """
    model = io.BytesIO()
    ids = {k: list(control).index(k) if k in control else -1 for k in ("unk", "bos", "eos", "pad")}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.split("\n")), model_writer=model, model_type="bpe", vocab_size=size,
        byte_fallback=True, character_coverage=1.0, split_digits=True, normalization_rule_name="identity",
        remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, num_threads=1, minloglevel=2,
        unk_id=ids["unk"], bos_id=ids["bos"], eos_id=ids["eos"], pad_id=ids["pad"],
        **({} if control is LLAMA2 else {k + "_piece": v for k, v in control.items()}),
        **({} if prefix else dict(add_dummy_prefix=False)), **(dict(user_defined_symbols=list(symbols)) if symbols else {}))
    (out / "tokenizer.model").write_bytes(model.getvalue())
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    assert sp.vocab_size() == size
    pieces = [sp.id_to_piece(i) for i in range(size)]
    vocab = {p: i for i, p in enumerate(pieces)}
    normal = {p for i, p in enumerate(pieces) if not (sp.is_byte(i) or sp.is_control(i) or sp.is_unknown(i))} - set(symbols)
    merges = []
    for p in sorted(normal, key=lambda p: (-sp.get_score(vocab[p]), vocab[p])):
        halves = [(p[:i], p[i:]) for i in range(1, len(p)) if p[:i] in normal and p[i:] in normal]
        merges += sorted(halves, key=lambda h: (vocab[h[0]], vocab[h[1]]))
    bos, eos, unk = control["bos"], control["eos"], control["unk"]
    tok = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token=unk, fuse_unk=True, byte_fallback=True))
    space = normalizers.Replace(" ", "▁")
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), space]) if prefix else space
    if not prefix:  # as Gemma's tokenizer.json has it; after its normalizer there is nothing left to split
        tok.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()] + (
        [decoders.Strip(" ", 1, 0)] if prefix else []))
    tok.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in (*control.values(), *symbols)])
    for a in added:
        tok.add_special_tokens([AddedToken(**a)])
    tok.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, vocab[bos])])
    tok.save(str(out / "tokenizer.json"))
    for line in TEXT.split("\n") + ["naïve ½ 🙂", "  two"]:
        assert not line or tok.encode(line, add_special_tokens=False).ids == sp.encode(line), line
    decoder = {str(i): added_token(s) for i, s in enumerate((*control.values(), *symbols))}
    decoder.update({str(size + i): a for i, a in enumerate(added)})
    named = dict(bos_token=bos, eos_token=eos, unk_token=unk)
    if "pad" in control:
        named["pad_token"] = control["pad"]
    dump(out / "tokenizer_config.json", dict(
        add_bos_token=True, add_eos_token=False, added_tokens_decoder=decoder, additional_special_tokens=list(symbols), bos_token=bos,
        clean_up_tokenization_spaces=False, eos_token=eos, legacy=True, model_max_length=1000000000000000019884624838656,
        pad_token=named.get("pad_token"), sp_model_kwargs={}, spaces_between_special_tokens=False, tokenizer_class="LlamaTokenizer",
        unk_token=unk, use_default_system_prompt=False) | (config or {}))
    dump(out / "special_tokens_map.json", named)


def byte_split(out, size, split, config, first=(), last=(), nfc=False, spaces=0, slow=False):
    """Bytes and merges in size tokens, specials before or behind them.

    split: a regular expression, or None for GPT-2's; config: tokenizer_config.json, written as it is but for the
    added tokens; spaces: so many runs of spaces as tokens that are not special, as GPT-NeoX has them; slow: with
    vocab.json and merges.txt.
    """
    tok = Tokenizer(models.BPE())
    if nfc:
        tok.normalizer = normalizers.NFC()
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    tok.pre_tokenizer = whole if split is None else pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(split), behavior="isolated", invert=False), whole])
    tok.decoder = decoders.ByteLevel()
    train(tok, size - len(last) - spaces, [AddedToken(s, special=True, normalized=False) for s in first])
    runs = [" " * n for n in range(spaces + 1, 1, -1)]
    tok.add_tokens([AddedToken(s, special=False, normalized=True) for s in runs])
    tok.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in last])
    tok.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False)
    assert tok.get_vocab_size() == size
    tok.save(str(out / "tokenizer.json"))
    if slow:
        model = json.loads((out / "tokenizer.json").read_text())["model"]
        (out / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False))
        (out / "merges.txt").write_text("#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in model["merges"]))
    added = {str(tok.token_to_id(s)): added_token(s, normalized=s in runs, special=s not in runs) for s in (*first, *runs, *last)}
    dump(out / "tokenizer_config.json", dict(added_tokens_decoder=added) | config)
    dump(out / "special_tokens_map.json", {k: v for k, v in config.items() if k in ("bos_token", "eos_token", "pad_token", "unk_token") and v})
