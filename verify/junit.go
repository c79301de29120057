package verify

import (
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/bowline-ml/bowline/formats"
)

// The elements of JUnit's XML that CI servers read: GitLab, Jenkins and the GitHub actions that show test results.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
		Out      string      `xml:"system-out,omitempty"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Failure *junitFailure `xml:"failure"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes the report as one suite: a case for each gate, and one for the tensors of each type.
func (r *Report) JUnit(w io.Writer) error {
	s := junitSuite{Name: "bowline verify " + formats.Escape(r.Test.Path, 500), Out: r.Line()}
	add := func(class, name, kind, message, text string, pass bool) {
		c := junitCase{Class: class, Name: name}
		if !pass {
			s.Failures++
			c.Failure = &junitFailure{Message: message, Type: kind, Text: text}
		}
		s.Cases = append(s.Cases, c)
	}
	var why string
	for _, x := range r.Suspects {
		why += fmt.Sprintf("suspect: %s: %s (%s)\n", formats.Escape(x.Tensor, 300), formats.Escape(x.Transform, 400), formats.Escape(x.Evidence, 600))
	}
	for _, g := range r.Gates {
		add("bowline.gates", g.Name, "gate", g.text(), why, g.Pass)
	}
	bad, all := map[string]string{}, map[string]bool{}
	for _, t := range r.Weights {
		all[t.DTypeB] = true
		if !t.OK {
			bad[t.DTypeB] += formats.Escape(t.Name, 300) + ": " + t.Verdict + "\n"
		}
	}
	for _, d := range slices.Sorted(maps.Keys(all)) {
		add("bowline.tensors", "tensors of type "+d, "tensors", "tensors differ by more than their type explains", bad[d], bad[d] == "")
	}
	s.Tests = len(s.Cases)
	if _, err := io.WriteString(w, xml.Header+"<!-- bowline.verify/1 -->\n"); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(junitSuites{Name: "bowline verify", Tests: s.Tests, Failures: s.Failures, Suites: []junitSuite{s}}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// text is a gate in words: "nmse 3.2e-13, at most 1e-8".
func (g Gate) text() string {
	s := fmt.Sprintf("%s %v", g.Name, g.Value)
	if g.Limit != nil {
		bound := "at most"
		if g.Above {
			bound = "at least"
		}
		s += fmt.Sprintf(", %s %v", bound, *g.Limit)
	}
	if g.Note != "" {
		s += " (" + formats.Escape(g.Note, 500) + ")"
	}
	return s
}
