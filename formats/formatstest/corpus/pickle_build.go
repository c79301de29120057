package corpus

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// Record is a record of an archive that is built for a test.
type Record struct{ Name, Data string }

// Rec is a record.
func Rec(name, data string) Record { return Record{name, data} }

// Archive is an archive, and where its parts are.
type Archive struct {
	Bytes   []byte
	Local   map[string]int // of the local headers
	Data    map[string]int
	Central map[string]int
	Dir     int // of the directory
	End     int // of its end record
}

const (
	Folder = "a/"
	// PickleAt is where data.pkl starts, which comes first.
	PickleAt = 30 + len(Folder+"data.pkl")
)

func LE16(n int) string { return string(binary.LittleEndian.AppendUint16(nil, uint16(n))) }
func LE32(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
func LE64(n int) string { return string(binary.LittleEndian.AppendUint64(nil, uint64(n))) }

// Pack packs records as plainly as it can be done: stored, sizes in the headers, nothing extra.
func Pack(recs ...Record) Archive {
	z := Archive{Local: map[string]int{}, Data: map[string]int{}, Central: map[string]int{}}
	var b, dir strings.Builder
	for _, r := range recs {
		fixed := LE16(20) + LE16(0) + LE16(0) + LE32(0) + LE32(int(crc32.ChecksumIEEE([]byte(r.Data)))) + LE32(len(r.Data)) + LE32(len(r.Data)) + LE16(len(r.Name)) + LE16(0)
		z.Local[r.Name] = b.Len()
		z.Central[r.Name] = dir.Len()
		dir.WriteString("PK\x01\x02" + LE16(20) + fixed + LE16(0) + LE16(0) + LE16(0) + LE32(0) + LE32(b.Len()) + r.Name)
		b.WriteString("PK\x03\x04" + fixed + r.Name)
		z.Data[r.Name] = b.Len()
		b.WriteString(r.Data)
	}
	z.Dir = b.Len()
	for name := range z.Central {
		z.Central[name] += z.Dir
	}
	z.End = z.Dir + dir.Len()
	if len(recs) >= 1<<16-1 {
		z.Bytes = []byte(b.String() + dir.String() + "PK\x06\x06" + LE64(44) + LE16(45) + LE16(45) + LE32(0) + LE32(0) + LE64(len(recs)) + LE64(len(recs)) + LE64(dir.Len()) + LE64(z.Dir) +
			"PK\x06\x07" + LE32(0) + LE64(z.End) + LE32(1) + "PK\x05\x06" + LE32(0) + LE32(-1) + LE32(dir.Len()) + LE32(z.Dir) + LE16(0))
		return z
	}
	z.Bytes = []byte(b.String() + dir.String() + "PK\x05\x06" + LE32(0) + LE16(len(recs)) + LE16(len(recs)) + LE32(dir.Len()) + LE32(z.Dir) + LE16(0))
	return z
}

// Records are those of a checkpoint with a pickle and storages 0, 1, ...
func Records(pickle string, storages ...string) []Record {
	out := []Record{{Folder + "data.pkl", pickle}, {Folder + "byteorder", "little"}}
	for i, s := range storages {
		out = append(out, Record{Folder + "data/" + string(rune('0'+i)), s})
	}
	return append(out, Record{Folder + "version", "3\n"})
}

func Checkpoint(pickle string, storages ...string) Archive {
	return Pack(Records(pickle, storages...)...)
}

// Put overwrites bytes.
func (z Archive) Put(at int, s string) Archive {
	copy(z.Bytes[at:], s)
	return z
}

// Pieces of pickles.
const (
	Proto  = "\x80\x02"
	Sixty4 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" // data of a storage
)

func Str(s string) string          { return "X" + LE32(len(s)) + s }
func Global(m, n string) string    { return "c" + m + "\n" + n + "\n" }
func Tuple(items ...string) string { return "(" + strings.Join(items, "") + "t" }
func Num(n int) string             { return "J" + LE32(n) }
func Ordered() string              { return Global("collections", "OrderedDict") + ")R" }

// Dict is a dictionary of values in pickle by names.
func Dict(items ...string) string {
	var b strings.Builder
	for i, x := range items {
		if i%2 == 0 {
			x = Str(x)
		}
		b.WriteString(x)
	}
	return "}(" + b.String() + "u"
}

func Ints(list ...int) string {
	var b strings.Builder
	for _, n := range list {
		b.WriteString(Num(n))
	}
	return "(" + b.String() + "t"
}

// Storage is a persistent id.
func Storage(class, key, numel string) string {
	return Tuple(Str("storage"), Global("torch", class), Str(key), Str("cpu"), numel) + "Q"
}

// Rebuild is a tensor.
func Rebuild(storage string, offset, shape, stride string) string {
	return Global("torch._utils", "_rebuild_tensor_v2") + Tuple(storage, offset, shape, stride, "\x89", Ordered()) + "R"
}

// Good is a tensor of 16 floats, all of storage 0.
func Good() string { return Rebuild(Storage("FloatStorage", "0", Num(16)), Num(0), Ints(16), Ints(1)) }

// State is a whole pickle of a dictionary.
func State(items ...string) string { return Proto + Dict(items...) + "." }

// marked cuts the mark "¦" out of a text and gives its place, -1 without.
func marked(s string) (string, int) { return strings.Replace(s, "¦", "", 1), strings.Index(s, "¦") }

// badPickle is a checkpoint with a storage of 64 bytes, whose pickle has to be refused at the mark.
func badPickle(name string, code formats.Code, pickle string, says ...string) Case {
	s, at := marked(pickle)
	return Case{Name: name, Bytes: Checkpoint(s, Sixty4).Bytes, Code: code, Offset: int64(PickleAt + at), Field: "data.pkl", Says: says}
}

// badTensor is a pickle with one tensor x, which has to be refused by its name. The error points to the REDUCE that makes it.
func badTensor(name string, code formats.Code, tensor string, says ...string) Case {
	x := badPickle(name, code, Proto+"}("+Str("x")+strings.TrimSuffix(tensor, "R")+"¦Ru.", says...)
	x.Tensor = "x"
	return x
}

func view(numel, offset, shape, stride string) string {
	return Rebuild(Storage("FloatStorage", "0", numel), offset, shape, stride)
}

// v2 is a call of _rebuild_tensor_v2 with other arguments.
func v2(args ...string) string {
	return Global("torch._utils", "_rebuild_tensor_v2") + Tuple(args...) + "R"
}

var (
	Store = Storage("FloatStorage", "0", Num(16))
	big62 = "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40"
	neg1  = "J\xff\xff\xff\xff"
)

// PickleOf is the pickle in an archive.
func PickleOf(b []byte) []byte {
	at := bytes.Index(b, []byte(Folder+"data.pkl"))
	if at < 30 {
		return nil
	}
	n := binary.LittleEndian.Uint32(b[at-30+18:])
	b = b[at+len(Folder+"data.pkl"):]
	return b[:min(int(n), len(b))]
}
