package fsio_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/bowline-ml/bowline/formats/fsio"
)

// What may be left after a few steps, and what may not: in each state a file is shown as name=content with runs cut short.
func TestCrashModel(t *testing.T) {
	a, b := strings.Repeat("a", 512), strings.Repeat("b", 512)
	for _, c := range []struct {
		name    string
		old     bool // /d/old is there before
		steps   func(s *script)
		may     []string // among the states after all steps
		mayNot  []string
		exactly bool // may lists all of them
	}{
		{"a new file, nothing synced", false, func(s *script) { s.create("/d/f"); s.write("/d/f", 0, a) },
			[]string{"", "f=", "f=a512"}, nil, true},
		{"data synced, name not", false, func(s *script) { s.create("/d/f"); s.write("/d/f", 0, a); s.sync("/d/f") },
			[]string{"", "f=a512"}, nil, true},
		{"name synced, data not", false, func(s *script) { s.create("/d/f"); s.write("/d/f", 0, a); s.syncDir("/d") },
			[]string{"f=", "f=a512"}, nil, true},
		{"both synced", false, func(s *script) { s.create("/d/f"); s.write("/d/f", 0, a); s.sync("/d/f"); s.syncDir("/d") },
			[]string{"f=a512"}, nil, true},
		{"written again after the sync", true, func(s *script) { s.write("/d/old", 0, a); s.sync("/d/old"); s.write("/d/old", 0, b) },
			[]string{"old=a512", "old=b512"}, nil, true},
		{"a write of two sectors is torn", true, func(s *script) { s.write("/d/old", 0, a+b) },
			[]string{"old=o1", "old=a512", "old=a512 b512", "old=o1 \x00511 b512"}, nil, true},
		{"a write of less than a sector is not", true, func(s *script) { s.write("/d/old", 0, "xyz") },
			[]string{"old=o1", "old=x1 y1 z1"}, nil, true},
		{"a size is lost, a later write is not", true, func(s *script) { s.allocate("/d/old", 600); s.write("/d/old", 1, a) },
			[]string{"old=o1", "old=o1 \x00599", "old=o1 a512", "old=o1 a512 \x0087"}, nil, true},
		{"renamed, not synced", true, func(s *script) { s.rename("/d/old", "/d/new") },
			[]string{"old=o1", "new=o1"}, nil, true},
		{"renamed and synced", true, func(s *script) { s.rename("/d/old", "/d/new"); s.syncDir("/d") },
			[]string{"new=o1"}, nil, true},
		{"syncing the file does not keep the rename", true, func(s *script) { s.rename("/d/old", "/d/new"); s.sync("/d/new") },
			[]string{"old=o1", "new=o1"}, nil, true},
		{"a rename before its data", true, func(s *script) { s.create("/d/t"); s.write("/d/t", 0, a); s.rename("/d/t", "/d/old") },
			[]string{"old=o1", "old=", "old=a512", "old=o1 t=a512"}, []string{""}, false},
		{"removed, not synced", true, func(s *script) { s.remove("/d/old") }, []string{"old=o1", ""}, nil, true},
		{"two renames, the second alone", true, func(s *script) { s.rename("/d/old", "/d/x"); s.create("/d/t"); s.rename("/d/t", "/d/old") },
			[]string{"old= x=o1", "x=o1", "old=", "old=o1"}, []string{""}, false},
		{"a rename between directories, by the new one", true, func(s *script) { s.mkdir("/d/e"); s.syncDir("/d"); s.rename("/d/old", "/d/e/f"); s.syncDir("/d/e") },
			[]string{"e/=d e/f=o1", "e/=d e/f=o1 old=o1"}, nil, true},
		{"a rename between directories, by the old one", true, func(s *script) { s.mkdir("/d/e"); s.syncDir("/d"); s.rename("/d/old", "/d/e/f"); s.syncDir("/d") },
			[]string{"e/=d e/f=o1"}, nil, true},
		{"a directory without its name", true, func(s *script) { s.mkdir("/d/e"); s.create("/d/e/f"); s.syncDir("/d/e") },
			[]string{"old=o1", "e/=d e/f= old=o1"}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := fsio.NewMem()
			m.PutDir("/d")
			if c.old {
				m.Put("/d/old", "o")
			}
			s := &script{t, m}
			c.steps(s)
			got := map[string]bool{}
			if err := m.Crashes(40, func(at int, state *fsio.Mem) error {
				if at == m.Logged() {
					got[show(state)] = true
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			for _, w := range c.may {
				if !got[w] {
					t.Errorf("no state %q among %q", w, slices.Sorted(maps.Keys(got)))
				}
				delete(got, w)
			}
			for _, w := range c.mayNot {
				if got[w] {
					t.Errorf("a state %q", w)
				}
			}
			if c.exactly && len(got) > 0 {
				t.Errorf("states more than expected: %q", slices.Sorted(maps.Keys(got)))
			}
		})
	}
}

// script does steps that must succeed.
type script struct {
	t *testing.T
	m *fsio.Mem
}

func (s *script) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *script) with(name string, use func(f fsio.File) error) {
	f, err := s.m.OpenRW(name)
	s.must(err)
	s.must(use(f))
	s.must(f.Close())
}

func (s *script) create(name string) {
	f, err := s.m.Create(name)
	s.must(err)
	s.must(f.Close())
}

func (s *script) write(name string, off int64, text string) {
	s.with(name, func(f fsio.File) error { _, err := f.WriteAt([]byte(text), off); return err })
}

func (s *script) allocate(name string, n int64) {
	s.with(name, func(f fsio.File) error { return f.Allocate(n) })
}
func (s *script) sync(name string)    { s.with(name, fsio.File.Sync) }
func (s *script) mkdir(name string)   { s.must(s.m.Mkdir(name)) }
func (s *script) remove(name string)  { s.must(s.m.Remove(name)) }
func (s *script) rename(a, b string)  { s.must(s.m.Rename(a, b)) }
func (s *script) syncDir(name string) { s.must(s.m.SyncDir(name)) }

// show is what is below /d.
func show(m *fsio.Mem) string {
	var out []string
	tree := m.Tree()
	for _, name := range m.Names() {
		short, ok := strings.CutPrefix(name, "/d/")
		if !ok || short == "" {
			continue
		}
		if strings.HasSuffix(short, "/") {
			out = append(out, short+"=d")
			continue
		}
		var runs []string
		for text := tree[name]; text != ""; {
			rest := strings.TrimLeft(text, text[:1])
			runs = append(runs, fmt.Sprintf("%s%d", text[:1], len(text)-len(rest)))
			text = rest
		}
		out = append(out, short+"="+strings.Join(runs, " "))
	}
	return strings.Join(out, " ")
}

// The states are the same in every run, and one of them is a file system to go on with.
func TestCrashesRepeat(t *testing.T) {
	states := func() (out []string) {
		m := fsio.NewMem()
		m.PutDir("/d")
		s := &script{t, m}
		s.create("/d/f")
		s.write("/d/f", 0, strings.Repeat("x", 5000))
		s.create("/d/g")
		s.rename("/d/f", "/d/g")
		err := m.Crashes(20, func(at int, state *fsio.Mem) error {
			out = append(out, fmt.Sprint(at, show(state)))
			if _, err := state.Stat("/d/f"); err != nil {
				s := &script{t, state}
				s.create("/d/f")
				s.write("/d/f", 0, "y")
				return state.Crashes(1, func(int, *fsio.Mem) error { return nil })
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := states()
	if len(first) < 100 || !slices.Equal(first, states()) {
		t.Errorf("%d states, or others the second time", len(first))
	}
	stop := errors.New("stop")
	m := fsio.NewMem()
	if err := m.Crashes(0, func(int, *fsio.Mem) error { return stop }); err != stop {
		t.Errorf("got %v, want the error of visit", err)
	}
}

func TestFault(t *testing.T) {
	// Eleven operations, each by its number.
	ops := []string{"mkdir", "create", "allocate", "write", "read", "sync", "close", "rename", "syncdir", "stat", "remove"}
	run := func(fsys fsio.FS) (errs [11]error, n int) {
		errs[0] = fsys.Mkdir("/d")
		f, err := fsys.Create("/f")
		errs[1] = err
		if err != nil {
			return errs, n
		}
		errs[2] = f.Allocate(8)
		_, errs[3] = f.WriteAt([]byte("12345678"), 0)
		n, errs[4] = f.ReadAt(make([]byte, 8), 0)
		f.Flush(0, 8)
		errs[5], errs[6] = f.Sync(), f.Close()
		errs[7] = fsys.Rename("/f", "/g")
		errs[8] = fsys.SyncDir("/")
		_, errs[9] = fsys.Stat("/g")
		errs[10] = fsys.Remove("/g")
		return errs, n
	}
	for k, op := range ops {
		for _, mode := range []fsio.Mode{fsio.Fail, fsio.Late, fsio.Short, fsio.Lie} {
			m := fsio.NewMem()
			f := &fsio.Fault{FS: m, At: int64(k + 1), Mode: mode, Err: syscall.EXDEV}
			errs, n := run(f)
			want := mode != fsio.Lie
			if mode == fsio.Short && op == "read" {
				if n != 4 || errs[k] == nil {
					t.Errorf("short read: got %d, %v", n, errs[k])
				}
			} else if mode == fsio.Short && op == "write" {
				if errs[k] == nil {
					t.Error("short write: got no error")
				}
			} else if got := errors.Is(errs[k], syscall.EXDEV); got != want {
				t.Errorf("%s %s: got %v", mode, op, errs[k])
			}
			if hit := strings.HasPrefix(f.Hit(), op+" "); !hit && !(mode == fsio.Lie && (op == "create" || op == "read" || op == "close" || op == "stat")) {
				t.Errorf("%s %s: hit %q", mode, op, f.Hit())
			}
			_, there := m.Tree()["/d/"]
			if done := k != 0 || mode == fsio.Late; there != done {
				t.Errorf("%s %s: the directory is there: %v, want %v", mode, op, there, done)
			}
		}
	}
	clean := &fsio.Fault{FS: fsio.NewMem()}
	if errs, _ := run(clean); errors.Join(errs[:]...) != nil || clean.Ops() != int64(len(ops)) || clean.Hit() != "" {
		t.Errorf("without a fault: got %v, %d operations, %q", errs, clean.Ops(), clean.Hit())
	}
	stuck := &fsio.Fault{FS: fsio.NewMem(), At: 3, Stuck: true}
	if errs, _ := run(stuck); errs[1] != nil || errs[2] == nil || errs[5] == nil || errs[10] == nil {
		t.Errorf("stuck: got %v", errs)
	}
	only := &fsio.Fault{FS: fsio.NewMem(), At: 1, Only: func(op string) bool { return op == "rename" }}
	if errs, _ := run(only); only.Ops() != 1 || !errors.Is(errs[7], syscall.EIO) || errs[6] != nil {
		t.Errorf("only renames: got %v", errs)
	}
}
