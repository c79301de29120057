package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"
)

func TestDotsShapes(t *testing.T) {
	for _, k := range []int{0, 1, 2, 3, 4, 5, 7, 8, 31, 64, 129} {
		for rows := range 8 {
			for cols := range 10 {
				t.Run(fmt.Sprintf("%dx%dx%d", rows, cols, k), func(t *testing.T) { sameDots(t, numbers(rows*k, 1), numbers(cols*k, 2), rows, cols, k, cols+rows%3) })
			}
		}
	}
	for _, c := range []struct {
		name          string
		rows, cols, k int
	}{
		{"several panels", 40, 9, 1024},
		{"one row does not fit a panel", 5, 6, 30001},
	} {
		t.Run(c.name, func(t *testing.T) {
			sameDots(t, numbers(c.rows*c.k, 3), numbers(c.cols*c.k, 4), c.rows, c.cols, c.k, c.cols)
		})
	}
}

// The sums themselves, in the order that the comment of Dots promises, on values where any other order shows.
func TestDotsOrder(t *testing.T) {
	one := func(n int) []float64 {
		w := make([]float64, n)
		for i := range w {
			w[i] = 1
		}
		return w
	}
	for _, c := range []struct {
		name string
		x, w []float64
		want float64
	}{
		{"nothing", nil, nil, 0},
		{"lanes 0 and 2 meet first", []float64{0x1p60, 1, -0x1p60, 1}, one(4), 2},
		{"lanes 0 and 1 do not", []float64{0x1p60, -0x1p60, 1, 1}, one(4), 0},
		{"a lane adds in order", []float64{0x1p60, 0, 0, 0, 1, 0, 0, 0, -0x1p60, 0, 0, 0}, one(12), 0},
		{"the rest goes to the same lanes", []float64{0x1p60, 0, 0, 0, -0x1p60, 0, 1}, one(7), 1},
		{"one rounding a product", []float64{-1, 0, 0, 0, 1 + 0x1p-30}, []float64{1 + 0x1p-29, 0, 0, 0, 1 + 0x1p-30}, 0x1p-60},
		{"minus zero becomes zero", []float64{-0x1p-1000, -0x1p-1000, -0x1p-1000}, []float64{0x1p-1000, 0x1p-1000, 0x1p-1000}, 0},
		{"infinity", []float64{math.Inf(-1), 1}, one(2), math.Inf(-1)},
	} {
		var out [1]float64
		Dots(out[:], c.x, c.w, 1, 1, len(c.x), 1)
		if math.Float64bits(out[0]) != math.Float64bits(c.want) {
			t.Errorf("%s: got %v, want %v", c.name, out[0], c.want)
		}
		if p := plainDot(c.x, c.w); math.Float64bits(p) != math.Float64bits(c.want) {
			t.Errorf("%s: plain: got %v, want %v", c.name, p, c.want)
		}
	}
}

func FuzzDots(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123456789abcdef"), uint8(1), uint8(1))
	f.Add(make([]byte, 1000), uint8(3), uint8(5))
	f.Fuzz(func(t *testing.T, raw []byte, rows, cols uint8) {
		r, c := int(rows%8), int(cols%10)
		if r+c == 0 {
			return
		}
		k := len(raw) / 8 / (r + c)
		v := make([]float64, (r+c)*k)
		for i := range v {
			v[i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
		}
		sameDots(t, v[:r*k], v[r*k:], r, c, k, c+1)
	})
}

// sameDots demands equal bits of both paths (any NaN for any NaN) and untouched memory between and behind the rows.
func sameDots(t *testing.T, x, w []float64, rows, cols, k, ldo int) {
	t.Helper()
	const mark = 12345
	a, b := make([]float64, rows*ldo+8), make([]float64, rows*ldo+8)
	for i := range a {
		a[i], b[i] = mark, mark
	}
	Dots(a, x, w, rows, cols, k, ldo)
	plainDots(b, x, w, rows, cols, k, ldo)
	for i := range a {
		if math.Float64bits(a[i]) != math.Float64bits(b[i]) && !(a[i] != a[i] && b[i] != b[i]) {
			t.Fatalf("%dx%dx%d: out[%d]: got %v, want %v", rows, cols, k, i, a[i], b[i])
		}
	}
}

// numbers are values of mixed magnitude and sign, so that every change of order changes a sum.
func numbers(n int, seed sequence) []float64 {
	out := make([]float64, n)
	for i := range out {
		u := seed.next()
		out[i] = math.Ldexp(float64(int64(u)>>11), int(u%16)-60)
	}
	return out
}
