package safetensors

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/index"
	"github.com/bowline-ml/bowline/formats/jsontext"
)

// page is what the data of a file is aligned to, so that a reader can map it. The header is padded with spaces, which the format allows.
const page = 4096

// layout says what the files of h will be. In each file the tensors keep the order of h if that leaves every one aligned to the size of
// its elements; else the larger elements come first, as the reference does. The header has them in the order of their data: some
// readers check the offsets in that order. Several files get an index, last.
//
// Aliases are recorded in the metadata as the reference's save_model does, name to name; a hint to readers, no more.
func layout(h formats.Header) (formats.Layout, error) {
	w := &writing{h: h, places: make([]formats.Place, len(h.Tensors))}
	w.check()
	meta := w.metadata()
	w.group()
	if err := w.Err(""); err != nil {
		return formats.Layout{}, err
	}
	l := formats.Layout{Places: w.places}
	for k, f := range w.files {
		file, err := w.file(k, f, meta)
		if err != nil {
			return formats.Layout{}, err
		}
		l.Files = append(l.Files, file)
	}
	if len(w.files) > 1 {
		part := index.Part(len(l.Files), formats.Header{Tensors: h.Tensors}, w.total)
		l.Files = append(l.Files, formats.FileLayout{Path: index.NameFor(w.files[0].name, suffix, h.Files, "model"), Bytes: part.Size, Parts: []formats.Part{part}})
	}
	return l, nil
}

// writing is a layout in the making.
type writing struct {
	formats.Problems
	h      formats.Header
	files  []target
	places []formats.Place
	total  int64
}

// target is one file of weights; tensors are indexes into the header's.
type target struct {
	name    string
	tensors []int
}

func (w *writing) check() {
	seen := make(map[string]bool, len(w.h.Tensors))
	for _, t := range w.h.Tensors {
		bad := func(code formats.Code, field, format string, args ...any) {
			w.Add(formats.Errorf(code, format, args...).At(t.File, -1).In(t.Name, field))
		}
		if seen[t.Name] {
			bad(formats.Dup, "", "got the name twice")
		}
		seen[t.Name] = true
		switch {
		case t.Name == "__metadata__":
			bad(formats.Unsupported, "", "the format keeps this name for itself")
		case !utf8.ValidString(t.Name):
			bad(formats.UTF8, "", "the name is not UTF-8")
		}
		if why := index.Unsafe(t.File); why != "" {
			bad(formats.BadPath, "", "got file \"%s\": %s", clip(t.File), why)
		}
		if !slices.Contains(dtypes, t.DType) {
			bad(formats.BadDType, "dtype", "got %s, want one of %v", t.DType, dtypes)
			continue
		}
		if len(t.Shape) > maxRank {
			bad(formats.Limit, "shape", "got %d dimensions, want at most %d", len(t.Shape), maxRank)
			continue
		}
		n, err := formats.TensorBytes(t.DType, t.Shape)
		if err != nil {
			for _, e := range formats.Errors(err) {
				w.Add(e.At(t.File, -1).In(t.Name, "shape"))
			}
			continue
		}
		if n != t.Bytes {
			bad(formats.BadShape, "", "got %d bytes, want %d for shape %v of %s", t.Bytes, n, t.Shape, t.DType)
		}
		if n > math.MaxInt64-w.total-maxHeader {
			bad(formats.Overflow, "", "the tensors have more bytes than 63 bits count")
			continue
		}
		w.total += n
	}
}

// metadata is what goes into each file: "format", which transformers 4 demands, the header's own entries, and the aliases.
func (w *writing) metadata() formats.Metadata {
	var meta formats.Metadata
	if w.h.Metadata.Get("format") == nil {
		meta = append(meta, formats.KV{Key: "format", Value: "pt"})
	}
	seen := map[string]bool{"format": meta != nil}
	bad := func(code formats.Code, key, format string, args ...any) {
		w.Add(formats.Errorf(code, format, args...).In("", "__metadata__."+key))
	}
	for _, kv := range w.h.Metadata {
		v, ok := kv.Value.(string)
		switch {
		case !ok:
			bad(formats.BadType, kv.Key, "got %T, want string", kv.Value)
		case !utf8.ValidString(kv.Key) || !utf8.ValidString(v):
			bad(formats.UTF8, kv.Key, "key or value is not UTF-8")
		case seen[kv.Key]:
			bad(formats.Dup, kv.Key, "got the key twice")
		}
		seen[kv.Key] = true
		meta = append(meta, kv)
	}
	for _, a := range w.h.Aliases {
		if !seen[a.Name] && utf8.ValidString(a.Name) && utf8.ValidString(a.Of) {
			seen[a.Name] = true
			meta = append(meta, formats.KV{Key: a.Name, Value: a.Of})
		}
	}
	return meta
}

