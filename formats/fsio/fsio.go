// Package fsio is the one door to the file system. Everything that bowline reads or writes goes through an [FS], so that tests
// can fail the k-th operation ([Fault]), or run in memory and see every state that a power cut could leave ([Mem]).
package fsio

import (
	"errors"
	"io"
	"io/fs"
)

// ErrLocked is returned by Lock when another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// FS is the operations that bowline asks of a file system. Names are paths as the operating system spells them.
// Errors are those of package os (*fs.PathError and friends), so errors.Is with fs.ErrNotExist and syscall.ENOSPC works.
// Implementations are safe for concurrent use.
type FS interface {
	// Open opens an existing regular file for reading. Anything else (a directory, FIFO, device) is an error.
	Open(name string) (File, error)
	// Create makes a new file for reading and writing, mode 0666 before umask. An existing name is fs.ErrExist.
	Create(name string) (File, error)
	// OpenRW opens an existing regular file for reading and writing. A symbolic link is an error: what it leads to is somebody else's.
	OpenRW(name string) (File, error)
	// Mkdir makes a directory, mode 0777 before umask.
	Mkdir(name string) error
	// Rename moves a file or a directory; a file, or an empty directory, at newName is replaced atomically.
	Rename(oldName, newName string) error
	// Move is Rename that replaces nothing: a newName that is there is fs.ErrExist. Where the system has no such call, it is looked
	// for first, which leaves a moment in between.
	Move(oldName, newName string) error
	// Chmod sets the permissions of a file or a directory.
	Chmod(name string, mode fs.FileMode) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// SyncDir makes the entries of a directory durable. Where the system has no such call it does nothing.
	SyncDir(name string) error
	// Stat follows symbolic links, Lstat does not.
	Stat(name string) (fs.FileInfo, error)
	Lstat(name string) (fs.FileInfo, error)
	// ReadDir lists a directory, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Lock takes an exclusive lock named by the file name (made if absent) and returns ErrLocked if another process, or
	// another caller in this one, has it. Close releases the lock and removes the file. A symbolic link, or anything else that is
	// no regular file, is an error.
	Lock(name string) (io.Closer, error)
	// Free is the number of bytes that an ordinary user may still write below the directory.
	Free(dir string) (int64, error)
}

// File is an open file. ReadAt and WriteAt are safe for concurrent use on disjoint ranges.
type File interface {
	io.ReaderAt
	io.WriterAt
	Stat() (fs.FileInfo, error)
	// Allocate sets the size of the file and reserves its blocks where the system can, so that a full disk shows before
	// the data is written.
	Allocate(size int64) error
	// Flush asks the system to start writing a range to the disk. It is a hint: it does not wait and has no error.
	Flush(off, n int64)
	Sync() error
	Close() error
}

// ReadFile reads a whole file of at most limit bytes; a larger one is an error that wraps ErrTooLarge.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() > limit {
		return nil, &fs.PathError{Op: "read", Path: name, Err: ErrTooLarge}
	}
	b := make([]byte, st.Size())
	if n, err := f.ReadAt(b, 0); err != nil && (err != io.EOF || n != len(b)) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return b, nil
}

// ErrTooLarge is returned for files beyond a stated limit.
var ErrTooLarge = errors.New("file is larger than the limit")
