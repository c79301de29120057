package all_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/all"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// both are the limits within which two formats hold the same.
func both(a, b formats.Limits) formats.Limits {
	shorter := func(x, y int) int { // 0 is no limit
		if x == 0 || y != 0 && y < x {
			return y
		}
		return x
	}
	return formats.Limits{Rank: min(a.Rank, b.Rank), NameBytes: shorter(a.NameBytes, b.NameBytes),
		DTypes: slices.DeleteFunc(slices.Clone(a.DTypes), func(d dtype.Type) bool { return !b.Allows(d) })}
}

// TestPairs takes checkpoints from each format to each other one and back, at the level of files: no names or values are changed, so every
// bit has to come back, and what is read is always what was written.
func TestPairs(t *testing.T) {
	for _, a := range all.Formats {
		for _, b := range all.Formats {
			if a.Name == b.Name {
				continue
			}
			t.Run(a.Name+" to "+b.Name, func(t *testing.T) {
				limits := both(a.Limits, b.Limits)
				n := 0
				for s := range formatstest.Checkpoints(21, limits) {
					if n++; n > pairSamples {
						break
					}
					thereAndBack(t, fmt.Sprintf("sample %d", n), a, b, s, 1+n%3)
				}
				for _, c := range formatstest.Corners(limits) {
					thereAndBack(t, c.Name, a, b, c.Sample, 1)
					thereAndBack(t, c.Name+", sharded", a, b, c.Sample, 5)
				}
			})
		}
	}
}

func thereAndBack(t *testing.T, name string, a, b formats.Format, s formatstest.Sample, shards int) {
	t.Helper()
	first := formatstest.Through(t, a, s.In(a, shards, 3))
	there := formatstest.Through(t, b, stripped(first, s.Header.Metadata).In(b, shards, 4))
	back := formatstest.Through(t, a, stripped(there, s.Header.Metadata).In(a, shards, 3))
	for _, x := range []struct {
		where string
		formatstest.Sample
	}{{a.Name, first}, {b.Name, there}, {a.Name + " again", back}} {
		alike(t, name+" in "+x.where, s, x.Sample)
	}
	// safetensors puts large elements first where the order at hand would leave some unaligned; the others keep what they are given.
	if got, want := order(back), order(first); b.Name != safetensors.Format.Name && !slices.Equal(got, want) {
		t.Errorf("%s: got order %q back, want %q", name, got, want)
	}
}

func order(s formatstest.Sample) (names []string) {
	for _, x := range s.Header.Tensors {
		names = append(names, x.Name)
	}
	return names
}

// stripped is a sample as another format gets it: with the metadata that it began with, in the order in which it was read.
func stripped(s formatstest.Sample, began formats.Metadata) formatstest.Sample {
	var kept formats.Metadata
	for _, kv := range s.Header.Metadata {
		if began.Get(kv.Key) != nil {
			kept = append(kept, kv)
		}
	}
	s.Header = formats.Header{Tensors: s.Header.Tensors, Metadata: kept}
	return s
}

// alike compares a sample with what was read of it.
func alike(t *testing.T, where string, want, got formatstest.Sample) {
	t.Helper()
	if len(got.Header.Tensors) != len(want.Header.Tensors) {
		t.Fatalf("%s: got %d tensors, want %d", where, len(got.Header.Tensors), len(want.Header.Tensors))
	}
	at := map[string]int{}
	for i, x := range got.Header.Tensors {
		at[x.Name] = i
	}
	for i, w := range want.Header.Tensors {
		k, ok := at[w.Name]
		if !ok {
			t.Fatalf("%s: tensor %q is lost", where, w.Name)
		}
		if g := got.Header.Tensors[k]; g.DType != w.DType || !slices.Equal(g.Shape, w.Shape) || !bytes.Equal(got.Data[k], want.Data[i]) {
			t.Errorf("%s: tensor %q: got %s %v, want %s %v, or other bytes", where, w.Name, g.DType, g.Shape, w.DType, w.Shape)
		}
	}
	var kept formats.Metadata
	for _, kv := range got.Header.Metadata {
		if want.Header.Metadata.Get(kv.Key) != nil {
			kept = append(kept, kv)
		}
	}
	if !slices.Equal(kept, want.Header.Metadata) {
		t.Errorf("%s: got metadata %v, want %v", where, kept, want.Header.Metadata)
	}
}

// FuzzConvert reads a file as any format and writes it as any other: what is read is written or refused with a class, and what is written
// reads as the same.
func FuzzConvert(f *testing.F) {
	for i, from := range all.Formats {
		limits := from.Limits
		for _, c := range formatstest.Corners(limits) {
			s := c.In(from, 1, 0)
			l, err := from.Layout(s.Header)
			if err != nil {
				f.Fatal(err)
			}
			files, err := s.Files(l)
			if err != nil {
				f.Fatal(err)
			}
			if b := files[l.Files[0].Path]; len(b) < 16<<10 {
				for to := range all.Formats {
					f.Add(b, uint8(i), uint8(to))
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, from, to uint8) {
		a, z := all.Formats[int(from)%len(all.Formats)], all.Formats[int(to)%len(all.Formats)]
		name := "model" + a.Suffix
		c, err := a.Open(formatstest.OneFile(b), formats.Set{Dir: "/", Files: []string{name}})
		if err != nil {
			coded(t, err)
			return
		}
		defer c.Close()
		s := formatstest.Sample{}
		for _, x := range c.Tensors {
			if !z.Limits.Allows(x.DType) || len(x.Shape) > z.Limits.Rank || x.Bytes > 1<<20 {
				continue
			}
			r, err := c.Open(x.Name)
			if err != nil {
				coded(t, err)
				return
			}
			data := make([]byte, x.Bytes)
			if n, err := r.ReadAt(data, 0); n != len(data) {
				coded(t, err)
				return
			}
			s.Header.Tensors = append(s.Header.Tensors, x)
			s.Data = append(s.Data, data)
		}
		for _, kv := range c.Metadata {
			if _, ok := kv.Value.(string); ok {
				s.Header.Metadata = append(s.Header.Metadata, kv)
			}
		}
		s = s.In(z, 1, 0)
		l, err := z.Layout(s.Header)
		if err != nil {
			coded(t, err)
			return
		}
		files, err := s.Files(l)
		if err != nil {
			t.Fatal(err)
		}
		fsys := fsio.NewMem()
		formatstest.Put(t, fsys, "/", files)
		var weights []string
		index := ""
		for _, file := range l.Files {
			if file.Path == z.IndexName("model") {
				index = file.Path
			} else {
				weights = append(weights, file.Path)
			}
		}
		back, err := z.Open(fsys, formats.Set{Dir: "/", Files: weights, Index: index})
		if err != nil {
			t.Fatalf("%s to %s: written, but not read: %v", a.Name, z.Name, err)
		}
		defer back.Close()
		for i, x := range s.Header.Tensors {
			y := back.Lookup(x.Name)
			if y == nil || y.DType != x.DType || !slices.Equal(y.Shape, x.Shape) || !bytes.Equal(formatstest.Bytes(t, back, x.Name), s.Data[i]) {
				t.Fatalf("%s to %s: tensor %q: wrote %+v, read %+v, or other bytes", a.Name, z.Name, x.Name, x, y)
			}
		}
	})
}

// coded demands that every problem has a class, other than that of a failing disk.
func coded(t *testing.T, err error) {
	t.Helper()
	for _, e := range formats.Errors(err) {
		if e.Code == "" || e.Code == formats.IO {
			t.Fatalf("got code %q: %v", e.Code, err)
		}
	}
}
