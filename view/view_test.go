package view_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/view"
)

// counter counts how often each byte is read.
type counter struct {
	b     []byte
	mu    sync.Mutex
	count []int
	reads int
}

func count(b []byte) *counter { return &counter{b: b, count: make([]int, len(b))} }

func (c *counter) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, c.b[min(off, int64(len(c.b))):])
	c.mu.Lock()
	c.reads++
	for i := range n {
		c.count[off+int64(i)]++
	}
	c.mu.Unlock()
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// most is how often the byte that was read most often was read, and least the other one.
func (c *counter) most() (least, most int) {
	least = math.MaxInt
	for _, n := range c.count {
		least, most = min(least, n), max(most, n)
	}
	return least, most
}

func noise(n int, seed uint64) []byte {
	b, r := make([]byte, n), rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// chunked reads a view by its cuts, and holds them against what Cut promises.
func chunked(t testing.TB, v view.View, most int64) []byte {
	t.Helper()
	out := make([]byte, v.Size())
	for off := int64(0); off < v.Size(); {
		n := v.Cut(off, most)
		if n <= 0 || off+n > v.Size() {
			t.Fatalf("got a cut of %d at %d of %d", n, off, v.Size())
		}
		if n > most && v.Cut(off, 1) != n {
			t.Fatalf("got a cut of %d at %d, want at most %d: the unit is %d", n, off, most, v.Cut(off, 1))
		}
		if k, err := v.ReadAt(out[off:off+n], off); err != nil || int64(k) != n {
			t.Fatalf("reading %d at %d: got %d, %v", n, off, k, err)
		}
		off += n
	}
	return out
}

func whole(t testing.TB, v view.View) []byte {
	t.Helper()
	out := make([]byte, v.Size())
	if _, err := v.ReadAt(out, 0); err != nil && len(out) > 0 {
		t.Fatal(err)
	}
	return out
}

// gather is the permutation without chunks, straight from its definition: row (h, i, j) of the interleaved order is row (h, j, i) of the half
// order.
func gather(b []byte, heads, row int, dir view.Direction) []byte {
	out := make([]byte, len(b))
	per := len(b) / row / heads
	for h := range heads {
		for i := range per / 2 {
			for j := range 2 {
				inter, half := (h*per+2*i+j)*row, (h*per+j*per/2+i)*row
				if dir == view.Interleave {
					copy(out[inter:inter+row], b[half:half+row])
				} else {
					copy(out[half:half+row], b[inter:inter+row])
				}
			}
		}
	}
	return out
}

func TestRows(t *testing.T) {
	for _, x := range []struct {
		name            string
		heads, per, row int
		most            int64
	}{
		{name: "bias: rows of one value", heads: 6, per: 16, row: 2, most: 1 << 20},
		{name: "one head, one pair", heads: 1, per: 2, row: 4, most: 1 << 20},
		{name: "a pair a head", heads: 5, per: 2, row: 4, most: 9},
		{name: "head size 6", heads: 3, per: 6, row: 40, most: 1 << 20},
		{name: "head size 80, cut into heads", heads: 4, per: 80, row: 64, most: 80 * 64},
		{name: "cut into two heads at a time", heads: 7, per: 16, row: 96, most: 2*16*96 + 1},
		{name: "chunks smaller than a head", heads: 3, per: 16, row: 96, most: 100},
		{name: "rows of Q8_0 blocks", heads: 2, per: 32, row: 3 * 34, most: 5000},
		{name: "rows of Q4_K blocks", heads: 2, per: 8, row: 2 * 144, most: 1},
		{name: "a head larger than the scratch", heads: 2, per: 10, row: 512 << 10, most: 1 << 20},
		{name: "a row larger than the scratch", heads: 1, per: 2, row: 5 << 20, most: 1 << 20},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := noise(x.heads*x.per*x.row, 3)
			for _, dir := range []view.Direction{view.Interleave, view.Halve} {
				c := count(b)
				v := view.Rows(view.Source(c, int64(len(b)), int64(x.row)), int64(x.heads), dir, int64(x.row))
				got := chunked(t, v, x.most)
				if !bytes.Equal(got, gather(b, x.heads, x.row, dir)) {
					t.Errorf("%s: not what a plain gather gives", dir)
				}
				if least, most := c.most(); least != 1 || most != 1 {
					t.Errorf("%s: bytes were read %d to %d times, want once", dir, least, most)
				}
				back := view.Halve
				if dir == view.Halve {
					back = view.Interleave
				}
				if !bytes.Equal(chunked(t, view.Rows(v, int64(x.heads), back, int64(x.row)), x.most), b) {
					t.Errorf("%s and back is not the identity", dir)
				}
			}
		})
	}
}

