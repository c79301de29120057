package gguf

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
)

// info is what a header says of one tensor beyond formats.Tensor, and where it says so.
type info struct {
	at     int64 // of the entry
	offset uint64
	id     uint32
	sized  bool // the tensor's Bytes is known
}

// neAt, idAt and offsetAt are where the fields of the entry of t are.
func (in info) neAt(w *window, t formats.Tensor) int64 { return in.at + int64(w.width+len(t.Name)+4) }
func (in info) idAt(w *window, t formats.Tensor) int64 {
	return in.neAt(w, t) + int64(w.width*len(t.Shape))
}
func (in info) offsetAt(w *window, t formats.Tensor) int64 { return in.idAt(w, t) + 4 }

// readTensors reads n tensor infos into p.tensors.
func (p *part) readTensors(w *window, n uint64) []info {
	var infos []info
	seen := names{at: func(i int) string { return p.tensors[i].Name }}
	told := map[uint32]bool{} // private types
	for i := uint64(0); i < n && w.err == nil; i++ {
		var t formats.Tensor
		var in info
		w.where = field{"tensor", int(i), "name"}
		in.at = w.pos()
		at := in.at
		t.Name = w.text(maxName)
		switch {
		case w.err != nil:
			return nil
		case t.Name == "":
			w.report(formats.Errorf(formats.Missing, "the name is empty"), at)
		case strings.IndexByte(t.Name, 0) >= 0:
			w.report(formats.Errorf(formats.UTF8, "got %q: C programs would see the part before the NUL", t.Name), at)
		case !utf8.ValidString(t.Name):
			w.report(formats.Errorf(formats.UTF8, "got %q, want UTF-8", t.Name), at)
		case !seen.add(t.Name, len(p.tensors)):
			w.report(formats.Errorf(formats.Dup, "the name is there twice").In(t.Name, ""), at)
		case len(t.Name) == maxName:
			p.note(formats.Note{Subject: t.Name, Decision: "read", Because: "llama.cpp refuses a name of 64 bytes", Warn: true})
		}

		w.where = field{"tensor", int(i), "n_dims"}
		at = w.pos()
		rank := w.u32()
		if w.err == nil && rank > maxRank {
			w.fail(formats.Errorf(formats.Limit, "got %d, want at most %d", rank, maxRank).In(t.Name, ""), at)
		}
		if w.err != nil {
			return nil
		}
		w.where = field{"tensor", int(i), "ne"}
		shapeOK := true
		if rank > 0 {
			t.Shape = make([]int64, rank)
		}
		for j := range t.Shape {
			d := w.length()
			if d > math.MaxInt64 {
				w.report(formats.Errorf(formats.Overflow, "ne[%d]: got %d, want 0 to %d", j, int64(d), int64(math.MaxInt64)).In(t.Name, ""), in.neAt(w, t))
				shapeOK = false
			}
			t.Shape[len(t.Shape)-1-j] = int64(d) // ne[0] is the innermost dimension
		}
		w.where = field{"tensor", int(i), "type"}
		in.id = w.u32()
		w.where = field{"tensor", int(i), "offset"}
		in.offset = w.u64()
		if w.err != nil {
			return nil
		}
		t.File = p.name
		if shapeOK {
			in.size(w, int(i), &t)
		}
		if in.id >= uint32(len(types)) && t.DType != "" && !told[in.id] {
			told[in.id] = true
			if len(p.notes) < maxNotes { // a file may have a type for each tensor
				p.note(privateNote(in.id, t.Name))
			} else {
				p.unsaid++
			}
		}
		p.tensors = append(room(p.tensors, n), t)
		infos = append(room(infos, n), in)
	}
	return infos
}

// size sets the element type of tensor i, and its bytes where the header alone tells them.
func (in *info) size(w *window, i int, t *formats.Tensor) {
	d, e := typeOf(in.id)
	if e != nil {
		w.where = field{"tensor", i, "type"}
		w.report(e.In(t.Name, ""), in.idAt(w, *t))
	}
	t.DType = d
	w.where = field{"tensor", i, "ne"}
	if e != nil || !d.Known() {
		if _, ok := formats.Elems(t.Shape); !ok {
			w.report(formats.Errorf(formats.Overflow, "shape %v has more elements than 63 bits count", t.Shape).In(t.Name, ""), in.neAt(w, *t))
		}
		return
	}
	n, err := formats.TensorBytes(d, t.Shape)
	for _, e := range formats.Errors(err) {
		w.report(e.In(t.Name, ""), in.neAt(w, *t))
	}
	t.Bytes, in.sized = n, err == nil
}

