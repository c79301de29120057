package bowline

import (
	"context"
	"strings"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
)

// TiesReport is how a checkpoint's embeddings are tied.
type TiesReport struct {
	Schema       string           `json:"schema"`
	ToolVersion  string           `json:"tool_version"`
	ModelType    *string          `json:"model_type"`
	Architecture *string          `json:"architecture"`
	Format       string           `json:"source_format"`
	TargetFormat *string          `json:"target_format"` // null: nothing is converted
	Policy       string           `json:"policy"`        // that each group's action is of
	Groups       []*convert.Group `json:"groups"`
	Reads        convert.Readings `json:"reads_as"` // what each program makes of the first group
	Consistent   bool             `json:"consistent"`
	Why          string           `json:"because"` // of Consistent
	Index        IndexReport      `json:"index"`
	Verification *struct{}        `json:"verification"` // null: nothing is run
	ExitCode     int              `json:"exit_code"`
	Diagnostics  []Diagnostic     `json:"diagnostics"`
	Notes        []formats.Note   `json:"notes"`
}

// Diagnostic is what a program that reads reports may act on: a note of the report, or what keeps the checkpoint from being consistent or from being
// what was required.
type Diagnostic struct {
	Code    string `json:"code"`  // of an error, "" for a note
	Level   string `json:"level"` // note, warn, error
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

// IndexReport is how an index and its files disagree.
type IndexReport struct {
	Dangling  []string `json:"dangling"`
	Unindexed []string `json:"unindexed"`
}

// TiesOptions are what to find out beyond the verdict.
type TiesOptions = convert.JudgeOptions

// Ties judges the tie groups of a checkpoint. It reads both members where both are stored.
func Ties(ctx context.Context, src Source, o TiesOptions) (*TiesReport, error) {
	var r *TiesReport
	err := withModel(src, func(m *arch.Model) (err error) {
		if r, err = ties(ctx, m, o); err != nil {
			return err
		}
		return checked(ctx, m)
	})
	return r, err
}

func ties(ctx context.Context, m *arch.Model, o TiesOptions) (*TiesReport, error) {
	if err := m.Stated(); err != nil {
		return nil, err
	}
	r := &TiesReport{Schema: "bowline.ties/1", ToolVersion: Version, Format: m.Format, Policy: string(convert.Auto), Diagnostics: []Diagnostic{}, Groups: []*convert.Group{},
		Index: IndexReport{orEmpty(m.Dangling), orEmpty(m.Unindexed)}, Notes: m.Notes}
	if r.Notes == nil {
		r.Notes = []formats.Note{}
	}
	if m.Config != nil {
		r.ModelType = &m.Config.ModelType
	}
	if m.Class != "" {
		r.Architecture = &m.Class
	}
	groups, err := convert.Judged(ctx, m, o)
	if err != nil {
		return nil, err
	}
	r.Groups = append(r.Groups, groups...)
	if len(groups) > 0 {
		r.Reads = groups[0].Reads
	}
	switch {
	case m.Family == nil && m.Class == "":
		r.Why = "there is no config that could declare a tie"
	case m.Family == nil:
		r.Why = "the family " + m.Class + " is unknown: ties are those that equal bytes show, and nothing says what its programs make of the flag"
	default:
		r.Consistent = true
	}
	var why []string
	for _, g := range groups {
		if m.Family == nil && m.Class != "" {
			break // what is declared means what its programs make of it, and these are not known
		}
		ok, because := g.Consistent(m)
		r.Consistent = r.Consistent && ok
		if because != "" {
			why = append(why, because)
		}
		if s := g.Describe(); s != "" {
			why = append(why, s)
		}
	}
	if len(why) > 0 {
		r.Why = strings.Join(why, "; ")
	}
	for _, n := range r.Notes {
		r.Diagnostics = append(r.Diagnostics, Diagnostic{Level: map[bool]string{true: "warn", false: "note"}[n.Warn], Message: n.Subject + ": " + n.Decision + ": " + n.Because})
	}
	if !r.Consistent {
		r.Diagnostics = append(r.Diagnostics, Diagnostic{Level: "warn", Message: "not consistent: " + r.Why, Hint: "bowline convert writes what the weights are into the flag"})
	}
	return r, nil
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// Require holds a report against "tied", "untied" or "consistent": an error of class E_DIFFERS says what is not so, and the report says it too.
func (r *TiesReport) Require(what, path string) error {
	fail := func(format string, args ...any) error {
		err := formats.Errorf(formats.Differs, format, args...).At(path, -1)
		r.ExitCode = 1
		r.Diagnostics = append(r.Diagnostics, Diagnostic{Code: string(formats.Differs), Level: "error", Message: err.Error()})
		return err
	}
	switch what {
	case "":
		return nil
	case "consistent":
		if !r.Consistent {
			return fail("not consistent: %s", r.Why)
		}
		return nil
	case "tied", "untied":
		if len(r.Groups) == 0 {
			return fail("not known to be %s: %s", what, r.Why)
		}
		for _, g := range r.Groups {
			if what == "tied" && !g.Verdict.Tied() || what == "untied" && !g.Verdict.Untied() {
				return fail("not %s: the verdict is %s%s", what, g.Verdict, prefixed("; ", r.Why))
			}
		}
		return nil
	}
	return formats.Errorf(formats.Usage, "--require takes tied, untied or consistent, got %q", what)
}

func prefixed(p, s string) string {
	if s == "" {
		return ""
	}
	return p + s
}
