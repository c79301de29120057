package convert_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/pytorch"
	"github.com/bowline-ml/bowline/verify"
)

// tieStates are the ten states in which checkpoints with an embedding and a head are found: what they hold, in the words of states, and what the
// flag says, "" where it is absent. The class of the fixture and TorchChat both take an absent flag for false.
var tieStates = []struct{ name, holds, flag string }{
	{"tied", "source only", "true"},
	{"tied, equal head stored", "equal", "true"},
	{"tied flag, different head", "distinct", "true"},
	{"untied", "distinct", "false"},
	{"untied flag, equal head", "equal", "false"},
	{"untied flag, head missing", "source only", "false"},
	{"head only, tied flag", "head only", "true"},
	{"flag absent, no head", "source only", ""},
	{"flag absent, equal head", "equal", ""},
	{"flag absent, different head", "distinct", ""},
}

// tieForms are what a source is stored as.
var tieForms = []string{
	"safetensors",
	"sharded",    // safetensors, embedding and head in different shards
	"bin shared", // PyTorch, both names over one storage
	"bin",        // PyTorch, each name with a storage of its own
	"gguf",       // absence of the head declares the tie, presence denies it
	"model.pth",  // TorchChat's, beside a params.json
	"pth shared", // the same, both names over one storage
}

// What to expect, by hand from the tie specification. The flags, the sets of --require and whether auto warns come first, then the outcomes in
// the order of policies: auto, keep, tie, tie=embed, tie=head, these two with --discard-differing, untie.
//
//	E  H    one tensor, from the embedding or the head (of equal members: E); the flag says true
//	EH      both as they were       EE HH   two copies; the flag says false
//	=       as stored, the flag too, but for targets named after a ! by their first letters
//	!       refused by all
//	-       the form cannot say the state
//
// One storage needs two names of equal values, so the shared forms have three of the states. A GGUF file has no flag: it cannot declare
// what it does not hold, nor leave it open, and a head alone is a head that denies the tie.
const tieTable = `
tied                        | safetensors sharded bin model.pth gguf | TIED_SHARED           |                   | tied consistent   |      | E  | =     | E | E | E | E | E | EE
tied                        | bin-shared pth-shared                  | -
tied, equal head stored     | safetensors sharded bin model.pth      | TIED_DUPLICATE        |                   | tied consistent   |      | E  | = !g  | E | E | E | E | E | EE
tied, equal head stored     | bin-shared pth-shared                  | TIED_ALIASED          |                   | tied consistent   |      | E  | = !sg | E | E | E | E | E | EE
tied, equal head stored     | gguf                                   | -
tied flag, different head   | safetensors sharded bin model.pth      | UNTIED                | config_wrong      | untied            | warn | EH | = !g  | ! | ! | ! | E | H | EH
tied flag, different head   | bin-shared pth-shared gguf             | -
untied                      | safetensors sharded bin model.pth gguf | UNTIED                |                   | untied consistent |      | EH | =     | ! | ! | ! | E | H | EH
untied                      | bin-shared pth-shared                  | -
untied flag, equal head     | safetensors sharded bin model.pth gguf | UNTIED_EQUAL          |                   | untied consistent |      | EE | =     | E | E | E | E | E | EE
untied flag, equal head     | bin-shared pth-shared                  | TIED_ALIASED          | config_wrong      | tied              | warn | EE | = !sg | E | E | E | E | E | EE
untied flag, head missing   | safetensors sharded bin model.pth      | HEAD_MISSING          |                   |                   |      | !  | = !tg | E | E | E | E | E | EE
untied flag, head missing   | bin-shared pth-shared gguf             | -
head only, tied flag        | safetensors sharded bin model.pth      | TIED_SHARED_HEAD_NAME |                   | tied consistent   |      | H  | = !tg | H | H | H | H | H | HH
head only, tied flag        | gguf                                   | EMBED_MISSING         |                   |                   |      | !  | = !tg | H | H | H | H | H | HH
head only, tied flag        | bin-shared pth-shared                  | -
flag absent, no head        | safetensors sharded bin model.pth      | TIED_SHARED           | default_dependent | tied              | warn | E  | = !t  | E | E | E | E | E | EE
flag absent, no head        | bin-shared pth-shared gguf             | -
flag absent, equal head     | safetensors sharded bin model.pth      | UNTIED_EQUAL          | default_dependent | untied            | warn | EE | =     | E | E | E | E | E | EE
flag absent, equal head     | bin-shared pth-shared                  | TIED_ALIASED          | default_dependent | tied              | warn | E  | = !sg | E | E | E | E | E | EE
flag absent, equal head     | gguf                                   | -
flag absent, different head | safetensors sharded bin model.pth      | UNTIED                | default_dependent | untied            |      | EH | =     | ! | ! | ! | E | H | EH
flag absent, different head | bin-shared pth-shared gguf             | -
`

