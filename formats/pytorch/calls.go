package pytorch

import (
	"slices"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
)

// call stands for the call of f. A few functions make containers or describe tensors; the result of any other is an object that is not
// made.
func (m *machine) call(f, args any, op string) {
	if m.fatal != nil {
		return
	}
	a, ok := args.(*node)
	if !ok || a.kind != tuple {
		m.fail(formats.BadType, "got %s with arguments that are %s, want a tuple", op, describe(args))
		return
	}
	switch f := f.(type) {
	case *global:
		m.push(m.apply(f, a.items))
	case *node:
		if f.kind == inert || f.kind == refused { // a call of what a call gave
			if m.spend(valueBytes * len(a.items)) {
				m.push(m.object(f.kind, f.class, append([]any{f}, a.items...)))
			}
			return
		}
		m.fail(formats.BadType, "got %s of %s, want a class or function", op, describe(f))
	default:
		m.fail(formats.BadType, "got %s of %s, want a class or function", op, describe(f))
	}
}

func (m *machine) apply(f *global, args []any) any {
	full := f.String()
	switch full {
	case fromType, fromTypeV2:
		return m.rebuildFromType(f, args)
	case loadStorage:
		return m.within(f, args)
	}
	if make, ok := rebuilds[full]; ok {
		if make == nil {
			return m.object(refused, f, args)
		}
		return make(m, f, args)
	}
	switch full {
	case "collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict":
		if full == "collections.defaultdict" && len(args) > 0 {
			args = args[1:] // the factory
		}
		return m.mapping(f, args)
	case "builtins.set", "builtins.frozenset":
		return m.sequence(f, set, args)
	case "builtins.list":
		return m.sequence(f, list, args)
	case "builtins.tuple", "torch.Size":
		return m.sequence(f, tuple, args)
	case "_codecs.encode":
		return m.encode(f, args)
	}
	return m.object(inert, f, args)
}

// mapping is dict() of nothing, of a dictionary, or of pairs, as Python 2 pickles an OrderedDict.
func (m *machine) mapping(f *global, args []any) any {
	if len(args) == 0 {
		return m.newDict(nil)
	}
	if len(args) > 1 {
		return m.object(inert, f, args)
	}
	switch from := args[0].(type) {
	case *dict:
		d := m.newDict(nil)
		if m.spend(entryBytes * len(from.entries)) {
			d.entries, d.depth = slices.Clone(from.entries), from.depth
		}
		return d
	case *node:
		if from.kind != list && from.kind != tuple {
			break
		}
		if !m.spend(2 * valueBytes * len(from.items)) {
			return nil
		}
		items := make([]any, 0, 2*len(from.items))
		for _, v := range from.items {
			pair, ok := v.(*node)
			if !ok || len(pair.items) != 2 || pair.kind != list && pair.kind != tuple {
				m.fail(formats.BadType, "got %s in the arguments of %s, want pairs", describe(v), f)
				return nil
			}
			items = append(items, pair.items...)
		}
		return m.newDict(items)
	}
	return m.object(inert, f, args)
}

func (m *machine) sequence(f *global, k kind, args []any) any {
	if len(args) == 0 {
		return m.object(k, nil, nil)
	}
	if from, ok := args[0].(*node); ok && len(args) == 1 && (from.kind == list || from.kind == tuple || from.kind == set) {
		return m.object(k, nil, from.items)
	}
	return m.object(inert, f, args)
}

// encode is how protocols 0 to 2 write bytes: as text whose runes are the bytes.
func (m *machine) encode(f *global, args []any) any {
	if len(args) != 2 || args[1] != text("latin1") && args[1] != text("latin-1") {
		return m.object(inert, f, args)
	}
	s, ok := args[0].(text)
	if !ok {
		return m.object(inert, f, args)
	}
	if !m.spend(2 * len(s)) {
		return nil
	}
	b := make([]byte, 0, len(s))
	for _, r := range string(s) {
		if r > 0xff || r == utf8.RuneError {
			m.fail(formats.BadType, "got text that is no bytes in Latin-1")
			return nil
		}
		b = append(b, byte(r))
	}
	return raw(b)
}

func (m *machine) newObjectEx() {
	kwargs, args, class := m.pop(), m.pop(), m.pop()
	if m.fatal != nil {
		return
	}
	if _, ok := kwargs.(*dict); !ok {
		m.fail(formats.BadType, "got NEWOBJ_EX with keywords that are %s, want a dict", describe(kwargs))
		return
	}
	a, ok := args.(*node)
	g, isClass := class.(*global)
	if !ok || a.kind != tuple || !isClass {
		m.fail(formats.BadType, "got NEWOBJ_EX of %s with %s, want a class and a tuple", describe(class), describe(args))
		return
	}
	k := inert
	if _, ok := rebuilds[g.String()]; ok {
		k = refused
	}
	if m.spend(valueBytes * len(a.items)) {
		m.push(m.object(k, g, append(append([]any(nil), a.items...), kwargs)))
	}
}

// build gives an object its state. That of a dictionary is attributes: _metadata, the versions of modules, which loaders of bare
// dictionaries do without.
func (m *machine) build(to, state any) {
	if m.fatal != nil {
		return
	}
	switch to := to.(type) {
	case *dict:
		return
	case *tensor:
		m.attributes(state)
		return
	case *node:
		if to.kind == inert || to.kind == refused {
			m.grow(to, []any{state})
			return
		}
	}
	m.fail(formats.BadType, "got BUILD on %s, want an object", describe(to))
}

// attributes notes what a tensor has besides its values.
func (m *machine) attributes(state any) {
	switch s := state.(type) {
	case nil:
	case *dict:
		for _, e := range s.entries {
			name, _ := e.key.(text)
			m.drop(string(name))
		}
	case *node:
		if s.kind != tuple {
			m.drop("")
			return
		}
		for _, v := range s.items { // of attributes and slots
			if d, ok := v.(*dict); ok {
				for _, e := range d.entries {
					name, _ := e.key.(text)
					m.drop(string(name))
				}
			}
		}
	default:
		m.drop("")
	}
}

// drop counts an attribute.
func (m *machine) drop(name string) {
	if m.dropped++; m.dropped == 1 {
		m.attribute = name
	}
}
