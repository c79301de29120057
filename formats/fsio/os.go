package fsio

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// OS is the file system of the operating system. Its zero value is ready to use.
type OS struct{}

// errIrregular is the cause of errors about directories, FIFOs, sockets and devices.
var errIrregular = errors.New("not a regular file")

// Open opens for reading. The open does not block, so a FIFO without a writer is an error and not a hang.
func (OS) Open(name string) (File, error) { return open(name, os.O_RDONLY) }

// OpenRW opens for reading and writing.
func (OS) OpenRW(name string) (File, error) { return open(name, os.O_RDWR|noFollow) }

// Create makes a file. O_EXCL does not follow a symbolic link either.
func (OS) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag|openFlags, 0)
	if err != nil {
		return nil, followed(flag, err)
	}
	// Asked of the open descriptor: the name may mean something else by now.
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errIrregular}
	}
	if err == nil {
		err = setBlocking(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return osFile{f}, nil
}

// followed says what ELOOP means where links are not followed.
func followed(flag int, err error) error {
	var p *fs.PathError
	if flag&noFollow != 0 && errors.Is(err, syscall.ELOOP) && errors.As(err, &p) {
		p.Err = errIrregular
	}
	return err
}

func (OS) Mkdir(name string) error                    { return os.Mkdir(name, 0o777) }
func (OS) Remove(name string) error                   { return os.Remove(name) }
func (OS) Stat(name string) (fs.FileInfo, error)      { return os.Stat(name) }
func (OS) Lstat(name string) (fs.FileInfo, error)     { return os.Lstat(name) }
func (OS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// Rename moves a file or a directory. On Windows an empty directory at newName is removed first, so there the two steps are not
// one.
func (OS) Rename(oldName, newName string) error { return rename(oldName, newName) }

// Move moves a file or a directory to a name that is free.
func (OS) Move(oldName, newName string) error {
	err := move(oldName, newName)
	if !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	// A file system without the call (some network ones, kernels before 3.15).
	if _, err := os.Lstat(newName); err == nil {
		return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: fs.ErrExist}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return rename(oldName, newName)
}

func (OS) Chmod(name string, mode fs.FileMode) error { return os.Chmod(name, mode) }

// SyncDir makes the entries of a directory durable. File systems that cannot say so for a directory (EINVAL, ENOTSUP) count as
// those that have no such call.
func (OS) SyncDir(name string) error { return syncDir(name) }

// Lock takes an advisory lock (flock, LockFileEx). It belongs to the open file, so it excludes other callers in this process too.
// The system releases it if the process dies; the file that is left then does no harm.
func (OS) Lock(name string) (io.Closer, error) {
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|openFlags|noFollow, 0o666)
		if err != nil {
			return nil, followed(noFollow, err)
		}
		mine, err := f.Stat()
		if err == nil && !mine.Mode().IsRegular() {
			err = &fs.PathError{Op: "lock", Path: name, Err: errIrregular}
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if err := lock(f); err != nil {
			f.Close()
			if errors.Is(err, ErrLocked) {
				return nil, err
			}
			return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
		}
		// The holder before us may have removed the file between our open and our lock: then we hold a lock on a file without
		// a name, and the next caller would hold another.
		if named, err := os.Lstat(name); err == nil && os.SameFile(mine, named) {
			return osLock{f, name}, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// Free is the room left for an ordinary user. A file system that reports no size at all (some network and FUSE ones) is taken as
// one without an end.
func (OS) Free(dir string) (int64, error) { return free(dir) }

// osLock is a held lock.
type osLock struct {
	f    *os.File
	name string
}

// osFile is an open file.
type osFile struct{ *os.File }

// Allocate reserves blocks with fallocate where there is such a call; elsewhere it sets the size alone.
func (f osFile) Allocate(size int64) error {
	if err := allocate(f.File, size); err != nil {
		return &fs.PathError{Op: "allocate", Path: f.Name(), Err: err}
	}
	return nil
}

// Flush starts writeback of a range (sync_file_range on Linux).
func (f osFile) Flush(off, n int64) { flush(f.File, off, n) }

// SameFile reports whether two infos of one FS describe one file, whatever the names.
func SameFile(a, b fs.FileInfo) bool {
	if x, ok := a.(info); ok {
		y, ok := b.(info)
		return ok && x.node == y.node
	}
	return os.SameFile(a, b)
}

// Refused reports whether an error means that the system does not let us write here: no space, quota, size limit, read-only
// file system, permission. Anything else on output is a fault of the device.
func Refused(err error) bool {
	for _, e := range refusals {
		if errors.Is(err, e) {
			return true
		}
	}
	return errors.Is(err, fs.ErrPermission)
}

// Impossible reports whether an error means that there can be no such path: a file where a directory would have to be, something else where a file
// would, a name too long.
func Impossible(err error) bool {
	for _, e := range []error{errIrregular, syscall.ENOTDIR, syscall.EISDIR, syscall.ENAMETOOLONG, syscall.ELOOP, syscall.EINVAL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return errors.Is(err, fs.ErrNotExist)
}

// control runs call on the descriptor of f. f.Fd would also do, but may change the mode of the descriptor.
func control(f *os.File, call func(fd uintptr) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := c.Control(func(fd uintptr) {
		for {
			if inner = call(fd); !errors.Is(inner, syscall.EINTR) {
				return
			}
		}
	}); err != nil {
		return err
	}
	return inner
}
