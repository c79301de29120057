package gguf_test

import (
	"path/filepath"
	"runtime/metrics"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/gguf"
)

// FuzzOpen: no panic, no allocation out of proportion, every problem with a class and inside the file; what is accepted is laid out and
// read again as the same.
func FuzzOpen(f *testing.F) {
	files, err := filepath.Glob("testdata/*.gguf")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		f.Add(read(f, filepath.Base(name)))
	}
	f.Add([]byte(head(1, 1).kv("general.alignment", u32, uint32(1)).info("a", 152, 0, 4).text("abcd")))
	f.Add([]byte(head(0, 1).list("a", array, 2, uint32(array), uint64(0), uint32(boolean), uint64(1), uint8(1))))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := allocated()
		c, err := gguf.Format.Open(formatstest.OneFile(b), "/", []string{"m.gguf"}, "")
		if got, limit := allocated()-before, uint64(16*len(b)+16<<20); got > limit {
			t.Errorf("allocated %d bytes for a file of %d", got, len(b))
		}
		if err != nil {
			for _, e := range formats.Errors(err) {
				if e.Code == "" || e.Code == formats.IO || e.Offset > int64(len(b)) {
					t.Errorf("got code %q, offset %d for %d bytes: %v", e.Code, e.Offset, len(b), err)
				}
			}
			return
		}
		defer c.Close()
		again(t, c)
	})
}

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
