package pytorch_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

const (
	cdField    = "central directory"
	endField   = "end of central directory"
	localField = "local header"
	descField  = "data descriptor"
	pkl, zero  = folder + "data.pkl", folder + "data/0"
)

// plain is a good checkpoint of one tensor.
func plain() image { return checkpoint(state("x", good()), sixty4) }

// broken is plain after a change. The error points to what at gives.
func broken(name string, code formats.Code, field string, change func(z image) (b []byte, at int), says ...string) formatstest.Hostile {
	b, at := change(plain())
	return formatstest.Hostile{Name: name, Bytes: b, Code: code, Offset: int64(at), Field: field, Says: says}
}

// local and central overwrite a field of a header of data/0; the error points to it.
func local(at int, s string) func(z image) ([]byte, int) {
	return func(z image) ([]byte, int) { return z.put(z.local[zero]+at, s).b, z.local[zero] }
}

func central(at int, s string) func(z image) ([]byte, int) {
	return func(z image) ([]byte, int) { return z.put(z.central[zero]+at, s).b, z.central[zero] }
}

// both overwrites a field in both headers of data/0; the places differ.
func both(inLocal, inCentral int, s string) func(z image) ([]byte, int) {
	return func(z image) ([]byte, int) {
		return z.put(z.local[zero]+inLocal, s).put(z.central[zero]+inCentral, s).b, z.central[zero]
	}
}

// end overwrites a field of the end record.
func end(at int, s string) func(z image) ([]byte, int) {
	return func(z image) ([]byte, int) { return z.put(z.end+at, s).b, z.end }
}

// with is a checkpoint with other records than plain's.
func with(name string, code formats.Code, field string, at func(z image) int, recs []rec, says ...string) formatstest.Hostile {
	z := archive(recs...)
	return formatstest.Hostile{Name: name, Bytes: z.b, Code: code, Offset: int64(at(z)), Field: field, Says: says}
}

func centralOf(name string) func(z image) int { return func(z image) int { return z.central[name] } }
func dataOf(name string) func(z image) int    { return func(z image) int { return z.data[name] } }
func directory(z image) int                   { return z.dir }

