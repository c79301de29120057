package verify

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

func layerName(i int) string { return "L." + strconv.Itoa(i) + ".out" }

// locate finds the first row over the gate, and the first step after which the hidden states differ by more than noise grows.
func (r *Report) locate(c Class) {
	f := &FirstBad{Row: r.Summary.WorstRow, Step: "logits"}
	for _, w := range r.Rows {
		if over(w, c) {
			f.Row = w.Row
			break
		}
	}
	r.FirstBad = f
	for _, floor := range []float64{layerFloor(c), layerFloor(c) / 100} { // what is just over the gate in the logits may be below it in the layers
		before := 0.0
		for _, l := range r.Layers {
			// Noise grows by about the same amount a layer; a fault jumps. NaN is a jump.
			if n := float64(l.NMSE); !(n <= 30*before+floor) {
				f.Step = l.Name
				if i, ok := layerIndex(l.Name); ok {
					f.Layer, f.Step = &i, "out"
				}
				return
			}
			before = float64(l.NMSE)
		}
	}
}

// layerFloor is what hidden states may differ by in any layer.
func layerFloor(c Class) float64 {
	if c.NMSE != 0 {
		return c.NMSE / 10
	}
	return c.Expected / 10
}

// over reports whether a row alone is over the gates.
func over(w Row, c Class) bool {
	if !w.Finite {
		return true
	}
	return c.NMSE != 0 && !(float64(w.NMSE) <= c.NMSE) || c.KLMax != 0 && !(float64(w.KL) <= c.KLMax)
}

func layerIndex(name string) (int, bool) {
	var i int
	n, err := fmt.Sscanf(name, "L.%d.out", &i)
	return i, n == 1 && err == nil
}

// symptoms are what faults look like from outside. Every fault that is confined to attention scores (q, k, rope, scale, window) leaves row 0 exact,
// because its softmax has one key. The first match counts.
var symptoms = []struct {
	match    func(e evidence) string // why, or ""
	suspects []Suspect
}{
	{func(e evidence) string {
		return said(e.bad == e.rows && e.finite == 0, "no row is finite")
	}, []Suspect{{"weights", "values that are not finite, or a dtype that overflows", ""}}},
	{func(e evidence) string {
		return said(e.step == "embed", "the embeddings differ already")
	}, []Suspect{{"token_embd.weight", "other values, a multiplier or another order of rows", ""}}},
	{func(e evidence) string {
		return said(e.hidden && e.step == "final_norm", "all layers agree, the final norm does not")
	}, []Suspect{{"output_norm.weight", "other values, norm + 1, or another epsilon", ""}}},
	{func(e evidence) string {
		return said(e.cosine > 1-1e-6 && math.Abs(e.scale-1) > 1e-3, "test = %.4g times the reference, cosine %.7f", e.scale, e.cosine)
	}, []Suspect{{"logits", "a multiplier of the logits", ""}, {"logits", "a soft cap that is missing", ""}}},
	{func(e evidence) string {
		return said(e.hidden && e.step == "logits", "all hidden states agree, the logits do not")
	}, []Suspect{{"output.weight", "another head: tied where the reference is not, or the reverse", ""}}},
	{func(e evidence) string {
		return said(e.row0 && e.window > 0 && e.first >= e.window, "rows below the window of %d agree, row %d is the first bad one", e.window, e.first)
	}, []Suspect{{"attention", "another sliding window, or none", ""}}},
	{func(e evidence) string {
		return said(e.columns > 0, "all error is in the last %d of %d vocabulary columns", e.columns, e.vocab)
	}, []Suspect{{"output.weight", "padded or added rows at the end", ""}}},
	{func(e evidence) string {
		return said(e.tokens != "", "only rows of these tokens are bad: %s", e.tokens)
	}, []Suspect{{"token_embd.weight", "rows of these tokens", ""}}},
	{func(e evidence) string {
		return said(e.llamacpp && e.nmse < 1e-5 && e.nmse > 1e-8, "nmse %.2g against llama.cpp", e.nmse)
	}, []Suspect{{"reference", "float16 keys and values, or its gelu: not a fault of the file; use class B", ""}}},
	{func(e evidence) string {
		return said(e.nmse < 1e-8, "nmse %.2g", e.nmse)
	}, []Suspect{{"config", "rms_norm_eps 1e-5 for 1e-6 or the reverse", ""}}},
	{func(e evidence) string {
		return said(e.row0, "row 0, which has one key, agrees; row %d is the first bad one", e.first)
	}, []Suspect{
		{"attn_q.weight, attn_k.weight", "rows in the rope order of the other convention (with their biases)", ""},
		{"config", "rope theta, scaling or factors", ""},
		{"attn_q.bias, attn_k.bias", "dropped, or in the other rope order", ""},
		{"config", "attention scale or soft cap", ""},
	}},
	{func(e evidence) string {
		return said(e.nmse > 10, "nmse %.2g: the error is much larger than the reference", e.nmse)
	}, []Suspect{{"output.weight", "the embedding used as head of an untied model", ""}, {"norms", "norm + 1 twice", ""}}},
	{func(e evidence) string {
		return said(true, "row 0 is bad (nmse %.2g)", e.nmse0)
	}, []Suspect{
		{"ffn_gate.weight, ffn_up.weight", "swapped, or another activation", ""},
		{"attn_v, attn_output, ffn biases", "dropped", ""},
		{"norms", "swapped, or norm + 1", ""},
		{"attn_k.weight, attn_v.weight", "key heads in another order", ""},
		{"config", "embedding or residual multiplier", ""},
		{"output.weight", "another head", ""},
	}},
}

