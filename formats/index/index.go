// Package index reads and writes the index of a sharded checkpoint, a JSON file that says which file holds which tensor, and knows how
// shards are named. safetensors and PyTorch use the same form.
package index

import (
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/jsontext"
)

// Index is what an index file says.
type Index struct {
	Name    string
	Files   []string         // of the weights, sorted
	Bytes   int64            // size of the index file
	total   string           // total_size as it is written, "" without
	entries []entry          // in file order
	at      map[string]int32 // tensor to entry
}

// entry is one of weight_map.
type entry struct {
	name string
	at   int32
	file int32 // into Files
}

func parse(path, name, src string, b formats.ReadBounds) (*Index, error) {
	p := &parser{Scanner: jsontext.New(path, src, 0), shards: map[string]int32{}, maxTensors: int(b.Of(formats.TensorsBound)),
		maxShards: int(b.Of(formats.ShardsBound))}
	p.Index = Index{Name: name, Bytes: int64(len(src)), at: map[string]int32{}}
	p.object()
	if p.Scanner.Err != nil {
		p.Add(p.Scanner.Err)
	}
	if err := p.Problems.Err(path); err != nil {
		return nil, err
	}
	p.sort()
	return &p.Index, nil
}

type parser struct {
	*jsontext.Scanner
	formats.Problems
	Index
	shards                map[string]int32 // file to files
	maxTensors, maxShards int
}

func (p *parser) bad(code formats.Code, at int, format string, args ...any) {
	if !p.Full() {
		p.Add(p.Problem(code, at, format, args...))
	}
}

// beyond ends the scan where one more than most is found.
func (p *parser) beyond(k formats.Bound, at int, format string, most int) {
	if p.Fail(formats.Limit, at, format, most); p.Scanner.Err.Code == formats.Limit {
		p.Scanner.Err = p.Scanner.Err.Hinted("%s", k.Hint(int64(most)+1))
	}
}

func (p *parser) object() {
	p.Want('{')
	seen := map[string]int{}
	for first := true; p.More('}', &first); {
		key, at := p.Key()
		if p.Scanner.Err != nil {
			return
		}
		p.Field = clip(key)
		if old, ok := seen[key]; ok {
			p.bad(formats.Dup, at, "got it twice, first at offset %d", old)
			p.Skip(1)
			continue
		}
		seen[key] = at
		switch c := p.Peek(); {
		case key == "weight_map" && c == '{':
			p.At++
			p.weightMap()
		case key == "weight_map":
			p.bad(formats.JSON, p.At, "want an object")
			p.Skip(1)
		case key == "metadata" && c == '{':
			p.At++
			p.metadata()
		default:
			p.Skip(1)
		}
		p.Field = ""
	}
	p.End()
	if _, ok := seen["weight_map"]; !ok && p.Scanner.Err == nil {
		p.Field = "weight_map"
		p.bad(formats.JSON, 0, "missing")
	}
}

// metadata keeps total_size and skips the rest, whatever it is.
func (p *parser) metadata() {
	for first := true; p.More('}', &first); {
		key, at := p.Key()
		c := p.Peek()
		start := p.At
		p.Skip(2)
		if key != "total_size" || p.Scanner.Err != nil {
			continue
		}
		if p.total != "" {
			p.bad(formats.Dup, at, "got total_size twice")
		}
		if p.total = p.Src[start:p.At]; c == '"' {
			p.total = strings.Trim(p.total, `"`)
		}
	}
}

func (p *parser) weightMap() {
	for first := true; p.More('}', &first); {
		name, at := p.Key()
		if p.Scanner.Err != nil {
			return
		}
		p.Tensor = name
		if len(p.entries) == p.maxTensors {
			p.beyond(formats.TensorsBound, at, "got more than %d entries", p.maxTensors)
			return
		}
		if p.Peek() != '"' {
			if c := p.Peek(); jsontext.IsValue(c) {
				p.bad(formats.JSON, p.At, "got %s, want the name of a file", jsontext.Kind(c))
			}
			p.Skip(2)
			continue
		}
		fileAt := p.At
		file := p.Str()
		if p.Scanner.Err != nil {
			return
		}
		if old, ok := p.Index.at[name]; ok {
			p.bad(formats.Dup, at, "got the name twice, first at offset %d", p.entries[old].at)
			continue
		}
		k, ok := p.shards[file]
		if !ok {
			if why := Unsafe(file); why != "" {
				p.bad(formats.BadPath, fileAt, "got \"%s\", want a file name: %s", clip(file), why)
				continue
			}
			if len(p.Files) == p.maxShards {
				p.beyond(formats.ShardsBound, fileAt, "got more than %d files", p.maxShards)
				return
			}
			k = int32(len(p.Files))
			p.Files = append(p.Files, file)
			p.shards[file] = k
		}
		p.Index.at[name] = int32(len(p.entries))
		p.entries = append(p.entries, entry{name: name, at: int32(at), file: k})
		p.Tensor = ""
	}
	p.Tensor = ""
}

// sort puts the files in the order of their names, which is the order of shards.
func (p *parser) sort() {
	slices.Sort(p.Files)
	moved := make([]int32, len(p.Files))
	for i, f := range p.Files {
		moved[p.shards[f]] = int32(i)
	}
	for i := range p.entries {
		p.entries[i].file = moved[p.entries[i].file]
	}
}
