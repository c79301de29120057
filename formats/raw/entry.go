package raw

import (
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/index"
)

// tensor reads an entry.
func (p *parser) tensor() {
	outer := p.Field
	defer func() { p.Tensor, p.Field = "", outer }()
	if len(p.entries) == p.most {
		if p.Fail(formats.Limit, p.At, "got more than %d tensors", p.most); p.Scanner.Err.Code == formats.Limit {
			p.Scanner.Err = p.Scanner.Err.Hinted("%s", formats.TensorsBound.Hint(int64(p.most)+1))
		}
		return
	}
	e := &p.entry
	*e, p.whole = entry{at: int32(p.At)}, true
	has, object := p.object(entryKeys, p.value)
	if !object {
		return
	}
	e.has = has
	p.check(e)
}

// field reads the value of a key of an entry.
func (p *parser) field(k int) {
	e, at, ok := &p.entry, p.At, true
	switch k {
	case keyName:
		if e.name, ok = p.text(); ok {
			p.Tensor = e.name
		}
	case keyFile:
		var name string
		if name, ok = p.text(); ok {
			why := index.Unsafe(name)
			if why == "" && strings.EqualFold(name, Manifest) {
				why = "it is the manifest"
			}
			if ok = why == ""; ok {
				e.file = name
			} else {
				p.bad(formats.BadPath, at, "got \"%s\", want a file name: %s", clip(name), why)
			}
		}
	case keyDType:
		var s string
		if s, ok = p.text(); ok {
			if e.dtype = dtype.Type(s); !slices.Contains(dtypes, e.dtype) {
				p.bad(formats.BadDType, at, "got \"%s\", want one of %v", clip(s), dtypes)
				ok = false
			}
		}
	case keyShape:
		e.shape, ok = p.shape()
	case keyOffset:
		e.offset, ok = p.count(formats.Bounds)
	case keyBytes:
		e.bytes, ok = p.count(formats.Bounds)
	case keyOrder:
		e.fortran, ok = p.choice("C", "F")
	case keyByteOrder:
		e.big, ok = p.choice("little", "big")
	}
	p.whole = p.whole && ok
}

// check is what an entry has to be by itself; a whole one is kept.
func (p *parser) check(e *entry) {
	p.Field = ""
	at := int(e.at)
	need := []int{keyName, keyFile}
	if e.file != "" && !e.array() {
		need = []int{keyName, keyDType, keyShape, keyFile}
	}
	for _, k := range need {
		if !e.knows(k) {
			p.bad(formats.JSON, at, "%s is missing", entryKeys[k])
			p.whole = false
		}
	}
	if e.array() && e.knows(keyOffset) {
		p.bad(formats.Mismatch, at, "got an offset in %s, an .npy file, which is one tensor", clip(e.file))
		p.whole = false
	}
	if p.whole && e.knows(keyDType) && e.knows(keyShape) {
		p.whole = p.sized(e)
	}
	if e.knows(keyName) {
		if _, dup := p.names[e.name]; dup {
			p.bad(formats.Dup, at, "got the name twice")
		}
		p.names[e.name] = int32(len(p.entries))
	}
	if p.whole {
		p.entries = append(p.entries, *e)
	}
}

// sized gives the entry the bytes that its dtype and shape have.
func (p *parser) sized(e *entry) bool {
	n, err := formats.TensorBytes(e.dtype, e.shape)
	if err != nil {
		if !p.Full() {
			p.Add(formats.Errors(err)[0].At(p.Path, int64(e.at)).In(e.name, "shape"))
		}
		return false
	}
	if e.knows(keyBytes) && n != e.bytes {
		p.Field = "bytes"
		p.bad(formats.BadShape, int(e.at), "got %d, want %d for shape %v of %s", e.bytes, n, e.shape, e.dtype)
		return false
	}
	e.bytes = n
	return true
}

// shape reads an array of sizes.
func (p *parser) shape() (shape []int64, ok bool) {
	if p.Peek() != '[' {
		p.wrong("an array of integers")
		return nil, false
	}
	ok = true
	at := p.At
	shape = []int64{}
	p.array(func() {
		n, good := p.count(formats.BadShape)
		ok = ok && good
		if len(shape) <= maxRank {
			shape = append(shape, n)
		}
	})
	if len(shape) > maxRank {
		p.bad(formats.Limit, at, "got more than %d dimensions", maxRank)
		ok = false
	}
	return shape, ok && p.Scanner.Err == nil
}

// choice is one of two words; it reports whether it is the second.
func (p *parser) choice(first, second string) (bool, bool) {
	at := p.At
	s, ok := p.text()
	if ok && s != first && s != second {
		p.bad(formats.JSON, at, "got \"%s\", want \"%s\" or \"%s\"", clip(s), first, second)
		return false, false
	}
	return s == second, ok
}

func (p *parser) alias() {
	var a formats.Alias
	at := p.At
	defer func() { p.Tensor = "" }()
	has, object := p.object(aliasKeys, func(k int) {
		s, ok := p.text()
		if k == 0 && ok {
			a.Name = s
			p.Tensor = s
		} else {
			a.Of = s
		}
	})
	if !object {
		return
	}
	if has != 3 {
		p.bad(formats.JSON, at, "want name and of")
		return
	}
	if _, dup := p.names[a.Name]; dup {
		p.bad(formats.Dup, at, "got the name twice")
		return
	}
	p.names[a.Name] = -1
	p.aliases = append(p.aliases, a)
}

// metadata is text by text.
func (p *parser) metadata() {
	if p.Peek() != '{' {
		p.wrong("an object of strings")
		return
	}
	seen := map[string]bool{}
	p.At++
	for first := true; p.More('}', &first); {
		key, at := p.Key()
		if p.Scanner.Err != nil {
			return
		}
		p.Field = "metadata." + clip(key)
		v, ok := p.text()
		switch {
		case seen[key]:
			p.bad(formats.Dup, at, "got it twice")
		case len(p.meta) == maxMeta:
			p.Fail(formats.Limit, at, "got more than %d entries", maxMeta)
		case ok:
			p.meta = append(p.meta, formats.KV{Key: key, Value: v})
		}
		seen[key] = true
		p.Field = "metadata"
	}
}
