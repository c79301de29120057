"""Small tokenizers of the kinds that the model families carry, trained on the text below.

byte_level: StarCoder's, Granite Code's and SmolLM2's pre-tokenizer (single digits, then
GPT-2's split). tiktoken_like: Llama 3's. sentence_piece: Llama 2's and Mistral's, with
byte fallback. Each writes the files that such a model directory has.
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


def sentence_piece(out, size):
    """tokenizer.model, and the tokenizer.json that says the same; the two are compared on TEXT."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.split("\n")), model_writer=model, model_type="bpe", vocab_size=size,
        byte_fallback=True, character_coverage=1.0, split_digits=True, normalization_rule_name="identity",
        remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, num_threads=1, minloglevel=2,
        unk_id=0, bos_id=1, eos_id=2, pad_id=-1)
    (out / "tokenizer.model").write_bytes(model.getvalue())
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    assert sp.vocab_size() == size
    pieces = [sp.id_to_piece(i) for i in range(size)]
    vocab = {p: i for i, p in enumerate(pieces)}
    normal = {p for i, p in enumerate(pieces) if not (sp.is_byte(i) or sp.is_control(i) or sp.is_unknown(i))}
    merges = []
    for p in sorted(normal, key=lambda p: (-sp.get_score(vocab[p]), vocab[p])):
        halves = [(p[:i], p[i:]) for i in range(1, len(p)) if p[:i] in normal and p[i:] in normal]
        merges += sorted(halves, key=lambda h: (vocab[h[0]], vocab[h[1]]))
    tok = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tok.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in ("<unk>", "<s>", "</s>")])
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    tok.save(str(out / "tokenizer.json"))
    for line in TEXT.split("\n") + ["naïve ½ 🙂", "  two"]:
        assert not line or tok.encode(line, add_special_tokens=False).ids == sp.encode(line), line
    added = {str(i): dict(content=s, lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
             for i, s in enumerate(("<unk>", "<s>", "</s>"))}
    dump(out / "tokenizer_config.json", dict(
        add_bos_token=True, add_eos_token=False, added_tokens_decoder=added, additional_special_tokens=[], bos_token="<s>",
        clean_up_tokenization_spaces=False, eos_token="</s>", legacy=True, model_max_length=1000000000000000019884624838656,
        pad_token=None, sp_model_kwargs={}, spaces_between_special_tokens=False, tokenizer_class="LlamaTokenizer",
        unk_token="<unk>", use_default_system_prompt=False))
    dump(out / "special_tokens_map.json", dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>"))
