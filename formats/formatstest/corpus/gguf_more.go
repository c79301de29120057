package corpus

import (
	"fmt"
	"slices"

	"github.com/bowline-ml/bowline/formats"
)

// moreHostile are further files to refuse: other byte order, other versions, every removed type, arrays that are not read at once.
func moreHostile() []Case {
	const alignAt = 24 + 8 + 17 + 4 // the value of general.alignment in the first entry
	big := func(b BigImage) []byte { return b }
	tensorBig := BigHead(3, 1, 0)
	cases := []Case{
		// The other byte order: the same faults, at the same places.
		{Name: "big-endian, version 4", Bytes: big(BigHead(4, 0, 0)), Code: formats.Version, Offset: 4, Field: "version", Says: []string{"got 4 (big-endian)"}},
		{Name: "big-endian, version 256", Bytes: big(BigHead(256, 0, 0)), Code: formats.Version, Offset: 4, Field: "version", Says: []string{"want 1, 2 or 3"}},
		{Name: "version 65536", Bytes: GGUFHeadOf(0x10000, 0, 0), Code: formats.Version, Offset: 4, Field: "version"},
		{Name: "version of the middle bytes", Bytes: GGUFHeadOf(0x30100, 0, 0), Code: formats.Version, Offset: 4, Field: "version"},
		{Name: "big-endian version, little-endian counts", Bytes: GGUFHeadOf(0x03000000, 0, 1).KV("k", u8, uint8(1)), Code: formats.Limit, Offset: 16, Field: "n_kv"},
		{Name: "little-endian version, big-endian counts", Bytes: append([]byte("GGUF\x03\x00\x00\x00"), big(BigHead(3, 0, 1).KV("k", u8, uint8(1)))[8:]...), Code: formats.Limit, Offset: 16, Field: "n_kv"},
		{Name: "big-endian, n_kv -1", Bytes: big(BigHead(3, 0, 1<<64-1).Data(64)), Code: formats.Limit, Offset: 16, Field: "n_kv"},
		{Name: "big-endian, key cut", Bytes: big(BigHead(3, 0, 1).KV("k", str, "value").Cut(1)), Code: formats.Bounds, Offset: valueAt, Field: "kv[0].value"},
		{Name: "big-endian, type in the other order", Bytes: append(big(BigHead(3, 0, 1).Put("k")), 4, 0, 0, 0, 0, 0, 0, 1), Code: formats.BadType, Offset: typeAt, Field: "kv[0].type"},
		{Name: "big-endian, string length in the other order", Bytes: append(big(BigHead(3, 0, 1).Put("k", uint32(str))), 1, 0, 0, 0, 0, 0, 0, 0, 'x'), Code: formats.Bounds, Offset: valueAt, Field: "kv[0].value"},
		{Name: "big-endian, bool 2", Bytes: big(BigHead(3, 0, 1).KV("k", boolean, uint8(2))), Code: formats.BadType, Offset: valueAt, Field: "kv[0].value"},
		{Name: "big-endian, alignment 24", Bytes: big(BigHead(3, 0, 1).KV("general.alignment", u32, uint32(24))), Code: formats.Align, Offset: alignAt, Field: "general.alignment", Says: []string{"got 24"}},
		{Name: "big-endian, array of 2^40", Bytes: big(BigHead(3, 0, 1).Put("k", uint32(array), uint32(u16), uint64(1<<40))), Code: formats.Bounds, Offset: valueAt + 4, Field: "kv[0].value"},
		{Name: "big-endian, ne product too big", Bytes: big(tensorBig.Info("a", idF32, 0, 1<<32, 1<<32).Data(16)), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "big-endian, offset -1", Bytes: big(tensorBig.Info("a", idF32, 1<<64-1, 4).Data(16)), Code: formats.Overflow, Offset: offsetAt(1), Tensor: "a", Field: "tensor[0].offset"},
		{Name: "big-endian, type removed", Bytes: big(tensorBig.Info("a", 5, 0, 32).Data(64)), Code: formats.BadDType, Offset: idAt(1), Tensor: "a", Field: "tensor[0].type", Says: []string{"Q4_3"}},
		{Name: "big-endian, one byte short", Bytes: big(tensorBig.Info("a", idF32, 0, 4).Data(15)), Code: formats.Trunc, Offset: 79, Tensor: "a", Field: "tensor[0]"},

		// Version 1.
		{Name: "version 1, n_kv -1", Bytes: GGUFHead1(0, 1<<32-1).Data(64), Code: formats.Limit, Offset: 12, Field: "n_kv"},
		{Name: "version 1, key size -1", Bytes: GGUFHead1(0, 1).Put(uint32(1<<32 - 1)).Data(64), Code: formats.Bounds, Offset: 16, Field: "kv[0].key"},
		{Name: "version 1, string size -1", Bytes: GGUFHead1(0, 1).Short("k").Put(uint32(str), uint32(1<<32-1)).Data(64), Code: formats.Bounds, Offset: 25, Field: "kv[0].value"},
		{Name: "version 1, array of 2^31", Bytes: GGUFHead1(0, 1).Short("k").Put(uint32(array), uint32(u64), uint32(1<<31)).Data(64), Code: formats.Bounds, Offset: 29, Field: "kv[0].value"},
		{Name: "version 1, n_dims 5", Bytes: GGUFHead1(1, 0).Short("a").Put(uint32(5)).Data(64), Code: formats.Limit, Offset: 21, Tensor: "a", Field: "tensor[0].n_dims"},
		{Name: "version 1, ne product too big", Bytes: GGUFHead1(1, 0).Short("a").Put(uint32(3), uint32(1<<31), uint32(1<<31), uint32(1<<31), uint32(idF32), uint64(0)).Data(64),
			Code: formats.Overflow, Offset: 25, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "version 1, offset unaligned", Bytes: GGUFHead1(1, 0).Short("a").Put(uint32(1), uint32(4), uint32(idF32), uint64(8)).Data(64), Code: formats.Align, Offset: 33, Tensor: "a", Field: "tensor[0].offset"},
		{Name: "version 2, n_tensors 2^62", Bytes: GGUFHeadOf(2, 1<<62, 0).Data(64), Code: formats.Limit, Offset: 8, Field: "n_tensors"},

		// Alignment.
		{Name: "alignment 3", Bytes: GGUFHead(0, 1).KV("general.alignment", u32, uint32(3)), Code: formats.Align, Offset: alignAt, Field: "general.alignment"},
		{Name: "alignment 2^32-1", Bytes: GGUFHead(0, 1).KV("general.alignment", u32, uint32(1<<32-1)), Code: formats.Align, Offset: alignAt, Field: "general.alignment"},
		{Name: "alignment 131072", Bytes: GGUFHead(0, 1).KV("general.alignment", u32, uint32(131072)), Code: formats.Limit, Offset: alignAt, Field: "general.alignment"},
		{Name: "alignment of type u64", Bytes: GGUFHead(0, 1).KV("general.alignment", u64, uint64(32)), Code: formats.BadType, Offset: alignAt, Field: "general.alignment"},
		{Name: "alignment of type f32", Bytes: GGUFHead(0, 1).KV("general.alignment", f32, float32(32)), Code: formats.BadType, Offset: alignAt, Field: "general.alignment"},
		{Name: "alignment is text", Bytes: GGUFHead(0, 1).KV("general.alignment", str, "32"), Code: formats.BadType, Offset: alignAt, Field: "general.alignment"},
		{Name: "alignment is an array", Bytes: GGUFHead(0, 1).List("general.alignment", u32, 1, uint32(32)), Code: formats.BadType, Offset: alignAt, Field: "general.alignment"},

		// Long arrays, which are gone past and not read.
		{Name: "long array of strings, the last too long", Bytes: GGUFHead(0, 1).List("k", str, 5001).Text(string(make([]byte, 8*5000))).Put(uint64(9)).Text("12345678"), Code: formats.Bounds, Offset: valueAt + 12 + 8*5000, Field: "kv[0].value"},
		{Name: "long array of strings, one of 2^63", Bytes: GGUFHead(0, 1).List("k", str, 5001).Text(string(make([]byte, 8*4999))).Put(uint64(1<<63), uint64(0)), Code: formats.Bounds, Offset: valueAt + 12 + 8*4999, Field: "kv[0].value"},
		{Name: "long array of strings, the file ends", Bytes: GGUFHead(0, 1).List("k", str, 5000).Text(string(make([]byte, 8*4998))).Put("12345678").Cut(3).Text("12345678901"), Code: formats.Bounds, Offset: valueAt + 12 + 8*5000, Field: "kv[0].value"},
		{Name: "long array of bools, the last is 7", Bytes: GGUFHead(0, 1).List("k", boolean, 70000).Text(string(make([]byte, 69999))).Text("\x07"), Code: formats.BadType, Offset: valueAt + 12 + 69999, Field: "kv[0].value"},
		{Name: "long array of bools, all 2", Bytes: GGUFHead(0, 1).List("k", boolean, 5000, slices.Repeat([]uint8{2}, 5000)), Code: formats.BadType, Offset: valueAt + 12, Field: "kv[0].value",
			Codes: append(slices.Repeat([]formats.Code{formats.BadType}, 20), formats.Limit)},
		{Name: "long array of i32 beyond the end", Bytes: GGUFHead(0, 1).List("k", i32, 5000, make([]int32, 4999)), Code: formats.Bounds, Offset: valueAt + 4, Field: "kv[0].value"},
		{Name: "a key after a long array is cut", Bytes: GGUFHead(0, 2).List("k", i32, 5000, make([]int32, 5000)).Put(uint64(100)), Code: formats.Bounds, Offset: valueAt + 12 + 20000, Field: "kv[1].key"},
		{Name: "a long string in a long array of a terabyte", Bytes: GGUFHead(0, 1).List("k", str, 5000, uint64(1<<30)), Size: 1 << 40, Code: formats.Limit, Offset: valueAt + 12, Field: "kv[0].value"},
		{Name: "header of 300 MB in a terabyte", Bytes: GGUFHead(0, 2).List("k", u8, 200<<20), Size: 1 << 40, Code: formats.Missing, Offset: valueAt + 12 + 200<<20, Field: "kv[1].key"},

		{Name: "a million tensors that are a hole", Bytes: GGUFHead(1<<20, 0), Size: 1 << 40, Code: formats.Missing, Offset: nameAt, Field: "tensor[0].name",
			Codes: append(slices.Repeat([]formats.Code{formats.Missing}, 20), formats.Limit)},

		// Inside nested arrays.
		{Name: "type 13 in a nested array", Bytes: GGUFHead(0, 1).List("k", array, 1, uint32(13), uint64(0)), Code: formats.BadType, Offset: valueAt + 12, Field: "kv[0].value"},
		{Name: "nested array of 2^60", Bytes: GGUFHead(0, 1).List("k", array, 1, uint32(u64), uint64(1<<60)), Code: formats.Bounds, Offset: valueAt + 16, Field: "kv[0].value"},
		{Name: "second nested array not there", Bytes: GGUFHead(0, 1).List("k", array, 2, uint32(str), uint64(1), Long(9)), Code: formats.Trunc, Offset: valueAt + 12 + 12 + 17, Field: "kv[0].value"},
		{Name: "bool 9 in a nested array", Bytes: GGUFHead(0, 1).List("k", array, 1, uint32(boolean), uint64(1), uint8(9)), Code: formats.BadType, Offset: valueAt + 24, Field: "kv[0].value"},

		// Integers in names are text to a container; names are held to what they are.
		{Name: "key with DEL", Bytes: GGUFHead(0, 1).KV("k\x7f", u8, uint8(1)), Code: formats.UTF8, Offset: nameAt, Field: "kv[0].key"},
		{Name: "key with a newline", Bytes: GGUFHead(0, 1).KV("k\n", u8, uint8(1)), Code: formats.UTF8, Offset: nameAt, Field: "kv[0].key"},
		{Name: "duplicate split.count", Bytes: GGUFHead(0, 2).KV("split.count", u16, uint16(1)).KV("split.count", u16, uint16(9)), Code: formats.Dup, Offset: 24 + 8 + 11 + 4 + 2, Field: "kv[1].key"},
		{Name: "names that differ after a NUL", Bytes: GGUFHead(2, 0).Info("a\x00b", idF32, 0, 4).Info("a\x00c", idF32, 32, 4).Data(48), Code: formats.UTF8, Offset: nameAt, Field: "tensor[0].name",
			Codes: []formats.Code{formats.UTF8, formats.UTF8}},
		{Name: "name of half a rune", Bytes: GGUFHead(1, 0).Info("a\xe6\xa8", idF32, 0, 4).Data(16), Code: formats.UTF8, Offset: nameAt, Field: "tensor[0].name"},
		{Name: "block size and wrapped rows", Bytes: GGUFHead(1, 0).Info("a", idQ8_0, 0, 32, 1<<62).Data(34), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "row of a K type not of whole blocks", Bytes: GGUFHead(1, 0).Info("a", 12, 0, 128, 2).Data(144), Code: formats.BadShape, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "bytes above 2^64", Bytes: GGUFHead(1, 0).Info("a", 28, 0, 1<<61+1).Data(16), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "private type with wrapped elements", Bytes: GGUFHead(1, 0).Info("a", 152, 0, 1<<40, 1<<40).Data(64), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "second tensor in the padding", Bytes: GGUFHead(2, 0).Info("a", idI8, 0, 1).Info("b", idI8, 1, 1).Data(64), Code: formats.Align, Offset: nameAt + 2*(offsetAt(1)+8-nameAt) - 8, Tensor: "b", Field: "tensor[1].offset"},
		{Name: "tensors in another order", Bytes: GGUFHead(2, 0).Info("a", idF32, 32, 4).Info("b", idF32, 0, 4).Data(48), Code: formats.Hole, Offset: offsetAt(1), Tensor: "a", Field: "tensor[0].offset",
			Codes: []formats.Code{formats.Hole, formats.Overlap}},
	}
	for _, r := range []struct {
		id   uint32
		name string
	}{{5, "Q4_3"}, {31, "Q4_0_4_4"}, {32, "Q4_0_4_8"}, {37, "IQ4_NL_4_8"}, {38, "IQ4_NL_8_8"}} {
		cases = append(cases, Case{Name: "type removed: " + r.name, Bytes: GGUFHead(1, 0).Info("a", r.id, 0, 32).Data(64), Code: formats.BadDType, Offset: idAt(1), Tensor: "a",
			Field: "tensor[0].type", Says: []string{r.name}})
	}
	for _, n := range []int{1, 7, 8, 15, 23} { // of the fixed start
		field, at := "magic", int64(0)
		for _, f := range []struct {
			from int
			name string
		}{{4, "version"}, {8, "n_tensors"}, {16, "n_kv"}} {
			if n >= f.from {
				field, at = f.name, int64(f.from)
			}
		}
		cases = append(cases, Case{Name: fmt.Sprintf("%d bytes of the fixed start", n), Bytes: GGUFHead(0, 0)[:n], Code: formats.Trunc, Offset: at, Field: field})
	}
	return cases
}
