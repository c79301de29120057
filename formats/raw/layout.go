package raw

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/index"
	"github.com/bowline-ml/bowline/formats/jsontext"
)

// align is what the tensors of a dump are aligned to, as numpy aligns the data of a file.
const align = 64

// layout says what the files of h will be: an .npy file for each tensor, named after it, and the manifest last. A tensor whose File ends in
// .npy keeps that; those with the same File that ends in .raw share a dump.
func layout(h formats.Header) (formats.Layout, error) {
	w := &writing{h: h, at: map[string]int{}, names: namer{}}
	w.l.Places = make([]formats.Place, len(h.Tensors))
	w.check()
	if err := w.Err(""); err != nil {
		return formats.Layout{}, err
	}
	for i := range h.Tensors {
		w.place(i)
	}
	if err := w.Err(""); err != nil {
		return formats.Layout{}, err
	}
	text := w.manifest()
	k := len(w.l.Files)
	w.l.Files = append(w.l.Files, formats.FileLayout{Path: Manifest, Bytes: int64(len(text)), Parts: []formats.Part{part(k, text)}})
	return w.l, nil
}

// writing is a layout in the making.
type writing struct {
	formats.Problems
	h     formats.Header
	l     formats.Layout
	at    map[string]int // files by their names
	names namer
	total int64
}

func part(file int, text string) formats.Part {
	return formats.Part{File: file, Size: int64(len(text)), Data: strings.NewReader(text)}
}

func (w *writing) check() {
	bad := func(name, field string, code formats.Code, format string, args ...any) {
		if !w.Full() {
			w.Add(formats.Errorf(code, format, args...).In(name, field))
		}
	}
	seen := make(map[string]bool, len(w.h.Tensors))
	stored := func(name string) {
		switch {
		case seen[name]:
			bad(name, "", formats.Dup, "got the name twice")
		case !utf8.ValidString(name):
			bad(name, "", formats.UTF8, "the name is not UTF-8")
		}
		seen[name] = true
	}
	for _, t := range w.h.Tensors {
		stored(t.Name)
		switch why := index.Unsafe(t.File); {
		case t.File != "" && why != "":
			bad(t.Name, "", formats.BadPath, "got file \"%s\": %s", clip(t.File), why)
		case !slices.Contains(dtypes, t.DType):
			bad(t.Name, "dtype", formats.BadDType, "got %s, want one of %v", t.DType, dtypes)
		case len(t.Shape) > maxRank:
			bad(t.Name, "shape", formats.Limit, "got %d dimensions, want at most %d", len(t.Shape), maxRank)
		default:
			n, err := formats.TensorBytes(t.DType, t.Shape)
			if err != nil {
				w.Add(formats.Errors(err)[0].In(t.Name, "shape"))
				continue
			}
			if n != t.Bytes {
				bad(t.Name, "", formats.BadShape, "got %d bytes, want %d for shape %v of %s", t.Bytes, n, t.Shape, t.DType)
			}
			if n > math.MaxInt64/2-w.total {
				bad(t.Name, "", formats.Overflow, "the tensors have more bytes than 63 bits count")
				continue
			}
			w.total += n + 2<<10 // a header and padding
		}
	}
	for _, a := range w.h.Aliases {
		if !seen[a.Of] {
			bad(a.Name, "", formats.Missing, "got an alias of \"%s\", which is none of the tensors", clip(a.Of))
		}
	}
	for _, a := range w.h.Aliases {
		stored(a.Name)
	}
	keys := map[string]bool{}
	for _, kv := range w.h.Metadata {
		v, ok := kv.Value.(string)
		switch {
		case !ok:
			bad("", "metadata."+kv.Key, formats.BadType, "got %T, want string", kv.Value)
		case !utf8.ValidString(kv.Key) || !utf8.ValidString(v):
			bad("", "metadata."+kv.Key, formats.UTF8, "key or value is not UTF-8")
		case keys[kv.Key]:
			bad("", "metadata."+kv.Key, formats.Dup, "got the key twice")
		}
		keys[kv.Key] = true
	}
}

// place gives tensor i its file and its place in it.
func (w *writing) place(i int) {
	t := w.h.Tensors[i]
	if strings.HasSuffix(t.File, dumped) {
		k, ok := w.at[t.File]
		if !ok {
			k = w.file(t.File)
		}
		f := &w.l.Files[k]
		at := (f.Bytes + align - 1) / align * align
		f.Bytes = at + t.Bytes
		w.l.Places[i] = formats.Place{File: k, Offset: at, Bytes: t.Bytes}
		return
	}
	name := t.File
	if !strings.HasSuffix(name, suffix) { // another format's
		name = w.names.file(t.Name)
	}
	if _, ok := w.at[name]; ok {
		w.Add(formats.Errorf(formats.Dup, "got file \"%s\" for two tensors", clip(name)).In(t.Name, ""))
		return
	}
	k := w.file(name)
	head := npyHeader(t.DType, t.Shape)
	w.l.Files[k].Parts = []formats.Part{part(k, head)}
	w.l.Files[k].Bytes = int64(len(head)) + t.Bytes
	w.l.Places[i] = formats.Place{File: k, Offset: int64(len(head)), Bytes: t.Bytes}
}

func (w *writing) file(name string) int {
	w.at[name] = len(w.l.Files)
	w.l.Files = append(w.l.Files, formats.FileLayout{Path: name})
	return w.at[name]
}

// manifest is the text of tensors.json, a tensor on each line.
func (w *writing) manifest() string {
	b := []byte("{\n  \"format\": \"" + schema + "\",\n  \"tensors\": [")
	for i, t := range w.h.Tensors {
		at := w.l.Places[i]
		b = append(line(b, i), `{"name": `...)
		b = jsontext.Quote(b, t.Name)
		b = append(b, `, "dtype": "`...)
		b = append(b, t.DType...)
		b = append(b, `", "shape": [`...)
		for d, v := range t.Shape {
			if d > 0 {
				b = append(b, ", "...)
			}
			b = strconv.AppendInt(b, v, 10)
		}
		b = append(b, `], "file": `...)
		b = jsontext.Quote(b, w.l.Files[at.File].Path)
		if strings.HasSuffix(w.l.Files[at.File].Path, dumped) {
			b = append(b, `, "offset": `...)
			b = strconv.AppendInt(b, at.Offset, 10)
			b = append(b, `, "bytes": `...)
			b = strconv.AppendInt(b, at.Bytes, 10)
		}
		b = append(b, '}')
	}
	b = append(b, "\n  ]"...)
	if len(w.h.Aliases) > 0 {
		b = append(b, ",\n  \"aliases\": ["...)
		for i, a := range w.h.Aliases {
			b = append(line(b, i), `{"name": `...)
			b = jsontext.Quote(b, a.Name)
			b = append(b, `, "of": `...)
			b = append(jsontext.Quote(b, a.Of), '}')
		}
		b = append(b, "\n  ]"...)
	}
	if len(w.h.Metadata) > 0 {
		b = append(b, ",\n  \"metadata\": {"...)
		for i, kv := range w.h.Metadata {
			b = jsontext.Quote(line(b, i), kv.Key)
			b = append(b, ": "...)
			b = jsontext.Quote(b, kv.Value.(string))
		}
		b = append(b, "\n  }"...)
	}
	return string(append(b, "\n}\n"...))
}

// line starts element i of a list.
func line(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return append(b, "\n    "...)
}
