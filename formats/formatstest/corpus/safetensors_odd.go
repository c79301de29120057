package corpus

import (
	"fmt"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// oddST are files that have to be read.
func oddST() []Case {
	return []Case{
		goodST("no tensors", `{}`, 0),
		goodST("white space around the header", "\t\n {"+A4+"} \r\n\t", 4),
		goodST("white space everywhere", `{ "a" : { "dtype" : "F32" , "shape" : [ 1 ] , "data_offsets" : [ 0 , 4 ] } }`, 4),
		goodST("header length no multiple of 8", `{`+A4+`} `, 4),
		goodST("empty metadata", `{"__metadata__":{},`+A4+`}`, 4),
		goodST("metadata alone", `{"__metadata__":{"format":"pt"}}`, 0),
		goodST("metadata last", `{`+A4+`,"__metadata__":{"format":"pt"}}`, 4),
		goodST("metadata with control characters", `{"__metadata__":{"\u0000\n":"\u001b","":""}}`, 0),
		goodST("scalar", `{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 4),
		goodST("zero size", `{"z":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},`+A4+`}`, 4),
		goodST("zero size at the end, twice", `{`+A4+`,"y":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},"z":{"dtype":"F32","shape":[2,0],"data_offsets":[4,4]}}`, 4),
		goodST("zero before 2^63-1", STWith(`"F32"`, `[0,9223372036854775807,4]`, `[0,0]`), 0),
		goodST("zero after 2^63-1", STWith(`"F32"`, `[9223372036854775807,4,0]`, `[0,0]`), 0),
		goodST("a pair of F4", `{"a":{"dtype":"F4","shape":[1,2],"data_offsets":[0,1]}}`, 1),
		goodST("rows of F4 that end in half a byte", `{"a":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]}}`, 3),
		goodST("four F6", `{"a":{"dtype":"F6_E3M2","shape":[4],"data_offsets":[0,3]}}`, 3),
		goodST("complex", `{"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}`, 8),
		goodST("tensors in another order than their data", `{`+B4+`,`+A4+`}`, 8),
		goodST("fields in another order", `{"a":{"data_offsets":[0,4],"shape":[1],"dtype":"F32"}}`, 4),
		goodST("unknown fields", `{"a":{"x":{"y":[1,-2.5e3,true,null,{"dtype":1}]},"dtype":"F32","shape":[1],"data_offsets":[0,4],"z":null}}`, 4),
		goodST("empty name", `{"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		goodST("name of 1 MiB", `{"`+strings.Repeat("n", 1<<20)+`":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		goodST("name like a path", `{"../../etc/passwd":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		goodST("name with escapes", `{"\"\\\/\b\f\n\r\t\u0000\u00e9\ud83e\udea2":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		goodST("name with DEL and line separator", "{\"\x7f\u2028\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4),
		goodST("field with an escape", `{"a":{"\u0064type":"F3\u0032","shape":[1],"data_offsets":[0,4]}}`, 4),
		goodST("64 dimensions", STWith(`"F32"`, `[1`+strings.Repeat(",1", 63)+`]`, `[0,4]`), 4),
		goodST("tensor named like a field", `{"dtype":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		goodST("length of the header alone says 2", `{}`, 0),
		goodST("every type once", everyType(), 496),
		goodST("every type, empty", everyTypeEmpty(), 0),
		goodST("BOOL that is neither 0 nor 1", `{"a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}`, 1),
		goodST("F6 in a row of 2 and one of 2", `{"a":{"dtype":"F6_E2M3","shape":[2,2],"data_offsets":[0,3]}}`, 3),
		goodST("F4 with a dimension of 1 last", `{"a":{"dtype":"F4","shape":[2,1],"data_offsets":[0,1]}}`, 1),
		goodST("F4 without elements", `{"a":{"dtype":"F4","shape":[3,0],"data_offsets":[0,0]}}`, 0),
		goodST("data that is not aligned to its type", `{"h":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"d":{"dtype":"F64","shape":[1],"data_offsets":[1,9]}}`, 9),
		goodST("dimensions of 1", STWith(`"F32"`, `[1,1,1,1,1,1,1,1]`, `[0,4]`), 4),
		goodST("9 dimensions", STWith(`"F32"`, `[1,1,1,1,1,1,1,1,1]`, `[0,4]`), 4),
		goodST("64 dimensions, all 0", STWith(`"F32"`, `[0`+strings.Repeat(",0", 63)+`]`, `[0,0]`), 0),
		goodST("zero size at the start, twice", `{"y":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"z":{"dtype":"I8","shape":[0],"data_offsets":[0,0]},`+A4+`}`, 4),
		goodST("zero size between two", `{`+A4+`,"z":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},`+B4+`}`, 8),
		goodST("zero size in the middle, listed first", `{"z":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},`+A4+`,`+B4+`}`, 8),
		goodST("zero size at the end, listed first", `{"z":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},`+A4+`}`, 4),
		goodST("nothing but zero sizes", `{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"F32","shape":[0,1],"data_offsets":[0,0]}}`, 0),
		goodST("zero size with 2^62", STWith(`"F64"`, `[4611686018427387904,0]`, `[0,0]`), 0),
		goodST("names that differ in case", `{"A":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8),
		goodST("names that differ in normal form", "{\"\u00e9\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"e\u0301\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8),
		goodST("names that differ in a blank", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a ":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8),
		goodST("names of one dot and two", `{".":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"..":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8),
		goodST("name __METADATA__", `{"__METADATA__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		goodST("name with NUL, escaped", `{"a\u0000b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		goodST("name with a noncharacter", `{"\uffff":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		goodST("name that turns text around", "{\"a\u202eb\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4),
		goodST("name with a byte order mark", "{\"\ufeff\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4),
		goodST("name with the replacement character", "{\"\ufffd\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4),
		goodST("name of 4,096 bytes", `{"`+strings.Repeat("n", 4096)+`":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		goodST("name with capital hex digits", `{"\u00E9\uD83E\uDEA2":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		goodST("name like a device", `{"NUL":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		goodST("name like JSON", `{"{\"a\":1}":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		goodST("key __metadata__ in the metadata", `{"__metadata__":{"__metadata__":"x"},`+A4+`}`, 4),
		goodST("metadata key like a tensor", `{"__metadata__":{"a":"b"},`+A4+`}`, 4),
		goodST("an alias record", `{"__metadata__":{"head":"a"},`+A4+`}`, 4),
		goodST("an alias record without its tensor", `{"__metadata__":{"head":"none"},`+A4+`}`, 4),
		goodST("metadata of 1 MiB", `{"__metadata__":{"k":"`+strings.Repeat("v", 1<<20)+`"},`+A4+`}`, 4),
		goodST("65,536 metadata entries", `{"__metadata__":{`+Keys(1<<16, `""`)+`}}`, 0),
		goodST("metadata with escapes in keys", `{"__metadata__":{"\u006b":"1","l":"2"},`+A4+`}`, 4),
		goodST("1,024 unknown fields", `{"a":{`+Keys(1<<10, `0`)+`,`+A4[5:]+`}`, 4),
		goodST("unknown field called a", `{"a":{"a":"a","dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		goodST("unknown field with depth 124", `{"a":{"x":`+strings.Repeat("[", 124)+strings.Repeat("]", 124)+`,"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		goodST("unknown number of 300 digits and a fraction", `{"a":{"x":0.`+strings.Repeat("3", 300)+`,"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		goodST("a mebibyte of spaces before the end", `{`+A4+strings.Repeat(" ", 1<<20)+`}`, 4),
		goodST("a mebibyte of spaces after the end", `{`+A4+`}`+strings.Repeat(" ", 1<<20), 4),
		goodST("line feeds as padding", `{`+A4+"}\n\n\n", 4),
		goodST("1,000 tensors backwards", reversed(1000), 4000),
	}
}

// everyType is a header with 8 elements of each type, of 496 bytes in all, in the order of the reference.
func everyType() string { return everyTypeOf([]int64{8}) }

func everyTypeEmpty() string { return everyTypeOf([]int64{0, 8}) }

// stTypes are the types of the reference, in its order (enum Dtype in tensor.rs).
var stTypes = []dtype.Type{"BOOL", "F4", "F6_E2M3", "F6_E3M2", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ",
	"I16", "U16", "F16", "BF16", "I32", "U32", "F32", "C64", "F64", "I64", "U64"}

func everyTypeOf(shape []int64) string {
	var b strings.Builder
	end := int64(0)
	for i, d := range stTypes {
		n, err := formats.TensorBytes(d, shape)
		if err != nil {
			panic(err)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%s":{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}`, d, d, strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ","), "[]"), end, end+n)
		end += n
	}
	return "{" + b.String() + "}"
}

// reversed lists n tensors from the last in the data to the first.
func reversed(n int) string {
	var b strings.Builder
	for i := n - 1; i >= 0; i-- {
		fmt.Fprintf(&b, `,"%d":{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}`, i, 4*i, 4*i+4)
	}
	return "{" + b.String()[1:] + "}"
}
