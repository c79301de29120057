package corpus

import (
	"github.com/bowline-ml/bowline/formats"
)

// hostileSets are sets to refuse; the first is whole.
func hostileSets() []Case {
	a := GGUFShard(0, 3, 2, 1).Info("a", idF32, 0, 4).Data(32)
	b := GGUFShard(1, 3, 2, 1).Info("b", idF32, 0, 4).Data(32)
	c := GGUFShard(2, 3, 2, 0)
	names := []string{"m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"}
	set := func(parts ...GGUFImage) map[string][]byte {
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
	return []Case{
		{Name: "whole", Files: set(a, b, c), Open: names},
		{Name: "middle shard not there", Files: set(a, nil, c), Open: names, Code: formats.Missing, Offset: -1, Says: []string{names[1]}},
		{Name: "third shard is a copy of the second", Files: set(a, b, b), Open: names, Code: formats.Mismatch, Offset: valueOf("split.no"), Field: "split.no",
			Codes: []formats.Code{formats.Mismatch, formats.Dup}},
		{Name: "shards in another order", Files: set(b, a, c), Open: names, Code: formats.Mismatch, Offset: valueOf("split.no"), Field: "split.no",
			Codes: []formats.Code{formats.Mismatch, formats.Mismatch}},
		{Name: "one tensor in two shards", Files: set(a, GGUFShard(1, 3, 2, 1).Info("a", idF32, 0, 4).Data(32), c), Open: names, Code: formats.Dup, Offset: -1, Tensor: "a"},
		{Name: "count is another", Files: set(GGUFShard(0, 6, 2, 1).Info("a", idF32, 0, 4).Data(32), b, c), Open: names, Code: formats.Mismatch,
			Offset: valueOf("split.count"), Field: "split.count", Says: []string{"got 6, want 3"}},
		{Name: "count of a later shard is another", Files: set(a, b, GGUFShard(2, 4, 2, 0)), Open: names, Code: formats.Mismatch, Offset: valueOf("split.count"), Field: "split.count"},
		{Name: "total is another", Files: set(GGUFShard(0, 3, 5, 1).Info("a", idF32, 0, 4).Data(32), b, c), Open: names, Code: formats.Mismatch,
			Offset: valueOf("split.tensors.count"), Field: "split.tensors.count", Says: []string{"got 5, want 2"}},
		{Name: "number of type u32", Files: set(a, b, GGUFHead(0, 1).KV("split.no", u32, uint32(2))), Open: names, Code: formats.BadType, Offset: 44, Field: "split.no",
			Says: []string{"got uint32, want uint16"}},
		{Name: "number 65535", Files: set(a, b, GGUFShard(65535, 3, 2, 0)), Open: names, Code: formats.Mismatch, Offset: valueOf("split.no"), Field: "split.no"},
		{Name: "no number", Files: set(a, b, GGUFHead(0, 0)), Open: names, Code: formats.Missing, Offset: -1, Field: "split.no"},
		{Name: "no keys in the first", Files: set(GGUFHead(1, 0).Info("a", idF32, 0, 4).Data(32), b, c), Open: names, Code: formats.Missing, Offset: -1, Field: "split.no",
			Codes: []formats.Code{formats.Missing, formats.Missing}},
		{Name: "one of three alone", Bytes: a, Code: formats.Missing, Offset: valueOf("split.count"), Field: "split.count", Says: []string{"one of 3"}},
		{Name: "count of type u32 in a lone file", Bytes: GGUFHead(0, 1).KV("split.count", u32, uint32(3)), Code: formats.BadType, Offset: 47, Field: "split.count"},
		{Name: "a file twice", Files: set(a, b, c), Open: []string{names[0], names[1], names[1]}, Code: formats.Dup, Offset: -1},
		{Name: "an index", Files: set(a, b, c), Open: names, Index: "m.json", Code: formats.Unsupported, Offset: -1},
		{Name: "two shards damaged", Files: set(a, b.Cut(32), GGUFImage("GGUF")), Open: names, Code: formats.Trunc, Offset: int64(len(b) - 32), Tensor: "b", Field: "tensor[0]",
			Codes: []formats.Code{formats.Trunc, formats.Trunc}},
		{Name: "number -1 of type i32", Files: set(a, b, GGUFHead(0, 1).KV("split.no", i32, int32(-1))), Open: names, Code: formats.BadType, Offset: 44, Field: "split.no"},
		{Name: "count 0 in a set", Files: set(GGUFShard(0, 0, 2, 1).Info("a", idF32, 0, 4).Data(32), b, c), Open: names, Code: formats.Mismatch, Offset: valueOf("split.count"), Field: "split.count"},
		{Name: "count 65535 in a lone file", Bytes: GGUFShard(0, 65535, 2, 1).Info("a", idF32, 0, 4).Data(32), Code: formats.Missing, Offset: valueOf("split.count"), Field: "split.count"},
		{Name: "total -1", Files: set(GGUFShard(0, 3, -1, 1).Info("a", idF32, 0, 4).Data(32), b, c), Open: names, Code: formats.Mismatch, Offset: valueOf("split.tensors.count"), Field: "split.tensors.count"},
		{Name: "total of type u32", Files: set(GGUFHead(1, 3).KV("split.no", u16, uint16(0)).KV("split.count", u16, uint16(3)).KV("split.tensors.count", u32, uint32(2)).
			Info("a", idF32, 0, 4).Data(32), b, c), Open: names, Code: formats.BadType, Offset: valueOf("split.tensors.count"), Field: "split.tensors.count"},
		{Name: "first shard is no GGUF", Files: set(GGUFImage("version https://git-lfs.github.com/spec/v1"), b, c), Open: names, Code: formats.Magic, Offset: 0, Field: "magic"},
		{Name: "an empty shard", Files: set(a, GGUFImage{}, c), Open: names, Code: formats.Trunc, Offset: 0, Field: "magic"},
		{Name: "all shards are the first", Files: set(a, a, a), Open: names, Code: formats.Mismatch, Offset: valueOf("split.no"), Field: "split.no",
			Codes: []formats.Code{formats.Mismatch, formats.Dup, formats.Mismatch, formats.Dup}},
		{Name: "a big-endian shard with another number", Files: set(a, b, GGUFImage(BigHead(3, 0, 1).Put("split.no", uint32(u16), uint16(1)))), Open: names, Code: formats.Mismatch,
			Offset: valueOf("split.no"), Field: "split.no"},
	}
}
