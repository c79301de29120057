package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// Key is the full GGUF key of a parameter: names that start with "general." stand alone.
func (p Param) Key(arch string) string {
	if strings.HasPrefix(p.GGUF, "general.") {
		return p.GGUF
	}
	return arch + "." + p.GGUF
}

// FromGGUF reads the parameters from the metadata of a GGUF file of architecture arch. What GGUF says with the presence or the shape of a
// tensor is read from the header. All problems come together.
func FromGGUF(h *formats.Header, arch string, params []Param) (*Model, error) {
	m := &Model{Rope: Rope{Type: "default", Theta: 10000}, EmbedScale: 1, ResidualScale: 1, LogitScale: 1}
	md := h.Metadata
	var errs []error
	keep := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	for _, p := range params {
		if p.Custom != nil {
			if p.Custom.FromGGUF != nil {
				keep(p.Custom.FromGGUF(h, arch, m))
			}
			continue
		}
		if p.FromHeader != nil && p.FromHeader(h, m) {
			if p.GGUF != "" && p.Int != nil {
				if v, ok, err := md.Int(p.Key(arch)); err != nil {
					keep(err)
				} else if ok && v != *p.Int(m) {
					keep(formats.Errorf(formats.Mismatch, "got %d, and the tensors say %d", v, *p.Int(m)).In("", p.Key(arch)))
				}
			}
			continue
		}
		if p.GGUF == "" {
			if p.Default != nil {
				p.Default(m)
			}
			continue
		}
		key := p.Key(arch)
		ok := false
		var err error
		switch {
		case p.Int != nil:
			var v int64
			if v, ok, err = m.uniform(md, key); ok {
				if v < 0 || v > math.MaxInt32 {
					err = formats.Errorf(formats.Bounds, "got %d, want 0 to %d", v, math.MaxInt32).In("", key)
				}
				if p.Repeats && err == nil && *p.Int(m) != v {
					err = formats.Errorf(formats.Unsupported, "got %d, want %d, as the keys before it say", v, *p.Int(m)).In("", key)
				}
				*p.Int(m) = v
			}
		case p.Float != nil:
			var v float64
			if v, ok, err = md.Float(key); ok {
				*p.Float(m) = v
			}
		case p.Bool != nil:
			var v bool
			if v, ok, err = md.Bool(key); ok {
				*p.Bool(m) = v
			}
		case p.Str != nil:
			var v string
			if v, ok, err = md.Str(key); ok {
				*p.Str(m) = v
			}
		}
		if err != nil {
			keep(err)
			continue
		}
		if ok {
			continue
		}
		switch {
		case p.GGUFDefault != nil && !p.Needed:
			p.GGUFDefault(m)
		case p.Default != nil && !p.Needed:
			p.Default(m)
		default:
			keep(formats.Errorf(formats.Missing, "the key is absent").In("", key))
		}
	}
	keep(m.scaling(md, arch))
	m.unread(md, arch, params)
	if !(m.Rope.Theta > 0) || math.IsInf(m.Rope.Theta, 0) {
		keep(formats.Errorf(formats.Bounds, "got %v, want a positive number", m.Rope.Theta).In("", arch+".rope.freq_base"))
	}
	for _, k := range []struct {
		key string
		to  func(int64)
	}{
		{"tokenizer.ggml.bos_token_id", func(v int64) { m.BOS = &v }},
		{"tokenizer.ggml.eos_token_id", func(v int64) { m.EOS = []int64{v} }},
		{"tokenizer.ggml.padding_token_id", func(v int64) { m.PAD = &v }},
	} {
		v, ok, err := md.Int(k.key)
		keep(err)
		if ok {
			k.to(v)
		}
	}
	return m, errors.Join(errs...)
}

// uniform is the integer of a key. llama.cpp reads one for each layer too (llama-model-loader.cpp, get_key_or_arr): here they have to be the same.
func (m *Model) uniform(md formats.Metadata, key string) (int64, bool, error) {
	all, _, err := md.Ints(key)
	if err != nil || len(all) == 0 {
		return md.Int(key)
	}
	if int64(len(all)) != m.Layers {
		return 0, true, formats.Errorf(formats.Mismatch, "got %d numbers for %d layers", len(all), m.Layers).In("", key)
	}
	for i, v := range all {
		if v != all[0] {
			return 0, true, formats.Errorf(formats.Unsupported, "got %d for layer %d and %d for layer 0, want one number for all layers", v, i, all[0]).In("", key)
		}
	}
	return all[0], true, nil
}

