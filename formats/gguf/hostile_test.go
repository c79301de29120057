package gguf_test

import (
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/gguf"
)

func TestHostile(t *testing.T) { formatstest.Table(t, gguf.Format, corpus.GGUF().Bad) }

func TestSiblings(t *testing.T) {
	for name, want := range map[string]int{"m-00001-of-00001.gguf": 1, "a-00001-of-00002-00002-of-00003.gguf": 3, "m-00001-of-10000.gguf": 10000,
		"m-00001-of-10001.gguf": 0, "m-00000-of-00003.gguf": 0, "m-00004-of-00003.gguf": 0, "m-0001-of-0003.gguf": 0, "m-00001-of-00003.GGUF": 0} {
		got := gguf.Format.Siblings(name)
		if len(got) != want || want > 0 && !strings.HasPrefix(got[0], name[:1]) {
			t.Errorf("%s: got %d names, want %d", name, len(got), want)
		}
	}
}
