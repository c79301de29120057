package diff

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/view"
)

// logical is a tensor in the hub's layout.
type logical struct {
	name   string // in the hub's names
	stored *formats.Tensor
	path   string // of its file, for errors
	kind   arch.Kind
	view   view.View
	dtype  dtype.Type // as stored
	as     dtype.Type // in the view
	shape  []int64
	opaque bool // no values can be read, only bytes
	heads  int64
	// plain is the view before its rows were put into the hub's order, and order what was done: two tensors with the same order may be
	// compared as they are stored.
	plain view.View
	order string
	row   int64 // bytes of a row in the view
}

// elems is the number of values, bytes the size of values that fill whole blocks, values what a size holds.
func (l *logical) elems() int64             { n, _ := formats.Elems(l.shape); return n }
func (l *logical) bytes(values int64) int64 { return values / l.as.BlockElems() * l.unit() }
func (l *logical) values(bytes int64) int64 { return bytes / l.unit() * l.as.BlockElems() }

// unit is the size of a block; a type that nobody knows is bytes.
func (l *logical) unit() int64 { return max(l.as.BlockBytes(), 1) }

// cols is the length of a row: a vector is one row.
func (l *logical) cols() int64 {
	if len(l.shape) == 0 {
		return 1
	}
	return l.shape[len(l.shape)-1]
}

// read fills p with the bytes of the values from at on.
func (l *logical) read(p []byte, at int64) error {
	if _, err := l.view.ReadAt(p, l.bytes(at)); err != nil {
		return l.failed(err)
	}
	return nil
}

// failed places an error of reading.
func (l *logical) failed(err error) error {
	if formats.CodeOf(err) == formats.IO {
		return formats.Errorf(formats.IO, "%w", err).In(l.stored.Name, "").At(l.path, l.stored.Offset)
	}
	return formats.At(err, l.path)
}

// source opens a stored tensor as it is.
func source(m *arch.Model, t *formats.Tensor) (*logical, error) {
	r, err := m.Open(t.Name)
	if err != nil {
		return nil, formats.At(err, m.Path())
	}
	l := &logical{name: t.Name, stored: t, path: m.Path(), dtype: t.DType, as: t.DType, shape: t.Shape, opaque: !t.DType.CanDecode()}
	if t.File != "" {
		l.path = m.Dir + "/" + t.File
	}
	l.row = l.unit() // the rows of a vector that move are its elements
	if len(t.Shape) > 1 {
		if rows := l.elems() / max(l.cols(), 1); rows > 0 {
			l.row = t.Bytes / rows
		}
	}
	l.view = view.Source(r, t.Bytes, l.unit())
	l.plain = l.view
	return l, nil
}

// find opens a role of a layer, wherever the file holds it. Nil if it does not, or not all of it.
func find(m *arch.Model, spec *arch.Tensor, i int64) (*logical, error) {
	runs := m.Find(spec, i)
	if len(runs) == 0 || slices.ContainsFunc(runs, func(r arch.Run) bool { return r.Tensor == nil }) {
		return nil, nil
	}
	t := runs[0].Tensor
	l, err := source(m, t)
	if err != nil {
		return nil, err
	}
	l.name, l.kind = spec.In(arch.HF, i), spec.Kind
	if u := m.Family.FusedWith(arch.HF, spec.Role); u != nil && l.name == "" { // the hub holds it as a part
		l.name = u.In(arch.HF, i) + "/" + spec.Role
	}
	if l.name == "" {
		l.name = t.Name
	}
	if err := l.gather(m, spec, runs); err != nil {
		return nil, err
	}
	return l, l.hub(m, spec)
}

