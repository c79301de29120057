package kernels

import "testing"

// Bytes per second count what is read and what is written. The buffers fit the second-level cache.
func BenchmarkCasts(b *testing.B) {
	const n = 32768
	f32, f64, raw, wide := make([]float32, n), make([]float64, n), make([]byte, 2*n), make([]byte, 4*n)
	for i, v := range numbers(n, 1) {
		f32[i] = float32(v)
	}
	for _, c := range []struct {
		name  string
		bytes int64 // a value, in and out
		run   func()
	}{
		{"BF16ToF32/active", 6, func() { BF16ToF32(f32, raw) }},
		{"BF16ToF32/plain", 6, func() { plainBF16ToF32(f32, raw) }},
		{"F16ToF32/active", 6, func() { F16ToF32(f32, raw) }},
		{"F16ToF32/plain", 6, func() { plainF16ToF32(f32, raw) }},
		{"F32ToBF16/active", 6, func() { F32ToBF16(raw, f32) }},
		{"F32ToBF16/plain", 6, func() { plainF32ToBF16(raw, f32) }},
		{"F32ToF16/active", 6, func() { F32ToF16(raw, f32) }},
		{"F32ToF16/plain", 6, func() { plainF32ToF16(raw, f32) }},
		{"BF16ToF16/active", 4, func() { BF16ToF16(wide[:2*n], raw) }},
		{"BF16ToF16/plain", 4, func() { plainBF16ToF16(wide[:2*n], raw) }},
		{"F16ToBF16/active", 4, func() { F16ToBF16(wide[:2*n], raw) }},
		{"F16ToBF16/plain", 4, func() { plainF16ToBF16(wide[:2*n], raw) }},
		{"LoadF32/active", 8, func() { LoadF32(f32, wide) }},
		{"LoadF32/plain", 8, func() { plainLoadF32(f32, wide) }},
		{"StoreF32/active", 8, func() { StoreF32(wide, f32) }},
		{"StoreF32/plain", 8, func() { plainStoreF32(wide, f32) }},
		{"Widen/active", 12, func() { Widen(f64, f32) }},
		{"Widen/plain", 12, func() { plainWiden(f64, f32) }},
		{"copy", 8, func() { copy(wide[:2*n], raw); copy(wide[2*n:], raw) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(c.bytes * n)
			for b.Loop() {
				c.run()
			}
		})
	}
}

func BenchmarkBlocks(b *testing.B) {
	const n = 32768
	f32, out, raw := make([]float32, n), make([]float32, n), make([]byte, 2*n)
	for i, v := range numbers(n, 1) {
		f32[i] = float32(v)
	}
	EncodeQ8_0(raw, f32) // codes and scales like those of weights
	for _, c := range []struct {
		name  string
		bytes int64 // of a block
		elems int64
		run   func()
	}{
		{"EncodeQ8_0/active", 34, 32, func() { EncodeQ8_0(raw, f32) }},
		{"EncodeQ8_0/plain", 34, 32, func() { plainEncodeQ8(raw[:n/32*34], f32) }},
		{"DecodeQ8_0/active", 34, 32, func() { DecodeQ8_0(out, raw) }},
		{"DecodeQ8_0/plain", 34, 32, func() { plainDecodeQ8(out, raw) }},
		{"DecodeQ4_0", 18, 32, func() { DecodeQ4_0(out, raw) }},
		{"DecodeQ4_1", 20, 32, func() { DecodeQ4_1(out, raw) }},
		{"DecodeQ5_0", 22, 32, func() { DecodeQ5_0(out, raw) }},
		{"DecodeQ5_1", 24, 32, func() { DecodeQ5_1(out, raw) }},
		{"DecodeQ4_K", 144, 256, func() { DecodeQ4_K(out, raw) }},
		{"DecodeQ5_K", 176, 256, func() { DecodeQ5_K(out, raw) }},
		{"DecodeQ6_K", 210, 256, func() { DecodeQ6_K(out, raw) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(n*4 + n/c.elems*c.bytes)
			for b.Loop() {
				c.run()
			}
		})
	}
}

func BenchmarkDots(b *testing.B) {
	for _, c := range []struct {
		name          string
		rows, cols, k int
		f             func(out, x, w []float64, rows, cols, k, ldo int)
	}{
		{"64x64x1536/active", 64, 64, 1536, Dots},
		{"64x64x1536/plain", 64, 64, 1536, plainDots},
		{"16x256x4096/active", 16, 256, 4096, Dots},
		{"1x64x1536/active", 1, 64, 1536, Dots},
		{"256x64x128/active", 256, 64, 128, Dots},
	} {
		b.Run(c.name, func(b *testing.B) {
			x, w, out := numbers(c.rows*c.k, 1), numbers(c.cols*c.k, 2), make([]float64, c.rows*c.cols)
			for b.Loop() {
				c.f(out, x, w, c.rows, c.cols, c.k, c.cols)
			}
			b.ReportMetric(2*float64(c.rows*c.cols*c.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
