package view

// Direction is the way a rotary permutation goes.
type Direction string

const (
	// Interleave takes rows from half order (the first elements of all pairs, then the second ones) to pairs side by side.
	Interleave Direction = "half to interleaved"
	// Halve goes back.
	Halve Direction = "interleaved to half"
)

// maxHead bounds the rows of a head that are gathered at once; a larger head is cut into rows.
const maxHead = 4 << 20

// Rows re-orders the rows of each of heads heads, so that rope finds its pairs where another scheme keeps them. rowBytes is the size of
// a row: rows move as bytes, so quantized rows move without being decoded.
//
// Row (h, i, j) of the interleaved order, i a pair and j 0 or 1, is row (h, j, i) of the half order.
// Source: llama.cpp conversion/llama.py, permute; transformers convert_llama_weights_to_hf.py, permute.
func Rows(v View, heads int64, dir Direction, rowBytes int64) View {
	r := &rows{v: v, dir: dir, row: rowBytes, perHead: v.Size() / rowBytes / heads}
	r.unit = r.row
	if r.row*r.perHead <= maxHead {
		r.unit = r.row * r.perHead
	}
	return r
}

type rows struct {
	v       View
	dir     Direction
	row     int64 // bytes
	perHead int64 // rows
	unit    int64 // a head, or a row
}

func (r *rows) Size() int64              { return r.v.Size() }
func (r *rows) Cut(off, max int64) int64 { return cut(off, max, r.unit, r.Size()) }

// from is the row of the source that becomes row i of a head.
func (r *rows) from(i int64) int64 {
	if r.dir == Interleave {
		return i%2*(r.perHead/2) + i/2
	}
	return i%(r.perHead/2)*2 + i/(r.perHead/2)
}

func (r *rows) ReadAt(p []byte, off int64) (int, error) {
	if r.unit == r.row { // a head larger than the scratch
		for done := int64(0); done < int64(len(p)); {
			i, in := (off+done)/r.row, (off+done)%r.row
			n := min(r.row-in, int64(len(p))-done)
			src := i/r.perHead*r.perHead + r.from(i%r.perHead)
			if _, err := r.v.ReadAt(p[done:done+n], src*r.row+in); err != nil {
				return int(done), err
			}
			done += n
		}
		return len(p), nil
	}
	first, last := off/r.unit, (off+int64(len(p))-1)/r.unit
	buf := borrow((last - first + 1) * r.unit)
	defer scratch.Put(buf)
	if _, err := r.v.ReadAt(*buf, first*r.unit); err != nil {
		return 0, err
	}
	for done := int64(0); done < int64(len(p)); {
		at := off + done
		i := at / r.row
		src := (i/r.perHead-first)*r.perHead + r.from(i%r.perHead)
		done += int64(copy(p[done:], (*buf)[src*r.row+at%r.row:(src+1)*r.row]))
	}
	return len(p), nil
}
