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
	Name      string  `json:"name"` // in the hub's names
	Verdict   Verdict `json:"verdict"`
	DTypeA    string  `json:"dtype_a"`
	DTypeB    string  `json:"dtype_b"`
	MaxAbs    float64 `json:"max_abs"`
	Differing int64   `json:"differing"` // elements
	SQNR      float64 `json:"sqnr"`      // dB; 0 where the values are equal
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
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(workers, 1))
	for i, p := range pairs {
		if p.x == nil || p.y == nil {
			continue
		}
		g.Go(func() error {
			var err error
			out[i], err = compare(ctx, out[i].Name, p.x, p.y)
			return err
		})
	}
	return out, g.Wait()
}

// logical is a tensor in the hub's layout.
type logical struct {
	view  view.View
	dtype dtype.Type
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
	l := &logical{dtype: t.DType, shape: t.Shape}
	row := rowBytes(l)
	rows := int64(-1)
	if len(t.Shape) > 0 {
		rows = t.Shape[0]
	}
	if hi > rows && hi > lo || hi == lo && spec.Rotary != nil && rows != spec.Shape[0](m.Config) {
		return nil, formats.Errorf(formats.BadShape, "got shape %v, want %d rows by the config", t.Shape, max(hi, spec.Shape[0](m.Config))).In(t.Name, "").At(m.Path(), t.Offset)
	}
	l.view = view.Source(r, t.Bytes, row)
	if hi > lo {
		l.shape = append([]int64{hi - lo}, t.Shape[1:]...)
		l.view = view.Slice(l.view, lo, hi, row)
	}
	if spec.Rotary != nil && m.Family.Layouts[m.Scheme].Rope != m.Family.Layouts[arch.HF].Rope {
		l.view = view.Rows(l.view, spec.Rotary(m.Config), view.Halve, row)
	}
	return l, nil
}

// rowBytes is the size of a row; the rows of a vector are its elements.
func rowBytes(l *logical) int64 {
	cols := int64(1)
	if len(l.shape) > 1 {
		cols = l.shape[len(l.shape)-1]
	}
	return max(cols/l.dtype.BlockElems(), 1) * l.dtype.BlockBytes()
}

// cell is how many values are compared at once, rounded to whole rows.
const cell = 128 << 10

func compare(ctx context.Context, name string, x, y *logical) (Tensor, error) {
	t := Tensor{Name: name, DTypeA: string(x.dtype), DTypeB: string(y.dtype), Verdict: Shape}
	if fmt.Sprint(x.shape) != fmt.Sprint(y.shape) {
		return t, nil
	}
	n, _ := formats.Elems(x.shape)
	if n == 0 {
		t.Verdict = Equal
		return t, nil
	}
	rows, cols := n, int64(1)
	if len(x.shape) > 1 {
		cols = x.shape[len(x.shape)-1]
		rows = n / max(cols, 1)
	}
	step := max(cell/max(cols, 1), 1)
	bx, by := make([]byte, step*rowBytes(x)), make([]byte, step*rowBytes(y))
	vx, vy, vr := make([]float64, step*cols), make([]float64, step*cols), make([]float64, step*cols)
	narrow := make([]float32, step*cols)
	cast := y.dtype.CanEncode()
	var sig, noise float64
	for r := int64(0); r < rows; r += step {
		if err := ctx.Err(); err != nil {
			return t, err
		}
		k := min(step, rows-r)
		if err := errors.Join(read(x, bx[:k*rowBytes(x)], r), read(y, by[:k*rowBytes(y)], r)); err != nil {
			return t, formats.Errorf(formats.IO, "%w", err).In(name, "")
		}
		x.dtype.DecodeWide(vx[:k*cols], bx[:k*rowBytes(x)])
		y.dtype.DecodeWide(vy[:k*cols], by[:k*rowBytes(y)])
		different := false
		for i, v := range vx[:k*cols] {
			w := vy[i]
			if math.Float64bits(v) == math.Float64bits(w) || v == w {
				sig += v * v
				continue
			}
			different = true
			t.Differing++
			d := math.Abs(v - w)
			if d > t.MaxAbs || d != d {
				t.MaxAbs = d
			}
			sig += v * v
			noise += d * d
		}
		if different && cast {
			for i, v := range vx[:k*cols] {
				narrow[i] = float32(v)
			}
			y.dtype.Encode(by[:k*rowBytes(y)], narrow[:k*cols])
			y.dtype.DecodeWide(vr[:k*cols], by[:k*rowBytes(y)])
			for i, v := range vr[:k*cols] {
				if v != vy[i] && !(v != v && vy[i] != vy[i]) {
					cast = false
					break
				}
			}
		}
	}
	t.SQNR = 10 * math.Log10(sig/noise)
	switch want, known := expected[y.dtype]; {
	case t.Differing == 0:
		t.Verdict, t.SQNR = Equal, 0
	case cast:
		t.Verdict = Cast
	case known && y.dtype != x.dtype && t.SQNR >= want-slack:
		t.Verdict = Within
	default:
		t.Verdict = Differs
	}
	return t, nil
}

func read(l *logical, p []byte, row int64) error {
	for done := int64(0); done < int64(len(p)); {
		off := row*rowBytes(l) + done
		n := min(l.view.Cut(off, int64(len(p))-done), int64(len(p))-done)
		if _, err := l.view.ReadAt(p[done:done+n], off); err != nil && err != io.EOF {
			return err
		}
		done += n
	}
	return nil
}
