//go:build peers

package bowline_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/verify"
)

// TestPeers holds what this tool reads, writes and computes against the programs that its users run. Nothing here is recorded: the
// programs run now, on files made now.
func TestPeers(t *testing.T) {
	p := &peers{root: programs(t), dir: t.TempDir(), table: &table{}}
	p.convert(t)
	for _, s := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"transformers", p.transformers}, {"ties", p.ties}, {"gguf-py", p.ggufPy}, {"blocks", p.blocks}, {"llama.cpp converter", p.converter},
		{"libllama", p.libllama}, {"new models", p.newModels}, {"written by libraries", p.written}, {"tokenizers", p.tokenizers},
	} {
		t.Run(s.name, s.run)
	}
	p.table.print(t, filepath.Join(p.root, "checked-peers.txt"))
}

// peers is what the parts of the test share.
type peers struct {
	root, dir string
	table     *table
	models    []*model
}

// model is a checkpoint of testdata and what was made of it.
type model struct {
	name   string
	source string // of results that carry a vocabulary
	tokens []int32
	hf     []string // results, by what was done
	gguf   []string
}

// path is where a result is: a directory, or a GGUF file (the first of a split set).
func (p *peers) path(m *model, what string) string {
	at := filepath.Join(p.dir, m.name, what)
	if !strings.HasPrefix(what, "gguf") {
		return at
	}
	set, err := filepath.Glob(at + "-00001-of-*.gguf")
	if err == nil && len(set) == 1 {
		return set[0]
	}
	return at + ".gguf"
}

// pre names the pre-tokenizer that a fixture imitates, where its structure leaves a choice.
var pre = map[string]string{"smollm2": "smollm"}

// results are the conversions of each checkpoint, in order; from is the result that one is made from.
var results = []struct {
	what, from string
	o          convert.Options
}{
	{"copy", "", convert.Options{}},
	{"shards", "", convert.Options{ShardSize: 60_000}},
	{"f32", "", convert.Options{DType: "f32"}},
	{"f16", "", convert.Options{DType: "f16"}},
	{"bf16", "", convert.Options{DType: "bf16"}},
	{"untied", "", convert.Options{Ties: convert.Untie}},
	{"tied", "untied", convert.Options{Ties: convert.TieAny}},
	{"gguf", "", convert.Options{}},
	{"gguf-f32", "", convert.Options{DType: "f32"}},
	{"gguf-f16", "", convert.Options{DType: "f16"}},
	{"gguf-bf16", "", convert.Options{DType: "bf16"}},
	{"gguf-q8_0", "", convert.Options{DType: "q8_0"}},
	{"gguf-untied", "", convert.Options{DType: "f32", Ties: convert.Untie}},
	{"gguf-split", "", convert.Options{ShardSize: 150_000}},
	{"of-gguf", "gguf", convert.Options{}},
	{"of-gguf-f32", "gguf-f32", convert.Options{}},
	{"of-gguf-f16", "gguf-f16", convert.Options{}},
	{"of-gguf-q8_0", "gguf-q8_0", convert.Options{}},
	{"of-gguf-untied", "gguf-untied", convert.Options{}},
	{"of-gguf-split-shards", "gguf-split", convert.Options{ShardSize: 60_000}},
}

// lossy gives the limit for results that round: the classes B, C and D of verify.
func lossy(what string) (limit float64, kind string) {
	for kind, limit := range map[string]float64{"bf16": 5e-3, "f16": 1e-4, "q8_0": 3e-2} {
		if strings.HasSuffix(what, "-"+kind) || what == kind {
			return limit, kind
		}
	}
	return 0, ""
}

