package raw_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/raw"
)

// mark shows where an error should point to.
const mark = "¦"

// array is a file of version 1.0 with n bytes of data, to be refused.
func array(name string, code formats.Code, field, header string, n int, says ...string) formatstest.Hostile {
	at := int64(-1)
	if i := strings.Index(header, mark); i >= 0 {
		at = int64(i) + 10
	}
	b := npy(1, strings.Replace(header, mark, "", 1), strings.Repeat("\x00", n))
	return formatstest.Hostile{Name: name, Bytes: b, Code: code, Offset: at, Field: field, Says: says}
}

// with is a header with other text for one of its values.
func with(descr, order, shape string) string {
	return "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }\n"
}

func bytesOf(name string, code formats.Code, at int64, field, b string, says ...string) formatstest.Hostile {
	return formatstest.Hostile{Name: name, Bytes: []byte(b), Code: code, Offset: at, Field: field, Says: says}
}

const f4 = "'<f4'"

var containers = []formatstest.Hostile{
	bytesOf("empty file", formats.Trunc, 0, "magic", ""),
	bytesOf("half of the magic", formats.Trunc, 3, "version", "\x93NU"),
	bytesOf("another magic", formats.Magic, 0, "magic", "\x93NUMPX\x01\x00v\x00"),
	bytesOf("magic in lower case", formats.Magic, 0, "magic", "\x93numpy\x01\x00v\x00"),
	bytesOf("zip of arrays", formats.Magic, 0, "magic", "PK\x03\x04aaaaaaaaaaaa"),
	bytesOf("a pickle", formats.Magic, 0, "magic", "\x80\x04cos\nsystem\n."),
	bytesOf("no version", formats.Trunc, 7, "version", "\x93NUMPY\x01"),
	bytesOf("version 0", formats.Version, 6, "version", "\x93NUMPY\x00\x00v\x00"),
	bytesOf("version 1.1", formats.Version, 6, "version", "\x93NUMPY\x01\x01v\x00"),
	bytesOf("version 4", formats.Version, 6, "version", "\x93NUMPY\x04\x00v\x00\x00\x00", "got 4.0"),
	bytesOf("version 255", formats.Version, 6, "version", "\x93NUMPY\xff\xffv\x00\x00\x00"),
	bytesOf("half of the length", formats.Trunc, 9, "header length", "\x93NUMPY\x01\x00v"),
	bytesOf("half of the length of version 2", formats.Trunc, 11, "header length", "\x93NUMPY\x02\x00v\x00\x00"),
	bytesOf("header beyond the file", formats.Trunc, 8, "header length", "\x93NUMPY\x01\x00\x03\x00{}", "got 3, want at most 2"),
	bytesOf("header of 4 GiB", formats.Trunc, 8, "header length", "\x93NUMPY\x02\x00\xff\xff\xff\xff{}"),
	{Name: "header of 4 GiB in a file that has it", Bytes: []byte("\x93NUMPY\x03\x00\xff\xff\xff\xff{"), Size: 8 << 30, Code: formats.Limit, Offset: 8, Field: "header length"},
	{Name: "header of 65,536 bytes", Bytes: npy(2, strings.Repeat(" ", 65536), ""), Code: formats.Limit, Offset: 8, Field: "header length"},
	{Name: "a million brackets", Bytes: npy(2, strings.Repeat("(", 1_000_000), ""), Code: formats.Limit, Offset: 8, Field: "header length"},
	{Name: "not UTF-8 in version 3", Bytes: npy(3, "{'descr': '\xff<f4'}", ""), Code: formats.UTF8, Offset: 12 + 11, Field: "header"},
	array("60,000 brackets", formats.BadType, "shape", with(f4, "False", "("+mark+strings.Repeat("(", 60000)), 0),
	array("60,000 braces", formats.BadType, "header", "{"+mark+strings.Repeat("{", 60000), 0),
	array("empty header", formats.BadType, "header", mark, 0, "a dictionary"),
	array("spaces", formats.BadType, "header", "   \n"+mark, 0),
	array("a list", formats.BadType, "header", mark+"['descr']", 0),
	array("data shorter than the shape", formats.Trunc, "data", with(f4, "False", "(2,)")+mark, 7, "got 7 bytes, want 8"),
	array("no data", formats.Trunc, "data", with(f4, "False", "(2,)")+mark, 0),
	array("trailing bytes", formats.Trail, "data", with(f4, "False", "(2,)")+mark, 9, "got 1 bytes"),
	array("trailing bytes after a scalar", formats.Trail, "data", with(f4, "False", "()")+mark, 8),
	array("two arrays in one file", formats.Trail, "data", with(f4, "False", "(1,)")+mark, 4+128),
}

