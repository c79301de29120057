package gguf_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/gguf"
)

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

// hostileFiles are files to refuse: the cases of tests/test-gguf.cpp of ggml, of holes that were reported in GGUF readers, and our own.
func hostileFiles() []formatstest.Hostile {
	deep := func(n int) image {
		b := head(0, 1).put("k", uint32(array))
		for range n {
			b = b.put(uint32(array), uint64(1))
		}
		return b.put(uint32(u8), uint64(1), uint8(7))
	}
	two := head(2, 0).info("a", idF32, 0, 4)
	bools := head(0, 1).list("k", boolean, 30)
	for range 30 {
		bools = bools.put(uint8(2))
	}
	return []formatstest.Hostile{
		// The fixed start.
		{Name: "empty", Code: formats.Trunc, Offset: 0, Field: "magic"},
		{Name: "three bytes", Bytes: []byte("GGU"), Code: formats.Trunc, Offset: 0, Field: "magic"},
		{Name: "bad magic", Bytes: []byte("FUGG\x03\x00\x00\x00"), Code: formats.Magic, Offset: 0, Field: "magic", Says: []string{"bytes reversed"}},
		{Name: "a file of before GGUF", Bytes: []byte("tjgg\x03\x00\x00\x00"), Code: formats.Magic, Offset: 0, Field: "magic", Says: []string{"ggjt"}},
		{Name: "zip", Bytes: []byte("PK\x03\x04...."), Code: formats.Magic, Offset: 0, Field: "magic", Says: []string{"zip"}},
		{Name: "Git LFS pointer", Bytes: []byte("version https://git-lfs.github.com/spec/v1\n"), Code: formats.Magic, Offset: 0, Field: "magic", Says: []string{"LFS"}},
		{Name: "web page", Bytes: []byte("<!DOCTYPE html>"), Code: formats.Magic, Offset: 0, Field: "magic", Says: []string{"web page"}},
		{Name: "version cut", Bytes: []byte("GGUF\x03"), Code: formats.Trunc, Offset: 4, Field: "version"},
		{Name: "version 0", Bytes: headOf(0, 0, 0), Code: formats.Version, Offset: 4, Field: "version"},
		{Name: "version future", Bytes: headOf(4, 0, 0), Code: formats.Version, Offset: 4, Field: "version", Says: []string{"got 4"}},
		{Name: "n_kv cut", Bytes: head(0, 0).cut(1), Code: formats.Trunc, Offset: 16, Field: "n_kv"},
		{Name: "n_tensors -1", Bytes: head(1<<64-1, 0).data(64), Code: formats.Limit, Offset: 8, Field: "n_tensors"},
		{Name: "n_kv -1", Bytes: head(0, 1<<64-1).data(64), Code: formats.Limit, Offset: 16, Field: "n_kv"},
		{Name: "both -1", Bytes: head(1<<64-1, 1<<64-1), Code: formats.Limit, Offset: 8, Field: "n_tensors", Codes: []formats.Code{formats.Limit, formats.Limit}},
		{Name: "n_kv 2^62", Bytes: head(0, 1<<62).data(64), Code: formats.Limit, Offset: 16, Field: "n_kv"},
		{Name: "n_kv 10^8 in 44 bytes", Bytes: append(head(0, 1e8), make([]byte, 20)...), Code: formats.Limit, Offset: 16, Field: "n_kv"},
		{Name: "n_kv 10^8 in a terabyte", Bytes: head(0, 1e8), Size: 1 << 40, Code: formats.Limit, Offset: 16, Field: "n_kv"},
		{Name: "n_tensors 2^21 in a terabyte", Bytes: head(1<<21, 0), Size: 1 << 40, Code: formats.Limit, Offset: 8, Field: "n_tensors"},
		{Name: "version 1, n_tensors 2^32-1", Bytes: image("GGUF").put(uint32(1), uint32(1<<32-1), uint32(0)).data(64), Code: formats.Limit, Offset: 8, Field: "n_tensors"},

		// Keys.
		{Name: "key size -1", Bytes: head(0, 1).put(uint64(1<<64 - 1)).data(64), Code: formats.Bounds, Offset: nameAt, Field: "kv[0].key"},
		{Name: "key of 1 GiB", Bytes: head(0, 1).put(uint64(1 << 30)).data(64), Code: formats.Bounds, Offset: nameAt, Field: "kv[0].key"},
		{Name: "key of 64 KiB", Bytes: head(0, 1).kv(long(1<<16), u8, uint8(1)), Code: formats.Limit, Offset: nameAt, Field: "kv[0].key"},
		{Name: "key empty", Bytes: head(0, 1).kv("", u32, uint32(1)), Code: formats.Missing, Offset: nameAt, Field: "kv[0].key"},
		{Name: "key not ASCII", Bytes: head(0, 1).kv("kéy", u8, uint8(1)), Code: formats.UTF8, Offset: nameAt, Field: "kv[0].key"},
		{Name: "key with NUL", Bytes: head(0, 1).kv("k\x00", u8, uint8(1)), Code: formats.UTF8, Offset: nameAt, Field: "kv[0].key"},
		{Name: "key with terminal escape", Bytes: head(0, 1).kv("\x1b[31m", u8, uint8(1)), Code: formats.UTF8, Offset: nameAt, Field: "kv[0].key"},
		{Name: "duplicate key", Bytes: head(0, 2).kv("k", u8, uint8(1)).kv("k", u8, uint8(1)), Code: formats.Dup, Offset: valueAt + 1, Field: "kv[1].key"},

		// Values.
		{Name: "bad type", Bytes: head(0, 1).kv("k", 13, uint64(0)), Code: formats.BadType, Offset: typeAt, Field: "kv[0].type", Says: []string{`"k"`, "13"}},
		{Name: "type -1", Bytes: head(0, 1).kv("k", 1<<32-1, uint64(0)), Code: formats.BadType, Offset: typeAt, Field: "kv[0].type"},
		{Name: "type cut", Bytes: head(0, 1).put("key").put(uint16(4)).put(uint8(0)), Code: formats.Trunc, Offset: nameAt + 8 + 3, Field: "kv[0].type"},
		{Name: "value cut", Bytes: head(0, 1).kv("k", u64, uint32(0)), Code: formats.Trunc, Offset: valueAt, Field: "kv[0].value", Says: []string{`"k"`, "got 4 bytes, want 8"}},
		{Name: "second entry not there", Bytes: head(0, 2).kv("k", str, long(20)), Code: formats.Trunc, Offset: valueAt + 28, Field: "kv[1].key"},
		{Name: "string size -1", Bytes: head(0, 1).kv("k", str, uint64(1<<64-1)).data(64), Code: formats.Bounds, Offset: valueAt, Field: "kv[0].value"},
		{Name: "string of 1 GiB in a terabyte", Bytes: head(0, 1).kv("k", str, uint64(1<<30)), Size: 1 << 40, Code: formats.Limit, Offset: valueAt, Field: "kv[0].value"},
		{Name: "bool 2", Bytes: head(0, 1).kv("k", boolean, uint8(2)), Code: formats.BadType, Offset: valueAt, Field: "kv[0].value", Says: []string{"0 or 1"}},
		{Name: "bool 255 in an array", Bytes: head(0, 1).list("k", boolean, 3, []uint8{0, 1, 255}), Code: formats.BadType, Offset: valueAt + 12 + 2, Field: "kv[0].value"},
		{Name: "problems without end", Bytes: bools, Code: formats.BadType, Offset: valueAt + 12, Field: "kv[0].value",
			Codes: append(slices.Repeat([]formats.Code{formats.BadType}, 20), formats.Limit)},

		// Arrays.
		{Name: "array of type 13", Bytes: head(0, 1).list("k", 13, 1, uint64(0)), Code: formats.BadType, Offset: valueAt, Field: "kv[0].value"},
		{Name: "array of 2^30 in 519 bytes", Bytes: append(head(0, 1).list("k", u8, 1<<30), make([]byte, 470)...), Code: formats.Bounds, Offset: valueAt + 4, Field: "kv[0].value"},
		{Name: "array size wraps", Bytes: head(0, 1).list("k", u64, 1<<61).data(64), Code: formats.Bounds, Offset: valueAt + 4, Field: "kv[0].value"},
		{Name: "array of 2^63", Bytes: head(0, 1).list("k", u8, 1<<63), Code: formats.Bounds, Offset: valueAt + 4, Field: "kv[0].value"},
		{Name: "array of 2^62 strings", Bytes: head(0, 1).list("k", str, 1<<62).data(64), Code: formats.Bounds, Offset: valueAt + 4, Field: "kv[0].value"},
		{Name: "array of one string too many", Bytes: head(0, 1).list("k", str, 3, "a", "b"), Code: formats.Bounds, Offset: valueAt + 4, Field: "kv[0].value"},
		{Name: "string in an array size -1", Bytes: head(0, 1).list("k", str, 2, "a", uint64(1<<64-1)).data(64), Code: formats.Bounds, Offset: valueAt + 12 + 9, Field: "kv[0].value"},
		{Name: "array of 2^40 arrays", Bytes: head(0, 1).list("k", array, 1<<40).data(64), Code: formats.Bounds, Offset: valueAt + 4, Field: "kv[0].value"},
		{Name: "arrays 5 deep", Bytes: deep(4), Code: formats.Limit, Offset: valueAt + 3*12, Field: "kv[0].value", Says: []string{"deeper than 4"}},
		{Name: "arrays 10^5 deep", Bytes: deep(1e5), Code: formats.Limit, Offset: valueAt + 3*12, Field: "kv[0].value"},
		{Name: "array of 2^39 bytes in a terabyte", Bytes: head(0, 1).list("k", u8, 1<<39), Size: 1 << 40, Code: formats.Limit, Offset: valueAt + 4, Field: "kv[0].value"},

		// Alignment.
		{Name: "alignment of type i32", Bytes: head(0, 1).kv("general.alignment", i32, int32(32)), Code: formats.BadType, Offset: 24 + 25 + 4, Field: "general.alignment", Says: []string{"got int32, want uint32"}},
		{Name: "alignment 0", Bytes: head(0, 1).kv("general.alignment", u32, uint32(0)), Code: formats.Align, Offset: 24 + 25 + 4, Field: "general.alignment"},
		{Name: "alignment 13", Bytes: head(0, 1).kv("general.alignment", u32, uint32(13)), Code: formats.Align, Offset: 24 + 25 + 4, Field: "general.alignment"},
		{Name: "alignment 24", Bytes: head(0, 1).kv("general.alignment", u32, uint32(24)), Code: formats.Align, Offset: 24 + 25 + 4, Field: "general.alignment"},
		{Name: "alignment 2^31", Bytes: head(0, 1).kv("general.alignment", u32, uint32(1<<31)), Code: formats.Limit, Offset: 24 + 25 + 4, Field: "general.alignment"},

		// Tensor infos.
		{Name: "name size -1", Bytes: head(1, 0).put(uint64(1<<64 - 1)).data(64), Code: formats.Bounds, Offset: nameAt, Field: "tensor[0].name"},
		{Name: "name too long", Bytes: head(1, 0).info(long(65), idF32, 0, 4).data(16), Code: formats.Limit, Offset: nameAt, Field: "tensor[0].name"},
		{Name: "name empty", Bytes: head(1, 0).info("", idF32, 0, 4).data(16), Code: formats.Missing, Offset: nameAt, Field: "tensor[0].name"},
		{Name: "name with NUL", Bytes: head(1, 0).info("a\x00b", idF32, 0, 4).data(16), Code: formats.UTF8, Offset: nameAt, Field: "tensor[0].name", Says: []string{"NUL"}},
		{Name: "name not UTF-8", Bytes: head(1, 0).info("a\xff", idF32, 0, 4).data(16), Code: formats.UTF8, Offset: nameAt, Field: "tensor[0].name"},
		{Name: "duplicate name", Bytes: two.info("a", idF32, 32, 4).data(64), Code: formats.Dup, Offset: two.at(), Tensor: "a", Field: "tensor[1].name"},
		{Name: "n_dims 5", Bytes: head(1, 0).info("a", idF32, 0, 1, 1, 1, 1, 1).data(4), Code: formats.Limit, Offset: typeAt, Tensor: "a", Field: "tensor[0].n_dims"},
		{Name: "n_dims 2^32-1", Bytes: head(1, 0).put("a", uint32(1<<32-1)).data(64), Code: formats.Limit, Offset: typeAt, Tensor: "a", Field: "tensor[0].n_dims"},
		{Name: "offset cut", Bytes: head(1, 0).info("a", idF32, 0, 4).cut(1), Code: formats.Trunc, Offset: offsetAt(1), Field: "tensor[0].offset"},
		{Name: "ne -1", Bytes: head(1, 0).info("a", idF32, 0, 4, 1<<64-1).data(16), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "ne product too big", Bytes: head(1, 0).info("a", idF32, 0, 1<<32, 1<<32).data(16), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "ne product 0 modulo 2^64", Bytes: head(1, 0).info("a", idF32, 0, 1<<32, 1<<16, 1<<16).data(16), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "nbytes too big", Bytes: head(1, 0).info("a", idF32, 0, 1<<61).data(16), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "padding wraps", Bytes: head(1, 0).info("a", idI8, 0, 1<<63-1).data(16), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "end wraps", Bytes: head(1, 0).info("a", idI8, 0, 1<<63-64).data(16), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "sum wraps", Bytes: head(2, 0).info("a", idI8, 0, 1<<62).info("b", idI8, 1<<62, 1<<62).data(16), Code: formats.Overflow,
			Offset: offsetAt(1) + 8 + 8 + 1 + 4, Tensor: "b", Field: "tensor[1].ne", Codes: []formats.Code{formats.Overflow, formats.Trunc}},
		{Name: "shape larger than the file", Bytes: head(1, 0).info("a", idF16, 0, 1<<20, 1<<20).data(16), Code: formats.Trunc, Offset: 112, Tensor: "a", Field: "tensor[0]"},

		// Types.
		{Name: "type removed", Bytes: head(1, 0).info("a", 4, 0, 32).data(64), Code: formats.BadDType, Offset: idAt(1), Tensor: "a", Field: "tensor[0].type", Says: []string{"Q4_2"}},
		{Name: "type removed, repacked", Bytes: head(1, 0).info("a", 33, 0, 32).data(64), Code: formats.BadDType, Offset: idAt(1), Tensor: "a", Field: "tensor[0].type", Says: []string{"Q4_0_8_8"}},
		{Name: "type removed, in use elsewhere", Bytes: head(1, 0).info("a", 36, 0, 32).data(64), Code: formats.BadDType, Offset: idAt(1), Tensor: "a", Field: "tensor[0].type", Says: []string{"IQ4_NL_4_4", "I2_S"}},
		{Name: "type id -1", Bytes: head(1, 0).info("a", 1<<32-1, 0, 32).data(64), Code: formats.BadDType, Offset: idAt(1), Tensor: "a", Field: "tensor[0].type", Says: []string{"got type -1"}},
		{Name: "row not of whole blocks", Bytes: head(1, 0).info("a", idQ8_0, 0, 48, 2).data(102), Code: formats.BadShape, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "scalar of a block type", Bytes: head(1, 0).info("a", idQ4_0, 0).data(18), Code: formats.BadShape, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},

		// Offsets.
		{Name: "offset -1", Bytes: head(1, 0).info("a", idF32, 1<<64-1, 4).data(16), Code: formats.Overflow, Offset: offsetAt(1), Tensor: "a", Field: "tensor[0].offset"},
		{Name: "offset near 2^63", Bytes: head(1, 0).info("a", idF32, 1<<63-32, 4).data(16), Code: formats.Overflow, Offset: offsetAt(1), Tensor: "a", Field: "tensor[0].offset"},
		{Name: "bad alignment", Bytes: head(2, 0).info("a", idF32, 0, 4).info("b", idF32, 16, 4).data(32), Code: formats.Align, Offset: offsetAt(1) + 8 + offsetAt(1) - nameAt,
			Tensor: "b", Field: "tensor[1].offset"},
		{Name: "first tensor not at 0", Bytes: head(1, 0).info("a", idF32, 32, 4).data(48), Code: formats.Hole, Offset: offsetAt(1), Tensor: "a", Field: "tensor[0].offset", Says: []string{"start of the data"}},
		{Name: "hole", Bytes: two.info("b", idF32, 64, 4).data(80), Code: formats.Hole, Offset: two.at() + offsetAt(1) - nameAt, Tensor: "b", Field: "tensor[1].offset", Says: []string{`tensor "a"`}},
		{Name: "overlap", Bytes: two.info("b", idF32, 0, 4).data(48), Code: formats.Overlap, Offset: two.at() + offsetAt(1) - nameAt, Tensor: "b", Field: "tensor[1].offset"},
		{Name: "inconsistent alignment", Bytes: head(2, 1).kv("general.alignment", u32, uint32(64)).info("a", idF32, 0, 4).info("b", idF32, 32, 4).data(200),
			Code: formats.Align, Offset: 57 + 2*(offsetAt(1)+8-nameAt) - 8, Tensor: "b", Field: "tensor[1].offset"},
		{Name: "private type, then an offset before it", Bytes: head(3, 0).info("a", idF32, 0, 16).info("b", 152, 64, 32).info("c", idF32, 0, 16).data(192),
			Code: formats.Overlap, Offset: nameAt + 3*(offsetAt(1)+8-nameAt) - 8, Tensor: "c", Field: "tensor[2].offset"},
		{Name: "private type after the end", Bytes: head(2, 0).info("a", idF32, 0, 16).info("b", 152, 64, 32).data(24), Code: formats.Trunc,
			Offset: nameAt + 2*(offsetAt(1)+8-nameAt) - 8, Tensor: "b", Field: "tensor[1].offset", Codes: []formats.Code{formats.Trunc, formats.Trunc}},

		// Data.
		{Name: "one byte short", Bytes: head(1, 0).info("a", idF32, 0, 4).data(15), Code: formats.Trunc, Offset: 64 + 15, Tensor: "a", Field: "tensor[0]", Says: []string{"1 bytes before"}},
		{Name: "no data", Bytes: head(1, 0).info("a", idF32, 0, 4), Code: formats.Trunc, Offset: offsetAt(1) + 8, Tensor: "a", Field: "tensor[0]"},
		{Name: "second tensor short", Bytes: two.info("b", idF32, 32, 4).data(40), Code: formats.Trunc, Offset: 96 + 40, Tensor: "b", Field: "tensor[1]", Says: []string{"8 bytes before"}},
		{Name: "both tensors short", Bytes: two.info("b", idF32, 32, 4).data(8), Code: formats.Trunc, Offset: 96 + 8, Tensor: "a", Field: "tensor[0]", Says: []string{"1 more tensors", "40 bytes are missing"}},

		{Name: "many problems at once", Bytes: head(3, 3).kv("", u8, uint8(1)).kv("k", boolean, uint8(3)).kv("k", u8, uint8(1)).
			info("a", 5, 0, 4).info("a", idF32, 0, 1<<63).info("c", idF32, 32, 4).data(48), Code: formats.Missing, Offset: 24, Field: "kv[0].key",
			Codes: []formats.Code{formats.Missing, formats.BadType, formats.Dup, formats.BadDType, formats.Dup, formats.Overflow}},
	}
}

