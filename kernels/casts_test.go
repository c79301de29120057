package kernels

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/x448/float16"
)

// codes are all 65,536 half codes in order.
func codes() []byte {
	b := make([]byte, 0, 1<<17)
	for c := range 1 << 16 {
		b = binary.LittleEndian.AppendUint16(b, uint16(c))
	}
	return b
}

// edges are float32 bits around every place where a half type rounds: each code, the middle to the next one, and their
// neighbours; and NaN payloads.
func edges(width uint) []uint32 {
	var out []uint32
	for c := range uint32(1 << 16) {
		u := math.Float32bits(f16Value(uint16(c)))
		if width == 16 { // bfloat16
			u = c << 16
		}
		for _, d := range []uint32{0, 1, ^uint32(0), 1 << (width - 1), 1<<(width-1) - 1, 1<<(width-1) + 1} {
			out = append(out, u+d)
		}
	}
	return out
}

// floats turns bits into values, without arithmetic on them.
func floats(bits []uint32) []float32 {
	out := make([]float32, len(bits))
	for i, u := range bits {
		out[i] = math.Float32frombits(u)
	}
	return out
}

func bitsOf(f []float32) []uint32 {
	out := make([]uint32, len(f))
	for i, v := range f {
		out[i] = math.Float32bits(v)
	}
	return out
}

func TestWidenAllCodes(t *testing.T) {
	src := codes()
	for _, c := range []struct {
		name        string
		fast, plain func([]float32, []byte)
		want        func(code uint16) uint32
	}{
		{"float16", F16ToF32, plainF16ToF32, func(c uint16) uint32 { return math.Float32bits(float16.Frombits(c).Float32()) }},
		{"bfloat16", BF16ToF32, plainBF16ToF32, func(c uint16) uint32 { return uint32(c) << 16 }},
	} {
		a, b := make([]float32, 1<<16), make([]float32, 1<<16)
		c.fast(a, src)
		c.plain(b, src)
		for i := range a {
			want := c.want(uint16(i))
			if got := math.Float32bits(a[i]); got != want {
				t.Fatalf("%s: code %#04x: got %#08x, want %#08x", c.name, i, got, want)
			}
			if got := math.Float32bits(b[i]); got != want {
				t.Fatalf("%s: plain: code %#04x: got %#08x, want %#08x", c.name, i, got, want)
			}
		}
	}
}

func TestF32ToF16AtEdges(t *testing.T) {
	narrowF16(t, edges(13))
}

func TestF32ToF16Strided(t *testing.T) {
	var in []uint32
	for u := uint64(0); u < 1<<32; u += 4099 {
		in = append(in, uint32(u))
	}
	narrowF16(t, in)
}

// narrowF16 compares both paths with x448/float16, and the count with the definition of an overflow.
func narrowF16(t *testing.T, in []uint32) {
	t.Helper()
	src := floats(in)
	a, b := make([]byte, 2*len(src)), make([]byte, 2*len(src))
	na, nb := F32ToF16(a, src), plainF32ToF16(b, src)
	over := 0
	for i, f := range src {
		want := uint16(float16.Fromfloat32(f))
		if want&0x7fff == 0x7c00 && !math.IsInf(float64(f), 0) {
			over++
		}
		if got := binary.LittleEndian.Uint16(a[2*i:]); got != want {
			t.Fatalf("%#08x: got %#04x, want %#04x", in[i], got, want)
		}
	}
	if !bytes.Equal(a, b) {
		t.Fatal("plain and active paths differ")
	}
	if na != over || nb != over {
		t.Errorf("overflows: got %d, plain %d, want %d", na, nb, over)
	}
}

func TestF32ToBF16AtEdges(t *testing.T) {
	narrowBF16(t, edges(16))
}

func TestF32ToBF16Strided(t *testing.T) {
	var in []uint32
	for u := uint64(0); u < 1<<32; u += 4099 {
		in = append(in, uint32(u))
	}
	narrowBF16(t, in)
}

// narrowBF16 compares both paths with the nearest of the two neighbouring codes, found by distance. (formats/dtype compares
// with recorded answers.)
func narrowBF16(t *testing.T, in []uint32) {
	t.Helper()
	src := floats(in)
	a, b := make([]byte, 2*len(src)), make([]byte, 2*len(src))
	na, nb := F32ToBF16(a, src), plainF32ToBF16(b, src)
	over := 0
	for i, u := range in {
		want := nearestBF16(u)
		if want&0x7fff == 0x7f80 && u&0x7fffffff != 0x7f800000 {
			over++
		}
		if got := binary.LittleEndian.Uint16(a[2*i:]); got != want {
			t.Fatalf("%#08x: got %#04x, want %#04x", u, got, want)
		}
	}
	if !bytes.Equal(a, b) {
		t.Fatal("plain and active paths differ")
	}
	if na != over || nb != over {
		t.Errorf("overflows: got %d, plain %d, want %d", na, nb, over)
	}
}

