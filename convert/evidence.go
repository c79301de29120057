package convert

import (
	"context"
	"io"
	"math"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// Question is something that only data can tell and that the plan depends on.
type Question struct {
	Tie    string     // compare the members of this tie group
	Member string     // or this member of it with the source
	Digest bool       // and take their SHA-256
	Same   bool       // which tensors hold equal bytes?
	Exact  string     // is every value of this tensor ...
	In     dtype.Type // ... exact in this type ...
	Shift  float32    // ... after this was added?
	// Factors is a role of rope divisors, from which parameters are found.
	Factors string
}

// members names what a question compares.
func (q Question) members() string {
	if q.Member == "" {
		return q.Tie
	}
	return q.Tie + ": " + q.Member
}

// Evidence is the answers.
type Evidence struct {
	Ties  map[string]*Comparison // by Question.members
	Exact map[Question]bool
	// Same is, by the name of a tensor that holds the bytes of an earlier one, the name of that.
	Same map[string]string
	// Factors are the rope divisors that are stored, by role.
	Factors map[string][]float32
	Bytes   int64 // that were read to find them
}

// Gather reads what the questions need.
func Gather(ctx context.Context, m *arch.Model, qs []Question) (*Evidence, error) {
	ev := &Evidence{Ties: map[string]*Comparison{}, Exact: map[Question]bool{}}
	groups := Groups(m)
	for _, q := range qs {
		if q.Same {
			names, n, err := same(ctx, m, func(*formats.Tensor) bool { return true })
			if err != nil {
				return nil, err
			}
			ev.Same = names
			ev.Bytes += n
			continue
		}
		if q.Exact != "" {
			ok, n, err := exact(ctx, m, q)
			if err != nil {
				return nil, err
			}
			ev.Exact[q] = ok
			ev.Bytes += n
			continue
		}
		if q.Factors != "" {
			t := m.Lookup(m.NameOf(q.Factors, 0))
			if t.Bytes > 1<<20 || t.DType != dtype.F32 {
				return nil, formats.Errorf(formats.BadShape, "got %s %v, want a short F32 vector", t.DType, t.Shape).In(t.Name, "").At(m.Path(), t.Offset)
			}
			r, err := m.Open(t.Name)
			if err != nil {
				return nil, err
			}
			b := make([]byte, t.Bytes)
			if err := readFull(r, b, 0, m, t); err != nil {
				return nil, err
			}
			v := make([]float32, len(b)/4)
			t.DType.Decode(v, b)
			if ev.Factors == nil {
				ev.Factors = map[string][]float32{}
			}
			ev.Factors[q.Factors] = v
			ev.Bytes += t.Bytes
			continue
		}
		for _, g := range groups {
			other := g.head
			for _, k := range g.more {
				if k.key == q.Member {
					other = k.t
				}
			}
			if g.ID == q.Tie && g.embed != nil && other != nil && g.embed.Name != other.Name {
				c, n, err := compare(ctx, m, g.embed, other, q.Digest)
				if err != nil {
					return nil, err
				}
				ev.Ties[q.members()] = c
				ev.Bytes += n
			}
		}
	}
	return ev, nil
}

// evidenceChunk is how much of each tensor a worker holds at once: two of them fit the cache of a core.
const evidenceChunk = 256 << 10

// maxListed bounds the rows that a report lists.
const maxListed = 16

// stats accumulates the distance of two matrices, row by row.
type stats struct {
	differing         int64
	first             []int64
	maxAbs, minCos    float64
	aa, bb, ab, dd    float64
	cosineInitialised bool
}

func (s *stats) row(r int64, a, b []float64) {
	same := true
	var aa, bb, ab, dd float64
	for i, x := range a {
		y := b[i]
		if math.Float64bits(x) != math.Float64bits(y) {
			same = false
		}
		d := y - x
		aa += x * x
		bb += y * y
		ab += x * y
		dd += d * d
		if d := math.Abs(d); d > s.maxAbs || d != d {
			s.maxAbs = d
		}
	}
	if !same {
		s.differing++
		if len(s.first) < maxListed {
			s.first = append(s.first, r)
		}
	}
	s.aa, s.bb, s.ab, s.dd = s.aa+aa, s.bb+bb, s.ab+ab, s.dd+dd
	cos := 1.0
	if aa > 0 && bb > 0 {
		cos = ab / math.Sqrt(aa) / math.Sqrt(bb)
	} else if aa != bb {
		cos = 0
	}
	if !s.cosineInitialised || cos < s.minCos {
		s.minCos, s.cosineInitialised = cos, true
	}
}

// scaledLimit is the relative Frobenius norm that a least-squares factor may leave, and how far that factor has to be from 1: less is drift.
const scaledLimit = 1.0 / 256

func (s *stats) comparison(rows int64, sameRows bool) *Comparison {
	c := &Comparison{Distance: Distance{MaxAbs: formats.Number(s.maxAbs), MinRowCosine: formats.Number(s.minCos), RowsDiffering: s.differing, FirstRows: s.first, Scale: 1}}
	if s.aa > 0 {
		c.Distance.RelFro = formats.Number(math.Sqrt(s.dd / s.aa))
		c.Distance.Scale = formats.Number(s.ab / s.aa)
	} else if s.dd > 0 {
		c.Distance.RelFro = formats.Number(math.Inf(1))
	}
	scale := float64(c.Distance.Scale)
	left := math.Sqrt(max(0, s.bb-s.ab*scale)) / math.Sqrt(s.bb)
	switch {
	case s.differing == 0 && sameRows:
		c.Relation = CastEqual
	case s.differing == 0:
		c.Relation = Prefix
	case s.bb > 0 && left <= scaledLimit && math.Abs(scale-1) > scaledLimit:
		c.Relation = Scaled
	case c.Distance.RelFro <= 0.1 || s.differing*10 <= rows:
		c.Relation = Near
	default:
		c.Relation = Distinct
	}
	return c
}

func rowBytes(t *formats.Tensor) int64 {
	switch len(t.Shape) {
	case 0:
		return t.Bytes
	case 1: // the rows of a vector are its elements
		return t.DType.BlockBytes()
	}
	cols := t.Shape[len(t.Shape)-1]
	return cols / t.DType.BlockElems() * t.DType.BlockBytes()
}

// exact reports whether every value of a tensor survives what is added to it and a cast to a type, bit for bit, and how many bytes were read to
// see that.
func exact(ctx context.Context, m *arch.Model, q Question) (bool, int64, error) {
	t, to := m.Lookup(q.Exact), q.In
	r, err := m.Open(q.Exact)
	if err != nil {
		return false, 0, err
	}
	n := min(64<<10, t.Elems())
	src := make([]byte, n*t.DType.BlockBytes())
	wide, back := make([]float64, n), make([]float64, n)
	narrow, bytesTo := make([]float32, n), make([]byte, n*to.BlockBytes())
	read := int64(0)
	for left := t.Elems(); left > 0; {
		if err := ctx.Err(); err != nil {
			return false, read, err
		}
		k := min(n, left)
		p := src[:k/t.DType.BlockElems()*t.DType.BlockBytes()]
		if err := readFull(r, p, read, m, t); err != nil {
			return false, read, err
		}
		read += int64(len(p))
		t.DType.DecodeWide(wide[:k], p)
		for i, v := range wide[:k] {
			narrow[i] = float32(v) + q.Shift
		}
		to.Encode(bytesTo[:k*to.BlockBytes()], narrow[:k])
		to.DecodeWide(back[:k], bytesTo[:k*to.BlockBytes()])
		for i, v := range wide[:k] {
			if got := back[i]; q.Shift == 0 && math.Float64bits(v) != math.Float64bits(got) || q.Shift != 0 && float64(float32(got)-q.Shift) != v {
				return false, read, nil
			}
		}
		left -= k
	}
	return true, read, nil
}

// readFull reads all of p, and names the tensor if the file does not hold it.
func readFull(r io.ReaderAt, p []byte, off int64, m *arch.Model, t *formats.Tensor) error {
	if n, err := r.ReadAt(p, off); n < len(p) {
		if err == io.EOF || err == nil {
			err = io.ErrUnexpectedEOF
		}
		return formats.Errorf(formats.IO, "%w", err).At(m.Dir+"/"+t.File, t.Offset+off).In(t.Name, "")
	}
	return nil
}
