package pytorch_test

import (
	"bytes"
	"path/filepath"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

// FuzzPickle runs any bytes as the pickle of an archive with one storage.
func FuzzPickle(f *testing.F) {
	for _, x := range odd {
		f.Add(x.image.b[x.image.data[pkl] : x.image.data[pkl]+bytes.Index(x.image.b[x.image.data[pkl]:], []byte("PK"))])
	}
	for _, x := range payloads("/tmp/x") {
		s, _ := marked(x.pickle)
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { try(t, checkpoint(string(b), sixty4).b) })
}

// FuzzDirectory puts any bytes behind the records of a good archive.
func FuzzDirectory(f *testing.F) {
	z := plain()
	f.Add(z.b[z.dir:])
	for _, x := range containers {
		if len(x.Bytes) > z.dir {
			f.Add(x.Bytes[z.dir:])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) { try(t, append(bytes.Clone(z.b[:z.dir]), b...)) })
}

// FuzzOpen reads any bytes.
func FuzzOpen(f *testing.F) {
	files, err := filepath.Glob("testdata/*.[pb][ti]*")
	if err != nil || len(files) < 20 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		if b := file(f, filepath.Base(name)); len(b) < 16<<10 {
			f.Add(b)
		}
	}
	for _, x := range odd {
		f.Add(x.image.b)
	}
	f.Fuzz(try)
}

// try opens a file: no panic, no allocation out of proportion, every problem with a class and inside the file; what is accepted is read,
// laid out, and read again as the same.
func try(t *testing.T, b []byte) {
	before := allocated()
	c, err := pytorch.Format.Open(formatstest.OneFile(b), "/", []string{"m.bin"}, "")
	if got, limit := allocated()-before, uint64(16*len(b)+16<<20); got > limit {
		t.Errorf("allocated %d bytes for a file of %d", got, len(b))
	}
	if err != nil {
		for _, e := range formats.Errors(err) {
			if e.Code == "" || e.Code == formats.IO || e.Offset > int64(len(b)) {
				t.Errorf("got code %q, offset %d for %d bytes: %v", e.Code, e.Offset, len(b), err)
			}
		}
		return
	}
	defer c.Close()
	total := int64(0)
	for _, x := range c.Tensors {
		if total += x.Bytes; total > 8<<20 {
			return // true expansions, too large for this test
		}
	}
	s := formatstest.Sample{Header: c.Header}
	for _, x := range c.Tensors {
		s.Data = append(s.Data, formatstest.Bytes(t, c, x.Name))
	}
	l, err := pytorch.Format.Layout(c.Header)
	if err != nil {
		t.Fatal(err)
	}
	files, err := s.Files(l)
	if err != nil {
		t.Fatal(err)
	}
	again, err := pytorch.Format.Open(formatstest.OneFile(files["m.bin"]), "/", []string{"m.bin"}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if len(again.Tensors) != len(c.Tensors) || len(again.Aliases) != len(c.Aliases) || len(again.Notes) > 0 {
		t.Fatalf("got %d tensors, %d aliases, notes %v, want %d and %d", len(again.Tensors), len(again.Aliases), again.Notes, len(c.Tensors), len(c.Aliases))
	}
	for i, x := range c.Tensors {
		if got := formatstest.Bytes(t, again, x.Name); !bytes.Equal(got, s.Data[i]) {
			t.Errorf("tensor %q: other bytes", strings.ToValidUTF8(x.Name, "?"))
		}
	}
}

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
