package arch

import (
	"errors"
	"slices"

	"github.com/bowline-ml/bowline/arch/config"
)

// Qwen2 is Qwen2ForCausalLM: Qwen 1.5, 2 and 2.5. It is Llama with biases of q, k and v always and none of o, and windows from some layer on.
// TorchChat, whose attention_bias gives o one too, has no such model.
// Sources: transformers models/qwen2 (configuration_qwen2.py, modeling_qwen2.py); llama.cpp conversion/qwen.py and src/models/qwen2.cpp.
var Qwen2 = Family{
	Name:    "qwen2",
	Classes: []string{"Qwen2ForCausalLM"},
	Types:   map[string]string{"qwen2": "Qwen2ForCausalLM"},
	GGUF:    "qwen2",
	Base:    "model.",
	Params: func(string) []config.Param {
		return append(base(decoder(defaults{MaxPos: 32768, KVHeads: 32}), false), windows)
	},
	Layouts: map[Scheme]Layout{HF: {Rope: Half, Window: true}, GGUF: {Rope: Half}},
	Tensors: hub(slices.Concat(
		[]Tensor{embedding(names("model.embed_tokens.weight", "token_embd.weight", ""))},
		attentionNorm, without(attention(always), "attn_output.bias"), mlpNorm, gatedMLP(never),
		[]Tensor{finalNorm, head,
			// llama.cpp adds it where it is there, and no class of transformers has it.
			{Role: "output.bias", Kind: Bias, Shape: []Dim{Vocab}, Name: map[Scheme]string{GGUF: "output.bias"}, When: never}},
	)),
	Fused: fusedQKV[:2:2],
	Ties:  Llama.Ties,
	Drop:  map[Scheme][]string{HF: Llama.Drop[HF]},
	Check: func(m *config.Model, s Scheme) error {
		return errors.Join(Llama.Check(m, GGUF), llamaless(m, s), square(m, s), typed(m))
	},
	Caveats: unwindowed("qwen2"),
}
