package gguf

import (
	"encoding/binary"
	"math"

	"github.com/bowline-ml/bowline/formats"
)

// The value types (gguf.md, gguf_metadata_value_type).
const (
	typeU8 = iota
	typeI8
	typeU16
	typeI16
	typeU32
	typeI32
	typeF32
	typeBool
	typeString
	typeArray
	typeU64
	typeI64
	typeF64
	typeCount
)

// valueBytes are the sizes of the fixed-size value types; strings and arrays are at least a count, see entryBytes.
var valueBytes = [typeCount]int{typeU8: 1, typeI8: 1, typeU16: 2, typeI16: 2, typeU32: 4, typeI32: 4, typeF32: 4, typeBool: 1, typeU64: 8,
	typeI64: 8, typeF64: 8}

// maxDepth is how deep arrays may nest. The C reader refuses nesting, the format's text allows it.
const maxDepth = 4

// empties are the arrays without elements: one of each type is enough for a file that has a million of them.
var empties = [typeCount]any{typeU8: []uint8{}, typeI8: []int8{}, typeU16: []uint16{}, typeI16: []int16{}, typeU32: []uint32{}, typeI32: []int32{},
	typeF32: []float32{}, typeBool: []bool{}, typeString: []string{}, typeArray: []any{}, typeU64: []uint64{}, typeI64: []int64{},
	typeF64: []float64{}}

// entryBytes is the least that a value of a type takes: what a count of them is checked with.
func (w *window) entryBytes(t uint32) int {
	switch t {
	case typeString:
		return w.width
	case typeArray:
		return 4 + w.width
	}
	return valueBytes[t]
}

// value reads one value of type t.
func (w *window) value(t uint32) any {
	switch t {
	case typeString:
		return w.text(w.longest())
	case typeArray:
		return w.array()
	}
	b := w.number(valueBytes[t])
	if b == nil {
		return nil
	}
	switch t {
	case typeU8:
		return b[0]
	case typeI8:
		return int8(b[0])
	case typeU16:
		return binary.LittleEndian.Uint16(b)
	case typeI16:
		return getI16(b)
	case typeU32:
		return binary.LittleEndian.Uint32(b)
	case typeI32:
		return getI32(b)
	case typeF32:
		return getF32(b)
	case typeU64:
		return binary.LittleEndian.Uint64(b)
	case typeI64:
		return getI64(b)
	case typeF64:
		return getF64(b)
	default: // typeBool
		return w.boolean(b[0], w.pos()-1)
	}
}

func (w *window) boolean(b byte, offset int64) bool {
	if b > 1 {
		w.report(formats.Errorf(formats.BadType, "got a bool of %d, want 0 or 1", b), offset)
	}
	return b == 1
}

// array reads an array. Arrays of arrays are walked with a stack, not by recursion: their depth is the file's to choose. Every count is
// checked with the bytes that are left before it sizes anything, so that an array costs a small multiple of its bytes.
func (w *window) array() any {
	type level struct {
		out  []any
		left uint64
	}
	var stack []level
	for {
		typeAt := w.pos()
		t := w.u32()
		countAt := w.pos()
		n := w.length()
		switch {
		case w.err != nil:
			return nil
		case t >= typeCount:
			w.fail(formats.Errorf(formats.BadType, "got element type %d, want 0 to %d", t, typeCount-1), typeAt)
			return nil
		case n > uint64(w.left())/uint64(w.entryBytes(t)):
			w.fail(formats.Errorf(formats.Bounds, "got %d elements, but the file has %d more bytes", n, w.left()), countAt)
			return nil
		case n > uint64(max(0, w.most-w.pos()))/uint64(w.entryBytes(t)):
			w.fail(formats.Errorf(formats.Limit, "got %d elements: the header would go on beyond %d bytes", n, w.most).
				Hinted("%s", formats.MetadataBound.Hint(w.pos()+int64(n)*int64(w.entryBytes(t)))), countAt)
			return nil
		}
		var done any
		if t == typeArray {
			if len(stack) == maxDepth-1 {
				w.fail(formats.Errorf(formats.Limit, "arrays are nested deeper than %d", maxDepth), typeAt)
				return nil
			}
			if n > 0 {
				stack = append(stack, level{make([]any, 0, n), n})
				continue
			}
		}
		if n == 0 {
			done = empties[t]
		} else if n > deferFrom && len(stack) == 0 {
			return w.postpone(t, n)
		} else if done = w.elements(t, n); w.err != nil {
			return nil
		}
		for done != nil {
			if len(stack) == 0 {
				return done
			}
			top := &stack[len(stack)-1]
			top.out = append(top.out, done)
			top.left--
			done = nil
			if top.left == 0 {
				done = top.out
				stack = stack[:len(stack)-1]
			}
		}
	}
}