// tieCase is one state in one form, and what is expected of it.
type tieCase struct {
	state, form, holds, flag       string
	verdict, flags, require, level string
	outcomes                       []string // by policy; nil where the form cannot say the state
}

func tieCases(t *testing.T) (out []tieCase) {
	t.Helper()
	lines := map[string][]string{}
	for _, line := range strings.Split(strings.TrimSpace(tieTable), "\n") {
		c := strings.Split(line, "|")
		for i := range c {
			c[i] = strings.TrimSpace(c[i])
		}
		for _, form := range strings.Fields(c[1]) {
			key := c[0] + ": " + strings.ReplaceAll(form, "-", " ")
			if lines[key] != nil {
				t.Fatalf("the table has %s twice", key)
			}
			lines[key] = c[2:]
		}
	}
	for _, s := range tieStates {
		for _, form := range tieForms {
			x := tieCase{state: s.name, form: form, holds: s.holds, flag: s.flag}
			switch c := lines[s.name+": "+form]; len(c) {
			case 1:
			case 4 + len(policies):
				x.verdict, x.flags, x.require, x.level, x.outcomes = c[0], c[1], c[2], c[3], c[4:]
			default:
				t.Fatalf("the table has no %s: %s", s.name, form)
			}
			if form == "gguf" { // absence and presence are the flag
				x.flag = map[bool]string{true: "true", false: "false"}[s.holds == "source only"]
			}
			out = append(out, x)
		}
	}
	return out
}

// tieSources are what all cases are made of.
type tieSources struct {
	hf, pth, gguf    *weights
	config, params   string
	embed, head      []byte
	onE, onH, onBoth verify.Matrix // logits of the model with the embedding as its head, the other way round, and with both
}

var tieTokens = []int32{5, 330, 17, 0, 101}

func newTieSources(t *testing.T) *tieSources {
	t.Helper()
	fsys := disk(t, "ties/untied", "ties/tied", "ties/head-only")
	for dst, to := range map[string]string{"/tc": "torchchat", "/m.gguf": "gguf"} {
		if _, err := run(fsys, "/untied", dst, bowline.ConvertOptions{To: to}); err != nil {
			t.Fatal(err)
		}
	}
	s := &tieSources{hf: read(t, fsys, "/untied"), pth: read(t, fsys, "/tc"), gguf: read(t, fsys, "/m.gguf")}
	s.pth.format, s.pth.md = pytorch.Format, nil
	s.config, s.params = fsys.Tree()["/untied/config.json"], fsys.Tree()["/tc/params.json"]
	s.embed, s.head = s.hf.data[hfEmbed], s.hf.data[hfHead]
	s.onBoth = logits(t, fsys, "/untied")
	for at, to := range map[string]*verify.Matrix{"source only": &s.onE, "head only": &s.onH} {
		x := tieCase{form: "safetensors", holds: at, flag: "true"}
		made, name := s.make(t, x)
		*to = logits(t, made, name)
	}
	return s
}

