package verify

import (
	"errors"
	"io"
	"slices"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/kernels"
)

// weight is a stored tensor as a matrix, or some of the rows of one; a vector is one row.
type weight struct {
	name, role string
	t          dtype.Type
	rows, cols int
	src        io.ReaderAt
	off        int64 // of the first row
	// turned is a matrix that is stored as [in, out], with stride values in a stored row: columns of what is stored are rows.
	turned bool
	stride int
	shift  float64 // of a norm: what the layout's programs add to it
}

// rowBytes is the stored size of a row.
func (w *weight) rowBytes() int64 { return int64(w.cols) / w.t.BlockElems() * w.t.BlockBytes() }

// scratch belongs to one worker.
type scratch struct {
	stored []byte
	f32    []float32
	f64    []float64
	tile   []float64
	column []float64
}

// read gives rows lo to hi as the file holds them, widened exactly. The result is s's until its next use.
func (w *weight) read(lo, hi int, s *scratch) ([]float64, error) {
	if w.turned {
		return w.columns(lo, hi, s)
	}
	n := (hi - lo) * w.cols
	s.stored = grow(s.stored, int(int64(hi-lo)*w.rowBytes()))
	if got, err := w.src.ReadAt(s.stored, w.off+int64(lo)*w.rowBytes()); got < len(s.stored) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, formats.Errorf(formats.IO, "%w", err).In(w.name, "")
	}
	s.f64 = grow(s.f64, n)
	if w.t == dtype.F64 {
		w.t.DecodeWide(s.f64, s.stored)
		return s.f64, nil
	}
	s.f32 = grow(s.f32, n)
	w.t.Decode(s.f32, s.stored)
	kernels.Widen(s.f64, s.f32)
	return s.f64, nil
}

// columns is read for a turned matrix: of each stored row the values lo to hi.
func (w *weight) columns(lo, hi int, s *scratch) ([]float64, error) {
	n, size := hi-lo, int(w.t.BlockBytes())
	s.stored, s.f64, s.column = grow(s.stored, n*size), grow(s.f64, n*w.cols), grow(s.column, n)
	s.f32 = grow(s.f32, n)
	for k := range w.cols {
		if got, err := w.src.ReadAt(s.stored, w.off+int64((k*w.stride+lo)*size)); got < len(s.stored) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, formats.Errorf(formats.IO, "%w", err).In(w.name, "")
		}
		if w.t == dtype.F64 {
			w.t.DecodeWide(s.column, s.stored)
		} else {
			w.t.Decode(s.f32, s.stored)
			kernels.Widen(s.column, s.f32)
		}
		for j, v := range s.column {
			s.f64[j*w.cols+k] = v
		}
	}
	return s.f64, nil
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// weights finds the tensors of a model by role. Problems are collected; err has them all.
type weights struct {
	m    *arch.Model
	errs []error
	more int // problems beyond maxErrors
}

// maxErrors bounds what a config with absurd numbers can cost.
const maxErrors = 1000

func (w *weights) fail(name string, code formats.Code, format string, args ...any) {
	if len(w.errs) >= maxErrors {
		w.more++
		return
	}
	w.errs = append(w.errs, formats.Errorf(code, format, args...).At(w.m.Path(), -1).In(name, ""))
}

func (w *weights) err() error {
	if w.more > 0 {
		w.errs = append(w.errs, formats.Errorf(formats.Missing, "%d more tensors are missing or wrong", w.more).At(w.m.Path(), -1))
	}
	return errors.Join(w.errs...)
}

// find is the tensor of a role in a layer, as its rows lie in the file. It is nil if the parameters say that the model has none, and on failure.
func (w *weights) find(role string, layer int64) *weight {
	row := w.m.Family.Tensor(role)
	if row == nil {
		return nil // the family has no such tensor
	}
	runs := w.m.Find(row, layer)
	if row.When != nil && !row.When(w.m.Config) {
		if runs != nil {
			w.fail(runs[0].Name, formats.Mismatch, "the tensor is stored, but the parameters say that the model has none")
		}
		return nil
	}
	if runs == nil {
		w.fail(w.m.Missing(row, layer), formats.Missing, "the tensor is missing")
		return nil
	}
	out := w.open(runs[0], len(w.m.Dims(row)) == 1)
	if out != nil && row.Kind == arch.Norm {
		out.shift = float64(w.m.Family.Layouts[w.m.Scheme].NormShift)
	}
	if out != nil {
		out.role = role
	}
	return out
}

