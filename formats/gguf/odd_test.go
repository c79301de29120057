package gguf_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/gguf"
)

// odd is a file that has to be read, with what has to be noted about it and, where it matters, what it holds.
type odd struct {
	name     string
	bytes    image
	notes    []string // texts of the notes, in order
	metadata formats.Metadata
	tensors  []string // "name dtype shape bytes"
}

func oddFiles() []odd {
	four := head(1, 0).info("a", idF32, 0, 4)
	return []odd{
		{name: "empty file ok", bytes: head(0, 0)},
		{name: "empty, padded", bytes: head(0, 0).pad(32)},
		{name: "empty, version 2", bytes: headOf(2, 0, 0)},
		{name: "empty, version 1", bytes: image("GGUF").put(uint32(1), uint32(0), uint32(0))},
		{name: "alignment 1", bytes: head(2, 1).kv("general.alignment", u32, uint32(1)).info("a", idI8, 0, 3).info("b", idF32, 3, 1).text("abcdefg"),
			notes: []string{"alignment 1"}, metadata: formats.Metadata{{Key: "general.alignment", Value: uint32(1)}}, tensors: []string{"a I8 [3] 3", "b F32 [1] 4"}},
		{name: "alignment 2", bytes: head(1, 1).kv("general.alignment", u32, uint32(2)).info("a", idI8, 0, 2).pad(2).text("ab"), notes: []string{"alignment 2"}},
		{name: "alignment 4", bytes: head(1, 1).kv("general.alignment", u32, uint32(4)).info("a", idI8, 0, 4).pad(4).text("abcd"), notes: []string{"alignment 4"}},
		{name: "alignment 8", bytes: head(1, 1).kv("general.alignment", u32, uint32(8)).info("a", idI8, 0, 8).pad(8).text("abcdefgh")},
		{name: "alignment 65536", bytes: head(1, 1).kv("general.alignment", u32, uint32(65536)).info("a", idI8, 0, 1).pad(65536).text("a"), notes: []string{"lacks 65535 bytes"}},
		{name: "alignment after the other keys", bytes: head(1, 2).kv("k", u8, uint8(1)).kv("general.alignment", u32, uint32(64)).info("a", idI8, 0, 64).pad(64).pad(128).text(long(64))},
		{name: "trailing bytes", bytes: four.data(32).text("more"), notes: []string{"4 bytes after the end"}},
		{name: "trailing bytes without tensors", bytes: head(0, 0).pad(32).text("more"), notes: []string{"4 bytes after the end"}},
		{name: "missing padding", bytes: four.data(16), notes: []string{"lacks 16 bytes of padding"}, tensors: []string{"a F32 [4] 16"}},
		{name: "scalar", bytes: head(1, 0).info("a", idF32, 0).data(32), tensors: []string{"a F32 [] 4"}},
		{name: "no elements", bytes: head(2, 0).info("a", idF32, 0, 0, 3).info("b", idF32, 0, 4).data(32), tensors: []string{"a F32 [3 0] 0", "b F32 [4] 16"}},
		{name: "no elements, then missing padding", bytes: head(2, 0).info("b", idF32, 0, 4).info("a", idF32, 32, 0).data(16),
			notes: []string{"lacks 16 bytes"}, tensors: []string{"b F32 [4] 16", "a F32 [0] 0"}},
		{name: "no elements of 2^126", bytes: head(1, 0).info("a", idF32, 0, 1<<63-1, 0, 1<<63-1).pad(32), tensors: []string{"a F32 [9223372036854775807 0 9223372036854775807] 0"}},
		{name: "no elements and no data at all", bytes: head(1, 0).info("a", idF32, 0, 0), notes: []string{"lacks 7 bytes"}},
		{name: "name of 64 bytes", bytes: head(1, 0).info(long(64), idI8, 0, 1).data(32), notes: []string{"refuses a name of 64"}},
		{name: "shape is outermost first", bytes: head(1, 0).info("a", idI8, 0, 8, 4, 2, 1).data(64), tensors: []string{"a I8 [1 2 4 8] 64"}},
		// block sizes that gguf-py gets wrong or does not know; gguf.cpp of llama.cpp takes this file
		{name: "Q8_1 and Q2_0", bytes: head(3, 0).info("a", 9, 0, 64).info("b", 42, 96, 128).info("c", idF32, 160, 8).data(192),
			tensors: []string{"a Q8_1 [64] 72", "b Q2_0 [128] 36", "c F32 [8] 32"}},

		{name: "private type", bytes: head(2, 0).info("a", 152, 0, 32).info("b", idF32, 64, 4).data(96), notes: []string{"ik_llama.cpp calls it IQ5_KS"},
			tensors: []string{"a GGML_152 [32] 64", "b F32 [4] 16"}},
		{name: "private type, twice, at the end", bytes: head(2, 0).info("a", 300, 0, 32).info("b", 300, 64, 32).data(80), notes: []string{"row-interleaved"},
			tensors: []string{"a GGML_300 [32] 64", "b GGML_300 [32] 16"}},
		{name: "type COUNT", bytes: head(1, 0).info("a", 43, 0, 32).data(20), notes: []string{"type 43 is unknown"}, tensors: []string{"a GGML_43 [32] 20"}},

		{name: "key with a space", bytes: head(0, 1).kv("a key", u8, uint8(1)), metadata: formats.Metadata{{Key: "a key", Value: uint8(1)}}},
		{name: "empty string and empty arrays", bytes: head(0, 4).kv("a", str, "").list("b", str, 0).list("c", f64, 0).list("d", array, 0),
			metadata: formats.Metadata{{Key: "a", Value: ""}, {Key: "b", Value: []string{}}, {Key: "c", Value: []float64{}}, {Key: "d", Value: []any{}}}},
		{name: "string is not UTF-8", bytes: head(0, 1).kv("a", str, "\xff\x00\xfe"), metadata: formats.Metadata{{Key: "a", Value: "\xff\x00\xfe"}}},
		{name: "arrays 4 deep, of several types", bytes: head(0, 1).list("a", array, 3,
			uint32(array), uint64(2), uint32(array), uint64(1), uint32(str), uint64(1), "x", uint32(u8), uint64(2), uint8(1), uint8(2),
			uint32(array), uint64(0), uint32(boolean), uint64(1), uint8(1)),
			metadata: formats.Metadata{{Key: "a", Value: []any{[]any{[]any{[]string{"x"}}, []uint8{1, 2}}, []any{}, []bool{true}}}}},
		{name: "a string over several pieces", bytes: head(0, 2).kv("a", str, long(3<<20)).kv("b", u8, uint8(1)),
			metadata: formats.Metadata{{Key: "a", Value: long(3 << 20)}, {Key: "b", Value: uint8(1)}}},
		{name: "long strings in an array", bytes: head(0, 1).list("a", str, 4, "x", long(1<<20-30), long(2<<20), ""),
			metadata: formats.Metadata{{Key: "a", Value: []string{"x", long(1<<20 - 30), long(2 << 20), ""}}}},
		{name: "split.count 0 as merged files have", bytes: head(0, 1).kv("split.count", u16, uint16(0)), metadata: formats.Metadata{}},
		{name: "split.count 1", bytes: head(0, 1).kv("split.count", u16, uint16(1)), metadata: formats.Metadata{}},
	}
}

