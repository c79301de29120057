//go:build unix

package bowline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/raw"
)

// site is a real directory with a model in "in", somebody else's files in "other" and an empty "out".
type site struct {
	*testing.T
	root string
}

func newSite(t *testing.T) site {
	s := site{t, t.TempDir()}
	for _, d := range []string{"in", "other", "out"} {
		s.must(os.Mkdir(s.at(d), 0o777))
	}
	for name, content := range tiny(1) {
		write(t, s.at("in/"+name), content)
	}
	write(t, s.at("other/theirs"), "theirs")
	return s
}

func (s site) at(name string) string { return filepath.Join(s.root, name) }

func (s site) must(errs ...error) {
	s.Helper()
	if err := errors.Join(errs...); err != nil {
		s.Fatal(err)
	}
}

// link makes a symbolic link below the root, its target as it is given.
func (s site) link(target, name string) { s.must(os.Symlink(target, s.at(name))) }

// tree is what is below the root: kinds, link targets and contents.
func (s site) tree() map[string]string {
	out := map[string]string{}
	s.must(filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, s.root)
		switch d.Type() {
		case 0:
			b, err := os.ReadFile(path)
			out[name] = string(b)
			return err
		case fs.ModeSymlink:
			to, err := os.Readlink(path)
			out[name] = "-> " + to
			return err
		}
		out[name] = d.Type().String()
		return nil
	}))
	return out
}

// staging is the name beside out/x.gguf that a run of "in" will use.
func (s site) staging() string {
	p, err := bowline.Plan(context.Background(), bowline.Source{Path: s.at("in")}, s.at("out/x.gguf"), bowline.ConvertOptions{})
	s.must(err)
	return "out/.x.gguf.bowline-" + p.PlanID[:12]
}

// index makes "in" a set of one shard of this name.
func (s site) index(shard string) {
	b, err := json.Marshal(map[string]any{"weight_map": map[string]string{"model.norm.weight": shard}})
	s.must(err, os.Remove(s.at("in/model.safetensors")))
	write(s.T, s.at("in/model.safetensors.index.json"), string(b))
}

func fifo(name string) func(s site) {
	return func(s site) {
		os.Remove(s.at(name))
		s.must(syscall.Mkfifo(s.at(name), 0o666))
	}
}

var force = bowline.ConvertOptions{Force: true}

