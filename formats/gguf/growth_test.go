package gguf_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/gguf"
)

// crowd has n tensors, or n keys.
func crowd(tensors, keys int) image {
	b := make(image, 0, 90*tensors+40*keys+64)
	b = append(b, head(uint64(tensors), uint64(keys))...)
	le := binary.LittleEndian // by hand: put takes longer than the reading that is measured
	name := func(s string, i int) {
		s = fmt.Sprintf(s, i)
		b = append(le.AppendUint64(b, uint64(len(s))), s...)
	}
	for i := range keys {
		name("key.%d", i)
		b = le.AppendUint32(le.AppendUint32(b, u32), uint32(i))
	}
	for i := range tensors {
		name("t.%d", i)
		b = le.AppendUint64(le.AppendUint32(b, 1), 1)
		b = le.AppendUint64(le.AppendUint32(b, idF32), uint64(32*i))
	}
	if tensors == 0 {
		return b
	}
	return b.Data(32 * tensors)
}

// opening is the least time of a few that opening takes.
func opening(t testing.TB, b []byte, tries int) time.Duration {
	least := time.Hour
	for range tries {
		start := time.Now()
		c, err := gguf.Format.Open(formatstest.OneFile(b), formats.Set{Dir: "/", Files: []string{"m.gguf"}})
		if err != nil {
			t.Fatal(err)
		}
		least = min(least, time.Since(start))
		c.Close()
	}
	return least
}

// Twice the entries take about twice the time: names are looked up, not compared pair by pair, which would be four times.
func TestGrowth(t *testing.T) {
	most := mostTensors
	if testing.Short() {
		most = 20_000
	}
	for _, x := range []struct {
		name string
		make func(n int) image
	}{
		{"tensors", func(n int) image { return crowd(n, 0) }},
		{"keys", func(n int) image { return crowd(0, n) }},
	} {
		ratio, small, large := 0.0, x.make(most/2), x.make(most)
		for range 4 { // others use the machine too
			half, whole := opening(t, small, 3), opening(t, large, 3)
			ratio = float64(whole) / float64(half)
			t.Logf("%d %s: %v, half of them %v, ratio %.2f", most, x.name, whole, half, ratio)
			if ratio < 2.6 {
				break
			}
		}
		if ratio >= 2.6 {
			t.Errorf("%s: got ratio %.2f, want less than 2.6", x.name, ratio)
		}
	}
}

// TestMemory opens files that are all metadata and holds what is allocated on the way, not only what is kept, to a multiple of their size
// and 16 MiB.
func TestMemory(t *testing.T) {
	const n = 1 << 17
	repeat := func(b image, one image) image {
		out := append(make(image, 0, len(b)+n*len(one)), b...)
		for range n {
			out = append(out, one...)
		}
		return out
	}
	for _, x := range []struct {
		name  string
		bytes image
		times int
		load  bool
	}{
		{"keys", crowd(0, n), 4, false},
		{"tensors", crowd(n, 0), 4, false},
		{"empty strings", repeat(head(0, 1).List("k", str, n), image{}.Put("")), 0, false},
		{"empty strings, loaded", repeat(head(0, 1).List("k", str, n), image{}.Put("")), 4, true},
		{"strings of one byte, loaded", repeat(head(0, 1).List("k", str, n), image{}.Put("a")), 4, true},
		{"bytes, loaded", repeat(head(0, 1).List("k", u8, n), image{7}), 4, true},
		{"empty arrays", repeat(head(0, 1).List("k", array, n), image{}.Put(uint32(u8), uint64(0))), 4, false},
		{"arrays of one byte", repeat(head(0, 1).List("k", array, n), image{}.Put(uint32(u8), uint64(1), uint8(1))), 4, false},
		{"arrays 4 deep", repeat(head(0, 1).List("k", array, n), image{}.Put(uint32(array), uint64(1), uint32(array), uint64(1), uint32(str), uint64(0))), 4, false},
		{"private types", func() image {
			b := head(n/8, 0)
			for i := range n / 8 {
				b = b.Info(fmt.Sprintf("t%d", i), uint32(1000+i), 0, 0)
			}
			return b.Pad(32)
		}(), 4, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			before := allocated()
			c, err := gguf.Format.Open(formatstest.OneFile(x.bytes), formats.Set{Dir: "/", Files: []string{"m.gguf"}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if x.load {
				if _, err := c.Metadata.Loaded(); err != nil {
					t.Fatal(err)
				}
			}
			got := allocated() - before
			limit := uint64(x.times*len(x.bytes) + 16<<20)
			t.Logf("%d bytes for a file of %d", got, len(x.bytes))
			if got > limit {
				t.Errorf("allocated %d bytes for a file of %d, want at most %d", got, len(x.bytes), limit)
			}
		})
	}
}

func BenchmarkMillionTensors(b *testing.B) {
	v := crowd(1_000_000, 0)
	fsys := formatstest.OneFile(v)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := gguf.Format.Open(fsys, formats.Set{Dir: "/", Files: []string{"m.gguf"}}); err != nil {
			b.Fatal(err)
		}
	}
}

// A long array is read when it is asked for, as often as it is; after the file has changed, asking is an error.
func TestDeferred(t *testing.T) {
	b := head(0, 2).List("k", str, 5000)
	for i := range 5000 {
		b = b.Put(fmt.Sprint(i))
	}
	b = b.List("n", i32, 5000, make([]int32, 5000))
	c, err := gguf.Format.Open(formatstest.OneFile(b), formats.Set{Dir: "/", Files: []string{"m.gguf"}})
	if err != nil {
		t.Fatal(err)
	}
	d, ok := c.Metadata[0].Value.(formats.Deferred)
	if !ok || d.Len() != 5000 || d.Elem() != "string" || fmt.Sprint(d) != "[5000 x string]" {
		t.Fatalf("got %T, %v", c.Metadata[0].Value, c.Metadata[0].Value)
	}
	for range 2 {
		v, ok, err := c.Metadata.Strs("k")
		if err != nil || !ok || len(v) != 5000 || v[4999] != "4999" {
			t.Fatalf("got %d strings, %v", len(v), err)
		}
	}
	if v, ok, err := c.Metadata.Ints("n"); err != nil || !ok || len(v) != 5000 {
		t.Fatalf("got %d numbers, %v", len(v), err)
	}
	if _, _, err := c.Metadata.Ints("k"); formats.CodeOf(err) != formats.BadType {
		t.Errorf("strings as numbers: got %v", err)
	}
	cut := memory(t)
	put(t, cut, "m.gguf", b)
	c = openFiles(t, cut, "m.gguf")
	f, err := cut.OpenRW("/m.gguf")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Allocate(1000); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Metadata.Strs("k"); formats.CodeOf(err) != formats.Changed {
		t.Errorf("a file that became shorter: got %v, want %s", err, formats.Changed)
	}
	if _, err := gguf.Format.Layout(c.Header); formats.CodeOf(err) != formats.Changed {
		t.Errorf("laid out: got %v, want %s", err, formats.Changed)
	}
}