// mark is the records of plain with another content of one, or without it.
func mark(name, content string) []rec {
	var out []rec
	for _, r := range records(state("x", good()), sixty4) {
		if r.name == folder+name {
			if r.data = content; content == "" {
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

func more(recs ...rec) []rec { return append(records(state("x", good()), sixty4), recs...) }

// insert puts bytes into the archive at a place, so that all offsets behind it are wrong by as much, and mends those in the directory.
func insert(z image, at int, s string) image {
	b := bytes.Clone(z.b)
	for name, c := range z.central {
		if z.local[name] >= at {
			b = []byte(string(b[:c+42]) + le32(z.local[name]+len(s)) + string(b[c+46:]))
		}
	}
	b = []byte(string(b[:z.end+16]) + le32(z.dir+len(s)) + string(b[z.end+20:]))
	z.b = []byte(string(b[:at]) + s + string(b[at:]))
	return z
}

// located is plain with the records that large archives have before the end record.
func located() (z image, at int) {
	z = plain()
	n := strings.Count(string(z.b), "PK\x01\x02")
	e64 := "PK\x06\x06" + le64(44) + le16(45) + le16(45) + le32(0) + le32(0) + le64(n) + le64(n) + le64(z.end-z.dir) + le64(z.dir)
	locator := "PK\x06\x07" + le32(0) + le64(z.end) + le32(1)
	z.b = []byte(string(z.b[:z.end]) + e64 + locator + string(z.b[z.end:]))
	return z, z.end
}

func end64(at int, s string, points int) func(image) ([]byte, int) {
	return func(image) ([]byte, int) {
		z, e := located()
		return z.put(e+at, s).b, e + points
	}
}

var containers = []formatstest.Hostile{
	// What stands where an archive should.
	{Name: "empty", Code: formats.Trunc, Offset: 0, Field: endField},
	{Name: "safetensors", Bytes: []byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"), Code: formats.Magic},
	{Name: "7z", Bytes: []byte("7z\xbc\xaf\x27\x1c...."), Code: formats.Magic},
	{Name: "gzip", Bytes: []byte("\x1f\x8b\x08\x00...."), Code: formats.Magic},
	{Name: "an empty archive", Bytes: []byte("PK\x05\x06" + strings.Repeat("\x00", 18)), Code: formats.Magic},
	{Name: "a pickle alone", Bytes: []byte(state()), Code: formats.Magic, Says: []string{"torch.save"}},
	{Name: "a tar file of 0.1", Bytes: []byte("sys_info" + strings.Repeat("\x00", 249) + "ustar\x0000" + strings.Repeat("\x00", 300)), Code: formats.Unsupported, Says: []string{"0.1"}},
	{Name: "a preview of 1.0", Bytes: []byte("PYTORCH1" + strings.Repeat("\x00", 300)), Code: formats.Version},

	// The end.
	broken("bytes before the first record", formats.Hole, localField, func(z image) ([]byte, int) { return insert(z, 0, "PK\x03\x04").b, 0 }),
	broken("bytes after the end", formats.Trail, endField, func(z image) ([]byte, int) { return append(z.b, 'x'), len(z.b) }),
	broken("an archive after the archive", formats.Trail, endField, func(z image) ([]byte, int) { return append(append(z.b, z.b...), 'x'), 2 * len(z.b) }),
	broken("a comment", formats.Trail, endField, func(z image) ([]byte, int) { return append(z.put(z.end+20, le16(2)).b, "hi"...), len(z.b) }),
	broken("a comment that is an end", formats.Hole, endField, func(z image) ([]byte, int) {
		second := string(z.b[z.end:])
		return append(z.put(z.end+20, le16(22)).b, second...), z.end
	}, "directory"),
	broken("a comment that is not there", formats.Trunc, endField, func(z image) ([]byte, int) { return z.put(z.end+20, le16(2)).b, len(z.b) }),
	broken("cut", formats.Trunc, endField, func(z image) ([]byte, int) { return z.b[:z.end-3], z.end - 3 }),
	broken("two parts", formats.Unsupported, endField, end(4, "\x01")),
	broken("parts of entries", formats.Unsupported, endField, end(8, "\x01\x00")),
	broken("too few entries said", formats.Hole, cdField, func(z image) ([]byte, int) {
		return z.put(z.end+8, le16(3)+le16(3)).b, z.central[folder+"version"]
	}),
	broken("too many entries said", formats.Bounds, endField, func(z image) ([]byte, int) { return z.put(z.end+8, le16(5)+le16(5)).b, z.end }),
	broken("65535 entries said", formats.Mismatch, endField, end(8, "\xff\xff\xff\xff"), "64-bit"),
	broken("a directory past the end", formats.Bounds, endField, end(12, le32(1<<20))),
	broken("a directory at 2^32-2", formats.Bounds, endField, end(16, "\xfe\xff\xff\xff")),
	broken("a gap behind the directory", formats.Hole, endField, func(z image) ([]byte, int) {
		return []byte(string(z.b[:z.end]) + "gap" + string(z.b[z.end:])), z.end
	}),
	broken("a gap before the directory", formats.Hole, localField, func(z image) ([]byte, int) { return insert(z, z.dir, "gap").b, z.dir }),
	{Name: "a directory of 300 MiB", Bytes: nil, Size: 400 << 20, Code: formats.Magic},

	// The records of large archives.
	broken("locator to elsewhere", formats.Mismatch, "zip64 end of central directory", end64(56+8, le64(0), 56)),
	broken("locator in another part", formats.Mismatch, "zip64 end of central directory", end64(56+4, "\x01", 56)),
	broken("another record there", formats.Mismatch, "zip64 end of central directory", end64(0, "PK\x06\x08", 0)),
	broken("a record of another size", formats.Mismatch, "zip64 end of central directory", end64(4, le64(45), 0)),
	broken("2^63 bytes of directory", formats.Overflow, "zip64 end of central directory", end64(40, le64(-1<<63), 40)),
	broken("2^64-1 entries", formats.Overflow, "zip64 end of central directory", end64(24, le64(-1)+le64(-1), 32)),
	broken("other entries", formats.Mismatch, "zip64 end of central directory", end64(24, le64(9)+le64(9), 32)),
	broken("another directory", formats.Mismatch, "zip64 end of central directory", end64(48, le64(7), 48)),

	// Central against local.
	broken("no entry", formats.Bounds, cdField, central(0, "PK\x01\x03")),
	broken("an entry that does not fit", formats.Bounds, cdField, central(28, "\xff\xff")),
	broken("local name differs", formats.Mismatch, localField, local(30, "b"), `"b/data/0"`),
	broken("no local header", formats.Mismatch, localField, local(0, "PK\x03\x05")),
	broken("local flags differ", formats.Mismatch, localField, local(6, "\x08")),
	broken("local compression differs", formats.Mismatch, localField, local(8, "\x08")),
	broken("local time differs", formats.Mismatch, localField, local(10, "\x01")),
	broken("local checksum differs", formats.Mismatch, localField, local(14, "\x01\x02\x03\x04")),
	broken("local checksum is zero", formats.Mismatch, localField, local(14, "\x00\x00\x00\x00")),
	broken("local packed size differs", formats.Mismatch, localField, local(18, le32(65))),
	broken("local size differs", formats.Mismatch, localField, local(22, le32(63))),
	broken("local size is elsewhere", formats.Mismatch, localField, local(18, "\xff\xff\xff\xff\xff\xff\xff\xff")),
	broken("local extra too long", formats.Bounds, localField, func(z image) ([]byte, int) { return z.put(z.local[zero]+28, "\xff\xff").b, z.central[zero] }),
	broken("local extra in the data", formats.Bounds, localField, func(z image) ([]byte, int) {
		return z.put(z.local[zero]+28, "\x04").b, z.local[zero]
	}),
	broken("encrypted", formats.Unsupported, cdField, both(6, 8, "\x01"), "encrypted"),
	broken("flag 0x20", formats.Unsupported, cdField, both(6, 8, "\x20"), "0x0020"),
	broken("flag 0x40", formats.Unsupported, cdField, both(6, 8, "\x40")),
	broken("a descriptor that is not there", formats.Mismatch, descField, func(z image) ([]byte, int) {
		return z.put(z.local[zero]+6, "\x08").put(z.central[zero]+8, "\x08").b, z.data[zero] + 64
	}),
	broken("deflated data", formats.Unsupported, cdField, both(8, 10, "\x08"), "mmap"),
	broken("data packed by bzip2", formats.Unsupported, cdField, both(8, 10, "\x0c")),
	broken("packed size of stored data differs", formats.Mismatch, cdField, central(20, le32(65))),
	broken("one byte more", formats.Overlap, localField, func(z image) ([]byte, int) {
		return z.put(z.local[zero]+18, le32(65)+le32(65)).put(z.central[zero]+20, le32(65)+le32(65)).b, z.local[zero]
	}),
	broken("one byte less", formats.Hole, localField, func(z image) ([]byte, int) {
		return z.put(z.local[zero]+18, le32(63)+le32(63)).put(z.central[zero]+20, le32(63)+le32(63)).b, z.data[zero] + 63
	}),
	broken("a terabyte", formats.Bounds, localField, func(z image) ([]byte, int) {
		return z.put(z.local[zero]+18, "\xfe\xff\xff\xff\xfe\xff\xff\xff").put(z.central[zero]+20, "\xfe\xff\xff\xff\xfe\xff\xff\xff").b, z.central[zero]
	}),
	broken("sizes that are elsewhere", formats.Mismatch, cdField, central(24, "\xff\xff\xff\xff"), "64-bit"),
	broken("a header past the directory", formats.Bounds, cdField, func(z image) ([]byte, int) { return z.put(z.central[zero]+42, le32(z.end)).b, z.central[zero] }),
	broken("two entries on one header", formats.Overlap, localField, func(z image) ([]byte, int) {
		at := z.local[folder+"byteorder"]
		return z.put(z.central[zero]+42, le32(at)).b, at
	}),
	broken("another part", formats.Unsupported, cdField, central(34, "\x01")),

	// Names.
	with("two data.pkl", formats.Dup, cdField, centralOf(pkl), append([]rec{{pkl, "x"}}, more()...)),
	with("two folders", formats.Dup, cdField, centralOf("b/data.pkl"), more(rec{"b/data.pkl", state()}), "b/data.pkl"),
	with("a record elsewhere", formats.BadPath, cdField, centralOf("b/x"), more(rec{"b/x", ""})),
	with("a record in no folder", formats.BadPath, cdField, centralOf("x"), more(rec{"x", ""})),
	with("names that differ by case", formats.Dup, cdField, centralOf(folder+"DATA/0"), more(rec{folder + "DATA/0", ""})),
	with("a path upwards", formats.BadPath, cdField, centralOf(folder+"../x"), more(rec{folder + "../x", ""})),
	with("an absolute path", formats.BadPath, cdField, centralOf("/etc/passwd"), more(rec{"/etc/passwd", ""})),
	with("a drive", formats.BadPath, cdField, centralOf(`C:\x`), more(rec{`C:\x`, ""})),
	with("a backslash", formats.BadPath, cdField, centralOf(folder+`data\0`), more(rec{folder + `data\0`, ""})),
	with("a dot", formats.BadPath, cdField, centralOf(folder+"./data/0"), more(rec{folder + "./data/0", ""})),
	with("NUL in a name", formats.BadPath, cdField, centralOf(folder+"data/0\x00"), more(rec{folder + "data/0\x00", ""})),
	with("a name that is not UTF-8", formats.UTF8, cdField, centralOf(folder+"\xff"), more(rec{folder + "\xff", ""})),
	with("a folder with content", formats.Mismatch, cdField, centralOf(folder+"x/"), more(rec{folder + "x/", "content"})),

	// Records that say how to read the others.
	with("no data.pkl", formats.Missing, cdField, directory, []rec{{folder + "version", "3\n"}}),
	with("no version", formats.Missing, "version", directory, mark("version", "")),
	with("version 0", formats.Version, "version", dataOf(folder+"version"), mark("version", "0\n")),
	with("version 11", formats.Version, "version", dataOf(folder+"version"), mark("version", "11\n")),
	with("version that is none", formats.Version, "version", dataOf(folder+"version"), mark("version", "three")),
	with("version of 10^6 digits", formats.Limit, "version", dataOf(folder+"version"), mark("version", strings.Repeat("3", 1e6))),
	with("middle-endian", formats.Version, "byteorder", dataOf(folder+"byteorder"), mark("byteorder", "middle")),
	with("byteorder with a line feed", formats.Version, "byteorder", dataOf(folder+"byteorder"), mark("byteorder", "little\n")),
	with("TorchScript", formats.Unsupported, cdField, centralOf(folder+"constants.pkl"), more(rec{folder + "constants.pkl", ""}), "TorchScript"),
	with("TorchScript's code", formats.Unsupported, cdField, centralOf(folder+"code/__torch__.py"), more(rec{folder + "code/__torch__.py", ""})),
	broken("wrong checksum of the pickle", formats.Mismatch, "data.pkl", func(z image) ([]byte, int) {
		return z.put(z.local[pkl]+14, "abcd").put(z.central[pkl]+16, "abcd").b, z.data[pkl]
	}, "checksum"),
	broken("no checksum of the pickle alone", formats.Mismatch, "data.pkl", func(z image) ([]byte, int) {
		return z.put(z.local[pkl]+14, le32(0)).put(z.central[pkl]+16, le32(0)).b, z.data[pkl]
	}),
	broken("a changed byte of the pickle", formats.Mismatch, "data.pkl", func(z image) ([]byte, int) { return z.put(z.data[pkl]+9, "y").b, z.data[pkl] }),
	broken("a pickle that does not unpack", formats.Mismatch, "data.pkl", func(z image) ([]byte, int) {
		return z.put(z.local[pkl]+8, "\x08").put(z.central[pkl]+10, "\x08").b, z.data[pkl]
	}, "unpack"),
	with("wrong storage in a shorter file", formats.Mismatch, "data.pkl", func(z image) int {
		s, at := marked(proto + dict("x", rebuild(strings.Replace(storage("FloatStorage", "0", num(16)), "Q", "¦Q", 1), num(0), ints(16), ints(1))) + ".")
		_ = s
		return z.data[pkl] + at
	}, mark("data/0", sixty4[:60])),
}

func TestHostileZip(t *testing.T) {
	formatstest.Table(t, pytorch.Format, containers)
	if len(containers) < 70 {
		t.Errorf("got %d cases, want at least 70", len(containers))
	}
}