// make puts a case into memory.
func (s *tieSources) make(t *testing.T, x tieCase) (*fsio.Mem, string) {
	t.Helper()
	fsys := fsio.NewMem()
	w, embed, head := *s.hf, hfEmbed, hfHead
	switch x.form {
	case "gguf":
		w, embed, head = *s.gguf, ggufEmbed, ggufHead
	case "model.pth", "pth shared":
		w, embed, head = *s.pth, "tok_embeddings.weight", "output.weight"
	case "bin", "bin shared":
		w.format = pytorch.Format
	}
	w.data, w.tensors = maps.Clone(w.data), slices.Clone(w.tensors)
	states[x.holds](&w, embed, head)
	if strings.HasSuffix(x.form, "shared") {
		w.drop(head)
		w.aliases = []formats.Alias{{Name: head, Of: embed}}
	}
	switch x.form {
	case "gguf":
		w.put(t, fsys, "/m.gguf")
		return fsys, "/m.gguf"
	case "model.pth", "pth shared":
		w.put(t, fsys, "/tc/model.pth")
		fsys.Put("/tc/params.json", s.params)
		edit(t, fsys, "/tc/params.json", "tie_word_embeddings", x.flag)
		return fsys, "/tc"
	case "sharded":
		w.shards(t, fsys)
	case "safetensors":
		w.put(t, fsys, "/untied/model.safetensors")
	default:
		w.put(t, fsys, "/untied/pytorch_model.bin")
	}
	fsys.Put("/untied/config.json", s.config)
	edit(t, fsys, "/untied/config.json", "tie_word_embeddings", x.flag)
	return fsys, "/untied"
}

