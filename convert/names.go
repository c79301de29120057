package convert

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// names gives each tensor of the source its role and its name in the target. What the family does not know, and what it misses, is listed whole.
// Members of tie groups may be absent here: the ties stage judges that.
func (d *draft) names() error {
	m := d.m
	if len(m.Tensors) == 0 {
		return formats.Errorf(formats.Missing, "the checkpoint holds no tensors").At(m.Path(), -1)
	}
	if m.Foreign != "" && (d.t.Format.Name != m.Format || d.t.Scheme != m.Scheme || d.o.requested() != "" || d.t.Dialect != SideFiles) {
		return formats.Errorf(formats.Unsupported, "got %s: such tensors are only copied, with names and types kept", m.Foreign).At(m.Path(), -1)
	}
	switch {
	case m.Foreign != "":
		d.keep = true
		d.note(levelNote, m.Path(), "names and types kept", "the source holds "+m.Foreign)
	case d.o.KeepNames:
		d.keep = true
	case m.Bare:
		return m.Stated()
	case m.Family == nil:
		d.keep = true
		what := "no config says what it is"
		if m.Class != "" {
			what = fmt.Sprintf("%q is no family that this tool knows", m.Class)
		}
		d.note(levelNote, "names", "kept", what)
	}
	if d.keep {
		return d.keepNames()
	}
	if m.Scheme != d.t.Scheme {
		if err := m.Family.Check(m.Config, d.t.Scheme); err != nil {
			at := m.Path()
			if m.Doc != nil {
				at = m.Doc.Path
			}
			return formats.At(err, at)
		}
	}
	roles, err := d.roles()
	if err != nil {
		return err
	}
	if m.Scheme == d.t.Scheme { // nothing is derived from the parameters, so any will do
		for _, n := range stored(m) {
			if slices.Contains(d.dropped, n.name) {
				continue
			}
			it := &item{name: n.name}
			if pl := roles[n.name]; len(pl) == 1 && len(pl[0].runs) == 1 {
				it.spec, it.layer = pl[0].spec, pl[0].layer
			}
			it.take(n)
			d.items = append(d.items, it)
		}
		return nil
	}
	if m.Config.Rope.Type == "linear" {
		for k := range m.Family.Tensors {
			name := m.Called(m.Family.Tensors[k].In(m.Scheme, 0))
			if m.Family.Tensors[k].Kind == arch.Factors && m.Lookup(name) != nil {
				return formats.Errorf(formats.Unsupported, "rope type linear and divisors together: no rope type of transformers is both").In(name, "").At(m.Path(), -1)
			}
		}
	}
	if m.Scheme != d.t.Scheme {
		for _, c := range m.Family.CaveatsOf(m.Config, d.t.Scheme) {
			d.notes = append(d.notes, c.Note)
		}
	}
	d.items, err = d.renamed(roles)
	return err
}

// keepNames carries every stored name as it is.
func (d *draft) keepNames() error {
	for _, n := range stored(d.m) {
		it := &item{name: n.name}
		it.take(n)
		d.items = append(d.items, it)
	}
	return nil
}

// member is a name of the source: a tensor's own, or one that shares the bytes of a tensor.
type member struct {
	name string
	t    *formats.Tensor
}

// stored are all names of a checkpoint: those of tensors in file order, each followed by its aliases.
func stored(m *arch.Model) []member {
	also := map[string][]string{}
	for _, a := range m.Aliases {
		also[a.Of] = append(also[a.Of], a.Name)
	}
	var out []member
	for i := range m.Tensors {
		t := &m.Tensors[i]
		out = append(out, member{t.Name, t})
		for _, name := range also[t.Name] {
			out = append(out, member{name, t})
		}
	}
	return out
}

// take makes an item a copy of what is stored.
func (it *item) take(n member) {
	it.runs, it.shape, it.from, it.shared = []run{whole(n.t)}, n.t.Shape, n.t.DType, n.name != n.t.Name
}

