package convert_test

import (
	"archive/zip"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// large puts a model at /big whose embedding takes several chunks to make, and whose other tensors are small.
func large(t testing.TB) *fsio.Mem {
	t.Helper()
	const vocab, hidden, ffn, layers, heads = 5000, 256, 64, 2, 4
	fsys := fsio.NewMem()
	x := &weights{format: target("safetensors").Format, data: map[string][]byte{}}
	seed := uint32(1)
	add := func(name string, shape ...int64) {
		n, _ := formats.Elems(shape)
		b := make([]byte, 2*n)
		for i := range n {
			seed = seed*1664525 + 1013904223
			b[2*i], b[2*i+1] = byte(seed>>8), 0x3c+byte(seed>>30)
		}
		x.set(name, dtype.BF16, shape, b)
	}
	add(hfEmbed, vocab, hidden)
	for i := range layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		add(p+"input_layernorm.weight", hidden)
		add(p+"post_attention_layernorm.weight", hidden)
		for _, n := range []string{"q", "k", "v", "o"} {
			add(p+"self_attn."+n+"_proj.weight", hidden, hidden)
		}
		add(p+"mlp.gate_proj.weight", ffn, hidden)
		add(p+"mlp.up_proj.weight", ffn, hidden)
		add(p+"mlp.down_proj.weight", hidden, ffn)
	}
	add("model.norm.weight", hidden)
	x.put(t, fsys, "/big/model.safetensors")
	fsys.Put("/big/config.json", fmt.Sprintf(`{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": %d, "hidden_size": %d, "num_attention_heads": %d,
  "intermediate_size": %d, "vocab_size": %d, "max_position_embeddings": 128, "torch_dtype": "bfloat16", "tie_word_embeddings": true}`, layers, hidden, heads, ffn, vocab))
	return fsys
}

// TestWorkers makes the same bytes with any number of workers.
func TestWorkers(t *testing.T) {
	fsys := large(t)
	for _, x := range []struct{ name, dst, dtype string }{{"to GGUF, F32", "/x.gguf", "f32"}, {"to GGUF, Q8_0", "/x.gguf", "q8_0"}, {"to a directory, F16", "/x", "f16"}} {
		var want map[string]string
		for _, n := range []int{1, 2, 3, 7} {
			if _, err := run(fsys, "/big", x.dst, bowline.ConvertOptions{Options: convert.Options{DType: x.dtype}, Workers: n, Force: true}); err != nil {
				t.Fatal(x.name, err)
			}
			got := fsys.Tree()
			if want == nil {
				want = got
			} else if err := sameTree(got, want); err != nil {
				t.Errorf("%s: %d workers: %v", x.name, n, err)
			}
		}
	}
}

// fault is one conversion whose every file operation fails in turn.
type fault struct {
	name, src, dst string
	setup          func(t *testing.T) *fsio.Mem
	o              bowline.ConvertOptions
	mode           fsio.Mode
	stuck          bool
	every          int64
}

