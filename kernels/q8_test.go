package kernels

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

func TestEncodeQ8Loss(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		name  string
		value float32 // in one place of a block of ones
		lost  int
		code  uint16 // of the scale
	}{
		{"ordinary", 2, 0, 0x2408},
		{"the largest scale that float16 holds", 127 * 65519, 0, 0x7bff},
		{"a scale that float16 does not hold", 127 * 65520, 32, 0x7c00},
		{"the largest float32", math.MaxFloat32, 32, 0x7c00},
		{"infinity", inf, 32, 0x7c00},
		{"minus infinity", -inf, 32, 0x7c00},
		{"NaN", nan, 32, 0x7e00},
	} {
		for place := range 32 {
			src := make([]float32, 96)
			for i := range src {
				src[i] = 1
			}
			src[32+place] = c.value
			dst := make([]byte, 102)
			lost := EncodeQ8_0(dst, src)
			if code := uint16(dst[34]) | uint16(dst[35])<<8; lost != c.lost || code != c.code {
				t.Errorf("%s at %d: got %d lost and scale %#04x, want %d and %#04x", c.name, place, lost, code, c.lost, c.code)
			}
			if !bytes.Equal(dst[:34], dst[68:]) {
				t.Errorf("%s at %d: the blocks beside it differ", c.name, place)
			}
		}
	}
}

// spread makes n values, whole blocks, whose magnitudes cover every exponent, many of them halfway between two integers of their block.
func spread(n int) []float32 {
	var s sequence
	out := make([]float32, n)
	for i := 0; i < n; i += 32 {
		exp := int(s.next()%300) - 160
		for j := i; j < i+32; j++ {
			u := s.next()
			switch u >> 62 {
			case 0:
				out[j] = float32(math.Ldexp(float64(int64(u<<2)>>55), exp)) // few bits: ties
			default:
				out[j] = float32(math.Ldexp(float64(int64(u<<2)>>40), exp-24))
			}
		}
		out[i] = float32(math.Ldexp(254, exp))                      // halves of the scale are exact
		out[i+1] = math.Nextafter32(float32(math.Ldexp(1, exp)), 0) // just below one half
	}
	return out
}

func TestQ8Paths(t *testing.T) {
	src := spread(1 << 17)
	a, b := make([]byte, len(src)/32*34), make([]byte, len(src)/32*34)
	if na, nb := EncodeQ8_0(a, src), plainEncodeQ8(b, src); na != nb || !bytes.Equal(a, b) {
		for i := range a {
			if a[i] != b[i] {
				k := i / 34
				t.Fatalf("block %d of %v:\ngot  %x\nwant %x", k, src[32*k:32*k+32], a[34*k:34*k+34], b[34*k:34*k+34])
			}
		}
		t.Fatalf("lost: got %d, want %d", na, nb)
	}
	x, y := make([]float32, len(src)), make([]float32, len(src))
	DecodeQ8_0(x, a)
	plainDecodeQ8(y, a)
	if !slices.Equal(bitsOf(x), bitsOf(y)) {
		t.Error("decoded values differ between the paths")
	}
}

func FuzzQ8(f *testing.F) {
	f.Add(make([]byte, 128))
	f.Add(bytes.Repeat([]byte{0, 0, 0x80, 0x3f}, 64))
	f.Add(bytes.Repeat([]byte{1, 0, 0, 0, 0, 0, 0x20, 0}, 48)) // subnormals around 2^-128
	f.Add(bytes.Repeat([]byte{0xff, 0xff, 0x7f, 0x4a, 0, 0, 0x80, 0x7f}, 48))
	f.Fuzz(func(t *testing.T, raw []byte) {
		blocks := len(raw) / 128
		src := make([]float32, 32*blocks)
		plainLoadF32(src, raw)
		a, b := make([]byte, 34*blocks+8), make([]byte, 34*blocks+8)
		if na, nb := EncodeQ8_0(a, src), plainEncodeQ8(b, src); na != nb || !bytes.Equal(a, b) {
			t.Fatalf("encode: got %d lost, %x; want %d, %x", na, a, nb, b)
		}
		n := len(raw) / 34 * 32
		x, y := make([]float32, n), make([]float32, n)
		DecodeQ8_0(x, raw)
		plainDecodeQ8(y, raw[:n/32*34])
		if !slices.Equal(bitsOf(x), bitsOf(y)) {
			t.Fatalf("decode: got %v, want %v", x, y)
		}
	})
}
