package corpus

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// manifestName is that of the list of tensors in a folder.
const manifestName = "tensors.json"

// badManifest is a folder that has to be refused; the mark is in its manifest.
func badManifest(name string, code formats.Code, tensor, field, text string, says ...string) Case {
	text, at := marked(text)
	return Case{Name: name, Files: RawFolder(text), Index: manifestName, Code: code, Offset: int64(at), Tensor: tensor, Field: field, Says: says}
}

// RawFolder is a manifest beside arrays and a dump of 100 bytes.
func RawFolder(manifest string) map[string][]byte {
	return map[string][]byte{
		manifestName: []byte(manifest),
		"a.npy":      NPYFile(1, npyHeader(npyF4, "False", "(2, 3)"), strings.Repeat("\x00", 24)),
		"f.npy":      NPYFile(1, npyHeader("'>f4'", "True", "(2, 3)"), strings.Repeat("\x00", 24)),
		"v.npy":      NPYFile(1, npyHeader("'|V1'", "False", "(4,)"), "0000"),
		"b.npy":      NPYFile(1, npyHeader("'|V2'", "False", "(2,)"), "0000"),
		"bad.npy":    NPYFile(1, npyHeader("'|O'", "False", "(1,)"), "00000000"),
		"d.raw":      bytes.Repeat([]byte{1}, 100),
	}
}

// ManifestOf is a manifest of tensors.
func ManifestOf(s ...string) string {
	return `{"format":"bowline.raw/1","tensors":[` + strings.Join(s, ",") + `]}`
}

