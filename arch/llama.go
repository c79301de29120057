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
	Base:    "model.",
	Params:  llamaParams,
	Layouts: map[Scheme]Layout{
		HF:        {Rope: Half, Window: true},
		GGUF:      {Rope: Interleaved},
		Meta:      {Rope: Interleaved},
		TorchChat: {Rope: Interleaved},
	},
	Tensors: []Tensor{
		{Role: "token_embd.weight", Kind: Embedding, Shape: []Dim{Vocab, Hidden},
			Name: names("model.embed_tokens.weight", "token_embd.weight", "tok_embeddings.weight")},
		{Role: "rope_freqs.weight", Kind: Factors, Shape: []Dim{HalfHead},
			Name:  map[Scheme]string{GGUF: "rope_freqs.weight"},
			When:  func(m *config.Model) bool { return m.Rope.Type == "llama3" || m.Rope.Factors != nil },
			Value: func(m *config.Model) []float32 { return m.Rope.Divisors(m.HeadDim) }},
		{Role: "attn_norm.weight", Kind: Norm, Shape: []Dim{Hidden},
			Name: names("model.layers.{i}.input_layernorm.weight", "blk.{i}.attn_norm.weight", "layers.{i}.attention_norm.weight")},
		{Role: "attn_q.weight", Kind: Linear, Shape: []Dim{QRows, Hidden}, Rotary: heads,
			Name: split("model.layers.{i}.self_attn.q_proj.weight", "blk.{i}.attn_q.weight", "layers.{i}.attention.wq.weight")},
		{Role: "attn_q.bias", Kind: Bias, Shape: []Dim{QRows}, Rotary: heads, When: attnBias,
			Name: split("model.layers.{i}.self_attn.q_proj.bias", "blk.{i}.attn_q.bias", "layers.{i}.attention.wq.bias")},
		{Role: "attn_k.weight", Kind: Linear, Shape: []Dim{KVRows, Hidden}, Rotary: kvHeads,
			Name: split("model.layers.{i}.self_attn.k_proj.weight", "blk.{i}.attn_k.weight", "layers.{i}.attention.wk.weight")},
		{Role: "attn_k.bias", Kind: Bias, Shape: []Dim{KVRows}, Rotary: kvHeads, When: attnBias,
			Name: split("model.layers.{i}.self_attn.k_proj.bias", "blk.{i}.attn_k.bias", "layers.{i}.attention.wk.bias")},
		{Role: "attn_v.weight", Kind: Linear, Shape: []Dim{KVRows, Hidden},
			Name: split("model.layers.{i}.self_attn.v_proj.weight", "blk.{i}.attn_v.weight", "layers.{i}.attention.wv.weight")},
		{Role: "attn_v.bias", Kind: Bias, Shape: []Dim{KVRows}, When: attnBias,
			Name: split("model.layers.{i}.self_attn.v_proj.bias", "blk.{i}.attn_v.bias", "layers.{i}.attention.wv.bias")},
		{Role: "attn_output.weight", Kind: Linear, Shape: []Dim{Hidden, QRows},
			Name: names("model.layers.{i}.self_attn.o_proj.weight", "blk.{i}.attn_output.weight", "layers.{i}.attention.wo.weight")},
		{Role: "attn_output.bias", Kind: Bias, Shape: []Dim{Hidden}, When: attnBias,
			Name: names("model.layers.{i}.self_attn.o_proj.bias", "blk.{i}.attn_output.bias", "layers.{i}.attention.wo.bias")},
		{Role: "ffn_norm.weight", Kind: Norm, Shape: []Dim{Hidden},
			Name: names("model.layers.{i}.post_attention_layernorm.weight", "blk.{i}.ffn_norm.weight", "layers.{i}.ffn_norm.weight")},
		{Role: "ffn_gate.weight", Kind: Linear, Shape: []Dim{FFN, Hidden},
			Name: names("model.layers.{i}.mlp.gate_proj.weight", "blk.{i}.ffn_gate.weight", "layers.{i}.feed_forward.w1.weight")},
		{Role: "ffn_gate.bias", Kind: Bias, Shape: []Dim{FFN}, When: mlpBias,
			Name: names("model.layers.{i}.mlp.gate_proj.bias", "blk.{i}.ffn_gate.bias", "layers.{i}.feed_forward.w1.bias")},
		{Role: "ffn_up.weight", Kind: Linear, Shape: []Dim{FFN, Hidden},
			Name: names("model.layers.{i}.mlp.up_proj.weight", "blk.{i}.ffn_up.weight", "layers.{i}.feed_forward.w3.weight")},
		{Role: "ffn_up.bias", Kind: Bias, Shape: []Dim{FFN}, When: mlpBias,
			Name: names("model.layers.{i}.mlp.up_proj.bias", "blk.{i}.ffn_up.bias", "layers.{i}.feed_forward.w3.bias")},
		{Role: "ffn_down.weight", Kind: Linear, Shape: []Dim{Hidden, FFN},
			Name: names("model.layers.{i}.mlp.down_proj.weight", "blk.{i}.ffn_down.weight", "layers.{i}.feed_forward.w2.weight")},
		{Role: "ffn_down.bias", Kind: Bias, Shape: []Dim{Hidden}, When: mlpBias,
			Name: names("model.layers.{i}.mlp.down_proj.bias", "blk.{i}.ffn_down.bias", "layers.{i}.feed_forward.w2.bias")},
		{Role: "output_norm.weight", Kind: Norm, Shape: []Dim{Hidden},
			Name: names("model.norm.weight", "output_norm.weight", "norm.weight")},
		{Role: "output.weight", Kind: Head, Shape: []Dim{Vocab, Hidden},
			Name: names("lm_head.weight", "output.weight", "output.weight")},
	},
	Fused: []Fused{
		// llama.cpp's converter writes these with --fuse-qkv, TorchChat's always; q and k are permuted before the join.
		{Name: map[Scheme]string{GGUF: "blk.{i}.attn_qkv.weight", TorchChat: "layers.{i}.attention.wqkv.weight"}, Parts: []string{"attn_q.weight", "attn_k.weight", "attn_v.weight"}},
		{Name: map[Scheme]string{GGUF: "blk.{i}.attn_qkv.bias", TorchChat: "layers.{i}.attention.wqkv.bias"}, Parts: []string{"attn_q.bias", "attn_k.bias", "attn_v.bias"}},
	},
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