func TestOdd(t *testing.T) {
	for _, x := range append(oddFiles(), moreOdd()...) {
		t.Run(x.name, func(t *testing.T) {
			c, err := gguf.Format.Open(formatstest.OneFile(x.bytes), formats.Set{Dir: "/", Files: []string{"m.gguf"}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if len(c.Notes) != len(x.notes) {
				t.Fatalf("got notes %v, want %q", c.Notes, x.notes)
			}
			for i, n := range c.Notes {
				if !strings.Contains(n.Decision+" "+n.Because, x.notes[i]) {
					t.Errorf("got note %v, want %q", n, x.notes[i])
				}
			}
			if x.metadata != nil && !reflect.DeepEqual(c.Metadata, x.metadata) {
				t.Errorf("got metadata %v, want %v", c.Metadata, x.metadata)
			}
			for i, want := range x.tensors {
				got := c.Tensors[i]
				if s := fmt.Sprintf("%s %s %d %d", got.Name, got.DType, got.Shape, got.Bytes); s != want {
					t.Errorf("got %q, want %q", s, want)
				}
			}
			again(t, c)
		})
	}
}

func TestExtraKeysOfALaterShard(t *testing.T) {
	fsys := memory(t)
	names := gguf.Format.Siblings("m-00001-of-00002.gguf")
	put(t, fsys, names[0], shard(0, 2, 0, 0))
	put(t, fsys, names[1], head(0, 2).kv("split.no", u16, uint16(1)).kv("k", u8, uint8(1)))
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
	b = append(b, head(0, 4)...).list("tokens", str, tokens)
	for i := range tokens {
		b = b.put(fmt.Sprintf("token%d", i))
	}
	b = b.list("merges", str, merges)
	for i := range merges {
		b = b.put(fmt.Sprintf("tok en%d", i))
	}
	return b.list("scores", f32, tokens, make([]float32, tokens)).list("types", i32, tokens, make([]int32, tokens))
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
	if files := rewrite(t, c); string(files["m.gguf"]) != string(b.pad(32)) {
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
