package pytorch_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

// seedBytes is the most that a seed has: the fuzzer spends its time on small inputs.
const seedBytes = 16 << 10

// FuzzPickle runs any bytes as the pickle of an archive with one storage.
func FuzzPickle(f *testing.F) {
	for _, x := range append(corpus.Pickle().Cases(), corpus.Payload().Bad...) {
		if p := corpus.PickleOf(x.Bytes); len(p) < seedBytes {
			f.Add(p)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) { try(t, checkpoint(string(b), sixty4).Bytes) })
}

// FuzzZip puts any bytes behind the records of a good archive: its directory and its end.
func FuzzZip(f *testing.F) {
	z := plain()
	f.Add(z.Bytes[z.Dir:])
	for _, x := range corpus.Zip().Bad {
		if len(x.Bytes) > z.Dir && len(x.Bytes) < seedBytes {
			f.Add(x.Bytes[z.Dir:])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) { try(t, append(bytes.Clone(z.Bytes[:z.Dir]), b...)) })
}

// FuzzOpen reads any bytes.
func FuzzOpen(f *testing.F) {
	files, err := filepath.Glob("testdata/*.[pb][ti]*")
	if err != nil || len(files) < 20 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		if b := file(f, filepath.Base(name)); len(b) < 16<<10 {
			f.Add(b)
		}
	}
	for _, g := range []corpus.Group{corpus.Pickle(), corpus.Zip(), corpus.Legacy()} {
		for _, x := range g.Odd {
			f.Add(x.Bytes)
		}
	}
	for _, x := range corpus.Zip().Bad {
		if len(x.Bytes) < seedBytes {
			f.Add(x.Bytes)
		}
	}
	f.Fuzz(try)
}

// FuzzZip64 changes two 64-bit numbers of the headers and the directory of a file of 8 GiB, and the count of its storage.
func FuzzZip64(f *testing.F) {
	for i := range uint8(20) {
		f.Add(i, uint64(1<<33), uint8(40), uint64(0), int64(1<<33))
		f.Add(i, uint64(1<<63), i, uint64(1<<64-1), int64(1<<33))
		f.Add(i, uint64(1<<32), i+1, uint64(1<<32-1), int64(1<<32))
	}
	f.Fuzz(func(t *testing.T, at uint8, n uint64, at2 uint8, n2 uint64, numel int64) {
		i := uint8(0)
		v, _ := huge64(1<<33, numel8(numel), func(_ string, old uint64) uint64 {
			i++
			switch i - 1 {
			case at:
				return n
			case at2:
				return n2
			}
			return old
		})
		before := allocated()
		c, err := pytorch.Format.Open(v, formats.Set{Dir: "/", Files: []string{"m.bin"}})
		if got := allocated() - before; got > 16<<20 {
			t.Errorf("allocated %d bytes", got)
		}
		if err != nil {
			judged(t, err, v.size)
			return
		}
		defer c.Close()
		for _, x := range c.Tensors {
			if x.Offset < 0 || x.Bytes < 0 || x.Offset+x.Bytes > v.size {
				t.Errorf("tensor %q is outside the file: %+v", x.Name, x)
			}
		}
		if string(formatstest.Bytes(t, c, "x")) != sixty4 {
			t.Error("other bytes")
		}
	})
}

// FuzzLegacy reads any bytes behind the number that marks files from before 1.6.
func FuzzLegacy(f *testing.F) {
	for _, x := range corpus.Legacy().Cases() {
		if b, ok := bytes.CutPrefix(x.Bytes, []byte(magicPickle)); ok {
			f.Add(b)
		}
	}
	f.Add(parts16().Bytes[len(magicPickle):])
	for i := 1; i <= 5; i++ {
		b := file(f, fmt.Sprintf("legacy%d.pt", i))
		f.Add(b[bytes.IndexByte(b, '.')+1:])
	}
	f.Fuzz(func(t *testing.T, b []byte) { try(t, append([]byte(magicPickle), b...)) })
}

