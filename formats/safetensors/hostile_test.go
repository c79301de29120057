package safetensors_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// file is a safetensors file with a header and n zero bytes of data.
func file(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

// bad is a file whose header has a mark, "¦", where the error should point to.
func bad(name string, code formats.Code, tensor, field, header string, n int, says ...string) formatstest.Hostile {
	at := int64(-1)
	if i := strings.Index(header, "¦"); i >= 0 {
		at = int64(i) + 8
	}
	return formatstest.Hostile{Name: name, Bytes: file(strings.Replace(header, "¦", "", 1), n), Code: code, Offset: at,
		Tensor: tensor, Field: field, Says: says}
}

func good(name, header string, n int) formatstest.Hostile {
	return formatstest.Hostile{Name: name, Bytes: file(header, n)}
}

// with is a header of one F32 tensor "a" with other text for one of its parts.
func with(dtype, shape, offsets string) string {
	return fmt.Sprintf(`{"a":{"dtype":%s,"shape":%s,"data_offsets":%s}}`, dtype, shape, offsets)
}

const (
	a4 = `"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`
	b4 = `"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}`
)

func length(name string, code formats.Code, n uint64, rest string, says ...string) formatstest.Hostile {
	return formatstest.Hostile{Name: name, Bytes: append(binary.LittleEndian.AppendUint64(nil, n), rest...), Code: code, Offset: 0,
		Field: "header length", Says: says}
}

var lengths = []formatstest.Hostile{
	{Name: "empty file", Bytes: []byte{}, Code: formats.Trunc, Offset: 0, Field: "header length", Says: []string{"got a file of 0 bytes, want 8"}},
	{Name: "seven bytes", Bytes: make([]byte, 7), Code: formats.Trunc, Offset: 0, Field: "header length", Says: []string{"got a file of 7 bytes"}},
	length("length 0", formats.Trunc, 0, "{}"),
	length("length 1", formats.Trunc, 1, "{}"),
	length("length one beyond the file", formats.Trunc, 3, "{}", "got 3, want at most 2"),
	length("length 100,000,000 in a small file", formats.Trunc, 100_000_000, "{}"),
	length("length 100,000,001", formats.Limit, 100_000_001, "{}", "want at most 100000000"),
	length("length 2^63", formats.Limit, 1<<63, ""),
	length("length 2^64-1", formats.Limit, 1<<64-1, "{}"),
	{Name: "length 100,000,001 in a file that has it", Bytes: binary.LittleEndian.AppendUint64(nil, 100_000_001), Size: 200 << 20,
		Code: formats.Limit, Offset: 0, Field: "header length"},
	{Name: "header of 1 MiB NULs", Bytes: binary.LittleEndian.AppendUint64(nil, 1<<20), Size: 2 << 20, Code: formats.JSON, Offset: 8},
}

var syntax = []formatstest.Hostile{
	bad("header is null", formats.JSON, "", "", `¦null`, 0),
	bad("header is an array", formats.JSON, "", "", `¦[]`, 0),
	bad("header is a string", formats.JSON, "", "", `¦"a"`, 0),
	bad("byte order mark", formats.UTF8, "", "", "¦\ufeff{}", 0),
	bad("byte FF in a name", formats.UTF8, "", "", "{\"¦\xff\":{}}", 0, "0xff"),
	bad("overlong slash in a name", formats.UTF8, "", "", "{\"a¦\xc0\xaf\":{}}", 0),
	bad("surrogate as three bytes", formats.UTF8, "", "", "{\"¦\xed\xa0\x80\":{}}", 0),
	bad("UTF-16", formats.UTF8, "", "", "¦\xff\xfe{\x00}\x00", 0),
	bad("lone high surrogate", formats.UTF8, "", "", `{"¦\ud800":{}}`, 0, "surrogate"),
	bad("lone low surrogate", formats.UTF8, "", "", `{"a¦\udc00":{}}`, 0),
	bad("surrogates in the wrong order", formats.UTF8, "", "", `{"¦\udc00\ud800":{}}`, 0),
	bad("high surrogate and a letter", formats.UTF8, "", "", `{"¦\ud800\u0061":{}}`, 0),
	bad("unknown escape", formats.JSON, "", "", `{"¦\x41":{}}`, 0),
	bad("escape with a bad digit", formats.JSON, "", "", `{"¦\u00g0":{}}`, 0),
	bad("escape cut short", formats.JSON, "", "", `{"¦\u00"`, 0),
	bad("raw line feed in a name", formats.JSON, "", "", "{\"a¦\n\":{}}", 0, "0x0a"),
	bad("raw NUL after an escape", formats.JSON, "", "", "{\"\\n¦\x00\":{}}", 0),
	bad("single quotes", formats.JSON, "", "", `{¦'a':{}}`, 0),
	bad("comment", formats.JSON, "", "", `{¦/**/`+a4+`}`, 4),
	bad("comma at the end", formats.JSON, "", "", `{`+a4+`,¦}`, 4),
	bad("comma at the start", formats.JSON, "", "", `{¦,`+a4+`}`, 4),
	bad("no comma", formats.JSON, "", "", `{`+a4+` ¦`+b4+`}`, 8),
	bad("no colon", formats.JSON, "", "", `{"a" ¦{}}`, 0),
	bad("unquoted key", formats.JSON, "", "", `{¦a:{}}`, 0),
	bad("no end of the header", formats.JSON, "", "", `{`+a4+`¦`, 0, "the end"),
	bad("no end of a string", formats.JSON, "", "", `{¦"a`, 0),
	bad("no end of a string with escapes", formats.JSON, "", "", `{¦"a\"`, 0),
	bad("two values", formats.JSON, "", "", `{}¦{}`, 0),
	bad("text after the header", formats.JSON, "", "", `{}   ¦x`, 0),
	bad("NUL padding", formats.JSON, "", "", "{}¦\x00\x00\x00", 0, "NUL padding"),
	bad("NUL padding after spaces", formats.JSON, "", "", "{} ¦\x00", 0, "NUL padding"),
	bad("a million brackets", formats.JSON, "", "", "¦"+strings.Repeat("[", 1_000_000), 0),
	bad("a million brackets in an unknown field", formats.Limit, "a", "x", `{"a":{"x":`+strings.Repeat("[", 126)+"¦"+strings.Repeat("[", 1_000_000), 0, "deeper than 128"),
	bad("literal True", formats.JSON, "a", "x", `{"a":{"x":¦True}}`, 0),
	bad("wrong bracket", formats.JSON, "a", "x", `{"a":{"x":[1¦}}}`, 0),
}

var entries = []formatstest.Hostile{
	bad("name twice", formats.Dup, "a", "", `{`+a4+`,¦"a":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}}`, 8, "first at offset 9"),
	bad("name twice, first one empty", formats.Dup, "a", "", `{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},¦`+a4+`}`, 4, "first at offset 9"),
	bad("name twice, once with an escape", formats.Dup, "a", "", `{`+a4+`,¦"\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8),
	bad("field twice", formats.Dup, "a", "dtype", `{"a":{"dtype":"F32",¦"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4, "first at offset 14"),
	bad("offsets twice", formats.Dup, "a", "data_offsets", `{"a":{"data_offsets":[0,4],"dtype":"F32",¦"data_offsets":[0,4],"shape":[1]}}`, 4),
	bad("unknown field twice", formats.Dup, "a", "x", `{"a":{"x":1,¦"x":1,"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
	bad("__metadata__ twice", formats.Dup, "", "__metadata__", `{"__metadata__":{},¦"__metadata__":{},`+a4+`}`, 4, "first at offset 9"),
	bad("metadata key twice", formats.Dup, "", "__metadata__", `{"__metadata__":{"k":"1",¦"k":"1"},`+a4+`}`, 4),
	bad("metadata null", formats.JSON, "", "__metadata__", `{"__metadata__":¦null}`, 0, "got null"),
	bad("metadata array", formats.JSON, "", "__metadata__", `{"__metadata__":¦["a"]}`, 0),
	bad("metadata value a number", formats.JSON, "", "__metadata__", `{"__metadata__":{"k":¦1}}`, 0, "got a number"),
	bad("metadata value an object", formats.JSON, "", "__metadata__", `{"__metadata__":{"k":¦{"l":"m"}}}`, 0),
	bad("entry is null", formats.JSON, "a", "", `{"a":¦null}`, 0),
	bad("entry is a number", formats.JSON, "a", "", `{"a":¦5}`, 0),
	bad("entry is an array", formats.JSON, "a", "", `{"a":¦["F32",[1],[0,4]]}`, 4),
	bad("dtype missing", formats.JSON, "a", "dtype", `{¦"a":{"shape":[1],"data_offsets":[0,4]}}`, 4, "missing"),
	bad("shape missing", formats.JSON, "a", "shape", `{¦"a":{"dtype":"F32","data_offsets":[0,4]}}`, 4),
	bad("offsets missing", formats.JSON, "a", "data_offsets", `{¦"a":{"dtype":"F32","shape":[1]}}`, 4),
	bad("dtype null", formats.JSON, "a", "dtype", with(`¦null`, `[1]`, `[0,4]`), 4),
	bad("dtype an object", formats.JSON, "a", "dtype", with(`¦{"F32":null}`, `[1]`, `[0,4]`), 4),
	bad("dtype unknown", formats.BadDType, "a", "dtype", with(`¦"F128"`, `[1]`, `[0,4]`), 4, `got "F128"`),
	bad("dtype in lower case", formats.BadDType, "a", "dtype", with(`¦"f32"`, `[1]`, `[0,4]`), 4),
	bad("dtype of GGUF", formats.BadDType, "a", "dtype", with(`¦"Q8_0"`, `[32]`, `[0,34]`), 34),
	bad("dtype empty", formats.BadDType, "a", "dtype", with(`¦""`, `[1]`, `[0,4]`), 4),
	bad("shape null", formats.JSON, "a", "shape", with(`"F32"`, `¦null`, `[0,4]`), 4),
	bad("shape a number", formats.JSON, "a", "shape", with(`"F32"`, `¦1`, `[0,4]`), 4),
	bad("shape negative", formats.JSON, "a", "shape", with(`"F32"`, `[¦-1]`, `[0,4]`), 4),
	bad("shape a fraction", formats.JSON, "a", "shape", with(`"F32"`, `[¦1.0]`, `[0,4]`), 4, "got 1.0"),
	bad("shape with an exponent", formats.JSON, "a", "shape", with(`"F32"`, `[¦1e0]`, `[0,4]`), 4),
	bad("shape minus zero", formats.JSON, "a", "shape", with(`"F32"`, `[¦-0]`, `[0,0]`), 0),
	bad("shape with a leading zero", formats.JSON, "a", "shape", with(`"F32"`, `[¦01]`, `[0,4]`), 4),
	bad("shape with a plus", formats.JSON, "a", "shape", with(`"F32"`, `[¦+1]`, `[0,4]`), 4),
	bad("shape NaN", formats.JSON, "a", "shape", with(`"F32"`, `[¦NaN]`, `[0,4]`), 4),
	bad("shape with a bare point", formats.JSON, "a", "shape", with(`"F32"`, `[¦1.]`, `[0,4]`), 4),
	bad("shape with a bare exponent", formats.JSON, "a", "shape", with(`"F32"`, `[¦1e]`, `[0,4]`), 4),
	bad("shape with a string", formats.JSON, "a", "shape", with(`"F32"`, `[¦"1"]`, `[0,4]`), 4),
	bad("shape nested", formats.JSON, "a", "shape", with(`"F32"`, `[¦[1]]`, `[0,4]`), 4),
	bad("65 dimensions", formats.Limit, "a", "shape", with(`"F32"`, `[¦1`+strings.Repeat(",1", 64)+`]`, `[0,4]`), 4, "got 65 dimensions"),
	bad("a million dimensions", formats.Limit, "a", "shape", with(`"F32"`, `[¦1`+strings.Repeat(",1", 1_000_000)+`]`, `[0,4]`), 4),
	bad("dimension 2^63", formats.Overflow, "a", "shape", with(`"F32"`, `[¦9223372036854775808]`, `[0,4]`), 4),
	bad("dimension 2^64", formats.JSON, "a", "shape", with(`"F32"`, `[¦18446744073709551616]`, `[0,4]`), 4, "64 bits"),
	bad("dimension of a thousand digits", formats.JSON, "a", "shape", with(`"F32"`, `[¦`+strings.Repeat("9", 1000)+`]`, `[0,4]`), 4),
	bad("product wraps to 2^64-4", formats.Overflow, "a", "shape", with(`"F32"`, `[2,¦18446744073709551614]`, `[0,4]`), 4),
	bad("product beyond 63 bits", formats.Overflow, "a", "shape", strings.Replace(with(`"F32"`, `[2,9223372036854775807]`, `[0,4]`), `"a"`, `¦"a"`, 1), 4),
	bad("bytes beyond 63 bits", formats.Overflow, "a", "shape", strings.Replace(with(`"F32"`, `[4611686018427387904]`, `[0,4]`), `"a"`, `¦"a"`, 1), 4),
	bad("2^63 beside a zero", formats.Overflow, "a", "shape", with(`"F32"`, `[¦9223372036854775808,4,0]`, `[0,0]`), 0),
	bad("zero beside 2^63", formats.Overflow, "a", "shape", with(`"F32"`, `[0,¦9223372036854775808,4]`, `[0,0]`), 0),
	bad("no offset", formats.JSON, "a", "data_offsets", with(`"F32"`, `[1]`, `¦[]`), 4, "got 0 numbers"),
	bad("one offset", formats.JSON, "a", "data_offsets", with(`"F32"`, `[1]`, `¦[4]`), 4, "got 1 numbers, want 2"),
	bad("three offsets", formats.JSON, "a", "data_offsets", with(`"F32"`, `[1]`, `¦[0,4,4]`), 4),
	bad("offsets null", formats.JSON, "a", "data_offsets", with(`"F32"`, `[1]`, `¦null`), 4),
	bad("offset null", formats.JSON, "a", "data_offsets", with(`"F32"`, `[1]`, `[¦null,4]`), 4),
	bad("offset a fraction", formats.JSON, "a", "data_offsets", with(`"F32"`, `[1]`, `[0,¦4.0]`), 4),
	bad("offset 1e3", formats.JSON, "a", "data_offsets", with(`"F32"`, `[1]`, `[0,¦1e3]`), 4),
	bad("offset negative", formats.JSON, "a", "data_offsets", with(`"F32"`, `[1]`, `[¦-4,0]`), 4),
	bad("offset 2^64", formats.JSON, "a", "data_offsets", with(`"F32"`, `[1]`, `[0,¦18446744073709551616]`), 4),
	bad("offset 2^63", formats.Overflow, "a", "data_offsets", with(`"F32"`, `[1]`, `[0,¦9223372036854775808]`), 4),
	bad("begin after end", formats.Bounds, "a", "data_offsets", with(`"F32"`, `[1]`, `¦[4,0]`), 4, "got begin 4 after end 0"),
	bad("field in capitals", formats.JSON, "a", "DTYPE", `{"a":{¦"DTYPE":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4, `want "dtype"`),
	bad("field with a long s", formats.JSON, "a", "ſhape", `{"a":{"dtype":"F32","shape":[1],¦"ſhape":[1],"data_offsets":[0,4]}}`, 4),
	bad("65,537 metadata entries", formats.Limit, "", "__metadata__", `{"__metadata__":{`+keys(1<<16, `""`)+`,¦"k":""}}`, 0),
	bad("1,025 unknown fields", formats.Limit, "a", "k", `{"a":{`+keys(1<<10, `0`)+`,¦"k":0,`+a4[5:]+`}`, 4),
	bad("name with an escape code", formats.JSON, "\x1b[2J", "", `{"\u001b[2J":¦5}`, 0, `\x1b[2J`),
}

var chains = []formatstest.Hostile{
	bad("too few bytes for the shape", formats.BadShape, "a", "data_offsets", with(`"F32"`, `[2]`, `¦[0,4]`), 4, "got 4 bytes, want 8"),
	bad("too many bytes for the shape", formats.BadShape, "a", "data_offsets", with(`"F32"`, `[]`, `¦[0,8]`), 8),
	bad("bytes for an empty shape", formats.BadShape, "a", "data_offsets", with(`"F32"`, `[0]`, `¦[0,4]`), 4),
	bad("half a byte of F4", formats.BadShape, "a", "shape", `{¦"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}`, 2),
	bad("half a byte of F6", formats.BadShape, "a", "shape", `{¦"a":{"dtype":"F6_E2M3","shape":[2],"data_offsets":[0,2]}}`, 2),
	bad("overlap", formats.Overlap, "b", "data_offsets", `{`+a4+`,"b":{"dtype":"F32","shape":[1],"data_offsets":¦[2,6]}}`, 6, `of tensor "a"`),
	bad("one range twice", formats.Overlap, "b", "data_offsets", `{`+a4+`,"b":{"dtype":"F32","shape":[1],"data_offsets":¦[0,4]}}`, 4, `of tensor "a"`),
	bad("hole", formats.Hole, "b", "data_offsets", `{`+a4+`,"b":{"dtype":"F32","shape":[1],"data_offsets":¦[8,12]}}`, 12, `after tensor "a"`, "bytes 4 to 8"),
	bad("hole at the start", formats.Hole, "a", "data_offsets", with(`"F32"`, `[1]`, `¦[4,8]`), 8, "want 0"),
	bad("hole between tensors in another order", formats.Hole, "b", "data_offsets", `{"b":{"dtype":"F32","shape":[1],"data_offsets":¦[8,12]},`+a4+`}`, 12),
	bad("empty tensor inside another", formats.Overlap, "z", "data_offsets", `{`+a4+`,"z":{"dtype":"F32","shape":[0],"data_offsets":¦[2,2]}}`, 4),
	bad("empty tensor beyond the data", formats.Hole, "z", "data_offsets", `{`+a4+`,"z":{"dtype":"F32","shape":[0],"data_offsets":¦[8,8]}}`, 8),
	{Name: "one byte short", Bytes: file(`{`+a4+`,`+b4+`}`, 7), Code: formats.Trunc, Offset: 8 + 3 + int64(len(a4)+len(b4)) + 7, Tensor: "b",
		Field: "data_offsets", Says: []string{"1 bytes short", `the last complete tensor is "a"`}},
	{Name: "no data at all", Bytes: file(`{`+a4+`}`, 0), Code: formats.Trunc, Offset: 8 + 2 + int64(len(a4)), Tensor: "a", Field: "data_offsets",
		Says: []string{"no tensor is complete"}},
	{Name: "one byte over", Bytes: file(`{`+a4+`}`, 5), Code: formats.Trail, Offset: 8 + 2 + int64(len(a4)) + 4, Says: []string{"got 1 bytes"}},
	{Name: "data without tensors", Bytes: file(`{}`, 5), Code: formats.Trail, Offset: 10},
	func() formatstest.Hostile {
		x := bad("three problems at once", formats.BadDType, "a", "dtype",
			`{"a":{"dtype":¦"X","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[-1],"data_offsets":[4,8]},"c":{"dtype":"F32","shape":[1],"data_offsets":[9,13]}}`, 13)
		x.Codes = []formats.Code{formats.BadDType, formats.JSON, formats.Hole}
		return x
	}(),
	func() formatstest.Hostile {
		x := bad("30 problems", formats.JSON, "t0", "", `{"t0":¦0`+many(29)+`}`, 0, "and 10 more problems")
		x.Codes = make([]formats.Code, 21)
		for i := range x.Codes {
			x.Codes[i] = formats.JSON
		}
		return x
	}(),
}

// keys are n different keys with one value.
func keys(n int, value string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%d":%s`, i, value)
	}
	return b.String()
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"t%d":0`, i+1)
	}
	return b.String()
}

// refused is every file above that has to be refused.
func refused() []formatstest.Hostile {
	var all []formatstest.Hostile
	for _, t := range [][]formatstest.Hostile{lengths, syntax, entries, chains} {
		all = append(all, t...)
	}
	return all
}

func TestHostile(t *testing.T) { formatstest.Table(t, safetensors.Format, refused()) }