var headers = []formatstest.Hostile{
	array("a call", formats.Unsafe, "header", mark+"__import__('os').system('id')", 0, "data, not code"),
	array("a call for descr", formats.Unsafe, "descr", with(mark+"__import__('os').system('id')", "False", "(1,)"), 4),
	array("a call for the order", formats.Unsafe, "fortran_order", with(f4, mark+"exec('1')", "(1,)"), 4),
	array("a call for the shape", formats.Unsafe, "shape", with(f4, "False", mark+"eval('(1,)')"), 4),
	array("a call in the shape", formats.Unsafe, "shape", with(f4, "False", "("+mark+"len('x'),)"), 4),
	array("a call for a key", formats.Unsafe, "header", "{"+mark+"str(1): 2}", 0),
	array("a lambda", formats.Unsafe, "fortran_order", with(f4, mark+"lambda: 1", "(1,)"), 4),
	array("a comprehension", formats.Unsafe, "shape", with(f4, "False", mark+"tuple(i for i in [1])"), 4),
	array("code for a type", formats.BadDType, "descr", with(mark+`"__import__('os')"`, "False", "(1,)"), 4),
	array("a word after the dictionary", formats.BadType, "header", with(f4, "False", "(1,)")+mark+"or exit()", 4),
	array("a star after a number", formats.BadType, "shape", with(f4, "False", "(9"+mark+"**9,)"), 4),
	array("no end of the dictionary", formats.BadType, "header", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)"+mark, 0),
	array("no comma", formats.BadType, "header", "{'descr': '<f4' "+mark+"'shape': (1,)}", 0),
	array("two commas", formats.BadType, "header", "{'descr': '<f4',"+mark+", 'shape': (1,)}", 0),
	array("no colon", formats.BadType, "header", "{'descr' "+mark+"'<f4'}", 0),
	array("no quote", formats.BadType, "descr", "{'descr': "+mark+"'<f4}", 0),
	array("an escape", formats.BadType, "descr", with("'"+mark+`\x3cf4'`, "False", "(1,)"), 4),
	array("a control character", formats.BadType, "descr", with("'<f"+mark+"\x1b4'", "False", "(1,)"), 4),
	array("not ASCII", formats.BadType, "descr", with("'<f"+mark+"\xe94'", "False", "(1,)"), 4),
	array("bytes after the dictionary", formats.BadType, "header", with(f4, "False", "(1,)")+mark+"\x00", 4),
	array("a comment", formats.BadType, "header", with(f4, "False", "(1,)")+mark+"# x", 4),
	array("a key that is none", formats.BadType, "header", "{"+mark+"'dtype': '<f4'}", 0, `"dtype"`),
	array("a key in capitals", formats.BadType, "header", "{"+mark+"'Descr': '<f4'}", 0),
	array("descr twice", formats.Dup, "header", "{'descr': '<f4', "+mark+"'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", 4),
	array("shape twice", formats.Dup, "header", "{'descr': '<f4', 'shape': (2,), 'fortran_order': False, "+mark+"'shape': (1,)}", 4),
	array("descr missing", formats.BadType, "header", mark+"{'fortran_order': False, 'shape': (1,)}", 4, "descr is missing"),
	array("shape missing", formats.BadType, "header", mark+"{'descr': '<f4', 'fortran_order': False}", 4, "shape is missing"),
	array("order as a number", formats.BadType, "fortran_order", with(f4, mark+"0", "(1,)"), 4),
	array("order as None", formats.BadType, "fortran_order", with(f4, mark+"None", "(1,)"), 4),
	array("order in lower case", formats.BadType, "fortran_order", with(f4, mark+"true", "(1,)"), 4),

	array("objects", formats.Unsafe, "descr", with(mark+"'|O'", "False", "(1,)"), 8, "pickle"),
	array("objects of 8 bytes", formats.Unsafe, "descr", with(mark+"'|O8'", "False", "(1,)"), 8),
	array("a structure", formats.Unsupported, "descr", with(mark+"[('a', '<f4')]", "False", "(1,)"), 4),
	array("an array of arrays", formats.Unsupported, "descr", with(mark+"('<f4', (2,))", "False", "(1,)"), 8),
	array("a structure with objects", formats.Unsupported, "descr", with(mark+"[('a', '|O')]", "False", "(1,)"), 8),
	array("strings", formats.Unsupported, "descr", with(mark+"'<U5'", "False", "(1,)"), 20),
	array("byte strings", formats.Unsupported, "descr", with(mark+"'|S5'", "False", "(1,)"), 5),
	array("a record", formats.Unsupported, "descr", with(mark+"'|V3'", "False", "(1,)"), 3),
	array("a huge record", formats.Unsupported, "descr", with(mark+"'|V99999999999999999999'", "False", "(1,)"), 3),
	array("dates", formats.Unsupported, "descr", with(mark+"'<M8[ns]'", "False", "(1,)"), 8),
	array("complex128", formats.Unsupported, "descr", with(mark+"'<c16'", "False", "(1,)"), 16),
	array("float128", formats.Unsupported, "descr", with(mark+"'<f16'", "False", "(1,)"), 16),
	array("bytes that only a manifest explains", formats.BadDType, "descr", with("'|V1'", "False", "(1,)"), 1, "tensors.json"),
	array("no byte order", formats.BadDType, "descr", with(mark+"'f4'", "False", "(1,)"), 4, "byte order"),
	array("the byte order of the reader", formats.BadDType, "descr", with(mark+"'=f4'", "False", "(1,)"), 4),
	array("a byte order that is none", formats.BadDType, "descr", with(mark+"'|f4'", "False", "(1,)"), 4),
	array("two byte orders", formats.BadDType, "descr", with(mark+"'<>f4'", "False", "(1,)"), 4),
	array("an unknown letter", formats.BadDType, "descr", with(mark+"'<q4'", "False", "(1,)"), 4),
	array("an integer of 3 bytes", formats.BadDType, "descr", with(mark+"'<i3'", "False", "(1,)"), 4),
	array("no type", formats.BadDType, "descr", with(mark+"''", "False", "(1,)"), 4),
	array("a byte order alone", formats.BadDType, "descr", with(mark+"'<'", "False", "(1,)"), 4),
	array("a type by its long name", formats.BadDType, "descr", with(mark+"'float32'", "False", "(1,)"), 4),
	array("None for a type", formats.BadType, "descr", with(mark+"None", "False", "(1,)"), 4),
	array("a number for a type", formats.BadType, "descr", with(mark+"4", "False", "(1,)"), 4),

	array("a list for a shape", formats.BadType, "shape", with(f4, "False", mark+"[1]"), 4),
	array("a number for a shape", formats.BadType, "shape", with(f4, "False", mark+"1"), 4),
	array("a number in brackets", formats.BadType, "shape", with(f4, "False", mark+"(1)"), 4, "(1,)"),
	array("a comma alone", formats.BadType, "shape", with(f4, "False", "("+mark+",)"), 4),
	array("a fraction", formats.BadType, "shape", with(f4, "False", "(1"+mark+".5,)"), 4),
	array("a bool in the shape", formats.BadType, "shape", with(f4, "False", "("+mark+"True,)"), 4),
	array("a hexadecimal number", formats.BadType, "shape", with(f4, "False", "(0"+mark+"x1,)"), 4),
	array("a leading zero", formats.BadType, "shape", with(f4, "False", "("+mark+"01,)"), 4),
	array("a negative size", formats.BadShape, "shape", with(f4, "False", "(-"+mark+"1,)"), 4),
	array("minus alone", formats.BadType, "shape", with(f4, "False", "(-"+mark+",)"), 4),
	array("a size of 2^63", formats.Overflow, "shape", with(f4, "False", "("+mark+"9223372036854775808,)"), 4),
	array("a size of a thousand digits", formats.Overflow, "shape", with(f4, "False", "("+mark+strings.Repeat("9", 1000)+",)"), 4),
	array("a product over 2^63", formats.Overflow, "shape", with(f4, "False", mark+"(4294967296, 4294967296)"), 4),
	array("bytes over 2^63", formats.Overflow, "shape", with(f4, "False", mark+"(4611686018427387904,)"), 4),
	array("a shape that the file is too short for", formats.Trunc, "data", with(f4, "False", "(1000000000000,)")+mark, 4),
	array("65 dimensions", formats.Limit, "shape", with(f4, "False", "("+strings.Repeat("1,", 64)+mark+"1)"), 4),
	{Name: "a long of Python 2 in version 3", Bytes: npy(3, with(f4, "False", "(1L,)"), "0000"), Code: formats.BadType, Offset: 12 + 52, Field: "shape"},
	{Name: "all that is wrong comes at once", Bytes: npy(1, with("'<f3'", "False", "(-1, 99999999999999999999)"), ""), Code: formats.Unsupported, Offset: 20,
		Field: "descr", Codes: []formats.Code{formats.Unsupported, formats.BadShape, formats.Overflow}},
}

