package kernels

import "encoding/binary"

// The K types: blocks of 256 values with two levels of scales.
// Source: ggml-quants.c, dequantize_row_q2_K, _q3_K, _q4_K, _q5_K, _q6_K. Products are rounded one by one, before sums.

// DecodeQ2_K decodes len(dst) values, whole blocks of 84 bytes: 16 bytes of scales (low nibbles) and minima (high ones), 64 bytes of
// bit pairs, d, dmin. Each half of a block is 32 bytes, whose lowest pairs are its first 32 values; 16 values share a scale.
func DecodeQ2_K(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[84:] {
		d, dmin := f16Value(binary.LittleEndian.Uint16(src[80:])), f16Value(binary.LittleEndian.Uint16(src[82:]))
		for run, s := range src[:16] {
			dl, ml := d*float32(s&15), float32(dmin*float32(s>>4))
			var v [4]float32
			for i := range v {
				v[i] = float32(dl*float32(i)) - ml
			}
			out, shift := dst[16*run:16*run+16], run/2%4*2
			for i, b := range src[16+run/8*32+run%2*16:][:16] {
				out[i] = v[b>>shift&3]
			}
		}
	}
}

// DecodeQ3_K decodes len(dst) values, whole blocks of 110 bytes: 32 bytes of third bits, 64 of bit pairs as in Q2_K, 12 of scales, d.
// Bit j of byte i of the third bits belongs to value 32j+i; where it is 0, 4 is taken off. Scale i is 6 bits less 32: its low nibble
// is in byte i%8, its upper pair in byte 8+i%4.
func DecodeQ3_K(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[110:] {
		d := f16Value(binary.LittleEndian.Uint16(src[108:]))
		third, scales := src[:32], src[96:108]
		for run := range 16 {
			dl := d * float32(int32(scales[run%8]>>(run/8*4)&15|scales[8+run%4]>>(run/4*2)&3<<4)-32)
			var v [8]float32
			for i := range v {
				v[i] = dl * float32(i-4)
			}
			out, shift := dst[16*run:16*run+16], run/2%4*2
			pairs, high := src[32+run/8*32+run%2*16:][:16], third[run%2*16:][:16]
			for i, b := range pairs {
				out[i] = v[b>>shift&3|high[i]>>(run/2)&1<<2]
			}
		}
	}
}

// scales4K unpacks the eight scales and eight minima of Q4_K and Q5_K, 6 bits each: the first four of both fill the low 6 bits of
// bytes 0-3 and 4-7; of the last four, bytes 8-11 hold the low nibbles and the top 2 bits of bytes 0-7 the rest.
func scales4K(b []byte) (scale, least [8]float32) {
	for i := range 4 {
		scale[i], least[i] = float32(b[i]&63), float32(b[i+4]&63)
		scale[i+4] = float32(b[i+8]&15 | b[i]>>6<<4)
		least[i+4] = float32(b[i+8]>>4 | b[i+4]>>6<<4)
	}
	return scale, least
}

// DecodeQ4_K decodes len(dst) values, whole blocks of 144 bytes: d, dmin, scales, and 4 groups of 32 bytes whose low nibbles are
// 32 values and whose high ones are the next 32.
func DecodeQ4_K(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[144:] {
		d, dmin := f16Value(binary.LittleEndian.Uint16(src)), f16Value(binary.LittleEndian.Uint16(src[2:]))
		scale, least := scales4K(src[4:16])
		for g := range 4 {
			q := src[16+32*g : 48+32*g]
			low, high := dst[64*g:64*g+32], dst[64*g+32:64*g+64]
			d0, m0 := d*scale[2*g], float32(dmin*least[2*g])
			d1, m1 := d*scale[2*g+1], float32(dmin*least[2*g+1])
			for i, b := range q {
				low[i] = float32(d0*float32(b&15)) - m0
				high[i] = float32(d1*float32(b>>4)) - m1
			}
		}
	}
}

// DecodeQ5_K decodes len(dst) values, whole blocks of 176 bytes: as Q4_K, with 32 bytes of fifth bits before the nibbles. Bit j
// of byte i belongs to value 32j+i.
func DecodeQ5_K(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[176:] {
		d, dmin := f16Value(binary.LittleEndian.Uint16(src)), f16Value(binary.LittleEndian.Uint16(src[2:]))
		scale, least := scales4K(src[4:16])
		fifth := src[16:48]
		for g := range 4 {
			q := src[48+32*g : 80+32*g]
			low, high := dst[64*g:64*g+32], dst[64*g+32:64*g+64]
			d0, m0 := d*scale[2*g], float32(dmin*least[2*g])
			d1, m1 := d*scale[2*g+1], float32(dmin*least[2*g+1])
			for i, b := range q {
				f := fifth[i] >> (2 * g)
				low[i] = float32(d0*float32(b&15|f&1<<4)) - m0
				high[i] = float32(d1*float32(b>>4|f&2<<3)) - m1
			}
		}
	}
}

// DecodeQ6_K decodes len(dst) values, whole blocks of 210 bytes: 128 bytes of low nibbles, 64 of upper bit pairs, 16 int8 scales,
// d. Each half of a block is four runs of 32 values: the low nibbles of bytes 0-31 and 32-63 of its part, then the high ones.
func DecodeQ6_K(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[210:] {
		d := f16Value(binary.LittleEndian.Uint16(src[208:]))
		for half := range 2 {
			nibbles, pairs := src[64*half:64*half+64], src[128+32*half:160+32*half]
			var ds [8]float32
			for i := range ds {
				ds[i] = d * float32(int8(src[192+8*half+i]))
			}
			out := dst[128*half : 128*half+128]
			for i, p := range pairs {
				a, b := nibbles[i], nibbles[i+32]
				run := i / 16
				out[i] = ds[run] * float32(int32(a&15|p&3<<4)-32)
				out[i+32] = ds[run+2] * float32(int32(b&15|p>>2&3<<4)-32)
				out[i+64] = ds[run+4] * float32(int32(a>>4|p>>4&3<<4)-32)
				out[i+96] = ds[run+6] * float32(int32(b>>4|p>>6<<4)-32)
			}
		}
	}
}