// elements reads n values of a type that is no array.
func (w *window) elements(t uint32, n uint64) any {
	switch t {
	case typeU8:
		return numbers(w, n, 1, func(b []byte) uint8 { return b[0] })
	case typeI8:
		return numbers(w, n, 1, func(b []byte) int8 { return int8(b[0]) })
	case typeU16:
		return numbers(w, n, 2, binary.LittleEndian.Uint16)
	case typeI16:
		return numbers(w, n, 2, getI16)
	case typeU32:
		return numbers(w, n, 4, binary.LittleEndian.Uint32)
	case typeI32:
		return numbers(w, n, 4, getI32)
	case typeF32:
		return numbers(w, n, 4, getF32)
	case typeU64:
		return numbers(w, n, 8, binary.LittleEndian.Uint64)
	case typeI64:
		return numbers(w, n, 8, getI64)
	case typeF64:
		return numbers(w, n, 8, getF64)
	case typeBool:
		start := w.pos()
		i := int64(-1)
		return numbers(w, n, 1, func(b []byte) bool { i++; return w.boolean(b[0], start+i) })
	default: // typeString
		return w.strings(n)
	}
}

// numbers reads n elements of size bytes, a piece of the file at a time.
func numbers[T any](w *window, n uint64, size int, get func([]byte) T) []T {
	out := make([]T, 0, n)
	for left := n; left > 0; {
		if !w.ensure(size) {
			return nil
		}
		k := min(left, uint64(len(w.buf)-w.at)/uint64(size))
		b := w.take(int(k) * size)
		for i := 0; i < len(b); i += size {
			if w.big {
				turn(b[i : i+size])
			}
			out = append(out, get(b[i:]))
		}
		left -= k
	}
	return out
}

// strings reads n strings. Those that lie in one piece of the file are slices of one Go string, with the lengths between them: a
// vocabulary costs a handful of allocations, not one a token, and each of its bytes is copied once.
func (w *window) strings(n uint64) []string {
	out := make([]string, 0, n)
	for uint64(len(out)) < n {
		if !w.ensure(w.width) {
			return nil
		}
		end, k := w.at, n-uint64(len(out))
		for ; k > 0 && len(w.buf)-end >= w.width; k-- {
			m := w.lengthAt(w.buf[end:])
			if m > uint64(len(w.buf)-end-w.width) {
				break
			}
			end += w.width + int(m)
		}
		if end == w.at { // a string that goes on in the next piece, or has no place in the file
			start := w.pos()
			m := w.length()
			if !w.checkText(m, w.longest(), start) {
				return nil
			}
			out = append(out, string(w.take(int(m))))
			if w.err != nil {
				return nil
			}
			continue
		}
		for lengths, whole := w.buf[w.at:end], string(w.buf[w.at:end]); whole != ""; {
			to := w.width + int(w.lengthAt(lengths))
			out = append(out, whole[w.width:to])
			lengths, whole = lengths[to:], whole[to:]
		}
		w.at = end
	}
	return out
}

// lengthAt is the count at the start of b.
func (w *window) lengthAt(b []byte) uint64 {
	switch {
	case w.width == 4 && w.big:
		return uint64(binary.BigEndian.Uint32(b))
	case w.width == 4:
		return uint64(binary.LittleEndian.Uint32(b))
	case w.big:
		return binary.BigEndian.Uint64(b)
	}
	return binary.LittleEndian.Uint64(b)
}

func getI16(b []byte) int16   { return int16(binary.LittleEndian.Uint16(b)) }
func getI32(b []byte) int32   { return int32(binary.LittleEndian.Uint32(b)) }
func getI64(b []byte) int64   { return int64(binary.LittleEndian.Uint64(b)) }
func getF32(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }
func getF64(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }
