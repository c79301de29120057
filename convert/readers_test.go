package convert_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

// recorded is a row of testdata/readers/answers.json: what programs made of a state, as testdata/gen/readers.py saw it.
type recorded struct {
	Family    string
	Container string
	Members   string
	Flag      *bool
	Version   string
	Text      *bool
	Answers   map[string]*string
}

func (a recorded) String() string {
	flag := func(b *bool) string {
		if b == nil {
			return "absent"
		}
		return fmt.Sprint(*b)
	}
	return strings.Join([]string{a.Family, a.Container, a.Members, flag(a.Flag), a.Version, flag(a.Text)}, "/")
}

func recordings(t testing.TB) []recorded {
	t.Helper()
	b, err := os.ReadFile(testdata + "readers/answers.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Rows []recorded }
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Rows) < 100 {
		t.Fatalf("got %d rows", len(all.Rows))
	}
	return all.Rows
}

// stateOf is how the recorded names of what is stored are called in the table of states.
var stateOf = map[string]string{
	"embedding only": "source only", "head only": "head only", "equal": "equal", "different": "distinct", "near": "near", "scaled": "scaled", "cast": "cast",
	"cast, embedding narrower": "cast", "longer": "prefix", "shorter": "prefix, head shorter", "narrower": "another width", "neither": "neither", "one storage": "distinct",
}

// source makes the state of a row in memory.
func (a recorded) source(t testing.TB) (fsio.FS, string) {
	t.Helper()
	if a.Container == "gguf" {
		p := source(t, stateOf[a.Members], "gguf")
		return p.fsys, p.path
	}
	fsys := disk(t, "ties/untied")
	text := func(b *bool) string {
		if b == nil {
			return ""
		}
		return fmt.Sprint(*b)
	}
	if a.Container == "model.pth" {
		if _, err := run(fsys, "/untied", "/tc", bowline.ConvertOptions{To: "torchchat"}); err != nil {
			t.Fatal(err)
		}
		if err := fsys.Remove("/tc/config.json"); err != nil {
			t.Fatal(err)
		}
		edit(t, fsys, "/tc/params.json", "tie_word_embeddings", text(a.Flag))
		x := read(t, fsys, "/tc")
		states[stateOf[a.Members]](x, "tok_embeddings.weight", "output.weight")
		x.zip(t, fsys, "/tc/model.pth", "tok_embeddings.weight", "output.weight", a.Members == "one storage")
		return fsys, "/tc"
	}
	pairs := []string{"tie_word_embeddings", text(a.Flag)}
	if a.Version != "" {
		pairs = append(pairs, "transformers_version", fmt.Sprintf("%q", a.Version))
	}
	if a.Text != nil {
		pairs = append(pairs, "text_config", fmt.Sprintf(`{"tie_word_embeddings": %v}`, *a.Text))
	}
	x := read(t, fsys, "/untied")
	if a.Family == "mistral" {
		pairs = append(pairs, "architectures", `["MistralForCausalLM"]`, "model_type", `"mistral"`, "head_dim", "8", "sliding_window", "null",
			"attention_bias", "", "mlp_bias", "", "pretraining_tp", "", "rope_scaling", "")
		for _, s := range slices.Clone(x.tensors) {
			if strings.HasSuffix(s.Name, ".bias") {
				x.drop(s.Name)
			}
		}
	}
	edit(t, fsys, "/untied/config.json", pairs...)
	states[stateOf[a.Members]](x, hfEmbed, hfHead)
	switch a.Container {
	case "safetensors":
		x.put(t, fsys, "/untied/model.safetensors")
	case "sharded":
		x.shards(t, fsys)
	case "bin":
		x.zip(t, fsys, "/untied/pytorch_model.bin", hfEmbed, hfHead, a.Members == "one storage")
	default:
		t.Fatalf("unknown container %q", a.Container)
	}
	if a.Container != "safetensors" {
		if err := fsys.Remove("/untied/model.safetensors"); err != nil {
			t.Fatal(err)
		}
	}
	return fsys, "/untied"
}

// zip writes a PyTorch file; with shared, the head is a second name of the embedding.
func (x *weights) zip(t testing.TB, m *fsio.Mem, name, embed, head string, shared bool) {
	t.Helper()
	if shared {
		x.drop(head)
		x.aliases = []formats.Alias{{Name: head, Of: embed}}
	}
	x.format, x.md = pytorch.Format, nil
	x.put(t, m, name)
}

// shards puts the head and the last norm in a second file.
func (x *weights) shards(t testing.TB, m *fsio.Mem) {
	t.Helper()
	where := map[string]string{}
	for k, name := range []string{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"} {
		part := &weights{format: x.format, data: x.data, md: x.md}
		for _, s := range x.tensors {
			if (s.Name == hfHead || s.Name == "model.norm.weight") == (k == 1) {
				part.tensors = append(part.tensors, s)
				where[s.Name] = name
			}
		}
		part.put(t, m, "/untied/"+name)
	}
	b, err := json.Marshal(map[string]any{"metadata": map[string]any{}, "weight_map": where})
	if err != nil {
		t.Fatal(err)
	}
	m.Put("/untied/model.safetensors.index.json", string(b))
}

// TestReaders holds what the report says of other programs against what they did, every recorded row.
func TestReaders(t *testing.T) {
	for _, a := range recordings(t) {
		t.Run(a.String(), func(t *testing.T) {
			t.Parallel()
			fsys, at := a.source(t)
			rep, err := bowline.Ties(context.Background(), bowline.Source{Path: at, FS: fsys}, bowline.TiesOptions{})
			if err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(rep.Reads)
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]*string
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatal(err)
			}
			for who, want := range a.Answers {
				g, w := "null", "null"
				if got[who] != nil {
					g = *got[who]
				}
				if want != nil {
					w = *want
				}
				if g != w {
					t.Errorf("%s: got %s, want %s", who, g, w)
				}
			}
			if len(got) != len(a.Answers) {
				t.Errorf("got %d programs, want %d", len(got), len(a.Answers))
			}
		})
	}
}

// TestDocument holds the tables of docs/ties.md against the recorded answers, so that it cannot say what was not seen.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile("../docs/ties.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]map[string]*string{}
	for _, a := range recordings(t) {
		seen[a.String()] = a.Answers
	}
	says := func(line, key, who, cell string) {
		if want := seen[key][who]; want == nil || *want != cell {
			t.Errorf("%q: %s of %s is not what was recorded", line, who, key)
		}
	}
	rows := 0
	for _, line := range strings.Split(string(b), "\n") {
		c := strings.Split(strings.Trim(line, "|"), "|")
		for i := range c {
			c[i] = strings.TrimSpace(c[i])
		}
		switch isFlag := func(s string) bool { return slices.Contains([]string{"true", "false", "absent"}, s) }; {
		case len(c) == 6 && isFlag(c[1]):
			in := "safetensors"
			if c[0] == "one storage" {
				in = "bin"
			}
			for i, who := range []string{"transformers4", "transformers5", "llama.cpp", "torchchat"} {
				says(line, strings.Join([]string{"llama", in, c[0], c[1], "", "absent"}, "/"), who, c[2+i])
			}
			rows++
		case len(c) == 4 && isFlag(c[2]):
			says(line, strings.Join([]string{"llama", c[0], c[1], c[2], "", "absent"}, "/"), map[string]string{"gguf": "llama.cpp", "model.pth": "torchchat"}[c[0]], c[3])
			rows++
		}
	}
	if rows != 25 {
		t.Errorf("got %d rows of answers in the document, want 25", rows)
	}
}

