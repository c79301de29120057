package tokenizer

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"
)

// tokens are what a reader gives for an array before its end or an error. Every third value is read whole.
func tokens(r interface {
	Token() (json.Token, error)
	Decode(any) error
	More() bool
}) (out []any, failed bool) {
	var open []level
	for i := 0; ; i++ {
		n := len(open) - 1
		if n >= 0 {
			open[n].values++
		}
		if i%3 == 2 && r.More() && (open[n].bracket == '[' || open[n].values%2 == 0) {
			var v json.RawMessage
			if err := r.Decode(&v); err != nil {
				return out, true
			}
			out = append(out, string(v))
			continue
		}
		t, err := r.Token()
		if err != nil {
			return out, true
		}
		out = append(out, t)
		switch t {
		case json.Delim('['), json.Delim('{'):
			open = append(open, level{bracket: byte(t.(json.Delim))})
		case json.Delim(']'), json.Delim('}'):
			if open = open[:n]; n == 0 {
				return out, false
			}
		}
	}
}

// same compares with the library's decoder, token by token, on what follows a bracket. What is wrong either may find a token earlier.
func same(t *testing.T, b []byte) {
	if !utf8.Valid(b) {
		return // newReader refuses it
	}
	b = append([]byte("["), b...)
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	want, bad := tokens(d)
	got, failed := tokens(&stream{b: b})
	if failed && bad {
		n := min(len(got), len(want))
		got, want = got[:n], want[:n]
	}
	if failed != bad || !reflect.DeepEqual(got, want) {
		t.Errorf("%q: got %q, an error: %v; want %q, %v", b, got, failed, want, bad)
	}
}

var texts = []string{
	"", " ", "]", " ]", "1]", "1,]", ",1]", "1 2]", `{"a":1}]`, `"a", 2, {"b": [3, 4]}, null, true, [[]]]`, "{", "}", "[", "{}", " [ ] ", "[1,]", "[,1]", "[1 2]", `{"a"}`, `{"a":}`, `{"a",1}`, `{"a":1,}`, `{1:2}`, `{"a":1 "b":2}`, `{"a":1]`, `[1}`,
	`{"a": [1, {"b": null}, true], "c": false}`, `["\u0041\ud83d\ude00\ud83d\n\"\\"]`, "[\"a\nb\"]", `["\x"]`, `["a`, `["a\`, `[01, 1]`, `[-1.5e+3, 0, -0, 1e400]`, `[1.]`,
	`[+1]`, `[nul]`, `[nullx]`, `[true false]`, `{"a":{"b":{"c":[[],[{}]]}}}`, `["Ġ", "ĠĠ", 7]`, `[:]`, `{"a":"}","b":"]"}`, "1 2", `{}{}`, "\ufeff{}", `[[1,2],[3,"]"],[4]]`,
}

func TestStreamIsTheDecoders(t *testing.T) {
	for _, s := range texts {
		same(t, []byte(s))
	}
}

func FuzzStream(f *testing.F) {
	for _, s := range texts {
		f.Add([]byte(s))
	}
	f.Fuzz(same)
}
