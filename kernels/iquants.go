package kernels

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// The I types: blocks of values that are looked up, in all but IQ4 several at once in a grid. Where a scale is s below, it is a nibble that
// stands for s+1/2 or 2s+1.
// Source: ggml-quants.c, dequantize_row_iq1_s, _iq1_m, _iq2_xxs, _iq2_xs, _iq2_s, _iq3_xxs, _iq3_s, _iq4_nl, _iq4_xs.

var (
	levels2    = [4]float32{8, 25, 43}
	levels3XXS = [8]float32{4, 12, 20, 28, 36, 44, 52, 62}
	levels3S   = [8]float32{1, 3, 5, 7, 9, 11, 13, 15}
	levels4    = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113} // ggml-common.h, kvalues_iq4nl
)

// eighth is the sign byte whose low 7 bits are s: the number of negative values among 8 is even (ggml-common.h, ksigns_iq2xs).
func eighth(s uint32) byte {
	s &= 127
	return byte(s | uint32(bits.OnesCount32(s))<<7)
}

// signed2 decodes 8 values of an IQ2 grid with the scale d. A set bit of signs makes its value negative.
func signed2(dst []float32, d float32, code uint16, signs byte) {
	v := [4]float32{d * levels2[0], d * levels2[1], d * levels2[2]}
	out := (*[8]float32)(dst)
	for i := range out {
		out[i] = math.Float32frombits(math.Float32bits(v[code>>(2*i)&3]) ^ uint32(signs)>>i<<31)
	}
}

// signed3 decodes two times 4 values of an IQ3 grid; v are the levels times the scale.
func signed3(dst []float32, v *[8]float32, first, second uint16, signs byte) {
	code := uint32(first) | uint32(second)<<12
	out := (*[8]float32)(dst)
	for i := range out {
		out[i] = math.Float32frombits(math.Float32bits(v[code>>(3*i)&7]) ^ uint32(signs)>>i<<31)
	}
}

// DecodeIQ2_XXS decodes len(dst) values, whole blocks of 66 bytes: d and 8 groups of two words for 32 values: 4 grid entries, then 4 times
// 7 signs below a scale s.
func DecodeIQ2_XXS(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[66:] {
		d := f16Value(binary.LittleEndian.Uint16(src))
		for g := range 8 {
			entries, word := src[2+8*g:6+8*g], binary.LittleEndian.Uint32(src[6+8*g:])
			dl := d * (0.5 + float32(word>>28)) * 0.25
			for i, e := range entries {
				signed2(dst[32*g+8*i:], dl, iq2xxsGrid[e], eighth(word>>(7*i)))
			}
		}
	}
}

// DecodeIQ2_XS decodes len(dst) values, whole blocks of 74 bytes: d, 32 words of 9 bits of grid entry below 7 signs, and a scale s for
// each two of them, the low nibble first.
func DecodeIQ2_XS(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[74:] {
		d := f16Value(binary.LittleEndian.Uint16(src))
		for i := range 32 {
			word := binary.LittleEndian.Uint16(src[2+2*i:])
			dl := d * (0.5 + float32(src[66+i/4]>>(i/2%2*4)&15)) * 0.25
			signed2(dst[8*i:], dl, iq2xsGrid[word&511], eighth(uint32(word>>9)))
		}
	}
}

// DecodeIQ2_S decodes len(dst) values, whole blocks of 82 bytes: d, the low 8 bits of 32 grid entries, 32 bytes of signs, the upper 2 bits of
// the entries, and scales as in IQ2_XS.
func DecodeIQ2_S(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[82:] {
		d := f16Value(binary.LittleEndian.Uint16(src))
		for i := range 32 {
			e := uint16(src[2+i]) | uint16(src[66+i/4])>>(i%4*2)&3<<8
			dl := d * (0.5 + float32(src[74+i/4]>>(i/2%2*4)&15)) * 0.25
			signed2(dst[8*i:], dl, iq2sGrid[e], src[34+i])
		}
	}
}

// DecodeIQ3_XXS decodes len(dst) values, whole blocks of 98 bytes: d, 64 grid entries, and a word for each 8 of them: 4 times 7 signs below
// a scale s.
func DecodeIQ3_XXS(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[98:] {
		d := f16Value(binary.LittleEndian.Uint16(src))
		for g := range 8 {
			e, word := src[2+8*g:10+8*g], binary.LittleEndian.Uint32(src[66+4*g:])
			v := levels3XXS
			scale(v[:], d*(0.5+float32(word>>28))*0.5)
			for i := range 4 {
				signed3(dst[32*g+8*i:], &v, iq3xxsGrid[e[2*i]], iq3xxsGrid[e[2*i+1]], eighth(word>>(7*i)))
			}
		}
	}
}

