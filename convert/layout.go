package convert

import (
	"encoding/binary"
	"math"

	"github.com/bowline-ml/bowline/arch"
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
	for _, it := range d.items {
		if it.spec == nil || it.spec.Rotary == nil || from.Rope == to.Rope {
			continue
		}
		dir := view.Interleave
		if to.Rope == arch.Half {
			dir = view.Halve
		}
		it.ops = append(it.ops, Op{Kind: "rows", Heads: it.spec.Rotary(d.m.Config), Dir: dir})
	}
	return nil
}

// constant is a tensor that the parameters imply.
func constant(spec *arch.Tensor, name string, v []float32) *item {
	b := make([]byte, 4*len(v))
	for i, f := range v {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(f))
	}
	return &item{spec: spec, name: name, shape: []int64{int64(len(v))}, from: dtype.F32, ops: []Op{{Kind: "const", Data: b}}}
}
