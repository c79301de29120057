package all

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/gguf"
	shardlist "github.com/bowline-ml/bowline/formats/index"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

const indexSuffix = ".index.json"

// candidate is one set of weights in a directory.
type candidate struct {
	name   string          // the file that stands for it
	format *formats.Format // nil if it is not read
	files  []string
	index  string
	what   string // where format is nil
}

// openDir opens the first set of weights of a directory, in the order in which the command line's manual lists them.
func openDir(fsys fsio.FS, dir string) (*formats.Checkpoint, error) {
	names, err := regular(fsys, dir)
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
	c, err := explained(fsys, *first.format, dir, first.files, first.index)
	if err != nil {
		return nil, err
	}
	for _, other := range sets[1:] {
		if other.complete(fsys, dir, names, c.Files) {
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
	st, gg := &safetensors.Format, &gguf.Format
	have := func(name string) bool { return slices.Contains(names, name) }
	var sets []candidate
	hf := func(stem string) {
		single, index, shard := st.ShardName(stem, 0, 1), st.IndexName(stem), firstShard(st, stem, names)
		if have(single) {
			sets = append(sets, candidate{name: single, format: st, files: []string{single}})
		}
		switch {
		case have(index):
			sets = append(sets, candidate{name: index, format: st, index: index})
		case shard != "":
			sets = append(sets, candidate{name: shard, format: st, files: st.Siblings(shard)})
		}
	}
	hf("model")
	const torch = "a PyTorch checkpoint"
	for _, name := range []string{"pytorch_model.bin", "pytorch_model.bin" + indexSuffix, "model.pth"} {
		if have(name) {
			sets = append(sets, candidate{name: name, what: torch})
		}
	}
	hf("consolidated")
	for _, name := range names {
		if ext := filepath.Ext(name); strings.HasPrefix(name, "consolidated.") && (ext == ".pth" || ext == ".pt" || ext == ".bin") {
			sets = append(sets, candidate{name: name, what: torch})
			break
		}
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
	if have("tensors.json") {
		sets = append(sets, candidate{name: "tensors.json", what: "a raw checkpoint"})
	}
	if len(sets) > 0 {
		return sets, nil
	}
	// One set under another name can only be meant.
	if others := groups(st, names); len(others) == 1 {
		return others, nil
	} else if len(others) > 1 {
		var all []string
		for _, g := range others {
			all = append(all, g.name)
		}
		return nil, formats.Errorf(formats.Missing, "found no model.safetensors, but %s", list(all)).At(dir, -1).Hinted("name one of the files")
	}
	return nil, nil
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
		} else if index := f.IndexName(stem(*f, name)); index != "" && slices.Contains(names, index) {
			c.index = index
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

// complete reports whether all files of the set are there and some of them are not in opened.
func (c candidate) complete(fsys fsio.FS, dir string, names []string, opened []formats.File) bool {
	files, index := c.files, c.index
	if c.format == nil {
		files = []string{c.name}
		if strings.HasSuffix(c.name, indexSuffix) {
			files, index = nil, c.name // PyTorch's indexes have the same form
		}
	}
	if index != "" {
		var err error
		if files, err = shardlist.Shards(fsys, dir, index); err != nil {
			return false
		}
	}
	other := false
	for _, name := range files {
		if !slices.Contains(names, name) || !exists(fsys, dir, name) {
			return false
		}
		other = other || !slices.ContainsFunc(opened, func(f formats.File) bool { return f.Path == name })
	}
	return other
}
