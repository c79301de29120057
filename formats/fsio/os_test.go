package fsio_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bowline-ml/bowline/formats/fsio"
)

// both runs a test on the two file systems. dir is an empty directory.
func both(t *testing.T, run func(t *testing.T, fsys fsio.FS, dir string)) {
	t.Run("OS", func(t *testing.T) { run(t, fsio.OS{}, t.TempDir()) })
	t.Run("Mem", func(t *testing.T) {
		m := fsio.NewMem()
		m.PutDir("/dir")
		run(t, m, "/dir")
	})
}

func TestLock(t *testing.T) {
	both(t, func(t *testing.T, fsys fsio.FS, dir string) {
		name := filepath.Join(dir, "lock")
		l, err := fsys.Lock(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fsys.Lock(name); !errors.Is(err, fsio.ErrLocked) {
			t.Errorf("the second: got %v, want %v", err, fsio.ErrLocked)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := fsys.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file of a released lock: got %v", err)
		}
		// What a killed process leaves is a file without a lock.
		f, err := fsys.Create(name)
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if l, err = fsys.Lock(name); err != nil {
			t.Fatalf("over a stale file: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := fsys.Lock(filepath.Join(dir, "none", "lock")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without a directory: got %v", err)
		}
	})
}

// Many take and release: never two at once, although the file comes and goes.
func TestLockRace(t *testing.T) {
	both(t, func(t *testing.T, fsys fsio.FS, dir string) {
		name := filepath.Join(dir, "lock")
		var wg sync.WaitGroup
		var inside, taken atomic.Int64
		for range 4 {
			wg.Go(func() {
				for range 300 {
					l, err := fsys.Lock(name)
					if errors.Is(err, fsio.ErrLocked) {
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					if inside.Add(1) != 1 {
						t.Error("two hold the lock")
					}
					taken.Add(1)
					inside.Add(-1)
					if err := l.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if taken.Load() == 0 {
			t.Error("nobody got the lock")
		}
	})
}

func TestAllocate(t *testing.T) {
	both(t, func(t *testing.T, fsys fsio.FS, dir string) {
		for _, size := range []int64{0, 1, 1 << 20} {
			f, err := fsys.Create(filepath.Join(dir, fmt.Sprint(size)))
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Allocate(size); err != nil {
				t.Error(err)
			}
			f.Flush(0, size)
			st, err := f.Stat()
			if err != nil || st.Size() != size {
				t.Errorf("got %v, %v, want %d bytes", st, err, size)
			}
			if err := errors.Join(f.Sync(), f.Close()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestFree(t *testing.T) {
	both(t, func(t *testing.T, fsys fsio.FS, dir string) {
		if n, err := fsys.Free(dir); err != nil || n <= 0 {
			t.Errorf("got %d, %v", n, err)
		}
		if _, err := fsys.Free(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("of nothing: got %v", err)
		}
	})
}

func TestSameFile(t *testing.T) {
	both(t, func(t *testing.T, fsys fsio.FS, dir string) {
		var infos []fs.FileInfo
		for _, n := range []string{"a", "b"} {
			f, err := fsys.Create(filepath.Join(dir, n))
			if err != nil {
				t.Fatal(err)
			}
			st, err := f.Stat()
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			infos = append(infos, st)
		}
		if err := fsys.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "c")); err != nil {
			t.Fatal(err)
		}
		st, err := fsys.Stat(filepath.Join(dir, "c"))
		if err != nil {
			t.Fatal(err)
		}
		if !fsio.SameFile(st, infos[0]) || fsio.SameFile(st, infos[1]) {
			t.Error("a renamed file is another, or another is the same")
		}
	})
}

func TestReadFile(t *testing.T) {
	m := fsio.NewMem()
	m.Put("/f", "12345")
	if b, err := fsio.ReadFile(m, "/f", 5); err != nil || string(b) != "12345" {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := fsio.ReadFile(m, "/f", 4); !errors.Is(err, fsio.ErrTooLarge) {
		t.Errorf("beyond the limit: got %v", err)
	}
	f := &fsio.Fault{FS: m, At: 3, Mode: fsio.Short}
	if _, err := fsio.ReadFile(f, "/f", 5); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off while it is read: got %v", err)
	}
}
