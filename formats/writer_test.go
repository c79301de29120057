package formats_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

const id = "0123456789ab"

// job is one conversion as far as a Writer sees it.
type job struct {
	name   string
	target formats.Target
	files  int
	old    map[string]string // what is at the destination before, under /out
	empty  bool              // an empty directory is
	result map[string]string // want, once
	spare  string            // a sync that this job could do without, as every file of it has an old one
}

var source = map[string]string{"/in/model.safetensors": "the source"}

// The tensors of each file: an odd one, one that spans sectors, an empty one. Between them stand gaps.
var sizes = []int64{3, 1700, 0}

func fileName(i int) string { return []string{"model.pth", "params.json", "tokenizer.json"}[i] }

var tensors = func() (out [9][]byte) {
	for i := range out {
		for k := range sizes[i%len(sizes)] {
			out[i] = append(out[i], byte(1+(int(k)*7+i*31)%255))
		}
	}
	return out
}()

// header is a part of 600 bytes in front of each file. Bytes 8 to 11 of the first are patched by Seal.
func header(i int) []byte { return bytes.Repeat([]byte{byte('A' + i)}, 600) }

func (j job) layout() formats.Layout {
	l := formats.Layout{Seal: func(crc []uint32) []formats.Part {
		b := binary.LittleEndian.AppendUint32(nil, crc[1])
		return []formats.Part{{File: 0, Offset: 8, Size: 4, Data: bytes.NewReader(b)}}
	}}
	for i := range j.files {
		off := int64(600)
		for _, n := range sizes {
			off += 8 // a gap
			l.Places = append(l.Places, formats.Place{File: i, Offset: off, Bytes: n})
			off += n
		}
		l.Files = append(l.Files, formats.FileLayout{Path: fileName(i), Bytes: off + 5,
			Parts: []formats.Part{{File: i, Size: 600, Data: bytes.NewReader(header(i))}}})
	}
	return l
}

// want is the files of the result, put together without the code under test.
func (j job) want() map[string]string {
	out := map[string]string{}
	for i := range j.files {
		b := header(i)
		for k := range sizes {
			b = append(append(b, make([]byte, 8)...), tensors[i*len(sizes)+k]...)
		}
		if i == 0 {
			binary.LittleEndian.PutUint32(b[8:], crc32.ChecksumIEEE(tensors[1]))
		}
		dir, name := filepath.Split(j.target.Dst)
		if j.target.Dir {
			dir, name = j.target.Dst+"/", fileName(i)
		} else if i > 0 {
			name = fileName(i)
		}
		out[dir+name] = string(append(b, 0, 0, 0, 0, 0))
	}
	return out
}

func (j job) begin() *fsio.Mem {
	m := fsio.NewMem()
	for name, text := range source {
		m.Put(name, text)
	}
	for name, text := range j.old {
		m.Put(name, text)
	}
	if j.empty {
		m.PutDir(j.target.Dst)
	} else {
		m.PutDir("/out")
	}
	return m
}

// sink is what Writer and Comparer have in common.
type sink interface {
	WriteAt(tensor int, p []byte, off int64) error
	Seal(crc []uint32) error
}

// fill writes all tensors in pieces, from the last to the first.
func (j job) fill(s sink) error {
	for i := j.files*len(sizes) - 1; i >= 0; i-- {
		b := tensors[i]
		for off := 0; off < len(b); off += 1024 {
			if err := s.WriteAt(i, b[off:min(len(b), off+1024)], int64(off)); err != nil {
				return err
			}
		}
	}
	return s.Seal(j.sums())
}

func (j job) sums() []uint32 {
	crc := make([]uint32, j.files*len(sizes))
	for i := range crc {
		crc[i] = crc32.ChecksumIEEE(tensors[i])
	}
	return crc
}

