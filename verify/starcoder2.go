package verify

// starcoder2 is Starcoder2ForCausalLM: llama, but norms subtract the mean and have biases, and the MLP has no gate.
// Source: transformers models/starcoder2/modeling_starcoder2.py.
func starcoder2(p *pass, w *weights, tokens []int32) (*Trace, error) {
	c := w.m.Config
	embed, head := w.embeddings("token_embd.weight", "output.weight")
	norm, normBias := w.find("output_norm.weight", 0), w.find("output_norm.bias", 0)
	layers := w.llamaLayers()
	var bias1, bias2 []*weight
	for i := range c.Layers {
		bias1, bias2 = append(bias1, w.find("attn_norm.bias", i)), append(bias2, w.find("ffn_norm.bias", i))
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
		n := p.layernorm(x, l.norm1, bias1[i], c.NormEps)
		q := p.rope(p.linear(n, l.wq, l.bq), at, shape)                 // [T, heads*d]
		k := p.rope(p.linear(n, l.wk, l.bk), at, shape)                 // [T, kv*d]
		v := p.linear(n, l.wv, l.bv)                                    // [T, kv*d]
		x = p.add(x, p.linear(p.attention(q, k, v, shape), l.wo, l.bo)) // [T, H]
		n = p.layernorm(x, l.norm2, bias2[i], c.NormEps)
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
