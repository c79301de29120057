package convert_test

import (
	"context"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/gguf"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

const testdata = "../testdata/"

// disk is a file system in memory that holds the named directories of testdata, each under its last name: "/granite-code".
func disk(t testing.TB, dirs ...string) *fsio.Mem {
	t.Helper()
	m := fsio.NewMem()
	for _, d := range dirs {
		list, err := os.ReadDir(testdata + d)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			b, err := os.ReadFile(filepath.Join(testdata+d, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			m.Put("/"+path.Base(d)+"/"+e.Name(), string(b))
		}
	}
	return m
}

// weights are a model's tensors, to be changed and put somewhere.
type weights struct {
	format  formats.Format
	tensors []formats.Tensor
	data    map[string][]byte
	md      formats.Metadata
	aliases []formats.Alias // of the format that has them
}

// read takes all tensors of a file or directory into memory.
func read(t testing.TB, fsys fsio.FS, at string) *weights {
	t.Helper()
	m, err := bowline.Open(bowline.Source{Path: at, FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	x := &weights{format: safetensors.Format, data: map[string][]byte{}, md: m.Metadata}
	if m.Format == gguf.Format.Name {
		x.format = gguf.Format
	}
	for _, s := range m.Tensors {
		r, err := m.Open(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, s.Bytes)
		if _, err := r.ReadAt(b, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		x.tensors = append(x.tensors, s)
		x.data[s.Name] = b
	}
	return x
}

func (x *weights) at(name string) int {
	return slices.IndexFunc(x.tensors, func(s formats.Tensor) bool { return s.Name == name })
}

// set adds or replaces a tensor; nil data removes it.
func (x *weights) set(name string, dt dtype.Type, shape []int64, b []byte) {
	i := x.at(name)
	switch {
	case b == nil && i >= 0:
		x.tensors = slices.Delete(slices.Clone(x.tensors), i, i+1)
		delete(x.data, name)
		return
	case b == nil:
		return
	case i < 0:
		i = len(x.tensors)
		x.tensors = append(slices.Clone(x.tensors), formats.Tensor{Name: name})
	}
	x.tensors[i] = formats.Tensor{Name: name, DType: dt, Shape: shape, Bytes: int64(len(b))}
	x.data[name] = b
}

func (x *weights) drop(name string) { x.set(name, "", nil, nil) }

// get is the tensor and its values as the wider of two types sees them.
func (x *weights) get(name string) (formats.Tensor, []byte) {
	if i := x.at(name); i >= 0 {
		return x.tensors[i], x.data[name]
	}
	return formats.Tensor{}, nil
}

// put writes the tensors as one file; where the names and sizes go the format's own Layout says.
func (x *weights) put(t testing.TB, m *fsio.Mem, name string) {
	t.Helper()
	h := formats.Header{Format: x.format.Name, Metadata: x.md, Aliases: x.aliases}
	for _, s := range x.tensors {
		s.File, s.Offset = path.Base(name), -1
		h.Tensors = append(h.Tensors, s)
	}
	l, err := x.format.Layout(h)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, l.Files[0].Bytes)
	var crc []uint32
	for i, s := range h.Tensors {
		copy(b[l.Places[i].Offset:], x.data[s.Name])
		crc = append(crc, crc32.ChecksumIEEE(x.data[s.Name]))
	}
	parts := l.Files[0].Parts
	if l.Seal != nil {
		parts = append(slices.Clone(parts), l.Seal(crc)...)
	}
	for _, p := range parts {
		if _, err := p.Data.ReadAt(b[p.Offset:p.Offset+p.Size], 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
	}
	m.Put(name, string(b))
}

// values decodes a tensor.
func values(s formats.Tensor, b []byte) []float64 {
	out := make([]float64, s.Elems())
	s.DType.DecodeWide(out, b)
	return out
}

func narrow(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}

func encode(dt dtype.Type, v []float32) []byte {
	b := make([]byte, int64(len(v))/dt.BlockElems()*dt.BlockBytes())
	dt.Encode(b, v)
	return b
}

// edit changes a config: each pair is a key and its JSON text, "" to remove it.
func edit(t testing.TB, m *fsio.Mem, name string, pairs ...string) {
	t.Helper()
	b, err := fsio.ReadFile(m, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]json.RawMessage
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if delete(c, pairs[i]); pairs[i+1] != "" {
			c[pairs[i]] = json.RawMessage(pairs[i+1])
		}
	}
	b, err = json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	m.Put(name, string(b))
}

func target(name string) convert.Target {
	for _, t := range bowline.Targets() {
		if t.Name == name {
			return t
		}
	}
	panic("no target " + name)
}

// plan makes the plan of converting an opened model.
func plan(m *arch.Model, t convert.Target, dst string, o convert.Options) (*convert.Plan, error) {
	ev, err := convert.Gather(context.Background(), m, convert.Questions(m, t, o))
	if err != nil {
		return nil, err
	}
	return convert.New(m, t, convert.Destination{Path: dst, Dir: path.Ext(dst) == ""}, o, ev)
}

// run converts by the front door.
func run(fsys fsio.FS, src, dst string, o bowline.ConvertOptions) (*bowline.ConvertReport, error) {
	return bowline.Convert(context.Background(), bowline.Source{Path: src, FS: fsys}, dst, o)
}

// opened opens a model until the end of the test.
func opened(t testing.TB, fsys fsio.FS, at string) *arch.Model {
	t.Helper()
	m, err := bowline.Open(bowline.Source{Path: at, FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// below is what a directory holds: names relative to it.
func below(m *fsio.Mem, dir string) map[string]string {
	out := map[string]string{}
	for name, content := range m.Tree() {
		if rest, ok := strings.CutPrefix(name, strings.TrimSuffix(dir, "/")+"/"); ok && rest != "" {
			out[rest] = content
		}
	}
	return out
}

// sameTree names the files in which two trees differ.
func sameTree(got, want map[string]string) error {
	var errs []error
	for name, w := range want {
		if g, ok := got[name]; !ok {
			errs = append(errs, errors.New(name+" is missing"))
		} else if g != w {
			errs = append(errs, errors.New(name+" differs"))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			errs = append(errs, errors.New(name+" is too much"))
		}
	}
	return errors.Join(errs...)
}
