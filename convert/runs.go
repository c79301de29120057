package convert

import (
	"slices"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
)

// run is consecutive rows of a stored tensor, in the table's orientation, and what is done to them. An item is made of runs, one after the other.
type run struct {
	from   string
	turned bool  // stored as [in, out]
	lo, hi int64 // rows
	of     int64 // rows of the whole tensor
	ops    []Op
}

// whole is a stored tensor as it is.
func whole(t *formats.Tensor) run {
	n := rowsOf(t.Shape)
	return run{from: t.Name, hi: n, of: n}
}

// rowsOf is how many rows a shape has: all dimensions but the last are rows, and a vector's rows are its elements.
func rowsOf(shape []int64) int64 {
	n := int64(1)
	for i, d := range shape {
		if i < len(shape)-1 || i == 0 {
			n *= d
		}
	}
	return n
}

// found are the runs of a role, for whose tensors the names stage has checked that they are there.
func found(runs []arch.Run) []run {
	var out []run
	for _, r := range runs {
		shape := r.Tensor.Shape
		if r.Turned && len(shape) == 2 {
			shape = []int64{shape[1], shape[0]}
		}
		n := run{from: r.Tensor.Name, turned: r.Turned && len(shape) == 2, lo: r.First, hi: r.First + r.Rows, of: rowsOf(shape)}
		if r.First == 0 && len(runs) == 1 && !slices.Equal(r.Want, r.Tensor.Shape) {
			n.hi = n.of // a matrix with padded rows, which the ties stage judges
		}
		out = append(out, n)
	}
	return out
}

// cut is rows lo to hi of what runs make up. Nothing may have been done to them yet.
func cut(runs []run, lo, hi int64) []run {
	var out []run
	at := int64(0)
	for _, r := range runs {
		n := r.hi - r.lo
		if from, to := max(lo, at), min(hi, at+n); from < to {
			out = append(out, run{from: r.from, turned: r.turned, lo: r.lo + from - at, hi: r.lo + to - at, of: r.of, ops: r.ops})
		}
		at += n
	}
	return out
}

// moved reports whether rows are taken from where they are.
func moved(runs []run) bool {
	return len(runs) > 1 || slices.ContainsFunc(runs, func(r run) bool { return r.turned || r.lo > 0 || r.hi < r.of || moves(r.ops) })
}

// step is what makes an item. Runs that follow each other in one tensor are one, so that equal layouts are byte copies; what is done to the only
// part there is done to the whole.
func (it *item) step() Step {
	var merged []run
	for _, r := range it.runs {
		if n := len(merged); n > 0 && merged[n-1].from == r.from && merged[n-1].hi == r.lo && len(merged[n-1].ops) == 0 && len(r.ops) == 0 {
			merged[n-1].hi = r.hi
			continue
		}
		merged = append(merged, r)
	}
	s := Step{Ops: it.ops}
	if len(merged) == 1 && len(merged[0].ops) > 0 {
		s.Ops = append(slices.Clone(merged[0].ops), it.ops...)
		merged[0].ops = nil
	}
	for _, r := range merged {
		var ops []Op
		if r.turned {
			ops = append(ops, Op{Kind: "transpose"})
		}
		if r.lo > 0 || r.hi < r.of {
			ops = append(ops, Op{Kind: "slice", Lo: r.lo, Hi: r.hi})
		}
		s.Parts = append(s.Parts, Part{From: r.from, Ops: append(ops, r.ops...)})
	}
	return s
}
