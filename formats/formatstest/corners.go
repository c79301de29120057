package formatstest

import (
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// Corner is a checkpoint at an edge of what the limits of a format allow, which random ones meet too seldom.
type Corner struct {
	Name string
	Sample
}

// Corners are such checkpoints within the limits.
func Corners(l formats.Limits) []Corner {
	types := slices.DeleteFunc(slices.Clone(l.DTypes), func(t dtype.Type) bool { return !t.Known() })
	var out []Corner
	corner := func(name string, s Sample) {
		if len(s.Header.Tensors) > 0 {
			out = append(out, Corner{name, s})
		}
	}
	var ranks, zeros, every, floats, names, many Sample
	for rank := 0; rank <= min(l.Rank, 8); rank++ {
		dims := make([]int64, rank)
		for i := range dims {
			dims[i] = 1 + int64(i+rank)%2
		}
		for _, t := range []dtype.Type{"F32", "U8", "BF16", "F64"} {
			ranks.add(l, fmt.Sprintf("rank.%d.%s", rank, t), t, dims)
		}
	}
	for i, dims := range [][]int64{{0}, {0, 3}, {3, 0}, {0, 0}, {2, 0, 2}, {math.MaxInt64, 0}} {
		for _, t := range []dtype.Type{"F32", "I8"} {
			if dims[0] < math.MaxInt64 || l.Rank > 4 { // ggml multiplies what it has before it sees the zero
				zeros.add(l, fmt.Sprintf("zero.%d.%s", i, t), t, dims)
			}
		}
		zeros.add(l, fmt.Sprintf("between.%d", i), "F32", []int64{1})
	}
	for _, t := range types {
		block := t.BlockElems()
		every.add(l, "every."+string(t), t, []int64{3, 2 * block})
		every.add(l, "every.row."+string(t), t, []int64{block})
		if t.Packed() {
			every.add(l, "every.split."+string(t), t, []int64{block, 3}) // rows that end within a byte
		}
	}
	for _, x := range []struct {
		t      dtype.Type
		values []uint64
	}{
		{"F64", []uint64{0x7ff8000000000001, 0xfff0000000000001, 0x8000000000000000, 1, 0x000fffffffffffff, 0x7ff0000000000000, 0xfff0000000000000}},
		{"F32", []uint64{0x7fc00001, 0x7f800001, 0xffffffff, 0x80000000, 1, 0x007fffff, 0x7f800000, 0xff800000}},
		{"F16", []uint64{0x7e01, 0x7c01, 0xffff, 0x8000, 1, 0x03ff, 0x7c00, 0xfc00}}, {"BF16", []uint64{0x7fc1, 0x7f81, 0xffff, 0x8000, 1, 0x007f, 0x7f80, 0xff80}},
		{"F8_E4M3", []uint64{0x7f, 0xff, 0x80, 1}}, {"F8_E5M2", []uint64{0x7d, 0x7c, 0xff, 0x80, 1}},
	} {
		var b []byte
		for _, v := range x.values {
			b = append(b, binary.LittleEndian.AppendUint64(nil, v)[:x.t.BlockBytes()]...)
		}
		floats.put(l, "bits."+string(x.t), x.t, []int64{int64(len(x.values))}, b)
	}
	most := l.NameBytes
	if most == 0 {
		most = 4096
	}
	for i, name := range []string{"x", strings.Repeat("n", most), strings.Repeat("é", most/2), strings.Repeat("e\u0301", most/3), strings.Repeat("🪢", most/4),
		"\u00e9", "e\u0301", "\u202eabc", "模型.层.0.权重", "\U0010ffff", "a\u00a0b", "\u2028"} {
		names.add(l, name, "F32", []int64{int64(i + 1)})
	}
	for i := range 40 {
		many.add(l, fmt.Sprintf("many.%d", 39-i), "F32", []int64{int64(i % 3)})
	}
	corner("ranks", ranks)
	corner("zero sizes", zeros)
	corner("every type", every)
	corner("bits of floats", floats)
	corner("names", names)
	corner("many tensors", many)
	for i, k := range []string{"z", "a", "m", "zz", "_", "0", "aa"} {
		many.Header.Metadata = append(many.Header.Metadata, formats.KV{Key: "test." + k, Value: values[i%len(values)]})
	}
	corner("order of metadata", many)
	return out
}

// add appends a tensor of counting bytes, if the limits allow it.
func (s *Sample) add(l formats.Limits, name string, t dtype.Type, dims []int64) {
	n, err := formats.TensorBytes(t, dims)
	if err != nil {
		return
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + len(s.Data))
	}
	s.put(l, name, t, dims, b)
}

func (s *Sample) put(l formats.Limits, name string, t dtype.Type, dims []int64, b []byte) {
	if !l.Allows(t) || len(dims) > l.Rank {
		return
	}
	s.Header.Tensors = append(s.Header.Tensors, formats.Tensor{Name: name, DType: t, Shape: dims, Bytes: int64(len(b)), Offset: -1})
	s.Data = append(s.Data, b)
}

// Through writes a sample in a format and reads it again: its tensors in the order of the files, with their bytes. The files are in memory.
func Through(t testing.TB, f formats.Format, s Sample) Sample {
	t.Helper()
	l, err := f.Layout(s.Header)
	if err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	files, err := s.Files(l)
	if err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	fsys := fsio.NewMem()
	Put(t, fsys, "/", files)
	weights, index := split(f, l)
	c, err := f.Open(fsys, formats.Set{Dir: "/", Files: weights, Index: index})
	if err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	defer c.Close()
	out := Sample{Header: c.Header}
	for _, x := range c.Tensors {
		out.Data = append(out.Data, Bytes(t, c, x.Name))
	}
	return out
}

// split tells the weights of a layout from its index.
func split(f formats.Format, l formats.Layout) (weights []string, index string) {
	for _, file := range l.Files {
		if filepath.Base(file.Path) == f.IndexName("model") {
			index = file.Path
		} else {
			weights = append(weights, file.Path)
		}
	}
	return weights, index
}
