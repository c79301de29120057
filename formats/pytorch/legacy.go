package pytorch

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/index"
)

// Files from before PyTorch 1.6 (torch/serialization.py, _legacy_save) are pickles one after the other: a number that marks them, the
// version of the protocol, the machine that wrote them, the object, and the keys of its storages. Then come the storages in the order of
// the keys, each behind a count of its elements. There is no directory and no checksum: each statement is held against every other, and
// the last storage has to end where the file does.
type legacy struct {
	size  int64 // of the file
	views map[string]*storage
	big   bool // written on a big-endian machine
}

const legacyProtocol = 1001 // torch/serialization.py, PROTOCOL_VERSION

// The fields of such a file, as errors name them.
const (
	magicField    = "magic number"
	protocolField = "protocol version"
	systemField   = "sys_info"
	objectField   = "pickle"
	keysField     = "storage keys"
	storageField  = "storage"
)

// pickled is where a pickle stands.
type pickled struct {
	path  string
	field string
	base  int64 // its first byte in the file; of one that is compressed, ^base is where it starts packed
	big   bool  // the tensors are big-endian
}

// legacyStart reports whether a file starts with the number of legacy files, in the framing of any protocol.
func legacyStart(head string) bool {
	return strings.Contains(head[:min(len(head), 64)], legacyNumber) || strings.HasPrefix(head, legacyText)
}

// bareStart reports whether a file starts as a pickle of protocols 2 to 5 does.
func bareStart(head string) bool {
	return len(head) >= 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5
}

// legacyFile adds what such a file holds.
func (c *checkpoint) legacyFile(f fsio.File, name, path string, size int64) {
	s := &stream{f: f, path: path, size: size, most: c.bounds.Of(formats.PickleBound)}
	l, err := s.prologue()
	if err != nil {
		c.Add(err)
		return
	}
	src, base, err := s.next()
	if err != nil {
		c.Add(err.In("", objectField))
		return
	}
	p := pickled{path: path, field: objectField, base: base}
	m := &machine{src: src, bounds: c.bounds, legacy: l}
	w := &walk{m: m, stem: stem(name), file: name}
	root, ok := m.run()
	if ok {
		err := s.storages(m)
		if err != nil {
			c.Add(err)
			ok = false
		}
		w.state(root)
	}
	if !c.tell(m, p) || !ok {
		return
	}
	because := "a file from before PyTorch 1.6 has no checksums"
	if l.big {
		because += "; it was written on a big-endian machine, where the tensors of such files are little-endian too"
	}
	c.Notes = append(c.Notes, noted(name, []string{because})...)
	c.Notes = append(c.Notes, w.notes...)
	c.Notes = append(c.Notes, classNotes(m)...)
	made := map[*storage]*data{}
	c.add(name, w.found, p, func(x *storage) *data {
		x = x.whole()
		if made[x] == nil {
			made[x] = &data{f: f, path: path, name: x.key, at: x.data, bytes: x.bytes, unknown: true}
		}
		return made[x]
	})
}

// prologue reads the three pickles before the object.
func (s *stream) prologue() (*legacy, *formats.Error) {
	src, base, err := s.next()
	if err != nil {
		return nil, err.In("", magicField)
	}
	// The number has to stand there as such: made by a call, it would hide from readers that look for it.
	if n := unframed(src); n != legacyNumber && n != legacyText {
		if _, err := s.plain(src, base, magicField); err != nil {
			return nil, err
		}
		return nil, formats.Errorf(formats.Magic, "got a pickle that does not spell out the number of PyTorch's files").At(s.path, base).In("", magicField)
	}
	v, base, err := s.value(protocolField)
	if err != nil {
		return nil, err
	}
	if v != int64(legacyProtocol) {
		return nil, formats.Errorf(formats.Version, "got %s, want the number %d", spelled(v), legacyProtocol).At(s.path, base).In("", protocolField)
	}
	v, base, err = s.value(systemField)
	if err != nil {
		return nil, err
	}
	d, ok := v.(*dict)
	if !ok {
		return nil, formats.Errorf(formats.BadType, "got %s, want a dict", describe(v)).At(s.path, base).In("", systemField)
	}
	l := &legacy{size: s.size, views: map[string]*storage{}}
	for _, e := range d.entries {
		switch e.key {
		case text("protocol_version"):
			if e.value != int64(legacyProtocol) {
				return nil, formats.Errorf(formats.Mismatch, "got protocol version %s, but %d before", spelled(e.value), legacyProtocol).At(s.path, base+int64(e.at)).In("", systemField)
			}
		case text("little_endian"):
			little, ok := e.value.(bool)
			if !ok {
				return nil, formats.Errorf(formats.BadType, "got little_endian as %s, want a bool", describe(e.value)).At(s.path, base+int64(e.at)).In("", systemField)
			}
			l.big = !little
		}
	}
	return l, nil
}

