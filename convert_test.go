package bowline_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
)

// copyModel copies a fixture, so that a test can spoil it. edit changes config.json.
func copyModel(t *testing.T, name string, edit func(string) string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		path := filepath.Join(dir, "config.json")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, edit(string(b)))
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// safetensorsFile is a file of one-element F32 tensors with a metadata entry.
func safetensorsFile(metadata string, names ...string) string {
	var h strings.Builder
	h.WriteString(`{"__metadata__":` + metadata)
	for i, n := range names {
		fmt.Fprintf(&h, `,%q:{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}`, n, 4*i, 4*i+4)
	}
	h.WriteString("}")
	return string(binary.LittleEndian.AppendUint64(nil, uint64(h.Len()))) + h.String() + strings.Repeat("\x00", 4*len(names))
}

func TestSingleFileIsJudgedBySource(t *testing.T) {
	for _, beside := range []string{"", "{ malformed", `{"architectures": ["LlamaForCausalLM"], "hidden_size": 7}`} {
		dir := t.TempDir()
		if beside != "" {
			write(t, filepath.Join(dir, "config.json"), beside)
		}
		for _, src := range []string{"testdata/checkpoints/granite-code", "testdata/gguf/llamacpp/llama3-f32.gguf"} {
			r, err := bowline.Convert(context.Background(), bowline.Source{Path: src}, filepath.Join(dir, "x.safetensors"), bowline.ConvertOptions{Verify: true, Force: true})
			if err != nil {
				t.Errorf("%s beside %q: %v", src, beside, err)
				continue
			}
			if !r.Verification.Pass || r.Ties.After == nil {
				t.Errorf("%s beside %q: got pass %v, ties %v", src, beside, r.Verification.Pass, r.Ties.After)
			}
		}
	}
}

func TestWindowBeyondGGUF(t *testing.T) {
	dir := copyModel(t, "checkpoints/mistral", func(s string) string {
		return strings.Replace(s, `"sliding_window": null`, `"sliding_window": 16`, 1)
	})
	for _, f := range []string{"tokenizer.json", "tokenizer.model"} {
		if err := os.Remove(filepath.Join(dir, f)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	r, err := bowline.Convert(context.Background(), bowline.Source{Path: dir}, filepath.Join(t.TempDir(), "x.gguf"), bowline.ConvertOptions{Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Verification.Summary.Rows; got != 16 {
		t.Errorf("got %d rows compared, want the 16 of the window", got)
	}
	if n := len(r.Verification.Notes); n == 0 || !strings.Contains(r.Verification.Notes[n-1].Because, "no sliding window") {
		t.Errorf("got notes %v, want one about the window", r.Verification.Notes)
	}
}

func TestOtherPeoplesFiles(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		to    string
		want  formats.Code // "" for success
		has   string       // a file of the result, or text of the error
	}{
		{"dangling index entry of an unknown family", map[string]string{
			"config.json": `{"model_type": "foo"}`, "model-00001-of-00001.safetensors": safetensorsFile(`{}`, "a"),
			"model.safetensors.index.json": `{"weight_map": {"a": "model-00001-of-00001.safetensors", "gone.weight": "model-00001-of-00001.safetensors"}}`}, "out", formats.Missing, "gone.weight"},
		{"an adapter keeps its file name", map[string]string{
			"adapter_config.json": `{}`, "adapter_model.safetensors": safetensorsFile(`{}`, "base.lora_A.weight")}, "out", "", "adapter_model.safetensors"},
		{"a checkpoint without tensors", map[string]string{"model.safetensors": safetensorsFile(`{}`)}, "out.safetensors", formats.Missing, "no tensors"},
		{"a stale alias record", map[string]string{"model.safetensors": safetensorsFile(`{"b":"a","c":"d"}`, "a", "b")}, "out", "", "model.safetensors"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				write(t, filepath.Join(dir, name), text)
			}
			out := filepath.Join(t.TempDir(), c.to)
			r, err := bowline.Convert(context.Background(), bowline.Source{Path: dir}, out, bowline.ConvertOptions{})
			if got := formats.CodeOf(err); got != c.want {
				t.Fatalf("got %q (%v), want %q", got, err, c.want)
			}
			if err != nil {
				if !strings.Contains(err.Error(), c.has) {
					t.Errorf("got %v, want %q in it", err, c.has)
				}
				if _, err := os.Lstat(out); !os.IsNotExist(err) {
					t.Errorf("got %v at the destination, want nothing", err)
				}
				return
			}
			if _, err := os.Stat(filepath.Join(out, c.has)); err != nil {
				t.Error(err)
			}
			if c.name == "a stale alias record" {
				b, err := os.ReadFile(filepath.Join(out, c.has))
				if err != nil || strings.Contains(string(b), `"b":"a"`) || !strings.Contains(string(b), `"c":"d"`) {
					t.Errorf("got %.200q (%v), want the record of c alone", b, err)
				}
				if len(r.Notes) == 0 {
					t.Error("got no note")
				}
			}
		})
	}
}

func TestLogBesideTheWeights(t *testing.T) {
	dir := copyModel(t, "checkpoints/granite-code", nil)
	write(t, filepath.Join(dir, "convert.log"), "")
	var once sync.Once
	o := bowline.ConvertOptions{Options: convert.Options{DType: "f32"}, Progress: func(int64, int64) {
		once.Do(func() { write(t, filepath.Join(dir, "convert.log"), "10 %") })
	}}
	if _, err := bowline.Convert(context.Background(), bowline.Source{Path: dir}, filepath.Join(t.TempDir(), "x.gguf"), o); err != nil {
		t.Error(err)
	}
}

func TestVerifySeesStrangers(t *testing.T) {
	fewer := copyModel(t, "ties/tied", func(s string) string {
		return strings.Replace(s, `"num_hidden_layers": 2`, `"num_hidden_layers": 1`, 1)
	})
	r, err := bowline.Verify(context.Background(), bowline.Source{Path: fewer}, bowline.Source{Path: fewer}, bowline.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Notes) == 0 || !strings.Contains(r.Notes[0].Subject, "layers.1.") {
		t.Errorf("got notes %v, want the tensors of the second layer", r.Notes)
	}
	gguf := filepath.Join(t.TempDir(), "x.gguf")
	if _, err := bowline.Convert(context.Background(), bowline.Source{Path: "testdata/ties/tied"}, gguf, bowline.ConvertOptions{}); err != nil {
		t.Fatal(err)
	}
	if r, err = bowline.Verify(context.Background(), bowline.Source{Path: fewer}, bowline.Source{Path: gguf}, bowline.VerifyOptions{}); err != nil {
		t.Fatal(err)
	}
	if r.Pass || !strings.Contains(fmt.Sprint(r.Suspects), "layers.1.input_layernorm.weight missing only one of the two holds it") {
		t.Errorf("got pass %v, suspects %v, want the tensors of the second layer", r.Pass, r.Suspects)
	}
}
