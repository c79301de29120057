package bowline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/all"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// torchChats are the models that TorchChat converted and ran, and their sources.
var torchChats = map[string]string{
	"granite":      "testdata/torchchat/granite/hf",
	"granite-code": "testdata/checkpoints/granite-code",
	"llama":        "testdata/torchchat/llama/hf",
	"llama3-rope":  "testdata/torchchat/llama3-rope/hf",
}

// holding is what a checkpoint holds: type, shape and bytes by name.
func holding(t *testing.T, path string) map[string]string {
	t.Helper()
	ck, err := all.Open(fsio.OS{}, path)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	out := map[string]string{}
	for _, s := range ck.Tensors {
		r, err := ck.Open(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, s.Bytes)
		if _, err := r.ReadAt(b, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		out[s.Name] = fmt.Sprintf("%s %v %x", s.DType, s.Shape, b)
	}
	if err := ck.Check(t.Context()); err != nil {
		t.Error(path, err)
	}
	return out
}

// sameHolding names the tensors in which two checkpoints differ.
func sameHolding(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if g, w := got[name], want[name]; g != w {
			t.Errorf("%s: %s: got %.60q, want %.60q", what, name, g, w)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %s is too much", what, name)
		}
	}
}

// arguments are what TransformerArgs makes of a params.json: the keys it states, and the defaults of TorchChat's class.
func arguments(t *testing.T, path string) map[string]any {
	t.Helper()
	var class struct {
		Fields []struct {
			Name    string
			Default any
		}
	}
	out, stated := map[string]any{}, map[string]any{}
	for name, to := range map[string]any{"testdata/torchchat/args.json": &class, path: &stated} {
		b, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(b, to)
		}
		if err != nil {
			t.Fatal(name, err)
		}
	}
	for _, f := range class.Fields {
		out[f.Name] = f.Default
	}
	for k, v := range stated {
		if _, ok := out[k]; !ok {
			t.Errorf("%s: TransformerArgs takes no %s", path, k)
		}
		out[k] = v
	}
	return out
}

// beside puts TorchChat's own model.pth and other files into a new directory.
func beside(t *testing.T, model string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	b, err := os.ReadFile(filepath.Join("testdata/torchchat", model, "model.pth"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "model.pth"), string(b))
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// converted converts and fails the test if that fails.
func converted(t *testing.T, src, dst string, o bowline.ConvertOptions) *bowline.ConvertReport {
	t.Helper()
	r, err := bowline.Convert(context.Background(), bowline.Source{Path: src}, dst, o)
	if err != nil {
		t.Fatalf("convert %s %s: %v", src, dst, err)
	}
	return r
}

// TestTorchChatWritten holds our model.pth and params.json against those of TorchChat's own converter.
func TestTorchChatWritten(t *testing.T) {
	for name, src := range torchChats {
		dir := filepath.Join(t.TempDir(), "tc")
		r := converted(t, src, dir, bowline.ConvertOptions{To: "torchchat", Verify: true})
		if !r.Verification.Pass || !r.Verification.BitIdentical {
			t.Errorf("%s: %s", name, r.Verification.Line())
		}
		want := filepath.Join("testdata/torchchat", name)
		sameHolding(t, name, holding(t, filepath.Join(dir, "model.pth")), holding(t, filepath.Join(want, "model.pth")))
		if got, want := arguments(t, filepath.Join(dir, "params.json")), arguments(t, filepath.Join(want, "params.json")); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: params.json:\ngot  %v\nwant %v", name, got, want)
		}
		if conf := text(t, filepath.Join(dir, "config.json")); conf != text(t, filepath.Join(src, "config.json")) {
			t.Errorf("%s: config.json is not the source's", name)
		}
		// By the record alone, and as one file.
		lone := filepath.Join(t.TempDir(), "lone.pth")
		converted(t, src, lone, bowline.ConvertOptions{To: "torchchat"})
		if err := os.Remove(filepath.Join(filepath.Dir(lone), "params.json")); err != nil {
			t.Error(err)
		}
		if v, err := bowline.Verify(context.Background(), bowline.Source{Path: lone}, bowline.Source{Path: src}, bowline.VerifyOptions{}); err != nil || !v.Pass || !v.BitIdentical {
			t.Errorf("%s, by the record in the file: got %+v, %v", name, v, err)
		}
	}
}

