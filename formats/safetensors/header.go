package safetensors

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/jsontext"
)

// maxHeader is the most that the reference reads (MAX_HEADER_SIZE in safetensors/src/tensor.rs), and so the most that is written.
const maxHeader = 100_000_000

// Bounds for what costs more memory than it has bytes in the header: metadata entries, and unknown fields of one tensor.
const (
	maxMeta    = 1 << 16
	maxUnknown = 1 << 10
)

// minEntry is the length of the shortest entry, "":{"dtype":"U8","shape":[],"data_offsets":[0,1]}: it bounds what is allocated for n
// bytes of header.
const minEntry = 50

// the fields of an entry
const (
	fieldDType = 1 << iota
	fieldShape
	fieldOffsets
	allFields = fieldDType | fieldShape | fieldOffsets
)

var fields = [...]string{"dtype", "shape", "data_offsets"}

// set is what the headers of one checkpoint add up to.
type set struct {
	formats.Header
	formats.Problems
	names map[string]int32 // into Tensors
	bytes int64            // of all tensors
	most  int64            // bytes of a header
}

// span is where an entry is in its header and its tensor in the data.
type span struct {
	tensor     int32
	at         int32 // of the name, in the header
	offsets    int32 // of the value of data_offsets, in the header
	begin, end int64
}

// parser reads one header into a set.
type parser struct {
	*set
	*jsontext.Scanner
	file    string // name of the file in the set
	spans   []span
	dims    []int64 // what is left of the chunk that shapes are cut from
	broken  bool    // an entry has no usable offsets, so gaps prove nothing
	unknown int     // fields that the format does not know
	first   string  // the first of them
	meta    formats.Metadata
	hasMeta int // offset of __metadata__, -1 without
}

// header adds the tensors of the file to the set. src is the JSON, size the size of the file.
func (s *set) header(path, file, src string, size int64) (meta formats.Metadata) {
	p := &parser{set: s, Scanner: jsontext.New(path, src, 8), file: file, hasMeta: -1}
	n := min(strings.Count(src, "}"), len(src)/minEntry+1)
	p.spans = make([]span, 0, n)
	p.Tensors = slices.Grow(p.Tensors, n)
	if s.names == nil {
		s.names = make(map[string]int32, n)
	}
	p.object()
	if p.Scanner.Err != nil {
		p.Add(p.Scanner.Err)
		return nil
	}
	p.sizes()
	if !p.broken {
		p.chain(8+int64(len(src)), size)
	}
	if src != "" && src[0] != '{' {
		p.note(file, "read", "white space before the JSON, which the format's text forbids and its reference accepts")
	}
	if p.unknown > 0 {
		p.note(file, "ignored", "%d unknown fields of tensors, the first is %s", p.unknown, formats.Escape(p.first, 256))
	}
	return p.meta
}

func (s *set) note(subject, decision, because string, args ...any) {
	s.Notes = append(s.Notes, formats.Note{Subject: subject, Decision: decision, Because: fmt.Sprintf(because, args...)})
}

// bad notes a problem after which the scan goes on.
func (p *parser) bad(code formats.Code, at int, format string, args ...any) {
	if !p.Full() {
		p.Add(p.Problem(code, at, format, args...))
	}
}

// wrong notes a value of the wrong kind and skips it. What is no value at all ends the scan.
func (p *parser) wrong(depth int, want string) {
	if c := p.Peek(); jsontext.IsValue(c) {
		p.bad(formats.JSON, p.At, "got %s, want %s", jsontext.Kind(c), want)
	}
	p.Skip(depth)
}

// open consumes the bracket of an object or array, or notes what is there instead.
func (p *parser) open(c byte, depth int) bool {
	if p.Peek() == c {
		p.At++
		return true
	}
	want := "an object"
	if c == '[' {
		want = "an array"
	}
	p.wrong(depth, want)
	return false
}

// object reads the whole header.
func (p *parser) object() {
	p.Want('{')
	for first := true; p.More('}', &first); {
		name, at := p.Key()
		if p.Scanner.Err != nil {
			return
		}
		if name == "__metadata__" {
			p.Field = name
			p.metadata(at)
			p.Field = ""
			continue
		}
		p.Tensor = name
		p.entry(name, at)
		p.Tensor = ""
	}
	p.End()
}

