package index

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// Text reads n bytes, which the file's size vouches for, as a string without holding them twice.
func Text(f io.ReaderAt, off, n int64) (string, error) {
	var b strings.Builder
	b.Grow(int(n))
	buf := make([]byte, min(n, 1<<20))
	for n > 0 {
		part := buf[:min(n, int64(len(buf)))]
		if err := Full(f, part, off); err != nil {
			return "", err
		}
		b.Write(part)
		off += int64(len(part))
		n -= int64(len(part))
	}
	return b.String(), nil
}

// Full fills p; a file that ends before is io.ErrUnexpectedEOF.
func Full(f io.ReaderAt, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Absent is the error for a file that cannot be opened, named by an index if it is not "".
func Absent(path string, err error, index string) *formats.Error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return formats.Errorf(formats.Missing, "no permission to read it: %w", fs.ErrPermission).At(path, -1)
	case !errors.Is(err, fs.ErrNotExist):
		return formats.Errorf(formats.IO, "%w", err).At(path, -1)
	}
	e := formats.Errorf(formats.Missing, "no such file: %w", fs.ErrNotExist).At(path, -1)
	if index != "" {
		e = e.In("", "weight_map").Hinted("%s names it; is the download complete?", index)
	}
	return e
}

// Failed is the error for a read that failed.
func Failed(path string, at int64, err error) *formats.Error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return formats.Errorf(formats.Changed, "the file became shorter while it was read: %w", err).At(path, at)
	}
	return formats.Errorf(formats.IO, "%w", err).At(path, at)
}

// Shards lists the files that an index names, sorted. The files need not exist.
func Shards(fsys fsio.FS, dir, name string) ([]string, error) {
	return ShardsWithin(fsys, dir, name, formats.ReadBounds{})
}

// ShardsWithin is Shards with other bounds than the defaults.
func ShardsWithin(fsys fsio.FS, dir, name string, b formats.ReadBounds) ([]string, error) {
	opened := &formats.FileSet{FS: fsys, Dir: dir, Bounds: b}
	defer opened.Close()
	x, err := Read(opened, name)
	if err != nil {
		return nil, err
	}
	return x.Files, nil
}

// Read reads an index and checks all that it says by itself.
func Read(opened *formats.FileSet, name string) (*Index, error) {
	path := filepath.Join(opened.Dir, name)
	f, size, err := opened.Open(name)
	if err != nil {
		return nil, Absent(path, err, "")
	}
	if most := opened.Bounds.Of(formats.IndexBound); size > most {
		return nil, formats.Errorf(formats.Limit, "got an index of %d bytes, want at most %d", size, most).At(path, 0).
			Hinted("%s", formats.IndexBound.Hint(size))
	}
	src, err := Text(f, 0, size)
	if err != nil {
		return nil, Failed(path, 0, err)
	}
	return parse(path, name, src, opened.Bounds)
}
