package pytorch_test

import (
	"fmt"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

// TestExtra reads and writes texts beside the tensors.
func TestExtra(t *testing.T) {
	z := archive(append(records(state("x", good()), sixty4), rec(folder+"extra/a%2Fb.json", "{}"), rec(folder+"extra/plain", "text"))...)
	c, err := pytorch.Format.Open(formatstest.OneFile(z.Bytes), formats.Set{Dir: "/", Files: []string{"m.bin"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := fmt.Sprint(c.Metadata); got != "[{a/b.json {}} {plain text}]" {
		t.Errorf("got %s", got)
	}
}
