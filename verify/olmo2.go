package verify

type olmo2Layer struct {
	wq, wk, wv, wo *weight
	bq, bk, bv, bo *weight // nil without attention_bias
	qNorm, kNorm   *weight // of all heads at once
	norm1, norm2   *weight // after attention and MLP
	gate, up, down *weight
}

// olmo2 is Olmo2ForCausalLM: each branch takes the residual as it is, and what it gives is normed. Source: transformers models/olmo2/modeling_olmo2.py.
func olmo2(p *pass, w *weights, tokens []int32) (*Trace, error) {
	c := w.m.Config
	embed, head := w.embeddings("token_embd.weight", "output.weight")
	norm := w.find("output_norm.weight", 0)
	layers := make([]olmo2Layer, c.Layers)
	for n := range layers {
		i := int64(n)
		layers[n] = olmo2Layer{
			wq: w.find("attn_q.weight", i), bq: w.find("attn_q.bias", i), qNorm: w.find("attn_q_norm.weight", i),
			wk: w.find("attn_k.weight", i), bk: w.find("attn_k.bias", i), kNorm: w.find("attn_k_norm.weight", i),
			wv: w.find("attn_v.weight", i), bv: w.find("attn_v.bias", i),
			wo: w.find("attn_output.weight", i), bo: w.find("attn_output.bias", i),
			norm1: w.find("post_attention_norm.weight", i), norm2: w.find("post_ffw_norm.weight", i),
			gate: w.find("ffn_gate.weight", i), up: w.find("ffn_up.weight", i), down: w.find("ffn_down.weight", i),
		}
	}
	factors := w.ropeFactors(p)
	if err := w.err(); err != nil {
		return nil, err
	}
	at := ropeAngles(p, c.Rope, factors, int(c.HeadDim)) // [T, d/2]

	out := &Trace{Tokens: tokens}
	x := p.lookup(embed, tokens) // [T, H]
	x = p.enter(out, x)
	for i, l := range only(p, layers) {
		shape := w.heads(i)
		q := p.rope(p.rmsnorm(p.linear(x, l.wq, l.bq), l.qNorm, c.NormEps), at, shape) // [T, heads*d]
		k := p.rope(p.rmsnorm(p.linear(x, l.wk, l.bk), l.kNorm, c.NormEps), at, shape) // [T, kv*d]
		v := p.linear(x, l.wv, l.bv)                                                   // [T, kv*d]
		a := p.attention(q, k, v, shape)                                               // [T, heads*d]
		x = p.add(x, p.rmsnorm(p.linear(a, l.wo, l.bo), l.norm1, c.NormEps))           // [T, H]
		gate, up := p.linear(x, l.gate, nil), p.linear(x, l.up, nil)                   // [T, F]
		x = p.add(x, p.rmsnorm(p.linear(p.act(c.Act, gate, up), l.down, nil), l.norm2, c.NormEps))
		if p.leave(out, x); p.err != nil {
			return nil, p.err
		}
	}
	x = p.rmsnorm(x, norm, c.NormEps)
	if p.hidden {
		out.FinalNorm = p.keep(x)
	}
	out.Logits = p.project(x, head, nil) // [T, V]
	return out, p.err
}
