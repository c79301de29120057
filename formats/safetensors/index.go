package safetensors

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// Limits of an index.
const (
	maxIndex   = 256 << 20
	maxEntries = 1 << 20
	maxShards  = 10_000
)

// indexed is what an index file says.
type indexed struct {
	files   []string // of the weights, sorted
	entries []mapped // in file order
	total   string   // total_size as it is written, "" without
	bytes   int64    // size of the index file
}

// mapped is one entry of weight_map.
type mapped struct {
	name string
	at   int32
	file int32 // into files
}

// Shards lists the files that an index names, sorted; PyTorch's indexes have the same form. The files need not exist.
func Shards(fsys fsio.FS, dir, index string) ([]string, error) {
	opened := &formats.FileSet{FS: fsys, Dir: dir}
	defer opened.Close()
	x, err := readIndex(opened, index)
	if err != nil {
		return nil, err
	}
	return x.files, nil
}

func readIndex(opened *formats.FileSet, name string) (*indexed, error) {
	path := filepath.Join(opened.Dir, name)
	f, size, err := opened.Open(name)
	if err != nil {
		return nil, absent(path, err, "")
	}
	if size > maxIndex {
		return nil, formats.Errorf(formats.Limit, "got an index of %d bytes, want at most %d", size, maxIndex).At(path, 0)
	}
	src, err := readText(f, 0, size)
	if err != nil {
		return nil, ioError(path, 0, err)
	}
	p := &indexParser{scanner: newScanner(path, src, 0), seen: map[string]int32{}, shards: map[string]int32{}}
	p.bytes = size
	p.object()
	if p.scanner.err != nil {
		p.add(p.scanner.err)
	}
	if err := p.problems.err(path); err != nil {
		return nil, err
	}
	p.sort()
	return &p.indexed, nil
}

type indexParser struct {
	*scanner
	problems
	indexed
	seen   map[string]int32 // tensor to entry
	shards map[string]int32 // file to files
}

func (p *indexParser) bad(code formats.Code, at int, format string, args ...any) {
	if !p.full() {
		p.add(p.problem(code, at, format, args...))
	}
}

func (p *indexParser) object() {
	p.want('{')
	seen := map[string]int{}
	for first := true; p.more('}', &first); {
		key, at := p.key()
		if p.scanner.err != nil {
			return
		}
		p.field = clip(key)
		if old, ok := seen[key]; ok {
			p.bad(formats.Dup, at, "got it twice, first at offset %d", old)
			p.skip(1)
			continue
		}
		seen[key] = at
		switch c := p.peek(); {
		case key == "weight_map" && c == '{':
			p.i++
			p.weightMap()
		case key == "weight_map":
			p.bad(formats.JSON, p.i, "want an object")
			p.skip(1)
		case key == "metadata" && c == '{':
			p.i++
			p.metadata()
		default:
			p.skip(1)
		}
		p.field = ""
	}
	p.end()
	if _, ok := seen["weight_map"]; !ok && p.scanner.err == nil {
		p.field = "weight_map"
		p.bad(formats.JSON, 0, "missing")
	}
}

// metadata keeps total_size and skips the rest, whatever it is.
func (p *indexParser) metadata() {
	for first := true; p.more('}', &first); {
		key, at := p.key()
		c := p.peek()
		start := p.i
		p.skip(2)
		if key != "total_size" || p.scanner.err != nil {
			continue
		}
		if p.total != "" {
			p.bad(formats.Dup, at, "got total_size twice")
		}
		if p.total = p.src[start:p.i]; c == '"' {
			p.total = strings.Trim(p.total, `"`)
		}
	}
}

