package convert_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
)

// answer is what gguf-py read in a file of llama.cpp's converter.
type answer struct {
	KV []struct {
		Key   string
		Type  any // "UINT32", or ["ARRAY", "STRING"]
		Value json.RawMessage
	}
	Tensors []struct {
		Name   string
		Shape  []int64
		Type   string
		Offset int64
		Bytes  int64
		SHA256 string
	}
}

// kv is a key's value as Go has it.
func (a answer) kv(t *testing.T, i int) any {
	zero := map[string]any{"UINT32": uint32(0), "INT32": int32(0), "FLOAT32": float32(0), "BOOL": false, "STRING": ""}
	name, array := a.KV[i].Type, false
	if l, ok := name.([]any); ok {
		name, array = l[1], true
	}
	z := zero[name.(string)]
	if z == nil {
		t.Fatalf("%s: type %v", a.KV[i].Key, name)
	}
	typ := reflect.TypeOf(z)
	if array {
		typ = reflect.SliceOf(typ)
	}
	v := reflect.New(typ)
	if err := json.Unmarshal(a.KV[i].Value, v.Interface()); err != nil {
		t.Fatal(a.KV[i].Key, err)
	}
	return v.Elem().Interface()
}

// Pre-tokenizer names are those that the converter was given: testdata/expected/PROVENANCE.
var pre = map[string]string{"granite": "refact", "granite-code": "refact", "granitemoe": "refact", "granitemoehybrid-dense": "refact", "granitemoeshared": "refact",
	"llama-linear": "refact", "llama3": "llama-bpe", "smollm2": "smollm",
	"qwen2": "qwen2", "qwen3": "qwen2", "starcoder2": "starcoder", "gpt2": "gpt-2", "gpt2-prefixed": "gpt-2", "gpt-bigcode-mq": "refact", "gpt-bigcode-mha": "refact", "gpt-neox": "gpt-2", "gpt-neox-sequential": "gpt-2", "olmo2": "dbrx", "phi4-mini": "dbrx"}

// intended are keys in which a file differs from that of llama.cpp's converter on purpose: what it says instead or besides, nil for nothing.
var intended = map[string]map[string]any{
	// The id is CodeGemma's whatever the vocabulary, and the loader finds <end_of_turn> by its text.
	"gemma": {"tokenizer.ggml.eot_token_id": nil},
	// The loader takes 10000 where there is no base.
	"gpt-neox": {"gptneox.rope.freq_base": float32(10000)}, "gpt-neox-sequential": {"gptneox.rope.freq_base": float32(24000)},
	// The converter makes both of the folder's name.
	"phi4-mini": {"general.basename": nil, "general.size_label": "67K"},
	// There are no Mamba layers, and src/models/granite.cpp reads nothing of them. A number for each layer is one for all when they are the same.
	"granitemoehybrid-dense": {"granite.attention.head_count_kv": uint32(2), "granite.ssm.conv_kernel": nil, "granite.ssm.state_size": nil, "granite.ssm.group_count": nil,
		"granite.ssm.inner_size": nil, "granite.ssm.time_step_rank": nil},
}

// early is a key that the converter writes with the tensors, before all others; a file has it among those of its architecture.
const early = "phi3.rope.scaling.attn_factor"

