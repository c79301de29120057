package convert

// dialects write what is no tensor, each its own way.
var dialects = map[Dialect]func(*draft, *Plan) error{SideFiles: (*draft).sideFiles, Keys: (*draft).keys, Params: (*draft).params}

func (d *draft) dialect(p *Plan) error {
	err := dialects[d.t.Dialect](d, p)
	p.Notes = d.notes
	return err
}
