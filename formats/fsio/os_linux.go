package fsio

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func allocate(f *os.File, size int64) error {
	if size > 0 {
		err := control(f, func(fd uintptr) error { return unix.Fallocate(int(fd), 0, 0, size) })
		if err != nil && !errors.Is(err, syscall.ENOTSUP) && !errors.Is(err, syscall.EOPNOTSUPP) && !errors.Is(err, syscall.ENOSYS) {
			return err
		}
	}
	return f.Truncate(size) // fallocate does not shrink
}

func renameNew(from, to string) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
}

func flush(f *os.File, off, n int64) {
	_ = control(f, func(fd uintptr) error { return unix.SyncFileRange(int(fd), off, n, unix.SYNC_FILE_RANGE_WRITE) })
}

// blockSize is the unit of Bavail: f_frsize where the file system fills it in, as statvfs has it.
func blockSize(st *unix.Statfs_t) int64 {
	if st.Frsize > 0 {
		return int64(st.Frsize)
	}
	return int64(st.Bsize)
}
