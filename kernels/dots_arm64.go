package kernels

// Every arm64 processor has NEON with float64 lanes.
const fastest = neon

// fastDots covers out with tiles of 2 x 4 and what is left with single sums. Rows that are no whole number of vectors are left to the plain form.
func fastDots(out, x, w []float64, rows, cols, k, ldo int) bool {
	if active != neon || k%4 != 0 || k == 0 {
		return false
	}
	panel := max(2, panelBytes/(8*k)/2*2)
	for top := 0; top < rows; top += panel {
		bottom := min(top+panel, rows)
		c := 0
		for ; c+4 <= cols; c += 4 {
			r := top
			for ; r+2 <= bottom; r += 2 {
				dots2x4NEON(&out[r*ldo+c], &x[r*k], &w[c*k], k, ldo)
			}
			for ; r < bottom; r++ {
				for i := range 4 {
					out[r*ldo+c+i] = dotNEON(&x[r*k], &w[(c+i)*k], k)
				}
			}
		}
		for ; c < cols; c++ {
			for r := top; r < bottom; r++ {
				out[r*ldo+c] = dotNEON(&x[r*k], &w[c*k], k)
			}
		}
	}
	return true
}

// panelBytes is how much of x stays in the second-level cache while all of w passes by.
const panelBytes = 192 << 10

// dots2x4NEON is Dots for two rows of x and four of w. k is a positive multiple of 4.
//
//go:noescape
func dots2x4NEON(out, x, w *float64, k, ldo int)

// dotNEON is one sum. k is a positive multiple of 4.
//
//go:noescape
func dotNEON(x, w *float64, k int) float64
