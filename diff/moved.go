package diff

import (
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
	c.view = view.Transpose(l.view, l.shape[0], l.shape[1], l.as.BlockBytes())
	c.row = l.shape[0] * l.as.BlockBytes()
	return &c
}
