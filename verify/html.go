package verify

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/bowline-ml/bowline/formats"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"text":    func(s string) string { return formats.Escape(s, 1000) },
	"gate":    Gate.text,
	"db":      decibel,
	"made":    Weight.made,
	"short":   func(v formats.Number) string { return fmt.Sprintf("%.3g", float64(v)) },
	"hundred": func(v float64) string { return fmt.Sprintf("%.1f", v) },
}).Parse(page))

// HTML writes the report as one page that needs nothing else: no script, no other address. It follows the reader's light or dark setting.
func (r *Report) HTML(w io.Writer) error {
	v := struct {
		*Report
		Layers, Rows *plot
		Scatter      *heat
		Noise        *stack
		Worst        []Weight
		Suspects     []Suspect
		More         int
	}{Report: r, Worst: r.worst(), Suspects: r.Suspects[:min(len(r.Suspects), listed)], More: max(0, len(r.Suspects)-listed)}
	var limit float64
	for _, g := range r.Gates {
		if g.Name == "nmse" && g.Limit != nil {
			limit = float64(*g.Limit)
		}
	}
	var names []string
	var values []float64
	for _, l := range r.Layers {
		names, values = append(names, l.Name), append(values, float64(l.NMSE))
	}
	v.Layers = logPlot(names, values, 0)
	names, values = nil, nil
	for _, x := range r.Rows {
		names, values = append(names, fmt.Sprintf("row %d, token %d", x.Row, x.Token)), append(values, float64(x.NMSE))
	}
	v.Rows = logPlot(names, values, limit)
	if v.Rows != nil && r.Test.Window > 0 && r.Test.Window < len(r.Rows) {
		v.Rows.Marks = append(v.Rows.Marks, mark{v.Rows.across(r.Test.Window, len(r.Rows)), fmt.Sprintf("window %d", r.Test.Window)})
	}
	v.Scatter, v.Noise = r.scatter.heat(), noise(r.Weights)
	return pageTemplate.Execute(w, v)
}

// The plots are drawn in a box of 640 x 240 with room for labels at the left and below.
const (
	plotLeft, plotRight, plotTop, plotBottom = 64.0, 632.0, 12.0, 208.0
)

// plot is one series over a logarithmic axis.
type plot struct {
	Dots  []dot
	Ticks []tick
	Marks []mark
	Limit *tick
	First string // labels of the ends of the axis across
	Last  string
}

type dot struct {
	X, Y float64
	Text string
	Bad  bool // not finite: drawn at the top
}

type tick struct {
	At   float64
	Text string
}

type mark struct {
	X    float64
	Text string
}

func (p *plot) across(i, n int) float64 {
	return plotLeft + (plotRight-plotLeft)*(float64(i)+0.5)/float64(max(1, n))
}

// logPlot is nil without values. Zeros lie on the bottom line.
func logPlot(names []string, values []float64, limit float64) *plot {
	if len(values) == 0 {
		return nil
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, v := range append(slices.Clone(values), limit) {
		if v > 0 && !math.IsInf(v, 0) {
			lo, hi = min(lo, math.Floor(math.Log10(v))), max(hi, math.Ceil(math.Log10(v)))
		}
	}
	if lo > hi {
		lo, hi = -16, 0 // all are zero or not finite
	}
	hi = max(hi, lo+2)
	up := func(v float64) float64 {
		return min(plotBottom, max(plotTop, plotBottom-(plotBottom-plotTop)*(math.Log10(v)-lo)/(hi-lo)))
	}
	p := &plot{First: names[0], Last: names[len(names)-1]}
	for i, v := range values {
		d := dot{X: p.across(i, len(values)), Y: plotBottom, Text: fmt.Sprintf("%s: %.3g", names[i], v)}
		switch {
		case math.IsNaN(v) || math.IsInf(v, 0):
			d.Y, d.Bad = plotTop, true
		case v > 0:
			d.Y = up(v)
		}
		p.Dots = append(p.Dots, d)
	}
	step := max(1, math.Ceil((hi-lo)/6))
	for e := lo; e <= hi; e += step {
		p.Ticks = append(p.Ticks, tick{up(math.Pow(10, e)), fmt.Sprintf("1e%.0f", e)})
	}
	if limit > 0 {
		p.Limit = &tick{up(limit), fmt.Sprintf("limit %.3g", limit)}
	}
	return p
}

// heat is the histogram of logits, drawn in a square of 256.
type heat struct {
	Cells  []square
	Lo, Hi string
}

type square struct{ X, Y, Side, Shade float64 }

func (s *scatter) heat() *heat {
	if s == nil || !(s.hi > s.lo) {
		return nil
	}
	most := 0
	for _, row := range s.counts {
		most = max(most, slices.Max(row[:]))
	}
	h := &heat{Lo: fmt.Sprintf("%.3g", s.lo), Hi: fmt.Sprintf("%.3g", s.hi)}
	side := 256.0 / scatterCells
	for y, row := range s.counts {
		for x, n := range row {
			if n > 0 {
				shade := 0.25 + 0.75*math.Log1p(float64(n))/math.Log1p(float64(most))
				h.Cells = append(h.Cells, square{float64(x) * side, 256 - float64(y+1)*side, side, math.Round(shade*100) / 100})
			}
		}
	}
	return h
}

// stack is how many tensors of each type have how much noise, in steps of 5 dB; those that are equal have none and are counted beside it.
type stack struct {
	Bars  []bar5
	Types []legend
	Equal int
	Ticks []tick
}

type bar5 struct {
	X, Y, Width, Height float64
	Kind                int
	Text                string
}

type legend struct {
	Kind int
	Text string
}

func noise(weights []Weight) *stack {
	if len(weights) == 0 {
		return nil
	}
	s := &stack{}
	const bins = 20 // of 5 dB; the first and the last are open
	counts := map[string]*[bins]int{}
	var tall [bins]int
	for _, w := range weights {
		if w.SQNR == 0 && w.OK {
			s.Equal++
			continue
		}
		if counts[w.DTypeB] == nil {
			counts[w.DTypeB] = &[bins]int{}
		}
		i := 0
		if v := float64(w.SQNR); v > 0 {
			i = int(min(bins-1, v/5))
		}
		counts[w.DTypeB][i]++
		tall[i]++
	}
	most := max(1, slices.Max(tall[:]))
	width := (plotRight - plotLeft) / bins
	var base [bins]int
	for k, t := range slices.Sorted(maps.Keys(counts)) {
		s.Types = append(s.Types, legend{k % 6, formats.Escape(t, 40)})
		for i, n := range counts[t] {
			if n == 0 {
				continue
			}
			h := (plotBottom - plotTop) * float64(n) / float64(most)
			y := plotBottom - (plotBottom-plotTop)*float64(base[i])/float64(most) - h
			s.Bars = append(s.Bars, bar5{plotLeft + width*float64(i) + 1, y, width - 2, h, k % 6, fmt.Sprintf("%d tensors of %s from %d dB", n, t, 5*i)})
			base[i] += n
		}
	}
	for i := 0; i < bins; i += 4 {
		s.Ticks = append(s.Ticks, tick{plotLeft + width*float64(i), fmt.Sprintf("%d dB", 5*i)})
	}
	return s
}
