package verify_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/verify"
)

// hostile is text that a file may hold: markup of all kinds, controls, and what ends an annotation.
const hostile = "<script>alert(1)</script>|`x`&amp;\x00\x1b[31m\r\n::error::%0A @all ]]>"

// judged is a failed report of real traces with hostile names.
func judged(t *testing.T) *verify.Report {
	t.Helper()
	m := model(t, "checkpoints/granite-code")
	ref, how := recorded(t, "../testdata/expected/granite-code/logits.safetensors")
	x := load(t, m)
	x.scale("q_proj.bias", 0)
	m = x.model(t)
	o := verify.Options{Hidden: true}
	how.Path, how.Engine = hostile, hostile
	r := compare(t, ref, run(t, m, ref.Tokens, o), verify.CompareOptions{Class: "S", Reference: how, Test: verify.Describe(m, "test", o)})
	why := hostile
	db := formats.Number(45.4)
	r.Weigh([]verify.Weight{
		{Name: "good", DTypeA: "BF16", DTypeB: "Q8_0", Verdict: "cast", SQNR: 45.1, Expected: &db, OK: true},
		{Name: hostile, DTypeA: "BF16", DTypeB: "Q8_0", Verdict: "differs", SQNR: 3, Expected: &db, Transform: &why},
		{Name: "same", DTypeA: "F32", DTypeB: "F32", Verdict: "equal", OK: true},
	}, []int64{10, 10, 10})
	for range 30 {
		r.Suspects = append(r.Suspects, verify.Suspect{Tensor: hostile, Transform: hostile, Evidence: hostile})
	}
	r.Notes = append(r.Notes, formats.Note{Subject: hostile, Decision: hostile, Because: hostile, Warn: true})
	return r
}

func TestReports(t *testing.T) {
	r := judged(t)
	if r.Pass {
		t.Fatal("got a pass")
	}
	write := func(f func(*verify.Report, io.Writer) error) string {
		var a, b bytes.Buffer
		if err := f(r, &a); err != nil {
			t.Fatal(err)
		}
		if err := f(r, &b); err != nil || a.String() != b.String() {
			t.Errorf("got other bytes the second time, %v", err)
		}
		if strings.ContainsAny(a.String(), "\x00\x1b") {
			t.Error("got control characters")
		}
		return a.String()
	}
	t.Run("JSON", func(t *testing.T) {
		var got map[string]any
		if err := json.Unmarshal([]byte(write((*verify.Report).JSON)), &got); err != nil || got["pass"] != false || got["predicted_nmse"] == nil || len(got["top"].([]any)) != 20 {
			t.Errorf("got %v, %v", got["top"], err)
		}
	})
	t.Run("JUnit", func(t *testing.T) {
		var got struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Cases    []struct {
				Name    string `xml:"name,attr"`
				Failure *struct {
					Message string `xml:"message,attr"`
				} `xml:"failure"`
			} `xml:"testsuite>testcase"`
		}
		if err := xml.Unmarshal([]byte(write((*verify.Report).JUnit)), &got); err != nil {
			t.Fatal(err)
		}
		failures := 0
		for _, c := range got.Cases {
			if c.Failure != nil {
				failures++
			}
		}
		if got.Tests != len(got.Cases) || got.Failures != failures || failures < 3 || got.Cases[len(got.Cases)-1].Name != "tensors of type Q8_0" {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("Markdown", func(t *testing.T) {
		s := write((*verify.Report).Markdown)
		if strings.Contains(s, "<script") || strings.Contains(s, "@all") || len(s) > 1<<20 {
			t.Errorf("got\n%s", s)
		}
		columns := 0
		for _, line := range strings.Split(s, "\n") {
			switch {
			case strings.HasPrefix(line, "|---"):
				columns = strings.Count(line, "|")
			case strings.HasPrefix(line, "|") && columns > 0 && strings.Count(line, "|") != columns:
				t.Errorf("got a row of %d cells, want %d: %s", strings.Count(line, "|")-1, columns-1, line)
			case !strings.HasPrefix(line, "|"):
				columns = 0
			}
		}
	})
	t.Run("HTML", func(t *testing.T) {
		s := write((*verify.Report).HTML)
		for _, bad := range []string{"<script", "http://", "https://", "src=", "url(", "@import", "ZgotmplZ", "NaN"} {
			if strings.Contains(s, bad) {
				t.Errorf("got %q in the page", bad)
			}
		}
		for _, want := range []string{"<h1>FAIL, class S</h1>", "NMSE by layer", "NMSE by position", "Logits: reference", "Noise of the tensors", "&lt;script&gt;"} {
			if !strings.Contains(s, want) {
				t.Errorf("got no %q", want)
			}
		}
		if len(s) > 2<<20 {
			t.Errorf("got %d bytes, want at most 2 MiB", len(s))
		}
	})
	t.Run("annotations", func(t *testing.T) {
		s := write((*verify.Report).Annotations)
		lines := strings.Split(strings.TrimSpace(s), "\n")
		errors := 0
		for _, l := range lines {
			if strings.HasPrefix(l, "::error title=bowline verify::") {
				errors++
			} else if !strings.HasPrefix(l, "::warning title=bowline verify::") {
				t.Errorf("got line %q", l)
			}
		}
		if errors != 10 || !strings.Contains(s, " more in the report") {
			t.Errorf("got %d errors\n%s", errors, s)
		}
	})
}
