package arch

import (
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// Run is consecutive rows of a role in one stored tensor. Rows are counted in the table's orientation, [out, in]: all dimensions but the
// last are rows, and the rows of a vector are its elements.
type Run struct {
	Name   string          // of the tensor in the file
	Tensor *formats.Tensor // nil if it is not stored
	Want   []int64         // the shape that the parameters give it, as it is stored
	Turned bool            // stored as [in, out]
	First  int64           // row of the tensor
	Rows   int64
}

// Find is where a checkpoint holds a role of a layer: the runs that make it up, in order. It is nil if no tensor of any form that the
// scheme has for it is stored; where one is, the others of its form may be missing.
func (m *Model) Find(spec *Tensor, i int64) []Run {
	for _, name := range append([]string{spec.Name[m.Scheme]}, spec.Also[m.Scheme]...) {
		if name == "" {
			continue
		}
		if runs := m.own(spec, m.Called(layer(name, i))); runs != nil {
			return runs
		}
	}
	for k := range m.Family.Fused {
		u := &m.Family.Fused[k]
		if name := u.In(m.Scheme, i); name != "" && slices.Contains(u.Parts, spec.Role) {
			if t := m.Lookup(m.Called(name)); t != nil {
				return m.part(u, spec, t, m.Called(name))
			}
		}
	}
	return nil
}

// Missing is what a role that is not stored should be called.
func (m *Model) Missing(spec *Tensor, i int64) string {
	table := m.Family.Table(m.Config.Architecture)
	name := table.Names(m.Scheme, spec.Role, i)
	if u := table.FusedWith(m.Scheme, spec.Role); name == "" && u != nil {
		name = u.In(m.Scheme, i)
	}
	return m.Called(Expert(name, 0))
}

// own finds a role that has tensors of its own: one, or one for each expert.
func (m *Model) own(spec *Tensor, name string) []Run {
	dims := m.Dims(spec)
	turned := spec.Kind == Linear && m.Family.Layouts[m.Scheme].InOut
	if !Split(name) {
		if t := m.Lookup(name); t != nil {
			return []Run{{Name: name, Tensor: t, Want: turn(dims, turned), Turned: turned, Rows: rows(dims)}}
		}
		return nil
	}
	var runs []Run
	any := false
	for e := range dims[0] {
		one := Run{Name: Expert(name, e), Want: turn(dims[1:], turned), Turned: turned, Rows: rows(dims[1:])}
		one.Tensor = m.Lookup(one.Name)
		any = any || one.Tensor != nil
		if e == 0 && !any && dims[0] > 1 && m.Lookup(Expert(name, 1)) == nil {
			return nil // a hundred thousand lookups would not find more
		}
		runs = append(runs, one)
	}
	if !any {
		return nil
	}
	return runs
}

// part finds a role within a fused tensor.
func (m *Model) part(u *Fused, spec *Tensor, t *formats.Tensor, name string) []Run {
	turned := spec.Kind == Linear && m.Family.Layouts[m.Scheme].InOut
	groups, mine := int64(1), m.Dims(spec)
	if len(mine) == 3 {
		groups = mine[0]
	}
	whole, before := slices.Clone(mine), int64(0) // rows of a group that come before the part
	axis := max(len(mine)-2, 0)
	whole[axis] = 0
	sum := int64(0)
	for _, role := range u.Parts {
		d := m.Dims(m.Family.Tensor(role))
		if role == spec.Role {
			before = sum
		}
		whole[axis] += d[axis]
		sum += rows(d) / max(groups, 1)
	}
	n := rows(mine) / max(groups, 1)
	if before == 0 && n == sum {
		groups, n = 1, rows(mine)
	}
	var runs []Run
	for g := range groups {
		runs = append(runs, Run{Name: name, Tensor: t, Want: turn(whole, turned), Turned: turned, First: g*sum + before, Rows: n})
	}
	return runs
}

// Hub puts the runs of a role into the order that the hub has its rows in.
func (m *Model) Hub(spec *Tensor, runs []Run) []Run {
	f := spec.Blocks[m.Scheme]
	if f == nil || len(runs) != 1 {
		return runs
	}
	outer, inner := f(m.Config)
	if outer <= 1 || inner <= 1 || runs[0].Rows%(outer*inner) != 0 {
		return runs
	}
	n := runs[0].Rows / (outer * inner)
	var out []Run
	for o := range outer {
		for i := range inner {
			r := runs[0]
			r.First, r.Rows = r.First+(i*outer+o)*n, n
			out = append(out, r)
		}
	}
	return out
}

// Dims is the shape of a tensor by the parameters, in the table's orientation.
func (m *Model) Dims(spec *Tensor) []int64 {
	out := make([]int64, len(spec.Shape))
	for i, dim := range spec.Shape {
		out[i] = dim(m.Config)
	}
	return out
}

// rows is how many rows a shape has.
func rows(dims []int64) int64 {
	n := int64(1)
	for _, d := range dims[:max(len(dims)-1, 1)] {
		n *= d
	}
	return n
}

// turn is a shape as it is stored.
func turn(dims []int64, turned bool) []int64 {
	if out := slices.Clone(dims); turned && len(out) == 2 {
		slices.Reverse(out)
		return out
	}
	return dims
}

// wrap is how the names of a file differ from the table's: the beginning that stands for the family's Base, and what comes before the others.
type wrap struct{ base, other string }

// wraps are the ways in which a file of HF's names may wrap them: as the table has them, as the model without a head is saved, and as the
// language model within another, in the order of transformers 5, of 4, and of what either saves from the inner model.
func wraps(base string) []wrap {
	return []wrap{{base, ""}, {"", ""}, {"model.language_model.", ""}, {"language_model." + base, "language_model."}, {"language_model.", ""}}
}

// Headless reports whether the file's names are those of the model without a head.
func (m *Model) Headless() bool { return m.wrap != nil && *m.wrap == wrap{} }

// Called is the name that the file has for what the table calls name.
func (m *Model) Called(name string) string {
	if m.wrap == nil || name == "" {
		return name
	}
	if rest, ok := strings.CutPrefix(name, m.Family.Base); ok {
		return m.wrap.base + rest
	}
	return m.wrap.other + name
}