// TestFaults fails each file operation in turn. The destination is what it was, or complete; the sources are untouched; the error has a
// code; and once the disk works again the same command leaves the result and nothing else.
func TestFaults(t *testing.T) {
	hf := func(t *testing.T) *fsio.Mem { return disk(t, "ties/tied") }
	gguf := func(t *testing.T, dir, name string) *fsio.Mem {
		fsys := disk(t, dir+name)
		if _, err := run(fsys, "/"+name, "/in/m.gguf", bowline.ConvertOptions{}); err != nil {
			t.Fatal(err)
		}
		return restore(map[string]string{"/m.gguf": fsys.Tree()["/in/m.gguf"]})
	}
	file := func(t *testing.T) *fsio.Mem { return gguf(t, "ties/", "tied") }
	vocab := func(t *testing.T) *fsio.Mem { return gguf(t, "checkpoints/", "llama-linear") }
	old := func(t *testing.T) *fsio.Mem {
		fsys := hf(t)
		fsys.Put("/out.gguf", "the old one")
		return fsys
	}
	oldDir := func(t *testing.T) *fsio.Mem {
		fsys := file(t)
		fsys.Put("/out/model.safetensors", "the old one")
		fsys.Put("/out/config.json", "{}")
		return fsys
	}
	split := bowline.ConvertOptions{Options: convert.Options{ShardSize: 40_000}}
	for _, x := range []fault{
		{name: "HF to GGUF", src: "/tied", dst: "/out.gguf", setup: hf},
		{name: "HF to GGUF, done but reported as failed", src: "/tied", dst: "/out.gguf", setup: hf, mode: fsio.Late, every: 5},
		{name: "HF to GGUF, half of a read or write", src: "/tied", dst: "/out.gguf", setup: hf, mode: fsio.Short, every: 5},
		{name: "HF to GGUF, the disk stays dead", src: "/tied", dst: "/out.gguf", setup: hf, stuck: true, every: 3},
		{name: "HF to GGUF over an old file", src: "/tied", dst: "/out.gguf", setup: old, o: bowline.ConvertOptions{Force: true}, every: 3},
		{name: "HF to a split GGUF", src: "/tied", dst: "/out.gguf", setup: hf, o: split, every: 3},
		{name: "GGUF to HF", src: "/m.gguf", dst: "/out", setup: file},
		{name: "GGUF to HF, the disk stays dead", src: "/m.gguf", dst: "/out", setup: file, stuck: true, every: 3},
		{name: "GGUF with a vocabulary to HF", src: "/m.gguf", dst: "/out", setup: vocab, every: 7},
		{name: "GGUF to HF over an old directory", src: "/m.gguf", dst: "/out", setup: oldDir, o: bowline.ConvertOptions{Force: true}, every: 3},
		{name: "HF to HF in a directory that has to be made", src: "/tied", dst: "/a/b/out", setup: hf, every: 3},
		{name: "HF to a zip", src: "/tied", dst: "/out.bin", setup: hf, o: bowline.ConvertOptions{To: "pytorch"}, every: 3},
		{name: "HF to zips in shards", src: "/tied", dst: "/out", setup: hf, o: bowline.ConvertOptions{To: "pytorch", Options: split.Options}, every: 5},
		{name: "HF to TorchChat", src: "/tied", dst: "/out", setup: hf, o: bowline.ConvertOptions{To: "torchchat"}, every: 3},
		{name: "HF to TorchChat, half of a read or write", src: "/tied", dst: "/out", setup: hf, o: bowline.ConvertOptions{To: "torchchat"}, mode: fsio.Short, every: 5},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			x.o.Workers = 1
			x.every = max(x.every, 1)
			if testing.Short() {
				x.every *= 7
			}
			fsys := x.setup(t)
			before := fsys.Tree()
			clean := &fsio.Fault{FS: fsys}
			if _, err := run(clean, x.src, x.dst, x.o); err != nil {
				t.Fatal(err)
			}
			after, ops := fsys.Tree(), clean.Ops()
			if ops < 20 {
				t.Fatalf("got %d operations: they do not go through the file system that was given", ops)
			}
			for k := int64(1); k <= ops; k += x.every {
				fsys := restore(before)
				f := &fsio.Fault{FS: fsys, At: k, Mode: x.mode, Stuck: x.stuck}
				_, err := run(f, x.src, x.dst, x.o)
				if f.Hit() == "" {
					t.Fatalf("operation %d of %d was not reached: the order of operations is not fixed", k, ops)
				}
				if err != nil {
					for _, e := range formats.Errors(err) {
						if e.Code == "" || e.Error() == "" {
							t.Errorf("%s: an error without code or text: %v", f.Hit(), e)
						}
					}
				}
				got := fsys.Tree()
				for name, content := range before {
					if !strings.HasPrefix(name, x.dst) && got[name] != content {
						t.Errorf("%s: the source %s changed", f.Hit(), name)
					}
				}
				if is := result(got, x.dst); err == nil || !maps.Equal(is, result(before, x.dst)) {
					if e := sameTree(is, result(after, x.dst)); e != nil && !torn(x, is, before, after) {
						t.Errorf("%s: failed with %v, and the destination is neither old nor new: %v", f.Hit(), err, e)
					}
				}
				// The same command again, on a disk that works.
				if _, err := run(fsys, x.src, x.dst, x.o); err != nil {
					t.Errorf("%s: run again: %v", f.Hit(), err)
					continue
				}
				if err := sameTree(fsys.Tree(), after); err != nil {
					t.Errorf("%s: run again: %v", f.Hit(), err)
				}
			}
		})
	}
}

// restore is a new file system with this content.
func restore(tree map[string]string) *fsio.Mem {
	m := fsio.NewMem()
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		if strings.HasSuffix(name, "/") {
			m.PutDir(strings.TrimSuffix(name, "/"))
		} else {
			m.Put(name, tree[name])
		}
	}
	return m
}

