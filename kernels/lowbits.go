package kernels

import "encoding/binary"

// The types of one to two bits a value and one scale.
// Source: ggml-quants.c, dequantize_row_q1_0, _q2_0, _tq1_0, _tq2_0.

// DecodeQ1_0 decodes len(dst) values, whole blocks of 18 bytes: d and 128 bits, the lowest first. A set bit is d, a clear one -d.
func DecodeQ1_0(dst []float32, src []byte) {
	for ; len(dst) >= 128; dst, src = dst[128:], src[18:] {
		d := f16Value(binary.LittleEndian.Uint16(src))
		v := [2]float32{-d, d}
		for i, b := range src[2:18] {
			out := (*[8]float32)(dst[8*i:])
			for j := range out {
				out[j] = v[b>>j&1]
			}
		}
	}
}

// DecodeQ2_0 decodes len(dst) values, whole blocks of 18 bytes: d and 64 pairs of bits, the lowest first. They are -1 to 2.
func DecodeQ2_0(dst []float32, src []byte) {
	for ; len(dst) >= 64; dst, src = dst[64:], src[18:] {
		v := ternary(binary.LittleEndian.Uint16(src))
		for i, b := range src[2:18] {
			out := (*[4]float32)(dst[4*i:])
			for j := range out {
				out[j] = v[b>>(2*j)&3]
			}
		}
	}
}

// DecodeTQ1_0 decodes len(dst) values, whole blocks of 54 bytes: runs of 32, 16 and 4 bytes, d. A byte is a fraction of 256 whose digits in
// base 3 are values, less 1: the first digits of a run come first, then the second ones. The bytes of the last run have four, the others five.
func DecodeTQ1_0(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[54:] {
		v := ternary(binary.LittleEndian.Uint16(src[52:]))
		out := dst
		for _, run := range [...]struct{ lo, hi, digits int }{{0, 32, 5}, {32, 48, 5}, {48, 52, 4}} {
			for power, n := byte(1), 0; n < run.digits; power, n = power*3, n+1 {
				for i, b := range src[run.lo:run.hi] {
					out[i] = v[uint16(b*power)*3>>8&3] // the product drops the digits before
				}
				out = out[run.hi-run.lo:]
			}
		}
	}
}

// DecodeTQ2_0 decodes len(dst) values, whole blocks of 66 bytes: 64 bytes of bit pairs, d. Each half of a block is 32 bytes, whose lowest
// pairs are its first 32 values.
func DecodeTQ2_0(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[66:] {
		v := ternary(binary.LittleEndian.Uint16(src[64:]))
		for run := range 8 {
			out := dst[32*run : 32*run+32]
			for i, b := range src[run/4*32:][:32] {
				out[i] = v[b>>(run%4*2)&3]
			}
		}
	}
}

// ternary gives the values of codes 0 to 3, which stand for -1 to 2.
func ternary(scale uint16) (v [4]float32) {
	d := f16Value(scale)
	for i := range v {
		v[i] = float32(i-1) * d
	}
	return v
}
