package arch

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// defaults are what the config classes of transformers disagree about.
type defaults struct {
	MaxPos  int64
	KVHeads int64   // where num_key_value_heads is absent; 0 is the number of heads. A null is the number of heads in all.
	HeadDim int64   // where head_dim is absent; 0 is hidden / heads
	Eps     float64 // 0 is 1e-6
	Theta   float64 // 0 is 10000
	Act     string  // "" is silu
	// EpsHF and EpsGGUF are the keys of the norms' epsilon; "" is that of RMS norms.
	EpsHF, EpsGGUF string
}

// integer is a parameter that is a number; the others below are alike.
func integer(hf, gguf string, to func(*config.Model) *int64, absent int64) config.Param {
	return config.Param{HF: keysOf(hf), GGUF: gguf, Int: to, Default: func(m *config.Model) { *to(m) = absent }}
}

func float(hf, gguf string, to func(*config.Model) *float64, absent float64) config.Param {
	return config.Param{HF: keysOf(hf), GGUF: gguf, Float: to, Default: func(m *config.Model) { *to(m) = absent }}
}

func text(hf, gguf string, to func(*config.Model) *string, absent string) config.Param {
	return config.Param{HF: keysOf(hf), GGUF: gguf, Str: to, Default: func(m *config.Model) { *to(m) = absent }}
}

// keysOf is a list of the key and its older names, which commas separate.
func keysOf(hf string) []string {
	if hf == "" {
		return nil
	}
	return strings.Split(hf, ",")
}

// needed marks a key that llama.cpp's loader insists on.
func needed(p config.Param) config.Param {
	p.Needed = true
	return p
}

// required has no default in transformers.
func required(p config.Param) config.Param {
	p.Default = nil
	return p
}

func hidden(m *config.Model) *int64        { return &m.Hidden }
func layers(m *config.Model) *int64        { return &m.Layers }
func nHeads(m *config.Model) *int64        { return &m.Heads }
func nKV(m *config.Model) *int64           { return &m.KVHeads }
func headDim(m *config.Model) *int64       { return &m.HeadDim }
func ffn(m *config.Model) *int64           { return &m.FFN }
func vocab(m *config.Model) *int64         { return &m.Vocab }
func maxPos(m *config.Model) *int64        { return &m.MaxPos }
func slidingWindow(m *config.Model) *int64 { return &m.SlidingWindow }
func fileType(m *config.Model) *int64      { return &m.FileType }
func eps(m *config.Model) *float64         { return &m.NormEps }
func theta(m *config.Model) *float64       { return &m.Rope.Theta }
func act(m *config.Model) *string          { return &m.Act }

func eachHead(m *config.Model) {
	if m.Heads > 0 {
		m.HeadDim = m.Hidden / m.Heads
	}
}