// What names can mean: each row is a conversion of src to dst, both below the root. Nothing in "in" and "other" ever changes. A refusal leaves
// everything as it was; whatever the outcome, it comes at once.
func TestPaths(t *testing.T) {
	for _, c := range []struct {
		name     string
		lay      func(s site)
		src, dst string // "" is in, and out/x.gguf
		o        bowline.ConvertOptions
		code     formats.Code
		says     string
	}{
		{name: "output is the input", src: "in/model.safetensors", dst: "in/model.safetensors", o: force, code: formats.SameFile},
		{name: "output is the input, by another path", src: "in/model.safetensors", dst: "out/../in/model.safetensors", o: force, code: formats.SameFile},
		{name: "output is the input's directory", dst: "in", o: force, code: formats.SameFile},
		{name: "output is the input, by a link", lay: func(s site) { s.link("../in/model.safetensors", "out/x.safetensors") }, src: "in/model.safetensors", dst: "out/x.safetensors", o: force, code: formats.SameFile},
		{name: "output is the input, by a link above", lay: func(s site) { s.link("in", "l") }, src: "in/model.safetensors", dst: "l/model.safetensors", o: force, code: formats.SameFile},
		{name: "output is the input's directory, by a link", lay: func(s site) { s.link("in", "l") }, dst: "l", o: force, code: formats.SameFile},
		{name: "input is the output, by a link", lay: func(s site) { s.link("../in/model.safetensors", "out/l.safetensors") }, src: "out/l.safetensors", dst: "in/model.safetensors", o: force, code: formats.SameFile},
		{name: "output is the input, by a hard link", lay: func(s site) { s.must(os.Link(s.at("in/model.safetensors"), s.at("out/x.safetensors"))) },
			src: "in/model.safetensors", dst: "out/x.safetensors", o: force, code: formats.SameFile},
		{name: "output is a side file of the input", dst: "in/config.json.gguf", lay: func(s site) { s.must(os.Link(s.at("in/config.json"), s.at("in/config.json.gguf"))) }, o: force, code: formats.SameFile},

		{name: "output is a link into a cache", lay: func(s site) { s.link("../other/theirs", "out/x.gguf") }, code: formats.Exists},
		{name: "output is a link into a cache, replaced", lay: func(s site) { s.link("../other/theirs", "out/x.gguf") }, o: force},
		{name: "output is a dangling link, replaced", lay: func(s site) { s.link("../other/none", "out/x.gguf") }, o: force},
		{name: "output is a link to a directory, replaced", lay: func(s site) { s.link("../other", "out/x") }, dst: "out/x", o: force},
		{name: "output has another name elsewhere, replaced", lay: func(s site) { s.must(os.Link(s.at("other/theirs"), s.at("out/x.gguf"))) }, o: force},
		{name: "output is a FIFO", lay: fifo("out/x.gguf"), o: force, code: formats.Exists},
		{name: "output is a device", dst: "../../../../../../../../dev/null", o: bowline.ConvertOptions{Force: true, To: "gguf"}, code: formats.Exists},
		{name: "output is a link to a device", lay: func(s site) { s.link("/dev/null", "out/x.gguf") }, o: force, code: formats.Exists, says: "a device or a pipe"},
		{name: "output directory is a link to a device", lay: func(s site) { s.link("/dev/null", "out/x") }, dst: "out/x", o: force, code: formats.Exists, says: "a device or a pipe"},
		{name: "output is below a file", dst: "other/theirs/x.gguf", code: formats.NoSpace},
		{name: "output is below a link to itself", lay: func(s site) { s.link("loop", "out/loop") }, dst: "out/loop/x.gguf", code: formats.NoSpace},
		{name: "output is where nobody can write", dst: "../../../../../../../../proc/x.gguf", code: formats.NoSpace},
		{name: "output has a name that is too long", dst: "out/" + strings.Repeat("x", 300) + ".gguf", code: formats.NoSpace},

		{name: "input is a FIFO", lay: fifo("in/model.safetensors"), src: "in/model.safetensors", code: formats.Missing, says: "not a regular file"},
		{name: "input's weights are a FIFO", lay: fifo("in/model.safetensors"), code: formats.Missing},
		{name: "input's index is a FIFO", lay: func(s site) { s.index("x"); fifo("in/model.safetensors.index.json")(s) }, code: formats.Missing},
		{name: "input's config is a FIFO", lay: fifo("in/config.json"), src: "in/model.safetensors", code: formats.Missing},
		{name: "input's shard is a FIFO", lay: func(s site) { s.index("s.safetensors"); fifo("in/s.safetensors")(s) }, code: formats.Missing, says: "not a regular file"},
		{name: "a FIFO beside the input", lay: fifo("in/tokenizer.json")},
		{name: "input is a device", src: "../../../../../../../../dev/zero", code: formats.Missing, says: "not a regular file"},
		{name: "input is a link to a device", lay: func(s site) { s.link("/dev/zero", "in/z.safetensors") }, src: "in/z.safetensors", code: formats.Missing, says: "not a regular file"},
		{name: "input is a directory without weights", src: "other", code: formats.Missing},
		{name: "input is a link to itself", lay: func(s site) { s.link("z.safetensors", "in/z.safetensors") }, src: "in/z.safetensors", code: formats.Missing},
		{name: "input is below a file", src: "in/model.safetensors/x", code: formats.Missing},

		{name: "shard above the directory", lay: func(s site) { s.index("../other/theirs") }, code: formats.BadPath, says: "separator"},
		{name: "shard by an absolute path", lay: func(s site) { s.index(s.at("other/theirs")) }, code: formats.BadPath, says: "separator"},
		{name: "shard in a directory", lay: func(s site) { s.index("a/b.safetensors") }, code: formats.BadPath},
		{name: "shard with a backslash", lay: func(s site) { s.index(`..\x.safetensors`) }, code: formats.BadPath},
		{name: "shard on a drive", lay: func(s site) { s.index("C:x.safetensors") }, code: formats.BadPath, says: "colon"},
		{name: "shard at an address", lay: func(s site) { s.index("https://example.org/x.safetensors") }, code: formats.BadPath},
		{name: "shard with a NUL", lay: func(s site) { s.index("a\x00b.safetensors") }, code: formats.BadPath, says: "control character"},
		{name: "shard is a device of Windows", lay: func(s site) { s.index("nul.safetensors") }, code: formats.BadPath, says: "Windows"},
		{name: "shard ends in a dot", lay: func(s site) { s.index("x.safetensors.") }, code: formats.BadPath},
		{name: "shard is the directory above", lay: func(s site) { s.index("..") }, code: formats.BadPath},
		{name: "shard without a name", lay: func(s site) { s.index("") }, code: formats.BadPath},
		{name: "links of a cache", lay: func(s site) {
			s.must(os.Mkdir(s.at("in/blobs"), 0o777), os.Mkdir(s.at("in/snapshot"), 0o777), os.Rename(s.at("in/model.safetensors"), s.at("in/blobs/1")),
				os.Rename(s.at("in/config.json"), s.at("in/blobs/2")))
			s.link("../blobs/1", "in/snapshot/model.safetensors")
			s.link("../blobs/2", "in/snapshot/config.json")
		}, src: "in/snapshot"},

		{name: "a link at the staging's name", lay: func(s site) { s.link("../other/theirs", s.staging()) }},
		{name: "a link to a directory at the staging's name", lay: func(s site) { s.link("../other", s.staging()) }},
		{name: "another name of a file at the staging's name", lay: func(s site) { s.must(os.Link(s.at("other/theirs"), s.at(s.staging()))) }},
		{name: "a FIFO at the staging's name", lay: func(s site) { fifo(s.staging())(s) }},
		{name: "a link at the receipt's name", lay: func(s site) { s.link("../other/theirs", s.staging()+".receipt") }},
		{name: "a FIFO at the receipt's name", lay: func(s site) { fifo(s.staging() + ".receipt")(s) }},
		{name: "a receipt of another plan", lay: func(s site) {
			write(s.T, s.at(s.staging()), strings.Repeat("x", 40_000))
			write(s.T, s.at(s.staging()+".receipt"), `{"schema":"bowline.receipt/1","plan_id":"0123","sources":[]}`+"\n"+`{"s":0,"o":0,"n":64,"x":"1"}`+"\n")
		}},
		{name: "a receipt that is none", lay: func(s site) { write(s.T, s.at(s.staging()+".receipt"), strings.Repeat("{", 1<<20)) }},
		{name: "a link at the lock's name", lay: func(s site) { s.link("../other/theirs", "out/.x.gguf.bowline-lock") }, code: formats.NoSpace, says: "not a regular file"},
		{name: "a dangling link at the lock's name", lay: func(s site) { s.link("../other/none", "out/.x.gguf.bowline-lock") }, code: formats.NoSpace, says: "not a regular file"},
		{name: "a FIFO at the lock's name", lay: fifo("out/.x.gguf.bowline-lock"), code: formats.NoSpace, says: "not a regular file"},
		{name: "a link at the name of what is replaced", lay: func(s site) {
			s.link("../other", strings.Replace(s.staging(), ".x.gguf.", ".x.", 1)+".old")
		}, dst: "out/x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			if c.lay != nil {
				c.lay(s)
			}
			before := s.tree()
			src, dst := s.at(orElse(c.src, "in")), s.at(orElse(c.dst, "out/x.gguf"))
			done := make(chan error, 1)
			go func() {
				_, err := bowline.Convert(context.Background(), bowline.Source{Path: src}, dst, c.o)
				done <- err
			}()
			var err error
			select {
			case err = <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("it hangs")
			}
			after := s.tree()
			for name, text := range before {
				if (strings.HasPrefix(name, "/in") || strings.HasPrefix(name, "/other")) && after[name] != text {
					t.Errorf("%s changed", name)
				}
			}
			if c.code != "" {
				if formats.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v (%s), want %s and %q", err, formats.CodeOf(err), c.code, c.says)
				}
				if !maps.Equal(before, after) {
					t.Errorf("a refusal changed something: got %q, want %q", slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if st, err := os.Lstat(dst); err != nil || st.Mode()&fs.ModeSymlink != 0 {
				t.Errorf("the destination is %v, %v", st, err)
			}
			if r, err := bowline.Diff(context.Background(), bowline.Source{Path: src}, bowline.Source{Path: dst}, bowline.DiffOptions{}); err != nil || !r.Equal {
				t.Errorf("the result differs: %v", err)
			}
		})
	}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// The directory of the result changes under the run, while its tensors are written: there is an error and no result, and what took the directory's
// place stays as it is.
func TestParentSwapped(t *testing.T) {
	for _, c := range []struct {
		name string
		swap func(s site)
	}{
		{"it is gone", func(s site) { s.must(os.RemoveAll(s.at("out"))) }},
		{"it was moved", func(s site) { s.must(os.Rename(s.at("out"), s.at("moved"))) }},
		{"it is a link to somebody else's", func(s site) { s.must(os.Rename(s.at("out"), s.at("moved"))); s.link("other", "out") }},
		{"it is another directory", func(s site) { s.must(os.Rename(s.at("out"), s.at("moved")), os.Mkdir(s.at("out"), 0o777)) }},
		{"it is a file", func(s site) { s.must(os.Rename(s.at("out"), s.at("moved"))); write(s.T, s.at("out"), "file") }},
	} {
		for _, dst := range []string{"out/x.gguf", "out/x"} {
			t.Run(c.name+", "+filepath.Base(dst), func(t *testing.T) {
				s := newSite(t)
				var once sync.Once
				var swapped map[string]string
				_, err := bowline.Convert(context.Background(), bowline.Source{Path: s.at("in")}, s.at(dst), bowline.ConvertOptions{Workers: 1,
					Progress: func(int64, int64) { once.Do(func() { c.swap(s); swapped = s.tree() }) }})
				if code := formats.CodeOf(err); code != formats.NoSpace && code != formats.IO {
					t.Errorf("got %v, want %s or %s", err, formats.NoSpace, formats.IO)
				}
				after := s.tree()
				for _, tree := range []map[string]string{swapped, after} { // what is left of our own was moved out of reach
					maps.DeleteFunc(tree, func(name, _ string) bool { return strings.HasPrefix(name, "/moved") })
				}
				if !maps.Equal(swapped, after) {
					t.Errorf("got %q, want %q", slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(swapped)))
				}
			})
		}
	}
}

