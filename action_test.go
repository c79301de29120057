package bowline_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

type action struct {
	Name        string
	Description string
	Branding    map[string]string
	Inputs      map[string]struct {
		Description string
		Required    bool
		Default     *string
	}
	Outputs map[string]struct{ Description, Value string }
	Runs    struct {
		Using string
		Steps []struct {
			ID    string
			If    string
			Uses  string
			Shell string
			With  map[string]any
			Env   map[string]string
			Run   string
		}
	}
}

// readAction reads action.yml; a key that actions do not have is an error.
func readAction(t *testing.T) (a action) {
	t.Helper()
	b, err := os.ReadFile("action.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalWithOptions(b, &a, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return a
}

// A composite action needs a shell in each step that runs something, and what an input says may not become part of a script.
func TestActionIsWellFormed(t *testing.T) {
	a := readAction(t)
	if a.Name == "" || a.Description == "" || a.Runs.Using != "composite" || !a.Inputs["model"].Required || !a.Inputs["against"].Required {
		t.Errorf("got %+v", a)
	}
	b, err := os.ReadFile("action.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`inputs\.([a-z]+)`).FindAllStringSubmatch(string(b), -1) {
		if _, ok := a.Inputs[m[1]]; !ok {
			t.Errorf("input %q is used and not declared", m[1])
		}
	}
	for i, s := range a.Runs.Steps {
		if (s.Run == "") == (s.Uses == "") || s.Run != "" && s.Shell == "" || strings.Contains(s.Run, "${{") {
			t.Errorf("step %d: got %+v", i, s)
		}
	}
}

// The action's own script, as a runner would run it.
func TestActionRuns(t *testing.T) {
	a := readAction(t)
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "go", "bin", "bowline"), "./cmd/bowline").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var script string
	for _, s := range a.Runs.Steps {
		if s.ID == "verify" {
			script = s.Run
		}
	}
	for _, c := range []struct {
		name, model, against, class string
		code                        int
		output, summary             string
	}{
		{"a pass", "testdata/ties/tied", "testdata/ties/tied", "", 0, "pass=true\n", "✅ bowline verify: PASS, class A"},
		{"a failure", "testdata/ties/untied", "testdata/ties/tied", "A", 1, "pass=false\n", "❌ bowline verify: FAIL, class A"},
		{"nothing to judge", "testdata/none", "testdata/ties/tied", "", 65, "", ""},
		{"a class that does not exist", "testdata/ties/tied", "testdata/ties/tied", "$(exit 3)", 2, "", ""},
	} {
		work := t.TempDir()
		cmd := exec.Command("bash", "-e", "-o", "pipefail", "-c", script)
		cmd.Env = append(os.Environ(), "GOPATH="+filepath.Join(dir, "go"), "MODEL="+c.model, "AGAINST="+c.against, "CLASS="+c.class, "TOKENS=", "REPORTS="+filepath.Join(work, "r"),
			"GITHUB_OUTPUT="+filepath.Join(work, "out"), "GITHUB_STEP_SUMMARY="+filepath.Join(work, "summary"))
		out, err := cmd.CombinedOutput()
		code := 0
		if e := (*exec.ExitError)(nil); errors.As(err, &e) {
			code = e.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		read := func(name string) string { b, _ := os.ReadFile(filepath.Join(work, name)); return string(b) }
		if code != c.code || read("out") != c.output || !strings.Contains(read("summary"), c.summary) || (read("r/verify.xml") != "") != (code <= 1) {
			t.Errorf("%s: got exit %d, output %q, summary %q\n%s", c.name, code, read("out"), read("summary"), out)
		}
	}
}

// The examples of docs/ci.md are YAML, and give the action what it takes.
func TestExamplesForCI(t *testing.T) {
	b, err := os.ReadFile("docs/ci.md")
	if err != nil {
		t.Fatal(err)
	}
	a := readAction(t)
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(b), -1)
	if len(blocks) != 2 {
		t.Fatalf("got %d examples, want 2", len(blocks))
	}
	var github struct {
		Name string
		On   []string
		Jobs map[string]struct {
			RunsOn string `yaml:"runs-on"`
			Steps  []struct {
				ID, If, Uses, Run string
				With              map[string]any
			}
		}
	}
	if err := yaml.UnmarshalWithOptions([]byte(blocks[0][1]), &github, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	used := false
	for _, s := range github.Jobs["verify"].Steps {
		if strings.HasPrefix(s.Uses, "bowline-ml/bowline@") {
			used = true
			for k := range s.With {
				if _, ok := a.Inputs[k]; !ok {
					t.Errorf("the action has no input %q", k)
				}
			}
		}
	}
	var gitlab map[string]struct {
		Image     string
		Variables map[string]string
		Cache     struct {
			Key   string
			Paths []string
		}
		Script    []string
		Artifacts struct {
			When    string
			Paths   []string
			Reports struct{ Junit string }
		}
	}
	if err := yaml.UnmarshalWithOptions([]byte(blocks[1][1]), &gitlab, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	help, err := exec.Command("go", "run", "./cmd/bowline", "verify", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(gitlab["verify-weights"].Script, " ")
	for _, flag := range regexp.MustCompile(`--[a-z]+`).FindAllString(text, -1) {
		if !strings.Contains(string(help), flag+" ") {
			t.Errorf("verify has no flag %s", flag)
		}
	}
	if !used || gitlab["verify-weights"].Artifacts.Reports.Junit != "verify.xml" || !strings.Contains(text, "--report verify.xml") {
		t.Errorf("got %+v, %+v", github, gitlab)
	}
}
