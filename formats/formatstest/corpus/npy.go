package corpus

import (
	"encoding/binary"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// marker shows where an error should point to.
const marker = "¦"

// npyCase is a file of version 1.0 with n bytes of data, to be refused.
func npyCase(name string, code formats.Code, field, header string, n int, says ...string) Case {
	at := int64(-1)
	if i := strings.Index(header, marker); i >= 0 {
		at = int64(i) + 10
	}
	b := NPYFile(1, strings.Replace(header, marker, "", 1), strings.Repeat("\x00", n))
	return Case{Name: name, Bytes: b, Code: code, Offset: at, Field: field, Says: says}
}

// npyHeader is a header with other text for one of its values.
func npyHeader(descr, order, shape string) string {
	return "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }\n"
}

func npyBytes(name string, code formats.Code, at int64, field, b string, says ...string) Case {
	return Case{Name: name, Bytes: []byte(b), Code: code, Offset: at, Field: field, Says: says}
}

const npyF4 = "'<f4'"

func npyContainers() []Case {
	return []Case{
		npyBytes("empty file", formats.Trunc, 0, "magic", ""),
		npyBytes("half of the magic", formats.Trunc, 3, "version", "\x93NU"),
		npyBytes("another magic", formats.Magic, 0, "magic", "\x93NUMPX\x01\x00v\x00"),
		npyBytes("magic in lower case", formats.Magic, 0, "magic", "\x93numpy\x01\x00v\x00"),
		npyBytes("zip of arrays", formats.Magic, 0, "magic", "PK\x03\x04aaaaaaaaaaaa"),
		npyBytes("a pickle", formats.Magic, 0, "magic", "\x80\x04cos\nsystem\n."),
		npyBytes("no version", formats.Trunc, 7, "version", "\x93NUMPY\x01"),
		npyBytes("version 0", formats.Version, 6, "version", "\x93NUMPY\x00\x00v\x00"),
		npyBytes("version 1.1", formats.Version, 6, "version", "\x93NUMPY\x01\x01v\x00"),
		npyBytes("version 4", formats.Version, 6, "version", "\x93NUMPY\x04\x00v\x00\x00\x00", "got 4.0"),
		npyBytes("version 255", formats.Version, 6, "version", "\x93NUMPY\xff\xffv\x00\x00\x00"),
		npyBytes("half of the length", formats.Trunc, 9, "header length", "\x93NUMPY\x01\x00v"),
		npyBytes("half of the length of version 2", formats.Trunc, 11, "header length", "\x93NUMPY\x02\x00v\x00\x00"),
		npyBytes("header beyond the file", formats.Trunc, 8, "header length", "\x93NUMPY\x01\x00\x03\x00{}", "got 3, want at most 2"),
		npyBytes("header of 4 GiB", formats.Trunc, 8, "header length", "\x93NUMPY\x02\x00\xff\xff\xff\xff{}"),
		{Name: "header of 4 GiB in a file that has it", Bytes: []byte("\x93NUMPY\x03\x00\xff\xff\xff\xff{"), Size: 8 << 30, Code: formats.Limit, Offset: 8, Field: "header length"},
		{Name: "header of 65,536 bytes", Bytes: NPYFile(2, strings.Repeat(" ", 65536), ""), Code: formats.Limit, Offset: 8, Field: "header length"},
		{Name: "a million brackets", Bytes: NPYFile(2, strings.Repeat("(", 1_000_000), ""), Code: formats.Limit, Offset: 8, Field: "header length"},
		{Name: "not UTF-8 in version 3", Bytes: NPYFile(3, "{'descr': '\xff<f4'}", ""), Code: formats.UTF8, Offset: 12 + 11, Field: "header"},
		npyCase("60,000 brackets", formats.BadType, "shape", npyHeader(npyF4, "False", "("+marker+strings.Repeat("(", 60000)), 0),
		npyCase("60,000 braces", formats.BadType, "header", "{"+marker+strings.Repeat("{", 60000), 0),
		npyCase("empty header", formats.BadType, "header", marker, 0, "a dictionary"),
		npyCase("spaces", formats.BadType, "header", "   \n"+marker, 0),
		npyCase("a list", formats.BadType, "header", marker+"['descr']", 0),
		npyCase("data shorter than the shape", formats.Trunc, "data", npyHeader(npyF4, "False", "(2,)")+marker, 7, "got 7 bytes, want 8"),
		npyCase("no data", formats.Trunc, "data", npyHeader(npyF4, "False", "(2,)")+marker, 0),
		npyCase("trailing bytes", formats.Trail, "data", npyHeader(npyF4, "False", "(2,)")+marker, 9, "got 1 bytes"),
		npyCase("trailing bytes after a scalar", formats.Trail, "data", npyHeader(npyF4, "False", "()")+marker, 8),
		npyCase("two arrays in one file", formats.Trail, "data", npyHeader(npyF4, "False", "(1,)")+marker, 4+128),
	}
}

func npyHeaders() []Case {
	return []Case{
		npyCase("a call", formats.Unsafe, "header", marker+"__import__('os').system('id')", 0, "data, not code"),
		npyCase("a call for descr", formats.Unsafe, "descr", npyHeader(marker+"__import__('os').system('id')", "False", "(1,)"), 4),
		npyCase("a call for the order", formats.Unsafe, "fortran_order", npyHeader(npyF4, marker+"exec('1')", "(1,)"), 4),
		npyCase("a call for the shape", formats.Unsafe, "shape", npyHeader(npyF4, "False", marker+"eval('(1,)')"), 4),
		npyCase("a call in the shape", formats.Unsafe, "shape", npyHeader(npyF4, "False", "("+marker+"len('x'),)"), 4),
		npyCase("a call for a key", formats.Unsafe, "header", "{"+marker+"str(1): 2}", 0),
		npyCase("a lambda", formats.Unsafe, "fortran_order", npyHeader(npyF4, marker+"lambda: 1", "(1,)"), 4),
		npyCase("a comprehension", formats.Unsafe, "shape", npyHeader(npyF4, "False", marker+"tuple(i for i in [1])"), 4),
		npyCase("code for a type", formats.BadDType, "descr", npyHeader(marker+`"__import__('os')"`, "False", "(1,)"), 4),
		npyCase("a word after the dictionary", formats.BadType, "header", npyHeader(npyF4, "False", "(1,)")+marker+"or exit()", 4),
		npyCase("a star after a number", formats.BadType, "shape", npyHeader(npyF4, "False", "(9"+marker+"**9,)"), 4),
		npyCase("no end of the dictionary", formats.BadType, "header", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)"+marker, 0),
		npyCase("no comma", formats.BadType, "header", "{'descr': '<f4' "+marker+"'shape': (1,)}", 0),
		npyCase("two commas", formats.BadType, "header", "{'descr': '<f4',"+marker+", 'shape': (1,)}", 0),
		npyCase("no colon", formats.BadType, "header", "{'descr' "+marker+"'<f4'}", 0),
		npyCase("no quote", formats.BadType, "descr", "{'descr': "+marker+"'<f4}", 0),
		npyCase("an escape", formats.BadType, "descr", npyHeader("'"+marker+`\x3cf4'`, "False", "(1,)"), 4),
		npyCase("a control character", formats.BadType, "descr", npyHeader("'<f"+marker+"\x1b4'", "False", "(1,)"), 4),
		npyCase("not ASCII", formats.BadType, "descr", npyHeader("'<f"+marker+"\xe94'", "False", "(1,)"), 4),
		npyCase("bytes after the dictionary", formats.BadType, "header", npyHeader(npyF4, "False", "(1,)")+marker+"\x00", 4),
		npyCase("a comment", formats.BadType, "header", npyHeader(npyF4, "False", "(1,)")+marker+"# x", 4),
		npyCase("a key that is none", formats.BadType, "header", "{"+marker+"'dtype': '<f4'}", 0, `"dtype"`),
		npyCase("a key in capitals", formats.BadType, "header", "{"+marker+"'Descr': '<f4'}", 0),
		npyCase("descr twice", formats.Dup, "header", "{'descr': '<f4', "+marker+"'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", 4),
		npyCase("shape twice", formats.Dup, "header", "{'descr': '<f4', 'shape': (2,), 'fortran_order': False, "+marker+"'shape': (1,)}", 4),
		npyCase("descr missing", formats.BadType, "header", marker+"{'fortran_order': False, 'shape': (1,)}", 4, "descr is missing"),
		npyCase("shape missing", formats.BadType, "header", marker+"{'descr': '<f4', 'fortran_order': False}", 4, "shape is missing"),
		npyCase("order as a number", formats.BadType, "fortran_order", npyHeader(npyF4, marker+"0", "(1,)"), 4),
		npyCase("order as None", formats.BadType, "fortran_order", npyHeader(npyF4, marker+"None", "(1,)"), 4),
		npyCase("order in lower case", formats.BadType, "fortran_order", npyHeader(npyF4, marker+"true", "(1,)"), 4),

		npyCase("objects", formats.Unsafe, "descr", npyHeader(marker+"'|O'", "False", "(1,)"), 8, "pickle"),
		npyCase("objects of 8 bytes", formats.Unsafe, "descr", npyHeader(marker+"'|O8'", "False", "(1,)"), 8),
		npyCase("a structure", formats.Unsupported, "descr", npyHeader(marker+"[('a', '<f4')]", "False", "(1,)"), 4),
		npyCase("an array of arrays", formats.Unsupported, "descr", npyHeader(marker+"('<f4', (2,))", "False", "(1,)"), 8),
		npyCase("a structure with objects", formats.Unsupported, "descr", npyHeader(marker+"[('a', '|O')]", "False", "(1,)"), 8),
		npyCase("strings", formats.Unsupported, "descr", npyHeader(marker+"'<U5'", "False", "(1,)"), 20),
		npyCase("byte strings", formats.Unsupported, "descr", npyHeader(marker+"'|S5'", "False", "(1,)"), 5),
		npyCase("a record", formats.Unsupported, "descr", npyHeader(marker+"'|V3'", "False", "(1,)"), 3),
		npyCase("a huge record", formats.Unsupported, "descr", npyHeader(marker+"'|V99999999999999999999'", "False", "(1,)"), 3),
		npyCase("dates", formats.Unsupported, "descr", npyHeader(marker+"'<M8[ns]'", "False", "(1,)"), 8),
		npyCase("complex128", formats.Unsupported, "descr", npyHeader(marker+"'<c16'", "False", "(1,)"), 16),
		npyCase("float128", formats.Unsupported, "descr", npyHeader(marker+"'<f16'", "False", "(1,)"), 16),
		npyCase("bytes that only a manifest explains", formats.BadDType, "descr", npyHeader("'|V1'", "False", "(1,)"), 1, "tensors.json"),
		npyCase("no byte order", formats.BadDType, "descr", npyHeader(marker+"'f4'", "False", "(1,)"), 4, "byte order"),
		npyCase("the byte order of the reader", formats.BadDType, "descr", npyHeader(marker+"'=f4'", "False", "(1,)"), 4),
		npyCase("a byte order that is none", formats.BadDType, "descr", npyHeader(marker+"'|f4'", "False", "(1,)"), 4),
		npyCase("two byte orders", formats.BadDType, "descr", npyHeader(marker+"'<>f4'", "False", "(1,)"), 4),
		npyCase("an unknown letter", formats.BadDType, "descr", npyHeader(marker+"'<q4'", "False", "(1,)"), 4),
		npyCase("an integer of 3 bytes", formats.BadDType, "descr", npyHeader(marker+"'<i3'", "False", "(1,)"), 4),
		npyCase("no type", formats.BadDType, "descr", npyHeader(marker+"''", "False", "(1,)"), 4),
		npyCase("a byte order alone", formats.BadDType, "descr", npyHeader(marker+"'<'", "False", "(1,)"), 4),
		npyCase("a type by its long name", formats.BadDType, "descr", npyHeader(marker+"'float32'", "False", "(1,)"), 4),
		npyCase("None for a type", formats.BadType, "descr", npyHeader(marker+"None", "False", "(1,)"), 4),
		npyCase("a number for a type", formats.BadType, "descr", npyHeader(marker+"4", "False", "(1,)"), 4),

		npyCase("a list for a shape", formats.BadType, "shape", npyHeader(npyF4, "False", marker+"[1]"), 4),
		npyCase("a number for a shape", formats.BadType, "shape", npyHeader(npyF4, "False", marker+"1"), 4),
		npyCase("a number in brackets", formats.BadType, "shape", npyHeader(npyF4, "False", marker+"(1)"), 4, "(1,)"),
		npyCase("a comma alone", formats.BadType, "shape", npyHeader(npyF4, "False", "("+marker+",)"), 4),
		npyCase("a fraction", formats.BadType, "shape", npyHeader(npyF4, "False", "(1"+marker+".5,)"), 4),
		npyCase("a bool in the shape", formats.BadType, "shape", npyHeader(npyF4, "False", "("+marker+"True,)"), 4),
		npyCase("a hexadecimal number", formats.BadType, "shape", npyHeader(npyF4, "False", "(0"+marker+"x1,)"), 4),
		npyCase("a leading zero", formats.BadType, "shape", npyHeader(npyF4, "False", "("+marker+"01,)"), 4),
		npyCase("a negative size", formats.BadShape, "shape", npyHeader(npyF4, "False", "(-"+marker+"1,)"), 4),
		npyCase("minus alone", formats.BadType, "shape", npyHeader(npyF4, "False", "(-"+marker+",)"), 4),
		npyCase("a size of 2^63", formats.Overflow, "shape", npyHeader(npyF4, "False", "("+marker+"9223372036854775808,)"), 4),
		npyCase("a size of a thousand digits", formats.Overflow, "shape", npyHeader(npyF4, "False", "("+marker+strings.Repeat("9", 1000)+",)"), 4),
		npyCase("a product over 2^63", formats.Overflow, "shape", npyHeader(npyF4, "False", marker+"(4294967296, 4294967296)"), 4),
		npyCase("bytes over 2^63", formats.Overflow, "shape", npyHeader(npyF4, "False", marker+"(4611686018427387904,)"), 4),
		npyCase("a shape that the file is too short for", formats.Trunc, "data", npyHeader(npyF4, "False", "(1000000000000,)")+marker, 4),
		npyCase("65 dimensions", formats.Limit, "shape", npyHeader(npyF4, "False", "("+strings.Repeat("1,", 64)+marker+"1)"), 4),
		{Name: "a long of Python 2 in version 3", Bytes: NPYFile(3, npyHeader(npyF4, "False", "(1L,)"), "0000"), Code: formats.BadType, Offset: 12 + 52, Field: "shape"},
		{Name: "all that is wrong comes at once", Bytes: NPYFile(1, npyHeader("'<f3'", "False", "(-1, 99999999999999999999)"), ""), Code: formats.Unsupported, Offset: 20,
			Field: "descr", Codes: []formats.Code{formats.Unsupported, formats.BadShape, formats.Overflow}},
	}
}

// arrays are the files to refuse. What is behind the header is found at its end, or behind the values that the shape has.
func arrays() []Case {
	behind := map[string]int64{"data shorter than the shape": 7, "trailing bytes": 8, "trailing bytes after a scalar": 4, "two arrays in one file": 4,
		"a shape that the file is too short for": 4}
	all := append(npyContainers(), npyHeaders()...)
	for i := range all {
		switch x := &all[i]; {
		case x.Name == "bytes that only a manifest explains":
			x.Tensor = "model"
		case x.Field == "data":
			x.Offset += behind[x.Name]
		}
	}
	return all
}

func oddNPY(name, header string, n int) Case {
	return Case{Name: name, Bytes: NPYFile(1, header, strings.Repeat("\x00", n))}
}

// oddArrays are files to read.
func oddArrays() []Case {
	return []Case{
		oddNPY("no padding", "{'descr':'<f4','fortran_order':False,'shape':(1,)}", 4),
		oddNPY("double quotes", `{"descr": "<f4", "fortran_order": False, "shape": (1,)}`, 4),
		oddNPY("Unicode strings of Python 2", "{u'descr': u'<f4', u'fortran_order': False, u'shape': (1,)}", 4),
		oddNPY("longs of Python 2", npyHeader(npyF4, "False", "(2L, 3L)"), 24),
		oddNPY("another order of keys", "{'shape': (1,), 'descr': '<f4', 'fortran_order': True}", 4),
		oddNPY("space everywhere", " \t{ 'descr' : '<f4' ,\n'fortran_order'\r\n: False , 'shape' : ( 1 , ) , } \f\n\n", 4),
		oddNPY("a header of 65,535 bytes", npyHeader(npyF4, "False", "(1,)")+strings.Repeat(" ", 65535-len(npyHeader(npyF4, "False", "(1,)"))), 4),
		oddNPY("a comma at the end", npyHeader(npyF4, "False", "(2, 3,)"), 24),
		oddNPY("zeros", npyHeader(npyF4, "False", "(00, 0)"), 0),
		oddNPY("no values in a huge shape", npyHeader(npyF4, "False", "(0, 9223372036854775807, 9223372036854775807)"), 0),
		oddNPY("no values in Fortran order", npyHeader(npyF4, "True", "(4294967296, 0, 4294967296)"), 0),
		oddNPY("64 dimensions", npyHeader("'|u1'", "True", "("+strings.Repeat("1, ", 63)+"2)"), 2),
		oddNPY("a scalar in Fortran order", npyHeader(npyF4, "True", "()"), 4),
		oddNPY("a byte order for bytes", npyHeader("'<i1'", "False", "(2,)"), 2),
		oddNPY("the other byte order for bytes", npyHeader("'>u1'", "False", "(2,)"), 2),
		oddNPY("a byte without an order", npyHeader("'b1'", "False", "(2,)"), 2),
		oddNPY("bools that are neither 0 nor 1", npyHeader("'|b1'", "False", "(2,)"), 2),
		oddNPY("bfloat16 of a big-endian machine", npyHeader("'>V2'", "False", "(2,)"), 4),
		oddNPY("float8_e5m2 of ml_dtypes", npyHeader("'<f1'", "False", "(2,)"), 2),
		{Name: "version 2 with a short header", Bytes: NPYFile(2, npyHeader(npyF4, "False", "(1,)"), "0000")},
		{Name: "version 3", Bytes: NPYFile(3, npyHeader(npyF4, "False", "(1,)"), "0000")},
		{Name: "a terabyte of zeros", Bytes: NPYFile(1, npyHeader("'|u1'", "True", "(1048576, 1048576)"), ""),
			Size: 1<<40 + int64(len(NPYFile(1, npyHeader("'|u1'", "True", "(1048576, 1048576)"), "")))},
	}
}

// NPYFile is an array of a version, which has the length of its header in two bytes or four.
func NPYFile(version byte, header, data string) []byte {
	b := append([]byte("\x93NUMPY"), version, 0)
	if version == 1 {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(header)))
	} else {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(header)))
	}
	return append(append(b, header...), data...)
}