// scaling gives the rope type the names of transformers. A factor without a type is linear, and a factor of 0 is none.
// Source: llama.cpp src/llama-model.cpp, load_hparams.
func (m *Model) scaling(md formats.Metadata, arch string) error {
	r, key := &m.Rope, arch+".rope.scaling.type"
	stated := md.Get(key) != nil
	switch {
	case r.Type == "none":
		r.Type = "default"
	case !stated && r.Factor != 0 && r.Factor != 1:
		r.Type = "linear"
	case stated && r.Type == "linear" && r.Factor == 0:
		r.Type = "default"
	case stated && r.Type == "default": // no word of GGUF: nobody can say what it means
		m.Unread = append(m.Unread, formats.KV{Key: key, Value: r.Type})
	}
	if r.Type == "default" {
		r.Factor = 0
	}
	if r.Type == "linear" && (!(r.Factor > 0) || math.IsInf(r.Factor, 0)) {
		return formats.Errorf(formats.Bounds, "got %v, want a positive number", r.Factor).In("", arch+".rope.scaling.factor")
	}
	return nil
}

// computing are the beginnings of keys that change what a runtime computes, without the architecture.
var computing = []string{"rope.", "attention.", "attn_", "expert", "moe_", "interleave_moe_", "logit_scale", "embedding_scale", "residual_scale",
	"final_logit_softcapping", "router_logit_softcapping", "hidden_activation", "activation.", "swiglu_", "use_parallel_residual"}

// harmless are keys among them that change nothing in a model that is otherwise computed here: what yarn alone reads, and the other norm's epsilon.
var harmless = []string{"rope.scaling.original_context_length", "rope.scaling.finetuned", "attention.layer_norm_epsilon"}

// unread collects the keys of an architecture that change what is computed and that no parameter reads. A value that says what is computed
// without the key is no change.
func (m *Model) unread(md formats.Metadata, arch string, params []Param) {
	known := map[string]bool{}
	for _, p := range params {
		if p.GGUF != "" {
			known[p.Key(arch)] = true
		}
		if p.Custom != nil {
			for _, k := range p.Custom.Keys {
				known[arch+"."+k] = true
			}
		}
	}
	for _, kv := range md {
		name, ok := strings.CutPrefix(kv.Key, arch+".")
		if ok && !known[kv.Key] && !slices.Contains(harmless, name) && !m.neutral(name, kv.Value) &&
			slices.ContainsFunc(computing, func(s string) bool { return strings.HasPrefix(name, s) }) {
			m.Unread = append(m.Unread, kv)
		}
	}
}

// neutral reports whether a value is what a runtime takes where the key is absent. llama.cpp reads a scale of 0 as none.
func (m *Model) neutral(name string, value any) bool {
	md := formats.Metadata{{Key: name, Value: value}}
	if v, ok, err := md.Bool(name); ok && err == nil {
		return v == (name == "attention.causal")
	}
	v, _, err := md.Float(name)
	if n, _, e := md.Int(name); e == nil {
		v, err = float64(n), nil
	}
	switch {
	case err != nil:
		return false
	case v == 0:
		return true
	case name == "attention.scale":
		return float32(v) == float32(1/math.Sqrt(float64(m.HeadDim)))
	}
	return v == 1 && slices.Contains([]string{"rope.scaling.attn_factor", "logit_scale", "embedding_scale", "residual_scale"}, name)
}

// ToGGUF is the metadata of a model in the order of params.
func (m *Model) ToGGUF(arch string, params []Param) []formats.KV {
	var out []formats.KV
	for _, p := range params {
		if p.Custom != nil && p.Custom.ToGGUF != nil {
			out = append(out, p.Custom.ToGGUF(m, arch)...)
		}
		if p.GGUF == "" || p.OmitGGUF != nil && p.OmitGGUF(m) {
			continue
		}
		kv := formats.KV{Key: p.Key(arch)}
		switch {
		case p.Int != nil:
			kv.Value = uint32(*p.Int(m))
		case p.Float != nil:
			kv.Value = float32(*p.Float(m))
		case p.Bool != nil:
			kv.Value = *p.Bool(m)
		case p.Str != nil:
			kv.Value = *p.Str(m)
		}
		out = append(out, kv)
	}
	return out
}

