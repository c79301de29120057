package convert

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// Relation is how the values of two members compare.
type Relation string

// The relations, in the order in which they are looked for.
const (
	Equal        Relation = "equal"
	CastEqual    Relation = "cast"
	Prefix       Relation = "prefix"
	Scaled       Relation = "scaled"
	Near         Relation = "near"
	Distinct     Relation = "distinct"
	Incomparable Relation = "incomparable"
)

// Distance says how far two members are apart, on their common rows.
type Distance struct {
	MaxAbs        formats.Number `json:"max_abs"`
	RelFro        formats.Number `json:"rel_fro"` // |head - embed| / |embed|, Frobenius
	MinRowCosine  formats.Number `json:"min_row_cosine"`
	RowsDiffering int64          `json:"rows_differing"`
	FirstRows     []int64        `json:"first_row_ids"`
	Scale         formats.Number `json:"scale"` // least-squares factor from embedding to head
}

// Comparison is the evidence of G: the values of the two members.
type Comparison struct {
	Relation Relation
	Distance Distance
	Digests  map[string]string // by name; nil if not asked for
}

// Present is a stored member of a group.
type Present struct {
	File   string  `json:"file"`
	DType  string  `json:"dtype"`
	Shape  []int64 `json:"shape"`
	Offset int64   `json:"offset"`
	Bytes  int64   `json:"bytes"`
}

// Group is one tie group, judged. It is the report of `bowline ties`.
type Group struct {
	ID            string              `json:"id"`
	SourceKey     string              `json:"source_key"`
	TargetKeys    []string            `json:"target_keys"`
	BiasPair      *string             `json:"bias_pair"` // the bias that is tied with it
	Declared      []config.Declared   `json:"declared"`
	ClassDefault  *ClassDefault       `json:"class_default"`
	AliasRecords  []AliasRecord       `json:"alias_records"`
	Present       map[string]*Present `json:"present"`
	Storage       string              `json:"storage_relation"`
	ValueRelation *Relation           `json:"value_relation"`
	Digest        map[string]string   `json:"digest"` // SHA-256 of the stored bytes, null if not asked for
	Distance      *Distance           `json:"distance"`
	Rows          Rows                `json:"rows"`
	Quant         map[string]string   `json:"quant"`
	Verdict       Verdict             `json:"verdict"`
	Flags         []string            `json:"flags"`
	Action        string              `json:"action"`
	ConfigWrites  []ConfigWrite       `json:"config_writes"` // these and what follows are what auto does for a Hugging Face directory
	NamesDropped  []string            `json:"names_dropped"`
	NamesWritten  []string            `json:"names_written"`
	BytesSaved    int64               `json:"bytes_saved"`
	BytesAdded    int64               `json:"bytes_added"`
	ParamsTotal   int64               `json:"params_total"`  // a tied head counted again
	ParamsUnique  int64               `json:"params_unique"` // each stored value once
	Notes         []string            `json:"reader_notes"`
	Reads         Readings            `json:"-"`
	tie           *arch.Tie
	cell          cell
	column        declared
	same          bool // the two hold the same values
	both          bool
	embed, head   *formats.Tensor
	more          []*kin // that are tied whatever the flag says
	level         string
}

// kin is a member of a group beyond its source and the one that the flag is about.
type kin struct {
	role, key string
	t         *formats.Tensor // nil if it is not stored
	relation  Relation        // to the source, once it is known
}

// ClassDefault is what readers assume where the flag is absent: the default of the class, which changed between majors of transformers.
type ClassDefault struct {
	Value bool            `json:"value"`
	Basis string          `json:"basis"`
	Each  map[string]bool `json:"each"`
}

// Groups finds the tie groups of a model from headers alone. Members that are both stored have verdict UNCOMPARED until Judge has evidence.
// A model of an unknown family has none.
func Groups(m *arch.Model) []*Group {
	family := m.Family
	if family == nil && m.Class == "" && !m.Bare && m.Foreign == "" {
		family = named(m)
	}
	if family == nil {
		return nil
	}
	var out []*Group
	for i := range family.Ties {
		t := &family.Ties[i]
		g := &Group{ID: t.ID, tie: t, SourceKey: m.Called(family.Names(m.Scheme, t.Source, 0)), Present: map[string]*Present{}, Flags: []string{}, Notes: []string{}, Storage: "none"}
		for _, r := range t.Targets {
			g.TargetKeys = append(g.TargetKeys, m.Called(family.Names(m.Scheme, r, 0)))
		}
		g.embed, g.head = m.Lookup(g.SourceKey), m.Lookup(g.TargetKeys[0])
		for i, r := range t.Targets[1:] {
			k := &kin{role: r, key: g.TargetKeys[1+i], t: m.Lookup(g.TargetKeys[1+i])}
			if g.more = append(g.more, k); k.t != nil && g.embed == nil { // it stands for the source
				g.embed = k.t
			}
		}
		for _, b := range family.Ties {
			if s := family.Tensor(b.Source); s.Kind == arch.Bias && b.ID != t.ID {
				key := m.Called(s.In(m.Scheme, 0))
				g.BiasPair = &key
			}
		}
		for _, k := range append([]string{g.SourceKey}, g.TargetKeys...) {
			g.Present[k] = nil
			if s := m.Lookup(k); s != nil {
				g.Present[k] = &Present{File: s.File, DType: string(s.DType), Shape: s.Shape, Offset: s.Offset, Bytes: s.Bytes}
			}
		}
		g.declare(m)
		g.both = g.embed != nil && g.head != nil
		if g.both {
			switch e, h := g.embed, g.head; {
			case e.Name == h.Name:
				g.Storage = "same"
			case e.File == h.File && e.Offset < h.Offset+h.Bytes && h.Offset < e.Offset+e.Bytes:
				g.Storage = "overlap"
			default:
				g.Storage = "disjoint"
			}
		}
		g.Judge(nil)
		out = append(out, g)
	}
	return out
}