// behind is how far after the header a problem with the data is.
var behind = map[string]int64{"data shorter than the shape": 7, "trailing bytes": 8, "trailing bytes after a scalar": 4, "two arrays in one file": 4,
	"a shape that the file is too short for": 4}

func TestHostileArrays(t *testing.T) {
	// What is behind the header is found at its end or behind the values that the shape has.
	for i := range containers {
		if x := &containers[i]; x.Field == "data" {
			x.Offset += behind[x.Name]
		}
	}
	for i := range headers {
		switch x := &headers[i]; {
		case x.Name == "bytes that only a manifest explains":
			x.Tensor = "model"
		case x.Field == "data":
			x.Offset += behind[x.Name]
		}
	}
	formatstest.Table(t, raw.Format, containers)
	formatstest.Table(t, raw.Format, headers)
}

func oddArray(name, header string, n int) formatstest.Hostile {
	return formatstest.Hostile{Name: name, Bytes: npy(1, header, strings.Repeat("\x00", n))}
}

func TestOddArrays(t *testing.T) {
	formatstest.Table(t, raw.Format, []formatstest.Hostile{
		oddArray("no padding", "{'descr':'<f4','fortran_order':False,'shape':(1,)}", 4),
		oddArray("double quotes", `{"descr": "<f4", "fortran_order": False, "shape": (1,)}`, 4),
		oddArray("Unicode strings of Python 2", "{u'descr': u'<f4', u'fortran_order': False, u'shape': (1,)}", 4),
		oddArray("longs of Python 2", with(f4, "False", "(2L, 3L)"), 24),
		oddArray("another order of keys", "{'shape': (1,), 'descr': '<f4', 'fortran_order': True}", 4),
		oddArray("space everywhere", " \t{ 'descr' : '<f4' ,\n'fortran_order'\r\n: False , 'shape' : ( 1 , ) , } \f\n\n", 4),
		oddArray("a header of 65,535 bytes", with(f4, "False", "(1,)")+strings.Repeat(" ", 65535-len(with(f4, "False", "(1,)"))), 4),
		oddArray("a comma at the end", with(f4, "False", "(2, 3,)"), 24),
		oddArray("zeros", with(f4, "False", "(00, 0)"), 0),
		oddArray("no values in a huge shape", with(f4, "False", "(0, 9223372036854775807, 9223372036854775807)"), 0),
		oddArray("no values in Fortran order", with(f4, "True", "(4294967296, 0, 4294967296)"), 0),
		oddArray("64 dimensions", with("'|u1'", "True", "("+strings.Repeat("1, ", 63)+"2)"), 2),
		oddArray("a scalar in Fortran order", with(f4, "True", "()"), 4),
		oddArray("a byte order for bytes", with("'<i1'", "False", "(2,)"), 2),
		oddArray("the other byte order for bytes", with("'>u1'", "False", "(2,)"), 2),
		oddArray("a byte without an order", with("'b1'", "False", "(2,)"), 2),
		oddArray("bools that are neither 0 nor 1", with("'|b1'", "False", "(2,)"), 2),
		oddArray("bfloat16 of a big-endian machine", with("'>V2'", "False", "(2,)"), 4),
		oddArray("float8_e5m2 of ml_dtypes", with("'<f1'", "False", "(2,)"), 2),
		{Name: "version 2 with a short header", Bytes: npy(2, with(f4, "False", "(1,)"), "0000")},
		{Name: "version 3", Bytes: npy(3, with(f4, "False", "(1,)"), "0000")},
		{Name: "a terabyte of zeros", Bytes: npy(1, with("'|u1'", "True", "(1048576, 1048576)"), ""),
			Size: 1<<40 + int64(len(npy(1, with("'|u1'", "True", "(1048576, 1048576)"), "")))},
	})
}

