package formats_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

func TestCompare(t *testing.T) {
	set, dir := job{target: oneFile(false), files: 2}, job{target: directory(false), files: 2}
	// poke changes one byte of a result.
	poke := func(name string, at int) func(m *fsio.Mem) {
		return func(m *fsio.Mem) {
			b := []byte(m.Tree()[name])
			b[at] ^= 0x80
			m.Put(name, string(b))
		}
	}
	for _, c := range []struct {
		name   string
		job    job
		change func(m *fsio.Mem)
		says   string // "" is equal
	}{
		{"equal files", set, func(*fsio.Mem) {}, ""},
		{"equal directories", dir, func(*fsio.Mem) {}, ""},
		{"another file beside files", set, func(m *fsio.Mem) { m.Put("/out/x", "x") }, ""},
		{"another file in the directory", dir, func(m *fsio.Mem) { m.Put("/out/m/x", "x") }, "/out/m/x"},
		{"a file missing", set, func(m *fsio.Mem) { m.Remove("/out/params.json") }, "/out/params.json"},
		{"a file shorter", set, func(m *fsio.Mem) { m.Put("/out/params.json", "{}") }, "got 2 bytes, want 2332"},
		{"a directory in place of a file", dir, func(m *fsio.Mem) { m.Remove("/out/m/model.pth"); m.PutDir("/out/m/model.pth") }, "no regular file"},
		{"a link to the file", set, func(m *fsio.Mem) { m.Rename("/out/m.pth", "/in/m"); m.Symlink("/in/m", "/out/m.pth") }, ""},
		{"first byte of a part", set, poke("/out/m.pth", 0), "offset 0: got byte c1, want 41"},
		{"a part around what is sealed", set, poke("/out/m.pth", 12), "offset 12:"},
		{"what is sealed", set, poke("/out/m.pth", 11), "offset 11:"},
		{"last byte of a part", dir, poke("/out/m/params.json", 599), "params.json: offset 599:"},
		{"a gap", set, poke("/out/m.pth", 601), "offset 601: got byte 80, want 00"},
		{"the gap at the end", set, poke("/out/params.json", 2331), "offset 2331:"},
		{"first byte of a tensor", set, poke("/out/m.pth", 608), "offset 608:"},
		{"middle of a tensor", set, poke("/out/m.pth", 1800), "offset 1800:"},
		{"last byte of a tensor", set, poke("/out/m.pth", 2318), "offset 2318:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := c.job.begin()
			if err := c.job.run(m); err != nil {
				t.Fatal(err)
			}
			c.change(m)
			before := m.Names()
			err := c.job.compare(m)
			if c.says == "" && err != nil || c.says != "" && (formats.CodeOf(err) != formats.Differs || !strings.Contains(slashed(err.Error()), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if after := m.Names(); len(after) != len(before) {
				t.Errorf("comparing changed something: %q", after)
			}
		})
	}
}

// Equal means that all was compared.
func TestCompareIsWhole(t *testing.T) {
	j := job{target: oneFile(false), files: 1}
	m := j.begin()
	if err := j.run(m); err != nil {
		t.Fatal(err)
	}
	c, err := formats.Compare(m, j.target, j.layout())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.WriteAt(1, tensors[1][1:], 1); err != nil {
		t.Error(err)
	}
	if err := c.Seal(j.sums()); formats.CodeOf(err) != formats.Mismatch {
		t.Errorf("got %v, want %s", err, formats.Mismatch)
	}
	if err := c.WriteAt(1, tensors[1], 1); formats.CodeOf(err) != formats.Bounds {
		t.Errorf("got %v, want %s", err, formats.Bounds)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// A fault is never taken for equality, nor for a difference, but for a file that reads as cut off.
func TestCompareFaults(t *testing.T) {
	each(t, func(t *testing.T, j job) {
		m := j.begin()
		if err := j.run(m); err != nil {
			t.Fatal(err)
		}
		for _, mode := range []fsio.Mode{fsio.Fail, fsio.Short} {
			for k := int64(1); ; k++ {
				f := &fsio.Fault{FS: m, At: k, Err: syscall.EIO, Mode: mode}
				err := j.compare(f)
				if f.Hit() == "" {
					if err != nil {
						t.Fatal(err)
					}
					break
				}
				want := formats.IO
				if mode == fsio.Short && strings.HasPrefix(f.Hit(), "read ") {
					want = formats.Differs
				}
				if formats.CodeOf(err) != want {
					t.Errorf("%s at %d, %s: got %v, want %s", mode, k, f.Hit(), err, want)
				}
			}
		}
	})
}
