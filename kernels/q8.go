package kernels

import (
	"encoding/binary"
	"math"
)

// Q8_0 blocks hold 32 values: a float16 scale d and 32 int8.
const (
	q8Values = 32
	q8Bytes  = 34
)

// EncodeQ8_0 encodes whole blocks of src. It returns how many values are lost: where the scale of a block is not finite, because an
// input is infinite or NaN or because a magnitude is above 127 * 65504 and some, all 32 of its values are.
// Source: ggml-quants.c, quantize_row_q8_0_ref, without fused multiply-add.
func EncodeQ8_0(dst []byte, src []float32) (lost int) {
	dst, src = dst[:len(src)/q8Values*q8Bytes], src[:len(src)/q8Values*q8Values]
	for len(src) > 0 {
		n := fastEncodeQ8(dst, src)
		dst, src = dst[n*q8Bytes:], src[n*q8Values:]
		if len(src) > 0 {
			lost += plainEncodeQ8(dst[:q8Bytes], src[:q8Values])
			dst, src = dst[q8Bytes:], src[q8Values:]
		}
	}
	return lost
}

// DecodeQ8_0 decodes len(dst) values, whole blocks.
// Source: ggml-quants.c, dequantize_row_q8_0.
func DecodeQ8_0(dst []float32, src []byte) {
	dst, src = dst[:len(dst)/q8Values*q8Values], src[:len(dst)/q8Values*q8Bytes]
	n := fastDecodeQ8(dst, src)
	plainDecodeQ8(dst[n*q8Values:], src[n*q8Bytes:])
}

// plainEncodeQ8 encodes whole blocks.
func plainEncodeQ8(dst []byte, src []float32) (lost int) {
	for ; len(src) > 0; dst, src = dst[q8Bytes:], src[q8Values:] {
		var top uint32 // the bits of the largest magnitude; NaN is above infinity
		for _, f := range src[:q8Values] {
			top = max(top, math.Float32bits(f)&0x7fffffff)
		}
		d := math.Float32frombits(top) / 127
		code, _ := f16Code(d)
		binary.LittleEndian.PutUint16(dst, code)
		q := dst[2:q8Bytes]
		if code >= 0x7c00 {
			lost += q8Values
		}
		if top >= infinity {
			clear(q) // C leaves the result open
			continue
		}
		// Up to 2^-128, 1/d is infinite. C leaves the integer of an infinite product open; x86 gives 0 in its low byte.
		var id float32
		if d > 0x1p-128 {
			id = 1 / d
		}
		for i, f := range src[:q8Values] {
			x := float64(float32(f * id))
			q[i] = byte(int32(x + math.Copysign(0.5, x))) // half away from zero; the sum is exact enough in float64
		}
	}
	return lost
}

func plainDecodeQ8(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[q8Values:], src[q8Bytes:] {
		d := f16Value(binary.LittleEndian.Uint16(src))
		for i, b := range src[2:q8Bytes] {
			dst[i] = float32(int8(b)) * d
		}
	}
}

// DecodeQ8_1 decodes len(dst) values, whole blocks of 36 bytes: those of Q8_0 with the sum of the values, a float16, after the scale.
// Source: ggml-common.h, block_q8_1. llama.cpp only makes and multiplies such blocks.
func DecodeQ8_1(dst []float32, src []byte) {
	for ; len(dst) >= q8Values; dst, src = dst[q8Values:], src[36:] {
		d := f16Value(binary.LittleEndian.Uint16(src))
		for i, b := range src[4:36] {
			dst[i] = float32(int8(b)) * d
		}
	}
}

// DecodeQ8_K decodes len(dst) values, whole blocks of 292 bytes: a float32 scale, 256 int8, and 16 sums that are not needed.
// Source: ggml-quants.c, dequantize_row_q8_K.
func DecodeQ8_K(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[292:] {
		d := math.Float32frombits(binary.LittleEndian.Uint32(src))
		for i, b := range src[4:260] {
			dst[i] = d * float32(int8(b))
		}
	}
}