func (p *peers) convert(t *testing.T) {
	list, err := filepath.Glob("testdata/expected/*/logits.safetensors")
	if err != nil || len(list) < 15 {
		t.Fatalf("got checkpoints %v %v, want at least 15", list, err)
	}
	for _, name := range append(names(list), "granite-code-sharded") {
		dir := "testdata/checkpoints/" + name
		m := &model{name: name, source: dir}
		m.tokens = trace(t, filepath.Join("testdata/expected", strings.TrimSuffix(name, "-sharded"), "logits.safetensors")).Tokens
		for _, r := range results {
			if strings.HasSuffix(r.what, "gguf-untied") && (name == "gemma" || name == "gemma2") { // whose GGUF has no place for a head
				continue
			}
			from, o := dir, r.o
			if strings.HasPrefix(r.what, "gguf") {
				from, o.Pre = m.source, pre[name]
				m.gguf = append(m.gguf, r.what)
			} else {
				m.hf = append(m.hf, r.what)
			}
			if r.from != "" {
				from = p.path(m, r.from)
			}
			if src := opened(t, dir); r.what == "tied" && (src.Lookup("lm_head.weight") != nil || src.Lookup("embed_out.weight") != nil) { // a head of its own
				m.hf = m.hf[:len(m.hf)-1]
				continue
			}
			to := filepath.Join(p.dir, name, r.what)
			if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(r.what, "gguf") {
				to += ".gguf"
			}
			made(t, from, to, bowline.ConvertOptions{Options: o})
		}
		p.models = append(p.models, m)
	}
}

// names are the directories of files.
func names(files []string) []string {
	var out []string
	for _, f := range files {
		out = append(out, filepath.Base(filepath.Dir(f)))
	}
	return out
}

