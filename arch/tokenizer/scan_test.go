package tokenizer

import (
	"slices"
	"testing"
)

// White space of several bytes stays whole. The lengths are those of the pieces of tokenizers 0.23.3.
func TestWideSpaces(t *testing.T) {
	for _, c := range []struct {
		text        string
		gpt2, cl100 []int
	}{
		{"\n\u00a0-", []int{1, 2, 1}, []int{1, 2, 1}},
		{" \u00a0x", []int{1, 2, 1}, []int{1, 3}},
		{" \u3000-", []int{1, 3, 1}, []int{1, 3, 1}},
		{"\t\u2028.", []int{1, 3, 1}, []int{1, 3, 1}},
		{"\u3000\u3000x", []int{3, 3, 1}, []int{3, 4}},
		{"\u00a0-", []int{2, 1}, []int{2, 1}},
		{"a \u00a0", []int{1, 3}, []int{1, 3}},
	} {
		for name, want := range map[string][]int{"gpt2": c.gpt2, "cl100-3": c.cl100} {
			var got []int
			for _, p := range cut(c.text, []string{name}) {
				got = append(got, len(p))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q: got pieces of %v bytes, want %v", name, c.text, got, want)
			}
		}
	}
}
