package convert_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats/fsio"
)

var update = flag.Bool("update", false, "rewrite the golden plans")

// text is a plan as a person reviews it.
func text(p *convert.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "to %s, %d steps, reads %d bytes, writes %d, ties save %d\n\n", p.To.Name, len(p.Steps), p.ReadBytes, p.WriteBytes, p.Saved)
	for _, f := range p.Target.Files {
		fmt.Fprintf(&b, "file %s %d\n", f.Path, f.Bytes)
	}
	for _, s := range p.Sides {
		from := "made"
		if s.From != "" {
			from = "copied"
		}
		fmt.Fprintf(&b, "side %s %d %s\n", s.Path, s.Bytes, from)
	}
	b.WriteByte('\n')
	for i, s := range p.Steps {
		t := p.Target.Tensors[i]
		fmt.Fprintf(&b, "%s %s %v %s+%d\n", t.Name, t.DType, t.Shape, t.File, t.Offset)
		for _, part := range s.Parts {
			fmt.Fprintf(&b, "    from %s", part.From)
			for _, op := range part.Ops {
				fmt.Fprintf(&b, " %s", op)
			}
			b.WriteByte('\n')
		}
		for _, op := range s.Ops {
			fmt.Fprintf(&b, "    %s\n", op)
		}
	}
	b.WriteByte('\n')
	for _, n := range p.Notes {
		level := "note"
		if n.Warn {
			level = "warning"
		}
		fmt.Fprintf(&b, "%s: %s: %s: %s\n", level, n.Subject, n.Decision, n.Because)
	}
	return b.String()
}

// TestGolden holds plans against their text, reviewed by eye.
func TestGolden(t *testing.T) {
	for _, x := range []struct {
		name, src, dst, target string
		o                      convert.Options
	}{
		{"granite-code-gguf", "checkpoints/granite-code", "/out.gguf", "gguf", convert.Options{}},
		{"granite-code-q8_0", "checkpoints/granite-code", "/out", "gguf", convert.Options{DType: "q8_0"}},
		{"granite-code-untie-f16-shards", "checkpoints/granite-code", "/out", "safetensors", convert.Options{DType: "F16", Ties: convert.Untie, ShardSize: 100_000}},
		{"granite-code-sharded-single", "checkpoints/granite-code-sharded", "/out", "safetensors", convert.Options{ShardSize: -1}},
		{"llama3-gguf", "checkpoints/llama3", "/out.gguf", "gguf", convert.Options{}},
		{"llama3-gguf-split", "checkpoints/llama3", "/out.gguf", "gguf", convert.Options{ShardSize: 200_000}},
		{"gguf-granite-code-hf", "gguf/llamacpp/granite-code-bf16.gguf", "/out", "safetensors", convert.Options{}},
		{"gguf-llama3-hf", "gguf/llamacpp/llama3-f32.gguf", "/out", "safetensors", convert.Options{}},
	} {
		m, err := bowline.Open(bowline.Source{Path: testdata + x.src, FS: fsio.OS{}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := plan(m, target(x.target), x.dst, x.o)
		m.Close()
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		got, file := text(p), "testdata/"+x.name+".golden"
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
			for i := range min(len(g), len(w)) {
				if g[i] != w[i] {
					t.Errorf("%s: line %d:\ngot  %s\nwant %s", x.name, i+1, g[i], w[i])
					break
				}
			}
			if len(g) != len(w) {
				t.Errorf("%s: got %d lines, want %d", x.name, len(g), len(w))
			}
		}
	}
}

// TestPlanID is the same wherever source and destination are, and changes with what is made.
func TestPlanID(t *testing.T) {
	fsys := disk(t, "checkpoints/smollm2")
	for name, content := range below(fsys, "/smollm2") {
		fsys.Put("/deep/er/"+name, content)
	}
	id := func(src, dst, to string, o convert.Options) string {
		m, err := bowline.Open(bowline.Source{Path: src, FS: fsys})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		p, err := plan(m, target(to), dst, o)
		if err != nil {
			t.Fatal(err)
		}
		return p.ID
	}
	one := id("/smollm2", "/a/x.gguf", "gguf", convert.Options{})
	if two := id("/deep/er", "/b/c/x.gguf", "gguf", convert.Options{}); two != one {
		t.Errorf("another place gives another id: %s, %s", one, two)
	}
	seen := map[string]string{one: "gguf"}
	for name, o := range map[string]convert.Options{"q8_0": {DType: "q8_0"}, "name": {Name: "x"}, "untie": {Ties: convert.Untie}, "split": {ShardSize: 100_000}, "pre": {Pre: "smollm"}} {
		got := id("/smollm2", "/a/x.gguf", "gguf", o)
		if other, ok := seen[got]; ok {
			t.Errorf("%s has the id of %s", name, other)
		}
		seen[got] = name
	}
	// A source that changed is another plan, also where only a side file did.
	edit(t, fsys, "/deep/er/tokenizer_config.json", "x", "1")
	if id("/deep/er", "/a", "safetensors", convert.Options{}) == id("/smollm2", "/a", "safetensors", convert.Options{}) {
		t.Error("another side file gives the same id")
	}
}
