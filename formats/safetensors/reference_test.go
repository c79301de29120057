package safetensors_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// dump makes TestDump write the files that testdata/gen.py shows to the reference.
var dump = flag.String("dump", "", "write the files of the tables to this directory")

// listing is what the Python package safetensors read from a file.
type listing struct {
	SHA256   string
	Metadata map[string]string
	Tensors  map[string]struct {
		DType  string
		Shape  []int64
		SHA256 string
	}
}

func load(t *testing.T, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func digest(b []byte) string {
	d := sha256.Sum256(b)
	return hex.EncodeToString(d[:])
}

// compare compares what we read with what the reference read.
func compare(t *testing.T, c *formats.Checkpoint, want ...listing) {
	t.Helper()
	n := 0
	for _, l := range want {
		n += len(l.Tensors)
		for name, w := range l.Tensors {
			x := c.Lookup(name)
			if x == nil {
				t.Errorf("tensor %q is missing", name)
				continue
			}
			if string(x.DType) != w.DType || !slices.Equal(x.Shape, w.Shape) {
				t.Errorf("tensor %q: got %s %v, want %s %v", name, x.DType, x.Shape, w.DType, w.Shape)
			}
			if got := digest(formatstest.Bytes(t, c, name)); got != w.SHA256 {
				t.Errorf("tensor %q: other bytes than the reference reads", name)
			}
		}
		if len(c.Metadata) != len(l.Metadata) {
			t.Errorf("got metadata %v, want %v", c.Metadata, l.Metadata)
		}
		for k, v := range l.Metadata {
			if c.Metadata.Get(k) != v {
				t.Errorf("metadata %q: got %v, want %q", k, c.Metadata.Get(k), v)
			}
		}
	}
	if len(c.Tensors) != n {
		t.Errorf("got %d tensors, want %d", len(c.Tensors), n)
	}
}

// TestGolden reads files that the reference and transformers wrote.
func TestGolden(t *testing.T) {
	var golden map[string]listing
	load(t, "golden.json", &golden)
	s1, s2 := "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
	for _, x := range []struct {
		name, dir string
		files     []string
		index     string
		want      []string
	}{
		{"every type of torch", "", []string{"types.safetensors"}, "", []string{"types.safetensors"}},
		{"names and metadata", "", []string{"numpy.safetensors"}, "", []string{"numpy.safetensors"}},
		{"shards by their index", "shards", nil, "model.safetensors.index.json", []string{"shards/" + s1, "shards/" + s2}},
		{"shards by their names", "shards", safetensors.Format.Siblings(s2), "", []string{"shards/" + s1, "shards/" + s2}},
	} {
		t.Run(x.name, func(t *testing.T) {
			c, err := safetensors.Format.Open(fsio.OS{}, formats.Set{Dir: filepath.Join("testdata", x.dir), Files: x.files, Index: x.index})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if len(c.Notes)+len(c.Dangling)+len(c.Unindexed) != 0 {
				t.Errorf("got notes %v, dangling %v, unindexed %v", c.Notes, c.Dangling, c.Unindexed)
			}
			var want []listing
			for _, name := range x.want {
				want = append(want, golden[name])
			}
			compare(t, c, want...)
		})
	}
}

// TestIndexBytes compares our index with that of transformers, but for total_parameters, which is not about bytes.
func TestIndexBytes(t *testing.T) {
	index := "model.safetensors.index.json"
	c, err := safetensors.Format.Open(fsio.OS{}, formats.Set{Dir: filepath.Join("testdata", "shards"), Index: index})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l, err := safetensors.Format.Layout(c.Header)
	if err != nil {
		t.Fatal(err)
	}
	last := l.Files[len(l.Files)-1]
	got := make([]byte, last.Bytes)
	if _, err := last.Parts[0].Data.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "shards", index))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(string(want), "    \"total_parameters\": 888,\n", "", 1); last.Path != index || string(got) != want {
		t.Errorf("got %s:\n%s\nwant\n%s", last.Path, got, want)
	}
}