// spelled is a number itself, or what else there is.
func spelled(v any) string {
	if n, ok := v.(int64); ok {
		return keyName(n)
	}
	return describe(v)
}

// unframed is a pickle without PROTO, FRAME and STOP.
func unframed(src string) string {
	if len(src) > 2 && src[0] == 0x80 && src[1] >= 2 && src[1] <= 5 {
		src = src[2:]
	}
	if len(src) > 9 && src[0] == 0x95 && binary.LittleEndian.Uint64([]byte(src[1:9])) == uint64(len(src)-9) {
		src = src[9:]
	}
	if body, ok := strings.CutSuffix(src, "."); ok {
		return body
	}
	return ""
}

// value is that of the next pickle, which names nothing.
func (s *stream) value(field string) (v any, base int64, err *formats.Error) {
	src, base, err := s.next()
	if err != nil {
		return nil, 0, err.In("", field)
	}
	v, err = s.plain(src, base, field)
	return v, base, err
}

// plain runs a pickle of plain values.
func (s *stream) plain(src string, base int64, field string) (any, *formats.Error) {
	m := &machine{src: src, bare: true}
	v, ok := m.run()
	if !ok {
		return nil, m.fatal.in(pickled{path: s.path, field: field, base: base})
	}
	return v, nil
}

// storages reads the keys and finds the storages behind them.
func (s *stream) storages(m *machine) *formats.Error {
	bad := func(code formats.Code, at int64, field, format string, args ...any) *formats.Error {
		return formats.Errorf(code, format, args...).At(s.path, at).In("", field)
	}
	v, base, err := s.value(keysField)
	if err != nil {
		return err
	}
	keys, ok := v.(*node)
	if !ok || keys.kind != list {
		return bad(formats.BadType, base, keysField, "got %s, want a list", describe(v))
	}
	at, seen := s.at, make(map[string]bool, len(keys.items))
	for _, v := range keys.items {
		key, ok := v.(text)
		x := m.storages[string(key)]
		switch {
		case !ok:
			return bad(formats.BadType, base, keysField, "got %s, want the key of a storage", describe(v))
		case seen[string(key)]:
			return bad(formats.Dup, base, keysField, "got key \"%s\" twice", clip(string(key)))
		case x == nil:
			return bad(formats.Mismatch, base, keysField, "got key \"%s\", which is no storage of the pickle", clip(string(key)))
		case x.wrong:
			return nil // told already; what is behind it cannot be found
		case s.size-at < 8:
			return bad(formats.Trunc, at, storageField, "got %d bytes, want the count of storage \"%s\"", s.size-at, clip(x.key))
		}
		seen[x.key] = true
		var b [8]byte
		if err := index.Full(s.f, b[:], at); err != nil {
			return index.Failed(s.path, at, err)
		}
		n := binary.LittleEndian.Uint64(b[:])
		if m.legacy.big && n != uint64(x.numel) {
			n = binary.BigEndian.Uint64(b[:]) // alone of all numbers it had the machine's order (PyTorch 0.2, generic/serialization.cpp)
		}
		if n != uint64(x.numel) {
			return bad(formats.Mismatch, at, storageField, "got %d elements of storage \"%s\", but %d in the pickle", binary.LittleEndian.Uint64(b[:]), clip(x.key), x.numel)
		}
		if at += 8; x.bytes > s.size-at {
			return bad(formats.Trunc, at, storageField, "got %d bytes of storage \"%s\", want %d", s.size-at, clip(x.key), x.bytes)
		}
		x.data = at
		at += x.bytes
	}
	if len(seen) < len(m.storages) {
		var missing []string
		for key := range m.storages {
			if !seen[key] {
				missing = append(missing, key)
			}
		}
		return bad(formats.Missing, base, keysField, "there is no key \"%s\", and %d storages of the pickle are not listed", clip(slices.Min(missing)), len(missing))
	}
	if at < s.size {
		return bad(formats.Trail, at, storageField, "got %d bytes after the last storage, want none", s.size-at)
	}
	return nil
}

