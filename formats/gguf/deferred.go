package gguf

import (
	"fmt"
	"io"
)

// deferFrom is the length of the longest array that is read at once. A vocabulary of 128,000 tokens would be most of the time and the
// memory of reading a header.
const deferFrom = 4096

// deferred is an array whose place in the file is known, and that all its lengths are right.
type deferred struct {
	f       io.ReaderAt
	path    string
	at, end int64 // of the elements
	elem    uint32
	n       uint64
	width   int
	big     bool
	most    int64 // that its window had
	where   field
}

// postpone goes past n values of a type that is no array, checking what there is to check.
func (w *window) postpone(t uint32, n uint64) any {
	d := &deferred{f: w.f, path: w.path, at: w.pos(), elem: t, n: n, width: w.width, big: w.big, most: w.most, where: w.where}
	switch t {
	case typeString:
		w.skipStrings(n)
	case typeBool:
		for left := n; left > 0 && w.ensure(1); {
			start, k := w.pos(), min(left, uint64(len(w.buf)-w.at))
			for i, b := range w.take(int(k)) {
				w.boolean(b, start+int64(i))
			}
			left -= k
		}
	default:
		w.skip(int64(n) * int64(valueBytes[t]))
	}
	if w.err != nil {
		return nil
	}
	d.end = w.pos()
	return d
}

// skip goes past n bytes, which are known to be there, without reading them.
func (w *window) skip(n int64) {
	if have := int64(len(w.buf) - w.at); n > have {
		w.base, w.buf, w.at = w.pos()+n, w.buf[:0], 0
		return
	}
	w.at += int(n)
}

// skipStrings goes past n strings.
func (w *window) skipStrings(n uint64) {
	for left := n; left > 0 && w.ensure(w.width); left-- {
		b, end := w.buf, w.at
		for ; left > 0 && len(b)-end >= w.width; left-- {
			m := w.lengthAt(b[end:])
			if m > uint64(len(b)-end-w.width) {
				break
			}
			end += w.width + int(m)
		}
		w.at = end
		if left == 0 {
			return
		}
		if !w.ensure(w.width) {
			return
		}
		start := w.pos()
		m := w.length()
		if !w.checkText(m, w.longest(), start) {
			return
		}
		if end := w.pos() + int64(m); end > w.most {
			w.fail(w.beyond(end), start)
			return
		}
		w.skip(int64(m))
	}
}

func (d *deferred) Elem() string { return fmt.Sprintf("%T", empties[d.elem])[len("[]"):] }
func (d *deferred) Len() int     { return int(d.n) }

// Load reads the array. It was checked; what is wrong now has changed.
func (d *deferred) Load() (any, error) {
	w := &window{f: d.f, path: d.path, size: d.end, width: d.width, big: d.big, most: d.most, base: d.at, where: d.where}
	v := w.elements(d.elem, d.n)
	if err := w.problem(); err != nil {
		return nil, err
	}
	return v, nil
}

// String is the array in short, for whoever prints metadata without loading it.
func (d *deferred) String() string { return fmt.Sprintf("[%d x %s]", d.n, d.Elem()) }
