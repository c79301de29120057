package verify_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// snapshot is a small model in memory, to be changed.
type snapshot struct {
	m       *arch.Model
	tensors map[string]*stored
	types   map[string]dtype.Type // other than F32
	short   bool                  // its readers end early
}

type stored struct {
	shape []int64
	v     []float32
}

func load(t *testing.T, m *arch.Model) *snapshot {
	t.Helper()
	s := &snapshot{m: m, tensors: map[string]*stored{}, types: map[string]dtype.Type{}}
	for _, x := range m.Tensors {
		r, err := m.Open(x.Name)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, x.Bytes)
		if _, err := r.ReadAt(b, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		v := make([]float32, x.Elems())
		x.DType.Decode(v, b)
		s.tensors[x.Name] = &stored{slices.Clone(x.Shape), v}
	}
	return s
}

func (s *snapshot) drop(name string) *snapshot {
	delete(s.tensors, name)
	return s
}

func (s *snapshot) reshape(name string, shape ...int64) *snapshot {
	s.tensors[name].shape = shape
	return s
}

// model is the snapshot as a model with a config of its own.
func (s *snapshot) model(t *testing.T) *arch.Model {
	t.Helper()
	var h formats.Header
	var data [][]byte
	for _, name := range slices.Sorted(maps.Keys(s.tensors)) {
		x := s.tensors[name]
		kind := s.types[name]
		var b []byte
		if kind == "" {
			kind = dtype.F32
			for _, v := range x.v {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
			}
		} else {
			n, err := formats.TensorBytes(kind, x.shape)
			if err != nil {
				t.Fatal(err)
			}
			b = make([]byte, n)
			kind.Encode(b, x.v)
		}
		h.Tensors = append(h.Tensors, formats.Tensor{Name: name, DType: kind, Shape: x.shape, Bytes: int64(len(b))})
		if s.short {
			b = b[:len(b)-1]
		}
		data = append(data, b)
	}
	m, c := *s.m, *s.m.Config
	m.Config = &c
	m.Checkpoint = formats.NewCheckpoint("", h, func(i int) (io.ReaderAt, error) { return bytes.NewReader(data[i]), nil }, nil)
	return &m
}
