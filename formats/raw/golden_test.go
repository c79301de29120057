package raw_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/raw"
)

const data = "../../testdata/raw"

// told is what numpy had in memory.
type told struct {
	Name   string
	DType  dtype.Type
	Shape  []int64
	SHA256 string
	Plain  bool // numpy.save's own bytes for the array as we write it
}

type golden struct {
	Alone   map[string]told
	Refused map[string]formats.Code
	Folder  struct {
		Tensors []told
		Aliases [][2]string
	}
}

func load(t testing.TB) (g golden) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(data, "golden.json"))
	if err == nil {
		err = json.Unmarshal(b, &g)
	}
	if err != nil || len(g.Alone) < 40 || len(g.Refused) < 13 || len(g.Folder.Tensors) < 12 {
		t.Fatalf("golden.json: %v, %d files, %d refused", err, len(g.Alone), len(g.Refused))
	}
	return g
}

// is compares a tensor with what numpy had.
func (want told) is(t *testing.T, c *formats.Checkpoint, name string) []byte {
	t.Helper()
	got := c.Lookup(name)
	if got == nil {
		t.Fatalf("tensor %q is not there", name)
	}
	if got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) {
		t.Errorf("tensor %q: got %s %v, want %s %v", name, got.DType, got.Shape, want.DType, want.Shape)
	}
	b := formatstest.Bytes(t, c, name)
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != want.SHA256 {
		t.Errorf("tensor %q: other values", name)
	}
	return b
}

func TestAlone(t *testing.T) {
	for name, want := range load(t).Alone {
		t.Run(name, func(t *testing.T) {
			file := name + ".npy"
			c, err := raw.Format.Open(fsio.OS{}, formats.Set{Dir: filepath.Join(data, "alone"), Files: []string{file}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			b := want.is(t, c, name)
			pieces(t, c, name, b)
			if notes, opaque := len(c.Notes), want.DType == dtype.BF16 || want.DType == dtype.F8_E5M2; (notes == 1) != opaque || notes > 1 {
				t.Errorf("got notes %v", c.Notes)
			}
			if !want.Plain {
				return
			}
			l, err := raw.Format.Layout(c.Header)
			if err != nil {
				t.Fatal(err)
			}
			files, err := formatstest.Sample{Header: c.Header, Data: [][]byte{b}}.Files(l)
			if err != nil {
				t.Fatal(err)
			}
			if saved, err := os.ReadFile(filepath.Join(data, "alone", file)); err != nil || !bytes.Equal(files[file], saved) {
				t.Errorf("%v, wrote\n%.128q\nnumpy.save writes\n%.128q", err, files[file], saved)
			}
		})
	}
}

// pieces reads a tensor in pieces of several sizes, from every offset.
func pieces(t *testing.T, c *formats.Checkpoint, name string, whole []byte) {
	t.Helper()
	r, err := c.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	for off := 0; off <= len(whole)+1; off++ {
		for _, n := range []int{1, 3, 8, 37, len(whole)} {
			p := make([]byte, n)
			got, err := r.ReadAt(p, int64(off))
			want := min(n, max(0, len(whole)-off))
			switch {
			case got != want || !bytes.Equal(p[:got], whole[min(off, len(whole)):][:want]):
				t.Fatalf("%d bytes at %d: got % x (%d), want % x", n, off, p[:got], got, whole[min(off, len(whole)):][:want])
			case err != nil && (err != io.EOF || got == n && n > 0), err == nil && got < n:
				t.Fatalf("%d of %d bytes at %d: got error %v", got, n, off, err)
			}
		}
	}
	if _, err := r.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("read at -1")
	}
}

func TestRefused(t *testing.T) {
	for name, want := range load(t).Refused {
		c, err := raw.Format.Open(fsio.OS{}, formats.Set{Dir: filepath.Join(data, "alone"), Files: []string{name + ".npy"}})
		if err == nil {
			c.Close()
		}
		if list := formats.Errors(err); len(list) != 1 || list[0].Code != want || list[0].Field != "descr" {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

func TestFolder(t *testing.T) {
	g := load(t).Folder
	c, err := raw.Format.Open(fsio.OS{}, formats.Set{Dir: filepath.Join(data, "folder"), Index: raw.Manifest})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if len(c.Tensors) != len(g.Tensors) {
		t.Errorf("got %d tensors, want %d", len(c.Tensors), len(g.Tensors))
	}
	for i, want := range g.Tensors {
		if c.Tensors[i].Name != want.Name {
			t.Errorf("tensor %d: got %q, want %q", i, c.Tensors[i].Name, want.Name)
		}
		pieces(t, c, want.Name, want.is(t, c, want.Name))
	}
	got, want := map[string]string{}, map[string]string{}
	for _, a := range c.Aliases {
		got[a.Name] = a.Of
	}
	for _, a := range g.Aliases {
		want[a[0]] = a[1]
	}
	if !maps.Equal(got, want) {
		t.Errorf("got aliases %v, want %v", got, want)
	}
	if v, _, _ := c.Metadata.Str("ü"); v != "é" || len(c.Metadata) != 2 {
		t.Errorf("got metadata %v", c.Metadata)
	}
	if len(c.Notes) != 0 {
		t.Errorf("got notes %v", c.Notes)
	}
}
