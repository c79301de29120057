package bowline_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// apart is how far libllama's own logits are from transformers' where that is more than rounding: its gelu is a table of float16 values, and it has no
// sliding window in these architectures. The numbers are those of testdata/expected/PROVENANCE.families.
var apart = map[string]float64{
	"gpt-bigcode-mq": 1e-6, "gpt-bigcode-mha": 1e-6, "gemma": 1e-6, "gemma2": 2e-6, "gemma3": 5e-6, "gpt2": 1e-6, "gpt2-prefixed": 1e-6, "gpt-neox": 1e-6,
	"starcoder2": 1, "phi3": 2, "gpt-neox-sequential": 0.1, // whose file lacks the base of its rope
}

// TestFamilies takes each family's checkpoint through every form, prints how far the forward pass is from transformers and libllama, and demands the
// same bits of every form.
func TestFamilies(t *testing.T) {
	list, _ := filepath.Glob("testdata/expected/*/logits.safetensors")
	if len(list) < 9 {
		t.Fatalf("got %d fixtures, want 9", len(list))
	}
	ctx := context.Background()
	table := fmt.Sprintf("%-24s%-14s%-14s%-14s%-10s%-10s%s\n", "family", "transformers", "libllama", "GGUF F32", "PyTorch", "untied", "back")
	for _, f := range list {
		name := filepath.Base(filepath.Dir(f))
		t.Run(name, func(t *testing.T) {
			fsys := fsio.NewMem()
			copyTree(t, fsys, "testdata/checkpoints/"+name, "/m")
			copyTree(t, fsys, filepath.Dir(f), "/want")
			src := bowline.Source{Path: "/m", FS: fsys}
			at := func(p string) bowline.Source { return bowline.Source{Path: p, FS: fsys} }
			against := func(model, ref string) (nmse float64, same bool) {
				t.Helper()
				r, err := bowline.Verify(ctx, at(model), at(ref), bowline.VerifyOptions{})
				if err != nil {
					t.Fatalf("%s against %s: %v", model, ref, err)
				}
				for _, g := range r.Gates {
					if g.Name == "nmse" {
						nmse = float64(g.Value)
					}
				}
				return nmse, r.BitIdentical
			}
			make := func(dst string, o bowline.ConvertOptions) {
				t.Helper()
				o.Pre = "gpt-2"
				if _, err := bowline.Convert(ctx, src, dst, o); err != nil {
					t.Fatalf("to %s: %v", dst, err)
				}
			}
			hf, _ := against("/m", "/want/logits.safetensors")
			make("/x.gguf", bowline.ConvertOptions{Options: convert.Options{DType: "f32"}})
			cpp, _ := against("/x.gguf", "/want/llamacpp.safetensors")
			if hf > 1e-11 || cpp > max(apart[name], 1e-11) {
				t.Errorf("got NMSE %.1e from transformers, %.1e from libllama", hf, cpp)
			}
			if _, err := fsys.Stat("/want/short.safetensors"); err == nil { // of a text that longrope's other list is for
				if d, _ := against("/m", "/want/short.safetensors"); d > 1e-11 {
					t.Errorf("a short text: got NMSE %.1e from transformers", d)
				}
			}
			row, gguf := fmt.Sprintf("%-24s%-14.1e%-14.1e", name, hf, cpp), "same bits"
			bits := func(form string) {
				t.Helper()
				_, same := against(form, "/m")
				switch {
				case !same && (form == "/x.gguf" || form == "/back") && apart[name] > 0.4: // whose programs compute something else beyond the window
					gguf = "no window"
				case !same:
					t.Errorf("%s: other bits", form)
				}
			}
			bits("/x.gguf")
			make("/p", bowline.ConvertOptions{To: "pytorch"})
			bits("/p")
			make("/u", bowline.ConvertOptions{Options: convert.Options{Ties: convert.Untie}})
			bits("/u")
			if _, err := bowline.Convert(ctx, at("/x.gguf"), "/back", bowline.ConvertOptions{}); err != nil {
				t.Fatal(err)
			}
			forms := []string{"/m", "/x.gguf", "/p", "/u", "/back"}
			for i, a := range forms {
				for _, b := range forms[i+1:] {
					if d, err := bowline.Diff(ctx, at(a), at(b), bowline.DiffOptions{}); err != nil || !d.Equal {
						t.Errorf("%s is not what %s is: %v %+v", b, a, err, d)
					}
				}
			}
			bits("/back")
			if !t.Failed() {
				table += fmt.Sprintf("%s%-14ssame bits same bits equal\n", row, gguf)
			}
		})
	}
	t.Log("\n" + table)
}

// copyTree puts the files of a directory into a file system in memory.
func copyTree(t *testing.T, to *fsio.Mem, from, at string) {
	t.Helper()
	list, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		to.Put(at+"/"+e.Name(), string(b))
	}
}

// TestInner is a language model within another, in the names of both majors of transformers and with the parameters in text_config: what is beside it is
// carried from HF to HF and left out elsewhere, and the tie is declared at both levels.
func TestInner(t *testing.T) {
	b, err := os.ReadFile("testdata/checkpoints/gemma3/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(b)
	var inner map[string]any
	text, err := os.ReadFile("testdata/checkpoints/gemma3/config.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &inner); err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{"architectures": []string{"Gemma3ForConditionalGeneration"}, "model_type": "gemma3", "text_config": inner, "transformers_version": "4.50.0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for prefix, head := range map[string]string{"language_model.model.": "language_model.lm_head.weight", "model.language_model.": "lm_head.weight"} {
		header := strings.TrimRight(strings.ReplaceAll(string(b[8:8+n]), `"model.`, `"`+prefix), " }") + `},"vision_tower.a.weight":{"dtype":"U8","shape":[4],"data_offsets":[` +
			fmt.Sprintf("%d,%d]}}", len(b)-8-int(n), len(b)-4-int(n))
		fsys := fsio.NewMem()
		copyTree(t, fsys, "testdata/checkpoints/gemma3", "/m")
		fsys.Put("/m/config.json", string(config))
		fsys.Put("/m/model.safetensors", string(binary.LittleEndian.AppendUint64(nil, uint64(len(header))))+header+string(b[8+n:])+"abcd")
		at := func(p string) bowline.Source { return bowline.Source{Path: p, FS: fsys} }
		for _, dst := range []string{"/x.gguf", "/u"} {
			r, err := bowline.Convert(ctx, at("/m"), dst, bowline.ConvertOptions{Options: convert.Options{Ties: map[string]convert.Policy{"/u": convert.Untie}[dst]}, Verify: true})
			if err != nil || !r.Verification.BitIdentical {
				t.Fatalf("%s to %s: %v", prefix, dst, err)
			}
			said := slices.ContainsFunc(r.Notes, func(n formats.Note) bool { return n.Decision == "1 tensors are not carried" })
			if said != (dst == "/x.gguf") {
				t.Errorf("%s to %s: got notes %v", prefix, dst, r.Notes)
			}
		}
		i, err := bowline.Inspect(at("/u"), bowline.InspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, x := range i.Tensors {
			names[x.Name] = true
		}
		if !names[head] || !names["vision_tower.a.weight"] {
			t.Errorf("%s: the untied result has no %s, or nothing beside the model", prefix, head)
		}
		if c := fsys.Tree()["/u/config.json"]; strings.Count(c, `"tie_word_embeddings": false`) != 2 {
			t.Errorf("%s: the flag does not stand at both levels: %s", prefix, c)
		}
	}
}
