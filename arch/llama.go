package arch

import (
	"errors"
	"slices"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// Llama is LlamaForCausalLM and MistralForCausalLM: Llama, Mistral, SmolLM2, TinyLlama and Granite Code 3B and 8B.
// Sources: transformers models/llama and models/mistral (configuration_*.py, modeling_*.py); llama.cpp conversion/llama.py and
// src/models/llama.cpp.
var Llama = Family{
	Name:       "llama",
	Classes:    []string{"LlamaForCausalLM", "MistralForCausalLM"},
	Types:      map[string]string{"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM"},
	GGUF:       "llama",
	LlamaVocab: []string{"LlamaForCausalLM", "MistralForCausalLM"},
	Base:       "model.",
	Params:     llamaParams,
	Layouts: map[Scheme]Layout{
		HF:        {Rope: Half, Window: true},
		GGUF:      {Rope: Interleaved},
		Meta:      {Rope: Interleaved},
		TorchChat: {Rope: Interleaved},
	},
	Tensors: slices.Concat(
		[]Tensor{embedding(names("model.embed_tokens.weight", "token_embd.weight", "tok_embeddings.weight")), ropeFactors},
		attentionNorm, attention(attnBias), mlpNorm, gatedMLP(mlpBias),
		[]Tensor{finalNorm, head},
	),
	Fused: fusedQKV,
	Ties: []Tie{{
		ID: "lm_head", Source: "token_embd.weight", Targets: []string{"output.weight"}, Flag: "tie_word_embeddings",
		Default: map[int]bool{4: false, 5: false}, Slot: Optional,
	}},
	Drop: map[Scheme][]string{HF: {"model.layers.{i}.self_attn.rotary_emb.inv_freq"}, Meta: {"rope.freqs"}, TorchChat: {"rope.freqs"}},
	Check: func(m *config.Model, s Scheme) error {
		var errs []error
		for _, kv := range m.Unread {
			errs = append(errs, formats.Errorf(formats.Unsupported, "got %v: the key changes what is computed, and this tool does not know how", kv.Value).In("", kv.Key))
		}
		if !m.Rope.Computes() {
			errs = append(errs, formats.Errorf(formats.Unsupported, "got rope type %q, want default, linear or llama3 with all that it needs", m.Rope.Type).In("", "rope_scaling"))
		}
		if m.Act != "silu" {
			errs = append(errs, formats.Errorf(formats.Unsupported, "got activation %q, want silu", m.Act).In("", "hidden_act"))
		}
		if m.HeadDim%2 != 0 || m.HeadDim == 0 || m.Heads == 0 || m.KVHeads == 0 || m.Heads%m.KVHeads != 0 {
			errs = append(errs, formats.Errorf(formats.BadShape, "got %d heads, %d key heads, head dimension %d; want heads a multiple of key heads and an even dimension",
				m.Heads, m.KVHeads, m.HeadDim).In("", "num_attention_heads"))
		}
		if s == TorchChat {
			errs = append(errs, torchChat(m))
		}
		return errors.Join(errs...)
	},
	Caveat: func(m *config.Model, s Scheme) string {
		without := map[Scheme]string{GGUF: "the GGUF architecture llama", TorchChat: "TorchChat"}[s]
		if without == "" || m.SlidingWindow == 0 || m.SlidingWindow >= m.MaxPos {
			return ""
		}
		return without + " has no sliding window: beyond " + itoa(m.SlidingWindow) + " tokens the result attends to more than the source does"
	},
}

// torchChat refuses what TransformerArgs cannot say. Source: TorchChat torchchat/model.py, TransformerArgs and Attention: the head dimension is
// dim / n_heads always, and wo is a square.
func torchChat(m *config.Model) error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, formats.Errorf(formats.Unsupported, format, args...).In("", key))
	}
	if m.HeadDim*m.Heads != m.Hidden {
		bad("head_dim", "got %d for %d heads of a width of %d: TorchChat computes with %d / %d", m.HeadDim, m.Heads, m.Hidden, m.Hidden, max(m.Heads, 1))
	}
	if m.Rope.Type != "default" && m.Rope.Type != "llama3" {
		bad("rope_scaling", "got rope type %q: TorchChat has default and llama3", m.Rope.Type)
	}
	return errors.Join(errs...)
}

func attnBias(m *config.Model) bool { return m.AttnBias }
func mlpBias(m *config.Model) bool  { return m.MLPBias }

// llamaParams have the defaults of LlamaConfig and MistralConfig.
func llamaParams(class string) []config.Param {
	window := func(m *config.Model) *int64 { return &m.SlidingWindow }
	if class == "MistralForCausalLM" {
		return append(decoder(defaults{MaxPos: 4096 * 32, KVHeads: 8}),
			config.Param{HF: []string{"sliding_window"}, Int: window, Default: func(m *config.Model) { m.SlidingWindow = 4096 }, Null: func(m *config.Model) { m.SlidingWindow = 0 },
				OmitHF: func(m *config.Model) bool { return m.SlidingWindow == 0 }})
	}
	return append(decoder(defaults{MaxPos: 2048}), attentionBias, mlpBiases)
}
