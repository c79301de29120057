package gguf_test

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/gguf"
)

func TestConformance(t *testing.T) { formatstest.Run(t, gguf.Format) }

func TestSniff(t *testing.T) {
	for name, want := range map[string]bool{"values.gguf": true, "version1.gguf": true, "golden.json": false} {
		b := read(t, name)
		if got := gguf.Format.Sniff(b, int64(len(b))); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	if gguf.Format.Sniff([]byte("GGU"), 3) {
		t.Error("three bytes: got true, want false")
	}
}

// broken is a file system in which reads beyond an offset fail.
type broken struct {
	fsio.FS
	from int64
	err  error
}

func (b broken) Open(name string) (fsio.File, error) {
	f, err := b.FS.Open(name)
	return brokenFile{f, b}, err
}

type brokenFile struct {
	fsio.File
	b broken
}

func (f brokenFile) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) <= f.b.from {
		return f.File.ReadAt(p, off)
	}
	n, _ := f.File.ReadAt(p[:max(0, f.b.from-off)], off)
	return n, f.b.err
}

func TestReadsThatFail(t *testing.T) {
	for _, x := range []struct {
		name string
		err  error
		code formats.Code
		is   error
	}{
		{"the file became shorter", io.EOF, formats.Changed, io.ErrUnexpectedEOF},
		{"the disk fails", syscall.EIO, formats.IO, syscall.EIO},
	} {
		t.Run(x.name, func(t *testing.T) {
			size := int64(len(read(t, "values.gguf")))
			for from := range size {
				_, err := gguf.Format.Open(broken{memory(t, "values.gguf"), from, x.err}, formats.Set{Dir: "/", Files: []string{"values.gguf"}})
				list := formats.Errors(err)
				if len(list) != 1 || list[0].Code != x.code || list[0].Offset != from || list[0].Path != filepath.Join("/", "values.gguf") || !errors.Is(err, x.is) {
					t.Fatalf("reads fail from %d: got %v", from, err)
				}
			}
		})
	}
}

func TestAbsentFile(t *testing.T) {
	_, err := gguf.Format.Open(fsio.NewMem(), formats.Set{Dir: "/", Files: []string{"m.gguf"}})
	if formats.CodeOf(err) != formats.Missing || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %s", err, formats.Missing)
	}
}