// ours is a file of every type, with names and metadata that need care, as our layout makes it.
func ours(t *testing.T) []byte {
	t.Helper()
	s := formatstest.Sample{Header: formats.Header{Metadata: formats.Metadata{{Key: "z", Value: "last\n\x01\"\\/é🪢"}, {Key: "a", Value: ""}}}}
	for i, d := range safetensors.Format.Limits.DTypes {
		for _, shape := range [][]int64{{3, 4}, {0, 4}, {12, 1, 1}} {
			n, err := formats.TensorBytes(d, shape)
			if err != nil {
				t.Fatal(err)
			}
			data := make([]byte, n)
			for k := range data {
				data[k] = byte(7*k + i)
				if d == "BOOL" {
					data[k] &= 1
				}
			}
			s.Header.Tensors = append(s.Header.Tensors, formats.Tensor{Name: fmt.Sprintf("%s %v \n\"é🪢", d, shape), DType: d, Shape: shape, Bytes: n, File: "x.safetensors"})
			s.Data = append(s.Data, data)
		}
	}
	l, err := safetensors.Format.Layout(s.Header)
	if err != nil {
		t.Fatal(err)
	}
	files, err := s.Files(l)
	if err != nil {
		t.Fatal(err)
	}
	return files["x.safetensors"]
}

// TestOurs: the reference has read exactly this file, and has read from it what we read.
func TestOurs(t *testing.T) {
	var want listing
	load(t, "ours.json", &want)
	b := ours(t)
	if digest(b) != want.SHA256 {
		t.Fatal("our file is not the one that the reference has read: see testdata/PROVENANCE")
	}
	c, err := safetensors.Format.Open(formatstest.OneFile(b), formats.Set{Dir: "", Files: []string{"x.safetensors"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	compare(t, c, want)
}

// stricter are the files that the reference accepts and we do not, because two readers would see different things in them.
var stricter = map[string]string{
	"name twice":                  "the last one wins there",
	"name twice, first one empty": "the last one wins there",
	"unknown field twice":         "ignored there",
	"metadata key twice":          "the last one wins there",
	"metadata null":               "taken as none there; the format's text wants a map of strings",
	"entry is an array":           "serde reads structs from arrays too; the format's text wants an object",
	"dtype an object":             "serde reads enums from objects too",
	"field in capitals":           "ignored there; other readers fold case",
	"65,537 metadata entries":     "our limit",
	"1,025 unknown fields":        "our limit",
	"65 dimensions":               "our limit",
	"a million dimensions":        "our limit",
	"field with a long s":         "ignored there; other readers fold case",
	"zero beside 2^63":            "a product that meets the zero first; our verdict does not depend on the order",
}

// TestVerdicts compares our verdict on every file of the tables with that of the reference.
func TestVerdicts(t *testing.T) {
	var verdicts map[string]string
	load(t, "verdicts.json", &verdicts)
	judge := func(name string, accepted bool) {
		v, ok := verdicts[name]
		switch {
		case !ok:
			t.Errorf("%s: the reference has not judged it: see testdata/PROVENANCE", name)
		case accepted && v != "accepted" && lax[name] == "":
			t.Errorf("%s: accepted, the reference says %s", name, v)
		case !accepted && v == "accepted" && stricter[name] == "":
			t.Errorf("%s: refused, the reference accepts it", name)
		case !accepted && v != "accepted" && stricter[name] != "":
			t.Errorf("%s: the reference refuses it too: %s", name, v)
		}
	}
	for _, x := range corpus.Safetensors().Bad {
		if x.Size == 0 {
			judge(x.Name, false)
		}
	}
	for _, x := range corpus.Safetensors().Odd {
		judge(x.Name, true)
	}
}

// lax are the files that we accept and the reference does not.
var lax = map[string]string{"zero after 2^63-1": "a product that overflows before it meets the zero; zero before 2^63-1 is accepted"}

func TestDump(t *testing.T) {
	if *dump == "" {
		return
	}
	cases := map[string]string{}
	for i, x := range corpus.Safetensors().Cases() {
		if x.Size > 0 {
			continue
		}
		cases[x.Name] = fmt.Sprintf("%d.safetensors", i)
		if err := os.WriteFile(filepath.Join(*dump, cases[x.Name]), x.Bytes, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"cases.json": b, "ours.safetensors": ours(t)} {
		if err := os.WriteFile(filepath.Join(*dump, name), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
