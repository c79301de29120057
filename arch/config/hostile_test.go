package config_test

import (
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
)

func TestHostile(t *testing.T) {
	for _, x := range corpus.Config().Bad {
		err := formatstest.Within(t, x, func() error {
			_, err := config.Parse("config.json", x.Bytes)
			return err
		})
		formatstest.Judge(t, x, err)
		for _, e := range formats.Errors(err) {
			if e.Path != "config.json" || e.Offset < 0 || len(e.Error()) > 1<<10 || strings.Contains(e.Error(), "\n") {
				t.Errorf("%s: the error is at %s %d: %v", x.Name, e.Path, e.Offset, e)
			}
		}
	}
}

// TestHostileValues reads the parameters of a Llama from files that are well-formed and say what no model is.
func TestHostileValues(t *testing.T) {
	for _, x := range corpus.Params().Bad {
		err := formatstest.Within(t, x, func() error {
			_, err := read(t, llama, string(x.Bytes))
			return err
		})
		formatstest.Judge(t, x, err)
		if e := formats.Errors(err)[0]; e.Path != "config.json" {
			t.Errorf("%s: the error is in %s: %v", x.Name, e.Path, e)
		}
	}
}

// TestOdd parses texts that are read, and kept as they are.
func TestOdd(t *testing.T) {
	for _, x := range corpus.Config().Odd {
		var d *config.Doc
		formatstest.Judge(t, x, formatstest.Within(t, x, func() (err error) {
			d, err = config.Parse("config.json", x.Bytes)
			return err
		}))
		if d != nil && string(d.Bytes()) != string(x.Bytes) {
			t.Errorf("%s: got the text %q", x.Name, d.Bytes())
		}
	}
}
