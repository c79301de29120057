package corpus

import (
	"slices"

	"github.com/bowline-ml/bowline/formats"
)

// hostileFiles are files to refuse: the cases of tests/test-gguf.cpp of ggml, of holes that were reported in GGUF readers, and our own.
func hostileFiles() []Case {
	deep := func(n int) GGUFImage {
		b := GGUFHead(0, 1).Put("k", uint32(array))
		for range n {
			b = b.Put(uint32(array), uint64(1))
		}
		return b.Put(uint32(u8), uint64(1), uint8(7))
	}
	two := GGUFHead(2, 0).Info("a", idF32, 0, 4)
	bools := GGUFHead(0, 1).List("k", boolean, 30)
	for range 30 {
		bools = bools.Put(uint8(2))
	}
	return []Case{
		// The fixed start.
		{Name: "empty", Code: formats.Trunc, Offset: 0, Field: "magic"},
		{Name: "three bytes", Bytes: []byte("GGU"), Code: formats.Trunc, Offset: 0, Field: "magic"},
		{Name: "bad magic", Bytes: []byte("FUGG\x03\x00\x00\x00"), Code: formats.Magic, Offset: 0, Field: "magic", Says: []string{"bytes reversed"}},
		{Name: "a file of before GGUF", Bytes: []byte("tjgg\x03\x00\x00\x00"), Code: formats.Magic, Offset: 0, Field: "magic", Says: []string{"ggjt"}},
		{Name: "zip", Bytes: []byte("PK\x03\x04...."), Code: formats.Magic, Offset: 0, Field: "magic", Says: []string{"zip"}},
		{Name: "Git LFS pointer", Bytes: []byte("version https://git-lfs.github.com/spec/v1\n"), Code: formats.Magic, Offset: 0, Field: "magic", Says: []string{"LFS"}},
		{Name: "web page", Bytes: []byte("<!DOCTYPE html>"), Code: formats.Magic, Offset: 0, Field: "magic", Says: []string{"web page"}},
		{Name: "version cut", Bytes: []byte("GGUF\x03"), Code: formats.Trunc, Offset: 4, Field: "version"},
		{Name: "version 0", Bytes: GGUFHeadOf(0, 0, 0), Code: formats.Version, Offset: 4, Field: "version"},
		{Name: "version future", Bytes: GGUFHeadOf(4, 0, 0), Code: formats.Version, Offset: 4, Field: "version", Says: []string{"got 4"}},
		{Name: "n_kv cut", Bytes: GGUFHead(0, 0).Cut(1), Code: formats.Trunc, Offset: 16, Field: "n_kv"},
		{Name: "n_tensors -1", Bytes: GGUFHead(1<<64-1, 0).Data(64), Code: formats.Limit, Offset: 8, Field: "n_tensors"},
		{Name: "n_kv -1", Bytes: GGUFHead(0, 1<<64-1).Data(64), Code: formats.Limit, Offset: 16, Field: "n_kv"},
		{Name: "both -1", Bytes: GGUFHead(1<<64-1, 1<<64-1), Code: formats.Limit, Offset: 8, Field: "n_tensors", Codes: []formats.Code{formats.Limit, formats.Limit}},
		{Name: "n_kv 2^62", Bytes: GGUFHead(0, 1<<62).Data(64), Code: formats.Limit, Offset: 16, Field: "n_kv"},
		{Name: "n_kv 10^8 in 44 bytes", Bytes: append(GGUFHead(0, 1e8), make([]byte, 20)...), Code: formats.Limit, Offset: 16, Field: "n_kv"},
		{Name: "n_kv 10^8 in a terabyte", Bytes: GGUFHead(0, 1e8), Size: 1 << 40, Code: formats.Limit, Offset: 16, Field: "n_kv"},
		{Name: "n_tensors 2^21 in a terabyte", Bytes: GGUFHead(1<<21, 0), Size: 1 << 40, Code: formats.Limit, Offset: 8, Field: "n_tensors"},
		{Name: "version 1, n_tensors 2^32-1", Bytes: GGUFImage("GGUF").Put(uint32(1), uint32(1<<32-1), uint32(0)).Data(64), Code: formats.Limit, Offset: 8, Field: "n_tensors"},

		// Keys.
		{Name: "key size -1", Bytes: GGUFHead(0, 1).Put(uint64(1<<64 - 1)).Data(64), Code: formats.Bounds, Offset: nameAt, Field: "kv[0].key"},
		{Name: "key of 1 GiB", Bytes: GGUFHead(0, 1).Put(uint64(1 << 30)).Data(64), Code: formats.Bounds, Offset: nameAt, Field: "kv[0].key"},
		{Name: "key of 64 KiB", Bytes: GGUFHead(0, 1).KV(Long(1<<16), u8, uint8(1)), Code: formats.Limit, Offset: nameAt, Field: "kv[0].key"},
		{Name: "key empty", Bytes: GGUFHead(0, 1).KV("", u32, uint32(1)), Code: formats.Missing, Offset: nameAt, Field: "kv[0].key"},
		{Name: "key not ASCII", Bytes: GGUFHead(0, 1).KV("kéy", u8, uint8(1)), Code: formats.UTF8, Offset: nameAt, Field: "kv[0].key"},
		{Name: "key with NUL", Bytes: GGUFHead(0, 1).KV("k\x00", u8, uint8(1)), Code: formats.UTF8, Offset: nameAt, Field: "kv[0].key"},
		{Name: "key with terminal escape", Bytes: GGUFHead(0, 1).KV("\x1b[31m", u8, uint8(1)), Code: formats.UTF8, Offset: nameAt, Field: "kv[0].key"},
		{Name: "duplicate key", Bytes: GGUFHead(0, 2).KV("k", u8, uint8(1)).KV("k", u8, uint8(1)), Code: formats.Dup, Offset: valueAt + 1, Field: "kv[1].key"},

		// Values.
		{Name: "bad type", Bytes: GGUFHead(0, 1).KV("k", 13, uint64(0)), Code: formats.BadType, Offset: typeAt, Field: "kv[0].type", Says: []string{`"k"`, "13"}},
		{Name: "type -1", Bytes: GGUFHead(0, 1).KV("k", 1<<32-1, uint64(0)), Code: formats.BadType, Offset: typeAt, Field: "kv[0].type"},
		{Name: "type cut", Bytes: GGUFHead(0, 1).Put("key").Put(uint16(4)).Put(uint8(0)), Code: formats.Trunc, Offset: nameAt + 8 + 3, Field: "kv[0].type"},
		{Name: "value cut", Bytes: GGUFHead(0, 1).KV("k", u64, uint32(0)), Code: formats.Trunc, Offset: valueAt, Field: "kv[0].value", Says: []string{`"k"`, "got 4 bytes, want 8"}},
		{Name: "second entry not there", Bytes: GGUFHead(0, 2).KV("k", str, Long(20)), Code: formats.Trunc, Offset: valueAt + 28, Field: "kv[1].key"},
		{Name: "string size -1", Bytes: GGUFHead(0, 1).KV("k", str, uint64(1<<64-1)).Data(64), Code: formats.Bounds, Offset: valueAt, Field: "kv[0].value"},
		{Name: "string of 1 GiB in a terabyte", Bytes: GGUFHead(0, 1).KV("k", str, uint64(1<<30)), Size: 1 << 40, Code: formats.Limit, Offset: valueAt, Field: "kv[0].value"},
		{Name: "bool 2", Bytes: GGUFHead(0, 1).KV("k", boolean, uint8(2)), Code: formats.BadType, Offset: valueAt, Field: "kv[0].value", Says: []string{"0 or 1"}},
		{Name: "bool 255 in an array", Bytes: GGUFHead(0, 1).List("k", boolean, 3, []uint8{0, 1, 255}), Code: formats.BadType, Offset: valueAt + 12 + 2, Field: "kv[0].value"},
		{Name: "problems without end", Bytes: bools, Code: formats.BadType, Offset: valueAt + 12, Field: "kv[0].value",
			Codes: append(slices.Repeat([]formats.Code{formats.BadType}, 20), formats.Limit)},

		// Arrays.
		{Name: "array of type 13", Bytes: GGUFHead(0, 1).List("k", 13, 1, uint64(0)), Code: formats.BadType, Offset: valueAt, Field: "kv[0].value"},
		{Name: "array of 2^30 in 519 bytes", Bytes: append(GGUFHead(0, 1).List("k", u8, 1<<30), make([]byte, 470)...), Code: formats.Bounds, Offset: valueAt + 4, Field: "kv[0].value"},
		{Name: "array size wraps", Bytes: GGUFHead(0, 1).List("k", u64, 1<<61).Data(64), Code: formats.Bounds, Offset: valueAt + 4, Field: "kv[0].value"},
		{Name: "array of 2^63", Bytes: GGUFHead(0, 1).List("k", u8, 1<<63), Code: formats.Bounds, Offset: valueAt + 4, Field: "kv[0].value"},
		{Name: "array of 2^62 strings", Bytes: GGUFHead(0, 1).List("k", str, 1<<62).Data(64), Code: formats.Bounds, Offset: valueAt + 4, Field: "kv[0].value"},
		{Name: "array of one string too many", Bytes: GGUFHead(0, 1).List("k", str, 3, "a", "b"), Code: formats.Bounds, Offset: valueAt + 4, Field: "kv[0].value"},
		{Name: "string in an array size -1", Bytes: GGUFHead(0, 1).List("k", str, 2, "a", uint64(1<<64-1)).Data(64), Code: formats.Bounds, Offset: valueAt + 12 + 9, Field: "kv[0].value"},
		{Name: "array of 2^40 arrays", Bytes: GGUFHead(0, 1).List("k", array, 1<<40).Data(64), Code: formats.Bounds, Offset: valueAt + 4, Field: "kv[0].value"},
		{Name: "arrays 5 deep", Bytes: deep(4), Code: formats.Limit, Offset: valueAt + 3*12, Field: "kv[0].value", Says: []string{"deeper than 4"}},
		{Name: "arrays 10^5 deep", Bytes: deep(1e5), Code: formats.Limit, Offset: valueAt + 3*12, Field: "kv[0].value"},
		{Name: "array of 2^39 bytes in a terabyte", Bytes: GGUFHead(0, 1).List("k", u8, 1<<39), Size: 1 << 40, Code: formats.Limit, Offset: valueAt + 4, Field: "kv[0].value"},

		// Alignment.
		{Name: "alignment of type i32", Bytes: GGUFHead(0, 1).KV("general.alignment", i32, int32(32)), Code: formats.BadType, Offset: 24 + 25 + 4, Field: "general.alignment", Says: []string{"got int32, want uint32"}},
		{Name: "alignment 0", Bytes: GGUFHead(0, 1).KV("general.alignment", u32, uint32(0)), Code: formats.Align, Offset: 24 + 25 + 4, Field: "general.alignment"},
		{Name: "alignment 13", Bytes: GGUFHead(0, 1).KV("general.alignment", u32, uint32(13)), Code: formats.Align, Offset: 24 + 25 + 4, Field: "general.alignment"},
		{Name: "alignment 24", Bytes: GGUFHead(0, 1).KV("general.alignment", u32, uint32(24)), Code: formats.Align, Offset: 24 + 25 + 4, Field: "general.alignment"},
		{Name: "alignment 2^31", Bytes: GGUFHead(0, 1).KV("general.alignment", u32, uint32(1<<31)), Code: formats.Limit, Offset: 24 + 25 + 4, Field: "general.alignment"},

		// Tensor infos.
		{Name: "name size -1", Bytes: GGUFHead(1, 0).Put(uint64(1<<64 - 1)).Data(64), Code: formats.Bounds, Offset: nameAt, Field: "tensor[0].name"},
		{Name: "name too long", Bytes: GGUFHead(1, 0).Info(Long(65), idF32, 0, 4).Data(16), Code: formats.Limit, Offset: nameAt, Field: "tensor[0].name"},
		{Name: "name empty", Bytes: GGUFHead(1, 0).Info("", idF32, 0, 4).Data(16), Code: formats.Missing, Offset: nameAt, Field: "tensor[0].name"},
		{Name: "name with NUL", Bytes: GGUFHead(1, 0).Info("a\x00b", idF32, 0, 4).Data(16), Code: formats.UTF8, Offset: nameAt, Field: "tensor[0].name", Says: []string{"NUL"}},
		{Name: "name not UTF-8", Bytes: GGUFHead(1, 0).Info("a\xff", idF32, 0, 4).Data(16), Code: formats.UTF8, Offset: nameAt, Field: "tensor[0].name"},
		{Name: "duplicate name", Bytes: two.Info("a", idF32, 32, 4).Data(64), Code: formats.Dup, Offset: two.At(), Tensor: "a", Field: "tensor[1].name"},
		{Name: "n_dims 5", Bytes: GGUFHead(1, 0).Info("a", idF32, 0, 1, 1, 1, 1, 1).Data(4), Code: formats.Limit, Offset: typeAt, Tensor: "a", Field: "tensor[0].n_dims"},
		{Name: "n_dims 2^32-1", Bytes: GGUFHead(1, 0).Put("a", uint32(1<<32-1)).Data(64), Code: formats.Limit, Offset: typeAt, Tensor: "a", Field: "tensor[0].n_dims"},
		{Name: "offset cut", Bytes: GGUFHead(1, 0).Info("a", idF32, 0, 4).Cut(1), Code: formats.Trunc, Offset: offsetAt(1), Field: "tensor[0].offset"},
		{Name: "ne -1", Bytes: GGUFHead(1, 0).Info("a", idF32, 0, 4, 1<<64-1).Data(16), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "ne product too big", Bytes: GGUFHead(1, 0).Info("a", idF32, 0, 1<<32, 1<<32).Data(16), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "ne product 0 modulo 2^64", Bytes: GGUFHead(1, 0).Info("a", idF32, 0, 1<<32, 1<<16, 1<<16).Data(16), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "nbytes too big", Bytes: GGUFHead(1, 0).Info("a", idF32, 0, 1<<61).Data(16), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "padding wraps", Bytes: GGUFHead(1, 0).Info("a", idI8, 0, 1<<63-1).Data(16), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "end wraps", Bytes: GGUFHead(1, 0).Info("a", idI8, 0, 1<<63-64).Data(16), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "sum wraps", Bytes: GGUFHead(2, 0).Info("a", idI8, 0, 1<<62).Info("b", idI8, 1<<62, 1<<62).Data(16), Code: formats.Overflow,
			Offset: offsetAt(1) + 8 + 8 + 1 + 4, Tensor: "b", Field: "tensor[1].ne", Codes: []formats.Code{formats.Overflow, formats.Trunc}},
		{Name: "shape larger than the file", Bytes: GGUFHead(1, 0).Info("a", idF16, 0, 1<<20, 1<<20).Data(16), Code: formats.Trunc, Offset: 112, Tensor: "a", Field: "tensor[0]"},

		// Types.
		{Name: "type removed", Bytes: GGUFHead(1, 0).Info("a", 4, 0, 32).Data(64), Code: formats.BadDType, Offset: idAt(1), Tensor: "a", Field: "tensor[0].type", Says: []string{"Q4_2"}},
		{Name: "type removed, repacked", Bytes: GGUFHead(1, 0).Info("a", 33, 0, 32).Data(64), Code: formats.BadDType, Offset: idAt(1), Tensor: "a", Field: "tensor[0].type", Says: []string{"Q4_0_8_8"}},
		{Name: "type removed, in use elsewhere", Bytes: GGUFHead(1, 0).Info("a", 36, 0, 32).Data(64), Code: formats.BadDType, Offset: idAt(1), Tensor: "a", Field: "tensor[0].type", Says: []string{"IQ4_NL_4_4", "I2_S"}},
		{Name: "type id -1", Bytes: GGUFHead(1, 0).Info("a", 1<<32-1, 0, 32).Data(64), Code: formats.BadDType, Offset: idAt(1), Tensor: "a", Field: "tensor[0].type", Says: []string{"got type -1"}},
		{Name: "row not of whole blocks", Bytes: GGUFHead(1, 0).Info("a", idQ8_0, 0, 48, 2).Data(102), Code: formats.BadShape, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "scalar of a block type", Bytes: GGUFHead(1, 0).Info("a", idQ4_0, 0).Data(18), Code: formats.BadShape, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},

		// Offsets.
		{Name: "offset -1", Bytes: GGUFHead(1, 0).Info("a", idF32, 1<<64-1, 4).Data(16), Code: formats.Overflow, Offset: offsetAt(1), Tensor: "a", Field: "tensor[0].offset"},
		{Name: "offset near 2^63", Bytes: GGUFHead(1, 0).Info("a", idF32, 1<<63-32, 4).Data(16), Code: formats.Overflow, Offset: offsetAt(1), Tensor: "a", Field: "tensor[0].offset"},
		{Name: "bad alignment", Bytes: GGUFHead(2, 0).Info("a", idF32, 0, 4).Info("b", idF32, 16, 4).Data(32), Code: formats.Align, Offset: offsetAt(1) + 8 + offsetAt(1) - nameAt,
			Tensor: "b", Field: "tensor[1].offset"},
		{Name: "first tensor not at 0", Bytes: GGUFHead(1, 0).Info("a", idF32, 32, 4).Data(48), Code: formats.Hole, Offset: offsetAt(1), Tensor: "a", Field: "tensor[0].offset", Says: []string{"start of the data"}},
		{Name: "hole", Bytes: two.Info("b", idF32, 64, 4).Data(80), Code: formats.Hole, Offset: two.At() + offsetAt(1) - nameAt, Tensor: "b", Field: "tensor[1].offset", Says: []string{`tensor "a"`}},
		{Name: "overlap", Bytes: two.Info("b", idF32, 0, 4).Data(48), Code: formats.Overlap, Offset: two.At() + offsetAt(1) - nameAt, Tensor: "b", Field: "tensor[1].offset"},
		{Name: "inconsistent alignment", Bytes: GGUFHead(2, 1).KV("general.alignment", u32, uint32(64)).Info("a", idF32, 0, 4).Info("b", idF32, 32, 4).Data(200),
			Code: formats.Align, Offset: 57 + 2*(offsetAt(1)+8-nameAt) - 8, Tensor: "b", Field: "tensor[1].offset"},
		{Name: "private type, then an offset before it", Bytes: GGUFHead(3, 0).Info("a", idF32, 0, 16).Info("b", 152, 64, 32).Info("c", idF32, 0, 16).Data(192),
			Code: formats.Overlap, Offset: nameAt + 3*(offsetAt(1)+8-nameAt) - 8, Tensor: "c", Field: "tensor[2].offset"},
		{Name: "private type after the end", Bytes: GGUFHead(2, 0).Info("a", idF32, 0, 16).Info("b", 152, 64, 32).Data(24), Code: formats.Trunc,
			Offset: nameAt + 2*(offsetAt(1)+8-nameAt) - 8, Tensor: "b", Field: "tensor[1].offset", Codes: []formats.Code{formats.Trunc, formats.Trunc}},

		// Data.
		{Name: "one byte short", Bytes: GGUFHead(1, 0).Info("a", idF32, 0, 4).Data(15), Code: formats.Trunc, Offset: 64 + 15, Tensor: "a", Field: "tensor[0]", Says: []string{"1 bytes before"}},
		{Name: "no data", Bytes: GGUFHead(1, 0).Info("a", idF32, 0, 4), Code: formats.Trunc, Offset: offsetAt(1) + 8, Tensor: "a", Field: "tensor[0]"},
		{Name: "second tensor short", Bytes: two.Info("b", idF32, 32, 4).Data(40), Code: formats.Trunc, Offset: 96 + 40, Tensor: "b", Field: "tensor[1]", Says: []string{"8 bytes before"}},
		{Name: "both tensors short", Bytes: two.Info("b", idF32, 32, 4).Data(8), Code: formats.Trunc, Offset: 96 + 8, Tensor: "a", Field: "tensor[0]", Says: []string{"1 more tensors", "40 bytes are missing"}},

		{Name: "many problems at once", Bytes: GGUFHead(3, 3).KV("", u8, uint8(1)).KV("k", boolean, uint8(3)).KV("k", u8, uint8(1)).
			Info("a", 5, 0, 4).Info("a", idF32, 0, 1<<63).Info("c", idF32, 32, 4).Data(48), Code: formats.Missing, Offset: 24, Field: "kv[0].key",
			Codes: []formats.Code{formats.Missing, formats.BadType, formats.Dup, formats.BadDType, formats.Dup, formats.Overflow}},
	}
}
