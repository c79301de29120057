package convert

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
)

// outcome is what the target is to hold of a tie group.
type outcome struct {
	embed, head *formats.Tensor // whose data each name gets; nil leaves the name out
	alias       bool            // the head is another name of the embedding
	flag        *bool           // nil writes none
}

// ties judges each group and makes the policy's outcome true of the items.
func (d *draft) ties() error {
	if d.m.Foreign == "" && d.m.Family != nil {
		d.groups = Groups(d.m)
	}
	var errs []error
	if err := d.m.Incomplete(); err != nil {
		errs = append(errs, err)
	}
	for _, g := range d.groups {
		if g.embed != nil && slices.ContainsFunc(d.m.Dangling, func(n string) bool { return slices.Contains(g.TargetKeys, n) }) {
			g.flag("index_dangling")
		}
	}
	if len(d.groups) == 0 {
		switch d.o.Ties {
		case TieAny, TieEmbed, TieHead, Untie:
			return formats.Errorf(formats.Tie, "--ties %s: which tensors are tied is known of known families only", d.o.Ties).At(d.m.Path(), -1)
		}
		return errors.Join(errs...)
	}
	for _, g := range d.groups {
		g.settle(d.ev)
		if g.Verdict == Uncompared {
			return errors.New("convert: tie group without evidence")
		}
		out, err := d.decide(g)
		if err == nil {
			err = d.fits(g, &out)
		}
		if err != nil {
			errs = append(errs, formats.At(err, d.m.Path()))
			continue
		}
		d.apply(g, out)
	}
	return errors.Join(errs...)
}

// decide turns a verdict and a policy into an outcome.
func (d *draft) decide(g *Group) (outcome, error) {
	yes, no := true, false
	now := outcome{embed: g.embed, head: g.head}
	differ := g.both && !g.same
	refuse := func(hint, format string, args ...any) (outcome, error) {
		return outcome{}, formats.Errorf(formats.Tie, format, args...).In(g.TargetKeys[0], "").Hinted("%s", hint)
	}
	one := g.embed
	if one == nil {
		one = g.head
	}
	if one == nil {
		return refuse("the checkpoint is incomplete", "neither %s nor %s is stored", g.SourceKey, g.TargetKeys[0])
	}
	if g.Storage == "overlap" && d.o.Ties != Untie {
		return refuse("--ties untie stores two copies", "%s: %s and %s have a part of one storage in common, which no format but PyTorch's says and no program means", g.Verdict, g.SourceKey, g.TargetKeys[0])
	}
	switch p := d.o.Ties; p {
	case Keep:
		if now.alias = g.Storage == "same"; now.alias && !d.t.Format.Aliases.Shares() {
			return refuse("--ties auto, tie or untie", "%s and %s share one storage, which %s cannot say", g.SourceKey, g.TargetKeys[0], d.t.Name)
		}
		return now, nil
	case TieAny, TieEmbed, TieHead:
		if p == TieHead && g.head != nil {
			one = g.head
		}
		if differ {
			if !d.o.DiscardDiffering || p == TieAny {
				return refuse("--ties tie=embed or tie=head with --discard-differing drops one of them", "the members differ: %s", orShapes(g))
			}
			d.note(levelWarn, g.TargetKeys[0], fmt.Sprintf("%s is dropped although it differs", map[bool]string{true: g.SourceKey, false: g.TargetKeys[0]}[p == TieHead]), "--discard-differing: "+orShapes(g))
		}
		one = d.lossless(g, one)
		if rows := d.m.Family.Tensor(g.tie.Source).Shape[0](d.m.Config); len(one.Shape) > 0 && one.Shape[0] != rows {
			return outcome{}, formats.Errorf(formats.BadShape, "got %d rows, and the config wants %d of the one that is left", one.Shape[0], rows).In(one.Name, "")
		}
		return outcome{embed: one, flag: &yes}, nil
	case Untie:
		if g.both {
			return outcome{embed: g.embed, head: g.head, flag: &no}, nil
		}
		d.note(levelNote, g.TargetKeys[0], "stored as a copy of "+one.Name, "--ties untie")
		return outcome{embed: one, head: one, flag: &no}, nil
	}
	c := g.cell
	because := d.because(g)
	flag := &c.flag
	if g.column == colUnknown && d.m.Config == nil {
		flag = nil
	}
	switch c.act {
	case actRefuse:
		switch g.Verdict {
		case HeadMissing:
			return refuse("--ties tie makes it a tied model", "the config says untied, but %s is not stored", g.TargetKeys[0])
		case EmbedMissing:
			return refuse("--ties tie makes it a tied model", "the config says untied, but %s is not stored", g.SourceKey)
		}
		return refuse("--ties keep copies both", "%s: %s", g.Verdict, orShapes(g))
	case actRename:
		d.note(c.level, g.TargetKeys[0], "stored as "+g.SourceKey, because)
		return outcome{embed: g.head, flag: flag}, nil
	case actOnce:
		decision := "dropped: the target holds it once, as " + g.SourceKey
		if d.t.Tied.Shares() {
			decision = "one storage with " + g.SourceKey
		}
		d.note(c.level, g.TargetKeys[0], decision, because)
		return outcome{embed: d.lossless(g, g.embed), flag: flag}, nil
	case actSplit:
		d.note(c.level, g.TargetKeys[0], "stored as a second copy", because)
	case actBoth:
		if c.level != levelOK {
			d.note(c.level, g.TargetKeys[0], "both kept", because)
		}
	case actKeep:
		if c.level != levelOK {
			d.note(c.level, g.SourceKey, "tied", because)
		}
	}
	return outcome{embed: now.embed, head: now.head, flag: flag}, nil
}

