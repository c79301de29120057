// Package diff compares the weights of two checkpoints, whatever their formats, names, layouts, types and ties: each tensor of the family in the
// hub's form, with permutations and fusing undone by views. What differs it explains where it can, and what a model is it makes a digest of.
package diff

import (
	"cmp"
	"context"
	"slices"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// Verdict is how a tensor compares.
type Verdict string

// The verdicts.
const (
	Equal   Verdict = "equal"   // the same values
	Cast    Verdict = "cast"    // one is the other rounded to its type: in Weights, B is A rounded to B's type
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
	// Transform makes B of A, nil unless one explains the difference.
	Transform *string `json:"transform"`
	// OK reports whether the difference is within the tolerance.
	OK bool `json:"ok"`
	// ShapeA and ShapeB are in the hub's orientation.
	ShapeA []int64 `json:"shape_a"`
	ShapeB []int64 `json:"shape_b"`
}

// OK reports whether a verdict is no more than a change of type explains.
func (v Verdict) OK() bool { return v == Equal || v == Cast || v == Within }

// Options are the choices of a comparison.
type Options struct {
	Tolerance Tolerance
	Workers   int                     // 0 is one
	Progress  func(done, total int64) // bytes of A
}

// Report is the comparison of two checkpoints. Tensors are those that both hold, in the order of the table and then of the files.
type Report struct {
	Equal   bool           `json:"equal"`
	Tensors []Tensor       `json:"tensors"`
	OnlyA   []string       `json:"only_a"`
	OnlyB   []string       `json:"only_b"`
	Notes   []formats.Note `json:"notes"`
}

// Differing counts the tensors that are not within the tolerance, those that only one holds too; total is all of them.
func (r *Report) Differing() (n, total int) {
	for _, t := range r.Tensors {
		if !t.OK {
			n++
		}
	}
	only := len(r.OnlyA) + len(r.OnlyB)
	return n + only, len(r.Tensors) + only
}

// Compare compares every tensor of two checkpoints and explains the differences. It reads both once, and again only what differs.
func Compare(ctx context.Context, a, b *arch.Model, o Options) (*Report, error) {
	x, y, err := readings(a, b)
	if err != nil {
		return nil, err
	}
	r := &Report{Tensors: []Tensor{}, OnlyA: []string{}, OnlyB: []string{}, Notes: append(x.notes, y.notes...)}
	var pairs []*pair
	for _, p := range pairUp(x, y) {
		switch {
		case p.y == nil:
			if !p.x.derived {
				r.OnlyA = append(r.OnlyA, p.x.name)
			}
		case p.x == nil:
			if !p.y.derived {
				r.OnlyB = append(r.OnlyB, p.y.name)
			}
		case p.x.tied && p.y.tied: // one tensor on both sides, which is compared under the source's name
		default:
			pairs = append(pairs, newPair(p.x, p.y, o.Tolerance, true))
		}
	}
	run := &runner{workers: o.Workers, progress: o.Progress}
	if err := run.compare(ctx, pairs); err != nil {
		return nil, err
	}
	if err := explain(ctx, run, pairs, x, y); err != nil {
		return nil, err
	}
	for _, p := range pairs {
		r.Tensors = append(r.Tensors, p.result)
	}
	n, _ := r.Differing()
	r.Equal = n == 0
	return r, nil
}

// Weights compares every tensor of a's family, B judged as a conversion of A. It reads both checkpoints once, and again what
// differs, to explain it. The list is in the order of the table; a tensor that only one has is in it, with the type that it has.
func Weights(ctx context.Context, a, b *arch.Model, workers int) ([]Tensor, error) {
	if a.Family == nil || b.Family != a.Family {
		return nil, formats.Errorf(formats.Unsupported, "the two are not of one known family")
	}
	var sides []*reading
	for _, m := range []*arch.Model{a, b} {
		if err := a.Family.Check(m.Config, m.Scheme); err != nil {
			return nil, formats.Errors(err)[0].At(m.Path(), -1)
		}
		r, err := byTable(m, max(a.Config.Layers, b.Config.Layers))
		if err != nil {
			return nil, err
		}
		sides = append(sides, r)
	}
	var out []Tensor
	var pairs []*pair
	var at []int
	for _, p := range pairUp(sides[0], sides[1]) {
		t := Tensor{Verdict: Missing}
		for _, s := range []struct {
			e    *entry
			typ  *string
			size *[]int64
		}{{p.x, &t.DTypeA, &t.ShapeA}, {p.y, &t.DTypeB, &t.ShapeB}} {
			if s.e == nil {
				continue
			}
			if s.e.row < 0 || s.e.derived && (p.x == nil || p.y == nil) {
				t.Name = "" // follows from the config or is a part of another, or unknown to the table
				break
			}
			if s.e.opaque {
				return nil, formats.Errorf(formats.BadDType, "values of type %s cannot be read", s.e.dtype).In(s.e.stored.Name, "").At(s.e.path, s.e.stored.Offset)
			}
			t.Name, *s.typ, *s.size = s.e.name, string(s.e.dtype), s.e.shape
		}
		if t.Name == "" {
			continue
		}
		if p.x != nil && p.y != nil {
			pairs, at = append(pairs, newPair(p.x, p.y, Tolerance{}, false)), append(at, len(out))
		}
		out = append(out, t)
	}
	run := &runner{workers: workers}
	if err := run.compare(ctx, pairs); err != nil {
		return nil, err
	}
	if err := explain(ctx, run, pairs, sides[0], sides[1]); err != nil {
		return nil, err
	}
	for i, p := range pairs {
		out[at[i]] = p.result
	}
	return out, nil
}

// readings reads both sides by one set of names: the hub's if a table knows them, else the stored ones. A side of no known family is read by the
// other's table if that names all that it holds.
func readings(a, b *arch.Model) (x, y *reading, err error) {
	switch {
	case known(a) && b.Family == nil && b.Foreign == "":
		b = borrowed(a, b)
	case known(b) && a.Family == nil && a.Foreign == "":
		a = borrowed(b, a)
	}
	read := byName
	if known(a) && known(b) && a.Family == b.Family {
		for _, m := range []*arch.Model{a, b} {
			if err := usable(m); err != nil {
				return nil, nil, err
			}
		}
		layers := max(a.Config.Layers, b.Config.Layers)
		read = func(m *arch.Model) (*reading, error) { return byTable(m, layers) }
	}
	if x, err = read(a); err != nil {
		return nil, nil, err
	}
	y, err = read(b)
	return x, y, err
}

// borrowed is a checkpoint of no known family with the parameters of another, if the table of that names all its tensors. What the other declares
// of its ties is not said of this one.
func borrowed(from, m *arch.Model) *arch.Model {
	c, err := from.Reread(m.Checkpoint, nil, nil)
	if err != nil || len(c.Strangers()) > 0 {
		return m
	}
	config := *c.Config
	config.Tie = nil
	c.Config = &config
	return c
}

// couple is the two that have one name; one may be nil.
type couple struct{ x, y *entry }

// pairUp finds what has one name on both sides: in the order of the table, then of the files, a's first.
func pairUp(a, b *reading) []couple {
	index := make(map[string]*entry, len(b.entries))
	for _, e := range b.entries {
		index[e.name] = e
	}
	var out []couple
	for _, e := range a.entries {
		out = append(out, couple{e, index[e.name]})
		delete(index, e.name)
	}
	for _, e := range b.entries {
		if index[e.name] != nil {
			out = append(out, couple{nil, e})
		}
	}
	place := func(c couple) (row int, at int64) {
		e := c.x
		if e == nil {
			e = c.y
		}
		if e.row < 0 {
			return 1 << 30, 0
		}
		return e.row, e.at
	}
	slices.SortStableFunc(out, func(p, q couple) int {
		r, i := place(p)
		s, j := place(q)
		return cmp.Or(cmp.Compare(r, s), cmp.Compare(i, j))
	})
	return out
}

// newPair is a pair to be compared.
func newPair(x, y *entry, tol Tolerance, both bool) *pair {
	p := pairOf(x.logical, y.logical, tol, both)
	p.result.Name = x.name
	return p
}

func pairOf(x, y *logical, tol Tolerance, both bool) *pair {
	if x.order == y.order && x.order != "" && x.dtype == y.dtype && x.as == y.as {
		x, y = x.asStored(), y.asStored()
	}
	p := &pair{x: x, y: y, tol: tol, both: both}
	p.result = Tensor{Name: x.name, DTypeA: string(x.dtype), DTypeB: string(y.dtype), ShapeA: dims(x.shape), ShapeB: dims(y.shape), Verdict: Shape}
	return p
}

func dims(shape []int64) []int64 {
	if shape == nil {
		return []int64{}
	}
	return shape
}

// encodable are the types that values are tried in, to explain a difference.
var encodable = []dtype.Type{dtype.BF16, dtype.F16, dtype.Q8_0}
