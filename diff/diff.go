// Package diff compares the weights of two checkpoints, whatever their formats, names, layouts, types and ties: each tensor of the family in the
// hub's form, with permutations and fusing undone by views.
package diff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/view"
)

// Verdict is how a tensor compares.
type Verdict string

// The verdicts.
const (
	Equal   Verdict = "equal"   // the same values
	Cast    Verdict = "cast"    // B is A rounded to B's type
	Within  Verdict = "within"  // B's noise is what its type is expected to add
	Differs Verdict = "differs" // anything else
	Missing Verdict = "missing" // only one has it
	Shape   Verdict = "shape"
)

// Tensor is the comparison of one logical tensor.
type Tensor struct {
	Name      string         `json:"name"` // in the hub's names
	Verdict   Verdict        `json:"verdict"`
	DTypeA    string         `json:"dtype_a"`
	DTypeB    string         `json:"dtype_b"`
	MaxAbs    formats.Number `json:"max_abs"`
	Differing int64          `json:"differing"` // elements
	SQNR      formats.Number `json:"sqnr"`      // dB; 0 where the values are equal
}

// expected is the signal to quantization noise of Gaussian rows in dB, by type. Source: measured over the reference codecs' output.
var expected = map[dtype.Type]float64{
	dtype.F16: 73.7, dtype.BF16: 55.6, dtype.Q8_0: 45.4, dtype.Q6_K: 35.0, dtype.Q5_K: 28.8, dtype.Q5_1: 28.4, dtype.Q5_0: 27.4,
	dtype.Q4_K: 22.9, dtype.Q4_1: 22.1, dtype.Q4_0: 21.3,
}

// slack is how far below its type's expectation a tensor may be, in dB.
const slack = 3

// OK reports whether a verdict is no more than a change of type explains.
func (v Verdict) OK() bool { return v == Equal || v == Cast || v == Within }

// Weights compares every tensor of a's family, B judged as a conversion of A. It reads both checkpoints once. The list is in the order of the table.
func Weights(ctx context.Context, a, b *arch.Model, workers int) ([]Tensor, error) {
	if a.Family == nil || b.Family != a.Family {
		return nil, formats.Errorf(formats.Unsupported, "the two are not of one known family")
	}
	f := a.Family
	for _, m := range []*arch.Model{a, b} {
		if err := f.Check(m.Config, m.Scheme); err != nil {
			return nil, formats.Errors(err)[0].At(m.Path(), -1)
		}
	}
	type pair struct{ x, y *logical }
	var pairs []pair
	var out []Tensor
	for k := range f.Tensors {
		spec := &f.Tensors[k]
		layers := int64(1)
		if spec.PerLayer() {
			layers = max(a.Config.Layers, b.Config.Layers)
		}
		for i := range layers {
			if spec.Name[arch.HF] == "" {
				continue // follows from the config
			}
			x, err := find(a, spec, i)
			if err != nil {
				return nil, err
			}
			y, err := find(b, spec, i)
			if err != nil {
				return nil, err
			}
			if x == nil && y == nil {
				continue
			}
			t := Tensor{Name: spec.In(arch.HF, i), Verdict: Missing}
			if x != nil {
				t.DTypeA = string(x.dtype)
			}
			if y != nil {
				t.DTypeB = string(y.dtype)
			}
			pairs = append(pairs, pair{x, y})
			out = append(out, t)
		}
	}
	scratches := sync.Pool{New: func() any { return new(scratch) }}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(workers, 1))
	for i, p := range pairs {
		if p.x == nil || p.y == nil {
			continue
		}
		g.Go(func() error {
			s := scratches.Get().(*scratch)
			defer scratches.Put(s)
			var err error
			out[i], err = compare(ctx, out[i].Name, p.x, p.y, s)
			return err
		})
	}
	return out, g.Wait()
}

// logical is a tensor in the hub's layout.
type logical struct {
	view  view.View
	dtype dtype.Type // as stored
	as    dtype.Type // in the view
	shape []int64
}

// find opens a role of a layer: its own tensor, a part of a fused one, or what it is tied to. Nil if there is none.
func find(m *arch.Model, spec *arch.Tensor, i int64) (*logical, error) {
	l, err := stored(m, spec, i)
	for _, t := range m.Family.Ties {
		if l != nil || err != nil {
			break
		}
		switch {
		case t.Source == spec.Role:
			l, err = stored(m, m.Family.Tensor(t.Targets[0]), i)
		case slices.Contains(t.Targets, spec.Role):
			l, err = stored(m, m.Family.Tensor(t.Source), i)
		}
	}
	return l, err
}

