package convert_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// asGGUF is a fixture as a GGUF file, to be changed.
func asGGUF(t *testing.T, dir string) (*fsio.Mem, *weights) {
	t.Helper()
	fsys := disk(t, dir)
	if _, err := run(fsys, dir[strings.LastIndex(dir, "/"):], "/in.gguf", bowline.ConvertOptions{}); err != nil {
		t.Fatal(err)
	}
	return fsys, read(t, fsys, "/in.gguf")
}

// without is the metadata but for some keys.
func without(md formats.Metadata, keys ...string) formats.Metadata {
	return slices.DeleteFunc(slices.Clone(md), func(kv formats.KV) bool { return slices.Contains(keys, kv.Key) })
}

// TestUnreadKeys refuses keys that change what is computed and that nothing reads, in conversion and in the check before a forward pass, and
// says of others that they are not carried. What a value of 0 or a stated default means is llama.cpp's (src/llama-model.cpp, load_hparams).
func TestUnreadKeys(t *testing.T) {
	for _, x := range []struct {
		key     string
		value   any
		refused bool
	}{
		{"attention.scale", float32(0.5), true},
		{"attention.scale", float32(0), false},
		{"attention.causal", false, true},
		{"attention.causal", true, false},
		{"attention.clamp_kqv", float32(8), true},
		{"attention.sliding_window", uint32(64), true},
		{"attention.layer_norm_epsilon", float32(1e-5), false},
		{"rope.scaling.attn_factor", float32(1.2), true},
		{"rope.scaling.attn_factor", float32(1), false},
		{"rope.scaling.original_context_length", uint32(64), false},
		{"rope.scaling.finetuned", true, false},
		{"rope.dimension_sections", []int32{1, 2, 3, 4}, true},
		{"logit_scale", float32(0.125), true},
		{"embedding_scale", float32(12), true},
		{"residual_scale", float32(0.22), true},
		{"residual_scale", float32(1), false},
		{"expert_weights_scale", float32(2.5), true},
		{"expert_count", uint32(0), false},
		{"expert_used_count", []uint32{2, 2}, true},
		{"rope.scaling.type", "default", true},
		{"rope.scaling.type", "llama3", true},
		{"rope.scaling.type", "yarn", true},
		{"rope.scaling.type", "none", false},
		{"tensor_data_layout", "Meta AI original pth", false},
	} {
		name := fmt.Sprint(x.key, " ", x.value)
		fsys, w := asGGUF(t, "ties/tied")
		w.md = append(w.md, formats.KV{Key: "llama." + x.key, Value: x.value})
		w.put(t, fsys, "/in.gguf")
		r, err := run(fsys, "/in.gguf", "/out", bowline.ConvertOptions{})
		if got := formats.CodeOf(err) == formats.Unsupported; got != x.refused || err != nil && !got {
			t.Errorf("%s: got %v, refused should be %v", name, err, x.refused)
		}
		m := opened(t, fsys, "/in.gguf")
		if err := m.Family.Check(m.Config, arch.GGUF); (err != nil) != x.refused {
			t.Errorf("%s: checked: got %v, refused should be %v", name, err, x.refused)
		}
		switch {
		case err != nil && !strings.HasPrefix(x.key, "rope.scaling.type"):
			if !strings.Contains(err.Error(), "llama."+x.key) || !strings.Contains(err.Error(), fmt.Sprint(x.value)) {
				t.Errorf("%s: the error does not name key and value: %v", name, err)
			}
		case err == nil && x.key != "rope.scaling.type":
			if notes := fmt.Sprint(r.Notes); !strings.Contains(notes, "llama."+x.key) {
				t.Errorf("%s: no note says that it is not carried: %s", name, notes)
			}
		}
		if _, err := run(fsys, "/in.gguf", "/copy.gguf", bowline.ConvertOptions{}); err != nil {
			t.Errorf("%s: copied to its own kind: %v", name, err)
		}
	}
}

