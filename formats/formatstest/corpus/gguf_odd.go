package corpus

import (
	"fmt"
	"slices"

	"github.com/bowline-ml/bowline/formats"
)

// odd is a file that has to be read, with what has to be noted about it and, where it matters, what it holds.
type odd struct {
	name     string
	bytes    GGUFImage
	notes    []string // texts of the notes, in order
	metadata formats.Metadata
	tensors  []string // "name dtype shape bytes"
}

// oddGGUF are files to read.
func oddGGUF() (out []Case) {
	for _, x := range append(oddFiles(), moreOdd()...) {
		out = append(out, Case{Name: x.name, Bytes: x.bytes, Reads: &Reads{Notes: x.notes, Metadata: x.metadata, Tensors: x.tensors}})
	}
	return out
}

func oddFiles() []odd {
	four := GGUFHead(1, 0).Info("a", idF32, 0, 4)
	return []odd{
		{name: "empty file ok", bytes: GGUFHead(0, 0)},
		{name: "empty, padded", bytes: GGUFHead(0, 0).Pad(32)},
		{name: "empty, version 2", bytes: GGUFHeadOf(2, 0, 0)},
		{name: "empty, version 1", bytes: GGUFImage("GGUF").Put(uint32(1), uint32(0), uint32(0))},
		{name: "alignment 1", bytes: GGUFHead(2, 1).KV("general.alignment", u32, uint32(1)).Info("a", idI8, 0, 3).Info("b", idF32, 3, 1).Text("abcdefg"),
			notes: []string{"alignment 1"}, metadata: formats.Metadata{{Key: "general.alignment", Value: uint32(1)}}, tensors: []string{"a I8 [3] 3", "b F32 [1] 4"}},
		{name: "alignment 2", bytes: GGUFHead(1, 1).KV("general.alignment", u32, uint32(2)).Info("a", idI8, 0, 2).Pad(2).Text("ab"), notes: []string{"alignment 2"}},
		{name: "alignment 4", bytes: GGUFHead(1, 1).KV("general.alignment", u32, uint32(4)).Info("a", idI8, 0, 4).Pad(4).Text("abcd"), notes: []string{"alignment 4"}},
		{name: "alignment 8", bytes: GGUFHead(1, 1).KV("general.alignment", u32, uint32(8)).Info("a", idI8, 0, 8).Pad(8).Text("abcdefgh")},
		{name: "alignment 65536", bytes: GGUFHead(1, 1).KV("general.alignment", u32, uint32(65536)).Info("a", idI8, 0, 1).Pad(65536).Text("a"), notes: []string{"lacks 65535 bytes"}},
		{name: "alignment after the other keys", bytes: GGUFHead(1, 2).KV("k", u8, uint8(1)).KV("general.alignment", u32, uint32(64)).Info("a", idI8, 0, 64).Pad(64).Pad(128).Text(Long(64))},
		{name: "trailing bytes", bytes: four.Data(32).Text("more"), notes: []string{"4 bytes after the end"}},
		{name: "trailing bytes without tensors", bytes: GGUFHead(0, 0).Pad(32).Text("more"), notes: []string{"4 bytes after the end"}},
		{name: "missing padding", bytes: four.Data(16), notes: []string{"lacks 16 bytes of padding"}, tensors: []string{"a F32 [4] 16"}},
		{name: "scalar", bytes: GGUFHead(1, 0).Info("a", idF32, 0).Data(32), tensors: []string{"a F32 [] 4"}},
		{name: "no elements", bytes: GGUFHead(2, 0).Info("a", idF32, 0, 0, 3).Info("b", idF32, 0, 4).Data(32), tensors: []string{"a F32 [3 0] 0", "b F32 [4] 16"}},
		{name: "no elements, then missing padding", bytes: GGUFHead(2, 0).Info("b", idF32, 0, 4).Info("a", idF32, 32, 0).Data(16),
			notes: []string{"lacks 16 bytes"}, tensors: []string{"b F32 [4] 16", "a F32 [0] 0"}},
		{name: "no elements of 2^126", bytes: GGUFHead(1, 0).Info("a", idF32, 0, 1<<63-1, 0, 1<<63-1).Pad(32), tensors: []string{"a F32 [9223372036854775807 0 9223372036854775807] 0"}},
		{name: "no elements and no data at all", bytes: GGUFHead(1, 0).Info("a", idF32, 0, 0), notes: []string{"lacks 7 bytes"}},
		{name: "name of 64 bytes", bytes: GGUFHead(1, 0).Info(Long(64), idI8, 0, 1).Data(32), notes: []string{"refuses a name of 64"}},
		{name: "shape is outermost first", bytes: GGUFHead(1, 0).Info("a", idI8, 0, 8, 4, 2, 1).Data(64), tensors: []string{"a I8 [1 2 4 8] 64"}},
		// block sizes that gguf-py gets wrong or does not know; gguf.cpp of llama.cpp takes this file
		{name: "Q8_1 and Q2_0", bytes: GGUFHead(3, 0).Info("a", 9, 0, 64).Info("b", 42, 96, 128).Info("c", idF32, 160, 8).Data(192),
			tensors: []string{"a Q8_1 [64] 72", "b Q2_0 [128] 36", "c F32 [8] 32"}},

		{name: "private type", bytes: GGUFHead(2, 0).Info("a", 152, 0, 32).Info("b", idF32, 64, 4).Data(96), notes: []string{"ik_llama.cpp calls it IQ5_KS"},
			tensors: []string{"a GGML_152 [32] 64", "b F32 [4] 16"}},
		{name: "private type, twice, at the end", bytes: GGUFHead(2, 0).Info("a", 300, 0, 32).Info("b", 300, 64, 32).Data(80), notes: []string{"row-interleaved"},
			tensors: []string{"a GGML_300 [32] 64", "b GGML_300 [32] 16"}},
		{name: "type COUNT", bytes: GGUFHead(1, 0).Info("a", 43, 0, 32).Data(20), notes: []string{"type 43 is unknown"}, tensors: []string{"a GGML_43 [32] 20"}},

		{name: "key with a space", bytes: GGUFHead(0, 1).KV("a key", u8, uint8(1)), metadata: formats.Metadata{{Key: "a key", Value: uint8(1)}}},
		{name: "empty string and empty arrays", bytes: GGUFHead(0, 4).KV("a", str, "").List("b", str, 0).List("c", f64, 0).List("d", array, 0),
			metadata: formats.Metadata{{Key: "a", Value: ""}, {Key: "b", Value: []string{}}, {Key: "c", Value: []float64{}}, {Key: "d", Value: []any{}}}},
		{name: "string is not UTF-8", bytes: GGUFHead(0, 1).KV("a", str, "\xff\x00\xfe"), metadata: formats.Metadata{{Key: "a", Value: "\xff\x00\xfe"}}},
		{name: "arrays 4 deep, of several types", bytes: GGUFHead(0, 1).List("a", array, 3,
			uint32(array), uint64(2), uint32(array), uint64(1), uint32(str), uint64(1), "x", uint32(u8), uint64(2), uint8(1), uint8(2),
			uint32(array), uint64(0), uint32(boolean), uint64(1), uint8(1)),
			metadata: formats.Metadata{{Key: "a", Value: []any{[]any{[]any{[]string{"x"}}, []uint8{1, 2}}, []any{}, []bool{true}}}}},
		{name: "a string over several pieces", bytes: GGUFHead(0, 2).KV("a", str, Long(3<<20)).KV("b", u8, uint8(1)),
			metadata: formats.Metadata{{Key: "a", Value: Long(3 << 20)}, {Key: "b", Value: uint8(1)}}},
		{name: "long strings in an array", bytes: GGUFHead(0, 1).List("a", str, 4, "x", Long(1<<20-30), Long(2<<20), ""),
			metadata: formats.Metadata{{Key: "a", Value: []string{"x", Long(1<<20 - 30), Long(2 << 20), ""}}}},
		{name: "split.count 0 as merged files have", bytes: GGUFHead(0, 1).KV("split.count", u16, uint16(0)), metadata: formats.Metadata{}},
		{name: "split.count 1", bytes: GGUFHead(0, 1).KV("split.count", u16, uint16(1)), metadata: formats.Metadata{}},
	}
}