// run is the whole conversion.
func (j job) run(fsys fsio.FS) error {
	w, err := formats.Create(fsys, j.target, j.layout(), slices.Collect(maps.Keys(source)))
	if err != nil {
		return err
	}
	if err = j.fill(w); err == nil {
		err = w.Commit()
	}
	return errors.Join(err, w.Abort())
}

// compare says whether the destination is the result.
func (j job) compare(fsys fsio.FS) error {
	c, err := formats.Compare(fsys, j.target, j.layout())
	if err != nil {
		return err
	}
	return errors.Join(j.fill(c), c.Close())
}

// state is "old", "absent" or "complete"; all else is an error. The source has to be as it was, and what is not part of old or new
// has to be named as ours.
func (j job) state(m *fsio.Mem) (string, error) {
	tree := m.Tree()
	want := j.result
	for name, text := range source {
		if tree[name] != text {
			return "", fmt.Errorf("input %s changed", name)
		}
	}
	for name := range tree {
		_, isNew := want[name]
		_, isOld := j.old[name]
		if strings.HasPrefix(name, "/in/") || isNew || isOld || name == "/out/" || name == j.target.Dst+"/" ||
			strings.HasPrefix(j.target.Dst, name) || strings.Contains(name, ".bowline-"+id) || strings.HasSuffix(name, ".bowline-lock") {
			continue
		}
		return "", fmt.Errorf("%s is not of our making", name)
	}
	holds := func(files map[string]string) bool {
		for name, text := range files {
			if got, ok := tree[name]; !ok || got != text {
				return false
			}
		}
		if j.target.Dir {
			for name := range tree {
				if _, ok := files[name]; !ok && strings.HasPrefix(name, j.target.Dst+"/") && name != j.target.Dst+"/" {
					return false
				}
			}
		}
		return true
	}
	if holds(want) {
		return "complete", nil
	}
	if len(j.old) > 0 && holds(j.old) {
		for name := range want {
			if _, ok := j.old[name]; !ok && tree[name] != "" {
				return "", fmt.Errorf("%s is new, the rest is old", name)
			}
		}
		return "old", nil
	}
	_, file := tree[j.target.Dst]
	_, dir := tree[j.target.Dst+"/"]
	if j.empty && dir && holds(nil) {
		return "old", nil
	}
	if !file && !dir {
		return "absent", nil
	}
	return "", fmt.Errorf("the destination is neither old, absent nor complete: %v", m.Names())
}

// leftovers is what of ours is left, but for the destination.
func leftovers(m *fsio.Mem) (out []string) {
	for _, name := range m.Names() {
		if strings.Contains(name, ".bowline-") {
			out = append(out, name)
		}
	}
	return out
}

// slashed is text with the paths of every system spelled alike.
func slashed(s string) string { return filepath.ToSlash(s) }

func oneFile(over bool) formats.Target {
	return formats.Target{Dst: "/out/m.pth", ID: id, Over: over}
}

func directory(over bool) formats.Target {
	return formats.Target{Dst: "/out/m", Dir: true, ID: id, Over: over}
}

var jobs = []job{
	{name: "one file", target: oneFile(false), files: 1},
	{name: "one file, parents absent", target: formats.Target{Dst: "/out/a/b/m.pth", ID: id}, files: 1},
	{name: "one file, replacing", target: oneFile(true), files: 1, old: map[string]string{"/out/m.pth": "old"}},
	{name: "several files", target: oneFile(false), files: 3},
	{name: "several files, replacing", target: oneFile(true), files: 3, spare: "syncdir /out/.m.pth.bowline-" + id,
		old: map[string]string{"/out/m.pth": "old", "/out/params.json": "old params", "/out/tokenizer.json": "old tokenizer"}},
	{name: "several files, replacing the first", target: oneFile(true), files: 2, old: map[string]string{"/out/m.pth": "old"}},
	{name: "directory", target: directory(false), files: 3},
	{name: "directory, parents absent", target: formats.Target{Dst: "/out/a/b", Dir: true, ID: id}, files: 1},
	{name: "directory, empty one there", target: directory(false), files: 2, empty: true},
	{name: "directory, replacing", target: directory(true), files: 2,
		old: map[string]string{"/out/m/model.pth": "old", "/out/m/model-00001-of-00002.safetensors": "old too"}},
}