// New files and directories have the permissions that the umask leaves; what is replaced keeps its own.
func TestUmask(t *testing.T) {
	s := newSite(t)
	defer syscall.Umask(syscall.Umask(0o027))
	run := func(dst string, o bowline.ConvertOptions) {
		t.Helper()
		if _, err := bowline.Convert(context.Background(), bowline.Source{Path: s.at("in")}, s.at(dst), o); err != nil {
			t.Fatal(err)
		}
	}
	write(t, s.at("out/old.gguf"), "old")
	s.must(os.Chmod(s.at("out/old.gguf"), 0o606))
	run("out/old.gguf", force)
	run("out/new.gguf", bowline.ConvertOptions{})
	run("out/a/b/new", bowline.ConvertOptions{})
	for name, want := range map[string]fs.FileMode{"out/old.gguf": 0o606, "out/new.gguf": 0o640, "out/a": 0o750, "out/a/b/new": 0o750, "out/a/b/new/model.safetensors": 0o640,
		"out/a/b/new/config.json": 0o640} {
		if st, err := os.Stat(s.at(name)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v, want %o", name, st.Mode(), err, want)
		}
	}
}

// Where names differ in case alone they are one: the input is found under another spelling, and two tensors never become one file.
func TestFoldedNames(t *testing.T) {
	convert := func(m *fsio.Mem, src, dst string, o bowline.ConvertOptions) error {
		_, err := bowline.Convert(context.Background(), bowline.Source{Path: src, FS: m}, dst, o)
		return err
	}
	m := fsio.NewMem()
	m.Fold = true
	for name, content := range tiny(1) {
		m.Put("/in/"+name, content)
	}
	before := m.Tree()
	for _, c := range []struct{ src, dst string }{{"/in/model.safetensors", "/IN/MODEL.safetensors"}, {"/in", "/In"}, {"/in/model.safetensors", "/in/Model.SAFETENSORS"}} {
		if err := convert(m, c.src, c.dst, force); formats.CodeOf(err) != formats.SameFile {
			t.Errorf("%s to %s: got %v, want %s", c.src, c.dst, err, formats.SameFile)
		}
		if !maps.Equal(m.Tree(), before) {
			t.Fatalf("%s to %s: got %q", c.src, c.dst, m.Names())
		}
	}
	if err := errors.Join(convert(m, "/in", "/out/x.gguf", bowline.ConvertOptions{}), convert(m, "/in", "/OUT/X.gguf", force)); err != nil {
		t.Error(err)
	}

	// Tensors of an unknown family, whose names are files in a raw folder.
	m.Put("/two/model.safetensors", safetensorsFile("{}", "w", "W", "x"))
	if err := convert(m, "/two", "/folder", bowline.ConvertOptions{To: "raw"}); err != nil {
		t.Fatal(err)
	}
	r, err := bowline.Diff(context.Background(), bowline.Source{Path: "/two", FS: m}, bowline.Source{Path: "/folder", FS: m}, bowline.DiffOptions{})
	if err != nil || !r.Equal {
		t.Errorf("names that differ in case: %v", err)
	}
	// And shards.
	for _, fold := range []bool{false, true} {
		m := fsio.NewMem()
		m.Fold = fold
		m.Put("/in/S.safetensors", safetensorsFile("{}", "a"))
		m.Put("/in/s.safetensors", safetensorsFile("{}", map[bool]string{false: "b", true: "a"}[fold]))
		m.Put("/in/model.safetensors.index.json", `{"weight_map":{"a":"S.safetensors","b":"s.safetensors"}}`)
		if err := convert(m, "/in", "/out", bowline.ConvertOptions{}); (err != nil) != fold || fold && !strings.Contains(err.Error(), string(filepath.Separator)+"in") {
			t.Errorf("shards that differ in case, folding %v: got %v", fold, err)
		}
	}
}

