//go:build real

package bowline_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// newReal is a real model of the peers' folder, and the tool built from this tree.
func newReal(t *testing.T, name string) *realModel {
	t.Helper()
	r := &realModel{root: programs(t), dir: t.TempDir(), table: &table{}}
	r.source, r.bin = filepath.Join(r.root, name), filepath.Join(r.dir, "bowline")
	if out, err := exec.Command("go", "build", "-o", r.bin, "./cmd/bowline").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return r
}

// TestRealGemma takes Gemma 3 270M, whose vocabulary is SentencePiece's and whose layers have windows but for each sixth, from somebody else's GGUF file
// to HF and on to Q8_0.
func TestRealGemma(t *testing.T) {
	r := newReal(t, "gemma3.gguf")
	hf, q8 := filepath.Join(r.dir, "hf"), filepath.Join(r.dir, "gemma3-q8_0.gguf")
	var there, back report
	r.command(t, nil, "convert", r.source, hf)
	r.command(t, &there, "verify", r.source, "--against", hf, "--prompt", prose)
	if !there.Pass || !there.BitIdentical {
		t.Errorf("hf/ does not compute what the file does: %+v", there)
	}
	r.command(t, &back, "convert", hf, q8, "--dtype", "q8_0", "--verify")
	if back.Verification == nil || !back.Verification.Pass {
		t.Fatalf("to Q8_0: %+v", back)
	}
	r.table.add("convert gemma3.gguf (Q4_K, Q5_0, Q6_K, Q8_0) hf/, verified", "itself", "the same bits")
	r.table.add("convert hf/ gemma3-q8_0.gguf --dtype q8_0 --verify", "itself", "%s, NMSE %v", back.Verification.Class, back.Verification.gate("nmse"))
	var said struct {
		IDs []int32 `json:"input_ids"`
	}
	r.command(t, &said, "logits", r.source, "--prompt", prose)
	list := texts()
	file := ask(t, r.root, "tok_ids.py", []job{{"file": filepath.Join(hf, "tokenizer.json"), "texts": append(slices.Clone(list), prose)}}, "--jobs")[0]
	lib := ask(t, r.root, "llama_logits.py", []job{{"file": r.source, "texts": list}, {"file": q8, "texts": list}}, "--jobs")
	out := filepath.Join(r.dir, "logits")
	tf := ask(t, r.root, "hf_load.py", []job{{"dir": hf, "tokens": said.IDs, "out": out}}, "--jobs")[0]
	if file.Error != "" || lib[0].Error != "" || lib[1].Error != "" || tf.Error != "" || len(tf.Missing)+len(tf.Unexpected)+len(tf.Mismatched) > 0 {
		t.Fatal(file.Error, lib[0].Error, lib[1].Error, tf.Error, tf.Missing, tf.Unexpected, tf.Mismatched)
	}
	for i, text := range list {
		if !slices.Equal(file.IDs[i], lib[0].IDs[i]) || !slices.Equal(file.IDs[i], lib[1].IDs[i]) {
			t.Errorf("%q: tokenizers gives %v by the rebuilt tokenizer.json, libllama %v by the original and %v by the Q8_0 file", text, file.IDs[i], lib[0].IDs[i], lib[1].IDs[i])
		}
	}
	want := file.IDs[len(list)]
	if len(want) != len(said.IDs) || slices.ContainsFunc(said.IDs, func(id int32) bool { return !slices.Contains(want, int(id)) }) {
		t.Errorf("the prompt: got ids %v, tokenizers gives %v", said.IDs, want)
	}
	r.table.add("ids by the original, by hf/'s tokenizer.json and by the Q8_0 file", "libllama "+lib[0].Version+", tokenizers "+file.Version, "%d of %d texts equal", len(list), len(list))
	d := nmse(trace(t, tf.Out).Logits, ours(t, hf, said.IDs))
	below(t, "bowline logits of hf/", d, 1e-10)
	r.table.add("bowline logits of hf/, head and embedding one tensor: "+map[bool]string{true: "yes", false: "no"}[tf.Tied], "transformers "+tf.Version, "NMSE of the worst row %.1e", d)
	if !tf.Tied {
		t.Error("transformers did not tie the head")
	}
	r.table.print(t, filepath.Join(r.root, "checked-gemma.txt"))
}

// TestRealMiniLM takes a BERT, of which no forward pass here knows anything and whose vocabulary is WordPiece, through the formats that can hold it.
func TestRealMiniLM(t *testing.T) {
	r := newReal(t, "minilm")
	digest := func(path string) (h struct{ Digest string }) {
		r.command(t, &h, "hash", path)
		return h
	}
	want := digest(r.source)
	from := r.source
	for _, to := range []string{"pytorch", "sharded", "x.gguf", "back"} {
		dst := filepath.Join(r.dir, to)
		flags := map[string][]string{"pytorch": {"--to", "pytorch"}, "sharded": {"--shard-size", "20MB"}}[to]
		r.command(t, nil, append([]string{"convert", from, dst}, flags...)...)
		if got := digest(dst); got != want {
			t.Errorf("%s: got digest %s, want %s", to, got.Digest, want.Digest)
		}
		if to == "sharded" {
			a, err := os.ReadFile(filepath.Join(r.source, "vocab.txt"))
			b, err2 := os.ReadFile(filepath.Join(dst, "vocab.txt"))
			if err != nil || err2 != nil || string(a) != string(b) {
				t.Errorf("vocab.txt is not what it was: %v %v", err, err2)
			}
		}
		from = dst
	}
	r.table.add("hash of all-MiniLM-L6-v2 through PyTorch, shards, GGUF with names kept, safetensors", "itself", "%s in each", want.Digest[:16])
	r.table.print(t, filepath.Join(r.root, "checked-minilm.txt"))
}
