package arch_test

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// FuzzNames resolves headers of any names: one a line, each of a tensor whose shape two bytes give, beside a config of one of the fixtures,
// with its metadata, or with none. Whatever the names say, nothing panics or takes long, and each name either has a role, of which the runs
// are inside its tensor's rows if its shape is the one that is wanted, or is a stranger.
func FuzzNames(f *testing.F) {
	type beside struct {
		files map[string]string
		meta  formats.Metadata
	}
	all := []beside{{}, {meta: formats.Metadata{{Key: "general.architecture", Value: "llama"}}}}
	add := func(names []string) {
		for k := range all {
			f.Add(uint8(k), strings.Join(names, "\n"), []byte{3, 7, 1, 9})
		}
	}
	paths, err := filepath.Glob("../testdata/checkpoints/*/config.json")
	if err != nil || len(paths) < 6 {
		f.Fatal(paths, err)
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, beside{files: map[string]string{"config.json": string(b)}})
	}
	for _, family := range arch.All() {
		for _, s := range []arch.Scheme{arch.HF, arch.GGUF, arch.Meta, arch.TorchChat} {
			var names []string
			for _, x := range family.Tensors {
				for i := range int64(3) {
					if name := x.In(s, i); name != "" {
						names = append(names, arch.Expert(name, i), "model.language_model."+name, name+".lora_A")
					}
				}
			}
			if len(names) > 0 {
				add(names)
			}
		}
	}
	add([]string{"", ".", "..", "model.", "model.layers.-1.x", "model.layers.99999999999999999999.self_attn.q_proj.weight", "blk.4294967296.attn_q.weight", "{i}", "{e}", "layers.{i}.attention.wq.weight",
		"model.layers.0.mlp.experts.18446744073709551615.w1.weight", "\x1b[2J", "a\x00b", strings.Repeat("model.", 1000)})
	f.Fuzz(func(t *testing.T, kind uint8, text string, shapes []byte) {
		x := all[int(kind)%len(all)]
		ck, side, fsys := header(text, shapes, x.files, x.meta)
		start := time.Now()
		m, err := arch.Resolve(fsys, ck, side, "")
		if err != nil {
			for _, e := range formats.Errors(err) {
				if e.Code == "" || e.Code == formats.IO {
					t.Errorf("got code %q: %v", e.Code, e)
				}
			}
			return
		}
		if err := m.Incomplete(); err != nil {
			t.Errorf("there is no index, got %v", err)
		}
		if m.Family == nil || m.Config == nil {
			return
		}
		roles := map[string]bool{}
		for k := range m.Family.Tensors {
			spec := &m.Family.Tensors[k]
			layers := int64(1)
			if spec.PerLayer() {
				layers = m.Config.Layers
			}
			for i := range min(layers, 8) {
				for _, r := range m.Find(spec, i) {
					roles[r.Name] = true
					if s := r.Tensor; s != nil && (m.Lookup(r.Name) != s || slices.Equal(s.Shape, r.Want) && !r.Turned && (r.First < 0 || r.Rows < 0 || r.First+r.Rows > wide(s.Shape))) {
						t.Errorf("%s of layer %d: rows %d to %d of %q, shape %v", spec.Role, i, r.First, r.First+r.Rows, r.Name, s.Shape)
					}
				}
				m.Missing(spec, i)
				m.NameOf(spec.Role, i)
			}
		}
		for _, name := range m.Strangers() {
			if roles[name] || m.Lookup(name) == nil {
				t.Errorf("%q is a stranger and has a role", name)
			}
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("took %v for %d names", d, len(ck.Tensors))
		}
	})
}

// wide is the most rows that a shape can be cut into: all that it has but for the last dimension, or its elements.
func wide(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape[:max(len(shape)-1, min(len(shape), 1))] {
		n *= d
	}
	return n
}

// header is a checkpoint of nothing but names and shapes, and the files beside it.
func header(text string, shapes []byte, files map[string]string, meta formats.Metadata) (*formats.Checkpoint, []formats.File, fsio.FS) {
	h := formats.Header{Format: "safetensors", Metadata: meta, Files: []formats.File{{Path: "m.safetensors"}}}
	seen := map[string]bool{}
	for i, name := range strings.Split(text, "\n") {
		if seen[name] {
			continue
		}
		seen[name] = true
		s := formats.Tensor{Name: name, DType: "F32", File: "m.safetensors"}
		for k := range 2 {
			if len(shapes) > 0 {
				s.Shape = append(s.Shape, int64(shapes[(2*i+k)%len(shapes)]))
			}
		}
		s.Bytes, _ = formats.TensorBytes(s.DType, s.Shape)
		h.Tensors = append(h.Tensors, s)
	}
	fsys := fsio.NewMem()
	var side []formats.File
	for name, b := range files {
		fsys.Put("/m/"+name, b)
		side = append(side, formats.File{Path: name, Bytes: int64(len(b))})
	}
	return formats.NewCheckpoint("/m", h, func(int) (io.ReaderAt, error) { return strings.NewReader(""), nil }, func() error { return nil }), side, fsys
}
