package gguf

import (
	"encoding/binary"
	"io"
	"slices"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// words are numbers in a block: count of them, of width bytes each, from an offset. What no words cover are single bytes.
type words struct{ at, width, count int }

// blocks are the numbers wider than a byte in a block of each type. They are the members of the structs in ggml-common.h, and for the
// fields that those declare as bytes what quantize_row_* and dequantize_row_* copy there: Q5_0, Q5_1 and IQ3_XXS keep 32-bit numbers in
// them, IQ1_M 16-bit ones. For the types that gguf_convert_endian.py knows, it swaps the same bytes.
//
// IQ2_XXS is not here: its quantizer writes 32-bit numbers of whose bytes its dequantizer indexes the first in memory, so that no file
// of a big-endian machine has a meaning for it.
var blocks = map[dtype.Type][]words{
	dtype.I8: nil, dtype.I16: {{0, 2, 1}}, dtype.I32: {{0, 4, 1}}, dtype.I64: {{0, 8, 1}},
	dtype.F64: {{0, 8, 1}}, dtype.F32: {{0, 4, 1}}, dtype.F16: {{0, 2, 1}}, dtype.BF16: {{0, 2, 1}},
	dtype.Q4_0: {{0, 2, 1}}, dtype.Q4_1: {{0, 2, 2}}, dtype.Q5_0: {{0, 2, 1}, {2, 4, 1}}, dtype.Q5_1: {{0, 2, 2}, {4, 4, 1}},
	dtype.Q8_0: {{0, 2, 1}}, "Q8_1": {{0, 2, 2}},
	"Q2_K": {{80, 2, 2}}, "Q3_K": {{108, 2, 1}}, dtype.Q4_K: {{0, 2, 2}}, dtype.Q5_K: {{0, 2, 2}}, dtype.Q6_K: {{208, 2, 1}},
	"Q8_K":   {{0, 4, 1}, {260, 2, 16}},
	"IQ2_XS": {{0, 2, 33}}, "IQ2_S": {{0, 2, 1}}, "IQ3_XXS": {{0, 2, 1}, {66, 4, 8}}, "IQ3_S": {{0, 2, 1}},
	"IQ1_S": {{0, 2, 1}, {34, 2, 8}}, "IQ1_M": {{48, 2, 4}}, "IQ4_NL": {{0, 2, 1}}, "IQ4_XS": {{0, 2, 2}},
	"TQ1_0": {{52, 2, 1}}, "TQ2_0": {{64, 2, 1}}, "MXFP4": nil, "NVFP4": nil, "Q1_0": {{0, 2, 1}}, "Q2_0": {{0, 2, 1}},
}

// littleEndian reads the big-endian bytes of t in r as little-endian ones.
func littleEndian(r io.ReaderAt, t formats.Tensor) (io.ReaderAt, *formats.Error) {
	w, ok := blocks[t.DType]
	switch {
	case !ok:
		return nil, formats.Errorf(formats.Unsupported, "how %s lies in a big-endian file is not known", t.DType).
			Hinted("write the file again on a little-endian machine").In(t.Name, "")
	case w == nil:
		return r, nil
	}
	return &swapped{r, t.Bytes, t.DType.BlockBytes(), w}, nil
}

// swapped is a tensor whose numbers are turned round as they are read. It keeps nothing between reads.
type swapped struct {
	r     io.ReaderAt
	bytes int64
	block int64
	words []words
}

// ReadAt reads whole blocks into p. Of a block that p holds a part of, the rest is read into a buffer.
func (s *swapped) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off >= s.bytes {
		return 0, io.EOF
	}
	short := error(nil)
	if left := s.bytes - off; int64(len(p)) > left {
		p, short = p[:left], io.EOF
	}
	for n < len(p) {
		at := off + int64(n)
		if skip := at % s.block; skip != 0 || int64(len(p)-n) < s.block {
			var b [512]byte // the largest block, of Q8_K, has 292 bytes
			part := b[:s.block]
			if err := s.read(part, at-skip); err != nil {
				return n, err
			}
			n += copy(p[n:], part[skip:])
			continue
		}
		whole := p[n : n+int(int64(len(p)-n)/s.block*s.block)]
		if err := s.read(whole, at); err != nil {
			return n, err
		}
		n += len(whole)
	}
	return n, short
}

// read fills p, whole blocks, or fails.
func (s *swapped) read(p []byte, off int64) error {
	if n, err := s.r.ReadAt(p, off); n < len(p) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	for ; len(p) > 0; p = p[s.block:] {
		for _, w := range s.words {
			for i := range w.count {
				at := w.at + i*w.width
				turn(p[at : at+w.width])
			}
		}
	}
	return nil
}

// turn reverses the bytes of a number.
func turn(b []byte) {
	switch len(b) {
	case 2:
		b[0], b[1] = b[1], b[0]
	case 4:
		binary.LittleEndian.PutUint32(b, binary.BigEndian.Uint32(b))
	default:
		slices.Reverse(b)
	}
}
