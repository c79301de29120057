// Package raw reads and writes checkpoints that numpy alone can make: a folder of .npy files or headerless dumps with a manifest,
// tensors.json. A bare .npy file is a checkpoint of one tensor.
//
// The manifest is an object:
//
//	{"format": "bowline.raw/1",
//	 "tensors": [{"name": "a.weight", "dtype": "F32", "shape": [2, 3], "file": "a.npy"},
//	             {"name": "b.weight", "dtype": "BF16", "shape": [8], "file": "rest.raw", "offset": 0}],
//	 "aliases": [{"name": "c.weight", "of": "a.weight"}],
//	 "metadata": {"key": "text"}}
//
// A file whose name ends in .npy has a header that says its type, shape, order and byte order: what the manifest says of these is optional
// and has to agree. Any other file is a dump, of which the manifest says all: dtype and shape, offset (without one the tensor is the whole
// file), "bytes" (checked if given), "order" ("C", or "F" with the first dimension fastest) and "byteorder" ("little" or "big"). Two entries that
// say the same of the same bytes are a tensor and its alias. Other keys are refused.
//
// The .npy format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html and numpy/lib/_format_impl.py.
package raw

import (
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/index"
)

// Manifest is the name of the file that lists the tensors of a folder.
const Manifest = "tensors.json"

const (
	schema = "bowline.raw/1"
	suffix = ".npy"
	dumped = ".raw" // of the dumps that this package writes
	// maxRank is numpy's NPY_MAXDIMS since version 2 (ndarraytypes.h).
	maxRank = 64
)

// Format is raw. An empty stem makes no names of shards: a tensor that names no file gets an .npy file of its own.
var Format = formats.Format{
	Name:     "raw",
	Suffix:   suffix,
	Sniff:    sniff,
	Open:     open,
	Siblings: func(name string) []string { return index.Siblings(name, dumped) },
	Limits:   formats.Limits{Rank: maxRank, NameBytes: 4096, DTypes: dtypes},
	Aliases:  formats.SharedFile,
	Layout:   layout,
	ShardName: func(stem string, i, n int) string {
		if stem == "" {
			return ""
		}
		return index.ShardName(stem, dumped, i, n)
	},
	IndexName: func(string) string { return Manifest },
}

// sniff knows an .npy file by its magic. A dump has none.
func sniff(head []byte, _ int64) bool { return strings.HasPrefix(string(head), magic) }
