package arch_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/all"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// beside puts TorchChat's own model.pth of a fixture into memory, with files beside it, and resolves it. record is the config.json in the file.
func beside(t *testing.T, fixture string, files map[string]string, record, named string) (*arch.Model, error) {
	t.Helper()
	fsys := fsio.NewMem()
	fsys.Put("/m/model.pth", file(t, fixture+"/model.pth"))
	for name, text := range files {
		fsys.Put(path.Join("/m", name), text)
	}
	ck, err := all.Open(fsys, "/m/model.pth")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	if record != "" {
		ck.Metadata = append(ck.Metadata, formats.KV{Key: arch.Record, Value: record})
	}
	side, _, err := all.Side(fsys, ck.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return arch.Resolve(fsys, ck, side, named)
}

func file(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../testdata/torchchat/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// with changes keys of a JSON object: each pair is a key and its text, "" to remove it.
func with(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	var c map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if delete(c, pairs[i]); pairs[i+1] != "" {
			c[pairs[i]] = json.RawMessage(pairs[i+1])
		}
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestConfigOrder finds the parameters of a model.pth. Each place says another position base, so that it is seen which one was read.
func TestConfigOrder(t *testing.T) {
	hf, params := file(t, "llama/hf/config.json"), file(t, "llama/params.json")
	text := func(theta string) string { return with(t, hf, "rope_theta", theta) }
	meta := func(theta string) string { return with(t, params, "rope_base", theta) }
	for _, x := range []struct {
		name          string
		files         map[string]string
		record, named string
		theta         float64 // 0: nothing says it
		err           string  // parts of the message, separated by |
		code          formats.Code
	}{
		{name: "nothing"},
		{name: "the record in the file", record: text("1"), theta: 1},
		{name: "params.json", files: map[string]string{"params.json": meta("2")}, theta: 2},
		{name: "params.json before the record", files: map[string]string{"params.json": meta("2")}, record: text("1"), theta: 2},
		{name: "config.json", files: map[string]string{"config.json": text("3")}, theta: 3},
		{name: "config.json before the record", files: map[string]string{"config.json": text("3")}, record: text("1"), theta: 3},
		{name: "both, and they agree", files: map[string]string{"config.json": text("3"), "params.json": meta("3")}, record: text("1"), theta: 3},
		{name: "both, and they do not", files: map[string]string{"config.json": text("3"), "params.json": meta("2")}, code: formats.Mismatch, err: "/m/params.json|rope_base|2|3"},
		{name: "the one that was named, as config.json", files: map[string]string{"config.json": text("3"), "params.json": meta("2"), "x": text("4")}, record: text("1"), named: "/m/x", theta: 4},
		{name: "the one that was named, as params.json", files: map[string]string{"config.json": text("3"), "params.json": meta("2"), "x": meta("5")}, record: text("1"), named: "/m/x", theta: 5},
		{name: "a named one that is absent", files: map[string]string{"config.json": text("3")}, named: "/m/y", code: formats.IO, err: "/m/y"},
		{name: "a named one that says nothing", files: map[string]string{"config.json": text("3"), "x": `{}`}, named: "/m/x"},
		{name: "params.json of something else", files: map[string]string{"params.json": `{"temperature": 0.7}`}},
		{name: "params.json of something else, and the record", files: map[string]string{"params.json": `{"temperature": 0.7}`}, record: text("1"), theta: 1},
		{name: "params.json of something else beside config.json", files: map[string]string{"params.json": `{"lr": 1, "n_layers": 9}`, "config.json": text("3")}, theta: 3},
		{name: "params.json malformed", files: map[string]string{"params.json": `{"dim": 60,`}, code: formats.JSON, err: "/m/params.json"},
		{name: "params.json with a key twice", files: map[string]string{"params.json": `{"dim": 60, "dim": 60, "n_layers": 2}`}, code: formats.Dup, err: "/m/params.json|dim"},
		{name: "config.json malformed", files: map[string]string{"config.json": `{"a" 1}`, "params.json": meta("2")}, code: formats.JSON, err: "/m/config.json"},
		{name: "a record that is no config is a text", record: `{"a" 1}`},
		{name: "params.json without a key", files: map[string]string{"params.json": with(t, params, "n_heads", "")}, code: formats.Missing, err: "/m/params.json|n_heads"},
		{name: "params.json without a key beside config.json", files: map[string]string{"config.json": text("3"), "params.json": with(t, meta("3"), "n_heads", "")}, code: formats.Missing, err: "/m/params.json|n_heads"},
	} {
		m, err := beside(t, "llama", x.files, x.record, x.named)
		if x.code != "" {
			if formats.CodeOf(err) != x.code {
				t.Errorf("%s: got %v, want %s", x.name, err, x.code)
				continue
			}
			for _, part := range strings.Split(x.err, "|") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: got %v, want %q in it", x.name, err, part)
				}
			}
			continue
		}
		switch {
		case err != nil:
			t.Errorf("%s: %v", x.name, err)
		case x.theta == 0 && (m.Config != nil || m.Stated() == nil && m.Doc == nil):
			t.Errorf("%s: got %+v, want nothing known", x.name, m.Config)
		case x.theta != 0 && (m.Config == nil || m.Config.Rope.Theta != x.theta || m.Scheme != arch.TorchChat || m.Stated() != nil):
			t.Errorf("%s: got %+v in scheme %s, want base %v", x.name, m.Config, m.Scheme, x.theta)
		}
	}
}

// TestNothingStated says what is missing, and what to do.
func TestNothingStated(t *testing.T) {
	m, err := beside(t, "granite-code", nil, "", "")
	if err != nil {
		t.Fatal(err)
	}
	err = m.Stated()
	if formats.CodeOf(err) != formats.Missing {
		t.Fatalf("got %v, want E_MISSING", err)
	}
	for _, part := range []string{"/m/model.pth", "config.json", "params.json", "extra/config.json", "--config", "--names keep"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want %s in it", err, part)
		}
	}
}

