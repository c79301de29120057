package diff_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/diff"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/gguf"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// disk holds a checkpoint of testdata under its name, in memory.
func disk(t *testing.T, dir string) *fsio.Mem {
	t.Helper()
	m := fsio.NewMem()
	list, err := os.ReadDir("../testdata/" + dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		b, err := os.ReadFile("../testdata/" + dir + "/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		m.Put("/"+path.Base(dir)+"/"+e.Name(), string(b))
	}
	return m
}

func produce(t *testing.T, fsys fsio.FS, src, dst string, o convert.Options) {
	t.Helper()
	if _, err := bowline.Convert(context.Background(), bowline.Source{Path: src, FS: fsys}, dst, bowline.ConvertOptions{Options: o}); err != nil {
		t.Fatal(err)
	}
}

func opened(t *testing.T, fsys fsio.FS, at string) *arch.Model {
	t.Helper()
	m, err := bowline.Open(bowline.Source{Path: at, FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// change rewrites the bytes of a tensor where they are.
func change(t *testing.T, fsys *fsio.Mem, at, name string, f func(b []byte, s formats.Tensor)) {
	t.Helper()
	m, err := bowline.Open(bowline.Source{Path: at, FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s := m.Lookup(name)
	if s == nil {
		t.Fatalf("no %s in %s", name, at)
	}
	file := path.Join(m.Dir, s.File)
	b := []byte(fsys.Tree()[file])
	f(b[s.Offset:s.Offset+s.Bytes], *s)
	fsys.Put(file, string(b))
}

// verdicts counts the tensors of each verdict and names those that are not equal.
func verdicts(list []diff.Tensor) (map[diff.Verdict]int, []string) {
	n, names := map[diff.Verdict]int{}, []string{}
	for _, x := range list {
		n[x.Verdict]++
		if x.Verdict != diff.Equal {
			names = append(names, x.Name)
		}
	}
	return n, names
}

// TestEqual finds the same weights in every form that loses nothing.
func TestEqual(t *testing.T) {
	for _, name := range []string{"granite-code", "llama3"} {
		fsys := disk(t, "checkpoints/"+name)
		src := "/" + name
		for _, form := range []struct {
			src, dst string
			o        convert.Options
		}{
			{src, "/same", convert.Options{}},
			{src, "/shards", convert.Options{ShardSize: 90_000}},
			{src, "/untied", convert.Options{Ties: convert.Untie}},
			{src, "/f32", convert.Options{DType: "f32"}},
			{src, "/x.gguf", convert.Options{}},
			{src, "/f32.gguf", convert.Options{DType: "f32"}},
			{"/x.gguf", "/back", convert.Options{}},
		} {
			produce(t, fsys, form.src, form.dst, form.o)
			for _, pair := range [][2]string{{src, form.dst}, {form.dst, src}} {
				list, err := diff.Weights(context.Background(), opened(t, fsys, pair[0]), opened(t, fsys, pair[1]), 2)
				if err != nil {
					t.Fatal(err)
				}
				n, names := verdicts(list)
				if len(names) > 0 || n[diff.Equal] < 20 {
					t.Errorf("%s and %s: %v are not equal: %v", pair[0], pair[1], names, n)
				}
			}
		}
	}
}

// TestNarrowed calls a smaller type what it is: each value the nearest of its type, or noise of the expected size.
func TestNarrowed(t *testing.T) {
	fsys := disk(t, "checkpoints/llama3")
	for _, x := range []struct {
		typ  string
		want diff.Verdict
	}{{"f16", diff.Cast}, {"bf16", diff.Cast}} {
		dst := "/" + x.typ
		produce(t, fsys, "/llama3", dst, convert.Options{DType: x.typ})
		list, err := diff.Weights(context.Background(), opened(t, fsys, "/llama3"), opened(t, fsys, dst), 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range list {
			if !l.Verdict.OK() || strings.Contains(l.Name, "proj") && (l.Verdict != x.want || l.Differing == 0 || l.MaxAbs <= 0 || l.SQNR < 40) {
				t.Errorf("%s: %+v, want %s", x.typ, l, x.want)
			}
		}
		// The other way round nothing explains the difference.
		back, err := diff.Weights(context.Background(), opened(t, fsys, dst), opened(t, fsys, "/llama3"), 2)
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := verdicts(back); n[diff.Differs] == 0 {
			t.Errorf("%s, the wide one judged as made of the narrow one: %v", x.typ, n)
		}
	}
	fsys = disk(t, "checkpoints/granite-code")
	produce(t, fsys, "/granite-code", "/q.gguf", convert.Options{DType: "q8_0"})
	a, b := opened(t, fsys, "/granite-code"), opened(t, fsys, "/q.gguf")
	list, err := diff.Weights(context.Background(), a, b, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range list {
		if !l.Verdict.OK() || strings.HasSuffix(l.Name, "proj.weight") && (l.DTypeB != "Q8_0" || l.Verdict != diff.Cast || l.SQNR < 35) {
			t.Errorf("Q8_0: %+v", l)
		}
	}
	// Blocks that another program made, a little worse than the best ones, are within what the type explains; much worse ones are not.
	for _, x := range []struct {
		step byte
		want diff.Verdict
	}{{1, diff.Within}, {40, diff.Differs}} {
		m := disk(t, "checkpoints/granite-code")
		m.Put("/q.gguf", fsys.Tree()["/q.gguf"])
		change(t, m, "/q.gguf", "blk.0.ffn_up.weight", func(b []byte, s formats.Tensor) {
			for i := 2; i < len(b); i += 34 * 8 {
				if int8(b[i]) > 0 {
					b[i] -= x.step
				} else {
					b[i] += x.step
				}
			}
		})
		list, err := diff.Weights(context.Background(), opened(t, m, "/granite-code"), opened(t, m, "/q.gguf"), 2)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(list, func(l diff.Tensor) bool { return l.Name == "model.layers.0.mlp.up_proj.weight" })
		if list[i].Verdict != x.want {
			t.Errorf("blocks off by %d: got %+v, want %s", x.step, list[i], x.want)
		}
	}
}

// TestDamageInNoise: a wiped row and a flipped value are no rounding, however small a part of the tensor they are.
func TestDamageInNoise(t *testing.T) {
	for name, damage := range map[string]func(v []float32){
		"a row of zeros":  func(v []float32) { clear(v[40*96 : 41*96]) },
		"a value flipped": func(v []float32) { v[5000] *= -3 },
		"rounding":        func(v []float32) {},
	} {
		fsys := disk(t, "checkpoints/granite-code")
		produce(t, fsys, "/granite-code", "/f32.gguf", convert.Options{DType: "f32"})
		rewritten(t, fsys, "/f32.gguf", "/damaged.gguf", gguf.Format, func(s *formats.Tensor, b []byte) []byte {
			if s.Name != "token_embd.weight" {
				return b
			}
			v := make([]float32, s.Elems())
			dtype.F32.Decode(v, b)
			q := encoded(dtype.Q8_0, v)
			dtype.Q8_0.Decode(v, q)
			damage(v)
			return encoded(dtype.F32, v)
		})
		tol, err := diff.ParseTolerance("q8_0")
		if err != nil {
			t.Fatal(err)
		}
		r, err := diff.Compare(context.Background(), opened(t, fsys, "/f32.gguf"), opened(t, fsys, "/damaged.gguf"), diff.Options{Tolerance: tol, Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		if r.Equal != (name == "rounding") {
			t.Errorf("%s: got equal %v", name, r.Equal)
		}
	}
}

// TestSizesOfUnknownTypes: equal shapes of a type that nobody knows may have different sizes.
func TestSizesOfUnknownTypes(t *testing.T) {
	fsys := disk(t, "checkpoints/granite-code")
	produce(t, fsys, "/granite-code", "/x.gguf", convert.Options{DType: "f32"})
	for name, n := range map[string]int{"/long.gguf": 128, "/short.gguf": 32} {
		rewritten(t, fsys, "/x.gguf", name, gguf.Format, func(s *formats.Tensor, b []byte) []byte {
			if s.Name == "token_embd.weight" {
				s.DType = "GGML_200"
				return b[:n]
			}
			return b
		})
	}
	for _, pair := range [][2]string{{"/long.gguf", "/short.gguf"}, {"/short.gguf", "/long.gguf"}} {
		r, err := diff.Compare(context.Background(), opened(t, fsys, pair[0]), opened(t, fsys, pair[1]), diff.Options{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		if r.Equal {
			t.Errorf("%v: got equal", pair)
		}
	}
}

// TestFound names what was changed, and nothing else.
func TestFound(t *testing.T) {
	const l0, l1 = "model.layers.0.", "model.layers.1."
	one := func(b []byte, s formats.Tensor) { // the exponent of an element: no type is narrow enough to hide that
		size := int(s.DType.BlockBytes())
		b[len(b)/2/size*size+size-1] ^= 1
	}
	swap := func(t *testing.T, fsys *fsio.Mem, at, x, y string) {
		var old []byte
		change(t, fsys, at, x, func(b []byte, _ formats.Tensor) { old = bytes.Clone(b) })
		var other []byte
		change(t, fsys, at, y, func(b []byte, _ formats.Tensor) { other = bytes.Clone(b); copy(b, old) })
		change(t, fsys, at, x, func(b []byte, _ formats.Tensor) { copy(b, other) })
	}
	for _, x := range []struct {
		name, at string
		harm     func(t *testing.T, fsys *fsio.Mem)
		want     []string
		verdict  diff.Verdict
		differ   int64 // elements of the first, 0 is any number
	}{
		{"one element", "/copy", func(t *testing.T, f *fsio.Mem) { change(t, f, "/copy", l1+"mlp.down_proj.weight", one) }, []string{l1 + "mlp.down_proj.weight"}, diff.Differs, 1},
		{"one element of a bias, in GGUF", "/x.gguf", func(t *testing.T, f *fsio.Mem) { change(t, f, "/x.gguf", "blk.0.attn_k.bias", one) }, []string{l0 + "self_attn.k_proj.bias"}, diff.Differs, 1},
		{"one element of the embedding, which the head shares", "/x.gguf", func(t *testing.T, f *fsio.Mem) { change(t, f, "/x.gguf", "token_embd.weight", one) },
			[]string{"model.embed_tokens.weight", "lm_head.weight"}, diff.Differs, 1},
		{"gate and up swapped", "/x.gguf", func(t *testing.T, f *fsio.Mem) { swap(t, f, "/x.gguf", "blk.1.ffn_gate.weight", "blk.1.ffn_up.weight") },
			[]string{l1 + "mlp.gate_proj.weight", l1 + "mlp.up_proj.weight"}, diff.Differs, 0},
		{"q without its permutation", "/x.gguf", func(t *testing.T, f *fsio.Mem) {
			var hf []byte
			change(t, f, "/granite-code", l0+"self_attn.q_proj.weight", func(b []byte, _ formats.Tensor) { hf = bytes.Clone(b) })
			change(t, f, "/x.gguf", "blk.0.attn_q.weight", func(b []byte, _ formats.Tensor) { copy(b, hf) })
		}, []string{l0 + "self_attn.q_proj.weight"}, diff.Differs, 0},
		{"a NaN", "/copy", func(t *testing.T, f *fsio.Mem) {
			change(t, f, "/copy", "model.norm.weight", func(b []byte, _ formats.Tensor) { b[6], b[7] = 0xc0, 0x7f })
		}, []string{"model.norm.weight"}, diff.Differs, 1},
		{"biases dropped", "/copy", func(t *testing.T, f *fsio.Mem) {
			// Another config, and the biases under names that no table has.
			b := strings.Replace(f.Tree()["/copy/config.json"], `"mlp_bias": true`, `"mlp_bias": false`, 1)
			f.Put("/copy/config.json", b)
			w := f.Tree()["/copy/model.safetensors"]
			f.Put("/copy/model.safetensors", strings.ReplaceAll(strings.ReplaceAll(w, "up_proj.bias", "up_proj.bxas"), "down_proj.bias", "down_proj.bxas"))
		}, []string{l0 + "mlp.up_proj.bias", l1 + "mlp.up_proj.bias", l0 + "mlp.down_proj.bias", l1 + "mlp.down_proj.bias"}, diff.Missing, 0},
		{"a layer less", "/copy", func(t *testing.T, f *fsio.Mem) {
			f.Put("/copy/config.json", strings.Replace(f.Tree()["/copy/config.json"], `"num_hidden_layers": 2`, `"num_hidden_layers": 1`, 1))
			w := f.Tree()["/copy/model.safetensors"]
			f.Put("/copy/model.safetensors", strings.ReplaceAll(w, "model.layers.1.", "model.layers.7."))
		}, nil, diff.Missing, 0},
	} {
		fsys := disk(t, "checkpoints/granite-code")
		produce(t, fsys, "/granite-code", "/copy", convert.Options{})
		produce(t, fsys, "/granite-code", "/x.gguf", convert.Options{})
		x.harm(t, fsys)
		for _, flip := range []bool{false, true} {
			a, b := opened(t, fsys, "/granite-code"), opened(t, fsys, x.at)
			if flip {
				a, b = b, a
			}
			list, err := diff.Weights(context.Background(), a, b, 2)
			if err != nil {
				t.Fatal(x.name, err)
			}
			_, names := verdicts(list)
			if x.name == "a layer less" {
				if len(names) != 16 || slices.ContainsFunc(names, func(n string) bool { return !strings.HasPrefix(n, l1) }) {
					t.Errorf("%s, flipped %v: got %v, want the 16 tensors of layer 1", x.name, flip, names)
				}
				continue
			}
			if !slices.Equal(names, x.want) {
				t.Errorf("%s, flipped %v: got %v, want %v", x.name, flip, names, x.want)
				continue
			}
			for _, l := range list {
				if slices.Contains(x.want, l.Name) && (l.Verdict != x.verdict || x.differ > 0 && l.Differing != x.differ) {
					t.Errorf("%s, flipped %v: got %+v, want %s, %d elements", x.name, flip, l, x.verdict, x.differ)
				}
				if x.name == "a NaN" && l.Name == x.want[0] && !math.IsNaN(float64(l.MaxAbs)) {
					t.Errorf("a NaN: got max %v", l.MaxAbs)
				}
			}
		}
	}
}

// TestIncomparable says why two models cannot be compared.
func TestIncomparable(t *testing.T) {
	fsys := disk(t, "ties/tied")
	fsys.Put("/other/model.safetensors", fsys.Tree()["/tied/model.safetensors"])
	fsys.Put("/other/config.json", `{"architectures": ["OtherModel"]}`)
	a, b := opened(t, fsys, "/tied"), opened(t, fsys, "/other")
	if _, err := diff.Weights(context.Background(), a, b, 1); formats.CodeOf(err) != formats.Unsupported {
		t.Errorf("another family: got %v", err)
	}
	c := strings.Replace(fsys.Tree()["/tied/config.json"], `"num_attention_heads": 6`, `"num_attention_heads": 0, "head_dim": 8`, 1)
	fsys.Put("/other/config.json", c)
	if _, err := diff.Weights(context.Background(), a, opened(t, fsys, "/other"), 1); formats.CodeOf(err) != formats.BadShape {
		t.Errorf("no heads: got %v", err)
	}
	fsys.Put("/other/config.json", strings.Replace(fsys.Tree()["/tied/config.json"], `"num_attention_heads": 6`, `"num_attention_heads": 4`, 1))
	produce(t, fsys, "/tied", "/x.gguf", convert.Options{})
	g := opened(t, fsys, "/x.gguf")
	g.Config.Heads, g.Config.KVHeads = 4, 4
	if _, err := diff.Weights(context.Background(), a, g, 1); formats.CodeOf(err) != formats.BadShape {
		t.Errorf("heads that do not fit the rows: got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := diff.Weights(ctx, a, a, 1); err == nil {
		t.Error("a cancelled comparison has no error")
	}
	if got := fmt.Sprint(diff.Equal.OK(), diff.Cast.OK(), diff.Within.OK(), diff.Differs.OK(), diff.Missing.OK(), diff.Shape.OK()); got != "true true true false false false" {
		t.Errorf("got %s", got)
	}
}

// rewritten puts the tensors of a file at /dst after f changed them: type, shape, bytes.
func rewritten(t *testing.T, fsys *fsio.Mem, src, dst string, format formats.Format, f func(s *formats.Tensor, b []byte) []byte) {
	t.Helper()
	m := opened(t, fsys, src)
	h := formats.Header{Format: format.Name, Metadata: m.Metadata}
	var data [][]byte
	for _, s := range m.Tensors {
		r, err := m.Open(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, s.Bytes)
		if _, err := r.ReadAt(b, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		b = f(&s, b)
		s.Bytes, s.File, s.Offset = int64(len(b)), path.Base(dst), -1
		h.Tensors, data = append(h.Tensors, s), append(data, b)
	}
	l, err := format.Layout(h)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, l.Files[0].Bytes)
	for _, p := range l.Files[0].Parts {
		if _, err := p.Data.ReadAt(out[p.Offset:p.Offset+p.Size], 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
	}
	for i, b := range data {
		copy(out[l.Places[i].Offset:], b)
	}
	fsys.Put(dst, string(out))
}

// TestQuantizedVectors compares norms and biases in blocks by their values, also where their elements are permuted.
func TestQuantizedVectors(t *testing.T) {
	fsys := disk(t, "checkpoints/granite-code")
	produce(t, fsys, "/granite-code", "/x.gguf", convert.Options{})
	blocks := map[string]diff.Verdict{"model.layers.0.input_layernorm.weight": diff.Cast, "model.layers.0.self_attn.q_proj.bias": diff.Within, "model.layers.0.self_attn.k_proj.bias": diff.Within}
	rewritten(t, fsys, "/x.gguf", "/p.gguf", gguf.Format, func(s *formats.Tensor, b []byte) []byte {
		if !slices.Contains([]string{"blk.0.attn_norm.weight", "blk.0.attn_q.bias", "blk.0.attn_k.bias"}, s.Name) {
			return b
		}
		v := make([]float32, s.Elems())
		s.DType.Decode(v, b)
		s.DType = dtype.Q8_0
		return encoded(dtype.Q8_0, v)
	})
	// The blocks decoded, which the hub's order then permutes as plain values.
	rewritten(t, fsys, "/p.gguf", "/d.gguf", gguf.Format, func(s *formats.Tensor, b []byte) []byte {
		if s.DType != dtype.Q8_0 {
			return b
		}
		v := make([]float32, s.Elems())
		s.DType.Decode(v, b)
		s.DType = dtype.F32
		return encoded(dtype.F32, v)
	})
	produce(t, fsys, "/d.gguf", "/d", convert.Options{DType: "f32"})
	for _, x := range []struct {
		a, b string
		want map[string]diff.Verdict // the others are equal
	}{
		{"/p.gguf", "/p.gguf", nil}, {"/p.gguf", "/d.gguf", nil}, {"/p.gguf", "/d", nil}, {"/d", "/p.gguf", nil}, {"/x.gguf", "/p.gguf", blocks},
	} {
		list, err := diff.Weights(context.Background(), opened(t, fsys, x.a), opened(t, fsys, x.b), 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range list {
			want := x.want[l.Name]
			if want == "" {
				want = diff.Equal
			}
			if l.Verdict != want {
				t.Errorf("%s and %s: got %+v, want %s", x.a, x.b, l, want)
			}
		}
	}
}

func encoded(dt dtype.Type, v []float32) []byte {
	b := make([]byte, int64(len(v))/dt.BlockElems()*dt.BlockBytes())
	dt.Encode(b, v)
	return b
}

// TestMemory compares many small tensors, and one of few and long rows, without holding much.
func TestMemory(t *testing.T) {
	small := disk(t, "checkpoints/granite-code")
	long := fsio.NewMem()
	const hidden, ffn, vocab = 2, 300_000, 4
	h := formats.Header{Format: safetensors.Format.Name}
	add := func(name string, shape ...int64) {
		n, _ := formats.Elems(shape)
		h.Tensors = append(h.Tensors, formats.Tensor{Name: name, DType: dtype.BF16, Shape: shape, Bytes: 2 * n, File: "model.safetensors", Offset: -1})
	}
	add("model.embed_tokens.weight", vocab, hidden)
	for _, n := range []string{"q", "k", "v", "o"} {
		add("model.layers.0.self_attn."+n+"_proj.weight", hidden, hidden)
	}
	add("model.layers.0.mlp.gate_proj.weight", ffn, hidden)
	add("model.layers.0.mlp.up_proj.weight", ffn, hidden)
	add("model.layers.0.mlp.down_proj.weight", hidden, ffn)
	for _, n := range []string{"model.layers.0.input_layernorm.weight", "model.layers.0.post_attention_layernorm.weight", "model.norm.weight"} {
		add(n, hidden)
	}
	l, err := safetensors.Format.Layout(h)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, l.Files[0].Bytes)
	for _, p := range l.Files[0].Parts {
		if _, err := p.Data.ReadAt(b[p.Offset:p.Offset+p.Size], 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
	}
	config := `{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 1, "hidden_size": 2, "num_attention_heads": 1,
  "intermediate_size": 300000, "vocab_size": 4, "max_position_embeddings": 128, "torch_dtype": "bfloat16", "tie_word_embeddings": true}`
	const down = "model.layers.0.mlp.down_proj.weight"
	for _, at := range []string{"/long", "/other"} {
		long.Put(at+"/model.safetensors", string(b))
		long.Put(at+"/config.json", config)
	}
	change(t, long, "/other", down, func(b []byte, _ formats.Tensor) { b[len(b)-1], b[2*299_999+1] = 0x40, 0x41 })
	for _, x := range []struct {
		fsys *fsio.Mem
		a, b string
		want int64 // differing elements of down_proj
	}{{small, "/granite-code", "/granite-code", 0}, {long, "/long", "/other", 2}} {
		a, b := opened(t, x.fsys, x.a), opened(t, x.fsys, x.b)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		list, err := diff.Weights(context.Background(), a, b, 1)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		// A cell of 128 Ki values: two tensors in bytes and float64, the rounded values in float32 and float64.
		if got := after.TotalAlloc - before.TotalAlloc; got > 10<<20 {
			t.Errorf("%s: comparing allocates %d bytes", x.a, got)
		}
		i := slices.IndexFunc(list, func(l diff.Tensor) bool { return l.Name == down })
		if n := list[max(i, 0)].Differing; i < 0 || n != x.want {
			t.Errorf("%s: got %d elements that differ, want %d", x.a, n, x.want)
		}
	}
}

// TestMarshal writes what is not finite as strings: JSON has no numbers for it.
func TestMarshal(t *testing.T) {
	fsys := disk(t, "checkpoints/granite-code")
	produce(t, fsys, "/granite-code", "/copy", convert.Options{})
	for _, x := range []struct {
		name      string
		high, low byte
		max, sqnr string
	}{
		{name: "NaN", high: 0x7f, low: 0xc0, max: `"max_abs":"NaN"`, sqnr: `"sqnr":"NaN"`},
		{name: "infinity", high: 0x7f, low: 0x80, max: `"max_abs":"Inf"`, sqnr: `"sqnr":"-Inf"`},
	} {
		change(t, fsys, "/copy", "model.norm.weight", func(b []byte, _ formats.Tensor) { b[6], b[7] = x.low, x.high })
		list, err := diff.Weights(context.Background(), opened(t, fsys, "/granite-code"), opened(t, fsys, "/copy"), 1)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(list)
		if err != nil || !strings.Contains(string(b), x.max) || !strings.Contains(string(b), x.sqnr) {
			t.Errorf("%s: got %v, without %s and %s: %s", x.name, err, x.max, x.sqnr, b)
		}
	}
}
