package pytorch

import (
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// maxRepeat is how many times a tensor of any size may repeat its storage.
const maxRepeat = 16

// persistent is the storage that ('storage', class, key, location, numel) describes.
func (m *machine) persistent(id any) {
	if m.fatal != nil {
		return
	}
	t, ok := id.(*node)
	parts, want := 5, "('storage', class, key, location, numel)"
	if m.legacy != nil {
		parts, want = 6, "('storage', class, key, location, numel, part)"
	}
	if m.bare {
		m.fail(formats.BadType, "got a persistent id, want plain values")
		return
	}
	if ok && m.legacy != nil && t.kind == tuple && len(t.items) == 4 && t.items[0] == text("module") {
		m.push(t.items[1]) // a class of modules, with its source text
		return
	}
	if !ok || t.kind != tuple || len(t.items) != parts || t.items[0] != text("storage") {
		m.fail(formats.BadType, "got a persistent id that is %s, want %s", describe(id), want)
		return
	}
	class, isClass := t.items[1].(*global)
	key, isKey := t.items[2].(text)
	_, isPlace := t.items[3].(text)
	numel, isInt := t.items[4].(int64)
	if !isClass || !isKey || !isPlace || !isInt {
		m.fail(formats.BadType, "got a persistent id of (%s, %s, %s, %s), want a class, a key, a location and a count", describe(t.items[1]),
			describe(t.items[2]), describe(t.items[3]), describe(t.items[4]))
		return
	}
	s := m.storages[string(key)]
	if s == nil {
		if !m.spend(storageBytes) {
			return
		}
		s = &storage{key: string(key), class: class.String(), at: int32(m.op), numel: numel}
		m.storages[s.key] = s
		if m.storageType(s, class) {
			m.place(s)
		}
		if m.legacy != nil && m.legacy.views[s.key] != nil {
			m.tell(formats.Mismatch, "got storage \"%s\", whose key a part of another has", clip(s.key))
		}
	} else if s.class != class.String() || s.numel != numel {
		m.tell(formats.Mismatch, "got storage \"%s\" as %d elements of %s, but as %d of %s before", clip(string(key)), numel, class, s.numel, s.class)
	}
	if m.legacy != nil && t.items[5] != nil {
		if s = m.view(s, t.items[5]); m.fatal != nil {
			return
		}
	}
	m.push(s)
}

// persistentText is the same in protocol 0, which has ids as lines of text: Python's print of the tuple. torch writes it and cannot read it.
func (m *machine) persistentText(s string) {
	if m.bare || m.legacy != nil {
		m.fail(formats.BadType, "got a persistent id in text, which no such file has")
		return
	}
	var class, key, place string
	var numel int64
	rest, ok := strings.CutPrefix(s, "('storage', <class 'torch.")
	if ok {
		class, rest, ok = strings.Cut(rest, "'>, '")
	}
	if ok {
		key, rest, ok = strings.Cut(rest, "', '")
	}
	if ok {
		place, rest, ok = strings.Cut(rest, "', ")
	}
	if ok {
		numel, ok = decimal(strings.TrimSuffix(rest, ")"))
	}
	if m.fatal != nil {
		return
	}
	if !ok || !strings.HasSuffix(rest, ")") {
		m.fail(formats.BadType, "got persistent id \"%s\", want ('storage', <class 'torch.NAME'>, 'KEY', 'LOCATION', NUMBER)", clip(s))
		return
	}
	module := "torch"
	if class == "storage.UntypedStorage" {
		module, class = "torch.storage", "UntypedStorage"
	}
	g := &global{module: module, name: class, full: module + "." + class, at: int32(m.op)}
	m.persistent(&node{kind: tuple, at: int32(m.op), items: []any{text("storage"), g, text(key), text(place), numel}})
}

func decimal(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// tell keeps a problem after which the run goes on.
func (m *machine) tell(code formats.Code, format string, args ...any) *problem {
	if len(m.problems) >= maxTold {
		m.more++
		return &problem{}
	}
	p := m.problem(code, format, args...)
	m.problems = append(m.problems, p)
	return p
}

// storageType finds the element type of a class of storages.
func (m *machine) storageType(s *storage, class *global) bool {
	s.wrong = true
	if untyped[class.String()] {
		s.dtype, s.item, s.wrong = dtype.U8, 1, false
		return true
	}
	if class.module == "torch" || class.module == "torch.cuda" { // torch looks at the name alone (torch/serialization.py, StorageType)
		if known, ok := find(func(x scalar) bool { return x.storage == class.name && x.storage != "" }); ok {
			s.dtype, s.item, s.wrong = known.dtype, known.dtype.BlockBytes(), false
			return true
		}
		for _, o := range others {
			if o.storage == class.name && o.storage != "" {
				s.foreign, s.item = class.name, o.bytes // told for the tensors that use it
				return m.legacy != nil                  // there it has to be found, or those behind it are not
			}
		}
	}
	m.tell(formats.BadDType, "got a storage of %s, want one of torch's classes of storages", formats.Escape(class.String(), 200))
	return false
}

// place finds the record of a storage. Its size has to be right to the byte.
func (m *machine) place(s *storage) {
	s.wrong = true
	bad := func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_')
	}
	if s.key == "" || len(s.key) > 64 || strings.ContainsFunc(s.key, bad) {
		m.tell(formats.BadPath, "got storage key \"%s\", want at most 64 letters and digits", clip(s.key))
		return
	}
	hi, lo := bits.Mul64(uint64(s.numel), uint64(s.item))
	if s.numel < 0 || hi != 0 || lo > math.MaxInt64 {
		m.tell(formats.Overflow, "got a storage of %d elements of %s, whose bytes 63 bits do not count", s.numel, s.class)
		return
	}
	if m.legacy != nil { // where it is, the keys behind the pickle say
		if int64(lo) > m.legacy.size {
			m.tell(formats.Bounds, "got a storage of %d bytes in a file of %d", lo, m.legacy.size)
			return
		}
		s.bytes, s.wrong = int64(lo), false
		if m.blocks += int64(lo) + 8; m.blocks <= m.legacy.size { // there is room for all of them
			m.vouched += blockBytes
		}
		return
	}
	at, n, ok := m.records(s.key)
	switch {
	case !ok:
		m.tell(formats.Missing, "there is no record data/%s for a storage of %d bytes", s.key, lo)
	case n != int64(lo):
		m.tell(formats.Mismatch, "got a record data/%s of %d bytes, want %d for %d elements of %s", s.key, n, lo, s.numel, s.class)
	default:
		s.data, s.bytes, s.wrong = at, n, false
		m.vouched += recordBytes
	}
}

// rebuild is _rebuild_tensor(storage, offset, size, stride), with requires_grad and hooks behind them in v2 and also the element type
// in v3, and in both perhaps metadata.
func (m *machine) rebuild(f *global, args []any) any {
	least, most := 6, 7
	switch f.name {
	case "_rebuild_tensor":
		least, most = 4, 4
	case "_rebuild_tensor_v3":
		least, most = 7, 8
	}
	if len(args) < least || len(args) > most {
		m.fail(formats.BadType, "got %d arguments of %s, want %d to %d", len(args), f, least, most)
		return nil
	}
	s, isStorage := args[0].(*storage)
	offset, isInt := args[1].(int64)
	shape, isShape := ints(args[2])
	stride, isStride := ints(args[3])
	if !isStorage || !isInt || !isShape || !isStride {
		m.fail(formats.BadType, "got arguments %s, %s, %s, %s of %s, want a storage, an int and two tuples of ints", describe(args[0]), describe(args[1]),
			describe(args[2]), describe(args[3]), f)
		return nil
	}
	if !m.spend(tensorBytes) {
		return nil
	}
	t := &tensor{at: int32(m.op), storage: s, dtype: s.dtype, offset: offset, shape: shape, stride: stride}
	if len(m.tensors) == cap(m.tensors) {
		m.tensors = slices.Grow(m.tensors, len(m.tensors)+64)
	}
	m.tensors = append(m.tensors, t)
	name := ""
	if f.name == "_rebuild_tensor_v3" {
		g, ok := args[6].(*global)
		if !ok || g.module != "torch" {
			m.fail(formats.BadType, "got %s as the element type, want a name of torch", describe(args[6]))
			return nil
		}
		name = g.name
		known, _ := find(func(x scalar) bool { return x.name == name })
		t.dtype = known.dtype
	}
	switch {
	case s.foreign != "":
		t.problem = m.problem(formats.BadDType, "got elements of %s, want one of %v", s.foreign, dtypes)
	case t.dtype == "" && name != "":
		t.problem = m.problem(formats.BadDType, "got elements of torch.%s, want one of %v", clip(name), dtypes)
	case !s.wrong:
		t.problem = m.check(t)
	}
	if t.problem == nil && m.big && s.foreign == "" && width(t.dtype) != width(s.dtype) {
		t.problem = m.problem(formats.Unsupported, "got elements of %s in a big-endian storage of %s: torch swaps the bytes of the latter, which gives other values",
			t.dtype, s.class)
	}
	if t.problem == nil && len(args) == most && most > 4 {
		t.problem = m.lazy(args[most-1])
	}
	if t.problem != nil && !m.spend(tensorBytes) {
		return nil
	}
	return t
}

// ints is a tuple of integers.
func ints(v any) ([]int64, bool) {
	n, ok := v.(*node)
	if !ok || n.kind != tuple && n.kind != list {
		return nil, false
	}
	if len(n.items) == 0 {
		return nil, true
	}
	out := make([]int64, len(n.items))
	for i, v := range n.items {
		if out[i], ok = v.(int64); !ok {
			return nil, false
		}
	}
	return out, true
}

// check proves that a tensor is within its storage, and finds its size.
func (m *machine) check(t *tensor) *problem {
	if len(t.shape) != len(t.stride) {
		return m.problem(formats.BadShape, "got %d dimensions and %d strides", len(t.shape), len(t.stride))
	}
	if len(t.shape) > maxRank {
		return m.problem(formats.Limit, "got %d dimensions, want at most %d", len(t.shape), maxRank)
	}
	for i, d := range t.shape {
		if d < 0 {
			return m.problem(formats.BadShape, "got shape %v, want no negative dimension", t.shape)
		}
		if t.stride[i] < 0 {
			return m.problem(formats.BadShape, "got strides %v, want none negative", t.stride)
		}
	}
	if t.offset < 0 {
		return m.problem(formats.Bounds, "got storage offset %d", t.offset)
	}
	n, err := formats.TensorBytes(t.dtype, t.shape)
	if err != nil {
		e := formats.Errors(err)[0]
		return m.problem(e.Code, "%s", e.Message)
	}
	t.bytes = n
	if n == 0 {
		return nil // it touches no byte; slices of empty tensors have any offset
	}
	last := uint64(t.offset) // the highest element; all terms are below 2^63
	for i, d := range t.shape {
		hi, lo := bits.Mul64(uint64(d-1), uint64(t.stride[i]))
		if last += lo; hi != 0 || lo > math.MaxInt64 || last > math.MaxInt64 {
			return m.problem(formats.Overflow, "got offset %d, shape %v and strides %v, which 63 bits do not count", t.offset, t.shape, t.stride)
		}
	}
	if have := t.storage.bytes / t.dtype.BlockBytes(); last >= uint64(have) {
		return m.problem(formats.Bounds, "got offset %d, shape %v and strides %v, which reach element %d of a storage of %d", t.offset, t.shape, t.stride, last, have)
	}
	if n/maxRepeat > t.storage.bytes && n > m.bounds.Of(formats.ExpandedBound) {
		p := m.problem(formats.Limit, "got a tensor of %d bytes expanded from a storage of %d", n, t.storage.bytes)
		p.hint = formats.ExpandedBound.Hint(n)
		return p
	}
	return nil
}

// lazy refuses tensors whose values are to be conjugated or negated when they are read (torch/_utils.py, set_tensor_metadata).
func (m *machine) lazy(metadata any) *problem {
	d, ok := metadata.(*dict)
	if !ok && metadata != nil {
		return m.problem(formats.BadType, "got metadata that is %s, want a dict", describe(metadata))
	}
	if d == nil {
		return nil
	}
	for _, e := range d.entries {
		if key, ok := e.key.(text); e.value != false || !ok {
			return m.problem(formats.Unsupported, "got the lazy operation \"%s\" on its values", clip(string(key)))
		}
	}
	return nil
}

// parameter is _rebuild_parameter(data, requires_grad, hooks), perhaps with a state.
func (m *machine) parameter(f *global, args []any) any {
	want := 3
	if f.name == "_rebuild_parameter_with_state" {
		want = 4
	}
	if len(args) != want {
		m.fail(formats.BadType, "got %d arguments of %s, want %d", len(args), f, want)
		return nil
	}
	if want == 4 {
		m.attributes(args[3])
	}
	switch data := args[0].(type) {
	case *tensor:
		return data
	case *node:
		if data.kind == inert || data.kind == refused {
			return m.object(data.kind, data.class, args)
		}
	}
	m.fail(formats.BadType, "got a parameter of %s, want a tensor", describe(args[0]))
	return nil
}

// moved is _rebuild_device_tensor_from_cpu_tensor(data, type, device, requires_grad): a tensor that was on a device of which torch saves a
// copy. Its type is that of the copy.
func (m *machine) moved(f *global, args []any) any {
	if len(args) != 4 {
		m.fail(formats.BadType, "got %d arguments of %s, want 4", len(args), f)
		return nil
	}
	t, isTensor := args[0].(*tensor)
	g, isName := args[1].(*global)
	if !isTensor || !isName || g.module != "torch" {
		return m.object(refused, f, args)
	}
	known, ok := find(func(x scalar) bool { return x.name == g.name })
	if !ok || known.dtype != t.dtype {
		return m.object(refused, f, args)
	}
	return t
}

// rebuildFromType is _rebuild_from_type_v2(function, class, arguments, state), which makes subclasses of tensors and tensors with attributes.
func (m *machine) rebuildFromType(f *global, args []any) any {
	if len(args) != 4 {
		m.fail(formats.BadType, "got %d arguments of %s, want 4", len(args), f)
		return nil
	}
	make, isName := args[0].(*global)
	class, isClass := args[1].(*global)
	inner, isArgs := args[2].(*node)
	if !isName || !isClass || !isArgs || inner.kind != tuple {
		m.fail(formats.BadType, "got arguments %s, %s, %s of %s, want a function, a class and a tuple", describe(args[0]), describe(args[1]), describe(args[2]), f)
		return nil
	}
	build := rebuilds[make.String()]
	if build == nil {
		return m.object(refused, make, args)
	}
	switch class.String() { // _rebuild_from_type, of torch 1.6 and 1.7, has the same arguments
	case "torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer":
		m.attributes(args[3])
		return build(m, make, inner.items)
	}
	return m.object(refused, class, args)
}
