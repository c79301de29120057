package gguf_test

import (
	"encoding/binary"
	"strings"
)

// image is a GGUF file in the making, byte by byte, right or wrong.
type image []byte

// Ids of value types and of tensor types.
const (
	u8, i8, u16, i16, u32, i32, f32, boolean, str, array, u64, i64, f64 = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12

	idF32, idF16, idQ4_0, idQ8_0, idI8 = 0, 1, 2, 8, 24
)

func head(nTensors, nKV uint64) image { return headOf(3, nTensors, nKV) }

func headOf(version uint32, nTensors, nKV uint64) image {
	return image("GGUF").put(version, nTensors, nKV)
}

// put appends values of fixed size as they are, strings with their length.
func (b image) put(values ...any) image {
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
func (b image) kv(key string, t uint32, values ...any) image { return b.put(key, t).put(values...) }

// list appends a metadata entry that is an array: what follows the count may be anything.
func (b image) list(key string, elem uint32, n uint64, values ...any) image {
	return b.put(key, uint32(array), elem, n).put(values...)
}

// info appends a tensor's entry; ne has the innermost dimension first, as in the file.
func (b image) info(name string, id uint32, offset uint64, ne ...uint64) image {
	return b.put(name, uint32(len(ne)), ne, id, offset)
}

// pad appends zeros up to a multiple of align, data n zeros after padding to 32.
func (b image) pad(align int) image { return append(b, make([]byte, -len(b)&(align-1))...) }
func (b image) data(n int) image    { return append(b.pad(32), make([]byte, n)...) }
func (b image) text(s string) image { return append(b, s...) }
func (b image) cut(n int) image     { return b[:len(b)-n] }
func (b image) at() int64           { return int64(len(b)) }
func long(n int) string             { return strings.Repeat("n", n) }
func shard(no, count uint16, total int32, nTensors uint64) image {
	return head(nTensors, 3).kv("split.no", u16, no).kv("split.count", u16, count).kv("split.tensors.count", i32, total)
}

// bigImage is a big-endian file in the making.
type bigImage []byte

// bigHead is the start of a file of any version; in version 1 the counts are short.
func bigHead(version uint32, nTensors, nKV uint64) bigImage {
	b := bigImage("GGUF").put(version)
	if version == 1 {
		return b.put(uint32(nTensors), uint32(nKV))
	}
	return b.put(nTensors, nKV)
}

func (b bigImage) put(values ...any) bigImage {
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

func (b bigImage) kv(key string, t uint32, values ...any) bigImage {
	return b.put(key, t).put(values...)
}

func (b bigImage) info(name string, id uint32, offset uint64, ne ...uint64) bigImage {
	return b.put(name, uint32(len(ne)), ne, id, offset)
}

func (b bigImage) pad(align int) bigImage { return bigImage(image(b).pad(align)) }
func (b bigImage) data(n int) bigImage    { return bigImage(image(b).data(n)) }
func (b bigImage) cut(n int) bigImage     { return b[:len(b)-n] }
