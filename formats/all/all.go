// Package all is the one list of formats. It finds out what a path is: a file of weights, a shard, an index, or a model's directory.
package all

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/gguf"
	"github.com/bowline-ml/bowline/formats/index"
	"github.com/bowline-ml/bowline/formats/pytorch"
	"github.com/bowline-ml/bowline/formats/raw"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// Formats are the formats that are read and written.
var Formats = []formats.Format{safetensors.Format, pytorch.Format, gguf.Format, raw.Format}

// headBytes is how much of a file Sniff is shown.
const headBytes = 4096

// Open opens a file of weights, all of the set that a shard or an index belongs to, or the checkpoint in a directory. What a file is, its
// bytes say; its name counts only where they say nothing, so that an empty or damaged file is explained by the format that it should
// be of.
func Open(fsys fsio.FS, path string) (*formats.Checkpoint, error) {
	return OpenWithin(fsys, path, formats.ReadBounds{})
}

// OpenWithin is Open with other bounds than the defaults. The checkpoint remembers them.
func OpenWithin(fsys fsio.FS, path string, b formats.ReadBounds) (c *formats.Checkpoint, err error) {
	st, err := fsys.Stat(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	o := opener{fsys, b}
	if st.IsDir() {
		c, err = o.dir(path)
	} else {
		c, err = o.file(filepath.Dir(path), filepath.Base(path))
	}
	if err != nil {
		return nil, err
	}
	c.Bounds = b
	return c, nil
}

// opener is where files are opened, and how much is read of them.
type opener struct {
	fs     fsio.FS
	bounds formats.ReadBounds
}

// unreadable is the error for an operand that cannot be opened.
func unreadable(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return formats.Errorf(formats.Missing, "no such file or directory: %w", fs.ErrNotExist).At(path, -1)
	case errors.Is(err, fs.ErrPermission):
		return formats.Errorf(formats.Missing, "no permission to read it: %w", fs.ErrPermission).At(path, -1)
	}
	return formats.Errorf(formats.IO, "%w", err).At(path, -1)
}

func (o opener) file(dir, name string) (*formats.Checkpoint, error) {
	if _, ok := index.Weights(name); ok {
		return o.index(dir, name)
	}
	if name == raw.Manifest {
		return o.open(raw.Format, dir, nil, name)
	}
	head, size, err := readHead(o.fs, filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	for _, f := range Formats {
		if f.Sniff(head, size) {
			return o.set(f, dir, name)
		}
	}
	if err := foreign(filepath.Join(dir, name), head); err != nil {
		return nil, err
	}
	for _, f := range Formats {
		if strings.HasSuffix(name, f.Suffix) || f.Name == pytorch.Format.Name && slices.Contains(torch, filepath.Ext(name)) {
			return o.set(f, dir, name)
		}
	}
	return nil, formats.Errorf(formats.Magic, "got % x at the start, want a file of safetensors, PyTorch, GGUF or numpy", head[:min(len(head), 8)]).
		At(filepath.Join(dir, name), 0)
}

// readHead reads the first bytes of a file.
func readHead(fsys fsio.FS, path string) (head []byte, size int64, err error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, 0, unreadable(path, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, 0, unreadable(path, err)
	}
	head = make([]byte, min(headBytes, st.Size()))
	if n, err := f.ReadAt(head, 0); n < len(head) {
		if err == io.EOF {
			return nil, 0, formats.Errorf(formats.Changed, "the file became shorter while it was read").At(path, int64(n))
		}
		return nil, 0, unreadable(path, err)
	}
	return head, st.Size(), nil
}

// set opens a file, or the whole set if it is a shard: by the index beside it that lists the file, else by the names of its siblings.
func (o opener) set(f formats.Format, dir, name string) (*formats.Checkpoint, error) {
	files := f.Siblings(name)
	list := ""
	if files != nil {
		list = f.IndexName(stem(f, name))
	}
	if list != "" && exists(o.fs, dir, list) {
		listed, err := index.ShardsWithin(o.fs, dir, list, o.bounds)
		if err != nil {
			return nil, err
		}
		if slices.Contains(listed, name) {
			return o.open(f, dir, nil, list)
		}
	}
	if other := o.listing(f, dir, name); other != "" {
		return o.open(f, dir, nil, other)
	}
	if files == nil {
		files = []string{name}
	}
	return o.open(f, dir, files, "")
}

// listing is an index in dir that lists a file whatever the file is called: shards are also numbered from 0, or not numbered. An index
// that cannot be read does not concern a file that is whole without it.
func (o opener) listing(f formats.Format, dir, name string) string {
	names, err := regular(o.fs, dir)
	if err != nil {
		return ""
	}
	for _, list := range names {
		of, ok := index.Weights(list)
		if !ok || !strings.HasSuffix(of, f.Suffix) {
			continue
		}
		if listed, err := index.ShardsWithin(o.fs, dir, list, o.bounds); err == nil && slices.Contains(listed, name) {
			return list
		}
	}
	return ""
}

// stem is what stands before the number of a shard.
func stem(f formats.Format, name string) string {
	if of, ok := index.Stem(name, f.Suffix); ok {
		return of
	}
	return name[:len(name)-len("-00001-of-00001")-len(f.Suffix)]
}

func (o opener) index(dir, name string) (*formats.Checkpoint, error) {
	of, _ := index.Weights(name)
	for _, f := range Formats {
		if strings.HasSuffix(of, f.Suffix) {
			return o.open(f, dir, nil, name)
		}
	}
	if !exists(o.fs, dir, name) {
		return nil, unreadable(filepath.Join(dir, name), fs.ErrNotExist)
	}
	return nil, unbuilt(filepath.Join(dir, name), "this is the index of files of another format")
}

func unbuilt(path, what string) error {
	return formats.Errorf(formats.Unsupported, "%s, which is not read", what).At(path, -1)
}

// open opens files. Where one of them is none of the format at all, the error says what it is: a shard may be a Git LFS
// pointer as well as the file that the user named.
func (o opener) open(f formats.Format, dir string, files []string, list string) (*formats.Checkpoint, error) {
	if most := o.bounds.Of(formats.ShardsBound); int64(len(files)) > most {
		return nil, formats.Errorf(formats.Limit, "got a set of %d files, want at most %d", len(files), most).At(filepath.Join(dir, files[0]), -1).
			Hinted("%s", formats.ShardsBound.Hint(int64(len(files))))
	}
	c, err := f.Open(o.fs, formats.Set{Dir: dir, Files: files, Index: list, Bounds: o.bounds})
	if err == nil {
		return c, nil
	}
	var out []error
	told := map[string]bool{}
	for _, e := range formats.Errors(err) {
		if told[e.Path] {
			continue
		}
		switch e.Code {
		case formats.Magic, formats.Limit, formats.Trunc, formats.JSON, formats.UTF8:
			if head, size, err := readHead(o.fs, e.Path); err == nil && !f.Sniff(head, size) && filepath.Base(e.Path) != list {
				if is := foreign(e.Path, head); is != nil {
					out = append(out, is)
					told[e.Path] = true
					continue
				}
			}
		}
		out = append(out, e)
	}
	return nil, errors.Join(out...)
}

func exists(fsys fsio.FS, dir, name string) bool {
	st, err := fsys.Stat(filepath.Join(dir, name))
	return err == nil && st.Mode().IsRegular()
}

// list is names for a message.
func list(names []string) string {
	const most = 8
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
