package convert

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
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
	roles, err := d.roles()
	if err != nil {
		return err
	}
	if m.Scheme == d.t.Scheme { // nothing is derived from the parameters, so any will do
		for _, n := range stored(m) {
			it := roles[n.name]
			if it == nil {
				continue // dropped, with a note
			}
			it.take(n)
			it.name = n.name
			d.items = append(d.items, it)
		}
		return nil
	}
	if err := m.Family.Check(m.Config, d.t.Scheme); err != nil {
		return formats.At(err, m.Path())
	}
	if m.Config.Rope.Type == "linear" {
		for k := range m.Family.Tensors {
			name := m.Family.Tensors[k].In(m.Scheme, 0)
			if m.Family.Tensors[k].Kind == arch.Factors && m.Lookup(name) != nil {
				return formats.Errorf(formats.Unsupported, "rope type linear and divisors together: no rope type of transformers is both").In(name, "").At(m.Path(), -1)
			}
		}
	}
	if w := m.Family.Caveat(m.Config, d.t.Scheme); w != "" {
		d.note(levelWarn, "sliding_window", "not carried", w)
	}
	d.items = d.renamed(roles)
	return nil
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
	it.parts, it.shape, it.from, it.shared = []Part{{From: n.t.Name}}, n.t.Shape, n.t.DType, n.name != n.t.Name
}

// roles finds the role of every stored tensor, by its name.
func (d *draft) roles() (map[string]*item, error) {
	m, f := d.m, d.m.Family
	out := make(map[string]*item, len(m.Tensors))
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
			if x, spec := m.Lookup(f.Names(m.Scheme, r, 0)), f.Tensor(r); x != nil {
				stored++
				right = right || len(x.Shape) > 0 && x.Shape[0] == spec.Shape[0](m.Config)
			}
		}
		// Where one member is what the config says, another may have rows more or fewer: the ties stage judges that.
		for _, r := range append([]string{t.Source}, t.Targets...) {
			padded[r] = right && stored > 1
		}
	}
	fused := map[string]bool{} // role and layer that a fused tensor covers
	for k := range f.Fused {
		u := &f.Fused[k]
		for i := range m.Config.Layers {
			name := u.In(m.Scheme, i)
			if name == "" {
				continue
			}
			apart := f.Names(m.Scheme, u.Parts[0], i) != ""
			t := m.Lookup(name)
			if t == nil {
				if first := f.Tensor(u.Parts[0]); !apart && (first.When == nil || first.When(m.Config)) {
					bad(formats.Errorf(formats.Missing, "the checkpoint does not hold it").In(name, ""))
				}
				continue
			}
			if first := f.Tensor(u.Parts[0]); !apart && first.When != nil && !first.When(m.Config) {
				bad(formats.Errorf(formats.Mismatch, "the config says that the model does not have it").In(name, "").
					Hinted("correct the config, or use --names keep"))
			}
			var rows int64
			var want []int64
			for _, r := range u.Parts {
				spec := f.Tensor(r)
				rows += spec.Shape[0](m.Config)
				want = dims(spec, m.Config) // parts differ in their rows alone
				fused[fmt.Sprint(r, i)] = true
			}
			if want[0] = rows; !slices.Equal(t.Shape, want) {
				bad(formats.Errorf(formats.BadShape, "got shape %v, want %v by the config", t.Shape, want).In(name, ""))
			}
			out[name] = &item{fused: u, layer: i}
		}
	}
	for k := range f.Tensors {
		spec := &f.Tensors[k]
		layers := int64(1)
		if spec.PerLayer() {
			layers = m.Config.Layers
		}
		for i := range layers {
			if len(errs) >= maxProblems {
				break
			}
			name := spec.In(m.Scheme, i)
			t := m.Lookup(name)
			has := spec.When == nil || spec.When(m.Config)
			switch {
			case name == "" || t == nil && !has:
			case t == nil && (tied[spec.Role] || spec.Kind == arch.Factors || fused[fmt.Sprint(spec.Role, i)]):
			case t == nil:
				bad(formats.Errorf(formats.Missing, "the checkpoint does not hold it").In(name, ""))
			case !has && spec.Kind != arch.Factors:
				bad(formats.Errorf(formats.Mismatch, "the config says that the model does not have it").In(name, "").
					Hinted("correct the config, or use --names keep"))
				out[name] = &item{spec: spec, layer: i} // once is enough: it is not unknown too
			default:
				if e := d.checkShape(spec, t, padded[spec.Role]); e != nil {
					bad(e)
				}
				out[name] = &item{spec: spec, layer: i}
			}
		}
	}
	drop := map[string]bool{}
	for _, n := range f.Drop[m.Scheme] {
		for i := range m.Config.Layers {
			drop[strings.ReplaceAll(n, "{i}", fmt.Sprint(i))] = true
		}
	}
	for _, n := range stored(m) {
		switch {
		case out[n.name] != nil:
		case drop[n.name]:
			d.note(levelNote, n.name, "dropped", "a buffer that old programs saved; it is computed from the config")
		default:
			bad(formats.Errorf(formats.Unknown, "family %s has no such tensor", f.Name).In(n.name, "").Hinted("--names keep copies it"))
		}
	}
	return out, errors.Join(errs...)
}

