package pytorch

import (
	"cmp"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/index"
)

// layout says what the files of h will be: each byte for byte what torch 2.13 writes of the same state dictionary to a stream, but for
// the record that identifies the file, which depends on torch's hash table. The names of files do not matter to their content.
//
// Aliases become two names over one storage, in the file of the tensor. Metadata, which has to be text, becomes records below extra/ in
// the first file; torch calls such records extra files and reads past them. Several files get an index, last.
func layout(h formats.Header) (formats.Layout, error) {
	w := &writing{h: h, aliases: map[string][]string{}}
	w.check()
	extra := w.metadata()
	w.group()
	if err := w.Err(""); err != nil {
		return formats.Layout{}, err
	}
	l := formats.Layout{Places: make([]formats.Place, len(h.Tensors))}
	var plans []zipPlan
	for k, f := range w.files {
		text := pickle(h, f.tensors, w.aliases)
		if len(text) > maxPickle {
			return formats.Layout{}, formats.Errorf(formats.Limit, "got a pickle of %d bytes, want at most %d: too many tensors for one file", len(text), maxPickle).
				At(f.name, -1).Hinted("write shards")
		}
		z := newZipPlan(text, extra, f.tensors, h.Tensors)
		extra = nil
		pieces, places := z.build(nil)
		for n, i := range f.tensors {
			l.Places[i] = formats.Place{File: k, Offset: places[n], Bytes: h.Tensors[i].Bytes}
		}
		l.Files = append(l.Files, formats.FileLayout{Path: f.name, Bytes: z.end, Parts: asParts(k, pieces)})
		plans = append(plans, z)
	}
	if len(w.files) > 1 {
		part := index.Part(len(l.Files), h, w.total)
		l.Files = append(l.Files, formats.FileLayout{Path: index.NameFor(w.files[0].name, suffix, h.Files, "pytorch_model"), Bytes: part.Size, Parts: []formats.Part{part}})
	}
	l.Seal = func(crc []uint32) []formats.Part {
		var out []formats.Part
		for k, z := range plans {
			pieces, _ := z.build(crc)
			out = append(out, asParts(k, pieces[1:])...) // the first is the same for all data
		}
		return out
	}
	return l, nil
}

func asParts(file int, pieces []piece) []formats.Part {
	var out []formats.Part
	for _, p := range pieces {
		out = append(out, formats.Part{File: file, Offset: p.at, Size: int64(len(p.b)), Data: strings.NewReader(string(p.b))})
	}
	return out
}

// writing is a layout in the making.
type writing struct {
	formats.Problems
	h       formats.Header
	files   []target
	aliases map[string][]string // by the tensor's name
	total   int64
}

// target is one file; tensors are indexes into the header's.
type target struct {
	name    string
	tensors []int
}

func (w *writing) check() {
	seen := make(map[string]bool, len(w.h.Tensors))
	name := func(n, file string) {
		bad := func(code formats.Code, format string, args ...any) {
			w.Add(formats.Errorf(code, format, args...).At(file, -1).In(n, ""))
		}
		if seen[n] {
			bad(formats.Dup, "got the name twice")
		}
		seen[n] = true
		if !utf8.ValidString(n) {
			bad(formats.UTF8, "the name is not UTF-8")
		}
		if len(n) > maxName {
			bad(formats.Limit, "got a name of %d bytes, want at most %d", len(n), maxName)
		}
	}
	files := map[string]string{}
	for _, t := range w.h.Tensors {
		bad := func(code formats.Code, field, format string, args ...any) {
			w.Add(formats.Errorf(code, format, args...).At(t.File, -1).In(t.Name, field))
		}
		name(t.Name, t.File)
		files[t.Name] = t.File
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
		if n > math.MaxInt64/2-w.total {
			bad(formats.Overflow, "", "the tensors have more bytes than 63 bits count")
			continue
		}
		w.total += n
	}
	for _, a := range w.h.Aliases {
		file, ok := files[a.Of]
		name(a.Name, file)
		if !ok {
			w.Add(formats.Errorf(formats.Missing, "it shares the bytes of \"%s\", which is no tensor of the header", clip(a.Of)).In(a.Name, ""))
		}
		w.aliases[a.Of] = append(w.aliases[a.Of], a.Name)
	}
}