// A folder of more files than the process may have open is read, written and compared.
func TestManyFiles(t *testing.T) { manyFiles(t, 400) }

func manyFiles(t *testing.T, files int) {
	const limit = 256
	if root := os.Getenv("BOWLINE_MANY_FILES"); root != "" {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			src, dst string
			o        bowline.ConvertOptions
		}{
			{"in", "out", bowline.ConvertOptions{To: "raw"}},
			{"in", "out", bowline.ConvertOptions{To: "raw"}}, // up to date
			{"out", "back.safetensors", bowline.ConvertOptions{}},
			{"in", "shards", bowline.ConvertOptions{To: "safetensors", Options: shards}},
		} {
			r, err := bowline.Convert(context.Background(), bowline.Source{Path: filepath.Join(root, c.src)}, filepath.Join(root, c.dst), c.o)
			if err != nil {
				t.Fatalf("%s to %s: %v", c.src, c.dst, err)
			}
			t.Logf("%s to %s: %d files, up to date %v", c.src, c.dst, len(r.Written), r.UpToDate)
		}
		for _, b := range []string{"out", "back.safetensors", "shards"} {
			r, err := bowline.Diff(context.Background(), bowline.Source{Path: filepath.Join(root, "in")}, bowline.Source{Path: filepath.Join(root, b)}, bowline.DiffOptions{})
			if err != nil || !r.Equal {
				t.Errorf("%s differs: %v", b, err)
			}
		}
		return
	}
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "in"), 0o777); err != nil {
		t.Fatal(err)
	}
	s := formatstest.Sample{}
	for i := range files {
		s.Header.Tensors = append(s.Header.Tensors, formats.Tensor{Name: fmt.Sprint("t.", i), DType: "F32", Shape: []int64{16}, Bytes: 64})
		s.Data = append(s.Data, []byte(fmt.Sprintf("%064d", i)))
	}
	l, err := raw.Format.Layout(s.Header)
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.Files(l)
	if err != nil {
		t.Fatal(err)
	}
	formatstest.Put(t, fsio.OS{}, filepath.Join(root, "in"), all)
	cmd := exec.Command(os.Args[0], "-test.run=^TestManyFiles$", "-test.v")
	cmd.Env = append(os.Environ(), "BOWLINE_MANY_FILES="+root)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("with %d files open at most: %v\n%s", limit, err, out)
	}
	t.Logf("%s", out)
}