// metadata reads a map of strings to strings.
func (p *parser) metadata(at int) {
	if p.hasMeta >= 0 {
		p.bad(formats.Dup, at, "got it twice, first at offset %d", p.Base+int64(p.hasMeta))
		p.Skip(1)
		return
	}
	p.hasMeta = at
	if !p.open('{', 1) {
		return
	}
	seen := map[string]int{}
	for first := true; p.More('}', &first); {
		key, at := p.Key()
		if p.Scanner.Err != nil {
			return
		}
		if len(p.meta) == maxMeta {
			p.Fail(formats.Limit, at, "got more than %d entries", maxMeta)
			return
		}
		if old, ok := seen[key]; ok {
			p.bad(formats.Dup, at, "got key \"%s\" twice, first at offset %d", clip(key), p.Base+int64(old))
		}
		seen[key] = at
		if p.Peek() != '"' {
			p.wrong(2, "a string for key \""+clip(key)+"\"")
			continue
		}
		p.meta = append(p.meta, formats.KV{Key: key, Value: p.Str()})
	}
}

// entry reads what the header says about one tensor.
func (p *parser) entry(name string, at int) {
	if !p.open('{', 1) {
		p.broken = true
		return
	}
	t := formats.Tensor{Name: name, File: p.file, Offset: -1}
	sp := span{at: int32(at)}
	have, good := 0, 0
	where := [len(fields)]int{}
	var unknown map[string]bool
	for first := true; p.More('}', &first); {
		key, keyAt := p.Key()
		if p.Scanner.Err != nil {
			return
		}
		f := slices.Index(fields[:], key)
		p.Field = key
		switch {
		case f < 0:
			if unknown[key] {
				p.bad(formats.Dup, keyAt, "got the field twice")
			}
			p.other(key, keyAt)
			if unknown == nil {
				unknown = map[string]bool{}
			}
			if len(unknown) == maxUnknown {
				p.Fail(formats.Limit, keyAt, "got more than %d unknown fields", maxUnknown)
				return
			}
			unknown[key] = true
			p.Skip(2)
			continue
		case have&(1<<f) != 0:
			p.bad(formats.Dup, keyAt, "got the field twice, first at offset %d", p.Base+int64(where[f]))
			p.Skip(2)
			continue
		}
		have |= 1 << f
		where[f] = keyAt
		ok := false
		switch 1 << f {
		case fieldDType:
			t.DType, ok = p.dtype()
		case fieldShape:
			t.Shape, ok = p.shape()
		case fieldOffsets:
			p.Peek()
			sp.offsets = int32(p.At)
			sp.begin, sp.end, ok = p.offsets()
		}
		if ok {
			good |= 1 << f
		}
	}
	p.Field = ""
	if p.Scanner.Err != nil {
		return
	}
	for i, f := range fields {
		if have&(1<<i) == 0 {
			p.Field = f
			p.bad(formats.JSON, at, "missing")
		}
	}
	p.Field = ""
	if good&fieldOffsets == 0 {
		p.broken = true
	}
	if good != allFields {
		if p.broken = p.broken || len(p.spans) == cap(p.spans); !p.broken {
			sp.tensor = -1 // its offsets count all the same when those around it are judged
			p.spans = append(p.spans, sp)
		}
		return
	}
	p.keep(t, sp)
}

// keep adds a tensor, unless its name is taken.
func (p *parser) keep(t formats.Tensor, sp span) {
	sp.tensor = int32(len(p.Tensors))
	if p.names[t.Name] = sp.tensor; len(p.names) > len(p.Tensors) {
		p.Tensors = append(p.Tensors, t)
		p.spans = append(p.spans, sp)
		return
	}
	// The name was there. One lookup less for each of a million names is worth a search here, where the file is refused anyhow.
	p.broken = true
	i := 0
	if !p.Full() {
		i = slices.IndexFunc(p.Tensors, func(x formats.Tensor) bool { return x.Name == t.Name })
		if o := p.Tensors[i]; o.File != p.file {
			p.Add(p.Problem(formats.Dup, int(sp.at), "stored here and in %s", formats.Escape(o.File, 256)))
		} else {
			k := slices.IndexFunc(p.spans, func(s span) bool { return int(s.tensor) == i })
			p.Add(p.Problem(formats.Dup, int(sp.at), "got the name twice, first at offset %d", p.Base+int64(p.spans[k].at)))
		}
	}
	p.names[t.Name] = int32(i)
}

