package arch

import (
	"errors"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// Starcoder2 is Starcoder2ForCausalLM: Llama with norms that subtract the mean, biases everywhere, an MLP without a gate and a tied head.
// Sources: transformers models/starcoder2 (configuration_starcoder2.py, modeling_starcoder2.py); llama.cpp conversion/starcoder.py and
// src/models/starcoder2.cpp.
var Starcoder2 = Family{
	Name:    "starcoder2",
	Classes: []string{"Starcoder2ForCausalLM"},
	Types:   map[string]string{"starcoder2": "Starcoder2ForCausalLM"},
	GGUF:    "starcoder2",
	Base:    "model.",
	Params: func(string) []config.Param {
		p := base(decoder(defaults{MaxPos: 4096, KVHeads: 2, Eps: 1e-5, Act: "gelu_pytorch_tanh", EpsHF: "norm_epsilon", EpsGGUF: "attention.layer_norm_epsilon"}), false)
		return append(p, useBias, config.Param{HF: []string{"sliding_window"}, Int: slidingWindow, Default: noWindow, Null: noWindow,
			OmitHF: func(m *config.Model) bool { return m.SlidingWindow == 0 }})
	},
	Layouts: map[Scheme]Layout{HF: {Rope: Half, Window: true}, GGUF: {Rope: Half}},
	Tensors: hub(slices.Concat(
		[]Tensor{embedding(names("model.embed_tokens.weight", "token_embd.weight", ""))},
		attentionNorm, []Tensor{biasOf(attentionNorm[0])}, attention(attnBias), mlpNorm, []Tensor{biasOf(mlpNorm[0])},
		renamed(without(gatedMLP(attnBias), "ffn_gate.weight", "ffn_gate.bias"), map[string]string{
			"ffn_up.weight": "model.layers.{i}.mlp.c_fc.weight", "ffn_up.bias": "model.layers.{i}.mlp.c_fc.bias",
			"ffn_down.weight": "model.layers.{i}.mlp.c_proj.weight", "ffn_down.bias": "model.layers.{i}.mlp.c_proj.bias",
		}),
		[]Tensor{finalNorm, biasOf(finalNorm), head},
	)),
	Fused: fusedQKV[:2:2],
	Ties:  GPTBigCode.Ties,
	Drop:  map[Scheme][]string{HF: Llama.Drop[HF]},
	Check: func(m *config.Model, s Scheme) error {
		errs := []error{decodes(m, "gelu_pytorch_tanh"), llamaless(m, s), square(m, s)}
		if !m.Rope.Computes() || m.Rope.Type == "llama3" {
			errs = append(errs, formats.Errorf(formats.Unsupported, "got rope type %q, want default or linear with its factor", m.Rope.Type).In("", "rope_scaling"))
		}
		if s == GGUF && !m.AttnBias {
			errs = append(errs, formats.Errorf(formats.Unsupported, "got false: the GGUF architecture has biases always").In("", "use_bias"))
		}
		return errors.Join(errs...)
	},
	Caveats: unwindowed("starcoder2"),
}

// useBias is the biases of attention and MLP together, which GGUF states by holding them.
var useBias = config.Param{HF: []string{"use_bias"}, Bool: func(m *config.Model) *bool { return &m.AttnBias }, Default: func(m *config.Model) { m.AttnBias = true },
	FromHeader: func(h *formats.Header, m *config.Model) bool {
		m.AttnBias = holds(h, "attn_q.bias", "attn_qkv.bias", "attn_output.bias")
		return true
	}}

// biasOf is the bias of a norm, which is there whatever the config says.
func biasOf(w Tensor) Tensor {
	of := func(weight string) string { return strings.TrimSuffix(weight, "weight") + "bias" }
	b := Tensor{Role: of(w.Role), Kind: Bias, Shape: w.Shape, Name: map[Scheme]string{}}
	for s, name := range w.Name {
		if name != "" {
			b.Name[s] = of(name)
		}
	}
	return b
}