func stored(m *arch.Model, spec *arch.Tensor, i int64) (*logical, error) {
	t := m.Lookup(spec.In(m.Scheme, i))
	lo, hi := int64(0), int64(0)
	if t == nil {
		for _, u := range m.Family.Fused {
			at := int64(0)
			for _, r := range u.Parts {
				rows := m.Family.Tensor(r).Shape[0](m.Config)
				if r == spec.Role {
					if t = m.Lookup(strings.ReplaceAll(u.Name[m.Scheme], "{i}", fmt.Sprint(i))); t != nil {
						lo, hi = at, at+rows
					}
				}
				at += rows
			}
			if t != nil {
				break
			}
		}
	}
	if t == nil {
		return nil, nil
	}
	if !t.DType.CanDecode() {
		return nil, formats.Errorf(formats.BadDType, "values of type %s cannot be read", t.DType).In(t.Name, "").At(m.Path(), t.Offset)
	}
	r, err := m.Open(t.Name)
	if err != nil {
		return nil, err
	}
	l := &logical{dtype: t.DType, as: t.DType, shape: t.Shape}
	rows := int64(-1)
	if len(t.Shape) > 0 {
		rows = t.Shape[0]
	}
	if hi > rows && hi > lo || hi == lo && spec.Rotary != nil && rows != spec.Shape[0](m.Config) {
		return nil, formats.Errorf(formats.BadShape, "got shape %v, want %d rows by the config", t.Shape, max(hi, spec.Shape[0](m.Config))).In(t.Name, "").At(m.Path(), t.Offset)
	}
	l.view = view.Source(r, t.Bytes, t.DType.BlockBytes())
	permuted := spec.Rotary != nil && m.Family.Layouts[m.Scheme].Rope != m.Family.Layouts[arch.HF].Rope
	if len(t.Shape) < 2 && t.DType.BlockElems() > 1 && (hi > lo || permuted) { // the elements of a block move one by one
		l.as = dtype.F32
		l.view = view.Cast(l.view, t.DType, l.as, new(atomic.Int64))
	}
	row := l.as.BlockBytes() // the rows of a vector that move are its elements
	if len(t.Shape) > 1 {
		row = l.bytes(t.Shape[len(t.Shape)-1])
	}
	if hi > lo {
		l.shape = append([]int64{hi - lo}, t.Shape[1:]...)
		l.view = view.Slice(l.view, lo, hi, row)
	}
	if permuted && row > 0 {
		l.view = view.Rows(l.view, spec.Rotary(m.Config), view.Halve, row)
	}
	return l, nil
}

// bytes is the size of values that fill whole blocks.
func (l *logical) bytes(values int64) int64 { return values / l.as.BlockElems() * l.as.BlockBytes() }

// cell is how many values are compared at once, be they rows or a part of one: a multiple of every type's block.
const cell = 128 << 10

// scratch is what a worker holds of two tensors: at most a cell of each.
type scratch struct {
	bx, by     []byte
	vx, vy, vr []float64
	narrow     []float32
}

// room is s with n elements of any value.
func room[T any](s *[]T, n int64) []T {
	if int64(cap(*s)) < n {
		*s = make([]T, n)
	}
	return (*s)[:n]
}

func compare(ctx context.Context, name string, x, y *logical, s *scratch) (Tensor, error) {
	t := Tensor{Name: name, DTypeA: string(x.dtype), DTypeB: string(y.dtype), Verdict: Shape}
	if fmt.Sprint(x.shape) != fmt.Sprint(y.shape) {
		return t, nil
	}
	n, _ := formats.Elems(x.shape)
	if n == 0 {
		t.Verdict = Equal
		return t, nil
	}
	cast := y.as == y.dtype && y.dtype.CanEncode() // blocks of elements that were moved cannot be made again
	var sig, noise, most float64
	for at := int64(0); at < n; at += cell {
		if err := ctx.Err(); err != nil {
			return t, err
		}
		k := min(cell, n-at)
		bx, by, vx, vy := room(&s.bx, x.bytes(k)), room(&s.by, y.bytes(k)), room(&s.vx, k), room(&s.vy, k)
		if err := errors.Join(read(x, bx, at), read(y, by, at)); err != nil {
			return t, formats.Errorf(formats.IO, "%w", err).In(name, "")
		}
		x.as.DecodeWide(vx, bx)
		y.as.DecodeWide(vy, by)
		different := false
		for i, v := range vx {
			w := vy[i]
			if math.Float64bits(v) == math.Float64bits(w) || v == w {
				if !math.IsInf(v, 0) && v == v { // an infinity that both hold says nothing of the rest
					sig += v * v
				}
				continue
			}
			different = true
			t.Differing++
			d := math.Abs(v - w)
			if d > most || d != d {
				most = d
			}
			sig += v * v
			noise += d * d
		}
		if different && cast {
			narrow, vr := room(&s.narrow, k), room(&s.vr, k)
			for i, v := range vx {
				narrow[i] = float32(v)
			}
			y.dtype.Encode(by, narrow)
			y.dtype.DecodeWide(vr, by)
			for i, v := range vr {
				if v != vy[i] && !(v != v && vy[i] != vy[i]) {
					cast = false
					break
				}
			}
		}
	}
	t.MaxAbs, t.SQNR = formats.Number(most), formats.Number(10*math.Log10(sig/noise))
	switch want, known := expected[y.dtype]; {
	case t.Differing == 0:
		t.Verdict, t.SQNR = Equal, 0
	case cast:
		t.Verdict = Cast
	case known && y.dtype != x.dtype && float64(t.SQNR) >= want-slack:
		t.Verdict = Within
	default:
		t.Verdict = Differs
	}
	return t, nil
}

// read fills p with the values from at on.
func read(l *logical, p []byte, at int64) error {
	for done := int64(0); done < int64(len(p)); {
		off := l.bytes(at) + done
		n := min(l.view.Cut(off, int64(len(p))-done), int64(len(p))-done)
		if n <= 0 {
			return fmt.Errorf("at byte %d of %d: %w", off, l.view.Size(), io.ErrUnexpectedEOF)
		}
		if _, err := l.view.ReadAt(p[done:done+n], off); err != nil && err != io.EOF {
			return err
		}
		done += n
	}
	return nil
}
