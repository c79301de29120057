package pytorch

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/index"
)

// reader gives the bytes of a tensor in row-major order.
func (v view) reader() io.ReaderAt {
	t := v.tensor
	if w := width(t.dtype); v.big && w > 1 {
		return swapped{view{data: v.data, tensor: t}.reader(), w, t.bytes}
	}
	g := gather{src: v.data, start: t.start(), item: t.dtype.BlockBytes(), bytes: t.bytes}
	if t.bytes > 0 {
		g.collapse(t.shape, t.stride)
	}
	if len(g.dims) == 0 || len(g.dims) == 1 && g.dims[0].src == 1 {
		return formats.Range(v.data, g.start, t.bytes)
	}
	return g
}

// gather reads a tensor whose elements do not follow each other in the file: a transpose, a slice, an expansion.
type gather struct {
	src   io.ReaderAt
	start int64 // of element 0 in the file
	item  int64 // bytes of an element
	bytes int64
	dims  []axis // outermost first, none of size 1
}

// axis is a dimension: how many elements it has, and how many elements apart they are in the file and in what is read.
type axis struct{ n, src, dst int64 }

// collapse drops dimensions of one element and joins those that are walked in one go.
func (g *gather) collapse(shape, stride []int64) {
	step := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		n := shape[i]
		if n > 1 {
			if k := len(g.dims) - 1; k >= 0 && g.dims[k].src*g.dims[k].n == stride[i] {
				g.dims[k].n *= n
			} else {
				g.dims = append(g.dims, axis{n, stride[i], step})
			}
		}
		step *= n
	}
	slices.Reverse(g.dims)
}

// Bytes that are read at once, and how many unwanted ones are rather read than skipped.
const (
	windowBytes = 256 << 10
	skipBytes   = 8 << 10
)

// ReadAt follows io.SectionReader. It reads any range, whole elements without copying twice.
func (g gather) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("pytorch: negative offset")
	}
	if off >= g.bytes {
		return 0, io.EOF
	}
	var short error
	if left := g.bytes - off; int64(len(p)) > left {
		p, short = p[:left], io.EOF
	}
	done := 0
	if cut := off % g.item; cut > 0 && len(p) > 0 { // from within an element
		n, err := g.part(p, off-cut, cut)
		if done += n; err != nil {
			return done, err
		}
	}
	whole := int64(len(p)-done) / g.item * g.item
	if err := g.elements(p[done:done+int(whole)], (off+int64(done))/g.item); err != nil {
		return done, err
	}
	done += int(whole)
	if done < len(p) {
		n, err := g.part(p[done:], off+int64(done), 0)
		if done += n; err != nil {
			return done, err
		}
	}
	return done, short
}

// part copies the bytes of one element from cut on.
func (g gather) part(p []byte, off, cut int64) (int, error) {
	one := make([]byte, g.item)
	if err := g.elements(one, off/g.item); err != nil {
		return 0, err
	}
	return copy(p, one[cut:]), nil
}

// elements reads whole elements from number first on, box by box: a range of rows is at most a few blocks of whole slices.
func (g gather) elements(p []byte, first int64) error {
	for n := int64(len(p)) / g.item; n > 0; {
		// The outermost dimension on whose slices the range starts and of which it holds one.
		at, d := g.start, 0
		for _, a := range g.dims {
			at += first / a.dst % a.n * a.src * g.item
		}
		for d < len(g.dims)-1 && (first%g.dims[d].dst != 0 || n < g.dims[d].dst) {
			d++
		}
		a := g.dims[d]
		k := min(a.n-first/a.dst%a.n, n/a.dst)
		box := append([]axis{{k, a.src, a.dst}}, g.dims[d+1:]...)
		count := k * a.dst
		if err := g.box(p[:count*g.item], at, box); err != nil {
			return err
		}
		p, first, n = p[count*g.item:], first+count, n-count
	}
	return nil
}

// box reads a block in the order of the file. The dimensions that are close together are read as one window, others one step at a time.
func (g gather) box(p []byte, at int64, dims []axis) error {
	slices.SortStableFunc(dims, func(a, b axis) int { // the closest last
		switch {
		case a.src > b.src:
			return -1
		case a.src < b.src:
			return 1
		}
		return 0
	})
	// How many of the last dimensions a window spans, and how many steps of the one before.
	span, k := g.item, len(dims)
	steps := int64(1)
	for k > 0 {
		a := dims[k-1]
		step := a.src * g.item
		if step > span+skipBytes {
			break
		}
		if whole := span + (a.n-1)*step; whole <= windowBytes {
			span = whole
			k--
			continue
		}
		if step > 0 {
			steps = max(1, (windowBytes-span)/step+1)
		}
		break
	}
	if k > 0 && steps > 1 {
		span += (steps - 1) * dims[k-1].src * g.item
	}
	buf := make([]byte, span)
	outer := make([]int64, k)
	for {
		from, to, n := at, int64(0), int64(1)
		for i, x := range outer {
			from += x * dims[i].src * g.item
			to += x * dims[i].dst * g.item
		}
		inner := dims[k:]
		length := span
		if steps > 1 {
			a := dims[k-1]
			n = min(steps, a.n-outer[k-1])
			inner = append([]axis{{n, a.src, a.dst}}, inner...)
			length -= (steps - n) * a.src * g.item
		}
		if err := index.Full(g.src, buf[:length], from); err != nil {
			return err
		}
		g.scatter(p[to:], buf, inner)
		i := k - 1
		for add := n; i >= 0; i, add = i-1, 1 {
			if outer[i] += add; outer[i] < dims[i].n {
				break
			}
			outer[i] = 0
		}
		if i < 0 {
			return nil
		}
	}
}

// scatter puts the elements of a window where they belong.
func (g gather) scatter(p, buf []byte, dims []axis) {
	if len(dims) == 0 {
		copy(p, buf[:g.item])
		return
	}
	last := dims[len(dims)-1]
	outer := make([]int64, len(dims)-1)
	for {
		from, to := int64(0), int64(0)
		for i, x := range outer {
			from += x * dims[i].src * g.item
			to += x * dims[i].dst * g.item
		}
		if last.src == 1 && last.dst == 1 {
			copy(p[to:to+last.n*g.item], buf[from:])
		} else {
			spread(p[to:], buf[from:], last.n, last.dst*g.item, last.src*g.item, g.item)
		}
		i := len(outer) - 1
		for ; i >= 0; i-- {
			if outer[i]++; outer[i] < dims[i].n {
				break
			}
			outer[i] = 0
		}
		if i < 0 {
			return
		}
	}
}

// spread copies n elements of a size, which are some bytes apart on both sides. Sizes are those of types: 1, 2, 4 or 8.
func spread(dst, src []byte, n, dstStep, srcStep, size int64) {
	le := binary.LittleEndian
	to, from := int64(0), int64(0)
	switch size {
	case 1:
		for range n {
			dst[to] = src[from]
			to, from = to+dstStep, from+srcStep
		}
	case 2:
		for range n {
			le.PutUint16(dst[to:], le.Uint16(src[from:]))
			to, from = to+dstStep, from+srcStep
		}
	case 4:
		for range n {
			le.PutUint32(dst[to:], le.Uint32(src[from:]))
			to, from = to+dstStep, from+srcStep
		}
	default:
		for range n {
			le.PutUint64(dst[to:], le.Uint64(src[from:]))
			to, from = to+dstStep, from+srcStep
		}
	}
}
