package formats_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/all"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/index"
)

// TestBoundTable holds the table against the struct that it describes.
func TestBoundTable(t *testing.T) {
	fields := reflect.TypeFor[formats.ReadBounds]()
	if got := len(formats.AllBounds()); got != fields.NumField() {
		t.Fatalf("got %d bounds, want %d, one for each field", got, fields.NumField())
	}
	for i, k := range formats.AllBounds() {
		if want := "max-" + strings.ToLower(fields.Field(i).Name); k.Flag() != want {
			t.Errorf("got flag %s, want %s", k.Flag(), want)
		}
		if k.Default() < 1 || k.Default() > k.Highest() {
			t.Errorf("%s: got default %d, want 1 to %d", k.Flag(), k.Default(), k.Highest())
		}
		b := formats.ReadBounds{}.With(k, 7)
		if got := reflect.ValueOf(b).Field(i).Int(); got != 7 || b.With(k, 0) != (formats.ReadBounds{}) {
			t.Errorf("%s: got %+v, want 7 in field %s alone", k.Flag(), b, fields.Field(i).Name)
		}
		for _, x := range []struct{ set, want int64 }{{0, k.Default()}, {-1, k.Default()}, {7, 7}, {1<<63 - 1, k.Highest()}} {
			if got := (formats.ReadBounds{}).With(k, x.set).Of(k); got != x.want {
				t.Errorf("%s: set to %d, got %d, want %d", k.Flag(), x.set, got, x.want)
			}
		}
		if got := b.Raised().Of(k); got != k.Default() {
			t.Errorf("%s: got %d, want a lowered bound raised to %d", k.Flag(), got, k.Default())
		}
		if high := b.With(k, k.Highest()); high.Raised().Of(k) != k.Highest() {
			t.Errorf("%s: a raised bound is raised no further", k.Flag())
		}
		if k.Hint(k.Highest()) != "raise it with --"+k.Flag() || k.Highest() < 1<<63-1 && k.Hint(k.Highest()+1) != "" {
			t.Errorf("%s: got hints %q and %q", k.Flag(), k.Hint(k.Highest()), k.Hint(k.Highest()+1))
		}
	}
}

