package convert_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// mixture is a fixture with experts, without its tokenizer.
func mixture(t *testing.T, name string) (*fsio.Mem, *weights) {
	t.Helper()
	fsys := disk(t, "checkpoints/"+name)
	for p := range fsys.Tree() {
		if strings.HasPrefix(path.Base(p), "tokenizer") || path.Base(p) == "vocab.json" || path.Base(p) == "merges.txt" {
			if err := fsys.Remove(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	return fsys, read(t, fsys, "/"+name)
}

// rename gives tensors other names.
func (x *weights) rename(pairs ...string) {
	r := strings.NewReplacer(pairs...)
	for i, s := range x.tensors {
		b := x.data[s.Name]
		delete(x.data, s.Name)
		x.tensors[i].Name = r.Replace(s.Name)
		x.data[x.tensors[i].Name] = b
	}
}

// merge makes one tensor of those of each expert, of which patterns name several to be joined: a layer is i, an expert e.
func (x *weights) merge(into string, patterns ...string) {
	for i := range 2 {
		var all []byte
		var shape []int64
		for e := range 5 {
			rows := int64(0)
			for _, p := range patterns {
				name := fmt.Sprintf(p, i, e)
				s, b := x.get(name)
				rows += s.Shape[0]
				all, shape = append(all, b...), []int64{5, rows, s.Shape[1]}
				x.drop(name)
			}
		}
		x.set(fmt.Sprintf(into, i), dtype.BF16, shape, all)
	}
}

// TestExpertForms reads every form that files have experts in, and makes of each the same GGUF file and the same directory as of the fixture's.
// The names are those of transformers 5.23 (conversion_mapping.py, saved with save_original_format=False) and of llama.cpp before its change
// 2024-04-03, "ggml : mul_mat_id use the same tensor for all the experts".
func TestExpertForms(t *testing.T) {
	const experts = "model.layers.%d.block_sparse_moe.experts.%d."
	for _, x := range []struct {
		name, from string
		gguf       bool
		form       func(w *weights)
	}{
		{"transformers 5 in memory, mixtral", "mixtral", false, func(w *weights) {
			w.merge("model.layers.%d.mlp.experts.gate_up_proj", experts+"w1.weight", experts+"w3.weight")
			w.merge("model.layers.%d.mlp.experts.down_proj", experts+"w2.weight")
			w.rename("block_sparse_moe.gate", "mlp.gate")
		}},
		{"transformers 5 in memory, granitemoeshared", "granitemoeshared", false, func(w *weights) {
			w.rename("moe.input_linear.weight", "moe.experts.gate_up_proj", "moe.output_linear.weight", "moe.experts.down_proj", "router.layer.weight", "router.weight")
		}},
		{"a tensor for each expert in GGUF", "mixtral", true, func(w *weights) {
			for _, s := range slices.Clone(w.tensors) {
				if base, ok := strings.CutSuffix(s.Name, "_exps.weight"); ok {
					_, b := w.get(s.Name)
					w.drop(s.Name)
					for e := range 5 {
						w.set(fmt.Sprintf("%s.%d.weight", base, e), s.DType, s.Shape[1:], b[e*len(b)/5:(e+1)*len(b)/5])
					}
				}
			}
		}},
		{"gate and up as one in GGUF", "granitemoe", true, func(w *weights) {
			for i := range 2 {
				gate, g := w.get(fmt.Sprintf("blk.%d.ffn_gate_exps.weight", i))
				_, u := w.get(fmt.Sprintf("blk.%d.ffn_up_exps.weight", i))
				var all []byte
				for e := range 5 {
					all = append(append(all, g[e*len(g)/5:(e+1)*len(g)/5]...), u[e*len(u)/5:(e+1)*len(u)/5]...)
				}
				w.drop(gate.Name)
				w.drop(fmt.Sprintf("blk.%d.ffn_up_exps.weight", i))
				w.set(fmt.Sprintf("blk.%d.ffn_gate_up_exps.weight", i), gate.DType, []int64{5, 2 * gate.Shape[1], gate.Shape[2]}, all)
			}
		}},
	} {
		fsys, w := mixture(t, x.from)
		src, dst := "/"+x.from, "/want.gguf"
		convertTo := func(from, to string) *weights {
			t.Helper()
			if _, err := run(fsys, from, to, bowline.ConvertOptions{}); err != nil {
				t.Fatal(x.name, err)
			}
			return read(t, fsys, to)
		}
		want := convertTo(src, dst)
		if x.gguf {
			src, w = "/form.gguf", want
			want = convertTo(dst, "/want")
			x.form(w)
			w.put(t, fsys, src)
			sameWeights(t, x.name, convertTo(src, "/got"), want)
			continue
		}
		back := convertTo(dst, "/back")
		x.form(w)
		w.put(t, fsys, src+"/model.safetensors")
		sameWeights(t, x.name, convertTo(src, "/got.gguf"), want)
		sameWeights(t, x.name+", and back", convertTo("/got.gguf", "/got"), back)
	}
}

// TestHybrids converts GraniteMoeHybridForCausalLM without Mamba layers: with experts it is granitemoe, and its position encoding is a key of GGUF.
func TestHybrids(t *testing.T) {
	hybrid := []string{"architectures", `["GraniteMoeHybridForCausalLM"]`, "model_type", `"granitemoehybrid"`}
	for _, x := range []struct {
		name, from string
		config     []string
		arch       string
		roped      any    // granite.rope.scaling.finetuned
		back       string // class of what the GGUF file becomes
		code       formats.Code
		field      string
	}{
		{"dense", "granitemoehybrid-dense", nil, "granite", true, "GraniteMoeHybridForCausalLM", "", ""},
		{"dense, no position encoding", "granitemoehybrid-dense", []string{"position_embedding_type", "null"}, "granite", false, "GraniteMoeHybridForCausalLM", "", ""},
		{"not a hybrid", "granite", nil, "granite", nil, "GraniteForCausalLM", "", ""},
		{"experts", "granitemoeshared", append(hybrid, "layer_types", `["attention","attention"]`, "position_embedding_type", `"rope"`), "granitemoe", true, "GraniteMoeSharedForCausalLM", "", ""},
		{"experts, no position encoding", "granitemoeshared", append(hybrid, "layer_types", `["attention","attention"]`), "", nil, "", formats.Unsupported, "position_embedding_type"},
		{"types of other layers", "granitemoehybrid-dense", []string{"layer_types", `["attention"]`}, "", nil, "", formats.Mismatch, "layer_types"},
		{"a Mamba layer", "granitemoehybrid-dense", []string{"layer_types", `["attention","mamba","attention"]`}, "granitemoehybrid", nil, "", "", ""},
		{"no word on layers", "granitemoehybrid-dense", []string{"layer_types", ""}, "granitemoehybrid", nil, "", "", ""},
	} {
		fsys, _ := mixture(t, x.from)
		edit(t, fsys, "/"+x.from+"/config.json", x.config...)
		_, err := run(fsys, "/"+x.from, "/x.gguf", bowline.ConvertOptions{})
		if x.code != "" {
			if formats.CodeOf(err) != x.code || !strings.Contains(err.Error(), x.field) {
				t.Errorf("%s: got %v, want %s about %s", x.name, err, x.code, x.field)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		md := read(t, fsys, "/x.gguf").md
		if a := md.Get("general.architecture"); a != x.arch {
			t.Errorf("%s: got architecture %v, want %s", x.name, a, x.arch)
		}
		if got := md.Get(x.arch + ".rope.scaling.finetuned"); got != x.roped {
			t.Errorf("%s: got position encoding %v, want %v", x.name, got, x.roped)
		}
		if x.back == "" {
			continue
		}
		if _, err := run(fsys, "/x.gguf", "/back", bowline.ConvertOptions{}); err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		back := opened(t, fsys, "/back")
		if back.Class != x.back || back.Config.NoRope != (x.roped == false) {
			t.Errorf("%s: got %s, no position encoding %v; want %s", x.name, back.Class, back.Config.NoRope, x.back)
		}
		_, err = run(fsys, "/"+x.from, "/tc", bowline.ConvertOptions{To: "torchchat", Options: convert.Options{}})
		if refused := x.arch == "granitemoe" || x.roped == false; (formats.CodeOf(err) == formats.Unsupported) != refused || err != nil && !refused {
			t.Errorf("%s to TorchChat: got %v, refused should be %v", x.name, err, refused)
		}
	}
}

// TestAbsentScales reads what a Granite file does not say as llama.cpp does (src/models/granite.cpp): none, of which only the scores' is no 1.
func TestAbsentScales(t *testing.T) {
	for _, x := range []struct {
		name         string
		md           formats.Metadata
		without      []string
		scores, rest float64
		code         formats.Code
	}{
		{name: "absent", without: []string{"granite.attention.scale", "granite.embedding_scale", "granite.residual_scale"}, scores: 0.31622776, rest: 1},
		{name: "zero", md: formats.Metadata{{Key: "granite.attention.scale", Value: float32(0)}, {Key: "granite.embedding_scale", Value: float32(0)}, {Key: "granite.residual_scale", Value: float32(0)}},
			without: []string{"granite.attention.scale", "granite.embedding_scale", "granite.residual_scale"}, scores: 0.31622776, rest: 1},
		{name: "not that of the logits", without: []string{"granite.logit_scale"}, code: formats.Missing},
		{name: "logits by zero", without: []string{"granite.logit_scale"}, md: formats.Metadata{{Key: "granite.logit_scale", Value: float32(0)}}, code: formats.Unsupported},
	} {
		fsys, _ := mixture(t, "granite")
		if _, err := run(fsys, "/granite", "/in.gguf", bowline.ConvertOptions{}); err != nil {
			t.Fatal(err)
		}
		w := read(t, fsys, "/in.gguf")
		w.md = append(without(w.md, x.without...), x.md...)
		w.put(t, fsys, "/in.gguf")
		_, err := run(fsys, "/in.gguf", "/back", bowline.ConvertOptions{})
		if formats.CodeOf(err) != x.code {
			t.Errorf("%s: got %v, want %q", x.name, err, x.code)
		}
		if err != nil {
			continue
		}
		if c := opened(t, fsys, "/back").Config; c.AttnScale != x.scores || c.EmbedScale != x.rest || c.ResidualScale != x.rest {
			t.Errorf("%s: got %v, %v, %v; want %v and %v twice", x.name, c.AttnScale, c.EmbedScale, c.ResidualScale, x.scores, x.rest)
		}
	}
}
