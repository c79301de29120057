package verify

import (
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/kernels"
)

// weight is a stored tensor as a matrix, or some of the rows of one; a vector is one row.
type weight struct {
	name       string
	t          dtype.Type
	rows, cols int
	src        io.ReaderAt
	off        int64 // of the first row
}

// rowBytes is the stored size of a row.
func (w *weight) rowBytes() int64 { return int64(w.cols) / w.t.BlockElems() * w.t.BlockBytes() }

// scratch belongs to one worker.
type scratch struct {
	stored []byte
	f32    []float32
	f64    []float64
	tile   []float64
}

// read gives rows lo to hi as the file holds them, widened exactly. The result is s's until its next use.
func (w *weight) read(lo, hi int, s *scratch) ([]float64, error) {
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

// find is the tensor of a role in a layer. It is nil if the parameters say that the model has none, and on failure.
func (w *weights) find(role string, layer int64) *weight {
	row := w.m.Family.Tensor(role)
	name := row.In(w.m.Scheme, layer)
	t := w.m.Lookup(name)
	if row.When != nil && !row.When(w.m.Config) {
		if part, fused := w.fused(role, layer); t != nil || fused {
			if part != nil {
				name = part.name
			}
			w.fail(name, formats.Mismatch, "the tensor is stored, but the parameters say that the model has none")
		}
		return nil
	}
	if t == nil {
		if part, fused := w.fused(role, layer); fused {
			return part
		}
		w.fail(name, formats.Missing, "the tensor is missing")
		return nil
	}
	shape := dims(row, w)
	return w.open(t, shape, shape, 0)
}

// fused is the rows of a role within a tensor that joins several; ok is false if the file has no such tensor.
func (w *weights) fused(role string, layer int64) (part *weight, ok bool) {
	for _, f := range w.m.Family.Fused {
		name := strings.ReplaceAll(f.Name[w.m.Scheme], "{i}", strconv.FormatInt(layer, 10))
		t := w.m.Lookup(name)
		if t == nil {
			continue
		}
		var whole, mine []int64
		var first int64
		for _, p := range f.Parts {
			shape := dims(w.m.Family.Tensor(p), w)
			if p == role {
				mine = shape
				if whole != nil {
					first = whole[0]
				}
			}
			if whole == nil {
				whole = append(whole, shape...)
			} else {
				whole[0] += shape[0]
			}
		}
		if mine != nil {
			return w.open(t, whole, mine, first), true
		}
	}
	return nil, false
}

func dims(row *arch.Tensor, w *weights) []int64 {
	var shape []int64
	for _, d := range row.Shape {
		shape = append(shape, d(w.m.Config))
	}
	return shape
}

// open checks a tensor and gives the part of it that starts at element (of a vector) or row (of a matrix) first.
func (w *weights) open(t *formats.Tensor, whole, part []int64, first int64) *weight {
	if !equal(t.Shape, whole) {
		w.fail(t.Name, formats.BadShape, "got shape %v, want %v", t.Shape, whole)
		return nil
	}
	if t.Elems() == 0 {
		w.fail(t.Name, formats.BadShape, "got shape %v, want elements", t.Shape)
		return nil
	}
	if !t.DType.IsFloat() && !t.DType.IsQuantized() || !t.DType.CanDecode() {
		w.fail(t.Name, formats.BadDType, "got type %s, want one that decodes to real numbers", t.DType)
		return nil
	}
	out := &weight{name: t.Name, t: t.DType, rows: 1, cols: int(part[len(part)-1])}
	if len(part) == 2 {
		out.rows = int(part[0])
		out.off = first * out.rowBytes()
	} else {
		out.off = first / t.DType.BlockElems() * t.DType.BlockBytes()
	}
	if b := t.DType.BlockElems(); int64(out.cols)%b != 0 || len(part) == 1 && first%b != 0 || t.DType.Packed() {
		w.fail(t.Name, formats.BadShape, "rows of %d values are no multiple of the %d in a block of %s", out.cols, b, t.DType)
		return nil
	}
	var err error
	if out.src, err = w.m.Open(t.Name); err != nil {
		w.fail(t.Name, formats.CodeOf(err), "%w", err)
		return nil
	}
	return out
}

func equal(a, b []int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// embeddings are the embedding and the head of a model that may share them: what the file holds is used as it is. A tensor that is
// absent is the other one, unless the file's rules deny it; it is never made up.
func (w *weights) embeddings(embed, head string) (e, h *weight) {
	stored := func(role string) bool { return w.m.Lookup(w.m.Family.Names(w.m.Scheme, role, 0)) != nil }
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
		w.fail(w.m.Family.Names(w.m.Scheme, head, 0), formats.Missing, "the head is missing, and the configuration says that it is not tied to the embedding")
	case stored(head) && !untied && w.m.Scheme != arch.GGUF:
		h = w.find(head, 0)
		return h, h
	default:
		w.find(embed, 0)
	}
	return nil, nil
}