// named is the first family of which a file without any config has the embedding and the head by name: what they are to each other can be told, and
// that nothing declares it. Nil if there is none.
func named(m *arch.Model) *arch.Family {
	for _, f := range arch.All() {
		for _, t := range f.Ties {
			if m.Lookup(f.Names(m.Scheme, t.Source, 0)) != nil && m.Lookup(f.Names(m.Scheme, t.Targets[0], 0)) != nil {
				return f
			}
		}
	}
	return nil
}

// declare collects what is said about the tie, and the column of the matrix that follows.
func (g *Group) declare(m *arch.Model) {
	g.Declared = []config.Declared{}
	if m.Keyed {
		// GGUF has no key: the head's absence declares the tie, its presence denies it, whatever a config beside it says.
		tied := g.head == nil || g.tie.Slot == arch.Forbidden
		g.Declared = append(g.Declared, config.Declared{Path: g.TargetKeys[0], Value: tied, Explicit: true})
	}
	switch {
	case m.Config == nil:
	case m.Doc != nil:
		g.ClassDefault = &ClassDefault{Value: g.tie.Default[m.Config.Major()], Basis: fmt.Sprintf("%s, transformers %d", m.Config.Architecture, m.Config.Major()), Each: map[string]bool{}}
		for v, d := range g.tie.Default {
			g.ClassDefault.Each[fmt.Sprint(v)] = d
		}
	case m.Params != nil: // TransformerArgs declares no tie unless it is told
		g.ClassDefault = &ClassDefault{Value: false, Basis: "TorchChat, TransformerArgs", Each: map[string]bool{}}
	}
	if m.Config != nil {
		g.Declared = append(g.Declared, m.Config.Tie...)
	}
	switch {
	case len(g.Declared) > 0:
	case g.ClassDefault != nil:
		g.column = map[bool]declared{true: colTrueDef, false: colFalseDef}[g.ClassDefault.Value]
		g.flag("default_dependent")
		return
	default:
		g.column = colUnknown
		return
	}
	first := g.Declared[0].Value
	for _, d := range g.Declared {
		if d.Value != first {
			g.flag("config_conflict")
		}
	}
	g.column = map[bool]declared{true: colTrue, false: colFalse}[first]
}

func (g *Group) flag(name string) {
	for _, f := range g.Flags {
		if f == name {
			return
		}
	}
	g.Flags = append(g.Flags, name)
}

// Needs reports whether only the data of the two members can tell.
func (g *Group) Needs() bool { return g.both && g.Storage != "same" }

// questions are what only data can tell of a group.
func (g *Group) questions(digest bool) []Question {
	var qs []Question
	if g.Needs() {
		qs = append(qs, Question{Tie: g.ID, Digest: digest})
	}
	for _, k := range g.more {
		if k.t != nil && k.t.Name != g.embed.Name {
			qs = append(qs, Question{Tie: g.ID, Member: k.key, Digest: digest})
		}
	}
	return qs
}

// settle judges the group by the evidence.
func (g *Group) settle(ev *Evidence) {
	for _, k := range g.more {
		switch c := ev.Ties[Question{Tie: g.ID, Member: k.key}.members()]; {
		case k.t == nil:
		case k.t.Name == g.embed.Name:
			k.relation = Equal
		case c != nil:
			k.relation = c.Relation
		}
		if k.t != nil && !k.equal() {
			g.flag("member_differs")
		}
	}
	g.Judge(ev.Ties[g.ID])
}

// equal reports whether the member holds the values of the source.
func (k *kin) equal() bool { return k.relation == Equal || k.relation == CastEqual }

// state is the row of the matrix.
func (g *Group) state(c *Comparison) string {
	switch {
	case g.embed == nil && g.head == nil:
		return "neither"
	case g.head == nil:
		return "source only"
	case g.embed == nil:
		return "head only"
	case g.Storage == "same":
		return aliased
	case g.Storage == "overlap":
		return overlapping
	case c.Relation != Equal && (g.embed.DType.IsQuantized() || g.head.DType.IsQuantized()) && g.embed.DType != g.head.DType && c.Relation != Incomparable:
		return "quantized differently"
	}
	return string(c.Relation)
}

