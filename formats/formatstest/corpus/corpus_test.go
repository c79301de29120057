package corpus_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
)

// TestCorpus shows how large the corpus is and holds it to what it has to be: the least number of files in each group, names of their own,
// limits, and the same bytes each time.
func TestCorpus(t *testing.T) {
	groups := corpus.Groups()
	var table strings.Builder
	row := func(cells ...any) { fmt.Fprintf(&table, "%-16s %-20s %5v %5v %10v\n", cells...) }
	row("group", "read by", "bad", "odd", "bytes")
	bad, odd, size := map[string]int{}, 0, int64(0)
	all := 0
	for _, g := range groups {
		names, n := map[string]bool{}, int64(0)
		for _, c := range g.Cases() {
			if n += c.Len(); names[c.Name] {
				t.Errorf("%s: two cases are called %q", g.Name, c.Name)
			}
			names[c.Name] = true
			if c.Memory <= 0 || c.Time <= 0 || c.Offset > max(c.Size, c.Len()) || c.Codes != nil && c.Codes[0] != c.Code {
				t.Errorf("%s: %s: the case is not whole: %d bytes, %v, offset %d, codes %v", g.Name, c.Name, c.Memory, c.Time, c.Offset, c.Codes)
			}
		}
		row(g.Name, g.Reader, len(g.Bad), len(g.Odd), n)
		bad[g.Name], odd, size, all = len(g.Bad), odd+len(g.Odd), size+n, all+len(g.Bad)
	}
	row("all", "", all, odd, size)
	t.Logf("the hostile corpus\n%s", table.String())
	bad["tokenizer and config"] = bad["tokenizer"] + bad["config"] + bad["config values"]
	least := map[string]int{"pickle": 130, "payload": 59, "zip": 80, "legacy and tar": 50, "safetensors": 120, "index": 35, "gguf": 120, "npy": 75, "raw": 75,
		"tokenizer and config": 45}
	for _, group := range slices.Sorted(maps.Keys(least)) {
		if bad[group] < least[group] {
			t.Errorf("%s: got %d bad files, want at least %d", group, bad[group], least[group])
		}
	}
	if all < 400 || odd < 150 {
		t.Errorf("got %d bad and %d odd files, want at least 400 and 150", all, odd)
	}
	if a, b := digest(groups), digest(corpus.Groups()); !bytes.Equal(a, b) {
		t.Error("made twice, the corpus differs")
	}
}

// digest is of all that the cases are and want.
func digest(groups []corpus.Group) []byte {
	h := sha256.New()
	for _, g := range groups {
		for _, c := range g.Cases() {
			fmt.Fprintf(h, "%q %q %q %d %d ", g.Name, c.Name, c.Open, c.Size, c.Len())
			h.Write(c.Bytes)
			for _, name := range slices.Sorted(maps.Keys(c.Files)) {
				fmt.Fprintf(h, "%q ", name)
				h.Write(c.Files[name])
			}
			expect(h, c)
		}
	}
	return h.Sum(nil)
}

func expect(w io.Writer, c corpus.Case) {
	fmt.Fprintf(w, "%q %s %d %q %q %q %q %d %d", c.Index, c.Code, c.Offset, c.Tensor, c.Field, c.Says, c.Codes, c.Memory, c.Time)
	if c.Reads != nil {
		fmt.Fprintf(w, "%v", *c.Reads)
	}
}

// edits are the tests that damage valid files and fail operations. Each says with -v how many it tried; all of them run with -tags exhaustive.
var edits = []struct{ what, file, test string }{
	{"truncations, bit flips and length edges of PyTorch files and indexes", "../../pytorch/edits_test.go", "TestEdits"},
	{"truncations of safetensors files", "../../safetensors/edits_test.go", "TestTruncations"},
	{"bit flips of safetensors headers", "../../safetensors/edits_test.go", "TestFlippedBits"},
	{"length edges and numbers of safetensors headers", "../../safetensors/edits_test.go", "TestLengthEdges"},
	{"truncations and bit flips of an index", "../../safetensors/edits_test.go", "TestIndexEdits"},
	{"truncations of GGUF files", "../../gguf/edits_test.go", "TestTruncations"},
	{"bit flips of GGUF files", "../../gguf/edits_test.go", "TestFlippedBits"},
	{"length edges of GGUF files", "../../gguf/edits_test.go", "TestLengthEdges"},
	{"truncations and bit flips of arrays and manifests", "../../raw/hostile_test.go", "TestDamage"},
	{"truncations and bit flips of what we write, each format", "../run.go", "runTruncation"},
	{"faults at each operation of a write, each format", "../faults.go", "Faults"},
}

// TestSummary names the tests of edits and faults, which count for themselves.
func TestSummary(t *testing.T) {
	var b strings.Builder
	for _, x := range edits {
		text, err := os.ReadFile(x.file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "func "+x.test+"(") {
			t.Errorf("%s: there is no %s", x.file, x.test)
		}
		fmt.Fprintf(&b, "%-72s %s in %s\n", x.what, x.test, strings.TrimLeft(x.file, "./"))
	}
	t.Logf("edits and faults; go test -v -run 'Edits|Truncations|FlippedBits|LengthEdges|Damage|Conformance|Faults' says how many, -tags exhaustive tries all\n%s", b.String())
}

// TestVisible: what a case says of itself is text that can be printed, and has a class of ours.
func TestVisible(t *testing.T) {
	for _, g := range corpus.Groups() {
		for _, c := range g.Bad {
			if !strings.HasPrefix(string(c.Code), "E_") || c.Code == formats.IO || c.Name == "" || strings.ContainsAny(c.Name, "\n\x1b") {
				t.Errorf("%s: %q has class %q", g.Name, c.Name, c.Code)
			}
		}
	}
}
