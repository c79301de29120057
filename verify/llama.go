package verify

import (
	"math"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/arch/config"
)

type llamaLayer struct {
	norm1, norm2               *weight
	wq, wk, wv, wo             *weight
	bq, bk, bv, bo             *weight // nil without attention_bias
	gate, up, down             *weight
	gateBias, upBias, downBias *weight // nil without mlp_bias
}

// llama is LlamaForCausalLM and MistralForCausalLM.
// Source: transformers models/llama/modeling_llama.py, models/mistral/modeling_mistral.py.
func llama(p *pass, w *weights, tokens []int32) (*Trace, error) {
	c := w.m.Config
	embed, head := w.embeddings("token_embd.weight", "output.weight")
	norm := w.find("output_norm.weight", 0)
	layers := make([]llamaLayer, c.Layers)
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
	factors := w.ropeFactors(p)
	if err := w.err(); err != nil {
		return nil, err
	}
	layout := w.m.Family.Layouts[w.m.Scheme]
	pairs, window := layout.Rope, 0
	if layout.Window { // without, the runtime attends to everything
		window = int(c.SlidingWindow)
	}
	heads, kv, d := int(c.Heads), int(c.KVHeads), int(c.HeadDim)
	at := ropeAngles(p, c.Rope, factors, d) // [T, d/2]

	out := &Trace{Tokens: tokens}
	x := p.lookup(embed, tokens) // [T, H]
	if p.hidden {
		out.Embed = p.keep(x)
	}
	for _, l := range layers {
		n := p.rmsnorm(x, l.norm1, c.NormEps)
		q := p.linear(n, l.wq, l.bq)                    // [T, heads*d]
		k := p.linear(n, l.wk, l.bk)                    // [T, kv*d]
		v := p.linear(n, l.wv, l.bv)                    // [T, kv*d]
		q = p.rope(q, at, pairs)                        // half order
		k = p.rope(k, at, pairs)                        // half order
		a := p.attention(q, k, v, heads, kv, d, window) // [T, heads*d]
		x = p.add(x, p.linear(a, l.wo, l.bo))           // [T, H]
		n = p.rmsnorm(x, l.norm2, c.NormEps)
		gate := p.linear(n, l.gate, l.gateBias)                      // [T, F]
		up := p.linear(n, l.up, l.upBias)                            // [T, F]
		x = p.add(x, p.linear(p.silu(gate, up), l.down, l.downBias)) // [T, H]
		if p.err != nil {
			return nil, p.err
		}
		if p.hidden {
			out.Layers = append(out.Layers, p.keep(x))
		}
	}
	x = p.rmsnorm(x, norm, c.NormEps)
	if p.hidden {
		out.FinalNorm = p.keep(x)
	}
	out.Logits = p.project(x, head) // [T, V]
	return out, p.err
}

// angles are the cosines and sines of each position and pair: [T, d/2].
type angles struct{ cos, sin []float64 }

// ropeFactors are the divisors of the frequencies that a file stores or its parameters imply; nil if there are none.
// llama.cpp divides by rope_freqs.weight whatever the rope type (llama-graph.cpp, build_rope).
func (w *weights) ropeFactors(p *pass) []float64 {
	c := w.m.Config
	if w.m.Scheme == arch.GGUF {
		if t := w.m.Lookup("rope_freqs.weight"); t != nil {
			return p.vector(w.open(arch.Run{Name: t.Name, Tensor: t, Want: []int64{c.HeadDim / 2}, Rows: c.HeadDim / 2}, true))
		}
		return nil
	}
	var out []float64
	for _, f := range c.Rope.Divisors(c.HeadDim) {
		out = append(out, float64(f))
	}
	return out
}

// ropeAngles rounds as transformers does: frequencies and angles in float32 in every precision, because the float32 angle is what
// models are run with; cosine and sine of it are as precise as the pass. Source: modeling_rope_utils.py; modeling_llama.py, LlamaRotaryEmbedding.
func ropeAngles(p *pass, r config.Rope, factors []float64, d int) angles {
	a := angles{make([]float64, p.T*d/2), make([]float64, p.T*d/2)}
	for i := range d / 2 {
		exponent := float32(2*i) / float32(d)
		freq := 1 / float32(math.Pow(single(r.Theta), float64(exponent)))
		if r.Type == "linear" {
			freq /= float32(r.Factor)
		}
		if factors != nil {
			freq /= float32(factors[i])
		}
		for t := range p.T {
			angle := float64(float32(t) * freq)
			a.cos[t*d/2+i], a.sin[t*d/2+i] = p.store(math.Cos(angle)), p.store(math.Sin(angle))
		}
	}
	return a
}
