package kernels

import (
	"encoding/binary"
	"math"
)

// LoadF64 reads len(dst) values.
func LoadF64(dst []float64, src []byte) {
	src = src[:8*len(dst)]
	for i := range dst {
		dst[i] = math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))
	}
}

// F64ToF32 rounds len(dst) values to nearest even and returns how many finite values became infinite.
func F64ToF32(dst []float32, src []byte) (overflows int) {
	src = src[:8*len(dst)]
	for i := range dst {
		f := math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))
		dst[i] = float32(f)
		if math.IsInf(float64(dst[i]), 0) && !math.IsInf(f, 0) {
			overflows++
		}
	}
	return overflows
}

// F32ToF64 widens all src.
func F32ToF64(dst []byte, src []float32) {
	dst = dst[:8*len(src)]
	for i, f := range src {
		binary.LittleEndian.PutUint64(dst[8*i:], math.Float64bits(float64(f)))
	}
}

// Ints converts len(dst) integers of type T to nearest even.
func Ints[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64, F float32 | float64](dst []F, src []byte) {
	le := binary.LittleEndian
	switch any(T(0)).(type) {
	case int8:
		for i, b := range src[:len(dst)] {
			dst[i] = F(int8(b))
		}
	case uint8:
		for i, b := range src[:len(dst)] {
			dst[i] = F(b)
		}
	case int16:
		for i := range dst {
			dst[i] = F(int16(le.Uint16(src[2*i:])))
		}
	case uint16:
		for i := range dst {
			dst[i] = F(le.Uint16(src[2*i:]))
		}
	case int32:
		for i := range dst {
			dst[i] = F(int32(le.Uint32(src[4*i:])))
		}
	case uint32:
		for i := range dst {
			dst[i] = F(le.Uint32(src[4*i:]))
		}
	case int64:
		for i := range dst {
			dst[i] = F(int64(le.Uint64(src[8*i:])))
		}
	case uint64:
		for i := range dst {
			dst[i] = F(le.Uint64(src[8*i:]))
		}
	}
}
