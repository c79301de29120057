package tokenizer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
)

// fixtures are the directories of testdata, and the pre-tokenizer that each has to be given.
var fixtures = map[string]string{
	"granite": "refact", "llama3": "llama-bpe", "gpt2": "gpt-2", "qwen2": "qwen2", "smol": "smollm", "ends": "dbrx", "qwen35": "qwen35", "extra": "gpt-2",
}

// load reads JSON of testdata.
func load[T any](t testing.TB, elem ...string) T {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(elem, err)
	}
	return v
}

// dir reads files from a directory, with edited ones in their place.
func dir(name string, edits map[string]string) func(string) ([]byte, error) {
	return func(f string) ([]byte, error) {
		if s, ok := edits[f]; ok {
			return []byte(s), nil
		}
		return os.ReadFile(filepath.Join("testdata", name, f))
	}
}

// configOf is what a model knows of itself.
func configOf(t testing.TB, name string) Model {
	raw := load[map[string]json.RawMessage](t, name, "config.json")
	m := Model{IDs: map[string]int{}}
	json.Unmarshal(raw["vocab_size"], &m.Rows)
	json.Unmarshal(raw["model_type"], &m.Type)
	m.Llama = m.Type == "llama"
	for k, v := range raw {
		var id int
		if role, ok := strings.CutSuffix(k, "_token_id"); ok && json.Unmarshal(v, &id) == nil {
			m.IDs[role] = id
		}
	}
	return m
}

