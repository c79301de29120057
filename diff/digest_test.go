package diff_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/diff"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/fsio"
)

func hashed(t *testing.T, fsys fsio.FS, at string) *bowline.HashReport {
	t.Helper()
	r, err := bowline.Hash(context.Background(), bowline.Source{Path: at, FS: fsys}, bowline.HashOptions{Workers: 2})
	if err != nil {
		t.Fatal(at, err)
	}
	return r
}

// TestDigest is one digest for every form that loses nothing, and the one that hashlib and numpy give by the words of Algorithm's comment.
func TestDigest(t *testing.T) {
	recorded := map[string]string{}
	b, err := os.ReadFile("testdata/digests.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &recorded); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"granite-code", "llama3"} {
		fsys := disk(t, "checkpoints/"+name)
		src := "/" + name
		produce(t, fsys, src, "/shards", convert.Options{ShardSize: 90_000})
		produce(t, fsys, src, "/untied", convert.Options{Ties: convert.Untie})
		produce(t, fsys, src, "/f32", convert.Options{DType: "f32"})
		produce(t, fsys, src, "/x.gguf", convert.Options{})
		fsys.Put("/lone/model.safetensors", fsys.Tree()[src+"/model.safetensors"])
		rewritten(t, fsys, "/f32", "/lone/f64.safetensors", bowline.Targets()[0].Format, func(s *formats.Tensor, b []byte) []byte {
			v := make([]float32, s.Elems())
			s.DType.Decode(v, b)
			s.DType = dtype.F64
			return encoded(dtype.F64, v)
		})
		for _, at := range []string{src, "/shards", "/untied", "/f32", "/x.gguf", "/lone/model.safetensors", "/lone/f64.safetensors"} {
			if got := hashed(t, fsys, at); got.Digest != recorded[name] {
				t.Errorf("%s of %s: got %s, want %s", at, name, got.Digest, recorded[name])
			}
		}
		// A value changed anywhere is another digest.
		change(t, fsys, "/f32", "model.norm.weight", func(b []byte, _ formats.Tensor) { b[0] ^= 1 })
		if hashed(t, fsys, "/f32").Digest == recorded[name] {
			t.Errorf("%s: a changed bit has the same digest", name)
		}
	}
	for _, x := range []struct {
		dir, want string
	}{{"tied", "tied"}, {"tied-equal-head", "tied"}, {"untied-equal-head", "tied"}, {"tied-cast", "tied"}, {"head-only", "tied"}, {"absent-no-head", "tied"},
		{"absent-equal-head", "tied"}, {"untied", "untied"}, {"tied-distinct-head", "untied"}, {"absent-different-head", "untied"}} {
		m := disk(t, "ties/"+x.dir)
		if got := hashed(t, m, "/"+x.dir); got.Digest != recorded["ties/"+x.want] {
			t.Errorf("%s: got %s, want that of %s", x.dir, got.Digest, x.want)
		}
	}
}

// TestCheck names what differs from a saved digest, and refuses one that is not to be trusted.
func TestCheck(t *testing.T) {
	fsys := disk(t, "checkpoints/granite-code")
	r := hashed(t, fsys, "/granite-code")
	save := func(f func(r *bowline.HashReport)) {
		c := *r
		c.Tensors = append([]diff.TensorDigest{}, r.Tensors...)
		f(&c)
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		fsys.Put("/h.json", string(b))
	}
	check := func() (*bowline.HashReport, error) {
		return bowline.Hash(context.Background(), bowline.Source{Path: "/granite-code", FS: fsys}, bowline.HashOptions{Check: filepath.Clean("/h.json")})
	}
	save(func(*bowline.HashReport) {})
	if got, err := check(); err != nil || !got.Check.Equal {
		t.Errorf("the same: got %+v, %v", got, err)
	}
	save(func(r *bowline.HashReport) {
		r.Tensors[0].Digest, r.Tensors[1].Name = r.Tensors[2].Digest, "zz"
		r.Digest, _ = diff.Total(r.Tensors)
	})
	got, err := check()
	if err != nil || got.Check.Equal || len(got.Check.Differs) != 1 || len(got.Check.Missing) != 1 || len(got.Check.New) != 1 || got.Check.Missing[0] != "zz" {
		t.Errorf("three changes: got %+v, %v", got, err)
	}
	for name, f := range map[string]func(r *bowline.HashReport){
		"another algorithm": func(r *bowline.HashReport) { r.Algorithm = "bowline-md5/1" },
		"another schema":    func(r *bowline.HashReport) { r.Schema = "bowline.diff/1" },
		"a digest edited":   func(r *bowline.HashReport) { r.Tensors[3].Digest = r.Tensors[4].Digest },
		"a name twice":      func(r *bowline.HashReport) { r.Tensors[3] = r.Tensors[4] },
		"no hex":            func(r *bowline.HashReport) { r.Tensors[3].Digest = "x" },
	} {
		save(f)
		if _, err := check(); err == nil || formats.CodeOf(err) == formats.IO {
			t.Errorf("%s: got %v", name, err)
		}
	}
	fsys.Put("/h.json", `{"schema": "bowline.hash/1"`)
	if _, err := check(); formats.CodeOf(err) != formats.JSON {
		t.Errorf("half a file: got %v", err)
	}
}
