package verify

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// Gate is one condition of the verdict.
type Gate struct {
	Name  string          `json:"name"`
	Value formats.Number  `json:"value"`
	Limit *formats.Number `json:"limit"` // null: the value is information
	Pass  bool            `json:"pass"`
	Above bool            `json:"above,omitempty"` // the value must be at least the limit, else at most
	Note  string          `json:"note,omitempty"`
}

// FirstBad is where the test leaves the reference. Layer is null where the hidden states are not known or the fault is in no layer.
type FirstBad struct {
	Row   int    `json:"row"`
	Layer *int   `json:"layer"`
	Step  string `json:"step"` // embed, out, final_norm or logits
}

// Suspect is a likely cause.
type Suspect struct {
	Tensor    string `json:"tensor"`
	Transform string `json:"transform"`
	Evidence  string `json:"evidence"`
}

// Summary is over all rows.
type Summary struct {
	Rows       int            `json:"rows"`
	Vocabulary int            `json:"vocabulary"`
	NMSE       formats.Number `json:"nmse"`
	WorstNMSE  formats.Number `json:"nmse_worst"`
	WorstRow   int            `json:"worst_row"`
	KLMean     formats.Number `json:"kl_mean"`
	KLP99      formats.Number `json:"kl_p99"`
	KLMax      formats.Number `json:"kl_max"`
	MaxAbs     formats.Number `json:"max_abs"`
	MaxRel     formats.Number `json:"max_rel"`
	Top1       int            `json:"top1"`    // rows with one best token
	Excused    int            `json:"excused"` // rows whose best token differs within the expected noise
	Top5       formats.Number `json:"top5"`
	Cosine     formats.Number `json:"cosine"`
	Scale      formats.Number `json:"scale"` // least squares: test = scale * reference + offset
	Offset     formats.Number `json:"offset"`
	NonFinite  int            `json:"non_finite"` // rows
}

// Weight is how one tensor of the tested checkpoint agrees with the reference's.
type Weight struct {
	Name      string          `json:"name"`
	DTypeA    string          `json:"dtype_a"`
	DTypeB    string          `json:"dtype_b"`
	Verdict   string          `json:"verdict"`
	SQNR      formats.Number  `json:"sqnr"`     // dB; 0 where the values are equal
	Expected  *formats.Number `json:"expected"` // SQNR of Gaussian rows in dtype_b, null without one
	Transform *string         `json:"transform"`
	OK        bool            `json:"ok"`
}

// Report is the result of a comparison. Its JSON is what `bowline verify --json` prints.
type Report struct {
	Schema       string         `json:"schema"`
	Pass         bool           `json:"pass"`
	Class        string         `json:"class"`
	Because      string         `json:"class_because"` // why this class
	Rule         string         `json:"rule,omitempty"`
	Gates        []Gate         `json:"gates"`
	Rows         []Row          `json:"rows"`
	Layers       []Layer        `json:"layers"`
	FirstBad     *FirstBad      `json:"first_bad"`
	Suspects     []Suspect      `json:"suspects"`
	Reference    Subject        `json:"reference"`
	Test         Subject        `json:"test"`
	BitIdentical bool           `json:"bit_identical"`
	Summary      Summary        `json:"summary"`
	Notes        []formats.Note `json:"notes"`
	Weights      []Weight       `json:"weights"` // empty unless the reference is a checkpoint
	// Predicted is the logit NMSE that the errors of the weights lead to, null if no weights were compared.
	Predicted *formats.Number `json:"predicted_nmse"`
	Top       []RowTop        `json:"top"` // of the worst rows
	scatter   *scatter
}

// Add puts a gate into the verdict.
func (r *Report) Add(g Gate) {
	r.Gates = append(r.Gates, g)
	r.Pass = r.Pass && g.Pass
}

// most and least are gates; a limit of 0 makes them information. NaN fails.
func most(name string, value formats.Number, limit float64) Gate {
	return gate(name, value, limit, false)
}

func least(name string, value formats.Number, limit float64) Gate {
	return gate(name, value, limit, true)
}

