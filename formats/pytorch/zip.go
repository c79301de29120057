package pytorch

import (
	"cmp"
	"encoding/binary"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/index"
)

// Sizes and signatures (PKWARE, APPNOTE.TXT 6.3.10, section 4.3).
const (
	localBytes   = 30
	centralBytes = 46
	endBytes     = 22
	end64Bytes   = 56
	locatorBytes = 20

	sigLocal      = 0x04034b50
	sigCentral    = 0x02014b50
	sigDescriptor = 0x08074b50
	sigEnd        = 0x06054b50
	sigEnd64      = 0x06064b50
	sigLocator    = 0x07064b50
)

const (
	stored   = 0
	deflated = 8

	flagDescriptor = 1 << 3  // sizes and checksum are behind the data
	flagUTF8       = 1 << 11 // of the name
	flagLevel      = 3 << 1  // how hard the packer tried
	flagEncrypted  = 1
)

// record is one entry of the archive.
type record struct {
	name    string // whole, with the top folder
	flags   uint16
	method  uint16
	time    uint32 // and date
	crc     uint32
	packed  int64 // bytes in the archive
	size    int64 // bytes unpacked
	at      int64 // of the local header
	data    int64 // of the first byte
	central int64 // of its entry in the directory
}

// archive is a zip archive of which all headers have been compared. Records are in the order of their bytes.
type archive struct {
	f      io.ReaderAt
	path   string
	size   int64
	bounds formats.ReadBounds
	formats.Problems
	directory int64 // where the central directory starts, and all records end
	records   []record
}

func (a *archive) bad(code formats.Code, at int64, field, format string, args ...any) *formats.Error {
	return formats.Errorf(code, format, args...).At(a.path, at).In("", field)
}

// read fills a buffer from the file.
func (a *archive) read(p []byte, at int64) *formats.Error {
	if err := index.Full(a.f, p, at); err != nil {
		return index.Failed(a.path, at, err)
	}
	return nil
}

