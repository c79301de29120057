package bowline_test

import (
	"context"
	"os"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// llama-perplexity computed these with the model's GGUF form. It puts BOS in place of each chunk's first token where the vocabulary adds it.
func TestBaseFiles(t *testing.T) {
	fsys := fsio.NewMem()
	copyTree(t, fsys, "testdata/checkpoints/llama3", "/m")
	copyTree(t, fsys, "testdata/checkpoints/granite-code", "/other")
	copyTree(t, fsys, "verify/testdata/kld", "/kld")
	at := func(p string) bowline.Source { return bowline.Source{Path: p, FS: fsys} }
	ctx := context.Background()
	for _, c := range []struct {
		file string
		rows int
		pass bool
	}{{"base.kld", 45, true}, {"bos.kld", 7, true}, {"no-bos.kld", 7, false}} { // the last was made without BOS, which this model's tokenizer adds
		r, err := bowline.Verify(ctx, at("/m"), at("/kld/"+c.file), bowline.VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Pass != c.pass || r.Class != "E" || r.Summary.Rows != c.rows || c.pass && !(r.Summary.KLMax < 1e-8) {
			t.Errorf("%s: got pass %v, class %s, %d rows, kl %v", c.file, r.Pass, r.Class, r.Summary.Rows, r.Summary.KLMax)
		}
	}
	b, err := os.ReadFile("verify/testdata/kld/base.kld")
	if err != nil {
		t.Fatal(err)
	}
	fsys.Put("/cut.kld", string(b[:len(b)-1]))
	for _, c := range []struct {
		model, file string
		o           bowline.VerifyOptions
		code        formats.Code
	}{
		{"/m", "/cut.kld", bowline.VerifyOptions{}, formats.Trunc},
		{"/other", "/kld/base.kld", bowline.VerifyOptions{}, formats.Mismatch},
		{"/m", "/kld/base.kld", bowline.VerifyOptions{Tokens: []int32{1}}, formats.Usage},
	} {
		if _, err := bowline.Verify(ctx, at(c.model), at(c.file), c.o); formats.CodeOf(err) != c.code {
			t.Errorf("%s against %s: got %v, want %s", c.model, c.file, err, c.code)
		}
	}
}
