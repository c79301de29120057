package convert

import (
	"slices"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
)

// AliasRecord is an entry of safetensors metadata that names a member of a group. Valid is that the name it says to use is stored, and its own not.
type AliasRecord struct {
	Name  string `json:"name"`
	Of    string `json:"of"`
	Valid bool   `json:"valid"`
}

// Rows are the sizes of the vocabulary as each place has them. What the tokenizer says is not looked up here.
type Rows struct {
	Embed     *int64 `json:"embed"`
	Head      *int64 `json:"head"`
	Config    *int64 `json:"config_vocab"`
	Tokenizer *int64 `json:"tokenizer_vocab"`
}

// ConfigWrite is a value that auto would put into config.json.
type ConfigWrite struct {
	Path  string `json:"path"`
	Value bool   `json:"value"`
}

// describe fills what a report says beyond the verdict.
func (g *Group) describe(m *arch.Model) {
	g.AliasRecords = g.aliasRecords(m)
	g.Rows = Rows{Embed: firstDim(g.embed), Head: firstDim(g.head)}
	if m.Config != nil {
		g.Rows.Config = &m.Config.Vocab
	}
	g.Quant = map[string]string{}
	for k, p := range g.Present {
		if t := m.Lookup(k); p != nil && t.DType.IsQuantized() {
			g.Quant[k] = p.DType
		}
	}
	for _, t := range m.Tensors {
		g.ParamsUnique += t.Elems()
	}
	g.ParamsTotal = g.ParamsUnique
	for _, a := range m.Aliases {
		if t := m.Lookup(a.Of); t != nil {
			g.ParamsTotal += t.Elems()
		}
	}
	if one := g.embed; g.Verdict == TiedShared || g.Verdict == TiedSharedHeadName {
		if one == nil {
			one = g.head
		}
		g.ParamsTotal += one.Elems()
	}
	g.outlook(m)
}

func firstDim(t *formats.Tensor) *int64 {
	if t == nil || len(t.Shape) == 0 {
		return nil
	}
	return &t.Shape[0]
}

// outlook is what auto would write into a Hugging Face directory, in that scheme's names.
func (g *Group) outlook(m *arch.Model) {
	g.ConfigWrites, g.NamesDropped, g.NamesWritten = []ConfigWrite{}, []string{}, []string{}
	if g.Verdict == Uncompared || g.cell.act == actRefuse || m.Config == nil {
		return
	}
	embed, head := m.Family.Names(arch.HF, g.tie.Source, 0), m.Family.Names(arch.HF, g.tie.Targets[0], 0)
	g.NamesWritten = append(g.NamesWritten, embed)
	switch g.cell.act {
	case actBoth, actSplit:
		g.NamesWritten = append(g.NamesWritten, head)
	default:
		if g.head != nil {
			g.NamesDropped = append(g.NamesDropped, head)
		}
	}
	if g.cell.act == actSplit {
		g.BytesAdded = g.head.Bytes
	}
	stated := false
	for _, d := range g.Declared {
		inConfig := m.Doc != nil && slices.Contains(m.Config.Tie, d)
		stated = stated || inConfig && d.Path == g.tie.Flag
		if inConfig && d.Value != g.cell.flag {
			g.ConfigWrites = append(g.ConfigWrites, ConfigWrite{d.Path, g.cell.flag})
		}
	}
	if !stated {
		g.ConfigWrites = append([]ConfigWrite{{g.tie.Flag, g.cell.flag}}, g.ConfigWrites...)
	}
}

// aliasRecords are the entries of safetensors metadata that name a member, as save_model of safetensors.torch writes them: the dropped
// name, then the kept one. No loader but its own asks them.
func (g *Group) aliasRecords(m *arch.Model) []AliasRecord {
	out := []AliasRecord{}
	if m.Format != "safetensors" {
		return out
	}
	ours := append([]string{g.SourceKey}, g.TargetKeys...)
	for _, kv := range m.Metadata {
		of, ok := kv.Value.(string)
		if !ok || !slices.Contains(ours, kv.Key) {
			continue
		}
		out = append(out, AliasRecord{Name: kv.Key, Of: of, Valid: slices.Contains(ours, of) && m.Header.Tensor(of) != nil && m.Header.Tensor(kv.Key) == nil})
	}
	return out
}
