package pytorch_test

import (
	"encoding/binary"
	"hash/crc32"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
)

// rec is a record of an archive that is built for a test.
type rec struct{ name, data string }

// image is an archive, and where its parts are.
type image struct {
	b       []byte
	local   map[string]int // of the local headers
	data    map[string]int
	central map[string]int
	dir     int // of the directory
	end     int // of its end record
}

const (
	folder = "a/"
	// pickleAt is where data.pkl starts, which comes first.
	pickleAt = 30 + len(folder+"data.pkl")
)

func le16(n int) string { return string(binary.LittleEndian.AppendUint16(nil, uint16(n))) }
func le32(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
func le64(n int) string { return string(binary.LittleEndian.AppendUint64(nil, uint64(n))) }

// archive packs records as plainly as it can be done: stored, sizes in the headers, nothing extra.
func archive(recs ...rec) image {
	z := image{local: map[string]int{}, data: map[string]int{}, central: map[string]int{}}
	var b, dir strings.Builder
	for _, r := range recs {
		fixed := le16(20) + le16(0) + le16(0) + le32(0) + le32(int(crc32.ChecksumIEEE([]byte(r.data)))) + le32(len(r.data)) + le32(len(r.data)) + le16(len(r.name)) + le16(0)
		z.local[r.name] = b.Len()
		z.central[r.name] = dir.Len()
		dir.WriteString("PK\x01\x02" + le16(20) + fixed + le16(0) + le16(0) + le16(0) + le32(0) + le32(b.Len()) + r.name)
		b.WriteString("PK\x03\x04" + fixed + r.name)
		z.data[r.name] = b.Len()
		b.WriteString(r.data)
	}
	z.dir = b.Len()
	for name := range z.central {
		z.central[name] += z.dir
	}
	z.end = z.dir + dir.Len()
	if len(recs) >= 1<<16-1 {
		z.b = []byte(b.String() + dir.String() + "PK\x06\x06" + le64(44) + le16(45) + le16(45) + le32(0) + le32(0) + le64(len(recs)) + le64(len(recs)) + le64(dir.Len()) + le64(z.dir) +
			"PK\x06\x07" + le32(0) + le64(z.end) + le32(1) + "PK\x05\x06" + le32(0) + le32(-1) + le32(dir.Len()) + le32(z.dir) + le16(0))
		return z
	}
	z.b = []byte(b.String() + dir.String() + "PK\x05\x06" + le32(0) + le16(len(recs)) + le16(len(recs)) + le32(dir.Len()) + le32(z.dir) + le16(0))
	return z
}

// records are those of a checkpoint with a pickle and storages 0, 1, ...
func records(pickle string, storages ...string) []rec {
	out := []rec{{folder + "data.pkl", pickle}, {folder + "byteorder", "little"}}
	for i, s := range storages {
		out = append(out, rec{folder + "data/" + string(rune('0'+i)), s})
	}
	return append(out, rec{folder + "version", "3\n"})
}

func checkpoint(pickle string, storages ...string) image {
	return archive(records(pickle, storages...)...)
}

// put overwrites bytes.
func (z image) put(at int, s string) image {
	copy(z.b[at:], s)
	return z
}

// Pieces of pickles.
const (
	proto  = "\x80\x02"
	sixty4 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" // data of a storage
)

func str(s string) string          { return "X" + le32(len(s)) + s }
func global(m, n string) string    { return "c" + m + "\n" + n + "\n" }
func tuple(items ...string) string { return "(" + strings.Join(items, "") + "t" }
func num(n int) string             { return "J" + le32(n) }
func ordered() string              { return global("collections", "OrderedDict") + ")R" }

// dict is a dictionary of values in pickle by names.
func dict(items ...string) string {
	var b strings.Builder
	for i, x := range items {
		if i%2 == 0 {
			x = str(x)
		}
		b.WriteString(x)
	}
	return "}(" + b.String() + "u"
}

func ints(list ...int) string {
	var b strings.Builder
	for _, n := range list {
		b.WriteString(num(n))
	}
	return "(" + b.String() + "t"
}

// storage is a persistent id.
func storage(class, key, numel string) string {
	return tuple(str("storage"), global("torch", class), str(key), str("cpu"), numel) + "Q"
}

// rebuild is a tensor.
func rebuild(storage string, offset, shape, stride string) string {
	return global("torch._utils", "_rebuild_tensor_v2") + tuple(storage, offset, shape, stride, "\x89", ordered()) + "R"
}

// good is a tensor of 16 floats, all of storage 0.
func good() string { return rebuild(storage("FloatStorage", "0", num(16)), num(0), ints(16), ints(1)) }

// state is a whole pickle of a dictionary.
func state(items ...string) string { return proto + dict(items...) + "." }

// marked cuts the mark "¦" out of a text and gives its place, -1 without.
func marked(s string) (string, int) { return strings.Replace(s, "¦", "", 1), strings.Index(s, "¦") }

// badPickle is a checkpoint with a storage of 64 bytes, whose pickle has to be refused at the mark.
func badPickle(name string, code formats.Code, pickle string, says ...string) formatstest.Hostile {
	s, at := marked(pickle)
	return formatstest.Hostile{Name: name, Bytes: checkpoint(s, sixty4).b, Code: code, Offset: int64(pickleAt + at), Field: "data.pkl", Says: says}
}

// badTensor is a pickle with one tensor x, which has to be refused by its name. The error points to the REDUCE that makes it.
func badTensor(name string, code formats.Code, tensor string, says ...string) formatstest.Hostile {
	x := badPickle(name, code, proto+"}("+str("x")+strings.TrimSuffix(tensor, "R")+"¦Ru.", says...)
	x.Tensor = "x"
	return x
}