// readArchive reads the directory and all local headers. What makes the rest meaningless is returned; other problems are collected.
func readArchive(f io.ReaderAt, path string, size int64, b formats.ReadBounds) (*archive, *formats.Error) {
	a := &archive{f: f, path: path, size: size, bounds: b}
	entries, at, n, err := a.end()
	if err != nil {
		return nil, err
	}
	a.directory = at
	text, failed := index.Text(a.f, at, n)
	if failed != nil {
		return nil, index.Failed(path, at, failed)
	}
	if err := a.central(text, entries); err != nil {
		return nil, err
	}
	if a.Err(path) != nil {
		return a, nil
	}
	slices.SortFunc(a.records, func(x, y record) int { return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(x.central, y.central)) })
	for i := range a.records {
		next := a.directory
		if i+1 < len(a.records) {
			next = a.records[i+1].at
		}
		if err := a.local(i, next); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// end reads the end of the archive, which has to be the end of the file, and finds the directory, which has to lie before it.
func (a *archive) end() (entries, at, n int64, err *formats.Error) {
	const field = "end of central directory"
	if a.size < endBytes {
		return 0, 0, 0, a.bad(formats.Trunc, a.size, field, "got a file of %d bytes, want at least %d", a.size, endBytes)
	}
	tail := make([]byte, min(a.size, endBytes+locatorBytes+end64Bytes))
	if err := a.read(tail, a.size-int64(len(tail))); err != nil {
		return 0, 0, 0, err
	}
	e := tail[len(tail)-endBytes:]
	endAt := a.size - endBytes
	if u32(e) != sigEnd || u16(e[20:]) != 0 {
		return 0, 0, 0, a.noEnd(field)
	}
	entries, n, at = int64(u16(e[10:])), int64(u32(e[12:])), int64(u32(e[16:]))
	if u16(e[4:]) != 0 || u16(e[6:]) != 0 || u16(e[8:]) != u16(e[10:]) {
		return 0, 0, 0, a.bad(formats.Unsupported, endAt, field, "got an archive in several parts")
	}
	begin := endAt // of what is behind the directory
	if l := tail[:len(tail)-endBytes]; len(l) >= locatorBytes && u32(l[len(l)-locatorBytes:]) == sigLocator {
		if entries, at, n, err = a.end64(l, entries, at, n); err != nil {
			return 0, 0, 0, err
		}
		begin -= locatorBytes + end64Bytes
	} else if entries == math.MaxUint16 || n == math.MaxUint32 || at == math.MaxUint32 {
		return 0, 0, 0, a.bad(formats.Mismatch, endAt, field, "got sizes that stand for 64-bit ones, which are not there")
	}
	maxDirectory, maxRecords := a.bounds.Of(formats.DirectoryBound), a.bounds.Of(formats.RecordsBound)
	fits := at <= begin && n <= begin-at && entries <= n/centralBytes // else it is no directory, whatever is allowed
	limit := func(k formats.Bound, need int64, format string, args ...any) *formats.Error {
		e := a.bad(formats.Limit, endAt, field, format, args...)
		if fits {
			e = e.Hinted("%s", k.Hint(need))
		}
		return e
	}
	switch {
	case n > maxDirectory:
		return 0, 0, 0, limit(formats.DirectoryBound, n, "got a directory of %d bytes, want at most %d", n, maxDirectory)
	case entries > maxRecords:
		return 0, 0, 0, limit(formats.RecordsBound, entries, "got %d records, want at most %d", entries, maxRecords)
	case entries*centralBytes > n:
		return 0, 0, 0, a.bad(formats.Bounds, endAt, field, "got %d records in a directory of %d bytes", entries, n)
	case at > begin || n > begin-at:
		return 0, 0, 0, a.bad(formats.Bounds, endAt, field, "got a directory of %d bytes at %d, want it before byte %d", n, at, begin)
	case at+n < begin:
		return 0, 0, 0, a.bad(formats.Hole, at+n, field, "bytes %d to %d, behind the directory, belong to nothing", at+n, begin)
	}
	return entries, at, n, nil
}

// noEnd says what is wrong with a file that does not end as an archive does: it is cut, or has something behind it.
func (a *archive) noEnd(field string) *formats.Error {
	tail := make([]byte, min(a.size, math.MaxUint16+endBytes))
	if err := a.read(tail, a.size-int64(len(tail))); err != nil {
		return err
	}
	i := strings.LastIndex(string(tail[:len(tail)-endBytes+4]), "PK\x05\x06")
	if i < 0 {
		return a.bad(formats.Trunc, a.size, field, "the file does not end as a zip archive does: it is cut, or its end is overwritten")
	}
	at := a.size - int64(len(tail)) + int64(i)
	if at+endBytes == a.size {
		return a.bad(formats.Trunc, a.size, field, "got a comment of %d bytes that is not there", u16(tail[i+20:]))
	}
	return a.bad(formats.Trail, at+endBytes, field, "got %d bytes after the end of the archive, want none", a.size-at-endBytes)
}

// end64 reads what stands for the sizes of end in large archives, and in all that torch writes. tail ends with the locator.
func (a *archive) end64(tail []byte, entries, at, n int64) (_, _, _ int64, err *formats.Error) {
	const field = "zip64 end of central directory"
	locator, locatorAt := tail[len(tail)-locatorBytes:], a.size-endBytes-locatorBytes
	want := locatorAt - end64Bytes
	if len(tail) < locatorBytes+end64Bytes {
		return 0, 0, 0, a.bad(formats.Trunc, locatorAt, field, "got a locator at %d, want the record that it points to before it", locatorAt)
	}
	if got := binary.LittleEndian.Uint64(locator[8:]); got != uint64(want) || u32(locator[4:]) != 0 || u32(locator[16:]) > 1 {
		return 0, 0, 0, a.bad(formats.Mismatch, locatorAt, field, "got a locator to byte %d, want %d", got, want)
	}
	e := tail[len(tail)-locatorBytes-end64Bytes:]
	if u32(e) != sigEnd64 || binary.LittleEndian.Uint64(e[4:]) != end64Bytes-12 {
		return 0, 0, 0, a.bad(formats.Mismatch, want, field, "got % x, want the record that the locator points to", e[:12])
	}
	if u32(e[16:]) != 0 || u32(e[20:]) != 0 || binary.LittleEndian.Uint64(e[24:]) != binary.LittleEndian.Uint64(e[32:]) {
		return 0, 0, 0, a.bad(formats.Unsupported, want, field, "got an archive in several parts")
	}
	var wide [3]int64
	for i, v := range []struct {
		off          int
		narrow, most int64
	}{{32, entries, math.MaxUint16}, {48, at, math.MaxUint32}, {40, n, math.MaxUint32}} {
		w := binary.LittleEndian.Uint64(e[v.off:])
		if w > math.MaxInt64 {
			return 0, 0, 0, a.bad(formats.Overflow, want+int64(v.off), field, "got %d, want at most 2^63-1", w)
		}
		if wide[i] = int64(w); v.narrow != v.most && v.narrow != wide[i] {
			return 0, 0, 0, a.bad(formats.Mismatch, want+int64(v.off), field, "got %d, but %d in the record at %d", w, v.narrow, a.size-endBytes)
		}
	}
	return wide[0], wide[1], wide[2], nil
}

// central reads the directory.
func (a *archive) central(text string, entries int64) *formats.Error {
	const field = "central directory"
	a.records = make([]record, 0, entries)
	b := []byte(text)
	names := make(map[string]int64, entries) // in lower case: some file systems fold it
	for at := a.directory; int64(len(a.records)) < entries; {
		if len(b) < centralBytes || u32(b) != sigCentral {
			return a.bad(formats.Bounds, at, field, "got %d of %d entries", len(a.records), entries)
		}
		n := int(u16(b[28:]))
		x := int(u16(b[30:]))
		whole := centralBytes + n + x + int(u16(b[32:]))
		if whole > len(b) {
			return a.bad(formats.Bounds, at, field, "got an entry of %d bytes, want at most the %d that are left", whole, len(b))
		}
		r := record{central: at, flags: u16(b[8:]), method: u16(b[10:]), time: u32(b[12:]), crc: u32(b[16:]), packed: int64(u32(b[20:])), size: int64(u32(b[24:])),
			at: int64(u32(b[42:])), name: text[at-a.directory+centralBytes:][:n]}
		if err := a.wide(&r, b[centralBytes+n:centralBytes+n+x]); err != nil {
			return err
		}
		if u16(b[34:]) != 0 {
			return a.bad(formats.Unsupported, at, field, "got an archive in several parts")
		}
		if u16(b[32:]) != 0 {
			return a.bad(formats.Unsupported, at, field, "got a comment of %d bytes at record \"%s\"", u16(b[32:]), clip(r.name))
		}
		if err := a.entry(r); err != nil {
			a.Add(err)
		} else if first, ok := names[strings.ToLower(r.name)]; ok {
			a.Add(a.bad(formats.Dup, at, field, "got record \"%s\" twice, first at offset %d", clip(r.name), first))
		}
		names[strings.ToLower(r.name)] = at
		a.records = append(a.records, r)
		b, at = b[whole:], at+int64(whole)
	}
	if len(b) > 0 {
		return a.bad(formats.Hole, a.directory+int64(len(text)-len(b)), field, "got %d bytes after the last of %d entries", len(b), entries)
	}
	return nil
}

// entry judges one entry of the directory by itself.
func (a *archive) entry(r record) *formats.Error {
	const field = "central directory"
	allowed := uint16(flagDescriptor | flagUTF8)
	if r.method == deflated {
		allowed |= flagLevel
	}
	why := unsafeRecord(r.name)
	switch {
	case !utf8.ValidString(r.name):
		return a.bad(formats.UTF8, r.central, field, "got record \"%s\", want a name in UTF-8", clip(r.name))
	case why != "":
		return a.bad(formats.BadPath, r.central, field, "got record \"%s\": %s", clip(r.name), why)
	case r.at > a.directory-localBytes:
		return a.bad(formats.Bounds, r.central, field, "got record \"%s\" at %d, want it before the directory at %d", clip(r.name), r.at, a.directory)
	case r.flags&flagEncrypted != 0:
		return a.bad(formats.Unsupported, r.central, field, "record \"%s\" is encrypted", clip(r.name))
	case r.flags&^allowed != 0:
		return a.bad(formats.Unsupported, r.central, field, "got flags 0x%04x of record \"%s\", want none but 0x%04x", r.flags, clip(r.name), allowed)
	case r.method != stored && strings.HasPrefix(below(r.name), "data/"):
		return a.bad(formats.Unsupported, r.central, field, "record \"%s\" is compressed, and torch.load with mmap=True would take its bytes for the tensor's",
			clip(r.name)).Hinted("load it with torch, without mmap, and save it again")
	case r.method != stored && r.method != deflated:
		return a.bad(formats.Unsupported, r.central, field, "got compression %d of record \"%s\", want 0 or 8", r.method, clip(r.name))
	case r.method == stored && r.packed != r.size:
		return a.bad(formats.Mismatch, r.central, field, "got %d bytes of record \"%s\", but %d packed, though it is not packed", r.size, clip(r.name), r.packed)
	case r.size == 0 && r.crc != 0:
		return a.bad(formats.Mismatch, r.central, field, "got checksum %08x of record \"%s\", which is empty, want 0", r.crc, clip(r.name))
	}
	return nil
}

// below is a record's name without the top folder.
func below(name string) string {
	_, rest, _ := strings.Cut(name, "/")
	return rest
}

// unsafeRecord says why a name is no path below the archive, "" if it is.
func unsafeRecord(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return "it has a control character"
	case strings.ContainsAny(name, `\:`):
		return "it has a backslash or a colon"
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(name, "/"), "/") {
		if part == "" || part == "." || part == ".." {
			return "it is no plain path"
		}
	}
	return ""
}

