package convert

import "github.com/bowline-ml/bowline/formats"

// dialects write what is no tensor, each its own way.
var dialects = map[Dialect]func(*draft, *Plan) error{SideFiles: (*draft).sideFiles, Keys: (*draft).keys, Params: (*draft).params}

func (d *draft) dialect(p *Plan) error {
	if d.t.Dialect != Keys && (len(d.o.Set) > 0 || d.o.ChatTemplate != "") {
		return formats.Errorf(formats.Usage, "--set and --chat-template change the metadata of GGUF, got %s", d.t.Name)
	}
	err := dialects[d.t.Dialect](d, p)
	if err == nil && d.t.Dialect == Keys {
		p.Target.Metadata, err = d.edit(p.Target.Metadata)
	}
	p.Notes = d.notes
	return err
}
