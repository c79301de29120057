package arch

import (
	"errors"
	"slices"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// Qwen3 is Qwen3ForCausalLM, the dense Qwen 3: Llama with a norm of each head of q and k before they turn, a size of heads of its own, and windows
// from some layer on. Sources: transformers models/qwen3 (configuration_qwen3.py, modeling_qwen3.py); llama.cpp conversion/qwen.py and
// src/models/qwen3.cpp.
var Qwen3 = Family{
	Name:    "qwen3",
	Classes: []string{"Qwen3ForCausalLM"},
	Types:   map[string]string{"qwen3": "Qwen3ForCausalLM"},
	GGUF:    "qwen3",
	Base:    "model.",
	Params: func(string) []config.Param {
		return append(base(decoder(defaults{MaxPos: 32768, KVHeads: 32, HeadDim: 128}), true), attentionBias, windows)
	},
	Layouts: map[Scheme]Layout{HF: {Rope: Half, Window: true}, GGUF: {Rope: Half}},
	Tensors: hub(slices.Concat(
		[]Tensor{embedding(names("model.embed_tokens.weight", "token_embd.weight", ""))},
		attentionNorm, attention(attnBias), normsOfQK(HeadDim, HeadDim), mlpNorm, gatedMLP(never),
		[]Tensor{finalNorm, head},
	)),
	Fused: fusedQKV[:2:2],
	Ties:  Llama.Ties,
	Drop:  map[Scheme][]string{HF: Llama.Drop[HF]},
	Check: func(m *config.Model, s Scheme) error {
		return errors.Join(Llama.Check(m, GGUF), llamaless(m, s), unbiased(m, s), typed(m))
	},
	Caveats: unwindowed("qwen3"),
}

// normsOfQK are the norms of queries and keys, of such lengths.
func normsOfQK(q, k Dim) []Tensor {
	return []Tensor{
		{Role: "attn_q_norm.weight", Kind: Norm, Shape: []Dim{q}, Name: names("model.layers.{i}.self_attn.q_norm.weight", "blk.{i}.attn_q_norm.weight", "")},
		{Role: "attn_k_norm.weight", Kind: Norm, Shape: []Dim{k}, Name: names("model.layers.{i}.self_attn.k_norm.weight", "blk.{i}.attn_k_norm.weight", "")},
	}
}

// unbiased refuses for GGUF the biases of attention where transformers gives o one with the others: llama.cpp's loader of the architecture has no
// place for that.
func unbiased(m *config.Model, s Scheme) error {
	if s != GGUF || !m.AttnBias {
		return nil
	}
	return formats.Errorf(formats.Unsupported, "got biases of q, k, v and o: the GGUF architecture has none of o").In("", "attention_bias")
}
