package all_test

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/all"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// TestShardLayouts: the ways in which the models of the hub name their shards. Each is opened by its directory, its index and each of its
// shards, and is the same set every time.
func TestShardLayouts(t *testing.T) {
	numbered := func(format string, from, n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprintf(format, from+i))
		}
		return names
	}
	for _, x := range []struct {
		name  string
		files []string
		index string // "" for none: the names alone lead from one to the others
		alone bool   // the directory is opened otherwise: model.safetensors comes first, or no name is a known one
	}{
		{name: "transformers", files: numbered("model-%05d-of-00003.safetensors", 1, 3), index: "model.safetensors.index.json"},
		{name: "transformers, index lost", files: numbered("model-%05d-of-00003.safetensors", 1, 3)},
		{name: "six digits (DeepSeek-V3)", files: numbered("model-%05d-of-000003.safetensors", 1, 3), index: "model.safetensors.index.json"},
		{name: "six digits, index lost", files: numbered("model-%05d-of-000003.safetensors", 1, 3)},
		{name: "not padded (Kimi-K2)", files: numbered("model-%d-of-11.safetensors", 1, 11), index: "model.safetensors.index.json"},
		{name: "not padded, index lost", files: numbered("model-%d-of-11.safetensors", 1, 11)},
		{name: "from 0 to N (gpt-oss)", files: numbered("model-%05d-of-00002.safetensors", 0, 3), index: "model.safetensors.index.json"},
		{name: "suffix in the stem (Qwen)", files: numbered("model.safetensors-%05d-of-00002.safetensors", 1, 2), index: "model.safetensors.index.json"},
		{name: "one shard", files: numbered("model-%05d-of-00001.safetensors", 1, 1), index: "model.safetensors.index.json"},
		{name: "one shard, index lost", files: numbered("model-%05d-of-00001.safetensors", 1, 1)},
		{name: "index of one plain file", files: []string{"model.safetensors"}, index: "model.safetensors.index.json"},
		{name: "names without numbers", files: []string{"experts.safetensors", "model.safetensors"}, index: "model.safetensors.index.json", alone: true},
		{name: "layers apart", files: numbered("layer_%d.safetensors", 0, 3), index: "model.safetensors.index.json"},
		{name: "diffusers", files: numbered("diffusion_pytorch_model-%05d-of-00002.safetensors", 1, 2), index: "diffusion_pytorch_model.safetensors.index.json"},
		{name: "a variant of diffusers", files: numbered("diffusion_pytorch_model.fp16-%05d-of-00002.safetensors", 1, 2),
			index: "diffusion_pytorch_model.safetensors.index.fp16.json"},
		{name: "a variant of diffusers, number first", files: numbered("model-%05d-of-00002.fp16.safetensors", 1, 2),
			index: "model.safetensors.index.fp16.json", alone: true},
		{name: "Mistral", files: numbered("consolidated-%05d-of-00002.safetensors", 1, 2), index: "consolidated.safetensors.index.json"},
		{name: "a stem like a shard", files: numbered("a-00001-of-00002-%05d-of-00002.safetensors", 1, 2), index: "a-00001-of-00002.safetensors.index.json"},
	} {
		t.Run(x.name, func(t *testing.T) {
			fsys := fsio.NewMem()
			var list []string
			for i, name := range x.files {
				fsys.Put("/m/"+name, st(fmt.Sprintf("t%d", i)))
				list = append(list, fmt.Sprintf("%q:%q", fmt.Sprintf("t%d", i), name))
			}
			operands := append([]string{}, x.files...)
			if x.index != "" {
				fsys.Put("/m/"+x.index, `{"weight_map":{`+strings.Join(list, ",")+`}}`)
				operands = append(operands, x.index)
			}
			if !x.alone {
				operands = append(operands, ".")
			}
			for _, name := range operands {
				c, err := all.Open(fsys, path.Join("/m", name))
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				if len(c.Tensors) != len(x.files) || len(c.Dangling)+len(c.Unindexed) > 0 {
					t.Errorf("%s: got %d tensors, want %d; dangling %v, unindexed %v", name, len(c.Tensors), len(x.files), c.Dangling, c.Unindexed)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
			side, _, err := all.Side(fsys, "/m")
			if err != nil || len(side) != 0 {
				t.Errorf("got side files %v, %v, want none", side, err)
			}
		})
	}
}

// TestNoIndexOfIt: an index that does not list a file, or that cannot be read, says nothing about it; one by the set's own name does.
func TestNoIndexOfIt(t *testing.T) {
	for _, x := range []struct {
		name, file, index, text string
		code                    formats.Code
	}{
		{name: "lists another", file: "model.safetensors", index: "model.safetensors.index.json", text: `{"weight_map":{"x":"model-00001-of-00002.safetensors"}}`},
		{name: "of another format", file: "model.safetensors", index: "pytorch_model.bin.index.json", text: `{"weight_map":{"x":"model.safetensors"}}`},
		{name: "broken, of a whole file", file: "model.safetensors", index: "model.safetensors.index.json", text: `{`},
		{name: "broken, of a shard", file: "model-00001-of-00001.safetensors", index: "model.safetensors.index.json", text: `{`, code: formats.JSON},
		{name: "metadata alone", file: "model-00001-of-00001.safetensors", index: "model.safetensors.index.json", text: `{"metadata":{"total_size":1}}`, code: formats.JSON},
	} {
		t.Run(x.name, func(t *testing.T) {
			fsys := fsio.NewMem()
			fsys.Put("/m/"+x.file, st("a"))
			fsys.Put("/m/"+x.index, x.text)
			c, err := all.Open(fsys, "/m/"+x.file)
			if formats.CodeOf(err) != x.code {
				t.Fatalf("got %v, want code %q", err, x.code)
			}
			if err == nil {
				c.Close()
			}
		})
	}
}