func fromHF(t testing.TB, name string) (*Vocab, []formats.Note) {
	t.Helper()
	v, notes, err := FromHF(dir(name, nil), configOf(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return v, notes
}

func toGGUF(t testing.TB, v *Vocab) formats.Metadata {
	t.Helper()
	kv, _, err := v.GGUF("")
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// recorded are ids.json: "plain" and "special" by the tokenizers library, "llama.cpp" by libllama, and the lengths of pieces.
type recorded map[string][][]int

func TestPieces(t *testing.T) {
	texts := load[[]string](t, "corpus.json")
	for name := range fixtures {
		v, _ := fromHF(t, name)
		names, err := chain(v.Pre)
		if err != nil {
			t.Fatal(name, err)
		}
		for i, want := range load[recorded](t, name, "ids.json")["pieces"] {
			var got []int
			for _, p := range cut(texts[i], names) {
				got = append(got, len(p))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q: got pieces of %v bytes, want %v", name, texts[i], got, want)
			}
		}
	}
}

func TestEncode(t *testing.T) {
	texts := load[[]string](t, "corpus.json")
	for name := range fixtures {
		v, _ := fromHF(t, name)
		ids := load[recorded](t, name, "ids.json")
		for i, text := range texts {
			for what, special := range map[string]bool{"plain": false, "special": true} {
				got, err := v.Encode(text, special)
				if err != nil || !slices.Equal(got, ids[what][i]) {
					t.Errorf("%s: %s %q: got %v %v, want %v", name, what, text, got, err, ids[what][i])
				}
			}
		}
	}
}

// The keys are those that llama.cpp's converter wrote.
func TestGGUF(t *testing.T) {
	for name, pre := range fixtures {
		v, _ := fromHF(t, name)
		kv, notes, err := v.GGUF("")
		if err != nil {
			t.Fatal(name, err)
		}
		if got := formats.Metadata(kv).Get("tokenizer.ggml.pre"); got != pre {
			t.Errorf("%s: got pre %v, want %v", name, got, pre)
		}
		for _, n := range notes {
			if n.Subject == "post_processor" {
				t.Errorf("%s: %+v", name, n)
			}
		}
		var got []string
		for _, e := range kv {
			got = append(got, line(t, e))
		}
		var want []string
		for _, e := range load[[][3]json.RawMessage](t, name, "gguf.json") {
			want = append(want, string(bytes.Join([][]byte{e[0], e[1], compact(t, e[2])}, []byte(" "))))
		}
		if !slices.Equal(got, want) {
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					t.Errorf("%s: key %d:\n got %.200s\nwant %.200s", name, i, slices.Concat(got, make([]string, 99))[i], slices.Concat(want, make([]string, 99))[i])
				}
			}
		}
	}
}

// line prints an entry as testdata/gen/tokenizers.py does.
func line(t *testing.T, e formats.KV) string {
	types := map[string]string{"bool": "BOOL", "string": "STRING", "uint32": "UINT32", "[]string": "ARRAY STRING", "[]int32": "ARRAY INT32"}
	v := e.Value
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.Slice && rv.Len() > 2000 {
		h := sha256.New()
		for i := range rv.Len() {
			if i > 0 {
				h.Write([]byte{0})
			}
			fmt.Fprint(h, rv.Index(i))
		}
		v = struct {
			Count  int    `json:"count"`
			SHA256 string `json:"sha256"`
			Head   any    `json:"head"`
		}{rv.Len(), hex.EncodeToString(h.Sum(nil)), rv.Slice(0, 520).Interface()}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%q %q %s", e.Key, types[fmt.Sprintf("%T", e.Value)], compact(t, b.Bytes()))
}

func compact(t *testing.T, b []byte) []byte {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	b, _ = json.Marshal(v)
	return b
}

// What is read back from GGUF keys encodes as libllama does with the same keys.
func TestFromGGUF(t *testing.T) {
	texts := load[[]string](t, "corpus.json")
	for name := range fixtures {
		src, _ := fromHF(t, name)
		v, _, err := FromGGUF(toGGUF(t, src))
		if err != nil {
			t.Fatal(name, err)
		}
		v.Normalizers = nil // the runtime has none
		for i, want := range load[recorded](t, name, "ids.json")["llama.cpp"] {
			if got, err := v.Encode(texts[i], true); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %q: got %v %v, want %v", name, texts[i], got, err, want)
			}
		}
	}
}

// Hugging Face to GGUF and back: the same tokenizer.json, byte for byte where GGUF can hold all it says.
func TestRoundTrip(t *testing.T) {
	texts := load[[]string](t, "corpus.json")
	same := map[string]bool{"granite": true, "llama3": true}
	for name := range fixtures {
		src, _ := fromHF(t, name)
		kv := toGGUF(t, src)
		v, _, err := FromGGUF(kv)
		if err != nil {
			t.Fatal(name, err)
		}
		files, _, err := v.HF()
		if err != nil {
			t.Fatal(name, err)
		}
		if want, _ := dir(name, nil)("tokenizer.json"); same[name] && !bytes.Equal(files["tokenizer.json"], want) {
			i := 0
			for got := files["tokenizer.json"]; i < min(len(got), len(want)) && got[i] == want[i]; i++ {
			}
			t.Errorf("%s: tokenizer.json differs from byte %d: got %.80q, want %.80q", name, i, files["tokenizer.json"][i:], want[i:])
		}
		m := configOf(t, name)
		m.IDs = nil
		back, _, err := FromHF(func(n string) ([]byte, error) {
			if b, ok := files[n]; ok {
				return b, nil
			}
			return nil, os.ErrNotExist
		}, m)
		if err != nil {
			t.Fatal(name, err)
		}
		ids := load[recorded](t, name, "ids.json")["special"]
		flagged := slices.ContainsFunc(src.Added, func(a Added) bool { return a.LStrip || a.SingleWord })
		for i, text := range texts {
			got, err := back.Encode(text, true)
			if formats.CodeOf(err) == formats.Unsupported && back.Normalizers != nil || flagged && !slices.Equal(ids[i], load[recorded](t, name, "ids.json")["llama.cpp"][i]) {
				continue
			}
			if err != nil || !slices.Equal(got, ids[i]) {
				t.Errorf("%s: %q: got %v %v, want %v", name, text, got, err, ids[i])
			}
		}
		// The same keys come out again, but for those that only config.json held. The EOS of "extra" is special now.
		for _, e := range toGGUF(t, back) {
			if name == "extra" && e.Key == "tokenizer.ggml.token_type" {
				continue
			}
			if want := formats.Metadata(kv).Get(e.Key); want != nil && !reflect.DeepEqual(e.Value, want) {
				t.Errorf("%s: %s: got %.100v, want %.100v", name, e.Key, fmt.Sprint(e.Value), fmt.Sprint(want))
			}
		}
	}
}

func TestChoose(t *testing.T) {
	split := func(regex string) []Step {
		return []Step{{Kind: "Split", Pattern: regex, Behavior: "Isolated"}, {Kind: "ByteLevel"}}
	}
	yes, no := true, false
	digits := []Step{{Kind: "Digits", Individual: true}, {Kind: "ByteLevel", UseRegex: true}}
	cl100 := runtimeByName("llama-bpe").steps()[0].Pattern
	tiktoken := `'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`
	for _, c := range []struct {
		name   string
		pre    []Step
		ignore bool
		clean  *bool
		ask    string
		want   string // the name, or the code of the error
		warn   bool
	}{
		{name: "digits, blanks cleaned", pre: digits, clean: &yes, want: "refact"},
		{name: "digits, blanks kept", pre: digits, clean: &no, want: "smollm"},
		{name: "digits, silent", pre: digits, want: "refact"},
		{name: "digits as an expression", pre: []Step{{Kind: "Split", Pattern: `\p{N}`, Behavior: "Isolated"}, {Kind: "ByteLevel", UseRegex: true}}, want: "refact"},
		{name: "digits in runs", pre: []Step{{Kind: "Digits"}, {Kind: "ByteLevel", UseRegex: true}}, want: "E_UNSUPPORTED"},
		{name: "blank in front", pre: []Step{{Kind: "ByteLevel", UseRegex: true, AddPrefix: true}}, want: "E_UNSUPPORTED"},
		{name: "three digits, whole words", pre: split(cl100), ignore: true, want: "llama-bpe"},
		{name: "three digits", pre: split(cl100), want: "dbrx"},
		{name: "tiktoken's spelling", pre: split(tiktoken), ignore: true, want: "llama-bpe"},
		{name: "line ends in the class", pre: split(strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(cl100)), ignore: true, want: "llama-bpe"},
		{name: "removed, inverted", pre: []Step{{Kind: "Split", Pattern: cl100, Behavior: "Removed", Invert: true}, {Kind: "ByteLevel"}}, want: "dbrx"},
		{name: "removed", pre: []Step{{Kind: "Split", Pattern: cl100, Behavior: "Removed"}, {Kind: "ByteLevel"}}, want: "E_UNSUPPORTED"},
		{name: "one digit, blanks cleaned", pre: split(strings.Replace(cl100, "{1,3}", "{1}", 1)), clean: &yes, want: "stablelm2"},
		{name: "one digit, whole words", pre: split(strings.Replace(cl100, "{1,3}", "", 1)), ignore: true, want: "E_UNSUPPORTED"},
		{name: "two digits", pre: split(strings.Replace(cl100, "3}", "2}", 1)), want: "E_UNSUPPORTED"},
		{name: "asked for, agrees", pre: digits, ask: "starcoder", want: "starcoder"},
		{name: "asked for, differs", pre: digits, ask: "gpt-2", want: "gpt-2", warn: true},
		{name: "asked for, not compared", pre: digits, ask: "tekken", want: "tekken", warn: true},
		{name: "asked for, source not known", pre: split("x+"), ask: "gpt-2", want: "gpt-2", warn: true},
		{name: "asked for, no such name", pre: digits, ask: "gpt-3", want: "E_UNSUPPORTED"},
	} {
		v, _ := fromHF(t, "granite")
		v.Pre, v.IgnoreMerges, v.CleanSpaces = c.pre, c.ignore, c.clean
		r, notes, err := v.choose(c.ask)
		got := string(formats.CodeOf(err))
		if err == nil {
			got = r.name
		}
		if got != c.want || len(notes) > 0 && notes[0].Warn != c.warn {
			t.Errorf("%s: got %s %v %+v, want %s", c.name, got, err, notes, c.want)
		}
		if err != nil && c.ask == "" && !strings.Contains(err.Error(), "--pre NAME") {
			t.Errorf("%s: %v has no hint", c.name, err)
		}
	}
	v, _ := fromHF(t, "llama3")
	if _, notes, _ := v.choose("dbrx"); len(notes) != 1 || !strings.Contains(notes[0].Because, "1 of ") || !strings.Contains(notes[0].Because, "unreachable") {
		t.Errorf("dbrx without ignore_merges: got %+v, want one mismatch, at the token that no merges reach", notes)
	}
}

// Every name that has splitters is rebuilt into steps that give the same splitters.
func TestSteps(t *testing.T) {
	for i := range runtimes {
		r := &runtimes[i]
		if slices.ContainsFunc(runtimes[:i], func(o runtime) bool { return o.name == r.name }) {
			t.Errorf("%s twice", r.name)
		}
		if r.split == "" {
			continue
		}
		if names, err := chain(r.steps()); err != nil || !r.fits(names) {
			t.Errorf("%s: got %v %v, want %s", r.name, names, err, r.split)
		}
	}
	for _, p := range published {
		if r := runtimeByName(p.pre); r == nil || r.split == "" {
			t.Errorf("%s is no name with splitters", p.pre)
		}
	}
}

// Spellings of one byte-level alphabet: every byte has a character and comes back.
func TestSpelling(t *testing.T) {
	var all []byte
	for b := range 256 {
		all = append(all, byte(b))
	}
	s := spell(string(all))
	if p, ok := unspell(s); !ok || p != string(all) {
		t.Errorf("got %q %t", p, ok)
	}
	for b, want := range map[byte]string{' ': "Ġ", '\n': "Ċ", '\t': "ĉ", 0: "Ā", 'a': "a", 0x7f: "ġ", 0xa0: "ł", 0xad: "Ń", 0xff: "ÿ"} {
		if got := spell(string([]byte{b})); got != want {
			t.Errorf("byte %s: got %q, want %q", strconv.Itoa(int(b)), got, want)
		}
	}
}
