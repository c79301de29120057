//go:build peers

package bowline_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// dumped is a tensor as a peer describes it; Shape is in the peer's order.
type dumped struct {
	Name   string
	DType  string
	Type   string
	Shape  []int64
	Offset int64
	Bytes  int64
	SHA256 string
}

func tensors[T any](t *testing.T, a answer) (out T) {
	t.Helper()
	if a.Error != "" {
		t.Fatal(a.Error)
	}
	if err := json.Unmarshal(a.Tensors, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// files lists the files of a set.
func files(c *formats.Checkpoint) []string {
	var out []string
	for _, f := range c.Files {
		out = append(out, filepath.Join(c.Dir, f.Path))
	}
	return out
}

// same fails unless a peer reads from GGUF files what we read, and returns how many keys and tensors it compared.
func same(t *testing.T, path string, dumps []answer) (keys, count int) {
	t.Helper()
	c := opened(t, path)
	have := map[string]*formats.Tensor{}
	for i := range c.Tensors {
		have[c.Tensors[i].Name] = &c.Tensors[i]
	}
	for i, d := range dumps {
		for _, x := range tensors[[]dumped](t, d) {
			slices.Reverse(x.Shape)
			o := have[x.Name]
			delete(have, x.Name)
			if o == nil {
				t.Errorf("%s: %s is not there", path, x.Name)
				continue
			}
			count++
			sum := sha256.Sum256(content(t, c, x.Name))
			got := dumped{o.Name, "", string(o.DType), o.Shape, o.Offset - d.DataOffset, o.Bytes, hex.EncodeToString(sum[:])}
			if fmt.Sprint(got) != fmt.Sprint(x) || o.File != c.Files[i].Path {
				t.Errorf("%s: got %v, gguf-py has %v", path, got, x)
			}
		}
	}
	for name := range have {
		t.Errorf("%s: gguf-py has no %s", path, name)
	}
	theirs := slices.DeleteFunc(slices.Clone(dumps[0].KV), func(e entry) bool { return strings.HasPrefix(e.Key, "split.") })
	if len(dumps) > 1 && len(theirs) != len(dumps[0].KV)-3 {
		t.Errorf("%s: gguf-py finds %d split keys, want 3", path, len(dumps[0].KV)-len(theirs))
	}
	if len(theirs) != len(c.Metadata) {
		t.Errorf("%s: got %d keys, gguf-py has %d", path, len(c.Metadata), len(theirs))
		return keys, count
	}
	for i, kv := range c.Metadata {
		keys++
		want := theirs[i]
		if problem := differs(kv.Value, want); kv.Key != want.Key || problem != "" {
			t.Errorf("%s: key %d: got %s, gguf-py has %s: %s", path, i, kv.Key, want.Key, problem)
		}
	}
	return keys, count
}

// ggufPy reads every GGUF file that we wrote, and quantizes as we do.
func (p *peers) ggufPy(t *testing.T) {
	var jobs []job
	for _, m := range p.models {
		for _, what := range m.gguf {
			for _, f := range files(opened(t, p.path(m, what))) {
				jobs = append(jobs, job{"dump": f})
			}
		}
		for _, what := range []string{"gguf-q8_0", "gguf-bf16", "gguf-f16"} {
			jobs = append(jobs, job{"quantize": p.path(m, "gguf-f32"), "type": strings.ToUpper(strings.TrimPrefix(what, "gguf-"))})
		}
		jobs = append(jobs, job{"values": p.path(m, "gguf-q8_0")})
	}
	answers := ask(t, p.root, "files.py", jobs)
	read, sets, keys, count, decoded := 0, 0, 0, 0, 0
	encoded := map[string]int{}
	next := func(n int) []answer {
		a := answers[read : read+n]
		read += n
		return a
	}
	for _, m := range p.models {
		for _, what := range m.gguf {
			path := p.path(m, what)
			k, n := same(t, path, next(len(opened(t, path).Files)))
			sets, keys, count = sets+1, keys+k, count+n
		}
		for _, what := range []string{"gguf-q8_0", "gguf-bf16", "gguf-f16"} {
			kind, c, theirs := strings.ToUpper(strings.TrimPrefix(what, "gguf-")), opened(t, p.path(m, what)), next(1)[0]
			for _, x := range c.Tensors {
				if string(x.DType) != kind {
					continue
				}
				sum := sha256.Sum256(content(t, c, x.Name))
				if want := theirs.Values[x.Name]; want == nil || hex.EncodeToString(sum[:]) != *want {
					t.Errorf("%s: %s: gguf-py makes other %s of it", m.name, x.Name, kind)
				}
				encoded[kind]++
			}
		}
		decoded += p.decoded(t, p.path(m, "gguf-q8_0"), next(1)[0])
	}
	p.table.add("GGUF files of ours: keys with types and values, tensors with shape, type, offset, sha256", "gguf-py "+answers[0].Version, "%d files, %d keys, %d tensors", sets, keys, count)
	for _, k := range []string{"Q8_0", "BF16", "F16"} {
		p.table.add("our "+k+" tensors against gguf-py's quantize", "gguf-py "+answers[0].Version, "%d byte-equal", encoded[k])
	}
	p.table.add("our values of Q8_0 files against gguf-py's dequantize", "gguf-py "+answers[0].Version, "%d tensors the same bits", decoded)
	if encoded["Q8_0"] < 20 || sets < 40 {
		t.Errorf("got %v of %d sets: too little was compared", encoded, sets)
	}
}

// decoded converts a GGUF file to float32, names kept, and compares the values with those of a peer.
func (p *peers) decoded(t *testing.T, path string, theirs answer) (n int) {
	t.Helper()
	if theirs.Error != "" {
		t.Fatal(theirs.Error)
	}
	out := filepath.Join(t.TempDir(), "values.safetensors")
	made(t, path, out, bowline.ConvertOptions{Options: convert.Options{KeepNames: true, DType: "f32", Ties: convert.Keep}})
	c := opened(t, out)
	for name, want := range theirs.Values {
		if c.Lookup(name) == nil {
			t.Errorf("%s: %s is not there", path, name)
			continue
		}
		sum := sha256.Sum256(content(t, c, name))
		if c.Lookup(name).DType != dtype.F32 || hex.EncodeToString(sum[:]) != *want {
			t.Errorf("%s: %s: gguf-py has other values", path, name)
		}
		n++
	}
	return n
}

// blocks reads GGUF files that gguf-py writes: every type of key, and blocks of every type that it knows and we decode.
func (p *peers) blocks(t *testing.T) {
	const n = 12
	var jobs []job
	name := func(i int) string { return filepath.Join(p.dir, fmt.Sprintf("by-gguf-py-%d.gguf", i)) }
	for i := range n {
		jobs = append(jobs, job{"gguf": name(i), "seed": i}, job{"dump": name(i)}, job{"values": name(i)})
	}
	answers := ask(t, p.root, "files.py", jobs)
	keys, count, values := 0, 0, 0
	kinds := map[string]bool{}
	for i := range n {
		if e := answers[3*i].Error; e != "" {
			t.Fatal(e)
		}
		k, c := same(t, name(i), answers[3*i+1:3*i+2])
		keys, count = keys+k, count+c
		values += p.decoded(t, name(i), answers[3*i+2])
		for _, x := range opened(t, name(i)).Tensors {
			if x.DType.IsQuantized() {
				kinds[string(x.DType)] = true
			}
		}
	}
	var list []string
	for k := range kinds {
		list = append(list, k)
	}
	sort.Strings(list)
	if len(list) < 8 {
		t.Errorf("got blocks of %v, want 8 types", list)
	}
	p.table.add("GGUF files that it writes: keys of every type, tensors of every type", "gguf-py "+answers[0].Version, "%d files, %d keys, %d tensors", n, keys, count)
	p.table.add("our values of "+strings.Join(list, " "), "gguf-py "+answers[0].Version, "%d tensors the same bits", values)
}

// kinds are gguf-py's names of the types of metadata values.
var kinds = map[reflect.Kind]string{
	reflect.Uint8: "UINT8", reflect.Int8: "INT8", reflect.Uint16: "UINT16", reflect.Int16: "INT16", reflect.Uint32: "UINT32", reflect.Int32: "INT32",
	reflect.Uint64: "UINT64", reflect.Int64: "INT64", reflect.Float32: "FLOAT32", reflect.Float64: "FLOAT64", reflect.Bool: "BOOL", reflect.String: "STRING",
}

// differs says how a value differs from what gguf-py prints of it, "" if it does not.
func differs(v any, e entry) string {
	rv := reflect.ValueOf(v)
	kind := any(kinds[rv.Kind()])
	if rv.Kind() == reflect.Slice {
		kind = []any{"ARRAY", kinds[rv.Type().Elem().Kind()]}
	}
	if !reflect.DeepEqual(kind, e.Type) {
		return fmt.Sprintf("got type %v, want %v", kind, e.Type)
	}
	want := reflect.New(rv.Type())
	if err := json.Unmarshal(e.Value, want.Interface()); err != nil {
		return err.Error()
	}
	if !reflect.DeepEqual(v, want.Elem().Interface()) {
		return fmt.Sprintf("got %.100v, want %.100v", v, want.Elem())
	}
	return ""
}

// otherwise are checkpoints of which the converter makes no file as it runs here, or one with other keys on purpose. What it makes of them with help
// is recorded, and convert's TestLlamaCpp holds our files against that.
var otherwise = map[string]string{
	"gemma":    "an eot_token_id of CodeGemma's",
	"gpt-neox": "KeyError: rotary_pct beside transformers 5", "gpt-neox-sequential": "the same", "gpt2": "knows names with their prefix alone",
	"gpt-bigcode-mha": "knows multi_query alone", "granitemoehybrid-dense": "keys of Mamba layers", "phi4-mini": "a key before all others, names from the folder",
}

// converter holds our GGUF files against those of llama.cpp's converter.
func (p *peers) converter(t *testing.T) {
	type pair struct {
		name, ours, theirs string
	}
	var pairs []pair
	var convert, read []job
	for _, m := range p.models {
		if otherwise[m.name] != "" {
			continue
		}
		for what, outtype := range map[string]string{"gguf-f32": "f32", "gguf-bf16": "bf16", "gguf-f16": "f16", "gguf-q8_0": "q8_0"} {
			named := opened(t, p.path(m, what)).Metadata.Get("tokenizer.ggml.pre") // convert's TestLlamaCpp knows what it has to be
			x := pair{m.name + " " + outtype, p.path(m, what), filepath.Join(p.dir, "by-llama.cpp-"+m.name+"-"+outtype+".gguf")}
			src, err := filepath.Abs(m.source)
			if err != nil {
				t.Fatal(err)
			}
			convert = append(convert, job{"src": src, "out": x.theirs, "outtype": outtype, "pre": named})
			read = append(read, job{"dump": x.ours}, job{"dump": x.theirs})
			pairs = append(pairs, x)
		}
	}
	for i, a := range ask(t, p.root, "llama_convert.py", convert, "--jobs") {
		if a.Error != "" {
			t.Fatalf("%s: %s", pairs[i].name, a.Error)
		}
	}
	version, err := os.ReadFile(filepath.Join(p.root, "llama.cpp/.version"))
	if err != nil {
		t.Fatal(err)
	}
	dumps := ask(t, p.root, "files.py", read)
	keys, count := 0, 0
	for i, x := range pairs {
		got, want := keyLines(dumps[2*i]), keyLines(dumps[2*i+1])
		if !slices.Equal(got, want) {
			t.Errorf("%s: got keys\n%s\nwant\n%s", x.name, missing(got, want), missing(want, got))
		}
		ours, theirs := tensors[[]dumped](t, dumps[2*i]), tensors[[]dumped](t, dumps[2*i+1])
		for j := range max(len(ours), len(theirs)) {
			if j >= len(ours) || j >= len(theirs) || !reflect.DeepEqual(ours[j], theirs[j]) {
				t.Errorf("%s: tensor %d of %d and %d differs: got %v, want %v", x.name, j, len(ours), len(theirs), ours[min(j, len(ours)-1)], theirs[min(j, len(theirs)-1)])
				break
			}
			count++
		}
		keys += len(got)
	}
	p.table.add("the same checkpoints to F32, F16, BF16, Q8_0: all keys but general.name, all tensors in order, to the byte",
		"convert_hf_to_gguf.py in llama-cpp-python "+string(version), "%d files, %d keys, %d tensors", len(pairs), keys, count)
}

// keyLines prints metadata without general.name, which that converter takes from the name of the directory.
func keyLines(a answer) []string {
	var out []string
	for _, e := range a.KV {
		if e.Key != "general.name" {
			out = append(out, fmt.Sprintf("%s %v %s", e.Key, e.Type, e.Value))
		}
	}
	return out
}

// missing lists what a has and b lacks, or how their orders differ.
func missing(a, b []string) string {
	var out []string
	for _, s := range a {
		if !slices.Contains(b, s) {
			out = append(out, fmt.Sprintf("%.300s", s))
		}
	}
	if out == nil {
		return "the same keys in another order"
	}
	return strings.Join(out, "\n")
}

// rounds is how far libllama's table of gelu, of float16 values, takes its logits from ours: see apart.
func rounds(name string) float64 {
	if limit := apart[name]; limit < 1e-4 {
		return limit
	}
	return 1e-6
}

// libllama loads our GGUF files and computes what we compute from them. It rounds activations to the type of BF16 and Q8_0 weights; those
// limits are what verify gives references of that kind.
func (p *peers) libllama(t *testing.T) {
	limits := []struct {
		what  string
		limit float64
	}{{"gguf-f32", 1e-9}, {"gguf-untied", 1e-9}, {"gguf-split", 5e-3}, {"gguf-f16", 1e-4}, {"gguf-bf16", 5e-3}, {"gguf-q8_0", 1e-2}}
	var jobs []job
	for _, m := range p.models {
		for _, l := range limits {
			if !slices.Contains(m.gguf, l.what) {
				continue
			}
			jobs = append(jobs, job{"file": p.path(m, l.what), "tokens": m.tokens, "out": filepath.Join(t.TempDir(), "logits")})
		}
	}
	seen := make([]worst, len(limits))
	answers := ask(t, p.root, "llama_logits.py", jobs, "--jobs")
	i := 0
	for _, m := range p.models {
		for j, l := range limits {
			if !slices.Contains(m.gguf, l.what) {
				continue
			}
			a := answers[i]
			if i++; a.Error != "" {
				t.Errorf("%s: %s: %s", m.name, l.what, a.Error)
				continue
			}
			below(t, m.name+": "+l.what, seen[j].see(nmse(trace(t, a.Out).Logits, ours(t, p.path(m, l.what), m.tokens))), max(l.limit, rounds(m.name)))
		}
	}
	for j, l := range limits {
		p.table.add("bowline logits of "+l.what, "libllama "+answers[0].Version, "%d loaded, NMSE at most %.1e", seen[j].n, seen[j].max)
	}
}