// lossless is the member whose type holds the values of the other: of two that are equal after a cast, the narrower, which loses nothing.
func (d *draft) lossless(g *Group, t *formats.Tensor) *formats.Tensor {
	if g.both && g.same && d.o.Ties != TieHead && d.o.Ties != TieEmbed && g.head.Bytes < g.embed.Bytes && g.embed.DType.Holds(g.head.DType) {
		return g.head
	}
	return t
}

func orShapes(g *Group) string {
	if s := g.Describe(); s != "" {
		return s
	}
	if !g.both {
		return "only one is stored"
	}
	return fmt.Sprintf("shapes %v and %v", g.embed.Shape, g.head.Shape)
}

// because says why, in the words of the matrix.
func (d *draft) because(g *Group) string {
	said := map[declared]string{
		colTrue: "declared tied", colFalse: "declared untied", colTrueDef: "the flag is absent and the class defaults to tied",
		colFalseDef: "the flag is absent and the class defaults to untied", colUnknown: "nothing declares it",
	}[g.column]
	holds := map[Verdict]string{
		TiedShared: "only the embedding is stored", TiedSharedHeadName: "only the head is stored", TiedAliased: "both names share one storage",
		TiedDuplicate: "the two are equal", TiedCast: "the two are equal after widening", UntiedEqual: "the two are equal",
		HeadMissing: "only the embedding is stored", EmbedMissing: "only the head is stored",
	}[g.Verdict]
	if holds == "" {
		holds = "the two differ: " + orShapes(g)
	}
	return said + ", and " + holds
}

// fits holds an outcome against what the target can say.
func (d *draft) fits(g *Group, out *outcome) error {
	if tied := out.head == nil && out.embed != nil; tied && d.t.Tied.Shares() && d.o.Ties != Keep {
		out.head, out.alias = out.embed, true
	}
	if !d.t.Fixed || d.keep && d.m.Scheme != d.t.Scheme { // no runtime reads kept names
		return nil
	}
	refuse := func(code formats.Code, hint, format string, args ...any) error {
		return formats.Errorf(code, format, args...).In(g.TargetKeys[0], "").Hinted("%s", hint)
	}
	const runtime = "the runtime of this architecture "
	tied, keep, slot := out.head == nil, d.o.Ties == Keep, g.tie.Slot
	switch {
	case out.embed == nil:
		return refuse(formats.Tie, "--ties tie", "%s has no way to hold a head without an embedding", d.t.Name)
	case !tied && !slices.Equal(out.embed.Shape, out.head.Shape):
		return refuse(formats.BadShape, "", "got shape %v beside %v of %s: %s fixes the shape", out.head.Shape, out.embed.Shape, g.SourceKey, d.t.Name)
	case d.t.Tied != formats.Absence: // a flag says what is meant, and there is no slot
	case keep && tied && slot == arch.Required:
		return refuse(formats.Tie, "--ties auto stores a copy", "%sneeds it, and the source does not hold it", runtime)
	case keep && !tied && slot == arch.Forbidden:
		return refuse(formats.Tie, "--ties auto", "%salways uses the embedding", runtime)
	case keep && tied && slot == arch.Optional && g.column == colFalse:
		return refuse(formats.Tie, "--ties tie or untie", "an absent head declares a tie in %s, but the source declares none", d.t.Name)
	case keep && !tied && slot == arch.Optional && g.column == colTrue:
		return refuse(formats.Tie, "--ties auto, tie or untie", "a stored head denies the tie in %s, but the source declares one", d.t.Name)
	case tied && slot == arch.Required:
		out.head = out.embed
		d.note(levelNote, g.TargetKeys[0], "stored as a second copy", runtime+"has no tie")
	case !tied && slot == arch.Forbidden && (d.o.Ties == Untie || !g.same && g.both):
		return refuse(formats.Tie, "--ties tie", "%salways uses the embedding", runtime)
	case !tied && slot == arch.Forbidden:
		yes := true
		d.note(levelNote, g.TargetKeys[0], "dropped", runtime+"always uses the embedding, and the two are equal")
		*out = outcome{embed: d.lossless(g, g.embed), flag: &yes}
	}
	return nil
}

