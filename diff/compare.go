package diff

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// pair is two tensors to be compared.
type pair struct {
	x, y   *logical
	tol    Tolerance
	both   bool // A may be B rounded too
	parts  []stats
	result Tensor
}

// stats is what a chunk of a pair shows.
type stats struct {
	differing        int64
	most, sig, noise float64
	// odd is the most noise of a group of values that is far from the signal of that group: damage that the whole would hide.
	odd float64
	// The refuted are the explanations that a value contradicts: B is A rounded to B's type, A is B rounded to A's, B is A in the type of the
	// tolerance.
	notB, notA, notT bool
	skipped          bool // the signal of values that are equal was not summed
}

func (s *stats) add(o stats) {
	s.differing += o.differing
	if o.most > s.most || o.most != o.most {
		s.most = o.most
	}
	s.sig, s.noise, s.odd = s.sig+o.sig, s.noise+o.noise, max(s.odd, o.odd)
	s.notB, s.notA, s.notT, s.skipped = s.notB || o.notB, s.notA || o.notA, s.notT || o.notT, s.skipped || o.skipped
}

// piece is how many values are compared at once: float64 of both stay in the second-level cache. It is a multiple of every type's block.
const piece = 16 << 10

// scratch is what a worker holds: a chunk of each tensor, and a piece of each in wide values.
type scratch struct {
	sides      [][]byte
	fx, fy     []float32
	vx, vy, vr []float64
	narrow     []float32
	code       []byte
}

// room is s with n elements of any value.
func room[T any](s *[]T, n int64) []T {
	if int64(cap(*s)) < n {
		*s = make([]T, n)
	}
	return (*s)[:n]
}

// chunk compares k values of both. full sums the signal of values that are equal too.
func (p *pair) chunk(bx, by []byte, k int64, full bool, s *scratch) stats {
	x, y := p.x, p.y
	same := x.as == y.as && bytes.Equal(bx, by)
	switch {
	case same && !full:
		return stats{skipped: true}
	case x.opaque || y.opaque:
		return p.bytes(bx, by)
	}
	var st stats
	narrow := dtype.F32.Holds(x.as) && dtype.F32.Holds(y.as)
	for at := int64(0); at < k; at += piece {
		n := min(piece, k-at)
		px, py := bx[x.bytes(at):x.bytes(at+n)], by[y.bytes(at):y.bytes(at+n)]
		if !full && x.as == y.as && bytes.Equal(px, py) {
			st.skipped = true
			continue
		}
		if narrow && !full {
			fx, fy := room(&s.fx, n), room(&s.fy, n)
			x.as.Decode(fx, px)
			y.as.Decode(fy, py)
			if slices.Equal(fx, fy) {
				st.skipped = true
				continue
			}
		}
		p.piece(&st, px, py, n, s)
	}
	return st
}

// piece adds what n values show.
func (p *pair) piece(st *stats, px, py []byte, n int64, s *scratch) {
	vx, vy := room(&s.vx, n), room(&s.vy, n)
	p.x.as.DecodeWide(vx, px)
	p.y.as.DecodeWide(vy, py)
	wide := p.x.as == p.y.as && (p.x.as == dtype.I64 || p.x.as == dtype.U64) // float64 does not tell all of them apart
	different := false
	odd := math.Pow(10, -(p.expects()-stretchSlack)/10)
	var sig, noise float64 // of the group
	end := func() {
		if noise > sig*odd {
			st.odd = max(st.odd, noise)
		}
		sig, noise = 0, 0
	}
	for i, v := range vx {
		if i%stretch == 0 {
			end()
		}
		w := vy[i]
		if (math.Float64bits(v) == math.Float64bits(w) || v == w || v != v && w != w) && !(wide && !bytes.Equal(px[8*i:8*i+8], py[8*i:8*i+8])) {
			if !math.IsInf(v, 0) && v == v { // an infinity that both hold says nothing of the rest
				st.sig += v * v
				sig += v * v
			}
			continue
		}
		different = true
		st.differing++
		d := math.Abs(v - w)
		if d > st.most || d != d {
			st.most = d
		}
		st.sig += v * v
		st.noise += d * d
		sig, noise = sig+v*v, noise+d*d
	}
	end()
	if !different {
		return
	}
	// Blocks of elements that were moved cannot be made again.
	st.notB = st.notB || p.y.as != p.y.dtype || !rounds(vx, vy, p.y.dtype, p.y.cols(), s)
	st.notA = st.notA || !p.both || p.x.as != p.x.dtype || !rounds(vy, vx, p.x.dtype, p.x.cols(), s)
	st.notT = st.notT || p.tol.typ == "" || !real(p.x.dtype) || !real(p.y.dtype) || !rounds(vx, vy, p.tol.typ, p.y.cols(), s)
}