func each(t *testing.T, run func(t *testing.T, j job)) {
	for _, j := range jobs {
		j.result = j.want()
		t.Run(j.name, func(t *testing.T) { run(t, j) })
	}
}

func TestWrite(t *testing.T) {
	each(t, func(t *testing.T, j job) {
		m := j.begin()
		if err := j.compare(m); formats.CodeOf(err) != formats.Differs {
			t.Errorf("compare before: got %v, want %s", err, formats.Differs)
		}
		if err := j.run(m); err != nil {
			t.Fatal(err)
		}
		if got, err := j.state(m); got != "complete" {
			t.Errorf("got %s, %v", got, err)
		}
		if l := leftovers(m); len(l) > 0 {
			t.Errorf("left: %q", l)
		}
		if err := j.compare(m); err != nil {
			t.Errorf("compare after: %v", err)
		}
	})
}

// Every operation fails in every way. The files are small and the runs in memory, so all of k takes a moment.
func TestFaults(t *testing.T) {
	kinds := []fsio.Fault{
		{Err: syscall.EIO}, {Err: syscall.ENOSPC}, {Err: syscall.EDQUOT}, {Err: syscall.EFBIG}, {Err: syscall.EACCES}, {Err: syscall.EROFS},
		{Err: syscall.EXDEV}, {Err: syscall.EINTR}, {Err: syscall.ENOSYS},
		{Err: syscall.EIO, Mode: fsio.Late}, {Err: syscall.EIO, Mode: fsio.Short}, {Err: syscall.ENOSPC, Mode: fsio.Short},
		{Err: syscall.EIO, Stuck: true}, {Err: syscall.EROFS, Stuck: true}, {Err: syscall.EIO, Mode: fsio.Late, Stuck: true},
	}
	runs := 0
	each(t, func(t *testing.T, j job) {
		start := j.begin()
		for i := range kinds {
			for k := int64(1); ; k++ {
				m := start.Clone()
				f := &fsio.Fault{FS: m, At: k, Err: kinds[i].Err, Mode: kinds[i].Mode, Stuck: kinds[i].Stuck}
				err := j.run(f)
				if f.Hit() == "" {
					if err != nil {
						t.Fatalf("no fault: %v", err)
					}
					break
				}
				runs++
				where := fmt.Sprintf("%v %s stuck=%v at %d: %s", f.Err, f.Mode, f.Stuck, k, f.Hit())
				checkFault(t, j, m, f, err, where)
			}
		}
	})
	t.Logf("%d runs", runs)
}

func checkFault(t *testing.T, j job, m *fsio.Mem, f *fsio.Fault, err error, where string) {
	t.Helper()
	code := formats.CodeOf(err)
	if err == nil || code != formats.IO && code != formats.NoSpace || !strings.Contains(slashed(err.Error()), "/") {
		t.Errorf("%s: got error %v (%s)", where, err, code)
	}
	op, about, _ := strings.Cut(slashed(f.Hit()), " ")
	state, serr := j.state(m)
	if serr != nil {
		t.Errorf("%s: %v", where, serr)
	}
	// Clearing up comes after the commit; what fails there leaves litter.
	littered := state == "complete" && strings.Contains(fmt.Sprint(err), "the result is complete")
	if f.Mode == fsio.Fail && !littered && !strings.HasPrefix(about, "/in/") {
		want := formats.IO
		if fsio.Refused(f.Err) && op != "sync" && op != "syncdir" {
			want = formats.NoSpace
		}
		if code != want {
			t.Errorf("%s: got code %s, want %s", where, code, want)
		}
	}
	had := len(j.old) > 0 || j.empty
	if !f.Stuck {
		if had && state == "absent" {
			t.Errorf("%s: what was there is gone", where)
		}
		if l := leftovers(m); len(l) > 0 && !littered && op != "remove" && op != "unlock" {
			t.Errorf("%s: left %q", where, l)
		}
	}
	if state == "complete" && !j.target.Over {
		if err := j.compare(m); err != nil {
			t.Errorf("%s: complete, but %v", where, err)
		}
		return
	}
	if err := j.run(m); err != nil {
		t.Errorf("%s: the next run: %v", where, err)
	} else if state, err := j.state(m); state != "complete" {
		t.Errorf("%s: after the next run: %s %v", where, state, err)
	} else if l := leftovers(m); len(l) > 0 {
		t.Errorf("%s: after the next run: left %q", where, l)
	}
}

