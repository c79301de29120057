package arch

import (
	"errors"
	"math"
	"slices"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// Position encodings that are not Llama's. Of Phi and GPT-NeoX a part of each head turns; Phi's longrope divides its frequencies by one of two lists,
// by the length of the text. Sources: transformers modeling_rope_utils.py, models/phi3/configuration_phi3.py and models/gpt_neox/configuration_gpt_neox.py;
// llama.cpp conversion/phi.py and src/models/phi3.cpp.

// divisors are one of the two lists, which GGUF stores.
func divisors(role string, list func(*config.Model) *[]float64) Tensor {
	return Tensor{Role: role, Kind: Factors, Shape: []Dim{func(m *config.Model) int64 { return m.Rotated() / 2 }},
		Name: map[Scheme]string{GGUF: role},
		When: func(m *config.Model) bool { return m.Rope.Type == "longrope" },
		Value: func(m *config.Model) []float32 {
			var v []float32
			for _, f := range *list(m) {
				v = append(v, float32(f))
			}
			return v
		},
		Take: func(m *config.Model, v []float32) {
			*list(m) = nil
			for _, f := range v {
				*list(m) = append(*list(m), formats.Shortest(f))
			}
		}}
}

// originalLength is the length of text up to which the short list counts. config.json has it at the root.
var originalLength = config.Param{HF: []string{"original_max_position_embeddings"}, GGUF: "rope.scaling.original_context_length",
	Int:         func(m *config.Model) *int64 { return &m.Rope.Original },
	Default:     func(m *config.Model) { m.Rope.Original = 4096 },
	GGUFDefault: func(m *config.Model) { m.Rope.Original = m.MaxPos }}

// turned is the number of elements of a head that turn. partialRotary, which comes when the size of a head is known, reads it.
var turned = config.Param{Custom: &config.Custom{Keys: []string{"rope.dimension_count"}, ToGGUF: func(m *config.Model, arch string) []formats.KV {
	return []formats.KV{{Key: arch + ".rope.dimension_count", Value: uint32(m.Rotated())}}
}}}

// partialRotary is the part of a head that turns, which config.json states as a fraction: with the position encoding if it is there, as
// transformers 5 writes it, or at the root.
var partialRotary = config.Param{Custom: &config.Custom{
	FromHF: func(d *config.Doc, m *config.Model) error {
		const key = "partial_rotary_factor"
		for _, path := range [][]string{{"rope_scaling", key}, {"rope_parameters", key}, {key}} {
			v, ok, err := d.Float(path...)
			switch {
			case err != nil:
				return err
			case ok && !(v > 0 && v <= 1):
				return formats.Errorf(formats.Bounds, "got %v, want more than 0 and at most 1", v).At(d.Path, -1).In("", key)
			case ok:
				if m.Rope.Share = v; v == 1 {
					m.Rope.Share = 0
				}
				return nil
			}
		}
		return nil
	},
	ToHF: func(m *config.Model) map[string]string {
		if m.Rope.Share == 0 {
			return nil
		}
		return map[string]string{"partial_rotary_factor": config.Number(m.Rope.Share)}
	},
	FromGGUF: func(h *formats.Header, arch string, m *config.Model) error {
		key := arch + ".rope.dimension_count"
		n, ok, err := h.Metadata.Int(key)
		if err != nil || !ok || n == m.HeadDim {
			return err
		}
		if n <= 0 || n > m.HeadDim {
			return formats.Errorf(formats.Bounds, "got %d of %d elements of a head, want at least one", n, m.HeadDim).In("", key)
		}
		// The quotient may round to a fraction of which a whole number is missed.
		if m.Rope.Share = float64(n) / float64(m.HeadDim); m.Rotated() != n {
			m.Rope.Share = math.Nextafter(m.Rope.Share, 1)
		}
		return nil
	},
}}

// longrope is the lists and what queries and keys are multiplied by. In GGUF the lists are tensors, and their presence says the type.
var longrope = config.Param{Custom: &config.Custom{
	FromHF: func(d *config.Doc, m *config.Model) error {
		r := &m.Rope
		if r.Type != "longrope" && r.Type != "su" && r.Type != "yarn" { // Phi3Config takes all three for the first
			return nil
		}
		r.Type = "longrope"
		group := "rope_scaling"
		if len(d.Keys(group)) == 0 {
			group = "rope_parameters"
		}
		var errs []error
		bad := func(code formats.Code, key, format string, args ...any) {
			errs = append(errs, formats.Errorf(code, format, args...).At(d.Path, -1).In("", group+"."+key))
		}
		positive := func(f float64) bool { return f > 0 && !math.IsInf(f, 0) }
		list := func(key string) []float64 {
			l, err := d.Floats(group, key)
			switch n := m.Rotated() / 2; {
			case err != nil:
				errs = append(errs, err)
			case int64(len(l)) != n:
				bad(formats.BadShape, key, "got %d divisors, want %d, one for each pair that turns", len(l), n)
			case slices.ContainsFunc(l, func(f float64) bool { return !positive(f) }):
				bad(formats.Bounds, key, "got a divisor that is no positive number")
			}
			return l
		}
		r.Long, r.Short = list("long_factor"), list("short_factor")
		n, stated, err := d.Int(group, "original_max_position_embeddings")
		if errs = append(errs, err); stated && n != r.Original {
			bad(formats.Mismatch, "original_max_position_embeddings", "got %d, and the root says %d, which transformers takes", n, r.Original)
		}
		if r.Original <= 1 {
			bad(formats.Bounds, "original_max_position_embeddings", "got %d, want more than 1", r.Original)
		}
		v, stated, err := d.Float(group, "attention_factor")
		if errs = append(errs, err); stated && !positive(v) {
			bad(formats.Bounds, "attention_factor", "got %v, want a positive number", v)
		}
		r.Attn = v
		return errors.Join(errs...)
	},
	FromGGUF: func(h *formats.Header, arch string, m *config.Model) error {
		long, short := h.Tensor("rope_factors_long.weight"), h.Tensor("rope_factors_short.weight")
		key := arch + ".rope.scaling.attn_factor"
		v, stated, err := h.Metadata.Float(key)
		switch {
		case err != nil:
			return err
		case long == nil && short == nil:
			if stated && v != 1 {
				m.Unread = append(m.Unread, formats.KV{Key: key, Value: v})
			}
			if m.Rope.Type == "longrope" {
				m.Unread = append(m.Unread, formats.KV{Key: arch + ".rope.scaling.type", Value: m.Rope.Type})
			}
		case long == nil:
			return formats.Errorf(formats.Missing, "the divisors for short texts are stored, and these are not").In("rope_factors_long.weight", "")
		case short == nil:
			return formats.Errorf(formats.Missing, "the divisors for long texts are stored, and these are not").In("rope_factors_short.weight", "")
		default:
			m.Rope.Type, m.Rope.Attn = "longrope", 1
			if stated {
				m.Rope.Attn = v
			}
			if m.Rope.Original <= 1 || !(m.Rope.Attn > 0) {
				return formats.Errorf(formats.Bounds, "got a length of %d and a factor of %v, want more than 1 and a positive number", m.Rope.Original, m.Rope.Attn).In("", key)
			}
		}
		return nil
	},
	ToGGUF: func(m *config.Model, arch string) []formats.KV {
		if m.Rope.Type != "longrope" {
			return nil
		}
		return []formats.KV{{Key: arch + ".rope.scaling.attn_factor", Value: float32(m.Magnitude())}}
	},
	Keys: []string{"rope.scaling.attn_factor"},
}}

// neoxRope is the base of rope and the part of a head that turns, by the names that this class has for them. What transformers 5 calls them wins.
var neoxRope = config.Param{Custom: &config.Custom{
	FromHF: func(d *config.Doc, m *config.Model) error {
		if !d.Has("rope_parameters", "rope_theta") && !d.Has("rope_scaling", "rope_theta") {
			v, ok, err := d.Float("rotary_emb_base")
			if err != nil {
				return err
			}
			if !ok {
				v = 10000
			}
			if said, ok, _ := d.Float("rope_theta"); ok && said != v { // which neither major reads
				m.Unread = append(m.Unread, formats.KV{Key: "rope_theta", Value: said})
			}
			if m.Rope.Theta = v; !(v > 0) {
				return formats.Errorf(formats.Bounds, "got %v, want a positive number", v).At(d.Path, -1).In("", "rotary_emb_base")
			}
		}
		v, ok, err := d.Float("rotary_pct")
		switch {
		case err != nil:
			return err
		case !ok:
			v = 0.25
		case !(v > 0 && v <= 1):
			return formats.Errorf(formats.Bounds, "got %v, want more than 0 and at most 1", v).At(d.Path, -1).In("", "rotary_pct")
		}
		if m.Rope.Share = v; v == 1 {
			m.Rope.Share = 0
		}
		return nil
	},
	ToHF: func(m *config.Model) map[string]string {
		share := m.Rope.Share
		if share == 0 {
			share = 1
		}
		return map[string]string{"rotary_emb_base": config.Number(m.Rope.Theta), "rotary_pct": config.Number(share), "rope_theta": "", "rope_scaling": "", "partial_rotary_factor": ""}
	},
}}
