package raw

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/index"
)

// open reads one .npy file, or the manifest list and the headers of all .npy files that it names.
func open(fsys fsio.FS, given formats.Set) (*formats.Checkpoint, error) {
	s := &set{Header: formats.Header{Format: "raw"}, files: formats.FileSet{FS: fsys, Dir: given.Dir, Bounds: given.Bounds}, data: map[string]fsio.File{}}
	var err error
	switch {
	case given.Index != "":
		err = s.folder(given.Index, given.Files)
	case len(given.Files) == 1:
		s.lone(given.Files[0])
	case len(given.Files) == 0:
		err = formats.Errorf(formats.Missing, "got no file to read").At(given.Dir, -1)
	default:
		err = formats.Errorf(formats.Unsupported, "got %d files without %s", len(given.Files), Manifest).At(given.Dir, -1)
	}
	if err == nil {
		err = s.Err(given.Dir)
	}
	if err != nil {
		s.files.Close()
		return nil, err
	}
	reader := func(i int) (io.ReaderAt, error) {
		return s.places[i].in(s.data[s.Tensors[i].File]), nil
	}
	return formats.NewCheckpoint(given.Dir, s.Header, reader, s.files.Close), nil
}

// set is a checkpoint in the making; places[i] is that of Tensors[i].
type set struct {
	formats.Header
	formats.Problems
	files   formats.FileSet
	data    map[string]fsio.File // the files that tensors are in
	places  []place
	aliased []bool // entries that are aliases
	absent  int    // files
}

func (s *set) add(name, file string, p place) {
	s.Tensors = append(s.Tensors, formats.Tensor{Name: name, DType: p.dtype, Shape: p.shape, Bytes: p.bytes, File: file, Offset: p.start})
	s.places = append(s.places, p)
}

func (s *set) note(subject, decision, because string, args ...any) {
	s.Notes = append(s.Notes, formats.Note{Subject: subject, Decision: decision, Because: fmt.Sprintf(because, args...)})
}

// bad is a problem of the manifest with one of its entries.
func (s *set) bad(list string, e entry, code formats.Code, field, format string, args ...any) {
	if !s.Full() {
		s.Add(formats.Errorf(code, format, args...).At(filepath.Join(s.files.Dir, list), int64(e.at)).In(e.name, field))
	}
}

// lone reads an .npy file without a manifest: a tensor with the name of the file.
func (s *set) lone(file string) {
	name := file
	if stem := strings.TrimSuffix(file, filepath.Ext(file)); stem != "" {
		name = stem
	}
	if !utf8.ValidString(name) {
		s.Add(formats.Errorf(formats.UTF8, "the name of the file, which is that of the tensor, is not UTF-8").At(filepath.Join(s.files.Dir, file), -1))
		return
	}
	a, ok := s.array(file, "")
	if !ok {
		return
	}
	t, ok := s.alone(file, name, a)
	if !ok {
		s.Add(formats.Errorf(formats.BadDType, "got bytes without a type, as numpy saves several types of ml_dtypes").
			At(filepath.Join(s.files.Dir, file), -1).In(name, "descr").Hinted("%s beside it can say which", Manifest))
		return
	}
	s.add(name, file, place{start: a.start, bytes: a.bytes, dtype: t, shape: a.shape, fortran: a.fortran, big: a.big})
}

// alone is the type of an array of which only its header speaks.
func (s *set) alone(file, name string, a array) (dtype.Type, bool) {
	if len(a.types) > 1 {
		return "", false
	}
	if a.opaque() {
		s.note(name, "read as "+string(a.types[0]), "%s holds values of a type that numpy does not have; of those with this descr only ml_dtypes has one", file)
	}
	return a.types[0], true
}

// array opens an .npy file and reads its header.
func (s *set) array(file, list string) (array, bool) {
	path := filepath.Join(s.files.Dir, file)
	f, size, err := s.files.Open(file)
	if err != nil {
		s.missing(path, err, list)
		return array{}, false
	}
	s.data[file] = f
	s.Files = append(s.Files, formats.File{Path: file, Bytes: size})
	a, err := readArray(f, size)
	for _, e := range formats.Errors(err) {
		if !s.Full() {
			s.Add(e.At(path, -1))
		}
	}
	return a, err == nil
}

func (s *set) missing(path string, err error, list string) {
	if s.absent++; s.Full() {
		return
	}
	e := index.Absent(path, err, "")
	if list != "" {
		e = e.In("", "file").Hinted("%s names it; is the copy complete?", list)
	}
	s.Add(e)
}

// maxAbsent is after how many files that are not there no more are looked for.
const maxAbsent = 1000

