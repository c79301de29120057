package pytorch_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

// victim is a valid checkpoint of which one file is edited.
type victim struct {
	name  string
	files map[string][]byte
	open  []string
	index string
	edit  string
	sums  bool // changes of what is read are noticed
}

func victims(t testing.TB) []victim {
	one := func(name string, sums bool) victim {
		return victim{name, map[string][]byte{"m.bin": file(t, name)}, []string{"m.bin"}, "", "m.bin", sums}
	}
	shards := map[string][]byte{}
	var open []string
	for i := 1; i <= 3; i++ {
		name := fmt.Sprintf("pytorch_model-%05d-of-00003.bin", i)
		shards[name] = file(t, name)
		open = append(open, name)
	}
	const index = "pytorch_model.bin.index.json"
	shards[index] = file(t, index)
	return []victim{
		one("tied.bin", true), one("big-endian.pt", true), one("legacy2.pt", false), one("legacy4.pt", false),
		{"shard 2", shards, open, index, open[1], true},
		{"index", shards, open, index, index, true},
	}
}

// with opens the checkpoint with other bytes in the edited file.
func (v victim) with(b []byte) (*formats.Checkpoint, error) {
	fsys := fsio.NewMem()
	for name, x := range v.files {
		if name == v.edit {
			x = b
		}
		fsys.Put("/"+name, string(x))
	}
	return pytorch.Format.Open(fsys, formats.Set{Dir: "/", Files: v.open, Index: v.index})
}

// judge opens an edited file. It is refused with a class and a place in the file, or read; what has checksums is then what it was.
func (v victim) judge(t *testing.T, what string, b []byte, want formats.Header) (accepted bool) {
	t.Helper()
	start := time.Now()
	c, err := v.with(b)
	if d := time.Since(start); d > time.Second {
		t.Errorf("%s: took %v", what, d)
	}
	if err != nil {
		for _, e := range formats.Errors(err) {
			if e.Code == "" || e.Code == formats.IO || e.Code == formats.Changed || e.Path == "" || e.Offset > int64(len(b)) && e.Path == "/"+v.edit {
				t.Errorf("%s: got %v", what, err)
			}
		}
		return false
	}
	defer c.Close()
	if v.sums && (!reflect.DeepEqual(c.Tensors, want.Tensors) || !reflect.DeepEqual(c.Aliases, want.Aliases)) {
		t.Errorf("%s: accepted as another checkpoint", what)
	}
	for _, x := range c.Tensors {
		r, err := c.Open(x.Name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.ReadAt(make([]byte, min(x.Bytes, 1<<10)), 0); err != nil && x.Bytes > 0 {
			t.Errorf("%s: tensor %q: %v", what, x.Name, err)
		}
	}
	return true
}

// TestEdits cuts valid files at all lengths, flips each bit of their metadata, and puts numbers that tempt readers wherever a length could
// be. Of the latter two it is a sample, all with -tags exhaustive.
func TestEdits(t *testing.T) {
	cuts, flips, lengths, passed := 0, 0, 0, 0
	for _, v := range victims(t) {
		whole := v.files[v.edit]
		c, err := v.with(whole)
		if err != nil {
			t.Fatal(err)
		}
		want := c.Header
		isData := make([]bool, len(whole))
		for _, x := range c.Tensors {
			if x.File == v.edit {
				for i := range x.Bytes {
					if at := x.Offset + i; at < int64(len(isData)) {
						isData[at] = true
					}
				}
			}
		}
		c.Close()
		for n := range whole {
			if n%everyCut != 0 && n > 64 && n < len(whole)-256 {
				continue
			}
			cuts++
			if v.judge(t, fmt.Sprintf("%s cut at %d", v.name, n), whole[:n], want) {
				t.Errorf("%s: accepted, cut at %d of %d", v.name, n, len(whole))
			}
		}
		b := slices.Clone(whole)
		for i := range b {
			if isData[i] {
				continue
			}
			for bit := range 8 {
				if (8*i+bit)%everyFlip != 0 {
					continue
				}
				flips++
				b[i] ^= 1 << bit
				if v.judge(t, fmt.Sprintf("%s with bit %d of byte %d flipped", v.name, bit, i), b, want) {
					passed++
				}
				b[i] = whole[i]
			}
			if i%everyLength != 0 {
				continue
			}
			for _, width := range []int{1, 2, 4, 8} {
				if i+width > len(b) || slices.Contains(isData[i:i+width], true) {
					continue
				}
				var old [8]byte
				copy(old[:], whole[i:i+width])
				n := binary.LittleEndian.Uint64(old[:])
				for _, x := range []uint64{0, 1, n - 1, n + 1, 1<<15 - 1, 1 << 15, 1<<16 - 1, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
					var put [8]byte
					binary.LittleEndian.PutUint64(put[:], x)
					copy(b[i:i+width], put[:width])
					lengths++
					if !bytes.Equal(b, whole) && v.judge(t, fmt.Sprintf("%s with %d in %d bytes at %d", v.name, x, width, i), b, want) {
						passed++
					}
					copy(b[i:], whole[i:i+width])
				}
			}
		}
	}
	t.Logf("%d cuts, none accepted; %d flips and %d lengths, %d accepted", cuts, flips, lengths, passed)
}
