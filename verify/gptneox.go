package verify

import "github.com/bowline-ml/bowline/arch"

// gptNeoX is GPTNeoXForCausalLM: norms with biases, one matrix for queries, keys and values, rope over a part of each head, and attention and MLP
// side by side unless the config says one after the other. Source: transformers models/gpt_neox/modeling_gpt_neox.py.
func gptNeoX(p *pass, w *weights, tokens []int32) (*Trace, error) {
	c := w.m.Config
	embed, head := w.embeddings("token_embd.weight", "output.weight")
	norm, normBias := w.find("output_norm.weight", 0), w.find("output_norm.bias", 0)
	layers := w.gptLayers()
	if err := w.err(); err != nil {
		return nil, err
	}
	shape := w.heads(0)
	at := ropeAngles(p, c.Rope, nil, int(c.Rotated())) // [T, rotated/2]

	parallel := 0.0
	if c.Parallel {
		parallel = 1
	}
	p.fact("parallel residual", parallel)

	out := &Trace{Tokens: tokens}
	x := p.lookup(embed, tokens) // [T, H]
	x = p.enter(out, x)
	for _, l := range only(p, layers) {
		n := p.layernorm(x, l.norm1, l.norm1Bias, c.NormEps)
		q, k, v := p.threefold(p.linear(n, l.qkv, l.qkvBias), shape, w.m.Scheme == arch.HF) // [T, heads*d] each
		a := p.linear(p.attention(p.rope(q, at, shape), p.rope(k, at, shape), v, shape), l.out, l.outBias)
		read := x // by the MLP
		if !c.Parallel {
			x = p.add(a, x)
			read = x
		}
		n = p.layernorm(read, l.norm2, l.norm2Bias, c.NormEps)
		m := p.linear(p.act(c.Act, p.linear(n, l.up, l.upBias), nil), l.down, l.downBias) // [T, H]
		if c.Parallel {
			m = p.add(m, a)
		}
		x = p.add(m, x)
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