// TestBounds opens files that other programs wrote with bounds just too low for them, and just not. What is in them is known from Python:
// safetensors' length field, gguf.GGUFReader, zipfile, pickletools, json.
func TestBounds(t *testing.T) {
	const (
		header = "../testdata/checkpoints/granite-code/model.safetensors"
		shards = "../testdata/checkpoints/granite-code-sharded"
		list   = shards + "/model.safetensors.index.json"
		ggufs  = "../testdata/gguf/llamacpp/llama3-f32.gguf"
		nested = "pytorch/testdata/nested.pt"
		old    = "/old.pt"
		folder = "/raw"
	)
	mem := fsio.NewMem()
	manifest := `{"format": "bowline.raw/1", "tensors": [{"name": "a", "dtype": "U8", "shape": [1], "file": "a.raw"}, {"name": "b", "dtype": "U8", "shape": [1], "file": "b.raw"}]}`
	for name, text := range map[string]string{"tensors.json": manifest, "a.raw": "a", "b.raw": "b"} {
		mem.Put(folder+"/"+name, text)
	}
	for i := range 3 { // shards without an index
		name := fmt.Sprintf("model-%05d-of-00003.safetensors", i+1)
		b, err := os.ReadFile(filepath.Join(shards, name))
		if err != nil {
			t.Fatal(err)
		}
		mem.Put("/set/"+name, string(b))
	}
	object := dict("x", tensor(""))
	plain := legacy(object)
	long := legacy(dict(strings.Repeat("n", 5000), tensor("")))
	wide := legacy(dict("x", tensor("J\x00\x00\x00\x20")))                                    // 2^29 floats of one
	deep := legacy(dict("x", strings.Repeat("(", 1200)+strings.Repeat("1", 1200)+tensor(""))) // MARK, POP_MARK
	for name, text := range map[string]string{old: plain, "/long.pt": long, "/wide.pt": wide, "/deep.pt": deep} {
		mem.Put(name, text)
	}

	for _, x := range []struct {
		name   string
		path   string
		bound  formats.Bound
		need   int64 // the least with which it is read
		offset int64
	}{
		{"safetensors header", header, formats.HeaderBound, 3456, 0},
		{"GGUF header", ggufs, formats.MetadataBound, 9071, 9063},
		{"GGUF tensors", ggufs, formats.TensorsBound, 31, 8},
		{"index bytes", list, formats.IndexBound, 2799, 0},
		{"index of a directory", shards, formats.IndexBound, 2799, 0},
		{"index entries", list, formats.TensorsBound, 34, 2737},
		{"index files", list, formats.ShardsBound, 3, 1495},
		{"shards without an index", "/set/model-00002-of-00003.safetensors", formats.ShardsBound, 3, -1},
		{"shards of a directory", "/set", formats.ShardsBound, 3, -1},
		{"manifest bytes", folder, formats.IndexBound, int64(len(manifest)), 0},
		{"manifest entries", folder + "/tensors.json", formats.TensorsBound, 2, int64(strings.LastIndex(manifest, "{"))},
		{"pickle of an archive", nested, formats.PickleBound, 435, 64},
		{"zip directory", nested, formats.DirectoryBound, 574, 2178},
		{"zip records", nested, formats.RecordsBound, 9, 2178},
		{"name", nested, formats.NameBound, int64(len("enc.0.b")), 64 + 261},
		{"marks of a pickle", nested, formats.DepthBound, 5, 64 + 196},
		{"pickle from before 1.6", old, formats.PickleBound, int64(len(object)), int64(strings.Index(plain, object))},
		{"name over the default", "/long.pt", formats.NameBound, 5000, int64(strings.Index(long, "s.\x80\x02]X"))},
		{"marks over the default", "/deep.pt", formats.DepthBound, 1200, int64(strings.Index(deep, "((((")) + 1199},
		{"expanded over the default", "/wide.pt", formats.ExpandedBound, 2 << 30, int64(strings.Index(wide, "tRs.")) + 1},
	} {
		t.Run(x.name, func(t *testing.T) {
			fsys := fsio.FS(mem)
			if !strings.HasPrefix(x.path, "/") {
				fsys = fsio.OS{}
			}
			open := func(most int64) error {
				c, err := all.OpenWithin(fsys, filepath.FromSlash(x.path), formats.ReadBounds{}.With(x.bound, most))
				if err == nil {
					if c.Bounds.Of(x.bound) != most {
						t.Errorf("the checkpoint does not know its bounds: %+v", c.Bounds)
					}
					err = c.Close()
				}
				return err
			}
			if err := open(x.need); err != nil {
				t.Errorf("bound %d: %v", x.need, err)
			}
			low := []int64{x.need - 1, max(x.need/2, 1)}
			if x.need > x.bound.Default() {
				low = []int64{x.need - 1, 0}
			}
			e := formats.Errors(open(low[0]))
			if len(e) != 1 || e[0].Code != formats.Limit || e[0].Offset != x.offset || e[0].Hint != "raise it with --"+x.bound.Flag() || e[0].Path == "" {
				t.Errorf("bound %d: got %v, want E_LIMIT at %d with a hint of --%s", low[0], e, x.offset, x.bound.Flag())
			}
			e = formats.Errors(open(low[1]))
			if len(e) == 0 || e[0].Code != formats.Limit || e[0].Hint != "raise it with --"+x.bound.Flag() {
				t.Errorf("bound %d: got %v, want E_LIMIT with a hint of --%s", low[1], e, x.bound.Flag())
			}
		})
	}
}

