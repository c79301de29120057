package kernels

import "math"

// The float32 bits that matter to rounding. Magnitudes compare like their bits.
const (
	infinity = 0x7f800000
	quiet    = 0x00400000
	overBF16 = 0x7f7f8000 // the smallest magnitude that rounds to infinity: a tie, and infinity is the even one
	overF16  = 0x477ff000 // 65520, likewise
	leastF16 = 0x38800000 // 2^-14, the smallest normal float16
)

// f16Value widens one float16.
func f16Value(h uint16) float32 {
	sign, u := uint32(h&0x8000)<<16, uint32(h&0x7fff)<<13
	if h&0x7c00 == 0x7c00 {
		u |= infinity
		if h&0x03ff != 0 {
			u |= quiet
		}
		return math.Float32frombits(sign | u)
	}
	// The exponent of u is 112 too small. The product is exact, and right for subnormals, which u shows as float32 subnormals.
	return math.Float32frombits(sign | math.Float32bits(math.Float32frombits(u)*0x1p112))
}

// f16Code rounds one value to float16; over is 1 if it was finite and is no more.
func f16Code(f float32) (h uint16, over int) {
	u := math.Float32bits(f)
	sign, u := uint16(u>>16&0x8000), u&0x7fffffff
	switch {
	case u > infinity:
		return sign | 0x7e00 | uint16(u>>13&0x03ff), 0
	case u == infinity:
		return sign | 0x7c00, 0
	case u >= overF16:
		return sign | 0x7c00, 1
	case u < leastF16:
		// 0.5 has the unit of the smallest float16, so the sum is rounded where float16 rounds.
		return sign | uint16(math.Float32bits(math.Float32frombits(u)+0.5)-0x3f000000), 0
	}
	return sign | uint16((u+0xfff+u>>13&1-112<<23)>>13), 0
}

// bf16Code rounds one value to bfloat16; over is 1 if it was finite and is no more.
func bf16Code(f float32) (h uint16, over int) {
	u := math.Float32bits(f)
	a := u & 0x7fffffff
	if a > infinity {
		return uint16((u | quiet) >> 16), 0
	}
	if a >= overBF16 && a < infinity {
		over = 1
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16), over
}
