package gguf_test

import "github.com/bowline-ml/bowline/formats/formatstest/corpus"

// The builder of the corpus, by the short names that the tests here use.
type image = corpus.GGUFImage

var (
	head, headOf, v1, shard = corpus.GGUFHead, corpus.GGUFHeadOf, corpus.GGUFHead1, corpus.GGUFShard
	bigHead, long           = corpus.BigHead, corpus.Long
)

// Ids of value types and of tensor types (gguf.h, ggml.h).
const (
	u8, i8, u16, i16, u32, i32, f32, boolean, str, array, u64, i64, f64 = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12

	idF32, idF16, idQ8_0, idI8 = 0, 1, 8, 24
)