// TestRowsRanges reads odd ranges: any run of bytes within heads, across them, and from the middle of a row.
func TestRowsRanges(t *testing.T) {
	const heads, per, row = 3, 6, 10
	b := noise(heads*per*row, 4)
	v := view.Rows(view.Source(bytes.NewReader(b), int64(len(b)), row), heads, view.Interleave, row)
	want := gather(b, heads, row, view.Interleave)
	for off := range len(b) {
		for _, n := range []int{1, 7, row, per * row, len(b)} {
			n = min(n, len(b)-off)
			p := make([]byte, n)
			if _, err := v.ReadAt(p, int64(off)); err != nil || !bytes.Equal(p, want[off:off+n]) {
				t.Fatalf("%d bytes at %d: wrong, or %v", n, off, err)
			}
		}
	}
}

// TestRangesOfLargeHeads reads from the middle of a row of a head that is gathered row by row.
func TestRangesOfLargeHeads(t *testing.T) {
	const heads, per, row = 2, 10, 512 << 10
	b := noise(heads*per*row, 4)
	v := view.Rows(view.Source(bytes.NewReader(b), int64(len(b)), row), heads, view.Halve, row)
	want := gather(b, heads, row, view.Halve)
	for _, x := range [][2]int{{0, 1}, {row - 1, 2}, {per*row - 7, row + 20}, {3*row + 5, 100}, {len(b) - 3, 3}} {
		p := make([]byte, x[1])
		if _, err := v.ReadAt(p, int64(x[0])); err != nil || !bytes.Equal(p, want[x[0]:x[0]+x[1]]) {
			t.Errorf("%d bytes at %d: wrong, or %v", x[1], x[0], err)
		}
	}
}

// halves, brains, singles and blocks are tensors of plausible values.
func singles(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, 4*n)
	for i := range n {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(float32(r.NormFloat64())))
	}
	return b
}

func as(t testing.TB, b []byte, to dtype.Type) []byte {
	t.Helper()
	f := make([]float32, len(b)/4)
	dtype.F32.Decode(f, b)
	out := make([]byte, int64(len(f))/to.BlockElems()*to.BlockBytes())
	to.Encode(out, f)
	return out
}

// fours is Q4_K blocks of any bits but for the two scales, which are ordinary numbers.
func fours(n int, seed uint64) []byte {
	b := noise(n*144, seed)
	for i := range n {
		binary.LittleEndian.PutUint16(b[i*144:], 0x2e66)
		binary.LittleEndian.PutUint16(b[i*144+2:], 0x2c00)
	}
	return b
}

// plain casts without chunks.
func plain(b []byte, from, to dtype.Type) (out []byte, lost int) {
	n := int64(len(b)) / from.BlockBytes() * from.BlockElems()
	f := make([]float32, n)
	lost = from.Decode(f, b)
	out = make([]byte, n/to.BlockElems()*to.BlockBytes())
	return out, lost + to.Encode(out, f)
}

