package convert

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// configJSON is the config.json of the result: the source's own with the tie flag and the type brought up to date, or one made from the source's
// parameters. Nil if nothing says what the model is, or if its names are kept and no class of transformers reads them.
func (d *draft) configJSON(p *Plan) ([]byte, error) {
	m := d.m
	switch {
	case m.Doc != nil && !m.Keyed:
		doc, err := d.editConfig(p)
		if err != nil {
			return nil, err
		}
		return doc.Bytes(), nil
	case m.Config == nil || d.keep:
		return nil, nil
	}
	if m.Doc == nil { // names judges only where the scheme changes; a file that has the target's names gets a new config too
		if err := m.Family.Check(m.Config, d.t.Scheme); err != nil {
			return nil, formats.At(err, m.Path())
		}
	}
	c := *m.Config
	c.DType = torchNames[d.mainType(p)]
	for k := range m.Family.Tensors {
		row := &m.Family.Tensors[k]
		switch f := d.ev.Factors[row.Role]; {
		case f == nil:
		case m.Doc == nil:
			row.Take(&c, f)
		case !slices.Equal(f, row.Value(&c)):
			return nil, formats.Errorf(formats.Mismatch, "the config %s gives other divisors", m.Doc.Path).In(row.Role, "").At(m.Path(), -1)
		}
	}
	if c.Rope.Factors != nil && m.Doc == nil {
		rope, ok := config.Llama3(c.Rope.Factors, c.Rope.Theta, c.HeadDim)
		if !ok {
			return nil, formats.Errorf(formats.Unsupported, "no factor and original length of rope type llama3 gives these divisors").In("rope_freqs.weight", "").At(m.Path(), -1)
		}
		c.Rope = rope
		d.note(levelNote, "rope_freqs.weight", fmt.Sprintf("rope_scaling llama3: factor %g, original length %d", rope.Factor, rope.Original), "these parameters give the stored divisors bit for bit")
	}
	if m.Doc != nil {
		doc, err := d.editConfig(p)
		if err != nil {
			return nil, err
		}
		return doc.Bytes(), nil
	}
	c.Tie = nil
	if d.flag != nil || len(d.groups) > 0 && len(d.groups[0].Declared) > 0 { // keep leaves unsaid what the source does
		c.Tie = []config.Declared{{Path: "tie_word_embeddings", Value: d.statesTied(), Explicit: true}}
	}
	d.stated = &c
	if c.BOS == nil && c.EOS == nil && !m.Keyed {
		d.note(levelWarn, "config.json", "states no bos_token_id and eos_token_id", "params.json does not tell them, and transformers takes its class's defaults")
	}
	return c.ToHF(m.Family.Params(c.Architecture)), nil
}

// statesTied is the tie flag where one has to be written: the outcome's, or what the source declares.
func (d *draft) statesTied() bool {
	if d.flag != nil {
		return *d.flag
	}
	return len(d.groups) > 0 && (d.groups[0].column == colTrue || d.groups[0].column == colTrueDef)
}

// unstated are the places of config.json where readers look for the flag (the top, and a text_config if there is one) and where it does not
// say v.
func (d *draft) unstated(v bool) [][]string {
	var out [][]string
	for _, path := range [][]string{{"tie_word_embeddings"}, {"text_config", "tie_word_embeddings"}} {
		if said := (config.Declared{Path: strings.Join(path, "."), Value: v, Explicit: true}); d.m.Doc.IsObject(path[:len(path)-1]...) && !slices.Contains(d.m.Config.Tie, said) {
			out = append(out, path)
		}
	}
	return out
}

// editConfig changes the tie flag and the type in config.json and nothing else.
func (d *draft) editConfig(p *Plan) (*config.Doc, error) {
	doc := d.m.Doc
	var err error
	if d.flag != nil {
		for _, path := range d.unstated(*d.flag) {
			if doc, err = doc.Set(fmt.Sprint(*d.flag), path...); err != nil {
				return nil, err
			}
			d.note(levelNote, "config.json", fmt.Sprintf("%s: %v", strings.Join(path, "."), *d.flag), "the file says explicitly what the weights are")
		}
	}
	if c := d.m.Config; c != nil && doc.Has("rope_parameters") && !doc.Has("rope_scaling") {
		if theta, ok, _ := doc.Float("rope_theta"); c.Rope.Type != "default" || c.Rope.Theta != theta && (ok || c.Rope.Theta != 10000) {
			d.note(levelNote, "config.json", "rope_parameters stays", "transformers 4 does not read it, and will compute something else")
		}
	}
	if to := d.mainType(p); to != d.matrix && torchNames[to] != "" {
		for _, k := range []string{"dtype", "torch_dtype"} {
			if doc.Has(k) {
				if doc, err = doc.Set(config.Quote(torchNames[to]), k); err != nil {
					return nil, err
				}
			}
		}
	}
	return doc, nil
}

// mainType is the type that holds most bytes of the target's matrices.
func (d *draft) mainType(p *Plan) dtype.Type {
	n, best := map[dtype.Type]int64{}, dtype.Type("")
	for _, t := range p.Target.Tensors {
		if len(t.Shape) < 2 {
			continue
		}
		n[t.DType] += t.Bytes
		if best == "" || n[t.DType] > n[best] {
			best = t.DType
		}
	}
	return best
}
