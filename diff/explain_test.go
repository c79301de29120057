package diff_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/diff"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// floats changes the values of an F32 tensor.
func floats(f func(i int, v float32) float32) func(b []byte, s formats.Tensor) {
	return func(b []byte, s formats.Tensor) {
		for i := range len(b) / 4 {
			v := math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
			binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(f(i, v)))
		}
	}
}

// TestTransforms names what was done to a tensor, and calls nothing an explanation that is none.
func TestTransforms(t *testing.T) {
	const l0 = "model.layers.0."
	const q, k, gate, up, embed, norm = l0 + "self_attn.q_proj.weight", l0 + "self_attn.k_proj.weight", l0 + "mlp.gate_proj.weight", l0 + "mlp.up_proj.weight", "model.embed_tokens.weight", "model.norm.weight"
	to := func(name string, f func(b []byte, s formats.Tensor)) func(*testing.T, *fsio.Mem) {
		return func(t *testing.T, m *fsio.Mem) { change(t, m, "/b", name, f) }
	}
	each := func(name string, f func(i int, v float32) float32) func(*testing.T, *fsio.Mem) {
		return to(name, floats(f))
	}
	rotated := func(heads int) func(b []byte, s formats.Tensor) { // Meta's order: pairs side by side
		return func(b []byte, s formats.Tensor) {
			row, per, old := len(b)/int(s.Shape[0]), int(s.Shape[0])/heads, bytes.Clone(b)
			for i := range int(s.Shape[0]) {
				h, r := i/per, i%per
				copy(b[i*row:(i+1)*row], old[(h*per+r%2*(per/2)+r/2)*row:])
			}
		}
	}
	for _, x := range []struct {
		name, tensor, want string
		harm               func(*testing.T, *fsio.Mem)
	}{
		{"q in the order of pairs", q, "rope rows interleaved", to(q, rotated(6))},
		{"a bias in the order of pairs", l0 + "self_attn.q_proj.bias", "rope rows interleaved", to(l0+"self_attn.q_proj.bias", rotated(6))},
		{"all zeros", gate, "all zeros", each(gate, func(int, float32) float32 { return 0 })},
		{"sign", gate, "sign flipped", each(gate, func(_ int, v float32) float32 { return -v })},
		{"half", gate, "scaled by 0.5", each(gate, func(_ int, v float32) float32 { return v / 2 })},
		{"times 1.1", gate, "scaled by 1.1", each(gate, func(_ int, v float32) float32 { return v * 1.1 })},
		{"norm plus one", norm, "offset by 1", each(norm, func(_ int, v float32) float32 { return v + 1 })},
		{"norm less one", norm, "offset by -1", each(norm, func(_ int, v float32) float32 { return v - 1 })},
		{"bf16 in f32", gate, "rounded to BF16", to(gate, through(dtype.BF16))},
		{"f16 in f32", gate, "rounded to F16", to(gate, through(dtype.F16))},
		{"big-endian", gate, "byte order swapped", to(gate, func(b []byte, _ formats.Tensor) {
			for i := 0; i < len(b); i += 4 {
				b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
			}
		})},
		{"embedding a row late", embed, "rows shifted by 1", to(embed, func(b []byte, s formats.Tensor) {
			row := len(b) / int(s.Shape[0])
			copy(b[row:], bytes.Clone(b))
		})},
		{"embedding three rows early", embed, "rows shifted by -3", to(embed, func(b []byte, s formats.Tensor) {
			copy(b, b[3*len(b)/int(s.Shape[0]):])
		})},
		{"gate and up", gate, "swapped with " + up, func(t *testing.T, m *fsio.Mem) { exchange(t, m, gate, up) }},
		{"layers", up, "swapped with model.layers.1.mlp.up_proj.weight", func(t *testing.T, m *fsio.Mem) { exchange(t, m, up, "model.layers.1.mlp.up_proj.weight") }},
		{"k and v", k, "swapped with " + l0 + "self_attn.v_proj.weight", func(t *testing.T, m *fsio.Mem) { exchange(t, m, k, l0+"self_attn.v_proj.weight") }},
		{"up copied to gate", gate, "copy of " + up, func(t *testing.T, m *fsio.Mem) {
			var old []byte
			change(t, m, "/b", up, func(b []byte, _ formats.Tensor) { old = bytes.Clone(b) })
			change(t, m, "/b", gate, func(b []byte, _ formats.Tensor) { copy(b, old) })
		}},
		{"a square on its side", "square", "transposed", to("square", func(b []byte, s formats.Tensor) {
			n, old := int(s.Shape[0]), bytes.Clone(b)
			for i := range n * n {
				copy(b[4*i:4*i+4], old[4*(i%n*n+i/n):])
			}
		})},
		{"one element", gate, "", each(gate, func(i int, v float32) float32 {
			if i == 77 {
				return v + 1
			}
			return v
		})},
		{"noise", gate, "", each(gate, func(i int, v float32) float32 { return v + float32(i%7)/5 })},
		{"half but for one", gate, "", each(gate, func(i int, v float32) float32 {
			if i == 1234 {
				return v
			}
			return v / 2
		})},
	} {
		fsys := disk(t, "checkpoints/granite-code")
		for _, at := range []string{"/a", "/b"} {
			produce(t, fsys, "/granite-code", at, convert.Options{DType: "f32"})
			if x.tensor == "square" { // no family, so that any name goes
				fsys.Put(at+"/config.json", `{"architectures": ["OtherModel"]}`)
				rewritten(t, fsys, at, at+"/model.safetensors", bowline.Targets()[0].Format, func(s *formats.Tensor, b []byte) []byte {
					if s.Name == gate {
						s.Name, s.Shape = "square", []int64{37, 37}
						return scattered(37 * 37)
					}
					return b
				})
			}
		}
		if x.tensor != "square" && x.name != "one element" { // values that bf16 does not hold
			for _, at := range []string{"/a", "/b"} {
				for _, n := range []string{gate, norm} {
					change(t, fsys, at, n, floats(func(i int, v float32) float32 { return v * (1 + float32(i%1000)*1e-6) }))
				}
			}
		}
		x.harm(t, fsys)
		r, err := diff.Compare(context.Background(), opened(t, fsys, "/a"), opened(t, fsys, "/b"), diff.Options{Workers: 2})
		if err != nil {
			t.Fatal(x.name, err)
		}
		got := "equal"
		for _, l := range r.Tensors {
			if l.Name == x.tensor && l.Verdict != diff.Equal {
				got = ""
				if l.Transform != nil {
					got = *l.Transform
				}
			}
		}
		if got != x.want || r.Equal {
			t.Errorf("%s: got %q, want %q", x.name, got, x.want)
		}
	}
}

