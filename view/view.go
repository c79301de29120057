// Package view is the operations that a plan may ask for, each a reader over another reader's bytes. They are a closed set, and they chain:
// nothing is loaded, and a read at any offset costs only the bytes that it covers.
package view

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// View is the bytes of a tensor, or of what an operation makes of it. Reads cover whole units (rows or blocks) within Size and are safe for
// concurrent use.
type View interface {
	io.ReaderAt
	Size() int64
	// Cut is how many bytes a reader at off should ask for: at most max where the unit allows, at least one unit, ending on a boundary
	// at which no byte of the source is read twice.
	Cut(off, max int64) int64
}

// Source is a stored tensor: unit is the size of one row or block, to which reads are cut.
func Source(r io.ReaderAt, size, unit int64) View { return &source{r, size, unit} }

type source struct {
	r          io.ReaderAt
	size, unit int64
}

func (s *source) Size() int64              { return s.size }
func (s *source) Cut(off, max int64) int64 { return cut(off, max, s.unit, s.size) }
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.r.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// cut is the most bytes from off on, up to max, that end on a boundary of units or at the end: up to the next boundary if that is more.
func cut(off, max, unit, size int64) int64 {
	end := (off + max) / unit * unit
	if end <= off {
		end = off/unit*unit + unit
	}
	return min(end, size) - off
}

// Const is bytes that the parameters imply.
func Const(b []byte) View { return &source{bytes.NewReader(b), int64(len(b)), int64(max(len(b), 1))} }

// Slice is rows lo to hi (exclusive) of v, whose rows have rowBytes bytes.
func Slice(v View, lo, hi, rowBytes int64) View {
	return &slice{v, lo * rowBytes, (hi - lo) * rowBytes}
}

type slice struct {
	v         View
	off, size int64
}

func (s *slice) Size() int64 { return s.size }
func (s *slice) Cut(off, max int64) int64 {
	return min(s.v.Cut(s.off+off, max), s.size-off)
}
func (s *slice) ReadAt(p []byte, off int64) (int, error) { return s.v.ReadAt(p, s.off+off) }

// Join is its parts one after the other along the rows.
func Join(parts ...View) View {
	j := &join{parts: parts}
	for _, p := range parts {
		j.ends = append(j.ends, j.Size()+p.Size())
	}
	return j
}

type join struct {
	parts []View
	ends  []int64
}

func (j *join) Size() int64 {
	if len(j.ends) == 0 {
		return 0
	}
	return j.ends[len(j.ends)-1]
}

// at is the part that holds byte off, and the offset in it.
func (j *join) at(off int64) (int, int64) {
	start := int64(0)
	for i, end := range j.ends {
		if off < end {
			return i, off - start
		}
		start = end
	}
	return len(j.parts), 0
}

func (j *join) Cut(off, max int64) int64 {
	i, in := j.at(off)
	if i == len(j.parts) {
		return 0
	}
	return j.parts[i].Cut(in, max)
}

func (j *join) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		i, in := j.at(off + int64(done))
		if i == len(j.parts) {
			return done, io.ErrUnexpectedEOF
		}
		n := min(int64(len(p)-done), j.parts[i].Size()-in)
		if _, err := j.parts[i].ReadAt(p[done:done+int(n)], in); err != nil {
			return done, fmt.Errorf("part %d: %w", i, err)
		}
		done += int(n)
	}
	return done, nil
}

// scratch lends buffers to reads; each worker gets back what it used last.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

func borrow(n int64) *[]byte {
	b := scratch.Get().(*[]byte)
	if int64(cap(*b)) < n {
		*b = make([]byte, n)
	}
	*b = (*b)[:n]
	return b
}
