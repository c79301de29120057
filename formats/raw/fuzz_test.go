package raw_test

import (
	"os"
	"path/filepath"
	"runtime/metrics"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/raw"
)

// seedBytes is the most that a seed has: the fuzzer spends its time on small inputs.
const seedBytes = 16 << 10

// FuzzArray: no panic, no allocation out of proportion, every problem with a class and inside the file; what is accepted is read whole.
func FuzzArray(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(data, "alone", "*.npy"))
	if err != nil || len(files) < 40 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, x := range corpus.NPY().Cases() {
		if len(x.Bytes) < seedBytes {
			f.Add(x.Bytes)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := allocated()
		c, err := raw.Format.Open(formatstest.OneFile(b), formats.Set{Dir: "/", Files: []string{"m.npy"}})
		bounded(t, before, len(b))
		for _, e := range formats.Errors(err) {
			if e.Offset > int64(len(b)) {
				t.Errorf("got offset %d for %d bytes: %v", e.Offset, len(b), err)
			}
		}
		judge(t, c, err)
	})
}

// FuzzManifest is the same for a manifest in a folder with two arrays and a dump.
func FuzzManifest(f *testing.F) {
	b, err := os.ReadFile(filepath.Join(data, "folder", raw.Manifest))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	for _, x := range []string{
		`{"name":"a","dtype":"F32","shape":[2,3],"file":"a.npy"},{"name":"b","file":"a.npy"}`,
		`{"name":"a","order":"F","byteorder":"big","bytes":24,"file":"f.npy"},{"name":"v","dtype":"F8_E4M3","file":"v.npy"}`,
		`{"name":"a","dtype":"U8","shape":[50],"offset":0,"file":"d.raw"},{"name":"b","dtype":"C64","shape":[2,3],"order":"F","offset":50,"file":"d.raw"}`,
	} {
		f.Add([]byte(tensors(x)))
	}
	f.Add([]byte(`{"format":"bowline.raw/1","aliases":[{"name":"b","of":"a"}],"metadata":{"k":"v"},"tensors":[{"name":"a","file":"b.npy"}]}`))
	for _, x := range corpus.Raw().Cases() {
		if b := x.Files[raw.Manifest]; len(b) < seedBytes {
			f.Add(b)
		}
	}
	beside := corpus.RawFolder("")
	f.Fuzz(func(t *testing.T, b []byte) {
		fsys := fsio.NewMem()
		beside[raw.Manifest] = b
		formatstest.Put(t, fsys, "/", beside)
		before := allocated()
		c, err := raw.Format.Open(fsys, formats.Set{Dir: "/", Index: raw.Manifest})
		bounded(t, before, len(b))
		judge(t, c, err)
	})
}

func bounded(t *testing.T, before uint64, n int) {
	t.Helper()
	if got, limit := allocated()-before, uint64(16*n+16<<20); got > limit {
		t.Errorf("allocated %d bytes for a file of %d", got, n)
	}
}

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
