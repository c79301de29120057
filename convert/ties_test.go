package convert_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/fsio"
)

const (
	hfEmbed, hfHead     = "model.embed_tokens.weight", "lm_head.weight"
	ggufEmbed, ggufHead = "token_embd.weight", "output.weight"
)

// states make a pair of embedding and head of the fixture whose two members are distinct BF16 matrices.
var states = map[string]func(x *weights, embed, head string){
	"source only": func(x *weights, e, h string) { x.drop(h) },
	"head only":   func(x *weights, e, h string) { x.drop(e) },
	"equal":       func(x *weights, e, h string) { s, b := x.get(e); x.set(h, s.DType, s.Shape, b) },
	"cast": func(x *weights, e, h string) {
		s, b := x.get(e)
		x.set(h, dtype.F32, s.Shape, encode(dtype.F32, narrow(values(s, b))))
	},
	"cast, head narrower": func(x *weights, e, h string) {
		s, b := x.get(e)
		x.set(h, s.DType, s.Shape, b)
		x.set(e, dtype.F32, s.Shape, encode(dtype.F32, narrow(values(s, b))))
	},
	"prefix": func(x *weights, e, h string) {
		s, b := x.get(e)
		x.set(h, s.DType, []int64{s.Shape[0] + 5, s.Shape[1]}, append(slices.Clone(b), make([]byte, 5*s.Shape[1]*2)...))
	},
	"prefix, embedding longer": func(x *weights, e, h string) {
		s, b := x.get(e)
		x.set(h, s.DType, s.Shape, b)
		x.set(e, s.DType, []int64{s.Shape[0] + 5, s.Shape[1]}, append(slices.Clone(b), make([]byte, 5*s.Shape[1]*2)...))
	},
	"prefix, head shorter": func(x *weights, e, h string) {
		s, b := x.get(e)
		x.set(h, s.DType, []int64{s.Shape[0] - 5, s.Shape[1]}, b[:(s.Shape[0]-5)*s.Shape[1]*2])
	},
	"scaled": func(x *weights, e, h string) {
		s, b := x.get(e)
		v := narrow(values(s, b))
		for i := range v {
			v[i] *= 4
		}
		x.set(h, s.DType, s.Shape, encode(s.DType, v))
	},
	"near": func(x *weights, e, h string) {
		s, b := x.get(e)
		v := narrow(values(s, b))
		for i := range int(s.Shape[1]) {
			v[i] += 1
		}
		x.set(h, s.DType, s.Shape, encode(s.DType, v))
	},
	"distinct": func(x *weights, e, h string) {},
	"another width": func(x *weights, e, h string) {
		s, b := x.get(h)
		x.set(h, s.DType, []int64{s.Shape[0], s.Shape[1] / 2}, b[:len(b)/2])
	},
	"quantized differently": func(x *weights, e, h string) {
		s, b := x.get(e)
		x.set(h, s.DType, s.Shape, b)
		f := narrow(values(s, b))
		wide := make([]float32, s.Shape[0]*64) // rows of whole blocks
		for r := range s.Shape[0] {
			copy(wide[r*64:], f[r*s.Shape[1]:(r+1)*s.Shape[1]])
		}
		x.set(e, dtype.Q8_0, []int64{s.Shape[0], 64}, encode(dtype.Q8_0, wide))
		x.set(h, dtype.BF16, []int64{s.Shape[0], 64}, encode(dtype.BF16, wide))
	},
	"neither": func(x *weights, e, h string) { x.drop(e); x.drop(h) },
}

