package convert_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
)

// TestSets: groups of more than two, and of biases, are one tensor in safetensors and one storage in PyTorch, from whatever holds them.
func TestSets(t *testing.T) {
	for _, x := range []struct {
		src    string
		groups map[string][]string // id: verdict, then the keys
		once   []string            // what safetensors holds of them
		names  int                 // that PyTorch has for tensors that are stored once
	}{
		{"t5", map[string][]string{"shared": {"TIED_SHARED", "shared.weight", "lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}}, []string{"shared.weight"}, 2},
		{"t5-bin", map[string][]string{"shared": {"TIED_ALIASED", "shared.weight", "lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}}, []string{"shared.weight"}, 4},
		{"bert", map[string][]string{"decoder.weight": {"TIED_SHARED", "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"},
			"decoder.bias": {"TIED_SHARED", "cls.predictions.bias", "cls.predictions.decoder.bias"}}, []string{"bert.embeddings.word_embeddings.weight", "cls.predictions.bias"}, 4},
		{"bert-bin", map[string][]string{"decoder.weight": {"TIED_ALIASED", "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"},
			"decoder.bias": {"TIED_ALIASED", "cls.predictions.bias", "cls.predictions.decoder.bias"}}, []string{"bert.embeddings.word_embeddings.weight", "cls.predictions.bias"}, 4},
	} {
		t.Run(x.src, func(t *testing.T) {
			fsys := disk(t, "checkpoints/"+x.src)
			groups, err := convert.Judged(context.Background(), opened(t, fsys, "/"+x.src), convert.JudgeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(groups) != len(x.groups) {
				t.Fatalf("got %d groups, want %d", len(groups), len(x.groups))
			}
			members := map[string]bool{}
			for _, g := range groups {
				if got := append([]string{string(g.Verdict), g.SourceKey}, g.TargetKeys...); !slices.Equal(got, x.groups[g.ID]) {
					t.Errorf("%s: got %v, want %v", g.ID, got, x.groups[g.ID])
				}
				for k := range g.Present {
					members[k] = true
				}
			}
			for _, to := range []string{"safetensors", "pytorch"} {
				if _, err := run(fsys, "/"+x.src, "/"+to, bowline.ConvertOptions{To: to}); err != nil {
					t.Fatal(err)
				}
				m := opened(t, fsys, "/"+to)
				var held []string
				for _, s := range m.Tensors {
					if members[s.Name] {
						held = append(held, s.Name)
					}
				}
				if slices.Sort(held); to == "safetensors" && !slices.Equal(held, x.once) {
					t.Errorf("safetensors holds %v, want %v", held, x.once)
				}
				if names := len(held) + len(m.Aliases); to == "pytorch" && names != x.names {
					t.Errorf("PyTorch has %d names for the members, want %d", names, x.names)
				}
				d, err := bowline.Diff(context.Background(), bowline.Source{Path: "/" + x.src, FS: fsys}, bowline.Source{Path: "/" + to, FS: fsys}, bowline.DiffOptions{})
				if err != nil || !d.Equal {
					t.Errorf("%s is not what %s is: %v", to, x.src, err)
				}
			}
			if _, err := run(fsys, "/"+x.src, "/x.gguf", bowline.ConvertOptions{}); formats.CodeOf(err) != formats.Unsupported || !strings.Contains(err.Error(), "names keep") {
				t.Errorf("to GGUF: got %v, want %s with a hint", err, formats.Unsupported)
			}
		})
	}
}

// TestUnknownFamily: the ties of a model that no table knows are those that its bytes show; names are kept, and what is not known is said.
func TestUnknownFamily(t *testing.T) {
	fsys := disk(t, "ties/tied-equal-head")
	edit(t, fsys, "/tied-equal-head/config.json", "architectures", `["FooForCausalLM"]`)
	edit(t, fsys, "/tied-equal-head/config.json", "model_type", `"foo"`)
	groups, err := convert.Judged(context.Background(), opened(t, fsys, "/tied-equal-head"), convert.JudgeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(groups) != 1 || groups[0].Verdict != convert.TiedDuplicate || groups[0].SourceKey != hfEmbed || !slices.Equal(groups[0].TargetKeys, []string{hfHead}) {
		t.Fatalf("got %+v, want the embedding and the head", groups)
	}
	r, err := run(fsys, "/tied-equal-head", "/out", bowline.ConvertOptions{To: "pytorch", Options: convert.Options{Dedup: true}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(r.Notes, func(n formats.Note) bool { return strings.Contains(n.Because, "FooForCausalLM") }) {
		t.Errorf("got notes %v, want one that names the family", r.Notes)
	}
	m := opened(t, fsys, "/out")
	if len(m.Aliases) != 1 || m.Aliases[0] != (formats.Alias{Name: hfHead, Of: hfEmbed}) && m.Aliases[0] != (formats.Alias{Name: hfEmbed, Of: hfHead}) {
		t.Errorf("got aliases %v, want head and embedding on one storage", m.Aliases)
	}
}

// TestDedup stores equal tensors once where the target can say so, and says elsewhere what it would save. Ties are not its business.
func TestDedup(t *testing.T) {
	const a, b = "model.layers.0.input_layernorm.weight", "model.layers.1.post_attention_layernorm.weight"
	for _, x := range []struct {
		to    string
		alias bool
	}{{"pytorch", true}, {"raw", true}, {"safetensors", false}} {
		fsys := disk(t, "ties/untied-equal-head")
		w := read(t, fsys, "/untied-equal-head")
		s, data := w.get(a)
		w.set(b, s.DType, s.Shape, data)
		w.put(t, fsys, "/untied-equal-head/model.safetensors")
		r, err := run(fsys, "/untied-equal-head", "/out", bowline.ConvertOptions{To: x.to, Options: convert.Options{Dedup: true}})
		if err != nil {
			t.Fatal(err)
		}
		m := opened(t, fsys, "/out")
		if got := len(m.Aliases) == 1; got != x.alias {
			t.Errorf("%s: got aliases %v", x.to, m.Aliases)
		}
		for _, al := range m.Aliases {
			if al.Name != b || al.Of != a {
				t.Errorf("%s: got %s for %s, want the norms: the head is tied by --ties alone", x.to, al.Name, al.Of)
			}
		}
		if !slices.ContainsFunc(r.Notes, func(n formats.Note) bool { return n.Subject == b && strings.Contains(n.Because, "--dedup: 96 bytes") }) {
			t.Errorf("%s: got notes %v", x.to, r.Notes)
		}
		d, err := bowline.Diff(context.Background(), bowline.Source{Path: "/untied-equal-head", FS: fsys}, bowline.Source{Path: "/out", FS: fsys}, bowline.DiffOptions{})
		if err != nil || !d.Equal {
			t.Errorf("%s: not equal: %v", x.to, err)
		}
	}
}

// TestEdit changes metadata and no byte of a tensor.
func TestEdit(t *testing.T) {
	fsys := disk(t, "gguf/llamacpp")
	const src = "/llamacpp/granite-code-bf16.gguf"
	before := read(t, fsys, src)
	if _, err := run(fsys, src, "/out.gguf", bowline.ConvertOptions{Options: convert.Options{ChatTemplate: "{{ x }}", Name: "N", Set: []string{
		"llama.rope.freq_base=500000", "general.author=a, b", "general.a=true", "general.b=-3", "general.c=4000000000", "general.d=2.5", `general.e=["x","y"]`, `general.f="7"`, "general.g=[1,2]",
		"tokenizer.ggml.bos_token_id=5"}}}); err != nil {
		t.Fatal(err)
	}
	after := read(t, fsys, "/out.gguf")
	for key, want := range map[string]any{"llama.rope.freq_base": float32(500000), "general.author": "a, b", "general.a": true, "general.b": int32(-3), "general.c": int64(4000000000),
		"general.d": float32(2.5), "general.f": "7", "tokenizer.ggml.bos_token_id": uint32(5), "tokenizer.chat_template": "{{ x }}", "general.name": "N"} {
		if got := after.md.Get(key); got != want {
			t.Errorf("%s: got %T %v, want %T %v", key, got, got, want, want)
		}
	}
	if got := after.md.Get("general.e"); !slices.Equal(got.([]string), []string{"x", "y"}) {
		t.Errorf("general.e: got %v", got)
	}
	if got := after.md.Get("general.g"); !slices.Equal(got.([]int32), []int32{1, 2}) {
		t.Errorf("general.g: got %v", got)
	}
	if len(after.tensors) != len(before.tensors) {
		t.Fatalf("got %d tensors, want %d", len(after.tensors), len(before.tensors))
	}
	for _, s := range before.tensors {
		if string(after.data[s.Name]) != string(before.data[s.Name]) {
			t.Errorf("%s: other bytes", s.Name)
		}
	}
	for set, says := range map[string]string{"llama.block_count=x": "want an integer", "general.alignment=64": "layout", "general.architecture=gpt2": "another model", "novalue": "KEY=VALUE",
		"llama.block_count=-1": "not negative", "general.e=[1,": "no JSON"} {
		if _, err := run(fsys, src, "/bad.gguf", bowline.ConvertOptions{Options: convert.Options{Set: []string{set}}}); formats.CodeOf(err) != formats.Usage || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %s that says %q", set, err, formats.Usage, says)
		}
	}
	if _, err := run(fsys, src, "/dir", bowline.ConvertOptions{Options: convert.Options{Set: []string{"a=b"}}}); formats.CodeOf(err) != formats.Usage {
		t.Errorf("to safetensors: got %v, want %s", err, formats.Usage)
	}
}
