package view

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/bowline-ml/bowline/formats/dtype"
)

// piece is how many values a cast holds at once: 64 Ki float32 and their bytes stay in the second-level cache.
const piece = 64 << 10

// Cast is the values of v, stored as from, rounded to nearest even into to. A finite value that becomes infinite adds one to lost, which may be
// shared by all readers of the view; what to do about it is the caller's decision. A read that ends inside of a block makes the whole block, and
// counts what is lost in it again.
func Cast(v View, from, to dtype.Type, lost *atomic.Int64) View {
	return &cast{v: v, from: from, to: to, lost: lost, unit: max(from.BlockElems(), to.BlockElems())}
}

type cast struct {
	v        View
	from, to dtype.Type
	lost     *atomic.Int64
	unit     int64 // values
}

func (c *cast) elems() int64 { return c.v.Size() / c.from.BlockBytes() * c.from.BlockElems() }
func (c *cast) Size() int64  { return c.elems() / c.to.BlockElems() * c.to.BlockBytes() }

func (c *cast) src(values int64) int64 { return values / c.from.BlockElems() * c.from.BlockBytes() }
func (c *cast) dst(values int64) int64 { return values / c.to.BlockElems() * c.to.BlockBytes() }
func (c *cast) values(dst int64) int64 { return dst / c.to.BlockBytes() * c.to.BlockElems() }

func (c *cast) Cut(off, max int64) int64 {
	at := c.values(off)
	n := c.v.Cut(c.src(at), c.src(c.values(max)))
	values := n / c.from.BlockBytes() * c.from.BlockElems()
	if rest := values % c.unit; values > rest {
		values -= rest
	} else {
		values = c.unit
	}
	return min(c.dst(values), c.Size()-off)
}

var values = sync.Pool{New: func() any { return new([piece]float32) }}

func (c *cast) ReadAt(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	lo, hi := c.values(off), c.values(off+int64(len(p))-1)+c.to.BlockElems()
	lo, hi = lo-lo%c.unit, min((hi+c.unit-1)/c.unit*c.unit, c.elems())
	if c.dst(lo) != off || c.dst(hi) != off+int64(len(p)) { // inside of a block: make the blocks around it
		if off+int64(len(p)) > c.Size() {
			return 0, io.ErrUnexpectedEOF
		}
		around := borrow(c.dst(hi) - c.dst(lo))
		defer scratch.Put(around)
		if _, err := c.ReadAt(*around, c.dst(lo)); err != nil {
			return 0, err
		}
		return copy(p, (*around)[off-c.dst(lo):]), nil
	}
	n := hi - lo
	buf := borrow(c.src(n))
	defer scratch.Put(buf)
	if _, err := c.v.ReadAt(*buf, c.src(lo)); err != nil {
		return 0, err
	}
	f := values.Get().(*[piece]float32)
	defer values.Put(f)
	for done := int64(0); done < n; {
		k := min(n-done, piece)
		lost := c.from.Decode(f[:k], (*buf)[c.src(done):c.src(done+k)])
		if lost += c.to.Encode(p[c.dst(done):c.dst(done+k)], f[:k]); lost > 0 {
			c.lost.Add(int64(lost))
		}
		done += k
	}
	return len(p), nil
}