// The matrix, by hand from the tie specification. A source is a state and what declares it: T, F (explicit), t, f (the class's default), or
// "gguf", where absence and presence declare. An outcome is what the target holds, then the flag that a directory's config.json states:
//
//	e      the embedding, from the source's embedding       h      the embedding, from the source's head
//	eh     both as they were     ee, hh   two copies         _h     the head alone
//	T F    the flag      . as it was      !CODE  refused
//
// Where the GGUF target differs from the directory, its outcome follows a slash. Policies stand in this order: auto, keep, tie,
// tie=embed, tie=head, then these two with --discard-differing, and untie. Weights without any config ("?") have a verdict, and are copied with
// names kept whatever it is. The level is the loudest note on the pair under auto.
const matrixTable = `
state                    | said | verdict               | flags                         | ok  | level | auto     | keep         | tie    | embed  | head   | embed!  | head!   | untie
source only              | T    | TIED_SHARED           |                               | yes |       | e T      | e .          | e T    | e T    | e T    | e T     | e T     | ee F
source only              | t    | TIED_SHARED           | default_dependent             | no  | note  | e T      | e .          | e T    | e T    | e T    | e T     | e T     | ee F
source only              | F    | HEAD_MISSING          |                               | no  |       | !TIE     | e . / !TIE   | e T    | e T    | e T    | e T     | e T     | ee F
source only              | f    | TIED_SHARED           | default_dependent             | no  | warn  | e T      | e .          | e T    | e T    | e T    | e T     | e T     | ee F
source only              | gguf | TIED_SHARED           |                               | yes |       | e T      | e T          | e T    | e T    | e T    | e T     | e T     | ee F
head only                | T    | TIED_SHARED_HEAD_NAME |                               | yes | note  | h T      | _h . / !TIE  | h T    | h T    | h T    | h T     | h T     | hh F
head only                | t    | TIED_SHARED_HEAD_NAME | default_dependent             | no  | warn  | h T      | _h . / !TIE  | h T    | h T    | h T    | h T     | h T     | hh F
head only                | F    | EMBED_MISSING         |                               | no  |       | !TIE     | _h . / !TIE  | h T    | h T    | h T    | h T     | h T     | hh F
head only                | f    | TIED_SHARED_HEAD_NAME | default_dependent             | no  | warn  | h T      | _h . / !TIE  | h T    | h T    | h T    | h T     | h T     | hh F
head only                | gguf | EMBED_MISSING         |                               | no  |       | !TIE     | _h F / !TIE  | h T    | h T    | h T    | h T     | h T     | hh F
equal                    | T    | TIED_DUPLICATE        |                               | yes | note  | e T      | eh . / !TIE  | e T    | e T    | h T    | e T     | h T     | eh F
equal                    | t    | TIED_DUPLICATE        | default_dependent             | no  | note  | e T      | eh .         | e T    | e T    | h T    | e T     | h T     | eh F
equal                    | F    | UNTIED_EQUAL          |                               | yes | note  | eh F     | eh .         | e T    | e T    | h T    | e T     | h T     | eh F
equal                    | f    | UNTIED_EQUAL          | default_dependent             | no  | warn  | eh F     | eh .         | e T    | e T    | h T    | e T     | h T     | eh F
equal                    | gguf | UNTIED_EQUAL          |                               | yes | note  | eh F     | eh F         | e T    | e T    | h T    | e T     | h T     | eh F
cast                     | T    | TIED_CAST             |                               | yes | note  | e T      | eh . / !TIE  | e T    | e T    | h T    | e T     | h T     | eh F
cast                     | t    | TIED_CAST             | default_dependent             | no  | note  | e T      | eh .         | e T    | e T    | h T    | e T     | h T     | eh F
cast                     | F    | UNTIED                |                               | yes |       | eh F     | eh .         | e T    | e T    | h T    | e T     | h T     | eh F
cast                     | f    | UNTIED                | default_dependent             | no  | note  | eh F     | eh .         | e T    | e T    | h T    | e T     | h T     | eh F
cast                     | gguf | UNTIED                |                               | yes |       | eh F     | eh F         | e T    | e T    | h T    | e T     | h T     | eh F
cast, head narrower      | T    | TIED_CAST             |                               | yes | note  | h T      | eh . / !TIE  | h T    | e T    | h T    | e T     | h T     | eh F
cast, head narrower      | F    | UNTIED                |                               | yes |       | eh F     | eh .         | h T    | e T    | h T    | e T     | h T     | eh F
prefix                   | T    | TIED_PREFIX           | config_wrong                  | no  | warn  | eh F / !SHAPE | eh . / !SHAPE | !TIE | !TIE | !TIE | e T     | !SHAPE  | eh F / !SHAPE
prefix                   | t    | TIED_PREFIX           | default_dependent             | no  | warn  | eh F / !SHAPE | eh . / !SHAPE | !TIE | !TIE | !TIE | e T     | !SHAPE  | eh F / !SHAPE
prefix                   | F    | UNTIED                |                               | yes |       | eh F / !SHAPE | eh . / !SHAPE | !TIE | !TIE | !TIE | e T     | !SHAPE  | eh F / !SHAPE
prefix                   | f    | UNTIED                | default_dependent             | no  | note  | eh F / !SHAPE | eh . / !SHAPE | !TIE | !TIE | !TIE | e T     | !SHAPE  | eh F / !SHAPE
prefix, embedding longer | T    | TIED_PREFIX           | config_wrong                  | no  | warn  | eh F / !SHAPE | eh . / !SHAPE | !TIE | !TIE | !TIE | !SHAPE  | h T     | eh F / !SHAPE
scaled                   | T    | TIED_SCALED           | config_wrong                  | no  | warn  | eh F     | eh . / !TIE  | !TIE   | !TIE   | !TIE   | e T     | h T     | eh F
scaled                   | t    | TIED_SCALED           | default_dependent             | no  | warn  | eh F     | eh .         | !TIE   | !TIE   | !TIE   | e T     | h T     | eh F
scaled                   | F    | UNTIED                |                               | yes |       | eh F     | eh .         | !TIE   | !TIE   | !TIE   | e T     | h T     | eh F
scaled                   | f    | UNTIED                | default_dependent             | no  | note  | eh F     | eh .         | !TIE   | !TIE   | !TIE   | e T     | h T     | eh F
scaled                   | gguf | UNTIED                |                               | yes |       | eh F     | eh F         | !TIE   | !TIE   | !TIE   | e T     | h T     | eh F
near                     | T    | DRIFTED               | config_wrong                  | no  | warn  | eh F     | eh . / !TIE  | !TIE   | !TIE   | !TIE   | e T     | h T     | eh F
near                     | t    | DRIFTED               | default_dependent             | no  | warn  | eh F     | eh .         | !TIE   | !TIE   | !TIE   | e T     | h T     | eh F
near                     | F    | UNTIED                |                               | yes |       | eh F     | eh .         | !TIE   | !TIE   | !TIE   | e T     | h T     | eh F
near                     | f    | UNTIED                | default_dependent             | no  |       | eh F     | eh .         | !TIE   | !TIE   | !TIE   | e T     | h T     | eh F
near                     | gguf | UNTIED                |                               | yes |       | eh F     | eh F         | !TIE   | !TIE   | !TIE   | e T     | h T     | eh F
distinct                 | T    | UNTIED                | config_wrong                  | no  | warn  | eh F     | eh . / !TIE  | !TIE   | !TIE   | !TIE   | e T     | h T     | eh F
distinct                 | t    | UNTIED                | default_dependent             | no  | warn  | eh F     | eh .         | !TIE   | !TIE   | !TIE   | e T     | h T     | eh F
distinct                 | F    | UNTIED                |                               | yes |       | eh F     | eh .         | !TIE   | !TIE   | !TIE   | e T     | h T     | eh F
distinct                 | f    | UNTIED                | default_dependent             | no  | note  | eh F     | eh .         | !TIE   | !TIE   | !TIE   | e T     | h T     | eh F
distinct                 | gguf | UNTIED                |                               | yes |       | eh F     | eh F         | !TIE   | !TIE   | !TIE   | e T     | h T     | eh F
another width            | T    | SHAPE_CONFLICT        | config_wrong                  | no  |       | !SHAPE   | !SHAPE       | !SHAPE | !SHAPE | !SHAPE | !SHAPE  | !SHAPE  | !SHAPE
another width            | t    | SHAPE_CONFLICT        | default_dependent             | no  |       | !SHAPE   | !SHAPE       | !SHAPE | !SHAPE | !SHAPE | !SHAPE  | !SHAPE  | !SHAPE
another width            | F    | UNTIED                |                               | yes |       | !SHAPE   | !SHAPE       | !SHAPE | !SHAPE | !SHAPE | !SHAPE  | !SHAPE  | !SHAPE
equal                    | ?    | TIED_DUPLICATE        |                               | no  | | | | | | | | |
cast                     | ?    | TIED_CAST             |                               | no  | | | | | | | | |
prefix                   | ?    | TIED_PREFIX           |                               | no  | | | | | | | | |
scaled                   | ?    | TIED_SCALED           |                               | no  | | | | | | | | |
near                     | ?    | DRIFTED               |                               | no  | | | | | | | | |
distinct                 | ?    | UNTIED                |                               | no  | | | | | | | | |
another width            | ?    | SHAPE_CONFLICT        |                               | no  | | | | | | | | |
neither                  | T    | GROUP_MISSING         | config_wrong                  | no  |       | !TIE     | !TIE         | !TIE   | !TIE   | !TIE   | !TIE    | !TIE    | !TIE
neither                  | t    | GROUP_MISSING         | default_dependent             | no  |       | !TIE     | !TIE         | !TIE   | !TIE   | !TIE   | !TIE    | !TIE    | !TIE
neither                  | F    | GROUP_MISSING         |                               | no  |       | !TIE     | !TIE         | !TIE   | !TIE   | !TIE   | !TIE    | !TIE    | !TIE
neither                  | f    | GROUP_MISSING         | default_dependent             | no  |       | !TIE     | !TIE         | !TIE   | !TIE   | !TIE   | !TIE    | !TIE    | !TIE
`