// Success that is none. A write that was lost can only be seen by reading again (convert --verify, or a second run, which compares);
// a lost fsync only after a power cut (TestCrashes); a lost removal leaves litter. All else must be noticed.
func TestLies(t *testing.T) {
	each(t, func(t *testing.T, j job) {
		start := j.begin()
		seen := map[string]int{}
		for k := int64(1); ; k++ {
			m := start.Clone()
			f := &fsio.Fault{FS: m, At: k, Mode: fsio.Lie}
			err := j.run(f)
			if k > f.Ops() && f.Hit() == "" {
				break
			}
			if f.Hit() == "" { // an operation that cannot lie
				continue
			}
			state, serr := j.state(m)
			op, _, _ := strings.Cut(f.Hit(), " ")
			seen[op]++
			switch {
			case err != nil && serr == nil: // noticed
			case err == nil && state == "complete":
			case err == nil && op == "write":
				if err := j.compare(m); formats.CodeOf(err) != formats.Differs {
					t.Errorf("%s: compare got %v, want %s", f.Hit(), err, formats.Differs)
				}
			default:
				t.Errorf("%s: got error %v, state %q, %v", f.Hit(), err, state, serr)
			}
		}
		if seen["write"] == 0 || seen["rename"] == 0 || seen["allocate"] == 0 {
			t.Errorf("lied about %v", seen)
		}
	})
}

// violation runs j over fsys, whose changes m logs, and gives the first state after a power cut that breaks a promise.
func (j job) violation(fsys fsio.FS, m *fsio.Mem, rerun bool) (states int, err error) {
	if err := j.run(fsys); err != nil {
		return 0, err
	}
	// What a run does last is to remove the lock, after it could have said that it is done.
	done := m.Logged()
	had := len(j.old) > 0
	random := 100 / (j.files * j.files)
	err = m.Crashes(random, func(at int, s *fsio.Mem) error {
		states++
		state, err := j.state(s)
		if err != nil {
			return fmt.Errorf("at %d of %d: %w", at, done, err)
		}
		if at == done && state != "complete" {
			return fmt.Errorf("after success: the destination is %s", state)
		}
		if state == "absent" && had {
			// What was there waits under another name: the next run puts it back before it does anything else.
			c := s.Clone()
			w, err := formats.Create(c, j.target, j.layout(), nil)
			if err == nil {
				err = w.Abort()
			}
			if again, serr := j.state(c); again != "old" || err != nil {
				return fmt.Errorf("at %d of %d: what was there is not put back, but %s %v %v", at, done, again, err, serr)
			}
		}
		if !rerun || state == "complete" && !j.target.Over {
			return nil
		}
		if err := j.run(s); err != nil {
			return fmt.Errorf("at %d of %d: the next run: %w", at, done, err)
		}
		if state, err := j.state(s); state != "complete" || len(leftovers(s)) > 0 {
			return fmt.Errorf("at %d of %d: the next run: %s %v, left %q", at, done, state, err, leftovers(s))
		}
		return nil
	})
	return states, err
}

