package verify

import (
	"math"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/bowline-ml/bowline/formats"
)

// Row is how one position of the logits agrees.
type Row struct {
	Row     int            `json:"row"`
	Token   int32          `json:"token"`
	NMSE    formats.Number `json:"nmse"`    // sum (t-r)^2 / sum r^2; 0 if both rows are zero
	KL      formats.Number `json:"kl"`      // of softmax, reference to test, in nats
	MaxAbs  formats.Number `json:"max_abs"` // largest |t-r|
	MaxRel  formats.Number `json:"max_rel"` // the same over the root mean square of r
	Top1    bool           `json:"top1"`    // one best token
	Excused bool           `json:"excused"` // another best token, within the noise that the class expects
	Top5    formats.Number `json:"top5"`    // share of the five best in common
	Finite  bool           `json:"finite"`  // on both sides
	sums    fit
}

// fit are sums over pairs (r, t).
type fit struct{ n, r, t, rr, tt, rt, dd float64 }

func (f *fit) add(g fit) {
	f.n += g.n
	f.r += g.r
	f.t += g.t
	f.rr += g.rr
	f.tt += g.tt
	f.rt += g.rt
	f.dd += g.dd
}

// nmse is the squared error over the squared reference.
func (f fit) nmse() float64 {
	if f.dd == 0 {
		return 0
	}
	return f.dd / f.rr
}

func (f fit) cosine() float64 { return f.rt / math.Sqrt(f.rr*f.tt) }

// line is the least squares t = a r + b.
func (f fit) line() (a, b float64) {
	a = (f.n*f.rt - f.r*f.t) / (f.n*f.rr - f.r*f.r)
	return a, (f.t - a*f.r) / f.n
}

// compareRows judges all rows of two matrices of one shape.
func compareRows(ref, test Matrix, tokens []int32, c Class) []Row {
	out := make([]Row, ref.Rows)
	var g errgroup.Group
	var next atomic.Int64
	for range min(ref.Rows, runtime.GOMAXPROCS(0)) {
		g.Go(func() error {
			a, b := make([]float64, ref.Cols), make([]float64, ref.Cols)
			for {
				i := int(next.Add(1)) - 1
				if i >= ref.Rows {
					return nil
				}
				out[i] = compareRow(ref.Row(i, a), test.Row(i, b), c)
				out[i].Row = i
				if i < len(tokens) {
					out[i].Token = tokens[i]
				}
			}
		})
	}
	_ = g.Wait() // rows cannot fail
	return out
}

func compareRow(r, t []float64, c Class) Row {
	s := fit{n: float64(len(r))}
	worst := 0.0
	for i, x := range r {
		y := t[i]
		d := y - x
		s.r += x
		s.t += y
		s.rr += x * x
		s.tt += y * y
		s.rt += x * y
		s.dd += d * d
		worst = max(worst, math.Abs(d))
	}
	row := Row{NMSE: formats.Number(s.nmse()), MaxAbs: formats.Number(worst), MaxRel: formats.Number(worst), sums: s, Finite: true}
	// a sum of finite values can overflow, so the values are asked themselves
	if math.IsNaN(s.rr+s.tt) || math.IsInf(s.rr+s.tt, 0) {
		row.Finite = finite(r) && finite(t)
	}
	if !row.Finite {
		nan := formats.Number(math.NaN())
		row.NMSE, row.KL, row.MaxAbs, row.MaxRel, row.Top5 = nan, nan, nan, nan, 0
		return row
	}
	rms := math.Sqrt(s.rr / s.n)
	if worst > 0 {
		row.MaxRel = formats.Number(worst / rms)
	}
	row.KL = formats.Number(kl(r, t, c.Cut))
	best, other := top(r), top(t)
	row.Top1 = best[0] == other[0]
	if !row.Top1 {
		// Against the measured error every flip would be excused: a flip implies a margin of at most twice the largest error.
		row.Excused = r[best[0]]-r[best[1]] <= 8*math.Sqrt(c.Expected)*rms
	}
	common := 0
	for _, i := range best {
		if slices.Contains(other, i) {
			common++
		}
	}
	row.Top5 = formats.Number(float64(common) / float64(len(best)))
	return row
}

func finite(v []float64) bool {
	for _, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return false
		}
	}
	return true
}

// kl is the divergence of softmax t from softmax r. Reference log-probabilities below cut are left out unless cut is 0.
func kl(r, t []float64, cut float64) float64 {
	a, b := logSum(r), logSum(t)
	sum := 0.0
	for i, x := range r {
		lp := x - a
		if cut != 0 && lp <= cut {
			continue
		}
		sum += math.Exp(lp) * (lp - (t[i] - b))
	}
	return max(sum, 0) // it cannot be negative but for rounding
}

// logSum is the logarithm of the sum of e^v.
func logSum(v []float64) float64 {
	top := slices.Max(v)
	sum := 0.0
	for _, x := range v {
		sum += math.Exp(x - top)
	}
	return top + math.Log(sum)
}

// top are the indices of the five largest values, largest first; of equal ones the first comes first.
func top(v []float64) []int {
	best := make([]int, 0, 6)
	for i, x := range v {
		if len(best) == 5 && x <= v[best[4]] {
			continue
		}
		at := len(best)
		for at > 0 && x > v[best[at-1]] {
			at--
		}
		best = slices.Insert(best, at, i)
		best = best[:min(len(best), 5)]
	}
	return best
}

// Layer is how the hidden states after one step agree.
type Layer struct {
	Name   string         `json:"name"` // embed, L.{i}.out, final_norm
	NMSE   formats.Number `json:"nmse"`
	Worst  formats.Number `json:"nmse_worst"` // of a row
	MaxAbs formats.Number `json:"max_abs"`
}

// compareHidden compares the hidden states that both traces have.
func compareHidden(ref, test *Trace) ([]Layer, error) {
	var out []Layer
	add := func(name string, r, t Matrix) error {
		if r.Rows == 0 || t.Rows == 0 {
			return nil
		}
		if r.Rows != t.Rows || r.Cols != t.Cols {
			return formats.Errorf(formats.BadShape, "got %d x %d, the reference has %d x %d", t.Rows, t.Cols, r.Rows, r.Cols).In(name, "")
		}
		l := Layer{Name: name}
		var all fit
		a, b := make([]float64, r.Cols), make([]float64, r.Cols)
		for i := range r.Rows {
			x, y := r.Row(i, a), t.Row(i, b)
			var s fit
			for j := range x {
				d := y[j] - x[j]
				s.rr += x[j] * x[j]
				s.dd += d * d
				l.MaxAbs = max(l.MaxAbs, formats.Number(math.Abs(d)))
			}
			l.Worst = max(l.Worst, formats.Number(s.nmse()))
			all.add(s)
		}
		l.NMSE = formats.Number(all.nmse())
		out = append(out, l)
		return nil
	}
	if err := add("embed", ref.Embed, test.Embed); err != nil {
		return nil, err
	}
	for i := range min(len(ref.Layers), len(test.Layers)) {
		if err := add(layerName(i), ref.Layers[i], test.Layers[i]); err != nil {
			return nil, err
		}
	}
	return out, add("final_norm", ref.FinalNorm, test.FinalNorm)
}

// sameBits reports whether two matrices hold the same values to the bit.
func sameBits(a, b Matrix) bool {
	x, y := make([]float64, a.Cols), make([]float64, b.Cols)
	for i := range a.Rows {
		r, t := a.Row(i, x), b.Row(i, y)
		for j := range r {
			if math.Float64bits(r[j]) != math.Float64bits(t[j]) {
				return false
			}
		}
	}
	return true
}
