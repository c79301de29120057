package convert

import (
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/view"
)

// layout adds the operations that follow from the layout facts in which the two schemes differ. Where they agree, nothing is added and bytes
// are copied.
func (d *draft) layout() error {
	if d.keep || d.m.Scheme == d.t.Scheme {
		return nil
	}
	from, to := d.m.Family.Layouts[d.m.Scheme], d.m.Family.Layouts[d.t.Scheme]
	var errs []error
	for _, it := range d.items {
		if it.spec != nil && it.spec.Rotary != nil && from.Rope != to.Rope {
			dir := view.Interleave
			if to.Rope == arch.Half {
				dir = view.Halve
			}
			it.ops = append(it.ops, Op{Kind: "rows", Heads: it.spec.Rotary(d.m.Config), Dir: dir})
		}
		if err := d.movable(it); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// movable refuses to move elements that have no bytes of their own: rows move as bytes.
func (d *draft) movable(it *item) error {
	moved := moves(it.ops)
	for _, p := range it.parts {
		moved = moved || moves(p.Ops)
	}
	if !moved || len(it.shape) > 1 || it.from.BlockElems() == 1 {
		return nil
	}
	t := d.m.Lookup(it.parts[0].From)
	e := formats.Errorf(formats.BadDType, "rows of a quantized vector cannot be moved; %s has one scale for %d of them", it.from, it.from.BlockElems()).
		In(t.Name, "").At(filepath.Join(d.m.Dir, t.File), -1)
	if d.m.Scheme == arch.GGUF {
		e = e.Hinted("convert it to GGUF with --dtype f32 first")
	}
	return e
}

// constant is a tensor that the parameters imply.
func constant(spec *arch.Tensor, name string, v []float32) *item {
	b := make([]byte, 4*len(v))
	for i, f := range v {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(f))
	}
	return &item{spec: spec, name: name, shape: []int64{int64(len(v))}, from: dtype.F32, ops: []Op{{Kind: "const", Data: b}}}
}
