package safetensors

import (
	"encoding/binary"
	"io"
	"path/filepath"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/index"
)

// sniff looks for the brace of the JSON behind a plausible length. A file that is cut short is recognised, so that Open can say so.
func sniff(head []byte, size int64) bool {
	if len(head) < 9 {
		return false
	}
	if n := binary.LittleEndian.Uint64(head); n < 2 || n > uint64(formats.HeaderBound.Highest()) {
		return false
	}
	text := strings.TrimLeft(string(head[8:]), " \t\r\n")
	return strings.HasPrefix(text, "{")
}

// open reads the headers of files, or without files those of all shards that the index names.
func open(fsys fsio.FS, s formats.Set) (*formats.Checkpoint, error) {
	opened := &formats.FileSet{FS: fsys, Dir: s.Dir, Bounds: s.Bounds}
	c, err := read(opened, s.Files, s.Index)
	if err != nil {
		opened.Close()
		return nil, err
	}
	return c, nil
}

func read(opened *formats.FileSet, files []string, idx string) (*formats.Checkpoint, error) {
	s := &set{Header: formats.Header{Format: "safetensors"}, most: opened.Bounds.Of(formats.HeaderBound)}
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
	data := make(map[string]fsio.File, len(files))
	for i, name := range files {
		f, size, err := opened.Open(name)
		if err != nil {
			s.Add(index.Absent(filepath.Join(opened.Dir, name), err, idx))
			continue
		}
		data[name] = f
		s.Files = append(s.Files, formats.File{Path: name, Bytes: size})
		meta := s.file(filepath.Join(opened.Dir, name), name, f, size)
		switch {
		case i == 0:
			s.Metadata = meta
		case !sameMeta(s.Metadata, meta):
			s.note(name, "its metadata is ignored", "it differs from that of %s, the first shard", files[0])
		}
	}
	if listed != nil {
		listed.Reconcile(index.Set{Header: &s.Header, Problems: &s.Problems, Dir: opened.Dir, Suffix: suffix, Names: s.names, Opened: files,
			Totals: []int64{s.bytes}})
	}
	if err := s.Err(opened.Dir); err != nil {
		return nil, err
	}
	reader := func(i int) (io.ReaderAt, error) {
		t := s.Tensors[i]
		return formats.Range(data[t.File], t.Offset, t.Bytes), nil
	}
	return formats.IndexedCheckpoint(opened.Dir, s.Header, s.names, reader, opened.Close), nil
}

// file checks the length of the header before anything is allocated for it, and reads it.
func (s *set) file(path, name string, f fsio.File, size int64) formats.Metadata {
	short := func(at int64, format string, args ...any) {
		s.Add(formats.Errorf(formats.Trunc, format, args...).At(path, at).In("", "header length"))
	}
	if size < 8 {
		short(0, "got a file of %d bytes, want 8 for the length alone", size)
		return nil
	}
	var head [8]byte
	if err := index.Full(f, head[:], 0); err != nil {
		s.Add(index.Failed(path, 0, err))
		return nil
	}
	switch n := binary.LittleEndian.Uint64(head[:]); {
	case n > uint64(s.most):
		e := formats.Errorf(formats.Limit, "got %d, want at most %d in a file of %d bytes", n, s.most, size).At(path, 0).In("", "header length")
		if n <= uint64(size-8) { // else it is no header, whatever is allowed
			e = e.Hinted("%s", formats.HeaderBound.Hint(int64(n)))
		}
		s.Add(e)
	case n < 2:
		short(0, "got %d, want at least 2, the length of {}", n)
	case int64(n) > size-8:
		short(0, "got %d, want at most %d, which is all that the file has after the length", n, size-8)
	default:
		src, err := index.Text(f, 8, int64(n))
		if err != nil {
			s.Add(index.Failed(path, 8, err))
			return nil
		}
		return s.header(path, name, src, size)
	}
	return nil
}

// sameMeta compares without regard to order: the reference writes metadata in the order of a hash map, which differs by shard.
func sameMeta(a, b formats.Metadata) bool {
	if len(a) != len(b) {
		return false
	}
	values := make(map[string]any, len(a))
	for _, kv := range a {
		values[kv.Key] = kv.Value
	}
	for _, kv := range b {
		if v, ok := values[kv.Key]; !ok || v != kv.Value {
			return false
		}
	}
	return true
}