// Judge gives the verdict. c is the comparison of the values, nil where it was not made.
func (g *Group) Judge(c *Comparison) {
	if g.Needs() && c == nil {
		g.Verdict, g.Action = Uncompared, string(actNothing)
		return
	}
	if c != nil && g.both {
		r := c.Relation
		g.ValueRelation, g.Digest = &r, c.Digests
		if r != Incomparable {
			d := c.Distance
			g.Distance = &d
		}
	}
	if g.Storage == "same" {
		r := Equal
		g.ValueRelation = &r
	}
	state := g.state(c)
	g.same = state == aliased || state == string(Equal) || state == string(CastEqual)
	g.cell = matrix[state][g.column]
	g.Verdict, g.Action, g.level = g.cell.verdict, string(g.cell.act), g.cell.level
	if g.cell.act == actOnce && g.head != nil && g.Storage != "same" {
		g.BytesSaved = min(g.embed.Bytes, g.head.Bytes)
	}
	holdsTied := g.Verdict.Tied()
	declaresTied := g.column == colTrue
	if (g.column == colTrue || g.column == colFalse) && g.Verdict != UntiedEqual && g.Verdict != TiedDuplicate && holdsTied != declaresTied {
		g.flag("config_wrong")
	}
}

// states reports whether a level says something explicitly.
func (g *Group) states(path string) bool {
	return slices.ContainsFunc(g.Declared, func(d config.Declared) bool { return d.Path == path })
}

// Consistent reports whether what is declared explicitly, at every level, is what the file holds.
func (g *Group) Consistent(m *arch.Model) (bool, string) {
	switch {
	case len(g.Declared) == 0 && g.column == colUnknown:
		return false, "there is no config that could declare it"
	case m.Doc != nil && m.Config != nil && !g.states(g.tie.Flag), m.Params != nil && !g.states(config.ParamsTie):
		return false, "the flag " + g.tie.Flag + " is absent, and readers differ in what they assume"
	}
	if m.Scheme == arch.GGUF {
		switch {
		case g.tie.Slot == arch.Required && g.head == nil:
			return false, "the runtime of this architecture needs " + g.TargetKeys[0] + ", and it is absent"
		case g.tie.Slot == arch.Forbidden && g.head != nil:
			return false, "the runtime of this architecture takes no " + g.TargetKeys[0] + ", and it is stored"
		}
	}
	for _, f := range g.Flags {
		if f == "config_conflict" {
			return false, "the levels at which the flag is stated contradict each other"
		}
		if f == "index_dangling" {
			return false, "the index lists a tensor that no file holds"
		}
	}
	for _, k := range g.more {
		if k.t != nil && !k.equal() {
			return false, k.key + " differs from " + g.SourceKey + ", which programs use in its place"
		}
	}
	if g.ValueRelation != nil && *g.ValueRelation == Equal && g.both && g.Storage != "same" {
		return true, "two equal copies are stored: one is redundant"
	}
	declaresTied := g.column == colTrue
	if declaresTied && g.Verdict.Tied() || !declaresTied && g.Verdict.Untied() {
		return true, ""
	}
	why := fmt.Sprintf("declared %s, but the verdict is %s", map[bool]string{true: "tied", false: "untied"}[declaresTied], g.Verdict)
	return false, why
}

// Describe says in words how two members differ.
func (g *Group) Describe() string {
	if g.Distance == nil || g.ValueRelation == nil || *g.ValueRelation == Equal || g.embed == nil || g.head == nil {
		return ""
	}
	d := g.Distance
	rows := g.embed.Shape[0]
	if len(g.head.Shape) > 0 {
		rows = min(rows, g.head.Shape[0])
	}
	var ids []string
	for _, r := range d.FirstRows {
		ids = append(ids, fmt.Sprint(r))
	}
	list := strings.Join(ids, ", ")
	if int64(len(ids)) < d.RowsDiffering {
		list += ", ..."
	}
	s := fmt.Sprintf("%d of %d rows differ", d.RowsDiffering, rows)
	if list != "" {
		s += " (rows " + list + ")"
	}
	return s + fmt.Sprintf(", max abs %s, relative Frobenius %s", d.MaxAbs, d.RelFro)
}

// JudgeOptions are what to find out beyond the verdict.
type JudgeOptions struct {
	Digest bool // SHA-256 of members that are compared, which takes several times as long as comparing them
}

// Judged finds and judges the tie groups of a model, reading both members where both are stored.
func Judged(ctx context.Context, m *arch.Model, o JudgeOptions) ([]*Group, error) {
	groups := Groups(m)
	if m.Family == nil && len(groups) == 0 && m.Foreign == "" {
		return discovered(ctx, m)
	}
	var qs []Question
	for _, g := range groups {
		qs = append(qs, g.questions(o.Digest)...)
		for _, n := range m.Dangling {
			if g.embed != nil && slices.Contains(g.TargetKeys, n) {
				g.flag("index_dangling")
			}
		}
	}
	ev, err := Gather(ctx, m, qs)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		g.settle(ev)
		g.read(m)
		g.describe(m)
	}
	return groups, nil
}
