package bowline_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// notThere are packages that no part of the program may bring along, on any system: what cannot be linked cannot be reached from a file.
var notThere = []string{"os/exec", "plugin", "net", "net/http", "runtime/cgo", "C"}

// brought are the packages that are there only because somebody else's package needs them, with all who do. What a file says reaches none of
// them: a new name here is a decision.
var brought = map[string][]string{
	// The help texts of the command line, which are the tool's own.
	"text/template": {"github.com/urfave/cli/v2"},
	// The page of a verification. Its template is the tool's own; what files say is data in it, and escaped.
	"html/template": {"github.com/bowline-ml/bowline/verify"},
	// Fixed patterns, over flags, sizes and table cells. blackfriday comes along for manual pages that are never made.
	"regexp": {"github.com/acarl005/stripansi", "github.com/dustin/go-humanize", "github.com/jedib0t/go-pretty/v6/table", "github.com/russross/blackfriday/v2",
		"github.com/urfave/cli/v2"},
	// On Windows alone: the structures of socket addresses, from a package that wraps every call of the system.
	"net": {"golang.org/x/sys/windows"},
}

// parsers read what strangers wrote. They are plain code over bytes.
var parsers = []string{"formats", "formats/index", "formats/jsontext", "formats/safetensors", "formats/gguf", "formats/pytorch", "formats/raw", "formats/all",
	"formats/dtype", "arch/config", "arch/tokenizer"}

var notInParsers = []string{"unsafe", "reflect", "regexp", "text/template", "os", "syscall", "golang.org/x/sys/unix", "golang.org/x/sys/windows", "C"}

// The program runs nothing, opens no connection and loads no code: not by promise, but because none of what could is in it.
func TestImports(t *testing.T) {
	const module = "github.com/bowline-ml/bowline"
	for _, system := range []string{"linux", "darwin", "windows"} {
		cmd := exec.Command("go", "list", "-deps", "-f", `{{$from := .ImportPath}}{{$standard := .Standard}}{{range .Imports}}{{$from}} {{$standard}} {{.}}{{"\n"}}{{end}}`, "./cmd/bowline")
		cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=1") // so that files with cgo count
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", system, err)
		}
		importers := map[string][]string{} // other people's and ours
		seen := map[string]bool{}
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			from, standard, to := f[0], f[1] == "true", f[2]
			seen[from], seen[to] = true, true
			if standard {
				continue
			}
			importers[to] = append(importers[to], from)
			if own, ok := strings.CutPrefix(from, module+"/"); ok && slices.Contains(parsers, own) && slices.Contains(notInParsers, to) {
				// Errors of the system have names there, and nothing else is used.
				if !(own == "formats" && to == "syscall") {
					t.Errorf("%s: %s imports %s: it is a parser", system, own, to)
				}
			}
		}
		for pkg, want := range brought {
			if pkg == "net" && system != "windows" {
				continue
			}
			got := slices.Sorted(slices.Values(importers[pkg]))
			if !slices.Equal(got, want) {
				t.Errorf("%s: %s is imported by %v, want %v", system, pkg, got, want)
			}
		}
		for _, pkg := range notThere {
			if seen[pkg] && !(pkg == "net" && system == "windows") {
				t.Errorf("%s: %s is in the program, by %v", system, pkg, importers[pkg])
			}
		}
		for _, own := range parsers {
			if !seen[module+"/"+own] {
				t.Errorf("%s: %s is not in the program: the test looked at too little", system, own)
			}
		}
	}
}
