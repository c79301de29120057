// Package gguf reads and writes GGUF, the format of llama.cpp: one file, or a split set, of typed metadata and tensors.
// It reads versions 1 to 3 in both byte orders, and writes version 3, little-endian.
package gguf

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// Format is GGUF. In its headers
//
//   - Metadata holds the keys of the file, or of the first file of a set, in file order, without split.no, split.count and
//     split.tensors.count, which Files and Tensor.File stand for;
//   - an element type that ggml.h does not name is "GGML_<id>": such tensors open as bytes and can be laid out again, and a note
//     says what else is known of the id.
//
// Tensors of a big-endian file open as the same little-endian bytes that a little-endian file would hold. For types whose layout in a
// big-endian file is not known, opening is Unsupported; they are listed like others.
var Format = formats.Format{
	Name:      "gguf",
	Suffix:    ".gguf",
	Sniff:     sniff,
	Open:      open,
	Siblings:  siblings,
	Limits:    formats.Limits{Rank: maxRank, NameBytes: maxName - 1, DTypes: all()},
	Aliases:   formats.Absence,
	Layout:    layout,
	ShardName: shardName,
	IndexName: func(string) string { return "" },
}

func sniff(head []byte, size int64) bool {
	return bytes.HasPrefix(head, []byte(magic))
}

func open(fsys fsio.FS, s formats.Set) (*formats.Checkpoint, error) {
	if s.Index != "" {
		return nil, formats.Errorf(formats.Unsupported, "GGUF has no index files").At(filepath.Join(s.Dir, s.Index), -1)
	}
	if len(s.Files) == 0 {
		panic("gguf: no files to open")
	}
	set := &formats.FileSet{FS: fsys, Dir: s.Dir, Bounds: s.Bounds}
	h, readers, err := read(set, s.Files)
	if err != nil {
		return nil, errors.Join(err, set.Close())
	}
	return formats.NewCheckpoint(s.Dir, h, func(i int) (io.ReaderAt, error) {
		t := h.Tensors[i]
		r := readers[t.File]
		data := formats.Range(r, t.Offset, t.Bytes)
		if !r.big {
			return data, nil
		}
		data, err := littleEndian(data, t)
		if err != nil {
			return nil, err.At(filepath.Join(s.Dir, t.File), t.Offset)
		}
		return data, nil
	}, set.Close), nil
}

// source is an open file of a set.
type source struct {
	io.ReaderAt
	big bool
}

// read parses all files of a set.
func read(set *formats.FileSet, files []string) (formats.Header, map[string]*source, error) {
	var problems []error
	var parts []*part
	readers := map[string]*source{}
	for _, name := range files {
		path := filepath.Join(set.Dir, name)
		if readers[name] != nil {
			problems = append(problems, formats.Errorf(formats.Dup, "the file is in the set twice").At(path, -1))
			continue
		}
		f, size, err := set.Open(name)
		if err != nil {
			problems = append(problems, absent(err).At(path, -1))
			continue
		}
		readers[name] = &source{ReaderAt: f}
		p, err := parse(f, name, path, size, set.Bounds)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		readers[name].big = p.big
		parts = append(parts, p)
	}
	if err := errors.Join(problems...); err != nil {
		return formats.Header{}, nil, err
	}
	h, err := join(parts)
	return h, readers, err
}

// absent tells a file that is not there from one that cannot be read.
func absent(err error) *formats.Error {
	if errors.Is(err, fs.ErrNotExist) {
		return formats.Errorf(formats.Missing, "%w", err)
	}
	return formats.Errorf(formats.IO, "%w", err)
}