// hostileSets are sets to refuse; the first is whole.
func hostileSets() []formatstest.Hostile {
	a := shard(0, 3, 2, 1).info("a", idF32, 0, 4).data(32)
	b := shard(1, 3, 2, 1).info("b", idF32, 0, 4).data(32)
	c := shard(2, 3, 2, 0)
	names := gguf.Format.Siblings("m-00001-of-00003.gguf")
	set := func(parts ...image) map[string][]byte {
		m := map[string][]byte{}
		for i, p := range parts {
			if p != nil {
				m[names[i]] = p
			}
		}
		return m
	}
	valueOf := func(key string) int64 { // in a file of shard
		at := int64(24 + 8 + len("split.no") + 4)
		if key == "split.no" {
			return at
		}
		at += 2 + 8 + int64(len("split.count")) + 4
		if key == "split.count" {
			return at
		}
		return at + 2 + 8 + int64(len("split.tensors.count")) + 4
	}
	return []formatstest.Hostile{
		{Name: "whole", Files: set(a, b, c), Open: names},
		{Name: "middle shard not there", Files: set(a, nil, c), Open: names, Code: formats.Missing, Offset: -1, Says: []string{names[1]}},
		{Name: "third shard is a copy of the second", Files: set(a, b, b), Open: names, Code: formats.Mismatch, Offset: valueOf("split.no"), Field: "split.no",
			Codes: []formats.Code{formats.Mismatch, formats.Dup}},
		{Name: "shards in another order", Files: set(b, a, c), Open: names, Code: formats.Mismatch, Offset: valueOf("split.no"), Field: "split.no",
			Codes: []formats.Code{formats.Mismatch, formats.Mismatch}},
		{Name: "one tensor in two shards", Files: set(a, shard(1, 3, 2, 1).info("a", idF32, 0, 4).data(32), c), Open: names, Code: formats.Dup, Offset: -1, Tensor: "a"},
		{Name: "count is another", Files: set(shard(0, 6, 2, 1).info("a", idF32, 0, 4).data(32), b, c), Open: names, Code: formats.Mismatch,
			Offset: valueOf("split.count"), Field: "split.count", Says: []string{"got 6, want 3"}},
		{Name: "count of a later shard is another", Files: set(a, b, shard(2, 4, 2, 0)), Open: names, Code: formats.Mismatch, Offset: valueOf("split.count"), Field: "split.count"},
		{Name: "total is another", Files: set(shard(0, 3, 5, 1).info("a", idF32, 0, 4).data(32), b, c), Open: names, Code: formats.Mismatch,
			Offset: valueOf("split.tensors.count"), Field: "split.tensors.count", Says: []string{"got 5, want 2"}},
		{Name: "number of type u32", Files: set(a, b, head(0, 1).kv("split.no", u32, uint32(2))), Open: names, Code: formats.BadType, Offset: 44, Field: "split.no",
			Says: []string{"got uint32, want uint16"}},
		{Name: "number 65535", Files: set(a, b, shard(65535, 3, 2, 0)), Open: names, Code: formats.Mismatch, Offset: valueOf("split.no"), Field: "split.no"},
		{Name: "no number", Files: set(a, b, head(0, 0)), Open: names, Code: formats.Missing, Offset: -1, Field: "split.no"},
		{Name: "no keys in the first", Files: set(head(1, 0).info("a", idF32, 0, 4).data(32), b, c), Open: names, Code: formats.Missing, Offset: -1, Field: "split.no",
			Codes: []formats.Code{formats.Missing, formats.Missing}},
		{Name: "one of three alone", Bytes: a, Code: formats.Missing, Offset: valueOf("split.count"), Field: "split.count", Says: []string{"one of 3"}},
		{Name: "count of type u32 in a lone file", Bytes: head(0, 1).kv("split.count", u32, uint32(3)), Code: formats.BadType, Offset: 47, Field: "split.count"},
		{Name: "a file twice", Files: set(a, b, c), Open: []string{names[0], names[1], names[1]}, Code: formats.Dup, Offset: -1},
		{Name: "an index", Files: set(a, b, c), Open: names, Index: "m.json", Code: formats.Unsupported, Offset: -1},
		{Name: "two shards damaged", Files: set(a, b.cut(32), image("GGUF")), Open: names, Code: formats.Trunc, Offset: int64(len(b) - 32), Tensor: "b", Field: "tensor[0]",
			Codes: []formats.Code{formats.Trunc, formats.Trunc}},
		{Name: "number -1 of type i32", Files: set(a, b, head(0, 1).kv("split.no", i32, int32(-1))), Open: names, Code: formats.BadType, Offset: 44, Field: "split.no"},
		{Name: "count 0 in a set", Files: set(shard(0, 0, 2, 1).info("a", idF32, 0, 4).data(32), b, c), Open: names, Code: formats.Mismatch, Offset: valueOf("split.count"), Field: "split.count"},
		{Name: "count 65535 in a lone file", Bytes: shard(0, 65535, 2, 1).info("a", idF32, 0, 4).data(32), Code: formats.Missing, Offset: valueOf("split.count"), Field: "split.count"},
		{Name: "total -1", Files: set(shard(0, 3, -1, 1).info("a", idF32, 0, 4).data(32), b, c), Open: names, Code: formats.Mismatch, Offset: valueOf("split.tensors.count"), Field: "split.tensors.count"},
		{Name: "total of type u32", Files: set(head(1, 3).kv("split.no", u16, uint16(0)).kv("split.count", u16, uint16(3)).kv("split.tensors.count", u32, uint32(2)).
			info("a", idF32, 0, 4).data(32), b, c), Open: names, Code: formats.BadType, Offset: valueOf("split.tensors.count"), Field: "split.tensors.count"},
		{Name: "first shard is no GGUF", Files: set(image("version https://git-lfs.github.com/spec/v1"), b, c), Open: names, Code: formats.Magic, Offset: 0, Field: "magic"},
		{Name: "an empty shard", Files: set(a, image{}, c), Open: names, Code: formats.Trunc, Offset: 0, Field: "magic"},
		{Name: "all shards are the first", Files: set(a, a, a), Open: names, Code: formats.Mismatch, Offset: valueOf("split.no"), Field: "split.no",
			Codes: []formats.Code{formats.Mismatch, formats.Dup, formats.Mismatch, formats.Dup}},
		{Name: "a big-endian shard with another number", Files: set(a, b, image(bigHead(3, 0, 1).put("split.no", uint32(u16), uint16(1)))), Open: names, Code: formats.Mismatch,
			Offset: valueOf("split.no"), Field: "split.no"},
	}
}

func TestHostile(t *testing.T)     { formatstest.Table(t, gguf.Format, hostileFiles()) }
func TestHostileMore(t *testing.T) { formatstest.Table(t, gguf.Format, moreHostile()) }
func TestHostileSets(t *testing.T) { formatstest.Table(t, gguf.Format, hostileSets()) }

func TestSiblings(t *testing.T) {
	for name, want := range map[string]int{"m-00001-of-00001.gguf": 1, "a-00001-of-00002-00002-of-00003.gguf": 3, "m-00001-of-10000.gguf": 10000,
		"m-00001-of-10001.gguf": 0, "m-00000-of-00003.gguf": 0, "m-00004-of-00003.gguf": 0, "m-0001-of-0003.gguf": 0, "m-00001-of-00003.GGUF": 0} {
		got := gguf.Format.Siblings(name)
		if len(got) != want || want > 0 && !strings.HasPrefix(got[0], name[:1]) {
			t.Errorf("%s: got %d names, want %d", name, len(got), want)
		}
	}
}
