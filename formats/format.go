package formats

import (
	"io"

	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// AliasRule is how a format says that two names share one tensor.
type AliasRule string

// The rules.
const (
	NameDropped   AliasRule = "name dropped"   // safetensors: one name is stored
	Absence       AliasRule = "absence"        // GGUF: the head is not there
	SharedStorage AliasRule = "shared storage" // PyTorch: two names, one storage
	SharedFile    AliasRule = "shared file"    // raw: two names, one file
)

// Shares reports whether one copy can have two names.
func (r AliasRule) Shares() bool { return r == SharedStorage || r == SharedFile }

// Limits are what a format can hold.
type Limits struct {
	Rank      int          // most dimensions
	NameBytes int          // longest tensor name
	DTypes    []dtype.Type // element types, in the format's own order
}

// Allows reports whether the format stores a type.
func (l Limits) Allows(t dtype.Type) bool {
	for _, d := range l.DTypes {
		if d == t {
			return true
		}
	}
	return false
}

// Format is one container format. Its functions are pure but for Open's reads.
type Format struct {
	Name   string
	Suffix string // ".safetensors"
	// Sniff reports whether a file that starts with head (up to 4 KiB, the whole of a shorter file) and has this size is of the
	// format. It judges by bytes alone.
	Sniff func(head []byte, size int64) bool
	// Open parses the headers of a set and checks all they say. Nothing but headers is read. All problems of one header come joined.
	Open func(fsys fsio.FS, s Set) (*Checkpoint, error)
	// Siblings gives all files of the set that a file name belongs to, in order, if the name says that it is a shard
	// ("model-00001-of-00003.safetensors"), else nil.
	Siblings func(name string) []string
	Limits   Limits
	Aliases  AliasRule
	// Layout says what the files of h will be, byte for byte but for the tensors' data. Tensors must name their File;
	// their order in a file is their order in h. It is pure.
	Layout func(h Header) (Layout, error)
	// ShardName is the name of shard i of n (from 0) of a set called stem.
	ShardName func(stem string, i, n int) string
	// IndexName is the name of the index of a set called stem, "" if the format has none.
	IndexName func(stem string) string
}

// Set is the files of one checkpoint: one file, or shards in order, or what an index lists.
type Set struct {
	Dir    string
	Files  []string // names in Dir; nil if the index says which
	Index  string   // the name of the index in Dir, or ""
	Bounds ReadBounds
}

// Layout is where each byte of a target goes.
type Layout struct {
	Files  []FileLayout
	Places []Place // Places[i] is where Tensors[i] of the header goes
	// Seal, for formats whose headers hold checksums of the data, gives parts to write when all data is there:
	// crc[i] is the IEEE CRC-32 of tensor i. Nil elsewhere.
	Seal func(crc []uint32) []Part
}

// FileLayout is one file: its size and the parts of it that are no tensor data. Bytes that neither a part nor a tensor covers are
// zero.
type FileLayout struct {
	Path  string // relative to the destination directory; slash-separated
	Bytes int64
	Parts []Part
}

// Part is fixed bytes in a file.
type Part struct {
	File   int // index into Files
	Offset int64
	Size   int64
	Data   io.ReaderAt
}

// Place is where the bytes of a tensor go.
type Place struct {
	File   int   // index into Files
	Offset int64 // of its first byte
	Bytes  int64 // its size
}
