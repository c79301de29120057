package verify

import (
	"math"
	"slices"

	"github.com/bowline-ml/bowline/formats"
)

// RowTop are the five best tokens of a row on both sides.
type RowTop struct {
	Row       int            `json:"row"`
	Token     int32          `json:"token"`
	Reference []Best         `json:"reference"`
	Test      []Best         `json:"test"`
	Margin    formats.Number `json:"margin"` // between the reference's two best
}

// Best is one of the best tokens of a row.
type Best struct {
	ID    int            `json:"id"`
	Logit formats.Number `json:"logit"`
}

// worstRows is for how many rows the best tokens are kept.
const worstRows = 20

// tops are the best tokens of the worst rows, worst first.
func tops(rows []Row, ref, test Matrix) []RowTop {
	order := slices.Clone(rows)
	slices.SortStableFunc(order, func(a, b Row) int {
		switch {
		case a.NMSE > b.NMSE || a.NMSE != a.NMSE && b.NMSE == b.NMSE:
			return -1
		case b.NMSE > a.NMSE || b.NMSE != b.NMSE && a.NMSE == a.NMSE:
			return 1
		}
		return 0
	})
	best := func(row []float64) (out []Best) {
		for _, i := range top(row) {
			out = append(out, Best{i, formats.Number(row[i])})
		}
		return out
	}
	out := []RowTop{}
	a, b := make([]float64, ref.Cols), make([]float64, test.Cols)
	for _, w := range order[:min(len(order), worstRows)] {
		t := RowTop{Row: w.Row, Token: w.Token, Reference: best(ref.Row(w.Row, a)), Test: best(test.Row(w.Row, b))}
		if len(t.Reference) > 1 {
			t.Margin = t.Reference[0].Logit - t.Reference[1].Logit
		}
		out = append(out, t)
	}
	return out
}

// scatterCells is how many cells a side of the histogram of logits has.
const scatterCells = 64

// scatter counts pairs of finite logits, the reference's across and the test's up, between the least and the greatest of both.
type scatter struct {
	lo, hi float64
	counts [scatterCells][scatterCells]int // [up][across]
}

func scattered(ref, test Matrix) *scatter {
	s := &scatter{lo: math.Inf(1), hi: math.Inf(-1)}
	a, b := make([]float64, ref.Cols), make([]float64, test.Cols)
	pairs := func(f func(x, y float64)) {
		for i := range ref.Rows {
			r, t := ref.Row(i, a), test.Row(i, b)
			for j, x := range r {
				if y := t[j]; !math.IsNaN(x-y) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
					f(x, y)
				}
			}
		}
	}
	pairs(func(x, y float64) { s.lo, s.hi = min(s.lo, x, y), max(s.hi, x, y) })
	cell := func(v float64) int { return min(scatterCells-1, int((v-s.lo)/(s.hi-s.lo)*scatterCells)) }
	if s.hi > s.lo {
		pairs(func(x, y float64) { s.counts[cell(y)][cell(x)]++ })
	}
	return s
}

// sortBy sorts in place by a number, the least first; what is equal keeps its order.
func sortBy[T any](list []T, f func(T) float64) {
	slices.SortStableFunc(list, func(a, b T) int {
		switch x, y := f(a), f(b); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
}
