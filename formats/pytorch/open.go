package pytorch

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/index"
)

// open reads the directories and pickles of files, or without files those of all shards that the index names.
func open(fsys fsio.FS, s formats.Set) (*formats.Checkpoint, error) {
	opened := &formats.FileSet{FS: fsys, Dir: s.Dir, Bounds: s.Bounds}
	c, err := read(opened, s.Files, s.Index)
	if err != nil {
		opened.Close()
		return nil, err
	}
	return c, nil
}

// checkpoint is what the files of one checkpoint add up to.
type checkpoint struct {
	formats.Header
	formats.Problems
	dir     string
	bounds  formats.ReadBounds
	names   map[string]int32 // tensors and aliases, into Tensors
	views   []view           // of Tensors
	total   int64            // bytes of tensors
	aliased int64            // bytes of aliases, if they were tensors
}

// view is where a tensor's bytes are.
type view struct {
	data   *data
	tensor *tensor
	big    bool // the data is big-endian
}

func read(opened *formats.FileSet, files []string, idx string) (*formats.Checkpoint, error) {
	c := &checkpoint{Header: formats.Header{Format: "pytorch"}, dir: opened.Dir, bounds: opened.Bounds, names: map[string]int32{}}
	var listed *index.Index
	if idx != "" {
		var err error
		if listed, err = index.Read(opened, idx); err != nil {
			return nil, err
		}
		if len(files) == 0 {
			files = listed.Files
		}
	}
	if len(files) == 0 {
		return nil, formats.Errorf(formats.Missing, "got no file to read").At(opened.Dir, -1)
	}
	for _, name := range files {
		f, size, err := opened.Open(name)
		if err != nil {
			c.Add(index.Absent(filepath.Join(opened.Dir, name), err, idx))
			continue
		}
		c.Files = append(c.Files, formats.File{Path: name, Bytes: size})
		c.file(f, name, size)
	}
	if listed != nil {
		listed.Reconcile(index.Set{Header: &c.Header, Problems: &c.Problems, Dir: opened.Dir, Suffix: suffix, Names: c.names, Opened: files,
			Totals: []int64{c.total, c.total + c.aliased}})
	}
	if err := c.Err(opened.Dir); err != nil {
		return nil, err
	}
	views := c.views
	reader := func(i int) (io.ReaderAt, error) { return views[i].reader(), nil }
	return formats.NewCheckpoint(opened.Dir, c.Header, reader, opened.Close).OnCheck(c.check), nil
}

// file adds what one file holds.
func (c *checkpoint) file(f fsio.File, name string, size int64) {
	path := filepath.Join(c.dir, name)
	head := make([]byte, min(size, 512))
	if err := index.Full(f, head, 0); err != nil {
		c.Add(index.Failed(path, 0, err))
		return
	}
	if legacyStart(string(head)) {
		c.legacyFile(f, name, path, size)
		return
	}
	if err := foreign(string(head)); err != nil {
		c.Add(err.At(path, 0))
		return
	}
	a, err := openArchive(f, path, size, c.bounds)
	if err != nil {
		c.Add(err)
		return
	}
	parts := a.parts()
	if parts == nil || a.Err(path) != nil {
		for _, e := range formats.Errors(a.Err(path)) {
			c.Add(e)
		}
		return
	}
	c.Notes = append(c.Notes, noted(name, a.notes)...)
	src, base, err := a.pickle(parts)
	if err != nil {
		c.Add(err)
		return
	}
	c.metadata(name, parts.extra)
	m := &machine{src: src, bounds: c.bounds, records: parts.storage, big: parts.big}
	w := &walk{m: m, stem: stem(name), file: name}
	if root, ok := m.run(); ok {
		w.state(root)
	}
	p := pickled{path, "data.pkl", base, parts.big}
	if !c.tell(m, p) {
		return
	}
	c.Notes = append(c.Notes, w.notes...)
	c.Notes = append(c.Notes, classNotes(m)...)
	if n := parts.unused(m); n != "" {
		c.Notes = append(c.Notes, formats.Note{Subject: name, Decision: "some records are not read", Because: n})
	}
	c.add(name, w.found, p, a.datas(f, parts))
}

// tell adds the problems of a pickle, in its order, and reports whether there are none.
func (c *checkpoint) tell(m *machine, in pickled) bool {
	if m.fatal != nil {
		m.problems = append(m.problems, m.fatal)
	}
	slices.SortStableFunc(m.problems, func(x, y *problem) int { return cmp.Compare(x.at, y.at) })
	for _, p := range m.problems {
		if !c.Full() {
			c.Add(p.in(in))
		}
	}
	for range m.more {
		c.Full()
	}
	return len(m.problems) == 0
}

// in is the problem as an error.
func (p *problem) in(x pickled) *formats.Error {
	at, text := x.base+int64(p.at), p.text
	if x.base < 0 {
		at, text = ^x.base, fmt.Sprintf("%s (at byte %d of the pickle)", text, p.at)
	}
	e := &formats.Error{Code: p.code, Offset: -1, Message: text, Hint: p.hint}
	return e.At(x.path, at).In(p.tensor, x.field)
}

