package kernels

import (
	"encoding/binary"
	"math"
)

// BF16ToF32 widens len(dst) values. It moves bits: a signalling NaN stays one.
func BF16ToF32(dst []float32, src []byte) {
	src = src[:2*len(dst)]
	n := fastBF16ToF32(dst, src)
	plainBF16ToF32(dst[n:], src[2*n:])
}

// F16ToF32 widens len(dst) values. A signalling NaN becomes quiet and keeps its payload, as in hardware.
func F16ToF32(dst []float32, src []byte) {
	src = src[:2*len(dst)]
	n := fastF16ToF32(dst, src)
	plainF16ToF32(dst[n:], src[2*n:])
}

// F32ToBF16 rounds src to nearest even and returns how many finite values became infinite. NaN becomes quiet and keeps its sign
// and the top of its payload.
func F32ToBF16(dst []byte, src []float32) (overflows int) {
	dst = dst[:2*len(src)]
	n, overflows := fastF32ToBF16(dst, src)
	return overflows + plainF32ToBF16(dst[2*n:], src[n:])
}

// F32ToF16 rounds src to nearest even and returns how many finite values became infinite. NaN becomes quiet and keeps its sign
// and the top of its payload.
func F32ToF16(dst []byte, src []float32) (overflows int) {
	dst = dst[:2*len(src)]
	n, overflows := fastF32ToF16(dst, src)
	return overflows + plainF32ToF16(dst[2*n:], src[n:])
}

// BF16ToF16 is F32ToF16 of BF16ToF32 of all src.
func BF16ToF16(dst, src []byte) (overflows int) {
	dst, src = dst[:len(src)], src[:len(src)&^1]
	n, overflows := fastBF16ToF16(dst, src)
	return overflows + plainBF16ToF16(dst[2*n:], src[2*n:])
}

// F16ToBF16 is F32ToBF16 of F16ToF32 of all src. No value overflows.
func F16ToBF16(dst, src []byte) {
	dst, src = dst[:len(src)], src[:len(src)&^1]
	n := fastF16ToBF16(dst, src)
	plainF16ToBF16(dst[2*n:], src[2*n:])
}

// LoadF32 reads len(dst) values.
func LoadF32(dst []float32, src []byte) {
	src = src[:4*len(dst)]
	n := fastLoadF32(dst, src)
	plainLoadF32(dst[n:], src[4*n:])
}

// StoreF32 writes src.
func StoreF32(dst []byte, src []float32) {
	dst = dst[:4*len(src)]
	n := fastStoreF32(dst, src)
	plainStoreF32(dst[4*n:], src[n:])
}

// Widen copies len(dst) values. A signalling NaN becomes quiet.
func Widen(dst []float64, src []float32) {
	src = src[:len(dst)]
	n := fastWiden(dst, src)
	plainWiden(dst[n:], src[n:])
}

func plainBF16ToF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
	}
}

func plainF16ToF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = f16Value(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

func plainF32ToBF16(dst []byte, src []float32) (overflows int) {
	for i, f := range src {
		h, over := bf16Code(f)
		binary.LittleEndian.PutUint16(dst[2*i:], h)
		overflows += over
	}
	return overflows
}

func plainF32ToF16(dst []byte, src []float32) (overflows int) {
	for i, f := range src {
		h, over := f16Code(f)
		binary.LittleEndian.PutUint16(dst[2*i:], h)
		overflows += over
	}
	return overflows
}

func plainBF16ToF16(dst, src []byte) (overflows int) {
	for i := 0; i+1 < len(src); i += 2 {
		h, over := f16Code(math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[i:])) << 16))
		binary.LittleEndian.PutUint16(dst[i:], h)
		overflows += over
	}
	return overflows
}

func plainF16ToBF16(dst, src []byte) {
	for i := 0; i+1 < len(src); i += 2 {
		h, _ := bf16Code(f16Value(binary.LittleEndian.Uint16(src[i:])))
		binary.LittleEndian.PutUint16(dst[i:], h)
	}
}

func plainLoadF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func plainStoreF32(dst []byte, src []float32) {
	for i, f := range src {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(f))
	}
}

func plainWiden(dst []float64, src []float32) {
	for i := range dst {
		dst[i] = float64(src[i])
	}
}
