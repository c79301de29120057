package arch

import (
	"errors"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// Llama is LlamaForCausalLM and MistralForCausalLM: Llama, Mistral, SmolLM2, TinyLlama and Granite Code 3B and 8B.
// Sources: transformers models/llama and models/mistral (configuration_*.py, modeling_*.py); llama.cpp conversion/llama.py and
// src/models/llama.cpp.
var Llama = Family{
	Name:    "llama",
	Classes: []string{"LlamaForCausalLM", "MistralForCausalLM"},
	Types:   map[string]string{"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM"},
	GGUF:    "llama",
	Params:  llamaParams,
	Layouts: map[Scheme]Layout{
		HF:   {Rope: Half},
		GGUF: {Rope: Interleaved},
	},
	Tensors: []Tensor{
		{Role: "token_embd.weight", Kind: Embedding, Shape: []Dim{Vocab, Hidden},
			Name: names("model.embed_tokens.weight", "token_embd.weight")},
		{Role: "rope_freqs.weight", Kind: Factors, Shape: []Dim{HalfHead},
			Name:  map[Scheme]string{GGUF: "rope_freqs.weight"},
			When:  func(m *config.Model) bool { return m.Rope.Type == "llama3" || m.Rope.Factors != nil },
			Value: func(m *config.Model) []float32 { return m.Rope.Divisors(m.HeadDim) }},
		{Role: "attn_norm.weight", Kind: Norm, Shape: []Dim{Hidden},
			Name: names("model.layers.{i}.input_layernorm.weight", "blk.{i}.attn_norm.weight")},
		{Role: "attn_q.weight", Kind: Linear, Shape: []Dim{QRows, Hidden}, Rotary: heads,
			Name: names("model.layers.{i}.self_attn.q_proj.weight", "blk.{i}.attn_q.weight")},
		{Role: "attn_q.bias", Kind: Bias, Shape: []Dim{QRows}, Rotary: heads, When: attnBias,
			Name: names("model.layers.{i}.self_attn.q_proj.bias", "blk.{i}.attn_q.bias")},
		{Role: "attn_k.weight", Kind: Linear, Shape: []Dim{KVRows, Hidden}, Rotary: kvHeads,
			Name: names("model.layers.{i}.self_attn.k_proj.weight", "blk.{i}.attn_k.weight")},
		{Role: "attn_k.bias", Kind: Bias, Shape: []Dim{KVRows}, Rotary: kvHeads, When: attnBias,
			Name: names("model.layers.{i}.self_attn.k_proj.bias", "blk.{i}.attn_k.bias")},
		{Role: "attn_v.weight", Kind: Linear, Shape: []Dim{KVRows, Hidden},
			Name: names("model.layers.{i}.self_attn.v_proj.weight", "blk.{i}.attn_v.weight")},
		{Role: "attn_v.bias", Kind: Bias, Shape: []Dim{KVRows}, When: attnBias,
			Name: names("model.layers.{i}.self_attn.v_proj.bias", "blk.{i}.attn_v.bias")},
		{Role: "attn_output.weight", Kind: Linear, Shape: []Dim{Hidden, QRows},
			Name: names("model.layers.{i}.self_attn.o_proj.weight", "blk.{i}.attn_output.weight")},
		{Role: "attn_output.bias", Kind: Bias, Shape: []Dim{Hidden}, When: attnBias,
			Name: names("model.layers.{i}.self_attn.o_proj.bias", "blk.{i}.attn_output.bias")},
		{Role: "ffn_norm.weight", Kind: Norm, Shape: []Dim{Hidden},
			Name: names("model.layers.{i}.post_attention_layernorm.weight", "blk.{i}.ffn_norm.weight")},
		{Role: "ffn_gate.weight", Kind: Linear, Shape: []Dim{FFN, Hidden},
			Name: names("model.layers.{i}.mlp.gate_proj.weight", "blk.{i}.ffn_gate.weight")},
		{Role: "ffn_gate.bias", Kind: Bias, Shape: []Dim{FFN}, When: mlpBias,
			Name: names("model.layers.{i}.mlp.gate_proj.bias", "blk.{i}.ffn_gate.bias")},
		{Role: "ffn_up.weight", Kind: Linear, Shape: []Dim{FFN, Hidden},
			Name: names("model.layers.{i}.mlp.up_proj.weight", "blk.{i}.ffn_up.weight")},
		{Role: "ffn_up.bias", Kind: Bias, Shape: []Dim{FFN}, When: mlpBias,
			Name: names("model.layers.{i}.mlp.up_proj.bias", "blk.{i}.ffn_up.bias")},
		{Role: "ffn_down.weight", Kind: Linear, Shape: []Dim{Hidden, FFN},
			Name: names("model.layers.{i}.mlp.down_proj.weight", "blk.{i}.ffn_down.weight")},
		{Role: "ffn_down.bias", Kind: Bias, Shape: []Dim{Hidden}, When: mlpBias,
			Name: names("model.layers.{i}.mlp.down_proj.bias", "blk.{i}.ffn_down.bias")},
		{Role: "output_norm.weight", Kind: Norm, Shape: []Dim{Hidden},
			Name: names("model.norm.weight", "output_norm.weight")},
		{Role: "output.weight", Kind: Head, Shape: []Dim{Vocab, Hidden},
			Name: names("lm_head.weight", "output.weight")},
	},
	Fused: []Fused{
		// llama.cpp's converter writes these with --fuse-qkv, q and k permuted before the join.
		{Name: map[Scheme]string{GGUF: "blk.{i}.attn_qkv.weight"}, Parts: []string{"attn_q.weight", "attn_k.weight", "attn_v.weight"}},
		{Name: map[Scheme]string{GGUF: "blk.{i}.attn_qkv.bias"}, Parts: []string{"attn_q.bias", "attn_k.bias", "attn_v.bias"}},
	},
	Ties: []Tie{{
		ID: "lm_head", Source: "token_embd.weight", Targets: []string{"output.weight"}, Flag: "tie_word_embeddings",
		Default: map[int]bool{4: false, 5: false}, Slot: Optional,
	}},
	Drop: map[Scheme][]string{HF: {"model.layers.{i}.self_attn.rotary_emb.inv_freq"}},
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
		return errors.Join(errs...)
	},
	Caveat: func(m *config.Model, s Scheme) string {
		if s == GGUF && m.SlidingWindow > 0 && m.SlidingWindow < m.MaxPos {
			return "the GGUF architecture llama has no sliding window: beyond " + itoa(m.SlidingWindow) + " tokens the result attends to more than the source does"
		}
		return ""
	},
}