// TestUnreadKeptNames refuses as well where the GGUF file has the names of the target.
func TestUnreadKeptNames(t *testing.T) {
	fsys := disk(t, "ties/tied")
	if _, err := run(fsys, "/tied", "/k.gguf", bowline.ConvertOptions{Options: convert.Options{KeepNames: true}}); err != nil {
		t.Fatal(err)
	}
	w := read(t, fsys, "/k.gguf")
	w.md = append(w.md, formats.KV{Key: "llama.logit_scale", Value: float32(2)})
	w.put(t, fsys, "/k.gguf")
	if _, err := run(fsys, "/k.gguf", "/out", bowline.ConvertOptions{}); formats.CodeOf(err) != formats.Unsupported {
		t.Errorf("got %v, want %s", err, formats.Unsupported)
	}
}

// TestLinearKeys reads the factor of linear scaling as llama.cpp does: by either key, with or without a type.
func TestLinearKeys(t *testing.T) {
	const kind, factor, old = "llama.rope.scaling.type", "llama.rope.scaling.factor", "llama.rope.scale_linear"
	type kvs = []formats.KV
	for _, x := range []struct {
		name string
		md   kvs
		want string
		code formats.Code
	}{
		{"as the converter writes it", kvs{{Key: kind, Value: "linear"}, {Key: factor, Value: float32(4)}}, "linear 4", ""},
		{"the old key", kvs{{Key: old, Value: float32(4)}}, "linear 4", ""},
		{"the old key with a type", kvs{{Key: kind, Value: "linear"}, {Key: old, Value: float32(4)}}, "linear 4", ""},
		{"both keys: the new one counts", kvs{{Key: old, Value: float32(2)}, {Key: factor, Value: float32(4)}}, "linear 4", ""},
		{"the old key of 1", kvs{{Key: old, Value: float32(1)}}, "default 0", ""},
		{"a factor without a type", kvs{{Key: factor, Value: float32(4)}}, "linear 4", ""},
		{"a factor that is turned off", kvs{{Key: kind, Value: "none"}, {Key: factor, Value: float32(4)}}, "default 0", ""},
		{"a type without a factor", kvs{{Key: kind, Value: "linear"}}, "default 0", ""},
		{"a negative factor", kvs{{Key: factor, Value: float32(-4)}}, "", formats.Bounds},
	} {
		fsys, w := asGGUF(t, "checkpoints/llama-linear")
		w.md = append(without(w.md, kind, factor), x.md...)
		w.put(t, fsys, "/in.gguf")
		m, err := bowline.Open(bowline.Source{Path: "/in.gguf", FS: fsys})
		if formats.CodeOf(err) != x.code {
			t.Errorf("%s: got %v, want %q", x.name, err, x.code)
		}
		if err != nil {
			continue
		}
		if got := fmt.Sprint(m.Config.Rope.Type, " ", m.Config.Rope.Factor); got != x.want {
			t.Errorf("%s: got %s, want %s", x.name, got, x.want)
		}
		m.Close()
		if _, err := run(fsys, "/in.gguf", "/out", bowline.ConvertOptions{}); err != nil {
			t.Errorf("%s: %v", x.name, err)
		} else if c := below(fsys, "/out")["config.json"]; strings.Contains(c, `"type": "linear"`) != strings.HasPrefix(x.want, "linear") {
			t.Errorf("%s: got %s", x.name, c)
		}
	}
}

