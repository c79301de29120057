package bowline_test

import (
	"archive/zip"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/all"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

const (
	granite = "testdata/checkpoints/granite-code"
	embed   = "model.embed_tokens.weight"
	lmHead  = "lm_head.weight"
)

// oneStorage are the names of a checkpoint that share the bytes of another, and whose.
func oneStorage(t *testing.T, path string) map[string]string {
	t.Helper()
	ck, err := all.Open(fsio.OS{}, path)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	out := map[string]string{}
	for _, a := range ck.Aliases {
		out[a.Name] = a.Of
	}
	return out
}

// sharing writes a zip file of a checkpoint's tensors in which some are other names of some.
func sharing(t *testing.T, src, dst string, aliases map[string]string) {
	t.Helper()
	ck, err := all.Open(fsio.OS{}, src)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	h := formats.Header{Format: pytorch.Format.Name}
	var data [][]byte
	var sums []uint32
	for _, s := range ck.Tensors {
		if of := aliases[s.Name]; of != "" {
			h.Aliases = append(h.Aliases, formats.Alias{Name: s.Name, Of: of})
			continue
		}
		r, err := ck.Open(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, s.Bytes)
		if _, err := r.ReadAt(b, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		data, sums = append(data, b), append(sums, crc32.ChecksumIEEE(b))
		s.File, s.Offset = filepath.Base(dst), -1
		h.Tensors = append(h.Tensors, s)
	}
	l, err := pytorch.Format.Layout(h)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, l.Files[0].Bytes)
	for _, p := range append(slices.Clone(l.Files[0].Parts), l.Seal(sums)...) {
		if _, err := p.Data.ReadAt(out[p.Offset:p.Offset+p.Size], 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
	}
	for i, b := range data {
		copy(out[l.Places[i].Offset:], b)
	}
	write(t, dst, string(out))
}

// TestPyTorchFiles writes one zip of each name, and directories with and without shards; all hold what the source holds, and read back to it.
func TestPyTorchFiles(t *testing.T) {
	want := holding(t, granite)
	for _, x := range []struct {
		name, dst string
		o         bowline.ConvertOptions
		files     int // archives, at least
	}{
		{"bin", "model.bin", bowline.ConvertOptions{}, 1},
		{"pt", "model.pt", bowline.ConvertOptions{}, 1},
		{"pth", "model.pth", bowline.ConvertOptions{}, 1},
		{"PTH", "MODEL.PTH", bowline.ConvertOptions{To: "pytorch"}, 1},
		{"a directory", "out", bowline.ConvertOptions{To: "pytorch"}, 1},
		{"shards", "out", bowline.ConvertOptions{To: "pytorch", Options: convert.Options{ShardSize: 60_000}}, 3},
	} {
		dst := filepath.Join(t.TempDir(), x.dst)
		x.o.Verify = true
		r := converted(t, granite, dst, x.o)
		if !r.Verification.BitIdentical || !r.Verification.Pass {
			t.Errorf("%s: %s", x.name, r.Verification.Line())
		}
		if got := oneStorage(t, dst); !reflect.DeepEqual(got, map[string]string{lmHead: embed}) {
			t.Errorf("%s: got names over one storage %v, want the head over the embedding", x.name, got)
		}
		sameHolding(t, x.name, holding(t, dst), want)
		n := 0
		for _, f := range r.Written {
			if strings.HasSuffix(strings.ToLower(f.Path), ".bin") || strings.HasSuffix(strings.ToLower(f.Path), ".pt") || strings.HasSuffix(strings.ToLower(f.Path), ".pth") {
				n++
				intact(t, f.Path)
			}
		}
		if n < x.files || x.files == 1 && n > 1 {
			t.Errorf("%s: got %d archives, want %d: %v", x.name, n, x.files, r.Written)
		}
		back := filepath.Join(t.TempDir(), "back")
		converted(t, dst, back, bowline.ConvertOptions{})
		sameHolding(t, x.name+" and back", holding(t, back), want)
		if x.name == "shards" {
			index(t, dst, want)
		} else if _, err := os.Stat(filepath.Join(dst, "pytorch_model.bin.index.json")); err == nil {
			t.Errorf("%s: an index of one file", x.name)
		}
		if x.dst == "out" {
			if got, want := text(t, filepath.Join(dst, "config.json")), text(t, filepath.Join(granite, "config.json")); got != want {
				t.Errorf("%s: config.json changed", x.name)
			}
			text(t, filepath.Join(dst, "tokenizer.json"))
		}
	}
	if _, err := bowline.Convert(context.Background(), bowline.Source{Path: granite}, filepath.Join(t.TempDir(), "x.bin"), bowline.ConvertOptions{Options: convert.Options{ShardSize: 60_000}}); formats.CodeOf(err) != formats.Usage {
		t.Errorf("shards in one file: got %v, want %s", err, formats.Usage)
	}
	if _, err := bowline.Convert(context.Background(), bowline.Source{Path: granite}, filepath.Join(t.TempDir(), "x"), bowline.ConvertOptions{To: "torchchat", Options: convert.Options{ShardSize: 60_000}}); formats.CodeOf(err) != formats.Usage {
		t.Errorf("shards of a model.pth: got %v, want %s", err, formats.Usage)
	}
}

// intact reads an archive with its checksums.
func intact(t *testing.T, path string) {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Error(path, err)
		return
	}
	defer z.Close()
	for _, f := range z.File {
		r, err := f.Open()
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil || f.Method != zip.Store {
			t.Errorf("%s: %s: method %d, %v", path, f.Name, f.Method, err)
		}
	}
}

// index holds an index against the files that it names.
func index(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	var x struct {
		Metadata  map[string]any
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal([]byte(text(t, filepath.Join(dir, "pytorch_model.bin.index.json"))), &x); err != nil {
		t.Fatal(err)
	}
	files := slices.Compact(slices.Sorted(maps.Values(x.WeightMap)))
	for i, f := range files {
		if want := fmt.Sprintf("pytorch_model-%05d-of-%05d.bin", i+1, len(files)); f != want {
			t.Errorf("got shard %s, want %s", f, want)
		}
	}
	if x.WeightMap[lmHead] != x.WeightMap[embed] || len(x.WeightMap) != len(want)+1 || x.Metadata["total_size"] == nil {
		t.Errorf("got an index of %d names, head in %q and embedding in %q, metadata %v; want %d in one", len(x.WeightMap), x.WeightMap[lmHead], x.WeightMap[embed], x.Metadata, len(want)+1)
	}
}

// TestPyTorchDestinations: which format a name and --to ask for.
func TestPyTorchDestinations(t *testing.T) {
	for _, x := range []struct {
		dst, to string
		code    formats.Code
		has     string // a tensor of the result
	}{
		{"x.pth", "torchchat", "", "layers.0.attention.wqkv.weight"},
		{"x.bin", "torchchat", "", "layers.0.attention.wqkv.weight"},
		{"x.pth", "pytorch", "", "model.layers.0.self_attn.q_proj.weight"},
		{"x.pth", "", "", "model.layers.0.self_attn.q_proj.weight"},
		{"x.pth", "gguf", formats.Usage, ""},
		{"x.bin", "safetensors", formats.Usage, ""},
		{"x.gguf", "pytorch", formats.Usage, ""},
		{"x.gguf", "torchchat", formats.Usage, ""},
		{"x.safetensors", "torchchat", formats.Usage, ""},
		{"x.safetensors", "pytorch", formats.Usage, ""},
	} {
		dst := filepath.Join(t.TempDir(), x.dst)
		_, err := bowline.Convert(context.Background(), bowline.Source{Path: granite}, dst, bowline.ConvertOptions{To: x.to})
		if formats.CodeOf(err) != x.code {
			t.Errorf("--to %s %s: got %v, want %q", x.to, x.dst, err, x.code)
			continue
		}
		if err == nil {
			if _, ok := holding(t, dst)[x.has]; !ok {
				t.Errorf("--to %s %s: holds no %s", x.to, x.dst, x.has)
			}
		}
	}
}

// TestPyTorchTies writes both names over one storage for a tie, and two storages for what is not tied.
func TestPyTorchTies(t *testing.T) {
	for _, x := range []struct {
		dir    string
		policy convert.Policy
		one    bool
	}{
		{"tied", "", true}, {"tied", convert.Keep, true}, {"tied", convert.Untie, false}, {"tied-equal-head", "", true}, {"tied-equal-head", convert.Keep, false},
		{"untied", "", false}, {"untied-equal-head", "", false}, {"untied-equal-head", convert.TieAny, true}, {"tied-different-head", "", false}, {"head-only", "", true},
	} {
		for _, dst := range []string{"x.bin", "x"} {
			out := filepath.Join(t.TempDir(), dst)
			r := converted(t, "testdata/ties/"+x.dir, out, bowline.ConvertOptions{To: "pytorch", Options: convert.Options{Ties: x.policy}})
			got := holding(t, out)
			_, e := got[embed]
			_, h := got[lmHead]
			one := len(oneStorage(t, out)) == 1
			if x.dir == "tied" && x.policy == convert.Keep && !one && !h {
				one = true // absent as it was
			}
			if one != x.one || !x.one && !(e && h) {
				t.Errorf("%s %s to %s: got %v (embedding %v, head %v), want one storage: %v; %v", x.dir, x.policy, dst, oneStorage(t, out), e, h, x.one, r.Notes)
			}
		}
	}
}

// TestPyTorchAliases: names over one storage that are no tie of a known family stay so where the target can say it, and are stored twice, with a
// note, where it cannot.
func TestPyTorchAliases(t *testing.T) {
	known := t.TempDir()
	const first, second = "model.layers.0.input_layernorm.weight", "model.layers.1.input_layernorm.weight"
	sharing(t, granite, filepath.Join(known, "pytorch_model.bin"), map[string]string{second: first})
	write(t, filepath.Join(known, "config.json"), text(t, filepath.Join(granite, "config.json")))
	for _, x := range []struct {
		src, name, of string // in the source
		dst, to       string
		as, like      string // the names in the target, if others
		shared        bool
	}{
		// lm_head over embed_tokens, as torch.save wrote it; nothing says what the model is.
		{src: "formats/pytorch/testdata/tied.bin", name: lmHead, of: "embed_tokens.weight", dst: "x.bin", shared: true},
		{src: "formats/pytorch/testdata/tied.bin", name: lmHead, of: "embed_tokens.weight", dst: "x", to: "pytorch", shared: true},
		{src: "formats/pytorch/testdata/tied.bin", name: lmHead, of: "embed_tokens.weight", dst: "x"},
		{src: "formats/pytorch/testdata/tied.bin", name: lmHead, of: "embed_tokens.weight", dst: "x.safetensors"},
		{src: known, name: second, of: first, dst: "x.bin", shared: true},
		{src: known, name: second, of: first, dst: "x", to: "pytorch", shared: true},
		{src: known, name: second, of: first, dst: "x.pth", to: "torchchat", as: "layers.1.attention_norm.weight", like: "layers.0.attention_norm.weight", shared: true},
		{src: known, name: second, of: first, dst: "x"},
		{src: known, name: second, of: first, dst: "x.gguf", as: "blk.1.attn_norm.weight", like: "blk.0.attn_norm.weight"},
	} {
		what := x.src + " to " + x.to + " " + x.dst
		if got := oneStorage(t, x.src); got[x.name] != x.of {
			t.Fatalf("%s: the source shares %v", x.src, got)
		}
		if x.as == "" {
			x.as, x.like = x.name, x.of
		}
		dst := filepath.Join(t.TempDir(), x.dst)
		r := converted(t, x.src, dst, bowline.ConvertOptions{To: x.to, Verify: x.src == known})
		if r.Verification != nil && !r.Verification.Pass {
			t.Errorf("%s: %s", what, r.Verification.Line())
		}
		got, shares := holding(t, dst), oneStorage(t, dst)
		if x.shared {
			if shares[x.as] != x.like {
				t.Errorf("%s: got %v over one storage, want %s over %s", what, shares, x.as, x.like)
			}
			continue
		}
		if got[x.as] == "" || got[x.as] != got[x.like] {
			t.Errorf("%s: %s is not stored as %s is", what, x.as, x.like)
		}
		if !strings.Contains(fmt.Sprint(r.Notes), "stored as a second copy") {
			t.Errorf("%s: got notes %v, want one about the copy", what, r.Notes)
		}
	}
}

// TestPyTorchOfGGUF makes zips of a GGUF file, whose keys become the config.json in the archive.
func TestPyTorchOfGGUF(t *testing.T) {
	dir := t.TempDir()
	gguf := filepath.Join(dir, "x.gguf")
	converted(t, granite, gguf, bowline.ConvertOptions{})
	for _, x := range []struct{ dst, to string }{{"x.bin", ""}, {"out", "pytorch"}, {"x.pth", "torchchat"}, {"tc", "torchchat"}} {
		dst := filepath.Join(t.TempDir(), x.dst)
		r := converted(t, gguf, dst, bowline.ConvertOptions{To: x.to, Verify: true})
		if !r.Verification.BitIdentical {
			t.Errorf("%s %s: %s", x.to, x.dst, r.Verification.Line())
		}
		if x.to == "torchchat" {
			sameHolding(t, x.dst, holding(t, dst), holding(t, "testdata/torchchat/granite-code/model.pth"))
		} else {
			sameHolding(t, x.dst, holding(t, dst), holding(t, granite))
		}
		if v, err := bowline.Verify(context.Background(), bowline.Source{Path: dst}, bowline.Source{Path: granite}, bowline.VerifyOptions{}); err != nil || !v.BitIdentical {
			t.Errorf("%s %s by its own config: got %+v, %v", x.to, x.dst, v, err)
		}
		if x.dst == "tc" {
			for _, f := range []string{"tokenizer.json", "tokenizer_config.json", "config.json", "params.json"} {
				text(t, filepath.Join(dst, f))
			}
		}
	}
}

// TestPyTorchRecord: a zip alone says what it is, and what lies beside it says it first.
func TestPyTorchRecord(t *testing.T) {
	dir := t.TempDir()
	lone := filepath.Join(dir, "lone.bin")
	converted(t, granite, lone, bowline.ConvertOptions{})
	if !strings.Contains(text(t, lone), "/extra/config.json") {
		t.Error("the archive has no record of its config")
	}
	src := bowline.Source{Path: lone}
	if r, err := bowline.Inspect(src, bowline.InspectOptions{}); err != nil || r.Family == nil || *r.Family != "llama" {
		t.Errorf("inspect: got %+v, %v, want family llama", r, err)
	}
	if v, err := bowline.Verify(context.Background(), src, bowline.Source{Path: granite}, bowline.VerifyOptions{}); err != nil || !v.BitIdentical {
		t.Errorf("verify: got %+v, %v", v, err)
	}
	if r, err := bowline.Ties(context.Background(), src, bowline.TiesOptions{}); err != nil || !r.Consistent {
		t.Errorf("ties: got %+v, %v, want consistent", r, err)
	}
	gguf := filepath.Join(t.TempDir(), "x.gguf")
	converted(t, lone, gguf, bowline.ConvertOptions{})
	out := filepath.Join(t.TempDir(), "out")
	converted(t, lone, out, bowline.ConvertOptions{})
	if got := text(t, filepath.Join(out, "config.json")); got != text(t, filepath.Join(granite, "config.json")) {
		t.Errorf("got config.json %s, want the source's", got)
	}
	write(t, filepath.Join(dir, "config.json"), strings.Replace(text(t, filepath.Join(granite, "config.json")), `"rope_theta": 10000000`, `"rope_theta": 20000`, 1))
	if v, err := bowline.Verify(context.Background(), src, bowline.Source{Path: granite}, bowline.VerifyOptions{}); err != nil || v.BitIdentical {
		t.Errorf("with another config.json beside it: got %+v, %v, want another result", v, err)
	}
}