// TestReport goes through what a report says beyond the verdict.
func TestReport(t *testing.T) {
	judge := func(t *testing.T, fsys fsio.FS, at string, o convert.JudgeOptions) *convert.Group {
		t.Helper()
		rep, err := bowline.Ties(context.Background(), bowline.Source{Path: at, FS: fsys}, o)
		if err != nil {
			t.Fatal(err)
		}
		return rep.Groups[0]
	}
	for _, x := range []struct {
		state, said              string
		dropped, written, writes string
		saved, again             int64 // bytes, and values that the total counts again
		note                     string
	}{
		{"source only", "T", "[]", "[model.embed_tokens.weight]", "[]", 0, 331 * 48, ""},
		{"source only", "F", "[]", "[]", "[]", 0, 0, "llama.cpp ties where no head is stored"},
		{"source only", "f", "[]", "[model.embed_tokens.weight]", "[{tie_word_embeddings true}]", 0, 331 * 48, "transformers 5 makes up a random head"},
		{"head only", "T", "[lm_head.weight]", "[model.embed_tokens.weight]", "[]", 0, 331 * 48, "transformers 4 loads it without a message"},
		{"equal", "T", "[lm_head.weight]", "[model.embed_tokens.weight]", "[]", 331 * 48 * 2, 0, "llama.cpp's converter writes the head a second time"},
		{"equal", "F", "[]", "[model.embed_tokens.weight lm_head.weight]", "[]", 0, 0, ""},
		{"distinct", "T", "[]", "[model.embed_tokens.weight lm_head.weight]", "[{tie_word_embeddings false}]", 0, 0, "transformers 4 overwrites the stored head"},
		{"distinct", "F", "[]", "[model.embed_tokens.weight lm_head.weight]", "[]", 0, 0, ""},
		{"distinct", "gguf", "[]", "[model.embed_tokens.weight lm_head.weight]", "[{tie_word_embeddings false}]", 0, 0, "TorchChat's own reader of GGUF"},
		{"source only", "gguf", "[]", "[model.embed_tokens.weight]", "[{tie_word_embeddings true}]", 0, 331 * 48, "TorchChat's own reader of GGUF"},
	} {
		t.Run(x.state+" "+x.said, func(t *testing.T) {
			p := source(t, x.state, x.said)
			g := judge(t, p.fsys, p.path, convert.JudgeOptions{Digest: true})
			if got := fmt.Sprint(g.NamesDropped, g.NamesWritten, g.ConfigWrites); got != x.dropped+" "+x.written+" "+x.writes {
				t.Errorf("got %s, want %s %s %s", got, x.dropped, x.written, x.writes)
			}
			if g.BytesSaved != x.saved || g.BytesAdded != 0 {
				t.Errorf("got %d bytes saved, %d added, want %d, 0", g.BytesSaved, g.BytesAdded, x.saved)
			}
			if got := g.ParamsTotal - g.ParamsUnique; got != x.again {
				t.Errorf("got %d values counted again, want %d", got, x.again)
			}
			if notes := strings.Join(g.Notes, "\n"); !strings.Contains(notes, x.note) || x.note == "" && notes != "" {
				t.Errorf("got notes %q, want %q", notes, x.note)
			}
			for k, d := range g.Digest {
				_, b := p.x.get(k)
				if want := fmt.Sprintf("%x", sha256.Sum256(b)); d != want {
					t.Errorf("%s: got digest %s, want %s", k, d, want)
				}
			}
			if both := g.Present[g.SourceKey] != nil && g.Present[g.TargetKeys[0]] != nil; both != (len(g.Digest) == 2) {
				t.Errorf("got digests %v", g.Digest)
			}
			if n := *g.Rows.Config; n != 331 || g.Rows.Tokenizer != nil || (g.Rows.Embed == nil) != (g.Present[g.SourceKey] == nil) {
				t.Errorf("got rows %+v", g.Rows)
			}
			if len(g.Quant) > 0 || g.BiasPair != nil || len(g.AliasRecords) > 0 {
				t.Errorf("got %v %v %v, want nothing", g.Quant, g.BiasPair, g.AliasRecords)
			}
		})
	}
	t.Run("two levels", func(t *testing.T) {
		p := source(t, "distinct", "F")
		edit(t, p.fsys, "/untied/config.json", "text_config", `{"tie_word_embeddings": true}`)
		g := judge(t, p.fsys, p.path, convert.JudgeOptions{})
		if got := fmt.Sprint(g.ConfigWrites); got != "[{text_config.tie_word_embeddings false}]" || g.Digest != nil {
			t.Errorf("got %s, digest %v", got, g.Digest)
		}
	})
	t.Run("one storage, declared untied", func(t *testing.T) {
		no := false
		fsys, at := recorded{Family: "llama", Container: "bin", Members: "one storage", Flag: &no}.source(t)
		g := judge(t, fsys, at, convert.JudgeOptions{})
		if g.BytesAdded != 331*48*2 || len(g.NamesWritten) != 2 || g.ParamsTotal-g.ParamsUnique != 331*48 {
			t.Errorf("got %d bytes added, %v written, %d of %d values", g.BytesAdded, g.NamesWritten, g.ParamsUnique, g.ParamsTotal)
		}
	})
	t.Run("alias records", func(t *testing.T) {
		for of, valid := range map[string]bool{hfEmbed: true, "model.norm.weight": false, hfHead: false} {
			p := source(t, "source only", "T")
			p.x.md = formats.Metadata{{Key: "format", Value: "pt"}, {Key: hfHead, Value: of}}
			p.x.put(t, p.fsys, "/untied/model.safetensors")
			g := judge(t, p.fsys, p.path, convert.JudgeOptions{})
			if want := []convert.AliasRecord{{Name: hfHead, Of: of, Valid: valid}}; !slices.Equal(g.AliasRecords, want) {
				t.Errorf("got %v, want %v", g.AliasRecords, want)
			}
		}
	})
	t.Run("the statistics do not depend on the digest", func(t *testing.T) {
		for _, state := range []string{"near", "scaled", "prefix", "cast"} {
			p := source(t, state, "T")
			a, _ := json.Marshal(judge(t, p.fsys, p.path, convert.JudgeOptions{}).Distance)
			b, _ := json.Marshal(judge(t, p.fsys, p.path, convert.JudgeOptions{Digest: true}).Distance)
			if string(a) != string(b) {
				t.Errorf("%s: got %s, want %s", state, b, a)
			}
		}
	})
}
