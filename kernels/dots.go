package kernels

import "math"

// Dots makes dot products of rows: out[r*ldo+c] is the sum over i of x[r*k+i] * w[c*k+i].
//
// Each sum has four lanes: lane l adds the products with i mod 4 = l in order of i, each by one fused multiply-add from zero,
// and k is filled up to a multiple of four with zeros; the result is (lane 0 + lane 2) + (lane 1 + lane 3). So it depends on the two
// rows alone, not on their place, on rows and cols, or on the machine. (Which NaN a NaN is may depend on the machine.)
// out must not share memory with x or w.
func Dots(out []float64, x, w []float64, rows, cols, k int, ldo int) {
	if rows <= 0 || cols <= 0 {
		return
	}
	if k < 0 || ldo < cols {
		panic("kernels: Dots: rows of out overlap")
	}
	out, x, w = out[:(rows-1)*ldo+cols], x[:rows*k], w[:cols*k]
	if !fastDots(out, x, w, rows, cols, k, ldo) {
		plainDots(out, x, w, rows, cols, k, ldo)
	}
}

func plainDots(out, x, w []float64, rows, cols, k, ldo int) {
	for r := range rows {
		for c := range cols {
			out[r*ldo+c] = plainDot(x[r*k:(r+1)*k], w[c*k:(c+1)*k])
		}
	}
}

func plainDot(x, w []float64) float64 {
	var a, b, c, d float64
	for len(x) >= 4 && len(w) >= 4 {
		a = math.FMA(x[0], w[0], a)
		b = math.FMA(x[1], w[1], b)
		c = math.FMA(x[2], w[2], c)
		d = math.FMA(x[3], w[3], d)
		x, w = x[4:], w[4:]
	}
	if len(x) > 0 {
		var p, q [4]float64
		copy(p[:], x)
		copy(q[:], w)
		a = math.FMA(p[0], q[0], a)
		b = math.FMA(p[1], q[1], b)
		c = math.FMA(p[2], q[2], c)
		d = math.FMA(p[3], q[3], d)
	}
	return (a + c) + (b + d)
}