// TestContradictions holds params.json against config.json: each key by its name, with both values, all at once.
func TestContradictions(t *testing.T) {
	hf, params := file(t, "llama/hf/config.json"), file(t, "llama/params.json")
	for _, x := range []struct{ key, value, field, other string }{
		{"n_layers", "3", "n_layers", "2"},
		{"n_heads", "5", "n_heads", "6"},
		{"n_local_heads", "3", "n_local_heads", "2"},
		{"dim", "66", "dim", "60"},
		{"hidden_dim", "96", "hidden_dim", "92"},
		{"vocab_size", "300", "vocab_size", "293"},
		{"block_size", "512", "block_size", "256"},
		{"norm_eps", "1e-06", "norm_eps", "1e-05"},
		{"attention_bias", "true", "attention_bias", "false"},
		{"feed_forward_bias", "true", "feed_forward_bias", "false"},
		{"rope_base", "500000", "rope_base", "10000"},
	} {
		_, err := beside(t, "llama", map[string]string{"config.json": hf, "params.json": with(t, params, x.key, x.value)}, "", "")
		list := formats.Errors(err)
		if len(list) != 1 || list[0].Code != formats.Mismatch || list[0].Path != "/m/params.json" || !strings.Contains(list[0].Field, x.field) ||
			!strings.Contains(list[0].Message, x.value) || !strings.Contains(list[0].Message, x.other) {
			t.Errorf("%s: got %v, want the key, %s and %s", x.key, err, x.value, x.other)
		}
	}
	_, err := beside(t, "llama", map[string]string{"config.json": hf, "params.json": with(t, params, "n_layers", "3", "norm_eps", "0.5", "attention_bias", "true")}, "", "")
	if list := formats.Errors(err); len(list) != 3 {
		t.Errorf("got %v, want three errors", err)
	}
	// What config.json says of a model whose names are transformers' is all there is: nobody reads params.json beside it.
	if m, err := resolveHF(t, map[string]string{"config.json": hf, "params.json": with(t, params, "n_layers", "3")}); err != nil || m.Config.Layers != 2 || m.Params != nil {
		t.Errorf("beside transformers' names: got %+v, %v, want params.json not read", m, err)
	}
}

