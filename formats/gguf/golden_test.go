package gguf_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/gguf"
)

// golden is what testdata/golden.json says of a file or a set: see testdata/gen/gguf.py.
type golden struct {
	Version  int            `json:"version"`
	Files    []string       `json:"files"`
	Metadata []goldenKV     `json:"metadata"`
	Tensors  []goldenTensor `json:"tensors"`
}

type goldenKV struct {
	Key string `json:"key"`
	goldenValue
}

type goldenValue struct {
	T string `json:"t"`
	V any    `json:"v"`
}

type goldenTensor struct {
	Name   string  `json:"name"`
	DType  string  `json:"dtype"`
	Shape  []int64 `json:"shape"`
	SHA256 string  `json:"sha256"`
}

func goldens(t testing.TB) []golden {
	var all []golden
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// describe says what a checkpoint holds in the terms of golden.json.
func describe(t *testing.T, c *formats.Checkpoint) golden {
	g := golden{Tensors: []goldenTensor{}}
	for _, f := range c.Files {
		g.Files = append(g.Files, f.Path)
	}
	g.Metadata = describeAll(c.Metadata)
	for _, x := range c.Tensors {
		sum := sha256.Sum256(formatstest.Bytes(t, c, x.Name))
		g.Tensors = append(g.Tensors, goldenTensor{x.Name, string(x.DType), append([]int64{}, x.Shape...), hex.EncodeToString(sum[:])})
	}
	return g
}

func describeAll(m formats.Metadata) (out []goldenKV) {
	for _, kv := range m {
		out = append(out, goldenKV{kv.Key, describeValue(kv.Value)})
	}
	return out
}

func describeValue(v any) goldenValue {
	if list, ok := v.([]any); ok {
		out := []any{}
		for _, e := range list {
			out = append(out, describeValue(e))
		}
		return goldenValue{"[]any", out}
	}
	if r := reflect.ValueOf(v); r.Kind() == reflect.Slice {
		out := []any{}
		for i := range r.Len() {
			out = append(out, describeValue(r.Index(i).Interface()).V)
		}
		return goldenValue{r.Type().String(), out}
	}
	text := fmt.Sprint(v)
	switch x := v.(type) {
	case float32:
		text = fmt.Sprintf("%08x", math.Float32bits(x))
	case float64:
		text = fmt.Sprintf("%016x", math.Float64bits(x))
	case string:
		text = hex.EncodeToString([]byte(x))
	}
	return goldenValue{fmt.Sprintf("%T", v), text}
}

func text(t testing.TB, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// open opens files of testdata.
func open(t testing.TB, files ...string) *formats.Checkpoint {
	t.Helper()
	c, err := gguf.Format.Open(memory(t, files...), formats.Set{Dir: "/", Files: files})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// memory has files of testdata.
func memory(t testing.TB, files ...string) *fsio.Mem {
	t.Helper()
	fsys := fsio.NewMem()
	for _, name := range files {
		put(t, fsys, name, read(t, name))
	}
	return fsys
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t testing.TB, fsys fsio.FS, name string, b []byte) {
	t.Helper()
	f, err := fsys.Create("/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReadsWhatPeersWrote(t *testing.T) {
	for _, want := range goldens(t) {
		t.Run(want.Files[0], func(t *testing.T) {
			got := describe(t, open(t, want.Files...))
			got.Version = want.Version
			if a, b := text(t, got), text(t, want); a != b {
				t.Errorf("got  %s\nwant %s", a, b)
			}
		})
	}
}

// gguf-py and this package lay out the same header in the same bytes; but it writes the alignment where we write none.
func TestWritesWhatGGUFPyWrote(t *testing.T) {
	for _, files := range [][]string{
		{"values.gguf"},
		{"types.gguf"},
		{"split-00001-of-00003.gguf", "split-00002-of-00003.gguf", "split-00003-of-00003.gguf"},
		{"bare-first-00001-of-00004.gguf", "bare-first-00002-of-00004.gguf", "bare-first-00003-of-00004.gguf", "bare-first-00004-of-00004.gguf"},
	} {
		t.Run(files[0], func(t *testing.T) {
			for name, b := range rewrite(t, open(t, files...)) {
				if want := read(t, name); !bytes.Equal(b, want) {
					t.Errorf("%s: got %d bytes, want %d, first other at %d", name, len(b), len(want), firstOther(b, want))
				}
			}
		})
	}
}

// llama.cpp's converter too.
func TestWritesWhatTheConverterWrote(t *testing.T) {
	files, err := filepath.Glob("../../testdata/gguf/llamacpp/*.gguf")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		c, err := gguf.Format.Open(formatstest.OneFile(want), formats.Set{Dir: "/", Files: []string{"m.gguf"}})
		if err != nil {
			t.Fatal(name, err)
		}
		defer c.Close()
		if got := rewrite(t, c)["m.gguf"]; !bytes.Equal(got, want) {
			t.Errorf("%s: got %d bytes, want %d, first other at %d", name, len(got), len(want), firstOther(got, want))
		}
	}
}

func firstOther(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// rewrite is the files that Layout makes of a checkpoint.
func rewrite(t *testing.T, c *formats.Checkpoint) map[string][]byte {
	t.Helper()
	l, err := gguf.Format.Layout(c.Header)
	if err != nil {
		t.Fatal(err)
	}
	s := formatstest.Sample{Header: c.Header}
	for _, x := range c.Tensors {
		s.Data = append(s.Data, formatstest.Bytes(t, c, x.Name))
	}
	files, err := s.Files(l)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var dump = flag.String("dump", "", "leave the files of TestPeer in this directory, for testdata/gen/gguf.py check")

// TestPeer writes checkpoints, reads them again, and, with -dump, leaves them for gguf-py to read.
func TestPeer(t *testing.T) {
	limits := gguf.Format.Limits
	limits.DTypes = nil
	for _, d := range gguf.Format.Limits.DTypes {
		if d != "Q8_1" && d != "Q2_0" { // gguf-py counts other bytes for the first and does not know the second
			limits.DTypes = append(limits.DTypes, d)
		}
	}
	var all []golden
	n := 0
	save := func(h formats.Header, data [][]byte) {
		l, err := gguf.Format.Layout(h)
		if err != nil {
			t.Fatal(err)
		}
		files, err := formatstest.Sample{Header: h, Data: data}.Files(l)
		if err != nil {
			t.Fatal(err)
		}
		fsys := fsio.NewMem()
		var names []string
		for _, f := range l.Files {
			names = append(names, f.Path)
			put(t, fsys, f.Path, files[f.Path])
			if *dump != "" {
				if err := os.WriteFile(filepath.Join(*dump, f.Path), files[f.Path], 0o666); err != nil {
					t.Fatal(err)
				}
			}
		}
		c, err := gguf.Format.Open(fsys, formats.Set{Dir: "/", Files: names})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		got := describe(t, c)
		for i, x := range h.Tensors {
			if sum := sha256.Sum256(data[i]); got.Tensors[i].Name != x.Name || got.Tensors[i].SHA256 != hex.EncodeToString(sum[:]) {
				t.Errorf("%s: tensor %q changed", names[0], x.Name)
			}
		}
		all = append(all, got)
		n++
	}
	values := open(t, "values.gguf").Metadata // every type of value
	for s := range formatstest.Checkpoints(7, limits) {
		if n == 40 {
			break
		}
		s = s.In(gguf.Format, 1+n%3, uint64(n))
		for i := range s.Header.Files {
			s.Header.Files[i].Path = strings.Replace(s.Header.Files[i].Path, "model", fmt.Sprintf("sample%d", n), 1)
		}
		for i := range s.Header.Tensors {
			x := &s.Header.Tensors[i]
			x.File = strings.Replace(x.File, "model", fmt.Sprintf("sample%d", n), 1)
			if x.DType == dtype.BF16 && len(x.Shape) == 0 {
				x.Shape = []int64{1} // gguf-py cannot open a scalar of BF16
			}
		}
		s.Header.Metadata = append(s.Header.Metadata, values[n%len(values)])
		save(s.Header, s.Data)
	}
	save(formats.Header{Files: []formats.File{{Path: "values.gguf"}}, Metadata: values}, nil)
	if *dump != "" {
		b, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*dump, "golden.json"), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
