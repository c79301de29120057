package formats_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

const staging = "/out/.m.pth.bowline-" + id

func TestDestination(t *testing.T) {
	file, set, dir := job{target: oneFile(false), files: 1}, job{target: oneFile(false), files: 2}, job{target: directory(false), files: 2}
	over := func(j job) job { j.target.Over = true; return j }
	at := func(j job, dst string) job { j.target.Dst = dst; return j }
	for _, c := range []struct {
		name   string
		job    job
		setup  func(m *fsio.Mem)
		inputs []string
		code   formats.Code
		says   string
	}{
		{"file exists", file, func(m *fsio.Mem) { m.Put("/out/m.pth", "x") }, nil, formats.Exists, "/out/m.pth"},
		{"file exists, replaced", over(file), func(m *fsio.Mem) { m.Put("/out/m.pth", "x") }, nil, "", ""},
		{"second file exists", set, func(m *fsio.Mem) { m.Put("/out/params.json", "x") }, nil, formats.Exists, "/out/params.json"},
		{"both files exist, replaced", over(set), func(m *fsio.Mem) { m.Put("/out/m.pth", "x"); m.Put("/out/params.json", "x") }, nil, "", ""},
		{"second file exists alone, which is another's", over(set), func(m *fsio.Mem) { m.Put("/out/params.json", "x") }, nil, formats.Exists, "/out/params.json"},
		{"a directory at a file's place", over(file), func(m *fsio.Mem) { m.PutDir("/out/m.pth") }, nil, formats.Exists, "is a directory"},
		{"a dangling link at a file's place", file, func(m *fsio.Mem) { m.Symlink("/nowhere", "/out/m.pth") }, nil, formats.Exists, ""},
		{"a link at a file's place, replaced", over(file), func(m *fsio.Mem) { m.Symlink("/other", "/out/m.pth") }, nil, "", ""},
		{"directory is empty", dir, func(m *fsio.Mem) { m.PutDir("/out/m") }, nil, "", ""},
		{"directory is not empty", dir, func(m *fsio.Mem) { m.Put("/out/m/config.json", "x") }, nil, formats.Exists, "not empty"},
		{"directory holds only what is ours", over(dir), func(m *fsio.Mem) {
			for _, n := range []string{"config.json", "model-00002-of-00003.safetensors", "model.safetensors.index.json", "tokenizer.model", "LICENSE.txt"} {
				m.Put("/out/m/"+n, "x")
			}
			m.Symlink("/other", "/out/m/merges.txt")
		}, nil, "", ""},
		{"directory with a stranger", over(dir), func(m *fsio.Mem) { m.Put("/out/m/thesis.tex", "x") }, nil, formats.Exists, "thesis.tex"},
		{"directory with a GGUF file", over(dir), func(m *fsio.Mem) { m.Put("/out/m/m-Q8_0.gguf", "x") }, nil, formats.Exists, "m-Q8_0.gguf"},
		{"directory with a directory of our name", over(dir), func(m *fsio.Mem) { m.Put("/out/m/config.json/x", "x") }, nil, formats.Exists, "config.json"},
		{"a file at a directory's place", over(dir), func(m *fsio.Mem) { m.Put("/out/m", "x") }, nil, formats.Exists, "no directory"},
		{"a link at a directory's place", dir, func(m *fsio.Mem) { m.Symlink("/other", "/out/m") }, nil, formats.Exists, "symbolic link"},
		{"a link at a directory's place, replaced", over(dir), func(m *fsio.Mem) {
			m.Put("/other/thesis.tex", "x")
			m.Symlink("/other", "/out/m")
		}, nil, "", ""},
		{"a file above the destination", at(file, "/in/model.safetensors/m.pth"), nil, nil, formats.NoSpace, "not a directory"},

		{"input is the destination", over(file), func(m *fsio.Mem) { m.Put("/out/m.pth", "x") }, []string{"/out/m.pth"}, formats.SameFile, ""},
		{"input is the destination, by a link", over(file), func(m *fsio.Mem) { m.Symlink("/in/model.safetensors", "/out/m.pth") },
			[]string{"/in/model.safetensors"}, formats.SameFile, "/in/model.safetensors"},
		{"input is a link to the destination", over(file), func(m *fsio.Mem) {
			m.Put("/out/m.pth", "x")
			m.Symlink("../out/m.pth", "/in/l")
		}, []string{"/in/l"}, formats.SameFile, ""},
		{"input is the destination, by a hard link", over(file), func(m *fsio.Mem) { m.Link("/in/model.safetensors", "/out/m.pth") },
			[]string{"/in/model.safetensors"}, formats.SameFile, ""},
		{"input is the second file", over(set), func(m *fsio.Mem) { m.Put("/out/params.json", "x") }, []string{"/out/params.json"}, formats.SameFile, ""},
		{"input is in the directory", over(dir), func(m *fsio.Mem) { m.Put("/out/m/model.safetensors", "x") },
			[]string{"/out/m/model.safetensors"}, formats.SameFile, ""},
		{"input is in the directory that is linked to", over(dir), func(m *fsio.Mem) {
			m.Put("/other/model.safetensors", "x")
			m.Symlink("/other", "/out/m")
		}, []string{"/other/model.safetensors"}, formats.SameFile, ""},
		{"input is the staging", file, func(m *fsio.Mem) { m.Put(staging, "x") }, []string{staging}, formats.SameFile, ""},
		{"input beside the destination", file, func(m *fsio.Mem) { m.Put("/out/other", "x") }, []string{"/out/other"}, "", ""},
		{"input is missing", over(file), func(m *fsio.Mem) { m.Put("/out/m.pth", "x") }, []string{"/nowhere"}, formats.IO, "/nowhere"},

		{"too little space", set, func(m *fsio.Mem) { m.Space = 3000 }, nil, formats.NoSpace, "needs 4664 bytes, 2990 are free"},
		{"the working directory", at(dir, "."), nil, nil, formats.Usage, ""},
		{"the directory above", at(dir, "../.."), nil, nil, formats.Usage, ""},
		{"the root", at(dir, "/"), nil, nil, formats.Usage, ""},
		{"a staging left by a kill", file, func(m *fsio.Mem) { m.Put(staging, "half"); m.Put(formats.LockName("/out/m.pth"), "") }, nil, "", ""},
		{"a staging left by a kill, directory", dir, func(m *fsio.Mem) { m.Put("/out/.m.bowline-"+id+"/model.pth", "half") }, nil, "", ""},
		{"a link as staging", file, func(m *fsio.Mem) { m.Put("/other/x", "x"); m.Symlink("/other/x", staging) }, nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := c.job.begin()
			if c.setup != nil {
				c.setup(m)
			}
			before := m.Tree()
			w, err := formats.Create(m, c.job.target, c.job.layout(), c.inputs)
			if c.code != "" {
				if formats.CodeOf(err) != c.code || !strings.Contains(slashed(err.Error()), c.says) {
					t.Errorf("got %v (%s), want %s and %q", err, formats.CodeOf(err), c.code, c.says)
				}
				if after := m.Tree(); !maps.Equal(before, after) {
					t.Errorf("a refusal changed something: got %q, want %q", after, before)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(c.job.fill(w), w.Commit()); err != nil {
				t.Fatal(err)
			}
			if err := c.job.compare(m); err != nil {
				t.Error(err)
			}
			if l := leftovers(m); len(l) > 0 {
				t.Errorf("left %q", l)
			}
			for name, text := range before {
				if (strings.HasPrefix(name, "/other") || strings.HasPrefix(name, "/in/")) && m.Tree()[name] != text {
					t.Errorf("%s changed", name)
				}
			}
			// A link was replaced, not written through.
			if st, err := m.Lstat(c.job.target.Dst); err != nil || st.Mode()&fs.ModeSymlink != 0 {
				t.Errorf("the destination is %v, %v", st, err)
			}
		})
	}
}

// A file of a kind that is not taken for ours is replaced all the same if the layout has one of its name.
func TestReplacesItsOwnNames(t *testing.T) {
	m := fsio.NewMem()
	m.Put("/out/m/m-Q8_0.gguf", "old")
	l := formats.Layout{Files: []formats.FileLayout{{Path: "m-Q8_0.gguf", Bytes: 3, Parts: []formats.Part{{Size: 3, Data: strings.NewReader("new")}}}}}
	w, err := formats.Create(m, directory(true), l, nil)
	if err == nil {
		err = w.Commit()
	}
	if got := m.Tree()["/out/m/m-Q8_0.gguf"]; err != nil || got != "new" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestLayoutIsChecked(t *testing.T) {
	part := func(off, n int64) []formats.Part {
		return []formats.Part{{Offset: off, Size: n, Data: bytes.NewReader(nil)}}
	}
	for _, c := range []struct {
		name string
		l    formats.Layout
		code formats.Code
	}{
		{"no files", formats.Layout{}, formats.Missing},
		{"a path", formats.Layout{Files: []formats.FileLayout{{Path: "a/b"}}}, formats.BadPath},
		{"a Windows path", formats.Layout{Files: []formats.FileLayout{{Path: `a\b`}}}, formats.BadPath},
		{"the directory above", formats.Layout{Files: []formats.FileLayout{{Path: ".."}}}, formats.BadPath},
		{"no name", formats.Layout{Files: []formats.FileLayout{{Path: ""}}}, formats.BadPath},
		{"an absolute name", formats.Layout{Files: []formats.FileLayout{{Path: "/etc"}}}, formats.BadPath},
		{"names equal but for case", formats.Layout{Files: []formats.FileLayout{{Path: "a.npy"}, {Path: "A.npy"}}}, formats.Dup},
		{"sizes beyond 63 bits", formats.Layout{Files: []formats.FileLayout{{Path: "a", Bytes: math.MaxInt64}, {Path: "b", Bytes: 1}}}, formats.Overflow},
		{"a part beyond its file", formats.Layout{Files: []formats.FileLayout{{Path: "a", Bytes: 4, Parts: part(2, 3)}}}, formats.Bounds},
		{"a part before its file", formats.Layout{Files: []formats.FileLayout{{Path: "a", Bytes: 4, Parts: part(-1, 3)}}}, formats.Bounds},
		{"a tensor beyond its file", formats.Layout{Files: []formats.FileLayout{{Path: "a", Bytes: 4}}, Places: []formats.Place{{Offset: 4, Bytes: 1}}}, formats.Bounds},
		{"a tensor in no file", formats.Layout{Files: []formats.FileLayout{{Path: "a", Bytes: 4}}, Places: []formats.Place{{File: 1}}}, formats.Bounds},
		{"a part that is too short", formats.Layout{Files: []formats.FileLayout{{Path: "a", Bytes: 4, Parts: part(0, 4)}}}, formats.Trunc},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := fsio.NewMem()
			m.PutDir("/out")
			_, err := formats.Create(m, directory(false), c.l, nil)
			if formats.CodeOf(err) != c.code {
				t.Errorf("got %v, want %s", err, c.code)
			}
			if names := m.Names(); len(names) != 1 {
				t.Errorf("left %q", names)
			}
		})
	}
}

