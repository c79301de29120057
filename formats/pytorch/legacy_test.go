package pytorch_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

// TestParts reads parts of storages, as torch 0.3 wrote them. torch 2.13 gives the same values (testdata/gen/pytorch.py, parts).
func TestParts(t *testing.T) {
	r := parts16()
	c, err := pytorch.Format.Open(formatstest.OneFile(r.Bytes), formats.Set{Dir: "/", Files: []string{"m.bin"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, want := range map[string]string{"a": sixty4, "b": sixty4[20:24] + sixty4[28:32] + sixty4[36:40], "c": "half", "e": ""} {
		if got := string(formatstest.Bytes(t, c, name)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	var aliases []string
	for _, a := range c.Aliases {
		aliases = append(aliases, a.Name+"="+a.Of)
	}
	slices.Sort(aliases)
	if got := strings.Join(aliases, " "); got != "again=a b2=b b3=b" {
		t.Errorf("got aliases %q", got)
	}
	if x := c.Tensor("b"); x.Offset != int64(r.Counts+8+8+20) {
		t.Errorf("got offset %d, want %d", x.Offset, r.Counts+8+8+20)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestBigEndianMachine: the tensors of legacy files are little-endian wherever they were written, the counts of old ones are not.
func TestBigEndianMachine(t *testing.T) {
	for _, n := range []int{16, 16 << 56} {
		r := relicOf(magicPickle, thousandOne, system("\x89"), proto+dict("x", corpus.Old16)+".", listOf("7"), corpus.Block{Key: "7", N: n, Data: sixty4})
		c, err := pytorch.Format.Open(formatstest.OneFile(r.Bytes), formats.Set{Dir: "/", Files: []string{"m.bin"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(formatstest.Bytes(t, c, "x")); got != sixty4 {
			t.Errorf("got %q", got)
		}
		if len(c.Notes) != 1 || !strings.Contains(c.Notes[0].Because, "big-endian") {
			t.Errorf("got notes %v", c.Notes)
		}
		c.Close()
	}
}

// TestLongPickle reads a pickle of many times the first read, and nothing behind it: a file of 2^40 bytes takes no longer.
func TestLongPickle(t *testing.T) {
	numel := "\x8a\x05\x00\x00\x00\x00\x10" // 2^36
	object := dict("note", str(strings.Repeat("n", 300_000)), "x", rebuild(part("DoubleStorage", "7", numel, "N"), "\x8a\x05\xff\xff\xff\xff\x0f", ints(1), ints(1)))
	r := older(object, []corpus.Block{{Key: "7", N: 1 << 36, Data: ""}})
	c, err := pytorch.Format.Open(formatstest.OneFile(r.Bytes), formats.Set{Dir: "/", Files: []string{"m.bin"}})
	if err == nil || formats.CodeOf(err) != formats.Bounds {
		t.Fatalf("got %v, want it beyond the file", err)
	}
	_ = c
	c, err = pytorch.Format.Open(long{nil, r.Bytes, int64(len(r.Bytes)) + 8<<36}, formats.Set{Dir: "/", Files: []string{"m.bin"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if x := c.Tensor("x"); x == nil || x.Offset != int64(len(r.Bytes))+8*(1<<36-1) {
		t.Errorf("got %+v", x)
	}
	if got := formatstest.Bytes(t, c, "x"); !bytes.Equal(got, make([]byte, 8)) {
		t.Errorf("got % x", got)
	}
}

// long is a file system of one file that ends in zeros.
type long struct {
	fsio.FS
	head []byte
	size int64
}

func (l long) Open(string) (fsio.File, error) {
	return endsFile{nil, ends{nil, l.head, nil, l.size}}, nil
}