var policies = []convert.Options{{Ties: convert.Auto}, {Ties: convert.Keep}, {Ties: convert.TieAny}, {Ties: convert.TieEmbed}, {Ties: convert.TieHead},
	{Ties: convert.TieEmbed, DiscardDiffering: true}, {Ties: convert.TieHead, DiscardDiffering: true}, {Ties: convert.Untie}}

// row is one line of the table.
type row struct {
	state, said, verdict, flags, ok, level string
	outcomes                               []string // by policy
}

func matrixRows() (out []row) {
	for _, line := range strings.Split(strings.TrimSpace(matrixTable), "\n")[1:] {
		c := strings.Split(line, "|")
		for i := range c {
			c[i] = strings.TrimSpace(c[i])
		}
		out = append(out, row{c[0], c[1], c[2], c[3], c[4], c[5], c[6:]})
	}
	return out
}

// pair is a source of the matrix, in memory, and what it holds.
type pair struct {
	fsys *fsio.Mem
	path string
	x    *weights
	flag string // of config.json: "true", "false" or ""
}

func source(t testing.TB, state, said string) pair {
	t.Helper()
	fsys := disk(t, "ties/untied")
	p := pair{fsys: fsys, path: "/untied", flag: map[string]string{"T": "true", "F": "false"}[said]}
	if said == "gguf" {
		if _, err := run(fsys, "/untied", "/m.gguf", bowline.ConvertOptions{}); err != nil {
			t.Fatal(err)
		}
		p.path, p.x = "/m.gguf", read(t, fsys, "/m.gguf")
		states[state](p.x, ggufEmbed, ggufHead)
		p.x.put(t, fsys, "/m.gguf")
		return p
	}
	p.x = read(t, fsys, "/untied")
	states[state](p.x, hfEmbed, hfHead)
	p.x.put(t, fsys, "/untied/model.safetensors")
	if said == "?" {
		if err := fsys.Remove("/untied/config.json"); err != nil {
			t.Fatal(err)
		}
		return p
	}
	edit(t, fsys, "/untied/config.json", "tie_word_embeddings", p.flag)
	return p
}