// place is a role of a layer and where the source holds it.
type place struct {
	spec  *arch.Tensor
	layer int64
	runs  []arch.Run
}

// roles finds the role of every stored tensor: by the name of the tensor that a role begins in, its places in the order of their rows.
func (d *draft) roles() (map[string][]*place, error) {
	m, f := d.m, d.m.Family
	out := make(map[string][]*place, len(m.Tensors))
	known := make(map[string]bool, len(m.Tensors))
	var errs []error
	bad := func(e *formats.Error) {
		switch {
		case len(errs) < maxProblems:
			errs = append(errs, e.At(m.Path(), -1))
		case len(errs) == maxProblems:
			errs = append(errs, formats.Errorf(e.Code, "and more, which are not listed").At(m.Path(), -1))
		}
	}
	tied, padded := map[string]bool{}, map[string]bool{}
	for _, t := range f.Ties {
		right, stored := false, 0
		for _, r := range append([]string{t.Source}, t.Targets...) {
			tied[r] = true
			if x, spec := m.Lookup(m.NameOf(r, 0)), f.Tensor(r); x != nil {
				stored++
				right = right || len(x.Shape) > 0 && x.Shape[0] == spec.Shape[0](m.Config)
			}
		}
		// Where one member is what the config says, another may have rows more or fewer: the ties stage judges that.
		for _, r := range append([]string{t.Source}, t.Targets...) {
			padded[r] = right && stored > 1
		}
	}
	for k := range f.Tensors {
		spec := &f.Tensors[k]
		layers := int64(1)
		if spec.PerLayer() {
			layers = m.Config.Layers
		}
		has := spec.When == nil || spec.When(m.Config)
		for i := range layers {
			if len(errs) > maxProblems {
				break
			}
			runs := m.Find(spec, i)
			if runs == nil {
				if name := m.Missing(spec, i); has && name != "" && !tied[spec.Role] && spec.Kind != arch.Factors && !known["missing "+name] {
					known["missing "+name] = true // a fused tensor is missing once
					bad(formats.Errorf(formats.Missing, "the checkpoint does not hold it").In(name, ""))
				}
				continue
			}
			complete := true
			for _, r := range runs {
				switch {
				case r.Tensor == nil:
					complete = false
					bad(formats.Errorf(formats.Missing, "the checkpoint does not hold it").In(r.Name, ""))
				case known[r.Name]: // judged as another role's, or of another row
				case !has && spec.Kind != arch.Factors:
					bad(formats.Errorf(formats.Mismatch, "the config says that the model does not have it").In(r.Name, "").
						Hinted("correct the config, or use --names keep"))
				default:
					if e := checkShape(r, padded[spec.Role]); e != nil {
						bad(e)
					}
				}
				known[r.Name] = true // once is enough: it is not unknown too
			}
			if complete {
				at := runs[0].Name
				out[at] = append(out[at], &place{spec, i, runs})
			}
		}
	}
	for _, places := range out {
		slices.SortStableFunc(places, func(a, b *place) int { return cmp.Compare(a.runs[0].First, b.runs[0].First) })
	}
	drop, beside := m.Dropped(), 0
	for _, n := range stored(m) {
		switch {
		case known[n.name] || f.Open:
		case m.Beside(n.name):
			beside++
		case drop[n.name]:
			d.note(levelNote, n.name, "dropped", "a buffer that old programs saved; it is computed from the config")
			d.dropped = append(d.dropped, n.name)
		default:
			bad(formats.Errorf(formats.Unknown, "family %s has no such tensor", f.Name).In(n.name, "").Hinted("--names keep copies it"))
		}
	}
	if beside > 0 && m.Scheme != d.t.Scheme {
		d.note(levelWarn, strings.Join(f.Beside, " "), fmt.Sprintf("%d tensors are not carried", beside), "the target holds the language model alone")
	}
	return out, errors.Join(errs...)
}

// maxProblems bounds the list: a config may name a hundred thousand layers.
const maxProblems = 1000