// maxProblems bounds the list: a config may name a hundred thousand layers.
const maxProblems = 1000

// dims is the shape of a tensor by the parameters.
func dims(spec *arch.Tensor, c *config.Model) []int64 {
	var out []int64
	for _, dim := range spec.Shape {
		out = append(out, dim(c))
	}
	return out
}

// checkShape compares a stored shape with the family's formula, but for the number of rows if anyRows.
func (d *draft) checkShape(spec *arch.Tensor, t *formats.Tensor, anyRows bool) *formats.Error {
	want := dims(spec, d.m.Config)
	ok := len(want) == len(t.Shape)
	for i := range want {
		if ok && want[i] != t.Shape[i] && !(i == 0 && anyRows) {
			ok = false
		}
	}
	if ok {
		return nil
	}
	return formats.Errorf(formats.BadShape, "got shape %v, want %v by the config", t.Shape, want).In(t.Name, "")
}

// renamed makes the items of another scheme in the order of the source, so that it is read from end to end; what the parameters imply
// comes first. llama.cpp's converter has the same order.
func (d *draft) renamed(roles map[string]*item) []*item {
	m, f := d.m, d.m.Family
	var out []*item
	for k := range f.Tensors {
		spec := &f.Tensors[k]
		if name := spec.In(d.t.Scheme, 0); spec.Kind == arch.Factors && name != "" && spec.Name[m.Scheme] == "" && spec.When(m.Config) {
			out = append(out, constant(spec, name, spec.Value(m.Config)))
		}
	}
	add := func(it *item, n member) {
		if it.name = it.spec.In(d.t.Scheme, it.layer); it.name == "" && f.FusedWith(d.t.Scheme, it.spec.Role) == nil {
			d.note(levelNote, n.name, "not a tensor of the target", "it follows from the config")
			return
		}
		out = append(out, it)
	}
	for _, n := range stored(m) {
		it := roles[n.name]
		switch {
		case it == nil: // dropped, with a note
		case it.fused != nil:
			lo := int64(0)
			for _, r := range it.fused.Parts {
				spec := f.Tensor(r)
				hi := lo + spec.Shape[0](m.Config)
				part := &item{spec: spec, layer: it.layer}
				part.take(n)
				part.shape = append([]int64{hi - lo}, n.t.Shape[1:]...)
				part.parts[0].Ops = []Op{{Kind: "slice", Lo: lo, Hi: hi}}
				add(part, n)
				lo = hi
			}
		default:
			it.take(n)
			add(it, n)
		}
	}
	return out
}
