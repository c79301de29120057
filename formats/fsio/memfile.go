package fsio

import (
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"syscall"
)

// memFile is an open file. It stays usable when its name goes.
type memFile struct {
	m      *Mem
	node   *node
	name   string
	rw     bool
	closed bool
}

func (f *memFile) ready(op string, write bool) error {
	switch {
	case f.closed:
		return failed(op, f.name, fs.ErrClosed)
	case write && !f.rw:
		return failed(op, f.name, syscall.EBADF)
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.ready("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, failed("read", f.name, fs.ErrInvalid)
	}
	n := copy(p, f.node.data[min(off, int64(len(f.node.data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.ready("write", true); err != nil {
		return 0, err
	}
	if off < 0 || off > math.MaxInt64-int64(len(p)) {
		return 0, failed("write", f.name, fs.ErrInvalid)
	}
	if err := f.grow("write", off+int64(len(p))); err != nil {
		return 0, err
	}
	f.m.apply(change{kind: wrote, node: f.node.id, off: off, data: slices.Clone(p)}, f.node, nil, nil)
	return len(p), nil
}

// grow checks that there is room for the file to have this size.
func (f *memFile) grow(op string, size int64) error {
	more := max(0, size-int64(len(f.node.data)))
	if f.m.Space > 0 && f.m.used()+more > f.m.Space {
		return failed(op, f.name, syscall.ENOSPC)
	}
	return nil
}

func (f *memFile) Allocate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.ready("allocate", true); err != nil {
		return err
	}
	if err := f.grow("allocate", size); err != nil {
		return err
	}
	f.m.apply(change{kind: sized, node: f.node.id, off: size}, f.node, nil, nil)
	return nil
}

func (f *memFile) Flush(off, n int64) {}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.ready("sync", true); err != nil {
		return err
	}
	f.m.log = append(f.m.log, change{kind: synced, node: f.node.id})
	return nil
}

func (f *memFile) Stat() (fs.FileInfo, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.ready("stat", false); err != nil {
		return nil, err
	}
	return f.node.info(path.Base(clean(f.name))), nil
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	err := f.ready("close", false)
	f.closed = true
	return err
}