// link puts files of one directory into another.
func link(t *testing.T, to, from string, names ...string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		abs, err := filepath.Abs(filepath.Join(from, n))
		if err == nil {
			err = os.Symlink(abs, filepath.Join(to, n))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// majors asks transformers 5 and 4 at once. Jobs that four does not take are left out of its list and have no answer.
func (p *peers) majors(t *testing.T, jobs []job, four func(job) bool) (tf5, tf4 []*answer) {
	t.Helper()
	var of5, of4 []job
	var index []int
	for i, j := range jobs {
		for major, list := range map[string]*[]job{"5": &of5, "4": &of4} {
			c := job{}
			for k, v := range j {
				if k == "out" || k == "new" {
					v = v.(string) + major
				}
				c[k] = v
			}
			if major == "5" || four(j) {
				*list = append(*list, c)
			}
		}
		if four(j) {
			index = append(index, i)
		}
	}
	var a5, a4 []answer
	var g errgroup.Group
	g.Go(func() (err error) {
		a5, err = answers(p.root, "hf_load.py", of5, "--jobs")
		return err
	})
	g.Go(func() (err error) {
		a4, err = answers(p.root, "hf_load.py", of4, "--jobs", "--tf4")
		return err
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	tf4 = make([]*answer, len(jobs))
	for i := range a5 {
		tf5 = append(tf5, &a5[i])
	}
	for i := range a4 {
		tf4[index[i]] = &a4[i]
	}
	return tf5, tf4
}

// v4 reports whether transformers 4 understands the config of a directory: it knows no rope_parameters.
func v4(t *testing.T, dir string) bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	return !bytes.Contains(b, []byte(`"rope_parameters"`))
}

// complete fails unless a model was loaded with just its tensors.
func complete(t *testing.T, what string, a *answer) bool {
	t.Helper()
	if a.Error != "" || len(a.Missing)+len(a.Unexpected)+len(a.Mismatched) > 0 {
		t.Errorf("%s: transformers %s: %s missing %v, unexpected %v, mismatched %v", what, a.Version, a.Error, a.Missing, a.Unexpected, a.Mismatched)
		return false
	}
	return true
}

// transformers loads every result, and computes with it what it computes with the original, and what we compute.
func (p *peers) transformers(t *testing.T) {
	var jobs []job
	tokens := map[string][]int32{}
	add := func(m *model, dir string) {
		jobs = append(jobs, job{"dir": dir, "tokens": m.tokens, "out": filepath.Join(t.TempDir(), "logits")})
		tokens[dir] = m.tokens
	}
	for _, m := range p.models {
		add(m, filepath.Join("testdata/checkpoints", m.name))
		for _, what := range m.hf {
			add(m, p.path(m, what))
		}
	}
	tf5, tf4 := p.majors(t, jobs, func(j job) bool { return v4(t, j["dir"].(string)) })
	for _, answers := range [][]*answer{tf5, tf4} {
		loaded, same, lossless := 0, 0, 0
		var against, across worst
		rounded := map[string]*worst{"f16": {}, "bf16": {}, "q8_0": {}}
		var version string
		i := 0
		for _, m := range p.models {
			original := answers[i]
			other := original == nil // transformers 4 cannot read it: the numbers are those of 5
			if other {
				original = tf5[i]
			}
			complete(t, m.name, original)
			ref := trace(t, original.Out).Logits
			below(t, m.name+": our logits of the original", against.see(nmse(ref, ours(t, jobs[i]["dir"].(string), m.tokens))), 1e-10)
			i++
			for _, what := range m.hf {
				a, name := answers[i], m.name+": "+what
				dir := jobs[i]["dir"].(string)
				i++
				if a == nil {
					continue
				}
				version = a.Version
				if !complete(t, name, a) {
					continue
				}
				loaded++
				got := trace(t, a.Out).Logits
				below(t, name+": our logits", against.see(nmse(got, ours(t, dir, m.tokens))), 1e-10)
				d := nmse(ref, got)
				if m.name == "starcoder2" && strings.HasPrefix(what, "of-gguf") { // no GGUF key holds its window
					continue
				}
				if limit, kind := lossy(what); kind != "" {
					below(t, name, rounded[kind].see(d), limit)
				} else if other {
					below(t, name+" against transformers 5", across.see(d), 1e-10)
				} else if lossless++; d == 0 {
					same++
				} else {
					t.Errorf("%s: transformers %s: got logits with NMSE %.2g to the original's, want the same bits", name, a.Version, d)
				}
			}
		}
		if loaded < 50 {
			t.Errorf("transformers %s: got %d results, want at least 50", version, loaded)
		}
		peer := "transformers " + version
		p.table.add("results loaded, no missing, unexpected or mismatched key", peer, "%d", loaded)
		p.table.add("logits of lossless results against the original's", peer, "%d of %d the same bits", same, lossless)
		if across.n > 0 {
			p.table.add("logits of results whose original only transformers 5 reads", peer, "%d, NMSE at most %.1e", across.n, across.max)
		}
		for _, k := range []string{"f16", "bf16", "q8_0"} {
			p.table.add("logits after --dtype "+k+" against the original's", peer, "%d, NMSE at most %.1e", rounded[k].n, rounded[k].max)
		}
		p.table.add("bowline logits of originals and results", peer, "%d, NMSE at most %.1e", against.n, against.max)
	}
}

// tieTokens hold the rows in which heads of testdata/ties differ.
var tieTokens = []int32{0, 5, 17, 300, 330, 37, 74, 111, 148, 185, 222, 259, 296, 2, 39, 76, 113, 150, 187, 224}

// ties converts every state of a tie by every policy, and asks with which head the programs compute what was written.
func (p *peers) ties(t *testing.T) {
	type written struct {
		state, policy, source, dir, gguf string
		before, after                    convert.Verdict
	}
	var list []written
	var jobs, run []job
	refused := 0
	states, err := filepath.Glob("testdata/ties/*/config.json")
	if err != nil || len(states) < 12 {
		t.Fatalf("got states %v %v, want at least 12", states, err)
	}
	for _, s := range states {
		w := written{state: filepath.Base(filepath.Dir(s)), source: filepath.Dir(s)}
		named := filepath.Join(p.dir, "ties-source", w.state)
		link(t, named, w.source, "config.json", "model.safetensors")
		link(t, named, "testdata/checkpoints/granite-code", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
		for _, policy := range []convert.Policy{convert.Auto, convert.TieAny, convert.Untie} {
			w.policy, w.dir = string(policy), filepath.Join(p.dir, "ties", w.state+"-"+string(policy))
			w.gguf = w.dir + ".gguf"
			if err := os.MkdirAll(filepath.Dir(w.dir), 0o777); err != nil {
				t.Fatal(err)
			}
			o := bowline.ConvertOptions{Options: convert.Options{Ties: policy}}
			r, err := bowline.Convert(context.Background(), bowline.Source{Path: w.source}, w.dir, o)
			if formats.CodeOf(err) == formats.Tie {
				refused++
				continue
			} else if err != nil {
				t.Fatal(w.dir, err)
			}
			w.before, w.after = *r.Ties.Before, *r.Ties.After
			o.DType = "f32"
			made(t, named, w.gguf, o)
			list = append(list, w)
			jobs = append(jobs, job{"dir": w.dir, "tokens": tieTokens, "hidden": true, "out": filepath.Join(t.TempDir(), "logits")})
			run = append(run, job{"file": w.gguf, "tokens": tieTokens, "out": filepath.Join(t.TempDir(), "logits")})
		}
	}
	if len(list) < 28 {
		t.Errorf("got %d results and %d refused, want at least 28 results", len(list), refused)
	}
	// check holds logits against the head that the verdict names, both from the source, and says which it was.
	check := func(w written, peer string, tr, body *verify.Trace, limit float64) {
		src := opened(t, w.source)
		fits := func(name string) (ok, stored bool) {
			if src.Lookup(name) == nil {
				return false, false
			}
			return nmse(product(t, body.FinalNorm, src, name), tr.Logits) < limit, true
		}
		embed, hasEmbed := fits("model.embed_tokens.weight")
		head, hasHead := fits("lm_head.weight")
		wantEmbed := hasEmbed && (w.after.Tied() || !hasHead)
		if wantEmbed && !embed || !wantEmbed && !head {
			t.Errorf("%s, --ties %s (%s to %s): %s computes with the embedding %t, the stored head %t", w.state, w.policy, w.before, w.after, peer, embed, head)
		}
	}
	tf5, tf4 := p.majors(t, jobs, func(job) bool { return true })
	lib := ask(t, p.root, "llama_logits.py", run, "--jobs")
	for _, answers := range [][]*answer{tf5, tf4} {
		var against worst
		for i, w := range list {
			a, name := answers[i], w.state+", --ties "+w.policy
			if !complete(t, name, a) {
				continue
			}
			if a.Tied != w.after.Tied() {
				t.Errorf("%s: transformers %s: head and embedding one tensor: %t, the verdict is %s", name, a.Version, a.Tied, w.after)
			}
			tr := trace(t, a.Out)
			check(w, "transformers "+a.Version, tr, tr, 1e-10)
			below(t, name, against.see(nmse(tr.Logits, ours(t, w.dir, tieTokens))), 1e-10)
			if w.policy == string(convert.Auto) {
				if d := nmse(ours(t, w.source, tieTokens), ours(t, w.dir, tieTokens)); d != 0 {
					t.Errorf("%s: got logits with NMSE %.2g to the source's, want the same bits", name, d)
				}
			}
		}
		p.table.add(fmt.Sprintf("%d states of a tie by auto, tie and untie: no key missing, the head of the verdict", len(states)),
			"transformers "+answers[0].Version, "%d results, %d refused, NMSE at most %.1e", len(list), refused, against.max)
	}
	var against worst
	for i, w := range list {
		if lib[i].Error != "" {
			t.Errorf("%s, --ties %s: %s", w.state, w.policy, lib[i].Error)
			continue
		}
		tr := trace(t, lib[i].Out)
		check(w, "libllama", tr, trace(t, tf5[i].Out), 1e-9)
		below(t, w.state, against.see(nmse(tr.Logits, ours(t, w.gguf, tieTokens))), 1e-9)
	}
	p.table.add("the same states as GGUF F32: the head of the verdict", "libllama "+lib[0].Version, "%d results, NMSE at most %.1e", len(list), against.max)
}

// product is x times the transpose of a stored matrix, in float64.
func product(t *testing.T, x verify.Matrix, c *formats.Checkpoint, name string) verify.Matrix {
	t.Helper()
	info := c.Lookup(name)
	w := make([]float64, info.Elems())
	info.DType.DecodeWide(w, content(t, c, name))
	out := verify.Matrix{Rows: x.Rows, Cols: int(info.Shape[0]), F64: make([]float64, x.Rows*int(info.Shape[0]))}
	var buf []float64
	for i := range x.Rows {
		row := x.Row(i, buf)
		for j := range out.Cols {
			sum := 0.0
			for k, v := range row {
				sum += v * w[j*x.Cols+k]
			}
			out.F64[i*out.Cols+j] = sum
		}
	}
	return out
}
