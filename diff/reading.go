package diff

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
)

// entry is a name of the model and what stands for it.
type entry struct {
	*logical
	name string
	// tied marks a member of a tie group that is not stored: the source's tensor (or the head's, for a missing source) stands for it.
	tied bool
	row  int // of the table, -1 for what the table does not name
	at   int64
	// derived marks what follows from the config where a file does not hold it.
	derived bool
}

// reading is a checkpoint as the list of its logical tensors, in the order of the table and then of the file.
type reading struct {
	m       *arch.Model
	entries []*entry
	notes   []formats.Note
}

func (r *reading) find(name string) *entry {
	for _, e := range r.entries {
		if e.name == name {
			return e
		}
	}
	return nil
}

// known reports whether the model is read by its family's table. Tensors of quantization methods and adapters are no weights yet.
func known(m *arch.Model) bool { return m.Family != nil && m.Config != nil && m.Foreign == "" }

// usable refuses parameters that contradict themselves. What the forward pass cannot compute is no hindrance here.
func usable(m *arch.Model) error {
	for _, e := range formats.Errors(m.Family.Check(m.Config, m.Scheme)) {
		if e.Code != formats.Unsupported {
			return e.At(m.Path(), -1)
		}
	}
	return nil
}

// byTable reads a model of a known family. layers is how many to look for: another checkpoint may state more.
func byTable(m *arch.Model, layers int64) (*reading, error) {
	r := &reading{m: m}
	f := m.Family
	tied := map[string]bool{}
	for _, t := range f.Ties {
		for _, role := range append([]string{t.Source}, t.Targets...) {
			tied[role] = true
		}
	}
	var absent []string
	for k := range f.Tensors {
		spec := &f.Tensors[k]
		wanted := !tied[spec.Role] && spec.Kind != arch.Factors && (spec.When == nil || spec.When(m.Config))
		n := int64(1)
		if spec.PerLayer() {
			n = layers
		}
		for i := range n {
			l, err := find(m, spec, i)
			if err != nil {
				return nil, err
			}
			if l == nil && wanted && i < m.Config.Layers {
				absent = append(absent, spec.In(arch.HF, i))
			}
			if l != nil {
				r.entries = append(r.entries, &entry{logical: l, name: l.name, row: k, at: i, derived: spec.Kind == arch.Factors || spec.In(arch.HF, i) == ""})
			}
		}
	}
	if n := len(absent); n > 0 {
		r.notes = append(r.notes, formats.Note{Subject: m.Path(), Decision: "incomplete", Because: fmt.Sprintf("%d tensors that the config wants are not stored, such as %s", n, absent[0]), Warn: true})
	}
	for _, t := range f.Ties {
		var names []string
		for _, role := range append([]string{t.Source}, t.Targets...) {
			names = append(names, f.Names(arch.HF, role, 0))
		}
		r.tie(names, func(role int) int {
			return slices.IndexFunc(f.Tensors, func(x arch.Tensor) bool { return x.Role == append([]string{t.Source}, t.Targets...)[role] })
		})
	}
	for i, name := range m.Strangers() {
		l, err := source(m, m.Lookup(name))
		if err != nil {
			return nil, err
		}
		r.entries = append(r.entries, &entry{logical: l, name: name, row: -1, at: int64(i)})
	}
	return r, nil
}

// tie adds the members of a group that are not stored, and marks those that share one storage. names begin with the source.
func (r *reading) tie(names []string, row func(i int) int) {
	var have *entry
	for _, n := range names {
		if e := r.find(n); e != nil && have == nil {
			have = e
		}
	}
	if have == nil {
		return
	}
	for i, n := range names {
		switch e := r.find(n); {
		case e == nil && r.denied():
			r.notes = append(r.notes, formats.Note{Subject: n, Decision: "it is missing", Because: "the config says that the model is not tied, so " + have.name + " does not stand for it", Warn: true})
		case e == nil:
			r.entries = append(r.entries, &entry{logical: have.logical, name: n, tied: true, row: row(i), at: 0})
		case e != have && e.stored.Name == have.stored.Name: // two names of one storage
			e.logical, e.tied = have.logical, true
		}
	}
}

// denied reports whether the model is declared untied. In GGUF the absence of the head declares the tie, whatever a config beside it says.
func (r *reading) denied() bool {
	m := r.m
	return !m.Keyed && m.Config != nil && len(m.Config.Tie) > 0 && !m.Config.Tie[0].Value
}

// byName reads a model whose family nobody knows: stored names and aliases. Names that a table knows as the two of a tie are one here too, and what
// a table drops is dropped.
func byName(m *arch.Model) (*reading, error) {
	r := &reading{m: m}
	names := make([]string, 0, len(m.Tensors)+len(m.Aliases))
	for _, t := range m.Tensors {
		names = append(names, t.Name)
	}
	for _, a := range m.Aliases {
		names = append(names, a.Name)
	}
	opened := map[string]*logical{}
	for i, n := range names {
		t := m.Lookup(n)
		if t == nil || dropped(n) {
			continue
		}
		l := opened[t.Name]
		if l == nil {
			var err error
			if l, err = source(m, t); err != nil {
				return nil, err
			}
			opened[t.Name] = l
		}
		r.entries = append(r.entries, &entry{logical: l, name: n, row: -1, at: int64(i)})
	}
	for _, names := range lonePairs(m) {
		if r.find(names[0]) != nil || r.find(names[1]) != nil {
			r.tie(names, func(int) int { return -1 })
		}
	}
	return r, nil
}

// lonePairs are the tied names, in the hub's names and the source first, of the families that a file without config can be of: those whose source
// it holds or, where it holds the head alone, another tensor of the model that the source is in.
func lonePairs(m *arch.Model) [][]string {
	var out [][]string
	for _, f := range arch.All() {
		if f.Open { // its head has a name that others have too
			continue
		}
		for _, t := range f.Ties {
			names := []string{f.Names(arch.HF, t.Source, 0)}
			for _, role := range t.Targets {
				names = append(names, f.Names(arch.HF, role, 0))
			}
			base, _, _ := strings.Cut(names[0], ".")
			if !slices.ContainsFunc(m.Tensors, func(t formats.Tensor) bool { return strings.HasPrefix(t.Name, base+".") }) {
				continue
			}
			if !slices.ContainsFunc(out, func(o []string) bool { return slices.Equal(o, names) }) {
				out = append(out, names)
			}
		}
	}
	return out
}

// dropped reports whether a table says of a name in the hub's scheme that it carries nothing.
func dropped(name string) bool {
	for _, f := range arch.All() {
		for _, d := range f.Drop[arch.HF] {
			if matches(d, name) {
				return true
			}
		}
	}
	return false
}

// matches reports whether a name is a pattern with a number for {i}.
func matches(pattern, name string) bool {
	before, after, layered := strings.Cut(pattern, "{i}")
	if !layered {
		return pattern == name
	}
	if len(name) <= len(before)+len(after) || name[:len(before)] != before || name[len(name)-len(after):] != after {
		return false
	}
	for _, c := range name[len(before) : len(name)-len(after)] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
