package verify

import (
	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
)

type gptLayer struct {
	norm1, norm1Bias, norm2, norm2Bias *weight
	qkv, qkvBias, out, outBias         *weight
	up, upBias, down, downBias         *weight
}

// gptLayers finds the weights of all layers.
func (w *weights) gptLayers() []gptLayer {
	layers := make([]gptLayer, w.m.Config.Layers)
	for n := range layers {
		i := int64(n)
		layers[n] = gptLayer{
			norm1: w.find("attn_norm.weight", i), norm1Bias: w.find("attn_norm.bias", i), norm2: w.find("ffn_norm.weight", i), norm2Bias: w.find("ffn_norm.bias", i),
			qkv: w.find("attn_qkv.weight", i), qkvBias: w.find("attn_qkv.bias", i), out: w.find("attn_output.weight", i), outBias: w.find("attn_output.bias", i),
			up: w.find("ffn_up.weight", i), upBias: w.find("ffn_up.bias", i), down: w.find("ffn_down.weight", i), downBias: w.find("ffn_down.bias", i),
		}
	}
	return layers
}

// gpt is GPT2LMHeadModel and GPTBigCodeForCausalLM: learned positions, norms with biases before attention and MLP, one matrix for queries, keys and
// values. perHead is that a file has the three of each head side by side.
// Sources: transformers models/gpt2/modeling_gpt2.py, models/gpt_bigcode/modeling_gpt_bigcode.py.
func gpt(p *pass, w *weights, tokens []int32) (*Trace, error) {
	c := w.m.Config
	embed, head := w.embeddings("token_embd.weight", "output.weight")
	positions := w.find("position_embd.weight", 0)
	norm, normBias := w.find("output_norm.weight", 0), w.find("output_norm.bias", 0)
	layers := w.gptLayers()
	if p.T > int(c.MaxPos) {
		w.fail("", formats.Bounds, "got %d tokens, and the model has learned %d positions", p.T, c.MaxPos)
	}
	if err := w.err(); err != nil {
		return nil, err
	}
	shape := w.heads(0)
	perHead := w.m.Scheme == arch.HF && w.m.Family.Tensor("attn_qkv.weight").Blocks != nil && !c.MultiQuery
	where := make([]int32, p.T)
	for t := range where {
		where[t] = int32(t)
	}

	out := &Trace{Tokens: tokens}
	x := p.add(p.lookup(embed, tokens), p.lookup(positions, where)) // [T, H]
	x = p.enter(out, x)
	for _, l := range only(p, layers) {
		n := p.layernorm(x, l.norm1, l.norm1Bias, c.NormEps)
		q, k, v := p.threefold(p.linear(n, l.qkv, l.qkvBias), shape, perHead) // [T, heads*d], [T, kv*d] twice
		x = p.add(x, p.linear(p.attention(q, k, v, shape), l.out, l.outBias)) // [T, H]
		n = p.layernorm(x, l.norm2, l.norm2Bias, c.NormEps)
		x = p.add(x, p.linear(p.act(c.Act, p.linear(n, l.up, l.upBias), nil), l.down, l.downBias)) // [T, H]
		if p.leave(out, x); p.err != nil {
			return nil, p.err
		}
	}
	x = p.layernorm(x, norm, normBias, c.NormEps)
	if p.hidden {
		out.FinalNorm = p.keep(x)
	}
	out.Logits = p.project(x, head, nil) // [T, V]
	return out, p.err
}

// threefold takes queries, keys and values apart: one after the other, or the three of each head side by side.
func (p *pass) threefold(x []float64, s heads, perHead bool) (q, k, v []float64) {
	if !perHead {
		a, b := s.q*s.d, (s.q+s.kv)*s.d
		return p.columns(x, 0, a), p.columns(x, a, b), p.columns(x, b, b+s.kv*s.d)
	}
	n := len(x) / p.T
	for t := range p.T {
		for h := 0; h < n; h += 3 * s.d {
			one := x[t*n+h : t*n+h+3*s.d]
			q, k, v = append(q, one[:s.d]...), append(k, one[s.d:2*s.d]...), append(v, one[2*s.d:]...)
		}
	}
	return q, k, v
}