// said formats a reason if it holds.
func said(holds bool, format string, args ...any) string {
	if !holds {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// evidence is what the symptoms are read from.
type evidence struct {
	rows, bad, finite, first, vocab, window int
	row0                                    bool // agrees
	nmse, nmse0, scale, cosine              float64
	columns                                 int    // how many columns at the end hold all the error; 0 if it is spread
	tokens                                  string // the ids of the bad rows, if good rows follow and have other ids
	hidden, llamacpp                        bool
	step                                    string
}

// suspects reads the symptoms of a failed comparison. With hidden states the names say the layer.
func suspects(r *Report, c Class, ref, test *Trace) []Suspect {
	s := r.Summary
	e := evidence{rows: s.Rows, first: r.FirstBad.Row, vocab: s.Vocabulary, window: r.Test.Window, nmse: float64(s.NMSE), nmse0: float64(r.Rows[0].NMSE),
		scale: float64(s.Scale), cosine: float64(s.Cosine), hidden: len(r.Layers) > 0, step: r.FirstBad.Step,
		llamacpp: strings.Contains(strings.ToLower(r.Reference.Engine), "llama.cpp")}
	e.finite = s.Rows - s.NonFinite
	good := map[int32]bool{}
	var bad []string
	last := 0
	for _, w := range r.Rows {
		if over(w, c) {
			e.bad++
			bad = append(bad, strconv.Itoa(int(w.Token)))
			last = w.Row
		} else {
			good[w.Token] = true
		}
	}
	if e.bad == 0 {
		return nil // a mean is over its gate, or a gate of the caller's
	}
	e.row0 = !over(r.Rows[0], c)
	own := true
	for _, w := range r.Rows {
		own = own && !(over(w, c) && good[w.Token])
	}
	if own && last+1 < s.Rows && e.bad < s.Rows/2 {
		e.tokens = strings.Join(bad[:min(len(bad), 8)], " ")
	}
	e.columns = lastColumns(ref.Logits, test.Logits)
	for _, x := range symptoms {
		why := x.match(e)
		if why == "" {
			continue
		}
		var out []Suspect
		for _, s := range x.suspects {
			if r.FirstBad.Layer != nil && strings.Contains(s.Tensor, ".weight") && s.Tensor != "output.weight" {
				s.Tensor = fmt.Sprintf("layer %d: %s", *r.FirstBad.Layer, s.Tensor)
			}
			s.Evidence = why
			out = append(out, s)
		}
		return out
	}
	return nil
}

// lastColumns is the number of columns at the end that hold the error, if they are less than a quarter of all.
func lastColumns(ref, test Matrix) int {
	energy := make([]float64, ref.Cols)
	a, b := make([]float64, ref.Cols), make([]float64, ref.Cols)
	largest := 0.0
	for i := range ref.Rows {
		r, t := ref.Row(i, a), test.Row(i, b)
		for j := range r {
			d := t[j] - r[j]
			energy[j] += d * d
			largest = max(largest, energy[j])
		}
	}
	for j, v := range energy {
		if !(v <= 1e-6*largest) {
			if 4*j > 3*ref.Cols {
				return ref.Cols - j
			}
			return 0
		}
	}
	return 0
}
