package corpus

import (
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

func containers() []Case {
	return []Case{
		// What stands where an archive should.
		{Name: "empty", Code: formats.Trunc, Offset: 0, Field: endField},
		{Name: "safetensors", Bytes: []byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"), Code: formats.Magic},
		{Name: "7z", Bytes: []byte("7z\xbc\xaf\x27\x1c...."), Code: formats.Magic},
		{Name: "gzip", Bytes: []byte("\x1f\x8b\x08\x00...."), Code: formats.Magic},
		{Name: "an empty archive", Bytes: []byte("PK\x05\x06" + strings.Repeat("\x00", 18)), Code: formats.Magic},
		{Name: "a pickle alone", Bytes: []byte(State()), Code: formats.Magic, Says: []string{"torch.save"}},
		{Name: "a tar file of 0.1", Bytes: []byte("sys_info" + strings.Repeat("\x00", 249) + "ustar\x0000" + strings.Repeat("\x00", 300)), Code: formats.Unsupported, Says: []string{"0.1"}},
		{Name: "a preview of 1.0", Bytes: []byte("PYTORCH1" + strings.Repeat("\x00", 300)), Code: formats.Version},

		// The end.
		broken("bytes before the first record", formats.Hole, localField, func(z Archive) ([]byte, int) { return insert(z, 0, "PK\x03\x04").Bytes, 0 }),
		broken("bytes after the end", formats.Trail, endField, func(z Archive) ([]byte, int) { return append(z.Bytes, 'x'), len(z.Bytes) }),
		broken("an archive after the archive", formats.Trail, endField, func(z Archive) ([]byte, int) { return append(append(z.Bytes, z.Bytes...), 'x'), 2 * len(z.Bytes) }),
		broken("a comment", formats.Trail, endField, func(z Archive) ([]byte, int) { return append(z.Put(z.End+20, LE16(2)).Bytes, "hi"...), len(z.Bytes) }),
		broken("a comment that is an end", formats.Hole, endField, func(z Archive) ([]byte, int) {
			second := string(z.Bytes[z.End:])
			return append(z.Put(z.End+20, LE16(22)).Bytes, second...), z.End
		}, "directory"),
		broken("a comment that is not there", formats.Trunc, endField, func(z Archive) ([]byte, int) { return z.Put(z.End+20, LE16(2)).Bytes, len(z.Bytes) }),
		broken("cut", formats.Trunc, endField, func(z Archive) ([]byte, int) { return z.Bytes[:z.End-3], z.End - 3 }),
		broken("two parts", formats.Unsupported, endField, inEnd(4, "\x01")),
		broken("parts of entries", formats.Unsupported, endField, inEnd(8, "\x01\x00")),
		broken("too few entries said", formats.Hole, cdField, func(z Archive) ([]byte, int) {
			return z.Put(z.End+8, LE16(3)+LE16(3)).Bytes, z.Central[Folder+"version"]
		}),
		broken("too many entries said", formats.Bounds, endField, func(z Archive) ([]byte, int) { return z.Put(z.End+8, LE16(5)+LE16(5)).Bytes, z.End }),
		broken("65535 entries said", formats.Mismatch, endField, inEnd(8, "\xff\xff\xff\xff"), "64-bit"),
		broken("a directory past the end", formats.Bounds, endField, inEnd(12, LE32(1<<20))),
		broken("a directory at 2^32-2", formats.Bounds, endField, inEnd(16, "\xfe\xff\xff\xff")),
		broken("a gap behind the directory", formats.Hole, endField, func(z Archive) ([]byte, int) {
			return []byte(string(z.Bytes[:z.End]) + "gap" + string(z.Bytes[z.End:])), z.End
		}),
		broken("a gap before the directory", formats.Hole, localField, func(z Archive) ([]byte, int) { return insert(z, z.Dir, "gap").Bytes, z.Dir }),
		{Name: "a directory of 300 MiB", Bytes: nil, Size: 400 << 20, Code: formats.Magic},

		// The records of large archives.
		broken("locator to elsewhere", formats.Mismatch, "zip64 end of central directory", end64(56+8, LE64(0), 56)),
		broken("locator in another part", formats.Mismatch, "zip64 end of central directory", end64(56+4, "\x01", 56)),
		broken("another record there", formats.Mismatch, "zip64 end of central directory", end64(0, "PK\x06\x08", 0)),
		broken("a record of another size", formats.Mismatch, "zip64 end of central directory", end64(4, LE64(45), 0)),
		broken("2^63 bytes of directory", formats.Overflow, "zip64 end of central directory", end64(40, LE64(-1<<63), 40)),
		broken("2^64-1 entries", formats.Overflow, "zip64 end of central directory", end64(24, LE64(-1)+LE64(-1), 32)),
		broken("other entries", formats.Mismatch, "zip64 end of central directory", end64(24, LE64(9)+LE64(9), 32)),
		broken("another directory", formats.Mismatch, "zip64 end of central directory", end64(48, LE64(7), 48)),

		// Central against local.
		broken("no entry", formats.Bounds, cdField, inCentral(0, "PK\x01\x03")),
		broken("an entry that does not fit", formats.Bounds, cdField, inCentral(28, "\xff\xff")),
		broken("local name differs", formats.Mismatch, localField, inLocal(30, "b"), `"b/data/0"`),
		broken("no local header", formats.Mismatch, localField, inLocal(0, "PK\x03\x05")),
		broken("local flags differ", formats.Mismatch, localField, inLocal(6, "\x08")),
		broken("local compression differs", formats.Mismatch, localField, inLocal(8, "\x08")),
		broken("local time differs", formats.Mismatch, localField, inLocal(10, "\x01")),
		broken("local checksum differs", formats.Mismatch, localField, inLocal(14, "\x01\x02\x03\x04")),
		broken("local checksum is zero", formats.Mismatch, localField, inLocal(14, "\x00\x00\x00\x00")),
		broken("local packed size differs", formats.Mismatch, localField, inLocal(18, LE32(65))),
		broken("local size differs", formats.Mismatch, localField, inLocal(22, LE32(63))),
		broken("local size is elsewhere", formats.Mismatch, localField, inLocal(18, "\xff\xff\xff\xff\xff\xff\xff\xff")),
		broken("local extra too long", formats.Bounds, localField, func(z Archive) ([]byte, int) {
			return z.Put(z.Local[zeroRecord]+28, "\xff\xff").Bytes, z.Central[zeroRecord]
		}),
		broken("local extra in the data", formats.Bounds, localField, func(z Archive) ([]byte, int) {
			return z.Put(z.Local[zeroRecord]+28, "\x04").Bytes, z.Local[zeroRecord]
		}),
		broken("encrypted", formats.Unsupported, cdField, inBoth(6, 8, "\x01"), "encrypted"),
		broken("flag 0x20", formats.Unsupported, cdField, inBoth(6, 8, "\x20"), "0x0020"),
		broken("flag 0x40", formats.Unsupported, cdField, inBoth(6, 8, "\x40")),
		broken("a descriptor that is not there", formats.Mismatch, descField, func(z Archive) ([]byte, int) {
			return z.Put(z.Local[zeroRecord]+6, "\x08").Put(z.Central[zeroRecord]+8, "\x08").Bytes, z.Data[zeroRecord] + 64
		}),
		broken("deflated data", formats.Unsupported, cdField, inBoth(8, 10, "\x08"), "mmap"),
		broken("data packed by bzip2", formats.Unsupported, cdField, inBoth(8, 10, "\x0c")),
		broken("packed size of stored data differs", formats.Mismatch, cdField, inCentral(20, LE32(65))),
		broken("one byte more", formats.Overlap, localField, func(z Archive) ([]byte, int) {
			return z.Put(z.Local[zeroRecord]+18, LE32(65)+LE32(65)).Put(z.Central[zeroRecord]+20, LE32(65)+LE32(65)).Bytes, z.Local[zeroRecord]
		}),
		broken("one byte less", formats.Hole, localField, func(z Archive) ([]byte, int) {
			return z.Put(z.Local[zeroRecord]+18, LE32(63)+LE32(63)).Put(z.Central[zeroRecord]+20, LE32(63)+LE32(63)).Bytes, z.Data[zeroRecord] + 63
		}),
		broken("a terabyte", formats.Bounds, localField, func(z Archive) ([]byte, int) {
			return z.Put(z.Local[zeroRecord]+18, "\xfe\xff\xff\xff\xfe\xff\xff\xff").Put(z.Central[zeroRecord]+20, "\xfe\xff\xff\xff\xfe\xff\xff\xff").Bytes, z.Central[zeroRecord]
		}),
		broken("sizes that are elsewhere", formats.Mismatch, cdField, inCentral(24, "\xff\xff\xff\xff"), "64-bit"),
		broken("a header past the directory", formats.Bounds, cdField, func(z Archive) ([]byte, int) {
			return z.Put(z.Central[zeroRecord]+42, LE32(z.End)).Bytes, z.Central[zeroRecord]
		}),
		broken("two entries on one header", formats.Overlap, localField, func(z Archive) ([]byte, int) {
			at := z.Local[Folder+"byteorder"]
			return z.Put(z.Central[zeroRecord]+42, LE32(at)).Bytes, at
		}),
		broken("another part", formats.Unsupported, cdField, inCentral(34, "\x01")),

		// Names.
		archived("two data.pkl", formats.Dup, cdField, centralOf(pickleRecord), append([]Record{{pickleRecord, "x"}}, beside()...)),
		archived("two folders", formats.Dup, cdField, centralOf("b/data.pkl"), beside(Record{"b/data.pkl", State()}), "b/data.pkl"),
		archived("a record elsewhere", formats.BadPath, cdField, centralOf("b/x"), beside(Record{"b/x", ""})),
		archived("a record in no folder", formats.BadPath, cdField, centralOf("x"), beside(Record{"x", ""})),
		archived("names that differ by case", formats.Dup, cdField, centralOf(Folder+"DATA/0"), beside(Record{Folder + "DATA/0", ""})),
		archived("a path upwards", formats.BadPath, cdField, centralOf(Folder+"../x"), beside(Record{Folder + "../x", ""})),
		archived("an absolute path", formats.BadPath, cdField, centralOf("/etc/passwd"), beside(Record{"/etc/passwd", ""})),
		archived("a drive", formats.BadPath, cdField, centralOf(`C:\x`), beside(Record{`C:\x`, ""})),
		archived("a backslash", formats.BadPath, cdField, centralOf(Folder+`data\0`), beside(Record{Folder + `data\0`, ""})),
		archived("a dot", formats.BadPath, cdField, centralOf(Folder+"./data/0"), beside(Record{Folder + "./data/0", ""})),
		archived("NUL in a name", formats.BadPath, cdField, centralOf(Folder+"data/0\x00"), beside(Record{Folder + "data/0\x00", ""})),
		archived("a name that is not UTF-8", formats.UTF8, cdField, centralOf(Folder+"\xff"), beside(Record{Folder + "\xff", ""})),
		archived("a folder with content", formats.Mismatch, cdField, centralOf(Folder+"x/"), beside(Record{Folder + "x/", "content"})),

		// Records that say how to read the others.
		archived("no data.pkl", formats.Missing, cdField, directory, []Record{{Folder + "version", "3\n"}}),
		archived("no version", formats.Missing, "version", directory, instead("version", "")),
		archived("version 0", formats.Version, "version", dataOf(Folder+"version"), instead("version", "0\n")),
		archived("version 11", formats.Version, "version", dataOf(Folder+"version"), instead("version", "11\n")),
		archived("version that is none", formats.Version, "version", dataOf(Folder+"version"), instead("version", "three")),
		archived("version of 10^6 digits", formats.Limit, "version", dataOf(Folder+"version"), instead("version", strings.Repeat("3", 1e6))),
		archived("middle-endian", formats.Version, "byteorder", dataOf(Folder+"byteorder"), instead("byteorder", "middle")),
		archived("byteorder with a line feed", formats.Version, "byteorder", dataOf(Folder+"byteorder"), instead("byteorder", "little\n")),
		archived("TorchScript", formats.Unsupported, cdField, centralOf(Folder+"constants.pkl"), beside(Record{Folder + "constants.pkl", ""}), "TorchScript"),
		archived("TorchScript's code", formats.Unsupported, cdField, centralOf(Folder+"code/__torch__.py"), beside(Record{Folder + "code/__torch__.py", ""})),
		broken("wrong checksum of the pickle", formats.Mismatch, "data.pkl", func(z Archive) ([]byte, int) {
			return z.Put(z.Local[pickleRecord]+14, "abcd").Put(z.Central[pickleRecord]+16, "abcd").Bytes, z.Data[pickleRecord]
		}, "checksum"),
		broken("no checksum of the pickle alone", formats.Mismatch, "data.pkl", func(z Archive) ([]byte, int) {
			return z.Put(z.Local[pickleRecord]+14, LE32(0)).Put(z.Central[pickleRecord]+16, LE32(0)).Bytes, z.Data[pickleRecord]
		}),
		broken("a changed byte of the pickle", formats.Mismatch, "data.pkl", func(z Archive) ([]byte, int) { return z.Put(z.Data[pickleRecord]+9, "y").Bytes, z.Data[pickleRecord] }),
		broken("a pickle that does not unpack", formats.Mismatch, "data.pkl", func(z Archive) ([]byte, int) {
			return z.Put(z.Local[pickleRecord]+8, "\x08").Put(z.Central[pickleRecord]+10, "\x08").Bytes, z.Data[pickleRecord]
		}, "unpack"),
		archived("wrong storage in a shorter file", formats.Mismatch, "data.pkl", func(z Archive) int {
			s, at := marked(Proto + Dict("x", Rebuild(strings.Replace(Storage("FloatStorage", "0", Num(16)), "Q", "¦Q", 1), Num(0), Ints(16), Ints(1))) + ".")
			_ = s
			return z.Data[pickleRecord] + at
		}, instead("data/0", Sixty4[:60])),
		func() Case {
			z, empty := Checkpoint(State("x", Good(), "z", Rebuild(Storage("FloatStorage", "1", Num(0)), Num(0), Ints(0), Ints(1))), Sixty4, ""), Folder+"data/1"
			z.Put(z.Local[empty]+14, LE32(7)).Put(z.Central[empty]+16, LE32(7))
			return Case{Name: "a checksum of nothing", Bytes: z.Bytes, Code: formats.Mismatch, Offset: int64(z.Central[empty]), Field: cdField, Says: []string{"00000007"}}
		}(),
	}
}
