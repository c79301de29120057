package convert

import (
	"errors"
	"fmt"
	"slices"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// fuse joins the items that the target has no names for into the tensors that it stores instead. The first part gives the place.
func (d *draft) fuse() error {
	if d.keep {
		return nil
	}
	type key struct {
		fused string
		layer int64
	}
	joins := map[key]*item{}
	var out []*item
	for _, it := range d.items {
		if it.name != "" {
			out = append(out, it)
			continue
		}
		u := d.m.Family.FusedWith(d.t.Scheme, it.spec.Role)
		k := key{u.In(d.t.Scheme, it.layer), it.layer}
		join := joins[k]
		if join == nil {
			join = &item{name: k.fused, layer: it.layer, parts: make([]Part, len(u.Parts)), of: make([]*item, len(u.Parts))}
			joins[k] = join
			out = append(out, join)
		}
		join.of[slices.Index(u.Parts, it.spec.Role)] = it
	}
	var errs []error
	for _, it := range out {
		if it.of != nil {
			errs = append(errs, formats.At(it.fill(), d.m.Path()))
		}
	}
	d.items = out
	return errors.Join(errs...)
}

// fill makes a join of its parts, which the names stage has found to be there. Types that differ are widened to one that holds all.
func (it *item) fill() error {
	it.from = it.of[0].from
	for _, part := range it.of[1:] {
		switch {
		case it.from.Holds(part.from):
		case part.from.Holds(it.from):
			it.from = part.from
		case dtype.F32.Holds(it.from) && dtype.F32.Holds(part.from):
			it.from = dtype.F32
		default:
			return formats.Errorf(formats.BadDType, "got %s and %s in one tensor, and no type holds both", it.from, part.from).In(it.name, "")
		}
	}
	for i, part := range it.of {
		ops := append(slices.Clone(part.parts[0].Ops), part.ops...)
		if part.from != it.from {
			ops = append(ops, Op{Kind: "cast", From: part.from, To: it.from})
		}
		it.parts[i] = Part{From: part.parts[0].From, Ops: ops}
		if i == 0 {
			it.shape = slices.Clone(part.shape)
		} else {
			it.shape[0] += part.shape[0]
		}
	}
	it.of = nil
	return nil
}

// share turns items whose bytes are those of an earlier one, and that the source holds so, into aliases where the target has them.
func (d *draft) share() error {
	key := func(it *item) string { return fmt.Sprint(it.parts, it.ops, it.shape, it.to) }
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
