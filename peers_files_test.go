//go:build peers

package bowline_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/arch/tokenizer"
	"github.com/bowline-ml/bowline/formats"
)

// newModels has transformers save models that never were in this repository, and reads them.
func (p *peers) newModels(t *testing.T) {
	base := map[string]any{"vocab_size": 211, "hidden_size": 64, "num_attention_heads": 8, "num_key_value_heads": 4, "intermediate_size": 112,
		"num_hidden_layers": 3, "max_position_embeddings": 128, "tie_word_embeddings": false, "attention_bias": true, "mlp_bias": true}
	tokens := []int32{0, 210, 7, 7, 33, 150, 99, 12, 4, 180, 61, 0}
	var jobs []job
	for i, c := range []struct {
		dtype, shard string
		more         map[string]any
	}{
		{"float32", "5GB", nil},
		{"bfloat16", "60KB", map[string]any{"tie_word_embeddings": true}},
		{"float16", "90KB", map[string]any{"num_key_value_heads": 8, "head_dim": 24, "attention_bias": false, "rms_norm_eps": 1e-5}},
	} {
		config := map[string]any{}
		for _, from := range []map[string]any{base, c.more} {
			for k, v := range from {
				config[k] = v
			}
		}
		name := filepath.Join(p.dir, fmt.Sprintf("new-%d-", i))
		jobs = append(jobs, job{"new": name, "config": config, "dtype": c.dtype, "shard": c.shard, "seed": 100 + i, "tokens": tokens, "out": name + "logits"})
	}
	tf5, tf4 := p.majors(t, jobs, func(job) bool { return true })
	for k, answers := range [][]*answer{tf5, tf4} {
		major, count := []string{"5", "4"}[k], 0
		var against, through worst
		for i, a := range answers {
			if !complete(t, "new model", a) {
				continue
			}
			dir := jobs[i]["new"].(string) + major
			c := opened(t, dir)
			want := tensors[map[string]dumped](t, *a)
			for name, x := range want {
				o := c.Lookup(name)
				if o == nil {
					if name != "lm_head.weight" || jobs[i]["config"].(map[string]any)["tie_word_embeddings"] != true {
						t.Errorf("%s: %s is not there", dir, name)
					}
					continue
				}
				sum := sha256.Sum256(content(t, c, name))
				if got := (dumped{"", torchName[string(o.DType)], "", o.Shape, 0, 0, hex.EncodeToString(sum[:])}); fmt.Sprint(got) != fmt.Sprint(x) {
					t.Errorf("%s: %s: got %v, transformers saved %v", dir, name, got, x)
				}
				count++
			}
			ref := trace(t, a.Out).Logits
			below(t, dir, against.see(nmse(ref, ours(t, dir, tokens))), 1e-10)
			g := filepath.Join(p.dir, fmt.Sprintf("new-%d-%s.gguf", i, major))
			made(t, dir, g, bowline.ConvertOptions{})
			below(t, g, through.see(nmse(ref, ours(t, g, tokens))), 1e-10)
		}
		peer := "transformers " + answers[0].Version
		p.table.add("models that it saves now, one file and shards: tensors with type, shape, sha256", peer, "%d models, %d tensors", len(answers), count)
		p.table.add("bowline logits of these, and of GGUF files made of them", peer, "%d, NMSE at most %.1e and %.1e", against.n, against.max, through.max)
	}
}

var torchName = map[string]string{"F32": "float32", "BF16": "bfloat16", "F16": "float16"}

// written reads safetensors files that the library writes, and has them copied by way of our writer to be read again.
func (p *peers) written(t *testing.T) {
	const n = 20
	var jobs []job
	for i := range n {
		by := []string{"numpy", "torch"}[i%2]
		jobs = append(jobs, job{"safetensors": filepath.Join(p.dir, fmt.Sprintf("by-%s-%d.safetensors", by, i)), "seed": i, "by": by})
	}
	count, bytes := 0, int64(0)
	kinds, version := map[string]bool{}, ""
	for i, a := range ask(t, p.root, "files.py", jobs) {
		version = a.Version
		path, want := jobs[i]["safetensors"].(string), tensors[[]dumped](t, a)
		c := opened(t, path)
		for _, x := range want {
			o := c.Lookup(x.Name)
			if o == nil {
				t.Errorf("%s: %q is not there", path, x.Name)
				continue
			}
			sum := sha256.Sum256(content(t, c, x.Name))
			if got := (dumped{x.Name, string(o.DType), "", o.Shape, 0, o.Bytes, hex.EncodeToString(sum[:])}); fmt.Sprint(got) != fmt.Sprint(x) {
				t.Errorf("%s: got %v, the library wrote %v", path, got, x)
			}
			kinds[x.DType] = true
			count++
			bytes += x.Bytes
		}
		if len(want) != len(c.Tensors) || len(a.Metadata) != len(c.Metadata) {
			t.Errorf("%s: got %d tensors and %d keys, want %d and %d", path, len(c.Tensors), len(c.Metadata), len(want), len(a.Metadata))
		}
		for k, v := range a.Metadata {
			if c.Metadata.Get(k) != v {
				t.Errorf("%s: key %q: got %q, want %q", path, k, c.Metadata.Get(k), v)
			}
		}
	}
	if len(kinds) < 12 {
		t.Errorf("got types %v, want 12", kinds)
	}
	p.table.add(fmt.Sprintf("safetensors files that it writes: %d types, type, shape, sha256, metadata", len(kinds)), "safetensors "+version+" (numpy, torch)", "%d files, %d tensors, %d bytes", n, count, bytes)
}