// TestLlamaCpp converts every checkpoint to GGUF as llama.cpp's converter did: the same keys and values in the same order but for
// general.name, which it makes of the path, and for those intended, and the same tensors, byte for byte, at the same offsets.
func TestLlamaCpp(t *testing.T) {
	files, _ := filepath.Glob(testdata + "expected/*/gguf/*.json")
	if len(files) < 10 {
		t.Fatalf("got %d answers, want 10", len(files))
	}
	for _, f := range files {
		name, typ := filepath.Base(filepath.Dir(filepath.Dir(f))), strings.TrimSuffix(filepath.Base(f), ".json")
		// Where libllama does not load what the converter writes, the answer is the file that it does load: testdata/expected/PROVENANCE.families.
		typ, mended := strings.CutSuffix(typ, "-mended")
		if !mended && slices.Contains(files, filepath.Join(filepath.Dir(f), "f32-mended.json")) {
			continue
		}
		t.Run(name+" "+typ, func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var want answer
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			fsys := disk(t, "checkpoints/"+name)
			_, err = run(fsys, "/"+name, "/out.gguf", bowline.ConvertOptions{Options: convert.Options{DType: typ, Pre: pre[name]}})
			if err != nil {
				t.Fatal(err)
			}
			got := read(t, fsys, "/out.gguf")
			var keys, wantKeys []string
			for i, kv := range want.KV {
				if kv.Key == "general.name" {
					continue
				}
				w, g := want.kv(t, i), got.md.Get(kv.Key)
				if ours, ok := intended[name][kv.Key]; ok {
					w = ours
				}
				if w != nil && kv.Key != early {
					wantKeys = append(wantKeys, kv.Key)
				}
				if !reflect.DeepEqual(g, w) {
					t.Errorf("%s: got %T %.200s, want %T %.200s", kv.Key, g, fmt.Sprint(g), w, fmt.Sprint(w))
				}
			}
			for _, kv := range got.md {
				if kv.Key != early {
					keys = append(keys, kv.Key)
				}
			}
			for key, v := range intended[name] { // besides
				if i := slices.Index(keys, key); i >= 0 && !slices.Contains(wantKeys, key) {
					if keys = slices.Delete(keys, i, i+1); !reflect.DeepEqual(got.md.Get(key), v) {
						t.Errorf("%s: got %v, want %v", key, got.md.Get(key), v)
					}
				}
			}
			if !slices.Equal(keys, wantKeys) {
				t.Errorf("got keys  %s\nwant keys %s", keys, wantKeys)
			}
			for i, w := range want.Tensors {
				if i >= len(got.tensors) {
					break
				}
				g := got.tensors[i]
				slices.Reverse(w.Shape) // GGUF counts from the innermost dimension
				if len(w.Shape) != len(g.Shape) || g.Name != w.Name || string(g.DType) != w.Type || g.Bytes != w.Bytes {
					t.Errorf("tensor %d: got %s %s %v, want %s %s", i, g.Name, g.DType, g.Shape, w.Name, w.Type)
				}
				if sum := sha256.Sum256(got.data[g.Name]); hex.EncodeToString(sum[:]) != w.SHA256 {
					t.Errorf("tensor %s: other bytes than llama.cpp's", g.Name)
				}
				if at := g.Offset - got.tensors[0].Offset; at != w.Offset-want.Tensors[0].Offset {
					t.Errorf("tensor %s: got offset %d, want %d", g.Name, at, w.Offset-want.Tensors[0].Offset)
				}
			}
			if len(got.tensors) != len(want.Tensors) {
				t.Errorf("got %d tensors, want %d", len(got.tensors), len(want.Tensors))
			}
		})
	}
}

// TestWholeFiles demands llama.cpp's own file, byte for byte, when it is told the name that the converter made of the path.
func TestWholeFiles(t *testing.T) {
	for _, x := range []struct{ name, typ, says string }{{"granite-code", "bf16", "Granite Code"}, {"llama3", "f32", "Llama3"}} {
		want, err := os.ReadFile(testdata + "gguf/llamacpp/" + x.name + "-" + x.typ + ".gguf")
		if err != nil {
			t.Fatal(err)
		}
		fsys := disk(t, "checkpoints/"+x.name)
		if _, err := run(fsys, "/"+x.name, "/out.gguf", bowline.ConvertOptions{Options: convert.Options{DType: x.typ, Pre: pre[x.name], Name: x.says}}); err != nil {
			t.Fatal(err)
		}
		if got := fsys.Tree()["/out.gguf"]; got != string(want) {
			i := 0
			for i < min(len(got), len(want)) && got[i] == want[i] {
				i++
			}
			t.Errorf("%s: got %d bytes, want %d; they differ from byte %d on", x.name, len(got), len(want), i)
		}
	}
}
