package arch

import (
	"errors"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// GPT2 is GPT2LMHeadModel, whose matrices are stored as [in, out].
// Sources: transformers models/gpt2 (configuration_gpt2.py, modeling_gpt2.py, pytorch_utils.py: Conv1D); llama.cpp conversion/gpt2.py and
// src/models/gpt2.cpp.
var GPT2 = Family{
	Name:    "gpt2",
	Classes: []string{"GPT2LMHeadModel"},
	Types:   map[string]string{"gpt2": "GPT2LMHeadModel"},
	GGUF:    "gpt2",
	Base:    "transformer.",
	Params:  gpt2Params,
	Layouts: map[Scheme]Layout{HF: {InOut: true}, GGUF: {}},
	Tensors: gptRows(QKVRows),
	Ties:    GPTBigCode.Ties,
	Drop:    map[Scheme][]string{HF: {"transformer.h.{i}.attn.bias", "transformer.h.{i}.attn.masked_bias"}},
	Check: func(m *config.Model, s Scheme) error {
		return errors.Join(unreadKeys(m), tanhGelu(m, s), wholeHeads(m))
	},
}

// gpt2Params are in the order in which llama.cpp's converter writes the keys.
func gpt2Params(string) []config.Param {
	return []config.Param{
		needed(integer("n_layer", "block_count", layers, 12)),
		needed(integer("n_positions,n_ctx", "context_length", maxPos, 1024)),
		needed(integer("n_embd", "embedding_length", hidden, 768)),
		gptFFN,
		integer("n_head", "attention.head_count", nHeads, 12),
		gptHeads,
		needed(float("layer_norm_epsilon", "attention.layer_norm_epsilon", eps, 1e-5)),
		{GGUF: "general.file_type", Int: fileType, Default: func(*config.Model) {}},
		vocabulary(50257),
		text("activation_function", "", act, "gelu_new"),
		{Custom: &config.Custom{
			FromHF: func(d *config.Doc, m *config.Model) error {
				for _, k := range []string{"scale_attn_by_inverse_layer_idx", "add_cross_attention"} {
					if v, _, err := d.Bool(k); err != nil {
						return err
					} else if v {
						m.Unread = append(m.Unread, formats.KV{Key: k, Value: v})
					}
				}
				return noScale(d, m)
			},
			// llama.cpp's converter wants n_ctx, which transformers no longer writes.
			ToHF: func(m *config.Model) map[string]string {
				return map[string]string{"n_ctx": itoa(m.MaxPos), "rope_theta": "", "rope_scaling": ""}
			},
		}},
	}
}