func resolveHF(t *testing.T, files map[string]string) (*arch.Model, error) {
	t.Helper()
	fsys := fsio.NewMem()
	fsys.Put("/m/model.safetensors", file(t, "llama/hf/model.safetensors"))
	for name, text := range files {
		fsys.Put(path.Join("/m", name), text)
	}
	ck, err := all.Open(fsys, "/m")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	return arch.Resolve(fsys, ck, nil, "")
}

// TestTieStatements collects the tie flag of both files; that they contradict each other is for the tie report to say.
func TestTieStatements(t *testing.T) {
	hf, params := file(t, "llama3-rope/hf/config.json"), file(t, "llama3-rope/params.json")
	for _, x := range []struct {
		name       string
		conf, says string // the flag's text, "" for none; "-" for no file
		want       string
	}{
		{"both true", "true", "true", "[{tie_word_embeddings true true} {params.json: tie_word_embeddings true true}]"},
		{"config true, params false", "true", "false", "[{tie_word_embeddings true true} {params.json: tie_word_embeddings false true}]"},
		{"config false, params true", "false", "true", "[{tie_word_embeddings false true} {params.json: tie_word_embeddings true true}]"},
		{"params silent", "true", "", "[{tie_word_embeddings true true}]"},
		{"params alone", "-", "true", "[{params.json: tie_word_embeddings true true}]"},
	} {
		files := map[string]string{"params.json": with(t, params, "tie_word_embeddings", x.says)}
		if x.conf != "-" {
			files["config.json"] = with(t, hf, "tie_word_embeddings", x.conf)
		}
		m, err := beside(t, "llama3-rope", files, "", "")
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
		} else if got := fmt.Sprint(m.Config.Tie); got != x.want {
			t.Errorf("%s: got %s, want %s", x.name, got, x.want)
		}
	}
}

// TestFixturesByBothConfigs reads the same parameters from TorchChat's params.json and transformers' config.json of each model.
func TestFixturesByBothConfigs(t *testing.T) {
	for fixture, conf := range map[string]string{"granite-code": "../checkpoints/granite-code/config.json", "llama": "llama/hf/config.json", "llama3-rope": "llama3-rope/hf/config.json"} {
		files := map[string]string{"config.json": file(t, conf), "params.json": file(t, fixture+"/params.json")}
		m, err := beside(t, fixture, files, "", "")
		if err != nil {
			t.Errorf("%s: %v", fixture, err)
			continue
		}
		if m.Family != &arch.Llama && m.Family.Name != "llama" || m.Scheme != arch.TorchChat || len(m.Strangers()) != 0 {
			t.Errorf("%s: got family %v, scheme %s, strangers %v", fixture, m.Family, m.Scheme, m.Strangers())
		}
		delete(files, "config.json")
		p, err := beside(t, fixture, files, "", "")
		if err != nil {
			t.Errorf("%s: %v", fixture, err)
			continue
		}
		if list := config.Disagree(m.Config, p.Config, p.Params, p.Family.Params(p.Class)); len(list) != 0 {
			t.Errorf("%s: %v", fixture, list)
		}
	}
}

// TestKeysThatMatterBesideConfig: what params.json says of the numbers counts wherever the other parameters are read from.
func TestKeysThatMatterBesideConfig(t *testing.T) {
	params, conf := file(t, "llama/params.json"), file(t, "llama/hf/config.json")
	params = with(t, params, "embedding_multiplier", "12.0")
	m, err := beside(t, "llama", map[string]string{"config.json": conf, "params.json": params}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Family.Check(m.Config, arch.HF); err == nil || !strings.Contains(err.Error(), "embedding_multiplier") {
		t.Errorf("beside config.json: got %v, want the key refused", err)
	}
	// The file's own record comes after params.json, which says that this is no Llama.
	if m, err = beside(t, "llama", map[string]string{"params.json": params}, conf, ""); err != nil {
		t.Fatal(err)
	}
	if m.Family.Name != "granite" || m.Config.EmbedScale != 12 || len(m.Notes) == 0 {
		t.Errorf("with the record: got family %s, multiplier %v, notes %v; want what params.json says, and a note", m.Family.Name, m.Config.EmbedScale, m.Notes)
	}
}