func gate(name string, value formats.Number, limit float64, above bool) Gate {
	if limit == 0 {
		return Gate{Name: name, Value: value, Pass: true, Above: above}
	}
	l := formats.Number(limit)
	return Gate{Name: name, Value: value, Limit: &l, Pass: above && value >= l || !above && value <= l, Above: above}
}

// exactly0 is a gate for counts that have to be zero.
func exactly0(name string, n int) Gate {
	zero := formats.Number(0)
	return Gate{Name: name, Value: formats.Number(n), Limit: &zero, Pass: n == 0}
}

// CompareOptions say what is compared. The zero value infers the class from nothing: float32 logits.
type CompareOptions struct {
	Class     string // empty: inferred from the two subjects
	Reference Subject
	Test      Subject
	Weighed   bool // the caller compares the weights too, so nothing is guessed from the logits alone
}

// Rows that the statistics need: binomial deviation at 99 % of 200 rows is 0.7 %.
const (
	topRows  = 200
	fairRows = 32
)

// Compare judges test against ref. Traces of other tokens, vocabularies or lengths are an error; a difference of numbers is a report.
func Compare(ref, test *Trace, o CompareOptions) (*Report, error) {
	if len(ref.Tokens) > 0 && !slices.Equal(ref.Tokens, test.Tokens) {
		return nil, formats.Errorf(formats.Mismatch, "the traces are of different tokens")
	}
	if ref.Logits.Rows != test.Logits.Rows || ref.Logits.Cols != test.Logits.Cols {
		return nil, formats.Errorf(formats.BadShape, "got %d rows of %d logits, the reference has %d of %d",
			test.Logits.Rows, test.Logits.Cols, ref.Logits.Rows, ref.Logits.Cols).At(o.Reference.Path, -1)
	}
	r := &Report{Schema: "bowline.verify/1", Pass: true, Because: "as asked", Reference: o.Reference, Test: o.Test,
		Gates: []Gate{}, Rows: []Row{}, Layers: []Layer{}, Suspects: []Suspect{}, Notes: []formats.Note{}, Weights: []Weight{}, Top: []RowTop{}}
	class, because, identical := Infer(o.Reference, o.Test)
	if o.Class != "" {
		class, because = o.Class, "as asked"
	}
	c, err := FindClass(class, o.Test)
	if err != nil {
		return nil, err
	}
	r.Class, r.Because, r.Rule = c.Name, because, c.Rule
	if ref.Logits.Rows == 0 || ref.Logits.Cols == 0 {
		r.Add(least("compared", 0, 1))
		return r, nil
	}
	r.Rows = compareRows(ref.Logits, test.Logits, test.Tokens, c)
	layers, err := compareHidden(ref, test)
	if err != nil {
		return nil, err
	}
	r.Layers = append(r.Layers, layers...)
	r.BitIdentical = sameBits(ref.Logits, test.Logits)
	r.Summary = summarize(r.Rows, ref.Logits.Cols)
	r.Top, r.scatter = tops(r.Rows, ref.Logits, test.Logits), scattered(ref.Logits, test.Logits)
	r.judge(c)
	r.configured(ref.Facts, test.Facts)
	if identical && !r.BitIdentical {
		r.Notes = append(r.Notes, formats.Note{Subject: "logits", Decision: "not identical to the bit", Warn: true,
			Because: "the file can hold every value of the reference, so some value, or a rope factor, is another one"})
	}
	if !r.Pass {
		r.locate(c)
		if !o.Weighed {
			r.Suspects = append(r.Suspects, suspects(r, c, ref, test)...)
		}
	}
	return r, nil
}

// perLayer is how much of the relative squared error of the weights each layer adds to the logits' when it is small. Source: measured on random models
// of 6 layers, 28 times the weights' for F16, BF16 and Q8_0.
const perLayer = 4.7

