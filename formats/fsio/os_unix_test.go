//go:build linux || darwin

package fsio_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bowline-ml/bowline/formats/fsio"
)

// Mem behaves as the operating system does: the same random operations have the same outcomes and leave the same files.
func TestMemIsLikeOS(t *testing.T) {
	for seed := range int64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			root := t.TempDir()
			m := fsio.NewMem()
			r := rand.New(rand.NewSource(seed))
			names := []string{"/a", "/b", "/d", "/d/a", "/d/b", "/d/e", "/d/e/a", "/none/a"}
			name := func() string { return names[r.Intn(len(names))] }
			for i := range 400 {
				op, x, y, n := r.Intn(9), name(), name(), int64(r.Intn(2000))
				real := do(fsio.OS{}, op, filepath.Join(root, x), filepath.Join(root, y), n)
				mem := do(m, op, x, y, n)
				if real != mem {
					t.Fatalf("step %d, operation %d on %s, %s: got %q, want %q", i, op, x, y, mem, real)
				}
			}
			want, got := tree(t, root), m.Tree()
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// do is one operation; its outcome is what it saw and the class of its error.
func do(fsys fsio.FS, op int, x, y string, n int64) string {
	var err error
	saw := ""
	switch op {
	case 0:
		err = fsys.Mkdir(x)
	case 1:
		err = fsys.Rename(x, y)
	case 2:
		err = fsys.Remove(x)
	case 3:
		// Of a directory: what it does to a file nobody asks.
		if st, e := fsys.Stat(x); e != nil || st.IsDir() {
			err = fsys.SyncDir(x)
		}
	case 4:
		var st fs.FileInfo
		if st, err = fsys.Lstat(x); err == nil {
			saw = fmt.Sprint(st.Name(), st.IsDir(), st.Mode().IsRegular())
			if !st.IsDir() {
				saw += fmt.Sprint(st.Size())
			}
		}
	case 5:
		var l []fs.DirEntry
		l, err = fsys.ReadDir(x)
		for _, e := range l {
			saw += e.Name() + " "
		}
	default:
		open := []func(string) (fsio.File, error){fsys.Create, fsys.OpenRW, fsys.Open}[op-6]
		var f fsio.File
		if f, err = open(x); err != nil {
			break
		}
		k, e := f.ReadAt(make([]byte, 700), n)
		saw = fmt.Sprint(k, e == io.EOF)
		_, e = f.WriteAt([]byte(strings.Repeat(filepath.Base(y), 300)), n)
		saw += fmt.Sprint(e == nil)
		if op == 6 {
			saw += fmt.Sprint(f.Allocate(4*n) == nil)
		}
		saw += fmt.Sprint(f.Close(), f.Close() != nil)
	}
	switch {
	case err == nil:
		return saw
	case op == 1: // of several reasons against a rename systems name one or another
		return "error"
	case errors.Is(err, fs.ErrNotExist):
		return saw + "absent"
	case errors.Is(err, fs.ErrExist):
		return saw + "exists" // not empty counts as this
	}
	return saw + "error"
}

func tree(t *testing.T, root string) map[string]string {
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(path, root))
		if d.IsDir() {
			out[name+"/"] = ""
			return nil
		}
		b, err := os.ReadFile(path)
		out[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Nothing but a regular file opens, and a FIFO without a writer does not hang.
func TestOpenIsForFiles(t *testing.T) {
	dir := t.TempDir()
	path := func(n string) string { return filepath.Join(dir, n) }
	if err := errors.Join(syscall.Mkfifo(path("fifo"), 0o600), os.Mkdir(path("dir"), 0o700), os.WriteFile(path("file"), []byte("x"), 0o600),
		os.Symlink("file", path("link")), os.Symlink("fifo", path("tofifo"))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		ok, rw bool
	}{
		{path("file"), true, true}, {path("link"), true, false}, // a cache's shards are links; what is written is none
		{path("fifo"), false, false}, {path("tofifo"), false, false}, {path("dir"), false, false}, {"/dev/null", false, false}, {path("none"), false, false},
	} {
		for how, open := range map[string]func(string) (fsio.File, error){"Open": fsio.OS{}.Open, "OpenRW": fsio.OS{}.OpenRW} {
			done := make(chan error, 1)
			go func() {
				f, err := open(c.name)
				if err == nil {
					err = f.Close()
				}
				done <- err
			}()
			select {
			case err := <-done:
				if want := how == "Open" && c.ok || c.rw; (err == nil) != want {
					t.Errorf("%s %s: got %v", how, c.name, err)
				}
				if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EISDIR) && !strings.Contains(err.Error(), "not a regular file") {
					t.Errorf("%s %s: got %v, want a clear word", how, c.name, err)
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("%s %s hangs", how, c.name)
			}
		}
	}
	if _, err := (fsio.OS{}).Create(path("link")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create through a link: got %v", err)
	}
}

func TestRefused(t *testing.T) {
	for err, want := range map[error]bool{
		syscall.ENOSPC: true, syscall.EDQUOT: true, syscall.EFBIG: true, syscall.EROFS: true, syscall.EACCES: true, syscall.EPERM: true,
		syscall.EIO: false, syscall.ENOENT: false, syscall.EXDEV: false, fs.ErrPermission: true, fs.ErrExist: false,
	} {
		for _, e := range []error{err, &fs.PathError{Op: "write", Path: "x", Err: err}, fmt.Errorf("x: %w", err)} {
			if got := fsio.Refused(e); got != want {
				t.Errorf("%v: got %v, want %v", e, got, want)
			}
		}
	}
}