// The disk fills while the files are staged, with Free none the wiser.
func TestDiskFull(t *testing.T) {
	each(t, func(t *testing.T, j job) {
		for _, space := range []int64{11, 600, 2331, 2341} {
			m := j.begin()
			m.Space = space
			err := j.run(roomy{m})
			if formats.CodeOf(err) != formats.NoSpace || !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%d bytes: got %v", space, err)
			}
			if state, err := j.state(m); err != nil || state == "complete" || len(leftovers(m)) > 0 {
				t.Errorf("%d bytes: %s %v, left %q", space, state, err, leftovers(m))
			}
		}
	})
}

// roomy says that there is room.
type roomy struct{ fsio.FS }

func (roomy) Free(string) (int64, error) { return math.MaxInt64, nil }

// The same jobs on a real file system.
func TestWriteOS(t *testing.T) {
	for _, j := range jobs {
		t.Run(j.name, func(t *testing.T) {
			root := t.TempDir()
			path := func(name string) string { return filepath.Join(root, filepath.FromSlash(name)) }
			put := func(files map[string]string) {
				for name, text := range files {
					if err := os.MkdirAll(filepath.Dir(path(name)), 0o777); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path(name), []byte(text), 0o666); err != nil {
						t.Fatal(err)
					}
				}
			}
			put(source)
			put(j.old)
			if j.empty {
				if err := os.MkdirAll(path(j.target.Dst), 0o777); err != nil {
					t.Fatal(err)
				}
			}
			want := map[string]string{}
			for name, text := range j.want() {
				want[path(name)] = text
			}
			for name, text := range source {
				want[path(name)] = text
			}
			j.target.Dst = path(j.target.Dst)
			inputs := []string{path("/in/model.safetensors")}

			w, err := formats.Create(fsio.OS{}, j.target, j.layout(), inputs)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(w.Staged()); err != nil {
				t.Error(err)
			}
			if _, err := formats.Create(fsio.OS{}, j.target, j.layout(), inputs); formats.CodeOf(err) != formats.Locked {
				t.Errorf("the second: got %v, want %s", err, formats.Locked)
			}
			if err := errors.Join(j.fill(w), w.Sync(), w.Commit()); err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					b, _ := os.ReadFile(name)
					got[name] = string(b)
				}
				return err
			})
			if !maps.Equal(got, want) {
				t.Errorf("got %d files, want %d: %v", len(got), len(want), got)
			}
			if err := j.compare(fsio.OS{}); err != nil {
				t.Error(err)
			}
			if _, err := formats.Create(fsio.OS{}, replacing(j.target), j.layout(), []string{lastFile(j)}); formats.CodeOf(err) != formats.SameFile {
				t.Errorf("the result as input: got %v, want %s", err, formats.SameFile)
			}
		})
	}
}

func replacing(t formats.Target) formats.Target { t.Over = true; return t }

// lastFile is a file of the result.
func lastFile(j job) string {
	if j.target.Dir {
		return filepath.Join(j.target.Dst, fileName(j.files-1))
	}
	return j.target.Dst
}
