package tokenizer

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
)

// TestMalformed is files that are wrong for a model of so many rows. The corpus has those that are wrong for any.
func TestMalformed(t *testing.T) {
	type file map[string]string
	swap := func(old, new string) file {
		s := strings.Replace(minimal, old, new, 1)
		if s == minimal {
			t.Fatalf("%q is not in the file", old)
		}
		return file{"tokenizer.json": s}
	}
	with := func(name, text string) file { return file{"tokenizer.json": minimal, name: text} }
	for _, c := range []struct {
		name string
		file file
		rows int
		code formats.Code
		text string // part of the message
	}{
		{"sound, more rows", file{"tokenizer.json": minimal}, 9, "", ""},
		{"more tokens than rows", file{"tokenizer.json": minimal}, 3, formats.Mismatch, "highest id is 3, the model has 3 rows"},
		{"rows beyond reason", file{"tokenizer.json": minimal}, 1 << 30, formats.Limit, "rows"},
		{"an added token with another id", swap(`"id": 3`, `"id": 5`), 9, formats.Mismatch, "states id 5, the library gives it 3"},
		{"a token too many", with("tokenizer_config.json", `{"pad_token": "<pad>"}`), 4, formats.Mismatch, "highest id is 4, the model has 4 rows"},
	} {
		_, _, err := FromHF(func(name string) ([]byte, error) {
			if s, ok := c.file[name]; ok {
				return []byte(s), nil
			}
			return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
		}, Model{Rows: c.rows})
		if formats.CodeOf(err) != c.code || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %s %v, want %s %s", c.name, formats.CodeOf(err), err, c.code, c.text)
		}
	}
	broken := errors.New("disk on fire")
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} {
		_, _, err := FromHF(func(n string) ([]byte, error) {
			if n == name {
				return nil, broken
			}
			return dir("llama3", nil)(n)
		}, Model{})
		if name != "chat_template.jinja" && !errors.Is(err, broken) {
			t.Errorf("%s: got %v, want %v", name, err, broken)
		}
	}
}

func TestMalformedGGUF(t *testing.T) {
	sound := func() formats.Metadata {
		return formats.Metadata{
			{Key: "tokenizer.ggml.model", Value: "gpt2"}, {Key: "tokenizer.ggml.pre", Value: "gpt-2"},
			{Key: "tokenizer.ggml.tokens", Value: []string{"a", "b", "ab", "<e>"}}, {Key: "tokenizer.ggml.token_type", Value: []int32{1, 1, 1, 3}},
			{Key: "tokenizer.ggml.merges", Value: []string{"a b"}}, {Key: "tokenizer.ggml.eos_token_id", Value: uint32(3)},
		}
	}
	for _, c := range []struct {
		name  string
		key   string
		value any
		code  formats.Code // of FromGGUF or of HF
		text  string
	}{
		{"sound", "pre", "gpt-2", "", ""},
		{"no model", "model", nil, formats.Missing, "tokenizer.ggml.model"},
		{"SentencePiece without scores", "model", "llama", formats.Mismatch, "got 0 scores, want 4"}, {"Unigram", "model", "t5", formats.Unsupported, `got "t5"`},
		{"a model of another type", "model", uint32(2), formats.BadType, "uint32"},
		{"no tokens", "tokens", nil, formats.Missing, "tokens"},
		{"a token twice", "tokens", []string{"a", "b", "ab", "a"}, formats.Dup, `tokens 0 and 3 are both "a"`},
		{"a token that is not UTF-8", "tokens", []string{"a", "b", "ab", "\xff"}, formats.UTF8, "token 3"},
		{"an empty token", "tokens", []string{"a", "b", "ab", ""}, "", ""},
		{"too few types", "token_type", []int32{1}, formats.Mismatch, "got 1 types, want 4"},
		{"no types", "token_type", nil, "", ""},
		{"an unknown type", "token_type", []int32{1, 1, 1, 9}, formats.Bounds, "type of token 3 is 9"},
		{"a merge of one", "merges", []string{"ab"}, formats.Mismatch, "two parts"},
		{"an empty merge", "merges", []string{""}, formats.Mismatch, "two parts"},
		{"a merge of what is no token", "merges", []string{"a c"}, formats.Mismatch, "no token"},
		{"an id out of range", "eos_token_id", uint32(1 << 31), "", ""},
		{"an id of another type", "eos_token_id", int32(3), formats.BadType, "eos_token_id"},
		{"no pre-tokenizer", "pre", nil, formats.Missing, "does not name its pre-tokenizer"},
		{"a pre-tokenizer that is not rebuilt", "pre", "tekken", formats.Unsupported, `"tekken" is not rebuilt`},
		{"an unknown pre-tokenizer", "pre", "x", formats.Unsupported, `called "x"`},
	} {
		m := slices.DeleteFunc(sound(), func(kv formats.KV) bool { return kv.Key == "tokenizer.ggml."+c.key })
		if c.value != nil {
			m = append(m, formats.KV{Key: "tokenizer.ggml." + c.key, Value: c.value})
		}
		v, _, err := FromGGUF(m)
		if err == nil {
			_, _, err = v.HF()
		}
		if formats.CodeOf(err) != c.code || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %s %v, want %s %s", c.name, formats.CodeOf(err), err, c.code, c.text)
		}
	}
}