// DecodeIQ3_S decodes len(dst) values, whole blocks of 110 bytes: d, the low 8 bits of 64 grid entries, the upper bits, 32 bytes of signs,
// and a scale 2s+1 for each 8 entries, the low nibble first.
func DecodeIQ3_S(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[110:] {
		d := f16Value(binary.LittleEndian.Uint16(src))
		for g := range 8 {
			e, high := src[2+8*g:10+8*g], uint16(src[66+g])
			v := levels3S
			scale(v[:], d*float32(src[106+g/2]>>(g%2*4)&15*2+1))
			for i := range 4 {
				first, second := uint16(e[2*i])|high>>(2*i)&1<<8, uint16(e[2*i+1])|high>>(2*i+1)&1<<8
				signed3(dst[32*g+8*i:], &v, iq3sGrid[first], iq3sGrid[second], src[74+4*g+i])
			}
		}
	}
}

// around decodes 8 values of the IQ1 grid: -1, 0 or 1, moved up by an eighth, or down if low is not 0.
func around(dst []float32, d float32, entry, low uint16) {
	delta := float32(0.125)
	if low != 0 {
		delta = -delta
	}
	v := [4]float32{d * (-1 + delta), d * delta, d * (1 + delta)}
	code, out := iq1sGrid[entry&2047], (*[8]float32)(dst)
	for i := range out {
		out[i] = v[code>>(2*i)&3]
	}
}

// DecodeIQ1_S decodes len(dst) values, whole blocks of 50 bytes: d, the low 8 bits of 32 grid entries, and a word for each 4 of them: their
// upper 3 bits, a scale 2s+1 of 3 bits, and the sign of the eighth.
func DecodeIQ1_S(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[50:] {
		d := f16Value(binary.LittleEndian.Uint16(src))
		for g := range 8 {
			word := binary.LittleEndian.Uint16(src[34+2*g:])
			dl := d * float32(word>>12&7*2+1)
			for i, e := range src[2+4*g : 6+4*g] {
				around(dst[32*g+8*i:], dl, uint16(e)|word>>(3*i)&7<<8, word>>15)
			}
		}
	}
}

// DecodeIQ1_M decodes len(dst) values, whole blocks of 56 bytes: the low 8 bits of 32 grid entries, a nibble for each (its upper 3 bits and the
// sign of its eighth), and 4 words that hold four scales 2s+1 of 3 bits each below 4 bits of d, the lowest first. Two entries share a scale.
func DecodeIQ1_M(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[56:] {
		var scales [4]uint16
		var half uint16
		for i := range scales {
			scales[i] = binary.LittleEndian.Uint16(src[48+2*i:])
			half |= scales[i] >> 12 << (4 * i)
		}
		d := f16Value(half)
		for i := range 32 {
			nibble := uint16(src[32+i/2] >> (i % 2 * 4))
			dl := d * float32(scales[i/8]>>(i/2%4*3)&7*2+1)
			around(dst[8*i:], dl, uint16(src[i])|nibble&7<<8, nibble&8)
		}
	}
}

// DecodeIQ4_NL decodes len(dst) values, whole blocks of 18 bytes: d, and 32 levels as in Q4_0.
func DecodeIQ4_NL(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[18:] {
		nibbles(dst, src[2:18], f16Value(binary.LittleEndian.Uint16(src)), &levels4)
	}
}

// DecodeIQ4_XS decodes len(dst) values, whole blocks of 136 bytes: d, the upper 2 bits of 8 scales, their low nibbles, and 8 runs of 32 levels
// as in Q4_0. Scales are less 32.
func DecodeIQ4_XS(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[136:] {
		d, upper := f16Value(binary.LittleEndian.Uint16(src)), binary.LittleEndian.Uint16(src[2:])
		for g := range 8 {
			s := int32(src[4+g/2]>>(g%2*4)&15) | int32(upper>>(2*g)&3<<4)
			nibbles(dst[32*g:], src[8+16*g:24+16*g], d*float32(s-32), &levels4)
		}
	}
}

// scale multiplies v by d.
func scale(v []float32, d float32) {
	for i := range v {
		v[i] *= d
	}
}