// ToHF writes a config.json from scratch, with the keys of transformers 4, which both majors read alike: a file with transformers 5's
// rope_parameters alone is read by transformers 4 as theta 10000. Keys are sorted, as transformers sorts them.
func (m *Model) ToHF(params []Param) []byte {
	kv := map[string]string{
		"architectures": fmt.Sprintf("[\n    %s\n  ]", Quote(m.Architecture)),
		"model_type":    Quote(m.ModelType),
		"rope_theta":    Number(m.Rope.Theta),
		"rope_scaling":  "null",
		"use_cache":     "true",
	}
	switch m.Rope.Type {
	case "linear":
		kv["rope_scaling"] = fmt.Sprintf("{\n    \"factor\": %s,\n    \"rope_type\": \"linear\",\n    \"type\": \"linear\"\n  }", Number(m.Rope.Factor))
	case "llama3":
		kv["rope_scaling"] = fmt.Sprintf("{\n    \"factor\": %s,\n    \"high_freq_factor\": %s,\n    \"low_freq_factor\": %s,\n    \"original_max_position_embeddings\": %d,\n    \"rope_type\": \"llama3\"\n  }",
			Number(m.Rope.Factor), Number(m.Rope.High), Number(m.Rope.Low), m.Rope.Original)
	case "longrope": // transformers 4 takes three keys and no fourth; the factor of attention is one where it has to be
		attention, plain := "", *m
		if plain.Rope.Attn = 0; float32(plain.Magnitude()) != float32(m.Magnitude()) {
			attention = fmt.Sprintf("    \"attention_factor\": %s,\n", Number(m.Rope.Attn))
		}
		kv["rope_scaling"] = fmt.Sprintf("{\n%s    \"long_factor\": [\n      %s\n    ],\n    \"short_factor\": [\n      %s\n    ],\n    \"type\": \"longrope\"\n  }",
			attention, numbers(m.Rope.Long), numbers(m.Rope.Short))
	}
	if m.DType != "" {
		kv["torch_dtype"] = Quote(m.DType)
	}
	if m.BOS != nil {
		kv["bos_token_id"] = strconv.FormatInt(*m.BOS, 10)
	}
	if m.PAD != nil {
		kv["pad_token_id"] = strconv.FormatInt(*m.PAD, 10)
	}
	switch {
	case len(m.EOS) == 1:
		kv["eos_token_id"] = strconv.FormatInt(m.EOS[0], 10)
	case len(m.EOS) > 1:
		var ids []string
		for _, id := range m.EOS {
			ids = append(ids, "    "+strconv.FormatInt(id, 10))
		}
		kv["eos_token_id"] = "[\n" + strings.Join(ids, ",\n") + "\n  ]"
	}
	for _, t := range m.Tie {
		kv[t.Path] = strconv.FormatBool(t.Value)
	}
	for _, p := range params {
		if p.Custom != nil && p.Custom.ToHF != nil {
			for k, text := range p.Custom.ToHF(m) {
				if kv[k] = text; text == "" {
					delete(kv, k)
				}
			}
		}
		if len(p.HF) == 0 {
			continue
		}
		if p.OmitHF != nil && p.OmitHF(m) {
			if p.Null != nil {
				kv[p.HF[0]] = "null" // left out, it would be the class's default
			}
			continue
		}
		kv[p.HF[0]] = p.text(m)
	}
	var keys []string
	for k := range kv {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b strings.Builder
	b.WriteString("{\n")
	for i, k := range keys {
		fmt.Fprintf(&b, "  %s: %s", Quote(k), kv[k])
		if i < len(keys)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("}\n")
	return []byte(b.String())
}

func numbers(list []float64) string {
	var out []string
	for _, f := range list {
		out = append(out, Number(f))
	}
	return strings.Join(out, ",\n      ")
}

// Number writes a float as Python's json does: with a point or an exponent, so that it is read back as a float.
func Number(f float64) string {
	switch {
	case f != f:
		return "NaN"
	case math.IsInf(f, 0):
		return strings.Replace(strings.TrimPrefix(strconv.FormatFloat(f, 'g', -1, 64), "+"), "Inf", "Infinity", 1)
	}
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if f != 0 && (math.Abs(f) >= 1e16 || math.Abs(f) < 1e-4) {
		return s
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