func TestCast(t *testing.T) {
	huge := singles(96*4, 9)
	for _, i := range []int{0, 95, 96, 383} {
		binary.LittleEndian.PutUint32(huge[4*i:], math.Float32bits(70000))
	}
	for _, x := range []struct {
		name     string
		b        []byte
		row      int64 // bytes of the source
		from, to dtype.Type
		lost     int
	}{
		{"F32 to BF16", singles(96*7, 1), 96 * 4, dtype.F32, dtype.BF16, 0},
		{"F32 to F16", singles(33*5, 1), 33 * 4, dtype.F32, dtype.F16, 0},
		{"BF16 to F32", as(t, singles(96*7, 2), dtype.BF16), 96 * 2, dtype.BF16, dtype.F32, 0},
		{"BF16 to F16", as(t, singles(96*7, 2), dtype.BF16), 96 * 2, dtype.BF16, dtype.F16, 0},
		{"F32 to Q8_0", singles(96*7, 3), 96 * 4, dtype.F32, dtype.Q8_0, 0},
		{"BF16 to Q8_0", as(t, singles(64*7, 3), dtype.BF16), 64 * 2, dtype.BF16, dtype.Q8_0, 0},
		{"Q8_0 to F16", as(t, singles(64*7, 4), dtype.Q8_0), 68, dtype.Q8_0, dtype.F16, 0},
		{"Q4_K to F32", fours(12, 5), 2 * 144, dtype.Q4_K, dtype.F32, 0},
		{"Q4_K to Q8_0", fours(12, 5), 2 * 144, dtype.Q4_K, dtype.Q8_0, 0},
		{"values beyond F16 are counted", huge, 96 * 4, dtype.F32, dtype.F16, 4},
		{"more than one piece of values", singles(300_000, 6), 300_000, dtype.F32, dtype.F16, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			want, lost := plain(x.b, x.from, x.to)
			if lost != x.lost {
				t.Fatalf("got %d lost without chunks, want %d", lost, x.lost)
			}
			for _, most := range []int64{1, 100, 1000, 4096, 1 << 20} {
				var n atomic.Int64
				c := count(x.b)
				v := view.Cast(view.Source(c, int64(len(x.b)), x.row), x.from, x.to, &n)
				if v.Size() != int64(len(want)) {
					t.Fatalf("got %d bytes, want %d", v.Size(), len(want))
				}
				if !bytes.Equal(chunked(t, v, most), want) {
					t.Errorf("chunks of %d are not the whole", most)
				}
				if int(n.Load()) != x.lost {
					t.Errorf("chunks of %d: got %d lost, want %d", most, n.Load(), x.lost)
				}
				if least, most := c.most(); least != 1 || most != 1 {
					t.Errorf("bytes were read %d to %d times, want once", least, most)
				}
			}
		})
	}
}

// TestCastRanges reads from the middle of blocks, of the source and of the result.
func TestCastRanges(t *testing.T) {
	for _, x := range []struct {
		from, to dtype.Type
		b        []byte
	}{
		{dtype.Q8_0, dtype.F32, as(t, singles(96, 4), dtype.Q8_0)}, {dtype.F32, dtype.Q8_0, singles(96, 4)}, {dtype.BF16, dtype.F16, as(t, singles(9, 4), dtype.BF16)},
	} {
		v := view.Cast(view.Source(bytes.NewReader(x.b), int64(len(x.b)), x.from.BlockBytes()), x.from, x.to, new(atomic.Int64))
		want, _ := plain(x.b, x.from, x.to)
		for off := range len(want) {
			for _, n := range []int{1, 7, 34, 64, len(want)} {
				p := make([]byte, min(n, len(want)-off))
				if _, err := v.ReadAt(p, int64(off)); err != nil || !bytes.Equal(p, want[off:off+len(p)]) {
					t.Fatalf("%s to %s, %d bytes at %d: wrong, or %v", x.from, x.to, len(p), off, err)
				}
			}
		}
		if _, err := v.ReadAt(make([]byte, 2), v.Size()-1); err == nil {
			t.Errorf("%s to %s was read past its end", x.from, x.to)
		}
	}
}

