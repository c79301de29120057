package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// runtime is what llama.cpp does for a name in tokenizer.ggml.pre (llama-vocab.cpp, load and llm_tokenizer_bpe).
type runtime struct {
	name   string
	split  string // the splitters, separated by spaces; "" where this package does not have them
	ignore bool   // ignore_merges
	addBOS bool   // the default of add_bos_token
	clean  bool   // decoded text loses blanks before punctuation
	pick   bool   // chosen by structure; the other names of the structure are chosen by hash or by hand
	nfc    bool   // all published tokenizers with this name have an NFC normalizer, which the runtime lacks
}

// runtimes has every name that the runtime accepts for byte-level BPE; another one is fatal there. The first that fits is chosen.
var runtimes = []runtime{
	{name: "gpt-2", split: "gpt2", clean: true, pick: true},
	{name: "refact", split: "digit gpt2", clean: true, pick: true}, // IBM's Granite models and StarCoder
	{name: "smollm", split: "digit gpt2", pick: true},
	{name: "llama-bpe", split: "cl100-3-ascii", ignore: true, addBOS: true, clean: true, pick: true},
	{name: "dbrx", split: "cl100-3-ascii", clean: true, pick: true}, // Granite 4 too
	{name: "qwen2", split: "cl100-1-ascii", pick: true, nfc: true},
	{name: "stablelm2", split: "cl100-1-ascii", clean: true, pick: true},
	{name: "qwen35", split: "cl100-1-marks-ascii", pick: true, nfc: true},

	{name: "starcoder", split: "digit gpt2", clean: true}, {name: "command-r", split: "digit gpt2"},
	{name: "codeshell", split: "digit gpt2", clean: true}, {name: "exaone", split: "digit gpt2", clean: true},
	{name: "minerva-7b", split: "digit gpt2", clean: true}, {name: "mellum2", split: "digit gpt2", clean: true},
	{name: "phi-2", split: "gpt2", clean: true}, {name: "jina-es", split: "gpt2", clean: true}, {name: "jina-de", split: "gpt2", clean: true},
	{name: "gigachat", split: "gpt2", clean: true}, {name: "jina-v2-es", split: "gpt2", clean: true}, {name: "jina-v2-de", split: "gpt2", clean: true},
	{name: "a.x-4.0", split: "gpt2", clean: true}, {name: "mellum", split: "gpt2", clean: true}, {name: "modern-bert", split: "gpt2", clean: true},
	{name: "exaone4", split: "gpt2", clean: true}, {name: "mpt", split: "gpt2", clean: true}, {name: "olmo", split: "gpt2", clean: true},
	{name: "jais", split: "gpt2", clean: true}, {name: "trillion", split: "gpt2"}, {name: "granite-docling", split: "gpt2"},
	{name: "llama3", split: "cl100-3-ascii", ignore: true, addBOS: true, clean: true},
	{name: "llama-v3", split: "cl100-3-ascii", ignore: true, addBOS: true, clean: true},
	{name: "falcon3", split: "cl100-3-ascii", ignore: true, addBOS: true, clean: true},
	{name: "falcon-h1", split: "cl100-3-ascii", ignore: true, addBOS: true, clean: true},
	{name: "pixtral", split: "cl100-3-ascii", ignore: true, addBOS: true, clean: true},
	{name: "midm-2.0", split: "cl100-3-ascii", ignore: true, addBOS: true, clean: true},
	{name: "lfm2", split: "cl100-3-ascii", ignore: true, addBOS: true, clean: true},
	{name: "jina-v5-nano", split: "cl100-3-ascii", ignore: true, addBOS: true, clean: true},
	{name: "smaug-bpe", split: "cl100-3-ascii", clean: true}, {name: "chatglm-bpe", split: "cl100-3-ascii", clean: true},
	{name: "glm4", split: "cl100-3-ascii", ignore: true, clean: true}, {name: "glm5", split: "cl100-3-ascii", ignore: true, clean: true},
	{name: "deepseek-r1-qwen", split: "cl100-1-ascii", nfc: true}, {name: "kormo", split: "cl100-1-ascii"}, {name: "f2llmv2", split: "cl100-1-ascii", nfc: true},
	{name: "megrez", split: "cl100-1-ascii", clean: true}, {name: "hunyuan", split: "cl100-1-ascii"}, {name: "solar-open", split: "cl100-1-ascii"},
	{name: "grok-2", split: "cl100-1-ascii"},

	// Known to the runtime, with expressions that this package does not have.
	{name: "default"}, {name: "minicpm5"}, {name: "deepseek-llm"}, {name: "deepseek-coder"}, {name: "deepseek-v3"}, {name: "spark2_5"}, {name: "youtu"},
	{name: "falcon"}, {name: "jais-2"}, {name: "gemma4"}, {name: "granite-embed-multi-311m"}, {name: "granite-embed-multi-97m"}, {name: "sarvam-moe"},
	{name: "jina-v1-en"}, {name: "jina-v2-code"}, {name: "roberta-bpe"}, {name: "whitespace"}, {name: "poro-chat"}, {name: "viking"}, {name: "tekken"},
	{name: "bloom"}, {name: "gpt3-finnish"}, {name: "exaone-moe"}, {name: "chameleon"}, {name: "gpt-4o"}, {name: "llama4"}, {name: "kanana2"},
	{name: "talkie"}, {name: "tiny_aya"}, {name: "cohere2moe"}, {name: "superbpe"}, {name: "bailingmoe"}, {name: "bailingmoe2"}, {name: "llada-moe"},
	{name: "seed-coder"}, {name: "hunyuan-dense"}, {name: "hy_v4"}, {name: "joyai-llm"}, {name: "kimi-k2"}, {name: "ufakzeka"}, {name: "afmoe"},
	{name: "laguna"}, {name: "minimax-m2"},
}

