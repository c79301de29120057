package bowline

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
)

// demoFiles are a tiny Granite Code checkpoint that transformers wrote, and logits that transformers computed from it.
//
//go:embed testdata/checkpoints/granite-code testdata/expected/granite-code/logits.safetensors
var demoFiles embed.FS

// DemoStep is one thing that the demo did: a command as a user would type it, and what came of it.
type DemoStep struct {
	Command string   `json:"command"`
	Result  []string `json:"result"`
}

// DemoReport is what the demo did.
type DemoReport struct {
	Schema string     `json:"schema"`
	Dir    *string    `json:"dir"` // null where the files were not kept
	Steps  []DemoStep `json:"steps"`
}

// Demo unpacks the embedded checkpoint into dir, which must be empty or absent, inspects it, converts it to every format, unties and ties it, and
// verifies each result against the recorded logits. say is called after each step.
func Demo(ctx context.Context, dir string, say func(DemoStep)) (*DemoReport, error) {
	r := &DemoReport{Schema: "bowline.demo/1", Dir: &dir}
	done := func(command string, result ...string) {
		r.Steps = append(r.Steps, DemoStep{command, result})
		say(r.Steps[len(r.Steps)-1])
	}
	if list, err := os.ReadDir(dir); err == nil && len(list) > 0 {
		return nil, formats.Errorf(formats.Exists, "the directory is not empty").At(dir, -1)
	}
	source, recorded := filepath.Join(dir, "granite-code"), filepath.Join(dir, "logits.safetensors")
	if err := unpack("testdata/checkpoints/granite-code", source); err != nil {
		return nil, err
	}
	if err := unpack("testdata/expected/granite-code/logits.safetensors", recorded); err != nil {
		return nil, err
	}
	in, err := Inspect(Source{Path: source}, InspectOptions{})
	if err != nil {
		return nil, err
	}
	done("", fmt.Sprintf("granite-code/: "+"%s, %d tensors, %d parameters, %s", *in.Architecture, len(in.Tensors), in.Parameters.Total, *in.Ties.Verdict))
	check := func(name string) (string, error) {
		v, err := Verify(ctx, Source{Path: filepath.Join(dir, name)}, Source{Path: recorded}, VerifyOptions{})
		if err != nil {
			return "", err
		}
		if !v.Pass {
			return "", formats.Errorf(formats.Differs, "%s", v.Line()).At(filepath.Join(dir, name), -1)
		}
		return v.Line(), nil
	}
	line, err := check("granite-code")
	if err != nil {
		return nil, err
	}
	done("verify granite-code/ --against logits.safetensors", line)
	for _, s := range []struct {
		from, to, flags string
		o               ConvertOptions
	}{
		{"granite-code", "granite-code.gguf", "", ConvertOptions{}},
		{"granite-code.gguf", "back", "", ConvertOptions{}},
		{"granite-code", "pytorch_model.bin", "", ConvertOptions{}},
		{"granite-code", "torchchat", " --to torchchat", ConvertOptions{To: "torchchat"}},
		{"torchchat", "from-torchchat", "", ConvertOptions{}},
		{"granite-code", "arrays", " --to raw", ConvertOptions{To: "raw"}},
		{"granite-code", "granite-code-q8_0.gguf", " --dtype q8_0", ConvertOptions{Options: convert.Options{DType: "q8_0"}}},
		{"granite-code", "untied", " --ties untie", ConvertOptions{Options: convert.Options{Ties: convert.Untie}}},
		{"untied", "tied-again", " --ties tie", ConvertOptions{Options: convert.Options{Ties: convert.TieAny}}},
	} {
		c, err := Convert(ctx, Source{Path: filepath.Join(dir, s.from)}, filepath.Join(dir, s.to), s.o)
		if err != nil {
			return nil, err
		}
		total := int64(0)
		for _, f := range c.Written {
			total += f.Bytes
		}
		line, err := check(s.to)
		if err != nil {
			return nil, err
		}
		slash := func(name string) string {
			if path.Ext(name) == "" {
				return name + "/"
			}
			return name
		}
		done(fmt.Sprintf("convert %s %s%s", slash(s.from), slash(s.to), s.flags), fmt.Sprintf("%d bytes in %d files, ties %s -> %s", total, len(c.Written), *c.Ties.Before, *c.Ties.After))
		done(fmt.Sprintf("verify %s --against logits.safetensors", slash(s.to)), line)
	}
	return r, nil
}

// unpack writes an embedded file or directory.
func unpack(from, to string) error {
	return fs.WalkDir(demoFiles, from, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		out := filepath.Join(to, filepath.FromSlash(p[len(from):]))
		if e.IsDir() {
			return wrap(out, os.MkdirAll(out, 0o777))
		}
		b, err := demoFiles.ReadFile(p)
		if err != nil {
			return err
		}
		return wrap(out, os.WriteFile(out, b, 0o666))
	})
}

func wrap(path string, err error) error {
	if err == nil {
		return nil
	}
	return formats.OutputError("write", path, err)
}
