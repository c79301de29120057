// Package pytorch reads PyTorch checkpoints, the zip files of torch.save since version 1.6 and the files from before, alone or as shards
// with an index, and writes the former.
//
// Such a file holds a pickle, a program for a stack machine that may name any Python function and have it called. Here it is
// interpreted against a closed table of names and nothing is ever called: a state dictionary needs a dozen names, all others stand for
// themselves. The zip archive around it is read strictly too: its directory and the headers of its records have to say the same, and
// every byte has to belong to one of them, so that no two readers see two files.
//
// Checksums of the pickle and of the small records are verified when a file is opened. Tensors are read in pieces, in any order, by many
// readers: the checksum of each piece is taken as it is read, and Checkpoint.Check combines them, reads what is left of their records,
// and compares. torch.load compares none. An archive written without checksums is read with a note.
package pytorch

import (
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/index"
)

const (
	suffix = ".bin"
	// maxRank is torch's own limit.
	maxRank = 64
	// maxName is the longest name of a tensor that is written, and of a class or function that is read.
	maxName = 4096
)

// Format is PyTorch's. Files are called .bin, .pt and .pth; shards and indexes always end in .bin.
var Format = formats.Format{
	Name:      "pytorch",
	Suffix:    suffix,
	Sniff:     sniff,
	Open:      open,
	Siblings:  func(name string) []string { return index.Siblings(name, suffix) },
	Limits:    formats.Limits{Rank: maxRank, NameBytes: maxName, DTypes: dtypes},
	Aliases:   formats.SharedStorage,
	Layout:    layout,
	ShardName: func(stem string, i, n int) string { return index.ShardName(stem, suffix, i, n) },
	IndexName: func(stem string) string { return stem + suffix + index.Suffix },
}

// scalar is a type of torch.
type scalar struct {
	dtype   dtype.Type
	name    string // torch.NAME
	storage string // its class of storages; "" for the types since torch 2.1, which have none (torch/storage.py, _new_dtypes)
}

var scalars = []scalar{
	{dtype.BOOL, "bool", "BoolStorage"},
	{dtype.U8, "uint8", "ByteStorage"},
	{dtype.I8, "int8", "CharStorage"},
	{dtype.F8_E5M2, "float8_e5m2", ""},
	{dtype.F8_E4M3, "float8_e4m3fn", ""},
	{"F8_E8M0", "float8_e8m0fnu", ""},
	{"F8_E4M3FNUZ", "float8_e4m3fnuz", ""},
	{"F8_E5M2FNUZ", "float8_e5m2fnuz", ""},
	{dtype.I16, "int16", "ShortStorage"},
	{dtype.U16, "uint16", ""},
	{dtype.F16, "float16", "HalfStorage"},
	{dtype.BF16, "bfloat16", "BFloat16Storage"},
	{dtype.I32, "int32", "IntStorage"},
	{dtype.U32, "uint32", ""},
	{dtype.F32, "float32", "FloatStorage"},
	{"C64", "complex64", "ComplexFloatStorage"},
	{dtype.F64, "float64", "DoubleStorage"},
	{dtype.I64, "int64", "LongStorage"},
	{dtype.U64, "uint64", ""},
}

var dtypes = func() []dtype.Type {
	var list []dtype.Type
	for _, s := range scalars {
		list = append(list, s.dtype)
	}
	return list
}()

// others are torch's remaining types, with the storages that some of them have and the bytes of an element there: known, so that they can
// be refused by name.
var others = []struct {
	name, storage string
	bytes         int64
}{
	{"complex128", "ComplexDoubleStorage", 16}, {"complex32", "", 0}, {"qint8", "QInt8Storage", 1}, {"quint8", "QUInt8Storage", 1}, {"qint32", "QInt32Storage", 4},
	{"quint4x2", "QUInt4x2Storage", 1}, {"quint2x4", "QUInt2x4Storage", 1}, {"float4_e2m1fn_x2", "", 0},
	{"bits8", "", 0}, {"bits16", "", 0}, {"bits1x8", "", 0}, {"bits2x4", "", 0}, {"bits4x2", "", 0},
	{"int1", "", 0}, {"int2", "", 0}, {"int3", "", 0}, {"int4", "", 0}, {"int5", "", 0}, {"int6", "", 0}, {"int7", "", 0},
	{"uint1", "", 0}, {"uint2", "", 0}, {"uint3", "", 0}, {"uint4", "", 0}, {"uint5", "", 0}, {"uint6", "", 0}, {"uint7", "", 0},
}

// untyped are the names that storages of bytes have had.
var untyped = map[string]bool{
	"torch.storage.UntypedStorage": true, "torch.UntypedStorage": true, "torch.storage._UntypedStorage": true, "torch._UntypedStorage": true,
}

// find is the scalar for which is holds.
func find(is func(scalar) bool) (scalar, bool) {
	for _, s := range scalars {
		if is(s) {
			return s, true
		}
	}
	return scalar{}, false
}

// The start of archives, and of files that are none but PyTorch's all the same. What a legacy file begins with is the number
// 0x1950a86a20f9469cfc6c as a pickle of its own (torch/serialization.py, MAGIC_NUMBER), whatever the protocol's framing around it.
const (
	zipMagic     = "PK\x03\x04"
	legacyNumber = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
	legacyText   = "L119547037146038801333356L\n"
	previewMagic = "PYTORCH1"
)

// sniff reports zip archives but those of NumPy, the files from before them, and still older ones, which open refuses by name.
func sniff(head []byte, size int64) bool {
	if strings.HasPrefix(string(head), zipMagic) {
		return !numpyZip(head)
	}
	return legacyStart(string(head)) || olderForm(string(head)) != nil
}

// numpyZip reports whether the first record is an array, as in .npz files.
func numpyZip(head []byte) bool {
	const fixed = 30
	if len(head) < fixed {
		return false
	}
	n := int(head[26]) | int(head[27])<<8
	return len(head) >= fixed+n && strings.HasSuffix(string(head[fixed:fixed+n]), ".npy")
}

// olderForm says which container that is not read a file starts like, or nil.
func olderForm(head string) *formats.Error {
	again := "load it with torch and save it again"
	switch {
	case strings.HasPrefix(head, previewMagic):
		return formats.Errorf(formats.Version, "this is a file of a preview of PyTorch 1.0, which is not read").Hinted("%s", again)
	case bareStart(head):
		return formats.Errorf(formats.Magic, "this is a pickle that torch.save did not write").Hinted("write it with torch.save, or with safetensors")
	}
	if len(head) < 262 || head[257:262] != "ustar" {
		return nil
	}
	name, _, _ := strings.Cut(head[:100], "\x00")
	switch strings.TrimPrefix(name, "./") {
	case "sys_info", "pickle", "storages", "tensors":
		return formats.Errorf(formats.Unsupported, "this is a tar file of PyTorch 0.1, which is not read").Hinted("%s", again)
	}
	return nil
}
