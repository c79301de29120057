package fsio

import (
	"errors"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// FILE_FLAG_OPEN_REPARSE_POINT, as os.OpenFile passes it on, opens a symbolic link itself, which is no regular file then.
const (
	openFlags = 0
	noFollow  = windows.FILE_FLAG_OPEN_REPARSE_POINT
)

// The first four are Go's own numbers, which no Windows call returns but which tests and other layers use.
var refusals = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EROFS, syscall.EACCES, syscall.EPERM,
	windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED, windows.ERROR_WRITE_PROTECT,
	windows.ERROR_FILE_TOO_LARGE}

func setBlocking(*os.File) error { return nil }

// rename replaces files (MOVEFILE_REPLACE_EXISTING), but no directory: an empty one goes first. One that is not empty stays, as
// Remove refuses it.
func rename(oldName, newName string) error {
	if st, err := os.Lstat(newName); err == nil && st.IsDir() {
		if err := os.Remove(newName); err != nil {
			return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: err}
		}
	}
	return os.Rename(oldName, newName)
}

// move is MoveFileEx without MOVEFILE_REPLACE_EXISTING.
func move(oldName, newName string) error {
	from, err := windows.UTF16PtrFromString(oldName)
	if err != nil {
		return err
	}
	to, err := windows.UTF16PtrFromString(newName)
	if err != nil {
		return err
	}
	if err := windows.MoveFileEx(from, to, 0); err != nil {
		return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: err}
	}
	return nil
}

// syncDir does nothing: Windows has no call to make a directory's entries durable.
func syncDir(string) error { return nil }

func allocate(f *os.File, size int64) error { return f.Truncate(size) }

func flush(*os.File, int64, int64) {}

func lock(f *os.File) error {
	err := control(f, func(fd uintptr) error {
		return windows.LockFileEx(windows.Handle(fd), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return ErrLocked
	}
	return err
}

// Close releases first, since Windows removes no open file. If another caller opened it meanwhile the file is that caller's to
// remove.
func (l osLock) Close() error {
	if err := l.f.Close(); err != nil {
		return err
	}
	err := os.Remove(l.name)
	if errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func free(dir string) (int64, error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var n uint64
	if err := windows.GetDiskFreeSpaceEx(p, &n, nil, nil); err != nil {
		return 0, &os.PathError{Op: "free space of", Path: dir, Err: err}
	}
	return int64(min(n, math.MaxInt64)), nil
}
