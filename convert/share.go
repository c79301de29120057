package convert

import (
	"fmt"

	"github.com/bowline-ml/bowline/formats"
)

// share turns items whose bytes are those of an earlier one, and that the source holds so, into aliases where the target has them.
func (d *draft) share() error {
	if d.o.Dedup {
		d.dedup()
	}
	key := func(it *item) string { return fmt.Sprint(it.step(), it.shape, it.to) }
	first := map[string]*item{}
	for _, it := range d.items {
		if k := key(it); !it.shared && first[k] == nil {
			first[k] = it
		}
	}
	var out []*item
	for _, it := range d.items {
		of := first[key(it)]
		switch {
		case !it.shared || of == nil:
		case d.t.Format.Aliases.Shares():
			d.aliases = append(d.aliases, formats.Alias{Name: it.name, Of: of.name})
			continue
		default:
			d.note(levelNote, it.name, "stored as a second copy of "+of.name, "the two share one storage, which the target cannot say")
		}
		out = append(out, it)
	}
	d.items = out
	return nil
}
