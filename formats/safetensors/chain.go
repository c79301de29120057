package safetensors

import (
	"cmp"
	"slices"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/jsontext"
)

// sizes compares the offsets of each tensor with its shape and type.
func (p *parser) sizes() {
	for _, sp := range p.spans {
		if sp.tensor < 0 {
			continue
		}
		t := &p.Tensors[sp.tensor]
		n, err := formats.TensorBytes(t.DType, t.Shape)
		if err != nil {
			for _, e := range formats.Errors(err) {
				p.Add(e.At(p.Path, p.Base+int64(sp.at)).In(t.Name, "shape"))
			}
			continue
		}
		if got := sp.end - sp.begin; got != n {
			p.Tensor, p.Field = t.Name, "data_offsets"
			p.bad(formats.BadShape, int(sp.offsets), "got %d bytes, want %d for shape %v of %s", got, n, t.Shape, t.DType)
			p.Tensor, p.Field = "", ""
		}
		t.Bytes = n
		t.Offset = sp.begin // chain makes it absolute
		p.bytes += n
	}
}

// chain checks that the tensors cover the data from its first byte, at start in the file, to the end of the file, each byte once. The
// format demands it so that no file can be two things at once.
func (p *parser) chain(start, size int64) {
	order := func(a, b span) int { return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end)) }
	spans := p.spans
	if !slices.IsSortedFunc(spans, order) {
		spans = slices.Clone(spans)
		slices.SortFunc(spans, order)
	}
	data := size - start
	end, last := int64(0), -1 // of what is covered so far
	whole, cut := -1, -1      // the last tensor that the file holds, the first that it does not
	p.Field = "data_offsets"
	defer func() { p.Tensor, p.Field = "", "" }()
	for i, sp := range spans {
		p.Tensor = p.nameAt(sp)
		switch {
		case sp.begin > end && last < 0:
			p.bad(formats.Hole, int(sp.offsets), "bytes 0 to %d of the data belong to no tensor: got begin %d, want 0", sp.begin, sp.begin)
		case sp.begin > end:
			p.bad(formats.Hole, int(sp.offsets), "bytes %d to %d of the data, after tensor \"%s\", belong to no tensor: got begin %d, want %d",
				end, sp.begin, clip(p.nameAt(spans[last])), sp.begin, end)
		case sp.begin < end:
			p.bad(formats.Overlap, int(sp.offsets), "got bytes %d to %d, which overlap bytes %d to %d of tensor \"%s\"",
				sp.begin, sp.end, spans[last].begin, spans[last].end, clip(p.nameAt(spans[last])))
		}
		if sp.end >= end {
			end, last = sp.end, i
		}
		if sp.end <= data {
			whole = i
		} else if cut < 0 {
			cut = i
		}
		if sp.tensor >= 0 {
			p.Tensors[sp.tensor].Offset = start + sp.begin
		}
	}
	p.Tensor = ""
	switch {
	case end > data:
		kept := "no tensor is complete"
		if whole >= 0 {
			kept = "the last complete tensor is \"" + clip(p.nameAt(spans[whole])) + "\""
		}
		p.Add(formats.Errorf(formats.Trunc, "the file is %d bytes short: got %d bytes of data, want %d; %s", end-data, data, end, kept).
			At(p.Path, size).In(p.nameAt(spans[cut]), p.Field))
	case end < data:
		p.Add(formats.Errorf(formats.Trail, "got %d bytes after the last tensor, want none", data-end).At(p.Path, start+end))
	}
}

// nameAt is the name that an entry has in the header.
func (p *parser) nameAt(sp span) string {
	if sp.tensor >= 0 {
		return p.Tensors[sp.tensor].Name
	}
	k := jsontext.Scanner{Src: p.Src, At: int(sp.at)}
	return k.Str()
}
