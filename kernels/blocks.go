package kernels

import "encoding/binary"

// The 4- and 5-bit blocks of 32 values: a float16 scale d, in the _1 types a float16 minimum m, in the 5-bit types 32 fifth bits,
// then 16 bytes whose low nibbles are values 0 to 15 and whose high ones are values 16 to 31.
// Source: ggml-quants.c, dequantize_row_q4_0, _q4_1, _q5_0, _q5_1. Products are rounded before sums.

// DecodeQ4_0 decodes len(dst) values, whole blocks of 18 bytes.
func DecodeQ4_0(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[18:] {
		d := f16Value(binary.LittleEndian.Uint16(src))
		low, high := dst[:16], dst[16:32]
		for i, b := range src[2:18] {
			low[i] = float32(int32(b&15)-8) * d
			high[i] = float32(int32(b>>4)-8) * d
		}
	}
}

// DecodeQ4_1 decodes len(dst) values, whole blocks of 20 bytes.
func DecodeQ4_1(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[20:] {
		d, m := f16Value(binary.LittleEndian.Uint16(src)), f16Value(binary.LittleEndian.Uint16(src[2:]))
		low, high := dst[:16], dst[16:32]
		for i, b := range src[4:20] {
			low[i] = float32(float32(b&15)*d) + m
			high[i] = float32(float32(b>>4)*d) + m
		}
	}
}

// DecodeQ5_0 decodes len(dst) values, whole blocks of 22 bytes.
func DecodeQ5_0(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[22:] {
		d := f16Value(binary.LittleEndian.Uint16(src))
		fifth := binary.LittleEndian.Uint32(src[2:])
		low, high := dst[:16], dst[16:32]
		for i, b := range src[6:22] {
			low[i] = float32(int32(uint32(b&15)|fifth>>i&1<<4)-16) * d
			high[i] = float32(int32(uint32(b>>4)|fifth>>(i+16)&1<<4)-16) * d
		}
	}
}

// DecodeQ5_1 decodes len(dst) values, whole blocks of 24 bytes.
func DecodeQ5_1(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[24:] {
		d, m := f16Value(binary.LittleEndian.Uint16(src)), f16Value(binary.LittleEndian.Uint16(src[2:]))
		fifth := binary.LittleEndian.Uint32(src[4:])
		low, high := dst[:16], dst[16:32]
		for i, b := range src[8:24] {
			low[i] = float32(float32(int32(uint32(b&15)|fifth>>i&1<<4))*d) + m
			high[i] = float32(float32(int32(uint32(b>>4)|fifth>>(i+16)&1<<4))*d) + m
		}
	}
}
