package gguf_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/gguf"
)

// small is a valid file with a value of every kind of length, and where its length fields are.
type small struct {
	name    string
	bytes   []byte
	order   binary.ByteOrder
	lengths []int
	data    int // of the last tensor, without padding
}

func smalls() []small {
	le := head(2, 4)
	lengths := []int{8, 16}
	mark := func(b image, skip int) { lengths = append(lengths, len(b)+skip) }
	mark(le, 0)
	mark(le, 8+1+4)
	le = le.KV("s", str, "text")
	mark(le, 8+1+4+4)
	mark(le, 8+1+4+4+8)
	le = le.List("v", str, 2, "a", "bc")
	mark(le, 8+1+4+4)
	le = le.List("n", array, 2, uint32(u16), uint64(2), uint16(1), uint16(2), uint32(boolean), uint64(1), uint8(1))
	le = le.KV("general.alignment", u32, uint32(32))
	mark(le, 0)
	mark(le, 8+1+4)
	mark(le, 8+1+4+8+4)
	le = le.Info("a", idF16, 0, 5)
	le = le.Info("b", idQ8_0, 32, 32, 2).Data(32 + 68)
	bigLengths := []int{8, 16, 24, 37, 42 + 13}
	be := bigHead(3, 1, 1).KV("s", str, "text").Info("a", 7, 0, 64).Data(48)
	return []small{{"little-endian", le, binary.LittleEndian, lengths, 68}, {"big-endian", be, binary.BigEndian, bigLengths, 48}}
}

// try opens a file and checks what holds for any: no panic, little time and memory, problems with a class and inside the file; what is
// accepted is written and read again.
func try(t *testing.T, b []byte) error {
	t.Helper()
	start, before := time.Now(), allocated()
	c, err := gguf.Format.Open(formatstest.OneFile(b), formats.Set{Dir: "/", Files: []string{"m.gguf"}})
	if got, limit := allocated()-before, uint64(4*len(b)+4<<20); got > limit {
		t.Errorf("allocated %d bytes for a file of %d", got, len(b))
	}
	if d := time.Since(start); d > 500*time.Millisecond { // microseconds, on an idle machine
		t.Errorf("took %v", d)
	}
	for _, e := range formats.Errors(err) {
		if e.Code == "" || e.Code == formats.IO || e.Path != "/m.gguf" || e.Offset < 0 || e.Offset > int64(len(b)) || e.Field == "" || len(e.Error()) > 1<<10 {
			t.Errorf("got code %q, path %q, offset %d of %d, field %q: %v", e.Code, e.Path, e.Offset, len(b), e.Field, e)
		}
	}
	if err == nil {
		defer c.Close()
		for _, x := range c.Tensors {
			if r, err := c.Open(x.Name); err == nil {
				if n, err := r.ReadAt(make([]byte, x.Bytes), 0); int64(n) != x.Bytes {
					t.Errorf("tensor %q: got %d bytes of %d, %v", x.Name, n, x.Bytes, err)
				}
			} else if formats.CodeOf(err) != formats.Unsupported {
				t.Error(err)
			}
		}
		if _, err := c.Metadata.Loaded(); err != nil {
			t.Error(err)
		}
		if _, err := gguf.Format.Layout(c.Header); err != nil && formats.CodeOf(err) != formats.Limit {
			t.Errorf("accepted, but not written: %v", err)
		}
	}
	return err
}

func TestTruncations(t *testing.T) {
	cuts := 0
	for _, s := range smalls() {
		if err := try(t, s.bytes); err != nil {
			t.Fatal(err)
		}
		end := len(s.bytes)
		for n := 0; n < end; n += editStep {
			cuts++
			if err := try(t, s.bytes[:n]); err == nil {
				t.Errorf("%s: accepted %d of %d bytes", s.name, n, end)
			}
		}
	}
	t.Logf("%d cuts, none accepted", cuts)
}

func TestFlippedBits(t *testing.T) {
	flips, accepted := 0, 0
	for _, s := range smalls() {
		b := append([]byte(nil), s.bytes...)
		for i := 0; i < 8*len(b); i += editStep {
			b[i/8] ^= 1 << (i % 8)
			err := try(t, b)
			if flips++; err == nil {
				accepted++
			}
			if i < 64 && err == nil && !(i/8 >= 4 && (b[4]|b[7]) == 2) { // version 2 has the same layout
				t.Errorf("%s: accepted with bit %d flipped", s.name, i)
			}
			b[i/8] ^= 1 << (i % 8)
		}
	}
	t.Logf("%d bits flipped, %d of the files are well-formed all the same", flips, accepted)
}

func TestLengthEdges(t *testing.T) {
	numbers := 0
	edges := []uint64{0, 1, 1 << 15, 1 << 16, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1 << 53, 1 << 60, 1 << 61, 1 << 62, 1<<63 - 1, 1 << 63, 1<<64 - 8, 1<<64 - 1}
	for _, s := range smalls() {
		for _, at := range s.lengths {
			b := append([]byte(nil), s.bytes...)
			n := s.order.Uint64(b[at:])
			for _, v := range append(edges, n-1, n+1, n+8) {
				if v == n {
					continue
				}
				numbers++
				s.order.PutUint64(b[at:], v)
				if err := try(t, b); err == nil && v > uint64(len(b)) {
					t.Errorf("%s: accepted with %d for %d at %d", s.name, v, n, at)
				}
			}
		}
	}
	t.Logf("%d lengths replaced", numbers)
}

// TestCorpusClosely: what is refused costs no more than its own bytes and a window, and every problem names a field.
func TestCorpusClosely(t *testing.T) {
	for _, x := range corpus.GGUF().Bad {
		if x.Files == nil && x.Index == "" && x.Size == 0 {
			_ = try(t, x.Bytes)
		}
	}
}