// list is a folder with a manifest that has to be refused; mark is in it.
func list(name string, code formats.Code, tensor, field, text string, says ...string) formatstest.Hostile {
	at := int64(strings.Index(text, mark))
	files := map[string][]byte{
		raw.Manifest: []byte(strings.Replace(text, mark, "", 1)),
		"a.npy":      npy(1, with(f4, "False", "(2, 3)"), strings.Repeat("\x00", 24)),
		"f.npy":      npy(1, with("'>f4'", "True", "(2, 3)"), strings.Repeat("\x00", 24)),
		"v.npy":      npy(1, with("'|V1'", "False", "(4,)"), "0000"),
		"b.npy":      npy(1, with("'|V2'", "False", "(2,)"), "0000"),
		"bad.npy":    npy(1, with("'|O'", "False", "(1,)"), "00000000"),
		"d.raw":      bytes.Repeat([]byte{1}, 100),
	}
	return formatstest.Hostile{Name: name, Files: files, Index: raw.Manifest, Code: code, Offset: at, Tensor: tensor, Field: field, Says: says}
}

func tensors(s ...string) string {
	return `{"format":"bowline.raw/1","tensors":[` + strings.Join(s, ",") + `]}`
}

func TestHostileManifests(t *testing.T) {
	in := func(file string, at int64, x formatstest.Hostile) formatstest.Hostile {
		x.Offset = at
		x.Says = append(x.Says, file)
		return x
	}
	both := func(x formatstest.Hostile, codes ...formats.Code) formatstest.Hostile {
		x.Codes = codes
		return x
	}
	formatstest.Table(t, raw.Format, []formatstest.Hostile{
		list("empty", formats.JSON, "", "", mark),
		list("null", formats.JSON, "", "", mark+"null", "got null, want an object"),
		list("an array", formats.JSON, "", "", mark+"[]"),
		list("no format", formats.JSON, "", "format", mark+`{"tensors":[]}`, "missing"),
		list("no tensors", formats.JSON, "", "tensors", mark+`{"format":"bowline.raw/1"}`, "missing"),
		list("another version", formats.Version, "", "format", `{"format":`+mark+`"bowline.raw/2","tensors":[]}`),
		list("a number for the format", formats.JSON, "", "format", `{"format":`+mark+`1,"tensors":[]}`),
		list("text behind", formats.JSON, "", "", tensors()+mark+"x"),
		list("two objects", formats.JSON, "", "", tensors()+mark+"{}"),
		list("a byte order mark", formats.UTF8, "", "", mark+"\ufeff"+tensors()),
		list("not UTF-8", formats.UTF8, "", "", `{"`+mark+"\xff\":1}"),
		list("an unknown key", formats.JSON, "", "", `{"format":"bowline.raw/1",`+mark+`"x":1,"tensors":[]}`, `unknown key "x"`),
		list("a key in capitals", formats.JSON, "", "", `{"format":"bowline.raw/1","tensors":[],`+mark+`"Aliases":[]}`),
		list("tensors twice", formats.Dup, "", "", `{"format":"bowline.raw/1","tensors":[],`+mark+`"tensors":[]}`),
		list("tensors as an object", formats.JSON, "", "tensors", `{"format":"bowline.raw/1","tensors":`+mark+`{}}`),
		list("a tensor that is a string", formats.JSON, "", "tensors", tensors(mark+`"a.npy"`)),
		both(list("a million arrays", formats.JSON, "", "tensors", `{"format":"bowline.raw/1","tensors":[`+mark+strings.Repeat("[", 1_000_000)), formats.JSON, formats.Limit),
		list("no name", formats.JSON, "", "", tensors(mark+`{"file":"a.npy"}`), "name is missing"),
		list("no file", formats.JSON, "a", "", tensors(mark+`{"name":"a"}`), "file is missing"),
		list("a name twice", formats.Dup, "a", "", tensors(`{"name":"a","file":"a.npy"}`, mark+`{"name":"a","file":"f.npy"}`)),
		list("a key of a tensor twice", formats.Dup, "a", "tensors", tensors(`{"name":"a",`+mark+`"name":"b","file":"a.npy"}`)),
		list("an unknown key of a tensor", formats.JSON, "a", "tensors", tensors(`{"name":"a","file":"a.npy",`+mark+`"strides":[4]}`)),
		list("a number for a name", formats.JSON, "", "name", tensors(`{"name":`+mark+`1,"file":"a.npy"}`)),
		list("a file above", formats.BadPath, "a", "file", tensors(`{"name":"a","file":`+mark+`"../a.npy"}`)),
		list("a file below", formats.BadPath, "a", "file", tensors(`{"name":"a","file":`+mark+`"x/a.npy"}`)),
		list("an absolute file", formats.BadPath, "a", "file", tensors(`{"name":"a","file":`+mark+`"/etc/passwd"}`)),
		list("a backslash", formats.BadPath, "a", "file", tensors(`{"name":"a","file":`+mark+`"..\\a.npy"}`)),
		list("a drive", formats.BadPath, "a", "file", tensors(`{"name":"a","file":`+mark+`"C:a.npy"}`)),
		list("a device", formats.BadPath, "a", "file", tensors(`{"name":"a","file":`+mark+`"NUL.npy"}`)),
		list("no file name", formats.BadPath, "a", "file", tensors(`{"name":"a","file":`+mark+`""}`)),
		list("NUL in a file name", formats.BadPath, "a", "file", tensors(`{"name":"a","file":`+mark+`"a.npy\u0000.raw"}`)),
		list("the manifest as its own data", formats.BadPath, "a", "file", tensors(`{"name":"a","dtype":"U8","shape":[1],"offset":0,"file":`+mark+`"Tensors.json"}`)),
		in("x.npy", -1, list("an array that is not there", formats.Missing, "", "file", tensors(`{"name":"a","file":"x.npy"}`))),
		in("x.raw", -1, list("a dump that is not there", formats.Missing, "", "file", tensors(`{"name":"a","dtype":"U8","shape":[1],"file":"x.raw"}`))),
		in("bad.npy", 20, list("an array of objects", formats.Unsafe, "", "descr", tensors(`{"name":"a","file":"bad.npy"}`))),
		list("another dtype", formats.Mismatch, "a", "dtype", tensors(mark+`{"name":"a","dtype":"F64","shape":[2,3],"file":"a.npy"}`), "got F64"),
		list("another dtype of one size", formats.Mismatch, "a", "dtype", tensors(mark+`{"name":"a","dtype":"I32","file":"a.npy"}`), "got I32, but a.npy says [F32]"),
		list("another shape", formats.Mismatch, "a", "shape", tensors(mark+`{"name":"a","shape":[3,2],"file":"a.npy"}`)),
		list("another rank", formats.Mismatch, "a", "shape", tensors(mark+`{"name":"a","shape":[6],"file":"a.npy"}`)),
		list("other bytes", formats.Mismatch, "a", "bytes", tensors(mark+`{"name":"a","bytes":25,"file":"a.npy"}`)),
		list("another order", formats.Mismatch, "a", "order", tensors(mark+`{"name":"a","order":"C","file":"f.npy"}`)),
		list("another byte order", formats.Mismatch, "a", "byteorder", tensors(mark+`{"name":"a","byteorder":"little","file":"f.npy"}`)),
		list("an offset in an array", formats.Mismatch, "a", "", tensors(mark+`{"name":"a","offset":128,"file":"a.npy"}`)),
		list("bytes without a type", formats.BadDType, "a", "dtype", tensors(mark+`{"name":"a","file":"v.npy"}`)),
		list("bytes that are no byte integers", formats.Mismatch, "a", "dtype", tensors(mark+`{"name":"a","dtype":"U8","file":"v.npy"}`)),
		list("two bytes that are no half", formats.Mismatch, "a", "dtype", tensors(mark+`{"name":"a","dtype":"F16","file":"b.npy"}`)),
		list("one array of two types", formats.Mismatch, "b", "dtype", tensors(`{"name":"a","dtype":"F8_E4M3","file":"v.npy"}`, mark+`{"name":"b","dtype":"F8_E5M2","file":"v.npy"}`)),
		list("one array of two shapes", formats.Mismatch, "b", "shape", tensors(`{"name":"a","file":"a.npy"}`, mark+`{"name":"b","shape":[6],"file":"a.npy"}`)),
		list("a dump without a dtype", formats.JSON, "a", "", tensors(mark+`{"name":"a","shape":[1],"file":"d.raw"}`), "dtype is missing"),
		list("a dump without a shape", formats.JSON, "a", "", tensors(mark+`{"name":"a","dtype":"U8","file":"d.raw"}`), "shape is missing"),
		list("an unknown dtype", formats.BadDType, "a", "dtype", tensors(`{"name":"a","dtype":`+mark+`"float32","shape":[1],"file":"d.raw"}`)),
		list("a block type", formats.BadDType, "a", "dtype", tensors(`{"name":"a","dtype":`+mark+`"Q8_0","shape":[32],"file":"d.raw"}`)),
		list("a negative size", formats.BadShape, "a", "shape", tensors(`{"name":"a","dtype":"U8","shape":[`+mark+`-1],"file":"d.raw"}`)),
		list("a fraction", formats.JSON, "a", "shape", tensors(`{"name":"a","dtype":"U8","shape":[`+mark+`1.0],"file":"d.raw"}`)),
		list("a string in the shape", formats.JSON, "a", "shape", tensors(`{"name":"a","dtype":"U8","shape":[`+mark+`"1"],"file":"d.raw"}`)),
		list("a number for the shape", formats.JSON, "a", "shape", tensors(`{"name":"a","dtype":"U8","shape":`+mark+`1,"file":"d.raw"}`)),
		list("a size of 2^63", formats.Overflow, "a", "shape", tensors(`{"name":"a","dtype":"U8","shape":[`+mark+`9223372036854775808],"file":"d.raw"}`)),
		list("a product over 2^63", formats.Overflow, "a", "shape", tensors(mark+`{"name":"a","dtype":"U8","shape":[4294967296,4294967296],"file":"d.raw"}`)),
		list("bytes over 2^63", formats.Overflow, "a", "shape", tensors(mark+`{"name":"a","dtype":"F64","shape":[4611686018427387904],"file":"d.raw"}`)),
		list("65 dimensions", formats.Limit, "a", "shape", tensors(`{"name":"a","dtype":"U8","shape":`+mark+`[`+strings.Repeat("1,", 64)+`1],"file":"d.raw"}`)),
		list("a negative offset", formats.Bounds, "a", "offset", tensors(`{"name":"a","dtype":"U8","shape":[1],"offset":`+mark+`-1,"file":"d.raw"}`)),
		list("an offset of 2^63", formats.Overflow, "a", "offset", tensors(`{"name":"a","dtype":"U8","shape":[1],"offset":`+mark+`9223372036854775808,"file":"d.raw"}`)),
		list("bytes that the shape does not have", formats.BadShape, "a", "bytes", tensors(mark+`{"name":"a","dtype":"U8","shape":[1],"bytes":2,"file":"d.raw"}`)),
		list("an order that is none", formats.JSON, "a", "order", tensors(`{"name":"a","dtype":"U8","shape":[100],"order":`+mark+`"A","file":"d.raw"}`)),
		list("a byte order that is none", formats.JSON, "a", "byteorder", tensors(`{"name":"a","dtype":"U8","shape":[100],"byteorder":`+mark+`"<","file":"d.raw"}`)),
		in("d.raw", 100, list("a dump that is too short", formats.Trunc, "a", "", tensors(`{"name":"a","dtype":"U8","shape":[101],"file":"d.raw"}`))),
		in("d.raw", 100, list("a tensor beyond the end", formats.Trunc, "a", "", tensors(`{"name":"a","dtype":"U8","shape":[1],"offset":100,"file":"d.raw"}`))),
		in("d.raw", 100, list("an offset beyond the end", formats.Trunc, "a", "", tensors(`{"name":"a","dtype":"U8","shape":[0],"offset":101,"file":"d.raw"}`))),
		in("d.raw", 100, list("an offset and bytes over 2^63", formats.Trunc, "a", "",
			tensors(`{"name":"a","dtype":"U8","shape":[9223372036854775807],"offset":9223372036854775807,"file":"d.raw"}`))),
		in("d.raw", 99, list("trailing bytes", formats.Trail, "a", "", tensors(`{"name":"a","dtype":"U8","shape":[99],"file":"d.raw"}`))),
		list("two tensors that overlap", formats.Overlap, "b", "offset", tensors(`{"name":"a","dtype":"U8","shape":[50],"offset":0,"file":"d.raw"}`,
			mark+`{"name":"b","dtype":"U8","shape":[51],"offset":49,"file":"d.raw"}`)),
		list("two tensors of one place and two types", formats.Overlap, "b", "offset", tensors(`{"name":"a","dtype":"U8","shape":[50],"offset":0,"file":"d.raw"}`,
			mark+`{"name":"b","dtype":"I8","shape":[50],"offset":0,"file":"d.raw"}`)),
		list("two tensors of one place and two shapes", formats.Overlap, "b", "offset", tensors(`{"name":"a","dtype":"U8","shape":[50],"offset":0,"file":"d.raw"}`,
			mark+`{"name":"b","dtype":"U8","shape":[5,10],"offset":0,"file":"d.raw"}`)),
		list("two tensors of one place and two orders", formats.Overlap, "b", "offset", tensors(`{"name":"a","dtype":"U8","shape":[5,10],"offset":0,"file":"d.raw"}`,
			mark+`{"name":"b","dtype":"U8","shape":[5,10],"offset":0,"order":"F","file":"d.raw"}`)),
		list("a tensor within another", formats.Overlap, "b", "offset", tensors(`{"name":"a","dtype":"U8","shape":[100],"offset":0,"file":"d.raw"}`,
			mark+`{"name":"b","dtype":"U8","shape":[1],"offset":50,"file":"d.raw"}`)),
		list("an alias of nothing", formats.Missing, "b", "aliases", `{"format":"bowline.raw/1","tensors":[],"aliases":[{"name":"b","of":"a"}]}`),
		list("an alias of an alias", formats.Missing, "c", "aliases",
			`{"format":"bowline.raw/1","tensors":[{"name":"a","file":"a.npy"}],"aliases":[{"name":"b","of":"a"},{"name":"c","of":"b"}]}`),
		list("an alias of itself", formats.Missing, "b", "aliases", `{"format":"bowline.raw/1","tensors":[],"aliases":[{"name":"b","of":"b"}]}`),
		list("an alias with the name of a tensor", formats.Dup, "a", "aliases", `{"format":"bowline.raw/1","tensors":[{"name":"a","file":"a.npy"}],"aliases":[`+mark+`{"name":"a","of":"a"}]}`),
		list("a tensor with the name of an alias", formats.Dup, "b", "", `{"format":"bowline.raw/1","aliases":[{"name":"b","of":"a"}],"tensors":[{"name":"a","file":"a.npy"},`+mark+`{"name":"b","file":"f.npy"}]}`),
		list("half an alias", formats.JSON, "b", "aliases", `{"format":"bowline.raw/1","tensors":[],"aliases":[`+mark+`{"name":"b"}]}`),
		list("metadata that is a number", formats.JSON, "", "metadata.k", `{"format":"bowline.raw/1","tensors":[],"metadata":{"k":`+mark+`1}}`),
		list("metadata twice", formats.Dup, "", "metadata.k", `{"format":"bowline.raw/1","tensors":[],"metadata":{"k":"1",`+mark+`"k":"2"}}`),
		list("metadata that is an array", formats.JSON, "", "metadata", `{"format":"bowline.raw/1","tensors":[],"metadata":`+mark+`[]}`),
		both(list("all that is wrong comes at once", formats.Mismatch, "a", "dtype", tensors(mark+`{"name":"a","dtype":"F64","shape":[6],"file":"a.npy"}`,
			`{"name":"b","dtype":"U8","shape":[101],"file":"d.raw"}`, `{"name":"c","file":"x.npy"}`)), formats.Mismatch, formats.Mismatch, formats.Trunc, formats.Missing),
		list("a key of a tensor in capitals", formats.JSON, "a", "tensors", tensors(`{"name":"a","file":"a.npy",`+mark+`"Shape":[2,3]}`)),
		both(many("thirty thousand absent files", formats.Missing, 30_000, `{"name":"%d","file":"%[1]d.npy"}`), slices.Repeat([]formats.Code{formats.Missing}, 21)...),
	})
}

