package raw_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/raw"
)

// TestFiles writes random checkpoints with a file for each tensor, and reads them.
func TestFiles(t *testing.T) {
	n := 0
	for s := range formatstest.Checkpoints(5, raw.Format.Limits) {
		if n++; n > 60 {
			break
		}
		if k := len(s.Header.Tensors); k > 0 {
			s.Header.Aliases = []formats.Alias{{Name: "an alias", Of: s.Header.Tensors[k-1].Name}}
		}
		l, err := raw.Format.Layout(s.Header)
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Files) != len(s.Header.Tensors)+1 || l.Files[len(l.Files)-1].Path != raw.Manifest {
			t.Fatalf("got %d files for %d tensors", len(l.Files), len(s.Header.Tensors))
		}
		files, err := s.Files(l)
		if err != nil {
			t.Fatal(err)
		}
		fsys := fsio.NewMem()
		formatstest.Put(t, fsys, "/", files)
		c, err := raw.Format.Open(fsys, formats.Set{Dir: "/", Index: raw.Manifest})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range s.Header.Tensors {
			got := c.Tensors[i]
			if got.Name != want.Name || got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || !bytes.Equal(formatstest.Bytes(t, c, want.Name), s.Data[i]) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		if !slices.Equal(c.Aliases, s.Header.Aliases) || !slices.Equal(c.Metadata, s.Header.Metadata) || len(c.Notes) > 0 {
			t.Errorf("got %v %v %v", c.Aliases, c.Metadata, c.Notes)
		}
		again, err := raw.Format.Layout(c.Header)
		if err != nil {
			t.Fatal(err)
		}
		second, err := formatstest.Sample{Header: c.Header, Data: s.Data}.Files(again)
		if err != nil {
			t.Fatal(err)
		}
		for name, b := range files {
			if !bytes.Equal(b, second[name]) {
				t.Errorf("%s: what was read is written with other bytes", name)
			}
		}
		c.Close()
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("long.", 60)
	for _, x := range []struct {
		name    string
		tensors []string
		want    []string
	}{
		{"plain", []string{"model.layers.0.q_proj.weight", "a-b_C"}, []string{"model.layers.0.q_proj.weight.npy", "a-b_C.npy"}},
		{"separators", []string{"a/b", `a\b`, "..", "../x", "/etc/passwd"}, []string{"a%2Fb.npy", "a%5Cb.npy", "%2E..npy", "%2E.%2Fx.npy", "%2Fetc%2Fpasswd.npy"}},
		{"dot files", []string{".", ".a", "a."}, []string{"%2E.npy", "%2Ea.npy", "a..npy"}},
		{"letters of the world", []string{"é", "a b", "%41", "a~2", "a\x00"}, []string{"%C3%A9.npy", "a%20b.npy", "%2541.npy", "a%7E2.npy", "a%00.npy"}},
		{"case", []string{"a", "A", "b", "a.x", "B", "A.X"}, []string{"a.npy", "A~2.npy", "b.npy", "a.x.npy", "B~2.npy", "A.X~2.npy"}},
		{"devices", []string{"con", "Aux.weight", "com1", "conv"}, []string{"%63on.npy", "%41ux.weight.npy", "%63om1.npy", "conv.npy"}},
		{"nothing", []string{""}, []string{"~.npy"}},
		{"too long", []string{long + "a", long + "b"}, []string{long[:183] + "~", long[:183] + "~"}},
		{"manifest", []string{"tensors.json", "tensors"}, []string{"tensors.json.npy", "tensors.npy"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			var h formats.Header
			for _, name := range x.tensors {
				h.Tensors = append(h.Tensors, formats.Tensor{Name: name, DType: dtype.U8, Bytes: 1, File: "model.safetensors"})
			}
			l, err := raw.Format.Layout(h)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range x.want {
				got := l.Files[i].Path
				if i := strings.IndexByte(want, '~'); i > 100 { // a digest follows
					got, want = got[:i], want[:i]
				}
				if got != want || len(l.Files[i].Path) > 204 {
					t.Errorf("%q: got %s, want %s", x.tensors[i], l.Files[i].Path, want)
				}
			}
			for i := range x.tensors[1:] {
				if strings.EqualFold(l.Files[i].Path, l.Files[i+1].Path) {
					t.Errorf("%q and %q share %s", x.tensors[i], x.tensors[i+1], l.Files[i].Path)
				}
			}
		})
	}
}

func TestLayoutRefuses(t *testing.T) {
	f4 := func(name, file string) formats.Tensor {
		return formats.Tensor{Name: name, DType: dtype.F32, Shape: []int64{1}, Bytes: 4, File: file}
	}
	for _, x := range []struct {
		name string
		h    formats.Header
		code formats.Code
	}{
		{"two of one name", formats.Header{Tensors: []formats.Tensor{f4("a", ""), f4("a", "")}}, formats.Dup},
		{"two in one array", formats.Header{Tensors: []formats.Tensor{f4("a", "x.npy"), f4("b", "x.npy")}}, formats.Dup},
		{"a path", formats.Header{Tensors: []formats.Tensor{f4("a", "../x.npy")}}, formats.BadPath},
		{"a block type", formats.Header{Tensors: []formats.Tensor{{Name: "a", DType: dtype.Q8_0, Shape: []int64{32}, Bytes: 34}}}, formats.BadDType},
		{"half bytes", formats.Header{Tensors: []formats.Tensor{{Name: "a", DType: "F4", Shape: []int64{2}, Bytes: 1}}}, formats.BadDType},
		{"65 dimensions", formats.Header{Tensors: []formats.Tensor{{Name: "a", DType: dtype.U8, Shape: slices.Repeat([]int64{1}, 65), Bytes: 1}}}, formats.Limit},
		{"wrong bytes", formats.Header{Tensors: []formats.Tensor{{Name: "a", DType: dtype.U8, Shape: []int64{2}, Bytes: 1}}}, formats.BadShape},
		{"too many values", formats.Header{Tensors: []formats.Tensor{{Name: "a", DType: dtype.U8, Shape: []int64{1 << 32, 1 << 32}}}}, formats.Overflow},
		{"too many bytes in all", formats.Header{Tensors: []formats.Tensor{{Name: "a", DType: dtype.U8, Shape: []int64{1 << 61}, Bytes: 1 << 61},
			{Name: "b", DType: dtype.U8, Shape: []int64{1 << 61}, Bytes: 1 << 61}}}, formats.Overflow},
		{"a name that is no text", formats.Header{Tensors: []formats.Tensor{f4("\xff", "")}}, formats.UTF8},
		{"an alias of nothing", formats.Header{Tensors: []formats.Tensor{f4("a", "")}, Aliases: []formats.Alias{{Name: "b", Of: "c"}}}, formats.Missing},
		{"an alias that is there", formats.Header{Tensors: []formats.Tensor{f4("a", "")}, Aliases: []formats.Alias{{Name: "a", Of: "a"}}}, formats.Dup},
		{"a number in the metadata", formats.Header{Metadata: formats.Metadata{{Key: "a", Value: 1}}}, formats.BadType},
		{"a key twice", formats.Header{Metadata: formats.Metadata{{Key: "a", Value: ""}, {Key: "a", Value: ""}}}, formats.Dup},
		{"metadata that is no text", formats.Header{Metadata: formats.Metadata{{Key: "a", Value: "\xff"}}}, formats.UTF8},
	} {
		if _, err := raw.Format.Layout(x.h); formats.CodeOf(err) != x.code {
			t.Errorf("%s: got %v, want %s", x.name, err, x.code)
		}
	}
}

// TestFortran reads arrays in Fortran order that take many windows, against one loop over their indexes.
func TestFortran(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, shape := range [][]int64{{40000, 9}, {9, 40000}, {500, 600}, {40, 25, 30, 7}, {3, 1, 5, 20000}, {20000, 5, 1, 3}, {2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2},
		{1, 300000}, {300000, 1}, {5, 0, 3}} {
		for _, d := range []struct {
			descr string
			size  int64
		}{{"|u1", 1}, {">u2", 2}, {"<u8", 8}} {
			n, _ := formats.Elems(shape)
			stored, want := make([]byte, n*d.size), make([]byte, n*d.size)
			for i := range stored {
				stored[i] = byte(r.Uint32())
			}
			index := make([]int64, len(shape))
			for at := range n { // C order
				from, step := int64(0), int64(1)
				for k, x := range index {
					from += x * step
					step *= shape[k]
				}
				v := want[at*d.size:][:d.size]
				copy(v, stored[from*d.size:])
				if d.descr[0] == '>' {
					slices.Reverse(v)
				}
				for k := len(index) - 1; k >= 0; k-- {
					if index[k]++; index[k] < shape[k] {
						break
					}
					index[k] = 0
				}
			}
			dims := strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ", "), "[]")
			file := npy(1, fmt.Sprintf("{'descr': '%s', 'fortran_order': True, 'shape': (%s), }", d.descr, dims), string(stored))
			c, err := raw.Format.Open(formatstest.OneFile(file), formats.Set{Dir: "/", Files: []string{"a.npy"}})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(formatstest.Bytes(t, c, "a"), want) {
				t.Errorf("%s %v: other values", d.descr, shape)
			}
			rd, err := c.Open("a")
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				if len(want) == 0 {
					break
				}
				off := r.IntN(len(want))
				p := make([]byte, 1+r.IntN(min(len(want)-off, 100000)))
				if _, err := rd.ReadAt(p, int64(off)); err != nil || !bytes.Equal(p, want[off:off+len(p)]) {
					t.Fatalf("%s %v: %d bytes at %d: %v", d.descr, shape, len(p), off, err)
				}
			}
		}
	}
}