// through rounds the values of an F32 tensor to a type.
func through(typ dtype.Type) func(b []byte, s formats.Tensor) {
	return func(b []byte, s formats.Tensor) {
		v := make([]float32, len(b)/4)
		dtype.F32.Decode(v, b)
		code := encoded(typ, v)
		typ.Decode(v, code)
		dtype.F32.Encode(b, v)
	}
}

// scattered is n values that repeat nowhere, in F32.
func scattered(n int) []byte {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(math.Sin(float64(i*i))) + float32(i)*1e-4
	}
	return encoded(dtype.F32, v)
}

// exchange swaps the bytes of two tensors of /b.
func exchange(t *testing.T, m *fsio.Mem, x, y string) {
	t.Helper()
	var old, other []byte
	change(t, m, "/b", x, func(b []byte, _ formats.Tensor) { old = bytes.Clone(b) })
	change(t, m, "/b", y, func(b []byte, _ formats.Tensor) { other = bytes.Clone(b); copy(b, old) })
	change(t, m, "/b", x, func(b []byte, _ formats.Tensor) { copy(b, other) })
}

// TestTolerance accepts what it is asked to.
func TestTolerance(t *testing.T) {
	fsys := disk(t, "checkpoints/llama3")
	granite := disk(t, "checkpoints/granite-code")
	for _, f := range []string{"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} {
		fsys.Put("/granite/"+f, granite.Tree()["/granite-code/"+f])
	}
	produce(t, fsys, "/granite", "/granite-q8.gguf", convert.Options{DType: "q8_0"})
	produce(t, fsys, "/llama3", "/bf16", convert.Options{DType: "bf16"})
	produce(t, fsys, "/llama3", "/q8.gguf", convert.Options{DType: "q8_0"})
	for _, x := range []struct {
		a, b, tolerance string
		want            bool
	}{
		{"/llama3", "/bf16", "exact", false}, {"/llama3", "/bf16", "cast", true}, {"/bf16", "/llama3", "cast", true},
		{"/llama3", "/bf16", "BF16", true}, {"/llama3", "/bf16", "f16", false}, {"/llama3", "/q8.gguf", "q8_0", true}, {"/llama3", "/q8.gguf", "bf16", true}, // its rows hold no whole blocks: they are F16
		{"/granite", "/granite-q8.gguf", "q8_0", true}, {"/granite", "/granite-q8.gguf", "cast", true}, {"/granite", "/granite-q8.gguf", "bf16", false}, {"/granite", "/granite-q8.gguf", "exact", false},
		{"/llama3", "/q8.gguf", "q4_k", true}, {"/llama3", "/bf16", "q8_0", true},
	} {
		r, err := bowline.Diff(context.Background(), bowline.Source{Path: x.a, FS: fsys}, bowline.Source{Path: x.b, FS: fsys}, bowline.DiffOptions{Tolerance: x.tolerance})
		if err != nil {
			t.Fatal(err)
		}
		if r.Equal != x.want {
			t.Errorf("%s, %s within %s: got %v, want %v", x.a, x.b, x.tolerance, r.Equal, x.want)
		}
	}
	if _, err := diff.ParseTolerance("q9"); formats.CodeOf(err) != formats.Usage || !strings.Contains(err.Error(), "q9") {
		t.Errorf("an unknown type: got %v", err)
	}
}
