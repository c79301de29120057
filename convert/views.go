package convert

import (
	"slices"
	"sync/atomic"

	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/view"
)

// open chains the views of a step.
func (p *Plan) open(i int, lost *atomic.Int64) (view.View, error) {
	step, t := p.Steps[i], p.Target.Tensors[i]
	var parts []view.View
	cols, dt := int64(1), t.DType
	for _, part := range step.Parts {
		src := p.Source.Lookup(part.From)
		r, err := p.Source.Open(part.From)
		if err != nil {
			return nil, err
		}
		dt = src.DType
		if len(src.Shape) > 0 {
			cols = src.Shape[len(src.Shape)-1]
		}
		if len(src.Shape) < 2 {
			cols = dt.BlockElems() // a vector's rows are its elements; those of blocks the layout stage does not move
		}
		row := bytesOf(cols, dt)
		unit := max(dt.BlockBytes(), 1) // not the row, which may be as large as the tensor
		if moves(part.Ops) || moves(step.Ops) {
			unit = row
		}
		v, err := chain(view.Source(r, src.Bytes, unit), part.Ops, &row, dt, lost)
		if err != nil {
			return nil, err
		}
		parts = append(parts, v)
	}
	row := bytesOf(cols, dt)
	var v view.View
	switch len(parts) {
	case 0:
		v = view.Const(nil)
	case 1:
		v = parts[0]
	default:
		v = view.Join(parts...)
	}
	if n := len(step.Parts); n > 0 { // what the parts have become
		for _, op := range step.Parts[n-1].Ops {
			if op.Kind == "cast" {
				dt = op.To
			}
		}
	}
	return chain(v, step.Ops, &row, dt, lost)
}

// moves reports whether operations take rows from where they are.
func moves(ops []Op) bool {
	return slices.ContainsFunc(ops, func(o Op) bool { return o.Kind == "rows" || o.Kind == "slice" || o.Kind == "transpose" })
}

// bytesOf is the size of values that fill whole blocks.
func bytesOf(values int64, dt dtype.Type) int64 { return values / dt.BlockElems() * dt.BlockBytes() }

// chain lays the operations over a view of values of type t; row is the size of a row, which a cast and a transposition change.
func chain(v view.View, ops []Op, row *int64, t dtype.Type, lost *atomic.Int64) (view.View, error) {
	for _, op := range ops {
		switch op.Kind {
		case "rows":
			v = view.Rows(v, op.Heads, op.Dir, *row)
		case "slice":
			v = view.Slice(v, op.Lo, op.Hi, *row)
		case "transpose":
			size := t.BlockBytes()
			rows, cols := v.Size()/max(*row, 1), *row/size
			v = view.Transpose(v, rows, cols, size)
			*row = rows * size
		case "add":
			v = view.Add(v, op.Value)
		case "cast":
			t = op.To
			v = view.Cast(v, op.From, op.To, lost)
			*row = *row / op.From.BlockBytes() * op.From.BlockElems() / op.To.BlockElems() * op.To.BlockBytes()
		case "const":
			v = view.Const(op.Data)
		default:
			panic("convert: unknown operation " + op.Kind)
		}
	}
	return v, nil
}