// open opens the source. The class of the fixture defaults to untied; for a t another class's default is put in its table.
func (p pair) open(t testing.TB, said string) *arch.Model {
	m := opened(t, p.fsys, p.path)
	if said == "t" {
		f := *m.Family
		f.Ties = slices.Clone(f.Ties)
		f.Ties[0].Default = map[int]bool{4: true, 5: true}
		m.Family = &f
	}
	return m
}

// TestMatrix goes through every state, declaration, policy and target, and prints the matrix with a mark for each cell that is as it should be.
func TestMatrix(t *testing.T) {
	var mu sync.Mutex
	marks := map[string]string{}
	t.Cleanup(func() { t.Log(drawn(marks)) })
	for _, r := range matrixRows() {
		t.Run(r.state+" "+r.said, func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				mu.Lock()
				defer mu.Unlock()
				marks[r.state+"|"+r.said] = map[bool]string{true: "x ", false: "+ "}[t.Failed()] + r.verdict
			})
			p := source(t, r.state, r.said)
			m := p.open(t, r.said)
			groups, err := convert.Judged(context.Background(), m, convert.JudgeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			g := groups[0]
			if string(g.Verdict) != r.verdict || strings.Join(g.Flags, " ") != r.flags {
				t.Errorf("got %s %v, want %s [%s]", g.Verdict, g.Flags, r.verdict, r.flags)
			}
			if ok, why := g.Consistent(m); ok != (r.ok == "yes") {
				t.Errorf("got consistent %v (%s), want %s", ok, why, r.ok)
			}
			if r.said == "?" {
				return
			}
			for i, o := range policies {
				for j, tg := range []convert.Target{target("safetensors"), target("gguf")} {
					want := r.outcomes[i]
					if hf, other, ok := strings.Cut(want, "/"); ok {
						want = strings.TrimSpace([]string{hf, other}[j])
					}
					name := fmt.Sprintf("%s discard %v to %s", o.Ties, o.DiscardDiffering, tg.Name)
					got, notes := p.outcome(t, m, tg, o)
					if tg.Name == "gguf" && !strings.HasPrefix(want, "!") {
						want, _, _ = strings.Cut(want, " ") // it has no flag
					}
					if got != want {
						t.Errorf("%s: got %q, want %q", name, got, want)
					}
					if o.Ties == convert.Auto && !strings.HasPrefix(got, "!") {
						if got := loudest(notes, g); got != r.level {
							t.Errorf("%s: got level %q, want %q: %+v", name, got, r.level, notes)
						}
					}
					if o.DiscardDiffering && len(got) > 0 && got[0] != '!' && g.Distance != nil && !slices.Contains([]convert.Relation{convert.Equal, convert.CastEqual}, *g.ValueRelation) &&
						!strings.Contains(fmt.Sprint(notes), "rows differ") && !strings.Contains(fmt.Sprint(notes), "shapes") {
						t.Errorf("%s: the notes do not say what is lost: %+v", name, notes)
					}
				}
			}
		})
	}
}

// drawn is the matrix: a row for each state, a column for each declaration.
func drawn(marks map[string]string) string {
	said := []string{"T", "t", "F", "f", "?", "gguf"}
	b := fmt.Sprintf("\n%-26s", "state")
	for _, s := range said {
		b += fmt.Sprintf("%-24s", s)
	}
	done := map[string]bool{}
	for _, r := range matrixRows() {
		if done[r.state] {
			continue
		}
		done[r.state] = true
		b += fmt.Sprintf("\n%-26s", r.state)
		for _, s := range said {
			b += fmt.Sprintf("%-24s", cmp.Or(marks[r.state+"|"+s], "-"))
		}
	}
	return b
}

// loudest is the level of the notes on the pair.
func loudest(notes []formats.Note, g *convert.Group) string {
	level := ""
	for _, n := range notes {
		if n.Subject != g.SourceKey && n.Subject != g.TargetKeys[0] {
			continue
		}
		if n.Warn {
			return "warn"
		}
		level = "note"
	}
	return level
}

