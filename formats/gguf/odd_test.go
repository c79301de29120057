package gguf_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/gguf"
)

// TestOdd reads odd files within their limits, as what they are, and writes them again. A set has nothing more to be said of it.
func TestOdd(t *testing.T) {
	formatstest.Read(t, gguf.Format, corpus.GGUF().Odd, func(t *testing.T, c *formats.Checkpoint, x corpus.Case) {
		if x.Reads == nil {
			return
		}
		if len(c.Notes) != len(x.Reads.Notes) {
			t.Fatalf("got notes %v, want %q", c.Notes, x.Reads.Notes)
		}
		for i, n := range c.Notes {
			if !strings.Contains(n.Decision+" "+n.Because, x.Reads.Notes[i]) {
				t.Errorf("got note %v, want %q", n, x.Reads.Notes[i])
			}
		}
		if x.Reads.Metadata != nil && !reflect.DeepEqual(c.Metadata, x.Reads.Metadata) {
			t.Errorf("got metadata %v, want %v", c.Metadata, x.Reads.Metadata)
		}
		for i, want := range x.Reads.Tensors {
			got := c.Tensors[i]
			if s := fmt.Sprintf("%s %s %d %d", got.Name, got.DType, got.Shape, got.Bytes); s != want {
				t.Errorf("got %q, want %q", s, want)
			}
		}
		again(t, c)
	})
}

func TestExtraKeysOfALaterShard(t *testing.T) {
	fsys := memory(t)
	names := gguf.Format.Siblings("m-00001-of-00002.gguf")
	put(t, fsys, names[0], shard(0, 2, 0, 0))
	put(t, fsys, names[1], head(0, 2).KV("split.no", u16, uint16(1)).KV("k", u8, uint8(1)))
	c, err := gguf.Format.Open(fsys, formats.Set{Dir: "/", Files: names})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Notes) != 1 || !strings.Contains(c.Notes[0].Decision, `"k" is ignored`) || len(c.Metadata) != 0 {
		t.Errorf("got notes %v, metadata %v", c.Notes, c.Metadata)
	}
}

// again lays out what was read and reads that: it has to be the same, but for what Layout says that it replaces.
func again(t *testing.T, c *formats.Checkpoint) {
	t.Helper()
	for _, x := range c.Tensors {
		if len(x.Name) == 64 { // read, never written
			return
		}
		if _, err := c.Open(x.Name); !x.DType.Known() && formats.CodeOf(err) == formats.Unsupported { // of a big-endian file: listed, not read
			return
		}
	}
	files := rewrite(t, c)
	fsys := memory(t)
	var names []string
	for _, f := range c.Files {
		names = append(names, f.Path)
		put(t, fsys, f.Path, files[f.Path])
	}
	d, err := gguf.Format.Open(fsys, formats.Set{Dir: "/", Files: names})
	if err != nil {
		t.Fatalf("what was written is refused: %v", err)
	}
	defer d.Close()
	want := formats.Metadata{}
	for _, kv := range c.Metadata {
		if kv.Key != "general.alignment" {
			want = append(want, kv)
		}
	}
	if text(t, describeAll(d.Metadata)) != text(t, describeAll(want)) {
		t.Errorf("got metadata %v, want %v", d.Metadata, want)
	}
	if len(d.Tensors) != len(c.Tensors) {
		t.Fatalf("got %d tensors, want %d", len(d.Tensors), len(c.Tensors))
	}
	for i, x := range c.Tensors {
		y := d.Tensors[i]
		if x.Name != y.Name || x.DType != y.DType || !reflect.DeepEqual(x.Shape, y.Shape) || x.File != y.File {
			t.Errorf("got %v, want %v", y, x)
		}
		a, b := formatstest.Bytes(t, c, x.Name), formatstest.Bytes(t, d, x.Name)
		if !x.DType.Known() && len(b) >= len(a) {
			b = b[:len(a)] // the padding is part of a tensor whose size only offsets tell
		}
		if string(a) != string(b) {
			t.Errorf("tensor %q: other bytes", x.Name)
		}
	}
}

// A vocabulary like Gemma's: 262,144 tokens, as many scores and types, 500,000 merges.
func vocabulary() image {
	const tokens, merges = 262144, 500000
	b := make(image, 0, 24<<20)
	b = append(b, head(0, 4)...).List("tokens", str, tokens)
	for i := range tokens {
		b = b.Put(fmt.Sprintf("token%d", i))
	}
	b = b.List("merges", str, merges)
	for i := range merges {
		b = b.Put(fmt.Sprintf("tok en%d", i))
	}
	return b.List("scores", f32, tokens, make([]float32, tokens)).List("types", i32, tokens, make([]int32, tokens))
}

func TestVocabulary(t *testing.T) {
	b := vocabulary()
	fsys := formatstest.OneFile(b)
	open := func() (c *formats.Checkpoint) {
		var err error
		if c, err = gguf.Format.Open(fsys, formats.Set{Dir: "/", Files: []string{"m.gguf"}}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	start := time.Now()
	c := open()
	if d := time.Since(start); d > 2*time.Second { // 30 ms on an idle machine
		t.Errorf("took %v", d)
	}
	tokens, merges := c.Metadata.Get("tokens").([]string), c.Metadata.Get("merges").([]string)
	for i := range tokens {
		if want := fmt.Sprintf("token%d", i); tokens[i] != want {
			t.Fatalf("token %d: got %q", i, tokens[i])
		}
	}
	for i := range merges {
		if want := fmt.Sprintf("tok en%d", i); merges[i] != want {
			t.Fatalf("merge %d: got %q", i, merges[i])
		}
	}
	// Allocations, not only what is kept: the strings, 16 bytes for each, the numbers, and a window.
	if n := testing.AllocsPerRun(1, func() { open() }); n > 200 {
		t.Errorf("got %.0f allocations, want at most 200", n)
	}
	if files := rewrite(t, c); string(files["m.gguf"]) != string(b.Pad(32)) {
		t.Error("written with other bytes")
	}
}

func BenchmarkVocabulary(b *testing.B) {
	v := vocabulary()
	fsys := formatstest.OneFile(v)
	b.SetBytes(int64(len(v)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := gguf.Format.Open(fsys, formats.Set{Dir: "/", Files: []string{"m.gguf"}}); err != nil {
			b.Fatal(err)
		}
	}
}
