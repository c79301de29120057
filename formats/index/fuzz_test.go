package index_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/index"
)

// FuzzIndex: what is read names files that are single elements of a path, sorted and each once, and encoding/json reads the same files
// from it; what is refused has a class and a place.
func FuzzIndex(f *testing.F) {
	for _, text := range []string{
		`{"metadata":{"total_size":8},"weight_map":{"a":"m-00001-of-00002.safetensors","b":"m-00002-of-00002.safetensors"}}`,
		`{"weight_map":{}}`, `{"weight_map":{"a":"../x"}}`, `{"weight_map":{"a":"x","a":"x"}}`, `{"weight_map":{"\u0061":"\u0062"},"x":[{},[1e9]]}`,
		`{"metadata":null,"weight_map":{"":"x"}}`, `{"weight_map":null}`, `{"weight_map":{"a":"NUL"}}`, `{"weight_map":{"a":"C:\\x"}}`, `[]`, ``,
		`{"metadata":{"total_size":"8","x":[[[]]]},"weight_map":{"a":"x"}} `, "{\"weight_map\":{\"\xff\":\"x\"}}",
	} {
		f.Add(text)
	}
	for _, x := range corpus.Index().Cases() {
		if b := x.Files[x.Index]; len(b) < 16<<10 { // the fuzzer spends its time on small inputs
			f.Add(string(b))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		files, err := index.Shards(formatstest.OneFile([]byte(text)), "/d", "i.json")
		if err != nil {
			for _, e := range formats.Errors(err) {
				if e.Code == "" || e.Code == formats.IO || e.Path != "/d/i.json" || e.Offset > int64(len(text)) {
					t.Fatalf("%q: got %+v", text, e)
				}
			}
			return
		}
		if !slices.IsSorted(files) || len(slices.Compact(slices.Clone(files))) != len(files) {
			t.Fatalf("%q: got files %q", text, files)
		}
		for _, name := range files {
			if !filepath.IsLocal(name) || filepath.Base(name) != name || strings.ContainsAny(name, `/\:`) {
				t.Fatalf("%q: got file %q", text, name)
			}
		}
		var want struct {
			Map map[string]json.RawMessage `json:"weight_map"`
		}
		// encoding/json folds the case of keys, so that it reads another key than ours where there are several.
		if strings.Count(strings.ToLower(text), "weight_map") > 1 || strings.Contains(text, `\`) {
			return
		}
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("%q: read, encoding/json says %v", text, err)
		}
		var names []string
		for _, raw := range want.Map {
			var name string
			if err := json.Unmarshal(raw, &name); err != nil {
				t.Fatalf("%q: read, encoding/json says %v", text, err)
			}
			names = append(names, name)
		}
		slices.Sort(names)
		if names = slices.Compact(names); !slices.Equal(names, files) {
			t.Fatalf("%q: got files %q, encoding/json reads %q", text, files, names)
		}
	})
}

// TestNames: the forms in which shards are named, and names that look like it.
func TestNames(t *testing.T) {
	const st = ".safetensors"
	for _, x := range []struct {
		name string
		n    int
		last string
		stem string
	}{
		{"model-00001-of-00003" + st, 3, "model-00003-of-00003" + st, "model"},
		{"model-00007-of-000163" + st, 163, "model-00163-of-000163" + st, "model"},
		{"model-1-of-61" + st, 61, "model-61-of-61" + st, "model"},
		{"model-10-of-61" + st, 61, "model-61-of-61" + st, "model"},
		{"model-01-of-02" + st, 2, "model-02-of-02" + st, "model"},
		{"model-00001-of-00001" + st, 1, "model-00001-of-00001" + st, "model"},
		{"model.fp16-00001-of-00002" + st, 2, "model.fp16-00002-of-00002" + st, "model.fp16"},
		{"model" + st + "-00001-of-00002" + st, 2, "model" + st + "-00002-of-00002" + st, "model" + st},
		{"-of-1-of-2" + st, 2, "-of-2-of-2" + st, "-of"},
		{"model-00000-of-00002" + st, 0, "", ""},
		{"model-00003-of-00002" + st, 0, "", ""},
		{"model-00001-of-00000" + st, 0, "", ""},
		{"model-0000001-of-0000002" + st, 0, "", ""},
		{"model-99999999999999999999-of-99999999999999999999" + st, 0, "", ""},
		{"model-00001-of-20000" + st, 0, "", "model"},
		{"model-00001-of-2" + st, 0, "", ""},
		{"model-+0001-of-00002" + st, 0, "", ""},
		{"model-1-of-2.bin", 0, "", ""},
		{"model_1-of-2" + st, 0, "", ""},
		{"model-1of-2" + st, 0, "", ""},
		{"-1-of-2" + st, 0, "", ""},
		{"1-of-2" + st, 0, "", ""},
		{"-of-2" + st, 0, "", ""},
		{st, 0, "", ""},
		{"", 0, "", ""},
	} {
		all := index.Siblings(x.name, st)
		if len(all) != x.n || x.n > 0 && (all[x.n-1] != x.last || !slices.Contains(all, x.name)) {
			t.Errorf("%s: got %d siblings, the last of %q, want %d and %s", x.name, len(all), all[max(0, len(all)-1):], x.n, x.last)
		}
		if stem, ok := index.Stem(x.name, st); stem != x.stem || ok != (x.stem != "") {
			t.Errorf("%s: got stem %q, want %q", x.name, stem, x.stem)
		}
	}
	for name, want := range map[string]string{
		"model.safetensors.index.json": "model.safetensors", "model.safetensors.index.fp16.json": "model.safetensors", "x.index.json": "x",
		".index.json": "", "index.json": "", "model.index": "", "model.index.a.b.json": "", "model.index..json": "", "model.index.jsonl": "",
	} {
		if got, ok := index.Weights(name); ok && got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", name, got, ok, want)
		}
	}
}
