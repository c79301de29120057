package tokenizer

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
)

const root = "../../testdata/"

// without reads the files of a SentencePiece fixture but for some.
func without(name string, gone ...string) func(string) ([]byte, error) {
	return func(f string) ([]byte, error) {
		if slices.Contains(gone, f) {
			return nil, fs.ErrNotExist
		}
		return os.ReadFile(filepath.Join(root, "checkpoints", name, f))
	}
}

// TestSentencePiece gives the ids of the tokenizers library from tokenizer.json with and without the scores, those of the sentencepiece library
// from tokenizer.model alone, and those of libllama from the GGUF keys, and the first ones again from what is rebuilt of these.
func TestSentencePiece(t *testing.T) {
	texts := load[[]string](t, "corpus.json")
	for _, name := range []string{"mistral", "gemma", "phi3"} {
		want := load[recorded](t, "..", root, "sentencepiece", name+".json")
		m := configOf(t, filepath.Join("..", root, "checkpoints", name))
		same := func(how, what string, v *Vocab, special bool) {
			t.Helper()
			for i, text := range texts {
				ids := want[what][i]
				if what == "model" && ids == nil {
					continue
				}
				if got, err := v.Encode(text, special); err != nil || !slices.Equal(got, ids) {
					t.Errorf("%s, %s: %s %q: got %v %v, want %v", name, how, what, text, got, err, ids)
				}
			}
		}
		for how, gone := range map[string][]string{"both files": nil, "tokenizer.json alone": {"tokenizer.model"}, "tokenizer.model alone": {"tokenizer.json"}} {
			v, _, err := FromHF(without(name, gone...), m)
			if err != nil {
				t.Fatal(name, how, err)
			}
			same(how, "plain", v, false)
			same(how, "special", v, true)
			if slices.Contains(gone, "tokenizer.json") {
				same(how, "model", v, false)
			}
			kv, _, err := v.GGUF("")
			if err != nil {
				t.Fatal(name, how, err)
			}
			g, _, err := FromGGUF(kv)
			if err != nil {
				t.Fatal(name, how, err)
			}
			if g.Merges != nil || len(g.Scores) != len(g.Tokens) {
				t.Errorf("%s, %s: the keys are not those of a SentencePiece vocabulary", name, how)
			}
			stripped := !slices.Equal(flags(v), flags(g)) // which GGUF has no key for
			if !stripped {
				same(how+", by GGUF", "llama.cpp", g, true)
			}
			files, _, err := g.HF()
			if err != nil {
				t.Fatal(name, how, err)
			}
			back, _, err := FromHF(func(f string) ([]byte, error) {
				if b, ok := files[f]; ok {
					return b, nil
				}
				return nil, fs.ErrNotExist
			}, Model{Rows: m.Rows})
			if err != nil {
				t.Fatal(name, how, err)
			}
			if back.Merges == nil {
				t.Errorf("%s, %s: nothing was rebuilt of the merges", name, how)
			}
			if !stripped {
				same(how+", rebuilt", "special", back, true)
			}
			for i, id := range want["plain"] {
				text := strings.ReplaceAll(texts[i], blank, " ") // which are one to the vocabulary
				if b, err := back.Decode(id); err != nil || m.Type == "gemma" && string(b) != text {
					t.Errorf("%s: %v: got %q %v, want %q", name, id, b, err, text)
				}
			}
		}
	}
}

// flags are the added tokens that take blanks along.
func flags(v *Vocab) (out []string) {
	for _, a := range v.Added {
		if a.LStrip || a.RStrip || a.SingleWord {
			out = append(out, a.Content)
		}
	}
	return out
}

// TestModelFile refuses what is no SentencePiece BPE, or one of another tokenizer, by name.
func TestModelFile(t *testing.T) {
	good, err := os.ReadFile(root + "checkpoints/mistral/tokenizer.model")
	if err != nil {
		t.Fatal(err)
	}
	with := func(b []byte) func(string) ([]byte, error) {
		return func(f string) ([]byte, error) {
			if f == "tokenizer.model" {
				return b, nil
			}
			return without("mistral")(f)
		}
	}
	m := configOf(t, filepath.Join("..", root, "checkpoints", "mistral"))
	trainer := func(fields ...byte) []byte { // a message after the first wins
		return append(append(slices.Clone(good), 2<<3|2, byte(len(fields))), fields...)
	}
	for _, x := range []struct {
		name string
		b    []byte
		code formats.Code
		says string
	}{
		{"as it is", good, "", ""},
		{"empty", nil, formats.Missing, "no pieces"},
		{"text", []byte("IQ== 0\nIg== 1\n"), formats.Missing, "no SentencePiece model"},
		{"cut off", good[:len(good)-1], formats.Trunc, "are left"},
		{"Unigram", trainer(3<<3, 1), formats.Unsupported, "Unigram"},
		{"words", trainer(3<<3, 3), formats.Unsupported, "words"},
		{"blanks behind words", trainer(0xc0, 0x01, 1), formats.Unsupported, "treat_whitespace_as_suffix"},
		{"a piece twice", append(slices.Clone(good), 0x0a, 4, 0x0a, 2, 'h', 'e'), formats.Dup, `"he"`},
		{"a piece that is not UTF-8", append(slices.Clone(good), 0x0a, 3, 0x0a, 1, 0xff), formats.UTF8, "not UTF-8"},
		{"a piece of a type that is none", append(slices.Clone(good), 0x0a, 2, 0x18, 9), formats.Trunc, "field 3"},
		{"a piece too many", append(slices.Clone(good), 0x0a, 4, 0x0a, 2, 'z', 'z'), formats.Mismatch, "pieces"},
		{"another tokenizer", bytes.Replace(good, []byte("he"), []byte("qe"), 1), formats.Mismatch, "not of one tokenizer"},
	} {
		_, _, err := FromHF(with(x.b), m)
		if formats.CodeOf(err) != x.code || err != nil && (!strings.Contains(err.Error(), x.says) || !strings.Contains(err.Error(), "tokenizer.model")) {
			t.Errorf("%s: got %v, want %s with %q", x.name, err, x.code, x.says)
		}
	}
	for n := range good {
		if n%7 == 0 {
			parseModel(good[:n]) // must not panic
		}
	}
}

// FuzzModel reads any bytes as tokenizer.model.
func FuzzModel(f *testing.F) {
	for _, name := range []string{"mistral", "gemma"} {
		b, err := os.ReadFile(root + "checkpoints/" + name + "/tokenizer.model")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseModel(b)
		if (m == nil) == (err == nil) {
			t.Fatalf("got %v and %v", m, err)
		}
		if err != nil {
			if len(err.Error()) > 1<<10 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		v, _, err := FromHF(func(name string) ([]byte, error) {
			if name == "tokenizer.model" {
				return b, nil
			}
			return nil, fs.ErrNotExist
		}, Model{})
		if err == nil {
			v.Encode("a text of some words\n", true)
		}
	})
}