// many is a manifest of n tensors.
func many(name string, code formats.Code, n int, entry string) formatstest.Hostile {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, entry, i)
	}
	return formatstest.Hostile{Name: name, Files: map[string][]byte{raw.Manifest: []byte(tensors(b.String())), "d.raw": make([]byte, n)}, Index: raw.Manifest, Code: code, Offset: -1, Field: "file"}
}

func TestOddManifests(t *testing.T) {
	odd := func(name, text string) formatstest.Hostile {
		x := list(name, "", "", "", text)
		x.Offset = 0
		return x
	}
	formatstest.Table(t, raw.Format, []formatstest.Hostile{
		odd("no tensors", tensors()),
		odd("keys in another order", `{"metadata":{},"aliases":[],"tensors":[],"format":"bowline.raw/1"}`),
		odd("white space", " \n{ \"format\" :\t\"bowline.raw/1\" , \"tensors\" : [ ] } \r\n"),
		odd("an array that says all itself", tensors(`{"file":"a.npy","name":"a"}`)),
		odd("all that can be said", tensors(`{"byteorder":"big","order":"F","bytes":24,"shape":[2,3],"dtype":"F32","file":"f.npy","name":"a"}`)),
		odd("a byte order of bytes", tensors(`{"name":"a","file":"v.npy","dtype":"F8_E4M3","byteorder":"big"}`)),
		odd("bfloat16 that nothing explains", tensors(`{"name":"a","file":"b.npy"}`)),
		odd("an array with two names", tensors(`{"name":"a","file":"a.npy"}`, `{"name":"b","file":"a.npy"}`)),
		odd("an alias before its tensor", `{"format":"bowline.raw/1","aliases":[{"of":"a","name":"b"}],"tensors":[{"name":"a","file":"a.npy"}]}`),
		odd("an alias of a tensor that is one itself", `{"format":"bowline.raw/1","tensors":[{"name":"a","file":"a.npy"},{"name":"b","file":"a.npy"}],"aliases":[{"name":"c","of":"b"}]}`),
		odd("a whole dump", tensors(`{"name":"a","dtype":"U8","shape":[4,25],"file":"d.raw"}`)),
		odd("a scalar", tensors(`{"name":"a","dtype":"U8","shape":[],"file":"d.raw","offset":99}`)),
		odd("a hole in a dump", tensors(`{"name":"a","dtype":"U8","shape":[1],"file":"d.raw","offset":70}`)),
		odd("tensors out of order", tensors(`{"name":"a","dtype":"F64","shape":[2],"file":"d.raw","offset":51}`, `{"name":"b","dtype":"F16","shape":[2],"file":"d.raw","offset":1}`)),
		odd("no values at the end", tensors(`{"name":"a","dtype":"F64","shape":[0],"file":"d.raw","offset":100}`)),
		odd("no values within a tensor", tensors(`{"name":"a","dtype":"F64","shape":[0],"file":"d.raw","offset":50}`, `{"name":"b","dtype":"U8","shape":[100],"file":"d.raw","offset":0}`)),
		odd("a dump in both orders", tensors(`{"name":"a","dtype":"C64","shape":[2,3],"file":"d.raw","offset":1,"order":"F","byteorder":"big"}`)),
		odd("a name with everything", tensors(`{"name":"\"\\/\b\f\n\r\t\u0000\ud83e\udea2 ../é","file":"a.npy"}`)),
		odd("the empty name", tensors(`{"name":"","file":"a.npy"}`)),
		odd("64 dimensions", tensors(`{"name":"a","dtype":"U8","shape":[100`+strings.Repeat(",1", 63)+`],"file":"d.raw"}`)),
		odd("one place with two names in a dump", tensors(`{"name":"a","dtype":"U8","shape":[100],"file":"d.raw"}`, `{"name":"b","dtype":"U8","shape":[100],"file":"d.raw","offset":0}`)),
		many("thirty thousand tensors in a dump", "", 30_000, `{"name":"%d","dtype":"U8","shape":[1],"offset":%[1]d,"file":"d.raw"}`),
		many("thirty thousand names for one tensor", "", 30_000, `{"name":"%d","dtype":"U8","shape":[1],"offset":0,"file":"d.raw"}`),
	})
}