// outcome converts and says what came out, in the words of the table.
func (p pair) outcome(t *testing.T, m *arch.Model, tg convert.Target, o convert.Options) (string, []formats.Note) {
	t.Helper()
	dst := "/out"
	if tg.Name == "gguf" {
		dst = "/out.gguf"
	}
	pl, err := plan(m, tg, dst, o)
	if err == nil {
		_, err = convert.Execute(context.Background(), []*convert.Plan{pl}, convert.ExecOptions{FS: p.fsys, Workers: 1, Force: true,
			Judge: func(ctx context.Context, pl *convert.Plan, staged string) error {
				out, err := bowline.Open(bowline.Source{Path: staged, FS: p.fsys})
				if err != nil {
					return err
				}
				defer out.Close()
				return pl.Rejudge(ctx, out)
			}})
		if err != nil {
			t.Fatalf("%s to %s was planned, but failed: %v", o.Ties, tg.Name, err)
		}
	}
	if err != nil {
		return "!" + strings.TrimPrefix(string(formats.CodeOf(err)), "E_"), nil
	}
	out := read(t, p.fsys, dst)
	from := map[string][]float64{}
	for letter, names := range map[string][]string{"e": {hfEmbed, ggufEmbed}, "h": {hfHead, ggufHead}} {
		for _, n := range names {
			if p.x.at(n) >= 0 {
				from[letter] = values(p.x.get(n))
			}
		}
	}
	got := ""
	for i, names := range [][]string{{hfEmbed, ggufEmbed}, {hfHead, ggufHead}} {
		for _, n := range names {
			if out.at(n) < 0 {
				continue
			}
			v := values(out.get(n))
			own := []string{"e", "h"}[i]
			letter := "?"
			for _, l := range []string{own, map[string]string{"e": "h", "h": "e"}[own]} { // equal members: its own
				if reflect.DeepEqual(from[l], v) && letter == "?" {
					letter = l
				}
			}
			// Two that are equal in value are told apart by their types.
			if s, _ := out.get(n); letter != "?" && len(from) == 2 && s.DType != p.dtype(letter) {
				letter = map[string]string{"e": "h", "h": "e"}[letter]
			}
			if i == 1 && got == "" {
				got = "_"
			}
			got += letter
		}
	}
	// From one of two members of equal bytes the embedding is made of either.
	if o.Ties == convert.TieHead && reflect.DeepEqual(from["e"], from["h"]) && got == "e" && p.dtype("e") == p.dtype("h") {
		got = "h"
	}
	if tg.Name == "gguf" {
		return got, pl.Notes
	}
	var c map[string]any
	if err := json.Unmarshal([]byte(p.fsys.Tree()["/out/config.json"]), &c); err != nil {
		t.Fatal(err)
	}
	flag := map[any]string{true: "true", false: "false", nil: ""}[c["tie_word_embeddings"]]
	switch {
	case o.Ties == convert.Keep && p.path == "/untied" && flag == p.flag:
		return got + " .", pl.Notes
	case flag == "":
		return got + " ?", pl.Notes
	}
	return got + " " + strings.ToUpper(flag[:1]), pl.Notes
}

func (p pair) dtype(letter string) dtype.Type {
	for _, n := range map[string][]string{"e": {hfEmbed, ggufEmbed}, "h": {hfHead, ggufHead}}[letter] {
		if s, _ := p.x.get(n); s.Name != "" {
			return s.DType
		}
	}
	return ""
}

