package arch_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/all"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// TestBounds reads side files above the defaults, and not above what is asked for: the bounds of a checkpoint hold for what lies beside it.
func TestBounds(t *testing.T) {
	const fat = 64<<20 + 100
	config := `{"model_type": "nobody's"}`
	m := fsio.NewMem()
	m.Put("/m/model.safetensors", "\x02\x00\x00\x00\x00\x00\x00\x00{}")
	m.Put("/m/config.json", config+strings.Repeat(" ", fat-len(config)))
	m.Put("/m/tokenizer.json", "{}")
	refused := func(name string, err error, flag string) {
		t.Helper()
		e := formats.Errors(err)
		if len(e) != 1 || e[0].Code != formats.Limit || e[0].Offset != 0 || e[0].Hint != "raise it with "+flag || !strings.HasSuffix(e[0].Path, name) {
			t.Errorf("%s: got %v, want E_LIMIT at 0 with a hint of %s", name, err, flag)
		}
	}
	open := func(b formats.ReadBounds) (*arch.Model, error) {
		ck, err := all.OpenWithin(m, "/m", b)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ck.Close() })
		return arch.Resolve(m, ck, nil, "")
	}
	_, err := open(formats.ReadBounds{})
	refused("config.json", err, "--max-config")
	_, err = open(formats.ReadBounds{Config: fat - 1})
	refused("config.json", err, "--max-config")
	x, err := open(formats.ReadBounds{Config: fat, Side: 1})
	if err != nil || x.Class != "nobody's" {
		t.Fatalf("raised: got %v", err)
	}
	_, err = x.ReadSide("tokenizer.json")
	refused("tokenizer.json", err, "--max-side")
	if _, err := x.ReadSide("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent file: got %v", err)
	}
	if x, err = open(formats.ReadBounds{Config: fat, Side: 2}); err != nil {
		t.Fatal(err)
	}
	if b, err := x.ReadSide("tokenizer.json"); err != nil || string(b) != "{}" {
		t.Errorf("raised: got %q, %v", b, err)
	}
}
