package pytorch_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

func TestHostilePickle(t *testing.T)  { formatstest.Table(t, pytorch.Format, corpus.Pickle().Bad) }
func TestHostilePayload(t *testing.T) { formatstest.Table(t, pytorch.Format, corpus.Payload().Bad) }
func TestHostileZip(t *testing.T)     { formatstest.Table(t, pytorch.Format, corpus.Zip().Bad) }
func TestHostileLegacy(t *testing.T)  { formatstest.Table(t, pytorch.Format, corpus.Legacy().Bad) }
func TestOdd(t *testing.T)            { readAs(t, corpus.Pickle().Odd) }
func TestOddLegacy(t *testing.T)      { readAs(t, corpus.Legacy().Odd) }

// readAs reads odd files, within their limits, as what they are: the tensors and aliases, and how many notes.
func readAs(t *testing.T, cases []corpus.Case) {
	formatstest.Read(t, pytorch.Format, cases, func(t *testing.T, c *formats.Checkpoint, x corpus.Case) {
		var got []string
		for _, s := range c.Tensors {
			got = append(got, s.Name)
			formatstest.Bytes(t, c, s.Name)
		}
		for _, a := range c.Aliases {
			got = append(got, a.Name+"="+a.Of)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != x.Reads.Names || len(c.Notes) != x.Reads.Count {
			t.Errorf("got %q with notes %v, want %q with %d", got, c.Notes, x.Reads.Names, x.Reads.Count)
		}
	})
}
