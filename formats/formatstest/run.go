package formatstest

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// Run is the suite.
func Run(t *testing.T, f formats.Format) {
	t.Run("layout", func(t *testing.T) { runLayouts(t, f) })
	t.Run("round trip", func(t *testing.T) { runRoundTrips(t, f) })
	t.Run("aliases", func(t *testing.T) { runAliases(t, f) })
	t.Run("names of shards", func(t *testing.T) { runNames(t, f) })
	t.Run("truncation", func(t *testing.T) { runTruncation(t, f) })
	t.Run("flipped bits", func(t *testing.T) { runFlips(t, f) })
}

// samples is how many checkpoints Run makes.
const samples = 60

// each calls test with random checkpoints as one file and as shards.
func each(t *testing.T, f formats.Format, test func(t *testing.T, s Sample)) {
	corners(t, f, test)
	seed := uint64(0)
	for s := range Checkpoints(1, f.Limits) {
		if seed++; seed > samples {
			break
		}
		for _, n := range []int{1, 3} {
			t.Run(fmt.Sprintf("sample %d in %d", seed, n), func(t *testing.T) { test(t, s.In(f, n, seed)) })
		}
	}
}

// corners calls test with the corners of the format's limits, as one file and with a file for every tensor.
func corners(t *testing.T, f formats.Format, test func(t *testing.T, s Sample)) {
	for _, c := range Corners(f.Limits) {
		for _, n := range []int{1, len(c.Header.Tensors)} {
			t.Run(fmt.Sprintf("%s in %d", c.Name, n), func(t *testing.T) { test(t, c.In(f, n, 1)) })
		}
	}
}

// runLayouts checks what every layout promises: sizes are exact, nothing overlaps, tensors keep to their files, and it is always the
// same.
func runLayouts(t *testing.T, f formats.Format) {
	type piece struct {
		what       string
		begin, end int64
	}
	each(t, f, func(t *testing.T, s Sample) {
		l, err := f.Layout(s.Header)
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Places) != len(s.Header.Tensors) {
			t.Fatalf("got %d places, want %d", len(l.Places), len(s.Header.Tensors))
		}
		for k, file := range l.Files {
			var pieces []piece
			for _, p := range file.Parts {
				pieces = append(pieces, piece{"a part", p.Offset, p.Offset + p.Size})
			}
			for i, p := range l.Places {
				x := s.Header.Tensors[i]
				if p.File != k {
					continue
				}
				if x.File != file.Path || p.Bytes != x.Bytes {
					t.Errorf("tensor %q: got %d bytes in %s, want %d in %s", x.Name, p.Bytes, file.Path, x.Bytes, x.File)
				}
				pieces = append(pieces, piece{x.Name, p.Offset, p.Offset + x.Bytes})
			}
			slices.SortStableFunc(pieces, func(a, b piece) int { return int(a.begin - b.begin) })
			end := int64(0)
			for _, p := range pieces {
				if p.begin < end && p.begin != p.end {
					t.Errorf("%s: %q starts at %d, before %d", file.Path, p.what, p.begin, end)
				}
				end = max(end, p.end)
			}
			if end > file.Bytes {
				t.Errorf("%s: got %d bytes, want at least %d", file.Path, file.Bytes, end)
			}
		}
		again, err := f.Layout(s.Header)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := build(t, s, l), build(t, s, again); !same(a, b) {
			t.Error("two layouts of one header differ")
		}
	})
}

// runRoundTrips writes, reads, and writes again what was read.
func runRoundTrips(t *testing.T, f formats.Format) {
	each(t, f, func(t *testing.T, s Sample) {
		l, err := f.Layout(s.Header)
		if err != nil {
			t.Fatal(err)
		}
		files := build(t, s, l)
		back, h := reopen(t, f, s, l, files)
		if len(h.Notes) > 0 {
			t.Errorf("got notes %v on a file of our own", h.Notes)
		}
		for i, x := range h.Tensors {
			if p := placeOf(s, l, x.Name); p.Offset != x.Offset || l.Files[p.File].Path != x.File {
				t.Errorf("tensor %q: read at %d of %s, laid out at %d of %s", x.Name, x.Offset, x.File, p.Offset, l.Files[p.File].Path)
			}
			if i > 0 && h.Tensors[i-1].File == x.File && h.Tensors[i-1].Offset > x.Offset {
				t.Errorf("tensor %q: at %d, before the one that stands before it in the header", x.Name, x.Offset)
			}
		}
		l2, err := f.Layout(h)
		if err != nil {
			t.Fatal(err)
		}
		if second := build(t, back, l2); !same(files, second) {
			t.Error("what was read is written with other bytes")
		}
	})
}

