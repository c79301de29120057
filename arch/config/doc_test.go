package config_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
)

const checkpoints = "../../testdata/checkpoints/"

func TestParseLong(t *testing.T) {
	if _, err := config.Parse("big.json", make([]byte, 64<<20+1)); formats.CodeOf(err) != formats.Limit {
		t.Errorf("64 MiB and a byte: got %v, want %s", err, formats.Limit)
	}
}

// TestParseCut ends every fixture's config at every byte: an error each time, never a panic.
func TestParseCut(t *testing.T) {
	paths, _ := filepath.Glob(checkpoints + "*/config.json")
	if len(paths) < 6 {
		t.Fatalf("got %d configs, want 6", len(paths))
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		whole := bytes.TrimRight(b, "\n")
		for n := range whole {
			if d, err := config.Parse(p, whole[:n]); err == nil {
				t.Fatalf("%s: %d of %d bytes are read as %q", p, n, len(whole), d.Bytes())
			}
		}
		if _, err := config.Parse(p, b); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestGet(t *testing.T) {
	d, err := config.Parse("c", []byte(`{"i": 7, "whole": 2048.0, "exp": 1e3, "half": 0.5, "big": 1e300, "t": true, "s": "x\u00e9", "n": null,
		"ids": [1, 2], "names": ["a", "b"], "mixed": [1, "b"], "nan": NaN, "o": {"k": "v", "l": null}}`))
	if err != nil {
		t.Fatal(err)
	}
	number := func(get func(...string) (int64, bool, error)) func(string) (any, bool, error) {
		return func(k string) (any, bool, error) { v, ok, err := get(k); return v, ok, err }
	}
	real := func(k string) (any, bool, error) { v, ok, err := d.Float(k); return v, ok, err }
	str := func(k string) (any, bool, error) { v, ok, err := d.Str(k); return v, ok, err }
	truth := func(k string) (any, bool, error) { v, ok, err := d.Bool(k); return v, ok, err }
	for _, x := range []struct {
		name string
		get  func(string) (any, bool, error)
		key  string
		want any // nil: absent
		code formats.Code
	}{
		{"an integer", number(d.Int), "i", int64(7), ""},
		{"an integer with a point", number(d.Int), "whole", int64(2048), ""},
		{"an integer with an exponent", number(d.Int), "exp", int64(1000), ""},
		{"a fraction as an integer", number(d.Int), "half", nil, formats.BadType},
		{"a huge number as an integer", number(d.Int), "big", nil, formats.BadType},
		{"true as an integer", number(d.Int), "t", nil, formats.BadType},
		{"a string as an integer", number(d.Int), "s", nil, formats.BadType},
		{"null as an integer", number(d.Int), "n", nil, ""},
		{"an absent integer", number(d.Int), "none", nil, ""},
		{"an integer as a real", real, "i", 7.0, ""},
		{"true as a real", real, "t", nil, formats.BadType},
		{"a string", str, "s", "xé", ""},
		{"an integer as a string", str, "i", nil, formats.BadType},
		{"a list as a string", str, "names", nil, formats.BadType},
		{"true", truth, "t", true, ""},
		{"an integer as true", truth, "i", nil, formats.BadType},
		{"null as true", truth, "n", nil, ""},
	} {
		v, ok, err := x.get(x.key)
		if formats.CodeOf(err) != x.code || ok != (x.want != nil) || ok && v != x.want {
			t.Errorf("%s: got %v, %v, %v, want %v %s", x.name, v, ok, err, x.want, x.code)
		}
	}
	if ids, err := d.Ints("i"); err != nil || len(ids) != 1 || ids[0] != 7 {
		t.Errorf("one id: got %v, %v", ids, err)
	}
	if ids, err := d.Ints("ids"); err != nil || len(ids) != 2 {
		t.Errorf("two ids: got %v, %v", ids, err)
	}
	if _, err := d.Ints("mixed"); formats.CodeOf(err) != formats.BadType {
		t.Errorf("a string among ids: got %v", err)
	}
	if _, err := d.Strs("mixed"); formats.CodeOf(err) != formats.BadType {
		t.Errorf("a number among names: got %v", err)
	}
	if !d.Has("o", "k") || d.Has("o", "l") || d.Has("n") || !d.Null("o", "l") || d.Null("none") || d.Has("i", "k") || !d.IsObject("o") || d.IsObject("ids") {
		t.Error("Has, Null or IsObject is wrong")
	}
}

func TestSet(t *testing.T) {
	for _, x := range []struct {
		name, text, raw string
		path            []string
		want            string
	}{
		{"a value", `{"a": 1, "b": 2}`, "true", []string{"a"}, `{"a": true, "b": 2}`},
		{"an odd value", "{\"a\" :\n [1, {\"x\": 2} ]\t, \"b\":2}", "null", []string{"a"}, "{\"a\" :\n null\t, \"b\":2}"},
		{"null", `{"a": null}`, "false", []string{"a"}, `{"a": false}`},
		{"a nested value", `{"t": {"a": 1}, "a": 1}`, "2", []string{"t", "a"}, `{"t": {"a": 2}, "a": 1}`},
		{"a new key, one line", `{"a": 1, "b": 2}`, "3", []string{"c"}, `{"a": 1, "b": 2, "c": 3}`},
		{"a new key, dense", `{"a":1,"b":2}`, "3", []string{"c"}, `{"a":1,"b":2,"c": 3}`},
		{"a new key, indented", "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": 2\n  }\n}\n", "3", []string{"d"}, "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": 2\n  },\n  \"d\": 3\n}\n"},
		{"a new nested key", "{\n  \"b\": {\n    \"c\": 2\n  }\n}\n", "3", []string{"b", "d"}, "{\n  \"b\": {\n    \"c\": 2,\n    \"d\": 3\n  }\n}\n"},
		{"a new key, tabs and carriage returns", "{\r\n\t\"a\": 1\r\n}\r\n", "2", []string{"b"}, "{\r\n\t\"a\": 1,\r\n\t\"b\": 2\r\n}\r\n"},
		{"a new key beside one", `{"a":1}`, "2", []string{"b"}, `{"a":1, "b": 2}`},
		{"a new key in nothing", `{ }`, "2", []string{"b"}, `{"b": 2}`},
		{"a key that needs escapes", `{}`, "2", []string{"a\"\n\x01"}, `{"a\"\n\u0001": 2}`},
	} {
		d, err := config.Parse("c", []byte(x.text))
		if err != nil {
			t.Fatal(x.name, err)
		}
		out, err := d.Set(x.raw, x.path...)
		if err != nil || string(out.Bytes()) != x.want {
			t.Errorf("%s: got %q, %v, want %q", x.name, out.Bytes(), err, x.want)
		}
		if string(d.Bytes()) != x.text {
			t.Errorf("%s: the document itself changed", x.name)
		}
	}
	d, _ := config.Parse("c", []byte(`{"a": 1}`))
	if _, err := d.Set("1", "b", "c"); formats.CodeOf(err) != formats.Missing {
		t.Errorf("an object on the way is missing: got %v", err)
	}
	if _, err := d.Set("1", "a", "c"); formats.CodeOf(err) != formats.Missing {
		t.Errorf("a number on the way: got %v", err)
	}
	if _, err := d.Set("{", "a"); err == nil {
		t.Error("text that is no JSON was set")
	}
}

