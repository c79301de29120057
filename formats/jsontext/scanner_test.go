package jsontext_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/jsontext"
)

// scan reads a whole text as one value.
func scan(text string) *formats.Error {
	s := jsontext.New("x.json", text, 100)
	s.Skip(0)
	s.End()
	return s.Err
}

// texts are values and what is wrong with them; a "¦" marks where.
var texts = []struct {
	name, text string
	code       formats.Code
}{
	{"object", `{"a":[1,-2.5e+3,0,true,false,null,"x"],"b":{}}`, ""},
	{"white space", " \t\r\n[ 1 , 2 ] \n", ""},
	{"every escape", `"\"\\\/\b\f\n\r\t\u0041\ud83e\udea2"`, ""},
	{"raw DEL and separators", "\"\x7f\u2028\u2029\"", ""},
	{"noncharacters", "\"\uffff\U0010ffff\"", ""},
	{"equal keys, which is for callers to judge", `{"a":1,"a":2}`, ""},
	{"depth 128", strings.Repeat("[", 128) + strings.Repeat("]", 128), ""},
	{"depth 129", strings.Repeat("[", 128) + "¦[" + strings.Repeat("]", 129), formats.Limit},
	{"depth of a million", strings.Repeat(`{"a":`, 128) + "¦" + strings.Repeat(`{"a":`, 1_000_000), formats.Limit},
	{"nothing", "¦", formats.JSON},
	{"white space alone", " \n¦", formats.JSON},
	{"two values", "1 ¦2", formats.JSON},
	{"leading zero", "¦01", formats.JSON},
	{"bare minus", "¦-", formats.JSON},
	{"plus", "¦+1", formats.JSON},
	{"no digit after the point", "¦1.", formats.JSON},
	{"no digit before the point", "¦.5", formats.JSON},
	{"no digit in the exponent", "¦1e+", formats.JSON},
	{"hexadecimal", "0¦x10", formats.JSON},
	{"NaN", "¦NaN", formats.JSON},
	{"Infinity", "¦-Infinity", formats.JSON},
	{"cut literal", "¦tru", formats.JSON},
	{"long literal", "true¦r", formats.JSON},
	{"capital literal", "¦True", formats.JSON},
	{"open object", `{"a":1¦`, formats.JSON},
	{"open array", `[1¦`, formats.JSON},
	{"open string", `¦"a`, formats.JSON},
	{"open string with an escape", `¦"a\n`, formats.JSON},
	{"escape at the end", `¦"a\`, formats.JSON},
	{"no colon", `{"a"¦}`, formats.JSON},
	{"no value", `{"a":¦}`, formats.JSON},
	{"number as key", `{¦1:2}`, formats.JSON},
	{"comma first", `[¦,1]`, formats.JSON},
	{"comma last", `[1,¦]`, formats.JSON},
	{"two commas", `[1,¦,2]`, formats.JSON},
	{"wrong bracket", `[1¦}`, formats.JSON},
	{"closing bracket alone", `¦]`, formats.JSON},
	{"comment", "¦// a\n1", formats.JSON},
	{"form feed as white space", "¦\f1", formats.JSON},
	{"no-break space", "¦\u00a01", formats.JSON},
	{"control character", "\"a¦\x1f\"", formats.JSON},
	{"control character after an escape", "\"\\n¦\x00\"", formats.JSON},
	{"escape of five digits cut", `"¦\u004"`, formats.JSON},
	{"escape with a sign", `"¦\u+041"`, formats.JSON},
	{"unknown escape", `"¦\a"`, formats.JSON},
	{"lone high surrogate", `"¦\ud800"`, formats.UTF8},
	{"lone low surrogate", `"a¦\udfff"`, formats.UTF8},
	{"high surrogate twice", `"¦\ud800\ud800"`, formats.UTF8},
	{"byte FF", "\"a¦\xff\"", formats.UTF8},
	{"overlong", "\"¦\xc0\x80\"", formats.UTF8},
	{"surrogate in UTF-8", "\"¦\xed\xa0\x80\"", formats.UTF8},
	{"beyond Unicode", "\"¦\xf4\x90\x80\x80\"", formats.UTF8},
	{"cut UTF-8", "\"¦\xe2\x82\"", formats.UTF8},
	{"byte order mark", "¦\ufeff1", formats.UTF8},
	{"NUL padding", "1¦\x00\x00", formats.JSON},
}

func TestScanner(t *testing.T) {
	for _, x := range texts {
		at := strings.Index(x.text, "¦")
		err := scan(strings.Replace(x.text, "¦", "", 1))
		switch {
		case x.code == "" && err != nil:
			t.Errorf("%s: got %v, want it read", x.name, err)
		case x.code == "" || err == nil:
			if x.code != "" {
				t.Errorf("%s: read, want %s", x.name, x.code)
			}
		case err.Code != x.code || err.Offset != int64(at)+100 || err.Path != "x.json":
			t.Errorf("%s: got %s at %d of %s, want %s at %d: %v", x.name, err.Code, err.Offset, err.Path, x.code, at+100, err)
		}
	}
}

// judge compares the scanner with encoding/json, which says of all text but these the same: it nests to 10,000, replaces what is not UTF-8,
// and takes half a surrogate pair for a replacement character.
func judge(t *testing.T, text string) {
	t.Helper()
	err := scan(text)
	if err != nil && (err.Offset < 100 || err.Offset > int64(len(text))+100 || err.Code == "") {
		t.Fatalf("%q: got %+v", text, err)
	}
	valid := json.Valid([]byte(text))
	if err == nil && !valid || err != nil && valid && err.Code != formats.UTF8 && err.Code != formats.Limit {
		t.Fatalf("%q: got %v, encoding/json says %v", text, err, valid)
	}
	if err != nil || len(text) == 0 || strings.TrimLeft(text, " \t\r\n")[0] != '"' {
		return
	}
	s := jsontext.New("", text, 0)
	got, want := s.Str(), ""
	if e := json.Unmarshal([]byte(text), &want); e != nil || got != want {
		t.Fatalf("%q: got %q, encoding/json reads %q, %v", text, got, want, e)
	}
	var back string
	if e := json.Unmarshal(jsontext.Quote(nil, got), &back); e != nil || back != got {
		t.Fatalf("%q: quoted as %s", got, jsontext.Quote(nil, got))
	}
}

func TestAsStandard(t *testing.T) {
	for _, x := range texts {
		judge(t, strings.Replace(x.text, "¦", "", 1))
	}
}

func FuzzScanner(f *testing.F) {
	for _, x := range texts {
		if len(x.text) < 2000 {
			f.Add(strings.Replace(x.text, "¦", "", 1))
		}
	}
	f.Fuzz(judge)
}
