package arch

import (
	"errors"
	"slices"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// Gemma is GemmaForCausalLM: Gemma 1 and CodeGemma. It is Llama with norms that store their gain less 1, the embedding times the square root of the
// width, another activation and a size of heads of its own. llama.cpp computes the head with the embedding always.
// Sources: transformers models/gemma (configuration_gemma.py, modeling_gemma.py); llama.cpp conversion/gemma.py and src/models/gemma.cpp.
var Gemma = Family{
	Name:    "gemma",
	Classes: []string{"GemmaForCausalLM"},
	Types:   map[string]string{"gemma": "GemmaForCausalLM"},
	GGUF:    "gemma",
	Base:    "model.",
	Params: func(string) []config.Param {
		return append(widthFirst(gemma(defaults{MaxPos: 8192, KVHeads: 16, HeadDim: 256}, 16, 256_000, gemmaAct)), attentionBias, causal)
	},
	Layouts: map[Scheme]Layout{HF: {Rope: Half, NormShift: 1}, GGUF: {Rope: Half}},
	Tensors: hub(slices.Concat(
		[]Tensor{embedding(names("model.embed_tokens.weight", "token_embd.weight", ""))},
		attentionNorm, attention(attnBias), mlpNorm, gatedMLP(never),
		[]Tensor{finalNorm, head},
	)),
	Fused: fusedQKV[:2:2],
	Ties:  gemmaTies(Forbidden),
	Drop:  map[Scheme][]string{HF: Llama.Drop[HF]},
	Check: gemmaCheck,
}

func gemmaTies(s Slot) []Tie {
	return []Tie{{
		ID: "lm_head", Source: "token_embd.weight", Targets: []string{"output.weight"}, Flag: "tie_word_embeddings",
		Default: map[int]bool{4: true, 5: true}, Slot: s,
	}}
}

// gemmaCheck is what all of Gemma's families refuse: another activation than the one that llama.cpp always computes, and rope types other than linear.
func gemmaCheck(m *config.Model, s Scheme) error {
	errs := []error{decodes(m, "gelu_pytorch_tanh"), llamaless(m, s), unbiased(m, s)}
	if !m.Rope.Computes() || m.Rope.Type == "llama3" {
		errs = append(errs, formats.Errorf(formats.Unsupported, "got rope type %q, want default or linear with its factor", m.Rope.Type).In("", "rope_scaling"))
	}
	return errors.Join(errs...)
}

// gemma is the parameters of a decoder with the defaults of Gemma's config classes, which state the size of everything.
func gemma(d defaults, heads, vocab int64, activation config.Param) []config.Param {
	p := base(decoder(d), true)
	for i := range p {
		switch {
		case p[i].GGUF == "attention.head_count":
			p[i].Needed, p[i].Default = true, func(m *config.Model) { m.Heads = heads }
		case p[i].GGUF == "vocab_size":
			p[i].Default = func(m *config.Model) { m.Vocab = vocab }
		case slices.Equal(p[i].HF, []string{"hidden_act"}):
			p[i] = activation
		}
	}
	return p
}

// widthFirst is the order in which the converter writes the keys of Gemma 1 and 2, without the base of rope where it is what the loader takes.
func widthFirst(p []config.Param) []config.Param {
	for i := range p {
		if p[i].GGUF == "rope.freq_base" {
			p[i].OmitGGUF = func(m *config.Model) bool { return m.Rope.Theta == 10000 }
		}
	}
	return behind(p[1:], "embedding_length", p[0])
}

// gemmaAct is the activation, which has a history: hidden_act was "gelu" in the first files and meant the approximation with tanh, which
// hidden_activation then said. transformers 5 reads the first key alone, and that word as it was meant; so did 4 until 4.47.
var gemmaAct = config.Param{Custom: &config.Custom{
	FromHF: func(d *config.Doc, m *config.Model) error {
		said, ok, err := d.Str("hidden_act")
		if m.Act = "gelu_pytorch_tanh"; ok && said != "gelu" {
			m.Act = said
		}
		if ok && said == "gelu" {
			m.Notes = append(m.Notes, formats.Note{Subject: "hidden_act", Decision: "read as gelu_pytorch_tanh", Because: "the first files of Gemma say gelu and mean it; transformers 4.48 to 4.57 compute the exact gelu"})
		}
		newer, ok, err2 := d.Str("hidden_activation")
		if ok && newer != m.Act {
			m.Unread = append(m.Unread, formats.KV{Key: "hidden_activation", Value: formats.Escape(newer, 80)})
		}
		return errors.Join(err, err2)
	},
	FromGGUF: func(_ *formats.Header, _ string, m *config.Model) error {
		m.Act = "gelu_pytorch_tanh"
		return nil
	},
	ToHF: func(m *config.Model) map[string]string {
		return map[string]string{"hidden_act": config.Quote(m.Act), "hidden_activation": config.Quote(m.Act)}
	},
}}

// causal refuses attention to later tokens, which neither the forward passes nor llama.cpp's graphs of these architectures have.
var causal = config.Param{Custom: &config.Custom{FromHF: func(d *config.Doc, m *config.Model) error {
	const key = "use_bidirectional_attention"
	if raw := d.Raw(key); d.Has(key) && raw != "false" {
		m.Unread = append(m.Unread, formats.KV{Key: key, Value: formats.Escape(raw, 80)})
	}
	return nil
}}}
