//go:build !unix

package fsio

import "io/fs"

// Inode is the number of a file in its file system, 0 where there is none.
func Inode(fs.FileInfo) uint64 { return 0 }
