package raw

import (
	"slices"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/jsontext"
)

// Limits of a manifest, besides those of formats.ReadBounds.
const (
	maxMeta  = 1 << 16
	minEntry = len(`{"name":"","file":"a"}`)
)

// The keys of an entry, in the order in which they are written. Their numbers are bits of entry.has.
const (
	keyName = iota
	keyDType
	keyShape
	keyFile
	keyOffset
	keyBytes
	keyOrder
	keyByteOrder
)

var (
	topKeys   = []string{"format", "tensors", "aliases", "metadata"}
	entryKeys = []string{"name", "dtype", "shape", "file", "offset", "bytes", "order", "byteorder"}
	aliasKeys = []string{"name", "of"}
)

// entry is a tensor as the manifest has it.
type entry struct {
	name, file string
	dtype      dtype.Type
	shape      []int64
	offset     int64
	bytes      int64 // by dtype and shape, or as stated for an .npy file that is to say them itself
	at         int32 // of the entry in the manifest
	has        uint16
	fortran    bool
	big        bool
}

func (e *entry) knows(key int) bool { return e.has&(1<<key) != 0 }

// array reports whether the file is to be an .npy file.
func (e *entry) array() bool { return strings.HasSuffix(e.file, suffix) }

// manifest is what tensors.json says by itself.
type manifest struct {
	entries []entry
	aliases []formats.Alias
	meta    formats.Metadata
	names   map[string]int32 // tensors, into entries; aliases are -1
}

type parser struct {
	*jsontext.Scanner
	formats.Problems
	manifest
	entry entry     // that is being read
	whole bool      // what was read of it is usable
	value func(int) // field, made once
	most  int       // entries
}

// parseManifest reads a manifest of at most as many entries.
func parseManifest(path, src string, most int) (*manifest, error) {
	p := &parser{Scanner: jsontext.New(path, src, 0), most: most}
	p.value = p.field
	n := min(strings.Count(src, `"name"`), len(src)/minEntry, most)
	p.entries, p.names = make([]entry, 0, n), make(map[string]int32, n)
	has, object := p.object(topKeys, func(k int) {
		switch at := p.At; topKeys[k] {
		case "format":
			if v, ok := p.text(); ok && v != schema {
				p.bad(formats.Version, at, "got \"%s\", want \"%s\"", clip(v), schema)
			}
		case "tensors":
			p.array(p.tensor)
		case "aliases":
			p.array(p.alias)
		case "metadata":
			p.metadata()
		}
	})
	p.End()
	for k, key := range topKeys[:2] {
		if object && has&(1<<k) == 0 {
			p.Field = key
			p.bad(formats.JSON, 0, "missing")
		}
	}
	p.Field = "aliases"
	for _, a := range p.aliases {
		if i, ok := p.names[a.Of]; p.Scanner.Err == nil && (!ok || i < 0) && !p.Full() {
			p.Add(formats.Errorf(formats.Missing, "got an alias of \"%s\", which is none of the tensors", clip(a.Of)).At(path, -1).In(a.Name, p.Field))
		}
	}
	if p.Scanner.Err != nil {
		p.Add(p.Scanner.Err)
	}
	if err := p.Problems.Err(path); err != nil {
		return nil, err
	}
	return &p.manifest, nil
}

func (p *parser) bad(code formats.Code, at int, format string, args ...any) {
	if !p.Full() {
		p.Add(p.Problem(code, at, format, args...))
	}
}

// wrong is a value of another kind than is wanted; it is passed over.
func (p *parser) wrong(want string) {
	if c := p.Peek(); jsontext.IsValue(c) {
		p.bad(formats.JSON, p.At, "got %s, want %s", jsontext.Kind(c), want)
	}
	p.Skip(4) // the deepest that one of our own values is
}

// object reads an object of known keys, each at most once. It returns the bits of those that are there; ok is false if it is no object.
func (p *parser) object(keys []string, value func(k int)) (has uint16, ok bool) {
	if p.Peek() != '{' {
		p.wrong("an object")
		return 0, false
	}
	field := p.Field
	p.At++
	for first := true; p.More('}', &first); {
		key, at := p.Key()
		if p.Scanner.Err != nil {
			return has, false
		}
		k := slices.Index(keys, key)
		switch {
		case k < 0:
			p.bad(formats.JSON, at, "got unknown key \"%s\", want %s", clip(key), strings.Join(keys, ", "))
			p.Skip(4)
			continue
		case has&(1<<k) != 0:
			p.bad(formats.Dup, at, "got key \"%s\" twice", key)
			p.Skip(4)
			continue
		}
		has |= 1 << k
		p.Field = key
		p.Peek()
		value(k)
		p.Field = field
	}
	return has, p.Scanner.Err == nil
}

// array reads an array; each is called with the cursor at an element.
func (p *parser) array(each func()) {
	if p.Peek() != '[' {
		p.wrong("an array")
		return
	}
	p.At++
	for first := true; p.More(']', &first); {
		p.Peek()
		each()
	}
}

func (p *parser) text() (string, bool) {
	if p.Peek() != '"' {
		p.wrong("a string")
		return "", false
	}
	s := p.Str()
	return s, p.Scanner.Err == nil
}

// count is an integer from 0 on.
func (p *parser) count(negative formats.Code) (int64, bool) {
	if c := p.Peek(); c != '-' && (c < '0' || c > '9') {
		p.wrong("an integer")
		return 0, false
	}
	at := p.At
	s := p.Number()
	if p.Scanner.Err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case strings.ContainsAny(s, ".eE"):
		p.bad(formats.JSON, at, "got %s, want an integer", clip(s))
	case s[0] == '-':
		p.bad(negative, at, "got %s, want at least 0", clip(s))
	case err != nil:
		p.bad(formats.Overflow, at, "got %s, want at most %d", clip(s), int64(1<<63-1))
	default:
		return n, true
	}
	return 0, false
}