// TestContradictions refuses a file whose keys and tensors do not go together, and lists every tensor that is wrong.
func TestContradictions(t *testing.T) {
	for _, x := range []struct {
		name, dir string
		harm      func(w *weights)
		code      formats.Code
		says      []string
	}{
		{"divisors and a linear factor", "checkpoints/llama3", func(w *weights) {
			w.md = append(w.md, formats.KV{Key: "llama.rope.scaling.type", Value: "linear"}, formats.KV{Key: "llama.rope.scaling.factor", Value: float32(2)})
		}, formats.Unsupported, []string{"rope_freqs.weight"}},
		{"vocab_size against the embedding", "ties/tied", func(w *weights) {
			w.md = append(without(w.md, "llama.vocab_size"), formats.KV{Key: "llama.vocab_size", Value: uint32(7)})
		}, formats.Mismatch, []string{"llama.vocab_size", "got 7"}},
		{"biases in the second layer alone", "checkpoints/granite-code", func(w *weights) {
			for _, s := range slices.Clone(w.tensors) {
				if strings.HasPrefix(s.Name, "blk.0.") && strings.HasSuffix(s.Name, ".bias") {
					w.drop(s.Name)
				}
			}
		}, formats.Missing, []string{"blk.0.attn_q.bias", "blk.0.attn_k.bias", "blk.0.attn_v.bias", "blk.0.attn_output.bias",
			"blk.0.ffn_gate.bias", "blk.0.ffn_up.bias", "blk.0.ffn_down.bias"}},
		{"the bias of ffn_up alone", "checkpoints/granite-code", func(w *weights) {
			for _, s := range slices.Clone(w.tensors) {
				if strings.HasSuffix(s.Name, "ffn_gate.bias") || strings.HasSuffix(s.Name, "ffn_down.bias") {
					w.drop(s.Name)
				}
			}
		}, formats.Missing, []string{"blk.0.ffn_gate.bias", "blk.1.ffn_gate.bias", "blk.0.ffn_down.bias", "blk.1.ffn_down.bias"}},
		{"a fused tensor with half the columns", "checkpoints/granite-code", func(w *weights) { fuse(w, func(s []int64) []int64 { return []int64{s[0], s[1] / 2} }) },
			formats.BadShape, []string{"blk.0.attn_qkv.weight"}},
		{"a fused tensor with a third dimension", "checkpoints/granite-code", func(w *weights) { fuse(w, func(s []int64) []int64 { return []int64{s[0], s[1], 2} }) },
			formats.BadShape, []string{"blk.0.attn_qkv.weight"}},
	} {
		fsys, w := asGGUF(t, x.dir)
		x.harm(w)
		w.put(t, fsys, "/in.gguf")
		for _, dst := range []string{"/out", "/out.safetensors"} {
			_, err := run(fsys, "/in.gguf", dst, bowline.ConvertOptions{})
			if formats.CodeOf(err) != x.code {
				t.Errorf("%s to %s: got %v, want %s", x.name, dst, err, x.code)
				continue
			}
			for _, s := range x.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%s to %s: nothing says %s: %v", x.name, dst, s, err)
				}
			}
		}
	}
}

// fuse puts zeros of another shape where the first layer's q, k and v were.
func fuse(w *weights, change func([]int64) []int64) {
	rows, cols := int64(0), int64(0)
	for _, n := range []string{"q", "k", "v"} {
		s, _ := w.get("blk.0.attn_" + n + ".weight")
		rows, cols = rows+s.Shape[0], s.Shape[1]
		w.drop(s.Name)
	}
	s := change([]int64{rows, cols})
	n := int64(4)
	for _, d := range s {
		n *= d
	}
	w.set("blk.0.attn_qkv.weight", dtype.F32, s, make([]byte, n))
}

// TestDeniedBias lists the biases of a GGUF file that a config given beside it denies.
func TestDeniedBias(t *testing.T) {
	fsys, _ := asGGUF(t, "checkpoints/granite-code")
	edit(t, fsys, "/granite-code/config.json", "mlp_bias", "false")
	m, err := bowline.Open(bowline.Source{Path: "/in.gguf", Config: "/granite-code/config.json", FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	_, err = plan(m, target("safetensors"), "/out", convert.Options{})
	if formats.CodeOf(err) != formats.Mismatch || len(formats.Errors(err)) != 6 {
		t.Errorf("got %v, want %s of six tensors", err, formats.Mismatch)
	}
}

// TestNotCarried warns where a destination has no place for the keys of a GGUF file.
func TestNotCarried(t *testing.T) {
	for _, x := range []struct {
		name, dst string
		o         convert.Options
	}{
		{"a single file", "/out.safetensors", convert.Options{}},
		{"kept names", "/out", convert.Options{KeepNames: true}},
	} {
		fsys, _ := asGGUF(t, "ties/tied")
		r, err := run(fsys, "/in.gguf", x.dst, bowline.ConvertOptions{Options: x.o})
		if err != nil {
			t.Fatal(x.name, err)
		}
		if !slices.ContainsFunc(r.Notes, func(n formats.Note) bool {
			return n.Warn && n.Decision == "not carried" && strings.Contains(n.Subject, "tokenizer") && strings.Contains(n.Subject, "keys")
		}) {
			t.Errorf("%s: no warning says what is not carried: %v", x.name, r.Notes)
		}
	}
}
