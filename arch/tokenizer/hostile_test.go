package tokenizer

import (
	"os"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
)

const minimal = corpus.TokenizerJSON

// TestHostile reads the corpus.
func TestHostile(t *testing.T) {
	for _, x := range corpus.Tokenizer().Cases() {
		files := x.Files
		if files == nil {
			files = map[string][]byte{"tokenizer.json": x.Bytes}
		}
		err := formatstest.Within(t, x, func() error {
			_, _, err := FromHF(func(name string) ([]byte, error) {
				if b, ok := files[name]; ok {
					return b, nil
				}
				return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
			}, Model{})
			return err
		})
		formatstest.Judge(t, x, err)
		for _, e := range formats.Errors(err) {
			if x.Files == nil && e.Path != "tokenizer.json" || len(e.Error()) > 1<<10 || strings.Contains(e.Error(), "\n") {
				t.Errorf("%s: the error is in %q: %.300v", x.Name, e.Path, e)
			}
		}
	}
}