// runAliases gives tensors further names. A format in which one copy can have two names tells them again; any other writes the same
// tensors as without.
func runAliases(t *testing.T, f formats.Format) {
	var s Sample
	for _, name := range []string{"a", "b", "c"} {
		s.add(f.Limits, name, "F32", []int64{2, 3})
	}
	s = s.In(f, 2, 1)
	want := []formats.Alias{{Name: "a again", Of: "a"}, {Name: "a, a third time", Of: "a"}, {Name: "ç", Of: "c"}}
	s.Header.Aliases = want
	got := Through(t, f, s)
	if !f.Aliases.Shares() {
		want = nil
	}
	if !slices.Equal(got.Header.Aliases, want) {
		t.Errorf("got aliases %v, want %v", got.Header.Aliases, want)
	}
	if len(got.Header.Tensors) != len(s.Header.Tensors) {
		t.Errorf("got %d tensors, want %d", len(got.Header.Tensors), len(s.Header.Tensors))
	}
	if again := Through(t, f, got); !slices.Equal(again.Header.Aliases, want) {
		t.Errorf("written again: got aliases %v, want %v", again.Header.Aliases, want)
	}
}

func placeOf(s Sample, l formats.Layout, name string) formats.Place {
	for i, x := range s.Header.Tensors {
		if x.Name == name {
			return l.Places[i]
		}
	}
	return formats.Place{Offset: -1}
}

// reopen writes files in memory, opens them and compares all with the sample. It returns what was read.
func reopen(t *testing.T, f formats.Format, s Sample, l formats.Layout, files map[string][]byte) (Sample, formats.Header) {
	t.Helper()
	fsys := fsio.NewMem()
	Put(t, fsys, "/", files)
	weights, index := split(f, l)
	c, err := f.Open(fsys, formats.Set{Dir: "/", Files: weights, Index: index})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	if got, want := len(c.Tensors), len(s.Header.Tensors); got != want {
		t.Fatalf("got %d tensors, want %d", got, want)
	}
	back := Sample{Header: c.Header, Data: make([][]byte, len(c.Tensors))}
	for i, want := range s.Header.Tensors {
		got := c.Lookup(want.Name)
		if got == nil {
			t.Errorf("tensor %q is lost", want.Name)
			continue
		}
		if got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || got.Bytes != want.Bytes || got.File != want.File {
			t.Errorf("got %+v, want %+v", *got, want)
		}
		data := Bytes(t, c, want.Name)
		if !bytes.Equal(data, s.Data[i]) {
			t.Errorf("tensor %q: other bytes", want.Name)
		}
		for k := range c.Tensors {
			if c.Tensors[k].Name == want.Name {
				back.Data[k] = data
			}
		}
	}
	rest := c.Metadata // the format may add entries of its own
	for _, kv := range s.Header.Metadata {
		k := slices.IndexFunc(rest, func(x formats.KV) bool { return x == kv })
		if k < 0 {
			t.Fatalf("metadata %q: lost, changed or moved, got %v, want %v", kv.Key, c.Metadata, s.Header.Metadata)
		}
		rest = rest[k+1:]
	}
	return back, c.Header
}

