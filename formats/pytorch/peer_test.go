package pytorch_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

var dump = flag.String("dump", "", "leave the files of TestPeer in this directory, for testdata/peers/torch_load.py")

// loaded is what torch has to load from a file.
type loaded struct {
	Tensors []described `json:"tensors"`
	Shared  [][]string  `json:"shared"`
}

type described struct {
	Name   string  `json:"name"`
	DType  string  `json:"dtype"`
	Shape  []int64 `json:"shape"`
	SHA256 string  `json:"sha256"`
}

// TestPeer writes checkpoints with aliases and metadata, reads them again, and, with -dump, leaves them for torch to load.
func TestPeer(t *testing.T) {
	all := map[string]loaded{}
	seed := 0
	for s := range formatstest.Checkpoints(11, pytorch.Format.Limits) {
		if seed++; seed > 40 {
			break
		}
		n := 1 + seed%3
		s = s.In(pytorch.Format, n, uint64(seed))
		// Names of files do not matter to what is in them.
		for i := range s.Header.Tensors {
			s.Header.Tensors[i].File = fmt.Sprintf("%d-%s", seed, s.Header.Tensors[i].File)
		}
		s.Header.Files = []formats.File{{Path: fmt.Sprintf("%d-model.bin", seed)}}
		for i, x := range s.Header.Tensors {
			if i%2 == 0 {
				s.Header.Aliases = append(s.Header.Aliases, formats.Alias{Name: x.Name + " again", Of: x.Name})
			}
			if i%4 == 0 {
				s.Header.Aliases = append(s.Header.Aliases, formats.Alias{Name: "also " + x.Name, Of: x.Name})
			}
		}
		l, err := pytorch.Format.Layout(s.Header)
		if err != nil {
			t.Fatal(err)
		}
		files, err := s.Files(l)
		if err != nil {
			t.Fatal(err)
		}
		fsys := fsio.NewMem()
		formatstest.Put(t, fsys, "/", files)
		for name, b := range files {
			if *dump != "" {
				if err := os.WriteFile(filepath.Join(*dump, name), b, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if filepath.Ext(name) == ".bin" {
				all[name] = want(s, name, n)
				readBack(t, fsys, name, all[name])
			}
		}
	}
	if *dump != "" {
		b, err := json.MarshalIndent(all, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*dump, "golden.json"), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// want is what a file of a sample has to hold.
func want(s formatstest.Sample, name string, files int) loaded {
	l := loaded{Tensors: []described{}, Shared: [][]string{}}
	for i, x := range s.Header.Tensors {
		if x.File != name {
			continue
		}
		sum := sha256.Sum256(s.Data[i])
		d := described{x.Name, string(x.DType), append([]int64{}, x.Shape...), hex.EncodeToString(sum[:])}
		l.Tensors = append(l.Tensors, d)
		shared := []string{x.Name}
		for _, a := range s.Header.Aliases {
			if a.Of == x.Name {
				d.Name = a.Name
				l.Tensors = append(l.Tensors, d)
				shared = append(shared, a.Name)
			}
		}
		if sort.Strings(shared); len(shared) > 1 && x.Bytes > 0 {
			l.Shared = append(l.Shared, shared)
		}
	}
	sort.Slice(l.Shared, func(i, k int) bool { return l.Shared[i][0] < l.Shared[k][0] })
	return l
}

func readBack(t *testing.T, fsys fsio.FS, name string, want loaded) {
	t.Helper()
	c, err := pytorch.Format.Open(fsys, formats.Set{Dir: "/", Files: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if len(c.Tensors)+len(c.Aliases) != len(want.Tensors) || len(c.Notes) > 0 {
		t.Errorf("%s: got %d tensors, %d aliases, notes %v, want %d names", name, len(c.Tensors), len(c.Aliases), c.Notes, len(want.Tensors))
	}
	for _, x := range want.Tensors {
		if sum := sha256.Sum256(formatstest.Bytes(t, c, x.Name)); hex.EncodeToString(sum[:]) != x.SHA256 {
			t.Errorf("%s: tensor %q: other bytes", name, x.Name)
		}
	}
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}
