package formats_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"syscall"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// watched counts the files that are open, and notices those that are closed with data that was not synced.
type watched struct {
	fsio.FS
	mu         sync.Mutex
	open, most int
	unsynced   map[string]bool
	lost       []string
}

type watchedFile struct {
	fsio.File
	w    *watched
	name string
}

func (w *watched) file(f fsio.File, name string, err error) (fsio.File, error) {
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open++
	w.most = max(w.most, w.open)
	return &watchedFile{f, w, name}, nil
}

func (w *watched) Create(name string) (fsio.File, error) {
	f, err := w.FS.Create(name)
	return w.file(f, name, err)
}

func (w *watched) OpenRW(name string) (fsio.File, error) {
	f, err := w.FS.OpenRW(name)
	return w.file(f, name, err)
}

func (w *watched) Open(name string) (fsio.File, error) {
	f, err := w.FS.Open(name)
	return w.file(f, name, err)
}

func (w *watched) Move(from, to string) error {
	w.mu.Lock()
	for name := range w.unsynced {
		w.lost = append(w.lost, name)
	}
	w.mu.Unlock()
	return w.FS.Move(from, to)
}

func (f *watchedFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.unsynced[f.name] = true
	return n, err
}

func (f *watchedFile) Sync() error {
	f.w.mu.Lock()
	delete(f.w.unsynced, f.name)
	f.w.mu.Unlock()
	return f.File.Sync()
}

func (f *watchedFile) Close() error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.open--
	if f.w.unsynced[f.name] {
		f.w.lost = append(f.w.lost, f.name)
	}
	return f.File.Close()
}

// many is a layout of n files with a header of four bytes and a tensor of eight, and what they hold in the end.
func many(dir string, n int) (l formats.Layout, data [][]byte, want map[string]string) {
	want = map[string]string{}
	for i := range n {
		name, head, b := fmt.Sprintf("%03d.npy", i), fmt.Sprintf("%04d", i), []byte(fmt.Sprintf("<%06d>", i))
		l.Files = append(l.Files, formats.FileLayout{Path: name, Bytes: 12, Parts: []formats.Part{{File: i, Size: 4, Data: bytes.NewReader([]byte(head))}}})
		l.Places = append(l.Places, formats.Place{File: i, Offset: 4, Bytes: 8})
		data, want[dir+"/"+name] = append(data, b), head+string(b)
	}
	return l, data, want
}