// decoder is the parameters that all decoders have, in the order in which llama.cpp's converter writes the GGUF keys.
func decoder(d defaults) []config.Param {
	set := func(to func(*config.Model) *int64, v int64) func(*config.Model) {
		return func(m *config.Model) { *to(m) = v }
	}
	or := func(v, other float64) float64 {
		if v == 0 {
			return other
		}
		return v
	}
	sameHeads := func(m *config.Model) { m.KVHeads = m.Heads }
	implied := func(*config.Model) {} // by the other keys, or by the weights
	absentKV, absentDim := sameHeads, eachHead
	if d.KVHeads != 0 {
		absentKV = set(nKV, d.KVHeads)
	}
	if d.HeadDim != 0 {
		absentDim = set(headDim, d.HeadDim)
	}
	activation := d.Act
	if activation == "" {
		activation = "silu"
	}
	epsHF, epsGGUF := "rms_norm_eps", "attention.layer_norm_rms_epsilon"
	if d.EpsHF != "" {
		epsHF = d.EpsHF
	}
	if d.EpsGGUF != "" {
		epsGGUF = d.EpsGGUF
	}
	return []config.Param{
		{HF: []string{"num_hidden_layers"}, GGUF: "block_count", Params: []string{"n_layers"}, Needed: true, Int: layers},
		{HF: []string{"max_position_embeddings"}, GGUF: "context_length", Params: []string{"block_size"}, Needed: true, Int: maxPos, Default: set(maxPos, d.MaxPos), ParamsDefault: set(maxPos, 2048)},
		{HF: []string{"hidden_size"}, GGUF: "embedding_length", Params: []string{"dim"}, Needed: true, Int: hidden},
		{HF: []string{"intermediate_size"}, GGUF: "feed_forward_length", Params: []string{"hidden_dim"}, Int: ffn, ParamsDefault: implied},
		{HF: []string{"num_attention_heads"}, GGUF: "attention.head_count", Params: []string{"n_heads"}, Int: nHeads},
		{HF: []string{"num_key_value_heads"}, GGUF: "attention.head_count_kv", Params: []string{"n_local_heads", "n_kv_heads"}, Int: nKV, ParamsDefault: sameHeads, Default: absentKV, Null: sameHeads, GGUFDefault: sameHeads},
		{GGUF: "rope.scaling.type", Str: func(m *config.Model) *string { return &m.Rope.Type }, Default: func(*config.Model) {}, OmitGGUF: notLinear},
		// Old files: llama.cpp reads it where there is no rope.scaling.factor, which comes after and wins.
		{GGUF: "rope.scale_linear", Float: func(m *config.Model) *float64 { return &m.Rope.Factor }, Default: func(*config.Model) {},
			OmitGGUF: func(*config.Model) bool { return true }},
		{GGUF: "rope.scaling.factor", Float: func(m *config.Model) *float64 { return &m.Rope.Factor }, Default: func(*config.Model) {}, OmitGGUF: notLinear},
		{Custom: &config.Custom{FromHF: d.theta}},
		{GGUF: "rope.freq_base", Float: theta, Default: func(m *config.Model) { m.Rope.Theta = 10000 }},
		{HF: keysOf(epsHF), GGUF: epsGGUF, Params: []string{"norm_eps"}, Needed: true, Float: eps,
			Default: func(m *config.Model) { m.NormEps = or(d.Eps, 1e-6) }, ParamsDefault: func(m *config.Model) { m.NormEps = 1e-5 }},
		{HF: []string{"head_dim"}, GGUF: "attention.key_length", Int: headDim, Default: absentDim, Null: absentDim, GGUFDefault: eachHead},
		{GGUF: "attention.value_length", Repeats: true, Int: headDim, Default: func(*config.Model) {}},
		{GGUF: "general.file_type", Int: fileType, Default: func(*config.Model) {}},
		{HF: []string{"vocab_size"}, GGUF: "vocab_size", Params: []string{"vocab_size"}, Int: vocab, ParamsDefault: implied, FromHeader: func(h *formats.Header, m *config.Model) bool {
			t := h.Tensor("token_embd.weight")
			if t == nil || len(t.Shape) != 2 {
				return false
			}
			m.Vocab = t.Shape[0]
			return true
		}},
		{GGUF: "rope.dimension_count", Repeats: true, Int: headDim, Default: func(*config.Model) {}},
		{HF: []string{"hidden_act"}, Str: act, Default: func(m *config.Model) { m.Act = activation }},
	}
}

// theta is the class's base where config.json states none.
func (d defaults) theta(doc *config.Doc, m *config.Model) error {
	if d.Theta != 0 && !doc.Has("rope_theta") && !doc.Has("rope_parameters", "rope_theta") && !doc.Has("rope_scaling", "rope_theta") {
		m.Rope.Theta = d.Theta
	}
	return nil
}

// behind is p with more after the parameter of a GGUF key.
func behind(p []config.Param, key string, more ...config.Param) []config.Param {
	i := slices.IndexFunc(p, func(x config.Param) bool { return x.GGUF == key })
	return slices.Insert(slices.Clone(p), i+1, more...)
}

// base is p as llama.cpp's converter writes it for families that it knows nothing special of: GGUF tells the vocabulary with the embedding, the
// part of a head that rope turns is all of it, and the size of a head is a key where it is not what the loader makes of the width, or always.
// Source: llama.cpp conversion/base.py, TextModel.set_gguf_parameters.
func base(p []config.Param, always bool) []config.Param {
	p = slices.Clone(p)
	for i := range p {
		switch p[i].GGUF {
		case "vocab_size", "rope.dimension_count":
			p[i].OmitGGUF = func(*config.Model) bool { return true }
		case "attention.key_length", "attention.value_length":
			p[i].OmitGGUF = func(m *config.Model) bool { return !always && m.HeadDim*m.Heads == m.Hidden }
		}
	}
	return p
}

