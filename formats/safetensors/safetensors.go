// Package safetensors reads and writes safetensors files and sharded sets of them.
//
// The format is https://github.com/huggingface/safetensors: the length of a header as 8 bytes, the header in JSON, and the bytes of the
// tensors without gaps. Readers of it differ in what they let through; this one is strict, see [Format].
package safetensors

import (
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// maxRank is the most dimensions read. The format has no limit; torch stops at 64.
const maxRank = 64

// Format is safetensors. It accepts what the reference accepts (safetensors/src/tensor.rs), except for what makes two readers see
// different files: names or fields twice, fields that differ from known ones by case, entries that are arrays, null for
// __metadata__.
var Format = formats.Format{
	Name:      "safetensors",
	Suffix:    suffix,
	Sniff:     sniff,
	Open:      open,
	Siblings:  siblings,
	Limits:    formats.Limits{Rank: maxRank, NameBytes: 4096, DTypes: dtypes},
	Aliases:   formats.NameDropped,
	Layout:    layout,
	ShardName: shardName,
	IndexName: indexName,
}

// dtypes are the types of the reference, in its order (enum Dtype in tensor.rs).
var dtypes = []dtype.Type{
	dtype.BOOL, "F4", "F6_E2M3", "F6_E3M2", dtype.U8, dtype.I8, dtype.F8_E5M2, dtype.F8_E4M3, "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ",
	dtype.I16, dtype.U16, dtype.F16, dtype.BF16, dtype.I32, dtype.U32, dtype.F32, "C64", dtype.F64, dtype.I64, dtype.U64,
}
