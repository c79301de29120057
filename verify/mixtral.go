package verify

// mixtureLayer is a layer of a model whose MLP is a mixture of experts.
type mixtureLayer struct {
	norm1, norm2                     *weight
	wq, wk, wv, wo                   *weight
	bq, bk, bv, bo                   *weight // nil without attention_bias
	experts                          experts
	sharedGate, sharedUp, sharedDown *weight // nil without a shared MLP
}

// mixtureLayers finds the weights of all layers.
func (w *weights) mixtureLayers() []mixtureLayer {
	layers := make([]mixtureLayer, w.m.Config.Layers)
	for n := range layers {
		i := int64(n)
		layers[n] = mixtureLayer{
			norm1: w.find("attn_norm.weight", i), norm2: w.find("ffn_norm.weight", i),
			wq: w.find("attn_q.weight", i), bq: w.find("attn_q.bias", i),
			wk: w.find("attn_k.weight", i), bk: w.find("attn_k.bias", i),
			wv: w.find("attn_v.weight", i), bv: w.find("attn_v.bias", i),
			wo: w.find("attn_output.weight", i), bo: w.find("attn_output.bias", i),
			experts: w.mixture(i),
		}
	}
	return layers
}

// mixtral is MixtralForCausalLM: llama with experts for an MLP. Source: transformers models/mixtral/modeling_mixtral.py.
func mixtral(p *pass, w *weights, tokens []int32) (*Trace, error) {
	c := w.m.Config
	embed, head := w.embeddings("token_embd.weight", "output.weight")
	norm := w.find("output_norm.weight", 0)
	layers := w.mixtureLayers()
	factors := w.ropeFactors(p)
	if err := w.err(); err != nil {
		return nil, err
	}
	shape := w.heads(0)
	at := ropeAngles(p, c.Rope, factors, int(c.HeadDim)) // [T, d/2]

	out := &Trace{Tokens: tokens}
	x := p.lookup(embed, tokens) // [T, H]
	x = p.enter(out, x)
	for _, l := range only(p, layers) {
		n := p.rmsnorm(x, l.norm1, c.NormEps)
		q := p.rope(p.linear(n, l.wq, l.bq), at, shape) // [T, heads*d]
		k := p.rope(p.linear(n, l.wk, l.bk), at, shape) // [T, kv*d]
		v := p.linear(n, l.wv, l.bv)                    // [T, kv*d]
		a := p.attention(q, k, v, shape)                // [T, heads*d]
		x = p.add(x, p.linear(a, l.wo, l.bo))           // [T, H]
		n = p.rmsnorm(x, l.norm2, c.NormEps)
		x = p.add(x, p.mix(n, l.experts)) // [T, H]
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
