package arch

import (
	"errors"
	"slices"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// Mixtral is MixtralForCausalLM: Mistral with experts for an MLP. Each expert has tensors of its own in HF's files, and in GGUF's of before April
// 2024; all experts of a layer are one tensor in GGUF, and in what transformers 5 has in memory, gate and up joined there.
// Sources: transformers models/mixtral (configuration_mixtral.py, modeling_mixtral.py) and conversion_mapping.py; llama.cpp conversion/llama.py and
// src/models/llama.cpp.
var Mixtral = Family{
	Name:       "mixtral",
	Classes:    []string{"MixtralForCausalLM"},
	Types:      map[string]string{"mixtral": "MixtralForCausalLM"},
	GGUF:       "llama",
	LlamaVocab: []string{"MixtralForCausalLM"},
	Is: func(h *formats.Header) bool {
		n, _, _ := h.Metadata.Int("llama.expert_count")
		return n > 0
	},
	Base:    "model.",
	Params:  func(string) []config.Param { return mixtralParams },
	Layouts: map[Scheme]Layout{HF: {Rope: Half, Window: true}, GGUF: {Rope: Interleaved}},
	Tensors: hub(slices.Concat(
		[]Tensor{embedding(names("model.embed_tokens.weight", "token_embd.weight", "")), ropeFactors},
		attentionNorm, attention(never), mlpNorm,
		[]Tensor{
			{Role: "ffn_gate_inp.weight", Kind: Router, Shape: []Dim{Experts, Hidden},
				Name: names("model.layers.{i}.block_sparse_moe.gate.weight", "blk.{i}.ffn_gate_inp.weight", ""),
				Also: map[Scheme][]string{HF: {"model.layers.{i}.mlp.gate.weight"}}},
			{Role: "ffn_gate_exps.weight", Kind: Linear, Shape: []Dim{Experts, FFN, Hidden},
				Name: names("model.layers.{i}.block_sparse_moe.experts.{e}.w1.weight", "blk.{i}.ffn_gate_exps.weight", ""),
				Also: map[Scheme][]string{GGUF: {"blk.{i}.ffn_gate.{e}.weight"}}},
			{Role: "ffn_down_exps.weight", Kind: Linear, Shape: []Dim{Experts, Hidden, FFN},
				Name: names("model.layers.{i}.block_sparse_moe.experts.{e}.w2.weight", "blk.{i}.ffn_down_exps.weight", ""),
				Also: map[Scheme][]string{HF: {"model.layers.{i}.mlp.experts.down_proj"}, GGUF: {"blk.{i}.ffn_down.{e}.weight"}}},
			{Role: "ffn_up_exps.weight", Kind: Linear, Shape: []Dim{Experts, FFN, Hidden},
				Name: names("model.layers.{i}.block_sparse_moe.experts.{e}.w3.weight", "blk.{i}.ffn_up_exps.weight", ""),
				Also: map[Scheme][]string{GGUF: {"blk.{i}.ffn_up.{e}.weight"}}},
			finalNorm, head,
		},
	)),
	Fused: append([]Fused{{
		Name:  map[Scheme]string{HF: "model.layers.{i}.mlp.experts.gate_up_proj", GGUF: "blk.{i}.ffn_gate_up_exps.weight"},
		Parts: []string{"ffn_gate_exps.weight", "ffn_up_exps.weight"},
	}}, fusedQKV...),
	Ties:    Llama.Ties,
	Drop:    map[Scheme][]string{HF: Llama.Drop[HF]},
	Check:   func(m *config.Model, s Scheme) error { return errors.Join(Llama.Check(m, GGUF), mixture(m, s)) },
	Caveats: Llama.Caveats,
}

// mixtralParams have the defaults of MixtralConfig.
var mixtralParams = append(withExperts(decoder(defaults{MaxPos: 4096 * 32, KVHeads: 8, Eps: 1e-5, Theta: 1e6}), "num_local_experts,num_experts"),
	config.Param{HF: []string{"sliding_window"}, Int: slidingWindow, Default: func(m *config.Model) { m.SlidingWindow = 0 },
		Null: func(m *config.Model) { m.SlidingWindow = 0 }, OmitHF: func(m *config.Model) bool { return m.SlidingWindow == 0 }})

// withExperts adds how many experts there are, and how many a token uses, to p. llama.cpp stops where it finds the first without the second.
func withExperts(p []config.Param, keys string) []config.Param {
	return behind(p, "attention.layer_norm_rms_epsilon",
		needed(integer(keys, "expert_count", func(m *config.Model) *int64 { return &m.Experts }, 8)),
		needed(integer("num_experts_per_tok", "expert_used_count", func(m *config.Model) *int64 { return &m.ExpertsUsed }, 2)))
}

// mixture refuses numbers of experts that no program computes, and schemes of programs that have no experts.
func mixture(m *config.Model, s Scheme) error {
	if s == TorchChat || s == Meta {
		return formats.Errorf(formats.Unsupported, "got %d experts: no model of TorchChat's has them", m.Experts).In("", "num_local_experts")
	}
	if m.Experts < 1 || m.ExpertsUsed < 1 || m.ExpertsUsed > m.Experts {
		return formats.Errorf(formats.Bounds, "got %d of %d experts for each token, want at least one and no more than there are", m.ExpertsUsed, m.Experts).
			In("", "num_experts_per_tok")
	}
	return nil
}
