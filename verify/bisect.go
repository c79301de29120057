package verify

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// configured adds the gate of what no tensor holds: two checkpoints have to be computed with the same numbers.
func (r *Report) configured(ref, test []Fact) {
	if len(ref) == 0 || len(test) == 0 {
		return
	}
	type key struct {
		layer, n int
		name     string
	}
	keyed := func(facts []Fact) (list []key, at map[key][]float64) {
		at = map[key][]float64{}
		for _, f := range facts {
			k := key{f.Layer, 0, f.Name}
			for at[k] != nil {
				k.n++
			}
			list, at[k] = append(list, k), f.Values
		}
		return list, at
	}
	mine, testAt := keyed(test)
	theirs, refAt := keyed(ref)
	said := map[string]bool{}
	n := 0
	for _, k := range append(mine, theirs...) {
		a, b := refAt[k], testAt[k]
		if slices.Equal(a, b) || said[k.name] {
			continue
		}
		said[k.name] = true
		evidence := "only one of the two computes with it"
		if len(a) > 0 && len(a) == len(b) {
			i := 0
			for a[i] == b[i] {
				i++
			}
			evidence = fmt.Sprintf("%.9g, the reference has %.9g", b[i], a[i])
			if len(a) > 1 {
				evidence = fmt.Sprintf("pair %d: %s", i, evidence)
			}
		} else if len(a) > 0 && len(b) > 0 {
			evidence = fmt.Sprintf("%d values, the reference has %d", len(b), len(a))
		}
		n++
		r.Suspects = append(r.Suspects, Suspect{"config", k.name, evidence})
	}
	g := exactly0("config", n)
	g.Note = "parameters that the two are computed with differ"
	r.Add(g)
}

// Bisect puts the first step of a layer that differs, and what made it, into a failed report. Both sides were given the same input, so nothing before
// the layer counts.
func (r *Report) Bisect(ref, test []Step) error {
	c, err := FindClass(r.Class, r.Test)
	if err != nil || r.FirstBad == nil {
		return err
	}
	before := 0.0
	for _, pair := range paired(ref, test) {
		a, b := pair[0], pair[1]
		if a.X.Rows != b.X.Rows || a.X.Cols != b.X.Cols {
			return formats.Errorf(formats.BadShape, "got %d x %d, the reference has %d x %d", b.X.Rows, b.X.Cols, a.X.Rows, a.X.Cols).In(b.Tensor, b.Name)
		}
		n := difference(a.X, b.X)
		if n <= 30*before+layerFloor(c)/100 {
			before = max(before, n)
			continue
		}
		r.FirstBad.Step = b.Name
		what, why := explained(a, b, ref)
		tensor := b.Tensor
		if tensor == "" {
			tensor = b.Name
		}
		r.Suspects = append(r.Suspects, Suspect{tensor, what, fmt.Sprintf("given the reference's input, layer %d first differs in %s (nmse %.2g): %s", *r.FirstBad.Layer, b.Name, n, why)})
		return nil
	}
	return nil
}

// paired are the steps that both sides have, in order.
func paired(ref, test []Step) [][2]Step {
	var out [][2]Step
	seen := map[string]int{}
	for _, b := range test {
		n := seen[b.Name]
		seen[b.Name]++
		for _, a := range ref {
			if a.Name != b.Name {
				continue
			}
			if n == 0 {
				out = append(out, [2]Step{a, b})
				break
			}
			n--
		}
	}
	return out
}

// difference is the squared error of the worst row over its squared reference.
func difference(ref, test Matrix) float64 {
	worst := 0.0
	a, b := make([]float64, ref.Cols), make([]float64, ref.Cols)
	for i := range ref.Rows {
		worst = max(worst, sumsOf(ref.Row(i, a), test.Row(i, b)).nmse())
	}
	return worst
}

func sumsOf(r, t []float64) fit {
	s := fit{n: float64(len(r))}
	for i, x := range r {
		y := t[i]
		s.r, s.t, s.rr, s.tt, s.rt, s.dd = s.r+x, s.t+y, s.rr+x*x, s.tt+y*y, s.rt+x*y, s.dd+(y-x)*(y-x)
	}
	return s
}

