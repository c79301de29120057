package formatstest

import (
	"errors"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// Table runs cases of the corpus: each is refused with what it says, or read, within its limits of memory and time.
func Table(t *testing.T, f formats.Format, cases []corpus.Case) {
	Read(t, f, cases, func(*testing.T, *formats.Checkpoint, corpus.Case) {})
}

// Read is Table with a look at what is read of the odd ones.
func Read(t *testing.T, f formats.Format, cases []corpus.Case, look func(t *testing.T, c *formats.Checkpoint, x corpus.Case)) {
	for _, x := range cases {
		t.Run(x.Name, func(t *testing.T) {
			fsys, set := place(t, f, x)
			var c *formats.Checkpoint
			err := Within(t, x, func() (err error) {
				if c != nil {
					c.Close()
				}
				c, err = f.Open(fsys, set)
				return err
			})
			Judge(t, x, err)
			for _, e := range formats.Errors(err) {
				if n := len(e.Error()); n > 1<<10 {
					t.Errorf("got a message of %d bytes, want at most 1024", n)
				}
			}
			if c != nil {
				defer c.Close()
				look(t, c, x)
			}
		})
	}
}

// Judge compares how a case was received with what it wants.
func Judge(t *testing.T, x corpus.Case, err error) {
	t.Helper()
	switch {
	case x.Code == "" && err != nil:
		t.Fatalf("%s: got %v, want it accepted", x.Name, err)
	case x.Code != "" && err == nil:
		t.Fatalf("%s: accepted, want %s", x.Name, x.Code)
	case x.Code == "":
		return
	}
	check(t, err, max(x.Size, x.Len()))
	list := formats.Errors(err)
	if e := list[0]; e.Code != x.Code || e.Offset != x.Offset && x.Offset != corpus.Anywhere || e.Tensor != x.Tensor || e.Field != x.Field && x.Field != corpus.AnyField {
		t.Errorf("%s: got %s at %d, tensor %q, field %q\nwant %s at %d, tensor %q, field %q\nin %v",
			x.Name, e.Code, e.Offset, e.Tensor, e.Field, x.Code, x.Offset, x.Tensor, x.Field, err)
	}
	for _, says := range x.Says {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %q, want it to say %q", x.Name, err, says)
		}
	}
	codes := x.Codes
	if codes == nil {
		codes = []formats.Code{x.Code}
	}
	if len(list) != len(codes) {
		t.Fatalf("%s: got %d problems, want %d: %v", x.Name, len(list), len(codes), err)
	}
	for i, e := range list {
		if e.Code != codes[i] {
			t.Errorf("%s: problem %d: got %s, want %s: %v", x.Name, i, e.Code, codes[i], e)
		}
	}
}

// Within runs open and holds it to the limits of a case. The least of some tries counts: what else the program and the machine do in the
// meantime is none of the file's.
func Within(t *testing.T, x corpus.Case, open func() error) (err error) {
	t.Helper()
	memory, least := uint64(1<<63), time.Hour
	var before, after runtime.MemStats // exact, where the metrics of the heap are rounded to spans
	for range 5 {
		runtime.ReadMemStats(&before)
		start := time.Now()
		err = open()
		least = min(least, time.Since(start))
		runtime.ReadMemStats(&after)
		memory = min(memory, after.TotalAlloc-before.TotalAlloc)
		if memory <= uint64(x.Memory) && least <= x.Time {
			return err
		}
	}
	if memory > uint64(x.Memory) {
		t.Errorf("%s: allocated %d bytes, want at most %d for a file of %d", x.Name, memory, x.Memory, x.Len())
	}
	if least > x.Time {
		t.Errorf("%s: took %v, want at most %v for a file of %d bytes", x.Name, least, x.Time, x.Len())
	}
	return err
}

// OpenCase opens the files of a case as the format's own.
func OpenCase(t testing.TB, f formats.Format, x corpus.Case) (*formats.Checkpoint, error) {
	fsys, set := place(t, f, x)
	return f.Open(fsys, set)
}

// place makes the files of a case, and says which to open.
func place(t testing.TB, f formats.Format, x corpus.Case) (fsys fsio.FS, set formats.Set) {
	set = formats.Set{Dir: "/", Files: []string{"model" + f.Suffix}, Index: x.Index}
	if x.Open != nil || x.Index != "" {
		set.Files = x.Open
	}
	if x.Files == nil {
		return sparse{b: x.Bytes, size: max(x.Size, int64(len(x.Bytes)))}, set
	}
	mem := fsio.NewMem()
	Put(t, mem, "/", x.Files)
	return mem, set
}

// check is what every refusal has to be: it has a class, stays in the file, and is safe to print.
func check(t *testing.T, err error, size int64) {
	t.Helper()
	for _, e := range formats.Errors(err) {
		if e.Code == "" || e.Code == formats.IO {
			t.Errorf("got code %q: %v", e.Code, err)
		}
		if e.Path == "" {
			t.Errorf("got no path: %v", err)
		}
		if e.Offset > size {
			t.Errorf("got offset %d in a file of %d bytes: %v", e.Offset, size, err)
		}
		if n := len(e.Error()); n > 1<<10 {
			t.Errorf("got a message of %d bytes: %.300q", n, e.Error())
		}
	}
	text := err.Error()
	if strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), unicode.IsControl) {
		t.Errorf("got a message that holds control characters: %.200q", text)
	}
}

// OneFile is a file system in which every name is a file with these bytes.
func OneFile(b []byte) fsio.FS { return sparse{b: b, size: int64(len(b))} }

// sparse has one file, of size bytes; those after b are zero. Its methods that change things are not there: calling one is a mistake of
// the test.
type sparse struct {
	fsio.FS
	b    []byte
	size int64
}

func (s sparse) Open(string) (fsio.File, error)        { return sparseFile{sparse: s}, nil }
func (s sparse) Stat(string) (fs.FileInfo, error)      { return sparseInfo{s.size}, nil }
func (s sparse) Lstat(string) (fs.FileInfo, error)     { return sparseInfo{s.size}, nil }
func (s sparse) ReadDir(string) ([]fs.DirEntry, error) { return nil, errors.ErrUnsupported }

type sparseFile struct {
	fsio.File
	sparse
}

func (f sparseFile) Stat() (fs.FileInfo, error) { return sparseInfo{f.size}, nil }
func (f sparseFile) Close() error               { return nil }

func (f sparseFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= f.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), f.size-off))
	clear(p[:n])
	if off < int64(len(f.b)) {
		copy(p[:n], f.b[off:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

type sparseInfo struct{ size int64 }

func (i sparseInfo) Name() string       { return "file" }
func (i sparseInfo) Size() int64        { return i.size }
func (i sparseInfo) Mode() fs.FileMode  { return 0o644 }
func (i sparseInfo) ModTime() time.Time { return time.Time{} }
func (i sparseInfo) IsDir() bool        { return false }
func (i sparseInfo) Sys() any           { return nil }