// FuzzParse holds the parser against encoding/json: what ours reads, apart from Python's numbers, the other one reads too, and an edit changes
// nothing but its value.
func FuzzParse(f *testing.F) {
	paths, _ := filepath.Glob(checkpoints + "*/config.json")
	for _, p := range paths {
		if b, err := os.ReadFile(p); err == nil {
			f.Add(b)
		}
	}
	for _, x := range corpus.Config().Cases() {
		if len(x.Bytes) < 16<<10 { // the fuzzer spends its time on small inputs
			f.Add(x.Bytes)
		}
	}
	for _, s := range []string{`{"a": NaN, "b": [[], {}]}`, `{"\ud83d\ude00": "\u0000", "a": {"a": null}}`, `{"a": 1, "a": 2}`, "{\"a\":\"\xff\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := config.Parse("f", b)
		if err != nil {
			return
		}
		python := strings.Contains(string(b), "NaN") || strings.Contains(string(b), "Infinity")
		if !json.Valid(b) && !python {
			t.Fatalf("read what is no JSON: %q", b)
		}
		for _, k := range d.Keys() {
			out, err := d.Set(d.Raw(k), k)
			if err != nil || !bytes.Equal(out.Bytes(), b) {
				t.Fatalf("setting %q to what it is: got %q, %v", k, out.Bytes(), err)
			}
		}
		if d.Has("tie") || d.Null("tie") {
			return
		}
		out, err := d.Set("true", "tie")
		if err != nil {
			t.Fatal(err)
		}
		if v, ok, err := out.Bool("tie"); !v || !ok || err != nil || len(out.Keys()) != len(d.Keys())+1 {
			t.Fatalf("got %v %v %v from %q", v, ok, err, out.Bytes())
		}
	})
}
