//go:build real

package bowline_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/bowline-ml/bowline/arch/tokenizer"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/verify"
)

// prose gives the 64 tokens that a real model is asked about.
const prose = `The bowline is an ancient and simple knot used to form a fixed loop at the end of a rope. It has the virtues of being both easy to tie
and untie, most notably even after being subjected to a load. The structure of the knot is identical to that of the sheet bend, except that
the bowline forms a loop in one rope and the sheet bend joins two ropes. Sailors have used it since 1627 or before.`

// TestReal takes a real model, SmolLM2-135M-Instruct as somebody else's llama.cpp quantized it, through the tool as a user would, and asks
// libllama and transformers what they make of the results.
func TestReal(t *testing.T) {
	root := programs(t)
	r := &realModel{root: root, dir: t.TempDir(), source: filepath.Join(root, "smollm2.gguf"), table: &table{}}
	r.bin = filepath.Join(r.dir, "bowline")
	if out, err := exec.Command("go", "build", "-o", r.bin, "./cmd/bowline").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r.convert(t)
	r.ask(t)
	for _, s := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"tokenizer", r.tokenizer}, {"logits", r.logits}, {"values", r.lossless}, {"keys", r.keys}, {"forms", r.forms}, {"cost", r.cost},
	} {
		t.Run(s.name, s.run)
	}
	r.table.print(t, filepath.Join(root, "checked-real.txt"))
}

// realModel is the model and what was made of it.
type realModel struct {
	root, dir, bin, source string
	hf, f32, q8            string
	notes                  []formats.Note // of both conversions
	table                  *table

	texts  []string
	vocab  *tokenizer.Vocab // of the source
	tokens []int32
	// What the programs answered; where a program has several jobs, they are in the order of ask.
	file, lib, tf5, tf4, values []answer
}

// command runs the tool, which must succeed, and fills into from its JSON if that is not nil.
func (r *realModel) command(t *testing.T, into any, args ...string) {
	t.Helper()
	var out, said bytes.Buffer
	cmd := exec.Command(r.bin, append(args, "--json")...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("bowline %s: %v\n%s%s", strings.Join(args, " "), err, tail(out.String(), 1500), tail(said.String(), 1500))
	}
	if into != nil {
		if err := json.Unmarshal(out.Bytes(), into); err != nil {
			t.Fatalf("bowline %s: %v", strings.Join(args, " "), err)
		}
	}
}

// report is what is read of the JSON of convert and verify.
type report struct {
	Pass         bool
	Class        string
	BitIdentical bool `json:"bit_identical"`
	Gates        []struct {
		Name  string
		Value any
	}
	Notes        []formats.Note
	Verification *report
	Seconds      float64
}

func (r *report) gate(name string) any {
	for _, g := range r.Gates {
		if g.Name == name {
			return g.Value
		}
	}
	return nil
}

func (r *realModel) convert(t *testing.T) {
	r.hf, r.f32, r.q8 = filepath.Join(r.dir, "hf"), filepath.Join(r.dir, "smol-f32.gguf"), filepath.Join(r.dir, "smol-q8_0.gguf")
	var c, v report
	r.command(t, &c, "convert", r.source, r.hf)
	r.notes = append(r.notes, c.Notes...)
	r.command(t, &v, "verify", r.source, "--against", r.hf)
	if !v.Pass || !v.BitIdentical {
		t.Errorf("verify smollm2.gguf --against hf/: pass %t, bit identical %t", v.Pass, v.BitIdentical)
	}
	r.table.add("convert smollm2.gguf (Q4_1, Q8_0 embedding) hf/", "itself", "%.1f s; verify: class %s, bit_identical %t, %v weights differ", c.Seconds, v.Class, v.BitIdentical, v.gate("weights"))
	var f, q report
	r.command(t, &f, "convert", r.hf, r.f32, "--dtype", "f32")
	r.notes = append(r.notes, f.Notes...)
	r.command(t, &q, "convert", r.hf, r.q8, "--dtype", "q8_0", "--verify")
	if q.Verification == nil || !q.Verification.Pass {
		t.Fatal("convert --dtype q8_0 --verify did not verify")
	}
	for _, path := range []string{r.source, r.hf, r.f32, r.q8} {
		r.command(t, nil, "ties", path, "--require", "tied")
	}
	r.table.add("convert hf/ smol-q8_0.gguf --dtype q8_0 --verify", "itself", "%.1f s; class %s, nmse %v, kl_mean %v; ties --require tied: exit 0", q.Seconds, q.Verification.Class, q.Verification.gate("nmse"), q.Verification.gate("kl_mean"))
}

