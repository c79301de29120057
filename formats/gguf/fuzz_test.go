package gguf_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime/metrics"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/gguf"
)

// seedBytes is the most that a seed has: the fuzzer spends its time on small inputs.
const seedBytes = 16 << 10

// FuzzOpen: no panic, no allocation out of proportion, every problem with a class and inside the file; what is accepted is laid out and
// read again as the same.
func FuzzOpen(f *testing.F) {
	files, err := filepath.Glob("testdata/*.gguf")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		f.Add(read(f, filepath.Base(name)))
	}
	for _, x := range corpus.GGUF().Cases() {
		if x.Files == nil && len(x.Bytes) < seedBytes {
			f.Add(x.Bytes)
		}
	}
	f.Add([]byte(head(1, 1).KV("general.alignment", u32, uint32(1)).Info("a", 152, 0, 4).Text("abcd")))
	f.Add([]byte(head(0, 1).List("a", array, 2, uint32(array), uint64(0), uint32(boolean), uint64(1), uint8(1))))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := allocated()
		c, err := gguf.Format.Open(formatstest.OneFile(b), formats.Set{Dir: "/", Files: []string{"m.gguf"}})
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
		again(t, c)
	})
}

// FuzzValues reads metadata of any bytes: what is accepted is loaded, and written as the same values.
func FuzzValues(f *testing.F) {
	f.Add(uint64(1), []byte(image{}.KV("k", str, "text")))
	f.Add(uint64(2), []byte(image{}.KV("k", boolean, uint8(1)).KV("l", f64, 0.5)))
	f.Add(uint64(1), []byte(image{}.List("k", array, 2, uint32(array), uint64(0), uint32(str), uint64(1), "x")))
	f.Add(uint64(1), []byte(image{}.List("k", str, 5000).Text(string(make([]byte, 8*5000)))))
	f.Add(uint64(1), []byte(image{}.List("k", boolean, 5000).Text(string(make([]byte, 5000)))))
	f.Add(uint64(1), []byte(image{}.List("k", i16, 4, []int16{1, 2, 3, 4})))
	for _, x := range corpus.GGUF().Cases() { // what follows the counts of a file without tensors
		if len(x.Bytes) > 24 && len(x.Bytes) < seedBytes && binary.LittleEndian.Uint64(x.Bytes[8:]) == 0 {
			f.Add(binary.LittleEndian.Uint64(x.Bytes[16:]), x.Bytes[24:])
		}
	}
	f.Fuzz(func(t *testing.T, n uint64, b []byte) {
		for _, start := range []image{head(0, n), headOf(2, 0, n), v1(0, uint32(n))} {
			file := append(start, b...)
			if try(t, file) != nil {
				continue
			}
			c := openFiles(t, formatstest.OneFile(file), "m.gguf")
			again(t, c)
		}
	})
}

// FuzzSet reads two files as a set.
func FuzzSet(f *testing.F) {
	f.Add([]byte(shard(0, 2, 2, 1).Info("a", idF32, 0, 4).Data(32)), []byte(shard(1, 2, 2, 1).Info("b", idF32, 0, 4).Data(32)))
	f.Add([]byte(shard(0, 2, 0, 0)), []byte(head(0, 2).KV("split.no", u16, uint16(1)).KV("k", u8, uint8(1))))
	f.Add([]byte(shard(0, 2, 1, 0)), []byte(bigHead(3, 1, 1).Put("split.no", uint32(u16), uint16(1)).Info("b", idF32, 0, 1).Data(4)))
	for _, x := range corpus.GGUF().Cases() {
		if len(x.Open) > 1 {
			f.Add(x.Files[x.Open[0]], x.Files[x.Open[1]])
		}
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		fsys := memory(t)
		list := gguf.Format.Siblings("m-00001-of-00002.gguf")
		put(t, fsys, list[0], a)
		put(t, fsys, list[1], b)
		before := allocated()
		c, err := gguf.Format.Open(fsys, formats.Set{Dir: "/", Files: list})
		if got, limit := allocated()-before, uint64(16*(len(a)+len(b))+16<<20); got > limit {
			t.Errorf("allocated %d bytes for files of %d", got, len(a)+len(b))
		}
		for _, e := range formats.Errors(err) {
			if e.Code == "" || e.Code == formats.IO || e.Path == "" || e.Offset > int64(max(len(a), len(b))) {
				t.Errorf("got code %q, path %q, offset %d: %v", e.Code, e.Path, e.Offset, err)
			}
		}
		if err != nil {
			return
		}
		defer c.Close()
		for _, x := range c.Tensors {
			if x.File != list[0] && x.File != list[1] {
				t.Errorf("tensor %q is in %q", x.Name, x.File)
			}
			if _, err := c.Open(x.Name); formats.CodeOf(err) == formats.Unsupported { // of a big-endian file
				return
			}
		}
		again(t, c)
	})
}

// FuzzBigEndian reads big-endian files: all versions of the rest, and data in parts as whole.
func FuzzBigEndian(f *testing.F) {
	for _, g := range bigGoldens(f) {
		for _, name := range g.Files {
			b, err := os.ReadFile(bigDir + name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b[8:], uint16(3))
		}
	}
	f.Add([]byte(bigHead(3, 1, 0).Info("a", 6, 0, 32).Data(22))[8:], uint16(1))
	for _, x := range corpus.GGUF().Cases() {
		if len(x.Bytes) > 8 && len(x.Bytes) < seedBytes && x.Bytes[4] == 0 {
			f.Add(x.Bytes[8:], uint16(3))
		}
	}
	f.Fuzz(func(t *testing.T, rest []byte, part uint16) {
		for version := byte(1); version <= 3; version++ {
			b := append([]byte{'G', 'G', 'U', 'F', 0, 0, 0, version}, rest...)
			if try(t, b) != nil {
				continue
			}
			c := openFiles(t, formatstest.OneFile(b), "m.gguf")
			for _, x := range c.Tensors {
				r, err := c.Open(x.Name)
				if err != nil {
					continue
				}
				whole := formatstest.Bytes(t, c, x.Name)
				p := make([]byte, part%600+1)
				for off := 0; off < len(whole); off += len(p) {
					if n, _ := r.ReadAt(p, int64(off)); string(p[:n]) != string(whole[off:min(len(whole), off+len(p))]) {
						t.Fatalf("tensor %q: other bytes at %d", x.Name, off)
					}
				}
			}
		}
	})
}

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
