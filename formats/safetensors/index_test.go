package safetensors_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/index"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

const (
	s1 = "m-00001-of-00002.safetensors"
	s2 = "m-00002-of-00002.safetensors"
	ix = "m.safetensors.index.json"
	// full lists tensor a in the first shard and b in the second.
	full = `{"metadata":{"total_size":8},"weight_map":{"a":"` + s1 + `","b":"` + s2 + `"}}`
)

// pair is two shards with a tensor each.
func pair(index string) map[string][]byte {
	return map[string][]byte{s1: file(`{`+a4+`}`, 4), s2: file(`{`+strings.Replace(b4, "[4,8]", "[0,4]", 1)+`}`, 4), ix: []byte(index)}
}

// badIndex is an index beside two good shards. A "¦" marks where the error should point to.
func badIndex(name string, code formats.Code, tensor, field, index string, says ...string) formatstest.Hostile {
	at := int64(strings.Index(index, "¦"))
	return formatstest.Hostile{Name: name, Files: pair(strings.Replace(index, "¦", "", 1)), Index: ix, Code: code, Offset: at,
		Tensor: tensor, Field: field, Says: says}
}

// path is an index that maps a to a name.
func path(name string) formatstest.Hostile {
	return badIndex("file "+name, formats.BadPath, "a", "weight_map", `{"weight_map":{"a":¦"`+name+`"}}`)
}

var indexes = []formatstest.Hostile{
	badIndex("empty", formats.JSON, "", "", `¦`),
	badIndex("no JSON", formats.JSON, "", "", `¦<html>`),
	badIndex("array", formats.JSON, "", "", `¦[]`),
	badIndex("cut", formats.JSON, "b", "weight_map", `{"weight_map":{"a":"`+s1+`","b":¦"m-0000`),
	badIndex("no weight_map", formats.JSON, "", "weight_map", `¦{"metadata":{}}`, "missing"),
	badIndex("weight_map null", formats.JSON, "", "weight_map", `{"weight_map":¦null}`),
	badIndex("weight_map array", formats.JSON, "", "weight_map", `{"weight_map":¦[["a","b"]]}`),
	badIndex("weight_map twice", formats.Dup, "", "weight_map", `{"weight_map":{},¦"weight_map":{"a":"`+s1+`"}}`),
	badIndex("metadata twice", formats.Dup, "", "metadata", `{"metadata":{},¦"metadata":{},"weight_map":{"a":"`+s1+`"}}`),
	badIndex("total_size twice", formats.Dup, "", "metadata", `{"metadata":{"total_size":8,¦"total_size":9},"weight_map":{"a":"`+s1+`"}}`),
	badIndex("file is a number", formats.JSON, "a", "weight_map", `{"weight_map":{"a":¦1}}`, "got a number"),
	badIndex("file is null", formats.JSON, "a", "weight_map", `{"weight_map":{"a":¦null,"b":"`+s2+`"}}`),
	badIndex("tensor twice", formats.Dup, "a", "weight_map", `{"weight_map":{"a":"`+s1+`",¦"a":"`+s2+`"}}`, "first at offset 15"),
	badIndex("tensor twice in one file", formats.Dup, "a", "weight_map", `{"weight_map":{"a":"`+s1+`",¦"a":"`+s1+`"}}`),
	badIndex("NUL padding", formats.JSON, "", "", full+"¦\x00\x00", "NUL"),
	badIndex("byte FF", formats.UTF8, "", "", "{\"¦\xff\":1}"),
	badIndex("comma at the end", formats.JSON, "", "weight_map", `{"weight_map":{"a":"`+s1+`",¦}}`),
	badIndex("deep metadata", formats.Limit, "", "metadata", `{"metadata":{"x":`+strings.Repeat("[", 126)+`¦`+strings.Repeat("[", 100_000)),
	badIndex("nothing listed", formats.Missing, "", "", `{"weight_map":{}}`),
	badIndex("wrong shard", formats.Mismatch, "a", "weight_map", `{"weight_map":{¦"a":"`+s2+`","b":"`+s2+`","c":"`+s1+`"}}`, "got file "+s2, s1+" holds it"),
	path("../" + s1), path("/etc/passwd"), path("x/" + s1), path(`C:\\` + s1), path("a:b"), path("NUL"), path("nul.safetensors"), path("COM1"),
	path(""), path("."), path(".."), path("a."), path(`a\u0000`), path("https://h/" + s1), path(`..\\` + s1),
	{Name: "300 MiB", Index: ix, Size: 300 << 20, Code: formats.Limit, Offset: 0},
	func() formatstest.Hostile {
		x := badIndex("absent shards", formats.Missing, "", "weight_map",
			`{"weight_map":{"a":"`+s1+`","x":"m-00003-of-00004.safetensors","y":"m-00004-of-00004.safetensors"}}`, "m-00003-of-00004", "m-00004-of-00004", ix)
		x.Offset, x.Codes = -1, []formats.Code{formats.Missing, formats.Missing}
		return x
	}(),
	func() formatstest.Hostile {
		x := badIndex("a bad shard", formats.Dup, "b", "", full, s2)
		x.Files[s2] = file(`{`+strings.Replace(b4, "[4,8]", "[0,4]", 1)+`,`+b4+`}`, 8)
		x.Offset = 8 + 2 + int64(len(b4))
		return x
	}(),
	func() formatstest.Hostile {
		x := badIndex("tensor in two shards", formats.Dup, "a", "", full, s1)
		x.Files[s2] = file(`{`+strings.Replace(b4, "[4,8]", "[0,4]", 1)+`,`+strings.Replace(a4, "[0,4]", "[4,8]", 1)+`}`, 8)
		x.Offset = 8 + 2 + int64(len(b4))
		return x
	}(),
	func() formatstest.Hostile {
		x := badIndex("a file that is not of the set", formats.Mismatch, "b", "weight_map", strings.Replace(full, `"b"`, `¦"b"`, 1))
		x.Open = []string{s1}
		return x
	}(),
}