func names(hf, gguf, meta string) map[Scheme]string {
	return map[Scheme]string{HF: hf, GGUF: gguf, Meta: meta, TorchChat: meta}
}

// split are the names of what TorchChat stores only as part of a fused tensor.
func split(hf, gguf, meta string) map[Scheme]string {
	return map[Scheme]string{HF: hf, GGUF: gguf, Meta: meta}
}

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
	implied := func(*config.Model) {} // by the other keys, or by the weights
	noAttnBias := func(m *config.Model) { m.AttnBias = false }
	noMLPBias := func(m *config.Model) { m.MLPBias = false }
	// What the two classes disagree about. A null num_key_value_heads is the number of heads in both.
	positions, absentKV := set(maxPos, 2048), sameHeads
	if mistral {
		positions, absentKV = set(maxPos, 4096*32), set(nKV, 8)
	}
	p := []config.Param{
		{HF: []string{"num_hidden_layers"}, GGUF: "block_count", Params: []string{"n_layers"}, Needed: true, Int: layers},
		{HF: []string{"max_position_embeddings"}, GGUF: "context_length", Params: []string{"block_size"}, Needed: true, Int: maxPos, Default: positions, ParamsDefault: set(maxPos, 2048)},
		{HF: []string{"hidden_size"}, GGUF: "embedding_length", Params: []string{"dim"}, Needed: true, Int: hidden},
		{HF: []string{"intermediate_size"}, GGUF: "feed_forward_length", Params: []string{"hidden_dim"}, Int: ffn, ParamsDefault: implied},
		{HF: []string{"num_attention_heads"}, GGUF: "attention.head_count", Params: []string{"n_heads"}, Int: nHeads},
		{HF: []string{"num_key_value_heads"}, GGUF: "attention.head_count_kv", Params: []string{"n_local_heads", "n_kv_heads"}, Int: nKV, ParamsDefault: sameHeads, Default: absentKV, Null: sameHeads, GGUFDefault: sameHeads},
		{GGUF: "rope.scaling.type", Str: func(m *config.Model) *string { return &m.Rope.Type }, Default: func(*config.Model) {}, OmitGGUF: notLinear},
		// Old files: llama.cpp reads it where there is no rope.scaling.factor, which comes after and wins.
		{GGUF: "rope.scale_linear", Float: func(m *config.Model) *float64 { return &m.Rope.Factor }, Default: func(*config.Model) {},
			OmitGGUF: func(*config.Model) bool { return true }},
		{GGUF: "rope.scaling.factor", Float: func(m *config.Model) *float64 { return &m.Rope.Factor }, Default: func(*config.Model) {}, OmitGGUF: notLinear},
		{GGUF: "rope.freq_base", Float: func(m *config.Model) *float64 { return &m.Rope.Theta }, Default: func(m *config.Model) { m.Rope.Theta = 10000 }},
		{HF: []string{"rms_norm_eps"}, GGUF: "attention.layer_norm_rms_epsilon", Params: []string{"norm_eps"}, Needed: true, Float: func(m *config.Model) *float64 { return &m.NormEps },
			Default: func(m *config.Model) { m.NormEps = 1e-6 }, ParamsDefault: func(m *config.Model) { m.NormEps = 1e-5 }},
		{HF: []string{"head_dim"}, GGUF: "attention.key_length", Int: headDim, Default: eachHead, GGUFDefault: eachHead},
		{GGUF: "attention.value_length", Repeats: true, Int: headDim, Default: func(*config.Model) {}},
		{GGUF: "general.file_type", Int: func(m *config.Model) *int64 { return &m.FileType }, Default: func(*config.Model) {}},
		{HF: []string{"vocab_size"}, GGUF: "vocab_size", Params: []string{"vocab_size"}, Int: vocab, ParamsDefault: implied, FromHeader: func(h *formats.Header, m *config.Model) bool {
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
		config.Param{HF: []string{"attention_bias"}, Params: []string{"attention_bias"}, Bool: func(m *config.Model) *bool { return &m.AttnBias }, Default: noAttnBias, ParamsDefault: noAttnBias,
			FromHeader: func(h *formats.Header, m *config.Model) bool {
				m.AttnBias = holds(h, "attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_qkv.bias", "attn_output.bias",
					"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias", "self_attn.o_proj.bias")
				return true
			}},
		config.Param{HF: []string{"mlp_bias"}, Params: []string{"feed_forward_bias"}, Bool: func(m *config.Model) *bool { return &m.MLPBias }, Default: noMLPBias, ParamsDefault: noMLPBias,
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
