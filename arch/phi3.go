package arch

import (
	"errors"
	"slices"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// Phi3 is Phi3ForCausalLM: Phi 3, 3.5 and 4. Its q, k and v are one tensor, and its gate and up another, in HF's files and GGUF alike; GGUF files with
// q, k and v apart are read. A part of each head may stay as it is when the rest turns, and longrope has one list of divisors for short texts and
// one for long ones.
// Sources: transformers models/phi3 (configuration_phi3.py, modeling_phi3.py); llama.cpp conversion/phi.py and src/models/phi3.cpp.
var Phi3 = Family{
	Name:    "phi3",
	Classes: []string{"Phi3ForCausalLM"},
	Types:   map[string]string{"phi3": "Phi3ForCausalLM"},
	GGUF:    "phi3",
	Base:    "model.",
	Params:  func(string) []config.Param { return phi3Params },
	Layouts: map[Scheme]Layout{HF: {Rope: Half, Window: true}, GGUF: {Rope: Half}},
	Tensors: hub(phi3Tensors),
	Fused:   phi3Fused,
	Written: map[string]*Family{"Phi3ForCausalLM": {Tensors: nameless(hub(phi3Tensors), phi3Fused[0].Parts), Fused: phi3Fused}},
	Ties:    Llama.Ties,
	Drop:    map[Scheme][]string{HF: Llama.Drop[HF]},
	Check: func(m *config.Model, s Scheme) error {
		errs := []error{decodes(m, "silu"), llamaless(m, s), square(m, s)}
		if t := m.Rope.Type; t != "default" && t != "longrope" {
			errs = append(errs, formats.Errorf(formats.Unsupported, "got rope type %q, want default or longrope", t).In("", "rope_scaling"))
		}
		if n := m.Rotated(); n <= 0 || n > m.HeadDim || n%2 != 0 {
			errs = append(errs, formats.Errorf(formats.Unsupported, "got %d of %d elements of a head that turn, want an even number of them", n, m.HeadDim).In("", "partial_rotary_factor"))
		}
		return errors.Join(errs...)
	},
	Caveats: func(m *config.Model, s Scheme) []Caveat {
		out := unwindowed("phi3")(m, s)
		if s == GGUF && m.Rope.Type == "longrope" {
			out = append(out, Caveat{Note: formats.Note{Subject: "rope_scaling", Decision: "carried",
				Because: "llama.cpp takes the divisors for long texts where its context is longer than " + itoa(m.Rope.Original) + " tokens, transformers where the text is"}})
		}
		return out
	},
}

var (
	phi3Tensors = slices.Concat(
		[]Tensor{
			divisors("rope_factors_long.weight", func(m *config.Model) *[]float64 { return &m.Rope.Long }),
			divisors("rope_factors_short.weight", func(m *config.Model) *[]float64 { return &m.Rope.Short }),
			embedding(names("model.embed_tokens.weight", "token_embd.weight", "")),
		},
		attentionNorm, attention(never), mlpNorm,
		[]Tensor{
			{Role: "ffn_up.weight", Kind: Linear, Shape: []Dim{twice(FFN), Hidden}, Name: names("model.layers.{i}.mlp.gate_up_proj.weight", "blk.{i}.ffn_up.weight", "")},
			{Role: "ffn_down.weight", Kind: Linear, Shape: []Dim{Hidden, FFN}, Name: names("model.layers.{i}.mlp.down_proj.weight", "blk.{i}.ffn_down.weight", "")},
			finalNorm, head,
		},
	)
	phi3Fused = []Fused{{Name: map[Scheme]string{HF: "model.layers.{i}.self_attn.qkv_proj.weight", GGUF: "blk.{i}.attn_qkv.weight"}, Parts: fusedQKV[0].Parts}}
)

func twice(d Dim) Dim { return func(m *config.Model) int64 { return 2 * d(m) } }

// nameless is a table of which some roles are parts of a fused tensor and nothing else.
func nameless(t []Tensor, roles []string) []Tensor {
	out := slices.Clone(t)
	for i := range out {
		if slices.Contains(roles, out[i].Role) {
			out[i].Name = nil
		}
	}
	return out
}

// phi3Params have the defaults of Phi3Config. The order of the keys is the converter's own here.
var phi3Params = append(ordered(
	slices.Concat(
		slices.DeleteFunc(decoder(defaults{MaxPos: 4096, Eps: 1e-5}), func(p config.Param) bool { return p.GGUF == "rope.dimension_count" }),
		[]config.Param{originalLength, turned, {HF: []string{"sliding_window"}, GGUF: "attention.sliding_window", Int: slidingWindow,
			Default: noWindow, Null: noWindow, OmitHF: func(m *config.Model) bool { return m.SlidingWindow == 0 }}},
	),
	"context_length", "rope.scaling.original_context_length", "embedding_length", "feed_forward_length", "block_count", "attention.head_count",
	"attention.head_count_kv", "attention.layer_norm_rms_epsilon", "rope.dimension_count", "rope.freq_base", "general.file_type", "attention.sliding_window",
), partialRotary, longrope, unpadded)

func noWindow(m *config.Model) { m.SlidingWindow = 0 }

// unpadded says in a config.json that is rebuilt that there is no padding token: left out, it would be 32000, beyond a small vocabulary.
var unpadded = config.Param{Custom: &config.Custom{ToHF: func(m *config.Model) map[string]string {
	if m.PAD != nil {
		return nil
	}
	return map[string]string{"pad_token_id": "null"}
}}}
