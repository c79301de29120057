package verify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// npyTypes are the element types read, by numpy's name.
var npyTypes = map[string]dtype.Type{"<f2": dtype.F16, "<f4": dtype.F32, "<f8": dtype.F64}

const npyMagic = "\x93NUMPY"

// ReadNPY reads logits [T, V] or [1, T, V] from a file of size bytes in numpy's format, versions 1 to 3, in C order. Nothing may follow.
// Source: numpy/lib/format.py.
func ReadNPY(r io.ReaderAt, size int64) (Matrix, dtype.Type, error) {
	ck, err := npyArray(r, size, "logits", npyTypes)
	if err != nil {
		return Matrix{}, "", err
	}
	t := ck.Lookup("logits")
	if shape := flat(t.Shape, 2); len(shape) != 2 || shape[0] > math.MaxInt32 || shape[1] > math.MaxInt32 {
		return Matrix{}, "", formats.Errorf(formats.BadShape, "got shape %v, want [T, V] or [1, T, V]", t.Shape).At("", t.Offset)
	}
	m, err := readMatrix(ck, "logits", 0)
	return m, t.DType, err
}

// npyIDs are the element types of tokens.
var npyIDs = map[string]dtype.Type{"<i4": dtype.I32, "<i8": dtype.I64}

// readIDs reads tokens [T] or [1, T], T being rows.
func readIDs(b []byte, name string, rows int) ([]int32, error) {
	ck, err := npyArray(bytes.NewReader(b), int64(len(b)), name, npyIDs)
	if err != nil {
		return nil, formats.Errors(err)[0].In(name, "")
	}
	return readTokens(ck, name, rows)
}

// npyArray is an array of one of the types as a checkpoint of one tensor.
func npyArray(r io.ReaderAt, size int64, name string, types map[string]dtype.Type) (*formats.Checkpoint, error) {
	fail := func(code formats.Code, off int64, format string, args ...any) (*formats.Checkpoint, error) {
		return nil, formats.Errorf(code, format, args...).At("", off)
	}
	var fixed [12]byte
	if n, err := r.ReadAt(fixed[:], 0); n < 10 {
		if err == io.EOF {
			return fail(formats.Trunc, int64(n), "got %d bytes, want a header", n)
		}
		return fail(formats.IO, 0, "%w", err)
	}
	if string(fixed[:6]) != npyMagic {
		return fail(formats.Magic, 0, "this is no numpy file")
	}
	start, length := int64(10), int64(binary.LittleEndian.Uint16(fixed[8:]))
	switch v := fixed[6]; {
	case v < 1 || v > 3 || fixed[7] != 0:
		return fail(formats.Version, 6, "got version %d.%d, want 1.0, 2.0 or 3.0", v, fixed[7])
	case v > 1:
		start, length = 12, int64(binary.LittleEndian.Uint32(fixed[8:]))
	}
	if length > size-start || length > 64<<10 {
		return fail(formats.Bounds, 8, "got a header of %d bytes, want at most %d", length, min(max(size-start, 0), 64<<10))
	}
	head := make([]byte, length)
	if n, err := r.ReadAt(head, start); n < len(head) {
		return fail(formats.IO, start, "%w", err)
	}
	d := npyDict{rest: string(head)}
	if err := d.parse(); err != nil {
		return fail(formats.Mismatch, start+length-int64(len(d.rest)), "header: %w", err)
	}
	t, ok := types[d.descr]
	if !ok {
		return fail(formats.BadDType, start, "got descr %q, want one of %s", formats.Escape(d.descr, 64), strings.Join(slices.Sorted(maps.Keys(types)), ", "))
	}
	if d.fortran {
		return fail(formats.Unsupported, start, "got Fortran order, want C order")
	}
	n, err := formats.TensorBytes(t, d.shape)
	if err != nil {
		return nil, err
	}
	if have := size - start - length; have != n {
		code := formats.Trunc
		if have > n {
			code = formats.Trail
		}
		return fail(code, start+length, "got %d bytes of data, want %d for shape %v of %s", have, n, d.shape, d.descr)
	}
	h := formats.Header{Tensors: []formats.Tensor{{Name: name, DType: t, Shape: d.shape, Bytes: n, Offset: start + length}}}
	return formats.NewCheckpoint("", h, func(int) (io.ReaderAt, error) { return formats.Range(r, start+length, n), nil }, nil), nil
}