// TestRequire holds each state against the sets of --require.
func TestRequire(t *testing.T) {
	tied := []string{"TIED_SHARED", "TIED_SHARED_HEAD_NAME", "TIED_ALIASED", "TIED_DUPLICATE", "TIED_CAST"}
	untied := []string{"UNTIED", "UNTIED_EQUAL"}
	for _, r := range matrixRows() {
		if r.said == "t" {
			continue // no class of this family
		}
		p := source(t, r.state, r.said)
		rep, err := bowline.Ties(context.Background(), bowline.Source{Path: p.path, FS: p.fsys}, bowline.TiesOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for what, want := range map[string]bool{"tied": slices.Contains(tied, r.verdict), "untied": slices.Contains(untied, r.verdict), "consistent": r.ok == "yes", "": true} {
			err := rep.Require(what, p.path)
			if (err == nil) != want || err != nil && formats.CodeOf(err) != formats.Differs {
				t.Errorf("%s %s: --require %s: got %v, want %v", r.state, r.said, what, err, want)
			}
			if err == nil || what == "" {
				continue
			}
			if _, err := run(p.fsys, p.path, "/out", bowline.ConvertOptions{Require: what}); formats.CodeOf(err) != formats.Differs {
				t.Errorf("%s %s: converted with --require %s: %v", r.state, r.said, what, err)
			}
			if l := below(p.fsys, "/out"); len(l) > 0 {
				t.Errorf("%s %s: refused by --require %s, but wrote %v", r.state, r.said, what, slices.Sorted(maps.Keys(l)))
			}
		}
	}
}

// TestFixtures judges the recorded states, and holds them against what transformers and llama.cpp did with the same files.
func TestFixtures(t *testing.T) {
	for name, want := range map[string]string{
		"tied": "TIED_SHARED", "head-only": "TIED_SHARED_HEAD_NAME", "tied-equal-head": "TIED_DUPLICATE", "tied-cast": "TIED_CAST", "tied-different-head": "DRIFTED",
		"tied-distinct-head": "UNTIED", "untied": "UNTIED", "untied-equal-head": "UNTIED_EQUAL", "untied-missing-head": "HEAD_MISSING",
		"absent-no-head": "TIED_SHARED", "absent-equal-head": "UNTIED_EQUAL", "absent-different-head": "UNTIED",
	} {
		fsys := disk(t, "ties/"+name)
		m := opened(t, fsys, "/"+name)
		groups, err := convert.Judged(context.Background(), m, convert.JudgeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(groups[0].Verdict); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
		// What auto writes computes with the head that transformers 5 computed with, where it loaded one at all.
		if want == "HEAD_MISSING" {
			continue
		}
		if _, err := run(fsys, "/"+name, "/out", bowline.ConvertOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := run(fsys, "/out", "/out.gguf", bowline.ConvertOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		rep, err := bowline.Ties(context.Background(), bowline.Source{Path: "/out", FS: fsys}, bowline.TiesOptions{})
		if err != nil || !rep.Consistent || len(rep.Groups[0].Flags) > 0 {
			t.Errorf("%s: the result is not consistent: %s %v %v", name, rep.Why, rep.Groups[0].Flags, err)
		}
	}
}

// TestDistance gives the statistics of a difference that is known.
func TestDistance(t *testing.T) {
	p := source(t, "distinct", "F")
	e, b := p.x.get(hfEmbed)
	v := narrow(values(e, b))
	e.DType = dtype.F32
	p.x.set(hfEmbed, dtype.F32, e.Shape, encode(dtype.F32, v))
	v[3*48+1] += 0.5
	v[330*48+47] -= 0.25
	p.x.set(hfHead, dtype.F32, e.Shape, encode(dtype.F32, v))
	judge := func() *convert.Group {
		p.x.put(t, p.fsys, "/untied/model.safetensors")
		m, err := bowline.Open(bowline.Source{Path: "/untied", FS: p.fsys})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		g, err := convert.Judged(context.Background(), m, convert.JudgeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return g[0]
	}
	d := judge().Distance
	if d == nil || d.MaxAbs != 0.5 || d.RowsDiffering != 2 || !slices.Equal(d.FirstRows, []int64{3, 330}) || d.MinRowCosine >= 1 || d.RelFro <= 0 {
		t.Errorf("got %+v, want two rows, 3 and 330, at most 0.5 apart", d)
	}
	v[0] = float32(math.NaN())
	p.x.set(hfHead, dtype.F32, e.Shape, encode(dtype.F32, v))
	g := judge()
	if j, err := json.Marshal(g); err != nil || !strings.Contains(string(j), `"max_abs":"NaN"`) {
		t.Errorf("a NaN in the head: got %s, %v", j, err)
	}
	// Zero of either sign is another value.
	z := slices.Clone(b)
	z[0], z[1] = 0, 0
	p.x.set(hfEmbed, dtype.BF16, e.Shape, z)
	z = slices.Clone(z)
	z[1] = 0x80
	p.x.set(hfHead, dtype.BF16, e.Shape, z)
	if g := judge(); *g.ValueRelation == convert.Equal || g.Distance.MaxAbs != 0 || g.Distance.RowsDiffering != 1 {
		t.Errorf("minus zero: got %s %+v, want one row that differs by nothing", *g.ValueRelation, g.Distance)
	}
}

// TestSlots converts to a runtime that needs the head, and to one that takes none, whatever ours says today.
func TestSlots(t *testing.T) {
	for _, x := range []struct {
		state, said string
		slot        arch.Slot
		policy      convert.Policy
		want        string
	}{
		{"source only", "T", arch.Required, convert.Auto, "ee"},
		{"source only", "T", arch.Required, convert.TieAny, "ee"},
		{"source only", "T", arch.Required, convert.Keep, "!TIE"},
		{"source only", "T", arch.Required, convert.Untie, "ee"},
		{"equal", "T", arch.Required, convert.Keep, "eh"},
		{"equal", "T", arch.Required, convert.Auto, "ee"},
		{"distinct", "F", arch.Required, convert.Auto, "eh"},
		{"source only", "T", arch.Forbidden, convert.Auto, "e"},
		{"source only", "T", arch.Forbidden, convert.Keep, "e"},
		{"source only", "T", arch.Forbidden, convert.Untie, "!TIE"},
		{"equal", "T", arch.Forbidden, convert.Auto, "e"},
		{"equal", "F", arch.Forbidden, convert.Auto, "e"},
		{"equal", "F", arch.Forbidden, convert.Keep, "!TIE"},
		{"equal", "F", arch.Forbidden, convert.Untie, "!TIE"},
		{"cast", "F", arch.Forbidden, convert.Auto, "e"},
		{"distinct", "F", arch.Forbidden, convert.Auto, "!TIE"},
		{"near", "T", arch.Forbidden, convert.Auto, "!TIE"},
		{"near", "T", arch.Forbidden, convert.TieEmbed, "!TIE"},
	} {
		p := source(t, x.state, x.said)
		m := p.open(t, "")
		f := *m.Family
		f.Ties = slices.Clone(f.Ties)
		f.Ties[0].Slot = x.slot
		m.Family = &f
		pl, err := plan(m, target("gguf"), "/out.gguf", convert.Options{Ties: x.policy})
		got := ""
		if err != nil {
			got = "!" + strings.TrimPrefix(string(formats.CodeOf(err)), "E_")
		} else {
			for i, s := range pl.Target.Tensors {
				if s.Name == ggufEmbed || s.Name == ggufHead {
					letter := map[string]string{hfEmbed: "e", hfHead: "h"}[pl.Steps[i].Parts[0].From]
					if s.Name == ggufEmbed { // whatever their order in the file
						got = letter + got
					} else {
						got += letter
					}
				}
			}
		}
		if got != x.want {
			t.Errorf("%s %s, slot %s, %s: got %s, want %s (%v)", x.state, x.said, x.slot, x.policy, got, x.want, err)
		}
	}
}

// TestLevels writes the flag at every level of the config that readers consult, and nowhere else.
func TestLevels(t *testing.T) {
	for _, x := range []struct {
		name   string
		edits  []string
		flags  string // of the source
		policy convert.Policy
		want   map[string]string // top and inner, after
	}{
		{"at the top", []string{"tie_word_embeddings", "true"}, "", convert.Untie, map[string]string{"top": "false", "inner": ""}},
		{"absent", []string{"tie_word_embeddings", ""}, "default_dependent", convert.Untie, map[string]string{"top": "false", "inner": ""}},
		{"null", []string{"tie_word_embeddings", "null"}, "default_dependent", convert.TieAny, map[string]string{"top": "true", "inner": ""}},
		{"at both levels, agreeing", []string{"tie_word_embeddings", "true", "text_config", `{"tie_word_embeddings": true}`}, "", convert.Untie, map[string]string{"top": "false", "inner": "false"}},
		{"at both levels, contradicting", []string{"tie_word_embeddings", "true", "text_config", `{"tie_word_embeddings": false}`}, "config_conflict", convert.Auto, map[string]string{"top": "true", "inner": "true"}},
		{"at the inner level only", []string{"tie_word_embeddings", "", "text_config", `{"tie_word_embeddings": true}`}, "", convert.Auto, map[string]string{"top": "true", "inner": "true"}},
		{"at the top, beside an inner config", []string{"tie_word_embeddings", "true", "text_config", `{"x": 1}`}, "", convert.Auto, map[string]string{"top": "true", "inner": "true"}},
		{"keep leaves a contradiction", []string{"tie_word_embeddings", "true", "text_config", `{"tie_word_embeddings": false}`}, "config_conflict", convert.Keep, map[string]string{"top": "true", "inner": "false"}},
		{"keep leaves an absence", []string{"tie_word_embeddings", ""}, "default_dependent", convert.Keep, map[string]string{"top": "", "inner": ""}},
	} {
		fsys := disk(t, "ties/tied")
		edit(t, fsys, "/tied/config.json", x.edits...)
		rep, err := bowline.Ties(context.Background(), bowline.Source{Path: "/tied", FS: fsys}, bowline.TiesOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(rep.Groups[0].Flags, " "); got != x.flags {
			t.Errorf("%s: got flags %q, want %q", x.name, got, x.flags)
		}
		if _, err := run(fsys, "/tied", "/out", bowline.ConvertOptions{Options: convert.Options{Ties: x.policy}}); err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		var c struct {
			Top   json.RawMessage `json:"tie_word_embeddings"`
			Inner struct {
				Flag json.RawMessage `json:"tie_word_embeddings"`
			} `json:"text_config"`
		}
		if err := json.Unmarshal([]byte(fsys.Tree()["/out/config.json"]), &c); err != nil {
			t.Fatal(err)
		}
		if got := map[string]string{"top": string(c.Top), "inner": string(c.Inner.Flag)}; !maps.Equal(got, x.want) {
			t.Errorf("%s: got %v, want %v", x.name, got, x.want)
		}
	}
}

// TestConfigBesideGGUF gives a GGUF file a config that contradicts it: the head's absence is what a runtime goes by.
func TestConfigBesideGGUF(t *testing.T) {
	fsys := disk(t, "ties/tied")
	if _, err := run(fsys, "/tied", "/m.gguf", bowline.ConvertOptions{}); err != nil {
		t.Fatal(err)
	}
	edit(t, fsys, "/tied/config.json", "tie_word_embeddings", "false")
	src := bowline.Source{Path: "/m.gguf", Config: "/tied/config.json", FS: fsys}
	rep, err := bowline.Ties(context.Background(), src, bowline.TiesOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if g := rep.Groups[0]; g.Verdict != convert.TiedShared || !slices.Contains(g.Flags, "config_conflict") || rep.Consistent {
		t.Errorf("got %s %v, consistent %v, want TIED_SHARED, config_conflict", g.Verdict, g.Flags, rep.Consistent)
	}
	if _, err := bowline.Convert(context.Background(), src, "/out", bowline.ConvertOptions{}); err != nil {
		t.Fatal(err)
	}
	if c := fsys.Tree()["/out/config.json"]; !strings.Contains(c, `"tie_word_embeddings": true`) {
		t.Errorf("the config written says otherwise: %s", c)
	}
}

// TestQuantizedPair keeps both of a pair that is quantized differently.
func TestQuantizedPair(t *testing.T) {
	x := &weights{format: target("gguf").Format, data: map[string][]byte{}}
	fsys := fsio.NewMem()
	base := disk(t, "ties/untied")
	if _, err := run(base, "/untied", "/m.gguf", bowline.ConvertOptions{}); err != nil {
		t.Fatal(err)
	}
	*x = *read(t, base, "/m.gguf")
	for i, kv := range x.md { // a body of rows of 64 is not needed to judge a pair
		if kv.Key == "llama.embedding_length" {
			x.md[i].Value = uint32(64)
		}
	}
	states["quantized differently"](x, ggufEmbed, ggufHead)
	x.put(t, fsys, "/m.gguf")
	g, err := convert.Judged(context.Background(), opened(t, fsys, "/m.gguf"), convert.JudgeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if g[0].Verdict != convert.Untied || *g[0].ValueRelation != convert.Near {
		t.Errorf("got %s %s, want UNTIED and near: presence denies the tie", g[0].Verdict, *g[0].ValueRelation)
	}
	// Equal blocks are equal, of a type too that is not decoded.
	s, b := x.get(ggufEmbed)
	x.set(ggufHead, s.DType, s.Shape, b)
	x.put(t, fsys, "/m.gguf")
	if g, err = convert.Judged(context.Background(), opened(t, fsys, "/m.gguf"), convert.JudgeOptions{}); err != nil || g[0].Verdict != convert.UntiedEqual {
		t.Errorf("equal blocks: got %s, %v", g[0].Verdict, err)
	}
}

// TestDangling reads an index that lists a head which no file holds as the tie that it is, says so, and writes an index without it. Any other
// absent tensor is an error.
func TestDangling(t *testing.T) {
	const index = "/granite-code-sharded/model.safetensors.index.json"
	for _, x := range []struct {
		name string
		code formats.Code
	}{{hfHead, ""}, {"model.layers.1.mlp.extra.weight", formats.Missing}} {
		fsys := disk(t, "checkpoints/granite-code-sharded")
		fsys.Put(index, strings.Replace(fsys.Tree()[index], `"weight_map": {`, `"weight_map": {"`+x.name+`": "model-00003-of-00003.safetensors",`, 1))
		_, err := run(fsys, "/granite-code-sharded", "/out", bowline.ConvertOptions{Options: convert.Options{ShardSize: 100_000}})
		if formats.CodeOf(err) != x.code || err != nil && !strings.Contains(err.Error(), x.name) {
			t.Errorf("%s: got %v, want %q", x.name, err, x.code)
		}
		if err != nil {
			continue
		}
		rep, err := bowline.Ties(context.Background(), bowline.Source{Path: "/granite-code-sharded", FS: fsys}, bowline.TiesOptions{})
		if err != nil || rep.Consistent || rep.Groups[0].Verdict != convert.TiedShared || !slices.Equal(rep.Groups[0].Flags, []string{"index_dangling"}) || !slices.Equal(rep.Index.Dangling, []string{x.name}) {
			t.Errorf("got %s %v, consistent %v, dangling %v, %v", rep.Groups[0].Verdict, rep.Groups[0].Flags, rep.Consistent, rep.Index.Dangling, err)
		}
		if strings.Contains(fsys.Tree()["/out/model.safetensors.index.json"], x.name) {
			t.Error("the index that was written lists it too")
		}
	}
}

// TestRejudge refuses a written result that is not what was planned, or that says what it is not.
func TestRejudge(t *testing.T) {
	plans := map[string]*convert.Plan{}
	for name, o := range map[string]convert.Options{"tie": {Ties: convert.TieAny}, "untie": {Ties: convert.Untie}, "keep": {Ties: convert.Keep}} {
		p, err := plan(opened(t, disk(t, "ties/tied"), "/tied"), target("safetensors"), "/out", o)
		if err != nil {
			t.Fatal(err)
		}
		plans[name] = p
	}
	for _, x := range []struct {
		plan, result string
		ok           bool
	}{
		{"tie", "tied", true}, {"tie", "tied-equal-head", false}, {"tie", "untied-missing-head", false}, {"tie", "absent-no-head", false},
		{"untie", "untied-equal-head", true}, {"untie", "untied", true}, {"untie", "tied", false}, {"untie", "tied-different-head", false}, {"untie", "absent-equal-head", false},
		{"keep", "tied", true}, {"keep", "absent-no-head", true}, {"keep", "untied", false},
	} {
		err := plans[x.plan].Rejudge(context.Background(), opened(t, disk(t, "ties/"+x.result), "/"+x.result))
		if (err == nil) != x.ok || err != nil && formats.CodeOf(err) != formats.Tie {
			t.Errorf("planned %s, found %s: got %v, want %v", x.plan, x.result, err, x.ok)
		}
	}
}

// TestOverlap refuses two members that have a part of one storage in common, as torch wrote it, under every policy that would have to choose; two copies
// lose nothing.
func TestOverlap(t *testing.T) {
	for _, p := range policies {
		fsys := disk(t, "overlap")
		r, err := run(fsys, "/overlap", "/out", bowline.ConvertOptions{Options: p, Verify: true})
		if p.Ties != convert.Untie {
			if formats.CodeOf(err) != formats.Tie || !strings.Contains(err.Error(), "OVERLAP") {
				t.Errorf("%s: got %v, want a refusal", p.Ties, err)
			}
			continue
		}
		if err != nil || *r.Ties.Before != convert.Overlap || *r.Ties.After != convert.Untied || !r.Verification.BitIdentical {
			t.Errorf("untie: got %+v %v", r, err)
		}
	}
}