// TestBoundsOfIndex lists more files than the default allows.
func TestBoundsOfIndex(t *testing.T) {
	var b strings.Builder
	for i := range 10_001 {
		fmt.Fprintf(&b, `, "t%d": "m%d"`, i, i)
	}
	mem := fsio.NewMem()
	mem.Put("/m.index.json", `{"weight_map": {`+b.String()[2:]+`}}`)
	e := formats.Errors(func() error { _, err := index.Shards(mem, "/", "m.index.json"); return err }())
	if len(e) != 1 || e[0].Code != formats.Limit || e[0].Hint != "raise it with --max-shards" {
		t.Errorf("got %v", e)
	}
	if l, err := index.ShardsWithin(mem, "/", "m.index.json", formats.ReadBounds{Shards: 10_001}); err != nil || len(l) != 10_001 {
		t.Errorf("raised: got %d files, %v", len(l), err)
	}
}

// TestBoundsClaimed raises every bound to the highest, and lowers it. What a file claims and has not is refused all the same, before anything is allocated
// for it, and without a hint: no flag makes it right.
func TestBoundsClaimed(t *testing.T) {
	var highest, low formats.ReadBounds
	for _, k := range formats.AllBounds() {
		highest, low = highest.With(k, k.Highest()), low.With(k, 64)
	}
	u64 := func(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }
	u32 := func(n uint32) string { return string(binary.LittleEndian.AppendUint32(nil, n)) }
	const big = 1 << 30
	end := func(entries uint16, bytes, at uint32) string {
		return "PK\x05\x06\x00\x00\x00\x00" + strings.Repeat(string(binary.LittleEndian.AppendUint16(nil, entries)), 2) + u32(bytes) + u32(at) + "\x00\x00"
	}
	for _, x := range []struct{ name, file, text string }{
		{"safetensors header", "m.safetensors", u64(big) + "{}"},
		{"GGUF tensors", "m.gguf", "GGUF" + u32(3) + u64(big) + u64(0)},
		{"GGUF keys", "m.gguf", "GGUF" + u32(3) + u64(0) + u64(big)},
		{"GGUF string", "m.gguf", "GGUF" + u32(3) + u64(0) + u64(1) + u64(1) + "k" + u32(8) + u64(big)},
		{"GGUF array", "m.gguf", "GGUF" + u32(3) + u64(0) + u64(1) + u64(1) + "k" + u32(9) + u32(4) + u64(big)},
		{"zip directory", "m.pt", "PK\x03\x04" + end(1, big, 4)},
		{"zip records", "m.pt", "PK\x03\x04" + end(60_000, 0, 4)},
		{"pickle's string", "m.pt", "\x80\x02\x8a\x0a" + magic + ".\x80\x02M\xe9\x03.\x80\x02}.\x80\x02X" + u32(big)},
	} {
		for _, b := range []formats.ReadBounds{highest, low} {
			mem := fsio.NewMem()
			mem.Put("/"+x.file, x.text)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := all.OpenWithin(mem, "/"+x.file, b)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
				t.Errorf("%s: allocated %d bytes for a file of %d", x.name, n, len(x.text))
			}
			for _, e := range formats.Errors(err) {
				if strings.Contains(e.Hint, "--max") {
					t.Errorf("%s: got %v, want no hint: the bytes are not there", x.name, e)
				}
			}
			if err == nil {
				t.Errorf("%s: it was read", x.name)
			}
		}
	}
}

// What a file from before PyTorch 1.6 is made of (torch/serialization.py, _legacy_save).
const magic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"

// legacy is such a file around the pickle of its object: one storage of one float.
func legacy(object string) string {
	return "\x80\x02\x8a\x0a" + magic + ".\x80\x02M\xe9\x03.\x80\x02}." + object + "\x80\x02]" + text("0") + "a." + "\x01\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x80\x3f"
}

// dict is the pickle of a dictionary of one entry.
func dict(key, value string) string { return "\x80\x02}" + text(key) + value + "s." }

// tensor is one of the storage, with one dimension of stride 0 if a size is given as an opcode.
func tensor(size string) string {
	shape, stride := ")", ")"
	if size != "" {
		shape, stride = size+"\x85", "K\x00\x85"
	}
	return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") + "K\x01NtQK\x00" + shape + stride +
		"\x89ccollections\nOrderedDict\n)RtR"
}

func text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}
