package raw

import (
	"cmp"
	"path/filepath"
	"slices"

	"github.com/bowline-ml/bowline/formats"
)

// padding is the most bytes between tensors of a dump that need no explanation.
const padding = 64

// dump holds the entries of a file without a header against its size and each other.
func (s *set) dump(list, file string, entries []entry, of []int32, found []place) {
	path := filepath.Join(s.files.Dir, file)
	f, size, err := s.files.Open(file)
	if err != nil {
		s.missing(path, err, list)
		return
	}
	s.data[file] = f
	s.Files = append(s.Files, formats.File{Path: file, Bytes: size})
	var spans []int32
	for _, i := range of {
		e := entries[i]
		found[i] = place{start: e.offset, bytes: e.bytes, dtype: e.dtype, shape: e.shape, fortran: e.fortran, big: e.big}
		bad := func(code formats.Code, at int64, format string, args ...any) {
			if !s.Full() {
				s.Add(formats.Errorf(code, format, args...).At(path, at).In(e.name, ""))
			}
		}
		switch {
		case e.offset > size || e.bytes > size-e.offset:
			bad(formats.Trunc, size, "got a file of %d bytes, want %d from offset %d on", size, e.bytes, e.offset)
		case !e.knows(keyOffset) && e.bytes < size:
			bad(formats.Trail, e.bytes, "got a file of %d bytes, want %d, as it is one tensor: %s states no offset", size, e.bytes, list)
		default:
			spans = append(spans, i)
		}
	}
	slices.SortStableFunc(spans, func(a, b int32) int {
		return cmp.Or(cmp.Compare(found[a].start, found[b].start), cmp.Compare(found[a].bytes, found[b].bytes))
	})
	end, holes, last := int64(0), int64(0), int32(-1)
	hole := func(n int64) {
		if n >= padding {
			holes += n
		}
	}
	for _, i := range spans {
		e, p := entries[i], found[i]
		if p.bytes == 0 {
			continue
		}
		if p.start >= end {
			hole(p.start - end)
			end, last = p.start+p.bytes, i
			continue
		}
		if of := found[last]; of.start != p.start || of.dtype != p.dtype || !slices.Equal(of.shape, p.shape) || of.fortran != p.fortran || of.big != p.big {
			s.bad(list, e, formats.Overlap, "offset", "got bytes %d to %d of %s, of which some are of \"%s\" too, and the two are not the same", p.start, p.start+p.bytes,
				clip(file), clip(entries[last].name))
			end = max(end, p.start+p.bytes)
			continue
		}
		s.alias(entries, i, last)
	}
	if hole(size - end); holes > 0 {
		s.note(file, "read in part", "%d of its bytes belong to no tensor of %s", holes, list)
	}
}
