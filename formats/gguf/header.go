package gguf

import (
	"bytes"
	"fmt"
	"io"
	"math/bits"

	"github.com/bowline-ml/bowline/formats"
)

const (
	magic        = "GGUF"
	alignmentKey = "general.alignment"
	maxAlignment = 1 << 16

	maxEntries  = 1 << 20 // tensors, and metadata entries, that are written to one file
	maxKeyBytes = 1<<16 - 1
	maxRank     = 4
	maxName     = 64 // bytes read; the format's text says 64, the C reader wants fewer than 64, so 63 are written
)

// part is what one file holds: a whole checkpoint, or a shard of a split set.
type part struct {
	name     string // of the file in its directory
	path     string
	size     int64
	metadata formats.Metadata
	valueAt  map[string]int64 // where the values of the container's own keys are
	tensors  []formats.Tensor
	big      bool // the data is big-endian too
	notes    []formats.Note
	unsaid   int // notes that there was no room for
}

// A file is, all in one byte order:
//
//	u32 magic, u32 version, u64 n_tensors, u64 n_kv                   (u32 counts, lengths and dimensions in version 1)
//	n_kv      x { string key; u32 type; value }
//	n_tensors x { string name; u32 n_dims; u64 ne[n_dims]; u32 type; u64 offset }
//	padding to the alignment, then each tensor at its offset from there, padded to the alignment
//
// Source: gguf.md of ggml; the checks are those of gguf.cpp, and stricter where it is lax.

// parse reads the header of one file and checks everything that it says against the file's size.
func parse(f io.ReaderAt, name, path string, size int64, b formats.ReadBounds) (*part, error) {
	w := &window{f: f, path: path, size: size, width: 8, most: b.Of(formats.MetadataBound)}
	p := &part{name: name, path: path, size: size, valueAt: map[string]int64{}}
	nTensors, nKV := w.counts(uint64(b.Of(formats.TensorsBound)))
	if err := w.problem(); err != nil {
		return nil, err
	}
	if p.big = w.big; p.big {
		p.note(formats.Note{Subject: name, Decision: "read as big-endian", Because: "the bytes of its version are in that order"})
	}
	p.readMetadata(w, nKV)
	align := p.alignment(w)
	infos := p.readTensors(w, nTensors)
	if w.err == nil && align != 0 {
		p.place(w, infos, align)
	}
	if err := w.problem(); err != nil {
		return nil, err
	}
	return p, nil
}

// counts reads the fixed start of the file. Neither count may be above most.
func (w *window) counts(most uint64) (nTensors, nKV uint64) {
	w.where = field{name: "magic"}
	if b := w.take(4); b != nil && string(b) != magic {
		w.fail(formats.Errorf(formats.Magic, "got % x, want % x (%q)%s", b, magic, magic, looksLike(b)), 0)
	}
	w.where = field{name: "version"}
	v := w.u32()
	order := ""
	if v&0xffff == 0 && v != 0 {
		// The one sign of the byte order: small numbers have their low half empty in the other one (gguf.cpp, gguf_reader.py).
		w.big, v, order = true, bits.ReverseBytes32(v), " (big-endian)"
	}
	switch {
	case w.err != nil:
	case v == 1:
		w.width = 4
	case v == 2, v == 3:
	default:
		w.fail(formats.Errorf(formats.Version, "got %d%s, want 1, 2 or 3", v, order), 4)
	}
	// The smallest entries have a name of one byte; a value of one byte; no dimensions.
	return w.count("n_tensors", 1+4+4+8, most), w.count("n_kv", 1+4+1, most)
}

// count reads a number of entries that take at least a string's length and rest bytes each.
func (w *window) count(name string, rest int, most uint64) uint64 {
	w.where = field{name: name}
	at := w.pos()
	n := w.length()
	switch fit := uint64(w.left()) / uint64(w.width+rest); {
	case w.err != nil:
		return 0
	case n > fit:
		w.report(formats.Errorf(formats.Limit, "got %d, but the file has room for at most %d", n, fit), at)
	case n > most:
		w.report(formats.Errorf(formats.Limit, "got %d, want at most %d", n, most).Hinted("%s", formats.TensorsBound.Hint(int64(n))), at)
	}
	return n
}