// experts are the tensors of a role of which each expert has one, as matrices.
func (w *weights) experts(role string, layer int64) []*weight {
	row := w.m.Family.Tensor(role)
	runs := w.m.Find(row, layer)
	n := w.m.Config.Experts
	if runs == nil || n == 0 {
		w.fail(w.m.Missing(row, layer), formats.Missing, "the tensor is missing")
		return nil
	}
	if len(runs) == 1 { // one tensor holds all, one after the other
		all := runs[0]
		runs = nil
		for e := range n {
			one := all
			one.First, one.Rows = all.First+e*(all.Rows/n), all.Rows/n
			runs = append(runs, one)
		}
	}
	var out []*weight
	for _, r := range runs {
		out = append(out, w.open(r, false))
	}
	return out
}

// open checks a tensor and gives the part of it that a run is.
func (w *weights) open(r arch.Run, vector bool) *weight {
	t := r.Tensor
	if t == nil {
		w.fail(r.Name, formats.Missing, "the tensor is missing")
		return nil
	}
	if !slices.Equal(t.Shape, r.Want) {
		w.fail(r.Name, formats.BadShape, "got shape %v, want %v", t.Shape, r.Want)
		return nil
	}
	if t.Elems() == 0 {
		w.fail(r.Name, formats.BadShape, "got shape %v, want elements", t.Shape)
		return nil
	}
	if !t.DType.IsFloat() && !t.DType.IsQuantized() || !t.DType.CanDecode() {
		w.fail(r.Name, formats.BadDType, "got type %s, want one that decodes to real numbers", t.DType)
		return nil
	}
	out := &weight{name: r.Name, t: t.DType, rows: int(r.Rows), cols: int(t.Shape[len(t.Shape)-1])}
	first := r.First * int64(out.cols) // element
	switch {
	case vector:
		out.rows, out.cols, first = 1, int(r.Rows), r.First
	case r.Turned:
		out.cols, out.turned, out.stride, first = int(t.Shape[0]), true, int(t.Shape[1]), r.First
	}
	if b := t.DType.BlockElems(); int64(out.cols)%b != 0 || first%b != 0 || t.DType.Packed() || r.Turned && b > 1 {
		w.fail(r.Name, formats.BadShape, "rows of %d values are no multiple of the %d in a block of %s", out.cols, b, t.DType)
		return nil
	}
	out.off = first / t.DType.BlockElems() * t.DType.BlockBytes()
	var err error
	if out.src, err = w.m.Open(t.Name); err != nil {
		w.fail(r.Name, formats.CodeOf(err), "%w", err)
		return nil
	}
	return out
}

// embeddings are the embedding and the head of a model that may share them: what the file holds is used as it is. A tensor that is
// absent is the other one, unless the file's rules deny it; it is never made up.
func (w *weights) embeddings(embed, head string) (e, h *weight) {
	stored := func(role string) bool { return w.m.Lookup(w.m.NameOf(role, 0)) != nil }
	untied := false
	if w.m.Scheme != arch.GGUF && len(w.m.Config.Tie) > 0 {
		untied = w.m.Config.Tie[0].Explicit && !w.m.Config.Tie[0].Value
	}
	switch {
	case stored(embed) && stored(head):
		return w.find(embed, 0), w.find(head, 0)
	case stored(embed) && !untied:
		e = w.find(embed, 0)
		return e, e
	case stored(embed):
		w.fail(w.m.NameOf(head, 0), formats.Missing, "the head is missing, and the configuration says that it is not tied to the embedding")
	case stored(head) && !untied && w.m.Scheme != arch.GGUF:
		h = w.find(head, 0)
		return h, h
	default:
		w.find(embed, 0)
	}
	return nil, nil
}
