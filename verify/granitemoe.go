package verify

// graniteMoe is GraniteMoeForCausalLM, GraniteMoeSharedForCausalLM and GraniteMoeHybridForCausalLM without Mamba layers: granite with experts for
// an MLP, and in the last two another MLP that all tokens pass. Source: transformers models/granitemoe/modeling_granitemoe.py,
// models/granitemoeshared/modeling_granitemoeshared.py, models/granitemoehybrid/modeling_granitemoehybrid.py.
func graniteMoe(p *pass, w *weights, tokens []int32) (*Trace, error) {
	c := w.m.Config
	embed, head := w.embeddings("token_embd.weight", "output.weight")
	norm := w.find("output_norm.weight", 0)
	layers := w.mixtureLayers()
	for i := range layers {
		l := &layers[i]
		l.sharedGate, l.sharedUp = w.find("ffn_gate_shexp.weight", int64(i)), w.find("ffn_up_shexp.weight", int64(i))
		l.sharedDown = w.find("ffn_down_shexp.weight", int64(i))
	}
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
		mlp := p.mix(n, l.experts) // [T, H]
		if l.sharedDown != nil {
			gate, up := p.linear(n, l.sharedGate, nil), p.linear(n, l.sharedUp, nil) // [T, S]
			mlp = p.add(mlp, p.linear(p.act(c.Act, gate, up), l.sharedDown, nil))
		}
		x = p.add(x, p.times(mlp, residual))
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
