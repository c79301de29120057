package convert

import (
	"context"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// discovered are the ties of a model of no known family: matrices with a row for each token that share a storage or have equal bytes. Nothing
// says which is the source; the one whose name speaks of an embedding is called so.
func discovered(ctx context.Context, m *arch.Model) ([]*Group, error) {
	rows, err := vocabulary(m)
	if err != nil {
		return nil, err
	}
	wide := map[string]bool{}
	for _, t := range m.Tensors {
		wide[t.Name] = len(t.Shape) == 2 && t.Shape[0] == rows && t.Bytes > 0
	}
	equal, _, err := same(ctx, m, func(t *formats.Tensor) bool { return wide[t.Name] })
	if err != nil {
		return nil, err
	}
	sets := map[string][]string{}
	for _, n := range stored(m) {
		if wide[n.t.Name] {
			of := n.t.Name
			if first, ok := equal[of]; ok {
				of = first
			}
			sets[of] = append(sets[of], n.name)
		}
	}
	var out []*Group
	for _, t := range m.Tensors {
		names := sets[t.Name]
		if len(names) < 2 {
			continue
		}
		slices.SortStableFunc(names, func(a, b string) int { return embeds(b) - embeds(a) })
		g := &Group{ID: "found", SourceKey: names[0], TargetKeys: names[1:], Present: map[string]*Present{}, Flags: []string{}, Notes: []string{}, Storage: "same",
			tie: &arch.Tie{ID: "found", Flag: "tie_word_embeddings"}, embed: m.Lookup(names[0]), head: m.Lookup(names[1]), both: true, Declared: []config.Declared{}}
		if g.embed.Name != g.head.Name {
			g.Storage = "disjoint"
		}
		for _, n := range names {
			s := m.Lookup(n)
			g.Present[n] = &Present{File: s.File, DType: string(s.DType), Shape: s.Shape, Offset: s.Offset, Bytes: s.Bytes}
		}
		if err := g.stated(m.Doc); err != nil {
			return nil, err
		}
		g.Judge(&Comparison{Relation: Equal})
		g.Action = string(actKeep) // names and tensors of such a model are kept
		g.BytesSaved = 0
		g.describe(m)
		out = append(out, g)
	}
	return out, nil
}

// stated reads the flag of a config that no table reads.
func (g *Group) stated(d *config.Doc) error {
	g.column = colUnknown
	if d == nil {
		return nil
	}
	for _, path := range [][]string{{"tie_word_embeddings"}, {"text_config", "tie_word_embeddings"}} {
		v, ok, err := d.Bool(path...)
		if err != nil {
			return err
		}
		if ok {
			g.Declared = append(g.Declared, config.Declared{Path: strings.Join(path, "."), Value: v, Explicit: true})
		}
	}
	if len(g.Declared) > 0 {
		g.column = map[bool]declared{true: colTrue, false: colFalse}[g.Declared[0].Value]
	}
	return nil
}

// vocabulary is how many rows an embedding has: what config.json says, else the most that a matrix has.
func vocabulary(m *arch.Model) (int64, error) {
	if m.Doc != nil {
		for _, path := range [][]string{{"vocab_size"}, {"text_config", "vocab_size"}} {
			if v, ok, err := m.Doc.Int(path...); ok || err != nil {
				return v, err
			}
		}
	}
	most := int64(0)
	for _, t := range m.Tensors {
		if len(t.Shape) == 2 {
			most = max(most, t.Shape[0])
		}
	}
	return most, nil
}

// embeds is 1 for a name that speaks of an embedding.
func embeds(name string) int {
	for _, word := range []string{"embed", "wte", "emb.", "shared"} {
		if strings.Contains(name, word) {
			return 1
		}
	}
	return 0
}