// folder reads the manifest and all that it names.
func (s *set) folder(list string, given []string) error {
	path := filepath.Join(s.files.Dir, list)
	f, size, err := s.files.Open(list)
	if err != nil {
		return index.Absent(path, err, "")
	}
	if most := s.files.Bounds.Of(formats.IndexBound); size > most {
		return formats.Errorf(formats.Limit, "got a manifest of %d bytes, want at most %d", size, most).At(path, 0).Hinted("%s", formats.IndexBound.Hint(size))
	}
	src, err := index.Text(f, 0, size)
	if err != nil {
		return index.Failed(path, 0, err)
	}
	m, err := parseManifest(path, src, int(s.files.Bounds.Of(formats.TensorsBound)))
	if err != nil {
		return err
	}
	// The entries of each file, files in the order in which they are first named.
	at, by := make([]int32, len(m.entries)), make(map[string]int32, len(m.entries))
	var ends []int32 // counts of entries, then where those of a file end in order
	for i, e := range m.entries {
		k, ok := by[e.file]
		if !ok {
			k = int32(len(ends))
			ends = append(ends, 0)
			if len(given) > 0 && !slices.Contains(given, e.file) {
				s.bad(list, e, formats.Mismatch, "file", "got %s, which is not of the set", clip(e.file))
			}
		}
		by[e.file], at[i] = k, k
		ends[k]++
	}
	for k := 1; k < len(ends); k++ {
		ends[k] += ends[k-1]
	}
	order, next := make([]int32, len(m.entries)), append([]int32{0}, ends...)
	for i, k := range at {
		order[next[k]] = int32(i)
		next[k]++
	}
	found := make([]place, len(m.entries))
	s.aliased = make([]bool, len(m.entries))
	for k, start := 0, int32(0); k < len(ends); k, start = k+1, ends[k] {
		mine := order[start:ends[k]]
		switch e := m.entries[mine[0]]; {
		case s.absent == maxAbsent: // the rest of the folder is not here either
		case e.array():
			s.arrays(list, e.file, m.entries, mine, found)
		default:
			s.dump(list, e.file, m.entries, mine, found)
		}
	}
	if err := s.Err(s.files.Dir); err != nil {
		return err
	}
	s.Tensors, s.places = make([]formats.Tensor, 0, len(m.entries)), make([]place, 0, len(m.entries))
	for i, e := range m.entries {
		if !s.aliased[i] {
			s.add(e.name, e.file, found[i])
		}
	}
	of := make(map[string]string, len(s.Aliases))
	for _, a := range s.Aliases {
		of[a.Name] = a.Of
	}
	for _, a := range m.aliases { // an alias may name an entry that is one
		if first, ok := of[a.Of]; ok {
			a.Of = first
		}
		s.Aliases = append(s.Aliases, a)
	}
	s.Metadata = m.meta
	s.Files = append(s.Files, formats.File{Path: list, Bytes: size})
	return nil
}

// alias makes an entry the alias of another.
func (s *set) alias(entries []entry, i, of int32) {
	s.aliased[i] = true
	s.Aliases = append(s.Aliases, formats.Alias{Name: entries[i].name, Of: entries[of].name})
}

// arrays holds the entries of an .npy file against its header.
func (s *set) arrays(list, file string, entries []entry, of []int32, found []place) {
	a, ok := s.array(file, list)
	if !ok {
		return
	}
	for n, i := range of {
		e := entries[i]
		p := place{start: a.start, bytes: a.bytes, dtype: e.dtype, shape: a.shape, fortran: a.fortran, big: a.big}
		differ := func(field string, got, want any) {
			s.bad(list, e, formats.Mismatch, field, "got %v, but %s says %v", got, clip(file), want)
		}
		switch {
		case !e.knows(keyDType):
			if p.dtype, ok = s.alone(file, e.name, a); !ok {
				s.bad(list, e, formats.BadDType, "dtype", "it is missing, and %s holds bytes without a type", clip(file))
			}
		case !a.is(e.dtype):
			differ("dtype", e.dtype, a.types)
		}
		if e.knows(keyShape) && !slices.Equal(e.shape, a.shape) {
			differ("shape", e.shape, a.shape)
		}
		if e.knows(keyBytes) && e.bytes != a.bytes {
			differ("bytes", e.bytes, a.bytes)
		}
		if e.knows(keyOrder) && e.fortran != a.fortran {
			differ("order", word(e.fortran, "F", "C"), word(a.fortran, "F", "C"))
		}
		if e.knows(keyByteOrder) && a.size() > 1 && e.big != a.big {
			differ("byteorder", word(e.big, "big", "little"), word(a.big, "big", "little"))
		}
		found[i] = p
		switch first := of[0]; {
		case n == 0:
		case found[first].dtype != p.dtype:
			s.bad(list, e, formats.Mismatch, "dtype", "got %s, but %s for \"%s\" in the same file", p.dtype, found[first].dtype, clip(entries[first].name))
		default:
			s.alias(entries, i, first)
		}
	}
}

func word(second bool, yes, no string) string {
	if second {
		return yes
	}
	return no
}
