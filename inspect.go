package bowline

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// InspectReport is what the headers of a checkpoint say.
type InspectReport struct {
	Schema       string              `json:"schema"`
	Source       SourceReport        `json:"source"`
	Family       *string             `json:"family"`
	Architecture *string             `json:"architecture"`
	Parameters   Parameters          `json:"parameters"`
	Bytes        int64               `json:"bytes"` // of tensors
	DTypes       map[string]TypeSize `json:"dtypes"`
	Tensors      []TensorReport      `json:"tensors"`
	Aliases      []formats.Alias     `json:"aliases"`
	Metadata     Metadata            `json:"metadata"`
	Ties         TieLine             `json:"ties"`
	Notes        []formats.Note      `json:"notes"`
}

// SourceReport names a source and its files.
type SourceReport struct {
	Path   string         `json:"path"`
	Format string         `json:"format"`
	Files  []formats.File `json:"files"`
}

// Parameters counts values: Unique each stored value once, Total a tied head again.
type Parameters struct {
	Total  int64 `json:"total"`
	Unique int64 `json:"unique"`
}

// TypeSize is how much of a checkpoint has one type.
type TypeSize struct {
	Tensors int   `json:"tensors"`
	Bytes   int64 `json:"bytes"`
}

// TensorReport is one stored name.
type TensorReport struct {
	Name   string  `json:"name"`
	DType  string  `json:"dtype"`
	Shape  []int64 `json:"shape"`
	Bytes  int64   `json:"bytes"`
	File   string  `json:"file"`
	Offset int64   `json:"offset"` // absolute in File
}

// TieLine is the tie in one line; a tie that only data could judge is UNCOMPARED.
type TieLine struct {
	Verdict  *convert.Verdict `json:"verdict"`
	Declared *bool            `json:"declared"`
}

// InspectOptions choose what is listed.
type InspectOptions struct {
	Metadata bool // arrays of metadata whole
}

// Inspect reads the headers of a checkpoint, and nothing else.
func Inspect(src Source, o InspectOptions) (*InspectReport, error) {
	var r *InspectReport
	err := withModel(src, func(m *arch.Model) (err error) {
		r = inspect(m, src.Path, o)
		if o.Metadata {
			r.Metadata.Entries, err = m.Metadata.Loaded()
		}
		return err
	})
	return r, err
}

func inspect(m *arch.Model, path string, o InspectOptions) *InspectReport {
	r := &InspectReport{Schema: "bowline.inspect/1", Source: source(m, path), DTypes: map[string]TypeSize{}, Tensors: []TensorReport{},
		Aliases: m.Aliases, Metadata: Metadata{m.Metadata, o.Metadata}, Notes: m.Notes}
	if r.Aliases == nil {
		r.Aliases = []formats.Alias{}
	}
	if r.Notes == nil {
		r.Notes = []formats.Note{}
	}
	if m.Family != nil {
		r.Family = &m.Family.Name
	}
	if m.Class != "" {
		r.Architecture = &m.Class
	}
	r.Tensors = make([]TensorReport, 0, len(m.Tensors)+len(m.Aliases))
	types := map[dtype.Type]*TypeSize{}
	last, of := dtype.Type(""), (*TypeSize)(nil) // most tensors have the type of the one before
	for i := range m.Tensors {
		t := &m.Tensors[i]
		r.Tensors = append(r.Tensors, TensorReport{t.Name, string(t.DType), shape(t.Shape), t.Bytes, t.File, t.Offset})
		r.Bytes += t.Bytes
		r.Parameters.Unique += t.Elems()
		if of == nil || t.DType != last {
			if last, of = t.DType, types[t.DType]; of == nil {
				of = &TypeSize{}
				types[t.DType] = of
			}
		}
		of.Tensors++
		of.Bytes += t.Bytes
	}
	for d, s := range types {
		r.DTypes[string(d)] = *s
	}
	r.Parameters.Total = r.Parameters.Unique
	for _, a := range m.Aliases {
		if t := m.Lookup(a.Of); t != nil {
			r.Tensors = append(r.Tensors, TensorReport{a.Name, string(t.DType), shape(t.Shape), t.Bytes, t.File, t.Offset})
			r.Parameters.Total += t.Elems()
		}
	}
	for _, g := range convert.Groups(m) {
		r.Ties.Verdict = &g.Verdict
		if len(g.Declared) > 0 {
			r.Ties.Declared = &g.Declared[0].Value
		}
		if g.Verdict == convert.TiedShared || g.Verdict == convert.TiedSharedHeadName {
			for _, p := range g.Present {
				if p != nil {
					n, _ := formats.Elems(p.Shape)
					r.Parameters.Total += n
				}
			}
		}
	}
	return r
}

func source(m *arch.Model, path string) SourceReport {
	return SourceReport{Path: path, Format: m.Format, Files: m.Files}
}

// shape prints a scalar's shape as [], not null.
func shape(s []int64) []int64 {
	if s == nil {
		return []int64{}
	}
	return s
}

// Metadata is a checkpoint's metadata as one JSON object in file order. Arrays over 32 elements are {type, count} unless Whole.
type Metadata struct {
	Entries formats.Metadata
	Whole   bool
}

// longArray is the length up to which an array is shown.
const longArray = 32

// MarshalJSON keeps file order.
func (m Metadata) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, kv := range m.Entries {
		if i > 0 {
			b.WriteByte(',')
		}
		k, err := json.Marshal(kv.Key)
		if err != nil {
			return nil, err
		}
		v, err := json.Marshal(m.value(kv.Value))
		if err != nil {
			return nil, err
		}
		b.Write(k)
		b.WriteByte(':')
		b.Write(v)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// value is what JSON can say of a metadata value.
func (m Metadata) value(v any) any {
	switch v := v.(type) {
	case float32:
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return formats.Number(f)
		}
		return v
	case float64:
		return formats.Number(v)
	}
	type long struct {
		Type  string `json:"type"`
		Count int    `json:"count"`
	}
	if d, ok := v.(formats.Deferred); ok {
		return long{d.Elem(), d.Len()}
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Slice {
		return v
	}
	if rv.Len() > longArray && !m.Whole {
		return long{rv.Type().Elem().String(), rv.Len()}
	}
	out := make([]any, rv.Len())
	for i := range out {
		out[i] = m.value(rv.Index(i).Interface())
	}
	return out
}
