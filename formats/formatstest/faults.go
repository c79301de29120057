package formatstest

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"path"
	"strings"
	"syscall"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// Faults writes a checkpoint and lets each operation go wrong in turn. Whatever fails, the input stays what it was, the destination is
// old, absent or complete, success means complete, and a second run leaves the result and nothing else.
func Faults(t *testing.T, f formats.Format) {
	modes := []struct {
		name string
		mode fsio.Mode
		err  error
	}{
		{"no space", fsio.Fail, syscall.ENOSPC},
		{"I/O error", fsio.Fail, syscall.EIO},
		{"done, but reported as failed", fsio.Late, syscall.EIO},
		{"half", fsio.Short, syscall.EIO},
	}
	for _, c := range []struct {
		name   string
		target formats.Target
		shards int
		old    map[string]string
	}{
		{"new file", formats.Target{Dst: "/out/model" + f.Suffix, ID: "0123456789ab"}, 1, nil},
		{"file replaced", formats.Target{Dst: "/out/model" + f.Suffix, ID: "0123456789ab", Over: true}, 1, map[string]string{"/out/model" + f.Suffix: "old"}},
		{"new directory of shards", formats.Target{Dst: "/out/dir", Dir: true, ID: "0123456789ab"}, 2, nil},
	} {
		w := newWrite(t, f, c.target, c.shards, c.old)
		for _, m := range modes {
			t.Run(c.name+"/"+m.name, func(t *testing.T) {
				clean := &fsio.Fault{FS: w.start()}
				if err := w.run(clean); err != nil {
					t.Fatalf("without a fault: %v", err)
				}
				for k := int64(1); k <= clean.Ops(); k++ {
					mem := w.start()
					fault := &fsio.Fault{FS: mem, At: k, Mode: m.mode, Err: m.err}
					err := w.run(fault)
					where := fmt.Sprintf("operation %d (%s)", k, fault.Hit())
					w.check(t, where, mem, err, m.err)
				}
				t.Logf("%d faults", clean.Ops())
			})
		}
	}
}

// write is one write, to be tried again and again.
type write struct {
	sample Sample
	layout formats.Layout
	target formats.Target
	before map[string]string // the tree before
	after  map[string]string // the tree after
}

const input = "/in/weights"

func newWrite(t *testing.T, f formats.Format, target formats.Target, shards int, old map[string]string) *write {
	t.Helper()
	s, _, _ := small(t, f)
	s = s.In(f, shards, 0)
	l, err := f.Layout(s.Header)
	if err != nil {
		t.Fatal(err)
	}
	w := &write{sample: s, layout: l, target: target, before: map[string]string{"/in/": "", "/out/": "", input: "input"}}
	maps.Copy(w.before, old)
	w.after = maps.Clone(w.before)
	dir := path.Dir(target.Dst)
	if target.Dir {
		dir = target.Dst
		w.after[dir+"/"] = ""
	}
	for name, b := range build(t, s, l) {
		w.after[path.Join(dir, name)] = string(b)
	}
	return w
}

// start is the file system before the write.
func (w *write) start() *fsio.Mem {
	m := fsio.NewMem()
	m.PutDir("/out")
	for name, content := range w.before {
		if !strings.HasSuffix(name, "/") {
			m.Put(name, content)
		}
	}
	return m
}

func (w *write) run(fsys fsio.FS) error {
	out, err := formats.Create(fsys, w.target, w.layout, []string{input})
	if err != nil {
		return err
	}
	if err := w.fill(out); err != nil {
		return errors.Join(err, out.Abort())
	}
	if err := out.Commit(); err != nil {
		return errors.Join(err, out.Abort())
	}
	return nil
}

// fill writes all tensors, from the last to the first and in two pieces each.
func (w *write) fill(out *formats.Writer) error {
	crc := make([]uint32, len(w.sample.Data))
	for i := len(w.sample.Data) - 1; i >= 0; i-- {
		b := w.sample.Data[i]
		crc[i] = crc32.ChecksumIEEE(b)
		half := len(b) / 2
		if err := out.WriteAt(i, b[half:], int64(half)); err != nil {
			return err
		}
		if err := out.WriteAt(i, b[:half], 0); err != nil {
			return err
		}
	}
	if w.layout.Seal == nil {
		return nil
	}
	return out.Seal(crc)
}

// check judges what a faulty run left, and runs again.
func (w *write) check(t *testing.T, where string, mem *fsio.Mem, err, cause error) {
	t.Helper()
	tree := mem.Tree()
	old, done := w.holds(tree, w.before), w.holds(tree, w.after)
	switch {
	case tree[input] != "input":
		t.Errorf("%s: the input was touched", where)
	case err == nil && !done:
		t.Errorf("%s: reported success, but the result is not there: %v", where, short(tree))
	case err != nil && !old && !done:
		t.Errorf("%s: failed with %v, and the destination is neither old nor complete: %v", where, err, short(tree))
	case err != nil && !errors.Is(err, cause) && !errors.Is(err, io.ErrShortWrite):
		t.Errorf("%s: got %v, want it to name %v", where, err, cause)
	case err != nil && formats.CodeOf(err) == "":
		t.Errorf("%s: got %v, without a code", where, err)
	}
	if done && !w.target.Over {
		return // a second run is refused, as it should be
	}
	if err := w.run(mem); err != nil {
		t.Errorf("%s: the next run failed: %v", where, err)
	}
	if tree := mem.Tree(); !maps.Equal(tree, w.after) {
		t.Errorf("%s: the next run left %v, want %v", where, short(tree), short(w.after))
	}
}

// holds reports whether the destination in a tree is as in want; what is beside it does not matter.
func (w *write) holds(tree, want map[string]string) bool {
	of := func(m map[string]string) map[string]string {
		out := map[string]string{}
		for name, content := range m {
			if strings.HasPrefix(name, w.target.Dst) {
				out[name] = content
			}
		}
		return out
	}
	return maps.Equal(of(tree), of(want))
}

// short is a tree with sizes for contents.
func short(tree map[string]string) map[string]int {
	out := map[string]int{}
	for name, content := range tree {
		out[name] = len(content)
	}
	return out
}
