package arch

import (
	"errors"
	"slices"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// Gemma3 is Gemma3ForCausalLM, and the language model of Gemma3ForConditionalGeneration, whose config and names hold it beside a vision tower. It is
// Gemma 2 with norms of q and k instead of bounds, five layers with a window to one without, and a base of rope of its own in these.
// Sources: transformers models/gemma3 (configuration_gemma3.py, modeling_gemma3.py); llama.cpp conversion/gemma.py and src/models/gemma3.cpp.
var Gemma3 = Family{
	Name:    "gemma3",
	Classes: []string{"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"},
	Types:   map[string]string{"gemma3_text": "Gemma3ForCausalLM", "gemma3": "Gemma3ForConditionalGeneration"},
	GGUF:    "gemma3",
	Base:    "model.",
	Inner:   map[string]string{"Gemma3ForConditionalGeneration": "text_config"},
	// llama.cpp's converter puts them into a file of their own, an mmproj (conversion/gemma.py, Gemma3VisionModel).
	Beside: []string{"vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."},
	Params: func(string) []config.Param {
		p := gemma(defaults{MaxPos: 131_072, KVHeads: 4, HeadDim: 256, Theta: 1e6}, 8, 262_208, text("hidden_activation", "", act, "gelu_pytorch_tanh"))
		p = behind(p, "rope.freq_base", float("rope_local_base_freq", "rope.freq_base_swa", func(m *config.Model) *float64 { return &m.Rope.Local }, 10000), ropeOfEach)
		p = behind(p, "general.file_type", capped("final_logit_softcapping", logitCap, 0), alternating(6, "sliding_window_pattern"))
		unused := capped("attn_logit_softcapping", attnCap, 0)
		unused.GGUF = ""
		return append(p, attentionBias, causal, unused, queryScalar(62))
	},
	Layouts: Gemma2.Layouts,
	Tensors: hub(slices.Concat(
		[]Tensor{embedding(names("model.embed_tokens.weight", "token_embd.weight", ""))},
		attentionNorm, attention(attnBias), normsOfQK(HeadDim, HeadDim), fourNorms, gatedMLP(never),
		[]Tensor{finalNorm, head},
	)),
	Fused: fusedQKV[:2:2],
	Ties:  gemmaTies(Optional),
	Drop:  map[Scheme][]string{HF: Llama.Drop[HF]},
	Check: func(m *config.Model, s Scheme) error {
		errs := []error{gemmaCheck(m, s), hardScale(m, s, 62)}
		if s == GGUF && m.AttnCap != 0 {
			errs = append(errs, formats.Errorf(formats.Unsupported, "got %v: GGUF has no key for it here, and transformers does not apply it", m.AttnCap).In("", "attn_logit_softcapping"))
		}
		return errors.Join(errs...)
	},
}

// ropeOfEach is what transformers 5 writes: a position encoding for each type of layer. What stands there beats what transformers 4 wrote at the
// root, but for rope_scaling. Source: configuration_gemma3.py, convert_rope_params_to_dict.
var ropeOfEach = config.Param{Custom: &config.Custom{FromHF: func(d *config.Doc, m *config.Model) error {
	const group = "rope_parameters"
	var errs []error
	float := func(to *float64, path ...string) {
		v, ok, err := d.Float(path...)
		if errs = append(errs, err); ok {
			*to = v
		}
	}
	kind := func(layers string) (out string) {
		for _, k := range []string{"type", "rope_type"} {
			v, ok, err := d.Str(group, layers, k)
			if errs = append(errs, err); ok {
				out = v
			}
		}
		return out
	}
	full, scaled := "full_attention", d.IsObject("rope_scaling") && len(d.Keys("rope_scaling")) > 0
	if k := kind(full); k != "" && !scaled {
		m.Rope.Type = k
		float(&m.Rope.Factor, group, full, "factor")
	}
	if !d.Has("rope_scaling", "rope_theta") {
		float(&m.Rope.Theta, group, full, "rope_theta")
	}
	float(&m.Rope.Local, group, "sliding_attention", "rope_theta")
	if k := kind("sliding_attention"); k != "" && k != "default" {
		m.Unread = append(m.Unread, formats.KV{Key: group + ".sliding_attention", Value: formats.Escape(k, 80)})
	}
	if keys := d.Keys(group); len(keys) > 0 && !d.Has(group, full) && !d.Has(group, "sliding_attention") { // transformers 5 reads none of them, llama.cpp all
		m.Unread = append(m.Unread, formats.KV{Key: group, Value: "not by type of layer"})
	}
	if !(m.Rope.Local > 0) {
		errs = append(errs, formats.Errorf(formats.Bounds, "got %v, want a positive number", m.Rope.Local).At(d.Path, -1).In("", "rope_local_base_freq"))
	}
	return errors.Join(errs...)
}}}
