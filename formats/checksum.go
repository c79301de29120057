package formats

import (
	"hash/crc32"
	"slices"
	"sync"
)

// Span is a range of bytes, from From up to but without To, and their IEEE CRC-32.
type Span struct {
	From, To int64
	CRC      uint32
}

// Spans are ranges of one sequence of bytes whose checksums are known: sorted and disjoint. Ranges that touch are one, so that
// what is read or written in order takes one entry.
type Spans []Span

// Add adds a range that overlaps none of s, and may change s; ok is false, and s as it was, for one that does. Nothing is added for an
// empty range.
func (s Spans) Add(x Span) (out Spans, ok bool) {
	if x.To <= x.From {
		return s, true
	}
	i := s.after(x.From)
	if i > 0 && s[i-1].To > x.From || i < len(s) && s[i].From < x.To {
		return s, false
	}
	before := i > 0 && s[i-1].To == x.From
	behind := i < len(s) && s[i].From == x.To
	if behind {
		x.CRC = combine(x.CRC, s[i].CRC, s[i].To-s[i].From)
		x.To = s[i].To
	}
	if before {
		s[i-1].CRC = combine(s[i-1].CRC, x.CRC, x.To-x.From)
		s[i-1].To = x.To
		if behind {
			s = slices.Delete(s, i, i+1)
		}
		return s, true
	}
	if behind {
		s[i] = x
		return s, true
	}
	return slices.Insert(s, i, x), true
}

// Gaps are the parts of a range that s does not cover, without checksums.
func (s Spans) Gaps(from, to int64) []Span {
	var out []Span
	i := s.after(from)
	if i > 0 {
		from = max(from, s[i-1].To)
	}
	for ; from < to; i++ {
		end := to
		if i < len(s) {
			end = min(to, s[i].From)
		}
		if from < end {
			out = append(out, Span{From: from, To: end})
		}
		if i == len(s) {
			break
		}
		from = s[i].To
	}
	return out
}

// Touch reports whether a range begins where one of s ends, or ends where one begins.
func (s Spans) Touch(from, to int64) bool {
	i := s.after(from)
	return i > 0 && s[i-1].To == from || i < len(s) && s[i].From == to
}

// after is the first range of s that starts behind from.
func (s Spans) after(from int64) int {
	i, _ := slices.BinarySearchFunc(s, from, func(x Span, from int64) int {
		if x.From <= from {
			return -1
		}
		return 1
	})
	return i
}

// Sums combines the checksums of chunks that come in any order, from any goroutine, to those of whole tensors.
type Sums struct{ list []sum }

type sum struct {
	mu    sync.Mutex
	bytes int64
	got   Spans
	wrong *Error // the first chunk that cannot be
}

// NewSums is for the tensors of a layout.
func NewSums(places []Place) *Sums {
	s := &Sums{list: make([]sum, len(places))}
	for i, p := range places {
		s.list[i].bytes = p.Bytes
	}
	return s
}

// Add records the bytes of a tensor from off on. It is safe for concurrent use; p may be changed when it returns.
func (s *Sums) Add(tensor int, p []byte, off int64) {
	s.AddCRC(tensor, off, int64(len(p)), crc32.ChecksumIEEE(p))
}

// AddCRC records that n bytes of a tensor from off on have a checksum.
func (s *Sums) AddCRC(tensor int, off, n int64, crc uint32) {
	x := Span{off, off + n, crc}
	t := &s.list[tensor]
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.wrong != nil {
		return
	}
	if !within(off, n, t.bytes) {
		t.wrong = Errorf(Mismatch, "got a chunk of %d bytes at %d of tensor %d, which has %d", n, off, tensor, t.bytes)
		return
	}
	var ok bool
	if t.got, ok = t.got.Add(x); !ok {
		t.wrong = Errorf(Mismatch, "got bytes of tensor %d twice, among those from %d to %d", tensor, x.From, x.To)
	}
}

// All is the checksum of each tensor, in order. Chunks that leave a gap, overlap or go beyond their tensor are a programmer's mistake; the
// error names all such tensors.
func (s *Sums) All() ([]uint32, error) {
	out := make([]uint32, len(s.list))
	var problems Problems
	for i := range s.list {
		t := &s.list[i]
		t.mu.Lock()
		gaps := t.got.Gaps(0, t.bytes)
		switch {
		case t.wrong != nil:
			problems.Add(t.wrong)
		case len(gaps) > 0:
			problems.Add(Errorf(Mismatch, "got no bytes %d to %d of tensor %d, which has %d", gaps[0].From, gaps[0].To, i, t.bytes))
		case len(t.got) > 0:
			out[i] = t.got[0].CRC
		}
		t.mu.Unlock()
	}
	if err := problems.Err(""); err != nil {
		return nil, err
	}
	return out, nil
}

// combine is the checksum of two sequences of bytes from those of each, where the second is n bytes long. A checksum is a remainder of a
// polynomial over GF(2), and n bytes behind it multiply that by x^(8n). zlib's crc32_combine does the same (zlib 1.2.13, crc32.c).
func combine(a, b uint32, n int64) uint32 {
	for k := 3; n > 0; k, n = k+1, n>>1 {
		if n&1 != 0 {
			a = times(a, powers[k%len(powers)])
		}
	}
	return a ^ b
}

// powers[k] is x^(2^k). The IEEE polynomial is primitive, so x^(2^32) is x again.
var powers = func() (p [32]uint32) {
	p[0] = 1 << 30
	for k := 1; k < len(p); k++ {
		p[k] = times(p[k-1], p[k-1])
	}
	return p
}()

// times is the product of two polynomials modulo the IEEE polynomial. Coefficients are reflected, as the checksum has them: the top bit
// is that of x^0.
func times(a, b uint32) (p uint32) {
	for ; a != 0; a <<= 1 {
		p ^= b & -(a >> 31)
		b = b>>1 ^ crc32.IEEE&-(b&1)
	}
	return p
}
