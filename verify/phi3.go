package verify

import (
	"math"

	"github.com/bowline-ml/bowline/arch"
)

type phi3Layer struct {
	norm1, norm2   *weight
	wq, wk, wv, wo *weight
	gateUp, down   *weight // gate above up
}

// phi3 is Phi3ForCausalLM. Source: transformers models/phi3/modeling_phi3.py.
func phi3(p *pass, w *weights, tokens []int32) (*Trace, error) {
	c := w.m.Config
	embed, head := w.embeddings("token_embd.weight", "output.weight")
	norm := w.find("output_norm.weight", 0)
	layers := make([]phi3Layer, c.Layers)
	for n := range layers {
		i := int64(n)
		layers[n] = phi3Layer{
			norm1: w.find("attn_norm.weight", i), norm2: w.find("ffn_norm.weight", i),
			wq: w.find("attn_q.weight", i), wk: w.find("attn_k.weight", i), wv: w.find("attn_v.weight", i), wo: w.find("attn_output.weight", i),
			gateUp: w.find("ffn_up.weight", i), down: w.find("ffn_down.weight", i),
		}
	}
	divisors := w.longFactors(p)
	if err := w.err(); err != nil {
		return nil, err
	}
	at := w.phi3Angles(p, divisors) // [T, rotated/2]
	F := int(c.FFN)

	out := &Trace{Tokens: tokens}
	x := p.lookup(embed, tokens) // [T, H]
	x = p.enter(out, x)
	for i, l := range only(p, layers) {
		shape := w.heads(i)
		n := p.rmsnorm(x, l.norm1, c.NormEps)
		q := p.rope(p.linear(n, l.wq, nil), at, shape)                    // [T, heads*d]
		k := p.rope(p.linear(n, l.wk, nil), at, shape)                    // [T, kv*d]
		v := p.linear(n, l.wv, nil)                                       // [T, kv*d]
		x = p.add(x, p.linear(p.attention(q, k, v, shape), l.wo, nil))    // [T, H]
		both := p.linear(p.rmsnorm(x, l.norm2, c.NormEps), l.gateUp, nil) // [T, 2F]
		gate, up := p.columns(both, 0, F), p.columns(both, F, 2*F)        // [T, F]
		x = p.add(x, p.linear(p.act(c.Act, gate, up), l.down, nil))       // [T, H]
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

// longFactors is longrope's list for the length of the text, nil without longrope. GGUF stores both lists.
func (w *weights) longFactors(p *pass) []float64 {
	r := w.m.Config.Rope
	if r.Type != "longrope" {
		return nil
	}
	list, role := r.Short, "rope_factors_short.weight"
	if int64(p.T) > r.Original {
		list, role = r.Long, "rope_factors_long.weight"
	}
	if w.m.Scheme == arch.GGUF {
		return p.vector(w.find(role, 0))
	}
	return list
}

// phi3Angles are the angles of that part of a head which turns. longrope makes cosine and sine greater, so that queries and keys are. Steps
// round as in modeling_rope_utils.py, _compute_longrope_parameters.
func (w *weights) phi3Angles(p *pass, divisors []float64) angles {
	c := w.m.Config
	d := int(c.Rotated())
	if divisors == nil {
		return ropeAngles(p, c.Rope, nil, d)
	}
	magnitude := single(c.Magnitude())
	a := angles{make([]float64, p.T*d/2), make([]float64, p.T*d/2)}
	for i := range d / 2 {
		power := float32(math.Pow(single(c.Rope.Theta), float64(float32(2*i)/float32(d))))
		freq := 1 / float32(float32(divisors[i])*power)
		for t := range p.T {
			angle := float64(float32(t) * freq)
			a.cos[t*d/2+i], a.sin[t*d/2+i] = p.store(p.store(math.Cos(angle))*magnitude), p.store(p.store(math.Sin(angle))*magnitude)
		}
	}
	return a
}
