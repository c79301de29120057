package arch

import (
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// What GraniteMoeHybridForCausalLM without Mamba layers has of its own. It is Granite's without experts, and GraniteMoe's with them.

const (
	hybrid     = "GraniteMoeHybridForCausalLM"
	hybridDown = "model.layers.{i}.shared_mlp.output_linear.weight"
)

var hybridMLP = Fused{Name: map[Scheme]string{HF: "model.layers.{i}.shared_mlp.input_linear.weight"}, Parts: []string{"ffn_gate.weight", "ffn_up.weight"}}

// attentionAlone reports whether a hybrid has no Mamba layers. Where its config.json does not say, all are. With one it is of no family that is
// known here.
func attentionAlone(d *config.Doc) bool {
	types, err := d.Strs("layer_types")
	return err != nil || len(types) > 0 && !slices.ContainsFunc(types, func(t string) bool { return t != "attention" && t != "full_attention" })
}

// typed refuses a list of types that is not of all layers.
func typed(m *config.Model) error {
	if n := int64(len(m.LayerTypes)); n != 0 && n != m.Layers {
		return formats.Errorf(formats.Mismatch, "got %d types for %d layers", n, m.Layers).In("", "layer_types")
	}
	return nil
}

// hybridLayers is what a hybrid's config.json says of its layers: their types, and whether there is a position encoding.
// GGUF has the second under a name of another meaning (src/models/granite.cpp), and only in files of a hybrid.
var hybridLayers = config.Param{Custom: &config.Custom{
	FromHF: func(d *config.Doc, m *config.Model) (err error) {
		if m.LayerTypes, err = d.Strs("layer_types"); err != nil {
			return err
		}
		if m.Experts == 0 { // llama.cpp stops where some are used and none are there
			m.ExpertsUsed = 0
		}
		kind, _, err := d.Str("position_embedding_type")
		m.NoRope = kind != "rope"
		return err
	},
	ToHF: func(m *config.Model) map[string]string {
		kind := `"rope"`
		if m.NoRope {
			kind = "null"
		}
		return map[string]string{
			"intermediate_size":       itoa(m.FFN),
			"layer_types":             "[" + strings.TrimSuffix(strings.Repeat(`"attention", `, int(m.Layers)), ", ") + "]",
			"mamba_n_heads":           "1", // the default does not divide every width, and transformers insists though there is no such layer
			"position_embedding_type": kind,
		}
	},
	FromGGUF: func(h *formats.Header, arch string, m *config.Model) error {
		roped, stated, err := h.Metadata.Bool(arch + ".rope.scaling.finetuned")
		if stated && m.Layers <= 100_000 {
			m.NoRope, m.LayerTypes = !roped, slices.Repeat([]string{"attention"}, int(m.Layers))
		}
		return err
	},
	ToGGUF: func(m *config.Model, arch string) []formats.KV {
		return []formats.KV{{Key: arch + ".rope.scaling.finetuned", Value: !m.NoRope}}
	},
	Keys: []string{"rope.scaling.finetuned"},
}}