// result is the part of a tree that is the destination: a file, a set or a directory.
func result(tree map[string]string, dst string) map[string]string {
	out := map[string]string{}
	stem := strings.TrimSuffix(dst, ".gguf")
	for name, content := range tree {
		if name == dst || strings.HasPrefix(name, dst+"/") || strings.HasPrefix(name, stem+"-0") {
			out[name] = content
		}
	}
	return out
}

// torn reports whether what is there counts as absent because the disk died in the middle of the renames, and no undoing was possible: of
// a set the first file is missing, a directory is gone and stands aside.
func torn(x fault, is, before, after map[string]string) bool {
	if !x.stuck && x.o.ShardSize == 0 {
		return false
	}
	for name := range result(after, x.dst) {
		if strings.Contains(name, "-00001-of-") {
			_, ok := is[name]
			return !ok
		}
	}
	return len(is) == 0
}

// interrupt converts and cancels when at bytes are made.
func interrupt(fsys fsio.FS, src, dst string, o bowline.ConvertOptions, at int64) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o.Workers = 1
	o.Progress = func(done, total int64) {
		if done >= at {
			cancel()
		}
	}
	_, err := bowline.Convert(ctx, bowline.Source{Path: src, FS: fsys}, dst, o)
	return err
}

// resume converts to the end and tells how many bytes it did not have to make.
func resume(t *testing.T, fsys fsio.FS, src, dst string, o convert.Options) int64 {
	t.Helper()
	m, err := bowline.Open(bowline.Source{Path: src, FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	tg := "safetensors"
	if strings.HasSuffix(dst, ".gguf") {
		tg = "gguf"
	}
	p, err := plan(m, target(tg), dst, o)
	if err != nil {
		t.Fatal(err)
	}
	res, err := convert.Execute(context.Background(), []*convert.Plan{p}, convert.ExecOptions{FS: fsys, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	return res[0].Resumed
}

// leftover finds what an interrupted run left at the destination's side: the staging and the receipt.
func leftover(t *testing.T, fsys *fsio.Mem) (staging, receipt string) {
	t.Helper()
	for name := range fsys.Tree() {
		if strings.HasSuffix(name, ".receipt") {
			receipt = name
		} else if strings.Contains(name, ".bowline-") && !strings.HasSuffix(name, "/") {
			staging = name
		}
	}
	if staging == "" || receipt == "" {
		t.Fatalf("nothing was left to resume: %v", slices.Sorted(maps.Keys(fsys.Tree())))
	}
	return staging, receipt
}

func TestInterrupted(t *testing.T) {
	keep := bowline.ConvertOptions{Resumable: true}
	clean := large(t)
	source := clean.Tree()
	if _, err := run(clean, "/big", "/out.gguf", bowline.ConvertOptions{}); err != nil {
		t.Fatal(err)
	}
	want := clean.Tree()
	total := int64(len(want["/out.gguf"]))

	t.Run("without --resumable nothing is left", func(t *testing.T) {
		fsys := restore(source)
		if err := interrupt(fsys, "/big", "/out.gguf", bowline.ConvertOptions{}, total/2); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want context.Canceled", err)
		}
		if err := sameTree(fsys.Tree(), source); err != nil {
			t.Error(err)
		}
	})
	for _, at := range []int64{1, total / 3, total / 2, total - total/8} {
		t.Run(fmt.Sprintf("resumed after %d of %d", at, total), func(t *testing.T) {
			fsys := restore(source)
			if err := interrupt(fsys, "/big", "/out.gguf", keep, at); !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v, want context.Canceled", err)
			}
			leftover(t, fsys)
			if n := resume(t, fsys, "/big", "/out.gguf", convert.Options{}); n < at || n > total {
				t.Errorf("got %d bytes kept, want at least %d", n, at)
			}
			if err := sameTree(fsys.Tree(), want); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("interrupted twice", func(t *testing.T) {
		fsys := restore(source)
		for _, at := range []int64{total / 4, total / 2} {
			if err := interrupt(fsys, "/big", "/out.gguf", keep, at); !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v, want context.Canceled", err)
			}
		}
		if n := resume(t, fsys, "/big", "/out.gguf", convert.Options{}); n < total/2 {
			t.Errorf("got %d bytes kept, want at least %d", n, total/2)
		}
		if err := sameTree(fsys.Tree(), want); err != nil {
			t.Error(err)
		}
	})
	t.Run("a directory", func(t *testing.T) {
		fsys := restore(source)
		if _, err := run(fsys, "/big", "/out", bowline.ConvertOptions{Options: convert.Options{DType: "f32"}}); err != nil {
			t.Fatal(err)
		}
		want := fsys.Tree()
		fsys = restore(source)
		o := keep
		o.DType = "f32"
		if err := interrupt(fsys, "/big", "/out", o, total); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want context.Canceled", err)
		}
		if n := resume(t, fsys, "/big", "/out", o.Options); n < total {
			t.Errorf("got %d bytes kept, want at least %d", n, total)
		}
		if err := sameTree(fsys.Tree(), want); err != nil {
			t.Error(err)
		}
	})

	// What was left may have suffered.
	kept := func(harm func(fsys *fsio.Mem, staging, receipt string)) (int64, error) {
		fsys := restore(source)
		if err := interrupt(fsys, "/big", "/out.gguf", keep, total/2); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want context.Canceled", err)
		}
		staging, receipt := leftover(t, fsys)
		harm(fsys, staging, receipt)
		n := resume(t, fsys, "/big", "/out.gguf", convert.Options{})
		got := fsys.Tree()
		delete(got, "/big/model.safetensors")
		ours := maps.Clone(want)
		delete(ours, "/big/model.safetensors")
		return n, sameTree(got, ours)
	}
	all, err := kept(func(*fsio.Mem, string, string) {})
	if err != nil || all < total/2 {
		t.Fatalf("unharmed: got %d, %v", all, err)
	}
	for _, x := range []struct {
		name string
		harm func(fsys *fsio.Mem, staging, receipt string)
		min  int64
		max  int64
	}{
		{"a byte of the staging flipped", func(fsys *fsio.Mem, staging, _ string) { flip(fsys, staging, total/4) }, 1, all - 1},
		{"the staging cut off", func(fsys *fsio.Mem, staging, _ string) {
			b := fsys.Tree()[staging]
			fsys.Put(staging, b[:len(b)-1])
		}, 0, 0},
		{"the staging gone", func(fsys *fsio.Mem, staging, _ string) { fsys.Remove(staging) }, 0, 0},
		{"the receipt gone", func(fsys *fsio.Mem, _, receipt string) { fsys.Remove(receipt) }, 0, 0},
		{"the receipt empty", func(fsys *fsio.Mem, _, receipt string) { fsys.Put(receipt, "") }, 0, 0},
		{"the receipt of another plan", func(fsys *fsio.Mem, _, receipt string) {
			fsys.Put(receipt, strings.Replace(fsys.Tree()[receipt], `"plan_id":"`, `"plan_id":"0`, 1))
		}, 0, 0},
		{"the last line of the receipt torn", func(fsys *fsio.Mem, _, receipt string) {
			b := fsys.Tree()[receipt]
			fsys.Put(receipt, b[:len(b)-5])
		}, 1, all - 1},
		{"the receipt ends in garbage", func(fsys *fsio.Mem, _, receipt string) { fsys.Put(receipt, fsys.Tree()[receipt]+"\x00\xff{{{") }, all, all},
		{"entries twice, and beyond what there is", func(fsys *fsio.Mem, _, receipt string) {
			b := fsys.Tree()[receipt]
			_, entries, _ := strings.Cut(b, "\n")
			fsys.Put(receipt, b+entries+`{"s":99999,"o":0,"n":4,"x":"1"}`+"\n"+`{"s":0,"o":-4,"n":4,"x":"1"}`+"\n"+`{"s":0,"o":0,"n":9000000000000000000,"x":"1"}`+"\n")
		}, all, all},
		{"chunks cut as another version cuts them", func(fsys *fsio.Mem, staging, receipt string) { recut(t, fsys, staging, receipt) }, 0, 0},
		{"the source written again", func(fsys *fsio.Mem, _, _ string) { rewrite(t, fsys, "/big/model.safetensors") }, 0, 0},
		{"the config written again", func(fsys *fsio.Mem, _, _ string) { rewrite(t, fsys, "/big/config.json") }, 0, 0},
	} {
		if n, err := kept(x.harm); err != nil || n < x.min || n > x.max {
			t.Errorf("%s: kept %d, want %d to %d; %v", x.name, n, x.min, x.max, err)
		}
	}
}

func flip(fsys *fsio.Mem, name string, at int64) {
	b := []byte(fsys.Tree()[name])
	b[at] ^= 1
	fsys.Put(name, string(b))
}

// rewrite writes the first byte of a file as it is: the content is the same, but it was written.
func rewrite(t *testing.T, fsys *fsio.Mem, name string) {
	t.Helper()
	f, err := fsys.OpenRW(name)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	for range 3 {
		if _, err = f.ReadAt(b, 0); err == nil {
			_, err = f.WriteAt(b, 0)
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// recut replaces every entry of a receipt by one for its first half, with the digest that belongs to it.
func recut(t *testing.T, fsys *fsio.Mem, staging, receipt string) {
	t.Helper()
	tree := fsys.Tree()
	fsys2 := restore(map[string]string{"/big/model.safetensors": tree["/big/model.safetensors"], "/big/config.json": tree["/big/config.json"]})
	m := opened(t, fsys2, "/big")
	p, err := plan(m, target("gguf"), "/out.gguf", convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(strings.NewReader(tree[receipt]))
	sc.Scan()
	out := sc.Text() + "\n"
	for sc.Scan() {
		var e struct{ S, O, N int64 }
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if e.N /= 2; e.N == 0 {
			continue
		}
		at := p.Layout.Places[e.S].Offset + e.O
		out += fmt.Sprintf("{\"s\":%d,\"o\":%d,\"n\":%d,\"x\":\"%d\"}\n", e.S, e.O, e.N, xxh3.HashString(tree[staging][at:at+e.N]))
	}
	fsys.Put(receipt, out)
}

// TestChanged changes a file of the source while it is read.
func TestChanged(t *testing.T) {
	for _, name := range []string{"/big/model.safetensors", "/big/config.json"} {
		fsys := large(t)
		var once sync.Once
		_, err := run(fsys, "/big", "/out", bowline.ConvertOptions{Workers: 1, Progress: func(done, total int64) { once.Do(func() { rewrite(t, fsys, name) }) }})
		if formats.CodeOf(err) != formats.Changed {
			t.Errorf("%s: got %v, want %s", name, err, formats.Changed)
		}
		for n := range fsys.Tree() {
			if !strings.HasPrefix(n, "/big") {
				t.Errorf("%s changed, and %s was written", name, n)
			}
		}
	}
}

// TestOverflow counts the finite values that F16 cannot hold, names every tensor, and writes nothing.
func TestOverflow(t *testing.T) {
	fsys := disk(t, "ties/untied")
	x := read(t, fsys, "/untied")
	put := func(name string, v ...float32) {
		s, b := x.get(name)
		b = slices.Clone(b)
		copy(b, encode(dtype.BF16, v))
		x.set(name, s.DType, s.Shape, b)
	}
	put("lm_head.weight", 65536, -65536, 1e38, 65280)
	put("model.layers.1.mlp.up_proj.weight", 1e5)
	x.put(t, fsys, "/untied/model.safetensors")
	before := fsys.Tree()
	for _, dst := range []string{"/out", "/out.gguf"} {
		_, err := run(fsys, "/untied", dst, bowline.ConvertOptions{Options: convert.Options{DType: "f16"}})
		list := formats.Errors(err)
		if len(list) != 2 || list[0].Code != formats.NonFinite || list[1].Code != formats.NonFinite {
			t.Fatalf("%s: got %v, want two %s", dst, err, formats.NonFinite)
		}
		said := fmt.Sprint(err)
		for _, w := range []string{"3 of 15888", "1 of 3840", "F16"} {
			if !strings.Contains(said, w) {
				t.Errorf("%s: %q does not say %q", dst, said, w)
			}
		}
		if err := sameTree(fsys.Tree(), before); err != nil {
			t.Errorf("%s: %v", dst, err)
		}
	}
	// What is infinite already stays so, and is no error.
	put("lm_head.weight", 1, 1, 1)
	put("model.layers.1.mlp.up_proj.weight", 1)
	s, b := x.get("lm_head.weight")
	b = slices.Clone(b)
	copy(b, []byte{0x80, 0x7f, 0x80, 0xff, 0xc0, 0x7f})
	x.set("lm_head.weight", s.DType, s.Shape, b)
	x.put(t, fsys, "/untied/model.safetensors")
	if _, err := run(fsys, "/untied", "/out", bowline.ConvertOptions{Options: convert.Options{DType: "f16"}}); err != nil {
		t.Errorf("infinities and a NaN: %v", err)
	}
}

// TestDestination runs a conversion again over what its destination has become.
func TestDestination(t *testing.T) {
	start := disk(t, "checkpoints/llama-linear").Tree()
	for _, dst := range []string{"/out.gguf", "/out"} {
		fsys := restore(start)
		if _, err := run(fsys, "/llama-linear", dst, bowline.ConvertOptions{}); err != nil {
			t.Fatal(err)
		}
		want := fsys.Tree()
		main := map[string]string{"/out.gguf": "/out.gguf", "/out": "/out/model.safetensors"}[dst]
		l := layout(t, want[main])
		for _, x := range []struct {
			name string
			harm func(fsys *fsio.Mem)
			code formats.Code // "" is up to date
			dir  bool         // for a directory only
		}{
			{name: "as it was", harm: func(*fsio.Mem) {}},
			{name: "a byte of a tensor flipped", harm: func(f *fsio.Mem) { flip(f, main, l.data) }, code: formats.Exists},
			{name: "a byte of the header flipped", harm: func(f *fsio.Mem) { flip(f, main, 40) }, code: formats.Exists},
			{name: "a byte between tensors flipped", harm: func(f *fsio.Mem) { flip(f, main, l.gap) }, code: formats.Exists},
			{name: "cut off", harm: func(f *fsio.Mem) { f.Put(main, want[main][:len(want[main])-1]) }, code: formats.Exists},
			{name: "longer", harm: func(f *fsio.Mem) { f.Put(main, want[main]+"x") }, code: formats.Exists},
			{name: "a side file changed", dir: true, harm: func(f *fsio.Mem) { flip(f, "/out/tokenizer.json", 10) }, code: formats.Exists},
			{name: "a side file gone", dir: true, harm: func(f *fsio.Mem) { f.Remove("/out/config.json") }, code: formats.Exists},
			{name: "a file too much", dir: true, harm: func(f *fsio.Mem) { f.Put("/out/mine.txt", "x") }, code: formats.Exists},
		} {
			if x.dir && dst != "/out" || l.gap < 0 && strings.Contains(x.name, "between") {
				continue
			}
			fsys := restore(want)
			x.harm(fsys)
			before := fsys.Tree()
			r, err := run(fsys, "/llama-linear", dst, bowline.ConvertOptions{})
			if formats.CodeOf(err) != x.code || err == nil && !r.UpToDate {
				t.Errorf("%s, %s: got %v, want %q", dst, x.name, err, x.code)
			}
			if err := sameTree(fsys.Tree(), before); err != nil {
				t.Errorf("%s, %s: %v", dst, x.name, err)
			}
			_, err = run(fsys, "/llama-linear", dst, bowline.ConvertOptions{Force: true})
			if x.name == "a file too much" {
				if formats.CodeOf(err) != formats.Exists || !strings.Contains(err.Error(), "mine.txt") {
					t.Errorf("%s with --force: got %v, want the stranger named", x.name, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s, %s, with --force: %v", dst, x.name, err)
			} else if err := sameTree(fsys.Tree(), want); err != nil {
				t.Errorf("%s, %s, with --force: %v", dst, x.name, err)
			}
		}
	}
}

// places are the offset of a byte of a tensor, and of one that belongs to nothing, -1 if there is none.
type places struct{ data, gap int64 }

func layout(t *testing.T, file string) places {
	t.Helper()
	name := "/x.gguf"
	if !strings.HasPrefix(file, "GGUF") {
		name = "/x.safetensors"
	}
	fsys := restore(map[string]string{name: file})
	x := read(t, fsys, name)
	slices.SortFunc(x.tensors, func(a, b formats.Tensor) int { return int(a.Offset - b.Offset) })
	p := places{data: x.tensors[0].Offset, gap: -1}
	for i, s := range x.tensors[:len(x.tensors)-1] {
		if end := s.Offset + s.Bytes; end < x.tensors[i+1].Offset {
			p.gap = end
		}
	}
	return p
}

// sealed are the results that hold checksums of their tensors, and how they are asked for.
var sealed = []struct {
	name, dst string
	o         bowline.ConvertOptions
}{
	{"one zip", "/out.bin", bowline.ConvertOptions{}},
	{"one zip, F32", "/out.pth", bowline.ConvertOptions{Options: convert.Options{DType: "f32"}}},
	{"shards", "/out", bowline.ConvertOptions{To: "pytorch", Options: convert.Options{ShardSize: 1_000_000}}},
	{"TorchChat's", "/out", bowline.ConvertOptions{To: "torchchat"}},
	{"TorchChat's, untied", "/out.pth", bowline.ConvertOptions{To: "torchchat", Options: convert.Options{Ties: convert.Untie, DType: "f16"}}},
}

// TestSealed makes the same bytes, checksums included, with any number of workers and however often it is interrupted.
func TestSealed(t *testing.T) {
	source := large(t).Tree()
	for _, x := range sealed {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			var want map[string]string
			for _, n := range []int{1, 2, 5} {
				fsys := restore(source)
				o := x.o
				o.Workers = n
				if _, err := run(fsys, "/big", x.dst, o); err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want = fsys.Tree()
				} else if err := sameTree(fsys.Tree(), want); err != nil {
					t.Errorf("%d workers: %v", n, err)
				}
			}
			total, zips := int64(0), 0
			for name, content := range result(want, x.dst) {
				if strings.HasPrefix(content, "PK") {
					total += int64(len(content))
					zips++
					whole(t, name, content)
				}
			}
			if zips == 0 || x.name == "shards" && zips < 3 {
				t.Fatalf("got %d archives in %v", zips, slices.Sorted(maps.Keys(want)))
			}
			for _, cuts := range [][]int64{{1}, {total / 3}, {total - total/8}, {total / 4, total / 2}} {
				fsys := restore(source)
				o := x.o
				o.Resumable = true
				for _, at := range cuts {
					if err := interrupt(fsys, "/big", x.dst, o, at); !errors.Is(err, context.Canceled) {
						t.Fatalf("interrupted at %v: got %v, want context.Canceled", cuts, err)
					}
				}
				r, err := run(fsys, "/big", x.dst, x.o)
				if err != nil {
					t.Errorf("interrupted at %v: %v", cuts, err)
					continue
				}
				if !slices.ContainsFunc(r.Notes, func(n formats.Note) bool { return n.Decision == "resumed" }) {
					t.Errorf("interrupted at %v: nothing was kept", cuts)
				}
				if err := sameTree(fsys.Tree(), want); err != nil {
					t.Errorf("interrupted at %v: %v", cuts, err)
				}
			}
			// What an interrupted run left is judged by its bytes: one that is wrong is made again.
			fsys := restore(source)
			o := x.o
			o.Resumable = true
			if err := interrupt(fsys, "/big", x.dst, o, total/2); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			for name, content := range fsys.Tree() {
				if strings.Contains(name, ".bowline-") && strings.HasPrefix(content, "PK") {
					flip(fsys, name, int64(len(content))/5)
				}
			}
			if _, err := run(fsys, "/big", x.dst, x.o); err != nil {
				t.Errorf("resumed over a wrong byte: %v", err)
			} else if err := sameTree(fsys.Tree(), want); err != nil {
				t.Errorf("resumed over a wrong byte: %v", err)
			}
		})
	}
}

// whole reads every record of an archive with the checksums that it states, by Go's own reader.
func whole(t *testing.T, name, content string) *zip.Reader {
	t.Helper()
	z, err := zip.NewReader(strings.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil || f.CRC32 == 0 && f.UncompressedSize64 > 0 || f.Method != zip.Store {
			t.Errorf("%s: %s: checksum %08x, method %d: %v", name, f.Name, f.CRC32, f.Method, err)
		}
	}
	return z
}

// wounds are the offsets of a byte of each kind in an archive.
func wounds(t *testing.T, name, content string) map[string]int64 {
	t.Helper()
	out := map[string]int64{"the end": int64(len(content)) - 1}
	for _, f := range whole(t, name, content).File {
		at, err := f.DataOffset()
		if err != nil {
			t.Fatal(err)
		}
		kind := ""
		switch {
		case strings.HasSuffix(f.Name, "/data/0"):
			kind = "a tensor"
		case strings.HasSuffix(f.Name, "/data.pkl"):
			kind = "the pickle"
		default:
			continue
		}
		out["the first byte of "+kind] = at
		out["the last byte of "+kind] = at + int64(f.UncompressedSize64) - 1
		// Both headers end in the name; the checksum is 16 bytes before it in the local one and 30 in the directory's.
		local := strings.LastIndex(content[:at], f.Name)
		central := strings.LastIndex(content, f.Name)
		if content[local-30:local-26] != "PK\x03\x04" || content[central-46:central-42] != "PK\x01\x02" {
			t.Fatalf("%s: no headers where they should be", f.Name)
		}
		out["the checksum of "+kind] = int64(local) - 16
		out["the checksum of "+kind+" in the directory"] = int64(central) - 30
	}
	return out
}

// TestSealedDestination runs a conversion again over its result: what is whole is up to date, and any byte that is not makes it another file.
func TestSealedDestination(t *testing.T) {
	start := disk(t, "checkpoints/granite-code").Tree()
	for _, x := range sealed {
		fsys := restore(start)
		o := x.o
		if o.ShardSize > 0 {
			o.ShardSize = 100_000
		}
		if _, err := run(fsys, "/granite-code", x.dst, o); err != nil {
			t.Fatal(err)
		}
		want := fsys.Tree()
		if r, err := run(fsys, "/granite-code", x.dst, o); err != nil || !r.UpToDate {
			t.Errorf("%s: run again: got %+v, %v, want up to date", x.name, r, err)
		}
		for name, content := range result(want, x.dst) {
			if !strings.HasPrefix(content, "PK") {
				continue
			}
			for what, at := range wounds(t, name, content) {
				fsys := restore(want)
				flip(fsys, name, at)
				before := fsys.Tree()
				if _, err := run(fsys, "/granite-code", x.dst, o); formats.CodeOf(err) != formats.Exists {
					t.Errorf("%s: %s, a bit of %s: got %v, want %s", x.name, name, what, err, formats.Exists)
				}
				if err := sameTree(fsys.Tree(), before); err != nil {
					t.Errorf("%s: %s, a bit of %s: %v", x.name, name, what, err)
				}
			}
		}
		for name, content := range result(want, x.dst) {
			if strings.HasPrefix(content, "PK") {
				flip(fsys, name, 1000)
			}
		}
		o.Force = true
		if _, err := run(fsys, "/granite-code", x.dst, o); err != nil {
			t.Errorf("%s with --force: %v", x.name, err)
		} else if err := sameTree(fsys.Tree(), want); err != nil {
			t.Errorf("%s with --force: %v", x.name, err)
		}
	}
}

// TestWrongChecksum converts an archive of which one record is not what its checksum says: the record and the tensor are named, and nothing is
// written.
func TestWrongChecksum(t *testing.T) {
	const norm = "model.layers.1.input_layernorm.weight"
	fsys := disk(t, "checkpoints/granite-code")
	if _, err := run(fsys, "/granite-code", "/in/pytorch_model.bin", bowline.ConvertOptions{}); err != nil {
		t.Fatal(err)
	}
	m := opened(t, fsys, "/in/pytorch_model.bin")
	at := m.Lookup(norm).Offset
	flip(fsys, "/in/pytorch_model.bin", at+1)
	before := fsys.Tree()
	record := ""
	for _, f := range mustZip(t, before["/in/pytorch_model.bin"]).File {
		if off, err := f.DataOffset(); err == nil && off == at {
			record = f.Name
		}
	}
	if record == "" {
		t.Fatal("no record has the tensor's offset")
	}
	for _, x := range []struct {
		dst string
		o   bowline.ConvertOptions
	}{{"/out", bowline.ConvertOptions{}}, {"/out.gguf", bowline.ConvertOptions{}}, {"/out.bin", bowline.ConvertOptions{}}, {"/out", bowline.ConvertOptions{To: "torchchat"}}, {"/a/b", bowline.ConvertOptions{Workers: 3}}} {
		_, err := run(fsys, "/in/pytorch_model.bin", x.dst, x.o)
		if formats.CodeOf(err) != formats.Mismatch || !strings.Contains(err.Error(), record) || !strings.Contains(err.Error(), norm) {
			t.Errorf("%s: got %v, want %s, %s and %s", x.dst, err, formats.Mismatch, record, norm)
		}
		for name := range fsys.Tree() {
			if _, ok := before[name]; !ok && !strings.HasSuffix(name, "/") {
				t.Errorf("%s: %s was left", x.dst, name)
			}
		}
	}
}

func mustZip(t *testing.T, content string) *zip.Reader {
	t.Helper()
	z, err := zip.NewReader(strings.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	return z
}
