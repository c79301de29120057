package formats_test

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// Commit refuses what is not whole, and can still be had once it is.
func TestCommitIsWhole(t *testing.T) {
	j := job{target: oneFile(false), files: 1}
	crc := make([]uint32, len(sizes))
	whole := func(w *formats.Writer) error { return j.fill(w) }
	for _, c := range []struct {
		name string
		fill func(w *formats.Writer) error
		code formats.Code
	}{
		{"nothing written", func(w *formats.Writer) error { return w.Seal(crc) }, formats.Mismatch},
		{"a byte missing", func(w *formats.Writer) error {
			return errors.Join(w.WriteAt(0, tensors[0], 0), w.WriteAt(1, tensors[1][1:], 1), w.Seal(crc))
		}, formats.Mismatch},
		{"a byte twice", func(w *formats.Writer) error { return errors.Join(whole(w), w.WriteAt(1, tensors[1][:1], 0)) }, formats.Mismatch},
		{"not sealed", func(w *formats.Writer) error {
			return errors.Join(w.WriteAt(0, tensors[0], 0), w.WriteAt(1, tensors[1], 0))
		}, formats.Mismatch},
		{"whole", whole, ""},
		{"accounted for", func(w *formats.Writer) error {
			w.Account(1, 1700)
			return errors.Join(w.WriteAt(0, tensors[0], 0), w.Seal(crc))
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := j.begin()
			w, err := formats.Create(m, j.target, j.layout(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.fill(w); err != nil {
				t.Fatal(err)
			}
			if err := w.Commit(); formats.CodeOf(err) != c.code {
				t.Errorf("got %v, want %q", err, c.code)
			}
			if err := w.Abort(); err != nil {
				t.Error(err)
			}
			if l := leftovers(m); len(l) > 0 {
				t.Errorf("left %q", l)
			}
		})
	}
}

func TestWriteAtIsBounded(t *testing.T) {
	j := job{target: oneFile(false), files: 1}
	w, err := formats.Create(j.begin(), j.target, j.layout(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		tensor int
		bytes  int
		off    int64
	}{
		{"one byte too many", 0, 4, 0}, {"from beyond", 0, 1, 3}, {"before", 0, 1, -1}, {"far beyond", 0, 2, 1<<63 - 1},
		{"into an empty one", 2, 1, 0}, {"no such tensor", 3, 0, 0}, {"no such tensor either", -1, 0, 0},
	} {
		if err := w.WriteAt(c.tensor, make([]byte, c.bytes), c.off); formats.CodeOf(err) != formats.Bounds {
			t.Errorf("%s: got %v, want %s", c.name, err, formats.Bounds)
		}
	}
	if err := errors.Join(w.WriteAt(2, nil, 0), j.fill(w), w.Commit()); err != nil {
		t.Error(err)
	}
}

func TestEnds(t *testing.T) {
	j := job{target: directory(false), files: 2}
	for _, c := range []struct {
		name   string
		end    func(w *formats.Writer) error
		commit error // what Commit says afterwards
		left   int
	}{
		{"commit", (*formats.Writer).Commit, nil, 0},
		{"abort", (*formats.Writer).Abort, fs.ErrClosed, 0},
		{"keep", (*formats.Writer).Keep, fs.ErrClosed, 3}, // the directory and its two files
	} {
		t.Run(c.name, func(t *testing.T) {
			m := j.begin()
			w, err := formats.Create(m, j.target, j.layout(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(j.fill(w), c.end(w)); err != nil {
				t.Fatal(err)
			}
			before := m.Names()
			if err := errors.Join(w.Abort(), w.Keep()); err != nil {
				t.Errorf("after the end: %v", err)
			}
			if err := w.Commit(); err != c.commit {
				t.Errorf("commit: got %v, want %v", err, c.commit)
			}
			if err := w.WriteAt(0, tensors[0], 0); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("write: got %v", err)
			}
			if err := w.Sync(); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("sync: got %v", err)
			}
			if after := m.Names(); !slices.Equal(after, before) || len(leftovers(m)) != c.left {
				t.Errorf("got %q, want %q", after, before)
			}
		})
	}
}

// What comes to the destination while the result is made stays.
func TestDestinationAppears(t *testing.T) {
	for _, c := range []struct {
		name string
		job  job
		path string
	}{
		{"file", job{target: oneFile(false), files: 1}, "/out/m.pth"},
		{"second file", job{target: oneFile(false), files: 2}, "/out/params.json"},
		{"directory", job{target: directory(false), files: 1}, "/out/m/x"},
		{"stranger in a replaced directory", job{target: directory(true), files: 1}, "/out/m/x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := c.job.begin()
			w, err := formats.Create(m, c.job.target, c.job.layout(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.job.fill(w); err != nil {
				t.Fatal(err)
			}
			m.Put(c.path, "mine")
			if err := w.Commit(); formats.CodeOf(err) != formats.Exists {
				t.Errorf("got %v, want %s", err, formats.Exists)
			}
			if err := w.Abort(); err != nil {
				t.Error(err)
			}
			if m.Tree()[c.path] != "mine" || len(leftovers(m)) > 0 {
				t.Errorf("got %v", m.Tree())
			}
		})
	}
}

// A run is killed before its commit, wherever; then somebody puts a file where the second one would go. It is not taken for ours, even
// if it has the right size.
func TestKilledWhileStaging(t *testing.T) {
	j := job{target: oneFile(false), files: 2}
	mine := strings.Repeat("x", len(j.want()["/out/params.json"]))
	for k := int64(1); ; k++ {
		m := j.begin()
		f := &fsio.Fault{FS: m, At: k, Stuck: true} // nothing works any more, so nothing is cleared up either
		w, err := formats.Create(f, j.target, j.layout(), nil)
		if err == nil {
			w.Abort()
		}
		if f.Hit() == "" {
			break
		}
		m = m.Clone()
		m.Put("/out/params.json", mine)
		if err := j.run(m); formats.CodeOf(err) != formats.Exists {
			t.Errorf("killed at %s: got %v, want %s", f.Hit(), err, formats.Exists)
		}
		if m.Tree()["/out/params.json"] != mine {
			t.Errorf("killed at %s: the file is gone", f.Hit())
		}
	}
}

// A failed fsync ends it all, in Sync too.
func TestSyncFails(t *testing.T) {
	each(t, func(t *testing.T, j job) {
		m := j.begin()
		before := m.Tree()
		f := &fsio.Fault{FS: m, At: int64(j.files), Err: syscall.ENOSPC, Only: func(op string) bool { return op == "sync" }}
		w, err := formats.Create(f, j.target, j.layout(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.fill(w); err != nil {
			t.Fatal(err)
		}
		err = w.Sync()
		if formats.CodeOf(err) != formats.IO {
			t.Errorf("got %v, want %s", err, formats.IO)
		}
		if again := w.Commit(); again == nil || f.Ops() != int64(j.files) {
			t.Errorf("commit after a failed fsync: got %v and %d syncs, want an error and %d", again, f.Ops(), j.files)
		}
		if after := m.Tree(); len(after) != len(before) {
			t.Errorf("got %q", m.Names())
		}
	})
}

// Nor does Commit wait for Abort to remove what an fsync could not save, whichever it was.
func TestSyncFailsInCommit(t *testing.T) {
	isSync := func(op string) bool { return op == "sync" || op == "syncdir" }
	each(t, func(t *testing.T, j job) {
		for k := int64(1); ; k++ {
			m := j.begin()
			f := &fsio.Fault{FS: m, At: k, Err: syscall.EIO, Only: isSync}
			w, err := formats.Create(f, j.target, j.layout(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := j.fill(w); err != nil {
				t.Fatal(err)
			}
			err = w.Commit()
			if f.Hit() == "" {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			if _, serr := j.state(m); serr != nil || formats.CodeOf(err) != formats.IO || len(leftovers(m)) > 0 {
				t.Errorf("%s: got %v; %v, left %q", f.Hit(), err, serr, leftovers(m))
			}
			if again := w.Commit(); again == nil || f.Ops() != k {
				t.Errorf("%s: the second commit: got %v and %d syncs", f.Hit(), again, f.Ops())
			}
		}
	})
}

// Half is written, kept, taken over; the rest follows. The parts are written again, as a power cut may have taken them.
func TestReopen(t *testing.T) {
	each(t, func(t *testing.T, j job) {
		m := j.begin()
		w, err := formats.Create(m, j.target, j.layout(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.WriteAt(1, tensors[1][:1000], 0), w.Sync(), w.Keep()); err != nil {
			t.Fatal(err)
		}
		for _, name := range leftovers(m) {
			if f, err := m.OpenRW(name); err == nil {
				if _, err := f.WriteAt(make([]byte, 600), 0); err != nil {
					t.Fatal(err)
				}
				f.Close()
			}
		}

		other := j.layout()
		other.Files[0].Bytes++
		if _, err := formats.Reopen(m, j.target, other, nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("another size: got %v", err)
		}
		w, err = formats.Reopen(m, j.target, j.layout(), nil)
		if err != nil {
			t.Fatal(err)
		}
		w.Account(1, 1000)
		if err := w.WriteAt(1, tensors[1][1000:], 1000); err != nil {
			t.Fatal(err)
		}
		for i := range j.files * len(sizes) {
			if i != 1 {
				if err := w.WriteAt(i, tensors[i], 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := errors.Join(w.Seal(j.sums()), w.Commit()); err != nil {
			t.Fatal(err)
		}
		if state, err := j.state(m); state != "complete" || len(leftovers(m)) > 0 {
			t.Errorf("%s %v, left %q", state, err, leftovers(m))
		}
	})
}

// Every operation of Reopen fails: what was staged stays, for the next attempt.
func TestReopenFaults(t *testing.T) {
	each(t, func(t *testing.T, j job) {
		start := j.begin()
		w, err := formats.Create(start, j.target, j.layout(), nil)
		if err == nil {
			err = w.Keep()
		}
		if err != nil {
			t.Fatal(err)
		}
		for k := int64(1); ; k++ {
			m := start.Clone()
			f := &fsio.Fault{FS: m, At: k, Err: syscall.EIO}
			w, err := formats.Reopen(f, j.target, j.layout(), nil)
			if f.Hit() == "" {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			if formats.CodeOf(err) != formats.IO || w != nil {
				t.Errorf("%s: got %v", f.Hit(), err)
			}
			if w, err = formats.Reopen(m, j.target, j.layout(), nil); err != nil {
				t.Errorf("%s: the next attempt: %v", f.Hit(), err)
			} else if err := errors.Join(j.fill(w), w.Commit()); err != nil {
				t.Errorf("%s: the next attempt: %v", f.Hit(), err)
			}
		}
	})
}

// flushes records the writeback that was asked for.
type flushes struct {
	fsio.FS
	mu  sync.Mutex
	got [][2]int64
}

func (f *flushes) Create(name string) (fsio.File, error) {
	file, err := f.FS.Create(name)
	return flushFile{file, f}, err
}

type flushFile struct {
	fsio.File
	f *flushes
}

func (f flushFile) Flush(off, n int64) {
	f.f.mu.Lock()
	defer f.f.mu.Unlock()
	f.f.got = append(f.f.got, [2]int64{off, n})
}

// Writeback of 8 MiB begins when all of it is there, gaps or not, whatever the order.
func TestWritebackStartsEarly(t *testing.T) {
	const mib = 1 << 20
	l := formats.Layout{
		Files: []formats.FileLayout{{Path: "m", Bytes: 20*mib + 7, Parts: []formats.Part{{Size: 100, Data: bytes.NewReader(make([]byte, 100))}}}},
		// A gap of 28 bytes, and one of 7 at the end.
		Places: []formats.Place{{Offset: 128, Bytes: 9*mib - 128}, {Offset: 9 * mib, Bytes: 11 * mib}},
	}
	m := fsio.NewMem()
	m.PutDir("/out")
	f := &flushes{FS: m}
	w, err := formats.Create(f, oneFile(false), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	write := func(tensor int, from, to int64, want ...[2]int64) {
		t.Helper()
		f.got = nil
		if err := w.WriteAt(tensor, make([]byte, to-from), from); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(f.got, want) {
			t.Errorf("tensor %d, bytes %d to %d: got %v, want %v", tensor, from, to, f.got, want)
		}
	}
	write(1, 0, 2*mib)
	write(1, 5*mib, 11*mib, [2]int64{16 * mib, 4*mib + 7})
	write(0, 5*mib, 9*mib-128)
	write(0, 0, 5*mib, [2]int64{0, 8 * mib})
	write(1, 2*mib, 5*mib, [2]int64{8 * mib, 8 * mib})
	if err := w.Commit(); err != nil {
		t.Error(err)
	}
}
