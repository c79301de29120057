package kernels

import "math"

// The blocks of 4-bit floats (E2M1). A byte holds two values; in a run of 2n values, its low nibble is value i, its high one value n+i.
// Source: ggml-quants.c, dequantize_row_mxfp4, _nvfp4; ggml-impl.h, ggml_e8m0_to_fp32_half, ggml_ue4m3_to_fp32.

// twiceE2M1 are the values of E2M1, doubled; the scales are halved in turn. Negative zero is not kept.
var twiceE2M1 = [16]float32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

// nibbles decodes the bytes of src, with d as the scale of levels.
func nibbles(dst []float32, src []byte, d float32, levels *[16]float32) {
	v := *levels
	for i := range v {
		v[i] *= d
	}
	low, high := dst[:len(src)], dst[len(src):2*len(src)]
	for i, b := range src {
		low[i], high[i] = v[b&15], v[b>>4]
	}
}

// DecodeMXFP4 decodes len(dst) values, whole blocks of 17 bytes: the scale, a power of two without sign (E8M0), and 32 values. ggml does
// not know the scale that is NaN: 255 is 2^128.
func DecodeMXFP4(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[17:] {
		half := uint32(1) << 21 << src[0] // 2^-128 and 2^-127 are subnormal
		if src[0] >= 2 {
			half = uint32(src[0]-1) << 23
		}
		nibbles(dst, src[1:17], math.Float32frombits(half), &twiceE2M1)
	}
}

// DecodeNVFP4 decodes len(dst) values, whole blocks of 36 bytes: four scales, floats without sign (E4M3), and four runs of 16 values.
// The scale that is NaN, 127, counts as 0 and 255 as 480, as in ggml; the upper bit has no meaning otherwise.
func DecodeNVFP4(dst []float32, src []byte) {
	for ; len(dst) >= 64; dst, src = dst[64:], src[36:] {
		for run, s := range src[:4] {
			nibbles(dst[16*run:], src[4+8*run:12+8*run], halfE4M3(s), &twiceE2M1)
		}
	}
}

// halfE4M3 is half of the value of an E4M3 code.
func halfE4M3(c byte) float32 {
	e, m := uint32(c>>3&15), uint32(c&7)
	switch {
	case c == 127:
		return 0
	case e == 0:
		return float32(m) * 0x1p-10
	}
	return math.Float32frombits((e+127-8)<<23 | m<<20)
}
