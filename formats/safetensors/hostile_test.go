package safetensors_test

import (
	"slices"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// The builder of the corpus, by the short names that the tests here use.
var file, with, keys, pair = corpus.STFile, corpus.STWith, corpus.Keys, corpus.Pair

const (
	a4, b4 = corpus.A4, corpus.B4
	s1, s2 = corpus.Shard1, corpus.Shard2
	ix     = corpus.IndexName
	full   = corpus.FullIndex
)

func TestHostile(t *testing.T) { formatstest.Table(t, safetensors.Format, corpus.Safetensors().Bad) }
func TestOdd(t *testing.T)     { formatstest.Table(t, safetensors.Format, corpus.Safetensors().Odd) }
func TestIndex(t *testing.T)   { formatstest.Table(t, safetensors.Format, corpus.Index().Bad) }

// TestOddIndex reads odd indexes, and looks at what is said of them.
func TestOddIndex(t *testing.T) {
	formatstest.Read(t, safetensors.Format, corpus.Index().Odd, func(t *testing.T, c *formats.Checkpoint, x corpus.Case) {
		want := x.Reads
		if !slices.Equal(c.Dangling, want.Dangling) || !slices.Equal(c.Unindexed, want.Unindexed) || len(c.Notes) != want.Count {
			t.Errorf("got dangling %v, unindexed %v, notes %v\nwant %v, %v, %d notes", c.Dangling, c.Unindexed, c.Notes, want.Dangling, want.Unindexed, want.Count)
		}
		if want.Count > 0 && c.Notes[0].Warn != want.Warn {
			t.Errorf("got %+v, want Warn %v", c.Notes[0], want.Warn)
		}
		if last := c.Files[len(c.Files)-1]; last.Path != ix || last.Bytes != int64(len(x.Files[ix])) {
			t.Errorf("got last file %+v, want the index", last)
		}
	})
}