// TestMany reads more files than are kept open, and notices that one of them changed.
func TestMany(t *testing.T) {
	s := formatstest.Sample{}
	for i := range 600 {
		s.Header.Tensors = append(s.Header.Tensors, formats.Tensor{Name: fmt.Sprint(i), DType: dtype.U16, Shape: []int64{3}, Bytes: 6})
		s.Data = append(s.Data, []byte{byte(i), byte(i >> 8), 2, 3, 4, 5})
	}
	l, err := raw.Format.Layout(s.Header)
	if err != nil {
		t.Fatal(err)
	}
	files, err := s.Files(l)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	formatstest.Put(t, fsio.OS{}, dir, files)
	c, err := raw.Format.Open(fsio.OS{}, formats.Set{Dir: dir, Index: raw.Manifest})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range s.Data {
		if got := formatstest.Bytes(t, c, fmt.Sprint(i)); !bytes.Equal(got, s.Data[i]) {
			t.Fatalf("tensor %d: got % x, want % x", i, got, s.Data[i])
		}
	}
	f, err := fsio.OS{}.OpenRW(filepath.Join(dir, "5.npy")) // which was closed meanwhile
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("more"), l.Files[5].Bytes); err != nil {
		t.Fatal(err)
	}
	f.Close()
	rd, err := c.Open("5")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rd.ReadAt(make([]byte, 1), 0); formats.CodeOf(err) != formats.Changed {
		t.Errorf("got %v, want %s", err, formats.Changed)
	}
}

