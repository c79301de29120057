package diff

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
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

// find opens a role of a layer: its own tensor, or a part of a fused one. Nil if the file holds neither.
func find(m *arch.Model, spec *arch.Tensor, i int64) (*logical, error) {
	var t *formats.Tensor
	if name := spec.In(m.Scheme, i); name != "" {
		t = m.Lookup(name)
	}
	lo, hi := int64(0), int64(0)
	if t == nil {
		t, lo, hi = fused(m, spec.Role, i)
	}
	if t == nil {
		return nil, nil
	}
	l, err := source(m, t)
	if err != nil {
		return nil, err
	}
	l.name, l.kind = spec.In(arch.HF, i), spec.Kind
	if l.name == "" {
		l.name = t.Name
	}
	rows := int64(-1)
	if len(t.Shape) > 0 {
		rows = t.Shape[0]
	}
	if hi > rows && hi > lo || hi == lo && spec.Rotary != nil && rows != spec.Shape[0](m.Config) {
		return nil, formats.Errorf(formats.BadShape, "got shape %v, want %d rows by the config", t.Shape, max(hi, spec.Shape[0](m.Config))).In(t.Name, "").At(l.path, t.Offset)
	}
	return l, l.hub(m, spec, lo, hi)
}

// fused finds the tensor that a role is a part of, and its rows there.
func fused(m *arch.Model, role string, i int64) (t *formats.Tensor, lo, hi int64) {
	for _, u := range m.Family.Fused {
		name := strings.ReplaceAll(u.Name[m.Scheme], "{i}", strconv.FormatInt(i, 10))
		if name == "" || !slices.Contains(u.Parts, role) {
			continue
		}
		if t = m.Lookup(name); t == nil {
			continue
		}
		for _, r := range u.Parts {
			hi = lo + m.Family.Tensor(r).Shape[0](m.Config)
			if r == role {
				return t, lo, hi
			}
			lo = hi
		}
	}
	return nil, 0, 0
}

// hub puts rows lo to hi (all if both are 0) of a stored tensor into the hub's layout: each layout fact in which the scheme differs from the hub
// is undone here. Norms are the gain that is applied: a layout that stores it less one would add it here.
func (l *logical) hub(m *arch.Model, spec *arch.Tensor, lo, hi int64) error {
	from, to := m.Family.Layouts[m.Scheme].Rope, m.Family.Layouts[arch.HF].Rope
	permuted := spec.Rotary != nil && from != to
	if spec.Rotary != nil {
		l.heads = spec.Rotary(m.Config)
	}
	if len(l.shape) < 2 && l.dtype.BlockElems() > 1 && !l.opaque && (hi > lo || permuted) { // the elements of a block move one by one
		l.as = dtype.F32
		l.view = view.Cast(l.view, l.dtype, l.as, new(atomic.Int64))
		l.row = l.as.BlockBytes()
	}
	if hi > lo {
		l.shape = append([]int64{hi - lo}, l.shape[1:]...)
		l.view = view.Slice(l.view, lo, hi, l.row)
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
