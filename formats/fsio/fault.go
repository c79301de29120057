package fsio

import (
	"io"
	"io/fs"
	"slices"
	"sync/atomic"
	"syscall"
)

// Mode is how an operation goes wrong.
type Mode string

// The modes.
const (
	Fail  Mode = ""      // it does nothing and reports Err
	Late  Mode = "late"  // it does its work and reports Err all the same, as a retried request to a file server may
	Short Mode = "short" // ReadAt and WriteAt move the first half of the bytes; others fail
	Lie   Mode = "lie"   // it does nothing and reports success; what has to give a result (open, read, stat) is left alone
	Wrong Mode = "wrong" // WriteAt writes with one bit of the middle byte flipped and reports success; others are left alone
)

// Fault is an FS that goes wrong at one operation. A test counts the operations of a clean run with Ops, then fails each in turn:
//
//	for k := int64(1); k <= n; k++ {
//		f := &fsio.Fault{FS: fsio.NewMem(), At: k, Err: syscall.EIO}
//		...
//	}
//
// Set the fields before the first use. Flush is a hint without an outcome and does not count.
type Fault struct {
	FS
	At    int64                // the operation that goes wrong, from 1; 0 is none
	Mode  Mode                 // how
	Err   error                // what it reports; EIO if nil
	Only  func(op string) bool // if not nil, operations it says no to do not count. op is "open", "write", "syncdir", ...
	Stuck bool                 // every counted operation after At goes wrong too: a disk that died

	n   atomic.Int64
	hit atomic.Pointer[string]
}

// Ops is how many operations were counted.
func (f *Fault) Ops() int64 { return f.n.Load() }

// Hit is the operation that went wrong first and the name it was about ("rename /out"), or "".
func (f *Fault) Hit() string {
	if s := f.hit.Load(); s != nil {
		return *s
	}
	return ""
}

// verdict is what becomes of one operation: do says whether its work is done, err what is reported instead of its own outcome.
type verdict struct {
	do, short, wrong bool
	err              error
}

// judge counts an operation.
func (f *Fault) judge(op, name string) verdict {
	if f.Only != nil && !f.Only(op) {
		return verdict{do: true}
	}
	if n := f.n.Add(1); f.At == 0 || n < f.At || n > f.At && !f.Stuck {
		return verdict{do: true}
	}
	v := verdict{err: f.Err}
	if v.err == nil {
		v.err = syscall.EIO
	}
	switch f.Mode {
	case Late:
		v.do = true
	case Short:
		v.short = op == "read" || op == "write"
	case Wrong:
		if op != "write" {
			return verdict{do: true}
		}
		v = verdict{do: true, wrong: true}
	case Lie:
		switch op {
		case "mkdir", "rename", "chmod", "remove", "syncdir", "write", "allocate", "sync":
			v.err = nil
		default:
			return verdict{do: true}
		}
	}
	hit := op + " " + name
	f.hit.CompareAndSwap(nil, &hit)
	if v.err != nil {
		v.err = &fs.PathError{Op: op, Path: name, Err: v.err}
	}
	return v
}

// do runs an operation that has no result.
func (f *Fault) do(op, name string, run func() error) error {
	v := f.judge(op, name)
	if v.do {
		if err := run(); err != nil && v.err == nil {
			return err
		}
	}
	return v.err
}

func (f *Fault) Mkdir(name string) error {
	return f.do("mkdir", name, func() error { return f.FS.Mkdir(name) })
}

func (f *Fault) Rename(oldName, newName string) error {
	return f.do("rename", newName, func() error { return f.FS.Rename(oldName, newName) })
}

func (f *Fault) Move(oldName, newName string) error {
	return f.do("rename", newName, func() error { return f.FS.Move(oldName, newName) })
}

func (f *Fault) Chmod(name string, mode fs.FileMode) error {
	return f.do("chmod", name, func() error { return f.FS.Chmod(name, mode) })
}

