package safetensors_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// odd are files that have to be read.
var odd = []formatstest.Hostile{
	good("no tensors", `{}`, 0),
	good("white space around the header", "\t\n {"+a4+"} \r\n\t", 4),
	good("white space everywhere", `{ "a" : { "dtype" : "F32" , "shape" : [ 1 ] , "data_offsets" : [ 0 , 4 ] } }`, 4),
	good("header length no multiple of 8", `{`+a4+`} `, 4),
	good("empty metadata", `{"__metadata__":{},`+a4+`}`, 4),
	good("metadata alone", `{"__metadata__":{"format":"pt"}}`, 0),
	good("metadata last", `{`+a4+`,"__metadata__":{"format":"pt"}}`, 4),
	good("metadata with control characters", `{"__metadata__":{"\u0000\n":"\u001b","":""}}`, 0),
	good("scalar", `{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 4),
	good("zero size", `{"z":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},`+a4+`}`, 4),
	good("zero size at the end, twice", `{`+a4+`,"y":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},"z":{"dtype":"F32","shape":[2,0],"data_offsets":[4,4]}}`, 4),
	good("zero before 2^63-1", with(`"F32"`, `[0,9223372036854775807,4]`, `[0,0]`), 0),
	good("zero after 2^63-1", with(`"F32"`, `[9223372036854775807,4,0]`, `[0,0]`), 0),
	good("a pair of F4", `{"a":{"dtype":"F4","shape":[1,2],"data_offsets":[0,1]}}`, 1),
	good("rows of F4 that end in half a byte", `{"a":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]}}`, 3),
	good("four F6", `{"a":{"dtype":"F6_E3M2","shape":[4],"data_offsets":[0,3]}}`, 3),
	good("complex", `{"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}`, 8),
	good("tensors in another order than their data", `{`+b4+`,`+a4+`}`, 8),
	good("fields in another order", `{"a":{"data_offsets":[0,4],"shape":[1],"dtype":"F32"}}`, 4),
	good("unknown fields", `{"a":{"x":{"y":[1,-2.5e3,true,null,{"dtype":1}]},"dtype":"F32","shape":[1],"data_offsets":[0,4],"z":null}}`, 4),
	good("empty name", `{"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
	good("name of 1 MiB", `{"`+strings.Repeat("n", 1<<20)+`":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
	good("name like a path", `{"../../etc/passwd":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
	good("name with escapes", `{"\"\\\/\b\f\n\r\t\u0000\u00e9\ud83e\udea2":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
	good("name with DEL and line separator", "{\"\x7f\u2028\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4),
	good("field with an escape", `{"a":{"\u0064type":"F3\u0032","shape":[1],"data_offsets":[0,4]}}`, 4),
	good("64 dimensions", with(`"F32"`, `[1`+strings.Repeat(",1", 63)+`]`, `[0,4]`), 4),
	good("tensor named like a field", `{"dtype":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
	good("length of the header alone says 2", `{}`, 0),
	good("every type once", everyType(), 496),
	good("every type, empty", everyTypeEmpty(), 0),
	good("BOOL that is neither 0 nor 1", `{"a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}`, 1),
	good("F6 in a row of 2 and one of 2", `{"a":{"dtype":"F6_E2M3","shape":[2,2],"data_offsets":[0,3]}}`, 3),
	good("F4 with a dimension of 1 last", `{"a":{"dtype":"F4","shape":[2,1],"data_offsets":[0,1]}}`, 1),
	good("F4 without elements", `{"a":{"dtype":"F4","shape":[3,0],"data_offsets":[0,0]}}`, 0),
	good("data that is not aligned to its type", `{"h":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"d":{"dtype":"F64","shape":[1],"data_offsets":[1,9]}}`, 9),
	good("dimensions of 1", with(`"F32"`, `[1,1,1,1,1,1,1,1]`, `[0,4]`), 4),
	good("9 dimensions", with(`"F32"`, `[1,1,1,1,1,1,1,1,1]`, `[0,4]`), 4),
	good("64 dimensions, all 0", with(`"F32"`, `[0`+strings.Repeat(",0", 63)+`]`, `[0,0]`), 0),
	good("zero size at the start, twice", `{"y":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"z":{"dtype":"I8","shape":[0],"data_offsets":[0,0]},`+a4+`}`, 4),
	good("zero size between two", `{`+a4+`,"z":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},`+b4+`}`, 8),
	good("zero size in the middle, listed first", `{"z":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},`+a4+`,`+b4+`}`, 8),
	good("zero size at the end, listed first", `{"z":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},`+a4+`}`, 4),
	good("nothing but zero sizes", `{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"F32","shape":[0,1],"data_offsets":[0,0]}}`, 0),
	good("zero size with 2^62", with(`"F64"`, `[4611686018427387904,0]`, `[0,0]`), 0),
	good("names that differ in case", `{"A":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8),
	good("names that differ in normal form", "{\"\u00e9\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"e\u0301\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8),
	good("names that differ in a blank", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a ":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8),
	good("names of one dot and two", `{".":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"..":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8),
	good("name __METADATA__", `{"__METADATA__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
	good("name with NUL, escaped", `{"a\u0000b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
	good("name with a noncharacter", `{"\uffff":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
	good("name that turns text around", "{\"a\u202eb\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4),
	good("name with a byte order mark", "{\"\ufeff\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4),
	good("name with the replacement character", "{\"\ufffd\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4),
	good("name of 4,096 bytes", `{"`+strings.Repeat("n", 4096)+`":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
	good("name with capital hex digits", `{"\u00E9\uD83E\uDEA2":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
	good("name like a device", `{"NUL":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
	good("name like JSON", `{"{\"a\":1}":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
	good("key __metadata__ in the metadata", `{"__metadata__":{"__metadata__":"x"},`+a4+`}`, 4),
	good("metadata key like a tensor", `{"__metadata__":{"a":"b"},`+a4+`}`, 4),
	good("an alias record", `{"__metadata__":{"head":"a"},`+a4+`}`, 4),
	good("an alias record without its tensor", `{"__metadata__":{"head":"none"},`+a4+`}`, 4),
	good("metadata of 1 MiB", `{"__metadata__":{"k":"`+strings.Repeat("v", 1<<20)+`"},`+a4+`}`, 4),
	good("65,536 metadata entries", `{"__metadata__":{`+keys(1<<16, `""`)+`}}`, 0),
	good("metadata with escapes in keys", `{"__metadata__":{"\u006b":"1","l":"2"},`+a4+`}`, 4),
	good("1,024 unknown fields", `{"a":{`+keys(1<<10, `0`)+`,`+a4[5:]+`}`, 4),
	good("unknown field called a", `{"a":{"a":"a","dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
	good("unknown field with depth 124", `{"a":{"x":`+strings.Repeat("[", 124)+strings.Repeat("]", 124)+`,"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
	good("unknown number of 300 digits and a fraction", `{"a":{"x":0.`+strings.Repeat("3", 300)+`,"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
	good("a mebibyte of spaces before the end", `{`+a4+strings.Repeat(" ", 1<<20)+`}`, 4),
	good("a mebibyte of spaces after the end", `{`+a4+`}`+strings.Repeat(" ", 1<<20), 4),
	good("line feeds as padding", `{`+a4+"}\n\n\n", 4),
	good("1,000 tensors backwards", reversed(1000), 4000),
}

// everyType is a header with 8 elements of each type, of 496 bytes in all, in the order of the reference.
func everyType() string { return typed([]int64{8}) }

func everyTypeEmpty() string { return typed([]int64{0, 8}) }

func typed(shape []int64) string {
	var b strings.Builder
	end := int64(0)
	for i, d := range safetensors.Format.Limits.DTypes {
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

func TestOdd(t *testing.T) { formatstest.Table(t, safetensors.Format, odd) }

// TestCorpus says how large the corpus is, and that each of its files has a name of its own.
func TestCorpus(t *testing.T) {
	names := map[string]bool{}
	for what, table := range map[string][]formatstest.Hostile{"file": append(refused(), odd...), "index": indexes, "odd index": oddIndexes()} {
		for _, x := range table {
			if name := what + ": " + x.Name; names[name] {
				t.Errorf("two cases are called %q", name)
			} else {
				names[name] = true
			}
		}
	}
	bad, list, read := len(refused()), len(indexes), len(odd)+len(oddIndexes())
	t.Logf("%d files and %d indexes to refuse, %d odd ones to read", bad, list, read)
	if bad < 120 || list < 35 || read < 80 {
		t.Error("the corpus has shrunk")
	}
}