// headed gives the tensors of a model that was saved without a head the names that they have beside one: transformers calls a file that holds both
// corrupted (modeling_utils.py of 4.57, _load_pretrained_model).
func (d *draft) headed() {
	if !d.m.Headless() {
		return
	}
	for _, it := range d.items {
		it.name = d.m.Family.Base + it.name
	}
	d.note(levelNote, "names", "begin with "+d.m.Family.Base, "the source is a model without a head, and the result has one")
}

// apply makes the items hold the outcome.
func (d *draft) apply(g *Group, out outcome) {
	specs := map[string]*arch.Tensor{g.tie.Source: nil, g.tie.Targets[0]: nil}
	for r := range specs {
		specs[r] = d.m.Family.Tensor(r)
	}
	name := func(role string) string {
		if d.keep || d.m.Scheme == d.t.Scheme {
			return d.m.Called(specs[role].In(d.m.Scheme, 0))
		}
		return specs[role].In(d.t.Scheme, 0)
	}
	set := func(role string, t *formats.Tensor) {
		at := -1
		for i, it := range d.items {
			if it.name == name(role) {
				at = i
			}
		}
		switch {
		case t == nil && at >= 0:
			d.items = append(d.items[:at:at], d.items[at+1:]...)
		case t != nil && at < 0:
			it := &item{spec: specs[role], name: name(role), shape: t.Shape, from: t.DType, runs: []run{whole(t)}}
			if specs[role].Kind == arch.Head && d.m.Scheme == d.t.Scheme {
				d.headed()
			}
			if role == g.tie.Source {
				d.items = append([]*item{it}, d.items...)
			} else {
				d.items = append(d.items, it)
			}
		case t != nil:
			d.items[at].shape, d.items[at].from, d.items[at].runs = t.Shape, t.DType, []run{whole(t)}
		}
		for _, it := range d.items {
			if it.name == name(role) {
				it.shared = out.alias && role != g.tie.Source
			}
		}
	}
	before, after := int64(0), int64(0)
	for _, t := range []*formats.Tensor{g.embed, g.head} {
		if t != nil {
			before += t.Bytes
		}
	}
	for _, t := range []*formats.Tensor{out.embed, out.head} {
		if t != nil {
			after += t.Bytes
		}
	}
	if out.alias {
		after -= out.head.Bytes
	}
	if g.Storage == "same" {
		before = g.embed.Bytes
	}
	d.saved += before - after
	set(g.tie.Source, out.embed)
	set(g.tie.Targets[0], out.head)
	d.want[g.ID] = out.head == nil || out.embed == nil || out.alias
	for _, k := range g.more {
		switch {
		case k.t == nil || d.o.Ties == Keep:
		case !k.equal():
			d.note(levelWarn, k.key, "kept beside "+g.SourceKey, "the two differ, and programs use "+g.SourceKey+" in its place")
		default:
			specs[k.role] = d.m.Family.Tensor(k.role)
			one := k.t
			if out.embed != nil {
				one = out.embed
			}
			if out.alias = d.t.Tied.Shares(); !out.alias {
				if k.t.Name != one.Name {
					d.saved += k.t.Bytes
				}
				one = nil
				d.note(levelOK, k.key, "dropped: the target holds it once, as "+g.SourceKey, "the two are always tied, and are equal")
			}
			set(k.role, one)
		}
	}
	d.flag = out.flag
}

// Rejudge holds a written result against its plan: every tie group must be what was planned, and what the result declares must be what it
// holds, or the result must not be kept.
func (p *Plan) Rejudge(ctx context.Context, staged *arch.Model) error {
	if len(p.Want) == 0 {
		return nil
	}
	var errs []error
	groups, err := Judged(ctx, staged, JudgeOptions{})
	if err != nil {
		return err
	}
	// A single file has no config of its own; what lies beside it is not of this plan.
	declares := p.Flag != nil && (p.Dest.Dir || p.To.Tied == formats.Absence)
	for _, g := range groups {
		want, planned := p.Want[g.ID]
		if !planned {
			continue
		}
		if one := g.embed == nil || g.head == nil || g.Storage == "same"; one != want {
			errs = append(errs, formats.Errorf(formats.Tie, "the written file is %s, the plan wanted %s", g.Verdict, map[bool]string{true: "one copy", false: "two"}[want]).In(g.TargetKeys[0], ""))
		} else if said := g.says(); declares && p.Dest.Dir && (said == nil || *said != *p.Flag) {
			errs = append(errs, formats.Errorf(formats.Tie, "the written file does not state %s: %v at every level", g.tie.Flag, *p.Flag).In(g.TargetKeys[0], ""))
		} else if ok, why := g.Consistent(staged); declares && !ok {
			errs = append(errs, formats.Errorf(formats.Tie, "the written file is not consistent: %s", why).In(g.TargetKeys[0], ""))
		}
	}
	return errors.Join(errs...)
}

// says is what is declared, where every level says the same; nil otherwise.
func (g *Group) says() *bool {
	for _, d := range g.Declared {
		if d.Value != g.Declared[0].Value {
			return nil
		}
	}
	if len(g.Declared) == 0 {
		return nil
	}
	return &g.Declared[0].Value
}
