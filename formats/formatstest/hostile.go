package formatstest

import (
	"errors"
	"io"
	"io/fs"
	"runtime/metrics"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// Hostile is a file that has to be refused, or, without a Code, an odd one that has to be accepted.
type Hostile struct {
	Name  string
	Bytes []byte
	Size  int64 // of the file if it is longer than Bytes; the rest reads as zeros
	// Files are further files, or all of them where Open says which to open.
	Files map[string][]byte
	Open  []string
	Index string

	// What the first problem has to say.
	Code   formats.Code
	Offset int64 // -1 for none
	Tensor string
	Field  string
	// Says are texts that the message of some problem has to contain.
	Says []string
	// Codes are those of all problems; nil if it is Code alone.
	Codes []formats.Code
}

// Table runs a table of hostile files. Besides what each case wants, every one has to be done within a second and with
// allocations of at most 8 times the files and 16 MiB.
func Table(t *testing.T, f formats.Format, cases []Hostile) {
	for _, x := range cases {
		t.Run(x.Name, func(t *testing.T) {
			c, err := x.open(t, f)
			if err == nil {
				c.Close()
			}
			switch {
			case x.Code == "" && err != nil:
				t.Fatalf("got %v, want it accepted", err)
			case x.Code != "" && err == nil:
				t.Fatalf("accepted, want %s", x.Code)
			case x.Code == "":
				return
			}
			check(t, err, x.size())
			list := formats.Errors(err)
			if e := list[0]; e.Code != x.Code || e.Offset != x.Offset || e.Tensor != x.Tensor || e.Field != x.Field {
				t.Errorf("got %s at %d, tensor %q, field %q\nwant %s at %d, tensor %q, field %q\nin %v",
					e.Code, e.Offset, e.Tensor, e.Field, x.Code, x.Offset, x.Tensor, x.Field, err)
			}
			for _, says := range x.Says {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("got %q, want it to say %q", err, says)
				}
			}
			codes := x.Codes
			if codes == nil {
				codes = []formats.Code{x.Code}
			}
			if len(list) != len(codes) {
				t.Fatalf("got %d problems, want %d: %v", len(list), len(codes), err)
			}
			for i, e := range list {
				if e.Code != codes[i] {
					t.Errorf("problem %d: got %s, want %s: %v", i, e.Code, codes[i], e)
				}
			}
		})
	}
}

func (x Hostile) open(t *testing.T, f formats.Format) (*formats.Checkpoint, error) {
	fsys, files := x.put(t, f)
	start, before := time.Now(), allocated()
	c, err := f.Open(fsys, formats.Set{Dir: "/", Files: files, Index: x.Index})
	if d := time.Since(start); d > time.Second {
		t.Errorf("took %v", d)
	}
	if got, limit := allocated()-before, uint64(8*x.size()+16<<20); got > limit {
		t.Errorf("allocated %d bytes, want at most %d", got, limit)
	}
	return c, err
}

// OpenIn opens the files as the format's own.
func (x Hostile) OpenIn(t *testing.T, f formats.Format) (*formats.Checkpoint, error) {
	fsys, files := x.put(t, f)
	return f.Open(fsys, formats.Set{Dir: "/", Files: files, Index: x.Index})
}

// put makes the files, and says which to open.
func (x Hostile) put(t *testing.T, f formats.Format) (fsys fsio.FS, files []string) {
	fsys, files = sparse{b: x.Bytes, size: x.size()}, []string{"model" + f.Suffix}
	if x.Open != nil || x.Index != "" {
		files = x.Open
	}
	if x.Files != nil {
		mem := fsio.NewMem()
		Put(t, mem, "/", x.Files)
		fsys = mem
	}
	return fsys, files
}

// size is that of all files.
func (x Hostile) size() int64 {
	n := max(x.Size, int64(len(x.Bytes)))
	for _, b := range x.Files {
		n += int64(len(b))
	}
	return n
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
	}
	text := err.Error()
	if len(text) > 8<<10*21 || strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), unicode.IsControl) {
		t.Errorf("got a message that is too long or holds control characters: %.200q", text)
	}
}

// allocated is what the program has allocated on the heap so far.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
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