// explained says what a step's difference looks like: what was done, and the evidence.
func explained(ref, test Step, steps []Step) (what, why string) {
	rows, cols := ref.X.Rows, ref.X.Cols
	r, t := wide(ref.X), wide(test.X)
	all := sumsOf(r, t)
	first := sumsOf(r[:cols], t[:cols])
	rotary := test.Name == "attn_q" || test.Name == "attn_k"
	const close = 1e-9 // relative squared error: less than any fault makes of it
	for _, s := range steps {
		if s.Name != ref.Name && s.X.Cols == cols && sumsOf(wide(s.X), t).nmse() < close {
			return "holds another tensor's values", fmt.Sprintf("it is the reference's %s", s.Name)
		}
	}
	if a := all.rt / all.rr; math.Abs(a-1) > 1e-6 && all.tt-all.rt*a < close*all.tt {
		return "scaled", fmt.Sprintf("%.6g times the reference", a)
	}
	if rotary && rows > 1 && first.nmse() < close {
		return "rope: theta, scaling or pairing", "the first position, which does not turn, agrees"
	}
	if reordered(r[:cols], t[:cols]) {
		if rotary {
			return "rows in the other convention of rope, or heads in another order", "the first row has the reference's values in another order"
		}
		return "rows in another order", "the first row has the reference's values in another order"
	}
	if lo, n := span(r, t, rows, cols); n > 0 && 2*n < cols {
		return "other values in some rows", fmt.Sprintf("%d of %d columns differ, from %d on", n, cols, lo)
	}
	if strings.HasSuffix(test.Name, ".weight") || rotary || test.Name == "attn_v" {
		if rows > 1 && shifted(r, t, rows, cols, rotary) {
			return "bias dropped or changed", "all rows differ by one vector"
		}
	}
	switch {
	case test.Name == "attention" && first.nmse() < close:
		return "attention scale, soft cap or window", "queries, keys and values agree, and so does the first position, which has one key"
	case test.Name == "attention":
		return "key heads in another order", "queries, keys and values agree"
	case test.Name == "act":
		return "another activation", "what it is computed of agrees"
	case test.Name == "residual":
		return "another multiplier", "what is added agrees"
	}
	return "other values", fmt.Sprintf("cosine %.6f", all.cosine())
}

func wide(m Matrix) []float64 {
	if m.F64 != nil {
		return m.F64
	}
	out := make([]float64, len(m.F32))
	for i, v := range m.F32 {
		out[i] = float64(v)
	}
	return out
}

// reordered reports whether two rows hold the same values but for rounding, in different orders.
func reordered(r, t []float64) bool {
	a, b := slices.Clone(r), slices.Clone(t)
	slices.Sort(a)
	slices.Sort(b)
	return sumsOf(a, b).nmse() < 1e-9
}

// span is the first column that differs and how many do.
func span(r, t []float64, rows, cols int) (lo, n int) {
	for j := range cols {
		var s fit
		for i := range rows {
			x, y := r[i*cols+j], t[i*cols+j]
			s.rr, s.dd = s.rr+x*x, s.dd+(y-x)*(y-x)
		}
		if s.nmse() > 1e-9 {
			if n == 0 {
				lo = j
			}
			n++
		}
	}
	return lo, n
}

// shifted reports whether all rows differ by one vector; of one length, where rows turn.
func shifted(r, t []float64, rows, cols int, turned bool) bool {
	var want, worst, scale float64
	for i := range rows {
		length := 0.0
		for j := range cols {
			d := t[i*cols+j] - r[i*cols+j]
			length += d * d
			worst = max(worst, math.Abs(d-(t[j]-r[j])))
		}
		if i == 0 {
			want, scale = length, math.Sqrt(length/float64(cols))
		}
		if turned && math.Abs(length-want) > 1e-4*want {
			return false
		}
	}
	return turned || worst < 1e-3*scale
}
