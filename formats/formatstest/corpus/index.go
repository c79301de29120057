package corpus

import (
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

const (
	Shard1    = "m-00001-of-00002.safetensors"
	Shard2    = "m-00002-of-00002.safetensors"
	IndexName = "m.safetensors.index.json"
	// full lists tensor a in the first shard and b in the second.
	FullIndex = `{"metadata":{"total_size":8},"weight_map":{"a":"` + Shard1 + `","b":"` + Shard2 + `"}}`
)

// Pair is two shards with a tensor each.
func Pair(index string) map[string][]byte {
	return map[string][]byte{Shard1: STFile(`{`+A4+`}`, 4), Shard2: STFile(`{`+strings.Replace(B4, "[4,8]", "[0,4]", 1)+`}`, 4), IndexName: []byte(index)}
}

// badIndex is an index beside two good shards. A "¦" marks where the error should point to.
func badIndex(name string, code formats.Code, tensor, field, index string, says ...string) Case {
	at := int64(strings.Index(index, "¦"))
	return Case{Name: name, Files: Pair(strings.Replace(index, "¦", "", 1)), Index: IndexName, Code: code, Offset: at,
		Tensor: tensor, Field: field, Says: says}
}

// badPath is an index that maps a to a name.
func badPath(name string) Case {
	return badIndex("file "+name, formats.BadPath, "a", "weight_map", `{"weight_map":{"a":¦"`+name+`"}}`)
}

func indexes() []Case {
	return []Case{
		badIndex("empty", formats.JSON, "", "", `¦`),
		badIndex("no JSON", formats.JSON, "", "", `¦<html>`),
		badIndex("array", formats.JSON, "", "", `¦[]`),
		badIndex("cut", formats.JSON, "b", "weight_map", `{"weight_map":{"a":"`+Shard1+`","b":¦"m-0000`),
		badIndex("no weight_map", formats.JSON, "", "weight_map", `¦{"metadata":{}}`, "missing"),
		badIndex("weight_map null", formats.JSON, "", "weight_map", `{"weight_map":¦null}`),
		badIndex("weight_map array", formats.JSON, "", "weight_map", `{"weight_map":¦[["a","b"]]}`),
		badIndex("weight_map twice", formats.Dup, "", "weight_map", `{"weight_map":{},¦"weight_map":{"a":"`+Shard1+`"}}`),
		badIndex("metadata twice", formats.Dup, "", "metadata", `{"metadata":{},¦"metadata":{},"weight_map":{"a":"`+Shard1+`"}}`),
		badIndex("total_size twice", formats.Dup, "", "metadata", `{"metadata":{"total_size":8,¦"total_size":9},"weight_map":{"a":"`+Shard1+`"}}`),
		badIndex("file is a number", formats.JSON, "a", "weight_map", `{"weight_map":{"a":¦1}}`, "got a number"),
		badIndex("file is null", formats.JSON, "a", "weight_map", `{"weight_map":{"a":¦null,"b":"`+Shard2+`"}}`),
		badIndex("tensor twice", formats.Dup, "a", "weight_map", `{"weight_map":{"a":"`+Shard1+`",¦"a":"`+Shard2+`"}}`, "first at offset 15"),
		badIndex("tensor twice in one file", formats.Dup, "a", "weight_map", `{"weight_map":{"a":"`+Shard1+`",¦"a":"`+Shard1+`"}}`),
		badIndex("NUL padding", formats.JSON, "", "", FullIndex+"¦\x00\x00", "NUL"),
		badIndex("byte FF", formats.UTF8, "", "", "{\"¦\xff\":1}"),
		badIndex("comma at the end", formats.JSON, "", "weight_map", `{"weight_map":{"a":"`+Shard1+`",¦}}`),
		badIndex("deep metadata", formats.Limit, "", "metadata", `{"metadata":{"x":`+strings.Repeat("[", 126)+`¦`+strings.Repeat("[", 100_000)),
		badIndex("nothing listed", formats.Missing, "", "", `{"weight_map":{}}`),
		badIndex("wrong shard", formats.Mismatch, "a", "weight_map", `{"weight_map":{¦"a":"`+Shard2+`","b":"`+Shard2+`","c":"`+Shard1+`"}}`, "got file "+Shard2, Shard1+" holds it"),
		badPath("../" + Shard1), badPath("/etc/passwd"), badPath("x/" + Shard1), badPath(`C:\\` + Shard1), badPath("a:b"), badPath("NUL"), badPath("nul.safetensors"), badPath("COM1"),
		badPath(""), badPath("."), badPath(".."), badPath("a."), badPath(`a\u0000`), badPath("https://h/" + Shard1), badPath(`..\\` + Shard1),
		{Name: "300 MiB", Index: IndexName, Size: 300 << 20, Code: formats.Limit, Offset: 0},
		func() Case {
			x := badIndex("absent shards", formats.Missing, "", "weight_map",
				`{"weight_map":{"a":"`+Shard1+`","x":"m-00003-of-00004.safetensors","y":"m-00004-of-00004.safetensors"}}`, "m-00003-of-00004", "m-00004-of-00004", IndexName)
			x.Offset, x.Codes = -1, []formats.Code{formats.Missing, formats.Missing}
			return x
		}(),
		func() Case {
			x := badIndex("a bad shard", formats.Dup, "b", "", FullIndex, Shard2)
			x.Files[Shard2] = STFile(`{`+strings.Replace(B4, "[4,8]", "[0,4]", 1)+`,`+B4+`}`, 8)
			x.Offset = 8 + 2 + int64(len(B4))
			return x
		}(),
		func() Case {
			x := badIndex("tensor in two shards", formats.Dup, "a", "", FullIndex, Shard1)
			x.Files[Shard2] = STFile(`{`+strings.Replace(B4, "[4,8]", "[0,4]", 1)+`,`+strings.Replace(A4, "[0,4]", "[4,8]", 1)+`}`, 8)
			x.Offset = 8 + 2 + int64(len(B4))
			return x
		}(),
		func() Case {
			x := badIndex("a file that is not of the set", formats.Mismatch, "b", "weight_map", strings.Replace(FullIndex, `"b"`, `¦"b"`, 1))
			x.Open = []string{Shard1}
			return x
		}(),
	}
}

// oddIndexes are indexes that have to be read, and what is to be said of them.
func oddIndexes() (out []Case) {
	for _, x := range []struct {
		name, index         string
		dangling, unindexed []string
		notes               int
		warn                bool
	}{
		{name: "plain", index: FullIndex},
		{name: "line feed at the end", index: FullIndex + "\n"},
		{name: "no metadata", index: `{"weight_map":{"a":"` + Shard1 + `","b":"` + Shard2 + `"}}`},
		{name: "other keys", index: `{"x":[{}],"metadata":{"total_parameters":2,"total_size":8},"weight_map":{"b":"` + Shard2 + `","a":"` + Shard1 + `"},"y":null}`},
		{name: "total_size as a string", index: strings.Replace(FullIndex, ":8", `:"8"`, 1)},
		{name: "total_size wrong", index: strings.Replace(FullIndex, ":8", ":9", 1), notes: 1},
		{name: "total_size a fraction", index: strings.Replace(FullIndex, ":8", ":8.0", 1), notes: 1},
		{name: "dangling", index: strings.Replace(FullIndex, `"a"`, `"lm_head.weight":"`+Shard1+`","a"`, 1), dangling: []string{"lm_head.weight"}},
		{name: "unindexed", index: `{"weight_map":{"x":"` + Shard1 + `","b":"` + Shard2 + `"}}`, dangling: []string{"x"}, unindexed: []string{"a"}, notes: 1},
		{name: "one shard of two", index: `{"weight_map":{"a":"` + Shard1 + `"}}`, notes: 1, warn: true},
		{name: "entries in reverse", index: `{"weight_map":{"b":"` + Shard2 + `","a":"` + Shard1 + `"}}`},
		{name: "metadata null", index: strings.Replace(FullIndex, `{"total_size":8}`, "null", 1)},
		{name: "metadata a list", index: strings.Replace(FullIndex, `{"total_size":8}`, "[1,{}]", 1)},
		{name: "metadata empty", index: strings.Replace(FullIndex, `{"total_size":8}`, "{}", 1)},
		{name: "total_size null", index: strings.Replace(FullIndex, ":8", ":null", 1), notes: 1},
		{name: "total_size an object", index: strings.Replace(FullIndex, ":8", `:{"a":[]}`, 1), notes: 1},
		{name: "total_size of a thousand digits", index: strings.Replace(FullIndex, ":8", ":"+strings.Repeat("8", 1000), 1), notes: 1},
		{name: "total_size negative", index: strings.Replace(FullIndex, ":8", ":-8", 1), notes: 1},
		{name: "names with escapes", index: strings.Replace(FullIndex, `"a"`, `"\u0061"`, 1)},
		{name: "file names with escapes", index: strings.Replace(FullIndex, `"m-00001`, `"\u006d-00001`, 1)},
		{name: "white space", index: "\t" + strings.ReplaceAll(FullIndex, ":", " :\r\n") + "  "},
		{name: "many dangling", index: strings.Replace(FullIndex, `"a"`, Keys(9, `"`+Shard1+`"`)+`,"a"`, 1), dangling: []string{"0", "1", "2", "3", "4", "5", "6", "7", "8"}},
		{name: "empty name dangling", index: strings.Replace(FullIndex, `"a"`, `"":"`+Shard1+`","a"`, 1), dangling: []string{""}},
		{name: "all unindexed but one", index: `{"weight_map":{"b":"` + Shard2 + `","c":"` + Shard1 + `"}}`, dangling: []string{"c"}, unindexed: []string{"a"}, notes: 1},
	} {
		out = append(out, Case{Name: x.name, Files: Pair(x.index), Index: IndexName, Reads: &Reads{Dangling: x.dangling, Unindexed: x.unindexed, Count: x.notes, Warn: x.warn}})
	}
	return out
}