// spm is how the runtime reads a SentencePiece vocabulary (llama-vocab.cpp, LLAMA_VOCAB_TYPE_SPM).
var spm = runtime{name: "default", addBOS: true}

// model is the kind of vocabulary as GGUF names it.
func (r *runtime) model() string {
	if r == &spm {
		return "llama"
	}
	return "gpt2"
}

func runtimeByName(name string) *runtime {
	if i := slices.IndexFunc(runtimes, func(r runtime) bool { return r.name == name }); i >= 0 {
		return &runtimes[i]
	}
	return nil
}

// steps are the pre-tokenizer of tokenizer.json that cuts as the runtime does, in the spelling of the published files.
func (r *runtime) steps() []Step {
	split := func(regex string) []Step {
		return []Step{{Kind: "Split", Pattern: regex, Behavior: "Isolated"}, {Kind: "ByteLevel", TrimOffsets: true}}
	}
	const head, tail = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?`, `[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	switch r.split {
	case "gpt2":
		return []Step{{Kind: "ByteLevel", UseRegex: true, TrimOffsets: true}}
	case "digit gpt2":
		return []Step{{Kind: "Digits", Individual: true}, {Kind: "ByteLevel", UseRegex: true, TrimOffsets: true}}
	case "cl100-3-ascii":
		return split(head + `\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+` + tail)
	case "cl100-1-ascii":
		return split(head + `\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+` + tail)
	case "cl100-1-marks-ascii":
		return split(head + `[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+` + tail)
	}
	return nil
}

// fits reports whether the runtime cuts text as the steps do.
func (r *runtime) fits(names []string) bool {
	strip := func(s string) string { return strings.ReplaceAll(s, "-ascii", "") }
	return r.split != "" && strip(r.split) == strip(strings.Join(names, " "))
}

// choose finds the runtime's name for the vocabulary, or takes the one that is asked for.
func (v *Vocab) choose(pre string) (*runtime, []formats.Note, error) {
	const key = "tokenizer.ggml.pre"
	note := func(name, because string, warn bool) []formats.Note {
		return []formats.Note{{Subject: key, Decision: name, Because: because, Warn: warn}}
	}
	if pre == "" && v.PreName != "" {
		pre = v.PreName
	}
	names, err := chain(v.Pre)
	if pre != "" {
		r := runtimeByName(pre)
		if r == nil {
			return nil, nil, formats.Errorf(formats.Unsupported, "no pre-tokenizer of the runtime is called %q", short(pre)).In("", key)
		}
		if pre == v.PreName {
			return r, nil, nil
		}
		if err != nil || r.split == "" {
			return r, note(pre, "asked for; not compared with the source, whose pre-tokenizer is "+Canonical(v.Pre), true), nil
		}
		bad, first := v.mismatches(names, r)
		if bad > 0 {
			return r, note(pre, fmt.Sprintf("asked for, though it differs from the source in %d of %d texts, first %s", bad, len(selfCheck), first), true), nil
		}
		return r, note(pre, "asked for; it agrees with the source", false), nil
	}
	if err != nil {
		return nil, nil, formats.Errors(err)[0].Hinted("--pre NAME names a pre-tokenizer of the runtime")
	}
	r, because := v.pick(names)
	if r == nil {
		return nil, nil, formats.Errorf(formats.Unsupported, "no pre-tokenizer of the runtime is %s with ignore_merges %t", Canonical(v.Pre), v.IgnoreMerges).
			In("", "pre_tokenizer").Hinted("--pre NAME names a pre-tokenizer of the runtime")
	}
	if bad, first := v.mismatches(names, r); bad > 0 {
		return nil, nil, formats.Errorf(formats.Mismatch, "%s differs from the source's pre-tokenizer %s in %d of %d texts, first %s", r.name, Canonical(v.Pre), bad, len(selfCheck), first).In("", "pre_tokenizer")
	}
	return r, note(r.name, because, false), nil
}

// pick chooses among the names that cut text as the source does: the published tokenizer if this is one, else the first that decodes
// alike too, else the first.
func (v *Vocab) pick(names []string) (*runtime, string) {
	if h := v.hash(); h != "" {
		for _, p := range published {
			if r := runtimeByName(p.pre); p.hash == h && r != nil && r.fits(names) {
				return r, "the ids of the converter's check text are those of " + p.pre
			}
		}
	}
	var first *runtime
	for i := range runtimes {
		r := &runtimes[i]
		if !r.pick || !r.fits(names) || r.ignore != v.IgnoreMerges {
			continue
		}
		if v.CleanSpaces != nil && r.clean == *v.CleanSpaces {
			return r, fmt.Sprintf("the pre-tokenizer is %s, and clean_up_tokenization_spaces %t", Canonical(v.Pre), r.clean)
		}
		if first == nil {
			first = r
		}
	}
	return first, "the pre-tokenizer is " + Canonical(v.Pre)
}

// mismatches counts the texts that the runtime would cut otherwise, and shows the first difference. Different ignore_merges count
// only if some token is reached by one of them alone.
func (v *Vocab) mismatches(names []string, r *runtime) (bad int, first string) {
	theirs := strings.Fields(r.split)
	for _, t := range selfCheck {
		a, b := cut(t, names), cut(t, theirs)
		if slices.Equal(a, b) {
			continue
		}
		if bad++; first == "" {
			i := 0
			for i < len(a) && i < len(b) && a[i] == b[i] {
				i++
			}
			first = fmt.Sprintf("%q: piece %q, there %q", t, a[i], b[i])
		}
	}
	if r.ignore != v.IgnoreMerges {
		if t := v.unreachable(); t != "" {
			if bad++; first == "" {
				first = fmt.Sprintf("token %q: reached only with ignore_merges", t)
			}
		}
	}
	return bad, first
}

// hash is how llama.cpp's converter knows a published tokenizer: SHA-256 of the ids of its check text, printed as Python prints a
// list. It is "" if the text cannot be encoded.
func (v *Vocab) hash() string {
	ids, err := v.Encode(checkText, true)
	if err != nil {
		return ""
	}
	s := sha256.Sum256([]byte(strings.ReplaceAll(fmt.Sprint(ids), " ", ", ")))
	return hex.EncodeToString(s[:])
}