// TestLogitsReplace is which files logits may put its output over: an earlier output of its own, told by what it holds, and with force any other but what
// the model is read from.
func TestLogitsReplace(t *testing.T) {
	dir := t.TempDir()
	copyOf := func(from, to string) string {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, to), b, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, to)
	}
	for _, name := range []string{"config.json", "model.safetensors"} {
		copyOf("testdata/checkpoints/granite-code/"+name, name)
	}
	weights := filepath.Join(dir, "model.safetensors")
	for _, x := range []struct {
		name, out string
		force     bool
		code      formats.Code
	}{
		{"new .npy", "a.npy", false, ""},
		{"its own .npy", "a.npy", false, formats.Exists},
		{"its own .npy, forced", "a.npy", true, ""},
		{"new", "a.safetensors", false, ""},
		{"its own", "a.safetensors", false, ""},
		{"other weights", filepath.Base(copyOf(weights, "other.safetensors")), false, formats.Exists},
		{"the model", "model.safetensors", false, formats.SameFile},
		{"the model, forced", "model.safetensors", true, formats.SameFile},
	} {
		_, err := bowline.Logits(context.Background(), bowline.Source{Path: dir}, filepath.Join(dir, x.out), x.force, bowline.VerifyOptions{Tokens: []int32{1, 2}})
		if formats.CodeOf(err) != x.code {
			t.Errorf("%s: got %v, want %q", x.name, err, x.code)
		}
	}
}
