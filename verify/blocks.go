package verify

import (
	"context"
	"math"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/kernels"
)

// pass is one run. Activations are [T, n] in float64, row after row; in precision f32 each holds a float32 value, because the
// float64 result of one operation on float32 values, rounded, is the float32 result. Products are wrapped in float64() so that no platform fuses
// them with a sum. The first error is kept, and all operations after it do nothing.
type pass struct {
	ctx       context.Context
	T         int
	precision Precision
	hidden    bool
	scratch   []scratch // one a worker
	err       error
}

// store rounds a result to the precision of the pass.
func (p *pass) store(v float64) float64 {
	if p.precision == F32 {
		return float64(float32(v))
	}
	return v
}

// single rounds a parameter: a GGUF scalar is float32, so its twin in config.json is made one.
func single(v float64) float64 { return float64(float32(v)) }

// each calls f for 0 to n-1 on the workers, in any order. Calls must not depend on each other.
func (p *pass) each(n int, f func(i int, s *scratch) error) {
	if p.err != nil {
		return
	}
	g, ctx := errgroup.WithContext(p.ctx)
	var next atomic.Int64
	for k := range min(len(p.scratch), n) {
		g.Go(func() error {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := f(i, &p.scratch[k]); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	p.err = g.Wait()
}

// blockBytes is the size of a block of weights in float64: with the activations that it meets it stays in a second-level cache.
const blockBytes = 256 << 10

// linear is x [T, k] times w [n, k] transposed, plus bias [n] if there is one, rounded once: [T, n].
func (p *pass) linear(x []float64, w, bias *weight) []float64 {
	out := make([]float64, p.T*w.rows)
	p.multiply(x, w, bias, func(t, n int, v []float64) { copy(out[t*w.rows+n:], v) })
	return out
}

// project is linear into a matrix of results.
func (p *pass) project(x []float64, w *weight) Matrix {
	out := newMatrix(p.T, w.rows, p.precision)
	p.multiply(x, w, nil, func(t, n int, v []float64) { out.set(t*w.rows+n, v) })
	return out
}

// multiply streams w and gives row t of the product in pieces: v is columns n to n+len(v). Blocks are of whole rows of w, and a sum runs
// over one row, so its order does not depend on blocks or workers.
func (p *pass) multiply(x []float64, w, bias *weight, put func(t, n int, v []float64)) {
	b := p.vector(bias)
	block := max(8, blockBytes/8/w.cols)
	p.each((w.rows+block-1)/block, func(i int, s *scratch) error {
		lo, hi := i*block, min((i+1)*block, w.rows)
		rows, err := w.read(lo, hi, s)
		if err != nil {
			return err
		}
		n := hi - lo
		s.tile = grow(s.tile, p.T*n)
		kernels.Dots(s.tile, x, rows, p.T, n, w.cols, n)
		for t := range p.T {
			v := s.tile[t*n : (t+1)*n]
			for j := range v {
				if b != nil {
					v[j] += b[lo+j]
				}
				v[j] = p.store(v[j])
			}
			put(t, lo, v)
		}
		return nil
	})
}

// vector reads a whole vector; nil stays nil.
func (p *pass) vector(w *weight) []float64 {
	if w == nil || p.err != nil {
		return nil
	}
	var s scratch
	v, err := w.read(0, w.rows, &s)
	if err != nil {
		p.err = err
	}
	return v
}

// lookup is the rows of w [V, n] that tokens name: [T, n].
func (p *pass) lookup(w *weight, tokens []int32) []float64 {
	out := make([]float64, p.T*w.cols)
	p.each(p.T, func(t int, s *scratch) error {
		row, err := w.read(int(tokens[t]), int(tokens[t])+1, s)
		for i, v := range row {
			out[t*w.cols+i] = p.store(v)
		}
		return err
	})
	return out
}

// rmsnorm divides each row by its root mean square and multiplies it by w [n]. Steps round as in modeling_llama.py, LlamaRMSNorm.
func (p *pass) rmsnorm(x []float64, w *weight, eps float64) []float64 {
	gain := p.vector(w)
	out := make([]float64, len(x))
	p.each(p.T, func(t int, _ *scratch) error {
		n := len(gain)
		row := x[t*n : (t+1)*n]
		sum := 0.0
		for _, v := range row {
			sum += float64(v * v)
		}
		scale := p.store(1 / math.Sqrt(p.store(p.store(sum/float64(n))+single(eps))))
		for i, v := range row {
			out[t*n+i] = p.store(gain[i] * p.store(v*scale))
		}
		return nil
	})
	return out
}

// add is x + y.
func (p *pass) add(x, y []float64) []float64 {
	out := make([]float64, len(x))
	for i := range out {
		out[i] = p.store(x[i] + y[i])
	}
	return out
}

// silu is gate / (1 + e^-gate) times up.
func (p *pass) silu(gate, up []float64) []float64 {
	out := make([]float64, len(gate))
	n := len(gate) / p.T
	p.each(p.T, func(t int, _ *scratch) error {
		for i := t * n; i < (t+1)*n; i++ {
			out[i] = p.store(p.store(gate[i]/(1+math.Exp(-gate[i]))) * up[i])
		}
		return nil
	})
	return out
}

// rope rotates the heads of x [T, n*d], whose pairs lie as the layout says, and writes them in half order whatever they lay in, so that
// what follows is the same sequence of operations for both layouts.
func (p *pass) rope(x []float64, a angles, pairs arch.Pairing) []float64 {
	out := make([]float64, len(x))
	half := len(a.cos) / p.T
	n := len(x) / p.T
	for t := range p.T {
		for h := t * n; h < (t+1)*n; h += 2 * half {
			for i := range half {
				lo, hi := h+i, h+i+half
				first, second := x[lo], x[hi]
				if pairs == arch.Interleaved {
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

// queries is how many rows of scores exist at a time in a head.
const queries = 64

// attention is softmax(q k^T / sqrt d) v with q [T, heads*d], k and v [T, kv*d]: [T, heads*d]. Query t sees keys up to t, and no more
// than window of them if window is not 0. Each key head serves heads/kv query heads.
func (p *pass) attention(q, k, v []float64, heads, kv, d, window int) []float64 {
	out := make([]float64, len(q))
	scale := p.store(1 / math.Sqrt(float64(d)))
	T := p.T
	p.each(heads, func(h int, s *scratch) error {
		g := h / (heads / kv)
		s.f64 = grow(s.f64, 2*T*d)
		s.tile = grow(s.tile, queries*T+d)
		qh, kh, sum := s.f64[:T*d], s.f64[T*d:], s.tile[queries*T:]
		for t := range T {
			copy(qh[t*d:(t+1)*d], q[(t*heads+h)*d:])
			copy(kh[t*d:(t+1)*d], k[(t*kv+g)*d:])
		}
		for top := 0; top < T; top += queries {
			end := min(top+queries, T)
			kernels.Dots(s.tile, qh[top*d:end*d], kh[:end*d], end-top, end, d, T) // [queries, T]
			for t := top; t < end; t++ {
				first := 0
				if window > 0 {
					first = max(0, t-window+1)
				}
				row := s.tile[(t-top)*T+first : (t-top)*T+t+1]
				p.softmax(row, scale)
				clear(sum)
				for j, w := range row {
					for i, x := range v[((first+j)*kv+g)*d:][:d] {
						sum[i] += float64(w * x)
					}
				}
				for i, x := range sum {
					out[(t*heads+h)*d+i] = p.store(x)
				}
			}
		}
		return nil
	})
	return out
}

// softmax turns scores, still to be multiplied by scale, into weights in place.
func (p *pass) softmax(row []float64, scale float64) {
	top := math.Inf(-1)
	for i, v := range row {
		row[i] = p.store(p.store(v) * scale)
		top = max(top, row[i])
	}
	sum := 0.0
	for i, v := range row {
		row[i] = math.Exp(v - top)
		sum += row[i]
	}
	for i := range row {
		row[i] = p.store(row[i] / sum)
	}
}

// keep copies an activation into a trace.
func (p *pass) keep(x []float64) Matrix {
	m := newMatrix(p.T, len(x)/p.T, p.precision)
	m.set(0, x)
	return m
}