// checkShape compares a stored shape with the family's formula, but for the number of rows if anyRows.
func checkShape(r arch.Run, anyRows bool) *formats.Error {
	got := r.Tensor.Shape
	ok := len(r.Want) == len(got)
	for i := range r.Want {
		if ok && r.Want[i] != got[i] && !(i == 0 && anyRows) {
			ok = false
		}
	}
	if ok {
		return nil
	}
	return formats.Errorf(formats.BadShape, "got shape %v, want %v by the config", got, r.Want).In(r.Name, "")
}

// renamed makes the items of another scheme in the order of the source, so that it is read from end to end; what the parameters imply
// comes first. llama.cpp's converter has the same order.
func (d *draft) renamed(roles map[string][]*place) ([]*item, error) {
	m, f := d.m, d.m.Family
	table := f.Table(m.Config.Architecture)
	var out []*item
	for k := range f.Tensors {
		spec := &f.Tensors[k]
		if name := spec.In(d.t.Scheme, 0); spec.Kind == arch.Factors && name != "" && spec.Name[m.Scheme] == "" && spec.When(m.Config) {
			out = append(out, constant(spec, name, spec.Value(m.Config)))
		}
	}
	var errs []error
	for _, n := range stored(m) {
		for _, pl := range roles[n.name] {
			it, err := pl.item(m)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			it.shared = n.name != n.t.Name
			it.reorder(d.t.Scheme, m.Config)
			switch it.name = table.Names(d.t.Scheme, pl.spec.Role, pl.layer); {
			case it.name == "" && table.FusedWith(d.t.Scheme, pl.spec.Role) == nil:
				d.note(levelNote, n.name, "not a tensor of the target", "it follows from the config")
			case arch.Split(it.name):
				out = append(out, it.experts()...)
			default:
				out = append(out, it)
			}
		}
	}
	return out, errors.Join(errs...)
}

// item is a role as the source holds it, in the table's orientation and not yet named.
func (pl *place) item(m *arch.Model) (*item, error) {
	it := &item{spec: pl.spec, layer: pl.layer, runs: found(m.Hub(pl.spec, pl.runs)), from: pl.runs[0].Tensor.DType, shape: m.Dims(pl.spec)}
	if t := pl.runs[0].Tensor; len(pl.runs) == 1 && it.runs[0].lo == 0 && it.runs[0].hi == it.runs[0].of && len(t.Shape) == len(it.shape) && len(t.Shape) > 0 && !it.runs[0].turned {
		it.shape[0] = t.Shape[0] // the rows that are there
	}
	types := make([]dtype.Type, len(it.runs))
	for i, r := range it.runs {
		types[i] = m.Lookup(r.from).DType
	}
	var err error
	if it.from, err = widest(types); err != nil {
		return nil, formats.Errors(err)[0].In(pl.runs[0].Name, "").At(m.Path(), -1)
	}
	for i, t := range types {
		if t != it.from {
			it.runs[i].ops = []Op{{Kind: "cast", From: t, To: it.from}}
		}
	}
	return it, nil
}

// reorder puts the rows, which are in the hub's order, into a scheme's.
func (it *item) reorder(s arch.Scheme, c *config.Model) {
	f := it.spec.Blocks[s]
	if f == nil {
		return
	}
	outer, inner := f(c)
	rows := rowsOf(it.shape)
	if outer <= 1 || inner <= 1 || rows%(outer*inner) != 0 {
		return
	}
	n := rows / (outer * inner)
	var runs []run
	for i := range inner {
		for o := range outer {
			runs = append(runs, cut(it.runs, (o*inner+i)*n, (o*inner+i+1)*n)...)
		}
	}
	it.runs = runs
}

// experts are the items of a role of which each expert has its own.
func (it *item) experts() []*item {
	var out []*item
	n := rowsOf(it.shape[1:])
	for e := range it.shape[0] {
		one := *it
		one.name, one.shape, one.runs = arch.Expert(it.name, e), it.shape[1:], cut(it.runs, e*n, (e+1)*n)
		out = append(out, &one)
	}
	return out
}
