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

// The values of the 8-bit floats (Micikevicius et al., FP8 Formats for Deep Learning, 2022, table 1). E4M3 has no infinity and one NaN
// of each sign; E5M2 follows IEEE 754.
var (
	e4m3 = codes(3, func(e, m uint32) bool { return e == 15 && m == 7 })
	e5m2 = codes(2, func(e, m uint32) bool { return e == 31 })
)

func decodeE4M3(dst []float32, src []byte) {
	for i, b := range src[:len(dst)] {
		dst[i] = e4m3[b]
	}
}

func decodeE5M2(dst []float32, src []byte) {
	for i, b := range src[:len(dst)] {
		dst[i] = e5m2[b]
	}
}

// codes lists the values of an 8-bit float with the given bits of mantissa. special tells codes that are infinity or NaN.
func codes(mantissa uint32, special func(e, m uint32) bool) (table [256]float32) {
	const infinity, quiet = 0x7f800000, 0x00400000
	bias := 1<<(6-mantissa) - 1
	for c := range uint32(256) {
		e, m := c&0x7f>>mantissa, c&(1<<mantissa-1)
		var u uint32
		switch {
		case special(e, m) && m == 0:
			u = infinity
		case special(e, m):
			u = infinity | quiet | m<<(23-mantissa)
		case e == 0:
			u = math.Float32bits(float32(math.Ldexp(float64(m), 1-bias-int(mantissa))))
		default:
			u = math.Float32bits(float32(math.Ldexp(float64(m|1<<mantissa), int(e)-bias-int(mantissa))))
		}
		table[c] = math.Float32frombits(u | c&0x80<<24)
	}
	return table
}