// What a person may dispute is said.
func TestNotes(t *testing.T) {
	for _, c := range []struct {
		name, fixture string
		edits         map[string]string
		old, new      string // in tokenizer_config.json
		want          string
	}{
		{"a class that transformers 5 rebuilds", "granite", nil, "", "", "without the Digits step"},
		{"rows without token", "qwen2", nil, "", "", "9 rows without token"},
		{"flags without key", "smol", nil, "", "", "lstrip, rstrip and single_word have no GGUF key"},
		{"a token that decodes to another text", "smol", nil, "", "", `GGUF text " zz"`},
		{"a token that another file names", "extra", nil, "", "", "special_tokens_map.json"},
		{"flags of another file", "extra", nil, "", "", "flags of tokenizer_config.json"},
		{"two templates", "llama3", map[string]string{"chat_template.jinja": "other"}, "", "", "tokenizer_config.json has another template"},
		{"a normalizer that the runtime lacks", "qwen2", nil, "", "", "the runtime does not normalize text"},
		{"a flag against the post-processor", "llama3", nil, `"chat_template"`, `"add_bos_token": false, "chat_template"`, "the post-processor of tokenizer.json says otherwise"},
		{"a flag without post-processor", "extra", nil, `"add_bos_token": false`, `"add_bos_token": true`, "puts ids [] before a text"},
		{"another id in config.json", "extra", nil, "", "", "config.json has another id"},
	} {
		edits := map[string]string{"special_tokens_map.json": "{}"}
		if c.fixture == "extra" && c.want == "special_tokens_map.json" {
			edits = map[string]string{"tokenizer_config.json": `{"pad_token": "<newpad>"}`}
		}
		for k, s := range c.edits {
			edits[k] = s
		}
		if c.old != "" {
			b, err := os.ReadFile("testdata/" + c.fixture + "/tokenizer_config.json")
			if err != nil || !strings.Contains(string(b), c.old) {
				t.Fatal(c.name, err)
			}
			edits["tokenizer_config.json"] = strings.Replace(string(b), c.old, c.new, 1)
		}
		v, notes, err := FromHF(dir(c.fixture, edits), configOf(t, c.fixture))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		_, more, err := v.GGUF("")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		notes = append(notes, more...)
		if !slices.ContainsFunc(notes, func(n formats.Note) bool {
			return strings.Contains(n.Subject+": "+n.Decision+": "+n.Because, c.want)
		}) {
			t.Errorf("%s: got %+v, want %q", c.name, notes, c.want)
		}
	}
}

// The runtime adds BOS for llama-bpe unless told not to, so a tokenizer that adds none says so.
func TestSilentBOS(t *testing.T) {
	v, _ := fromHF(t, "llama3")
	v.Adds, v.Prefix = nil, nil
	if got := toGGUF(t, v).Get("tokenizer.ggml.add_bos_token"); got != false {
		t.Errorf("got %v, want false", got)
	}
}

// A blank inside a merge's part is written as in byte-level spelling.
func TestBlankInMerge(t *testing.T) {
	v := &Vocab{Tokens: []string{"a b", "c", "a bc"}, Merges: [][2]int32{{0, 1}}}
	if got := v.mergeTexts(); got[0] != "aĠb c" {
		t.Errorf("got %q, want %q", got, "aĠb c")
	}
}

func FuzzEncode(f *testing.F) {
	var vocabs []*Vocab
	for _, name := range []string{"granite", "llama3", "gpt2", "ends"} {
		v, _ := fromHF(f, name)
		vocabs = append(vocabs, v)
	}
	for _, s := range append(load[[]string](f, "corpus.json"), "\xff", "a\xc3") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, v := range vocabs {
			ids, err := v.Encode(text, false)
			if !utf8.ValidString(text) {
				if formats.CodeOf(err) != formats.UTF8 {
					t.Fatalf("%q: got %v, want %s", text, err, formats.UTF8)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			if got, err := v.Decode(ids); err != nil || string(got) != text {
				t.Fatalf("%q: %v decodes to %q %v", text, ids, got, err)
			}
		}
	})
}

func FuzzFromHF(f *testing.F) {
	for _, x := range corpus.Tokenizer().Cases() {
		text, config := x.Bytes, "{}"
		if x.Files != nil {
			text, config = x.Files["tokenizer.json"], string(x.Files["tokenizer_config.json"])
		}
		if len(text) < 16<<10 { // the fuzzer spends its time on small inputs
			f.Add(string(text), config)
		}
	}
	f.Add(minimal, `{"chat_template": [{"name": "default", "template": "x"}], "bos_token": {"content": "<e>"}}`)
	f.Add(strings.Replace(minimal, `"post_processor": null`, `"post_processor": {"type": "RobertaProcessing", "cls": ["a", 0], "sep": ["b", 1]}`, 1), `{"added_tokens_decoder": {"3": {"content": "<e>"}}}`)
	f.Fuzz(func(t *testing.T, file, config string) {
		v, _, err := FromHF(func(name string) ([]byte, error) {
			switch name {
			case "tokenizer.json":
				return []byte(file), nil
			case "tokenizer_config.json":
				return []byte(config), nil
			}
			return nil, os.ErrNotExist
		}, Model{})
		if err != nil {
			return
		}
		v.Encode("ab <e> 12", true)
		kv, _, err := v.GGUF("gpt-2")
		if err != nil {
			return
		}
		if w, _, err := FromGGUF(kv); err == nil {
			w.HF()
		}
	})
}
