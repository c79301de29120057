package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/bowline-ml/bowline/formats"
)

const (
	// maxHeader is the most that is written of one file before its tensor data. What is read, formats.ReadBounds says.
	maxHeader = 256 << 20
	// maxString is the longest string, unless the header may have more than four times that.
	maxString = 64 << 20
	// pieceBytes is how much is read at a time: at first few, because most shards have a short header.
	firstPiece, pieceBytes = 64 << 10, 1 << 20
)

// window reads a file from its start through a buffer that slides, so that a header of any length costs its values and one piece.
// After fail every read fails.
type window struct {
	f     io.ReaderAt
	path  string
	size  int64 // of the file
	width int   // bytes of a count: 8, in version 1 only 4
	big   bool  // numbers have their most significant byte first
	most  int64 // bytes of the header

	buf  []byte // the bytes of the file from base
	base int64
	at   int // the next byte, in buf

	where    field          // what is being read, for errors
	err      *formats.Error // the problem that stopped the reading
	problems []error        // those that did not
}

// field names a field of the header: "n_kv", or "kv[3].value" with a list and an index. It becomes text only in an error.
type field struct {
	list  string
	index int
	name  string
}

func (f field) String() string {
	switch {
	case f.list == "":
		return f.name
	case f.name == "":
		return fmt.Sprintf("%s[%d]", f.list, f.index)
	}
	return fmt.Sprintf("%s[%d].%s", f.list, f.index, f.name)
}

// problem is all that was reported, joined, or nil.
func (w *window) problem() error {
	if w.err != nil {
		return errors.Join(append(w.problems, w.err)...)
	}
	return errors.Join(w.problems...)
}

// pos is the offset in the file of the next byte, left the number of bytes from there to the end of the file.
func (w *window) pos() int64  { return w.base + int64(w.at) }
func (w *window) left() int64 { return w.size - w.pos() }

// maxProblems is how many problems of one file are told.
const maxProblems = 20

// report records a problem, at an offset, in the field that is being read, after which reading can go on.
func (w *window) report(e *formats.Error, offset int64) {
	if w.err != nil {
		return
	}
	w.problems = append(w.problems, e.At(w.path, offset).In("", w.where.String()))
	if len(w.problems) >= maxProblems {
		w.fail(formats.Errorf(formats.Limit, "there are more problems than the %d told", maxProblems), offset)
	}
}

// fail records the problem that ends the reading.
func (w *window) fail(e *formats.Error, offset int64) {
	if w.err == nil {
		w.err = e.At(w.path, offset).In("", w.where.String())
	}
}

// ensure makes the next n bytes present in buf, or fails.
func (w *window) ensure(n int) bool {
	if w.err != nil {
		return false
	}
	have := len(w.buf) - w.at
	if have >= n {
		return true
	}
	if int64(n) > w.left() {
		w.fail(formats.Errorf(formats.Trunc, "got %d bytes, want %d: the file ends too early", w.left(), n), w.pos())
		return false
	}
	if end := w.pos() + int64(n); end > w.most {
		w.fail(w.beyond(end), w.pos())
		return false
	}
	size := int(min(int64(max(n, firstPiece, min(4*cap(w.buf), pieceBytes))), w.left(), w.most-w.pos()))
	next := w.buf[:0]
	if cap(next) < size {
		next = make([]byte, 0, size)
	}
	next = append(next, w.buf[w.at:]...)[:size]
	w.base, w.at = w.pos(), 0
	if k, err := w.f.ReadAt(next[have:], w.base+int64(have)); k < size-have {
		code := formats.IO
		if err == nil || errors.Is(err, io.EOF) {
			code, err = formats.Changed, io.ErrUnexpectedEOF
		}
		w.buf = next[:have+k]
		w.fail(formats.Errorf(code, "reading: %w", err), w.base+int64(have+k))
		return false
	}
	w.buf = next
	return true
}

// beyond is the error for a header that goes on to end at least.
func (w *window) beyond(end int64) *formats.Error {
	return formats.Errorf(formats.Limit, "the header goes on beyond %d bytes", w.most).Hinted("%s", formats.MetadataBound.Hint(end))
}

// longest is the length of the longest string.
func (w *window) longest() int64 { return max(maxString, w.most/4) }

// take gives the next n bytes, valid until the next read.
func (w *window) take(n int) []byte {
	if !w.ensure(n) {
		return nil
	}
	w.at += n
	return w.buf[w.at-n : w.at]
}

// number is the next n bytes, least significant first. In a big-endian file it turns them round in the buffer, which reads each byte once.
func (w *window) number(n int) []byte {
	b := w.take(n)
	if w.big {
		turn(b)
	}
	return b
}

func (w *window) u32() uint32 {
	if b := w.number(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (w *window) u64() uint64 {
	if b := w.number(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// length reads a count as wide as the version has it.
func (w *window) length() uint64 {
	if w.width == 4 {
		return uint64(w.u32())
	}
	return w.u64()
}

// text reads a string of at most limit bytes.
func (w *window) text(limit int64) string {
	start := w.pos()
	n := w.length()
	if !w.checkText(n, limit, start) {
		return ""
	}
	return string(w.take(int(n)))
}

// checkText judges the length of a string whose bytes are next and whose length field is at start.
func (w *window) checkText(n uint64, limit, start int64) bool {
	switch {
	case w.err != nil:
	case n > uint64(w.left()):
		w.fail(formats.Errorf(formats.Bounds, "got a length of %d, but the file has %d more bytes", n, w.left()), start)
	case n > uint64(limit):
		e := formats.Errorf(formats.Limit, "got a length of %d, want at most %d", n, limit)
		if limit >= maxString { // else it is a name, whose length the format limits
			e = e.Hinted("%s", formats.MetadataBound.Hint(int64(min(n, 1<<60))*4))
		}
		w.fail(e, start)
	}
	return w.err == nil
}
