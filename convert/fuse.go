package convert

import (
	"errors"
	"slices"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// fuse joins the items that the target has no names for into the tensors that it stores instead. The first part gives the place.
func (d *draft) fuse() error {
	if d.keep || d.m.Scheme == d.t.Scheme {
		return nil
	}
	joins := map[string]*item{}
	var out []*item
	for _, it := range d.items {
		if it.name != "" {
			out = append(out, it)
			continue
		}
		u := d.m.Family.Table(d.m.Config.Architecture).FusedWith(d.t.Scheme, it.spec.Role)
		name := u.In(d.t.Scheme, it.layer)
		join := joins[name]
		if join == nil {
			join = &item{name: name, spec: it.spec, layer: it.layer, of: make([]*item, len(u.Parts))}
			joins[name] = join
			out = append(out, join)
		}
		join.of[slices.Index(u.Parts, it.spec.Role)] = it
	}
	var errs []error
	for _, it := range out {
		if it.of != nil {
			errs = append(errs, formats.At(it.fill(), d.m.Path()))
		}
		if it.spec != nil && it.spec.Kind == arch.Linear && len(it.shape) == 2 && d.m.Family.Layouts[d.t.Scheme].InOut {
			switch {
			case it.from.BlockElems() == 1:
			case it.from.CanDecode():
				it.ops, it.from = append(it.ops, Op{Kind: "cast", From: it.from, To: dtype.F32}), dtype.F32
			default:
				errs = append(errs, quantizedTurn(it).At(d.m.Path(), -1))
			}
			it.ops = append(it.ops, Op{Kind: "transpose"})
			it.shape = []int64{it.shape[1], it.shape[0]}
		}
	}
	d.items = out
	return errors.Join(errs...)
}

func quantizedTurn(it *item) *formats.Error {
	return formats.Errorf(formats.BadDType, "a matrix of %s cannot be transposed: %d values of a row share a scale", it.from, it.from.BlockElems()).
		In(it.name, "").Hinted("--dtype f32 to the source's own format first")
}

// fill makes a join of its parts, which the names stage has found to be there: of three dimensions, those of each expert. Types that differ are
// widened to one that holds all.
func (it *item) fill() error {
	types := make([]dtype.Type, len(it.of))
	for i, part := range it.of {
		if part == nil {
			return formats.Errorf(formats.Missing, "a part of it is not stored").In(it.name, "")
		}
		types[i] = part.from
	}
	var err error
	if it.from, err = widest(types); err != nil {
		return formats.Errors(err)[0].In(it.name, "")
	}
	it.shape = slices.Clone(it.of[0].shape)
	axis, groups := max(len(it.shape)-2, 0), int64(1)
	if len(it.shape) == 3 {
		groups = it.shape[0]
	}
	for i, part := range it.of {
		if i > 0 {
			it.shape[axis] += part.shape[axis]
		}
		if part.from != it.from {
			part.ops = append(part.ops, Op{Kind: "cast", From: part.from, To: it.from})
		}
		for k := range part.runs {
			if groups > 1 && moves(part.runs[k].ops) {
				return formats.Errorf(formats.Unsupported, "its rows are reordered and regrouped at once").In(it.name, "")
			}
		}
	}
	for g := range groups {
		for _, part := range it.of {
			runs := part.runs
			if n := rowsOf(part.shape) / groups; groups > 1 {
				runs = cut(runs, g*n, (g+1)*n)
			}
			for _, r := range runs {
				r.ops = append(slices.Clone(r.ops), part.ops...) // what is done to each value may be done run by run
				it.runs = append(it.runs, r)
			}
		}
	}
	it.of = nil
	return nil
}

// widest is a type that holds the values of all.
func widest(types []dtype.Type) (dtype.Type, error) {
	best := types[0]
	for _, t := range types[1:] {
		switch {
		case best.Holds(t):
		case t.Holds(best):
			best = t
		case dtype.F32.Holds(best) && dtype.F32.Holds(t):
			best = dtype.F32
		default:
			return "", formats.Errorf(formats.BadDType, "got %s and %s in one tensor, and no type holds both", best, t)
		}
	}
	return best, nil
}