// manifests are folders that have to be refused.
func manifests() []Case {
	in := func(file string, at int64, x Case) Case {
		x.Offset = at
		x.Says = append(x.Says, file)
		return x
	}
	all := func(x Case, codes ...formats.Code) Case {
		x.Codes = codes
		return x
	}
	return []Case{
		badManifest("empty", formats.JSON, "", "", marker),
		badManifest("null", formats.JSON, "", "", marker+"null", "got null, want an object"),
		badManifest("an array", formats.JSON, "", "", marker+"[]"),
		badManifest("no format", formats.JSON, "", "format", marker+`{"tensors":[]}`, "missing"),
		badManifest("no tensors", formats.JSON, "", "tensors", marker+`{"format":"bowline.raw/1"}`, "missing"),
		badManifest("another version", formats.Version, "", "format", `{"format":`+marker+`"bowline.raw/2","tensors":[]}`),
		badManifest("a number for the format", formats.JSON, "", "format", `{"format":`+marker+`1,"tensors":[]}`),
		badManifest("text behind", formats.JSON, "", "", ManifestOf()+marker+"x"),
		badManifest("two objects", formats.JSON, "", "", ManifestOf()+marker+"{}"),
		badManifest("a byte order mark", formats.UTF8, "", "", marker+"\ufeff"+ManifestOf()),
		badManifest("not UTF-8", formats.UTF8, "", "", `{"`+marker+"\xff\":1}"),
		badManifest("an unknown key", formats.JSON, "", "", `{"format":"bowline.raw/1",`+marker+`"x":1,"tensors":[]}`, `unknown key "x"`),
		badManifest("a key in capitals", formats.JSON, "", "", `{"format":"bowline.raw/1","tensors":[],`+marker+`"Aliases":[]}`),
		badManifest("tensors twice", formats.Dup, "", "", `{"format":"bowline.raw/1","tensors":[],`+marker+`"tensors":[]}`),
		badManifest("tensors as an object", formats.JSON, "", "tensors", `{"format":"bowline.raw/1","tensors":`+marker+`{}}`),
		badManifest("a tensor that is a string", formats.JSON, "", "tensors", ManifestOf(marker+`"a.npy"`)),
		all(badManifest("a million arrays", formats.JSON, "", "tensors", `{"format":"bowline.raw/1","tensors":[`+marker+strings.Repeat("[", 1_000_000)), formats.JSON, formats.Limit),
		badManifest("no name", formats.JSON, "", "", ManifestOf(marker+`{"file":"a.npy"}`), "name is missing"),
		badManifest("no file", formats.JSON, "a", "", ManifestOf(marker+`{"name":"a"}`), "file is missing"),
		badManifest("a name twice", formats.Dup, "a", "", ManifestOf(`{"name":"a","file":"a.npy"}`, marker+`{"name":"a","file":"f.npy"}`)),
		badManifest("a key of a tensor twice", formats.Dup, "a", "tensors", ManifestOf(`{"name":"a",`+marker+`"name":"b","file":"a.npy"}`)),
		badManifest("an unknown key of a tensor", formats.JSON, "a", "tensors", ManifestOf(`{"name":"a","file":"a.npy",`+marker+`"strides":[4]}`)),
		badManifest("a number for a name", formats.JSON, "", "name", ManifestOf(`{"name":`+marker+`1,"file":"a.npy"}`)),
		badManifest("a file above", formats.BadPath, "a", "file", ManifestOf(`{"name":"a","file":`+marker+`"../a.npy"}`)),
		badManifest("a file below", formats.BadPath, "a", "file", ManifestOf(`{"name":"a","file":`+marker+`"x/a.npy"}`)),
		badManifest("an absolute file", formats.BadPath, "a", "file", ManifestOf(`{"name":"a","file":`+marker+`"/etc/passwd"}`)),
		badManifest("a backslash", formats.BadPath, "a", "file", ManifestOf(`{"name":"a","file":`+marker+`"..\\a.npy"}`)),
		badManifest("a drive", formats.BadPath, "a", "file", ManifestOf(`{"name":"a","file":`+marker+`"C:a.npy"}`)),
		badManifest("a device", formats.BadPath, "a", "file", ManifestOf(`{"name":"a","file":`+marker+`"NUL.npy"}`)),
		badManifest("no file name", formats.BadPath, "a", "file", ManifestOf(`{"name":"a","file":`+marker+`""}`)),
		badManifest("NUL in a file name", formats.BadPath, "a", "file", ManifestOf(`{"name":"a","file":`+marker+`"a.npy\u0000.raw"}`)),
		badManifest("the manifest as its own data", formats.BadPath, "a", "file", ManifestOf(`{"name":"a","dtype":"U8","shape":[1],"offset":0,"file":`+marker+`"Tensors.json"}`)),
		in("x.npy", -1, badManifest("an array that is not there", formats.Missing, "", "file", ManifestOf(`{"name":"a","file":"x.npy"}`))),
		in("x.raw", -1, badManifest("a dump that is not there", formats.Missing, "", "file", ManifestOf(`{"name":"a","dtype":"U8","shape":[1],"file":"x.raw"}`))),
		in("bad.npy", 20, badManifest("an array of objects", formats.Unsafe, "", "descr", ManifestOf(`{"name":"a","file":"bad.npy"}`))),
		badManifest("another dtype", formats.Mismatch, "a", "dtype", ManifestOf(marker+`{"name":"a","dtype":"F64","shape":[2,3],"file":"a.npy"}`), "got F64"),
		badManifest("another dtype of one size", formats.Mismatch, "a", "dtype", ManifestOf(marker+`{"name":"a","dtype":"I32","file":"a.npy"}`), "got I32, but a.npy says [F32]"),
		badManifest("another shape", formats.Mismatch, "a", "shape", ManifestOf(marker+`{"name":"a","shape":[3,2],"file":"a.npy"}`)),
		badManifest("another rank", formats.Mismatch, "a", "shape", ManifestOf(marker+`{"name":"a","shape":[6],"file":"a.npy"}`)),
		badManifest("other bytes", formats.Mismatch, "a", "bytes", ManifestOf(marker+`{"name":"a","bytes":25,"file":"a.npy"}`)),
		badManifest("another order", formats.Mismatch, "a", "order", ManifestOf(marker+`{"name":"a","order":"C","file":"f.npy"}`)),
		badManifest("another byte order", formats.Mismatch, "a", "byteorder", ManifestOf(marker+`{"name":"a","byteorder":"little","file":"f.npy"}`)),
		badManifest("an offset in an array", formats.Mismatch, "a", "", ManifestOf(marker+`{"name":"a","offset":128,"file":"a.npy"}`)),
		badManifest("bytes without a type", formats.BadDType, "a", "dtype", ManifestOf(marker+`{"name":"a","file":"v.npy"}`)),
		badManifest("bytes that are no byte integers", formats.Mismatch, "a", "dtype", ManifestOf(marker+`{"name":"a","dtype":"U8","file":"v.npy"}`)),
		badManifest("two bytes that are no half", formats.Mismatch, "a", "dtype", ManifestOf(marker+`{"name":"a","dtype":"F16","file":"b.npy"}`)),
		badManifest("one array of two types", formats.Mismatch, "b", "dtype", ManifestOf(`{"name":"a","dtype":"F8_E4M3","file":"v.npy"}`, marker+`{"name":"b","dtype":"F8_E5M2","file":"v.npy"}`)),
		badManifest("one array of two shapes", formats.Mismatch, "b", "shape", ManifestOf(`{"name":"a","file":"a.npy"}`, marker+`{"name":"b","shape":[6],"file":"a.npy"}`)),
		badManifest("a dump without a dtype", formats.JSON, "a", "", ManifestOf(marker+`{"name":"a","shape":[1],"file":"d.raw"}`), "dtype is missing"),
		badManifest("a dump without a shape", formats.JSON, "a", "", ManifestOf(marker+`{"name":"a","dtype":"U8","file":"d.raw"}`), "shape is missing"),
		badManifest("an unknown dtype", formats.BadDType, "a", "dtype", ManifestOf(`{"name":"a","dtype":`+marker+`"float32","shape":[1],"file":"d.raw"}`)),
		badManifest("a block type", formats.BadDType, "a", "dtype", ManifestOf(`{"name":"a","dtype":`+marker+`"Q8_0","shape":[32],"file":"d.raw"}`)),
		badManifest("a negative size", formats.BadShape, "a", "shape", ManifestOf(`{"name":"a","dtype":"U8","shape":[`+marker+`-1],"file":"d.raw"}`)),
		badManifest("a fraction", formats.JSON, "a", "shape", ManifestOf(`{"name":"a","dtype":"U8","shape":[`+marker+`1.0],"file":"d.raw"}`)),
		badManifest("a string in the shape", formats.JSON, "a", "shape", ManifestOf(`{"name":"a","dtype":"U8","shape":[`+marker+`"1"],"file":"d.raw"}`)),
		badManifest("a number for the shape", formats.JSON, "a", "shape", ManifestOf(`{"name":"a","dtype":"U8","shape":`+marker+`1,"file":"d.raw"}`)),
		badManifest("a size of 2^63", formats.Overflow, "a", "shape", ManifestOf(`{"name":"a","dtype":"U8","shape":[`+marker+`9223372036854775808],"file":"d.raw"}`)),
		badManifest("a product over 2^63", formats.Overflow, "a", "shape", ManifestOf(marker+`{"name":"a","dtype":"U8","shape":[4294967296,4294967296],"file":"d.raw"}`)),
		badManifest("bytes over 2^63", formats.Overflow, "a", "shape", ManifestOf(marker+`{"name":"a","dtype":"F64","shape":[4611686018427387904],"file":"d.raw"}`)),
		badManifest("65 dimensions", formats.Limit, "a", "shape", ManifestOf(`{"name":"a","dtype":"U8","shape":`+marker+`[`+strings.Repeat("1,", 64)+`1],"file":"d.raw"}`)),
		badManifest("a negative offset", formats.Bounds, "a", "offset", ManifestOf(`{"name":"a","dtype":"U8","shape":[1],"offset":`+marker+`-1,"file":"d.raw"}`)),
		badManifest("an offset of 2^63", formats.Overflow, "a", "offset", ManifestOf(`{"name":"a","dtype":"U8","shape":[1],"offset":`+marker+`9223372036854775808,"file":"d.raw"}`)),
		badManifest("bytes that the shape does not have", formats.BadShape, "a", "bytes", ManifestOf(marker+`{"name":"a","dtype":"U8","shape":[1],"bytes":2,"file":"d.raw"}`)),
		badManifest("an order that is none", formats.JSON, "a", "order", ManifestOf(`{"name":"a","dtype":"U8","shape":[100],"order":`+marker+`"A","file":"d.raw"}`)),
		badManifest("a byte order that is none", formats.JSON, "a", "byteorder", ManifestOf(`{"name":"a","dtype":"U8","shape":[100],"byteorder":`+marker+`"<","file":"d.raw"}`)),
		in("d.raw", 100, badManifest("a dump that is too short", formats.Trunc, "a", "", ManifestOf(`{"name":"a","dtype":"U8","shape":[101],"file":"d.raw"}`))),
		in("d.raw", 100, badManifest("a tensor beyond the end", formats.Trunc, "a", "", ManifestOf(`{"name":"a","dtype":"U8","shape":[1],"offset":100,"file":"d.raw"}`))),
		in("d.raw", 100, badManifest("an offset beyond the end", formats.Trunc, "a", "", ManifestOf(`{"name":"a","dtype":"U8","shape":[0],"offset":101,"file":"d.raw"}`))),
		in("d.raw", 100, badManifest("an offset and bytes over 2^63", formats.Trunc, "a", "",
			ManifestOf(`{"name":"a","dtype":"U8","shape":[9223372036854775807],"offset":9223372036854775807,"file":"d.raw"}`))),
		in("d.raw", 99, badManifest("trailing bytes", formats.Trail, "a", "", ManifestOf(`{"name":"a","dtype":"U8","shape":[99],"file":"d.raw"}`))),
		badManifest("two tensors that overlap", formats.Overlap, "b", "offset", ManifestOf(`{"name":"a","dtype":"U8","shape":[50],"offset":0,"file":"d.raw"}`,
			marker+`{"name":"b","dtype":"U8","shape":[51],"offset":49,"file":"d.raw"}`)),
		badManifest("two tensors of one place and two types", formats.Overlap, "b", "offset", ManifestOf(`{"name":"a","dtype":"U8","shape":[50],"offset":0,"file":"d.raw"}`,
			marker+`{"name":"b","dtype":"I8","shape":[50],"offset":0,"file":"d.raw"}`)),
		badManifest("two tensors of one place and two shapes", formats.Overlap, "b", "offset", ManifestOf(`{"name":"a","dtype":"U8","shape":[50],"offset":0,"file":"d.raw"}`,
			marker+`{"name":"b","dtype":"U8","shape":[5,10],"offset":0,"file":"d.raw"}`)),
		badManifest("two tensors of one place and two orders", formats.Overlap, "b", "offset", ManifestOf(`{"name":"a","dtype":"U8","shape":[5,10],"offset":0,"file":"d.raw"}`,
			marker+`{"name":"b","dtype":"U8","shape":[5,10],"offset":0,"order":"F","file":"d.raw"}`)),
		badManifest("a tensor within another", formats.Overlap, "b", "offset", ManifestOf(`{"name":"a","dtype":"U8","shape":[100],"offset":0,"file":"d.raw"}`,
			marker+`{"name":"b","dtype":"U8","shape":[1],"offset":50,"file":"d.raw"}`)),
		badManifest("an alias of nothing", formats.Missing, "b", "aliases", `{"format":"bowline.raw/1","tensors":[],"aliases":[{"name":"b","of":"a"}]}`),
		badManifest("an alias of an alias", formats.Missing, "c", "aliases",
			`{"format":"bowline.raw/1","tensors":[{"name":"a","file":"a.npy"}],"aliases":[{"name":"b","of":"a"},{"name":"c","of":"b"}]}`),
		badManifest("an alias of itself", formats.Missing, "b", "aliases", `{"format":"bowline.raw/1","tensors":[],"aliases":[{"name":"b","of":"b"}]}`),
		badManifest("an alias with the name of a tensor", formats.Dup, "a", "aliases", `{"format":"bowline.raw/1","tensors":[{"name":"a","file":"a.npy"}],"aliases":[`+marker+`{"name":"a","of":"a"}]}`),
		badManifest("a tensor with the name of an alias", formats.Dup, "b", "", `{"format":"bowline.raw/1","aliases":[{"name":"b","of":"a"}],"tensors":[{"name":"a","file":"a.npy"},`+marker+`{"name":"b","file":"f.npy"}]}`),
		badManifest("half an alias", formats.JSON, "b", "aliases", `{"format":"bowline.raw/1","tensors":[],"aliases":[`+marker+`{"name":"b"}]}`),
		badManifest("metadata that is a number", formats.JSON, "", "metadata.k", `{"format":"bowline.raw/1","tensors":[],"metadata":{"k":`+marker+`1}}`),
		badManifest("metadata twice", formats.Dup, "", "metadata.k", `{"format":"bowline.raw/1","tensors":[],"metadata":{"k":"1",`+marker+`"k":"2"}}`),
		badManifest("metadata that is an array", formats.JSON, "", "metadata", `{"format":"bowline.raw/1","tensors":[],"metadata":`+marker+`[]}`),
		all(badManifest("all that is wrong comes at once", formats.Mismatch, "a", "dtype", ManifestOf(marker+`{"name":"a","dtype":"F64","shape":[6],"file":"a.npy"}`,
			`{"name":"b","dtype":"U8","shape":[101],"file":"d.raw"}`, `{"name":"c","file":"x.npy"}`)), formats.Mismatch, formats.Mismatch, formats.Trunc, formats.Missing),
		badManifest("a key of a tensor in capitals", formats.JSON, "a", "tensors", ManifestOf(`{"name":"a","file":"a.npy",`+marker+`"Shape":[2,3]}`)),
		all(manyTensors("thirty thousand absent files", formats.Missing, 30_000, `{"name":"%d","file":"%[1]d.npy"}`), slices.Repeat([]formats.Code{formats.Missing}, 21)...),
	}
}

