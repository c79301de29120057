//go:build linux || darwin

package fsio

import (
	"errors"
	"math"
	"math/bits"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	openFlags = unix.O_NONBLOCK | unix.O_NOCTTY
	noFollow  = unix.O_NOFOLLOW
)

var refusals = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EROFS, syscall.EACCES, syscall.EPERM}

// setBlocking undoes O_NONBLOCK, which a few FUSE file systems take at its word and then answer EAGAIN.
func setBlocking(f *os.File) error {
	return control(f, func(fd uintptr) error { return unix.SetNonblock(int(fd), false) })
}

// rename is rename(2) itself: os.Rename refuses to replace an empty directory.
func rename(oldName, newName string) error {
	return uninterrupted(oldName, newName, unix.Rename)
}

func move(oldName, newName string) error { return uninterrupted(oldName, newName, renameNew) }

func uninterrupted(oldName, newName string, call func(from, to string) error) error {
	for {
		err := call(oldName, newName)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: err}
		}
	}
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

func lock(f *os.File) error {
	err := control(f, func(fd uintptr) error { return unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

// Close removes the file while the lock is still held: nobody can hold a lock on it that we would take away.
func (l osLock) Close() error { return errors.Join(os.Remove(l.name), l.f.Close()) }

func free(dir string) (int64, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EINTR) {
			return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
		}
	}
	if st.Blocks == 0 {
		return math.MaxInt64, nil
	}
	hi, lo := bits.Mul64(uint64(st.Bavail), uint64(blockSize(&st)))
	if hi != 0 || lo > math.MaxInt64 {
		return math.MaxInt64, nil
	}
	return int64(lo), nil
}
