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
		errs := []error{decodes(m, "silu")}
		if !m.Rope.Computes() {
			errs = append(errs, formats.Errorf(formats.Unsupported, "got rope type %q, want default, linear or llama3 with all that it needs", m.Rope.Type).In("", "rope_scaling"))
		}
		if s == TorchChat {
			errs = append(errs, torchChat(m))
		}
		return errors.Join(errs...)
	},
	Caveats: unwindowed("llama"),
}

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
