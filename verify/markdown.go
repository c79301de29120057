package verify

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// listed is how many rows a table of a report for people has.
const listed = 20

// Markdown writes the report for a pull request or a step summary of GitHub: verdict, gates, what is wrong, and the rest folded. It is at most some
// tens of kilobytes, far below GitHub's limit of 1 MiB a step.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("<!-- bowline.verify/1 -->\n")
	mark, word := "✅", "PASS"
	if !r.Pass {
		mark, word = "❌", "FAIL"
	}
	fmt.Fprintf(&b, "### %s bowline verify: %s, class %s\n\n", mark, word, cell(r.Class, 40))
	fmt.Fprintf(&b, "%s against %s (%s). Class: %s.\n\n", cell(r.Test.Path, 300), cell(r.Reference.Path, 300), cell(r.Reference.String(), 300), cell(r.Because, 300))
	b.WriteString("| gate | value | limit | |\n|---|---:|---:|---|\n")
	for _, g := range r.Gates {
		limit, ok := "", "ok"
		if g.Limit != nil {
			limit = "≤ " + g.Limit.String()
			if g.Above {
				limit = "≥ " + g.Limit.String()
			}
		} else {
			ok = ""
		}
		if !g.Pass {
			ok = "**fails**"
		}
		if g.Note != "" {
			ok = strings.TrimPrefix(ok+", "+cell(g.Note, 200), ", ")
		}
		fmt.Fprintf(&b, "| %s | %v | %s | %s |\n", g.Name, g.Value, limit, ok)
	}
	if r.Predicted != nil {
		fmt.Fprintf(&b, "\nThe weights lead one to expect an nmse of about %.2g; measured %.2g.\n", float64(*r.Predicted), float64(r.Summary.NMSE))
	}
	if f := r.FirstBad; f != nil {
		fmt.Fprintf(&b, "\nFirst bad: row %d", f.Row)
		if f.Layer != nil {
			fmt.Fprintf(&b, ", layer %d", *f.Layer)
		}
		fmt.Fprintf(&b, ", %s.\n", cell(f.Step, 100))
	}
	if len(r.Suspects) > 0 {
		b.WriteString("\n| suspect | what | evidence |\n|---|---|---|\n")
		for _, s := range r.Suspects[:min(len(r.Suspects), listed)] {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(s.Tensor, 200), cell(s.Transform, 300), cell(s.Evidence, 400))
		}
	}
	if len(r.Layers) > 0 {
		b.WriteString("\n<details><summary>nmse by layer</summary>\n\n| state | nmse | |\n|---|---:|---|\n")
		for _, l := range r.Layers {
			fmt.Fprintf(&b, "| %s | %.2g | %s |\n", cell(l.Name, 60), float64(l.NMSE), bar(float64(l.NMSE)))
		}
		b.WriteString("\n</details>\n")
	}
	if worst := r.worst(); len(worst) > 0 {
		b.WriteString("\n<details><summary>tensors with the most noise</summary>\n\n| tensor | types | verdict | SQNR dB | expected | transform |\n|---|---|---|---:|---:|---|\n")
		for _, t := range worst {
			fmt.Fprintf(&b, "| %s | %s → %s | %s | %s | %s | %s |\n", cell(t.Name, 200), t.DTypeA, t.DTypeB, t.Verdict, decibel(&t.SQNR), decibel(t.Expected), cell(t.made(), 300))
		}
		b.WriteString("\n</details>\n")
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "\n> %s: %s: %s\n", cell(n.Subject, 200), cell(n.Decision, 200), cell(n.Because, 400))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell is text of a file for Markdown: nothing in it is markup.
func cell(s string, limit int) string {
	s = formats.Escape(s, limit)
	var b strings.Builder
	for _, c := range s {
		if strings.ContainsRune("|`<>&*_[]()\\#!~@", c) {
			fmt.Fprintf(&b, "&#%d;", c)
			continue
		}
		b.WriteRune(c)
	}
	return b.String()
}

// bar is a bar for -log10, from 1e-16 to 1.
func bar(v float64) string {
	if !(v > 0) {
		return ""
	}
	n := int(math.Round(min(16, max(0, 16+math.Log10(v)))))
	return strings.Repeat("▇", n)
}

func decibel(v *formats.Number) string {
	if v == nil || *v == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f", float64(*v))
}

func (w Weight) made() string {
	if w.Transform == nil {
		return ""
	}
	return *w.Transform
}

// worst are the tensors that are not equal: those that fail first, then those with the most noise for their type.
func (r *Report) worst() []Weight {
	var out []Weight
	for _, pass := range []bool{false, true} {
		var part []Weight
		for _, t := range r.Weights {
			if t.OK == pass && t.SQNR != 0 || !t.OK && !pass && t.SQNR == 0 {
				part = append(part, t)
			}
		}
		sortBy(part, func(t Weight) float64 { return float64(t.SQNR) })
		out = append(out, part...)
	}
	return out[:min(len(out), listed)]
}