// runNames checks that the names of shards lead to their set.
func runNames(t *testing.T, f formats.Format) {
	for _, n := range []int{2, 3, 11} {
		var all []string
		for i := range n {
			all = append(all, f.ShardName("a-b", i, n))
		}
		for _, name := range all {
			if got := f.Siblings(name); !slices.Equal(got, all) {
				t.Errorf("%s: got siblings %v, want %v", name, got, all)
			}
		}
	}
	for _, name := range []string{"", "model" + f.Suffix, f.Suffix, "model-1-of-" + f.Suffix, "model-00000-of-00002" + f.Suffix,
		"model-00003-of-00002" + f.Suffix, "model-+0001-of-00002" + f.Suffix, "model-00001-of-00002", f.ShardName("model", 0, 1)} {
		if got := f.Siblings(name); got != nil {
			t.Errorf("%q: got siblings %v, want none", name, got)
		}
	}
}

// small is a sample for damaging, as one file.
func small(t *testing.T, f formats.Format) (Sample, formats.Layout, []byte) {
	t.Helper()
	for s := range Checkpoints(3, f.Limits) {
		s = s.In(f, 1, 0)
		l, err := f.Layout(s.Header)
		if err != nil {
			t.Fatal(err)
		}
		last := int64(0) // of what is not padding, which may be missing at the end
		for i, p := range l.Places {
			last = max(last, p.Offset+s.Header.Tensors[i].Bytes)
		}
		for _, p := range l.Files[0].Parts {
			last = max(last, p.Offset+p.Size)
		}
		if len(s.Header.Tensors) >= 3 && l.Files[0].Bytes < 12<<10 && last == l.Files[0].Bytes && l.Files[0].Bytes > 600 {
			return s, l, build(t, s, l)[l.Files[0].Path]
		}
	}
	panic("unreachable")
}

// runTruncation cuts a file at every length.
func runTruncation(t *testing.T, f formats.Format) {
	_, l, whole := small(t, f)
	name := l.Files[0].Path
	for n := range whole {
		c, err := open(f, name, whole[:n])
		if err == nil {
			c.Close()
			t.Fatalf("cut to %d of %d bytes: accepted", n, len(whole))
		}
		check(t, err, int64(n))
	}
	t.Logf("%d cuts, none accepted", len(whole))
}

// runFlips flips each bit of the parts that are no tensor data. The result may be well-formed; then its tensors must be inside the
// file and readable.
func runFlips(t *testing.T, f formats.Format) {
	_, l, whole := small(t, f)
	name := l.Files[0].Path
	flips := 0
	for _, p := range l.Files[0].Parts {
		for bit := range 8 * p.Size {
			flips++
			b := bytes.Clone(whole)
			b[p.Offset+bit/8] ^= 1 << (bit % 8)
			c, err := open(f, name, b)
			if err != nil {
				check(t, err, int64(len(b)))
				continue
			}
			for _, x := range c.Tensors {
				if x.Offset < 0 || x.Bytes < 0 || x.Offset+x.Bytes > int64(len(b)) {
					t.Errorf("bit %d: tensor %q at %d with %d bytes in a file of %d", bit, x.Name, x.Offset, x.Bytes, len(b))
					continue
				}
				Bytes(t, c, x.Name)
			}
			c.Close()
		}
	}
	t.Logf("%d bits flipped", flips)
}

// open opens one file in memory.
func open(f formats.Format, name string, b []byte) (*formats.Checkpoint, error) {
	return f.Open(OneFile(b), formats.Set{Dir: "/", Files: []string{name}})
}

// Bytes reads a tensor.
func Bytes(t testing.TB, c *formats.Checkpoint, name string) []byte {
	t.Helper()
	r, err := c.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, c.Lookup(name).Bytes)
	if n, err := r.ReadAt(b, 0); n != len(b) || err != nil && err != io.EOF {
		t.Fatalf("tensor %q: read %d of %d bytes: %v", name, n, len(b), err)
	}
	return b
}

// Put writes files into a directory.
func Put(t testing.TB, fsys fsio.FS, dir string, files map[string][]byte) {
	t.Helper()
	for name, b := range files {
		f, err := fsys.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func build(t *testing.T, s Sample, l formats.Layout) map[string][]byte {
	t.Helper()
	files, err := s.Files(l)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func same(a, b map[string][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for name := range a {
		if x, ok := b[name]; !ok || !bytes.Equal(a[name], x) {
			return false
		}
	}
	return true
}
