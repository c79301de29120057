package corpus_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
)

// TestReaders holds docs/formats.md against what the reference readers said of the corpus (testdata/readers/corpus.json: the names of the files that
// each has read): every file on which one of them differs from us is in its section, and no other.
func TestReaders(t *testing.T) {
	b, err := os.ReadFile("../../../testdata/readers/corpus.json")
	if err != nil {
		t.Fatal(err)
	}
	var read map[string]map[string][]string // by reader and group
	if err := json.Unmarshal(b, &read); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	code := map[string]map[string]formats.Code{}
	for _, g := range corpus.Groups() {
		code[g.Name] = map[string]formats.Code{}
		for _, c := range g.Cases() {
			if len(c.Files) == 0 {
				code[g.Name][c.Name] = c.Code
			}
		}
	}
	for reader, title := range map[string]string{"safetensors": "safetensors.deserialize", "torch": "torch.load", "gguf-py": "GGUFReader", "ggml": "gguf_init_from_file", "numpy": "numpy.load"} {
		_, section, ok := strings.Cut(string(page), "### "+title)
		if !ok || read[reader] == nil {
			t.Errorf("%s: got no section or no record", reader)
			continue
		}
		section, _, _ = strings.Cut(section, "\n### ")
		stricter, wider, _ := strings.Cut(section, "Read here and not there")
		want := map[bool][]string{}
		for group, names := range read[reader] {
			for name, c := range code[group] {
				if theirs := slices.Contains(names, name); theirs != (c == "") {
					want[theirs] = append(want[theirs], name)
				}
			}
			for _, name := range names {
				if _, ok := code[group][name]; !ok {
					t.Errorf("%s: the corpus has no file %q of group %s: record what the readers say anew", reader, name, group)
				}
			}
		}
		for theirs, text := range map[bool]string{true: stricter, false: wider} {
			var got []string
			for i, s := range strings.Split(text, "`") {
				if i%2 == 1 && s != "ml_dtypes" && s != "weights_only" {
					got = append(got, s)
				}
			}
			slices.Sort(got)
			slices.Sort(want[theirs])
			if !slices.Equal(got, want[theirs]) {
				t.Errorf("%s, read there: %v\nthe page has %v\nthe record has %v", reader, theirs, got, want[theirs])
			}
		}
	}
}