// TestBounded cuts a row of 300 million values, whose unit is a block, into chunks that are never larger than asked for.
func TestBounded(t *testing.T) {
	const n, most = 300_000_000 / 256 * 256, 1 << 20
	for _, x := range []struct{ from, to dtype.Type }{
		{dtype.BF16, dtype.BF16}, {dtype.BF16, dtype.F32}, {dtype.BF16, dtype.Q8_0}, {dtype.Q8_0, dtype.F32}, {dtype.Q4_K, dtype.F16}, {dtype.Q4_K, dtype.Q8_0},
	} {
		v := view.Source(nil, n/x.from.BlockElems()*x.from.BlockBytes(), x.from.BlockBytes())
		if x.from != x.to {
			v = view.Cast(v, x.from, x.to, new(atomic.Int64))
		}
		for off := int64(0); off < v.Size(); {
			k := v.Cut(off, most)
			if k <= 0 || k > most || off+k < v.Size() && k < most/2 {
				t.Fatalf("%s to %s: got a cut of %d at %d, want about %d and no more", x.from, x.to, k, off, most)
			}
			off += k
		}
	}
}

// TestCastChain goes BF16, F16, F32: exact, so the values are those of one cast.
func TestCastChain(t *testing.T) {
	b := as(t, singles(50*8, 7), dtype.BF16)
	var lost atomic.Int64
	v := view.Cast(view.Cast(view.Source(bytes.NewReader(b), int64(len(b)), 100), dtype.BF16, dtype.F16, &lost), dtype.F16, dtype.F32, &lost)
	half, _ := plain(b, dtype.BF16, dtype.F16)
	want, _ := plain(half, dtype.F16, dtype.F32)
	if !bytes.Equal(chunked(t, v, 64), want) || lost.Load() != 0 {
		t.Errorf("the chain is not its two casts, or lost %d", lost.Load())
	}
}

func TestSliceAndJoin(t *testing.T) {
	const row = 12
	b := noise(20*row, 8)
	src := func(c *counter) view.View { return view.Source(c, int64(len(c.b)), row) }
	c := count(b)
	if got := chunked(t, view.Slice(src(c), 3, 11, row), 30); !bytes.Equal(got, b[3*row:11*row]) {
		t.Error("a slice is not its rows")
	}
	if least, most := c.most(); least != 0 || most != 1 {
		t.Errorf("a slice read bytes %d to %d times", least, most)
	}
	if got := chunked(t, view.Slice(src(count(b)), 5, 5, row), 30); len(got) != 0 {
		t.Errorf("an empty slice has %d bytes", len(got))
	}
	other := noise(3*row, 9)
	joined := append(append(append([]byte{}, other...), b...), other...)
	v := view.Join(src(count(other)), view.Join(), src(count(b)), view.Const(nil), view.Const(other))
	if v.Size() != int64(len(joined)) || !bytes.Equal(chunked(t, v, 30), joined) || !bytes.Equal(whole(t, v), joined) {
		t.Error("a join is not its parts")
	}
	if _, err := v.ReadAt(make([]byte, 2), v.Size()-1); err == nil {
		t.Error("a join was read past its end")
	}
	// Slices of a join of slices: what a fused tensor is made of.
	thirds := view.Join(view.Slice(src(count(b)), 0, 8, row), view.Slice(src(count(b)), 8, 14, row), view.Slice(src(count(b)), 14, 20, row))
	if !bytes.Equal(chunked(t, thirds, 25), b) {
		t.Error("thirds joined are not the whole")
	}
	if !bytes.Equal(chunked(t, view.Slice(thirds, 6, 15, row), 25), b[6*row:15*row]) {
		t.Error("a slice across parts is not its rows")
	}
	// A cast to blocks reads across parts that end inside of a block.
	f := singles(64, 1)
	parts := view.Join(view.Source(bytes.NewReader(f[:40]), 40, 4), view.Source(bytes.NewReader(f[40:]), int64(len(f)-40), 4))
	var lost atomic.Int64
	if want, _ := plain(f, dtype.F32, dtype.Q8_0); !bytes.Equal(chunked(t, view.Cast(parts, dtype.F32, dtype.Q8_0, &lost), 1), want) {
		t.Error("blocks across parts are wrong")
	}
}

