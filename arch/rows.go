package arch

import (
	"maps"
	"slices"

	"github.com/bowline-ml/bowline/arch/config"
)

// The rows that tables share: a decoder as Llama has it, by role. A family whose names or shapes differ states its own.

func names(hf, gguf, meta string) map[Scheme]string {
	return map[Scheme]string{HF: hf, GGUF: gguf, Meta: meta, TorchChat: meta}
}

// split are the names of what TorchChat stores only as part of a fused tensor.
func split(hf, gguf, meta string) map[Scheme]string {
	return map[Scheme]string{HF: hf, GGUF: gguf, Meta: meta}
}

func embedding(name map[Scheme]string) Tensor {
	return Tensor{Role: "token_embd.weight", Kind: Embedding, Shape: []Dim{Vocab, Hidden}, Name: name}
}

var (
	ropeFactors = Tensor{Role: "rope_freqs.weight", Kind: Factors, Shape: []Dim{HalfHead},
		Name:  map[Scheme]string{GGUF: "rope_freqs.weight"},
		When:  func(m *config.Model) bool { return m.Rope.Type == "llama3" || m.Rope.Factors != nil },
		Value: func(m *config.Model) []float32 { return m.Rope.Divisors(m.HeadDim) },
		Take:  func(m *config.Model, v []float32) { m.Rope.Factors = v }}
	attentionNorm = []Tensor{{Role: "attn_norm.weight", Kind: Norm, Shape: []Dim{Hidden},
		Name: names("model.layers.{i}.input_layernorm.weight", "blk.{i}.attn_norm.weight", "layers.{i}.attention_norm.weight")}}
	mlpNorm = []Tensor{{Role: "ffn_norm.weight", Kind: Norm, Shape: []Dim{Hidden},
		Name: names("model.layers.{i}.post_attention_layernorm.weight", "blk.{i}.ffn_norm.weight", "layers.{i}.ffn_norm.weight")}}
	finalNorm = Tensor{Role: "output_norm.weight", Kind: Norm, Shape: []Dim{Hidden},
		Name: names("model.norm.weight", "output_norm.weight", "norm.weight")}
	head = Tensor{Role: "output.weight", Kind: Head, Shape: []Dim{Vocab, Hidden},
		Name: names("lm_head.weight", "output.weight", "output.weight")}
)

// attention is query, key, value and output, with biases when bias says so.
func attention(bias func(*config.Model) bool) []Tensor {
	return []Tensor{
		{Role: "attn_q.weight", Kind: Linear, Shape: []Dim{QRows, Hidden}, Rotary: heads,
			Name: split("model.layers.{i}.self_attn.q_proj.weight", "blk.{i}.attn_q.weight", "layers.{i}.attention.wq.weight")},
		{Role: "attn_q.bias", Kind: Bias, Shape: []Dim{QRows}, Rotary: heads, When: bias,
			Name: split("model.layers.{i}.self_attn.q_proj.bias", "blk.{i}.attn_q.bias", "layers.{i}.attention.wq.bias")},
		{Role: "attn_k.weight", Kind: Linear, Shape: []Dim{KVRows, Hidden}, Rotary: kvHeads,
			Name: split("model.layers.{i}.self_attn.k_proj.weight", "blk.{i}.attn_k.weight", "layers.{i}.attention.wk.weight")},
		{Role: "attn_k.bias", Kind: Bias, Shape: []Dim{KVRows}, Rotary: kvHeads, When: bias,
			Name: split("model.layers.{i}.self_attn.k_proj.bias", "blk.{i}.attn_k.bias", "layers.{i}.attention.wk.bias")},
		{Role: "attn_v.weight", Kind: Linear, Shape: []Dim{KVRows, Hidden},
			Name: split("model.layers.{i}.self_attn.v_proj.weight", "blk.{i}.attn_v.weight", "layers.{i}.attention.wv.weight")},
		{Role: "attn_v.bias", Kind: Bias, Shape: []Dim{KVRows}, When: bias,
			Name: split("model.layers.{i}.self_attn.v_proj.bias", "blk.{i}.attn_v.bias", "layers.{i}.attention.wv.bias")},
		{Role: "attn_output.weight", Kind: Linear, Shape: []Dim{Hidden, QRows},
			Name: names("model.layers.{i}.self_attn.o_proj.weight", "blk.{i}.attn_output.weight", "layers.{i}.attention.wo.weight")},
		{Role: "attn_output.bias", Kind: Bias, Shape: []Dim{Hidden}, When: bias,
			Name: names("model.layers.{i}.self_attn.o_proj.bias", "blk.{i}.attn_output.bias", "layers.{i}.attention.wo.bias")},
	}
}