func logits(t testing.TB, fsys fsio.FS, at string) verify.Matrix {
	t.Helper()
	m, err := bowline.Open(bowline.Source{Path: at, FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	tr, err := verify.Run(context.Background(), m, tieTokens, verify.Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	return tr.Logits
}

// TestTieStates converts every state from every form by every policy to every target, and compares with the table what the result holds, states
// and computes, and what is refused. With -v it prints the table as it found it.
func TestTieStates(t *testing.T) {
	s := newTieSources(t)
	cases := tieCases(t)
	lines := make([]string, len(cases))
	for i, x := range cases {
		lines[i] = fmt.Sprintf("%-27s  %-11s  -", x.state, x.form)
		if x.outcomes == nil {
			continue
		}
		t.Run(x.state+": "+x.form, func(t *testing.T) {
			t.Parallel()
			lines[i] = s.check(t, x)
		})
	}
	t.Cleanup(func() { // parallel tests end before it
		if testing.Verbose() {
			fmt.Printf(tieLegend+"\n%-27s  %-11s  %-21s  %-17s  ", "state", "stored as", "verdict", "--require takes")
			for _, o := range policies {
				name := string(o.Ties)
				if o.DiscardDiffering {
					name += " !"
				}
				fmt.Printf("%-12s", name)
			}
			fmt.Printf("\n%s\n", strings.Join(lines, "\n"))
		}
	})
}

const tieLegend = `
E, H      one tensor, from the embedding or the head   -> safetensors: the embedding's name; .bin: both names, one storage; model.pth, GGUF: the embedding alone
EH EE HH  two tensors: as they were, or two copies     -> both names, two storages
T, F      the flag as written: config.json, and params.json for model.pth; in GGUF absence and presence say it
as is     what was stored, flag included; /sptg: refused (exit 65, E_TIE) by safetensors, .bin (pytorch), model.pth (torchchat), gguf; !TIE: by all
 !        with --discard-differing
`

// check goes through the policies and targets of a case. It gives its line of the table as found.
func (s *tieSources) check(t *testing.T, x tieCase) string {
	fsys, at := s.make(t, x)
	rep, err := bowline.Ties(context.Background(), bowline.Source{Path: at, FS: fsys}, bowline.TiesOptions{})
	if err != nil {
		t.Fatal(err)
	}
	g := rep.Groups[0]
	if string(g.Verdict) != x.verdict || strings.Join(g.Flags, " ") != x.flags {
		t.Errorf("got %s %v, want %s [%s]", g.Verdict, g.Flags, x.verdict, x.flags)
	}
	var takes []string
	for _, what := range []string{"tied", "untied", "consistent"} {
		if rep.Require(what, at) == nil {
			takes = append(takes, what)
			continue
		}
		if _, err := run(fsys, at, "/required", bowline.ConvertOptions{Require: what}); formats.CodeOf(err) != formats.Differs {
			t.Errorf("--require %s: got %v", what, err)
		}
	}
	if got := strings.Join(takes, " "); got != x.require {
		t.Errorf("--require takes %q, want %q", got, x.require)
	}
	line := fmt.Sprintf("%-27s  %-11s  %-21s  %-17s  ", x.state, x.form, g.Verdict, strings.Join(takes, " "))
	made := 0
	for i, o := range policies {
		var refused, odd string
		for _, to := range []string{"safetensors", "pytorch", "torchchat", "gguf"} {
			want := x.want(x.outcomes[i], to)
			if o.Ties == convert.Auto && want.form != "!" {
				want.warn = x.level == "warn"
			}
			dst := fmt.Sprintf("/%d-%s", i, to)
			if to == "gguf" {
				dst += ".gguf"
			}
			got := s.convert(t, fsys, at, g, dst, to, o)
			if made++; got.form == "!" {
				made--
				refused += to[:1]
			}
			if o.Ties == convert.Auto && to == "safetensors" && got.form != "!" { // which is what the report foretells
				if n := g.BytesSaved - g.BytesAdded; n != got.saved*int64(len(s.embed)) || len(g.NamesWritten) != len(got.form) {
					t.Errorf("the report says that auto saves %d bytes and writes %v, and it made %+v", n, g.NamesWritten, got)
				}
			}
			if got == want {
				continue
			}
			odd += " " + to[:1] + ":" + got.form
			t.Errorf("%s, discard %v, to %s:\ngot  %+v\nwant %+v", o.Ties, o.DiscardDiffering, to, got, want)
		}
		found := x.outcomes[i]
		switch {
		case odd != "":
			found = "?" + odd
		case len(refused) == 4:
			found = "!TIE"
		case found[0] == '=':
			found = "as is"
			if refused != "" {
				found += " /" + refused
			}
		case len(found) == 1:
			found += " T"
		default:
			found += " F"
		}
		line += fmt.Sprintf("%-12s", found)
	}
	if list, err := fsys.ReadDir("/"); err != nil || len(list) != made+1 {
		t.Errorf("got %v, %v: want the source and %d results", list, err, made)
	}
	return strings.TrimRight(line, " ")
}

// tieResult is what a target holds and says. The zero value but for the form "!" is a refusal.
type tieResult struct {
	// form is the tensors under the names of embedding and head: E, EH, EE, HH; _H is the head's name alone, and + that both are names of one storage.
	form    string
	flags   string // config.json's and params.json's: T, F, or - where the key is absent; "" where the target has no such file
	verdict convert.Verdict
	sound   bool  // consistent and without flags
	warn    bool  // does auto warn?
	saved   int64 // bytes_saved, in tensors
	logits  string
}

// want is how a target renders an outcome.
func (x tieCase) want(outcome, to string) tieResult {
	refused := tieResult{form: "!"}
	stored := map[string]string{"source only": "E", "head only": "_H", "equal": "EE", "distinct": "EH"}[x.holds]
	if strings.HasSuffix(x.form, "shared") {
		stored = "E+"
	}
	copies := map[string]int64{"E": 1, "H": 1, "_H": 1, "E+": 1, "H+": 1}
	number := func(form string) int64 {
		if n, one := copies[form]; one {
			return n
		}
		return 2
	}
	said := map[string]string{"true": "T", "false": "F", "": "-"}[x.flag]
	var r tieResult
	switch what, except, _ := strings.Cut(outcome, " !"); {
	case outcome == "!" || strings.Contains(except, to[:1]):
		return refused
	case what == "=":
		r = tieResult{form: stored, flags: said, verdict: convert.Verdict(x.verdict), sound: !strings.Contains(x.flags, "_") && strings.Contains(x.require, "consistent"), logits: x.computes()}
		if to == "torchchat" { // whose flag is always explicit; an absent one is false
			r.flags += "/" + strings.ReplaceAll(said, "-", "F")
		}
		if to == "gguf" {
			r.verdict = map[string]convert.Verdict{"E": convert.TiedShared, "EE": convert.UntiedEqual, "EH": convert.Untied}[stored]
			r.sound = true
		}
	case len(what) == 1:
		r = tieResult{form: what, flags: "T", verdict: convert.TiedShared, sound: true, logits: what}
		if to == "pytorch" {
			r.form, r.verdict = what+"+", convert.TiedAliased
		}
		if to == "torchchat" {
			r.flags = "T/T"
		}
	default:
		r = tieResult{form: what, flags: "F", verdict: convert.UntiedEqual, sound: true, logits: what}
		if to == "torchchat" {
			r.flags = "F/F"
		}
		if what == "EH" {
			r.verdict = convert.Untied
		} else {
			r.logits = what[:1]
		}
	}
	if to == "gguf" {
		r.flags = ""
	}
	r.saved = number(stored) - number(r.form)
	return r
}

// computes is which tensor a source looks up and which it multiplies with; "" for one that no program can run.
func (x tieCase) computes() string {
	switch x.verdict {
	case string(convert.HeadMissing), string(convert.EmbedMissing):
		return ""
	}
	return map[string]string{"source only": "E", "head only": "H", "equal": "E", "distinct": "EH"}[x.holds]
}

// convert makes one result, and says what it is.
func (s *tieSources) convert(t *testing.T, fsys *fsio.Mem, at string, source *convert.Group, dst, to string, o convert.Options) (r tieResult) {
	t.Helper()
	rep, err := run(fsys, at, dst, bowline.ConvertOptions{Options: o, To: to, Workers: 1})
	if err != nil {
		if formats.CodeOf(err) != formats.Tie {
			return tieResult{form: "!" + err.Error()}
		}
		return tieResult{form: "!"}
	}
	m, err := bowline.Open(bowline.Source{Path: dst, FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	judged, err := convert.Judged(context.Background(), m, convert.JudgeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	g := judged[0]
	consistent, _ := g.Consistent(m)
	if rep.Ties.After == nil || *rep.Ties.After != g.Verdict || *rep.Ties.Before != source.Verdict {
		t.Errorf("%s to %s: the report says that %s became %v", o.Ties, to, *rep.Ties.Before, rep.Ties.After)
	}
	r = tieResult{form: s.form(t, m, g), verdict: g.Verdict, sound: consistent && len(g.Flags) == 0}
	r.warn = o.Ties == convert.Auto && loudest(rep.Notes, source) == "warn"
	n := int64(len(s.embed))
	if r.saved = rep.Ties.BytesSaved / n; rep.Ties.BytesSaved%n != 0 {
		t.Errorf("%s to %s: got %d bytes saved, want a multiple of %d", o.Ties, to, rep.Ties.BytesSaved, n)
	}
	var flags []string
	for _, name := range []string{"config.json", "params.json"} {
		text, err := fsio.ReadFile(fsys, dst+"/"+name, 1<<20)
		if err != nil {
			continue
		}
		var c map[string]json.RawMessage
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
		flag, ok := map[string]string{"true": "T", "false": "F", "": "-"}[string(c["tie_word_embeddings"])]
		if !ok {
			t.Fatalf("got flag %s", c["tie_word_embeddings"])
		}
		flags = append(flags, flag)
	}
	r.flags = strings.Join(flags, "/")
	if g.Verdict == convert.HeadMissing || g.Verdict == convert.EmbedMissing {
		return r
	}
	tr, err := verify.Run(context.Background(), m, tieTokens, verify.Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	r.logits = "others"
	for name, ref := range map[string]verify.Matrix{"E": s.onE, "H": s.onH, "EH": s.onBoth} {
		if slices.Equal(tr.Logits.F32, ref.F32) {
			r.logits = name
		}
	}
	return r
}

// form is what a checkpoint holds under the names of embedding and head.
func (s *tieSources) form(t *testing.T, m *arch.Model, g *convert.Group) (out string) {
	t.Helper()
	embed, head := m.Lookup(g.SourceKey), m.Lookup(g.TargetKeys[0])
	letter := func(x *formats.Tensor) string {
		r, err := m.Open(x.Name)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, x.Bytes)
		if _, err := r.ReadAt(b, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		switch string(b) {
		case string(s.embed):
			return "E"
		case string(s.head):
			return "H"
		}
		return "?"
	}
	shared := len(m.Aliases) == 1 && (m.Aliases[0] == formats.Alias{Name: g.TargetKeys[0], Of: g.SourceKey})
	if !shared && len(m.Aliases) > 0 {
		t.Errorf("got aliases %v", m.Aliases)
	}
	switch {
	case shared:
		return letter(embed) + "+"
	case embed == nil && head == nil:
		return ""
	case embed == nil:
		return "_" + letter(head)
	case head == nil:
		return letter(embed)
	}
	return letter(embed) + letter(head)
}