// view is the part of a storage that (key, offset, numel) describes. torch wrote parts until version 0.4 and reads them still.
func (m *machine) view(root *storage, metadata any) *storage {
	t, ok := metadata.(*node)
	if !ok || t.kind != tuple || len(t.items) != 3 {
		m.fail(formats.BadType, "got %s as the part of a storage, want (key, offset, numel)", describe(metadata))
		return nil
	}
	key, isKey := t.items[0].(text)
	first, isFirst := t.items[1].(int64)
	numel, isCount := t.items[2].(int64)
	if !isKey || !isFirst || !isCount {
		m.fail(formats.BadType, "got (%s, %s, %s) as the part of a storage, want a key, an offset and a count", describe(t.items[0]), describe(t.items[1]), describe(t.items[2]))
		return nil
	}
	if v := m.legacy.views[string(key)]; v != nil {
		if v.root != root || v.first != first || v.numel != numel {
			m.tell(formats.Mismatch, "got part \"%s\" as elements %d to %d of storage \"%s\", but as %d to %d of \"%s\" before", clip(string(key)),
				first, first+numel, clip(root.key), v.first, v.first+v.numel, clip(v.root.key))
		}
		return v
	}
	if !m.spend(storageBytes) {
		return nil
	}
	v := &storage{key: string(key), class: root.class, at: int32(m.op), dtype: root.dtype, foreign: root.foreign, item: root.item, numel: numel,
		wrong: root.wrong, root: root, first: first}
	m.legacy.views[v.key] = v
	switch {
	case m.storages[v.key] != nil:
		m.tell(formats.Mismatch, "got part \"%s\", which is the key of a whole storage too", clip(v.key))
		v.wrong = true
	case first < 0 || numel < 0 || first > root.numel || numel > root.numel-first:
		m.tell(formats.Bounds, "got %d elements from %d on of a storage of %d", numel, first, root.numel)
		v.wrong = true
	case !v.wrong:
		v.bytes = numel * v.item
	}
	return v
}

// within runs the pickles of a legacy file that is a value of this pickle, which torch.storage._load_from_bytes would load. Nobody reads
// its tensors, but what it asks to be run is refused here as everywhere.
func (m *machine) within(f *global, args []any) any {
	const deepest = 2
	b, ok := raw(""), false
	if len(args) == 1 {
		b, ok = args[0].(raw)
	}
	if !ok {
		m.fail(formats.BadType, "got arguments of %s that are no bytes", f)
		return nil
	}
	if m.nested == deepest {
		m.fail(formats.Limit, "got pickles that nest deeper than %d", deepest)
		return nil
	}
	if m.inner += len(b); m.inner > 4*len(m.src) { // the same bytes may come from the memo again and again
		m.fail(formats.Limit, "got pickles within the pickle of more than %d bytes in all", 4*len(m.src))
		return nil
	}
	s := &stream{f: strings.NewReader(string(b)), size: int64(len(b)), most: m.bounds.Of(formats.PickleBound)}
	l, err := s.prologue()
	var src string
	var base int64
	if err == nil {
		src, base, err = s.next()
	}
	if err == nil {
		x := &machine{src: src, bounds: m.bounds, legacy: l, nested: m.nested + 1}
		if _, ok := x.run(); ok {
			err = s.storages(x)
		} else {
			err = x.fatal.in(pickled{field: objectField, base: base})
		}
		if err == nil && len(x.problems) > 0 {
			err = x.problems[0].in(pickled{field: objectField, base: base})
		}
	}
	if err != nil {
		m.fail(err.Code, "in the file within the pickle, offset %d: %s", err.Offset, err.Message)
		m.fatal.hint = err.Hint
		return nil
	}
	return m.object(refused, f, nil)
}
