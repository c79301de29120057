package convert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
)

// twin reads two matrices side by side, over their common rows.
type twin struct {
	m          *arch.Model
	a, b       *formats.Tensor
	ra, rb     io.ReaderAt
	rowA, rowB int64 // bytes
	rows, step int64 // in common, and at once
	read       int64
}

func newTwin(m *arch.Model, a, b *formats.Tensor) (*twin, error) {
	w := &twin{m: m, a: a, b: b, rowA: rowBytes(a), rowB: rowBytes(b), rows: min(a.Shape[0], b.Shape[0])}
	w.step = max(1, evidenceChunk/max(w.rowA, w.rowB, 1))
	var err error
	if w.ra, err = m.Open(a.Name); err != nil {
		return nil, err
	}
	w.rb, err = m.Open(b.Name)
	return w, err
}

// buffers hold one step.
func (w *twin) buffers() (a, b []byte) {
	return make([]byte, w.step*w.rowA), make([]byte, w.step*w.rowB)
}

// fetch reads n rows from row r of both.
func (w *twin) fetch(bufA, bufB []byte, r, n int64) (pa, pb []byte, err error) {
	pa, pb = bufA[:n*w.rowA], bufB[:n*w.rowB]
	if err := readFull(w.ra, pa, r*w.rowA, w.m, w.a); err != nil {
		return nil, nil, err
	}
	return pa, pb, readFull(w.rb, pb, r*w.rowB, w.m, w.b)
}

// each goes over the first rows in order.
func (w *twin) each(ctx context.Context, rows int64, f func(r, n int64, pa, pb []byte) error) error {
	bufA, bufB := w.buffers()
	for r := int64(0); r < rows; r += w.step {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(w.step, rows-r)
		pa, pb, err := w.fetch(bufA, bufB, r, n)
		if err != nil {
			return err
		}
		w.read += int64(len(pa) + len(pb))
		if err := f(r, n, pa, pb); err != nil {
			return err
		}
	}
	return nil
}

// same reports whether the common rows hold the same bytes. Steps are shared out, for one reader does not keep up with the page cache.
func (w *twin) same(ctx context.Context) (bool, error) {
	steps := (w.rows + w.step - 1) / w.step
	var next, first atomic.Int64 // the next step to compare, and the first that differs
	first.Store(steps)
	g, ctx := errgroup.WithContext(ctx)
	for range min(int64(runtime.GOMAXPROCS(0)), steps) {
		g.Go(func() error {
			bufA, bufB := w.buffers()
			for {
				k := next.Add(1) - 1
				if k >= first.Load() {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				pa, pb, err := w.fetch(bufA, bufB, k*w.step, min(w.step, w.rows-k*w.step))
				if err != nil {
					return err
				}
				for at := first.Load(); k < at && !bytes.Equal(pa, pb); at = first.Load() {
					first.CompareAndSwap(at, k)
				}
			}
		})
	}
	err := g.Wait()
	// Up to the first that differs, and not what others had begun by then: the sum must not depend on who was faster.
	w.read += min(w.rows, (first.Load()+1)*w.step) * (w.rowA + w.rowB)
	return first.Load() == steps, err
}

// sums are the digests of two matrices that may turn out to hold the same bytes, which then are hashed once.
type sums struct{ a, b hash.Hash }

func (s *sums) add(pa, pb []byte, same bool) error {
	if !same && s.b == nil {
		c, err := s.a.(hash.Cloner).Clone()
		if err != nil {
			return err
		}
		s.b = c
	}
	s.a.Write(pa)
	if s.b != nil {
		s.b.Write(pb)
	}
	return nil
}

// finish adds the rows that only one of the two has, and makes the digests by name.
func (s *sums) finish(ctx context.Context, w *twin) (map[string]string, error) {
	if err := s.add(nil, nil, w.a.Shape[0] == w.b.Shape[0]); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, x := range []struct {
		t *formats.Tensor
		r io.ReaderAt
		h hash.Hash
		n int64 // hashed already
	}{{w.a, w.ra, s.a, w.rows * w.rowA}, {w.b, w.rb, s.b, w.rows * w.rowB}} {
		if x.h == nil {
			x.h = s.a
		}
		buf := make([]byte, min(evidenceChunk, x.t.Bytes-x.n))
		for x.n < x.t.Bytes {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			p := buf[:min(int64(len(buf)), x.t.Bytes-x.n)]
			if err := readFull(x.r, p, x.n, w.m, x.t); err != nil {
				return nil, err
			}
			x.h.Write(p)
			x.n += int64(len(p))
			w.read += int64(len(p))
		}
		out[x.t.Name] = hex.EncodeToString(x.h.Sum(nil))
	}
	return out, nil
}

// compare finds the relation of two matrices: bytes first, and only if they differ the statistics, for which what was equal until then is
// read again. With digest the bytes are hashed as they come by. It returns how many bytes it read.
func compare(ctx context.Context, m *arch.Model, a, b *formats.Tensor, digest bool) (*Comparison, int64, error) {
	decodable := a.DType.CanDecode() && b.DType.CanDecode()
	if len(a.Shape) != 2 || len(b.Shape) != 2 || a.Shape[1] != b.Shape[1] || !a.DType.Known() || !decodable && a.DType != b.DType {
		return &Comparison{Relation: Incomparable}, 0, nil
	}
	if min(a.Shape[0], b.Shape[0]) == 0 || a.Shape[1] == 0 { // nothing to compare, and a row of nothing may claim any width
		return &Comparison{Relation: Incomparable}, 0, nil
	}
	w, err := newTwin(m, a, b)
	if err != nil {
		return nil, 0, err
	}
	var st stats
	va, vb := make([]float64, a.Shape[1]), make([]float64, a.Shape[1])
	measure := func(r, n int64, pa, pb []byte) error {
		for i := range n {
			a.DType.DecodeWide(va, pa[i*w.rowA:(i+1)*w.rowA])
			b.DType.DecodeWide(vb, pb[i*w.rowB:(i+1)*w.rowB])
			st.row(r+i, va, vb)
		}
		return nil
	}
	same := a.DType == b.DType
	var digests map[string]string
	switch {
	case digest:
		s := &sums{a: sha256.New()}
		err = w.each(ctx, w.rows, func(r, n int64, pa, pb []byte) error {
			was := same
			same = same && bytes.Equal(pa, pb)
			if err := s.add(pa, pb, same); err != nil || same || !decodable {
				return err
			}
			if was { // the rows until now have not been measured
				if err := w.each(ctx, r, measure); err != nil {
					return err
				}
			}
			return measure(r, n, pa, pb)
		})
		if err == nil {
			digests, err = s.finish(ctx, w)
		}
	case same:
		if same, err = w.same(ctx); err == nil && !same && decodable {
			err = w.each(ctx, w.rows, measure)
		}
	default:
		err = w.each(ctx, w.rows, measure)
	}
	if err != nil {
		return nil, w.read, err
	}
	c := &Comparison{Relation: Incomparable}
	switch {
	case same && a.Shape[0] == b.Shape[0]:
		c = &Comparison{Relation: Equal, Distance: Distance{Scale: 1, MinRowCosine: 1}}
	case same:
		c = &Comparison{Relation: Prefix, Distance: Distance{Scale: 1, MinRowCosine: 1}}
	case decodable:
		c = st.comparison(w.rows, a.Shape[0] == b.Shape[0])
	}
	c.Digests = digests
	return c, w.read, nil
}
