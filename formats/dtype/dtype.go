// Package dtype is the table of element types: what a value or a block of values looks like in bytes, and how it becomes float32.
package dtype

import "github.com/bowline-ml/bowline/kernels"

// Type is an element type by its name in the file formats. safetensors, GGUF and PyTorch agree on the names they share.
type Type string

// Scalar types.
const (
	F64     Type = "F64"
	F32     Type = "F32"
	F16     Type = "F16"
	BF16    Type = "BF16"
	I64     Type = "I64"
	I32     Type = "I32"
	I16     Type = "I16"
	I8      Type = "I8"
	U64     Type = "U64"
	U32     Type = "U32"
	U16     Type = "U16"
	U8      Type = "U8"
	BOOL    Type = "BOOL"
	F8_E4M3 Type = "F8_E4M3"
	F8_E5M2 Type = "F8_E5M2"

	F8_E8M0     Type = "F8_E8M0"
	F8_E4M3FNUZ Type = "F8_E4M3FNUZ"
	F8_E5M2FNUZ Type = "F8_E5M2FNUZ"
	F4          Type = "F4" // E2M1, two in a byte
	F6_E2M3     Type = "F6_E2M3"
	F6_E3M2     Type = "F6_E3M2"
	C64         Type = "C64"
)

// GGUF block types.
const (
	Q4_0    Type = "Q4_0"
	Q4_1    Type = "Q4_1"
	Q5_0    Type = "Q5_0"
	Q5_1    Type = "Q5_1"
	Q8_0    Type = "Q8_0"
	Q8_1    Type = "Q8_1"
	Q2_K    Type = "Q2_K"
	Q3_K    Type = "Q3_K"
	Q4_K    Type = "Q4_K"
	Q5_K    Type = "Q5_K"
	Q6_K    Type = "Q6_K"
	Q8_K    Type = "Q8_K"
	IQ1_S   Type = "IQ1_S"
	IQ1_M   Type = "IQ1_M"
	IQ2_XXS Type = "IQ2_XXS"
	IQ2_XS  Type = "IQ2_XS"
	IQ2_S   Type = "IQ2_S"
	IQ3_XXS Type = "IQ3_XXS"
	IQ3_S   Type = "IQ3_S"
	IQ4_NL  Type = "IQ4_NL"
	IQ4_XS  Type = "IQ4_XS"
	TQ1_0   Type = "TQ1_0"
	TQ2_0   Type = "TQ2_0"
	MXFP4   Type = "MXFP4"
	NVFP4   Type = "NVFP4"
	Q1_0    Type = "Q1_0"
	Q2_0    Type = "Q2_0"
)

// class is what the values of a type are.
type class int

const (
	float class = iota + 1
	integer
	boolean
	quantized // a GGUF block type
)

// spec is one row of the table: adding a type is adding a row (and, for a block type, a file).
type spec struct {
	class      class
	elems      int64 // values in a block, 1 for scalars
	bytes      int64 // bytes of a block
	packed     bool  // below a byte: blocks run on over the ends of rows
	decode     func(dst []float32, src []byte) (overflows int)
	encode     func(dst []byte, src []float32) (overflows int)
	decodeWide func(dst []float64, src []byte) // for types that float32 does not hold exactly; nil if it does
}

// Known reports whether the type is in the table. The sizes and classes of unknown types are zero.
func (t Type) Known() bool { return table[t].elems != 0 }

// BlockElems is the number of values in a block, 1 for scalar types and for unknown ones.
func (t Type) BlockElems() int64 {
	if e := table[t].elems; e != 0 {
		return e
	}
	return 1
}

// BlockBytes is the size of a block, 0 for unknown types.
func (t Type) BlockBytes() int64 { return table[t].bytes }

// Packed reports whether blocks run on over the ends of rows (types below 8 bits in safetensors).
func (t Type) Packed() bool { return table[t].packed }

// IsFloat reports whether values are floating-point scalars; only these and block types are changed by --dtype.
func (t Type) IsFloat() bool { return table[t].class == float }

// IsQuantized reports whether the type is a GGUF block type.
func (t Type) IsQuantized() bool { return table[t].class == quantized }

// CanDecode and CanEncode report whether Decode and Encode exist.
func (t Type) CanDecode() bool { return table[t].decode != nil }
func (t Type) CanEncode() bool { return table[t].encode != nil }

// Decode expands whole blocks of src into dst: len(dst) values, len(dst)/BlockElems blocks. F64 and wide integers round to nearest even.
// It returns how many finite F64 values became infinite; no other type has such values.
func (t Type) Decode(dst []float32, src []byte) (overflows int) { return table[t].decode(dst, src) }

// DecodeWide is Decode into float64, exact for every type but 64-bit integers beyond 2^53.
func (t Type) DecodeWide(dst []float64, src []byte) {
	if f := table[t].decodeWide; f != nil {
		f(dst, src)
		return
	}
	var buf [256]float32
	for len(dst) > 0 {
		n := min(len(buf), len(dst))
		table[t].decode(buf[:n], src)
		kernels.Widen(dst[:n], buf[:n])
		dst, src = dst[n:], src[int64(n)/t.BlockElems()*t.BlockBytes():]
	}
}

// Encode rounds src (whole blocks) to nearest even into dst and returns how many finite values became infinite. NaN stays NaN.
// In a block type it returns how many values are in blocks whose scale is not finite: a single infinity or NaN takes its block along.
// Equal input gives equal bytes on every platform.
func (t Type) Encode(dst []byte, src []float32) (overflows int) { return table[t].encode(dst, src) }

// Holds reports whether every value of from is exact in t, so that a cast loses nothing.
func (t Type) Holds(from Type) bool {
	if t == from {
		return true
	}
	switch t {
	case F64:
		return from == F32 || F32.Holds(from)
	case F32:
		return from == F16 || from == BF16 || from == F8_E8M0 || F16.Holds(from) || table[from].class == quantized
	case F16:
		return from == F8_E4M3 || from == F8_E5M2 || from == F8_E4M3FNUZ || from == F8_E5M2FNUZ || from == F4
	case BF16:
		return from == F8_E8M0 || from != F16 && F16.Holds(from)
	}
	return false
}
