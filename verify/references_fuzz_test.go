package verify_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/bowline-ml/bowline/verify"
)

func seed(f *testing.F, names ...string) {
	for _, name := range names {
		b, err := os.ReadFile("testdata/references/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

// whole demands that what was read holds together.
func whole(t *testing.T, r *verify.Trace, err error) {
	if err != nil {
		return
	}
	if n := len(r.Logits.F32) + len(r.Logits.F64); n != r.Logits.Rows*r.Logits.Cols || r.Tokens != nil && len(r.Tokens) != r.Logits.Rows {
		t.Fatalf("got %d values, %d x %d, %d tokens", n, r.Logits.Rows, r.Logits.Cols, len(r.Tokens))
	}
}

func FuzzReadJSON(f *testing.F) {
	f.Add([]byte(`{"input_ids": [1, 2], "logits": [[0.5, -1e3], [2, 3]], "x": {"y": [null]}}`))
	seed(f, "logits.json", "nan.json")
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := verify.ReadJSON(string(b))
		whole(t, r, err)
	})
}

func FuzzReadNPZ(f *testing.F) {
	seed(f, "logits.npz", "compressed.npz", "no-logits.npz")
	f.Fuzz(func(t *testing.T, b []byte) {
		r, _, err := verify.ReadNPZ(bytes.NewReader(b), int64(len(b)))
		whole(t, r, err)
	})
}
