package bowline_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// numpy, torch and Python's json wrote these: the first rows of what transformers computed of llama3.
func TestReferences(t *testing.T) {
	fsys := fsio.NewMem()
	copyTree(t, fsys, "testdata/checkpoints/llama3", "/m")
	copyTree(t, fsys, "testdata/checkpoints/granite-code", "/other")
	copyTree(t, fsys, "verify/testdata/references", "/refs")
	text, err := os.ReadFile("verify/testdata/references/logits.json")
	if err != nil {
		t.Fatal(err)
	}
	edited := func(name, from, to string) string {
		if !strings.Contains(string(text), from) {
			t.Fatalf("%s: no %q", name, from)
		}
		fsys.Put("/refs/"+name, strings.Replace(string(text), from, to, 1))
		return name
	}
	fsys.Put("/refs/named-otherwise.bin", string(text))
	npz, err := os.ReadFile("verify/testdata/references/logits.npz")
	if err != nil {
		t.Fatal(err)
	}
	fsys.Put("/refs/cut.npz", string(npz[:len(npz)-40]))
	npz[2000] ^= 1
	fsys.Put("/refs/flipped.npz", string(npz))
	for _, c := range []struct {
		model, file string
		code        formats.Code // "" is a pass
		message     string
	}{
		{"/m", "logits.npz", "", ""},
		{"/m", "compressed.npz", "", ""},
		{"/m", "logits.pt", "", ""},
		{"/m", "logits.json", "", ""},
		{"/m", "named-otherwise.bin", "", ""},
		{"/m", "no-logits.npz", formats.Missing, "no logits.npy"},
		{"/m", "cut.npz", formats.Mismatch, "archive"},
		{"/m", "flipped.npz", formats.Mismatch, "checksum"},
		{"/m", "nan.json", formats.JSON, ""},
		{"/m", edited("ids.json", `"input_ids": [`, `"input_ids": [5, `), formats.BadShape, "got 7 ids for 6 rows"},
		{"/m", edited("twice.json", `"engine"`, `"logits"`), formats.Dup, "twice"},
		{"/m", edited("range.json", `"input_ids": [`, `"input_ids": [1000, 1, 2, 3, 4, 5], "x": [`), formats.Bounds, "token 1000"},
		{"/m", edited("minus.json", `"input_ids": [`, `"input_ids": [-1, `), formats.Bounds, "token id"},
		{"/m", edited("ragged.json", `"logits": [[`, `"logits": [[1.5, `), formats.BadShape, "want 348 like the first"},
		{"/m", edited("huge.json", `"logits": [[`, `"logits": [[1e999, `), formats.Bounds, "beyond float64"},
		{"/m", edited("none.json", `"logits"`, `"logit"`), formats.Missing, "no logits"},
		{"/other", "logits.npz", formats.Mismatch, "got logits [6, 347], want [6, 331]"},
	} {
		r, err := bowline.Verify(context.Background(), bowline.Source{Path: c.model, FS: fsys}, bowline.Source{Path: "/refs/" + c.file, FS: fsys}, bowline.VerifyOptions{})
		switch {
		case c.code == "":
			if err != nil || !r.Pass || r.Summary.Rows != 6 || !(r.Summary.WorstNMSE < 1e-11) {
				t.Errorf("%s: got %v, %+v", c.file, err, r)
			}
		case formats.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.message):
			t.Errorf("%s: got %v, want %s with %q", c.file, err, c.code, c.message)
		}
	}
}