// TestTorchChatRead runs TorchChat's own model.pth, and makes the Hugging Face source of it.
func TestTorchChatRead(t *testing.T) {
	for name, src := range torchChats {
		at := filepath.Join("testdata/torchchat", name)
		dir := beside(t, name, map[string]string{"params.json": text(t, filepath.Join(at, "params.json"))})
		for _, from := range []string{dir, filepath.Join(dir, "model.pth")} {
			v, err := bowline.Verify(context.Background(), bowline.Source{Path: from}, bowline.Source{Path: filepath.Join(at, "logits.safetensors")}, bowline.VerifyOptions{Class: "A"})
			if err != nil || !v.Pass {
				t.Errorf("%s: against TorchChat's logits: got %+v, %v", from, v, err)
			}
		}
		for _, dst := range []string{"back", "back.safetensors"} {
			out := filepath.Join(t.TempDir(), dst)
			r := converted(t, dir, out, bowline.ConvertOptions{Verify: true})
			if !r.Verification.BitIdentical {
				t.Errorf("%s to %s: %s", name, dst, r.Verification.Line())
			}
			sameHolding(t, name+" to "+dst, holding(t, out), holding(t, src))
			ref := bowline.Source{Path: src}
			if v, err := bowline.Verify(context.Background(), bowline.Source{Path: out, Config: filepath.Join(src, "config.json")}, ref, bowline.VerifyOptions{}); err != nil || !v.BitIdentical {
				t.Errorf("%s to %s: against the source: got %+v, %v", name, dst, v, err)
			}
			if dst != "back" {
				continue
			}
			// The config.json that was made computes the same as the source's.
			if v, err := bowline.Verify(context.Background(), bowline.Source{Path: out}, ref, bowline.VerifyOptions{}); err != nil || !v.BitIdentical || !v.Pass {
				t.Errorf("%s by its own config.json: got %+v, %v", name, v, err)
			}
			if _, err := os.Stat(filepath.Join(out, "params.json")); err == nil {
				t.Errorf("%s: params.json was carried into a Hugging Face directory", name)
			}
		}
		// And through GGUF.
		gguf := filepath.Join(t.TempDir(), "x.gguf")
		converted(t, dir, gguf, bowline.ConvertOptions{Verify: true})
		again := filepath.Join(t.TempDir(), "again.pth")
		converted(t, gguf, again, bowline.ConvertOptions{To: "torchchat"})
		sameHolding(t, name+" through GGUF", holding(t, again), holding(t, filepath.Join(dir, "model.pth")))
	}
}

