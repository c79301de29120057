package formats

import (
	"fmt"
	"math"
)

// ReadBounds are the most that is read of the files of a checkpoint: what bounds the memory and the time that a file can ask for. The zero
// value of a field is the default of its Bound, so that the zero ReadBounds is what most callers want. Raising one allocates nothing by
// itself: a length that a file claims is still held against the bytes that are there before it sizes anything.
//
// What a format itself limits is no matter of choice and has no field: GGUF's 4 dimensions and the 4 levels of its arrays, the 64 bytes of
// its names, the 64 dimensions of numpy and torch, the header of an .npy file, which has 16 bits for its length.
type ReadBounds struct {
	Header    int64
	Metadata  int64
	Index     int64
	Pickle    int64
	Directory int64
	Records   int64
	Tensors   int64
	Shards    int64
	Name      int64
	Depth     int64
	Expanded  int64
	Config    int64
	Side      int64
}

// Bound names one field of ReadBounds.
type Bound int

// The bounds, in the order of the fields.
const (
	HeaderBound Bound = iota
	MetadataBound
	IndexBound
	PickleBound
	DirectoryBound
	RecordsBound
	TensorsBound
	ShardsBound
	NameBound
	DepthBound
	ExpandedBound
	ConfigBound
	SideBound
)

// offsets is where parsers stop counting bytes and entries: they keep places in 31 bits.
const offsets = math.MaxInt32 - 1

// bounds is all there is to say of each. The flags, their help and the hints of errors are made of it.
var bounds = [...]struct {
	flag     string
	bytes    bool // else a number
	standard int64
	highest  int64
	of       string
	field    func(*ReadBounds) *int64
}{
	// The standard is MAX_HEADER_SIZE of the reference (safetensors/src/tensor.rs).
	HeaderBound: {"max-header", true, 100_000_000, offsets, "the header of a safetensors file", func(b *ReadBounds) *int64 { return &b.Header }},
	// The largest known vocabularies need about 30 MiB. One string of it has at most 64 MiB, or a quarter if that is more: a whole
	// tokenizer.json (33 MB for Gemma 3) may be carried in one.
	MetadataBound:  {"max-metadata", true, 256 << 20, offsets, "all before the tensors of a GGUF file", func(b *ReadBounds) *int64 { return &b.Metadata }},
	IndexBound:     {"max-index", true, 256 << 20, offsets, "an index of shards, or a tensors.json", func(b *ReadBounds) *int64 { return &b.Index }},
	PickleBound:    {"max-pickle", true, 64 << 20, offsets, "the pickle of a PyTorch file", func(b *ReadBounds) *int64 { return &b.Pickle }},
	DirectoryBound: {"max-directory", true, 256 << 20, offsets, "the zip directory of a PyTorch file", func(b *ReadBounds) *int64 { return &b.Directory }},
	RecordsBound:   {"max-records", false, 1_000_000, offsets, "records of a PyTorch file", func(b *ReadBounds) *int64 { return &b.Records }},
	// Elsewhere the bytes of the header or the pickle bound the tensors too.
	TensorsBound: {"max-tensors", false, 1 << 20, offsets, "tensors of a GGUF file, an index or a tensors.json", func(b *ReadBounds) *int64 { return &b.Tensors }},
	ShardsBound:  {"max-shards", false, 10_000, offsets, "files of a set", func(b *ReadBounds) *int64 { return &b.Shards }},
	NameBound:    {"max-name", true, 4096, 1 << 20, "a tensor's name in a PyTorch file", func(b *ReadBounds) *int64 { return &b.Name }},
	DepthBound:   {"max-depth", false, 1000, 60_000, "levels of the values in a pickle", func(b *ReadBounds) *int64 { return &b.Depth }}, // 16 bits count them
	// A few bytes of a file can ask for any size.
	ExpandedBound: {"max-expanded", true, 1 << 30, math.MaxInt64, "a tensor of more than 16 times its storage", func(b *ReadBounds) *int64 { return &b.Expanded }},
	ConfigBound:   {"max-config", true, 64 << 20, offsets, "config.json or params.json", func(b *ReadBounds) *int64 { return &b.Config }},
	SideBound:     {"max-side", true, 256 << 20, offsets, "another side file, as tokenizer.json", func(b *ReadBounds) *int64 { return &b.Side }},
}

// AllBounds lists the bounds.
func AllBounds() []Bound {
	out := make([]Bound, len(bounds))
	for i := range out {
		out[i] = Bound(i)
	}
	return out
}

// Flag is the name of the flag that sets the bound.
func (k Bound) Flag() string { return bounds[k].flag }

// Usage is a line of help for it, with the unit in backquotes.
func (k Bound) Usage() string {
	if bounds[k].bytes {
		return "`BYTES` of " + bounds[k].of
	}
	return "`N` " + bounds[k].of
}

// Bytes reports whether the bound is of bytes, and not of a number of things.
func (k Bound) Bytes() bool { return bounds[k].bytes }

// Default is what holds where a field is zero. Highest is what parsers can do: a field beyond it means as much.
func (k Bound) Default() int64 { return bounds[k].standard }

// Highest is the most that the bound can be.
func (k Bound) Highest() int64 { return bounds[k].highest }

// Hint says what to do about an error of something that is as large as need; "" if nothing helps.
func (k Bound) Hint(need int64) string {
	if need > bounds[k].highest {
		return ""
	}
	return fmt.Sprintf("raise it with --%s", bounds[k].flag)
}

// Of is a bound's value.
func (b ReadBounds) Of(k Bound) int64 {
	v := *bounds[k].field(&b)
	if v <= 0 {
		return bounds[k].standard
	}
	return min(v, bounds[k].highest)
}

// With is b with one bound set; 0 stands for the default.
func (b ReadBounds) With(k Bound, value int64) ReadBounds {
	*bounds[k].field(&b) = value
	return b
}

// Raised is b with nothing below its default: what this tool wrote itself is read again however little is read of strangers' files.
func (b ReadBounds) Raised() ReadBounds {
	for _, k := range AllBounds() {
		b = b.With(k, max(b.Of(k), k.Default()))
	}
	return b
}
