//go:build !windows

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/gguf"
	"github.com/bowline-ml/bowline/formats/pytorch"
	"github.com/bowline-ml/bowline/formats/raw"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// evil is what a terminal obeys: a title, a cleared screen, a bell, a line that overwrites itself, C1's CSI, text that runs backwards, an
// invisible joiner, a line separator.
const evil = "\x1b]0;owned\x07\x1b[2J\r\u009b31m\u202e\u2066\u200b\u2028\x7f\n\x00"

// shown says what is wrong with text that a terminal is to show, "" if nothing is. No line is longer than 8 KiB.
func shown(text string) string {
	if !utf8.ValidString(text) {
		return "it is not UTF-8"
	}
	for _, r := range text {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return fmt.Sprintf("it has %U", r)
		}
	}
	for line := range strings.Lines(text) {
		if len(line) > 8<<10 {
			return fmt.Sprintf("a line has %d bytes", len(line))
		}
	}
	return ""
}

// What a stranger named is printed so that it cannot act, in every command, in its results, notes and errors, as text and as JSON.
func TestNothingPrintedActs(t *testing.T) {
	dir := t.TempDir()
	at := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	noNUL := strings.TrimSuffix(evil, "\x00")
	file := strings.ReplaceAll(noNUL, "/", "")
	config := func(kind string) string {
		b, err := json.Marshal(map[string]any{"architectures": []string{kind}, "model_type": kind, "torch_dtype": kind, "transformers_version": kind,
			kind: kind, "text_config": map[string]any{"tie_word_embeddings": true}, "rope_scaling": map[string]any{"type": kind}})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var sources []string
	lay := func(sub string, files map[string]string) {
		t.Helper()
		if err := os.MkdirAll(at(sub), 0o777); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			if err := os.WriteFile(at(sub, name), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, f := range []struct {
		formats.Format
		file string
		name string // what a name may hold
		meta formats.Metadata
	}{
		{safetensors.Format, "model.safetensors", evil, formats.Metadata{{Key: evil, Value: evil}, {Key: "long", Value: strings.Repeat(evil, 3_000)}}},
		{pytorch.Format, "pytorch_model.bin", evil, nil},
		{gguf.Format, "m.gguf", noNUL, formats.Metadata{{Key: "general.architecture", Value: "x" + noNUL}, {Key: "general.name", Value: strings.Repeat(evil, 3_000)},
			{Key: "tokenizer.chat_template", Value: evil}, {Key: "some.list", Value: []string{evil, evil}}}},
		{raw.Format, "tensors.json", evil, formats.Metadata{{Key: evil, Value: evil}}},
	} {
		s := formatstest.Sample{Header: formats.Header{Metadata: f.meta}}
		for i, name := range []string{"a" + f.name, "b" + f.name, f.name, "lm_head.weight", "model.embed_tokens.weight"} {
			s.Header.Tensors = append(s.Header.Tensors, formats.Tensor{Name: name, DType: "F32", Shape: []int64{2}, Bytes: 8, File: map[bool]string{true: "", false: f.file}[f.Name == "raw"]})
			s.Data = append(s.Data, bytes.Repeat([]byte{byte(i / 4), 1, 2, 3}, 2))
		}
		if f.Name == "safetensors" { // the others have limits
			s.Header.Tensors = append(s.Header.Tensors, formats.Tensor{Name: strings.Repeat("long"+f.name, 25_000), DType: "F32", Shape: []int64{2}, Bytes: 8, File: f.file})
			s.Data = append(s.Data, make([]byte, 8))
		}
		l, err := f.Layout(s.Header)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		files, err := s.Files(l)
		if err != nil {
			t.Fatal(err)
		}
		sub := f.Name + file
		lay(sub, map[string]string{"config.json": config("y" + evil)})
		formatstest.Put(t, fsio.OS{}, at(sub), files)
		if f.Name == "gguf" {
			sources = append(sources, at(sub, "m.gguf"))
		} else {
			sources = append(sources, at(sub))
		}
	}
	// Files that are refused, with an error about what they hold.
	quoted, err := json.Marshal(evil)
	if err != nil {
		t.Fatal(err)
	}
	st := func(header string) string {
		n := len(header)
		return string([]byte{byte(n), byte(n >> 8), byte(n >> 16), 0, 0, 0, 0, 0}) + header
	}
	long, err := json.Marshal(strings.Repeat(evil, 3_000))
	if err != nil {
		t.Fatal(err)
	}
	for i, files := range []map[string]string{
		{"model.safetensors": st(`{` + string(quoted) + `:{"dtype":` + string(quoted) + `,"shape":[1],"data_offsets":[0,4]}}`)},
		{"model.safetensors": st(`{` + string(quoted) + `:1,` + string(quoted) + `:2}`)},
		{"model.safetensors": st(`{` + string(long) + `:1}`)},
		{"model.safetensors": st("{" + evil + "}")},
		{"model.safetensors.index.json": `{"weight_map":{` + string(quoted) + `:` + string(quoted) + `}}`},
		{"model.safetensors.index.json": `{"weight_map":{` + string(long) + `:` + string(long) + `}}`},
		{"model.safetensors.index.json": `{"weight_map":{` + string(quoted) + `:"model-1` + "\u202e" + `.safetensors"}}`},
		{"pytorch_model.bin": "\x80\x02c" + strings.ReplaceAll(noNUL, "\n", "") + "\nsystem\n."},
		{"tensors.json": `{"format":` + string(quoted) + `}`},
		{"model.safetensors": st("{}"), "config.json": "{" + string(quoted) + ":" + evil + "}"},
		{"model.safetensors": st("{}"), "config.json": `{"model_type":"llama","hidden_size":` + string(quoted) + `}`},
		{file: evil, "model" + file + ".safetensors": evil},
	} {
		sub := fmt.Sprint("refused", i, file)
		lay(sub, files)
		sources = append(sources, at(sub))
	}
	n := 0
	for i, src := range sources {
		out := at(fmt.Sprint("out", i, file))
		for k, args := range [][]string{
			{"inspect", src}, {"convert", src, out}, {"ties", src}, {"diff", sources[0], src}, {"inspect", "--tensors", "--metadata", src}, {"plan", src, out}, {"plan", src, out + ".gguf"}, {"plan", "--to", "torchchat", src, out},
			{"convert", "--to", "pytorch", src, out}, {"convert", src, out + ".gguf"}, {"convert", "--to", "raw", src, out + "r"},
			{"diff", src, sources[0]}, {"diff", src, src + evil}, {"hash", src}, {"hash", src, "--check", src}, {"verify", src, "--against", sources[1]}, {"logits", src},
			{"convert", "--dtype", evil, src, out}, {"inspect", "--" + evil, src}, {evil, src}, {"inspect", "--config", src + noNUL, src},
		} {
			if k == 4 && i >= 4 {
				break // it is refused, in every command by the same words
			}
			for _, asJSON := range []bool{false, true} {
				line := append([]string{"bowline"}, args...)
				if asJSON {
					line = append(line, "--json")
				}
				var stdout, stderr bytes.Buffer
				code := run(line, &stdout, &stderr)
				n++
				where := fmt.Sprintf("source %d, command %d %.20q, JSON %v, exit %d", i, k, args[0], asJSON, code)
				if what := shown(stderr.String()); what != "" {
					t.Errorf("%s: stderr: %s: %.400q", where, what, stderr.String())
				}
				text := stdout.String()
				if asJSON {
					if !json.Valid(stdout.Bytes()) {
						t.Errorf("%s: got no JSON: %.400q", where, text)
					}
					text = strings.ReplaceAll(text, `\`, "\n") // strings may be long there
				}
				if what := shown(text); what != "" {
					t.Errorf("%s: stdout: %s: %.400q", where, what, text)
				}
			}
		}
	}
	t.Logf("%d commands", n)
}
