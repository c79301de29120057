package gguf_test

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/gguf"
)

const bigDir = "../../testdata/gguf/bigendian/"

// bigGoldens are the big-endian files of peers, and what they hold: see testdata/gen/gguf_bigendian.py.
func bigGoldens(t testing.TB) []golden {
	var all []golden
	b, err := os.ReadFile(bigDir + "golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// bigFiles puts big-endian files into a file system, after change has had each.
func bigFiles(t testing.TB, files []string, change func(b []byte)) *fsio.Mem {
	fsys := fsio.NewMem()
	for _, name := range files {
		b, err := os.ReadFile(bigDir + name)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(b)
		}
		put(t, fsys, name, b)
	}
	return fsys
}

func openFiles(t testing.TB, fsys fsio.FS, files ...string) *formats.Checkpoint {
	t.Helper()
	c, err := gguf.Format.Open(fsys, formats.Set{Dir: "/", Files: files})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// What gguf-py wrote big-endian is read as what it was given; version 2, which gguf-py reads in that order too, has the same layout.
func TestReadsBigEndian(t *testing.T) {
	for _, want := range bigGoldens(t) {
		for _, version := range []byte{3, 2} {
			t.Run(want.Files[0]+" as version "+string('0'+version), func(t *testing.T) {
				fsys := bigFiles(t, want.Files, func(b []byte) { b[7] = version })
				c := openFiles(t, fsys, want.Files...)
				got := describe(t, c)
				got.Version = want.Version
				if a, b := text(t, got), text(t, want); a != b {
					t.Errorf("got  %s\nwant %s", a, b)
				}
				if len(c.Notes) != len(want.Files) || c.Notes[0].Decision != "read as big-endian" {
					t.Errorf("got notes %v", c.Notes)
				}
				again(t, c)
			})
		}
	}
}

// The reader of a big-endian tensor gives the same bytes whatever is asked of it: parts of blocks and of numbers too.
func TestBigEndianReadsOfAnySize(t *testing.T) {
	for _, g := range bigGoldens(t) {
		c := openFiles(t, bigFiles(t, g.Files, nil), g.Files...)
		for _, x := range c.Tensors {
			whole := formatstest.Bytes(t, c, x.Name)
			r, err := c.Open(x.Name)
			if err != nil {
				t.Fatal(err)
			}
			for _, size := range []int{1, 3, 64, 293, 1000} {
				p := make([]byte, size)
				for off := 0; off <= len(whole); off += max(1, size/3) {
					n, err := r.ReadAt(p, int64(off))
					want := whole[off:min(len(whole), off+size)]
					if string(p[:n]) != string(want) || n < size && err == nil || n == size && err != nil {
						t.Fatalf("%s %s: %d bytes from %d: got %d bytes, %v, want %d, first other at %d", g.Files[0], x.Name, size, off, n, err, len(want), firstOther(p[:n], want))
					}
				}
			}
			if n, err := r.ReadAt(make([]byte, 1), -1); n != 0 || err == nil {
				t.Errorf("%s: read before the start: got %d bytes, %v", x.Name, n, err)
			}
		}
	}
}

// Types whose bytes in that order are not known are listed; their data is refused, and nothing else is.
func TestBigEndianUnknownLayouts(t *testing.T) {
	b := bigHead(3, 3, 0).Info("a", 16, 0, 256).Info("b", 152, 96, 32).Info("c", idF32, 160, 1).Data(164)
	binary.BigEndian.PutUint32(b[len(b)-4:], 0x3f800000)
	c := openFiles(t, formatstest.OneFile(b), "m.gguf")
	for i, want := range []string{"IQ2_XXS", "GGML_152"} {
		if got := string(c.Tensors[i].DType); got != want {
			t.Errorf("got type %s, want %s", got, want)
		}
		_, err := c.Open(c.Tensors[i].Name)
		list := formats.Errors(err)
		if len(list) != 1 || list[0].Code != formats.Unsupported || list[0].Tensor != c.Tensors[i].Name || list[0].Path != "/m.gguf" || list[0].Offset != c.Tensors[i].Offset {
			t.Errorf("%s: got %v", want, err)
		}
	}
	if got := formatstest.Bytes(t, c, "c"); string(got) != "\x00\x00\x80\x3f" {
		t.Errorf("got % x", got)
	}
}

// A set may have files of both orders: each says its own.
func TestSetOfBothOrders(t *testing.T) {
	fsys := memory(t)
	names := gguf.Format.Siblings("m-00001-of-00002.gguf")
	put(t, fsys, names[0], append(shard(0, 2, 2, 1).Info("a", idF32, 0, 1).Pad(32), 0, 0, 0x80, 0x3f))
	put(t, fsys, names[1], append(bigHead(3, 1, 1).Put("split.no", uint32(u16), uint16(1)).Info("b", idF32, 0, 1).Pad(32), 0x3f, 0x80, 0, 0))
	c := openFiles(t, fsys, names...)
	if a, b := formatstest.Bytes(t, c, "a"), formatstest.Bytes(t, c, "b"); string(a) != string(b) {
		t.Errorf("got % x and % x", a, b)
	}
}
