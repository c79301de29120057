package pytorch

import (
	"encoding/binary"
	"math"

	"github.com/bowline-ml/bowline/formats"
)

// local compares the local header of record i, and what stands behind its data, with the directory: a reader that goes by the one would
// else see another file than a reader that goes by the other. next is where the next record starts, or the directory.
func (a *archive) local(i int, next int64) *formats.Error {
	const field = "local header"
	r := &a.records[i]
	if i == 0 && r.at > 0 {
		return a.bad(formats.Hole, 0, field, "bytes 0 to %d, before the first record, belong to nothing", r.at)
	}
	var h [localBytes]byte
	if err := a.read(h[:], r.at); err != nil {
		return err
	}
	if u32(h[:]) != sigLocal {
		return a.bad(formats.Mismatch, r.at, field, "got % x, want the header of record \"%s\", whose entry is at %d", h[:4], clip(r.name), r.central)
	}
	n, x := int64(u16(h[26:])), int64(u16(h[28:]))
	r.data = r.at + localBytes + n + x
	if r.data > a.directory || r.packed > a.directory-r.data {
		return a.bad(formats.Bounds, r.central, field, "got %d bytes of record \"%s\" at %d, want them before the directory at %d", r.packed, clip(r.name), r.data, a.directory)
	}
	rest := make([]byte, n+x)
	if err := a.read(rest, r.at+localBytes); err != nil {
		return err
	}
	differs := func(what string, got, want any) *formats.Error {
		return a.bad(formats.Mismatch, r.at, field, "got %s %v, but %v in the directory at %d", what, got, want, r.central)
	}
	if name := string(rest[:n]); name != r.name {
		return differs("name", quoteClip(name), quoteClip(r.name))
	}
	if f := u16(h[6:]); f != r.flags {
		return differs("flags", f, r.flags)
	}
	if m := u16(h[8:]); m != r.method {
		return differs("compression", m, r.method)
	}
	if t := u32(h[10:]); t != r.time {
		return differs("time", t, r.time)
	}
	zip64, ok := extraField(rest[n:])
	if !ok {
		return a.bad(formats.Bounds, r.at, field, "got extra fields of record \"%s\" that do not fit", clip(r.name))
	}
	if err := a.localSizes(r, h[:], zip64); err != nil {
		return err
	}
	return a.behind(r, next)
}

func quoteClip(s string) string { return `"` + clip(s) + `"` }

// localSizes compares sizes and checksum. With a descriptor behind the data they may be zero here. torch's zip64 fields hold sizes that
// the header gives as zero, and the offset.
func (a *archive) localSizes(r *record, h, zip64 []byte) *formats.Error {
	const field = "local header"
	later := r.flags&flagDescriptor != 0
	if crc := u32(h[14:]); crc != r.crc && !(later && crc == 0) {
		return a.bad(formats.Mismatch, r.at, field, "got checksum %08x, but %08x in the directory at %d", crc, r.crc, r.central)
	}
	for _, v := range []struct {
		at   int
		want int64
	}{{18, r.packed}, {22, r.size}} {
		got := int64(u32(h[v.at:]))
		if got == v.want || later && got == 0 || got == math.MaxUint32 && len(zip64) >= 16 {
			continue
		}
		return a.bad(formats.Mismatch, r.at, field, "got %d bytes, but %d in the directory at %d", got, v.want, r.central)
	}
	values := []int64{r.size, r.packed, r.at}
	for ; len(zip64) >= 8; zip64 = zip64[8:] {
		got := binary.LittleEndian.Uint64(zip64)
		if later && got == 0 && len(values) > 1 { // torch leaves the packed size out
			values = values[1:]
			continue
		}
		for len(values) > 0 && uint64(values[0]) != got {
			values = values[1:]
		}
		if len(values) == 0 {
			return a.bad(formats.Mismatch, r.at, field, "got 64-bit size or offset %d, want those of the directory at %d", got, r.central)
		}
		values = values[1:]
	}
	if len(zip64) > 0 {
		return a.bad(formats.Mismatch, r.at, field, "got %d bytes too many of 64-bit sizes", len(zip64))
	}
	return nil
}

// behind checks that the data, with its descriptor, ends where the next record starts.
func (a *archive) behind(r *record, next int64) *formats.Error {
	const field = "data descriptor"
	end := r.data + r.packed
	gap := next - end
	if gap < 0 {
		return a.bad(formats.Overlap, r.at, "local header", "record \"%s\" ends at %d, and the next one starts at %d", clip(r.name), end, next)
	}
	if r.flags&flagDescriptor == 0 {
		if gap > 0 {
			return a.bad(formats.Hole, end, "local header", "bytes %d to %d, behind record \"%s\", belong to nothing", end, next, clip(r.name))
		}
		return nil
	}
	// With or without a signature, with sizes of 4 or 8 bytes.
	if gap < 12 {
		return a.bad(formats.Mismatch, end, field, "got %d bytes behind record \"%s\", want a descriptor, as its flags say", gap, clip(r.name))
	}
	if gap != 12 && gap != 16 && gap != 20 && gap != 24 {
		return a.bad(formats.Hole, end, field, "got %d bytes behind record \"%s\", want a descriptor of 12 to 24", gap, clip(r.name))
	}
	b := make([]byte, gap)
	if err := a.read(b, end); err != nil {
		return err
	}
	if gap == 16 || gap == 24 {
		if u32(b) != sigDescriptor {
			return a.bad(formats.Mismatch, end, field, "got % x, want a descriptor of record \"%s\"", b[:4], clip(r.name))
		}
		b = b[4:]
	}
	crc := u32(b)
	packed, size := uint64(u32(b[4:])), uint64(u32(b[len(b)-4:]))
	if len(b) == 20 {
		packed, size = binary.LittleEndian.Uint64(b[4:]), binary.LittleEndian.Uint64(b[12:])
	}
	if crc != r.crc || packed != uint64(r.packed) || size != uint64(r.size) {
		return a.bad(formats.Mismatch, end, field, "got checksum %08x and sizes %d and %d, but %08x, %d and %d in the directory at %d",
			crc, packed, size, r.crc, r.packed, r.size, r.central)
	}
	return nil
}