// group puts the tensors into their files, in the order in which the header names them. A header without tensors is one file.
func (w *writing) group() {
	at := map[string]int{}
	for i, t := range w.h.Tensors {
		k, ok := at[t.File]
		if !ok {
			k = len(w.files)
			at[t.File] = k
			w.files = append(w.files, target{name: t.File})
		}
		w.files[k].tensors = append(w.files[k].tensors, i)
	}
	if len(w.files) == 0 {
		name := "model" + suffix
		if len(w.h.Files) > 0 {
			name = w.h.Files[0].Path
		}
		w.files = []target{{name: name}}
	}
	for _, f := range w.files {
		if !w.aligned(f.tensors) {
			slices.SortStableFunc(f.tensors, func(a, b int) int { return cmp.Compare(w.align(b), w.align(a)) })
		}
	}
}

// align is the size of a tensor's elements, 1 for those below a byte.
func (w *writing) align(i int) int64 {
	if t := w.h.Tensors[i].DType; !t.Packed() {
		return max(t.BlockBytes(), 1)
	}
	return 1
}

func (w *writing) aligned(tensors []int) bool {
	end := int64(0)
	for _, i := range tensors {
		if end%w.align(i) != 0 {
			return false
		}
		end += w.h.Tensors[i].Bytes
	}
	return true
}

// file makes the header of file k and places its tensors.
func (w *writing) file(k int, f target, meta formats.Metadata) (formats.FileLayout, error) {
	b := make([]byte, 8, 8+len(f.tensors)*96)
	b = append(b, '{')
	if len(meta) > 0 {
		b = append(b, `"__metadata__":{`...)
		for i, kv := range meta {
			if i > 0 {
				b = append(b, ',')
			}
			b = jsontext.Quote(b, kv.Key)
			b = append(b, ':')
			b = jsontext.Quote(b, kv.Value.(string))
		}
		b = append(b, '}')
	}
	end := int64(0)
	for n, i := range f.tensors {
		t := w.h.Tensors[i]
		if n > 0 || len(meta) > 0 {
			b = append(b, ',')
		}
		b = jsontext.Quote(b, t.Name)
		b = append(b, `:{"dtype":"`...)
		b = append(b, t.DType...)
		b = append(b, `","shape":[`...)
		for d, v := range t.Shape {
			if d > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, v, 10)
		}
		b = append(b, `],"data_offsets":[`...)
		b = strconv.AppendInt(b, end, 10)
		b = append(b, ',')
		w.places[i] = formats.Place{File: k, Offset: end, Bytes: t.Bytes}
		end += t.Bytes
		b = strconv.AppendInt(b, end, 10)
		b = append(b, `]}`...)
	}
	b = append(b, '}')
	b = append(b, strings.Repeat(" ", -len(b)&(page-1))...)
	if len(b)-8 > maxHeader {
		return formats.FileLayout{}, formats.Errorf(formats.Limit, "got a header of %d bytes, want at most %d: too many tensors for one file",
			len(b)-8, maxHeader).At(f.name, -1).Hinted("write shards")
	}
	binary.LittleEndian.PutUint64(b, uint64(len(b)-8))
	for _, i := range f.tensors {
		w.places[i].Offset += int64(len(b))
	}
	return formats.FileLayout{Path: f.name, Bytes: int64(len(b)) + end, Parts: []formats.Part{part(k, string(b))}}, nil
}

// part is text at the start of a file.
func part(file int, text string) formats.Part {
	return formats.Part{File: file, Size: int64(len(text)), Data: strings.NewReader(text)}
}
