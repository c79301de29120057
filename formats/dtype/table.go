package dtype

import (
	"encoding/binary"
	"math"
)

var table = map[Type]spec{
	F64:     {class: float, elems: 1, bytes: 8},
	F32:     {class: float, elems: 1, bytes: 4, decode: decodeF32},
	F16:     {class: float, elems: 1, bytes: 2},
	BF16:    {class: float, elems: 1, bytes: 2},
	F8_E4M3: {class: float, elems: 1, bytes: 1},
	F8_E5M2: {class: float, elems: 1, bytes: 1},
	I64:     {class: integer, elems: 1, bytes: 8},
	I32:     {class: integer, elems: 1, bytes: 4},
	I16:     {class: integer, elems: 1, bytes: 2},
	I8:      {class: integer, elems: 1, bytes: 1},
	U64:     {class: integer, elems: 1, bytes: 8},
	U32:     {class: integer, elems: 1, bytes: 4},
	U16:     {class: integer, elems: 1, bytes: 2},
	U8:      {class: integer, elems: 1, bytes: 1},
	BOOL:    {class: boolean, elems: 1, bytes: 1},
	Q4_0:    {class: quantized, elems: 32, bytes: 18},
	Q4_1:    {class: quantized, elems: 32, bytes: 20},
	Q5_0:    {class: quantized, elems: 32, bytes: 22},
	Q5_1:    {class: quantized, elems: 32, bytes: 24},
	Q8_0:    {class: quantized, elems: 32, bytes: 34},
	Q4_K:    {class: quantized, elems: 256, bytes: 144},
	Q5_K:    {class: quantized, elems: 256, bytes: 176},
	Q6_K:    {class: quantized, elems: 256, bytes: 210},
}

func decodeF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}