// metadata is the records of texts. That a safetensors file was made from PyTorch's tensors goes without saying here.
func (w *writing) metadata() []small {
	var out []small
	seen := map[string]bool{}
	for _, kv := range w.h.Metadata {
		bad := func(code formats.Code, format string, args ...any) {
			w.Add(formats.Errorf(code, format, args...).In("", "extra/"+kv.Key))
		}
		v, ok := kv.Value.(string)
		name := "extra/" + escape(kv.Key)
		switch {
		case !ok:
			bad(formats.BadType, "got %T, want string", kv.Value)
		case !utf8.ValidString(kv.Key) || !utf8.ValidString(v):
			bad(formats.UTF8, "key or value is not UTF-8")
		case seen[strings.ToLower(name)]:
			bad(formats.Dup, "got the key twice, where case does not count")
		case kv.Key == "" || len(name) > maxName:
			bad(formats.Unsupported, "got a key of %d bytes, want at most %d for the name of a record, and not none", len(kv.Key), maxName)
		case len(v) > maxExtra:
			bad(formats.Limit, "got %d bytes, want at most %d", len(v), maxExtra)
		}
		seen[strings.ToLower(name)] = true
		if kv.Key != "format" || v != "pt" {
			out = append(out, small{name, v})
		}
	}
	return out
}

// small is a record whose content is known.
type small struct{ name, content string }

// escape makes a key one element of a path, as in a URL.
func escape(key string) string {
	if s := url.PathEscape(key); strings.Trim(s, ".") != "" {
		return strings.ReplaceAll(s, ":", "%3A")
	}
	return strings.ReplaceAll(key, ".", "%2E")
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
		name := "pytorch_model" + suffix
		if len(w.h.Files) > 0 {
			name = w.h.Files[0].Path
		}
		w.files = []target{{name: name}}
	}
}

func keyOf(n int64) string { return strconv.FormatInt(n, 10) }

// zipPlan is one archive: small records whose content is known, and those of tensors.
type zipPlan struct {
	before, after []small // the tensors
	tensors       []int   // into the header's
	sizes         []int64
	end           int64 // size of the file
}

// piece is bytes of the file that are no tensor's.
type piece struct {
	at int64
	b  []byte
}

func newZipPlan(pickle []byte, extra []small, tensors []int, all []formats.Tensor) zipPlan {
	z := zipPlan{tensors: tensors}
	z.before = append(z.before, small{"data.pkl", string(pickle)}, small{".format_version", "1"}, small{".storage_alignment", strconv.Itoa(alignment)},
		small{"byteorder", "little"})
	z.before = append(z.before, extra...)
	z.after = []small{{"version", "3\n"}}
	for _, i := range tensors {
		z.sizes = append(z.sizes, all[i].Bytes)
	}
	w := z.write(nil)
	z.end = w.at
	return z
}

// build makes the pieces. Without checksums of the tensors theirs are zero. places are where the tensors go.
func (z zipPlan) build(crc []uint32) (pieces []piece, places []int64) {
	w := z.write(crc)
	return w.pieces, w.places
}

func (z zipPlan) write(crc []uint32) *zipWriter {
	w := &zipWriter{}
	for _, r := range z.before {
		w.text(r.name, r.content)
	}
	for n, size := range z.sizes {
		sum := uint32(0)
		if crc != nil {
			sum = crc[z.tensors[n]]
		}
		w.tensor("data/"+keyOf(int64(n)), size, sum)
	}
	for _, r := range z.after {
		w.text(r.name, r.content)
	}
	w.text(".data/serialization_id", w.identity())
	w.finish()
	slices.SortFunc(w.pieces, func(a, b piece) int { return cmp.Compare(a.at, b.at) })
	return w
}