// ask runs the programs, two at a time: what they answer is judged below.
func (r *realModel) ask(t *testing.T) {
	r.texts = append(texts(), prose)
	var err error
	if r.vocab, _, err = tokenizer.FromGGUF(opened(t, r.source).Metadata); err != nil {
		t.Fatal(err)
	}
	ids, err := r.vocab.Encode(prose, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids[:64] {
		r.tokens = append(r.tokens, int32(id))
	}
	run := func(kind, path, name string) job {
		return job{kind: path, "tokens": r.tokens, "out": filepath.Join(r.dir, name+".safetensors")}
	}
	type call struct {
		into   *[]answer
		script string
		args   []string
		jobs   []job
	}
	var g errgroup.Group
	for _, lane := range [][]call{
		{
			{&r.tf5, "hf_load.py", []string{"--jobs"}, []job{run("dir", r.hf, "tf5"), {"tokenizer": r.hf, "texts": r.texts}, {"tokenizer": r.root, "gguf": "smollm2.gguf", "texts": r.texts}}},
			{&r.values, "files.py", nil, []job{{"values": r.source}, {"values": r.f32}}},
		}, {
			{&r.tf4, "hf_load.py", []string{"--jobs", "--tf4"}, []job{run("dir", r.hf, "tf4")}},
			{&r.file, "tok_ids.py", []string{"--jobs"}, []job{{"file": filepath.Join(r.hf, "tokenizer.json"), "texts": r.texts}}},
			{&r.lib, "llama_logits.py", []string{"--jobs"}, []job{run("file", r.f32, "f32"), run("file", r.q8, "q8"), run("file", r.source, "source"),
				{"file": r.source, "texts": r.texts}, {"file": r.f32, "texts": r.texts}}},
		},
	} {
		g.Go(func() error {
			for _, c := range lane {
				var err error
				if *c.into, err = answers(r.root, c.script, c.jobs, c.args...); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// tokenizer compares ids: of the library with the tokenizer.json that we rebuilt, of libllama with the original file, and of transformers
// with the tokenizer that it rebuilds from the original itself.
func (r *realModel) tokenizer(t *testing.T) {
	list, auto, lib := r.texts, r.tf5[1:], r.lib[3:]
	ref := r.file[0]
	equal := func(what, peer string, a answer, all bool) {
		if a.Error != "" {
			if all {
				t.Errorf("%s: %s", what, a.Error)
			}
			r.table.add(what, peer, "not read: %.120s", a.Error)
			return
		}
		n, first := 0, ""
		for i, text := range list {
			if slices.Equal(a.IDs[i], ref.IDs[i]) {
				n++
			} else if first == "" {
				first = fmt.Sprintf("; the first other one: %.40q", text)
			}
		}
		if all && n < len(list) {
			t.Errorf("%s: %s: %d of %d texts equal%s", what, peer, n, len(list), first)
		}
		r.table.add(what, peer, "%d of %d texts equal%s", n, len(list), first)
	}
	mine := answer{}
	for _, text := range list {
		ids, err := r.vocab.Encode(text, true)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		mine.IDs = append(mine.IDs, ids)
	}
	peer := "tokenizers " + ref.Version
	if ref.Error != "" {
		t.Fatal(ref.Error)
	}
	equal("our ids of the original's vocabulary against the rebuilt tokenizer.json", peer, mine, true)
	equal("ids by hf/ against its tokenizer.json", "AutoTokenizer of transformers "+auto[0].Version, auto[0], true)
	equal("ids by the original file against the rebuilt tokenizer.json", "libllama "+lib[0].Version, lib[0], true)
	equal("ids by hf/ made GGUF again against the rebuilt tokenizer.json", "libllama "+lib[1].Version, lib[1], true)
	equal("ids by the original file against the rebuilt tokenizer.json", "transformers' own GGUF reader, "+auto[0].Version, auto[1], false)
}

// logits holds our forward pass against libllama's and those of both transformers.
func (r *realModel) logits(t *testing.T) {
	own := map[string]verify.Matrix{}
	for _, path := range []string{r.hf, r.f32, r.q8, r.source} {
		own[path] = ours(t, path, r.tokens)
	}
	for _, c := range []struct {
		what, peer string
		a          answer
		model      string
		limit      float64
	}{
		{"bowline logits of hf/", "transformers", r.tf5[0], r.hf, 1e-9},
		{"bowline logits of hf/", "transformers", r.tf4[0], r.hf, 1e-9},
		{"bowline logits of hf/ as GGUF F32", "libllama", r.lib[0], r.f32, 1e-8}, // class A
		{"bowline logits of hf/ as GGUF Q8_0", "libllama", r.lib[1], r.q8, 5e-2}, // it rounds activations to 8 bits; 30 layers of them exceed the 1e-2 of class Q
		{"bowline logits of smollm2.gguf (Q4_1)", "libllama", r.lib[2], r.source, 5e-2},
	} {
		if c.a.Error != "" || len(c.a.Missing)+len(c.a.Unexpected)+len(c.a.Mismatched) > 0 {
			t.Errorf("%s: %s %s: %s missing %v, unexpected %v, mismatched %v", c.what, c.peer, c.a.Version, c.a.Error, c.a.Missing, c.a.Unexpected, c.a.Mismatched)
			continue
		}
		ref := trace(t, c.a.Out).Logits
		d := nmse(ref, own[c.model])
		below(t, c.what+" against "+c.peer, d, c.limit)
		r.table.add(c.what, c.peer+" "+c.a.Version, "NMSE of the worst row %.1e (limit %.0e), %d rows", d, c.limit, ref.Rows)
	}
	if d := nmse(own[r.hf], own[r.f32]); d != 0 {
		t.Errorf("hf/ and its GGUF F32: NMSE %.2g, want the same bits", d)
	}
	if d := nmse(own[r.hf], own[r.source]); d != 0 {
		t.Errorf("hf/ and smollm2.gguf: NMSE %.2g, want the same bits", d)
	}
}

// lossless compares values as gguf-py reads them: Q4_1 to HF to F32 lost nothing.
func (r *realModel) lossless(t *testing.T) {
	a := r.values
	for _, x := range a {
		if x.Error != "" {
			t.Fatal(x.Error)
		}
	}
	if len(a[0].Values) < 200 || !reflect.DeepEqual(a[0].Values, a[1].Values) {
		t.Errorf("gguf-py reads other values from the F32 file than from the original, or too few: %d and %d tensors", len(a[0].Values), len(a[1].Values))
	}
	r.table.add("values of smollm2.gguf and of hf/ made GGUF F32", "gguf-py "+a[0].Version+", its dequantize", "%d tensors the same bits", len(a[0].Values))
}

// keys that the original has and hf/ made GGUF again lacks are those that a note announced.
func (r *realModel) keys(t *testing.T) {
	before, err := opened(t, r.source).Metadata.Loaded()
	if err != nil {
		t.Fatal(err)
	}
	after := opened(t, r.f32).Metadata
	var kept, lost, changed []string
	for _, kv := range before {
		switch v := after.Get(kv.Key); {
		case reflect.DeepEqual(v, kv.Value):
			kept = append(kept, kv.Key)
			continue
		case v == nil:
			lost = append(lost, kv.Key)
		default:
			changed = append(changed, fmt.Sprintf("%s %v -> %v", kv.Key, kv.Value, v))
			if kv.Key == "general.file_type" { // the type is another
				continue
			}
		}
		if !slices.ContainsFunc(r.notes, func(n formats.Note) bool { return slices.Contains(strings.Fields(n.Subject), kv.Key) }) {
			t.Errorf("key %s: was %.60v, is %.60v, and no note says so", kv.Key, fmt.Sprint(kv.Value), fmt.Sprint(after.Get(kv.Key)))
		}
	}
	r.table.add("keys of smollm2.gguf in hf/ made GGUF again", "itself", "%d kept; changed: %s; lost, each with a note: %s", len(kept), strings.Join(changed, ", "), strings.Join(lost, " "))
}

// measured runs a command and prints its wall time in seconds and its peak resident memory in KiB. A process that is asked directly would
// be told that it was as large as the test, which it was until it became the command.
const measured = `import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)`

// cost prints what a run takes. Machines differ, so it is no test.
func (r *realModel) cost(t *testing.T) {
	ids := filepath.Join(r.dir, "ids")
	if err := os.WriteFile(ids, []byte(strings.Trim(fmt.Sprint(r.tokens), "[]")), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{r.hf, r.q8, r.source} {
		out, err := exec.Command(filepath.Join(r.root, "venv/bin/python"), "-c", measured, r.bin, "logits", path, "--tokens", "@"+ids).Output()
		var seconds float64
		var kib int
		if _, scanned := fmt.Sscan(string(out), &seconds, &kib); err != nil || scanned != nil {
			t.Fatalf("%s: %v, %v in %q", path, err, scanned, out)
		}
		r.table.add("bowline logits "+filepath.Base(path)+" --tokens @ids, 64 tokens", "wanted: at most 2 s, under 300 MiB", "%.2f s, peak RSS %d MiB", seconds, kib>>10)
	}
}

// forms takes the model through every format and back. What it is must not change: every form has the digest of the first.
func (r *realModel) forms(t *testing.T) {
	digest := func(path string) (h struct{ Digest string }) {
		r.command(t, &h, "hash", path)
		return h
	}
	want, from := digest(r.source), r.hf
	var names []string
	for _, form := range []struct {
		name  string
		flags []string
	}{
		{"one.bin", nil},
		{"torchchat", []string{"--to", "torchchat"}},
		{"untied", []string{"--ties", "untie", "--shard-size", "200MB"}},
		{"pytorch", []string{"--to", "pytorch", "--ties", "tie", "--shard-size", "150MB"}},
		{"x.gguf", []string{"--dtype", "f32", "--pre", "smollm"}},
		{"model.pth", []string{"--to", "torchchat", "--ties", "untie"}},
		{"alone.safetensors", []string{"--ties", "tie"}},
	} {
		to := filepath.Join(r.dir, "forms", form.name)
		r.command(t, nil, append([]string{"convert", from, to}, form.flags...)...)
		if got := digest(to); got != want {
			t.Errorf("%s: got digest %s, want %s", form.name, got.Digest, want.Digest)
		}
		names, from = append(names, form.name), to
	}
	r.command(t, nil, "diff", from, r.source)
	r.table.add("hash of smollm2.gguf through "+strings.Join(names, ", "), "itself", "%s in each", want.Digest[:16])
}
