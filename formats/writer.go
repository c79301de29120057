package formats

import (
	"github.com/bowline-ml/bowline/formats/fsio"
)

// Target is where a Writer puts a result.
type Target struct {
	Dst  string // the destination as the user named it, cleaned
	Dir  bool   // Dst is a directory that gets all files of the layout; else Dst is the first file's name and the others go beside it
	ID   string // 12 hex digits of the plan's id
	Over bool   // replace what is there
}

// Writer stages a Layout under ".NAME.bowline-ID" beside the destination and moves it there on Commit, so that the destination is old,
// absent or complete whatever happens.
type Writer struct {
	fs fsio.FS
	t  Target
	l  Layout
}