// nearestBF16 is the slow definition: the closer neighbour, of two equally close ones the even. Infinity counts as 2^128.
func nearestBF16(u uint32) uint16 {
	f := float64(math.Float32frombits(u))
	if math.IsNaN(f) {
		return uint16(u>>16) | 0x40
	}
	low := uint16(u >> 16)
	if u&0xffff == 0 {
		return low
	}
	value := func(c uint16) float64 {
		if c&0x7fff == 0x7f80 {
			return math.Copysign(0x1p128, f)
		}
		return float64(math.Float32frombits(uint32(c) << 16))
	}
	down, up := math.Abs(f-value(low)), math.Abs(value(low+1)-f)
	if down < up || down == up && low&1 == 0 {
		return low
	}
	return low + 1
}

func TestHalfToHalf(t *testing.T) {
	src := codes()
	wide := make([]float32, 1<<16)
	got, want := make([]byte, 1<<17), make([]byte, 1<<17)

	plainBF16ToF32(wide, src)
	n := plainF32ToF16(want, wide)
	if m := BF16ToF16(got, src); m != n || !bytes.Equal(got, want) {
		t.Errorf("bfloat16 to float16: %d overflows, want %d; bytes equal: %v", m, n, bytes.Equal(got, want))
	}
	if m := plainBF16ToF16(got, src); m != n || !bytes.Equal(got, want) {
		t.Errorf("bfloat16 to float16, plain: %d overflows, want %d; bytes equal: %v", m, n, bytes.Equal(got, want))
	}
	plainF16ToF32(wide, src)
	plainF32ToBF16(want, wide)
	if F16ToBF16(got, src); !bytes.Equal(got, want) {
		t.Error("float16 to bfloat16: bytes differ from the way through float32")
	}
	if plainF16ToBF16(got, src); !bytes.Equal(got, want) {
		t.Error("float16 to bfloat16, plain: bytes differ from the way through float32")
	}
}

func TestWide(t *testing.T) {
	in := floats(edges(13))
	got, want := make([]float64, len(in)), make([]float64, len(in))
	Widen(got, in)
	plainWiden(want, in)
	for i := range got {
		if math.Float64bits(got[i]) != math.Float64bits(want[i]) {
			t.Fatalf("Widen %#08x: got %#016x, want %#016x", math.Float32bits(in[i]), math.Float64bits(got[i]), math.Float64bits(want[i]))
		}
	}
	b := make([]byte, 8*len(in))
	F32ToF64(b, in)
	back, again := make([]float32, len(in)), make([]float64, len(in))
	if n := F64ToF32(back, b); n != 0 {
		t.Errorf("F64ToF32 of widened values: %d overflows, want 0", n)
	}
	LoadF64(again, b)
	for i, f := range in {
		u := math.Float32bits(f)
		if f != f {
			u |= quiet
		}
		if math.Float32bits(back[i]) != u || math.Float64bits(again[i]) != math.Float64bits(want[i]) {
			t.Fatalf("%#08x came back as %#08x, %#016x", u, math.Float32bits(back[i]), math.Float64bits(again[i]))
		}
	}
	// 2^128 - 2^103 is the tie between the largest float32 and infinity.
	for _, c := range []struct {
		in   float64
		bits uint32
		over int
	}{
		{math.Nextafter(0x1p128-0x1p103, 0), 0x7f7fffff, 0}, {0x1p128 - 0x1p103, infinity, 1}, {-math.MaxFloat64, 0xff800000, 1},
		{math.Inf(-1), 0xff800000, 0}, {0x1p-150, 0, 0}, {math.Nextafter(0x1p-150, 1), 1, 0}, {math.Copysign(0, -1), 0x80000000, 0},
	} {
		var out [1]float32
		over := F64ToF32(out[:], binary.LittleEndian.AppendUint64(nil, math.Float64bits(c.in)))
		if got := math.Float32bits(out[0]); got != c.bits || over != c.over {
			t.Errorf("F64ToF32(%g): got %#08x and %d, want %#08x and %d", c.in, got, over, c.bits, c.over)
		}
	}
}