// tokenizers encodes texts with every fixture tokenizer, and with what is left of it after GGUF keys.
func (p *peers) tokenizers(t *testing.T) {
	list := texts()
	dirs, err := filepath.Glob("arch/tokenizer/testdata/*/tokenizer.json")
	more, err2 := filepath.Glob("testdata/checkpoints/*/tokenizer.json")
	if dirs = append(dirs, more...); err != nil || err2 != nil || len(dirs) < 14 {
		t.Fatalf("got tokenizers %v, want at least 14", dirs)
	}
	type fixture struct {
		name           string
		source, result *tokenizer.Vocab
		dir            string // of the result
	}
	var all []fixture
	var jobs, auto []job
	var refused []string
	for _, d := range dirs {
		dir := filepath.Dir(d)
		f := fixture{name: filepath.Base(dir), dir: filepath.Join(p.dir, "tokenizers", filepath.Base(filepath.Dir(dir)), filepath.Base(dir))}
		m := vocabModel(t, dir)
		f.source, _, err = tokenizer.FromHF(reader(dir), m)
		if formats.CodeOf(err) == formats.Unsupported {
			refused = append(refused, f.name)
			continue
		}
		f.result = again(t, f.source, m, f.dir)
		all = append(all, f)
		jobs = append(jobs, job{"file": d, "texts": list}, job{"file": filepath.Join(f.dir, "tokenizer.json"), "texts": list})
		auto = append(auto, job{"tokenizer": f.dir, "texts": list})
	}
	answers := ask(t, p.root, "tok_ids.py", jobs, "--jobs")
	tf5, tf4 := p.majors(t, auto, func(job) bool { return true })
	encoded, rebuilt := 0, 0
	loaded := map[string]int{}
	for i, f := range all {
		for what, v := range map[string]*tokenizer.Vocab{"the source": f.source, "the rebuilt": f.result} {
			a := answers[2*i]
			if v == f.result {
				a = answers[2*i+1]
			}
			if a.Error != "" {
				t.Fatalf("%s: %s: %s", f.name, what, a.Error)
			}
			for k, text := range list {
				for special, want := range map[bool][]int{true: a.IDs[k], false: a.Plain[k]} {
					got, err := v.Encode(text, special)
					switch {
					case err != nil || !slices.Equal(got, want):
						t.Errorf("%s: %s tokenizer.json: %q: got %v %v, tokenizers gives %v", f.name, what, text, got, err, want)
					case v == f.source:
						encoded++
					default:
						rebuilt++
					}
				}
			}
		}
		for k := range list {
			if f.source.Normalizers != nil && f.result.Normalizers == nil && !norm.NFC.IsNormalString(list[k]) { // GGUF has no place for a normalizer
				continue
			}
			if !slices.Equal(answers[2*i].IDs[k], answers[2*i+1].IDs[k]) {
				t.Errorf("%s: %q: the rebuilt tokenizer.json gives %v, the source's %v", f.name, list[k], answers[2*i+1].IDs[k], answers[2*i].IDs[k])
			}
		}
		for _, a := range []*answer{tf5[i], tf4[i]} {
			for k := range list {
				if a.Error != "" || !slices.Equal(a.IDs[k], answers[2*i+1].IDs[k]) {
					t.Errorf("%s: AutoTokenizer of transformers %s on the rebuilt files: %q: %s, or other ids", f.name, a.Version, list[k], a.Error)
					break
				}
				loaded[a.Version]++
			}
		}
	}
	peer := "tokenizers " + answers[0].Version
	p.table.add(fmt.Sprintf("ids of %d texts by %d tokenizers, with and without special tokens", len(list), len(all)), peer, "%d equal", encoded)
	p.table.add("the same by the tokenizer.json rebuilt from GGUF keys", peer, "%d equal; the source's tokenizer.json gives the same ids but where it normalizes", rebuilt)
	for _, v := range []string{tf5[0].Version, tf4[0].Version} {
		p.table.add("AutoTokenizer of the rebuilt files against that tokenizer.json", "transformers "+v, "%d texts equal", loaded[v])
	}
	p.table.add("tokenizers that are refused, by name", "-", "%s", strings.Join(refused, " "))
}

// reader reads the files of a directory.
func reader(dir string) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, name)) }
}

// vocabModel is what config.json says that a vocabulary has to know.
func vocabModel(t *testing.T, dir string) tokenizer.Model {
	t.Helper()
	var raw map[string]json.RawMessage
	b, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err == nil {
		err = json.Unmarshal(b, &raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	m := tokenizer.Model{IDs: map[string]int{}}
	json.Unmarshal(raw["vocab_size"], &m.Rows)
	json.Unmarshal(raw["model_type"], &m.Type)
	m.Llama = m.Type == "llama"
	for k, v := range raw {
		var id int
		if role, ok := strings.CutSuffix(k, "_token_id"); ok && json.Unmarshal(v, &id) == nil {
			m.IDs[role] = id
		}
	}
	return m
}

// again takes a vocabulary to GGUF keys and back, writes the files, and reads them.
func again(t *testing.T, v *tokenizer.Vocab, m tokenizer.Model, dir string) *tokenizer.Vocab {
	t.Helper()
	kv, _, err := v.GGUF("")
	if err != nil {
		t.Fatal(dir, err)
	}
	back, _, err := tokenizer.FromGGUF(kv)
	if err != nil {
		t.Fatal(dir, err)
	}
	made, _, err := back.HF()
	if err != nil {
		t.Fatal(dir, err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, b := range made {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	m.IDs = nil
	out, _, err := tokenizer.FromHF(reader(dir), m)
	if err != nil {
		t.Fatal(dir, err)
	}
	return out
}
