package kernels

import "golang.org/x/sys/cpu"

// fastest is the best path that this processor has.
var fastest = func() path {
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasF16C {
		return avx2
	}
	return plain
}()

// The fast forms do what they can from the start of their slices and return how many values (or blocks) they have done.

// whole is the number of values that a loop of step values can do, 0 on the plain path.
func whole(n, step int) int {
	if active != avx2 {
		return 0
	}
	return n - n%step
}

func fastBF16ToF32(dst []float32, src []byte) int {
	n := whole(len(dst), 32)
	if n > 0 {
		bf16ToF32AVX2(dst[:n], src[:2*n])
	}
	return n
}

func fastF16ToF32(dst []float32, src []byte) int {
	n := whole(len(dst), 32)
	if n > 0 {
		f16ToF32AVX2(dst[:n], src[:2*n])
	}
	return n
}

func fastF32ToBF16(dst []byte, src []float32) (n, overflows int) {
	n = whole(len(src), 32)
	if n > 0 {
		overflows = f32ToBF16AVX2(dst[:2*n], src[:n])
	}
	return n, overflows
}

func fastF32ToF16(dst []byte, src []float32) (n, overflows int) {
	n = whole(len(src), 32)
	if n > 0 {
		overflows = f32ToF16AVX2(dst[:2*n], src[:n])
	}
	return n, overflows
}

func fastBF16ToF16(dst, src []byte) (n, overflows int) {
	n = whole(len(src)/2, 32)
	if n > 0 {
		overflows = bf16ToF16AVX2(dst[:2*n], src[:2*n])
	}
	return n, overflows
}

func fastF16ToBF16(dst, src []byte) int {
	n := whole(len(src)/2, 32)
	if n > 0 {
		f16ToBF16AVX2(dst[:2*n], src[:2*n])
	}
	return n
}

func fastLoadF32(dst []float32, src []byte) int {
	n := whole(len(dst), 32)
	if n > 0 {
		loadF32AVX2(dst[:n], src[:4*n])
	}
	return n
}

func fastStoreF32(dst []byte, src []float32) int {
	n := whole(len(src), 32)
	if n > 0 {
		storeF32AVX2(dst[:4*n], src[:n])
	}
	return n
}

func fastWiden(dst []float64, src []float32) int {
	n := whole(len(dst), 16)
	if n > 0 {
		widenAVX2(dst[:n], src[:n])
	}
	return n
}

func fastEncodeQ8(dst []byte, src []float32) (blocks int) {
	n := whole(len(src), q8Values)
	if n > 0 {
		blocks = encodeQ8AVX2(dst[:n/q8Values*q8Bytes], src[:n])
	}
	return blocks
}

func fastDecodeQ8(dst []float32, src []byte) (blocks int) {
	n := whole(len(dst), q8Values)
	if n > 0 {
		decodeQ8AVX2(dst[:n], src[:n/q8Values*q8Bytes])
	}
	return n / q8Values
}

// panelBytes is how much of x stays in the second-level cache while all of w passes by.
const panelBytes = 192 << 10

// fastDots covers out with tiles of up to 3 x 4.
func fastDots(out, x, w []float64, rows, cols, k, ldo int) bool {
	if active != avx2 {
		return false
	}
	panel := max(3, panelBytes/(8*max(k, 1))/3*3)
	for top := 0; top < rows; top += panel {
		bottom := min(top+panel, rows)
		for c := 0; c < cols; {
			width := 4
			if cols-c < 4 {
				width = 1
			}
			for r := top; r < bottom; r += 3 {
				dotsTile(out[r*ldo+c:], x[r*k:], w[c*k:], min(3, bottom-r), width, k, ldo)
			}
			c += width
		}
	}
	return true
}

func dotsTile(out, x, w []float64, rows, cols, k, ldo int) {
	switch {
	case rows == 3 && cols == 4:
		dots3x4AVX2(out, x, w, k, ldo)
	case rows == 2 && cols == 4:
		dots2x4AVX2(out, x, w, k, ldo)
	case rows == 1 && cols == 4:
		dots1x4AVX2(out, x, w, k, ldo)
	case rows == 3:
		dots3x1AVX2(out, x, w, k, ldo)
	case rows == 2:
		dots2x1AVX2(out, x, w, k, ldo)
	default:
		dots1x1AVX2(out, x, w, k, ldo)
	}
}
