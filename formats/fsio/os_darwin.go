package fsio

import (
	"os"

	"golang.org/x/sys/unix"
)

func allocate(f *os.File, size int64) error { return f.Truncate(size) }

func renameNew(from, to string) error { return unix.RenamexNp(from, to, unix.RENAME_EXCL) }

func flush(*os.File, int64, int64) {}

func blockSize(st *unix.Statfs_t) int64 { return int64(st.Bsize) }
