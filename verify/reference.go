package verify

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"path/filepath"
	"strconv"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// ReadLogits reads reference logits from a file of tensors: logits [T, V] or [1, T, V], input_ids or tokens if there are any, and the hidden
// states embed, L.{i}.out and final_norm. Metadata says how they were made. Without ids Trace.Tokens is nil.
func ReadLogits(ck *formats.Checkpoint) (*Trace, Subject, error) {
	path := ck.Dir
	if len(ck.Files) > 0 {
		path = filepath.Join(ck.Dir, ck.Files[0].Path)
	}
	s := Subject{Path: path, Kind: Logits}
	var errs []error
	for _, k := range []struct {
		key string
		to  *string
	}{{"schema", &s.Schema}, {"engine", &s.Engine}, {"engine_version", &s.Version}, {"dtype", &s.DType},
		{"attn_implementation", &s.Attention}, {"device", &s.Device}, {"weights", (*string)(&s.Weights)}} {
		v, _, err := ck.Metadata.Str(k.key)
		if err != nil {
			errs = append(errs, err)
		}
		*k.to = v
	}
	t := &Trace{}
	read := func(name string) (m Matrix) {
		m, err := readMatrix(ck, name, t.Logits.Rows)
		if err != nil {
			errs = append(errs, err)
		}
		return m
	}
	if ck.Lookup("logits") == nil {
		return nil, s, errors.Join(append(errs, formats.Errorf(formats.Missing, "the file holds no logits").At(path, -1).In("logits", ""))...)
	}
	t.Logits = read("logits")
	s.Stored = ck.Lookup("logits").DType
	for _, name := range []string{"input_ids", "tokens"} {
		if ck.Lookup(name) != nil && t.Tokens == nil {
			ids, err := readTokens(ck, name, t.Logits.Rows)
			if err != nil {
				errs = append(errs, err)
			}
			t.Tokens = ids
		}
	}
	if ck.Lookup("embed") != nil {
		t.Embed = read("embed")
	}
	for i := 0; ck.Lookup(layerName(i)) != nil; i++ {
		t.Layers = append(t.Layers, read(layerName(i)))
	}
	if ck.Lookup("final_norm") != nil {
		t.FinalNorm = read("final_norm")
	}
	if err := errors.Join(errs...); err != nil {
		return nil, s, err
	}
	return t, s, nil
}

// flat drops a leading batch dimension of one.
func flat(shape []int64, rank int) []int64 {
	if len(shape) == rank+1 && shape[0] == 1 {
		return shape[1:]
	}
	return shape
}

// readMatrix reads [T, n] or [1, T, n]. T must be rows unless that is 0.
func readMatrix(ck *formats.Checkpoint, name string, rows int) (Matrix, error) {
	t := ck.Lookup(name)
	shape := flat(t.Shape, 2)
	if len(shape) != 2 || shape[0] > math.MaxInt32 || shape[1] > math.MaxInt32 || rows != 0 && shape[0] != int64(rows) {
		return Matrix{}, formats.Errorf(formats.BadShape, "got shape %v, want [T, n] or [1, T, n] with one T for all tensors", t.Shape).At(t.File, t.Offset).In(name, "")
	}
	if !t.DType.IsFloat() || !t.DType.CanDecode() {
		return Matrix{}, formats.Errorf(formats.BadDType, "got type %s, want F16, F32, F64 or BF16", t.DType).At(t.File, t.Offset).In(name, "")
	}
	r, err := ck.Open(name)
	if err != nil {
		return Matrix{}, err
	}
	m := Matrix{Rows: int(shape[0]), Cols: int(shape[1])}
	err = chunks(r, t.Bytes, func(done int64, b []byte) {
		at, n := int(done/t.DType.BlockBytes()), len(b)/int(t.DType.BlockBytes())
		if t.DType == dtype.F64 {
			m.F64 = append(m.F64, make([]float64, n)...)
			t.DType.DecodeWide(m.F64[at:], b)
			return
		}
		m.F32 = append(m.F32, make([]float32, n)...)
		t.DType.Decode(m.F32[at:], b)
	})
	if err != nil {
		return Matrix{}, formats.Errorf(formats.IO, "%w", err).At(t.File, -1).In(name, "")
	}
	return m, nil
}

