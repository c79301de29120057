package raw

import (
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/index"
)

const magic = "\x93NUMPY"

// maxHeader is the longest header of version 1.0. numpy itself stops at 10,000 bytes (_MAX_HEADER_SIZE), and a header that is
// longer than this describes a structure.
const maxHeader = 1<<16 - 1

// array is what the header of an .npy file says.
type array struct {
	element
	fortran bool
	shape   []int64
	start   int64 // of the data
	bytes   int64
}

// readArray reads the header of an .npy file and holds the size of the file against it. Problems have no path yet.
func readArray(r io.ReaderAt, size int64) (array, error) {
	var a array
	bad := func(code formats.Code, at int64, field, format string, args ...any) error {
		return formats.Errorf(code, format, args...).At("", at).In("", field)
	}
	var fixed [12]byte
	n := min(size, int64(len(fixed)))
	if err := index.Full(r, fixed[:n], 0); err != nil {
		return a, index.Failed("", 0, err)
	}
	if m := min(int(n), len(magic)); m == 0 || string(fixed[:m]) != magic[:m] {
		if n == 0 {
			return a, bad(formats.Trunc, 0, "magic", "got an empty file, want an .npy file")
		}
		return a, bad(formats.Magic, 0, "magic", "got % x, want % x, as numpy writes", fixed[:m], magic)
	}
	if n < 8 {
		return a, bad(formats.Trunc, n, "version", "the file ends after %d bytes", n)
	}
	if v := fixed[6]; v < 1 || v > 3 || fixed[7] != 0 {
		return a, bad(formats.Version, 6, "version", "got %d.%d, want 1.0, 2.0 or 3.0", v, fixed[7])
	}
	start, length := int64(10), int64(binary.LittleEndian.Uint16(fixed[8:]))
	if fixed[6] > 1 {
		start, length = 12, int64(binary.LittleEndian.Uint32(fixed[8:]))
	}
	switch {
	case n < start:
		return a, bad(formats.Trunc, n, "header length", "the file ends after %d bytes", n)
	case length > size-start:
		return a, bad(formats.Trunc, 8, "header length", "got %d, want at most %d, which is all that the file has after it", length, size-start)
	case length > maxHeader:
		return a, bad(formats.Limit, 8, "header length", "got %d, want at most %d", length, maxHeader)
	}
	text, err := index.Text(r, start, length)
	if err != nil {
		return a, index.Failed("", start, err)
	}
	l := literal{src: text, base: start, old: fixed[6] < 3}
	if fixed[6] == 3 && !utf8.ValidString(text) {
		at := 0
		for r, w := utf8.DecodeRuneInString(text); r != utf8.RuneError || w != 1; r, w = utf8.DecodeRuneInString(text[at:]) {
			at += w
		}
		return a, bad(formats.UTF8, start+int64(at), "header", "got byte 0x%02x, want UTF-8, as version 3.0 has it", text[at])
	}
	l.dict(&a)
	if err := errors.Join(l.errs...); err != nil {
		return a, err
	}
	a.start = start + length
	if a.bytes, err = formats.TensorBytes(a.types[0], a.shape); err != nil {
		return a, formats.Errors(err)[0].At("", start+l.shapeAt).In("", "shape")
	}
	switch have := size - a.start; {
	case have < a.bytes:
		return a, bad(formats.Trunc, size, "data", "got %d bytes, want %d for shape %v", have, a.bytes, a.shape)
	case have > a.bytes:
		return a, bad(formats.Trail, a.start+a.bytes, "data", "got %d bytes after those of the array", have-a.bytes)
	}
	return a, nil
}

// npyHeader is the header that numpy.save writes for an array in C order (numpy/lib/_format_impl.py, _write_array_header): it has
// room for the first dimension to grow to 21 digits, and ends at a multiple of 64.
func npyHeader(t dtype.Type, shape []int64) string {
	var b strings.Builder
	b.WriteString("{'descr': '" + descr(t) + "', 'fortran_order': False, 'shape': (")
	for i, d := range shape {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.FormatInt(d, 10))
	}
	if len(shape) == 1 {
		b.WriteString(",")
	}
	b.WriteString("), }")
	if len(shape) > 0 {
		b.WriteString(strings.Repeat(" ", 21-len(strconv.FormatInt(shape[0], 10))))
	}
	const before = len(magic) + 4
	b.WriteString(strings.Repeat(" ", 64-(before+b.Len()+1)%64) + "\n")
	length := b.Len()
	return magic + "\x01\x00" + string([]byte{byte(length), byte(length >> 8)}) + b.String()
}
