package verify

// qwen3 is Qwen3ForCausalLM: llama, but each head of queries and keys is normed before it is rotated.
// Source: transformers models/qwen3/modeling_qwen3.py.
func qwen3(p *pass, w *weights, tokens []int32) (*Trace, error) {
	c := w.m.Config
	embed, head := w.embeddings("token_embd.weight", "output.weight")
	norm := w.find("output_norm.weight", 0)
	layers := w.llamaLayers()
	var qNorm, kNorm []*weight
	for i := range c.Layers {
		qNorm, kNorm = append(qNorm, w.find("attn_q_norm.weight", i)), append(kNorm, w.find("attn_k_norm.weight", i))
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
		n := p.rmsnorm(x, l.norm1, c.NormEps)
		q := p.rope(p.rmsnorm(p.linear(n, l.wq, l.bq), qNorm[i], c.NormEps), at, shape) // [T, heads*d]
		k := p.rope(p.rmsnorm(p.linear(n, l.wk, l.bk), kNorm[i], c.NormEps), at, shape) // [T, kv*d]
		v := p.linear(n, l.wv, l.bv)                                                    // [T, kv*d]
		x = p.add(x, p.linear(p.attention(q, k, v, shape), l.wo, l.bo))                 // [T, H]
		n = p.rmsnorm(x, l.norm2, c.NormEps)
		gate, up := p.linear(n, l.gate, nil), p.linear(n, l.up, nil) // [T, F]
		x = p.add(x, p.linear(p.act(c.Act, gate, up), l.down, nil))  // [T, H]
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
