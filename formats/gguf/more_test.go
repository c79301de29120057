package gguf_test

import (
	"fmt"
	"slices"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
)

// v1 is the start of a file of version 1, whose counts, lengths and dimensions have four bytes.
func v1(nTensors, nKV uint32) image { return image("GGUF").put(uint32(1), nTensors, nKV) }

func (b image) s32(s string) image { return b.put(uint32(len(s))).text(s) }

// moreHostile are further files to refuse: other byte order, other versions, every removed type, arrays that are not read at once.
func moreHostile() []formatstest.Hostile {
	const alignAt = 24 + 8 + 17 + 4 // the value of general.alignment in the first entry
	big := func(b bigImage) []byte { return b }
	tensorBig := bigHead(3, 1, 0)
	cases := []formatstest.Hostile{
		// The other byte order: the same faults, at the same places.
		{Name: "big-endian, version 4", Bytes: big(bigHead(4, 0, 0)), Code: formats.Version, Offset: 4, Field: "version", Says: []string{"got 4 (big-endian)"}},
		{Name: "big-endian, version 256", Bytes: big(bigHead(256, 0, 0)), Code: formats.Version, Offset: 4, Field: "version", Says: []string{"want 1, 2 or 3"}},
		{Name: "version 65536", Bytes: headOf(0x10000, 0, 0), Code: formats.Version, Offset: 4, Field: "version"},
		{Name: "version of the middle bytes", Bytes: headOf(0x30100, 0, 0), Code: formats.Version, Offset: 4, Field: "version"},
		{Name: "big-endian version, little-endian counts", Bytes: headOf(0x03000000, 0, 1).kv("k", u8, uint8(1)), Code: formats.Limit, Offset: 16, Field: "n_kv"},
		{Name: "little-endian version, big-endian counts", Bytes: append([]byte("GGUF\x03\x00\x00\x00"), big(bigHead(3, 0, 1).kv("k", u8, uint8(1)))[8:]...), Code: formats.Limit, Offset: 16, Field: "n_kv"},
		{Name: "big-endian, n_kv -1", Bytes: big(bigHead(3, 0, 1<<64-1).data(64)), Code: formats.Limit, Offset: 16, Field: "n_kv"},
		{Name: "big-endian, key cut", Bytes: big(bigHead(3, 0, 1).kv("k", str, "value").cut(1)), Code: formats.Bounds, Offset: valueAt, Field: "kv[0].value"},
		{Name: "big-endian, type in the other order", Bytes: append(big(bigHead(3, 0, 1).put("k")), 4, 0, 0, 0, 0, 0, 0, 1), Code: formats.BadType, Offset: typeAt, Field: "kv[0].type"},
		{Name: "big-endian, string length in the other order", Bytes: append(big(bigHead(3, 0, 1).put("k", uint32(str))), 1, 0, 0, 0, 0, 0, 0, 0, 'x'), Code: formats.Bounds, Offset: valueAt, Field: "kv[0].value"},
		{Name: "big-endian, bool 2", Bytes: big(bigHead(3, 0, 1).kv("k", boolean, uint8(2))), Code: formats.BadType, Offset: valueAt, Field: "kv[0].value"},
		{Name: "big-endian, alignment 24", Bytes: big(bigHead(3, 0, 1).kv("general.alignment", u32, uint32(24))), Code: formats.Align, Offset: alignAt, Field: "general.alignment", Says: []string{"got 24"}},
		{Name: "big-endian, array of 2^40", Bytes: big(bigHead(3, 0, 1).put("k", uint32(array), uint32(u16), uint64(1<<40))), Code: formats.Bounds, Offset: valueAt + 4, Field: "kv[0].value"},
		{Name: "big-endian, ne product too big", Bytes: big(tensorBig.info("a", idF32, 0, 1<<32, 1<<32).data(16)), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "big-endian, offset -1", Bytes: big(tensorBig.info("a", idF32, 1<<64-1, 4).data(16)), Code: formats.Overflow, Offset: offsetAt(1), Tensor: "a", Field: "tensor[0].offset"},
		{Name: "big-endian, type removed", Bytes: big(tensorBig.info("a", 5, 0, 32).data(64)), Code: formats.BadDType, Offset: idAt(1), Tensor: "a", Field: "tensor[0].type", Says: []string{"Q4_3"}},
		{Name: "big-endian, one byte short", Bytes: big(tensorBig.info("a", idF32, 0, 4).data(15)), Code: formats.Trunc, Offset: 79, Tensor: "a", Field: "tensor[0]"},

		// Version 1.
		{Name: "version 1, n_kv -1", Bytes: v1(0, 1<<32-1).data(64), Code: formats.Limit, Offset: 12, Field: "n_kv"},
		{Name: "version 1, key size -1", Bytes: v1(0, 1).put(uint32(1<<32 - 1)).data(64), Code: formats.Bounds, Offset: 16, Field: "kv[0].key"},
		{Name: "version 1, string size -1", Bytes: v1(0, 1).s32("k").put(uint32(str), uint32(1<<32-1)).data(64), Code: formats.Bounds, Offset: 25, Field: "kv[0].value"},
		{Name: "version 1, array of 2^31", Bytes: v1(0, 1).s32("k").put(uint32(array), uint32(u64), uint32(1<<31)).data(64), Code: formats.Bounds, Offset: 29, Field: "kv[0].value"},
		{Name: "version 1, n_dims 5", Bytes: v1(1, 0).s32("a").put(uint32(5)).data(64), Code: formats.Limit, Offset: 21, Tensor: "a", Field: "tensor[0].n_dims"},
		{Name: "version 1, ne product too big", Bytes: v1(1, 0).s32("a").put(uint32(3), uint32(1<<31), uint32(1<<31), uint32(1<<31), uint32(idF32), uint64(0)).data(64),
			Code: formats.Overflow, Offset: 25, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "version 1, offset unaligned", Bytes: v1(1, 0).s32("a").put(uint32(1), uint32(4), uint32(idF32), uint64(8)).data(64), Code: formats.Align, Offset: 33, Tensor: "a", Field: "tensor[0].offset"},
		{Name: "version 2, n_tensors 2^62", Bytes: headOf(2, 1<<62, 0).data(64), Code: formats.Limit, Offset: 8, Field: "n_tensors"},

		// Alignment.
		{Name: "alignment 3", Bytes: head(0, 1).kv("general.alignment", u32, uint32(3)), Code: formats.Align, Offset: alignAt, Field: "general.alignment"},
		{Name: "alignment 2^32-1", Bytes: head(0, 1).kv("general.alignment", u32, uint32(1<<32-1)), Code: formats.Align, Offset: alignAt, Field: "general.alignment"},
		{Name: "alignment 131072", Bytes: head(0, 1).kv("general.alignment", u32, uint32(131072)), Code: formats.Limit, Offset: alignAt, Field: "general.alignment"},
		{Name: "alignment of type u64", Bytes: head(0, 1).kv("general.alignment", u64, uint64(32)), Code: formats.BadType, Offset: alignAt, Field: "general.alignment"},
		{Name: "alignment of type f32", Bytes: head(0, 1).kv("general.alignment", f32, float32(32)), Code: formats.BadType, Offset: alignAt, Field: "general.alignment"},
		{Name: "alignment is text", Bytes: head(0, 1).kv("general.alignment", str, "32"), Code: formats.BadType, Offset: alignAt, Field: "general.alignment"},
		{Name: "alignment is an array", Bytes: head(0, 1).list("general.alignment", u32, 1, uint32(32)), Code: formats.BadType, Offset: alignAt, Field: "general.alignment"},

		// Long arrays, which are gone past and not read.
		{Name: "long array of strings, the last too long", Bytes: head(0, 1).list("k", str, 5001).text(string(make([]byte, 8*5000))).put(uint64(9)).text("12345678"), Code: formats.Bounds, Offset: valueAt + 12 + 8*5000, Field: "kv[0].value"},
		{Name: "long array of strings, one of 2^63", Bytes: head(0, 1).list("k", str, 5001).text(string(make([]byte, 8*4999))).put(uint64(1<<63), uint64(0)), Code: formats.Bounds, Offset: valueAt + 12 + 8*4999, Field: "kv[0].value"},
		{Name: "long array of strings, the file ends", Bytes: head(0, 1).list("k", str, 5000).text(string(make([]byte, 8*4998))).put("12345678").cut(3).text("12345678901"), Code: formats.Bounds, Offset: valueAt + 12 + 8*5000, Field: "kv[0].value"},
		{Name: "long array of bools, the last is 7", Bytes: head(0, 1).list("k", boolean, 70000).text(string(make([]byte, 69999))).text("\x07"), Code: formats.BadType, Offset: valueAt + 12 + 69999, Field: "kv[0].value"},
		{Name: "long array of bools, all 2", Bytes: head(0, 1).list("k", boolean, 5000, slices.Repeat([]uint8{2}, 5000)), Code: formats.BadType, Offset: valueAt + 12, Field: "kv[0].value",
			Codes: append(slices.Repeat([]formats.Code{formats.BadType}, 20), formats.Limit)},
		{Name: "long array of i32 beyond the end", Bytes: head(0, 1).list("k", i32, 5000, make([]int32, 4999)), Code: formats.Bounds, Offset: valueAt + 4, Field: "kv[0].value"},
		{Name: "a key after a long array is cut", Bytes: head(0, 2).list("k", i32, 5000, make([]int32, 5000)).put(uint64(100)), Code: formats.Bounds, Offset: valueAt + 12 + 20000, Field: "kv[1].key"},
		{Name: "a long string in a long array of a terabyte", Bytes: head(0, 1).list("k", str, 5000, uint64(1<<30)), Size: 1 << 40, Code: formats.Limit, Offset: valueAt + 12, Field: "kv[0].value"},
		{Name: "header of 300 MB in a terabyte", Bytes: head(0, 2).list("k", u8, 200<<20), Size: 1 << 40, Code: formats.Missing, Offset: valueAt + 12 + 200<<20, Field: "kv[1].key"},

		{Name: "a million tensors that are a hole", Bytes: head(1<<20, 0), Size: 1 << 40, Code: formats.Missing, Offset: nameAt, Field: "tensor[0].name",
			Codes: append(slices.Repeat([]formats.Code{formats.Missing}, 20), formats.Limit)},

		// Inside nested arrays.
		{Name: "type 13 in a nested array", Bytes: head(0, 1).list("k", array, 1, uint32(13), uint64(0)), Code: formats.BadType, Offset: valueAt + 12, Field: "kv[0].value"},
		{Name: "nested array of 2^60", Bytes: head(0, 1).list("k", array, 1, uint32(u64), uint64(1<<60)), Code: formats.Bounds, Offset: valueAt + 16, Field: "kv[0].value"},
		{Name: "second nested array not there", Bytes: head(0, 1).list("k", array, 2, uint32(str), uint64(1), long(9)), Code: formats.Trunc, Offset: valueAt + 12 + 12 + 17, Field: "kv[0].value"},
		{Name: "bool 9 in a nested array", Bytes: head(0, 1).list("k", array, 1, uint32(boolean), uint64(1), uint8(9)), Code: formats.BadType, Offset: valueAt + 24, Field: "kv[0].value"},

		// Integers in names are text to a container; names are held to what they are.
		{Name: "key with DEL", Bytes: head(0, 1).kv("k\x7f", u8, uint8(1)), Code: formats.UTF8, Offset: nameAt, Field: "kv[0].key"},
		{Name: "key with a newline", Bytes: head(0, 1).kv("k\n", u8, uint8(1)), Code: formats.UTF8, Offset: nameAt, Field: "kv[0].key"},
		{Name: "duplicate split.count", Bytes: head(0, 2).kv("split.count", u16, uint16(1)).kv("split.count", u16, uint16(9)), Code: formats.Dup, Offset: 24 + 8 + 11 + 4 + 2, Field: "kv[1].key"},
		{Name: "names that differ after a NUL", Bytes: head(2, 0).info("a\x00b", idF32, 0, 4).info("a\x00c", idF32, 32, 4).data(48), Code: formats.UTF8, Offset: nameAt, Field: "tensor[0].name",
			Codes: []formats.Code{formats.UTF8, formats.UTF8}},
		{Name: "name of half a rune", Bytes: head(1, 0).info("a\xe6\xa8", idF32, 0, 4).data(16), Code: formats.UTF8, Offset: nameAt, Field: "tensor[0].name"},
		{Name: "block size and wrapped rows", Bytes: head(1, 0).info("a", idQ8_0, 0, 32, 1<<62).data(34), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "row of a K type not of whole blocks", Bytes: head(1, 0).info("a", 12, 0, 128, 2).data(144), Code: formats.BadShape, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "bytes above 2^64", Bytes: head(1, 0).info("a", 28, 0, 1<<61+1).data(16), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "private type with wrapped elements", Bytes: head(1, 0).info("a", 152, 0, 1<<40, 1<<40).data(64), Code: formats.Overflow, Offset: neAt, Tensor: "a", Field: "tensor[0].ne"},
		{Name: "second tensor in the padding", Bytes: head(2, 0).info("a", idI8, 0, 1).info("b", idI8, 1, 1).data(64), Code: formats.Align, Offset: nameAt + 2*(offsetAt(1)+8-nameAt) - 8, Tensor: "b", Field: "tensor[1].offset"},
		{Name: "tensors in another order", Bytes: head(2, 0).info("a", idF32, 32, 4).info("b", idF32, 0, 4).data(48), Code: formats.Hole, Offset: offsetAt(1), Tensor: "a", Field: "tensor[0].offset",
			Codes: []formats.Code{formats.Hole, formats.Overlap}},
	}
	for _, r := range []struct {
		id   uint32
		name string
	}{{5, "Q4_3"}, {31, "Q4_0_4_4"}, {32, "Q4_0_4_8"}, {37, "IQ4_NL_4_8"}, {38, "IQ4_NL_8_8"}} {
		cases = append(cases, formatstest.Hostile{Name: "type removed: " + r.name, Bytes: head(1, 0).info("a", r.id, 0, 32).data(64), Code: formats.BadDType, Offset: idAt(1), Tensor: "a",
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
		cases = append(cases, formatstest.Hostile{Name: fmt.Sprintf("%d bytes of the fixed start", n), Bytes: head(0, 0)[:n], Code: formats.Trunc, Offset: at, Field: field})
	}
	return cases
}

// moreOdd are further files to read.
func moreOdd() []odd {
	big := func(b bigImage) image { return image(b) }
	const note = "read as big-endian"
	kv1 := func(v any) formats.Metadata { return formats.Metadata{{Key: "k", Value: v}} }
	cases := []odd{
		{name: "big-endian, empty", bytes: big(bigHead(3, 0, 0)), notes: []string{note}},
		{name: "big-endian, empty, version 2", bytes: big(bigHead(2, 0, 0)), notes: []string{note}},
		{name: "big-endian, empty, version 1", bytes: big(bigHead(1, 0, 0)), notes: []string{note}},
		{name: "big-endian, alignment 1", bytes: big(bigHead(3, 1, 1).kv("general.alignment", u32, uint32(1)).info("a", idI8, 0, 3)).text("abc"), notes: []string{note, "alignment 1"}, tensors: []string{"a I8 [3] 3"}},
		{name: "big-endian, nested arrays", bytes: big(bigHead(3, 0, 1).put("k", uint32(array), uint32(array), uint64(2), uint32(u16), uint64(2), uint16(1), uint16(2), uint32(str), uint64(1), "x")),
			notes: []string{note}, metadata: kv1([]any{[]uint16{1, 2}, []string{"x"}})},
		{name: "big-endian, trailing bytes", bytes: big(bigHead(3, 1, 0).info("a", idF32, 0, 4).data(36)), notes: []string{note, "4 bytes after"}},
		{name: "big-endian version 1", bytes: big(bigHead(1, 0, 1).put(uint32(1), uint8('k'), uint32(array), uint32(u32), uint32(2), uint32(7), uint32(8))), notes: []string{note}, metadata: kv1([]uint32{7, 8})},
		{name: "version 1, text and arrays", bytes: v1(0, 2).s32("a").put(uint32(str)).s32("x").s32("b").put(uint32(array), uint32(str), uint32(2)).s32("").s32("yz"),
			metadata: formats.Metadata{{Key: "a", Value: "x"}, {Key: "b", Value: []string{"", "yz"}}}},
		{name: "version 1, rank 4", bytes: v1(1, 0).s32("a").put(uint32(4), uint32(1), uint32(2), uint32(3), uint32(4), uint32(idI8), uint64(0)).data(32), tensors: []string{"a I8 [4 3 2 1] 24"}},
		{name: "version 1, arrays nested", bytes: v1(0, 1).s32("k").put(uint32(array), uint32(array), uint32(1), uint32(u8), uint32(1), uint8(5)), metadata: kv1([]any{[]uint8{5}})},
		{name: "version 2, a tensor", bytes: headOf(2, 1, 0).info("a", idF32, 0, 8).data(32), tensors: []string{"a F32 [8] 32"}},
		{name: "padding that is not zero", bytes: append(head(1, 0).info("a", idF32, 0, 1), "garbagegarb\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"...).data(32)[:96], tensors: []string{"a F32 [1] 4"}},
		{name: "name with a space and a slash", bytes: head(1, 0).info("a /b", idI8, 0, 32).data(32), tensors: []string{"a /b I8 [32] 32"}},
		{name: "name of runes", bytes: head(1, 0).info("模型", idI8, 0, 32).data(32), tensors: []string{"模型 I8 [32] 32"}},
		{name: "name of 63 bytes", bytes: head(1, 0).info(long(63), idI8, 0, 32).data(32)},
		{name: "names with large numbers", bytes: head(2, 0).info("blk.4294967296.attn_q.weight", idI8, 0, 32).info("direction.1073741824", idI8, 32, 32).data(64)},
		{name: "key of 65535 bytes", bytes: head(0, 1).kv(long(65535), u8, uint8(1))},
		{name: "keys that look like a container's own", bytes: head(0, 2).kv("split.other", u32, uint32(9)).kv("general.alignments", i8, int8(-1))},
		{name: "alignment 16", bytes: head(1, 1).kv("general.alignment", u32, uint32(16)).info("a", idI8, 0, 16).pad(16).text(long(16))},
		{name: "alignment 32, stated", bytes: head(0, 1).kv("general.alignment", u32, uint32(32))},
		{name: "float that is NaN", bytes: head(0, 1).kv("k", f32, uint32(0x7fc00001))},
		{name: "every 16-bit pattern", bytes: head(0, 1).list("k", u16, 3, uint16(0), uint16(0x8000), uint16(0xffff)), metadata: kv1([]uint16{0, 0x8000, 0xffff})},
		{name: "scores of type i8, as the container has them", bytes: head(0, 1).list("tokenizer.ggml.scores", i8, 2, int8(-1), int8(1)),
			metadata: formats.Metadata{{Key: "tokenizer.ggml.scores", Value: []int8{-1, 1}}}},
		{name: "byte token that is no hex", bytes: head(0, 1).list("tokenizer.ggml.tokens", str, 1, "<0x-1>"), metadata: formats.Metadata{{Key: "tokenizer.ggml.tokens", Value: []string{"<0x-1>"}}}},
		{name: "vocabulary of unequal lengths", bytes: head(0, 2).list("tokenizer.ggml.tokens", str, 2, "a", "b").list("tokenizer.ggml.scores", f32, 1, float32(1))},
		{name: "chat template that reaches for attributes", bytes: head(0, 1).kv("tokenizer.chat_template", str, "{{ ''.__class__.__mro__ }}"),
			metadata: formats.Metadata{{Key: "tokenizer.chat_template", Value: "{{ ''.__class__.__mro__ }}"}}},
		{name: "three tensors without elements", bytes: head(3, 0).info("a", idF32, 0, 0).info("b", idQ8_0, 0, 32, 0).info("c", idF16, 0, 5, 0, 7).pad(32)},
		{name: "64 tensors of one byte", bytes: func() image {
			b := head(64, 0)
			for i := range 64 {
				b = b.info(fmt.Sprintf("t%d", i), idI8, uint64(32*i), 1)
			}
			return b.data(64 * 32)
		}()},
		{name: "60 private types", bytes: func() image {
			b := head(60, 0)
			for i := range 60 {
				b = b.info(fmt.Sprintf("t%d", i), uint32(500+i), uint64(32*i), 1)
			}
			return b.data(60 * 32)
		}(), notes: append(slices.Repeat([]string{"unknown to GGUF mainline"}, 50), "10 more notes")},
	}
	for id, v := range map[uint32]any{u8: uint8(1), i8: int8(-1), u16: uint16(300), i16: int16(-300), u32: uint32(70000), i32: int32(-70000), f32: float32(0.5), boolean: true,
		u64: uint64(1 << 63), i64: int64(-1 << 63), f64: 0.1} {
		cases = append(cases, odd{name: fmt.Sprintf("a lone %T", v), bytes: head(0, 1).kv("k", id, v), metadata: kv1(v)},
			odd{name: fmt.Sprintf("a lone %T, big-endian", v), bytes: image(bigHead(3, 0, 1).kv("k", id, v)), notes: []string{note}, metadata: kv1(v)})
	}
	return cases
}