func TestIndex(t *testing.T) { formatstest.Table(t, safetensors.Format, indexes) }

// oddly are indexes that have to be read, and what is to be said of them.
var oddly = []struct {
	name, index         string
	dangling, unindexed []string
	notes               int
	warn                bool
}{
	{name: "plain", index: full},
	{name: "line feed at the end", index: full + "\n"},
	{name: "no metadata", index: `{"weight_map":{"a":"` + s1 + `","b":"` + s2 + `"}}`},
	{name: "other keys", index: `{"x":[{}],"metadata":{"total_parameters":2,"total_size":8},"weight_map":{"b":"` + s2 + `","a":"` + s1 + `"},"y":null}`},
	{name: "total_size as a string", index: strings.Replace(full, ":8", `:"8"`, 1)},
	{name: "total_size wrong", index: strings.Replace(full, ":8", ":9", 1), notes: 1},
	{name: "total_size a fraction", index: strings.Replace(full, ":8", ":8.0", 1), notes: 1},
	{name: "dangling", index: strings.Replace(full, `"a"`, `"lm_head.weight":"`+s1+`","a"`, 1), dangling: []string{"lm_head.weight"}},
	{name: "unindexed", index: `{"weight_map":{"x":"` + s1 + `","b":"` + s2 + `"}}`, dangling: []string{"x"}, unindexed: []string{"a"}, notes: 1},
	{name: "one shard of two", index: `{"weight_map":{"a":"` + s1 + `"}}`, notes: 1, warn: true},
	{name: "entries in reverse", index: `{"weight_map":{"b":"` + s2 + `","a":"` + s1 + `"}}`},
	{name: "metadata null", index: strings.Replace(full, `{"total_size":8}`, "null", 1)},
	{name: "metadata a list", index: strings.Replace(full, `{"total_size":8}`, "[1,{}]", 1)},
	{name: "metadata empty", index: strings.Replace(full, `{"total_size":8}`, "{}", 1)},
	{name: "total_size null", index: strings.Replace(full, ":8", ":null", 1), notes: 1},
	{name: "total_size an object", index: strings.Replace(full, ":8", `:{"a":[]}`, 1), notes: 1},
	{name: "total_size of a thousand digits", index: strings.Replace(full, ":8", ":"+strings.Repeat("8", 1000), 1), notes: 1},
	{name: "total_size negative", index: strings.Replace(full, ":8", ":-8", 1), notes: 1},
	{name: "names with escapes", index: strings.Replace(full, `"a"`, `"\u0061"`, 1)},
	{name: "file names with escapes", index: strings.Replace(full, `"m-00001`, `"\u006d-00001`, 1)},
	{name: "white space", index: "\t" + strings.ReplaceAll(full, ":", " :\r\n") + "  "},
	{name: "many dangling", index: strings.Replace(full, `"a"`, keys(9, `"`+s1+`"`)+`,"a"`, 1), dangling: []string{"0", "1", "2", "3", "4", "5", "6", "7", "8"}},
	{name: "empty name dangling", index: strings.Replace(full, `"a"`, `"":"`+s1+`","a"`, 1), dangling: []string{""}},
	{name: "all unindexed but one", index: `{"weight_map":{"b":"` + s2 + `","c":"` + s1 + `"}}`, dangling: []string{"c"}, unindexed: []string{"a"}, notes: 1},
}

