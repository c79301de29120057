package verify

import "github.com/bowline-ml/bowline/arch/config"

// granite is GraniteForCausalLM: llama, but the embedding and what each branch adds are multiplied, scores have a scale of their own, and logits
// are divided. Source: transformers models/granite/modeling_granite.py.
func granite(p *pass, w *weights, tokens []int32) (*Trace, error) {
	c := w.m.Config
	embed, head := w.embeddings("token_embd.weight", "output.weight")
	norm := w.find("output_norm.weight", 0)
	layers := w.llamaLayers()
	factors := w.ropeFactors(p)
	if err := w.err(); err != nil {
		return nil, err
	}
	shape := w.heads(0)
	at := w.turns(p, factors) // [T, d/2]
	residual := single(c.ResidualScale)

	out := &Trace{Tokens: tokens}
	x := p.times(p.lookup(embed, tokens), single(c.EmbedScale)) // [T, H]
	x = p.enter(out, x)
	for _, l := range only(p, layers) {
		n := p.rmsnorm(x, l.norm1, c.NormEps)
		q := p.rope(p.linear(n, l.wq, l.bq), at, shape) // [T, heads*d]
		k := p.rope(p.linear(n, l.wk, l.bk), at, shape) // [T, kv*d]
		v := p.linear(n, l.wv, l.bv)                    // [T, kv*d]
		a := p.attention(q, k, v, shape)                // [T, heads*d]
		x = p.add(x, p.times(p.linear(a, l.wo, l.bo), residual))
		n = p.rmsnorm(x, l.norm2, c.NormEps)
		gate := p.linear(n, l.gate, l.gateBias) // [T, F]
		up := p.linear(n, l.up, l.upBias)       // [T, F]
		x = p.add(x, p.times(p.linear(p.act(c.Act, gate, up), l.down, l.downBias), residual))
		if p.leave(out, x); p.err != nil {
			return nil, p.err
		}
	}
	x = p.rmsnorm(x, norm, c.NormEps)
	if p.hidden {
		out.FinalNorm = p.keep(x)
	}
	out.Logits = p.project(x, head, divided(c)) // [T, V]
	return out, p.err
}

// turns are the angles of the position encoding. A hybrid may have none: then no pair turns, and what is left is the order that heads have after.
func (w *weights) turns(p *pass, factors []float64) angles {
	c := w.m.Config
	at := ropeAngles(p, c.Rope, factors, int(c.HeadDim))
	if c.NoRope {
		for i := range at.cos {
			at.cos[i], at.sin[i] = 1, 0
		}
	}
	return at
}

// divided divides logits by what the config says.
func divided(c *config.Model) func(float64) float64 {
	scale := single(c.LogitScale)
	if scale == 1 {
		return nil
	}
	return func(v float64) float64 { return v / scale }
}
