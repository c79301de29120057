package verify

import (
	"math"
	"slices"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/arch/config"
)

// angles are the cosines and sines of each position and pair: [T, d/2].
type angles struct{ cos, sin []float64 }

// ropeFactors are the divisors of the frequencies that a file stores or its parameters imply; nil if there are none.
// llama.cpp divides by rope_freqs.weight whatever the rope type (llama-graph.cpp, build_rope).
func (w *weights) ropeFactors(p *pass) []float64 {
	c := w.m.Config
	if w.m.Scheme == arch.GGUF {
		if t := w.m.Lookup("rope_freqs.weight"); t != nil && w.m.Family.Tensor("rope_freqs.weight") != nil {
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

// rope rotates the heads of x [T, n*d], whose pairs lie as the layout says, and writes them in half order whatever they lay in, so that
// what follows is the same sequence of operations for both layouts. Where there are angles for fewer than d/2 pairs, the rest of a head stays.
func (p *pass) rope(x []float64, a angles, s heads) []float64 {
	p.turned(a)
	out := slices.Clone(x)
	half := len(a.cos) / p.T
	n := len(x) / p.T
	for t := range p.T {
		for h := t * n; h < (t+1)*n; h += s.d {
			for i := range half {
				lo, hi := h+i, h+i+half
				first, second := x[lo], x[hi]
				if s.pairs == arch.Interleaved {
					first, second = x[h+2*i], x[h+2*i+1]
				}
				c, s := a.cos[t*half+i], a.sin[t*half+i]
				out[lo] = p.store(p.store(first*c) - p.store(second*s))
				out[hi] = p.store(p.store(second*c) + p.store(first*s))
			}
		}
	}
	return out
}
