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
	layer     int       // being computed; -1 before the first
	facts     []Fact
	probe     *probe // nil but for Steps
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
	p.made(w, out)
	return out
}

// project is linear into a matrix of results, of which each has f applied if it is not nil.
func (p *pass) project(x []float64, w *weight, f func(float64) float64) Matrix {
	out := newMatrix(p.T, w.rows, p.precision)
	one := 1.0
	if f != nil {
		one = f(1)
	}
	p.fact("logit made of 1", one)
	p.multiply(x, w, nil, func(t, n int, v []float64) {
		if f != nil {
			for i := range v {
				v[i] = p.store(f(v[i]))
			}
		}
		out.set(t*w.rows+n, v)
	})
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

// rmsnorm divides each stretch of x as long as w by its root mean square and multiplies it by w [n] and what the layout adds to it. Steps round
// as in modeling_llama.py, LlamaRMSNorm.
func (p *pass) rmsnorm(x []float64, w *weight, eps float64) []float64 {
	gain := p.vector(w)
	out := make([]float64, len(x))
	if len(gain) == 0 {
		return out
	}
	p.fact("norm epsilon", single(eps))
	for i, v := range gain {
		gain[i] = p.store(v + w.shift)
	}
	p.each(len(x)/len(gain), func(t int, _ *scratch) error {
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
	p.made(w, out)
	return out
}

// add is x + y.
func (p *pass) add(x, y []float64) []float64 {
	out := make([]float64, len(x))
	for i := range out {
		out[i] = p.store(x[i] + y[i])
	}
	p.step("residual", "", out)
	return out
}

// queries is how many rows of scores exist at a time in a head.
const queries = 64

// heads is the shape of attention.
type heads struct {
	q, kv, d int
	pairs    arch.Pairing
	window   int     // how many keys a query sees, 0 for all up to its own
	scale    float64 // of the scores, 0 for 1/sqrt(d)
	cap      float64 // that scores approach, 0 for none
}

// heads is the shape of attention in a layer, as the file's own programs compute it.
func (w *weights) heads(layer int) heads {
	c, layout := w.m.Config, w.m.Family.Layouts[w.m.Scheme]
	h := heads{q: int(c.Heads), kv: int(c.KVHeads), d: int(c.HeadDim), pairs: layout.Rope, scale: single(c.AttnScale), cap: single(c.AttnCap)}
	if layout.Window && c.Slides(layer) { // without, the runtime attends to everything
		h.window = int(c.SlidingWindow)
	}
	return h
}

// attention is softmax(q k^T * scale) v with q [T, heads*d], k and v [T, kv*d]: [T, heads*d]. Query t sees keys up to t. Each key head serves
// heads/kv query heads.
func (p *pass) attention(q, k, v []float64, a heads) []float64 {
	out := make([]float64, len(q))
	heads, kv, d, window, scale := a.q, a.kv, a.d, a.window, a.scale
	if scale == 0 {
		scale = p.store(1 / math.Sqrt(float64(d)))
	}
	T := p.T
	p.fact("attention scale", scale)
	p.fact("attention soft cap", a.cap)
	if window <= 0 || window > T {
		window = T
	}
	p.fact("window", float64(window))
	if p.probe != nil {
		p.step("attn_q", p.maker("attn_q"), q)
		p.step("attn_k", p.maker("attn_k"), k)
		p.step("attn_v", p.maker("attn_v"), v)
	}
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
				first := max(0, t-window+1)
				row := s.tile[(t-top)*T+first : (t-top)*T+t+1]
				p.softmax(row, scale, a.cap)
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
	p.step("attention", "", out)
	return out
}

// softmax turns scores, still to be multiplied by scale and bounded by limit if it is not 0, into weights in place.
func (p *pass) softmax(row []float64, scale, limit float64) {
	top := math.Inf(-1)
	for i, v := range row {
		row[i] = p.bound(p.store(p.store(v)*scale), limit)
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

// bound is limit * tanh(v / limit), v itself if limit is 0. Source: transformers modeling_gemma2.py, eager_attention_forward.
func (p *pass) bound(v, limit float64) float64 {
	if limit == 0 {
		return v
	}
	return p.store(p.store(math.Tanh(p.store(v/limit))) * limit)
}

// times is x * c.
func (p *pass) times(x []float64, c float64) []float64 {
	if p.layer < 0 {
		p.fact("embedding multiplier", c)
	} else {
		p.fact("residual multiplier", c)
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = p.store(v * c)
	}
	return out
}

// activations are the functions that configs name. Source: transformers activations.py, ACT2FN.
var activations = map[string]func(float64) float64{
	"silu":              func(v float64) float64 { return v / (1 + math.Exp(-v)) },
	"gelu":              func(v float64) float64 { return v * 0.5 * (1 + math.Erf(v/math.Sqrt2)) },
	"gelu_pytorch_tanh": tanhGelu,
	"gelu_new":          tanhGelu,
	"gelu_fast":         tanhGelu,
	"relu":              func(v float64) float64 { return max(v, 0) },
}

func tanhGelu(v float64) float64 {
	return 0.5 * v * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*float64(float64(v*v)*v))))
}

// act is an activation of x, times up if it is not nil. The name is one that the family's Check has let pass.
func (p *pass) act(name string, x, up []float64) []float64 {
	f := activations[name]
	p.fact("activation of -1", f(-1))
	out := make([]float64, len(x))
	n := len(x) / p.T
	p.each(p.T, func(t int, _ *scratch) error {
		for i := t * n; i < (t+1)*n; i++ {
			if out[i] = p.store(f(x[i])); up != nil {
				out[i] = p.store(out[i] * up[i])
			}
		}
		return nil
	})
	p.step("act", "", out)
	return out
}

// layernorm subtracts the mean of each row, divides by the standard deviation, multiplies by w [n] and adds b [n], which may be nil.
func (p *pass) layernorm(x []float64, w, b *weight, eps float64) []float64 {
	gain, bias := p.vector(w), p.vector(b)
	p.fact("norm epsilon", single(eps))
	out := make([]float64, len(x))
	p.each(p.T, func(t int, _ *scratch) error {
		n := len(gain)
		row := x[t*n : (t+1)*n]
		mean, sum := 0.0, 0.0
		for _, v := range row {
			mean += v
		}
		mean /= float64(n)
		for _, v := range row {
			sum += float64((v - mean) * (v - mean))
		}
		scale := 1 / math.Sqrt(sum/float64(n)+single(eps))
		for i, v := range row {
			y := float64((v-mean)*scale) * gain[i]
			if bias != nil {
				y += bias[i]
			}
			out[t*n+i] = p.store(y)
		}
		return nil
	})
	p.made(w, out)
	return out
}

// columns is columns lo to hi of x [T, n]: [T, hi-lo].
func (p *pass) columns(x []float64, lo, hi int) []float64 {
	n := len(x) / p.T
	out := make([]float64, 0, p.T*(hi-lo))
	for t := range p.T {
		out = append(out, x[t*n+lo:t*n+hi]...)
	}
	return out
}

// keep copies an activation into a trace.
func (p *pass) keep(x []float64) Matrix {
	m := newMatrix(p.T, len(x)/p.T, p.precision)
	m.set(0, x)
	return m
}
