package formats

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/bowline-ml/bowline/formats/fsio"
)

// Checkpoint is a validated Header whose tensors open as readers. Nothing is loaded.
// It is safe for concurrent use until Close.
type Checkpoint struct {
	Header
	Dir string // where the files of the header are
	// Bounds are those that it was opened with; they hold for what lies beside it too.
	Bounds ReadBounds

	index   map[string]int32
	readers func(i int) (io.ReaderAt, error)
	close   func() error
	check   func(context.Context) error
}

// NewCheckpoint is for format packages. open gives the reader of Tensors[i], whose bytes 0 to Bytes-1 are the tensor in row-major,
// little-endian order; closeFn releases all files.
func NewCheckpoint(dir string, h Header, open func(i int) (io.ReaderAt, error), closeFn func() error) *Checkpoint {
	index := make(map[string]int32, len(h.Tensors))
	for i, t := range h.Tensors {
		index[t.Name] = int32(i)
	}
	return IndexedCheckpoint(dir, h, index, open, closeFn)
}

// IndexedCheckpoint is NewCheckpoint for packages that have found out where each name is in h.Tensors; the map is the checkpoint's from now on.
func IndexedCheckpoint(dir string, h Header, index map[string]int32, open func(i int) (io.ReaderAt, error), closeFn func() error) *Checkpoint {
	return &Checkpoint{Header: h, Dir: dir, index: index, readers: open, close: closeFn}
}

// OnCheck is for packages of formats whose files hold checksums of the tensors' data: f does what Check promises, and may run while
// tensors are read. It returns c.
func (c *Checkpoint) OnCheck(f func(context.Context) error) *Checkpoint {
	c.check = f
	return c
}

// Check compares the checksums that the files state of their tensors' data with what was read. A record of which any byte was read is
// checked whole: what was not read of it is read now. Records of which nothing was read are left alone. All that are wrong come joined,
// with code Mismatch. For formats without such checksums it does nothing. It comes before Close.
func (c *Checkpoint) Check(ctx context.Context) error {
	if c.check == nil {
		return nil
	}
	return c.check(ctx)
}

// Lookup finds a stored tensor by its name or by an alias of it; nil if there is none.
func (c *Checkpoint) Lookup(name string) *Tensor {
	if i, ok := c.index[name]; ok {
		return &c.Tensors[i]
	}
	for _, a := range c.Aliases {
		if a.Name == name {
			if i, ok := c.index[a.Of]; ok {
				return &c.Tensors[i]
			}
		}
	}
	return nil
}

// Open gives the bytes of a tensor: offset 0 is its first byte.
func (c *Checkpoint) Open(name string) (io.ReaderAt, error) {
	i, ok := c.index[name]
	if !ok {
		for _, a := range c.Aliases {
			if a.Name == name {
				i, ok = c.index[a.Of]
			}
		}
	}
	if !ok {
		return nil, Errorf(Missing, "no such tensor").In(name, "")
	}
	return c.readers(int(i))
}

// Close closes the files.
func (c *Checkpoint) Close() error {
	if c.close == nil {
		return nil
	}
	return c.close()
}

// Range reads the n bytes of r from off, as offset 0. Reads past the end are io.EOF like those of io.SectionReader;
// a file that is shorter than its header says gives io.ErrUnexpectedEOF.
func Range(r io.ReaderAt, off, n int64) io.ReaderAt { return io.NewSectionReader(r, off, n) }

// FileSet is the files of a checkpoint, which are closed together. Any number of them can be in use: those that are read seldom are closed and
// opened again, and refused if they are others by then. It is for format packages.
type FileSet struct {
	FS     fsio.FS
	Dir    string
	Bounds ReadBounds
	set    handles
	files  map[string]*handle
}

// Open gives the file with this name in the set's directory; a second call gives the same file. Open is not safe for concurrent use:
// formats open their files while they parse.
func (s *FileSet) Open(name string) (fsio.File, int64, error) {
	if s.files == nil {
		s.files = map[string]*handle{}
	}
	f := s.files[name]
	if f == nil {
		path := filepath.Join(s.Dir, name)
		open, err := s.FS.Open(path)
		if err != nil {
			return nil, 0, err
		}
		if f, err = s.set.add(open, path, s.FS.Open); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", name, err)
		}
		s.files[name] = f
	}
	return f, f.first.Size(), nil
}

// Close closes all files and returns the first error.
func (s *FileSet) Close() error {
	var first error
	for _, f := range s.files {
		if err := f.Close(); err != nil && first == nil {
			first = err
		}
	}
	s.files = nil
	return first
}