// gather makes l of its runs, in the table's orientation. A tensor that is the role as a whole stays as it is, whatever its shape: what is wrong
// with it is for the comparison to say.
func (l *logical) gather(m *arch.Model, spec *arch.Tensor, runs []arch.Run) error {
	dims := m.Dims(spec)
	bad := func(t *formats.Tensor, want []int64) error {
		return formats.Errorf(formats.BadShape, "got shape %v, want %v by the config", t.Shape, want).In(t.Name, "").At(l.path, t.Offset)
	}
	t := runs[0].Tensor
	if w := runs[0].Want; len(runs) == 1 && len(m.Hub(spec, runs)) == 1 && !runs[0].Turned && slices.Equal(w, dims) {
		if spec.Rotary != nil && (len(t.Shape) == 0 || t.Shape[0] != dims[0]) {
			return bad(t, w)
		}
		return nil
	}
	runs = m.Hub(spec, runs)
	var parts []view.View
	l.shape = dims
	for _, r := range runs {
		if !slices.Equal(r.Tensor.Shape, r.Want) {
			return bad(r.Tensor, r.Want)
		}
		if r.Tensor.DType != l.dtype || len(dims) < 2 && l.dtype.BlockElems() > 1 { // the elements of a block move one by one
			l.as = dtype.F32
		}
		l.opaque = l.opaque || !r.Tensor.DType.CanDecode() || r.Turned && l.dtype.BlockElems() > 1
	}
	if l.opaque {
		return formats.Errorf(formats.BadDType, "values of type %s cannot be taken from within it", l.dtype).In(t.Name, "").At(l.path, t.Offset)
	}
	for _, r := range runs {
		one, err := source(m, r.Tensor)
		if err != nil {
			return err
		}
		if one.dtype != l.as {
			one.row = one.row / max(one.unit(), 1) * one.dtype.BlockElems() * l.as.BlockBytes()
			one.view, one.as = view.Cast(one.view, one.dtype, l.as, new(atomic.Int64)), l.as
		}
		if r.Turned && len(r.Want) == 2 {
			one = turned(one)
		}
		l.row = one.row
		parts = append(parts, view.Slice(one.view, r.First, r.First+r.Rows, one.row))
	}
	if l.view = parts[0]; len(parts) > 1 {
		l.view = view.Join(parts...)
	}
	return nil
}

// hub puts a tensor into the hub's layout: each layout fact in which the scheme differs from the hub is undone here. Norms are the gain that is
// applied, whatever part of it a layout stores.
func (l *logical) hub(m *arch.Model, spec *arch.Tensor) error {
	layout := m.Family.Layouts[m.Scheme]
	from, to := layout.Rope, m.Family.Layouts[arch.HF].Rope
	permuted := spec.Rotary != nil && from != to
	if spec.Rotary != nil {
		l.heads = spec.Rotary(m.Config)
	}
	shifted := spec.Kind == arch.Norm && layout.NormShift != 0 && !l.opaque
	if len(l.shape) < 2 && l.as.BlockElems() > 1 && !l.opaque && permuted || shifted && l.as != dtype.F32 {
		l.view = view.Cast(l.view, l.as, dtype.F32, new(atomic.Int64))
		l.as, l.row = dtype.F32, dtype.F32.BlockBytes()
	}
	if shifted {
		l.view = view.Add(l.view, layout.NormShift)
	}
	l.plain = l.view
	if !permuted || l.row == 0 {
		return nil
	}
	if l.heads <= 0 || l.shape[0]%l.heads != 0 || l.shape[0]/l.heads%2 != 0 {
		return formats.Errorf(formats.BadShape, "got %d rows, want an even number for each of %d heads", l.shape[0], l.heads).In(l.stored.Name, "").At(l.path, l.stored.Offset)
	}
	dir := view.Halve
	if to == arch.Interleaved {
		dir = view.Interleave
	}
	l.order = fmt.Sprintf("%s in %d", dir, l.heads)
	l.view = view.Rows(l.view, l.heads, dir, l.row)
	return nil
}

// asStored is l without its order.
func (l *logical) asStored() *logical {
	c := *l
	c.view, c.order = l.plain, ""
	return &c
}