// Weigh adds how the weights agree: a gate for those that differ by more than their type explains, and the error of the logits that the rest leads to.
// elements are the sizes of list's tensors.
func (r *Report) Weigh(list []Weight, elements []int64) {
	r.Weights = list
	bad, noise, total := 0, 0.0, 0.0
	for i, w := range list {
		if !w.OK {
			bad++
		}
		n := float64(elements[i])
		total += n
		if w.SQNR != 0 {
			noise += n * math.Pow(10, -float64(w.SQNR)/10)
		}
	}
	g := exactly0("weights", bad)
	g.Note = fmt.Sprintf("of %d tensors differ by more than their type explains", len(list))
	r.Add(g)
	predicted := formats.Number(perLayer * float64(max(1, r.Test.Layers)) * noise / max(1, total))
	r.Predicted = &predicted
	if measured := r.Summary.NMSE; bad == 0 && predicted > 1e-9 && measured > 5*predicted {
		r.Notes = append(r.Notes, formats.Note{Subject: "logits", Decision: fmt.Sprintf("nmse %.2g, %.2g expected", float64(measured), float64(predicted)), Warn: true,
			Because: "the error of the weights explains less than a fifth of it"})
	}
}

// judge adds the gates of a class.
func (r *Report) judge(c Class) {
	s := r.Summary
	r.Add(least("compared", formats.Number(s.Rows), 1))
	r.Add(exactly0("finite", s.NonFinite))
	r.Add(most("nmse", s.WorstNMSE, c.NMSE))
	r.Add(most("kl_mean", s.KLMean, c.KLMean))
	r.Add(most("kl_max", s.KLMax, c.KLMax))
	n := formats.Number(s.Rows)
	tops := []Gate{least("top1", formats.Number(s.Top1+s.Excused)/n, c.Top1), least("top5", s.Top5, c.Top5)}
	for _, g := range tops {
		switch {
		case s.Rows < topRows:
			g.Limit, g.Pass, g.Note = nil, true, fmt.Sprintf("information: %d rows, a gate from %d", s.Rows, topRows)
		case strings.HasPrefix(c.Name, "D:") && r.Test.Parameters > 0 && r.Test.Parameters < billion:
			g.Limit, g.Pass, g.Note = nil, true, "information: a quantized model under 1B parameters"
		}
		r.Add(g)
	}
	if s.Rows < fairRows {
		r.Notes = append(r.Notes, formats.Note{Subject: "tokens", Decision: fmt.Sprintf("%d rows compared", s.Rows),
			Because: fmt.Sprintf("fewer than %d are weak evidence", fairRows), Warn: true})
	}
}

func summarize(rows []Row, vocab int) Summary {
	s := Summary{Rows: len(rows), Vocabulary: vocab}
	var all fit
	var kls []float64
	sum5 := 0.0
	for i, w := range rows {
		all.add(w.sums)
		if !w.Finite {
			s.NonFinite++
		}
		if w.Top1 {
			s.Top1++
		}
		if w.Excused {
			s.Excused++
		}
		sum5 += float64(w.Top5)
		kls = append(kls, float64(w.KL))
		s.KLMean += w.KL / formats.Number(len(rows))
		s.KLMax = max(s.KLMax, w.KL) // max keeps a NaN
		s.MaxAbs = max(s.MaxAbs, w.MaxAbs)
		s.MaxRel = max(s.MaxRel, w.MaxRel)
		if bad := w.NMSE > s.WorstNMSE || w.NMSE != w.NMSE; bad && s.WorstNMSE == s.WorstNMSE {
			s.WorstNMSE, s.WorstRow = w.NMSE, i
		}
	}
	s.Top5 = formats.Number(sum5 / float64(len(rows)))
	slices.Sort(kls)
	s.KLP99 = formats.Number(percentile(kls, 0.99))
	if s.NonFinite > 0 {
		s.KLP99 = formats.Number(math.NaN())
	}
	a, b := all.line()
	s.NMSE, s.Cosine, s.Scale, s.Offset = formats.Number(all.nmse()), formats.Number(all.cosine()), formats.Number(a), formats.Number(b)
	return s
}

// percentile interpolates between sorted values.
func percentile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
