package pytorch_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

// TestPayloads opens pickles that ask for code to be run. All are refused where they ask, and nothing happens.
func TestPayloads(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "PWNED")
	list := corpus.Payloads(path)
	for _, x := range list {
		if *dump != "" {
			if err := os.WriteFile(filepath.Join(*dump, strings.ReplaceAll(x.Name, " ", "-")+".pkl"), corpus.PickleOf(x.Bytes), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		name := filepath.Join(dir, "model.bin")
		if err := os.WriteFile(name, x.Bytes, 0o666); err != nil {
			t.Fatal(err)
		}
		c, err := pytorch.Format.Open(fsio.OS{}, formats.Set{Dir: dir, Files: []string{"model.bin"}})
		if err == nil {
			c.Close()
		}
		list := formats.Errors(err)
		if len(list) == 0 || list[0].Code != x.Code || list[0].Offset != x.Offset {
			t.Errorf("%s: got %v, want %s at %d", x.Name, err, x.Code, x.Offset)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Fatalf("%s: made %v (%v)", x.Name, left, err)
		}
	}
	if len(list) < 59 {
		t.Errorf("got %d payloads, want at least 59", len(list))
	}
}
