package raw_test

import (
	"bytes"
	"maps"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/raw"
)

func TestHostileArrays(t *testing.T)    { formatstest.Table(t, raw.Format, corpus.NPY().Bad) }
func TestOddArrays(t *testing.T)        { formatstest.Table(t, raw.Format, corpus.NPY().Odd) }
func TestHostileManifests(t *testing.T) { formatstest.Table(t, raw.Format, corpus.Raw().Bad) }
func TestOddManifests(t *testing.T)     { formatstest.Table(t, raw.Format, corpus.Raw().Odd) }

// The builder of the corpus, by the short names that the tests here use.
var npy, tensors = corpus.NPYFile, corpus.ManifestOf

// TestGiven opens the files of a manifest by name, as a set.
func TestGiven(t *testing.T) {
	files := corpus.RawFolder(tensors(`{"name":"a","file":"a.npy"}`, `{"name":"f","file":"f.npy"}`))
	fsys := fsio.NewMem()
	formatstest.Put(t, fsys, "/", files)
	for _, x := range []struct {
		name  string
		files []string
		list  string
		code  formats.Code
	}{
		{"all", []string{"a.npy", "f.npy"}, raw.Manifest, ""},
		{"one too many", []string{"a.npy", "f.npy", "d.raw"}, raw.Manifest, ""},
		{"one is missing", []string{"a.npy"}, raw.Manifest, formats.Mismatch},
		{"one alone", []string{"f.npy"}, "", ""},
		{"two without a manifest", []string{"a.npy", "f.npy"}, "", formats.Unsupported},
		{"none", nil, "", formats.Missing},
		{"no manifest", nil, "none.json", formats.Missing},
	} {
		c, err := raw.Format.Open(fsys, formats.Set{Dir: "/", Files: x.files, Index: x.list})
		if err == nil {
			c.Close()
		}
		if formats.CodeOf(err) != x.code {
			t.Errorf("%s: got %v, want %q", x.name, err, x.code)
		}
	}
}

// TestDamage cuts an array and a manifest at every length and flips each of their bits: what is accepted is read within the file.
func TestDamage(t *testing.T) {
	edits := 0
	whole := corpus.RawFolder(tensors(`{"name":"a","dtype":"F32","shape":[2,3],"file":"a.npy"}`, `{"name":"d","dtype":"U8","shape":[3,2],"order":"F","offset":7,"bytes":6,"file":"d.raw"}`))
	for _, name := range []string{"a.npy", "f.npy", raw.Manifest} {
		for i := range whole[name] {
			for bit := -1; bit < 8; bit++ { // -1 cuts
				edits++
				b := bytes.Clone(whole[name])
				if bit < 0 {
					b = b[:i]
				} else {
					b[i] ^= 1 << bit
				}
				files := maps.Clone(whole)
				files[name] = b
				fsys := fsio.NewMem()
				formatstest.Put(t, fsys, "/", files)
				var c *formats.Checkpoint
				var err error
				if name == raw.Manifest {
					c, err = raw.Format.Open(fsys, formats.Set{Dir: "/", Index: name})
				} else {
					c, err = raw.Format.Open(fsys, formats.Set{Dir: "/", Files: []string{name}})
				}
				if err == nil && bit < 0 {
					t.Errorf("%s: cut to %d bytes: accepted", name, i)
				}
				judge(t, c, err)
			}
		}
	}
	t.Logf("%d cuts and flips", edits)
}

// judge checks a refusal, or reads what was accepted.
func judge(t *testing.T, c *formats.Checkpoint, err error) {
	t.Helper()
	if err != nil {
		for _, e := range formats.Errors(err) {
			if e.Code == "" || e.Code == formats.IO || e.Path == "" {
				t.Errorf("got code %q, path %q: %v", e.Code, e.Path, err)
			}
		}
		return
	}
	defer c.Close()
	for _, x := range c.Tensors {
		if x.Bytes < 1<<20 {
			formatstest.Bytes(t, c, x.Name)
		}
	}
	if _, err := raw.Format.Layout(c.Header); err != nil {
		t.Errorf("what was read is not written: %v", err)
	}
}