// A result may have more files than a process may have open. Workers write each in two halves, with all others in between; no file is closed
// with data that no sync has answered for, and nothing is renamed before all of it is durable.
func TestManyFiles(t *testing.T) {
	const files, workers, limit = 300, 4, 64 + 4
	l, data, want := many("/out/m", files)
	m := fsio.NewMem()
	m.PutDir("/out")
	fsys := &watched{FS: m, unsynced: map[string]bool{}}
	inWorkers := func(do func(file, half int) error) {
		t.Helper()
		var wg sync.WaitGroup
		for k := range workers {
			wg.Go(func() {
				for i := range 2 * files {
					if i%workers == k {
						if err := do(i%files, i/files); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		if fsys.most > limit {
			t.Errorf("got %d files open at once, want at most %d", fsys.most, limit)
		}
	}
	w, err := formats.Create(fsys, directory(false), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	inWorkers(func(file, half int) error { return w.WriteAt(file, data[file][4*half:4*half+4], int64(4*half)) })
	inWorkers(func(file, half int) error {
		b := make([]byte, 8)
		if err := w.ReadAt(file, b, 0); err != nil || !bytes.Equal(b, data[file]) {
			return fmt.Errorf("file %d: read %q back, %w", file, b, err)
		}
		return nil
	})
	if err := errors.Join(w.Seal(nil), w.Commit()); err != nil {
		t.Fatal(err)
	}
	for name, text := range want {
		if got := m.Tree()[name]; got != text {
			t.Fatalf("%s: got %q, want %q", name, got, text)
		}
	}
	c, err := formats.Compare(fsys, directory(false), l)
	if err != nil {
		t.Fatal(err)
	}
	inWorkers(func(file, half int) error { return c.WriteAt(file, data[file][4*half:4*half+4], int64(4*half)) })
	if err := errors.Join(c.Seal(nil), c.Close()); err != nil {
		t.Error(err)
	}
	set := formats.FileSet{FS: fsys, Dir: "/out/m"}
	var opened []fsio.File
	for _, f := range l.Files {
		f, size, err := set.Open(f.Path)
		if err != nil || size != 12 {
			t.Fatalf("got %d bytes, %v", size, err)
		}
		opened = append(opened, f)
	}
	inWorkers(func(file, half int) error {
		b := make([]byte, 8)
		if _, err := opened[file].ReadAt(b, 4); err != nil || !bytes.Equal(b, data[file]) {
			return fmt.Errorf("file %d: read %q, %w", file, b, err)
		}
		return nil
	})
	if err := set.Close(); err != nil {
		t.Error(err)
	}
	if _, err := opened[0].ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("read after the end: got %v", err)
	}
	if fsys.open != 0 || len(fsys.lost) > 0 {
		t.Errorf("%d files are still open; closed or renamed before their data was synced: %q", fsys.open, fsys.lost)
	}
}

// Each sync of a result of many files fails, those that make room for other files too: there is no result, no second sync and nothing left.
func TestManyFilesSyncFails(t *testing.T) {
	const files = 100
	l, data, _ := many("/out/m", files)
	for k := int64(1); ; k++ {
		m := fsio.NewMem()
		m.PutDir("/out")
		f := &fsio.Fault{FS: m, At: k, Err: syscall.EIO, Only: func(op string) bool { return op == "sync" }}
		err := func() error {
			w, err := formats.Create(f, directory(false), l, nil)
			if err != nil {
				return err
			}
			for i := range files {
				if err == nil {
					err = w.WriteAt(i, data[i], 0)
				}
			}
			if err == nil {
				err = errors.Join(w.Seal(nil), w.Commit())
			}
			return errors.Join(err, w.Abort())
		}()
		if f.Hit() == "" {
			if err != nil || k < files+files/2 {
				t.Errorf("got %d syncs, want one for each file and one for each that had to be closed: %v", k-1, err)
			}
			return
		}
		if formats.CodeOf(err) != formats.IO || f.Ops() != k || len(m.Names()) != 1 {
			t.Fatalf("sync %d: got %v, %d syncs, left %q", k, err, f.Ops(), m.Names())
		}
	}
}

// A file that was closed to make room is the same when it is opened again, or refused.
func TestReopenedIsTheSame(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(m *fsio.Mem) error
	}{
		{"longer", func(m *fsio.Mem) error {
			f, err := m.OpenRW("/out/m/000.npy")
			if err == nil {
				_, err = f.WriteAt([]byte("more"), 12)
			}
			return err
		}},
		{"another file", func(m *fsio.Mem) error {
			return m.Rename("/out/m/001.npy", "/out/m/000.npy")
		}},
		{"gone", func(m *fsio.Mem) error { return m.Remove("/out/m/000.npy") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, _, want := many("/out/m", 80)
			m := fsio.NewMem()
			for name, text := range want {
				m.Put(name, text)
			}
			set := formats.FileSet{FS: m, Dir: "/out/m"}
			first, _, err := set.Open(l.Files[0].Path)
			for _, f := range l.Files[1:] {
				if err == nil {
					_, _, err = set.Open(f.Path)
				}
			}
			if err = errors.Join(err, c.change(m)); err != nil {
				t.Fatal(err)
			}
			if _, err := first.ReadAt(make([]byte, 1), 0); formats.CodeOf(err) != formats.Changed && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %v, want %s", err, formats.Changed)
			}
			if err := set.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
