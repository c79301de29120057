package raw

import (
	"io"
	"slices"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/index"
)

// place is where the values of a tensor are in a file, and in which order.
type place struct {
	start, bytes int64
	dtype        dtype.Type
	shape        []int64
	fortran, big bool
}

// in gives the tensor's bytes from its file: row-major and little-endian.
func (p place) in(f io.ReaderAt) io.ReaderAt {
	r := formats.Range(f, p.start, p.bytes)
	if p.fortran && p.bytes > 0 {
		g := gather{src: r, item: p.dtype.BlockBytes(), bytes: p.bytes}
		if g.lay(p.shape); len(g.axes) > 1 {
			r = g
		}
	}
	if p.big {
		size := p.dtype.BlockBytes()
		if p.dtype == "C64" { // two floats
			size /= 2
		}
		if size > 1 {
			r = swapped{r, size}
		}
	}
	return r
}

// swapped turns the bytes of each value around.
type swapped struct {
	io.ReaderAt
	size int64
}

// ReadAt reads any range; values that it cuts are read whole.
func (s swapped) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > 1<<62 {
		return s.ReaderAt.ReadAt(p, off)
	}
	lo, hi := off/s.size*s.size, (off+int64(len(p))+s.size-1)/s.size*s.size
	b := p
	if lo != off || hi-lo != int64(len(p)) {
		b = make([]byte, hi-lo)
	}
	n, err := s.ReaderAt.ReadAt(b, lo)
	for v := int64(0); v+s.size <= int64(n); v += s.size {
		slices.Reverse(b[v : v+s.size])
	}
	if lo == off && hi-lo == int64(len(p)) {
		return n, err
	}
	done := copy(p, b[min(off-lo, int64(n)):n])
	if done == len(p) && err == io.EOF {
		err = nil
	}
	return done, err
}

// gather reads an array that is stored with its first dimension fastest as if its last were.
type gather struct {
	src   io.ReaderAt
	item  int64 // bytes of a value
	bytes int64
	axes  []axis // outermost first, none of size 1
}

// axis is a dimension: how many values it has, and how many values apart they are in the file and in what is read.
type axis struct{ n, src, dst int64 }

// lay makes the axes of a shape, whose product is positive.
func (g *gather) lay(shape []int64) {
	src, dst := int64(1), int64(1)
	for _, n := range shape {
		dst *= n
	}
	for _, n := range shape {
		if dst /= n; n > 1 {
			g.axes = append(g.axes, axis{n, src, dst})
		}
		src *= n
	}
}

// Bytes that are read at once, and how many unwanted ones are rather read than skipped.
const (
	windowBytes = 256 << 10
	skipBytes   = 8 << 10
)

// ReadAt follows io.SectionReader. Callers do best to ask for whole rows.
func (g gather) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= g.bytes {
		return formats.Range(g.src, 0, g.bytes).ReadAt(p, off) // the error
	}
	var short error
	if left := g.bytes - off; int64(len(p)) > left {
		p, short = p[:left], io.EOF
	}
	first, last := off/g.item, (off+int64(len(p))+g.item-1)/g.item
	b := p
	if first*g.item != off || (last-first)*g.item != int64(len(p)) { // it cuts values
		b = make([]byte, (last-first)*g.item)
	}
	if err := g.values(b, first); err != nil {
		return 0, err
	}
	if len(b) != len(p) {
		copy(p, b[off-first*g.item:])
	}
	return len(p), short
}

// values reads whole values from number first on, box by box: a range of rows is at most a few blocks of whole slices.
func (g gather) values(p []byte, first int64) error {
	for n := int64(len(p)) / g.item; n > 0; {
		// The outermost axis on whose slices the range starts and of which it holds one.
		at, d := int64(0), 0
		for _, a := range g.axes {
			at += first / a.dst % a.n * a.src
		}
		for d < len(g.axes)-1 && (first%g.axes[d].dst != 0 || n < g.axes[d].dst) {
			d++
		}
		a := g.axes[d]
		k := min(a.n-first/a.dst%a.n, n/a.dst)
		box := append([]axis{{k, a.src, a.dst}}, g.axes[d+1:]...)
		count := k * a.dst
		if err := g.box(p[:count*g.item], at, box); err != nil {
			return err
		}
		p, first, n = p[count*g.item:], first+count, n-count
	}
	return nil
}

// box reads a block window by window. In Fortran order its axes stand as they do in the file, the closest first: a window spans as many
// of them as fit, and some steps of the next.
func (g gather) box(p []byte, at int64, axes []axis) error {
	span, whole, steps := int64(1), 0, int64(1)
	for ; whole < len(axes); whole++ {
		a := axes[whole]
		if (a.src-span)*g.item > skipBytes {
			break
		}
		if all := span + (a.n-1)*a.src; all*g.item <= windowBytes {
			span = all
			continue
		}
		steps = max(1, (windowBytes/g.item-span)/a.src+1)
		break
	}
	outer := axes[whole:]
	last := span // values of one step
	if steps > 1 {
		span += (steps - 1) * outer[0].src
	}
	buf := make([]byte, span*g.item)
	for pos := make([]int64, len(outer)); ; {
		from, to := at, int64(0)
		for i, x := range pos {
			from += x * outer[i].src
			to += x * outer[i].dst
		}
		inner, n, length := axes[:whole], int64(1), span
		if steps > 1 {
			n = min(steps, outer[0].n-pos[0])
			inner = append(slices.Clone(inner), axis{n, outer[0].src, outer[0].dst})
			length = last + (n-1)*outer[0].src
		}
		if err := index.Full(g.src, buf[:length*g.item], from*g.item); err != nil {
			return err
		}
		g.scatter(p[to*g.item:], buf, inner)
		i := 0
		for add := n; i < len(pos); i, add = i+1, 1 {
			if pos[i] += add; pos[i] < outer[i].n {
				break
			}
			pos[i] = 0
		}
		if i == len(pos) {
			return nil
		}
	}
}

// scatter puts the values of a window where they belong: along the last axis, whose values follow each other in what is read.
func (g gather) scatter(p, buf []byte, axes []axis) {
	if len(axes) == 0 {
		copy(p[:g.item], buf)
		return
	}
	run, outer := axes[len(axes)-1], axes[:len(axes)-1]
	for pos := make([]int64, len(outer)); ; {
		from, to := int64(0), int64(0)
		for i, x := range pos {
			from += x * outer[i].src
			to += x * outer[i].dst
		}
		spread(p[to*g.item:], buf[from*g.item:], run.n, run.dst*g.item, run.src*g.item, g.item)
		i := 0
		for ; i < len(pos); i++ {
			if pos[i]++; pos[i] < outer[i].n {
				break
			}
			pos[i] = 0
		}
		if i == len(pos) {
			return
		}
	}
}

// spread copies n values of 1, 2, 4 or 8 bytes, which are some bytes apart on both sides.
func spread(dst, src []byte, n, dstStep, srcStep, size int64) {
	if dstStep == size && srcStep == size {
		copy(dst[:n*size], src)
		return
	}
	to, from := int64(0), int64(0)
	switch size {
	case 1:
		for range n {
			dst[to] = src[from]
			to, from = to+dstStep, from+srcStep
		}
	case 2:
		for range n {
			copy(dst[to:to+2], src[from:from+2])
			to, from = to+dstStep, from+srcStep
		}
	case 4:
		for range n {
			copy(dst[to:to+4], src[from:from+4])
			to, from = to+dstStep, from+srcStep
		}
	default:
		for range n {
			copy(dst[to:to+8], src[from:from+8])
			to, from = to+dstStep, from+srcStep
		}
	}
}
