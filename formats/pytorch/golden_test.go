package pytorch_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

// golden is what torch had in memory when it wrote the files of testdata (testdata/gen/pytorch.py).
type golden struct {
	Files   map[string]set
	Refused map[string]formats.Code
}

type set struct {
	Files   []string
	Index   string
	Tensors []struct {
		Name   string
		DType  dtype.Type
		Shape  []int64
		SHA256 string
	}
	Aliases [][2]string
	Size    int64
	Pickle  string
	Zeros   uint32
}

func record(t testing.TB) golden {
	t.Helper()
	var g golden
	if err := json.Unmarshal(file(t, "golden.json"), &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGolden(t *testing.T) {
	n := 0
	for name, want := range record(t).Files {
		if len(want.Files) == 0 {
			continue // another test's
		}
		n++
		t.Run(name, func(t *testing.T) {
			c, err := pytorch.Format.Open(fsio.OS{}, formats.Set{Dir: "testdata", Files: want.Files, Index: want.Index})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if len(c.Tensors) != len(want.Tensors) {
				t.Errorf("got %d tensors, want %d", len(c.Tensors), len(want.Tensors))
			}
			for _, x := range want.Tensors {
				got := c.Lookup(x.Name)
				if got == nil || got.Name != x.Name {
					t.Errorf("tensor %q: got %v", x.Name, got)
					continue
				}
				if got.DType != x.DType || !slices.Equal(got.Shape, x.Shape) {
					t.Errorf("tensor %q: got %s %v, want %s %v", x.Name, got.DType, got.Shape, x.DType, x.Shape)
				}
				sum := sha256.Sum256(formatstest.Bytes(t, c, x.Name))
				if hex.EncodeToString(sum[:]) != x.SHA256 {
					t.Errorf("tensor %q: other bytes than torch has", x.Name)
				}
			}
			if err := c.Check(t.Context()); err != nil {
				t.Error(err)
			}
			aliases := map[string]string{}
			for _, a := range c.Aliases {
				aliases[a.Name] = a.Of
			}
			if len(aliases) != len(want.Aliases) {
				t.Errorf("got aliases %v, want %v", aliases, want.Aliases)
			}
			for _, a := range want.Aliases {
				if aliases[a[0]] != a[1] {
					t.Errorf("alias %q: got %q, want %q", a[0], aliases[a[0]], a[1])
				}
			}
			if len(c.Dangling)+len(c.Unindexed) > 0 {
				t.Errorf("got dangling %v, unindexed %v", c.Dangling, c.Unindexed)
			}
		})
	}
	if n < 25 {
		t.Errorf("got %d files, want at least 25", n)
	}
}

func TestRefused(t *testing.T) {
	for name, want := range record(t).Refused {
		c, err := pytorch.Format.Open(fsio.OS{}, formats.Set{Dir: "testdata", Files: []string{name}})
		if err == nil {
			c.Close()
		}
		if formats.CodeOf(err) != want {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

// TestPieces reads strided tensors in pieces of all sizes, which have to be the same as the whole.
func TestPieces(t *testing.T) {
	c, err := pytorch.Format.Open(fsio.OS{}, formats.Set{Dir: "testdata", Files: []string{"strided.pt"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, x := range c.Tensors {
		whole := formatstest.Bytes(t, c, x.Name)
		r, err := c.Open(x.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{1, 3, 4, 7, 40, 1000, 4099} {
			if len(whole) > 2000 && size < 40 {
				continue
			}
			b := make([]byte, size)
			for off := 0; off <= len(whole); off += max(1, size/2) {
				n, err := r.ReadAt(b, int64(off))
				if want := whole[off:min(off+size, len(whole))]; !bytes.Equal(b[:n], want) || (err != nil) != (n < size) {
					t.Fatalf("%q: %d bytes at %d: got %d bytes, error %v", x.Name, size, off, n, err)
				}
			}
		}
	}
}

// TestAsTorch lays out what stream.pt holds. All bytes have to be torch's but for the identity of the archive.
func TestAsTorch(t *testing.T) {
	c, err := pytorch.Format.Open(fsio.OS{}, formats.Set{Dir: "testdata", Files: []string{"stream.pt"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
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
	got, want := files["stream.pt"], file(t, "stream.pt")
	same(t, identityless(t, got), identityless(t, want))
	g, w := identity(t, got), identity(t, want)
	if len(g) != 40 || !bytes.Equal(g[20:], w[20:]) {
		t.Errorf("got identity %s, want the second half of %s", g, w)
	}
}

func same(t *testing.T, got, want []byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %d bytes, want %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("byte %d: got %q, want %q", i, got[max(0, i-20):min(i+20, len(got))], want[max(0, i-20):min(i+20, len(want))])
		}
	}
}

// identity is the record .data/serialization_id of an archive.
func identity(t *testing.T, b []byte) []byte {
	t.Helper()
	i := bytes.LastIndex(b, []byte("PK\x07\x08"))
	if i < 40 {
		t.Fatal("no identity")
	}
	return b[i-40 : i]
}

// identityless is an archive with the digits of its identity and its two checksums cleared.
func identityless(t *testing.T, b []byte) []byte {
	t.Helper()
	b = bytes.Clone(b)
	clear(identity(t, b))
	i := bytes.LastIndex(b, []byte("PK\x07\x08"))
	clear(b[i+4 : i+8])
	i = bytes.LastIndex(b, []byte("PK\x01\x02"))
	clear(b[i+16 : i+20])
	return b
}

// TestZip64 reads and lays out a file of more than 4 GiB, of which testdata has both ends.
func TestZip64(t *testing.T) {
	want := record(t).Files["zip64"]
	head, tail := file(t, "zip64.head"), file(t, "zip64.tail")
	c, err := pytorch.Format.Open(ends{nil, head, tail, want.Size}, formats.Set{Dir: "/", Files: []string{"archive.bin"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if len(c.Tensors) != len(want.Tensors) {
		t.Fatalf("got %d tensors, want %d", len(c.Tensors), len(want.Tensors))
	}
	for i, x := range want.Tensors {
		if got := c.Tensors[i]; got.Name != x.Name || got.DType != x.DType || !slices.Equal(got.Shape, x.Shape) {
			t.Errorf("got %+v, want %+v", got, x)
		}
	}
	if b := formatstest.Bytes(t, c, "after"); !bytes.Equal(b, bytes.Repeat([]byte{0x80, 0x3f}, 4)) {
		t.Errorf("got % x, want ones", b)
	}

	l, err := pytorch.Format.Layout(c.Header)
	if err != nil {
		t.Fatal(err)
	}
	if l.Files[0].Bytes != want.Size {
		t.Fatalf("got %d bytes, want %d", l.Files[0].Bytes, want.Size)
	}
	crc := make([]uint32, len(c.Tensors))
	for i, x := range c.Tensors {
		if crc[i] = want.Zeros; x.Name != "big" {
			crc[i] = crc32.ChecksumIEEE(formatstest.Bytes(t, c, x.Name))
		}
	}
	gotHead, gotTail := make([]byte, len(head)), make([]byte, len(tail))
	put := func(at int64, b []byte) {
		for i, x := range b {
			if k := at + int64(i); k < int64(len(head)) {
				gotHead[k] = x
			} else if k >= want.Size-int64(len(tail)) {
				gotTail[k-want.Size+int64(len(tail))] = x
			}
		}
	}
	for _, p := range slices.Concat(l.Files[0].Parts, l.Seal(crc)) {
		b := make([]byte, p.Size)
		if _, err := p.Data.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		put(p.Offset, b)
	}
	for i, x := range c.Tensors {
		if x.Name != "big" {
			put(l.Places[i].Offset, formatstest.Bytes(t, c, x.Name))
		}
	}
	same(t, gotHead, head)
	same(t, identityless(t, gotTail), identityless(t, tail))
}

// ends is a file system with one file, of which two ends are given; all between is zero.
type ends struct {
	fsio.FS
	head, tail []byte
	size       int64
}

func (e ends) Open(string) (fsio.File, error) { return endsFile{nil, e}, nil }

type endsFile struct {
	fsio.File
	ends
}

func (f endsFile) Stat() (fs.FileInfo, error) { return sized{nil, f.size}, nil }
func (f endsFile) Close() error               { return nil }

func (f endsFile) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), f.size-off))
	for i := range p[:n] {
		p[i] = 0
		if at := off + int64(i); at < int64(len(f.head)) {
			p[i] = f.head[at]
		} else if at >= f.size-int64(len(f.tail)) {
			p[i] = f.tail[at-f.size+int64(len(f.tail))]
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

type sized struct {
	fs.FileInfo
	size int64
}

func (s sized) Size() int64 { return s.size }

// TestMany lays out a dictionary of more than 1000 entries, which Python writes in batches and with long memo slots.
func TestMany(t *testing.T) {
	want := record(t).Files["many"]
	var h formats.Header
	for i := range 1203 {
		n := int64(1 + i%3)
		h.Tensors = append(h.Tensors, formats.Tensor{Name: fmt.Sprintf("t%04d", i), DType: dtype.I32, Shape: []int64{n}, Bytes: 4 * n, File: "x.bin"})
	}
	l, err := pytorch.Format.Layout(h)
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, l.Files[0].Parts[0].Size)
	if _, err := l.Files[0].Parts[0].Data.ReadAt(head, 0); err != nil {
		t.Fatal(err)
	}
	begin, end := 64, bytes.Index(head, []byte("PK\x07\x08"))
	sum := sha256.Sum256(head[begin:end])
	if hex.EncodeToString(sum[:]) != want.Pickle || l.Files[0].Bytes != want.Size {
		t.Errorf("got a pickle of %d bytes and a file of %d, want torch's of %d", end-begin, l.Files[0].Bytes, want.Size)
	}
}

func TestNotes(t *testing.T) {
	for name, want := range map[string][]string{
		"tied.bin":              nil,
		"types.pt":              nil,
		"nested.pt":             {"enc.0.note: not read"},
		"wrapped-model.pt":      {"argparse.Namespace: not made", "epoch: not read", "model: unwrapped", "optimizer: not read", "pathlib.PurePosixPath: not made", "wrapped-model.pt: some tensors are not read"},
		"wrapped-module.pt":     {"model: unwrapped", "module: unwrapped"},
		"wrapped-state-dict.pt": {"callbacks: not read", "loss: not read", "numpy._core.multiarray._reconstruct: not made", "numpy._core.multiarray.scalar: not made", "numpy.dtype: not made", "numpy.ndarray: not made", "optimizer_states: not read", "state_dict: unwrapped", "wrapped-state-dict.pt: some tensors are not read"},
		"bare.pt":               {"bare: the tensor is called after its file"},
		"attributes.pt":         {"note: dropped"},
		"no-crc.pt":             {"no-crc.pt: read all the same"},
		"beside.pt":             nil,
	} {
		c, err := pytorch.Format.Open(fsio.OS{}, formats.Set{Dir: "testdata", Files: []string{name}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range c.Notes {
			got = append(got, n.Subject+": "+n.Decision)
		}
		sort.Strings(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
