package formats_test

import (
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bowline-ml/bowline/formats"
)

// TestSpansCombine holds checksums of "bowline" and n bytes whose checksum is that of "knot" against zlib's. The answers are those of
// crc32_combine64 of zlib 1.2.13, called from Python's ctypes on 2026-11-23.
func TestSpansCombine(t *testing.T) {
	const a, b = 0xc3456808, 0x3a278b79
	if crc32.ChecksumIEEE([]byte("bowline")) != a || crc32.ChecksumIEEE([]byte("knot")) != b {
		t.Fatal("other checksums than zlib's")
	}
	for _, x := range []struct {
		n    int64
		want uint32
	}{
		{1, 0x343f4623}, {2, 0xb1972b5e}, {3, 0x9fa68eb2}, {4, 0x36341144}, {7, 0x1984def8}, {8, 0xa0bb9b9a}, {255, 0x816fa5b7},
		{4096, 0x5d6405a6}, {1 << 20, 0xb61572ee}, {1<<20 + 1, 0x54c0bf67}, {1<<29 - 1, 0xf36c5ca7}, {1 << 29, 0x5b853f7d},
		{1<<32 - 1, 0xf962e371}, {1 << 32, 0x343f4623}, {1 << 40, 0x46402ce0}, {1<<40 + 12345, 0x5fc9d463},
		{1<<61 + 5, 0xfbad279c}, {1<<62 - 1, 0x5e826096},
	} {
		first, second := formats.Span{From: 10, To: 17, CRC: a}, formats.Span{From: 17, To: 17 + x.n, CRC: b}
		for _, order := range [][]formats.Span{{first, second}, {second, first}} {
			var s formats.Spans
			for _, y := range order {
				s, _ = s.Add(y)
			}
			if want := (formats.Span{From: 10, To: 17 + x.n, CRC: x.want}); len(s) != 1 || s[0] != want {
				t.Errorf("%d bytes: got %x, want %x", x.n, s, want)
			}
		}
	}
}

func TestSpans(t *testing.T) {
	var s formats.Spans
	for _, x := range []struct {
		from, to int64
		ok       bool
		gaps     []formats.Span // of 0 to 100
	}{
		{40, 40, true, []formats.Span{{From: 0, To: 100}}},
		{50, 60, true, []formats.Span{{From: 0, To: 50}, {From: 60, To: 100}}},
		{50, 60, false, nil},
		{55, 56, false, nil},
		{40, 51, false, nil},
		{59, 70, false, nil},
		{40, 70, false, nil},
		{10, 20, true, []formats.Span{{From: 0, To: 10}, {From: 20, To: 50}, {From: 60, To: 100}}},
		{20, 50, true, []formats.Span{{From: 0, To: 10}, {From: 60, To: 100}}},
		{90, 100, true, []formats.Span{{From: 0, To: 10}, {From: 60, To: 90}}},
		{0, 10, true, []formats.Span{{From: 60, To: 90}}},
		{60, 61, true, []formats.Span{{From: 61, To: 90}}},
		{61, 90, true, nil},
	} {
		before := slices.Clone(s)
		var ok bool
		s, ok = s.Add(formats.Span{From: x.from, To: x.to})
		if ok != x.ok || !ok && !slices.Equal(s, before) {
			t.Errorf("%d to %d: got %t, %v", x.from, x.to, ok, s)
		}
		if got := s.Gaps(0, 100); x.ok && !slices.Equal(got, x.gaps) {
			t.Errorf("%d to %d: got gaps %v, want %v", x.from, x.to, got, x.gaps)
		}
	}
	if len(s) != 1 {
		t.Errorf("got %v, want one range", s)
	}
	if got := s.Gaps(95, 105); !slices.Equal(got, []formats.Span{{From: 100, To: 105}}) {
		t.Errorf("got gaps %v", got)
	}
	if s.Touch(50, 60) || s.Touch(101, 102) || !s.Touch(100, 102) {
		t.Error("other neighbours")
	}
}

// TestSums cuts random tensors into chunks, which four workers add in no order.
func TestSums(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	type chunk struct {
		tensor int
		p      []byte
		off    int64
	}
	for range 50 {
		var places []formats.Place
		var chunks []chunk
		var want []uint32
		for i := range 1 + r.IntN(5) {
			b := make([]byte, []int{0, 1, 7, 1000, 70000}[r.IntN(5)])
			for k := range b {
				b[k] = byte(r.Uint32())
			}
			places = append(places, formats.Place{Bytes: int64(len(b))})
			want = append(want, crc32.ChecksumIEEE(b))
			for off := 0; off < len(b); {
				n := min(r.IntN(len(b)/3+2), len(b)-off) // empty ones too
				chunks = append(chunks, chunk{i, b[off : off+n], int64(off)})
				off += n
			}
		}
		r.Shuffle(len(chunks), func(i, k int) { chunks[i], chunks[k] = chunks[k], chunks[i] })
		s := formats.NewSums(places)
		var done sync.WaitGroup
		for w := range 4 {
			done.Go(func() {
				for i := w; i < len(chunks); i += 4 {
					s.Add(chunks[i].tensor, chunks[i].p, chunks[i].off)
				}
			})
		}
		done.Wait()
		got, err := s.All()
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("got %x, %v, want %x", got, err, want)
		}
	}
}

func TestSumsMistakes(t *testing.T) {
	type chunk struct{ off, n int64 }
	for _, x := range []struct {
		name   string
		chunks []chunk
		says   string
	}{
		{"nothing", nil, "no bytes 0 to 10 of tensor 1"},
		{"no start", []chunk{{1, 9}}, "no bytes 0 to 1"},
		{"no end", []chunk{{0, 9}}, "no bytes 9 to 10"},
		{"gap", []chunk{{6, 4}, {0, 5}}, "no bytes 5 to 6"},
		{"twice", []chunk{{0, 10}, {0, 10}}, "twice"},
		{"overlap", []chunk{{0, 6}, {5, 5}}, "twice"},
		{"beyond the end", []chunk{{0, 10}, {10, 1}}, "1 bytes at 10"},
		{"before the start", []chunk{{-1, 1}, {0, 10}}, "1 bytes at -1"},
		{"the first mistake is told", []chunk{{0, 5}, {4, 1}, {5, 9}}, "from 4 to 5"},
		{"empty chunks fill nothing", []chunk{{0, 0}, {10, 0}}, "no bytes 0 to 10"},
	} {
		s := formats.NewSums([]formats.Place{{}, {Bytes: 10}, {}})
		for _, c := range x.chunks {
			s.Add(1, make([]byte, c.n), c.off)
		}
		sums, err := s.All()
		if formats.CodeOf(err) != formats.Mismatch || !strings.Contains(err.Error(), x.says) || sums != nil {
			t.Errorf("%s: got %x, %v, want %q", x.name, sums, err, x.says)
		}
	}
}

func BenchmarkSums(b *testing.B) {
	p := make([]byte, 1<<20)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		s := formats.NewSums([]formats.Place{{Bytes: 2 << 20}})
		s.Add(0, p, 1<<20)
	}
}