func TestInts(t *testing.T) {
	src := []byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff} // as int64: -127, as uint64: 2^64 - 127
	for _, c := range []struct {
		name string
		got  float64
		want float64
	}{
		{"int8", one64(Ints[int8, float64], src), -127},
		{"uint8", one64(Ints[uint8, float64], src), 129},
		{"int16", one64(Ints[int16, float64], src), -127},
		{"uint16", one64(Ints[uint16, float64], src), 65409},
		{"int32", one64(Ints[int32, float64], src), -127},
		{"uint32", one64(Ints[uint32, float64], src), 4294967169},
		{"int64", one64(Ints[int64, float64], src), -127},
		{"uint64", one64(Ints[uint64, float64], src), 0x1p64},
		{"int32 beyond float32", float64(one32(Ints[int32, float32], []byte{1, 0, 0, 1})), 1 << 24},
		{"int64 beyond float64", one64(Ints[int64, float64], []byte{3, 0, 0, 0, 0, 0, 0x20, 0}), 1<<53 + 4},
		{"uint64 beyond int64", float64(one32(Ints[uint64, float32], []byte{1, 0, 0, 0, 0x80, 0, 0, 0x80})), 0x1p63 + 0x1p40},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, c.got, c.want)
		}
	}
}

func one64(f func([]float64, []byte), src []byte) float64 {
	var out [1]float64
	f(out[:], src)
	return out[0]
}

func one32(f func([]float32, []byte), src []byte) float32 {
	var out [1]float32
	f(out[:], src)
	return out[0]
}

// Any number of values at any alignment, and nothing written beyond them.
func TestCastLengths(t *testing.T) {
	var s sequence
	for n := range 100 {
		raw := make([]byte, 4*n+1)
		for i := range raw {
			raw[i] = byte(s.next())
		}
		sameCasts(t, raw[1:])
	}
}

func FuzzCasts(f *testing.F) {
	f.Add([]byte{0, 0, 0x80, 0x7f, 1, 0, 0x80, 0xff})
	f.Add(bytes.Repeat([]byte{0, 0xf0, 0x7f, 0x47}, 40)) // 65520 - one bit: the tie
	f.Add(codes()[:400])
	f.Fuzz(func(t *testing.T, raw []byte) { sameCasts(t, raw) })
}

// sameCasts demands equal results of both paths for bytes read as any type, and untouched memory behind the result.
func sameCasts(t *testing.T, raw []byte) {
	t.Helper()
	const mark = 0xa5
	halves, words := len(raw)/2, len(raw)/4
	f32 := make([]float32, words)
	LoadF32(f32, raw)
	for _, c := range []struct {
		name        string
		n           int // bytes written
		fast, plain func(dst []byte) int
	}{
		{"F32ToBF16", 2 * words, func(d []byte) int { return F32ToBF16(d, f32) }, func(d []byte) int { return plainF32ToBF16(d, f32) }},
		{"F32ToF16", 2 * words, func(d []byte) int { return F32ToF16(d, f32) }, func(d []byte) int { return plainF32ToF16(d, f32) }},
		{"BF16ToF16", 2 * halves, func(d []byte) int { return BF16ToF16(d, raw[:2*halves]) }, func(d []byte) int { return plainBF16ToF16(d, raw[:2*halves]) }},
		{"F16ToBF16", 2 * halves, func(d []byte) int { F16ToBF16(d, raw[:2*halves]); return 0 }, func(d []byte) int { plainF16ToBF16(d, raw[:2*halves]); return 0 }},
		{"StoreF32", 4 * words, func(d []byte) int { StoreF32(d, f32); return 0 }, func(d []byte) int { return copy(d, raw[:4*words]) * 0 }},
	} {
		a, b := bytes.Repeat([]byte{mark}, c.n+64), bytes.Repeat([]byte{mark}, c.n+64)
		if na, nb := c.fast(a), c.plain(b); na != nb || !bytes.Equal(a, b) {
			t.Fatalf("%s: %d values: got %d overflows and %x, want %d and %x", c.name, words, na, a, nb, b)
		}
	}
	for _, c := range []struct {
		name        string
		n           int
		fast, plain func([]float32, []byte)
	}{
		{"BF16ToF32", halves, BF16ToF32, plainBF16ToF32},
		{"F16ToF32", halves, F16ToF32, plainF16ToF32},
		{"LoadF32", words, LoadF32, plainLoadF32},
	} {
		a, b := make([]float32, c.n+16), make([]float32, c.n+16)
		c.fast(a[:c.n], raw)
		c.plain(b[:c.n], raw)
		if !slices.Equal(bitsOf(a), bitsOf(b)) {
			t.Fatalf("%s: %d values: got %v, want %v", c.name, c.n, a, b)
		}
	}
	a, b := make([]float64, words+8), make([]float64, words+8)
	Widen(a[:words], f32)
	plainWiden(b[:words], f32)
	for i := range a {
		if math.Float64bits(a[i]) != math.Float64bits(b[i]) {
			t.Fatalf("Widen: value %d of %d: got %x, want %x", i, words, a[i], b[i])
		}
	}
}