// wide takes the sizes that are too large for an entry of the directory from its extra fields.
func (a *archive) wide(r *record, extra []byte) *formats.Error {
	const field = "central directory"
	zip64, ok := extraField(extra)
	if !ok {
		return a.bad(formats.Bounds, r.central, field, "got extra fields of record \"%s\" that do not fit", clip(r.name))
	}
	for _, v := range []*int64{&r.size, &r.packed, &r.at} {
		if *v != math.MaxUint32 {
			continue
		}
		if len(zip64) < 8 {
			return a.bad(formats.Mismatch, r.central, field, "got sizes of record \"%s\" that stand for 64-bit ones, which are not there", clip(r.name))
		}
		w := binary.LittleEndian.Uint64(zip64)
		if w > math.MaxInt64 {
			return a.bad(formats.Overflow, r.central, field, "got size or offset %d of record \"%s\"", w, clip(r.name))
		}
		*v, zip64 = int64(w), zip64[8:]
	}
	if len(zip64) > 0 {
		return a.bad(formats.Mismatch, r.central, field, "got %d bytes of 64-bit sizes of record \"%s\" that nothing asks for", len(zip64), clip(r.name))
	}
	return nil
}

// extraField finds the zip64 field among extra fields, and reports whether they fit.
func extraField(b []byte) (zip64 []byte, ok bool) {
	for len(b) > 0 {
		if len(b) < 4 || int(u16(b[2:])) > len(b)-4 {
			return nil, false
		}
		n := int(u16(b[2:]))
		if u16(b) == 1 {
			if zip64 != nil {
				return nil, false
			}
			zip64 = b[4 : 4+n]
		}
		b = b[4+n:]
	}
	return zip64, true
}

func u16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func u32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