// place checks that the tensors follow one another without gaps or overlaps, each padded to the alignment, and end in the file; it
// sets their absolute offsets.
func (p *part) place(w *window, infos []info, align int64) {
	start := pad(w.pos(), align)
	next := uint64(0) // where the next tensor has to be, from start
	known := true     // whether next is: not after a tensor of unknown size
	short := -1       // the first tensor that the file does not hold
	var lost int64
	for i := range infos {
		t, in := &p.tensors[i], infos[i]
		w.where = field{"tensor", i, "offset"}
		bad := func(code formats.Code, format string, args ...any) {
			w.report(formats.Errorf(code, format, args...).In(t.Name, ""), in.offsetAt(w, *t))
		}
		switch {
		case in.offset > uint64(math.MaxInt64-start):
			bad(formats.Overflow, "got %d, beyond what 63 bits count", in.offset)
			known = false
			continue
		case in.offset%uint64(align) != 0:
			bad(formats.Align, "got %d, want a multiple of %d", in.offset, align)
		case known && in.offset < next:
			bad(formats.Overlap, "got %d, want %d: overlaps the %s", in.offset, next, before(p.tensors, i))
		case known && in.offset > next:
			bad(formats.Hole, "got %d, want %d: bytes between it and the %s belong to nothing", in.offset, next, before(p.tensors, i))
		}
		t.Offset = start + int64(in.offset)
		if !in.sized {
			if t.DType == "" || t.DType.Known() {
				known = false // reported already
				continue
			}
			// Only the next offset says where a tensor of a private type ends.
			if t.Bytes = p.size - t.Offset; t.Bytes < 0 {
				bad(formats.Trunc, "got %d, but the file ends %d bytes before", in.offset, -t.Bytes)
				known = false
				continue
			}
			if i+1 < len(infos) {
				if infos[i+1].offset < in.offset {
					known = false
					w.where = field{"tensor", i + 1, "offset"}
					w.report(formats.Errorf(formats.Overlap, "got %d, before the %s at %d", infos[i+1].offset, before(p.tensors, i+1), in.offset).
						In(p.tensors[i+1].Name, ""), infos[i+1].offsetAt(w, p.tensors[i+1]))
					continue
				}
				t.Bytes = int64(min(infos[i+1].offset-in.offset, math.MaxInt64))
			}
		}
		// Each step may wrap on its own: the padding, the end in the section, the end in the file.
		if t.Bytes > math.MaxInt64-align || pad(t.Bytes, align) > math.MaxInt64-t.Offset {
			w.where = field{"tensor", i, "ne"}
			w.report(formats.Errorf(formats.Overflow, "shape %v at %d ends beyond what 63 bits count", t.Shape, in.offset).In(t.Name, ""), in.neAt(w, *t))
			known = false
			continue
		}
		if end := t.Offset + t.Bytes; end > p.size && t.Bytes > 0 {
			if short < 0 {
				short = i
			}
			lost = max(lost, end-p.size)
		}
		next, known = in.offset+uint64(pad(t.Bytes, align)), true
	}
	if short >= 0 {
		p.short(w, short, lost)
		return
	}
	end := w.pos()
	if n := len(infos); n > 0 {
		if !infos[n-1].sized {
			return // it takes all that is left
		}
		end = start + int64(next)
	}
	p.noteEnd(end, pad(end, align))
}

// before names the neighbour of tensor i, for messages.
func before(ts []formats.Tensor, i int) string {
	if i == 0 {
		return "start of the data"
	}
	return fmt.Sprintf("tensor %q", ts[i-1].Name)
}

// short reports the tensors that the file is too small for: in one problem, because they have one cause.
func (p *part) short(w *window, first int, lost int64) {
	t := p.tensors[first]
	w.where = field{"tensor", first, ""}
	more := ""
	if n := len(p.tensors) - 1 - first; n > 0 {
		more = fmt.Sprintf("; %d more tensors follow, in all %d bytes are missing", n, lost)
	}
	w.report(formats.Errorf(formats.Trunc, "the file ends at %d, %d bytes before the tensor does%s", p.size, t.Offset+t.Bytes-p.size, more).
		In(t.Name, ""), p.size)
}

// noteEnd notes a file that does not end where its contents do: end is the end of the header or of the padding of the last tensor.
func (p *part) noteEnd(end, padded int64) {
	switch {
	case p.size < end:
		p.note(formats.Note{Subject: p.name, Decision: "read", Because: fmt.Sprintf("the last tensor lacks %d bytes of padding",
			end-p.size)})
	case p.size > padded:
		p.note(formats.Note{Subject: p.name, Decision: fmt.Sprintf("%d bytes after the end are ignored", p.size-padded),
			Because: "no tensor holds them", Warn: true})
	}
}

// pad rounds n up to a multiple of align, a power of two. The caller has made sure that it does not wrap.
func pad(n, align int64) int64 { return (n + align - 1) &^ (align - 1) }
