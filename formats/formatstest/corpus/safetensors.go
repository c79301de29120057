package corpus

import (
	"encoding/binary"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

func lengths() []Case {
	return []Case{
		{Name: "empty file", Bytes: []byte{}, Code: formats.Trunc, Offset: 0, Field: "header length", Says: []string{"got a file of 0 bytes, want 8"}},
		{Name: "seven bytes", Bytes: make([]byte, 7), Code: formats.Trunc, Offset: 0, Field: "header length", Says: []string{"got a file of 7 bytes"}},
		badLength("length 0", formats.Trunc, 0, "{}"),
		badLength("length 1", formats.Trunc, 1, "{}"),
		badLength("length one beyond the file", formats.Trunc, 3, "{}", "got 3, want at most 2"),
		badLength("length 100,000,000 in a small file", formats.Trunc, 100_000_000, "{}"),
		badLength("length 100,000,001", formats.Limit, 100_000_001, "{}", "want at most 100000000"),
		badLength("length 2^63", formats.Limit, 1<<63, ""),
		badLength("length 2^64-1", formats.Limit, 1<<64-1, "{}"),
		{Name: "length 100,000,001 in a file that has it", Bytes: binary.LittleEndian.AppendUint64(nil, 100_000_001), Size: 200 << 20,
			Code: formats.Limit, Offset: 0, Field: "header length"},
		{Name: "header of 1 MiB NULs", Bytes: binary.LittleEndian.AppendUint64(nil, 1<<20), Size: 2 << 20, Code: formats.JSON, Offset: 8},
	}
}

func syntax() []Case {
	return []Case{
		badST("header is null", formats.JSON, "", "", `¦null`, 0),
		badST("header is an array", formats.JSON, "", "", `¦[]`, 0),
		badST("header is a string", formats.JSON, "", "", `¦"a"`, 0),
		badST("byte order mark", formats.UTF8, "", "", "¦\ufeff{}", 0),
		badST("byte FF in a name", formats.UTF8, "", "", "{\"¦\xff\":{}}", 0, "0xff"),
		badST("overlong slash in a name", formats.UTF8, "", "", "{\"a¦\xc0\xaf\":{}}", 0),
		badST("surrogate as three bytes", formats.UTF8, "", "", "{\"¦\xed\xa0\x80\":{}}", 0),
		badST("UTF-16", formats.UTF8, "", "", "¦\xff\xfe{\x00}\x00", 0),
		badST("lone high surrogate", formats.UTF8, "", "", `{"¦\ud800":{}}`, 0, "surrogate"),
		badST("lone low surrogate", formats.UTF8, "", "", `{"a¦\udc00":{}}`, 0),
		badST("surrogates in the wrong order", formats.UTF8, "", "", `{"¦\udc00\ud800":{}}`, 0),
		badST("high surrogate and a letter", formats.UTF8, "", "", `{"¦\ud800\u0061":{}}`, 0),
		badST("unknown escape", formats.JSON, "", "", `{"¦\x41":{}}`, 0),
		badST("escape with a bad digit", formats.JSON, "", "", `{"¦\u00g0":{}}`, 0),
		badST("escape cut short", formats.JSON, "", "", `{"¦\u00"`, 0),
		badST("raw line feed in a name", formats.JSON, "", "", "{\"a¦\n\":{}}", 0, "0x0a"),
		badST("raw NUL after an escape", formats.JSON, "", "", "{\"\\n¦\x00\":{}}", 0),
		badST("single quotes", formats.JSON, "", "", `{¦'a':{}}`, 0),
		badST("comment", formats.JSON, "", "", `{¦/**/`+A4+`}`, 4),
		badST("comma at the end", formats.JSON, "", "", `{`+A4+`,¦}`, 4),
		badST("comma at the start", formats.JSON, "", "", `{¦,`+A4+`}`, 4),
		badST("no comma", formats.JSON, "", "", `{`+A4+` ¦`+B4+`}`, 8),
		badST("no colon", formats.JSON, "", "", `{"a" ¦{}}`, 0),
		badST("unquoted key", formats.JSON, "", "", `{¦a:{}}`, 0),
		badST("no end of the header", formats.JSON, "", "", `{`+A4+`¦`, 0, "the end"),
		badST("no end of a string", formats.JSON, "", "", `{¦"a`, 0),
		badST("no end of a string with escapes", formats.JSON, "", "", `{¦"a\"`, 0),
		badST("two values", formats.JSON, "", "", `{}¦{}`, 0),
		badST("text after the header", formats.JSON, "", "", `{}   ¦x`, 0),
		badST("NUL padding", formats.JSON, "", "", "{}¦\x00\x00\x00", 0, "NUL padding"),
		badST("NUL padding after spaces", formats.JSON, "", "", "{} ¦\x00", 0, "NUL padding"),
		badST("a million brackets", formats.JSON, "", "", "¦"+strings.Repeat("[", 1_000_000), 0),
		badST("a million brackets in an unknown field", formats.Limit, "a", "x", `{"a":{"x":`+strings.Repeat("[", 126)+"¦"+strings.Repeat("[", 1_000_000), 0, "deeper than 128"),
		badST("literal True", formats.JSON, "a", "x", `{"a":{"x":¦True}}`, 0),
		badST("wrong bracket", formats.JSON, "a", "x", `{"a":{"x":[1¦}}}`, 0),
	}
}

func entries() []Case {
	return []Case{
		badST("name twice", formats.Dup, "a", "", `{`+A4+`,¦"a":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}}`, 8, "first at offset 9"),
		badST("name twice, first one empty", formats.Dup, "a", "", `{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},¦`+A4+`}`, 4, "first at offset 9"),
		badST("name twice, once with an escape", formats.Dup, "a", "", `{`+A4+`,¦"\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8),
		badST("field twice", formats.Dup, "a", "dtype", `{"a":{"dtype":"F32",¦"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4, "first at offset 14"),
		badST("offsets twice", formats.Dup, "a", "data_offsets", `{"a":{"data_offsets":[0,4],"dtype":"F32",¦"data_offsets":[0,4],"shape":[1]}}`, 4),
		badST("unknown field twice", formats.Dup, "a", "x", `{"a":{"x":1,¦"x":1,"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		badST("__metadata__ twice", formats.Dup, "", "__metadata__", `{"__metadata__":{},¦"__metadata__":{},`+A4+`}`, 4, "first at offset 9"),
		badST("metadata key twice", formats.Dup, "", "__metadata__", `{"__metadata__":{"k":"1",¦"k":"1"},`+A4+`}`, 4),
		badST("metadata null", formats.JSON, "", "__metadata__", `{"__metadata__":¦null}`, 0, "got null"),
		badST("metadata array", formats.JSON, "", "__metadata__", `{"__metadata__":¦["a"]}`, 0),
		badST("metadata value a number", formats.JSON, "", "__metadata__", `{"__metadata__":{"k":¦1}}`, 0, "got a number"),
		badST("metadata value an object", formats.JSON, "", "__metadata__", `{"__metadata__":{"k":¦{"l":"m"}}}`, 0),
		badST("entry is null", formats.JSON, "a", "", `{"a":¦null}`, 0),
		badST("entry is a number", formats.JSON, "a", "", `{"a":¦5}`, 0),
		badST("entry is an array", formats.JSON, "a", "", `{"a":¦["F32",[1],[0,4]]}`, 4),
		badST("dtype missing", formats.JSON, "a", "dtype", `{¦"a":{"shape":[1],"data_offsets":[0,4]}}`, 4, "missing"),
		badST("shape missing", formats.JSON, "a", "shape", `{¦"a":{"dtype":"F32","data_offsets":[0,4]}}`, 4),
		badST("offsets missing", formats.JSON, "a", "data_offsets", `{¦"a":{"dtype":"F32","shape":[1]}}`, 4),
		badST("dtype null", formats.JSON, "a", "dtype", STWith(`¦null`, `[1]`, `[0,4]`), 4),
		badST("dtype an object", formats.JSON, "a", "dtype", STWith(`¦{"F32":null}`, `[1]`, `[0,4]`), 4),
		badST("dtype unknown", formats.BadDType, "a", "dtype", STWith(`¦"F128"`, `[1]`, `[0,4]`), 4, `got "F128"`),
		badST("dtype in lower case", formats.BadDType, "a", "dtype", STWith(`¦"f32"`, `[1]`, `[0,4]`), 4),
		badST("dtype of GGUF", formats.BadDType, "a", "dtype", STWith(`¦"Q8_0"`, `[32]`, `[0,34]`), 34),
		badST("dtype empty", formats.BadDType, "a", "dtype", STWith(`¦""`, `[1]`, `[0,4]`), 4),
		badST("shape null", formats.JSON, "a", "shape", STWith(`"F32"`, `¦null`, `[0,4]`), 4),
		badST("shape a number", formats.JSON, "a", "shape", STWith(`"F32"`, `¦1`, `[0,4]`), 4),
		badST("shape negative", formats.JSON, "a", "shape", STWith(`"F32"`, `[¦-1]`, `[0,4]`), 4),
		badST("shape a fraction", formats.JSON, "a", "shape", STWith(`"F32"`, `[¦1.0]`, `[0,4]`), 4, "got 1.0"),
		badST("shape with an exponent", formats.JSON, "a", "shape", STWith(`"F32"`, `[¦1e0]`, `[0,4]`), 4),
		badST("shape minus zero", formats.JSON, "a", "shape", STWith(`"F32"`, `[¦-0]`, `[0,0]`), 0),
		badST("shape with a leading zero", formats.JSON, "a", "shape", STWith(`"F32"`, `[¦01]`, `[0,4]`), 4),
		badST("shape with a plus", formats.JSON, "a", "shape", STWith(`"F32"`, `[¦+1]`, `[0,4]`), 4),
		badST("shape NaN", formats.JSON, "a", "shape", STWith(`"F32"`, `[¦NaN]`, `[0,4]`), 4),
		badST("shape with a bare point", formats.JSON, "a", "shape", STWith(`"F32"`, `[¦1.]`, `[0,4]`), 4),
		badST("shape with a bare exponent", formats.JSON, "a", "shape", STWith(`"F32"`, `[¦1e]`, `[0,4]`), 4),
		badST("shape with a string", formats.JSON, "a", "shape", STWith(`"F32"`, `[¦"1"]`, `[0,4]`), 4),
		badST("shape nested", formats.JSON, "a", "shape", STWith(`"F32"`, `[¦[1]]`, `[0,4]`), 4),
		badST("65 dimensions", formats.Limit, "a", "shape", STWith(`"F32"`, `[¦1`+strings.Repeat(",1", 64)+`]`, `[0,4]`), 4, "got 65 dimensions"),
		badST("a million dimensions", formats.Limit, "a", "shape", STWith(`"F32"`, `[¦1`+strings.Repeat(",1", 1_000_000)+`]`, `[0,4]`), 4),
		badST("dimension 2^63", formats.Overflow, "a", "shape", STWith(`"F32"`, `[¦9223372036854775808]`, `[0,4]`), 4),
		badST("dimension 2^64", formats.JSON, "a", "shape", STWith(`"F32"`, `[¦18446744073709551616]`, `[0,4]`), 4, "64 bits"),
		badST("dimension of a thousand digits", formats.JSON, "a", "shape", STWith(`"F32"`, `[¦`+strings.Repeat("9", 1000)+`]`, `[0,4]`), 4),
		badST("product wraps to 2^64-4", formats.Overflow, "a", "shape", STWith(`"F32"`, `[2,¦18446744073709551614]`, `[0,4]`), 4),
		badST("product beyond 63 bits", formats.Overflow, "a", "shape", strings.Replace(STWith(`"F32"`, `[2,9223372036854775807]`, `[0,4]`), `"a"`, `¦"a"`, 1), 4),
		badST("bytes beyond 63 bits", formats.Overflow, "a", "shape", strings.Replace(STWith(`"F32"`, `[4611686018427387904]`, `[0,4]`), `"a"`, `¦"a"`, 1), 4),
		badST("2^63 beside a zero", formats.Overflow, "a", "shape", STWith(`"F32"`, `[¦9223372036854775808,4,0]`, `[0,0]`), 0),
		badST("zero beside 2^63", formats.Overflow, "a", "shape", STWith(`"F32"`, `[0,¦9223372036854775808,4]`, `[0,0]`), 0),
		badST("no offset", formats.JSON, "a", "data_offsets", STWith(`"F32"`, `[1]`, `¦[]`), 4, "got 0 numbers"),
		badST("one offset", formats.JSON, "a", "data_offsets", STWith(`"F32"`, `[1]`, `¦[4]`), 4, "got 1 numbers, want 2"),
		badST("three offsets", formats.JSON, "a", "data_offsets", STWith(`"F32"`, `[1]`, `¦[0,4,4]`), 4),
		badST("offsets null", formats.JSON, "a", "data_offsets", STWith(`"F32"`, `[1]`, `¦null`), 4),
		badST("offset null", formats.JSON, "a", "data_offsets", STWith(`"F32"`, `[1]`, `[¦null,4]`), 4),
		badST("offset a fraction", formats.JSON, "a", "data_offsets", STWith(`"F32"`, `[1]`, `[0,¦4.0]`), 4),
		badST("offset 1e3", formats.JSON, "a", "data_offsets", STWith(`"F32"`, `[1]`, `[0,¦1e3]`), 4),
		badST("offset negative", formats.JSON, "a", "data_offsets", STWith(`"F32"`, `[1]`, `[¦-4,0]`), 4),
		badST("offset 2^64", formats.JSON, "a", "data_offsets", STWith(`"F32"`, `[1]`, `[0,¦18446744073709551616]`), 4),
		badST("offset 2^63", formats.Overflow, "a", "data_offsets", STWith(`"F32"`, `[1]`, `[0,¦9223372036854775808]`), 4),
		badST("begin after end", formats.Bounds, "a", "data_offsets", STWith(`"F32"`, `[1]`, `¦[4,0]`), 4, "got begin 4 after end 0"),
		badST("field in capitals", formats.JSON, "a", "DTYPE", `{"a":{¦"DTYPE":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4, `want "dtype"`),
		badST("field with a long s", formats.JSON, "a", "ſhape", `{"a":{"dtype":"F32","shape":[1],¦"ſhape":[1],"data_offsets":[0,4]}}`, 4),
		badST("65,537 metadata entries", formats.Limit, "", "__metadata__", `{"__metadata__":{`+Keys(1<<16, `""`)+`,¦"k":""}}`, 0),
		badST("1,025 unknown fields", formats.Limit, "a", "k", `{"a":{`+Keys(1<<10, `0`)+`,¦"k":0,`+A4[5:]+`}`, 4),
		badST("name with an escape code", formats.JSON, "\x1b[2J", "", `{"\u001b[2J":¦5}`, 0, `\x1b[2J`),
	}
}

func chains() []Case {
	return []Case{
		badST("too few bytes for the shape", formats.BadShape, "a", "data_offsets", STWith(`"F32"`, `[2]`, `¦[0,4]`), 4, "got 4 bytes, want 8"),
		badST("too many bytes for the shape", formats.BadShape, "a", "data_offsets", STWith(`"F32"`, `[]`, `¦[0,8]`), 8),
		badST("bytes for an empty shape", formats.BadShape, "a", "data_offsets", STWith(`"F32"`, `[0]`, `¦[0,4]`), 4),
		badST("half a byte of F4", formats.BadShape, "a", "shape", `{¦"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}`, 2),
		badST("half a byte of F6", formats.BadShape, "a", "shape", `{¦"a":{"dtype":"F6_E2M3","shape":[2],"data_offsets":[0,2]}}`, 2),
		badST("overlap", formats.Overlap, "b", "data_offsets", `{`+A4+`,"b":{"dtype":"F32","shape":[1],"data_offsets":¦[2,6]}}`, 6, `of tensor "a"`),
		badST("one range twice", formats.Overlap, "b", "data_offsets", `{`+A4+`,"b":{"dtype":"F32","shape":[1],"data_offsets":¦[0,4]}}`, 4, `of tensor "a"`),
		badST("hole", formats.Hole, "b", "data_offsets", `{`+A4+`,"b":{"dtype":"F32","shape":[1],"data_offsets":¦[8,12]}}`, 12, `after tensor "a"`, "bytes 4 to 8"),
		badST("hole at the start", formats.Hole, "a", "data_offsets", STWith(`"F32"`, `[1]`, `¦[4,8]`), 8, "want 0"),
		badST("hole between tensors in another order", formats.Hole, "b", "data_offsets", `{"b":{"dtype":"F32","shape":[1],"data_offsets":¦[8,12]},`+A4+`}`, 12),
		badST("empty tensor inside another", formats.Overlap, "z", "data_offsets", `{`+A4+`,"z":{"dtype":"F32","shape":[0],"data_offsets":¦[2,2]}}`, 4),
		badST("empty tensor beyond the data", formats.Hole, "z", "data_offsets", `{`+A4+`,"z":{"dtype":"F32","shape":[0],"data_offsets":¦[8,8]}}`, 8),
		{Name: "one byte short", Bytes: STFile(`{`+A4+`,`+B4+`}`, 7), Code: formats.Trunc, Offset: 8 + 3 + int64(len(A4)+len(B4)) + 7, Tensor: "b",
			Field: "data_offsets", Says: []string{"1 bytes short", `the last complete tensor is "a"`}},
		{Name: "no data at all", Bytes: STFile(`{`+A4+`}`, 0), Code: formats.Trunc, Offset: 8 + 2 + int64(len(A4)), Tensor: "a", Field: "data_offsets",
			Says: []string{"no tensor is complete"}},
		{Name: "one byte over", Bytes: STFile(`{`+A4+`}`, 5), Code: formats.Trail, Offset: 8 + 2 + int64(len(A4)) + 4, Says: []string{"got 1 bytes"}},
		{Name: "data without tensors", Bytes: STFile(`{}`, 5), Code: formats.Trail, Offset: 10},
		func() Case {
			x := badST("three problems at once", formats.BadDType, "a", "dtype",
				`{"a":{"dtype":¦"X","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[-1],"data_offsets":[4,8]},"c":{"dtype":"F32","shape":[1],"data_offsets":[9,13]}}`, 13)
			x.Codes = []formats.Code{formats.BadDType, formats.JSON, formats.Hole}
			return x
		}(),
		func() Case {
			x := badST("30 problems", formats.JSON, "t0", "", `{"t0":¦0`+zeros(29)+`}`, 0, "and 10 more problems")
			x.Codes = make([]formats.Code, 21)
			for i := range x.Codes {
				x.Codes[i] = formats.JSON
			}
			return x
		}(),
	}
}

// refused is every file above that has to be refused.
func refused() []Case {
	return append(append(append(lengths(), syntax()...), entries()...), chains()...)
}
