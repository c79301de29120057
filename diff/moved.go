package diff

import (
	"io"
	"sync/atomic"

	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/view"
)

func casted(l *logical) view.View { return view.Cast(l.view, l.as, dtype.F32, new(atomic.Int64)) }

// swappedBytes is B with the bytes of each value the other way round.
func swappedBytes(x, y *logical) []candidate {
	if y.as.BlockElems() != 1 || y.as.BlockBytes() < 2 || y.as != y.dtype {
		return nil
	}
	c := *y
	c.view = &reversed{y.view, y.as.BlockBytes()}
	return []candidate{{name: "byte order swapped", x: x, y: &c}}
}

// reversed is a view whose values have their bytes reversed.
type reversed struct {
	view.View
	size int64
}

func (r *reversed) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.View.ReadAt(p, off)
	for i := 0; i+int(r.size) <= n; i += int(r.size) {
		v := p[i : i+int(r.size)]
		for a, b := 0, len(v)-1; a < b; a, b = a+1, b-1 {
			v[a], v[b] = v[b], v[a]
		}
	}
	return n, err
}

// transposes are the two ways to say that one matrix is the other on its side. The one whose rows were not re-ordered is turned: its values are
// read one short stretch at a time, and a re-ordered head is read as a whole.
func transposes(x, y *logical) []candidate {
	if len(x.shape) != 2 || len(y.shape) != 2 || x.shape[0] != y.shape[1] || x.shape[1] != y.shape[0] || x.shape[0] < 2 || x.shape[1] < 2 {
		return nil
	}
	switch {
	case x.order == "":
		return []candidate{{name: "transposed", x: turned(wide(x)), y: y}}
	case y.order == "":
		return []candidate{{name: "transposed", x: x, y: turned(wide(y))}}
	}
	return nil
}

func turned(l *logical) *logical {
	c := *l
	c.shape = []int64{l.shape[1], l.shape[0]}
	c.view = &transposed{v: l.view, rows: l.shape[0], cols: l.shape[1], size: l.as.BlockBytes()}
	c.row = l.shape[0] * l.as.BlockBytes()
	return &c
}

// transposed is a matrix of rows x cols values on its side.
type transposed struct {
	v                view.View
	rows, cols, size int64
}

func (t *transposed) Size() int64 { return t.v.Size() }

// Cut ends on whole rows, of which each is a column of the source.
func (t *transposed) Cut(off, max int64) int64 { return min(max/t.size*t.size+t.size, t.Size()-off) }

func (t *transposed) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > t.Size() {
		return 0, io.ErrUnexpectedEOF
	}
	// Value i of the result is row i % rows, column i / rows of the source: the columns that p covers, of each row in turn.
	lo, hi := off/t.size, (off+int64(len(p)))/t.size
	first, last := lo/t.rows, (hi-1)/t.rows
	buf := make([]byte, (last-first+1)*t.size)
	for r := range t.rows {
		c, d := first, last // columns of this row that are asked for
		if c*t.rows+r < lo {
			c++
		}
		if d*t.rows+r >= hi {
			d--
		}
		if c > d {
			continue
		}
		b := buf[:(d-c+1)*t.size]
		if _, err := t.v.ReadAt(b, (r*t.cols+c)*t.size); err != nil {
			return 0, err
		}
		for k := c; k <= d; k++ {
			copy(p[(k*t.rows+r-lo)*t.size:], b[(k-c)*t.size:(k-c+1)*t.size])
		}
	}
	return len(p), nil
}