// maxNotes is how many notes are made on one file.
const maxNotes = 50

// note keeps a note, or counts it.
func (p *part) note(n formats.Note) {
	if len(p.notes) < maxNotes {
		p.notes = append(p.notes, n)
	} else {
		p.unsaid++
	}
}

// said is all notes.
func (p *part) said() []formats.Note {
	if p.unsaid == 0 {
		return p.notes
	}
	return append(p.notes, formats.Note{Subject: p.name, Decision: fmt.Sprintf("%d more notes are left out", p.unsaid),
		Because: "they say the like of other tensors and keys", Warn: true})
}

// readMetadata reads n entries.
func (p *part) readMetadata(w *window, n uint64) {
	seen := names{at: func(i int) string { return p.metadata[i].Key }}
	for i := uint64(0); i < n && w.err == nil; i++ {
		w.where = field{"kv", int(i), "key"}
		at := w.pos()
		key := w.text(maxKeyBytes)
		switch {
		case w.err != nil:
			return
		case key == "":
			w.report(formats.Errorf(formats.Missing, "the key is empty"), at)
		case !printable(key):
			w.report(formats.Errorf(formats.UTF8, "got %.64q, want printable ASCII", key), at)
		case !seen.add(key, len(p.metadata)):
			w.report(formats.Errorf(formats.Dup, "the key %.64q is there twice", key), at)
		}

		w.where = field{"kv", int(i), "type"}
		at = w.pos()
		t := w.u32()
		if w.err == nil && t >= typeCount {
			w.fail(formats.Errorf(formats.BadType, "key %.64q: got value type %d, want 0 to %d", key, t, typeCount-1), at)
		}
		if w.err != nil {
			return
		}
		w.where = field{"kv", int(i), "value"}
		switch key {
		case alignmentKey, splitNo, splitCount, splitTensors:
			p.valueAt[key] = w.pos()
		}
		v := w.value(t)
		if w.err != nil {
			w.err.Message = fmt.Sprintf("key %.64q: %s", key, w.err.Message)
			return
		}
		p.metadata = append(room(p.metadata, n), formats.KV{Key: key, Value: v})
	}
}

// printable reports whether a key is made of visible ASCII and spaces.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// alignment is what the metadata states, by default 32; 0 if that is reported as wrong.
func (p *part) alignment(w *window) int64 {
	v := p.metadata.Get(alignmentKey)
	if v == nil || w.err != nil {
		return alignment
	}
	w.where = field{name: alignmentKey}
	at := p.valueAt[alignmentKey]
	n, ok := v.(uint32)
	switch {
	case !ok:
		w.report(formats.Errorf(formats.BadType, "got %T, want uint32", v), at)
		return 0
	case bits.OnesCount32(n) != 1:
		w.report(formats.Errorf(formats.Align, "got %d, want a power of two", n), at)
		return 0
	case n > maxAlignment:
		w.report(formats.Errorf(formats.Limit, "got %d, want at most %d", n, maxAlignment), at)
		return 0
	case n < 8:
		p.note(formats.Note{Subject: p.name, Decision: fmt.Sprintf("read with alignment %d", n),
			Because: "the format asks for a multiple of 8; the C reader takes any power of two", Warn: true})
	}
	return int64(n)
}

// looksLike names a file by its first four bytes.
func looksLike(b []byte) string {
	for _, k := range []struct{ start, is string }{
		{"FUGG", "GGUF with its bytes reversed"},
		{"lmgg", "a ggml file of before GGUF"}, {"fmgg", "a ggmf file of before GGUF"}, {"tjgg", "a ggjt file of before GGUF"},
		{"algg", "a ggla adapter of before GGUF"},
		{"PK\x03\x04", "a zip archive, perhaps of PyTorch"},
		{"vers", "perhaps a Git LFS pointer"}, {"<!DO", "a web page"}, {"<!do", "a web page"}, {"<htm", "a web page"},
	} {
		if bytes.Equal(b, []byte(k.start)) {
			return ": " + k.is
		}
	}
	return ""
}