// TestGiven opens the files of a manifest by name, as a set.
func TestGiven(t *testing.T) {
	files := list("", "", "", "", tensors(`{"name":"a","file":"a.npy"}`, `{"name":"f","file":"f.npy"}`)).Files
	fsys := fsio.NewMem()
	formatstest.Put(t, fsys, "/", files)
	for _, x := range []struct {
		name  string
		files []string
		list  string
		code  formats.Code
	}{
		{"all", []string{"a.npy", "f.npy"}, raw.Manifest, ""},
		{"one too many", []string{"a.npy", "f.npy", "d.raw"}, raw.Manifest, ""},
		{"one is missing", []string{"a.npy"}, raw.Manifest, formats.Mismatch},
		{"one alone", []string{"f.npy"}, "", ""},
		{"two without a manifest", []string{"a.npy", "f.npy"}, "", formats.Unsupported},
		{"none", nil, "", formats.Missing},
		{"no manifest", nil, "none.json", formats.Missing},
	} {
		c, err := raw.Format.Open(fsys, formats.Set{Dir: "/", Files: x.files, Index: x.list})
		if err == nil {
			c.Close()
		}
		if formats.CodeOf(err) != x.code {
			t.Errorf("%s: got %v, want %q", x.name, err, x.code)
		}
	}
}