func (f *Fault) Remove(name string) error {
	return f.do("remove", name, func() error { return f.FS.Remove(name) })
}

func (f *Fault) SyncDir(name string) error {
	return f.do("syncdir", name, func() error { return f.FS.SyncDir(name) })
}

func (f *Fault) Open(name string) (File, error)   { return f.open("open", name, f.FS.Open) }
func (f *Fault) OpenRW(name string) (File, error) { return f.open("openrw", name, f.FS.OpenRW) }
func (f *Fault) Create(name string) (File, error) { return f.open("create", name, f.FS.Create) }

func (f *Fault) open(op, name string, run func(string) (File, error)) (file File, err error) {
	err = f.do(op, name, func() error {
		file, err = run(name)
		return err
	})
	if err != nil {
		if file != nil {
			file.Close()
		}
		return nil, err
	}
	return &faultFile{f, file, name}, nil
}

func (f *Fault) Stat(name string) (st fs.FileInfo, err error) {
	err = f.do("stat", name, func() error { st, err = f.FS.Stat(name); return err })
	return st, err
}

func (f *Fault) Lstat(name string) (st fs.FileInfo, err error) {
	err = f.do("lstat", name, func() error { st, err = f.FS.Lstat(name); return err })
	return st, err
}

func (f *Fault) ReadDir(name string) (l []fs.DirEntry, err error) {
	err = f.do("readdir", name, func() error { l, err = f.FS.ReadDir(name); return err })
	return l, err
}

func (f *Fault) Free(dir string) (n int64, err error) {
	err = f.do("free", dir, func() error { n, err = f.FS.Free(dir); return err })
	return n, err
}

func (f *Fault) Lock(name string) (c io.Closer, err error) {
	err = f.do("lock", name, func() error { c, err = f.FS.Lock(name); return err })
	if err != nil {
		if c != nil {
			c.Close()
		}
		return nil, err
	}
	return faultLock{f, c, name}, nil
}

// faultLock counts the release of a lock. It always takes place, as it does when the process ends.
type faultLock struct {
	f    *Fault
	c    io.Closer
	name string
}

func (l faultLock) Close() error {
	v := l.f.judge("unlock", l.name)
	if err := l.c.Close(); err != nil {
		return err
	}
	return v.err
}

type faultFile struct {
	f    *Fault
	file File
	name string
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	return f.move("read", p, off, f.file.ReadAt, io.EOF)
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	return f.move("write", p, off, f.file.WriteAt, io.ErrShortWrite)
}

func (f *faultFile) move(op string, p []byte, off int64, run func([]byte, int64) (int, error), short error) (int, error) {
	v := f.f.judge(op, f.name)
	switch {
	case v.short:
		n, err := run(p[:len(p)/2], off)
		if err == nil {
			err = &fs.PathError{Op: op, Path: f.name, Err: short}
			if short == io.EOF { // what os.File gives at the end of a file that was cut off
				err = io.EOF
			}
		}
		return n, err
	case v.wrong && len(p) > 0:
		p = slices.Clone(p)
		p[len(p)/2] ^= 1
		return run(p, off)
	case v.do:
		n, err := run(p, off)
		if v.err != nil {
			return 0, v.err
		}
		return n, err
	case v.err == nil:
		return len(p), nil
	}
	return 0, v.err
}

func (f *faultFile) Stat() (st fs.FileInfo, err error) {
	err = f.f.do("stat", f.name, func() error { st, err = f.file.Stat(); return err })
	return st, err
}

func (f *faultFile) Allocate(size int64) error {
	return f.f.do("allocate", f.name, func() error { return f.file.Allocate(size) })
}

func (f *faultFile) Flush(off, n int64) { f.file.Flush(off, n) }

func (f *faultFile) Sync() error { return f.f.do("sync", f.name, f.file.Sync) }

// Close always closes, so that a test leaks nothing.
func (f *faultFile) Close() error {
	v := f.f.judge("close", f.name)
	if err := f.file.Close(); err != nil {
		return err
	}
	return v.err
}