// oddIndexes are those of oddly as files to open.
func oddIndexes() (out []formatstest.Hostile) {
	for _, x := range oddly {
		out = append(out, formatstest.Hostile{Name: x.name, Files: pair(x.index), Index: ix})
	}
	return out
}

func TestOddIndex(t *testing.T) {
	formatstest.Table(t, safetensors.Format, oddIndexes())
	for _, x := range oddly {
		t.Run(x.name, func(t *testing.T) {
			fsys := fsio.NewMem()
			formatstest.Put(t, fsys, "/", pair(x.index))
			c, err := safetensors.Format.Open(fsys, formats.Set{Dir: "/", Index: ix})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if !slices.Equal(c.Dangling, x.dangling) || !slices.Equal(c.Unindexed, x.unindexed) || len(c.Notes) != x.notes {
				t.Errorf("got dangling %v, unindexed %v, notes %v\nwant %v, %v, %d notes", c.Dangling, c.Unindexed, c.Notes, x.dangling, x.unindexed, x.notes)
			}
			if x.notes > 0 && c.Notes[0].Warn != x.warn {
				t.Errorf("got %+v, want Warn %v", c.Notes[0], x.warn)
			}
			if last := c.Files[len(c.Files)-1]; last.Path != ix || last.Bytes != int64(len(x.index)) {
				t.Errorf("got last file %+v, want the index", last)
			}
		})
	}
}

func TestShards(t *testing.T) {
	fsys := fsio.NewMem()
	formatstest.Put(t, fsys, "/", pair(full))
	got, err := index.Shards(fsys, "/", ix)
	if want := []string{s1, s2}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if _, err := index.Shards(fsys, "/", "none"); formats.CodeOf(err) != formats.Missing || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %s", err, formats.Missing)
	}
}

func TestMetadataOfShards(t *testing.T) {
	meta := func(m, tensor string) []byte { return file(`{"__metadata__":`+m+`,`+tensor+`}`, 4) }
	other := strings.Replace(b4, "[4,8]", "[0,4]", 1)
	for _, x := range []struct {
		name, first, second string
		notes               int
	}{
		{"equal", `{"k":"1","l":"2"}`, `{"k":"1","l":"2"}`, 0},
		{"in another order", `{"k":"1","l":"2"}`, `{"l":"2","k":"1"}`, 0},
		{"another value", `{"k":"1","l":"2"}`, `{"k":"1","l":"3"}`, 1},
		{"missing", `{"k":"1","l":"2"}`, `{}`, 1},
	} {
		t.Run(x.name, func(t *testing.T) {
			fsys := fsio.NewMem()
			formatstest.Put(t, fsys, "/", map[string][]byte{s1: meta(x.first, a4), s2: meta(x.second, other)})
			c, err := safetensors.Format.Open(fsys, formats.Set{Dir: "/", Files: []string{s1, s2}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if len(c.Notes) != x.notes || c.Metadata.Get("l") != "2" || c.Metadata[0].Key != "k" {
				t.Errorf("got metadata %v, notes %v", c.Metadata, c.Notes)
			}
		})
	}
}
