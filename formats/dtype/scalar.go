package dtype

import "math"

// finite makes a cast under which finite values stay finite one that counts how many do not.
func finite[D, S any](cast func(dst []D, src []S)) func(dst []D, src []S) (overflows int) {
	return func(dst []D, src []S) int {
		cast(dst, src)
		return 0
	}
}

func decodeBool(dst []float32, src []byte) {
	for i, b := range src[:len(dst)] {
		dst[i] = 0
		if b != 0 {
			dst[i] = 1
		}
	}
}

// The values of the small floats. E4M3 and E5M2: Micikevicius et al., FP8 Formats for Deep Learning, 2022, table 1; E4M3 has no infinity and
// one NaN of each sign, E5M2 follows IEEE 754. FNUZ: Noune et al., 8-bit Numerical Formats for Deep Neural Networks, 2022; the bias is
// one more, there is no infinity, and negative zero is the only NaN. E2M1 and E8M0: OCP Microscaling Formats 1.0, sections 5.3.3 and 5.4.1.
var (
	e4m3     = codes(3, 7, func(c uint32) bool { return c&0x7f == 0x7f })
	e5m2     = codes(2, 15, func(c uint32) bool { return c&0x7c == 0x7c })
	e4m3fnuz = codes(3, 8, func(c uint32) bool { return c == 0x80 })
	e5m2fnuz = codes(2, 16, func(c uint32) bool { return c == 0x80 })
	e2m1     = [16]float32{0, 0.5, 1, 1.5, 2, 3, 4, 6, float32(math.Copysign(0, -1)), -0.5, -1, -1.5, -2, -3, -4, -6}
)

// The bits of float32 that are infinity, and what makes a NaN quiet.
const infinity, quiet = 0x7f800000, 0x00400000

func decodeE4M3(dst []float32, src []byte)     { look(dst, src, &e4m3) }
func decodeE5M2(dst []float32, src []byte)     { look(dst, src, &e5m2) }
func decodeE4M3FNUZ(dst []float32, src []byte) { look(dst, src, &e4m3fnuz) }
func decodeE5M2FNUZ(dst []float32, src []byte) { look(dst, src, &e5m2fnuz) }

func look(dst []float32, src []byte, values *[256]float32) {
	for i, b := range src[:len(dst)] {
		dst[i] = values[b]
	}
}

// decodeE8M0 decodes powers of two from 2^-127, which is subnormal; 255 is NaN.
func decodeE8M0(dst []float32, src []byte) {
	for i, b := range src[:len(dst)] {
		u := uint32(b) << 23
		switch b {
		case 0:
			u = 1 << 22
		case 255:
			u |= quiet
		}
		dst[i] = math.Float32frombits(u)
	}
}

// decodeF4 decodes pairs of E2M1, the low half of a byte first.
// Source: torch/headeronly/util/Float4_e2m1fn_x2.h; safetensors stores what torch has.
func decodeF4(dst []float32, src []byte) {
	for i, b := range src[:len(dst)/2] {
		dst[2*i], dst[2*i+1] = e2m1[b&15], e2m1[b>>4]
	}
}

// codes lists the values of an 8-bit float with the given bits of mantissa. special tells codes that are infinity or NaN.
func codes(mantissa, bias int, special func(c uint32) bool) (table [256]float32) {
	for c := range uint32(256) {
		e, m := int(c&0x7f>>mantissa), c&(1<<mantissa-1)
		sign, u := c&0x80<<24, uint32(0)
		switch {
		case special(c) && c == 0x80:
			sign, u = 0, infinity|quiet
		case special(c) && m == 0:
			u = infinity
		case special(c):
			u = infinity | quiet | m<<(23-mantissa)
		case e == 0:
			u = math.Float32bits(float32(math.Ldexp(float64(m), 1-bias-mantissa)))
		default:
			u = math.Float32bits(float32(math.Ldexp(float64(m|1<<mantissa), e-bias-mantissa)))
		}
		table[c] = math.Float32frombits(u | sign)
	}
	return table
}
