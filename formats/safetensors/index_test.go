package safetensors_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/index"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

func TestShards(t *testing.T) {
	fsys := fsio.NewMem()
	formatstest.Put(t, fsys, "/", pair(full))
	got, err := index.Shards(fsys, "/", ix)
	if want := []string{s1, s2}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if _, err := index.Shards(fsys, "/", "none"); formats.CodeOf(err) != formats.Missing || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %s", err, formats.Missing)
	}
}

func TestMetadataOfShards(t *testing.T) {
	meta := func(m, tensor string) []byte { return file(`{"__metadata__":`+m+`,`+tensor+`}`, 4) }
	other := strings.Replace(b4, "[4,8]", "[0,4]", 1)
	for _, x := range []struct {
		name, first, second string
		notes               int
	}{
		{"equal", `{"k":"1","l":"2"}`, `{"k":"1","l":"2"}`, 0},
		{"in another order", `{"k":"1","l":"2"}`, `{"l":"2","k":"1"}`, 0},
		{"another value", `{"k":"1","l":"2"}`, `{"k":"1","l":"3"}`, 1},
		{"missing", `{"k":"1","l":"2"}`, `{}`, 1},
	} {
		t.Run(x.name, func(t *testing.T) {
			fsys := fsio.NewMem()
			formatstest.Put(t, fsys, "/", map[string][]byte{s1: meta(x.first, a4), s2: meta(x.second, other)})
			c, err := safetensors.Format.Open(fsys, formats.Set{Dir: "/", Files: []string{s1, s2}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if len(c.Notes) != x.notes || c.Metadata.Get("l") != "2" || c.Metadata[0].Key != "k" {
				t.Errorf("got metadata %v, notes %v", c.Metadata, c.Notes)
			}
		})
	}
}