func names(hf, gguf string) map[Scheme]string { return map[Scheme]string{HF: hf, GGUF: gguf} }

func attnBias(m *config.Model) bool { return m.AttnBias }
func mlpBias(m *config.Model) bool  { return m.MLPBias }

// llamaParams are in the order in which llama.cpp's converter writes the GGUF keys. The defaults are those of LlamaConfig and MistralConfig.
func llamaParams(class string) []config.Param {
	mistral := class == "MistralForCausalLM"
	set := func(to func(*config.Model) *int64, v int64) func(*config.Model) {
		return func(m *config.Model) { *to(m) = v }
	}
	hidden := func(m *config.Model) *int64 { return &m.Hidden }
	layers := func(m *config.Model) *int64 { return &m.Layers }
	nHeads := func(m *config.Model) *int64 { return &m.Heads }
	nKV := func(m *config.Model) *int64 { return &m.KVHeads }
	headDim := func(m *config.Model) *int64 { return &m.HeadDim }
	ffn := func(m *config.Model) *int64 { return &m.FFN }
	vocab := func(m *config.Model) *int64 { return &m.Vocab }
	maxPos := func(m *config.Model) *int64 { return &m.MaxPos }
	window := func(m *config.Model) *int64 { return &m.SlidingWindow }
	eachHead := func(m *config.Model) {
		if m.Heads > 0 {
			m.HeadDim = m.Hidden / m.Heads
		}
	}
	sameHeads := func(m *config.Model) { m.KVHeads = m.Heads }
	// What the two classes disagree about. A null num_key_value_heads is the number of heads in both.
	positions, absentKV := set(maxPos, 2048), sameHeads
	if mistral {
		positions, absentKV = set(maxPos, 4096*32), set(nKV, 8)
	}
	p := []config.Param{
		{HF: []string{"num_hidden_layers"}, GGUF: "block_count", Needed: true, Int: layers},
		{HF: []string{"max_position_embeddings"}, GGUF: "context_length", Needed: true, Int: maxPos, Default: positions},
		{HF: []string{"hidden_size"}, GGUF: "embedding_length", Needed: true, Int: hidden},
		{HF: []string{"intermediate_size"}, GGUF: "feed_forward_length", Int: ffn},
		{HF: []string{"num_attention_heads"}, GGUF: "attention.head_count", Int: nHeads},
		{HF: []string{"num_key_value_heads"}, GGUF: "attention.head_count_kv", Int: nKV, Default: absentKV, Null: sameHeads, GGUFDefault: sameHeads},
		{GGUF: "rope.scaling.type", Str: func(m *config.Model) *string { return &m.Rope.Type }, Default: func(*config.Model) {}, OmitGGUF: notLinear},
		// Old files: llama.cpp reads it where there is no rope.scaling.factor, which comes after and wins.
		{GGUF: "rope.scale_linear", Float: func(m *config.Model) *float64 { return &m.Rope.Factor }, Default: func(*config.Model) {},
			OmitGGUF: func(*config.Model) bool { return true }},
		{GGUF: "rope.scaling.factor", Float: func(m *config.Model) *float64 { return &m.Rope.Factor }, Default: func(*config.Model) {}, OmitGGUF: notLinear},
		{GGUF: "rope.freq_base", Float: func(m *config.Model) *float64 { return &m.Rope.Theta }, Default: func(m *config.Model) { m.Rope.Theta = 10000 }},
		{HF: []string{"rms_norm_eps"}, GGUF: "attention.layer_norm_rms_epsilon", Needed: true, Float: func(m *config.Model) *float64 { return &m.NormEps },
			Default: func(m *config.Model) { m.NormEps = 1e-6 }},
		{HF: []string{"head_dim"}, GGUF: "attention.key_length", Int: headDim, Default: eachHead, GGUFDefault: eachHead},
		{GGUF: "attention.value_length", Repeats: true, Int: headDim, Default: func(*config.Model) {}},
		{GGUF: "general.file_type", Int: func(m *config.Model) *int64 { return &m.FileType }, Default: func(*config.Model) {}},
		{HF: []string{"vocab_size"}, GGUF: "vocab_size", Int: vocab, FromHeader: func(h *formats.Header, m *config.Model) bool {
			t := h.Tensor("token_embd.weight")
			if t == nil || len(t.Shape) != 2 {
				return false
			}
			m.Vocab = t.Shape[0]
			return true
		}},
		{GGUF: "rope.dimension_count", Repeats: true, Int: headDim, Default: func(*config.Model) {}},
		{HF: []string{"hidden_act"}, Str: func(m *config.Model) *string { return &m.Act }, Default: func(m *config.Model) { m.Act = "silu" }},
	}
	if mistral {
		return append(p, config.Param{HF: []string{"sliding_window"}, Int: window, Default: set(window, 4096), Null: set(window, 0),
			OmitHF: func(m *config.Model) bool { return m.SlidingWindow == 0 }})
	}
	return append(p,
		config.Param{HF: []string{"attention_bias"}, Bool: func(m *config.Model) *bool { return &m.AttnBias }, Default: func(m *config.Model) { m.AttnBias = false },
			FromHeader: func(h *formats.Header, m *config.Model) bool {
				m.AttnBias = holds(h, "attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_qkv.bias", "attn_output.bias",
					"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias", "self_attn.o_proj.bias")
				return true
			}},
		config.Param{HF: []string{"mlp_bias"}, Bool: func(m *config.Model) *bool { return &m.MLPBias }, Default: func(m *config.Model) { m.MLPBias = false },
			FromHeader: func(h *formats.Header, m *config.Model) bool {
				m.MLPBias = holds(h, "ffn_gate.bias", "ffn_up.bias", "ffn_down.bias", "mlp.gate_proj.bias", "mlp.up_proj.bias", "mlp.down_proj.bias")
				return true
			}},
	)
}

// holds reports whether a header has one of these tensors in any layer, so that one that is missing elsewhere is found missing. A GGUF file may
// have kept the names of another scheme.
func holds(h *formats.Header, names ...string) bool {
	for _, t := range h.Tensors {
		for _, n := range names {
			if strings.HasSuffix(t.Name, "."+n) && (strings.HasPrefix(t.Name, "blk.") || strings.HasPrefix(t.Name, "model.layers.")) {
				return true
			}
		}
	}
	return false
}

func notLinear(m *config.Model) bool { return m.Rope.Type != "linear" }

func itoa(v int64) string { return strconv.FormatInt(v, 10) }
