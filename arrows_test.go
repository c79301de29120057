package bowline_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// The arrows of the architecture: who may import whom within the module. A package that is not listed may import nothing of ours.
var arrows = map[string][]string{
	"kernels":             {},
	"formats/dtype":       {"kernels"},
	"formats/fsio":        {},
	"formats":             {"formats/dtype", "formats/fsio"},
	"formats/jsontext":    {"formats"},
	"formats/index":       {"formats", "formats/fsio", "formats/jsontext"},
	"formats/pytorch":     {"formats", "formats/dtype", "formats/fsio", "formats/index"},
	"formats/raw":         {"formats", "formats/dtype", "formats/fsio", "formats/index", "formats/jsontext"},
	"formats/safetensors": {"formats", "formats/dtype", "formats/fsio", "formats/index", "formats/jsontext"},
	"formats/gguf":        {"formats", "formats/dtype", "formats/fsio"},
	"formats/all":         {"formats", "formats/dtype", "formats/fsio", "formats/index", "formats/safetensors", "formats/gguf", "formats/pytorch", "formats/raw"},
	"formats/formatstest": {"formats", "formats/dtype", "formats/fsio", "formats/formatstest/corpus"},

	"formats/formatstest/corpus":       {"formats", "formats/dtype"}, // not the readers that it tests
	"formats/formatstest/corpus/write": {"formats", "formats/formatstest/corpus"},

	"arch/config":    {"formats"},
	"arch/tokenizer": {"formats"},
	"arch":           {"arch/config", "formats", "formats/fsio"},
	"view":           {"formats/dtype"},
	"convert":        {"arch", "arch/config", "arch/tokenizer", "view", "formats", "formats/dtype", "formats/fsio"},
	"diff":           {"arch", "view", "formats", "formats/dtype"},
	"verify":         {"arch", "arch/config", "formats", "formats/dtype", "formats/jsontext", "kernels"},
	"":               {"arch", "arch/config", "arch/tokenizer", "convert", "diff", "verify", "formats", "formats/all", "formats/dtype", "formats/fsio", "formats/gguf", "formats/pytorch", "formats/raw", "formats/safetensors"},
	"bench":          {"formats", "formats/dtype", "formats/safetensors", "formats/fsio", "arch/config"},
	"cmd/bowline":    {"", "convert", "verify", "formats"},
}

func TestArrows(t *testing.T) {
	const module = "github.com/bowline-ml/bowline"
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	for dec.More() {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		from := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		allowed := map[string]bool{}
		for _, a := range arrows[from] {
			allowed[a] = true
		}
		for _, imp := range p.Imports {
			if (imp == "os/exec" || imp == "plugin" || imp == "C") && from != "bench" {
				t.Errorf("%s imports %s: nothing in the tool runs anything", from, imp)
			}
			if to, ok := strings.CutPrefix(imp, module); ok {
				seen++
				if to = strings.TrimPrefix(to, "/"); !allowed[to] {
					t.Errorf("%q imports %q: no such arrow", from, to)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("got %d imports within the module, want at least 20: the test looked at too little", seen)
	}
}
