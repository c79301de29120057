package convert_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// TestQuantizedVectors copies and casts vectors in blocks, and refuses to move what has no bytes of its own.
func TestQuantizedVectors(t *testing.T) {
	for _, x := range []struct {
		name   string
		blocks []string // the vectors of layer 0 that are made Q8_0
		fuse   bool     // the biases of q, k and v into one
		refuse []string
	}{
		{name: "a norm and a bias that stay in place", blocks: []string{"attn_norm.weight", "attn_v.bias", "ffn_up.bias"}},
		{name: "biases whose rows are permuted", blocks: []string{"attn_q.bias", "attn_k.bias", "attn_norm.weight"}, refuse: []string{"blk.0.attn_q.bias", "blk.0.attn_k.bias"}},
		{name: "a fused bias", blocks: []string{"attn_qkv.bias"}, fuse: true, refuse: []string{"blk.0.attn_qkv.bias"}},
	} {
		fsys := disk(t, "checkpoints/granite-code")
		if _, err := run(fsys, "/granite-code", "/x.gguf", bowline.ConvertOptions{}); err != nil {
			t.Fatal(err)
		}
		w := read(t, fsys, "/x.gguf")
		if x.fuse {
			var b []byte
			var s formats.Tensor
			for _, n := range []string{"q", "k", "v"} {
				part, data := w.get("blk.0.attn_" + n + ".bias")
				s, b = part, append(b, data...)
				w.drop(part.Name)
			}
			w.set("blk.0.attn_qkv.bias", s.DType, []int64{int64(len(b)) / s.DType.BlockBytes()}, b)
		}
		for _, n := range x.blocks {
			s, b := w.get("blk.0." + n)
			w.set(s.Name, dtype.Q8_0, s.Shape, encode(dtype.Q8_0, narrow(values(s, b))))
		}
		w.put(t, fsys, "/q.gguf")
		// The same scheme copies, and casts, whatever it is.
		if _, err := run(fsys, "/q.gguf", "/copy.gguf", bowline.ConvertOptions{}); err != nil {
			t.Fatal(x.name, err)
		}
		sameWeights(t, x.name+", copied", read(t, fsys, "/copy.gguf"), w)
		if _, err := run(fsys, "/q.gguf", "/f32.gguf", bowline.ConvertOptions{Options: convert.Options{DType: "f32"}}); err != nil {
			t.Fatal(x.name, err)
		}
		wide := read(t, fsys, "/f32.gguf")
		for _, n := range x.blocks {
			s, b := wide.get("blk.0." + n)
			if s.DType != dtype.F32 || fmt.Sprint(values(s, b)) != fmt.Sprint(values(w.get("blk.0."+n))) {
				t.Errorf("%s: %s as F32 has type %s or other values", x.name, n, s.DType)
			}
		}
		_, err := run(fsys, "/q.gguf", "/out", bowline.ConvertOptions{})
		var refused []string
		for _, e := range formats.Errors(err) {
			refused = append(refused, e.Tensor)
			if e.Code != formats.BadDType || !strings.Contains(e.Error(), "rows of a quantized vector cannot be moved") || e.Path != "/q.gguf" {
				t.Errorf("%s: got %v", x.name, e)
			}
		}
		slices.Sort(refused)
		want := slices.Sorted(slices.Values(x.refuse))
		if refused = slices.Compact(refused); !slices.Equal(refused, want) {
			t.Errorf("%s: refused %v, want %v", x.name, refused, want)
		}
		if len(x.refuse) > 0 { // what the hint says works
			if _, err := run(fsys, "/f32.gguf", "/out", bowline.ConvertOptions{}); err != nil {
				t.Errorf("%s, after --dtype f32: %v", x.name, err)
			}
			continue
		}
		out := read(t, fsys, "/out")
		for from, to := range map[string]string{"attn_norm.weight": "input_layernorm.weight", "attn_v.bias": "self_attn.v_proj.bias", "ffn_up.bias": "mlp.up_proj.bias"} {
			s, b := out.get("model.layers.0." + to)
			if fmt.Sprint(values(s, b)) != fmt.Sprint(values(w.get("blk.0."+from))) {
				t.Errorf("%s: %s has other values", x.name, to)
			}
		}
	}
}

// longest is a file system that knows the longest read of its files.
type longest struct {
	fsio.FS
	n *atomic.Int64
}

type measured struct {
	fsio.File
	n *atomic.Int64
}

func (l longest) Open(name string) (fsio.File, error) {
	f, err := l.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return measured{f, l.n}, nil
}

func (m measured) ReadAt(p []byte, off int64) (int, error) {
	for {
		old := m.n.Load()
		if int64(len(p)) <= old || m.n.CompareAndSwap(old, int64(len(p))) {
			return m.File.ReadAt(p, off)
		}
	}
}

// TestFlat reads a tensor that is one row in chunks.
func TestFlat(t *testing.T) {
	const n = 3_000_000
	b := bytes.Repeat([]byte{1, 0x3f, 2, 0x40}, n/2)
	for _, x := range []struct {
		dtype string
		most  int64
	}{{"", 1 << 20}, {"f32", 1 << 19}} {
		fsys := fsio.NewMem()
		w := &weights{format: target("safetensors").Format, data: map[string][]byte{}}
		w.set("flat", dtype.BF16, []int64{1, n}, b)
		w.put(t, fsys, "/flat.safetensors")
		var most atomic.Int64
		_, err := run(longest{fsys, &most}, "/flat.safetensors", "/out.safetensors",
			bowline.ConvertOptions{Options: convert.Options{KeepNames: true, DType: x.dtype}})
		if err != nil {
			t.Fatal(err)
		}
		if got := most.Load(); got > x.most {
			t.Errorf("to %q: a read of %d bytes, want at most %d", x.dtype, got, x.most)
		}
		got := read(t, fsys, "/out.safetensors")
		if g, want := values(got.get("flat")), values(w.get("flat")); !slices.Equal(g, want) {
			t.Errorf("to %q: other values", x.dtype)
		}
	}
}
