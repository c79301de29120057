package arch

import (
	"errors"
	"math"
	"slices"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// Granite is GraniteForCausalLM (3.x, 4.1), and the form of GraniteMoeHybridForCausalLM that has neither experts nor Mamba layers, whose MLP is
// stored with gate and up as one.
// Sources: transformers models/granite and models/granitemoehybrid (configuration_*.py, modeling_*.py); llama.cpp conversion/granite.py and
// src/models/granite.cpp; TorchChat torchchat/model.py.
var Granite = Family{
	Name:       "granite",
	Classes:    []string{"GraniteForCausalLM", hybrid},
	Types:      map[string]string{"granite": "GraniteForCausalLM", "granitemoehybrid": hybrid},
	GGUF:       "granite",
	LlamaVocab: []string{"GraniteForCausalLM"},
	Has: func(class string, d *config.Doc) bool {
		if class == "" {
			return slices.ContainsFunc(multipliers(), func(p config.Param) bool { return len(p.Params) > 0 && d.Has(p.Params[0]) })
		}
		return class != hybrid || attentionAlone(d)
	},
	Class: func(m *config.Model) string {
		if m.LayerTypes != nil && !m.MLPBias { // which a hybrid's MLP has not
			return hybrid
		}
		return "GraniteForCausalLM"
	},
	Base:    "model.",
	Params:  graniteParams,
	Layouts: Llama.Layouts,
	Tensors: also(Llama.Tensors, map[string]string{"ffn_down.weight": hybridDown}),
	Fused:   append(slices.Clone(fusedQKV), hybridMLP),
	Written: map[string]*Family{hybrid: {
		Tensors: renamed(Llama.Tensors, map[string]string{"ffn_gate.weight": "", "ffn_up.weight": "", "ffn_down.weight": hybridDown}),
		Fused:   append(slices.Clone(fusedQKV), hybridMLP),
	}},
	Ties: Llama.Ties,
	Drop: Llama.Drop,
	Check: func(m *config.Model, s Scheme) error {
		errs := []error{Llama.Check(m, s), typed(m), scaled(m)}
		if m.Experts > 0 {
			errs = append(errs, formats.Errorf(formats.Unsupported, "got %d experts, want none", m.Experts).In("", "expert_count"))
		}
		if m.NoRope && s != GGUF && !(s == HF && m.Architecture == hybrid) {
			errs = append(errs, formats.Errorf(formats.Unsupported, "got a model without position encoding: GraniteForCausalLM and TorchChat always have one").In("", "position_embedding_type"))
		}
		return errors.Join(errs...)
	},
	Caveats: Llama.Caveats,
}

// scaled refuses multipliers that one program takes for none and another for what they are.
func scaled(m *config.Model) error {
	var errs []error
	for _, p := range multipliers() {
		if p.Float == nil {
			continue
		}
		if v := *p.Float(m); v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
			errs = append(errs, formats.Errorf(formats.Unsupported, "got %v, want a number other than 0", v).In("", p.HF[0]))
		}
	}
	return errors.Join(errs...)
}

// graniteDecoder leaves the size of a head out of GGUF where it is what the loader makes of the width. llama.cpp's converter always does, which
// is wrong where it is not.
func graniteDecoder() []config.Param {
	p := decoder(defaults{MaxPos: 2048})
	for i := range p {
		if p[i].GGUF == "attention.key_length" || p[i].GGUF == "attention.value_length" {
			p[i].OmitGGUF = func(m *config.Model) bool { return m.HeadDim*m.Heads == m.Hidden }
		}
	}
	return p
}

// graniteParams have the defaults of GraniteConfig and GraniteMoeHybridConfig.
func graniteParams(class string) []config.Param {
	plain := func(*config.Model) bool { return class != hybrid }
	count := integer("", "expert_count", func(m *config.Model) *int64 { return &m.Experts }, 0)
	used := integer("", "expert_used_count", func(m *config.Model) *int64 { return &m.ExpertsUsed }, 0)
	shared := config.Param{GGUF: "expert_shared_feed_forward_length", Repeats: true, Int: ffn, Default: func(*config.Model) {}, OmitGGUF: plain}
	count.OmitGGUF, used.OmitGGUF = plain, plain
	p := slices.Concat(behind(graniteDecoder(), "attention.layer_norm_rms_epsilon", count, used), []config.Param{attentionBias, mlpBiases}, multipliers(), []config.Param{shared})
	if class != hybrid {
		return append(p, config.Param{Custom: &config.Custom{FromGGUF: hybridLayers.Custom.FromGGUF, Keys: hybridLayers.Custom.Keys}})
	}
	for i := range p {
		switch {
		case slices.Equal(p[i].HF, []string{"intermediate_size"}): // the width of what every token passes, and there is nothing else
			p[i].HF, p[i].Default = []string{"shared_intermediate_size"}, func(m *config.Model) { m.FFN = 1024 }
		case slices.Equal(p[i].HF, mlpBiases.HF): // shared_mlp has none
			p[i].HF = nil
		case p[i].GGUF == "expert_count":
			p[i].HF, p[i].Default, p[i].GGUFDefault = []string{"num_local_experts"}, func(m *config.Model) { m.Experts = 8 }, p[i].Default
		case p[i].GGUF == "expert_used_count":
			p[i].HF = []string{"num_experts_per_tok"}
		}
	}
	return append(p, hybridLayers)
}
