package convert_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// TestAllAtOnce lists every tensor that is unknown, missing, of a wrong shape or not wanted, in one run.
func TestAllAtOnce(t *testing.T) {
	const q, up, norm = "model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.up_proj.weight", "model.norm.weight"
	for _, x := range []struct {
		name  string
		edits []string
		harm  func(x *weights)
		want  map[string]formats.Code // by tensor
	}{
		{name: "unknown, missing and of a wrong shape", harm: func(x *weights) {
			x.set("model.layers.0.self_attn.extra", dtype.BF16, []int64{2}, make([]byte, 4))
			x.set("model.layers.2.mlp.up_proj.weight", dtype.BF16, []int64{2}, make([]byte, 4))
			x.drop(up)
			x.drop(norm)
			s, b := x.get(q)
			x.set(q, s.DType, []int64{s.Shape[1] * 2, s.Shape[0] / 2}, b)
		}, want: map[string]formats.Code{"model.layers.0.self_attn.extra": formats.Unknown, "model.layers.2.mlp.up_proj.weight": formats.Unknown,
			up: formats.Missing, norm: formats.Missing, q: formats.BadShape}},
		{name: "biases that the config denies", edits: []string{"mlp_bias", "false"}, harm: func(*weights) {}, want: map[string]formats.Code{
			"model.layers.0.mlp.gate_proj.bias": formats.Mismatch, "model.layers.1.mlp.gate_proj.bias": formats.Mismatch,
			"model.layers.0.mlp.up_proj.bias": formats.Mismatch, "model.layers.1.mlp.up_proj.bias": formats.Mismatch,
			"model.layers.0.mlp.down_proj.bias": formats.Mismatch, "model.layers.1.mlp.down_proj.bias": formats.Mismatch}},
		{name: "biases that the config promises", harm: func(x *weights) {
			x.drop("model.layers.0.self_attn.q_proj.bias")
			x.drop("model.layers.1.self_attn.o_proj.bias")
		}, want: map[string]formats.Code{"model.layers.0.self_attn.q_proj.bias": formats.Missing, "model.layers.1.self_attn.o_proj.bias": formats.Missing}},
		{name: "a scalar where a vector should be", harm: func(x *weights) { x.set(norm, dtype.BF16, nil, make([]byte, 2)) }, want: map[string]formats.Code{norm: formats.BadShape}},
		{name: "an embedding of another size than the config's", edits: []string{"vocab_size", "330"}, harm: func(*weights) {},
			want: map[string]formats.Code{hfEmbed: formats.BadShape}},
	} {
		for _, dst := range []string{"/out", "/out.gguf"} {
			fsys := disk(t, "ties/tied")
			w := read(t, fsys, "/tied")
			x.harm(w)
			w.put(t, fsys, "/tied/model.safetensors")
			edit(t, fsys, "/tied/config.json", x.edits...)
			_, err := run(fsys, "/tied", dst, bowline.ConvertOptions{})
			got := map[string]formats.Code{}
			for _, e := range formats.Errors(err) {
				got[e.Tensor] = e.Code
				if !strings.HasPrefix(e.Path, "/tied/") {
					t.Errorf("%s: an error without its file: %v", x.name, e)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(x.want) {
				t.Errorf("%s to %s:\ngot  %v\nwant %v", x.name, dst, got, x.want)
			}
		}
	}
}

// TestDropped leaves out what old versions of transformers saved beside the weights, with a note.
func TestDropped(t *testing.T) {
	fsys := disk(t, "ties/tied")
	w := read(t, fsys, "/tied")
	w.set("model.layers.0.self_attn.rotary_emb.inv_freq", dtype.F32, []int64{4}, make([]byte, 16))
	w.put(t, fsys, "/tied/model.safetensors")
	r, err := run(fsys, "/tied", "/out", bowline.ConvertOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if out := read(t, fsys, "/out"); out.at("model.layers.0.self_attn.rotary_emb.inv_freq") >= 0 || !strings.Contains(fmt.Sprint(r.Notes), "inv_freq") {
		t.Errorf("inv_freq was kept, or dropped without a note: %v", r.Notes)
	}
}

// TestForeign copies what it does not understand, unchanged and to its own kind only, and says what that is.
func TestForeign(t *testing.T) {
	rename := func(from, to string) func(t *testing.T, fsys *fsio.Mem) {
		return func(t *testing.T, fsys *fsio.Mem) {
			w := read(t, fsys, "/tied")
			s, b := w.get(from)
			w.drop(from)
			w.set(to, s.DType, s.Shape, b)
			w.put(t, fsys, "/tied/model.safetensors")
		}
	}
	const gate = "model.layers.0.mlp.gate_proj."
	for _, x := range []struct {
		name, says string
		make       func(t *testing.T, fsys *fsio.Mem)
	}{
		{"a method in the config", "gptq", func(t *testing.T, fsys *fsio.Mem) {
			edit(t, fsys, "/tied/config.json", "quantization_config", `{"quant_method": "gptq", "bits": 4}`)
		}},
		{"bitsandbytes of old", "bitsandbytes", func(t *testing.T, fsys *fsio.Mem) {
			edit(t, fsys, "/tied/config.json", "quantization_config", `{"load_in_4bit": true}`)
		}},
		{"a method without a name", "quantization_config", func(t *testing.T, fsys *fsio.Mem) {
			edit(t, fsys, "/tied/config.json", "quantization_config", `{"x": 1}`)
		}},
		{"tensors of GPTQ", "gptq", rename(gate+"weight", gate+"qweight")},
		{"tensors of GPTQ, without any config", "gptq", func(t *testing.T, fsys *fsio.Mem) {
			rename(gate+"weight", gate+"qweight")(t, fsys)
			fsys.Remove("/tied/config.json")
		}},
		{"scales of FP8", "fp8", rename(gate+"bias", gate+"weight_scale_inv")},
		{"compressed-tensors", "compressed-tensors", rename(gate+"weight", gate+"weight_packed")},
		{"an adapter", "LoRA", rename(gate+"weight", "base_model.model.layers.0.mlp.gate_proj.lora_A.weight")},
		{"an adapter by its config alone", "adapter", func(t *testing.T, fsys *fsio.Mem) {
			fsys.Remove("/tied/config.json")
			fsys.Put("/tied/adapter_config.json", "{}")
		}},
	} {
		fsys := disk(t, "ties/tied")
		x.make(t, fsys)
		for _, to := range []struct {
			dst string
			o   convert.Options
		}{{"/x.gguf", convert.Options{}}, {"/x.gguf", convert.Options{KeepNames: true}}, {"/x", convert.Options{DType: "f32"}}} {
			_, err := run(fsys, "/tied", to.dst, bowline.ConvertOptions{Options: to.o})
			if formats.CodeOf(err) != formats.Unsupported || !strings.Contains(err.Error(), x.says) {
				t.Errorf("%s to %s %+v: got %v, want %s that says %q", x.name, to.dst, to.o, err, formats.Unsupported, x.says)
			}
		}
		if _, err := run(fsys, "/tied", "/x", bowline.ConvertOptions{Options: convert.Options{Ties: convert.Untie}}); formats.CodeOf(err) != formats.Tie {
			t.Errorf("%s: --ties untie: got %v, want %s", x.name, err, formats.Tie)
		}
		r, err := run(fsys, "/tied", "/out", bowline.ConvertOptions{})
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		if !strings.Contains(fmt.Sprint(r.Notes), x.says) {
			t.Errorf("%s: no note says %q: %v", x.name, x.says, r.Notes)
		}
		sameWeights(t, x.name, read(t, fsys, "/out"), read(t, fsys, "/tied"))
		a, b := below(fsys, "/out"), below(fsys, "/tied")
		delete(a, "model.safetensors")
		delete(b, "model.safetensors")
		if err := sameTree(a, b); err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
	}
}

// sameWeights demands the same tensors, types, shapes and bytes.
func sameWeights(t *testing.T, name string, got, want *weights) {
	t.Helper()
	if len(got.tensors) != len(want.tensors) {
		t.Errorf("%s: got %d tensors, want %d", name, len(got.tensors), len(want.tensors))
	}
	for _, w := range want.tensors {
		g, b := got.get(w.Name)
		if g.DType != w.DType || !slices.Equal(g.Shape, w.Shape) || string(b) != string(want.data[w.Name]) {
			t.Errorf("%s: %s: got %s %v, want %s %v with the same bytes", name, w.Name, g.DType, g.Shape, w.DType, w.Shape)
		}
	}
}

// stranger is a model of no known family, with types and shapes that GGUF can hold.
func stranger(t *testing.T, fsys *fsio.Mem, config string) *weights {
	t.Helper()
	x := &weights{format: target("safetensors").Format, data: map[string][]byte{}}
	x.set("embed", dtype.BF16, []int64{5, 3}, noise(30))
	x.set("norm.weight", dtype.BF16, []int64{7}, noise(14))
	x.set("half.bias", dtype.F16, []int64{9}, noise(18))
	x.set("scale", dtype.F32, nil, noise(4))
	x.set("ids", dtype.I64, []int64{3}, noise(24))
	x.set("conv.weight", dtype.F32, []int64{2, 3, 4, 2}, noise(192))
	x.put(t, fsys, "/s/model.safetensors")
	if config != "" {
		fsys.Put("/s/config.json", config)
	}
	return x
}

func noise(n int) []byte {
	b, s := make([]byte, n), uint32(n)
	for i := range b {
		s = s*1664525 + 1013904223
		b[i] = byte(s >> 24)
	}
	return b
}

// TestStranger moves a model of no known family with its names, both ways, and gets it back bit for bit.
func TestStranger(t *testing.T) {
	for _, x := range []struct{ name, config, arch string }{
		{"an unknown family", `{"architectures": ["StrangeModel"], "model_type": "strange"}`, "strange"},
		{"no config", "", "unknown"},
		{"a config that says nothing", "{}", "unknown"},
	} {
		fsys := fsio.NewMem()
		want := stranger(t, fsys, x.config)
		for _, o := range []bowline.ConvertOptions{{}, {Options: convert.Options{KeepNames: true, Ties: convert.Keep}}} {
			o.Force = true
			if _, err := run(fsys, "/s", "/copy", o); err != nil {
				t.Fatal(x.name, err)
			}
			sameWeights(t, x.name+", copied", read(t, fsys, "/copy"), want)
			r, err := run(fsys, "/s", "/s.gguf", o)
			if err != nil {
				t.Fatal(x.name, err)
			}
			if !strings.Contains(fmt.Sprint(r.Notes), "no runtime may load") {
				t.Errorf("%s: no note says that no runtime may load it: %v", x.name, r.Notes)
			}
			g := read(t, fsys, "/s.gguf")
			if a := g.md.Get("general.architecture"); a != x.arch {
				t.Errorf("%s: got architecture %v, want %s", x.name, a, x.arch)
			}
			sameWeights(t, x.name+", in GGUF", g, want)
			if _, err := run(fsys, "/s.gguf", "/back", o); err != nil {
				t.Fatal(x.name, err)
			}
			sameWeights(t, x.name+", back", read(t, fsys, "/back"), want)
		}
		for _, p := range []convert.Policy{convert.TieAny, convert.TieEmbed, convert.TieHead, convert.Untie} {
			if _, err := run(fsys, "/s", "/no", bowline.ConvertOptions{Options: convert.Options{Ties: p}}); formats.CodeOf(err) != formats.Tie {
				t.Errorf("%s: --ties %s: got %v, want %s", x.name, p, err, formats.Tie)
			}
		}
	}
}

// TestKeptNames keeps the names of a known family in GGUF, and finds its ties by them.
func TestKeptNames(t *testing.T) {
	for _, name := range []string{"tied", "untied", "tied-equal-head", "absent-no-head"} {
		fsys := disk(t, "ties/"+name)
		o := bowline.ConvertOptions{Options: convert.Options{KeepNames: true}}
		if _, err := run(fsys, "/"+name, "/k.gguf", o); err != nil {
			t.Fatal(name, err)
		}
		if _, err := run(fsys, "/k.gguf", "/back", bowline.ConvertOptions{}); err != nil {
			t.Fatal(name, err)
		}
		want := read(t, fsys, "/"+name)
		if name == "tied-equal-head" {
			want.drop(hfHead)
		}
		sameWeights(t, name, read(t, fsys, "/back"), want)
	}
}

// TestFused reads q, k and v in one tensor, wholly or in part, and writes what it writes from three.
func TestFused(t *testing.T) {
	for _, x := range []struct {
		name  string
		kinds []string
	}{{"weights and biases", []string{"weight", "bias"}}, {"weights, with separate biases", []string{"weight"}}} {
		fsys := disk(t, "checkpoints/granite-code")
		if _, err := run(fsys, "/granite-code", "/split.gguf", bowline.ConvertOptions{Options: convert.Options{Name: "g"}}); err != nil {
			t.Fatal(err)
		}
		w := read(t, fsys, "/split.gguf")
		for _, kind := range x.kinds {
			for layer := range 2 {
				var b []byte
				var s formats.Tensor
				rows := int64(0)
				for _, n := range []string{"q", "k", "v"} {
					name := fmt.Sprintf("blk.%d.attn_%s.%s", layer, n, kind)
					part, data := w.get(name)
					s, b, rows = part, append(b, data...), rows+part.Shape[0]
					w.drop(name)
				}
				w.set(fmt.Sprintf("blk.%d.attn_qkv.%s", layer, kind), s.DType, append([]int64{rows}, s.Shape[1:]...), b)
			}
		}
		w.put(t, fsys, "/fused.gguf")
		for _, src := range []string{"split", "fused"} {
			if _, err := run(fsys, "/"+src+".gguf", "/"+src, bowline.ConvertOptions{}); err != nil {
				t.Fatal(x.name, err)
			}
		}
		if err := sameTree(below(fsys, "/fused"), below(fsys, "/split")); err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
		sameWeights(t, x.name, read(t, fsys, "/fused"), read(t, fsys, "/granite-code"))
		// Copied, it stays as it is; wrong, it is named.
		if _, err := run(fsys, "/fused.gguf", "/copy.gguf", bowline.ConvertOptions{}); err != nil {
			t.Fatal(err)
		}
		sameWeights(t, x.name+", copied", read(t, fsys, "/copy.gguf"), w)
		s, b := w.get("blk.0.attn_qkv.weight")
		w.set(s.Name, s.DType, []int64{s.Shape[0] / 2, s.Shape[1] * 2}, b)
		w.put(t, fsys, "/fused.gguf")
		if _, err := run(fsys, "/fused.gguf", "/no", bowline.ConvertOptions{}); formats.CodeOf(err) != formats.BadShape || !strings.Contains(err.Error(), "blk.0.attn_qkv.weight") {
			t.Errorf("%s: a fused tensor of the wrong shape: got %v", x.name, err)
		}
	}
}

// TestRoundTrip goes to GGUF and back: the same tensors, bit for bit, and a config that says the same.
func TestRoundTrip(t *testing.T) {
	for _, name := range []string{"granite-code", "granite-code-sharded", "llama-linear", "llama3", "smollm2"} {
		fsys := disk(t, "checkpoints/"+name)
		if _, err := run(fsys, "/"+name, "/x.gguf", bowline.ConvertOptions{}); err != nil {
			t.Fatal(name, err)
		}
		if _, err := run(fsys, "/x.gguf", "/back", bowline.ConvertOptions{}); err != nil {
			t.Fatal(name, err)
		}
		sameWeights(t, name, read(t, fsys, "/back"), read(t, fsys, "/"+name))
		got, want := *opened(t, fsys, "/back").Config, *opened(t, fsys, "/"+name).Config
		if len(want.EOS) > 1 { // GGUF's key holds one
			want.EOS = got.EOS
		}
		for _, c := range []*string{&got.TransformersVersion, &want.TransformersVersion} {
			*c = ""
		}
		if want.BOS != nil && got.BOS != nil && *want.BOS == *got.BOS {
			want.BOS = got.BOS
		}
		if want.PAD == nil || got.PAD != nil && *want.PAD == *got.PAD { // where the config has none, the tokenizer may
			want.PAD = got.PAD
		}
		if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
			t.Errorf("%s:\ngot  %s\nwant %s", name, g, w)
		}
	}
}

// TestDecoded writes what a target has no type for as F32, which loses nothing, and says so.
func TestDecoded(t *testing.T) {
	fsys := disk(t, "checkpoints/granite-code")
	if _, err := run(fsys, "/granite-code", "/q.gguf", bowline.ConvertOptions{Options: convert.Options{DType: "Q8_0"}}); err != nil {
		t.Fatal(err)
	}
	r, err := run(fsys, "/q.gguf", "/out", bowline.ConvertOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(fmt.Sprint(r.Notes), "no type Q8_0") || !strings.Contains(fsys.Tree()["/out/config.json"], `"torch_dtype": "float32"`) {
		t.Errorf("no note, or another type in the config: %v %s", r.Notes, fsys.Tree()["/out/config.json"])
	}
	q, f := read(t, fsys, "/q.gguf"), read(t, fsys, "/out")
	s, b := f.get("model.layers.1.mlp.down_proj.weight")
	if s.DType != dtype.F32 || fmt.Sprint(values(s, b)) != fmt.Sprint(values(q.get("blk.1.ffn_down.weight"))) {
		t.Errorf("got %s, want F32 with the values of the blocks", s.DType)
	}
}

// TestShards splits and joins, in both formats, and finds the same tensors.
func TestShards(t *testing.T) {
	fsys := disk(t, "checkpoints/granite-code")
	want := read(t, fsys, "/granite-code")
	for _, x := range []struct {
		name, dst string
		size      int64
		files     int
		code      formats.Code
	}{
		{name: "a directory", dst: "/a", size: 100_000, files: 4},
		{name: "one file each", dst: "/b", size: 1, files: 34},
		{name: "one file", dst: "/c", size: -1, files: 1},
		{name: "larger than the model", dst: "/d", size: 1 << 40, files: 1},
		{name: "a split GGUF", dst: "/e.gguf", size: 100_000, files: 4},
		{name: "a single safetensors file", dst: "/f.safetensors", size: 100_000, code: formats.Usage},
	} {
		_, err := run(fsys, "/granite-code", x.dst, bowline.ConvertOptions{Options: convert.Options{ShardSize: x.size}})
		if formats.CodeOf(err) != x.code {
			t.Errorf("%s: got %v, want %q", x.name, err, x.code)
		}
		if err != nil {
			continue
		}
		at := x.dst
		if x.name == "a split GGUF" {
			at = "/e-00002-of-00004.gguf"
		}
		m := opened(t, fsys, at)
		n := 0
		for _, f := range m.Files {
			if !strings.HasSuffix(f.Path, ".json") {
				n++
			}
		}
		if n != x.files {
			t.Errorf("%s: got %d files, want %d: %v", x.name, n, x.files, m.Files)
		}
		if x.name == "a split GGUF" {
			if _, err := run(fsys, at, "/back", bowline.ConvertOptions{}); err != nil {
				t.Fatal(err)
			}
			at = "/back"
		}
		sameWeights(t, x.name, read(t, fsys, at), want)
		for _, f := range m.Files {
			sum := int64(0)
			for _, s := range m.Tensors {
				if s.File == f.Path {
					sum += s.Bytes
				}
			}
			if x.size > 1 && sum > x.size {
				t.Errorf("%s: %s holds %d bytes of tensors, want at most %d", x.name, f.Path, sum, x.size)
			}
		}
	}
}

// TestConfigEdits changes the tie flag and the type in config.json, and no other byte.
func TestConfigEdits(t *testing.T) {
	const odd = "{\t\"architectures\" :[\"LlamaForCausalLM\"], \"model_type\":\"llama\",\r\n \"hidden_size\":48,\"num_hidden_layers\":2, \"num_attention_heads\":6,\n\n" +
		" \"num_key_value_heads\":2,\"intermediate_size\":80,\"vocab_size\":331,\"max_position_embeddings\":5.12e2, \"attention_bias\":true,\"mlp_bias\":true,\n" +
		"\"x_unknown\": {\"a\": [NaN, -Infinity, 1e400, 0.10]}, \"x\\u00e9\": \"\\u00e9\", %s \"rms_norm_eps\":1E-5}   \n\n"
	for _, x := range []struct {
		name, before, after string
		o                   convert.Options
	}{
		{"nothing to change", `"tie_word_embeddings":true, "torch_dtype":"bfloat16",`, `"tie_word_embeddings":true, "torch_dtype":"bfloat16",`, convert.Options{}},
		{"the flag", `"tie_word_embeddings" : true,`, `"tie_word_embeddings" : false,`, convert.Options{Ties: convert.Untie}},
		{"the type, old key", `"tie_word_embeddings":true, "torch_dtype":"bfloat16",`, `"tie_word_embeddings":true, "torch_dtype":"float16",`, convert.Options{DType: "f16"}},
		{"the type, both keys", `"dtype":"bfloat16","tie_word_embeddings":true, "torch_dtype":"bfloat16",`, `"dtype":"float32","tie_word_embeddings":true, "torch_dtype":"float32",`, convert.Options{DType: "F32"}},
		{"no key for the type", `"tie_word_embeddings":true,`, `"tie_word_embeddings":true,`, convert.Options{DType: "f32"}},
		{"both", `"torch_dtype":"bfloat16","tie_word_embeddings":true,`, `"torch_dtype":"float16","tie_word_embeddings":false,`, convert.Options{DType: "f16", Ties: convert.Untie}},
		{"keep", `"torch_dtype":"bfloat16",`, `"torch_dtype":"bfloat16",`, convert.Options{Ties: convert.Keep}},
	} {
		fsys := disk(t, "ties/tied")
		fsys.Put("/tied/config.json", fmt.Sprintf(odd, x.before))
		if _, err := run(fsys, "/tied", "/out", bowline.ConvertOptions{Options: x.o}); err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		if got, want := fsys.Tree()["/out/config.json"], fmt.Sprintf(odd, x.after); got != want {
			t.Errorf("%s:\ngot  %q\nwant %q", x.name, got, want)
		}
	}
}

// TestRequests refuses what contradicts itself or cannot be said, with the code that tells which.
func TestRequests(t *testing.T) {
	for _, x := range []struct {
		name, src, dst string
		edits          []string
		o              convert.Options
		code           formats.Code // "" is done
		says           string
	}{
		{name: "a GGUF type for another format", dst: "/out", o: convert.Options{DType: "q8_0"}, code: formats.Usage, says: "Q8_0"},
		{name: "a type that is not written", dst: "/out.gguf", o: convert.Options{DType: "iq2_xxs"}, code: formats.Usage},
		{name: "no type at all", dst: "/out", o: convert.Options{DType: "nonsense"}, code: formats.Usage, says: "NONSENSE"},
		{name: "rows that are no whole blocks become F16", dst: "/out.gguf", o: convert.Options{DType: "q8_0"}},
		{name: "yarn to GGUF", dst: "/out.gguf", edits: []string{"rope_scaling", `{"rope_type": "yarn", "factor": 4.0}`}, code: formats.Unsupported, says: "yarn"},
		{name: "yarn, copied", dst: "/out", edits: []string{"rope_scaling", `{"rope_type": "yarn", "factor": 4.0}`}},
		{name: "another activation to GGUF", dst: "/out.gguf", edits: []string{"hidden_act", `"gelu"`}, code: formats.Unsupported, says: "gelu"},
		{name: "another activation, untied", dst: "/out", edits: []string{"hidden_act", `"gelu"`}, o: convert.Options{Ties: convert.Untie}},
		{name: "no heads", dst: "/out.gguf", edits: []string{"num_attention_heads", "0", "head_dim", "8"}, code: formats.BadShape},
		{name: "a config that is no JSON", dst: "/out", edits: nil, src: "broken", code: formats.JSON},
	} {
		fsys := disk(t, "ties/tied")
		if x.src == "broken" {
			fsys.Put("/tied/config.json", `{"a": 1,}`)
		} else if len(x.edits) > 0 {
			edit(t, fsys, "/tied/config.json", x.edits...)
		}
		_, err := run(fsys, "/tied", x.dst, bowline.ConvertOptions{Options: x.o})
		if formats.CodeOf(err) != x.code || err != nil && !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: got %v, want %q %q", x.name, err, x.code, x.says)
		}
	}
}

// TestHostile gives sizes that would be absurd to take seriously: an error, soon, and no panic.
func TestHostile(t *testing.T) {
	start := time.Now()
	for _, x := range []struct {
		name  string
		edits []string
		harm  func(x *weights)
		o     convert.Options
		most  int // problems
	}{
		{name: "a hundred thousand layers", edits: []string{"num_hidden_layers", "100000"}, most: 1001},
		{name: "more layers than that", edits: []string{"num_hidden_layers", "2147483647"}, most: 1},
		{name: "a head that is a scalar", harm: func(x *weights) { x.set(hfHead, dtype.BF16, nil, make([]byte, 2)) }, most: 1},
		{name: "a head that is a scalar, names kept", harm: func(x *weights) { x.set(hfHead, dtype.BF16, nil, make([]byte, 2)) }, o: convert.Options{KeepNames: true}, most: 1},
		{name: "a head of no rows", harm: func(x *weights) { x.set(hfHead, dtype.BF16, []int64{0, 1 << 40}, []byte{}) }, most: 1},
		{name: "two of no columns", harm: func(x *weights) {
			x.set(hfHead, dtype.BF16, []int64{1 << 40, 0}, []byte{})
			x.set(hfEmbed, dtype.BF16, []int64{1 << 40, 0}, []byte{})
		}, most: 2},
		{name: "the largest sizes of a config", edits: []string{"hidden_size", "2147483647", "intermediate_size", "2147483647", "head_dim", "2147483647", "num_attention_heads", "2147483647",
			"num_key_value_heads", "2147483647"}, most: 40},
	} {
		for _, dst := range []string{"/out", "/out.gguf"} {
			fsys := disk(t, "ties/tied")
			if x.harm != nil {
				w := read(t, fsys, "/tied")
				x.harm(w)
				w.put(t, fsys, "/tied/model.safetensors")
			}
			if len(x.edits) > 0 {
				edit(t, fsys, "/tied/config.json", x.edits...)
			}
			_, err := run(fsys, "/tied", dst, bowline.ConvertOptions{Options: x.o})
			if list := formats.Errors(err); err == nil || len(list) > x.most {
				t.Errorf("%s to %s: got %d problems, want 1 to %d: %.300v", x.name, dst, len(list), x.most, err)
			}
		}
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("it took %v", d)
	}
}

// Names in TorchChat's files.
const (
	tcQKV  = "layers.0.attention.wqkv.weight"
	tcBias = "layers.1.attention.wqkv.bias"
)

// torchchat puts TorchChat's own granite-code at /tc, its tensors in a safetensors file so that they can be changed.
func torchchat(t *testing.T, harm func(x *weights)) *fsio.Mem {
	t.Helper()
	fsys := disk(t, "torchchat/granite-code")
	x := read(t, fsys, "/granite-code/model.pth")
	if harm != nil {
		harm(x)
	}
	x.put(t, fsys, "/tc/model.safetensors")
	fsys.Put("/tc/params.json", fsys.Tree()["/granite-code/params.json"])
	return fsys
}

// apart splits wqkv as Meta's files have it, which hold the frequencies of the position encoding too.
func apart(x *weights) {
	x.set("rope.freqs", dtype.F32, []int64{8}, make([]byte, 32))
	for _, kind := range []string{"weight", "bias"} {
		for i := range 2 {
			name := fmt.Sprintf("layers.%d.attention.wqkv.%s", i, kind)
			s, b := x.get(name)
			row := int64(len(b)) / s.Shape[0]
			lo := int64(0)
			for _, part := range []struct {
				name string
				rows int64
			}{{"wq", 96}, {"wk", 32}, {"wv", 32}} { // 6 heads of 16, 2 key heads
				shape := append([]int64{part.rows}, s.Shape[1:]...)
				x.set(strings.Replace(name, "wqkv", part.name, 1), s.DType, shape, b[lo*row:(lo+part.rows)*row])
				lo += part.rows
			}
			x.drop(name)
		}
	}
}

// TestSplitNames reads Meta's names, biases too: to the tensors that the Hugging Face source has, and to those that TorchChat's converter made.
func TestSplitNames(t *testing.T) {
	for _, x := range []struct {
		name, params string // "" is TorchChat's own
		at           string
	}{
		{"TorchChat's params.json", "", "/tc"},
		{"Meta's keys", `{"dim": 96, "n_layers": 2, "n_heads": 6, "n_kv_heads": 2, "vocab_size": -1, "hidden_dim": 160, "norm_eps": 1e-05, "rope_theta": 10000000.0, "block_size": 512,
			"attention_bias": true, "feed_forward_bias": true, "tie_word_embeddings": true}`, "/tc"},
		{"a consolidated file", "", "/c/consolidated.00.pth"},
	} {
		fsys := torchchat(t, apart)
		if x.params != "" {
			fsys.Put("/tc/params.json", x.params)
		}
		if x.at != "/tc" {
			if _, err := run(fsys, "/tc/model.safetensors", x.at, bowline.ConvertOptions{Options: convert.Options{KeepNames: true}}); err != nil {
				t.Fatal(err)
			}
			fsys.Put("/c/params.json", fsys.Tree()["/tc/params.json"])
		}
		if m := opened(t, fsys, x.at); m.Scheme != "meta" {
			t.Errorf("%s: got scheme %s, want meta", x.name, m.Scheme)
		}
		if _, err := run(fsys, x.at, "/out", bowline.ConvertOptions{}); err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		sameWeights(t, x.name, read(t, fsys, "/out"), read(t, disk(t, "checkpoints/granite-code"), "/granite-code"))
		if _, err := run(fsys, x.at, "/fused.pth", bowline.ConvertOptions{To: "torchchat"}); err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		sameWeights(t, x.name+", fused", read(t, fsys, "/fused.pth"), read(t, fsys, "/granite-code/model.pth"))
		if _, err := run(fsys, x.at, "/out.gguf", bowline.ConvertOptions{}); err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
	}
}

// TestFusedTypes joins parts of different types in one that holds them all, and loses nothing.
func TestFusedTypes(t *testing.T) {
	var parts = []string{"attn_q", "attn_k", "attn_v"}
	for _, x := range []struct {
		name, dtype string
		wide        map[string]dtype.Type // of parts of the first layer
		want        dtype.Type
	}{
		{"all alike", "bf16", nil, dtype.BF16},
		{"a wider part", "bf16", map[string]dtype.Type{"attn_k": dtype.F32}, dtype.F32},
		{"two halves", "bf16", map[string]dtype.Type{"attn_v": dtype.F16}, dtype.F32},
		{"blocks", "q8_0", nil, dtype.F32},
		{"blocks and F32", "q8_0", map[string]dtype.Type{"attn_q": dtype.F32}, dtype.F32},
		{"blocks, F16 and F32", "q8_0", map[string]dtype.Type{"attn_k": dtype.F16, "attn_v": dtype.F32}, dtype.F32},
	} {
		fsys := disk(t, "checkpoints/granite-code")
		if _, err := run(fsys, "/granite-code", "/in.gguf", bowline.ConvertOptions{Options: convert.Options{DType: x.dtype}}); err != nil {
			t.Fatal(err)
		}
		w := read(t, fsys, "/in.gguf")
		for part, dt := range x.wide {
			s, b := w.get("blk.0." + part + ".weight")
			v := narrow(values(s, b))
			for i := range v {
				v[i] *= 1.003 // values that no narrower type holds
			}
			w.set(s.Name, dt, s.Shape, encode(dt, v))
		}
		w.put(t, fsys, "/in.gguf")
		if _, err := run(fsys, "/in.gguf", "/out.pth", bowline.ConvertOptions{To: "torchchat"}); err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		var want []float64 // both rotate adjacent pairs: the rows stay where they are
		for _, part := range parts {
			want = append(want, values(w.get("blk.0."+part+".weight"))...)
		}
		s, b := read(t, fsys, "/out.pth").get(tcQKV)
		if s.DType != x.want || !slices.Equal(s.Shape, []int64{160, 96}) || !slices.Equal(values(s, b), want) {
			t.Errorf("%s: got %s %v, want %s [160 96] and the values of the parts", x.name, s.DType, s.Shape, x.want)
		}
	}
}

// TestFusedShapes names what is wrong with a file of TorchChat's names, by those names.
func TestFusedShapes(t *testing.T) {
	for _, x := range []struct {
		name  string
		edits []string // of params.json
		harm  func(x *weights)
		want  map[string]formats.Code
	}{
		{name: "a layer without wqkv", harm: func(x *weights) { x.drop(tcQKV) }, want: map[string]formats.Code{tcQKV: formats.Missing}},
		{name: "a layer without its bias", harm: func(x *weights) { x.drop(tcBias) }, want: map[string]formats.Code{tcBias: formats.Missing}},
		{name: "rows too few", harm: func(x *weights) {
			s, b := x.get(tcQKV)
			x.set(tcQKV, s.DType, []int64{159, 96}, b[:159*96*2])
		}, want: map[string]formats.Code{tcQKV: formats.BadShape}},
		{name: "a vector where a matrix should be", harm: func(x *weights) {
			s, b := x.get(tcQKV)
			x.set(tcQKV, s.DType, []int64{160 * 96}, b)
		}, want: map[string]formats.Code{tcQKV: formats.BadShape}},
		{name: "a scalar where a vector should be", harm: func(x *weights) { x.set(tcBias, dtype.BF16, nil, make([]byte, 2)) }, want: map[string]formats.Code{tcBias: formats.BadShape}},
		{name: "key heads that the config counts otherwise", edits: []string{"n_local_heads", "3"}, want: map[string]formats.Code{
			tcQKV: formats.BadShape, "layers.1.attention.wqkv.weight": formats.BadShape, "layers.0.attention.wqkv.bias": formats.BadShape, tcBias: formats.BadShape}},
		{name: "biases that the config denies", edits: []string{"attention_bias", "false"}, want: map[string]formats.Code{"layers.0.attention.wqkv.bias": formats.Mismatch, tcBias: formats.Mismatch,
			"layers.0.attention.wo.bias": formats.Mismatch, "layers.1.attention.wo.bias": formats.Mismatch}},
		{name: "biases of the MLP that the config denies", edits: []string{"feed_forward_bias", ""}, want: map[string]formats.Code{
			"layers.0.feed_forward.w1.bias": formats.Mismatch, "layers.0.feed_forward.w2.bias": formats.Mismatch, "layers.0.feed_forward.w3.bias": formats.Mismatch,
			"layers.1.feed_forward.w1.bias": formats.Mismatch, "layers.1.feed_forward.w2.bias": formats.Mismatch, "layers.1.feed_forward.w3.bias": formats.Mismatch}},
		{name: "one that nobody knows", harm: func(x *weights) { x.set("layers.0.attention.extra", dtype.BF16, []int64{1}, make([]byte, 2)) },
			want: map[string]formats.Code{"layers.0.attention.extra": formats.Unknown}},
		{name: "a layer too many", harm: func(x *weights) {
			s, b := x.get(tcQKV)
			x.set("layers.2.attention.wqkv.weight", s.DType, s.Shape, b)
		}, want: map[string]formats.Code{"layers.2.attention.wqkv.weight": formats.Unknown}},
	} {
		for _, o := range []struct{ dst, to string }{{"/out", ""}, {"/out.gguf", ""}, {"/out.pth", "torchchat"}} {
			fsys := torchchat(t, x.harm)
			if len(x.edits) > 0 {
				edit(t, fsys, "/tc/params.json", x.edits...)
			}
			before := fsys.Tree()
			_, err := run(fsys, "/tc", o.dst, bowline.ConvertOptions{To: o.to})
			got := map[string]formats.Code{}
			for _, e := range formats.Errors(err) {
				got[e.Tensor] = e.Code
			}
			if fmt.Sprint(got) != fmt.Sprint(x.want) {
				t.Errorf("%s to %s:\ngot  %v %v\nwant %v", x.name, o.dst, got, err, x.want)
			}
			if err := sameTree(fsys.Tree(), before); err != nil {
				t.Errorf("%s to %s: %v", x.name, o.dst, err)
			}
		}
	}
}

// TestInexpressible refuses what TransformerArgs cannot say, and writes nothing; what differs only beyond a stated length is a note. TorchChat's own
// converter fails on the head sizes (testdata/torchchat, PROVENANCE).
func TestInexpressible(t *testing.T) {
	for _, x := range []struct {
		name, dir string
		edits     []string
		says      []string // nil: it is done
		note      string
	}{
		{name: "a head size of its own", dir: "checkpoints/llama3", says: []string{"head_dim", "12"}},
		{name: "a head size of its own", dir: "checkpoints/mistral", says: []string{"head_dim", "14"}},
		{name: "a head size of its own", dir: "checkpoints/smollm2", says: []string{"head_dim", "16"}},
		{name: "linear rope and a head size", dir: "checkpoints/llama-linear", says: []string{"head_dim", "rope_scaling", "linear"}},
		{name: "linear rope", dir: "torchchat/llama/hf", edits: []string{"rope_scaling", `{"type": "linear", "factor": 2.0}`}, says: []string{"rope_scaling", "linear"}},
		{name: "dynamic rope", dir: "torchchat/llama/hf", edits: []string{"rope_scaling", `{"rope_type": "dynamic", "factor": 2.0}`}, says: []string{"rope_scaling", "dynamic"}},
		{name: "yarn", dir: "torchchat/llama/hf", edits: []string{"rope_scaling", `{"rope_type": "yarn", "factor": 2.0}`}, says: []string{"rope_scaling", "yarn"}},
		{name: "another activation", dir: "torchchat/llama/hf", edits: []string{"hidden_act", `"gelu"`}, says: []string{"hidden_act", "gelu"}},
		{name: "a family that is not known", dir: "torchchat/granite/hf", edits: []string{"architectures", `["StrangerForCausalLM"]`, "model_type", `"stranger"`}, says: []string{"TorchChat"}},
		{name: "a sliding window", dir: "torchchat/llama/hf", edits: []string{"architectures", `["MistralForCausalLM"]`, "model_type", `"mistral"`, "sliding_window", "16"}, note: "beyond 16 tokens"},
		{name: "a sliding window beyond all positions", dir: "torchchat/llama/hf", edits: []string{"architectures", `["MistralForCausalLM"]`, "model_type", `"mistral"`, "sliding_window", "4096"}},
		{name: "as it is", dir: "torchchat/llama3-rope/hf"},
	} {
		name := "/" + x.dir[strings.LastIndex(x.dir, "/")+1:]
		fsys := disk(t, x.dir)
		if len(x.edits) > 0 {
			edit(t, fsys, name+"/config.json", x.edits...)
		}
		before := fsys.Tree()
		for _, dst := range []string{"/out", "/out.pth"} {
			r, err := run(fsys, name, dst, bowline.ConvertOptions{To: "torchchat"})
			if x.says == nil {
				if err != nil {
					t.Errorf("%s: %v", x.name, err)
				} else if got := fmt.Sprint(r.Notes); x.note == "" && strings.Contains(got, "sliding") || !strings.Contains(got, x.note) {
					t.Errorf("%s: got notes %v, want %q", x.name, r.Notes, x.note)
				}
				continue
			}
			if formats.CodeOf(err) != formats.Unsupported {
				t.Errorf("%s: got %v, want %s", x.name, err, formats.Unsupported)
				continue
			}
			for _, s := range x.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%s: got %v, want %q in it", x.name, err, s)
				}
			}
			if err := sameTree(fsys.Tree(), before); err != nil {
				t.Errorf("%s: %v", x.name, err)
			}
		}
	}
}
