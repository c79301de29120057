// Package formats says what a checkpoint is: a Header, readers for its tensors, and for writing a Layout that a Writer fills.
// Each format has a folder of its own below this one; package all lists them.
package formats

import (
	"math"
	"math/bits"
	"slices"

	"github.com/bowline-ml/bowline/formats/dtype"
)

// Tensor is one stored tensor. Shape is outermost dimension first in every format, GGUF included; nil or empty is a scalar.
type Tensor struct {
	Name  string
	DType dtype.Type
	Shape []int64
	Bytes int64  // stored bytes
	File  string // the file that holds it, relative to the checkpoint's directory
	// Offset is the first byte in File. It is -1 for a target before its layout is known.
	Offset int64
}

// Elems is the number of values: 1 for a scalar. It is exact for validated headers.
func (t Tensor) Elems() int64 { n, _ := Elems(t.Shape); return n }

// Elems is the checked product of a shape; ok is false if it does not fit 63 bits or a dimension is negative. A shape with
// a zero has no elements, whatever its other factors are.
func Elems(shape []int64) (n int64, ok bool) {
	zero := false
	for _, d := range shape {
		if d < 0 {
			return 0, false
		}
		zero = zero || d == 0
	}
	if zero {
		return 0, true
	}
	u := uint64(1)
	for _, d := range shape {
		hi, lo := bits.Mul64(u, uint64(d))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, false
		}
		u = lo
	}
	return int64(u), true
}

// TensorBytes is the checked size of a shape in a type: rows hold whole blocks, and types below 8 bits fill whole bytes.
func TensorBytes(t dtype.Type, shape []int64) (int64, error) {
	n, ok := Elems(shape)
	if !ok {
		return 0, Errorf(Overflow, "shape %v has more elements than 63 bits count", shape)
	}
	if row := t.BlockElems(); row > 1 && !t.Packed() {
		if len(shape) == 0 || shape[len(shape)-1]%row != 0 {
			return 0, Errorf(BadShape, "rows of shape %v are no multiple of the %d elements in a block of %s", shape, row, t)
		}
	}
	if n%t.BlockElems() != 0 {
		return 0, Errorf(BadShape, "shape %v of type %s does not fill whole bytes", shape, t)
	}
	hi, lo := bits.Mul64(uint64(n/t.BlockElems()), uint64(t.BlockBytes()))
	if hi != 0 || lo > math.MaxInt64 {
		return 0, Errorf(Overflow, "shape %v of type %s has more bytes than 63 bits count", shape, t)
	}
	return int64(lo), nil
}

// Alias is a name that shares the bytes of another tensor.
type Alias struct {
	Name string `json:"name"`
	Of   string `json:"of"`
}

// KV is one metadata entry. Value is one of: bool, string, u/int8 to 64, float32, float64, or a slice of one of these, or []any of
// slices for GGUF's nested arrays, or a Deferred.
type KV struct {
	Key   string
	Value any
}

// Deferred is a long array that stays in its file: what only lists keys need not read a vocabulary. Get and the typed getters load it.
type Deferred interface {
	Elem() string // the Go type of the elements: "string"
	Len() int
	// Load reads the array: a slice of Elem. The checkpoint that it comes from has to be open. Each call reads again.
	Load() (any, error)
}

// Metadata keeps file order.
type Metadata []KV

// Get is the value of a key, or nil. A deferred array that cannot be read any more is an error instead of a slice.
func (m Metadata) Get(key string) any {
	for _, kv := range m {
		if kv.Key == key {
			return load(kv.Value)
		}
	}
	return nil
}

func load(value any) any {
	d, ok := value.(Deferred)
	if !ok {
		return value
	}
	v, err := d.Load()
	if err != nil {
		return err
	}
	return v
}

// Loaded is m with all arrays read.
func (m Metadata) Loaded() (Metadata, error) {
	out := slices.Clone(m)
	for i, kv := range out {
		out[i].Value = load(kv.Value)
		if err, ok := out[i].Value.(error); ok {
			return nil, err
		}
	}
	return out, nil
}

// Note is a decision that a person may dispute, with its reason.
type Note struct {
	Subject  string `json:"subject"`  // a tensor, file or key
	Decision string `json:"decision"` // what was done
	Because  string `json:"because"`
	// Warn marks what deserves a look: it is printed even with --quiet.
	Warn bool `json:"warn,omitempty"`
}

// File is one file of a checkpoint.
type File struct {
	Path  string `json:"path"` // relative to the checkpoint's directory
	Bytes int64  `json:"bytes"`
}

// Header is all that a checkpoint says without its data. Tensors are in file order.
type Header struct {
	Format   string // "safetensors", "gguf", ...
	Files    []File // weights and index, in order
	Tensors  []Tensor
	Aliases  []Alias
	Metadata Metadata
	Notes    []Note
	// Dangling are index entries whose tensor is in no file; Unindexed are stored tensors that the index does not list.
	Dangling, Unindexed []string
}

// Tensor finds a tensor by name, or nil. Aliases are not followed.
func (h *Header) Tensor(name string) *Tensor {
	for i := range h.Tensors {
		if h.Tensors[i].Name == name {
			return &h.Tensors[i]
		}
	}
	return nil
}
