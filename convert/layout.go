package convert

import (
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"
	"slices"

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
			perHead := rowsOf(it.shape) / it.spec.Rotary(d.m.Config)
			for k := range it.runs {
				r := &it.runs[k]
				r.ops = append(r.ops[:len(r.ops):len(r.ops)], Op{Kind: "rows", Heads: (r.hi - r.lo) / perHead, Dir: dir})
			}
		}
		if c := d.shift(it.spec); c != 0 {
			if it.from != dtype.F32 {
				it.ops = append(it.ops, Op{Kind: "cast", From: it.from, To: dtype.F32})
			}
			it.ops, it.from = append(it.ops, Op{Kind: "add", Value: c}), dtype.F32
		}
		if err := d.movable(it); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// shift is what is added to a tensor of the source, in float32, to make it the target's: the programs of the two schemes add different
// numbers to a norm before they use it.
func (d *draft) shift(spec *arch.Tensor) float32 {
	if spec == nil || spec.Kind != arch.Norm || d.m.Scheme == d.t.Scheme {
		return 0
	}
	return d.m.Family.Layouts[d.m.Scheme].NormShift - d.m.Family.Layouts[d.t.Scheme].NormShift
}

// movable refuses to move elements that have no bytes of their own: rows move as bytes.
func (d *draft) movable(it *item) error {
	if !moved(it.runs) || it.from.BlockElems() <= 1 {
		return nil
	}
	if len(it.shape) > 1 {
		if slices.ContainsFunc(it.runs, func(r run) bool { return r.turned }) {
			return quantizedTurn(it).At(d.m.Path(), -1)
		}
		return nil
	}
	t := d.m.Lookup(it.runs[0].from)
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
