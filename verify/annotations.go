package verify

import (
	"fmt"
	"io"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// shown is how many annotations of a kind GitHub shows for a step; more are dropped there without a word.
const shown = 10

// Annotations writes a failed report, and the warnings of any, as commands for GitHub's runner: the worst first, and how many more there are.
// Source: docs.github.com, "Workflow commands for GitHub Actions".
func (r *Report) Annotations(w io.Writer) error {
	var errors, warnings []string
	if !r.Pass {
		errors = append(errors, r.Line())
		for _, s := range r.Suspects {
			errors = append(errors, fmt.Sprintf("%s: %s (%s)", formats.Escape(s.Tensor, 300), formats.Escape(s.Transform, 400), formats.Escape(s.Evidence, 600)))
		}
	}
	for _, n := range r.Notes {
		if n.Warn {
			warnings = append(warnings, fmt.Sprintf("%s: %s: %s", formats.Escape(n.Subject, 300), formats.Escape(n.Decision, 300), formats.Escape(n.Because, 600)))
		}
	}
	var b strings.Builder
	for _, k := range []struct {
		command string
		list    []string
	}{{"error", errors}, {"warning", warnings}} {
		list := k.list
		if len(list) > shown {
			list = append(list[:shown-1:shown-1], fmt.Sprintf("%d more in the report", len(list)-shown+1))
		}
		for _, s := range list {
			fmt.Fprintf(&b, "::%s title=bowline verify::%s\n", k.command, strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
