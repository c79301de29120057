package pytorch_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

// wholeFloats is a tensor that is all of a storage.
func wholeFloats(key string, n int) string {
	return rebuild(storage("FloatStorage", key, num(n)), num(0), ints(n), ints(1))
}

// three is a checkpoint of three storages: a, b with a shared and a transposed view, c; and z without bytes.
func three() corpus.Archive {
	return checkpoint(state(
		"a", wholeFloats("0", 16),
		"b", wholeFloats("1", 16), "b again", wholeFloats("1", 16),
		"b.t", rebuild(storage("FloatStorage", "1", num(16)), num(0), ints(4, 4), ints(1, 4)),
		"b.part", rebuild(storage("FloatStorage", "1", num(16)), num(4), ints(4), ints(2)),
		"c", wholeFloats("2", 16), "z", wholeFloats("3", 0)),
		sixty4, strings.ToUpper(sixty4), sixty4[8:]+"ropeknot", "")
}

// flipped has one bit of a storage changed.
func flipped(z corpus.Archive, key string, at int) corpus.Archive {
	z.Bytes[z.Data[folder+"data/"+key]+at] ^= 4
	return z
}

// TestCheck reads some tensors and checks. torch 2.13 loads all these files, right or wrong; zipfile.testzip of Python 3.11 names the same
// record of each that has a wrong byte, and data.pkl of the one without checksums (on what -dump leaves).
func TestCheck(t *testing.T) {
	for _, x := range []struct {
		name   string
		image  corpus.Archive
		read   []string
		wrong  string // the record
		tensor string
		says   string
	}{
		{"good", three(), []string{"a", "b", "b.t", "b.part", "c", "z"}, "", "", ""},
		{"nothing read", flipped(three(), "0", 0), nil, "", "", ""},
		{"another read", flipped(three(), "0", 0), []string{"b", "c", "z"}, "", "", ""},
		{"first", flipped(three(), "0", 63), []string{"a"}, "0", "a", ""},
		{"last", flipped(three(), "2", 0), []string{"a", "b", "c"}, "2", "c", ""},
		{"shared", flipped(three(), "1", 9), []string{"b"}, "1", "b", `also holds "b.t", "b.part", "b again"`},
		{"by an alias", flipped(three(), "1", 9), []string{"b again"}, "1", "b", ""},
		{"strided", flipped(three(), "1", 9), []string{"b.t"}, "1", "b", ""},
		{"outside what was read", flipped(three(), "1", 63), []string{"b.part"}, "1", "b", ""},
		{"no checksums", flipped(unsummed(three()), "0", 0), []string{"a"}, "", "", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			if *dump != "" {
				if err := os.WriteFile(filepath.Join(*dump, "check-"+strings.ReplaceAll(x.name, " ", "-")+".bin"), x.image.Bytes, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			c, err := pytorch.Format.Open(formatstest.OneFile(x.image.Bytes), formats.Set{Dir: "/", Files: []string{"m.bin"}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for _, name := range x.read {
				formatstest.Bytes(t, c, name)
			}
			for range 2 { // the second time says the same
				list := formats.Errors(c.Check(t.Context()))
				if x.wrong == "" && len(list) == 0 {
					continue
				}
				if x.wrong == "" || len(list) != 1 {
					t.Fatalf("got %v, want record %q", list, x.wrong)
				}
				record := folder + "data/" + x.wrong
				at := x.image.Data[record]
				sum := crc32.ChecksumIEEE(x.image.Bytes[at : at+64])
				e := list[0]
				if e.Code != formats.Mismatch || e.Offset != int64(at) || e.Field != record || e.Tensor != x.tensor || e.Path != "/m.bin" ||
					!strings.Contains(e.Message, fmt.Sprintf("got crc32 %08x, want ", sum)) || !strings.Contains(e.Message, x.says) || e.Hint == "" {
					t.Errorf("got %v", e)
				}
			}
		})
	}
}

// TestCheckZero: a checksum of 0 is one like any other as long as some record has another.
func TestCheckZero(t *testing.T) {
	z := three()
	z.Put(z.Local[zero]+14, le32(0)).Put(z.Central[zero]+16, le32(0))
	c, err := pytorch.Format.Open(formatstest.OneFile(z.Bytes), formats.Set{Dir: "/", Files: []string{"m.bin"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	formatstest.Bytes(t, c, "a")
	if err := c.Check(t.Context()); formats.CodeOf(err) != formats.Mismatch || !strings.Contains(err.Error(), "want 00000000") {
		t.Errorf("got %v", err)
	}
}

// counted counts the bytes that are read, and fails reads that reach the byte fails, if that is not 0.
type counted struct {
	fsio.FS
	bytes, fails atomic.Int64
}

type countedFile struct {
	fsio.File
	c *counted
}

func (c *counted) Open(name string) (fsio.File, error) {
	f, err := c.FS.Open(name)
	return countedFile{f, c}, err
}

func (f countedFile) ReadAt(p []byte, off int64) (int, error) {
	if at := f.c.fails.Load(); at > 0 && off <= at && at < off+int64(len(p)) {
		n, _ := f.File.ReadAt(p[:at-off], off)
		return n, fs.ErrInvalid
	}
	f.c.bytes.Add(int64(len(p)))
	return f.File.ReadAt(p, off)
}

const large = 3<<20 + 12345*4

// largeFile has two tensors of one large storage, the second transposed.
func largeFile() (corpus.Archive, []byte) {
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, large)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	s := storage("FloatStorage", "0", num(large/4))
	return checkpoint(state("x", wholeFloats("0", large/4), "t", rebuild(s, num(0), ints(300, 700), ints(1, 300))), string(b)), b
}

// TestCheckReads reads a large tensor in many ways. What was read in large pieces is not read again; one bit that is wrong is found.
func TestCheckReads(t *testing.T) {
	type piece struct{ off, n int64 }
	cut := func(size int64) (out []piece) {
		for off := int64(0); off < large; off += size {
			out = append(out, piece{off, min(size, large-off)})
		}
		return out
	}
	z, _ := largeFile()
	r := rand.New(rand.NewPCG(5, 6))
	shuffled := func(list []piece) []piece {
		r.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
		return list
	}
	for _, x := range []struct {
		name    string
		tensor  string
		workers int
		pieces  []piece
		again   int64 // most bytes that Check may read
	}{
		{"in order", "x", 2, cut(1 << 20), 0},
		{"any order", "x", 2, shuffled(cut(100_000)), 100_000},
		{"small, in order", "x", 1, cut(1000), 0},
		{"small, any order", "x", 2, shuffled(cut(1000)), large},
		{"twice", "x", 2, append(cut(1<<20), cut(1<<19)...), 0},
		{"overlapping", "x", 2, []piece{{0, 1 << 20}, {1<<20 - 4096, 1 << 20}, {2<<20 - 4096, large - 2<<20 + 4096}}, 0},
		{"inside out", "x", 2, []piece{{1 << 20, 1 << 20}, {0, large}}, 0},
		{"gaps", "x", 2, []piece{{1 << 20, 1 << 20}}, large - 1<<20},
		{"one byte", "x", 2, []piece{{large / 2, 1}}, large},
		{"strided", "t", 2, []piece{{0, 300 * 700 * 4}}, large - 300*700*4},
	} {
		t.Run(x.name, func(t *testing.T) {
			for _, flip := range []int{-1, 0, large - 1, r.IntN(large)} {
				b := z.Bytes
				if flip >= 0 {
					b = []byte(string(b))
					b[z.Data[zero]+flip] ^= 128
				}
				fsys := &counted{FS: formatstest.OneFile(b)}
				c, err := pytorch.Format.Open(fsys, formats.Set{Dir: "/", Files: []string{"m.bin"}})
				if err != nil {
					t.Fatal(err)
				}
				src, err := c.Open(x.tensor)
				if err != nil {
					t.Fatal(err)
				}
				var done sync.WaitGroup
				var next atomic.Int64
				for range x.workers {
					done.Go(func() {
						p := make([]byte, large)
						for i := next.Add(1) - 1; int(i) < len(x.pieces); i = next.Add(1) - 1 {
							y := x.pieces[i]
							if n, err := src.ReadAt(p[:y.n], y.off); int64(n) < y.n {
								t.Error(err)
							}
						}
					})
				}
				done.Wait()
				before := fsys.bytes.Load()
				err = c.Check(t.Context())
				if (err != nil) != (flip >= 0) || err != nil && formats.CodeOf(err) != formats.Mismatch {
					t.Errorf("bit at %d: got %v", flip, err)
				}
				if n := fsys.bytes.Load() - before; n > x.again {
					t.Errorf("read %d bytes again, want at most %d", n, x.again)
				}
				c.Close()
			}
		})
	}
}

// TestCheckFaults: a read that fails is not taken for read, and one that fails in Check is told.
func TestCheckFaults(t *testing.T) {
	z, _ := largeFile()
	fsys := &counted{FS: formatstest.OneFile(z.Bytes)}
	c, err := pytorch.Format.Open(fsys, formats.Set{Dir: "/", Files: []string{"m.bin"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	src, err := c.Open("x")
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, large)
	fsys.fails.Store(int64(z.Data[zero] + 1<<20))
	if _, err := src.ReadAt(p, 0); !errors.Is(err, fs.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	if err := c.Check(t.Context()); !errors.Is(err, fs.ErrInvalid) || formats.CodeOf(err) != formats.IO {
		t.Errorf("got %v, want a failed read", err)
	}
	fsys.fails.Store(0)
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Check(stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was stopped", err)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// BenchmarkRead reads a tensor in chunks of 1 MiB, with its checksum and without.
func BenchmarkRead(b *testing.B) {
	z, _ := largeFile()
	name := filepath.Join(b.TempDir(), "m.bin")
	if err := os.WriteFile(name, z.Bytes, 0o666); err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 1<<20)
	read := func(b *testing.B, r io.ReaderAt) {
		for off := int64(0); off < large; off += 1 << 20 {
			if _, err := r.ReadAt(p, off); err != nil && err != io.EOF {
				b.Fatal(err)
			}
		}
	}
	b.Run("checked", func(b *testing.B) {
		b.SetBytes(large)
		for b.Loop() {
			c, err := pytorch.Format.Open(fsio.OS{}, formats.Set{Dir: filepath.Dir(name), Files: []string{"m.bin"}})
			if err != nil {
				b.Fatal(err)
			}
			r, err := c.Open("x")
			if err != nil {
				b.Fatal(err)
			}
			read(b, r)
			if err := c.Check(b.Context()); err != nil {
				b.Fatal(err)
			}
			c.Close()
		}
	})
	b.Run("plain", func(b *testing.B) {
		b.SetBytes(large)
		for b.Loop() {
			f, err := fsio.OS{}.Open(name)
			if err != nil {
				b.Fatal(err)
			}
			read(b, formats.Range(f, int64(z.Data[zero]), large))
			f.Close()
		}
	})
}
