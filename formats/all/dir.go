package all

import (
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

// candidate is one set of weights in a directory.
type candidate struct {
	name   string          // the file that stands for it
	format *formats.Format // nil if it is not read
	files  []string
	index  string
	what   string // where format is nil
}

// dir opens the first set of weights of a directory, in the order in which the command line's manual lists them.
func (o opener) dir(dir string) (*formats.Checkpoint, error) {
	names, err := regular(o.fs, dir)
	if err != nil {
		return nil, err
	}
	sets, err := candidates(dir, names)
	if err != nil {
		return nil, err
	}
	if len(sets) == 0 {
		return nil, formats.Errorf(formats.Missing, "found no weights: looked for model.safetensors, pytorch_model.bin and their indexes, "+
			"model.pth, consolidated*, one .gguf file or split set, tensors.json").At(dir, -1)
	}
	first := sets[0]
	if first.format == nil {
		return nil, unbuilt(filepath.Join(dir, first.name), first.what)
	}
	c, err := o.open(*first.format, dir, first.files, first.index)
	if err != nil {
		return nil, err
	}
	for _, other := range sets[1:] {
		if o.complete(other, dir, names, c.Files) {
			c.Notes = append(c.Notes, formats.Note{Subject: first.name, Decision: "opened", Because: other.name + " is a complete set too, and is not read",
				Warn: true})
		}
	}
	return c, nil
}

// regular lists the regular files of a directory, links followed, and links to nothing.
func regular(fsys fsio.FS, dir string) ([]string, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, unreadable(dir, err)
	}
	var names []string
	for _, e := range entries {
		st, err := fsys.Stat(filepath.Join(dir, e.Name()))
		if err != nil || st.Mode().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// candidates are the sets that the names speak of, best first.
func candidates(dir string, names []string) ([]candidate, error) {
	st, pt, gg, rw := &safetensors.Format, &pytorch.Format, &gguf.Format, &raw.Format
	have := func(name string) bool { return slices.Contains(names, name) }
	var sets []candidate
	named := func(f *formats.Format, stem string) {
		single, list, shard := f.ShardName(stem, 0, 1), f.IndexName(stem), firstShard(f, stem, names)
		if have(single) {
			sets = append(sets, candidate{name: single, format: f, files: []string{single}})
		}
		switch {
		case have(list):
			sets = append(sets, candidate{name: list, format: f, index: list})
		case shard != "":
			sets = append(sets, candidate{name: shard, format: f, files: f.Siblings(shard)})
		}
	}
	named(st, "model")
	named(pt, "pytorch_model")
	if have("model.pth") {
		sets = append(sets, candidate{name: "model.pth", format: pt, files: []string{"model.pth"}})
	}
	named(st, "consolidated")
	if parts := torchFiles(names, "consolidated."); len(parts) == 1 {
		sets = append(sets, candidate{name: parts[0], format: pt, files: parts})
	} else if len(parts) > 1 {
		sets = append(sets, candidate{name: parts[0], what: "this is one part of tensors that were cut for several processors"})
	}
	ggufs := groups(gg, names)
	if len(ggufs) > 1 && len(sets) == 0 {
		var all []string
		for _, g := range ggufs {
			all = append(all, g.name)
		}
		return nil, formats.Errorf(formats.Unsupported, "found %d GGUF models: %s", len(all), list(all)).At(dir, -1).Hinted("name one of the files")
	}
	sets = append(sets, ggufs...)
	if have(raw.Manifest) {
		sets = append(sets, candidate{name: raw.Manifest, format: rw, index: raw.Manifest})
	}
	if len(sets) > 0 {
		return sets, nil
	}
	// One set under another name can only be meant.
	others := groups(st, names)
	if len(others) == 0 {
		others = groups(pt, names)
		for _, name := range torchFiles(names, "") {
			if !strings.HasSuffix(name, pt.Suffix) {
				others = append(others, candidate{name: name, format: pt, files: []string{name}})
			}
		}
		others = slices.DeleteFunc(others, func(c candidate) bool {
			return slices.ContainsFunc(leftovers, func(s string) bool { return strings.HasPrefix(c.name, s) })
		})
	}
	if len(others) == 1 {
		return others, nil
	} else if len(others) > 1 {
		var all []string
		for _, g := range others {
			all = append(all, g.name)
		}
		return nil, formats.Errorf(formats.Missing, "found no model.safetensors or pytorch_model.bin, but %s", list(all)).At(dir, -1).Hinted("name one of the files")
	}
	return nil, nil
}

// leftovers begin the names of PyTorch files that training programs leave beside the weights.
var leftovers = []string{"optimizer", "scheduler", "training_args", "rng_state", "random_states", "scaler"}

// torchFiles are the files with a suffix of PyTorch's whose names begin in a way.
func torchFiles(names []string, prefix string) (out []string) {
	for _, name := range names {
		if slices.Contains(torch, filepath.Ext(name)) && strings.HasPrefix(name, prefix) && !strings.HasPrefix(name, ".") {
			out = append(out, name)
		}
	}
	return out
}

// firstShard is the first file there that is a shard of a set called stem.
func firstShard(f *formats.Format, of string, names []string) string {
	for _, name := range names {
		if f.Siblings(name) != nil && stem(*f, name) == of {
			return name
		}
	}
	return ""
}

// groups are the files of a format, those of a split set taken together.
func groups(f *formats.Format, names []string) []candidate {
	var out []candidate
	seen := map[string]bool{}
	for _, name := range names {
		if !strings.HasSuffix(name, f.Suffix) || strings.HasPrefix(name, ".") || seen[name] {
			continue
		}
		c := candidate{name: name, format: f, files: f.Siblings(name)}
		if c.files == nil {
			c.files = []string{name}
		} else if list := f.IndexName(stem(*f, name)); list != "" && slices.Contains(names, list) {
			c.index = list
		}
		for _, s := range c.files {
			seen[s] = true
		}
		if c.index != "" {
			c.files = nil
		}
		out = append(out, c)
	}
	return out
}

// complete reports whether all files of a set are there and some of them are not in opened.
func (o opener) complete(c candidate, dir string, names []string, opened []formats.File) bool {
	files := c.files
	if c.format == nil {
		files = []string{c.name}
	}
	if c.index == raw.Manifest {
		ck, err := c.format.Open(o.fs, formats.Set{Dir: dir, Index: c.index, Bounds: o.bounds})
		if err != nil || ck.Close() != nil {
			return false
		}
		files = nil
		for _, f := range ck.Files {
			files = append(files, f.Path)
		}
	} else if c.index != "" {
		var err error
		if files, err = index.ShardsWithin(o.fs, dir, c.index, o.bounds); err != nil {
			return false
		}
	}
	other := false
	for _, name := range files {
		if !slices.Contains(names, name) || !exists(o.fs, dir, name) {
			return false
		}
		other = other || !slices.ContainsFunc(opened, func(f formats.File) bool { return f.Path == name })
	}
	return other
}