func (p *indexParser) weightMap() {
	for first := true; p.more('}', &first); {
		name, at := p.key()
		if p.scanner.err != nil {
			return
		}
		p.tensor = name
		if len(p.entries) == maxEntries {
			p.fail(formats.Limit, at, "got more than %d entries", maxEntries)
			return
		}
		if p.peek() != '"' {
			if c := p.peek(); isValue(c) {
				p.bad(formats.JSON, p.i, "got %s, want the name of a file", kind(c))
			}
			p.skip(2)
			continue
		}
		fileAt := p.i
		file := p.str()
		if p.scanner.err != nil {
			return
		}
		if old, ok := p.seen[name]; ok {
			p.bad(formats.Dup, at, "got the name twice, first at offset %d", p.entries[old].at)
			continue
		}
		k, ok := p.shards[file]
		if !ok {
			if why := unsafeName(file); why != "" {
				p.bad(formats.BadPath, fileAt, "got \"%s\", want a file name: %s", clip(file), why)
				continue
			}
			if len(p.files) == maxShards {
				p.fail(formats.Limit, fileAt, "got more than %d files", maxShards)
				return
			}
			k = int32(len(p.files))
			p.files = append(p.files, file)
			p.shards[file] = k
		}
		p.seen[name] = int32(len(p.entries))
		p.entries = append(p.entries, mapped{name: name, at: int32(at), file: k})
		p.tensor = ""
	}
	p.tensor = ""
}

// sort puts the files in the order of their names, which is the order of shards.
func (p *indexParser) sort() {
	slices.Sort(p.files)
	moved := make([]int32, len(p.files))
	for i, f := range p.files {
		moved[p.shards[f]] = int32(i)
	}
	for i := range p.entries {
		p.entries[i].file = moved[p.entries[i].file]
	}
}

// unsafeName says why a name is no single element of a path on some system, "" if it is one. transformers, diffusers and
// huggingface_hub have all followed such names out of the model's directory (transformers issue 46913).
func unsafeName(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case name == "." || name == "..":
		return "it is a directory"
	case strings.ContainsAny(name, `/\`):
		return "it has a separator"
	case strings.Contains(name, ":"):
		return "it has a colon"
	case strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return "it has a control character"
	case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " "):
		return "it ends in a dot or a space"
	}
	stem, _, _ := strings.Cut(strings.ToUpper(name), ".")
	switch stem = strings.TrimRight(stem, " "); {
	case stem == "CON" || stem == "PRN" || stem == "AUX" || stem == "NUL",
		len(stem) == 4 && (stem[:3] == "COM" || stem[:3] == "LPT") && stem[3] >= '0' && stem[3] <= '9':
		return "it is a device on Windows"
	}
	return ""
}

// reconcile compares the index with what the shards hold.
func (s *set) reconcile(path, name string, x *indexed, files []string) {
	s.Files = append(s.Files, formats.File{Path: name, Bytes: x.bytes})
	bad := func(e mapped, code formats.Code, format string, args ...any) {
		if !s.full() {
			s.add(formats.Errorf(code, format, args...).At(path, int64(e.at)).In(e.name, "weight_map"))
		}
	}
	listed := make([]bool, len(s.Tensors))
	given := make([]bool, len(x.files))
	for i, f := range x.files {
		given[i] = slices.Contains(files, f)
	}
	for _, e := range x.entries {
		i, ok := s.names[e.name]
		switch {
		case !given[e.file]:
			bad(e, formats.Mismatch, "got file %s, which is not of the set", formats.Escape(x.files[e.file], 256))
		case !ok:
			s.Dangling = append(s.Dangling, e.name)
		case s.Tensors[i].File != x.files[e.file]:
			bad(e, formats.Mismatch, "got file %s, but %s holds it", formats.Escape(x.files[e.file], 256), formats.Escape(s.Tensors[i].File, 256))
		}
		if ok {
			listed[i] = true
		}
	}
	for i, ok := range listed {
		if !ok {
			s.Unindexed = append(s.Unindexed, s.Tensors[i].Name)
		}
	}
	if n := len(s.Unindexed); n > 0 {
		s.note(s.Unindexed[0], "read", "%s does not list it (%d tensors in all), its file holds it", name, n)
	}
	if x.total != "" && x.total != decimal(s.bytes) {
		s.note(name, "total_size is ignored", "it says %s, the tensors have %d bytes", clip(x.total), s.bytes)
	}
	if len(x.files) > 0 {
		s.numbering(x.files)
	}
}

// numbering notes shards whose names speak of other shards than those there are.
func (s *set) numbering(files []string) {
	all := siblings(files[0])
	if all != nil && !slices.Equal(all, files) {
		s.Notes = append(s.Notes, formats.Note{Subject: files[0], Decision: "read the shards that the index names",
			Because: "the file's name speaks of other shards", Warn: true})
	}
}