// manyTensors is a manifest of n tensors.
func manyTensors(name string, code formats.Code, n int, entry string) Case {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, entry, i)
	}
	return Case{Name: name, Files: map[string][]byte{manifestName: []byte(ManifestOf(b.String())), "d.raw": make([]byte, n)}, Index: manifestName, Code: code, Offset: -1, Field: "file"}
}

// oddManifests are folders that have to be read.
func oddManifests() []Case {
	odd := func(name, text string) Case {
		x := badManifest(name, "", "", "", text)
		x.Offset = 0
		return x
	}
	return []Case{
		odd("an empty list of tensors", ManifestOf()),
		odd("keys in another order", `{"metadata":{},"aliases":[],"tensors":[],"format":"bowline.raw/1"}`),
		odd("white space", " \n{ \"format\" :\t\"bowline.raw/1\" , \"tensors\" : [ ] } \r\n"),
		odd("an array that says all itself", ManifestOf(`{"file":"a.npy","name":"a"}`)),
		odd("all that can be said", ManifestOf(`{"byteorder":"big","order":"F","bytes":24,"shape":[2,3],"dtype":"F32","file":"f.npy","name":"a"}`)),
		odd("a byte order of bytes", ManifestOf(`{"name":"a","file":"v.npy","dtype":"F8_E4M3","byteorder":"big"}`)),
		odd("bfloat16 that nothing explains", ManifestOf(`{"name":"a","file":"b.npy"}`)),
		odd("an array with two names", ManifestOf(`{"name":"a","file":"a.npy"}`, `{"name":"b","file":"a.npy"}`)),
		odd("an alias before its tensor", `{"format":"bowline.raw/1","aliases":[{"of":"a","name":"b"}],"tensors":[{"name":"a","file":"a.npy"}]}`),
		odd("an alias of a tensor that is one itself", `{"format":"bowline.raw/1","tensors":[{"name":"a","file":"a.npy"},{"name":"b","file":"a.npy"}],"aliases":[{"name":"c","of":"b"}]}`),
		odd("a whole dump", ManifestOf(`{"name":"a","dtype":"U8","shape":[4,25],"file":"d.raw"}`)),
		odd("a scalar", ManifestOf(`{"name":"a","dtype":"U8","shape":[],"file":"d.raw","offset":99}`)),
		odd("a hole in a dump", ManifestOf(`{"name":"a","dtype":"U8","shape":[1],"file":"d.raw","offset":70}`)),
		odd("tensors out of order", ManifestOf(`{"name":"a","dtype":"F64","shape":[2],"file":"d.raw","offset":51}`, `{"name":"b","dtype":"F16","shape":[2],"file":"d.raw","offset":1}`)),
		odd("no values at the end", ManifestOf(`{"name":"a","dtype":"F64","shape":[0],"file":"d.raw","offset":100}`)),
		odd("no values within a tensor", ManifestOf(`{"name":"a","dtype":"F64","shape":[0],"file":"d.raw","offset":50}`, `{"name":"b","dtype":"U8","shape":[100],"file":"d.raw","offset":0}`)),
		odd("a dump in both orders", ManifestOf(`{"name":"a","dtype":"C64","shape":[2,3],"file":"d.raw","offset":1,"order":"F","byteorder":"big"}`)),
		odd("a name with everything", ManifestOf(`{"name":"\"\\/\b\f\n\r\t\u0000\ud83e\udea2 ../é","file":"a.npy"}`)),
		odd("the empty name", ManifestOf(`{"name":"","file":"a.npy"}`)),
		odd("64 dimensions", ManifestOf(`{"name":"a","dtype":"U8","shape":[100`+strings.Repeat(",1", 63)+`],"file":"d.raw"}`)),
		odd("one place with two names in a dump", ManifestOf(`{"name":"a","dtype":"U8","shape":[100],"file":"d.raw"}`, `{"name":"b","dtype":"U8","shape":[100],"file":"d.raw","offset":0}`)),
		manyTensors("thirty thousand tensors in a dump", "", 30_000, `{"name":"%d","dtype":"U8","shape":[1],"offset":%[1]d,"file":"d.raw"}`),
		manyTensors("thirty thousand names for one tensor", "", 30_000, `{"name":"%d","dtype":"U8","shape":[1],"offset":0,"file":"d.raw"}`),
	}
}
