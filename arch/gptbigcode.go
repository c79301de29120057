package arch

import (
	"errors"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// GPTBigCode is GPTBigCodeForCausalLM: SantaCoder, StarCoder and Granite Code 20B and 34B. Query, key and value are one matrix, with one key head for
// all queries, or, without multi_query, with the three of each head side by side in HF's files and one after the other in GGUF's.
// Sources: transformers models/gpt_bigcode (configuration_gpt_bigcode.py, modeling_gpt_bigcode.py); llama.cpp conversion/starcoder.py, which knows
// multi_query alone, and src/models/starcoder.cpp, which takes the sizes from head_count_kv.
var GPTBigCode = Family{
	Name:    "gpt_bigcode",
	Classes: []string{"GPTBigCodeForCausalLM"},
	Types:   map[string]string{"gpt_bigcode": "GPTBigCodeForCausalLM"},
	GGUF:    "starcoder",
	Base:    "transformer.",
	Params:  bigCodeParams,
	Layouts: map[Scheme]Layout{HF: {}, GGUF: {}},
	Tensors: blocked(gptRows(QKVRows), "attn_qkv", func(m *config.Model) (int64, int64) {
		if m.MultiQuery {
			return 1, 1
		}
		return m.Heads, 3
	}),
	Ties: []Tie{{ID: "lm_head", Source: "token_embd.weight", Targets: []string{"output.weight"}, Flag: "tie_word_embeddings", Default: map[int]bool{4: true, 5: true}, Slot: Optional}},
	Drop: map[Scheme][]string{HF: {"transformer.h.{i}.attn.bias", "transformer.h.{i}.attn.masked_bias"}},
	Check: func(m *config.Model, s Scheme) error {
		return errors.Join(unreadKeys(m), tanhGelu(m, s), wholeHeads(m))
	},
}

// bigCodeParams are in the order in which llama.cpp's converter writes the keys. GGUF says multi_query with the number of key heads.
func bigCodeParams(string) []config.Param {
	return []config.Param{
		needed(integer("n_positions", "context_length", maxPos, 1024)),
		needed(integer("n_embd", "embedding_length", hidden, 768)),
		gptFFN,
		needed(integer("n_layer", "block_count", layers, 12)),
		integer("n_head", "attention.head_count", nHeads, 12),
		{Custom: &config.Custom{
			FromHF: func(d *config.Doc, m *config.Model) error {
				v, ok, err := d.Bool("multi_query")
				m.MultiQuery = v || !ok
				return errors.Join(err, noScale(d, m))
			},
			ToHF: func(m *config.Model) map[string]string {
				return map[string]string{"multi_query": map[bool]string{true: "true", false: "false"}[m.MultiQuery], "rope_theta": "", "rope_scaling": ""}
			},
			FromGGUF: func(h *formats.Header, arch string, m *config.Model) error {
				v, ok, err := h.Metadata.Int(arch + ".attention.head_count_kv")
				m.MultiQuery = ok && v == 1
				if err == nil && ok && v != 1 && v != m.Heads {
					err = formats.Errorf(formats.Unsupported, "got %d, want 1 or the number of heads", v).In("", arch+".attention.head_count_kv")
				}
				return err
			},
			ToGGUF: func(m *config.Model, arch string) []formats.KV {
				kv := uint32(m.Heads)
				if m.MultiQuery {
					kv = 1
				}
				return []formats.KV{{Key: arch + ".attention.head_count_kv", Value: kv}}
			},
			Keys: []string{"attention.head_count_kv"},
		}},
		gptHeads,
		needed(float("layer_norm_epsilon", "attention.layer_norm_epsilon", eps, 1e-5)),
		{GGUF: "general.file_type", Int: fileType, Default: func(*config.Model) {}},
		vocabulary(50257),
		text("activation_function", "", act, "gelu_pytorch_tanh"),
	}
}
