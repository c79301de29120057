package verify

type llamaLayer struct {
	norm1, norm2               *weight
	wq, wk, wv, wo             *weight
	bq, bk, bv, bo             *weight // nil without attention_bias
	gate, up, down             *weight
	gateBias, upBias, downBias *weight // nil without mlp_bias
}

// llamaLayers finds the weights of all layers.
func (w *weights) llamaLayers() []llamaLayer {
	layers := make([]llamaLayer, w.m.Config.Layers)
	for n := range layers {
		i := int64(n)
		layers[n] = llamaLayer{
			norm1: w.find("attn_norm.weight", i), norm2: w.find("ffn_norm.weight", i),
			wq: w.find("attn_q.weight", i), bq: w.find("attn_q.bias", i),
			wk: w.find("attn_k.weight", i), bk: w.find("attn_k.bias", i),
			wv: w.find("attn_v.weight", i), bv: w.find("attn_v.bias", i),
			wo: w.find("attn_output.weight", i), bo: w.find("attn_output.bias", i),
			gate: w.find("ffn_gate.weight", i), gateBias: w.find("ffn_gate.bias", i),
			up: w.find("ffn_up.weight", i), upBias: w.find("ffn_up.bias", i),
			down: w.find("ffn_down.weight", i), downBias: w.find("ffn_down.bias", i),
		}
	}
	return layers
}

// llama is LlamaForCausalLM and MistralForCausalLM.
// Source: transformers models/llama/modeling_llama.py, models/mistral/modeling_mistral.py.
func llama(p *pass, w *weights, tokens []int32) (*Trace, error) {
	c := w.m.Config
	embed, head := w.embeddings("token_embd.weight", "output.weight")
	norm := w.find("output_norm.weight", 0)
	layers := w.llamaLayers()
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
		q := p.rope(p.linear(n, l.wq, l.bq), at, shape) // [T, heads*d], half order
		k := p.rope(p.linear(n, l.wk, l.bk), at, shape) // [T, kv*d], half order
		v := p.linear(n, l.wv, l.bv)                    // [T, kv*d]
		a := p.attention(q, k, v, shape)                // [T, heads*d]
		x = p.add(x, p.linear(a, l.wo, l.bo))           // [T, H]
		n = p.rmsnorm(x, l.norm2, c.NormEps)
		gate := p.linear(n, l.gate, l.gateBias)                            // [T, F]
		up := p.linear(n, l.up, l.upBias)                                  // [T, F]
		x = p.add(x, p.linear(p.act(c.Act, gate, up), l.down, l.downBias)) // [T, H]
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
