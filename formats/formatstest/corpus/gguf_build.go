package corpus

import (
	"encoding/binary"
	"strings"
)

// GGUFImage is a GGUF file in the making, byte by byte, right or wrong.
type GGUFImage []byte

// Ids of value types and of tensor types.
const (
	u8, i8, u16, i16, u32, i32, f32, boolean, str, array, u64, i64, f64 = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12

	idF32, idF16, idQ4_0, idQ8_0, idI8 = 0, 1, 2, 8, 24
)

func GGUFHead(nTensors, nKV uint64) GGUFImage { return GGUFHeadOf(3, nTensors, nKV) }

func GGUFHeadOf(version uint32, nTensors, nKV uint64) GGUFImage {
	return GGUFImage("GGUF").Put(version, nTensors, nKV)
}

// put appends values of fixed size as they are, strings with their length.
func (b GGUFImage) Put(values ...any) GGUFImage {
	for _, v := range values {
		switch x := v.(type) {
		case string:
			b = append(binary.LittleEndian.AppendUint64(b, uint64(len(x))), x...)
		default:
			var err error
			if b, err = binary.Append(b, binary.LittleEndian, v); err != nil {
				panic(err)
			}
		}
	}
	return b
}

// kv appends a metadata entry of type t.
func (b GGUFImage) KV(key string, t uint32, values ...any) GGUFImage {
	return b.Put(key, t).Put(values...)
}

// list appends a metadata entry that is an array: what follows the count may be anything.
func (b GGUFImage) List(key string, elem uint32, n uint64, values ...any) GGUFImage {
	return b.Put(key, uint32(array), elem, n).Put(values...)
}

// info appends a tensor's entry; ne has the innermost dimension first, as in the file.
func (b GGUFImage) Info(name string, id uint32, offset uint64, ne ...uint64) GGUFImage {
	return b.Put(name, uint32(len(ne)), ne, id, offset)
}

// pad appends zeros up to a multiple of align, data n zeros after padding to 32.
func (b GGUFImage) Pad(align int) GGUFImage { return append(b, make([]byte, -len(b)&(align-1))...) }
func (b GGUFImage) Data(n int) GGUFImage    { return append(b.Pad(32), make([]byte, n)...) }
func (b GGUFImage) Text(s string) GGUFImage { return append(b, s...) }
func (b GGUFImage) Cut(n int) GGUFImage     { return b[:len(b)-n] }
func (b GGUFImage) At() int64               { return int64(len(b)) }
func Long(n int) string                     { return strings.Repeat("n", n) }
func GGUFShard(no, count uint16, total int32, nTensors uint64) GGUFImage {
	return GGUFHead(nTensors, 3).KV("split.no", u16, no).KV("split.count", u16, count).KV("split.tensors.count", i32, total)
}

// BigImage is a big-endian file in the making.
type BigImage []byte

// BigHead is the start of a file of any version; in version 1 the counts are short.
func BigHead(version uint32, nTensors, nKV uint64) BigImage {
	b := BigImage("GGUF").Put(version)
	if version == 1 {
		return b.Put(uint32(nTensors), uint32(nKV))
	}
	return b.Put(nTensors, nKV)
}

func (b BigImage) Put(values ...any) BigImage {
	for _, v := range values {
		if s, ok := v.(string); ok {
			b = append(binary.BigEndian.AppendUint64(b, uint64(len(s))), s...)
			continue
		}
		var err error
		if b, err = binary.Append(b, binary.BigEndian, v); err != nil {
			panic(err)
		}
	}
	return b
}

func (b BigImage) KV(key string, t uint32, values ...any) BigImage {
	return b.Put(key, t).Put(values...)
}

func (b BigImage) Info(name string, id uint32, offset uint64, ne ...uint64) BigImage {
	return b.Put(name, uint32(len(ne)), ne, id, offset)
}

func (b BigImage) Pad(align int) BigImage { return BigImage(GGUFImage(b).Pad(align)) }
func (b BigImage) Data(n int) BigImage    { return BigImage(GGUFImage(b).Data(n)) }
func (b BigImage) Cut(n int) BigImage     { return b[:len(b)-n] }

// GGUFHead1 is the start of a file of version 1, whose counts, lengths and dimensions have four bytes.
func GGUFHead1(nTensors, nKV uint32) GGUFImage {
	return GGUFImage("GGUF").Put(uint32(1), nTensors, nKV)
}

func (b GGUFImage) Short(s string) GGUFImage { return b.Put(uint32(len(s))).Text(s) }

// Where the parts of the first entry are if its name is one byte long: the name at 24, for metadata the type and the value, for a
// tensor the number of dimensions, the dimensions, and after n of these the type and the offset.
const (
	nameAt  = 24
	typeAt  = nameAt + 8 + 1
	valueAt = typeAt + 4
	neAt    = typeAt + 4
)

func idAt(dims int64) int64     { return neAt + 8*dims }
func offsetAt(dims int64) int64 { return idAt(dims) + 4 }