func readTokens(ck *formats.Checkpoint, name string, rows int) ([]int32, error) {
	t := ck.Lookup(name)
	bad := func(code formats.Code, format string, args ...any) error {
		return formats.Errorf(code, format, args...).At(t.File, t.Offset).In(name, "")
	}
	shape := flat(t.Shape, 1)
	if len(shape) != 1 || shape[0] != int64(rows) {
		return nil, bad(formats.BadShape, "got shape %v, want [%d], a token for each row of logits", t.Shape, rows)
	}
	if t.DType != dtype.I64 && t.DType != dtype.I32 {
		return nil, bad(formats.BadDType, "got type %s, want I32 or I64", t.DType)
	}
	r, err := ck.Open(name)
	if err != nil {
		return nil, err
	}
	out := []int32{}
	err = chunks(r, t.Bytes, func(_ int64, b []byte) {
		for ; len(b) > 0; b = b[t.DType.BlockBytes():] {
			v := int64(int32(binary.LittleEndian.Uint32(b)))
			if t.DType == dtype.I64 {
				v = int64(binary.LittleEndian.Uint64(b))
			}
			if v < 0 || v > math.MaxInt32 {
				v = -1 // no vocabulary has it
			}
			out = append(out, int32(v))
		}
	})
	if err != nil {
		return nil, bad(formats.IO, "%w", err)
	}
	for i, v := range out {
		if v < 0 {
			return nil, bad(formats.Bounds, "element %d is no token id", i)
		}
	}
	return out, nil
}

// chunks reads n bytes of r in pieces of whole values, of which every type has a whole number in 1 MiB.
func chunks(r io.ReaderAt, n int64, f func(done int64, b []byte)) error {
	buf := make([]byte, min(n, 1<<20))
	for done := int64(0); done < n; {
		b := buf[:min(int64(len(buf)), n-done)]
		if got, err := r.ReadAt(b, done); got < len(b) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		f(done, b)
		done += int64(len(b))
	}
	return nil
}

// Header is the trace as a checkpoint to write: logits [T, V] F32, input_ids [T] I64, and the hidden states if the trace has them, all in
// file. data gives the bytes of tensor i.
func (t *Trace) Header(file string, md formats.Metadata) (h formats.Header, data func(i int) io.ReaderAt) {
	h.Metadata = md
	var readers []io.ReaderAt
	add := func(name string, kind dtype.Type, r io.ReaderAt, shape ...int64) {
		n, _ := formats.TensorBytes(kind, shape) // of values in memory
		h.Tensors = append(h.Tensors, formats.Tensor{Name: name, DType: kind, Shape: shape, Bytes: n, File: file, Offset: -1})
		readers = append(readers, formats.Range(r, 0, n))
	}
	matrix := func(name string, m Matrix) {
		if m.Rows > 0 {
			add(name, dtype.F32, values(m), int64(m.Rows), int64(m.Cols))
		}
	}
	matrix("logits", t.Logits)
	add("input_ids", dtype.I64, ids(t.Tokens), int64(len(t.Tokens)))
	matrix("embed", t.Embed)
	for i, m := range t.Layers {
		matrix(layerName(i), m)
	}
	matrix("final_norm", t.FinalNorm)
	return h, func(i int) io.ReaderAt { return readers[i] }
}

// Metadata says how Run made a trace of a model. version is that of the program.
func Metadata(m *arch.Model, version string, o Options) formats.Metadata {
	s := Describe(m, version, o)
	return formats.Metadata{
		{Key: "schema", Value: "logits/v1"}, {Key: "engine", Value: s.Engine}, {Key: "engine_version", Value: s.Version},
		{Key: "dtype", Value: s.DType}, {Key: "attn_implementation", Value: s.Attention}, {Key: "device", Value: s.Device},
		{Key: "weights", Value: string(s.Weights)}, {Key: "layers", Value: strconv.Itoa(s.Layers)},
	}
}

// values are the bytes of a matrix in float32, made when they are read.
type values Matrix

func (v values) ReadAt(b []byte, off int64) (int, error) {
	return elements(b, off, 4, v.Rows*v.Cols, func(word []byte, i int) {
		f := float32(0)
		if v.F64 != nil {
			f = float32(v.F64[i])
		} else {
			f = v.F32[i]
		}
		binary.LittleEndian.PutUint32(word, math.Float32bits(f))
	})
}

// ids are the bytes of tokens in int64.
type ids []int32

func (v ids) ReadAt(b []byte, off int64) (int, error) {
	return elements(b, off, 8, len(v), func(word []byte, i int) { binary.LittleEndian.PutUint64(word, uint64(v[i])) })
}

// elements fills b with the bytes from off on of count elements of size bytes.
func elements(b []byte, off int64, size, count int, put func(word []byte, i int)) (int, error) {
	word := make([]byte, size)
	n := 0
	for n < len(b) {
		i := int((off + int64(n)) / int64(size))
		if i >= count {
			return n, io.EOF
		}
		put(word, i)
		n += copy(b[n:], word[(off+int64(n))%int64(size):])
	}
	return n, nil
}