// gatedMLP is gate, up and down, with biases when bias says so.
func gatedMLP(bias func(*config.Model) bool) []Tensor {
	return []Tensor{
		{Role: "ffn_gate.weight", Kind: Linear, Shape: []Dim{FFN, Hidden},
			Name: names("model.layers.{i}.mlp.gate_proj.weight", "blk.{i}.ffn_gate.weight", "layers.{i}.feed_forward.w1.weight")},
		{Role: "ffn_gate.bias", Kind: Bias, Shape: []Dim{FFN}, When: bias,
			Name: names("model.layers.{i}.mlp.gate_proj.bias", "blk.{i}.ffn_gate.bias", "layers.{i}.feed_forward.w1.bias")},
		{Role: "ffn_up.weight", Kind: Linear, Shape: []Dim{FFN, Hidden},
			Name: names("model.layers.{i}.mlp.up_proj.weight", "blk.{i}.ffn_up.weight", "layers.{i}.feed_forward.w3.weight")},
		{Role: "ffn_up.bias", Kind: Bias, Shape: []Dim{FFN}, When: bias,
			Name: names("model.layers.{i}.mlp.up_proj.bias", "blk.{i}.ffn_up.bias", "layers.{i}.feed_forward.w3.bias")},
		{Role: "ffn_down.weight", Kind: Linear, Shape: []Dim{Hidden, FFN},
			Name: names("model.layers.{i}.mlp.down_proj.weight", "blk.{i}.ffn_down.weight", "layers.{i}.feed_forward.w2.weight")},
		{Role: "ffn_down.bias", Kind: Bias, Shape: []Dim{Hidden}, When: bias,
			Name: names("model.layers.{i}.mlp.down_proj.bias", "blk.{i}.ffn_down.bias", "layers.{i}.feed_forward.w2.bias")},
	}
}

// fusedQKV is what llama.cpp's converter writes with --fuse-qkv, and TorchChat always; q and k are permuted before the join.
var fusedQKV = []Fused{
	{Name: map[Scheme]string{GGUF: "blk.{i}.attn_qkv.weight", TorchChat: "layers.{i}.attention.wqkv.weight"}, Parts: []string{"attn_q.weight", "attn_k.weight", "attn_v.weight"}},
	{Name: map[Scheme]string{GGUF: "blk.{i}.attn_qkv.bias", TorchChat: "layers.{i}.attention.wqkv.bias"}, Parts: []string{"attn_q.bias", "attn_k.bias", "attn_v.bias"}},
}

// always is the When of a bias that the family has whatever its config says; never of one that it has not.
func always(*config.Model) bool { return true }
func never(*config.Model) bool  { return false }

// also is a table with other names that HF's files have for some roles.
func also(t []Tensor, other map[string]string) []Tensor {
	out := slices.Clone(t)
	for i := range out {
		if name := other[out[i].Role]; name != "" {
			out[i].Also = map[Scheme][]string{HF: {name}}
		}
	}
	return out
}

// renamed is a table with other names for some roles in HF's files; "" is none.
func renamed(t []Tensor, other map[string]string) []Tensor {
	out := slices.Clone(t)
	for i := range out {
		if name, ok := other[out[i].Role]; ok {
			out[i].Name = maps.Clone(out[i].Name)
			if out[i].Name[HF] = name; name == "" {
				delete(out[i].Name, HF)
			}
		}
	}
	return out
}

// without is a table but for some roles.
func without(t []Tensor, roles ...string) []Tensor {
	return slices.DeleteFunc(slices.Clone(t), func(x Tensor) bool { return slices.Contains(roles, x.Role) })
}

// hub keeps the names of HF and GGUF alone: TorchChat has nothing that computes the family.
func hub(t []Tensor) []Tensor {
	out := slices.Clone(t)
	for i := range out {
		out[i].Name = maps.Clone(out[i].Name)
		maps.DeleteFunc(out[i].Name, func(s Scheme, name string) bool { return s != HF && s != GGUF || name == "" })
	}
	return out
}
