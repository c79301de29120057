package verify

import (
	"fmt"
	"io"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// Text writes the verdict, one line, then what it rests on.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	s := r.Summary
	verdict := "PASS"
	if !r.Pass {
		verdict = "FAIL"
	}
	fmt.Fprintf(&b, "%s class %s", verdict, r.Class)
	for _, g := range r.Gates {
		if g.Name == "nmse" {
			limit := "no limit"
			if g.Limit != nil {
				limit = "limit " + g.Limit.String()
			}
			fmt.Fprintf(&b, "  nmse %v (%s)  kl %v  top1 %d/%d  worst row %d", g.Value, limit, s.KLMean, s.Top1, s.Rows, s.WorstRow)
		}
	}
	if r.Test.Layers > 0 {
		fmt.Fprintf(&b, "  %d layers", r.Test.Layers)
	}
	fmt.Fprintf(&b, "  ref: %s\n", r.Reference)
	fmt.Fprintf(&b, "class: %s", formats.Escape(r.Because, 1000))
	if r.Rule != "" {
		fmt.Fprintf(&b, "; limits: %s", r.Rule)
	}
	b.WriteByte('\n')
	for _, g := range r.Gates {
		mark, limit := "ok  ", ""
		if !g.Pass {
			mark = "FAIL"
		}
		if g.Limit != nil {
			op := "<="
			if g.Above {
				op = ">="
			}
			limit = fmt.Sprintf("  %s %v", op, *g.Limit)
		}
		if g.Note != "" {
			limit += "  " + formats.Escape(g.Note, 500)
		}
		fmt.Fprintf(&b, "  %s  %-8s %v%s\n", mark, g.Name, g.Value, limit)
	}
	if r.BitIdentical {
		b.WriteString("logits identical to the bit\n")
	}
	if f := r.FirstBad; f != nil {
		fmt.Fprintf(&b, "first bad: row %d", f.Row)
		if f.Layer != nil {
			fmt.Fprintf(&b, ", layer %d", *f.Layer)
		}
		fmt.Fprintf(&b, ", %s\n", f.Step)
	}
	for _, x := range r.Suspects {
		fmt.Fprintf(&b, "suspect: %s: %s (%s)\n", formats.Escape(x.Tensor, 300), formats.Escape(x.Transform, 400), formats.Escape(x.Evidence, 600))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s: %s: %s\n", formats.Escape(n.Subject, 300), formats.Escape(n.Decision, 300), formats.Escape(n.Because, 600))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Line is the verdict in one line.
func (r *Report) Line() string {
	var b strings.Builder
	r.Text(&b) // a Builder does not fail
	line, _, _ := strings.Cut(b.String(), "\n")
	for _, g := range r.Gates {
		if !g.Pass && g.Limit != nil {
			line += fmt.Sprintf("; %s is %v, limit %v", g.Name, g.Value, *g.Limit)
		}
	}
	return line
}

// String is what ran and how: "transformers 5.23.0 float32 eager cpu".
func (s Subject) String() string {
	var words []string
	for _, w := range []string{s.Engine, s.Version, s.DType, s.Attention, s.Device} {
		if w != "" {
			words = append(words, formats.Escape(w, 64))
		}
	}
	if len(words) == 0 {
		return "unknown engine"
	}
	return strings.Join(words, " ")
}