// ordered is p with the parameters of these GGUF keys first, in this order. The keys of the others are read and not written.
func ordered(p []config.Param, keys ...string) []config.Param {
	at := func(x config.Param) int {
		key := x.GGUF
		if x.Custom != nil {
			key = strings.Join(x.Custom.Keys, " ")
		}
		if i := slices.Index(keys, key); i >= 0 {
			return i
		}
		return len(keys)
	}
	p = slices.Clone(p)
	slices.SortStableFunc(p, func(a, b config.Param) int { return at(a) - at(b) })
	for i := range p {
		if p[i].GGUF != "" && at(p[i]) == len(keys) {
			p[i].OmitGGUF = func(*config.Model) bool { return true }
		}
	}
	return p
}

// windows is which layers see a window alone, as Qwen's configs say it: those from max_window_layers on, if layer_types does not name them; none
// without use_sliding_window. Source: transformers configuration_qwen2.py and configuration_qwen3.py.
var windows = config.Param{Custom: &config.Custom{
	FromHF: func(d *config.Doc, m *config.Model) error {
		var errs []error
		number := func(key string, absent int64) int64 {
			v, ok, err := d.Int(key)
			if errs = append(errs, err); !ok {
				v = absent
			}
			return v
		}
		used, _, err := d.Bool("use_sliding_window")
		errs = append(errs, err)
		window, from := number("sliding_window", 4096), number("max_window_layers", 28)
		if !used || d.Null("sliding_window") {
			window = 0
		}
		m.LayerTypes, err = d.Strs("layer_types")
		if err = errors.Join(append(errs, err)...); err != nil || m.Layers > 100_000 {
			return err
		}
		if window < 0 || window > math.MaxInt32 {
			return formats.Errorf(formats.Bounds, "got %d, want 0 to %d", window, math.MaxInt32).At(d.Path, -1).In("", "sliding_window")
		}
		slides := make([]bool, m.Layers)
		for i := range slides {
			if slides[i] = window > 0 && int64(i) >= from; i < len(m.LayerTypes) {
				slides[i] = m.LayerTypes[i] == "sliding_attention"
			}
		}
		for _, t := range m.LayerTypes {
			if t != "full_attention" && t != "sliding_attention" {
				m.Unread = append(m.Unread, formats.KV{Key: "layer_types", Value: formats.Escape(t, 80)})
				break
			}
		}
		if !slices.Contains(slides, true) {
			return nil
		}
		if window == 0 {
			return formats.Errorf(formats.Mismatch, "a layer has a window, and there is none: use_sliding_window is %v", used).At(d.Path, -1).In("", "layer_types")
		}
		if m.SlidingWindow = window; slices.Contains(slides, false) {
			m.LayerWindows = slides
		}
		return nil
	},
	// What is rebuilt from GGUF has no windows.
	ToHF: func(*config.Model) map[string]string { return map[string]string{"use_sliding_window": "false"} },
}}

// The biases of attention and MLP, which GGUF states by holding them.
var (
	attentionBias = config.Param{HF: []string{"attention_bias"}, Params: []string{"attention_bias"}, Bool: func(m *config.Model) *bool { return &m.AttnBias },
		Default: func(m *config.Model) { m.AttnBias = false }, ParamsDefault: func(m *config.Model) { m.AttnBias = false },
		FromHeader: func(h *formats.Header, m *config.Model) bool {
			m.AttnBias = holds(h, "attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_qkv.bias", "attn_output.bias",
				"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias", "self_attn.o_proj.bias")
			return true
		}}
	mlpBiases = config.Param{HF: []string{"mlp_bias"}, Params: []string{"feed_forward_bias"}, Bool: func(m *config.Model) *bool { return &m.MLPBias },
		Default: func(m *config.Model) { m.MLPBias = false }, ParamsDefault: func(m *config.Model) { m.MLPBias = false },
		FromHeader: func(h *formats.Header, m *config.Model) bool {
			m.MLPBias = holds(h, "ffn_gate.bias", "ffn_up.bias", "ffn_down.bias", "mlp.gate_proj.bias", "mlp.up_proj.bias", "mlp.down_proj.bias")
			return true
		}}
)

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
