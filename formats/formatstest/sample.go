// Package formatstest is what every format has to pass: random checkpoints through its layout and back, damaged files, hostile files,
// and a write that fails at each of its operations.
package formatstest

import (
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// Sample is a checkpoint in memory: Data[i] are the bytes of Header.Tensors[i]. Its tensors name no file until In gives them one.
type Sample struct {
	Header formats.Header
	Data   [][]byte
}

// Checkpoints makes samples without end. Equal arguments give equal samples. Bytes are random, so floats hold NaNs with payloads,
// infinities, subnormals and negative zeros.
func Checkpoints(seed uint64, l formats.Limits) iter.Seq[Sample] {
	return func(yield func(Sample) bool) {
		r := rand.New(rand.NewPCG(seed, 1))
		for yield(sample(r, l)) {
		}
	}
}

func sample(r *rand.Rand, l formats.Limits) Sample {
	var s Sample
	types := slices.DeleteFunc(slices.Clone(l.DTypes), func(t dtype.Type) bool { return !t.Known() })
	taken := map[string]bool{}
	for n := r.IntN(12); len(s.Header.Tensors) < n; {
		name := clean(oddName(r), l.NameBytes)
		if taken[name] {
			continue
		}
		taken[name] = true
		t := formats.Tensor{Name: name, DType: types[r.IntN(len(types))], Offset: -1}
		t.Shape = shape(r, t.DType, l.Rank)
		t.Bytes, _ = formats.TensorBytes(t.DType, t.Shape)
		data := make([]byte, t.Bytes)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		s.Header.Tensors = append(s.Header.Tensors, t)
		s.Data = append(s.Data, data)
	}
	for i, n := 0, r.IntN(5); i < n; i++ {
		s.Header.Metadata = append(s.Header.Metadata, formats.KV{Key: fmt.Sprintf("test.k%d.%d", r.IntN(1000), i), Value: values[r.IntN(len(values))]})
	}
	return s
}

// values are strings that a writer may spoil.
var values = []string{"", "plain", "zwei\nZeilen\tund\r", `"quoted" \ back / slash`, "naïve 模型 🪢", "\x01\x1f\x7f", "<&>\u2028", strings.Repeat("x", 300)}

// names are such names; the empty one is not among them because GGUF readers refuse it.
var names = []string{"model.layers.%d.self_attn.q_proj.weight", "blk.%d.ffn_down.weight", "%d", "..", "../%d", "/%d", "a b %d", "\"%d\\",
	"tab\t%d", "\x1b[31m%d", "é模🪢%d", "__metadata__.%d", ".%d.", "<&>%d", "{\"%d\":1}"}

func oddName(r *rand.Rand) string {
	name := names[r.IntN(len(names))]
	if strings.Contains(name, "%d") {
		name = fmt.Sprintf(name, r.IntN(100))
	}
	if r.IntN(20) == 0 {
		name += strings.Repeat("n", r.IntN(200))
	}
	return name
}

// clean cuts a name to the limit without cutting a rune.
func clean(name string, limit int) string {
	if limit > 0 && len(name) > limit {
		name = name[:limit]
	}
	return strings.ToValidUTF8(name, "")
}

// shape is of a rank up to the limit, small, and fills whole blocks; one in eight has no elements.
func shape(r *rand.Rand, t dtype.Type, rank int) []int64 {
	block := t.BlockElems()
	n := r.IntN(min(rank, 4) + 1)
	if r.IntN(10) == 0 {
		n = r.IntN(min(rank, 9) + 1)
	}
	if n == 0 && block > 1 {
		n = 1
	}
	var dims []int64
	for range n {
		dims = append(dims, 1+r.Int64N(4))
	}
	if n > 0 {
		dims[n-1] = (1 + r.Int64N(3)) * block
		if r.IntN(8) == 0 {
			dims[r.IntN(n)] = 0
		}
	}
	return dims
}

// In is the sample with its tensors spread over n files of the format, in turns of random length. It is one file if the format has no
// shards. Some of the n may stay empty and are then not there.
func (s Sample) In(f formats.Format, n int, seed uint64) Sample {
	out := s
	out.Header.Tensors = slices.Clone(s.Header.Tensors)
	n = max(1, min(n, len(out.Header.Tensors)))
	r := rand.New(rand.NewPCG(seed, 2))
	at := make([]int, len(out.Header.Tensors))
	for i := range at {
		at[i] = min(i, r.IntN(n))
	}
	for i := range min(n, len(at)) {
		at[i] = i // every file has a tensor
	}
	slices.Sort(at)
	for i := range at {
		out.Header.Tensors[i].File = f.ShardName("model", at[i], n)
	}
	out.Header.Files = nil
	for i := range n {
		out.Header.Files = append(out.Header.Files, formats.File{Path: f.ShardName("model", i, n)})
	}
	return out
}

// Files is the content of all files that a layout makes of a sample.
func (s Sample) Files(l formats.Layout) (map[string][]byte, error) {
	files := make([][]byte, len(l.Files))
	for i, f := range l.Files {
		files[i] = make([]byte, f.Bytes)
	}
	put := func(p formats.Part) error {
		b := make([]byte, p.Size)
		if n, err := p.Data.ReadAt(b, 0); n != len(b) {
			return fmt.Errorf("part at %d of file %d: %d of %d bytes: %w", p.Offset, p.File, n, len(b), err)
		}
		if n, err := p.Data.ReadAt(make([]byte, 1), p.Size); n != 0 || err != io.EOF {
			return fmt.Errorf("part at %d of file %d is longer than its size %d", p.Offset, p.File, p.Size)
		}
		if n := copy(files[p.File][p.Offset:], b); n != len(b) {
			return fmt.Errorf("part at %d of file %d ends after the file", p.Offset, p.File)
		}
		return nil
	}
	for i, f := range l.Files {
		for _, p := range f.Parts {
			if p.File != i {
				return nil, fmt.Errorf("file %d has a part of file %d", i, p.File)
			}
			if err := put(p); err != nil {
				return nil, err
			}
		}
	}
	crc := make([]uint32, len(s.Data))
	for i, p := range l.Places {
		crc[i] = crc32.ChecksumIEEE(s.Data[i])
		if p.Offset < 0 || p.Offset+int64(len(s.Data[i])) > l.Files[p.File].Bytes {
			return nil, fmt.Errorf("tensor %q at %d of file %d does not fit its %d bytes", s.Header.Tensors[i].Name, p.Offset, p.File, l.Files[p.File].Bytes)
		}
		copy(files[p.File][p.Offset:], s.Data[i])
	}
	if l.Seal != nil {
		for _, p := range l.Seal(crc) {
			if err := put(p); err != nil {
				return nil, err
			}
		}
	}
	out := map[string][]byte{}
	for i, f := range l.Files {
		out[f.Path] = files[i]
	}
	return out, nil
}
