// Package difftest compares the GGUF reader with gguf-parser-go. It is a module of its own: nobody who uses bowline needs the other
// reader. Run it with `go test` and `go test -fuzz FuzzDiff` in this folder.
package difftest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	parser "github.com/gpustack/gguf-parser-go"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/gguf"
)

// theirs is what the other reader finds: names, types, dimensions and offsets of tensors, and the keys.
func theirs(path string) (tensors, keys []string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	f, err := parser.ParseGGUFFile(path)
	if err != nil {
		return nil, nil, err
	}
	for _, t := range f.TensorInfos {
		ne := slices.Clone(t.Dimensions)
		slices.Reverse(ne)
		tensors = append(tensors, fmt.Sprint(t.Name, ne, int64(t.Offset)+f.TensorDataStartOffset))
	}
	for _, kv := range f.Header.MetadataKV {
		if kv.Key != "split.no" && kv.Key != "split.count" && kv.Key != "split.tensors.count" {
			keys = append(keys, kv.Key)
		}
	}
	return tensors, keys, nil
}

// ours is the same of this project's reader.
func ours(path string) (tensors, keys []string, err error) {
	c, err := gguf.Format.Open(fsio.OS{}, formats.Set{Dir: filepath.Dir(path), Files: []string{filepath.Base(path)}})
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	for _, t := range c.Tensors {
		tensors = append(tensors, fmt.Sprint(t.Name, append([]int64{}, t.Shape...), t.Offset))
	}
	for _, kv := range c.Metadata {
		keys = append(keys, kv.Key)
	}
	return tensors, keys, nil
}

// compare reports a difference in what both accept.
func compare(t *testing.T, path string) (mine, other error) {
	t.Helper()
	a, ak, mine := ours(path)
	b, bk, other := theirs(path)
	if mine == nil && other == nil && (!slices.Equal(a, b) || !slices.Equal(ak, bk)) {
		t.Errorf("%s: got tensors %v, keys %v\nthe other reader: %v, %v", filepath.Base(path), a, ak, b, bk)
	}
	return mine, other
}

// little are the little-endian files that peers wrote. It takes a big-endian file to begin with FUGG, which no writer does.
func little(t testing.TB) []string {
	var files []string
	for _, pattern := range []string{"../testdata/*.gguf", "../../../testdata/gguf/llamacpp/*.gguf"} {
		list, err := filepath.Glob(pattern)
		if err != nil || len(list) == 0 {
			t.Fatal(pattern, err)
		}
		files = append(files, list...)
	}
	return files
}

func TestFilesOfPeers(t *testing.T) {
	both := 0
	for _, path := range little(t) {
		mine, other := compare(t, path)
		if mine == nil && other == nil {
			both++
		}
		if mine != nil && formats.CodeOf(mine) != formats.Missing { // one of a set
			t.Errorf("%s: %v", path, mine)
		}
		t.Logf("%s: ours %v, theirs %v", filepath.Base(path), mine, other)
	}
	t.Logf("%d files read alike", both)
	if both < 8 {
		t.Errorf("got %d files that both read, want at least 8", both)
	}
}

// FuzzDiff: what both accept, both read alike.
func FuzzDiff(f *testing.F) {
	for _, path := range little(f) {
		if b, err := os.ReadFile(path); err == nil && len(b) < 4096 {
			f.Add(b)
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, fmt.Sprint(os.Getpid())+".gguf")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		// What is refused here is not shown to the other reader: only what both accept is compared.
		if _, _, err := ours(path); err == nil {
			compare(t, path)
		}
	})
}