// other is a field that the format does not know. The reference ignores it; one that differs from a known field by case alone would
// be taken for it by other readers, so it is an error.
func (p *parser) other(key string, at int) {
	for _, f := range fields {
		if strings.EqualFold(key, f) {
			p.bad(formats.JSON, at, "got field \"%s\", want %q", clip(key), f)
			return
		}
	}
	if p.unknown == 0 {
		p.first = key
	}
	p.unknown++
}

func (p *parser) dtype() (dtype.Type, bool) {
	if p.Peek() != '"' {
		p.wrong(2, "a string")
		return "", false
	}
	at := p.At
	name := p.Str()
	if p.Scanner.Err != nil {
		return "", false
	}
	for _, t := range dtypes { // the constants, so that the header's text is not kept for them
		if string(t) == name {
			return t, true
		}
	}
	p.bad(formats.BadDType, at, "got \"%s\", want one of %v", clip(name), dtypes)
	return "", false
}

func (p *parser) shape() ([]int64, bool) {
	if !p.open('[', 2) {
		return nil, false
	}
	at := p.At
	var dims [maxRank]int64
	n, ok := 0, true
	for first := true; p.More(']', &first); n++ {
		v, good := p.integer()
		ok = ok && good
		if n < maxRank {
			dims[n] = v
		}
	}
	if n > maxRank {
		p.bad(formats.Limit, at, "got %d dimensions, want at most %d", n, maxRank)
		return nil, false
	}
	if len(p.dims) < n {
		p.dims = make([]int64, 4096)
	}
	shape := p.dims[:n:n]
	p.dims = p.dims[n:]
	copy(shape, dims[:n])
	return shape, ok
}

func (p *parser) offsets() (begin, end int64, ok bool) {
	if !p.open('[', 2) {
		return 0, 0, false
	}
	at := p.At
	var v [2]int64
	n, ok := 0, true
	for first := true; p.More(']', &first); n++ {
		x, good := p.integer()
		ok = ok && good
		if n < len(v) {
			v[n] = x
		}
	}
	if n != len(v) && p.Scanner.Err == nil {
		p.bad(formats.JSON, at-1, "got %d numbers, want 2", n)
		return 0, 0, false
	}
	if ok && v[0] > v[1] {
		p.bad(formats.Bounds, at-1, "got begin %d after end %d", v[0], v[1])
		return 0, 0, false
	}
	return v[0], v[1], ok
}

// integer reads an array element that has to be a whole number without sign, point or exponent.
func (p *parser) integer() (int64, bool) {
	if c := p.Peek(); c != '-' && (c < '0' || c > '9') {
		p.wrong(3, "a non-negative integer")
		return 0, false
	}
	at := p.At
	if v, ok := p.plain(); ok {
		return v, true
	}
	text := p.Number()
	if p.Scanner.Err != nil {
		return 0, false
	}
	if strings.Trim(text, "0123456789") != "" {
		p.bad(formats.JSON, at, "got %s, want a non-negative integer", clip(text))
		return 0, false
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		p.bad(formats.JSON, at, "got %s, want an integer of 64 bits", clip(text))
		return 0, false
	}
	if v > math.MaxInt64 {
		p.bad(formats.Overflow, at, "got %d, want at most 2^63-1", v)
		return 0, false
	}
	return int64(v), true
}

// plain reads a number of at most 18 digits, as nearly all are, and leaves every other one to number.
func (p *parser) plain() (v int64, ok bool) {
	k := p.At
	for ; k < len(p.Src) && p.Src[k] >= '0' && p.Src[k] <= '9'; k++ {
		if k-p.At == 18 || k > p.At && v == 0 {
			return 0, false
		}
		v = 10*v + int64(p.Src[k]-'0')
	}
	if k == p.At || k == len(p.Src) || p.Src[k] != ',' && p.Src[k] != ']' {
		return 0, false
	}
	p.At = k
	return v, true
}

// clip shortens text for a message.
func clip(s string) string { return formats.Escape(s, 64) }
