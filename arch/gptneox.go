package arch

import (
	"errors"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// GPTNeoX is GPTNeoXForCausalLM: GPT-NeoX and Pythia. Query, key and value are one matrix with the three of each head side by side in HF's files, a
// part of each head turns, and attention and MLP read the same residual unless use_parallel_residual is false.
// Sources: transformers models/gpt_neox (configuration_gpt_neox.py, modeling_gpt_neox.py); llama.cpp conversion/gptneox.py, which writes no base of
// rope, and src/models/gptneox.cpp.
var GPTNeoX = Family{
	Name:    "gpt_neox",
	Classes: []string{"GPTNeoXForCausalLM"},
	Types:   map[string]string{"gpt_neox": "GPTNeoXForCausalLM"},
	GGUF:    "gptneox",
	Base:    "gpt_neox.",
	Params:  neoxParams,
	Layouts: map[Scheme]Layout{HF: {Rope: Half}, GGUF: {Rope: Half}},
	Tensors: blocked(neoxRows(), "attn_qkv", func(m *config.Model) (int64, int64) { return m.Heads, 3 }),
	Ties: []Tie{{ID: "lm_head", Source: "token_embd.weight", Targets: []string{"output.weight"}, Flag: "tie_word_embeddings",
		Default: map[int]bool{4: false, 5: false}, Slot: Required}},
	Drop: map[Scheme][]string{HF: {"gpt_neox.layers.{i}.attention.rotary_emb.inv_freq", "gpt_neox.layers.{i}.attention.bias", "gpt_neox.layers.{i}.attention.masked_bias"}},
	Check: func(m *config.Model, s Scheme) error {
		errs := []error{unreadKeys(m), wholeHeads(m)}
		bad := func(key, format string, args ...any) {
			errs = append(errs, formats.Errorf(formats.Unsupported, format, args...).In("", key))
		}
		switch m.Act {
		case "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh":
		default:
			bad("hidden_act", "got activation %q, want gelu or an approximation of it", m.Act)
		}
		if m.Rope.Type != "default" {
			bad("rope_scaling", "got rope type %q, want default", m.Rope.Type)
		}
		if n := m.Rotated(); n <= 0 || n%2 != 0 {
			bad("rotary_pct", "got %d of %d elements of a head that turn, want an even number of them", n, m.HeadDim)
		}
		if s == GGUF && !m.AttnBias {
			bad("attention_bias", "got false: the GGUF architecture has biases always")
		}
		return errors.Join(errs...)
	},
	Caveats: func(m *config.Model, s Scheme) []Caveat {
		switch {
		case s != GGUF:
			return nil
		case m.Act == "gelu":
			return []Caveat{{Note: formats.Note{Subject: "hidden_act", Decision: "gelu", Because: "llama.cpp computes it by its approximation with tanh"}}}
		}
		return []Caveat{{Note: formats.Note{Subject: "hidden_act", Decision: "not carried", Because: "no GGUF key says which form of gelu: a config.json made of the result says gelu"}}}
	},
}

// neoxRows are the rows of the table. transformers 5 calls the head lm_head in memory and reads both names.
func neoxRows() []Tensor {
	names := map[string]string{
		"token_embd.weight": "gpt_neox.embed_in.weight", "output.weight": "embed_out.weight",
		"output_norm.weight": "gpt_neox.final_layer_norm.weight", "output_norm.bias": "gpt_neox.final_layer_norm.bias",
	}
	for role, hf := range map[string]string{"attn_norm": "input_layernorm", "attn_qkv": "attention.query_key_value", "attn_output": "attention.dense",
		"ffn_norm": "post_attention_layernorm", "ffn_up": "mlp.dense_h_to_4h", "ffn_down": "mlp.dense_4h_to_h"} {
		names[role+".weight"], names[role+".bias"] = "gpt_neox.layers.{i}."+hf+".weight", "gpt_neox.layers.{i}."+hf+".bias"
	}
	rows := also(without(renamed(gptRows(QKVRows), names), "position_embd.weight"), map[string]string{"output.weight": "lm_head.weight"})
	for i := range rows {
		if r := rows[i].Role; r == "attn_qkv.bias" || r == "attn_output.bias" {
			rows[i].When = attnBias
		}
	}
	return rows
}

// neoxParams are in the order in which llama.cpp's converter writes the keys.
func neoxParams(string) []config.Param {
	return []config.Param{
		needed(integer("max_position_embeddings", "context_length", maxPos, 2048)),
		needed(integer("hidden_size", "embedding_length", hidden, 6144)),
		needed(integer("num_hidden_layers", "block_count", layers, 44)),
		integer("intermediate_size", "feed_forward_length", ffn, 24576),
		turned,
		integer("num_attention_heads", "attention.head_count", nHeads, 64),
		{HF: []string{"use_parallel_residual"}, GGUF: "use_parallel_residual", Needed: true, Bool: func(m *config.Model) *bool { return &m.Parallel },
			Default: func(m *config.Model) { m.Parallel = true }},
		needed(float("layer_norm_eps", "attention.layer_norm_epsilon", eps, 1e-5)),
		// The converter writes none, and the loader takes 10000 then.
		{GGUF: "rope.freq_base", Float: theta, Default: func(*config.Model) {}, GGUFDefault: func(m *config.Model) { m.Rope.Theta = 10000 }},
		gptHeads,
		vocabulary(50432),
		text("hidden_act", "", act, "gelu"),
		{HF: []string{"attention_bias"}, Bool: func(m *config.Model) *bool { return &m.AttnBias }, Default: func(m *config.Model) { m.AttnBias = true },
			FromHeader: useBias.FromHeader},
		neoxRope,
		{Custom: partialRotary.Custom},
	}
}