func TestCrashes(t *testing.T) {
	total := 0
	each(t, func(t *testing.T, j job) {
		m := j.begin()
		states, err := j.violation(m, m, true)
		if err != nil {
			t.Error(err)
		}
		total += states
		if states < 1000 {
			t.Errorf("got %d states, want 1000", states)
		}

		// No fsync is there for nothing, and the model is one that sees it: without any one of them a promise breaks.
		isSync := func(op string) bool { return op == "sync" || op == "syncdir" }
		for k := int64(1); ; k++ {
			m := j.begin()
			f := &fsio.Fault{FS: m, At: k, Mode: fsio.Lie, Only: isSync}
			_, err := j.violation(f, m, false)
			if f.Hit() == "" {
				if k < 3 {
					t.Errorf("got %d syncs, want more", k-1)
				}
				break
			}
			if err == nil {
				m = j.begin()
				_, err = j.violation(&fsio.Fault{FS: m, At: k, Mode: fsio.Lie, Only: isSync}, m, true)
			}
			if err == nil && slashed(f.Hit()) != j.spare {
				t.Errorf("without %s (%d) no promise breaks", f.Hit(), k)
			}
		}
	})
	t.Logf("%d states", total)
}

// A second power cut, while the next run puts back what was there: it is either still aside or back, whole.
func TestCrashInRecovery(t *testing.T) {
	each(t, func(t *testing.T, j job) {
		if len(j.old) == 0 {
			return
		}
		m := j.begin()
		if err := j.run(m); err != nil {
			t.Fatal(err)
		}
		restore := func(m *fsio.Mem) error {
			w, err := formats.Create(m, j.target, j.layout(), nil)
			if err != nil {
				return err
			}
			return w.Abort()
		}
		seen := map[string]bool{}
		err := m.Crashes(0, func(_ int, s *fsio.Mem) error {
			// Of the many states few differ in what recovery looks at.
			key := fmt.Sprint(s.Names())
			if state, err := j.state(s); state != "absent" || seen[key] {
				return err
			}
			seen[key] = true
			if err := restore(s); err != nil {
				return err
			}
			return s.Crashes(0, func(at int, s *fsio.Mem) error {
				if _, err := j.state(s); err != nil {
					return fmt.Errorf("at %d: %w", at, err)
				}
				if err := restore(s); err != nil {
					return fmt.Errorf("at %d: %w", at, err)
				}
				if state, err := j.state(s); state != "old" {
					return fmt.Errorf("at %d: %s %v", at, state, err)
				}
				return nil
			})
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestTwoWriters(t *testing.T) {
	each(t, func(t *testing.T, j job) {
		m := j.begin()
		w, err := formats.Create(m, j.target, j.layout(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := j.run(m); formats.CodeOf(err) != formats.Locked {
					t.Errorf("the loser: got %v, want %s", err, formats.Locked)
				}
				if _, err := formats.Reopen(m, j.target, j.layout(), nil); formats.CodeOf(err) != formats.Locked {
					t.Errorf("the loser's reopen: got %v, want %s", err, formats.Locked)
				}
			})
		}
		if err := j.fill(w); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if err := w.Commit(); err != nil {
			t.Error(err)
		}
		if state, err := j.state(m); state != "complete" || len(leftovers(m)) > 0 {
			t.Errorf("%s %v, left %q", state, err, leftovers(m))
		}
	})
}

func TestCauseIsKept(t *testing.T) {
	j := jobs[0]
	f := &fsio.Fault{FS: j.begin(), At: 1, Err: syscall.EDQUOT, Only: func(op string) bool { return op == "allocate" }}
	err := j.run(f)
	if !errors.Is(err, syscall.EDQUOT) || formats.CodeOf(err) != formats.NoSpace {
		t.Errorf("got %v", err)
	}
	if _, err := formats.Reopen(j.begin(), j.target, j.layout(), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reopen of nothing: got %v", err)
	}
}