// TestShared reads names that share an array or a place in a dump, in every way in which a manifest can say so.
func TestShared(t *testing.T) {
	fsys := fsio.NewMem()
	formatstest.Put(t, fsys, "/", corpus.RawFolder(`{"format":"bowline.raw/1","aliases":[{"name":"e","of":"b"},{"name":"f","of":"d"},{"name":"g","of":"c"}],"tensors":[`+
		`{"name":"a","file":"a.npy"},{"name":"b","dtype":"F32","shape":[2,3],"file":"a.npy"},`+
		`{"name":"c","dtype":"U8","shape":[7],"file":"d.raw","offset":3},{"name":"empty","dtype":"U8","shape":[0],"file":"d.raw","offset":3},`+
		`{"name":"d","dtype":"U8","shape":[7],"file":"d.raw","offset":3}]}`))
	c, err := raw.Format.Open(fsys, formats.Set{Dir: "/", Index: raw.Manifest})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if len(c.Tensors) != 3 {
		t.Errorf("got tensors %v", c.Tensors)
	}
	for name, of := range map[string]string{"a": "a", "b": "a", "e": "a", "c": "c", "d": "c", "f": "c", "g": "c", "empty": "empty"} {
		if got := c.Lookup(name); got == nil || got.Name != of {
			t.Errorf("%s: got %v, want %s", name, got, of)
		}
	}
	if len(c.Notes) != 1 || !strings.Contains(c.Notes[0].Because, "90 of its bytes") {
		t.Errorf("got notes %v", c.Notes)
	}
}
