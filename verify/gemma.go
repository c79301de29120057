package verify

import (
	"math"

	"github.com/bowline-ml/bowline/arch/config"
)

// gemma is GemmaForCausalLM: llama, but the embedding is multiplied by the square root of the width. What its norms add to their gain is the layout's.
// Source: transformers models/gemma/modeling_gemma.py.
func gemma(p *pass, w *weights, tokens []int32) (*Trace, error) {
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
	x := p.times(p.lookup(embed, tokens), single(math.Sqrt(float64(c.Hidden)))) // [T, H]
	x = p.enter(out, x)
	for i, l := range only(p, layers) {
		shape := w.heads(i)
		n := p.rmsnorm(x, l.norm1, c.NormEps)
		q := p.rope(p.linear(n, l.wq, l.bq), at, shape)                 // [T, heads*d]
		k := p.rope(p.linear(n, l.wk, l.bk), at, shape)                 // [T, kv*d]
		v := p.linear(n, l.wv, l.bv)                                    // [T, kv*d]
		x = p.add(x, p.linear(p.attention(q, k, v, shape), l.wo, l.bo)) // [T, H]
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

// gemma2Norms are the norms of a layer that llama has not.
type gemma2Norms struct {
	q, k               *weight // of each head, nil in Gemma 2
	afterAttn, afterFF *weight
}

// gemma2 is Gemma2ForCausalLM and Gemma3ForCausalLM: gemma, but what each branch adds is normed, scores and logits may approach a bound, and some
// layers see a window alone, in Gemma 3 with a base of rope of its own and without the scaling of the others'.
// Sources: transformers models/gemma2/modeling_gemma2.py, models/gemma3/modeling_gemma3.py.
func gemma2(p *pass, w *weights, tokens []int32) (*Trace, error) {
	c := w.m.Config
	embed, head := w.embeddings("token_embd.weight", "output.weight")
	norm := w.find("output_norm.weight", 0)
	layers := w.llamaLayers()
	norms := make([]gemma2Norms, len(layers))
	for n := range norms {
		i := int64(n)
		norms[n] = gemma2Norms{q: w.find("attn_q_norm.weight", i), k: w.find("attn_k_norm.weight", i),
			afterAttn: w.find("post_attention_norm.weight", i), afterFF: w.find("post_ffw_norm.weight", i)}
	}
	factors := w.ropeFactors(p)
	if err := w.err(); err != nil {
		return nil, err
	}
	at := ropeAngles(p, c.Rope, factors, int(c.HeadDim)) // [T, d/2]
	local := at
	if c.Rope.Local > 0 {
		local = ropeAngles(p, config.Rope{Theta: c.Rope.Local}, nil, int(c.HeadDim))
	}

	out := &Trace{Tokens: tokens}
	x := p.times(p.lookup(embed, tokens), single(math.Sqrt(float64(c.Hidden)))) // [T, H]
	x = p.enter(out, x)
	for i, l := range only(p, layers) {
		shape, at := w.heads(i), at
		if c.Slides(i) {
			at = local
		}
		n := p.rmsnorm(x, l.norm1, c.NormEps)
		q, k := p.linear(n, l.wq, l.bq), p.linear(n, l.wk, l.bk) // [T, heads*d], [T, kv*d]
		if norms[i].q != nil {
			q, k = p.rmsnorm(q, norms[i].q, c.NormEps), p.rmsnorm(k, norms[i].k, c.NormEps)
		}
		v := p.linear(n, l.wv, l.bv)                                                    // [T, kv*d]
		a := p.attention(p.rope(q, at, shape), p.rope(k, at, shape), v, shape)          // [T, heads*d]
		x = p.add(x, p.rmsnorm(p.linear(a, l.wo, l.bo), norms[i].afterAttn, c.NormEps)) // [T, H]
		n = p.rmsnorm(x, l.norm2, c.NormEps)
		gate, up := p.linear(n, l.gate, nil), p.linear(n, l.up, nil) // [T, F]
		x = p.add(x, p.rmsnorm(p.linear(p.act(c.Act, gate, up), l.down, nil), norms[i].afterFF, c.NormEps))
		if p.leave(out, x); p.err != nil {
			return nil, p.err
		}
	}
	x = p.rmsnorm(x, norm, c.NormEps)
	if p.hidden {
		out.FinalNorm = p.keep(x)
	}
	var capped func(float64) float64
	if limit := single(c.LogitCap); limit != 0 {
		capped = func(v float64) float64 { return p.bound(v, limit) }
	}
	out.Logits = p.project(x, head, capped) // [T, V]
	return out, p.err
}