// TestDamage cuts an array and a manifest at every length and flips each of their bits: what is accepted is read within the file.
func TestDamage(t *testing.T) {
	whole := list("", "", "", "", tensors(`{"name":"a","dtype":"F32","shape":[2,3],"file":"a.npy"}`, `{"name":"d","dtype":"U8","shape":[3,2],"order":"F","offset":7,"bytes":6,"file":"d.raw"}`)).Files
	for _, name := range []string{"a.npy", "f.npy", raw.Manifest} {
		for i := range whole[name] {
			for bit := -1; bit < 8; bit++ { // -1 cuts
				b := bytes.Clone(whole[name])
				if bit < 0 {
					b = b[:i]
				} else {
					b[i] ^= 1 << bit
				}
				files := maps.Clone(whole)
				files[name] = b
				fsys := fsio.NewMem()
				formatstest.Put(t, fsys, "/", files)
				var c *formats.Checkpoint
				var err error
				if name == raw.Manifest {
					c, err = raw.Format.Open(fsys, formats.Set{Dir: "/", Index: name})
				} else {
					c, err = raw.Format.Open(fsys, formats.Set{Dir: "/", Files: []string{name}})
				}
				if err == nil && bit < 0 {
					t.Errorf("%s: cut to %d bytes: accepted", name, i)
				}
				judge(t, c, err)
			}
		}
	}
}

// judge checks a refusal, or reads what was accepted.
func judge(t *testing.T, c *formats.Checkpoint, err error) {
	t.Helper()
	if err != nil {
		for _, e := range formats.Errors(err) {
			if e.Code == "" || e.Code == formats.IO || e.Path == "" {
				t.Errorf("got code %q, path %q: %v", e.Code, e.Path, err)
			}
		}
		return
	}
	defer c.Close()
	for _, x := range c.Tensors {
		if x.Bytes < 1<<20 {
			formatstest.Bytes(t, c, x.Name)
		}
	}
	if _, err := raw.Format.Layout(c.Header); err != nil {
		t.Errorf("what was read is not written: %v", err)
	}
}