// TestCutInside cuts from the middle of a unit: the chunk ends on a boundary, so that the next one starts there.
func TestCutInside(t *testing.T) {
	const heads, per, row = 4, 8, 10
	b := noise(heads*per*row, 8)
	c := count(b)
	v := view.Slice(view.Rows(view.Source(c, int64(len(b)), row), heads, view.Halve, row), 4, heads*per, row)
	if n := v.Cut(0, 2*per*row); n != per*row/2+per*row {
		t.Errorf("got a cut of %d, want one that ends with the second head", n)
	}
	if !bytes.Equal(chunked(t, v, 2*per*row), gather(b, heads, row, view.Halve)[4*row:]) {
		t.Error("the slice is wrong")
	}
	if _, most := c.most(); most != 1 {
		t.Errorf("a byte was read %d times", most)
	}
}

func TestShortSource(t *testing.T) {
	b := noise(100, 1)
	for _, v := range []view.View{
		view.Source(bytes.NewReader(b), 120, 10), view.Rows(view.Source(bytes.NewReader(b), 120, 10), 1, view.Halve, 10),
		view.Join(view.Source(bytes.NewReader(b), 120, 10)),
	} {
		if _, err := v.ReadAt(make([]byte, 120), 0); err == nil {
			t.Errorf("%T: a source that ends early gives no error", v)
		}
	}
}

// TestConcurrent reads one view from many goroutines, as the workers of a conversion do.
func TestConcurrent(t *testing.T) {
	b := as(t, singles(64*96, 5), dtype.BF16)
	var lost atomic.Int64
	v := view.Cast(view.Rows(view.Source(bytes.NewReader(b), int64(len(b)), 192), 4, view.Interleave, 192), dtype.BF16, dtype.Q8_0, &lost)
	want := whole(t, v)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for off := int64(0); off < v.Size(); {
				n := v.Cut(off, int64(1000+100*w))
				p := make([]byte, n)
				if _, err := v.ReadAt(p, off); err != nil || !bytes.Equal(p, want[off:off+n]) {
					t.Errorf("worker %d at %d: wrong, or %v", w, off, err)
					return
				}
				off += n
			}
		})
	}
	wg.Wait()
}

// build chains the operations that prog asks for over a matrix of F32 rows; it returns the view and its description.
func build(prog []byte) (view.View, string) {
	const cols = 32
	rows := int64(24)
	b := singles(int(rows*cols), 11)
	dt := dtype.F32
	v := view.Source(bytes.NewReader(b), int64(len(b)), cols*4)
	text := "source"
	for _, op := range prog[:min(len(prog), 6)] {
		row := cols / dt.BlockElems() * dt.BlockBytes()
		arg := int64(op >> 3)
		switch op % 4 {
		case 0:
			heads := arg%4 + 1
			if rows%heads != 0 || rows/heads%2 != 0 {
				continue
			}
			dir := []view.Direction{view.Halve, view.Interleave}[arg/4%2]
			v = view.Rows(v, heads, dir, row)
			text += fmt.Sprintf(" rows(%d, %s)", heads, dir)
		case 1:
			lo := arg % max(rows, 1)
			hi := min(rows, lo+1+arg/3)
			if hi <= lo {
				continue
			}
			v, rows = view.Slice(v, lo, hi, row), hi-lo
			text += fmt.Sprintf(" slice(%d, %d)", lo, hi)
		case 2:
			if rows > 200 {
				continue
			}
			v, rows = view.Join(v, v), 2*rows
			text += " twice"
		case 3:
			to := []dtype.Type{dtype.F32, dtype.F16, dtype.BF16, dtype.Q8_0}[arg%4]
			v, dt = view.Cast(v, dt, to, new(atomic.Int64)), to
			text += " " + string(to)
		}
	}
	return v, text
}

// FuzzChain chains operations at random: what is read in chunks of any size is what is read at once.
func FuzzChain(f *testing.F) {
	for _, s := range []string{"\x00", "\x0b\x00", "\x00\x1b\x09\x02", "\x1b\x20\x02\x0b", "\x02\x00\x11\x1b\x03", "\x41\x02\x1b\x10"} {
		f.Add([]byte(s), uint16(100))
	}
	f.Fuzz(func(t *testing.T, prog []byte, most uint16) {
		v, text := build(prog)
		if want := whole(t, v); !bytes.Equal(chunked(t, v, int64(most)+1), want) {
			t.Fatalf("%s in chunks of %d is not the whole", text, most)
		}
	})
}
