package raw

import (
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// kinds are the types that numpy has, by its letter and size, in the order in which safetensors lists them. V2 and V1 are bytes
// without a meaning: so numpy saves the types of ml_dtypes, of which bfloat16 is the only one with two.
var kinds = []struct {
	kind string
	t    dtype.Type
}{
	{"b1", dtype.BOOL}, {"u1", dtype.U8}, {"i1", dtype.I8}, {"V1", dtype.F8_E5M2}, {"V1", dtype.F8_E4M3}, {"V1", "F8_E8M0"}, {"V1", "F8_E4M3FNUZ"},
	{"V1", "F8_E5M2FNUZ"}, {"i2", dtype.I16}, {"u2", dtype.U16}, {"f2", dtype.F16}, {"V2", dtype.BF16}, {"i4", dtype.I32}, {"u4", dtype.U32},
	{"f4", dtype.F32}, {"c8", "C64"}, {"f8", dtype.F64}, {"i8", dtype.I64}, {"u8", dtype.U64},
}

// float8 is what ml_dtypes makes numpy write for float8_e5m2, and for nothing else. numpy itself refuses to read it.
const float8 = "f1"

var dtypes = func() (out []dtype.Type) {
	for _, k := range kinds {
		out = append(out, k.t)
	}
	return out
}()

// descr is the type of an array as numpy writes it.
func descr(t dtype.Type) string {
	for _, k := range kinds {
		switch {
		case k.t != t:
		case k.kind[0] == 'V' || t.BlockBytes() == 1:
			return "|" + k.kind
		default:
			return "<" + k.kind
		}
	}
	return ""
}

// element is what a descr says: the types it can stand for, and whether the bytes of a value are turned around.
type element struct {
	types []dtype.Type
	big   bool
}

// opaque reports whether numpy has no type for the values.
func (e element) opaque() bool { return descr(e.types[0])[1] == 'V' }

// size is the bytes of a value.
func (e element) size() int64 { return e.types[0].BlockBytes() }

// refused are the letters of types that are not read, and what they are.
var refused = map[byte]string{
	'O': "Python objects", 'S': "byte strings", 'a': "byte strings", 'U': "strings", 'T': "strings", 'M': "dates", 'm': "time spans",
	'V': "opaque records", 'c': "complex numbers", 'W': "complex numbers", 'f': "floats",
}

// parseDescr understands a simple type: a byte order, a letter and a size.
func parseDescr(s string) (element, *formats.Error) {
	var e element
	kind, order := s, byte(0)
	if s != "" && strings.IndexByte("<>|=", s[0]) >= 0 {
		kind, order = s[1:], s[0]
	}
	for _, k := range kinds {
		if k.kind == kind {
			e.types = append(e.types, k.t)
		}
	}
	if kind == float8 {
		e.types = []dtype.Type{dtype.F8_E5M2}
	}
	if len(e.types) == 0 {
		letter := byte(0)
		if kind != "" {
			letter = kind[0]
		}
		digits := kind != "" && strings.Trim(kind[1:], "0123456789") == ""
		switch why := refused[letter]; {
		case letter == 'O' && digits:
			return e, formats.Errorf(formats.Unsafe, "got %q, an array of Python objects: its data is a pickle, which may run code", s).
				Hinted("save it again as numbers")
		case why != "" && (digits || letter == 'M' || letter == 'm'):
			return e, formats.Errorf(formats.Unsupported, "got %q, an array of %s of a size that is not read", clip(s), why)
		}
		return e, formats.Errorf(formats.BadDType, "got %q, want a type such as <f4, |i1 or |V2", clip(s))
	}
	switch {
	case e.size() == 1:
	case order == '>':
		e.big = true
	case order != '<' && (order != '|' || kind[0] != 'V'):
		return e, formats.Errorf(formats.BadDType, "got %q, which does not say the byte order, want < or >", s)
	}
	return e, nil
}

// is reports whether a value of the array can be of a type.
func (e element) is(t dtype.Type) bool { return slices.Contains(e.types, t) }

// clip shortens text from a file for a message.
func clip(s string) string { return formats.Escape(s, 64) }
