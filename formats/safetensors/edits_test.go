package safetensors_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"regexp"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// sound are the small files of the corpus that are read.
func sound() (out []corpus.Case) {
	for _, x := range corpus.Safetensors().Odd {
		if len(x.Bytes) <= 8<<10 {
			out = append(out, x)
		}
	}
	return out
}

// attempt opens a file and checks what holds for any: no panic, little time and memory, problems with a class and a place inside the file;
// the tensors of what is accepted are inside it.
func attempt(t *testing.T, what string, b []byte) error {
	t.Helper()
	start, before := time.Now(), allocated()
	c, err := safetensors.Format.Open(formatstest.OneFile(b), formats.Set{Dir: "/", Files: []string{"x"}})
	if got, limit := allocated()-before, uint64(8*len(b)+1<<20); got > limit {
		t.Errorf("%s: allocated %d bytes for a file of %d", what, got, len(b))
	}
	if d := time.Since(start); d > 5*time.Second { // microseconds, on an idle machine
		t.Errorf("%s: took %v", what, d)
	}
	for _, e := range formats.Errors(err) {
		if e.Path == "/" && strings.Contains(e.Message, "more problems") {
			continue
		}
		if e.Code == "" || e.Code == formats.IO || e.Path != "/x" || e.Offset < -1 || e.Offset > int64(len(b)) || len(e.Error()) > 2<<10 {
			t.Errorf("%s: got code %q, path %q, offset %d of %d: %v", what, e.Code, e.Path, e.Offset, len(b), e)
		}
	}
	if err != nil {
		return err
	}
	defer c.Close()
	at := int64(0)
	for _, x := range c.Tensors {
		n, err := formats.TensorBytes(x.DType, x.Shape)
		if err != nil || n != x.Bytes || x.Offset < 10 || x.Offset+x.Bytes > int64(len(b)) {
			t.Errorf("%s: got %+v in a file of %d bytes", what, x, len(b))
		}
		at += n
	}
	if want := int64(len(b)) - 8 - int64(binary.LittleEndian.Uint64(b)); at != want {
		t.Errorf("%s: the tensors have %d bytes, the data %d", what, at, want)
	}
	return nil
}

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// TestTruncations: a file that was cut is never read.
func TestTruncations(t *testing.T) {
	cuts := 0
	for _, x := range sound() {
		for n := 0; n < len(x.Bytes); n += editStep {
			if attempt(t, x.Name, x.Bytes[:n]) == nil {
				t.Errorf("%s: accepted %d of %d bytes", x.Name, n, len(x.Bytes))
			}
			cuts++
		}
	}
	t.Logf("%d files cut at %d places", len(sound()), cuts)
}

// TestFlippedBits flips bits of the length and the header.
func TestFlippedBits(t *testing.T) {
	flips, accepted := 0, 0
	for _, x := range sound() {
		b := bytes.Clone(x.Bytes)
		end := 8 + int(binary.LittleEndian.Uint64(b))
		for i := 0; i < 8*end; i += editStep {
			b[i/8] ^= 1 << (i % 8)
			if attempt(t, x.Name, b) == nil {
				accepted++
			}
			b[i/8] ^= 1 << (i % 8)
			flips++
		}
	}
	t.Logf("%d bits flipped, %d of the files are well-formed all the same", flips, accepted)
}

// edges are values at which counting goes wrong.
func edges(n uint64) []uint64 {
	return []uint64{0, 1, n - 1, n + 1, n + 8, 1<<15 - 1, 1 << 15, 1<<16 - 1, 1 << 16, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1 << 53, 1<<62 - 1, 1 << 62,
		1<<63 - 1, 1 << 63, 1<<63 + 1, math.MaxUint64 - 8, math.MaxUint64 - 7, math.MaxUint64 - 1, math.MaxUint64}
}

// TestLengthEdges puts such values into the length and into every number of the header.
func TestLengthEdges(t *testing.T) {
	digits := regexp.MustCompile(`[0-9]+`)
	edits := 0
	for i, x := range sound() {
		if i%numberStep != 0 || len(x.Bytes) > 3<<10 {
			continue
		}
		n := binary.LittleEndian.Uint64(x.Bytes)
		for _, v := range edges(n) {
			if v == n {
				continue
			}
			b := bytes.Clone(x.Bytes)
			binary.LittleEndian.PutUint64(b, v)
			if attempt(t, x.Name, b) == nil {
				t.Errorf("%s: accepted with a header of %d bytes, has %d", x.Name, v, n)
			}
			edits++
		}
		header, data := string(x.Bytes[8:8+n]), x.Bytes[8+n:]
		for _, at := range digits.FindAllStringIndex(header, -1) {
			old, err := strconv.ParseUint(header[at[0]:at[1]], 10, 64)
			if err != nil {
				continue
			}
			for _, v := range edges(old) {
				_ = attempt(t, fmt.Sprintf("%s: %d for %d at %d", x.Name, v, old, at[0]), append(file(header[:at[0]]+strconv.FormatUint(v, 10)+header[at[1]:], 0), data...))
				edits++
			}
		}
	}
	t.Logf("%d numbers replaced", edits)
}

// TestIndexEdits cuts an index everywhere and flips its bits. One that is read must name files of the set.
func TestIndexEdits(t *testing.T) {
	files := pair("")
	open := func(what, text string) error {
		files[ix] = []byte(text)
		x := corpus.Case{Name: what, Files: files, Index: ix}
		start, before := time.Now(), allocated()
		c, err := formatstest.OpenCase(t, safetensors.Format, x)
		if got, d := allocated()-before, time.Since(start); got > 1<<20 || d > 5*time.Second {
			t.Errorf("%s: took %v and %d bytes", what, d, got)
		}
		for _, e := range formats.Errors(err) {
			if e.Code == "" || e.Code == formats.IO || e.Path == "" || e.Path == "/"+ix && e.Offset > int64(len(text)) {
				t.Errorf("%s: got %+v", what, e)
			}
		}
		if err == nil {
			c.Close()
		}
		return err
	}
	edits := 0
	for n := 0; n < len(full); n += editStep {
		edits++
		if open(fmt.Sprintf("cut to %d", n), full[:n]) == nil {
			t.Errorf("cut to %d: accepted", n)
		}
	}
	for i := 0; i < 8*len(full); i += editStep {
		edits++
		b := []byte(full)
		b[i/8] ^= 1 << (i % 8)
		if err := open(fmt.Sprintf("bit %d", i), string(b)); err != nil && strings.Contains(err.Error(), "panic") {
			t.Error(err)
		}
	}
	t.Logf("%d edits of an index", edits)
}