func noted(subject string, list []string) []formats.Note {
	var out []formats.Note
	for _, because := range list {
		out = append(out, formats.Note{Subject: subject, Decision: "read all the same", Because: because})
	}
	return out
}

// stem is a file's name without its suffix.
func stem(name string) string { return strings.TrimSuffix(name, filepath.Ext(name)) }

// metadata keeps the texts of extra records; those of the first shard that has them win.
func (c *checkpoint) metadata(name string, extra formats.Metadata) {
	for _, kv := range extra {
		switch old := c.Metadata.Get(kv.Key); {
		case old == nil:
			c.Metadata = append(c.Metadata, kv)
		case old != kv.Value:
			c.Notes = append(c.Notes, formats.Note{Subject: name, Decision: "its record extra/" + formats.Escape(kv.Key, 64) + " is ignored", Because: "an earlier file has another"})
		}
	}
}

// classNotes name the classes whose objects were not made.
func classNotes(m *machine) (notes []formats.Note) {
	const most = 20
	for i, g := range m.unknown {
		if i == most {
			return append(notes, formats.Note{Subject: formats.Escape(g.String(), 200), Decision: "not made",
				Because: fmt.Sprintf("it and %d more names of the pickle are not in the table", len(m.unknown)-most-1)})
		}
		notes = append(notes, formats.Note{Subject: formats.Escape(g.String(), 200), Decision: "not made", Because: "classes and functions of a pickle are never run"})
	}
	if m.dropped > 0 {
		notes = append(notes, formats.Note{Subject: formats.Escape(cmp.Or(m.attribute, "?"), 200), Decision: "dropped",
			Because: fmt.Sprintf("tensors have %d attributes besides their values", m.dropped)})
	}
	return notes
}

// share is what two names of one tensor have in common.
type share struct {
	of    *storage
	at    int64  // of its first element in the storage
	dtype string // and shape, and strides
}

// add makes tensors and aliases of what a file holds, the tensors in the order of their bytes. datas gives the record of a storage.
func (c *checkpoint) add(name string, list []found, in pickled, datas func(*storage) *data) {
	first := make(map[share]int32, len(list)) // into list
	if len(c.names) == 0 {
		c.names = make(map[string]int32, len(list))
	}
	before, aliases := len(c.Tensors), len(c.Aliases)
	added := make([]found, 0, len(list))
	for k, x := range list {
		t := x.tensor
		if i, ok := c.names[x.name]; ok {
			if !c.Full() {
				where := "this file"
				if int(i) < before {
					where = formats.Escape(c.Tensors[i].File, 256)
				}
				p := problem{code: formats.Dup, at: int(t.at), tensor: x.name, text: "got the name here and in " + where}
				c.Add(p.in(in))
			}
			continue
		}
		s := share{t.storage.whole(), t.storage.first*t.storage.item + t.offset*t.dtype.BlockBytes(), spell(t)}
		if i, ok := first[s]; ok {
			of := list[i].name
			if len(c.Aliases) == cap(c.Aliases) {
				c.Aliases = slices.Grow(c.Aliases, len(c.Aliases)+64)
			}
			c.Aliases = append(c.Aliases, formats.Alias{Name: x.name, Of: of})
			c.names[x.name] = c.names[of]
			c.aliased += t.bytes
			continue
		}
		first[s] = int32(k)
		c.names[x.name] = int32(len(c.Tensors) + len(added)) // corrected below
		c.total += t.bytes
		added = append(added, x)
	}
	slices.SortStableFunc(added, func(x, y found) int { return cmp.Compare(x.tensor.start(), y.tensor.start()) })
	c.views, c.Tensors = slices.Grow(c.views, len(added)), slices.Grow(c.Tensors, len(added))
	for _, x := range added {
		t := x.tensor
		c.names[x.name] = int32(len(c.Tensors))
		c.views = append(c.views, view{datas(t.storage), t, in.big})
		c.Tensors = append(c.Tensors, formats.Tensor{Name: x.name, DType: t.dtype, Shape: t.shape, Bytes: t.bytes, File: name, Offset: t.start()})
	}
	for _, a := range c.Aliases[aliases:] {
		c.names[a.Name] = c.names[a.Of]
	}
}

// start is the first byte of the tensor in the file.
func (t *tensor) start() int64 {
	if t.bytes == 0 {
		return t.storage.start() // an empty slice may have any offset
	}
	return t.storage.start() + t.offset*t.dtype.BlockBytes()
}

// spell is the type, the shape, and the strides that matter: those of dimensions with one element do not.
func spell(t *tensor) string {
	b := append(make([]byte, 0, 64), t.dtype...)
	b = append(b, ' ')
	for i, d := range t.shape {
		b = append(strconv.AppendInt(b, d, 10), ' ')
		if d > 1 && t.bytes > 0 {
			b = append(strconv.AppendInt(append(b, '/'), t.stride[i], 10), ' ') // the mark keeps [15, 0] without strides from 15 by 0
		}
	}
	return string(b)
}
