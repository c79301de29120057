package convert

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// shards names the file of each item: in order, a new file where the next tensor would not fit, as transformers splits them.
func (d *draft) shards() error {
	limit := d.o.ShardSize
	if limit == 0 && d.dest.Dir {
		limit = d.t.Shard
	}
	stem := d.t.Stem
	switch {
	case d.dest.Dir && d.t.Convention:
		stem = d.conventional()
	case !d.dest.Dir:
		stem = strings.TrimSuffix(filepath.Base(d.dest.Path), d.t.Format.Suffix)
	}
	shard, used := make([]int, len(d.items)), int64(0)
	n := 0
	for i, it := range d.items {
		size, err := d.bytes(it)
		if err != nil {
			return err
		}
		if limit > 0 && used > 0 && used+size > limit {
			n++
			used = 0
		}
		shard[i] = n
		used += size
	}
	n++
	if d.t.Sorted && d.m.Scheme != d.t.Scheme {
		d.sortWithin(shard)
	}
	if n > 1 && !d.dest.Dir && d.t.Format.IndexName(stem) != "" {
		return formats.Errorf(formats.Usage, "the model does not fit one %s file of the --shard-size", d.t.Format.Name).Hinted("give a directory as the destination")
	}
	if n > 1 && d.t.File != "" {
		return formats.Errorf(formats.Usage, "--shard-size: %s takes one file", d.t.Name)
	}
	for i, s := range shard {
		if d.m.Foreign != "" && d.dest.Dir { // what reads these files knows them by name
			d.file = append(d.file, d.m.Lookup(d.items[i].runs[0].from).File)
			continue
		}
		name := d.t.Format.ShardName(stem, s, n)
		switch {
		case n == 1 && !d.dest.Dir:
			name = filepath.Base(d.dest.Path)
		case d.t.File != "":
			name = d.t.File
		}
		d.file = append(d.file, name)
	}
	return nil
}

// conventional is the stem by GGUF's naming convention, from the name that the user or the source gives, and the type of the matrices.
func (d *draft) conventional() string {
	name := d.o.Name
	if name == "" {
		name, _, _ = d.m.Metadata.Str("general.name")
	}
	name = strings.Trim(strings.Map(func(r rune) rune {
		if r == '.' || r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, name), "-.")
	if name == "" {
		name = d.t.Stem
	}
	t := d.o.requested()
	if t == "" {
		t = d.matrix
	}
	return name + "-" + string(t)
}

// sortWithin puts the tensors of each shard in the order of their names, which is how the format's own writers leave them.
func (d *draft) sortWithin(shard []int) {
	for lo := 0; lo < len(shard); {
		hi := lo
		for hi < len(shard) && shard[hi] == shard[lo] {
			hi++
		}
		slices.SortStableFunc(d.items[lo:hi], func(a, b *item) int { return strings.Compare(a.name, b.name) })
		lo = hi
	}
}
