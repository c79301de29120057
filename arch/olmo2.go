package arch

import (
	"errors"
	"fmt"
	"slices"

	"github.com/bowline-ml/bowline/arch/config"
)

// Olmo2 is Olmo2ForCausalLM: Llama whose norms come after attention and MLP and not before, with norms of q and k over all heads at once.
// GGUF has Olmo 3 under the same name; its windows are a key that this one has not.
// Sources: transformers models/olmo2 (configuration_olmo2.py, modeling_olmo2.py); llama.cpp conversion/olmo.py and src/models/olmo2.cpp.
var Olmo2 = Family{
	Name:    "olmo2",
	Classes: []string{"Olmo2ForCausalLM"},
	Types:   map[string]string{"olmo2": "Olmo2ForCausalLM"},
	GGUF:    "olmo2",
	Base:    "model.",
	Params: func(string) []config.Param {
		return append(base(decoder(defaults{MaxPos: 2048, Eps: 1e-5}), false), attentionBias, twoKeys)
	},
	Layouts: map[Scheme]Layout{HF: {Rope: Half}, GGUF: {Rope: Half}},
	Tensors: hub(slices.Concat(
		[]Tensor{embedding(names("model.embed_tokens.weight", "token_embd.weight", ""))},
		attention(attnBias), normsOfQK(QRows, KVRows),
		[]Tensor{{Role: "post_attention_norm.weight", Kind: Norm, Shape: []Dim{Hidden},
			Name: names("model.layers.{i}.post_attention_layernorm.weight", "blk.{i}.post_attention_norm.weight", "")}},
		gatedMLP(never),
		[]Tensor{{Role: "post_ffw_norm.weight", Kind: Norm, Shape: []Dim{Hidden},
			Name: names("model.layers.{i}.post_feedforward_layernorm.weight", "blk.{i}.post_ffw_norm.weight", "")}},
		[]Tensor{finalNorm, head},
	)),
	Fused: fusedQKV[:2:2],
	Ties: []Tie{{
		ID: "lm_head", Source: "token_embd.weight", Targets: []string{"output.weight"}, Flag: "tie_word_embeddings",
		Default: map[int]bool{4: false, 5: false}, Slot: Required,
	}},
	Drop: map[Scheme][]string{HF: Llama.Drop[HF]},
	Check: func(m *config.Model, s Scheme) error {
		return errors.Join(Llama.Check(m, GGUF), llamaless(m, s), unbiased(m, s), square(m, s))
	},
}

// twoKeys is rope_scaling of a config.json that is rebuilt: transformers 4 takes two keys there for this class, and no third.
var twoKeys = config.Param{Custom: &config.Custom{ToHF: func(m *config.Model) map[string]string {
	if m.Rope.Type != "linear" {
		return nil
	}
	return map[string]string{"rope_scaling": fmt.Sprintf("{\n    \"factor\": %s,\n    \"type\": \"linear\"\n  }", config.Number(m.Rope.Factor))}
}}}