// moreOdd are further files to read.
func moreOdd() []odd {
	big := func(b BigImage) GGUFImage { return GGUFImage(b) }
	const note = "read as big-endian"
	kv1 := func(v any) formats.Metadata { return formats.Metadata{{Key: "k", Value: v}} }
	cases := []odd{
		{name: "big-endian, empty", bytes: big(BigHead(3, 0, 0)), notes: []string{note}},
		{name: "big-endian, empty, version 2", bytes: big(BigHead(2, 0, 0)), notes: []string{note}},
		{name: "big-endian, empty, version 1", bytes: big(BigHead(1, 0, 0)), notes: []string{note}},
		{name: "big-endian, alignment 1", bytes: big(BigHead(3, 1, 1).KV("general.alignment", u32, uint32(1)).Info("a", idI8, 0, 3)).Text("abc"), notes: []string{note, "alignment 1"}, tensors: []string{"a I8 [3] 3"}},
		{name: "big-endian, nested arrays", bytes: big(BigHead(3, 0, 1).Put("k", uint32(array), uint32(array), uint64(2), uint32(u16), uint64(2), uint16(1), uint16(2), uint32(str), uint64(1), "x")),
			notes: []string{note}, metadata: kv1([]any{[]uint16{1, 2}, []string{"x"}})},
		{name: "big-endian, trailing bytes", bytes: big(BigHead(3, 1, 0).Info("a", idF32, 0, 4).Data(36)), notes: []string{note, "4 bytes after"}},
		{name: "big-endian version 1", bytes: big(BigHead(1, 0, 1).Put(uint32(1), uint8('k'), uint32(array), uint32(u32), uint32(2), uint32(7), uint32(8))), notes: []string{note}, metadata: kv1([]uint32{7, 8})},
		{name: "version 1, text and arrays", bytes: GGUFHead1(0, 2).Short("a").Put(uint32(str)).Short("x").Short("b").Put(uint32(array), uint32(str), uint32(2)).Short("").Short("yz"),
			metadata: formats.Metadata{{Key: "a", Value: "x"}, {Key: "b", Value: []string{"", "yz"}}}},
		{name: "version 1, rank 4", bytes: GGUFHead1(1, 0).Short("a").Put(uint32(4), uint32(1), uint32(2), uint32(3), uint32(4), uint32(idI8), uint64(0)).Data(32), tensors: []string{"a I8 [4 3 2 1] 24"}},
		{name: "version 1, arrays nested", bytes: GGUFHead1(0, 1).Short("k").Put(uint32(array), uint32(array), uint32(1), uint32(u8), uint32(1), uint8(5)), metadata: kv1([]any{[]uint8{5}})},
		{name: "version 2, a tensor", bytes: GGUFHeadOf(2, 1, 0).Info("a", idF32, 0, 8).Data(32), tensors: []string{"a F32 [8] 32"}},
		{name: "padding that is not zero", bytes: append(GGUFHead(1, 0).Info("a", idF32, 0, 1), "garbagegarb\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"...).Data(32)[:96], tensors: []string{"a F32 [1] 4"}},
		{name: "name with a space and a slash", bytes: GGUFHead(1, 0).Info("a /b", idI8, 0, 32).Data(32), tensors: []string{"a /b I8 [32] 32"}},
		{name: "name of runes", bytes: GGUFHead(1, 0).Info("模型", idI8, 0, 32).Data(32), tensors: []string{"模型 I8 [32] 32"}},
		{name: "name of 63 bytes", bytes: GGUFHead(1, 0).Info(Long(63), idI8, 0, 32).Data(32)},
		{name: "names with large numbers", bytes: GGUFHead(2, 0).Info("blk.4294967296.attn_q.weight", idI8, 0, 32).Info("direction.1073741824", idI8, 32, 32).Data(64)},
		{name: "key of 65535 bytes", bytes: GGUFHead(0, 1).KV(Long(65535), u8, uint8(1))},
		{name: "keys that look like a container's own", bytes: GGUFHead(0, 2).KV("split.other", u32, uint32(9)).KV("general.alignments", i8, int8(-1))},
		{name: "alignment 16", bytes: GGUFHead(1, 1).KV("general.alignment", u32, uint32(16)).Info("a", idI8, 0, 16).Pad(16).Text(Long(16))},
		{name: "alignment 32, stated", bytes: GGUFHead(0, 1).KV("general.alignment", u32, uint32(32))},
		{name: "float that is NaN", bytes: GGUFHead(0, 1).KV("k", f32, uint32(0x7fc00001))},
		{name: "every 16-bit pattern", bytes: GGUFHead(0, 1).List("k", u16, 3, uint16(0), uint16(0x8000), uint16(0xffff)), metadata: kv1([]uint16{0, 0x8000, 0xffff})},
		{name: "scores of type i8, as the container has them", bytes: GGUFHead(0, 1).List("tokenizer.ggml.scores", i8, 2, int8(-1), int8(1)),
			metadata: formats.Metadata{{Key: "tokenizer.ggml.scores", Value: []int8{-1, 1}}}},
		{name: "byte token that is no hex", bytes: GGUFHead(0, 1).List("tokenizer.ggml.tokens", str, 1, "<0x-1>"), metadata: formats.Metadata{{Key: "tokenizer.ggml.tokens", Value: []string{"<0x-1>"}}}},
		{name: "vocabulary of unequal lengths", bytes: GGUFHead(0, 2).List("tokenizer.ggml.tokens", str, 2, "a", "b").List("tokenizer.ggml.scores", f32, 1, float32(1))},
		{name: "chat template that reaches for attributes", bytes: GGUFHead(0, 1).KV("tokenizer.chat_template", str, "{{ ''.__class__.__mro__ }}"),
			metadata: formats.Metadata{{Key: "tokenizer.chat_template", Value: "{{ ''.__class__.__mro__ }}"}}},
		{name: "three tensors without elements", bytes: GGUFHead(3, 0).Info("a", idF32, 0, 0).Info("b", idQ8_0, 0, 32, 0).Info("c", idF16, 0, 5, 0, 7).Pad(32)},
		{name: "64 tensors of one byte", bytes: func() GGUFImage {
			b := GGUFHead(64, 0)
			for i := range 64 {
				b = b.Info(fmt.Sprintf("t%d", i), idI8, uint64(32*i), 1)
			}
			return b.Data(64 * 32)
		}()},
		{name: "60 private types", bytes: func() GGUFImage {
			b := GGUFHead(60, 0)
			for i := range 60 {
				b = b.Info(fmt.Sprintf("t%d", i), uint32(500+i), uint64(32*i), 1)
			}
			return b.Data(60 * 32)
		}(), notes: append(slices.Repeat([]string{"unknown to GGUF mainline"}, 50), "10 more notes")},
	}
	for _, x := range []struct {
		id uint32
		v  any
	}{{u8, uint8(1)}, {i8, int8(-1)}, {u16, uint16(300)}, {i16, int16(-300)}, {u32, uint32(70000)}, {i32, int32(-70000)}, {f32, float32(0.5)}, {boolean, true},
		{u64, uint64(1 << 63)}, {i64, int64(-1 << 63)}, {f64, 0.1}} {
		cases = append(cases, odd{name: fmt.Sprintf("a lone %T", x.v), bytes: GGUFHead(0, 1).KV("k", x.id, x.v), metadata: kv1(x.v)},
			odd{name: fmt.Sprintf("a lone %T, big-endian", x.v), bytes: GGUFImage(BigHead(3, 0, 1).KV("k", x.id, x.v)), notes: []string{note}, metadata: kv1(x.v)})
	}
	return cases
}