// TestTorchChatMultipliers refuses a params.json that lacks the factors of the config.json beside it: TorchChat computes without them.
func TestTorchChatMultipliers(t *testing.T) {
	var stated map[string]any
	if err := json.Unmarshal([]byte(text(t, "testdata/torchchat/granite/params.json")), &stated); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling"} {
		delete(stated, k)
	}
	params, err := json.Marshal(stated)
	if err != nil {
		t.Fatal(err)
	}
	dir := beside(t, "granite", map[string]string{"params.json": string(params), "config.json": text(t, "testdata/torchchat/granite/hf/config.json")})
	ctx, src := context.Background(), bowline.Source{Path: dir}
	keys := []string{"embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling"}
	for what, err := range map[string]error{
		"to a directory": second(bowline.Convert(ctx, src, filepath.Join(t.TempDir(), "x"), bowline.ConvertOptions{})),
		"to GGUF":        second(bowline.Convert(ctx, src, filepath.Join(t.TempDir(), "x.gguf"), bowline.ConvertOptions{})),
		"to TorchChat":   second(bowline.Convert(ctx, src, filepath.Join(t.TempDir(), "x.pth"), bowline.ConvertOptions{To: "torchchat"})),
		"logits":         second(bowline.Logits(ctx, src, "", false, bowline.VerifyOptions{Tokens: []int32{1, 2, 3}})),
		"verify":         second(bowline.Verify(ctx, src, bowline.Source{Path: "testdata/torchchat/granite/logits.safetensors"}, bowline.VerifyOptions{})),
	} {
		if formats.CodeOf(err) != formats.Mismatch {
			t.Errorf("%s: got %v, want %s", what, err, formats.Mismatch)
			continue
		}
		for _, k := range keys {
			if !strings.Contains(err.Error(), k) {
				t.Errorf("%s: got %v, want %s in it", what, err, k)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestTorchChatWithoutConfig: nothing but inspect and copies that keep names works on a model.pth that nothing describes.
func TestTorchChatWithoutConfig(t *testing.T) {
	dir := beside(t, "llama", nil)
	ctx := context.Background()
	for _, path := range []string{dir, filepath.Join(dir, "model.pth")} {
		src := bowline.Source{Path: path}
		ref := bowline.Source{Path: torchChats["llama"]}
		for what, err := range map[string]error{
			"to a directory": second(bowline.Convert(ctx, src, filepath.Join(t.TempDir(), "x"), bowline.ConvertOptions{})),
			"to GGUF":        second(bowline.Convert(ctx, src, filepath.Join(t.TempDir(), "x.gguf"), bowline.ConvertOptions{})),
			"to PyTorch":     second(bowline.Convert(ctx, src, filepath.Join(t.TempDir(), "x.bin"), bowline.ConvertOptions{})),
			"to TorchChat":   second(bowline.Convert(ctx, src, filepath.Join(t.TempDir(), "x"), bowline.ConvertOptions{To: "torchchat"})),
			"plan":           second(bowline.Plan(ctx, src, filepath.Join(t.TempDir(), "x"), bowline.ConvertOptions{})),
			"ties":           second(bowline.Ties(ctx, src, bowline.TiesOptions{})),
			"logits":         second(bowline.Logits(ctx, src, "", false, bowline.VerifyOptions{Tokens: []int32{1}})),
			"verify":         second(bowline.Verify(ctx, src, ref, bowline.VerifyOptions{})),
			"as a reference": second(bowline.Verify(ctx, ref, src, bowline.VerifyOptions{})),
			"hash":           second(bowline.Hash(ctx, src, bowline.HashOptions{})),
		} {
			if formats.CodeOf(err) != formats.Missing {
				t.Errorf("%s: got %v, want %s", what, err, formats.Missing)
				continue
			}
			for _, part := range []string{"config.json", "params.json", "--config"} {
				if what == "hash" {
					part = "--config"
				}
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: got %v, want %s in it", what, err, part)
				}
			}
		}
		if r, err := bowline.Inspect(src, bowline.InspectOptions{}); err != nil || len(r.Tensors) == 0 {
			t.Errorf("inspect: got %v", err)
		}
		out := filepath.Join(t.TempDir(), "kept.safetensors")
		converted(t, path, out, bowline.ConvertOptions{Options: convert.Options{KeepNames: true}})
		sameHolding(t, "names kept", holding(t, out), holding(t, filepath.Join(dir, "model.pth")))
	}
	for _, named := range []string{"testdata/torchchat/llama/params.json", "testdata/torchchat/llama/hf/config.json"} {
		src := bowline.Source{Path: filepath.Join(dir, "model.pth"), Config: named}
		if v, err := bowline.Verify(ctx, src, bowline.Source{Path: "testdata/torchchat/llama/logits.safetensors"}, bowline.VerifyOptions{}); err != nil || !v.Pass {
			t.Errorf("--config %s: got %+v, %v", named, v, err)
		}
	}
}

// TestTorchChatNamesKept: a copy that keeps its names keeps what says the model's parameters too.
func TestTorchChatNamesKept(t *testing.T) {
	params, conf := text(t, "testdata/torchchat/llama/params.json"), text(t, "testdata/torchchat/llama/hf/config.json")
	for _, files := range []map[string]string{{"params.json": params}, {"config.json": conf}, {"params.json": params, "config.json": conf}} {
		for _, to := range []string{"safetensors", "pytorch"} {
			dir, out := beside(t, "llama", files), filepath.Join(t.TempDir(), "kept")
			converted(t, dir, out, bowline.ConvertOptions{To: to, Options: convert.Options{KeepNames: true}})
			sameHolding(t, to, holding(t, out), holding(t, dir))
			ref := bowline.Source{Path: "testdata/torchchat/llama/logits.safetensors"}
			if v, err := bowline.Verify(context.Background(), bowline.Source{Path: out}, ref, bowline.VerifyOptions{Class: "A"}); err != nil || !v.Pass {
				t.Errorf("%v to %s: got %+v, %v", slices.Sorted(maps.Keys(files)), to, v, err)
			}
			if r, err := bowline.Ties(context.Background(), bowline.Source{Path: out}, bowline.TiesOptions{}); err != nil || !r.Consistent {
				t.Errorf("%v to %s: got %+v, %v, want consistent", slices.Sorted(maps.Keys(files)), to, r, err)
			}
		}
	}
}

// TestTorchChatFlags: the tie flags of config.json and params.json contradict each other, and the report says so.
func TestTorchChatFlags(t *testing.T) {
	hf, params := text(t, "testdata/torchchat/llama3-rope/hf/config.json"), text(t, "testdata/torchchat/llama3-rope/params.json")
	flip := func(s string) string {
		return strings.Replace(s, `"tie_word_embeddings": true`, `"tie_word_embeddings": false`, 1)
	}
	for _, x := range []struct {
		name, conf, params string
		conflict           bool
	}{
		{"they agree", hf, params, false},
		{"config.json says no", flip(hf), params, true},
		{"params.json says no", hf, flip(params), true},
	} {
		dir := beside(t, "llama3-rope", map[string]string{"config.json": x.conf, "params.json": x.params})
		r, err := bowline.Ties(context.Background(), bowline.Source{Path: dir}, bowline.TiesOptions{})
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		if got := slices.Contains(r.Groups[0].Flags, "config_conflict"); got != x.conflict || r.Consistent == x.conflict {
			t.Errorf("%s: got flags %v, consistent %v", x.name, r.Groups[0].Flags, r.Consistent)
		}
		if !x.conflict {
			continue
		}
		// The result says one thing at every level.
		out := filepath.Join(t.TempDir(), "out")
		if _, err := bowline.Convert(context.Background(), bowline.Source{Path: dir}, out, bowline.ConvertOptions{To: "torchchat", Options: convert.Options{Ties: convert.TieAny}}); err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		if r, err = bowline.Ties(context.Background(), bowline.Source{Path: out}, bowline.TiesOptions{}); err != nil || !r.Consistent {
			t.Errorf("%s: the result: got %+v, %v, want consistent", x.name, r, err)
		}
	}
}

// TestTorchChatTokenizer: which tokenizer TorchChat is told to take, and what is done for it.
func TestTorchChatTokenizer(t *testing.T) {
	const llama = "testdata/torchchat/llama/hf/"
	checkpoint := func(name string) string { return "testdata/checkpoints/" + name + "/" }
	none := text(t, checkpoint("granite-code")+"tokenizer_config.json")
	for _, x := range []struct {
		name  string
		files map[string]string // beside the weights
		want  map[string]any    // of params.json
		chat  any               // the chat_template of the result; nil: there is none
		notes []string
		run   string
	}{
		{name: "nothing", want: map[string]any{"use_hf_tokenizer": true, "use_tiktoken": false, "tokenizer_prepend_bos": false}, notes: []string{"tokenizer: none"}},
		{name: "tokenizer.json that adds nothing", files: map[string]string{"tokenizer.json": text(t, checkpoint("granite-code")+"tokenizer.json"), "tokenizer_config.json": none},
			want: map[string]any{"use_hf_tokenizer": true, "tokenizer_prepend_bos": false}, chat: "{% for message in messages %}{{ message['content'] }}{% endfor %}",
			notes: []string{"tokenizer_config.json: chat_template added"}, run: "tokenizer.json"},
		{name: "tokenizer.json that begins with BOS", files: map[string]string{"tokenizer.json": text(t, checkpoint("llama3")+"tokenizer.json"),
			"tokenizer_config.json": `{"bos_token": "<s>", "eos_token": "</s>", "chat_template": "{{ x }}"}`},
			want: map[string]any{"use_hf_tokenizer": true, "tokenizer_prepend_bos": true}, chat: "{{ x }}", run: "tokenizer.json"},
		{name: "a template in a file of its own", files: map[string]string{"tokenizer.json": text(t, checkpoint("granite-code")+"tokenizer.json"), "tokenizer_config.json": none,
			"chat_template.jinja": "{{ \"quoted\" }}\n<é>"}, want: map[string]any{"use_hf_tokenizer": true}, chat: "{{ \"quoted\" }}\n<é>", notes: []string{"chat_template added"}},
		{name: "several templates", files: map[string]string{"tokenizer.json": text(t, checkpoint("granite-code")+"tokenizer.json"),
			"tokenizer_config.json": `{"bos_token": "a", "eos_token": "b", "chat_template": [{"name": "default", "template": "x"}]}`},
			chat: []any{map[string]any{"name": "default", "template": "x"}}, notes: []string{"several chat templates"}},
		{name: "no tokens that begin and end", files: map[string]string{"tokenizer.json": text(t, checkpoint("granite-code")+"tokenizer.json"), "tokenizer_config.json": `{"chat_template": "x"}`},
			chat: "x", notes: []string{"has no bos_token", "has no eos_token"}},
		{name: "no tokenizer_config.json", files: map[string]string{"tokenizer.json": text(t, checkpoint("granite-code")+"tokenizer.json")}, notes: []string{"tokenizer_config.json: absent"}},
		{name: "SentencePiece", files: map[string]string{"tokenizer.model": text(t, checkpoint("mistral")+"tokenizer.model")},
			want: map[string]any{"use_hf_tokenizer": false, "use_tiktoken": false, "tokenizer_prepend_bos": true}, run: "tokenizer.model"},
		{name: "tiktoken", files: map[string]string{"tokenizer.model": "IQ== 0\nIg== 1\n"}, // the first lines of Llama 3's file
			want: map[string]any{"use_hf_tokenizer": false, "use_tiktoken": true, "tokenizer_prepend_bos": true}, run: "tokenizer.model"},
	} {
		dir := t.TempDir()
		for _, n := range []string{"config.json", "model.safetensors"} {
			write(t, filepath.Join(dir, n), text(t, llama+n))
		}
		for n, s := range x.files {
			write(t, filepath.Join(dir, n), s)
		}
		out := filepath.Join(t.TempDir(), "tc")
		r := converted(t, dir, out, bowline.ConvertOptions{To: "torchchat"})
		args := arguments(t, filepath.Join(out, "params.json"))
		for k, v := range x.want {
			if args[k] != v {
				t.Errorf("%s: %s: got %v, want %v", x.name, k, args[k], v)
			}
		}
		var said strings.Builder
		for _, n := range r.Notes {
			fmt.Fprintf(&said, "%s: %s\n", n.Subject, n.Decision)
		}
		for _, n := range x.notes {
			if !strings.Contains(said.String(), n) {
				t.Errorf("%s: got notes\n%swant %q", x.name, said.String(), n)
			}
		}
		for n, s := range x.files {
			if got := text(t, filepath.Join(out, n)); got != s && n != "tokenizer_config.json" {
				t.Errorf("%s: %s is not the source's", x.name, n)
			}
		}
		if _, ok := x.files["tokenizer_config.json"]; ok {
			var got map[string]any
			if err := json.Unmarshal([]byte(text(t, filepath.Join(out, "tokenizer_config.json"))), &got); err != nil || !reflect.DeepEqual(got["chat_template"], x.chat) {
				t.Errorf("%s: got chat_template %v, %v, want %v", x.name, got["chat_template"], err, x.chat)
			}
		}
		if x.run != "" && !strings.Contains(r.Run, "--tokenizer-path "+filepath.Join(out, x.run)+" ") {
			t.Errorf("%s: got %q, want it to name %s", x.name, r.Run, x.run)
		}
	}
	for name, want := range map[string]bool{"granite-code": false, "llama3": true, "mistral": true, "smollm2": false, "llama-linear": false} {
		var post struct {
			P any `json:"post_processor"`
		}
		b := text(t, checkpoint(name)+"tokenizer.json")
		if err := json.Unmarshal([]byte(b), &post); err != nil {
			t.Fatal(err)
		}
		dir := beside(t, "llama", map[string]string{"params.json": text(t, "testdata/torchchat/llama/params.json"), "tokenizer.json": b})
		out := filepath.Join(t.TempDir(), "tc")
		converted(t, dir, out, bowline.ConvertOptions{To: "torchchat"})
		if got := arguments(t, filepath.Join(out, "params.json"))["tokenizer_prepend_bos"]; got != want {
			t.Errorf("%s: tokenizer_prepend_bos: got %v, want %v for %v", name, got, want, post.P)
		}
	}
}

// TestTorchChatCommand: the line that runs the result survives a shell.
func TestTorchChatCommand(t *testing.T) {
	for name, want := range map[string]string{
		"plain-1.0":    "plain-1.0",
		"two words":    "'two words'",
		"it's":         `'it'\''s'`,
		`say "hi"`:     `'say "hi"'`,
		"$HOME;rm -x*": "'$HOME;rm -x*'",
		"größe":        "'größe'",
	} {
		dir := filepath.Join(t.TempDir(), name)
		r := converted(t, torchChats["granite-code"], dir, bowline.ConvertOptions{To: "torchchat"})
		quoted := func(file string) string {
			s := filepath.Join(dir, file)
			if strings.HasPrefix(want, "'") {
				s = "'" + filepath.Dir(dir) + "/" + strings.TrimSuffix(strings.TrimPrefix(want, "'"), "'") + "/" + file + "'"
			}
			return s
		}
		line := "python3 torchchat.py generate --checkpoint-path " + quoted("model.pth") + " --params-path " + quoted("params.json") + " --tokenizer-path " + quoted("tokenizer.json") + ` --prompt "Hello"`
		if r.Run != line {
			t.Errorf("%s:\ngot  %s\nwant %s", name, r.Run, line)
		}
	}
	// A single file finds its tokenizer beside the source.
	file := filepath.Join(t.TempDir(), "granite.pth")
	r := converted(t, torchChats["granite-code"], file, bowline.ConvertOptions{To: "torchchat"})
	src, err := filepath.Abs(torchChats["granite-code"])
	if err != nil {
		t.Fatal(err)
	}
	if want := "python3 torchchat.py generate --checkpoint-path " + file + " --params-path " + filepath.Join(filepath.Dir(file), "params.json") + " --tokenizer-path " + filepath.Join(src, "tokenizer.json") + ` --prompt "Hello"`; r.Run != want {
		t.Errorf("got  %s\nwant %s", r.Run, want)
	}
	for _, p := range []string{"x.bin", "y", "z.gguf"} {
		if r := converted(t, torchChats["granite-code"], filepath.Join(t.TempDir(), p), bowline.ConvertOptions{}); r.Run != "" {
			t.Errorf("%s: got %q, want no line", p, r.Run)
		}
	}
}

// TestTorchChatTies follows a tie through model.pth: absent, copied, or a head of its own.
func TestTorchChatTies(t *testing.T) {
	for _, x := range []struct {
		dir    string
		o      convert.Options
		flag   bool
		head   bool
		refuse formats.Code
	}{
		{dir: "tied", flag: true},
		{dir: "tied", o: convert.Options{Ties: convert.Untie}, head: true},
		{dir: "tied", o: convert.Options{Ties: convert.Keep}, flag: true},
		{dir: "untied", head: true},
		{dir: "tied-different-head", head: true},
		{dir: "untied-missing-head", refuse: formats.Tie},
		{dir: "untied-missing-head", o: convert.Options{Ties: convert.Keep}, refuse: formats.Tie},
		{dir: "absent-no-head", o: convert.Options{Ties: convert.Keep}, refuse: formats.Tie},
		{dir: "absent-no-head", o: convert.Options{Ties: convert.TieAny}, flag: true},
	} {
		src := copyModel(t, "ties/"+x.dir, nil)
		out := filepath.Join(t.TempDir(), "tc")
		_, err := bowline.Convert(context.Background(), bowline.Source{Path: src}, out, bowline.ConvertOptions{To: "torchchat", Options: x.o})
		if formats.CodeOf(err) != x.refuse {
			t.Errorf("%s %s: got %v, want %q", x.dir, x.o.Ties, err, x.refuse)
			continue
		}
		if err != nil {
			if _, err := os.Lstat(out); !os.IsNotExist(err) {
				t.Errorf("%s %s: got %v at the destination, want nothing", x.dir, x.o.Ties, err)
			}
			continue
		}
		got := holding(t, filepath.Join(out, "model.pth"))
		_, head := got["output.weight"]
		if flag := arguments(t, filepath.Join(out, "params.json"))["tie_word_embeddings"]; flag != x.flag || head != x.head || got["tok_embeddings.weight"] == "" {
			t.Errorf("%s %s: got flag %v, head %v, want %v, %v", x.dir, x.o.Ties, flag, head, x.flag, x.head)
		}
		if r, err := bowline.Ties(context.Background(), bowline.Source{Path: out}, bowline.TiesOptions{}); err != nil || !r.Consistent {
			t.Errorf("%s %s: got %+v, %v, want consistent", x.dir, x.o.Ties, r, err)
		}
	}
}

// TestTorchChatRecord: the config.json in the file is that of the result, and stays out of other formats.
func TestTorchChatRecord(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.pth"), filepath.Join(t.TempDir(), "b")
	converted(t, torchChats["granite-code"], a, bowline.ConvertOptions{To: "torchchat", Options: convert.Options{DType: "f16", Ties: convert.Untie}})
	if err := os.Remove(filepath.Join(dir, "params.json")); err != nil {
		t.Fatal(err)
	}
	raw := text(t, a)
	if !strings.Contains(raw, "/extra/config.json") || !strings.Contains(raw, `"torch_dtype": "float16"`) || !strings.Contains(raw, `"tie_word_embeddings": false`) {
		t.Error("the file holds no config.json of its own")
	}
	converted(t, a, b, bowline.ConvertOptions{})
	if conf := text(t, filepath.Join(b, "config.json")); !strings.Contains(raw, conf) {
		t.Errorf("got %s, want the record's text", conf)
	}
	if bytes.Contains([]byte(text(t, filepath.Join(b, "model.safetensors"))), []byte("extra/config.json")) || strings.Contains(text(t, filepath.Join(b, "model.safetensors")), "hidden_size") {
		t.Error("the record went into __metadata__")
	}
}
