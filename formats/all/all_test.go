package all_test

import (
	"encoding/binary"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/all"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/gguf"
	"github.com/bowline-ml/bowline/formats/pytorch"
	"github.com/bowline-ml/bowline/formats/raw"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// st is a safetensors file with one tensor.
func st(name string) string {
	h := `{"` + name + `":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(h)))) + h + "\x2a"
}

// gg makes n files of a GGUF model called stem.
func gg(t *testing.T, stem string, n int) map[string]string {
	t.Helper()
	return made(t, gguf.Format, stem, n, formats.Metadata{{Key: "general.architecture", Value: "llama"}})
}

// pt makes n files of a PyTorch model called stem, with their index if there are several.
func pt(t *testing.T, stem string, n int) map[string]string {
	t.Helper()
	return made(t, pytorch.Format, stem, n, nil)
}

func made(t *testing.T, f formats.Format, stem string, n int, meta formats.Metadata) map[string]string {
	t.Helper()
	s := formatstest.Sample{Header: formats.Header{Metadata: meta}}
	for i := range n {
		s.Header.Tensors = append(s.Header.Tensors, formats.Tensor{Name: string(rune('a' + i)), DType: "F32", Shape: []int64{1}, Bytes: 4,
			File: f.ShardName(stem, i, n)})
		s.Data = append(s.Data, []byte{1, 2, 3, 4})
	}
	l, err := f.Layout(s.Header)
	if err != nil {
		t.Fatal(err)
	}
	files, err := s.Files(l)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for name, b := range files {
		out[name] = string(b)
	}
	return out
}

const (
	s1    = "model-00001-of-00002.safetensors"
	s2    = "model-00002-of-00002.safetensors"
	six   = "model.safetensors.index.json"
	index = `{"weight_map":{"a":"` + s1 + `","b":"` + s2 + `"}}`
	lfs   = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
)

func TestOpen(t *testing.T) {
	shards := map[string]string{s1: st("a"), s2: st("b"), six: index}
	one, split := gg(t, "x", 1), gg(t, "x", 2)
	merge := func(ms ...map[string]string) map[string]string {
		out := map[string]string{}
		for _, m := range ms {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	single := map[string]string{"model.safetensors": st("s")}
	bin, bins := pt(t, "pytorch_model", 1), pt(t, "pytorch_model", 2)
	zip := bin["pytorch_model.bin"]
	folder := made(t, raw.Format, "", 1, nil)
	arr := map[string]string{"a.npy": folder["a.npy"]}
	const b1, b2, bix = "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json"
	for _, x := range []struct {
		name  string
		files map[string]string
		path  string // below /m
		want  string // files opened, or ""
		code  formats.Code
		says  string
		warn  bool
	}{
		{name: "a file", files: single, path: "model.safetensors", want: "model.safetensors"},
		{name: "a file under another name", files: map[string]string{"weights.dat": st("s")}, path: "weights.dat", want: "weights.dat"},
		{name: "GGUF named safetensors", files: map[string]string{"a.safetensors": one["x.gguf"]}, path: "a.safetensors", want: "a.safetensors"},
		{name: "an index", files: shards, path: six, want: s1 + " " + s2 + " " + six},
		{name: "a shard with its index", files: shards, path: s2, want: s1 + " " + s2 + " " + six},
		{name: "a shard without an index", files: map[string]string{s1: st("a"), s2: st("b")}, path: s2, want: s1 + " " + s2},
		{name: "a shard that the index does not list", files: merge(shards, map[string]string{"other-00001-of-00001.safetensors": st("o")}),
			path: "other-00001-of-00001.safetensors", want: "other-00001-of-00001.safetensors"},
		{name: "a shard of GGUF", files: split, path: "x-00002-of-00002.gguf", want: "x-00001-of-00002.gguf x-00002-of-00002.gguf"},
		{name: "a shard alone", files: map[string]string{s1: st("a")}, path: s1, code: formats.Missing, says: s2},
		{name: "an index without shards", files: map[string]string{six: index}, path: six, code: formats.Missing, says: s1},
		{name: "nothing there", path: "none", code: formats.Missing, says: "no such file"},
		{name: "index not there", path: "a.safetensors.index.json", code: formats.Missing},
		{name: "PyTorch's index", files: bins, path: bix, want: b1 + " " + b2 + " " + bix},
		{name: "a shard of PyTorch", files: bins, path: b2, want: b1 + " " + b2 + " " + bix},
		{name: "a shard of PyTorch without an index", files: map[string]string{b1: bins[b1], b2: bins[b2]}, path: b2, want: b1 + " " + b2},
		{name: "a shard of PyTorch alone", files: map[string]string{b1: bins[b1]}, path: b1, code: formats.Missing, says: b2},
		{name: "PyTorch's index with nothing in it", files: map[string]string{bix: `{"weight_map":{}}`}, path: bix, code: formats.Missing},
		{name: "the index of another format", files: map[string]string{"tf_model.h5.index.json": "{}"}, path: "tf_model.h5.index.json", code: formats.Unsupported, says: "another format"},

		{name: "Git LFS pointer", files: map[string]string{"model.safetensors": lfs}, path: "model.safetensors", code: formats.Magic, says: "run git lfs pull"},
		{name: "Git LFS pointer as a shard", files: map[string]string{s1: st("a"), s2: lfs, six: index}, path: s1, code: formats.Magic, says: s2},
		{name: "HTML", files: map[string]string{"model.safetensors": "\n<!DOCTYPE html><html>"}, path: "model.safetensors", code: formats.Magic, says: "web page"},
		{name: "JSON", files: map[string]string{"model.safetensors": `{"error":"gated"}`}, path: "model.safetensors", code: formats.Magic, says: "JSON"},
		{name: "PyTorch named safetensors", files: map[string]string{"a.safetensors": zip}, path: "a.safetensors", want: "a.safetensors"},
		{name: "PyTorch named pt", files: map[string]string{"a.pt": zip}, path: "a.pt", want: "a.pt"},
		{name: "PyTorch named pth", files: map[string]string{"a.pth": zip}, path: "a.pth", want: "a.pth"},
		{name: "PyTorch cut", files: map[string]string{"a.bin": zip[:300]}, path: "a.bin", code: formats.Trunc, says: "a.bin"},
		{name: "PyTorch before 1.6", files: map[string]string{"a.bin": "\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."}, path: "a.bin", code: formats.Trunc, says: "sys_info"},
		{name: "pickle named bin", files: map[string]string{"a.bin": "\x80\x02}q\x00."}, path: "a.bin", code: formats.Magic, says: "pickle"},
		{name: "arrays of NumPy", files: map[string]string{"a.npz": "PK\x03\x04" + strings.Repeat("\x00", 22) + "\x05\x00\x00\x00w.npy"}, path: "a.npz", code: formats.Unsupported, says: "NumPy"},
		{name: "text named bin", files: map[string]string{"a.bin": "noise noise"}, path: "a.bin", code: formats.Magic, says: "6e 6f 69"},
		{name: "empty pth", files: map[string]string{"a.pth": ""}, path: "a.pth", code: formats.Trunc},
		{name: "pickle", files: map[string]string{"a.gguf": "\x80\x02}q\x00."}, path: "a.gguf", code: formats.Magic, says: "pickle"},
		{name: "gzip", files: map[string]string{"a.gguf": "\x1f\x8b\x08\x00\x00\x00\x00\x01"}, path: "a.gguf", code: formats.Magic, says: "gzip"},
		{name: "NumPy", files: arr, path: "a.npy", want: "a.npy"},
		{name: "NumPy named safetensors", files: map[string]string{"a.safetensors": arr["a.npy"]}, path: "a.safetensors", want: "a.safetensors"},
		{name: "NumPy cut", files: map[string]string{"a.npy": "\x93NUMPY\x01\x00"}, path: "a.npy", code: formats.Trunc},
		{name: "NumPy as a shard of safetensors", files: map[string]string{s1: st("a"), s2: arr["a.npy"], six: index}, path: s1, code: formats.Magic, says: "NumPy"},
		{name: "noise named npy", files: map[string]string{"a.npy": "noise noise"}, path: "a.npy", code: formats.Magic},
		{name: "a manifest", files: folder, path: "tensors.json", want: "a.npy tensors.json"},
		{name: "an array beside its manifest", files: folder, path: "a.npy", want: "a.npy"},
		{name: "a manifest that is not there", path: "tensors.json", code: formats.Missing, says: "no such file"},
		{name: "a manifest without its array", files: map[string]string{"tensors.json": folder["tensors.json"]}, path: "tensors.json", code: formats.Missing, says: "a.npy"},
		{name: "old GGML", files: map[string]string{"a.bin": "tjgg\x03\x00\x00\x00"}, path: "a.bin", code: formats.Magic, says: "GGUF"},
		{name: "zeros", files: map[string]string{"a.safetensors": strings.Repeat("\x00", 100)}, path: "a.safetensors", code: formats.Magic, says: "zeros"},
		{name: "noise", files: map[string]string{"a.dat": "noise noise"}, path: "a.dat", code: formats.Magic, says: "6e 6f 69"},
		{name: "empty", files: map[string]string{"a.safetensors": ""}, path: "a.safetensors", code: formats.Trunc},
		{name: "cut after a length like a brace", files: map[string]string{"a.safetensors": "{\x00\x00\x00\x00\x00\x00\x00"}, path: "a.safetensors", code: formats.Trunc},
		{name: "cut after a length like gzip", files: map[string]string{"a.safetensors": "\x1f\x8b\x00\x00\x00\x00\x00\x00"}, path: "a.safetensors", code: formats.Trunc},
		{name: "cut in the header", files: map[string]string{"a.dat": st("s")[:20]}, path: "a.dat", code: formats.Trunc},

		{name: "directory", files: single, want: "model.safetensors"},
		{name: "directory with an index", files: shards, want: s1 + " " + s2 + " " + six},
		{name: "directory with shards alone", files: map[string]string{s1: st("a"), s2: st("b")}, want: s1 + " " + s2},
		{name: "directory with some shards", files: map[string]string{s2: st("b")}, code: formats.Missing, says: s1},
		{name: "single file and complete shards", files: merge(single, shards), want: "model.safetensors", warn: true},
		{name: "index of the single file", files: merge(single, map[string]string{six: `{"weight_map":{"s":"model.safetensors"}}`}), want: "model.safetensors"},
		{name: "single file and a stale index", files: merge(single, map[string]string{six: index}), want: "model.safetensors"},
		{name: "safetensors and PyTorch", files: merge(single, bin), want: "model.safetensors", warn: true},
		{name: "safetensors and half of PyTorch", files: merge(single, map[string]string{"pytorch_model.bin.index.json": `{"weight_map":{"a":"p.bin"}}`}),
			want: "model.safetensors"},
		{name: "safetensors and GGUF", files: merge(single, one), want: "model.safetensors", warn: true},
		{name: "incomplete before complete", files: merge(map[string]string{six: index, s1: st("a")}, one), code: formats.Missing, says: s2},
		{name: "PyTorch", files: bin, want: "pytorch_model.bin"},
		{name: "shards of PyTorch", files: bins, want: b1 + " " + b2 + " " + bix},
		{name: "shards of PyTorch without an index", files: map[string]string{b1: bins[b1], b2: bins[b2]}, want: b1 + " " + b2},
		{name: "PyTorch and model.pth", files: merge(bin, map[string]string{"model.pth": zip}), want: "pytorch_model.bin", warn: true},
		{name: "model.pth", files: map[string]string{"model.pth": zip, "params.json": "{}"}, want: "model.pth"},
		{name: "consolidated.00.pth", files: map[string]string{"consolidated.00.pth": zip, "params.json": "{}"}, want: "consolidated.00.pth"},
		{name: "consolidated.00.pth and 01", files: map[string]string{"consolidated.00.pth": zip, "consolidated.01.pth": zip}, code: formats.Unsupported, says: "consolidated.00.pth"},
		{name: "one PyTorch file under another name", files: map[string]string{"weights.pt": zip, "optimizer.pt": zip, "training_args.bin": zip}, want: "weights.pt"},
		{name: "two PyTorch files under other names", files: map[string]string{"a.pt": zip, "b.bin": zip}, code: formats.Missing, says: "b.bin, a.pt"},
		{name: "consolidated.safetensors", files: map[string]string{"consolidated.safetensors": st("a")}, want: "consolidated.safetensors"},
		{name: "GGUF", files: one, want: "x.gguf"},
		{name: "split GGUF", files: split, want: "x-00001-of-00002.gguf x-00002-of-00002.gguf"},
		{name: "two GGUF models", files: merge(one, gg(t, "y", 1)), code: formats.Unsupported, says: "x.gguf, y.gguf"},
		{name: "raw", files: folder, want: "a.npy tensors.json"},
		{name: "raw without tensors", files: map[string]string{"tensors.json": "{}"}, code: formats.JSON, says: "tensors.json"},
		{name: "safetensors and raw", files: merge(single, folder), want: "model.safetensors", warn: true},
		{name: "safetensors and a broken manifest", files: merge(single, map[string]string{"tensors.json": "{}"}), want: "model.safetensors"},
		{name: "an array alone is no model", files: arr, code: formats.Missing},
		{name: "one file under another name in a directory", files: map[string]string{"diffusion.safetensors": st("a"), "config.json": "{}"}, want: "diffusion.safetensors"},
		{name: "two files under other names", files: map[string]string{"a.safetensors": st("a"), "b.safetensors": st("b")}, code: formats.Missing, says: "a.safetensors, b.safetensors"},
		{name: "no weights", files: map[string]string{"config.json": "{}"}, code: formats.Missing, says: "looked for model.safetensors"},
	} {
		t.Run(x.name, func(t *testing.T) {
			fsys := fsio.NewMem()
			fsys.PutDir("/m")
			for name, content := range x.files {
				fsys.Put("/m/"+name, content)
			}
			c, err := all.Open(fsys, path.Join("/m", x.path))
			if x.code != "" {
				if err == nil {
					c.Close()
					t.Fatalf("opened %v, want %s", c.Files, x.code)
				}
				if formats.CodeOf(err) != x.code || !strings.Contains(err.Error(), x.says) {
					t.Errorf("got %s %v, want %s that says %q", formats.CodeOf(err), err, x.code, x.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			var got []string
			for _, f := range c.Files {
				got = append(got, f.Path)
			}
			if strings.Join(got, " ") != x.want || c.Dir != "/m" {
				t.Errorf("got %v in %s, want %s in /m", got, c.Dir, x.want)
			}
			if warn := slices.ContainsFunc(c.Notes, func(n formats.Note) bool { return n.Warn }); warn != x.warn {
				t.Errorf("got notes %+v, want a warning: %v", c.Notes, x.warn)
			}
		})
	}
}

// TestCache opens a directory of links, as the cache of Hugging Face has them, and one whose links lead nowhere.
func TestCache(t *testing.T) {
	fsys := fsio.NewMem()
	fsys.Put("/hub/blobs/1", st("a"))
	fsys.Put("/hub/blobs/2", "{}")
	fsys.PutDir("/hub/snapshots/x")
	fsys.Symlink("../../blobs/1", "/hub/snapshots/x/model.safetensors")
	fsys.Symlink("../../blobs/2", "/hub/snapshots/x/config.json")
	c, err := all.Open(fsys, "/hub/snapshots/x")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	side, _, err := all.Side(fsys, "/hub/snapshots/x")
	if want := []formats.File{{Path: "config.json", Bytes: 2}}; err != nil || !slices.Equal(side, want) {
		t.Errorf("got %v, %v, want %v", side, err, want)
	}
	fsys.PutDir("/hub/snapshots/y")
	fsys.Symlink("../../blobs/9", "/hub/snapshots/y/model.safetensors")
	if _, err := all.Open(fsys, "/hub/snapshots/y"); formats.CodeOf(err) != formats.Missing {
		t.Errorf("a link to nothing: got %v, want %s", err, formats.Missing)
	}
	if _, err := all.Open(fsys, "/hub/snapshots/y/model.safetensors"); formats.CodeOf(err) != formats.Missing {
		t.Errorf("a link to nothing: got %v, want %s", err, formats.Missing)
	}
}

func TestSide(t *testing.T) {
	fsys := fsio.NewMem()
	for _, name := range []string{"config.json", "tokenizer.model", "modeling_x.py", "README.md", "a.BIN", "model.safetensors", six, "x.gguf", "y.npy",
		"z.pth", "tf_model.h5", ".gitattributes", "sub/config.json"} {
		fsys.Put("/m/"+name, name)
	}
	files, _, err := all.Side(fsys, "/m")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, f.Path)
		if f.Bytes != int64(len(f.Path)) {
			t.Errorf("%s: got %d bytes, want %d", f.Path, f.Bytes, len(f.Path))
		}
	}
	if want := []string{"README.md", "config.json", "modeling_x.py", "tokenizer.model"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, _, err := all.Side(fsys, "/none"); formats.CodeOf(err) != formats.Missing {
		t.Errorf("got %v, want %s", err, formats.Missing)
	}
}

func TestFormats(t *testing.T) {
	var names []string
	for _, f := range all.Formats {
		names = append(names, f.Name)
		if f.Sniff == nil || f.Open == nil || f.Siblings == nil || f.Layout == nil || f.ShardName == nil || f.IndexName == nil {
			t.Errorf("%s: a function is missing", f.Name)
		}
	}
	if want := []string{safetensors.Format.Name, pytorch.Format.Name, gguf.Format.Name, raw.Format.Name}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}
