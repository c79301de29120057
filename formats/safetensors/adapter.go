package safetensors

import (
	"io"

	nlp "github.com/nlpodyssey/safetensors"

	"github.com/bowline-ml/bowline/formats"
)

// View is a tensor of any checkpoint as github.com/nlpodyssey/safetensors wants it, so that programs built on that package can
// take our tensors: Serialize(map[string]*View{...}, nil).
type View struct {
	tensor formats.Tensor
	dtype  nlp.DType
	r      io.ReaderAt
	err    error
}

var _ nlp.View = (*View)(nil)

// NewView makes the view of a tensor. A type that the package does not know is E_DTYPE.
func NewView(c *formats.Checkpoint, name string) (*View, error) {
	t := c.Lookup(name)
	if t == nil {
		return nil, formats.Errorf(formats.Missing, "no such tensor").In(name, "")
	}
	d, err := nlp.ParseDType(string(t.DType))
	if err != nil {
		return nil, formats.Errorf(formats.BadDType, "nlpodyssey/safetensors has no type %s", t.DType).In(name, "dtype")
	}
	r, err := c.Open(name)
	if err != nil {
		return nil, err
	}
	return &View{tensor: *t, dtype: d, r: r}, nil
}

// DType is the element type.
func (v *View) DType() nlp.DType { return v.dtype }

// Shape is outermost first, and never nil: the package would write that as null.
func (v *View) Shape() []uint64 {
	s := make([]uint64, len(v.tensor.Shape))
	for i, d := range v.tensor.Shape {
		s[i] = uint64(d)
	}
	return s
}

// DataLen is the size in bytes.
func (v *View) DataLen() uint64 { return uint64(v.tensor.Bytes) }

// Data reads the whole tensor, each time anew. The interface has no room for an error: if reading fails the result is nil, and Err
// tells why. Ask Err after serializing.
func (v *View) Data() []byte {
	b := make([]byte, v.tensor.Bytes)
	if n, err := v.r.ReadAt(b, 0); n < len(b) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		v.err = formats.Errorf(formats.IO, "%w", err).In(v.tensor.Name, "")
		return nil
	}
	return b
}

// Err is the first failure of Data.
func (v *View) Err() error { return v.err }