// FuzzTensors makes a pickle of tensors from numbers: four bytes each of a storage, an offset, and of shape and strides. What is read is held
// against a walk over all elements.
func FuzzTensors(f *testing.F) {
	f.Add([]byte{0, 0, 16, 1, 0, 0, 4, 4, 1, 3, 2, 1})
	f.Add([]byte{0, 15, 1, 0, 1, 0, 17, 1, 2, 63, 1, 1, 0x42, 0, 0x44, 0x14})
	f.Add([]byte("\x88\x0f\x0f\x0f\x0f\x0f\x0f\x00")) // no values in 15 x 0, beside 15 times one value
	f.Add([]byte{0x80, 2, 0x13, 0x31, 0x91, 4, 0x24, 0x03, 0xa2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		classes, items := []string{"FloatStorage", "ShortStorage", "ByteStorage"}, []int{4, 2, 1}
		var list []string
		var want []string
		var wrong bool
		for ; len(b) >= 4 && len(list) < 32; b = b[4:] {
			k := int(b[0]&3) % 3
			offset := int(b[1])
			shape, stride := []int{int(b[2] & 15)}, []int{int(b[3] & 15)}
			if b[0]&0x80 != 0 {
				shape, stride = append(shape, int(b[2]>>4)), append(stride, int(b[3]>>4))
			}
			if b[0]&0x40 != 0 {
				shape, stride = nil, nil
			}
			name := fmt.Sprintf("t%d", len(list)/2)
			tensor := rebuild(storage(classes[k], fmt.Sprint(k), num(64/items[k])), num(offset), ints(shape...), ints(stride...))
			switch { // as a value, in a dictionary, in a list
			case b[0]&0x20 != 0:
				tensor = dict("d", tensor)
			case b[0]&0x10 != 0:
				tensor = "](N" + tensor + "e"
			}
			list = append(list, name, tensor)
			data, ok := walked(offset, shape, stride, items[k])
			wrong = wrong || !ok
			want = append(want, data)
		}
		z := checkpoint(state(list...), sixty4, sixty4, sixty4)
		c, err := pytorch.Format.Open(formatstest.OneFile(z.Bytes), formats.Set{Dir: "/", Files: []string{"m.bin"}})
		if (err != nil) != wrong {
			t.Fatalf("got %v, want it wrong: %v", err, wrong)
		}
		if err != nil {
			judged(t, err, int64(len(z.Bytes)))
			return
		}
		defer c.Close()
		for i, data := range want {
			name := fmt.Sprintf("t%d", i)
			for _, end := range []string{"", ".d", ".1"} {
				if c.Lookup(name+end) != nil {
					name += end
					break
				}
			}
			if c.Lookup(name) == nil {
				t.Fatalf("there is no %s", name)
			}
			if got := string(formatstest.Bytes(t, c, name)); got != data {
				t.Errorf("%s: got %q, want %q", name, got, data)
			}
		}
	})
}

// walked is a view of sixty4, element by element; ok is false if it reaches beyond.
func walked(offset int, shape, stride []int, item int) (data string, ok bool) {
	n := 1
	for _, d := range shape {
		n *= d
	}
	var b strings.Builder
	for k := range n {
		at := offset
		for i := len(shape) - 1; i >= 0; i-- {
			at += k % shape[i] * stride[i]
			k /= shape[i]
		}
		if (at+1)*item > len(sixty4) {
			return "", false
		}
		b.WriteString(sixty4[at*item : (at+1)*item])
	}
	return b.String(), true
}