// stretch is how many values are looked at together for damage that the whole of a tensor would hide. In a block with one scale the error of each value is
// bounded by that scale, so a group can be at most 8 dB worse than normal values are; what is worse than stretchSlack is no rounding.
const (
	stretch      = 256
	stretchSlack = 12
)

// expects is the signal to noise ratio in dB that the type in question is expected to leave, 0 if that is not known.
func (p *pair) expects() float64 {
	if p.tol.typ != "" {
		return expected[p.tol.typ]
	}
	return expected[p.y.dtype]
}

// rounds reports whether to is from rounded to a type. A row that holds no whole blocks cannot have been.
func rounds(from, to []float64, typ dtype.Type, cols int64, s *scratch) bool {
	n := int64(len(from))
	if !typ.CanEncode() || cols%typ.BlockElems() != 0 || n%typ.BlockElems() != 0 {
		return false
	}
	narrow, vr, code := room(&s.narrow, n), room(&s.vr, n), room(&s.code, n/typ.BlockElems()*typ.BlockBytes())
	for i, v := range from {
		narrow[i] = float32(v)
	}
	typ.Encode(code, narrow)
	typ.DecodeWide(vr, code)
	for i, v := range vr {
		if v != to[i] && !(v != v && to[i] != to[i]) {
			return false
		}
	}
	return true
}

// bytes compares blocks that nobody can decode.
func (p *pair) bytes(bx, by []byte) stats {
	st := stats{notA: true, notB: true, notT: true, most: math.NaN(), noise: math.NaN()}
	unit := int(p.x.unit())
	if p.x.as != p.y.as || len(bx) != len(by) { // no value can be held against another
		st.differing = p.x.values(int64(len(bx)))
		return st
	}
	for i := 0; i < len(bx); i += unit {
		if j := min(i+unit, len(bx)); !bytes.Equal(bx[i:j], by[i:j]) {
			st.differing += p.x.as.BlockElems()
		}
	}
	if st.differing == 0 {
		return stats{}
	}
	return st
}

// comparable reports whether the two can be read side by side.
func (p *pair) comparable() bool {
	return fmt.Sprint(p.x.shape) == fmt.Sprint(p.y.shape)
}

// judge makes the result of the parts, in their order: sums do not depend on who read what when.
func (p *pair) judge() {
	t := &p.result
	if !p.comparable() {
		return
	}
	var s stats
	for _, o := range p.parts {
		s.add(o)
	}
	y := p.y.dtype
	t.Differing, t.MaxAbs, t.SQNR = s.differing, formats.Number(s.most), formats.Number(10*math.Log10(s.sig/s.noise))
	// Groups of next to nothing may be rounded to nothing: what counts is what the tensor's values are like.
	n, _ := formats.Elems(p.x.shape)
	damaged := s.odd > stretch*s.sig/float64(max(n, 1))*math.Pow(10, -(p.expects()-stretchSlack)/10)
	rounded := real(p.x.dtype) && real(p.y.dtype) // integers are what they are
	within := func(typ dtype.Type) bool {
		want, known := expected[typ]
		return known && rounded && float64(t.SQNR) >= want-slack && !damaged
	}
	switch {
	case s.differing == 0:
		t.Verdict, t.SQNR = Equal, 0
	case !s.notB, !s.notA:
		t.Verdict = Cast
	case y != p.x.dtype && within(y):
		t.Verdict = Within
	default:
		t.Verdict = Differs
	}
	switch {
	case p.tol.typ == "":
		t.OK = t.Verdict == Equal || p.tol.cast && t.Verdict == Cast
	case t.Verdict == Equal:
		t.OK = true
	case !s.notT:
		t.Verdict, t.OK = Cast, true
	case within(p.tol.typ):
		t.Verdict, t.OK = Within, true
	}
	if p.both && t.Verdict == Cast {
		switch {
		case !s.notT && p.tol.typ != "":
			t.explain(roundedTo(p.tol.typ))
		case !s.notB:
			t.explain(roundedTo(y))
		default:
			t.explain("A " + roundedTo(p.x.dtype))
		}
	}
}

// real reports whether a type's values are real numbers, which casts round.
func real(t dtype.Type) bool { return t.IsFloat() || t.IsQuantized() }

func (t *Tensor) explain(s string) { t.Transform = &s }

func roundedTo(t dtype.Type) string { return "rounded to " + string(t) }
