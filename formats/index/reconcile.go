package index

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/bowline-ml/bowline/formats"
)

// Set is what the files of a checkpoint hold, to be compared with its index.
type Set struct {
	*formats.Header
	*formats.Problems
	Dir    string
	Suffix string           // of the files
	Names  map[string]int32 // tensors and aliases, into Header.Tensors
	Opened []string         // the files that were read
	Totals []int64          // what total_size may say
}

// Reconcile compares the index with what the files hold: entries without a tensor become Dangling, tensors without an entry Unindexed,
// an entry that names another file than the one that holds its tensor is a problem.
func (x *Index) Reconcile(s Set) {
	path := filepath.Join(s.Dir, x.Name)
	s.Files = append(s.Files, formats.File{Path: x.Name, Bytes: x.Bytes})
	bad := func(e entry, code formats.Code, format string, args ...any) {
		if !s.Full() {
			s.Add(formats.Errorf(code, format, args...).At(path, int64(e.at)).In(e.name, "weight_map"))
		}
	}
	given := make([]bool, len(x.Files))
	for i, f := range x.Files {
		given[i] = slices.Contains(s.Opened, f)
	}
	for _, e := range x.entries {
		i, ok := s.Names[e.name]
		switch {
		case !given[e.file]:
			bad(e, formats.Mismatch, "got file %s, which is not of the set", formats.Escape(x.Files[e.file], 256))
		case !ok:
			s.Dangling = append(s.Dangling, e.name)
		case s.Tensors[i].File != x.Files[e.file]:
			bad(e, formats.Mismatch, "got file %s, but %s holds it", formats.Escape(x.Files[e.file], 256), formats.Escape(s.Tensors[i].File, 256))
		}
	}
	for _, t := range s.Tensors {
		if _, ok := x.at[t.Name]; !ok {
			s.Unindexed = append(s.Unindexed, t.Name)
		}
	}
	for _, a := range s.Aliases {
		if _, ok := x.at[a.Name]; !ok {
			s.Unindexed = append(s.Unindexed, a.Name)
		}
	}
	note := func(subject, decision, because string, args ...any) {
		s.Notes = append(s.Notes, formats.Note{Subject: subject, Decision: decision, Because: fmt.Sprintf(because, args...)})
	}
	if n := len(s.Unindexed); n > 0 {
		note(s.Unindexed[0], "read", "%s does not list it (%d tensors in all), its file holds it", x.Name, n)
	}
	fits := func(n int64) bool { return x.total == strconv.FormatInt(n, 10) }
	if x.total != "" && !slices.ContainsFunc(s.Totals, fits) {
		note(x.Name, "total_size is ignored", "it says %s, the tensors have %d bytes", clip(x.total), s.Totals[0])
	}
	// Shards whose names speak of other shards than those there are.
	if len(x.Files) > 0 {
		if all := Siblings(x.Files[0], s.Suffix); all != nil && !slices.Equal(all, x.Files) {
			s.Notes = append(s.Notes, formats.Note{Subject: x.Files[0], Decision: "read the shards that the index names",
				Because: "the file's name speaks of other shards", Warn: true})
		}
	}
}

// clip shortens text for a message.
func clip(s string) string { return formats.Escape(s, 64) }