// FuzzGather reads a range of a strided tensor of four dimensions, in either byte order, and holds it against a walk over its elements.
func FuzzGather(f *testing.F) {
	f.Add(uint32(0x03020304), uint32(0x01030a01), uint8(0), uint16(0), uint16(100), uint8(2), false)
	f.Add(uint32(0x07070707), uint32(0x01010101), uint8(3), uint16(5), uint16(999), uint8(1), true)
	f.Add(uint32(0x0203ff05), uint32(0x20000510), uint8(1), uint16(7), uint16(11), uint8(3), true)
	f.Add(uint32(0x05060708), uint32(0x00080100), uint8(0), uint16(1), uint16(4000), uint8(0), false)
	source := make([]byte, 8<<10)
	for i := range source {
		source[i] = byte(i*7) ^ byte(i>>8)
	}
	f.Fuzz(func(t *testing.T, dims, steps uint32, offset uint8, from, n uint16, kind uint8, big bool) {
		k := int(kind) % 5
		item, unit := []int{1, 2, 4, 8, 8}[k], []int{1, 2, 4, 8, 4}[k]
		class := []string{"ByteStorage", "HalfStorage", "FloatStorage", "LongStorage", "ComplexFloatStorage"}[k]
		var shape, stride []int
		elems, last := 1, int(offset)
		for i := range 4 {
			d, s := int(dims>>(8*i)&7), int(steps>>(8*i)&63)
			shape, stride = append(shape, d), append(stride, s)
			elems *= d
			last += (d - 1) * s
		}
		if elems > 0 && (last+1)*item > len(source) {
			return
		}
		order := "little"
		if big {
			order = "big"
		}
		z := archive(rec(folder+"data.pkl", state("x", rebuild(storage(class, "0", num(len(source)/item)), num(int(offset)), ints(shape...), ints(stride...)))),
			rec(folder+"byteorder", order), rec(folder+"data/0", string(source)), rec(folder+"version", "3"))
		c, err := pytorch.Format.Open(formatstest.OneFile(z.Bytes), formats.Set{Dir: "/", Files: []string{"m.bin"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var want []byte
		for e := range elems {
			at := int(offset)
			for i := 3; i >= 0; i-- {
				at += e % shape[i] * stride[i]
				e /= shape[i]
			}
			x := slices.Clone(source[at*item : (at+1)*item])
			if big {
				for u := 0; u < item; u += unit {
					slices.Reverse(x[u : u+unit])
				}
			}
			want = append(want, x...)
		}
		r, err := c.Open("x")
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, n)
		got, err := r.ReadAt(p, int64(from))
		want = want[min(int(from), len(want)):min(int(from)+int(n), len(want))]
		if !bytes.Equal(p[:got], want) || (err != nil) != (got < len(p)) && n > 0 {
			t.Errorf("got %d bytes, error %v, want %d: % x and % x", got, err, len(want), p[:got], want)
		}
	})
}

// judged is what every refusal has to be.
func judged(t *testing.T, err error, size int64) {
	t.Helper()
	for _, e := range formats.Errors(err) {
		if e.Code == "" || e.Code == formats.IO || e.Offset > size {
			t.Errorf("got code %q, offset %d for %d bytes: %v", e.Code, e.Offset, size, err)
		}
	}
}

// try opens a file: no panic, no allocation out of proportion, every problem with a class and inside the file; what is accepted is read,
// laid out, and read again as the same.
func try(t *testing.T, b []byte) {
	before := allocated()
	c, err := pytorch.Format.Open(formatstest.OneFile(b), formats.Set{Dir: "/", Files: []string{"m.bin"}})
	if got, limit := allocated()-before, uint64(16*len(b)+16<<20); got > limit {
		t.Errorf("allocated %d bytes for a file of %d", got, len(b))
	}
	if err != nil {
		judged(t, err, int64(len(b)))
		return
	}
	defer c.Close()
	total := int64(0)
	for _, x := range c.Tensors {
		if total += x.Bytes; total > 8<<20 {
			return // true expansions, too large for this test
		}
	}
	s := formatstest.Sample{Header: c.Header}
	for _, x := range c.Tensors {
		s.Data = append(s.Data, formatstest.Bytes(t, c, x.Name))
	}
	l, err := pytorch.Format.Layout(c.Header)
	if err != nil {
		t.Fatal(err)
	}
	files, err := s.Files(l)
	if err != nil {
		t.Fatal(err)
	}
	again, err := pytorch.Format.Open(formatstest.OneFile(files["m.bin"]), formats.Set{Dir: "/", Files: []string{"m.bin"}})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if len(again.Tensors) != len(c.Tensors) || len(again.Aliases) != len(c.Aliases) || len(again.Notes) > 0 {
		t.Fatalf("got %d tensors, %d aliases, notes %v, want %d and %d", len(again.Tensors), len(again.Aliases), again.Notes, len(c.Tensors), len(c.Aliases))
	}
	for i, x := range c.Tensors {
		if got := formatstest.Bytes(t, again, x.Name); !bytes.Equal(got, s.Data[i]) {
			t.Errorf("tensor %q: other bytes", strings.ToValidUTF8(x.Name, "?"))
		}
	}
}

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
