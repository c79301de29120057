package arch

import (
	"errors"
	"slices"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// GraniteMoe is GraniteMoeForCausalLM (Granite 3 1B-A400M and 3B-A800M), GraniteMoeSharedForCausalLM, which has an MLP for all tokens beside the
// experts, and the form of GraniteMoeHybridForCausalLM that has experts and no Mamba layers. All experts of a layer are one tensor everywhere.
// Sources: transformers models/granitemoe, granitemoeshared and granitemoehybrid (configuration_*.py, modeling_*.py) and conversion_mapping.py;
// llama.cpp conversion/granite.py and src/models/granite-moe.cpp.
var GraniteMoe = Family{
	Name:       "granitemoe",
	Classes:    []string{"GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM", hybrid},
	Types:      map[string]string{"granitemoe": "GraniteMoeForCausalLM", "granitemoeshared": "GraniteMoeSharedForCausalLM"},
	GGUF:       "granitemoe",
	LlamaVocab: []string{"GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"},
	Class: func(m *config.Model) string {
		if m.SharedFFN > 0 {
			return "GraniteMoeSharedForCausalLM"
		}
		return "GraniteMoeForCausalLM"
	},
	Has: func(class string, d *config.Doc) bool {
		n, stated, _ := d.Int("num_local_experts")
		return class != "" && (class != hybrid || attentionAlone(d) && (n > 0 || !stated)) // GraniteMoeHybridConfig: 8
	},
	Base:    "model.",
	Params:  graniteMoeParams,
	Layouts: map[Scheme]Layout{HF: {Rope: Half}, GGUF: {Rope: Interleaved}},
	Tensors: hub(slices.Concat(
		[]Tensor{embedding(names("model.embed_tokens.weight", "token_embd.weight", "")), ropeFactors},
		attentionNorm, attention(attnBias), mlpNorm,
		[]Tensor{
			{Role: "ffn_gate_inp.weight", Kind: Router, Shape: []Dim{Experts, Hidden},
				Name: names("model.layers.{i}.block_sparse_moe.router.layer.weight", "blk.{i}.ffn_gate_inp.weight", ""),
				Also: map[Scheme][]string{HF: {"model.layers.{i}.block_sparse_moe.router.weight"}}},
			{Role: "ffn_gate_exps.weight", Kind: Linear, Shape: []Dim{Experts, FFN, Hidden}, Name: names("", "blk.{i}.ffn_gate_exps.weight", "")},
			{Role: "ffn_up_exps.weight", Kind: Linear, Shape: []Dim{Experts, FFN, Hidden}, Name: names("", "blk.{i}.ffn_up_exps.weight", "")},
			{Role: "ffn_down_exps.weight", Kind: Linear, Shape: []Dim{Experts, Hidden, FFN},
				Name: names("model.layers.{i}.block_sparse_moe.output_linear.weight", "blk.{i}.ffn_down_exps.weight", ""),
				Also: map[Scheme][]string{HF: {"model.layers.{i}.block_sparse_moe.experts.down_proj"}}},
			{Role: "ffn_gate_shexp.weight", Kind: Linear, Shape: []Dim{sharedFFN, Hidden}, When: sharedMLP, Name: names("", "blk.{i}.ffn_gate_shexp.weight", "")},
			{Role: "ffn_up_shexp.weight", Kind: Linear, Shape: []Dim{sharedFFN, Hidden}, When: sharedMLP, Name: names("", "blk.{i}.ffn_up_shexp.weight", "")},
			{Role: "ffn_down_shexp.weight", Kind: Linear, Shape: []Dim{Hidden, sharedFFN}, When: sharedMLP,
				Name: names("model.layers.{i}.shared_mlp.output_linear.weight", "blk.{i}.ffn_down_shexp.weight", "")},
			finalNorm, head,
		},
	)),
	Fused: slices.Concat([]Fused{
		{Name: map[Scheme]string{HF: "model.layers.{i}.block_sparse_moe.input_linear.weight", GGUF: "blk.{i}.ffn_gate_up_exps.weight"}, Parts: gateUpExperts},
		{Name: map[Scheme]string{HF: "model.layers.{i}.block_sparse_moe.experts.gate_up_proj"}, Parts: gateUpExperts},
		{Name: map[Scheme]string{HF: "model.layers.{i}.shared_mlp.input_linear.weight"}, Parts: []string{"ffn_gate_shexp.weight", "ffn_up_shexp.weight"}},
	}, fusedQKV),
	Ties: Llama.Ties,
	Drop: map[Scheme][]string{HF: Llama.Drop[HF]},
	Check: func(m *config.Model, s Scheme) error {
		err := errors.Join(Llama.Check(m, GGUF), mixture(m, s), typed(m), scaled(m))
		if m.NoRope && s != HF {
			err = errors.Join(err, formats.Errorf(formats.Unsupported, "got a model without position encoding: the GGUF architecture granitemoe always has one").In("", "position_embedding_type"))
		}
		return err
	},
	Caveats: Llama.Caveats,
}

var gateUpExperts = []string{"ffn_gate_exps.weight", "ffn_up_exps.weight"}

func sharedFFN(m *config.Model) int64 { return m.SharedFFN }
func sharedMLP(m *config.Model) bool  { return m.SharedFFN > 0 }

// graniteMoeParams have the defaults of GraniteMoeConfig, GraniteMoeSharedConfig and GraniteMoeHybridConfig. The first has no shared MLP.
func graniteMoeParams(class string) []config.Param {
	p := slices.Concat(withExperts(graniteDecoder(), "num_local_experts"), []config.Param{attentionBias}, multipliers())
	shared := integer("", "expert_shared_feed_forward_length", func(m *config.Model) *int64 { return &m.SharedFFN }, 0)
	shared.OmitGGUF = func(m *config.Model) bool { return m.SharedFFN == 0 }
	switch class {
	case "GraniteMoeSharedForCausalLM":
		shared.HF = []string{"shared_intermediate_size"}
	case hybrid:
		shared.HF, shared.Default = []string{"shared_intermediate_size"}, func(m *config.Model) { m.SharedFFN = 1024 }
		return append(p, shared, hybridLayers)
	}
	return append(p, shared)
}