// WriteNPY writes a matrix as version 1.0, float32 or float64 as it is kept.
func WriteNPY(w io.Writer, m Matrix) error {
	descr := "<f4"
	if m.F64 != nil {
		descr = "<f8"
	}
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%d, %d), }", descr, m.Rows, m.Cols)
	// data starts at a multiple of 64, after a line feed
	head += strings.Repeat(" ", 63-(10+len(head))%64) + "\n"
	b := append([]byte(npyMagic), 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(head)))
	b = append(b, head...)
	for i := range m.Rows {
		if m.F64 != nil {
			for _, v := range m.F64[i*m.Cols : (i+1)*m.Cols] {
				b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
			}
		} else {
			for _, v := range m.F32[i*m.Cols : (i+1)*m.Cols] {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
			}
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		b = b[:0]
	}
	return nil
}

// npyDict reads the Python literal of a header: a dict of exactly descr, fortran_order and shape.
type npyDict struct {
	rest    string // not read yet
	descr   string
	fortran bool
	shape   []int64
}

// next skips spaces and takes s if it comes next.
func (d *npyDict) next(s string) bool {
	d.rest = strings.TrimLeft(d.rest, " \n")
	rest, ok := strings.CutPrefix(d.rest, s)
	if ok {
		d.rest = rest
	}
	return ok
}

// text is a string without escapes in either quote.
func (d *npyDict) text() (string, error) {
	quote := "'"
	if !d.next(quote) {
		if quote = `"`; !d.next(quote) {
			return "", fmt.Errorf("want a string")
		}
	}
	s, rest, ok := strings.Cut(d.rest, quote)
	if !ok || strings.Contains(s, `\`) {
		return "", fmt.Errorf("want a string without escapes")
	}
	d.rest = rest
	return s, nil
}

func (d *npyDict) parse() error {
	if !d.next("{") {
		return fmt.Errorf("want {")
	}
	seen := map[string]bool{}
	for !d.next("}") {
		if len(seen) > 0 && !d.next(",") {
			return fmt.Errorf("want , or }")
		}
		if len(seen) == 3 && d.next("}") {
			break
		}
		key, err := d.text()
		if err != nil {
			return err
		}
		if seen[key] || !d.next(":") {
			return fmt.Errorf("want each key once, with a colon")
		}
		seen[key] = true
		switch key {
		case "descr":
			if d.descr, err = d.text(); err != nil {
				return fmt.Errorf("descr: %w of a simple type", err)
			}
		case "fortran_order":
			if d.fortran = d.next("True"); !d.fortran && !d.next("False") {
				return fmt.Errorf("fortran_order: want True or False")
			}
		case "shape":
			if d.shape, err = d.tuple(); err != nil {
				return err
			}
		default:
			return fmt.Errorf("unknown key %q", formats.Escape(key, 64))
		}
	}
	if len(seen) != 3 {
		return fmt.Errorf("want descr, fortran_order and shape")
	}
	if strings.Trim(d.rest, " \n") != "" {
		return fmt.Errorf("text after the dict")
	}
	return nil
}

// tuple is (), (n,), (n, m) and so on.
func (d *npyDict) tuple() ([]int64, error) {
	if !d.next("(") {
		return nil, fmt.Errorf("shape: want (")
	}
	var out []int64
	for !d.next(")") {
		if len(out) > 0 && !d.next(",") {
			return nil, fmt.Errorf("shape: want , or )")
		}
		if len(out) > 0 && d.next(")") {
			break
		}
		d.next("")
		digits := len(d.rest) - len(strings.TrimLeft(d.rest, "0123456789"))
		n, err := strconv.ParseInt(d.rest[:digits], 10, 64)
		if err != nil || len(out) == 32 {
			return nil, fmt.Errorf("shape: want up to 32 numbers below 2^63")
		}
		out, d.rest = append(out, n), d.rest[digits:]
	}
	return out, nil
}
