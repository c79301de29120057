package verify

import (
	"encoding/binary"
	"io"
	"math"

	"github.com/bowline-ml/bowline/formats"
)

// KLD is a base file of llama-perplexity --save-all-logits: log-probabilities of the second half of each chunk of a text, in 16 bits above a floor.
type KLD struct {
	Context int     // tokens of a chunk
	Vocab   int     // tokens there are
	Chunks  int     // of Context tokens each
	Tokens  []int32 // of all chunks, as the text has them: a model whose vocabulary adds BOS was given it in place of each chunk's first
	r       io.ReaderAt
	start   int64 // of the rows
}

// KLDMagic starts a base file.
const KLDMagic = "_logits_"

// KLDSchema is the schema of a Subject that is a base file.
const KLDSchema = "llama.cpp/kld-base"

// OpenKLD reads the head of a base file of size bytes, which has to be exact: its writer does not notice a full disk.
// Source: llama.cpp tools/perplexity/perplexity.cpp, perplexity and log_softmax.
func OpenKLD(r io.ReaderAt, size int64) (*KLD, error) {
	fail := func(code formats.Code, off int64, format string, args ...any) (*KLD, error) {
		return nil, formats.Errorf(code, format, args...).At("", off)
	}
	var head [20]byte
	if n, err := r.ReadAt(head[:], 0); n < len(head) {
		if err == io.EOF {
			return fail(formats.Trunc, int64(n), "got %d bytes, want a header of 20", n)
		}
		return fail(formats.IO, 0, "%w", err)
	}
	if string(head[:8]) != KLDMagic {
		return fail(formats.Magic, 0, "got %q, want %q", formats.Escape(string(head[:8]), 40), KLDMagic)
	}
	number := func(at int) int64 { return int64(int32(binary.LittleEndian.Uint32(head[at:]))) }
	ctx, vocab, chunks := number(8), number(12), number(16)
	if ctx < 4 || ctx > 1<<24 || vocab < 1 || vocab > 1<<24 || chunks < 1 || chunks > 1<<24 {
		return fail(formats.Bounds, 8, "got %d chunks of %d tokens of a vocabulary of %d", chunks, ctx, vocab)
	}
	k := &KLD{Context: int(ctx), Vocab: int(vocab), Chunks: int(chunks), r: r, start: 20 + 4*ctx*chunks}
	rows := chunks * int64(k.Rows()) // at most 2^47, of at most 2^26 bytes
	if have := size - k.start; have < 0 || have%k.rowBytes() != 0 || have/k.rowBytes() != rows {
		return fail(formats.Trunc, min(size, k.start), "got %d bytes, want %d for the tokens and %d rows of %d bytes", size, k.start, rows, k.rowBytes())
	}
	b := make([]byte, 4*ctx*chunks) // within size
	if n, err := r.ReadAt(b, 20); n < len(b) {
		return fail(formats.IO, 20, "%w", err)
	}
	for i := range int(ctx * chunks) {
		t := int32(binary.LittleEndian.Uint32(b[4*i:]))
		if t < 0 || int64(t) >= vocab {
			return fail(formats.Bounds, 20+4*int64(i), "got token %d, want 0 to %d", t, vocab-1)
		}
		k.Tokens = append(k.Tokens, t)
	}
	return k, nil
}

// First is the position in a chunk that the first row is of; the last position of a chunk has none.
func (k *KLD) First() int { return k.Context / 2 }

// Rows is how many rows a chunk has.
func (k *KLD) Rows() int { return k.Context - 1 - k.First() }

func (k *KLD) rowBytes() int64 { return 2 * int64((k.Vocab+1)/2*2+4) }

// Chunk reads the log-probabilities of a chunk, [Rows, Vocab].
func (k *KLD) Chunk(i int) (Matrix, error) {
	m := Matrix{Rows: k.Rows(), Cols: k.Vocab, F32: make([]float32, 0, k.Rows()*k.Vocab)}
	b := make([]byte, k.rowBytes())
	for row := range m.Rows {
		at := k.start + (int64(i)*int64(m.Rows)+int64(row))*k.rowBytes()
		if n, err := k.r.ReadAt(b, at); n < len(b) {
			return Matrix{}, formats.Errorf(formats.IO, "%w", err).At("", at)
		}
		scale, least := math.Float32frombits(binary.LittleEndian.Uint32(b)), math.Float32frombits(binary.LittleEndian.Uint32(b[4:]))
		for j := range k.Vocab {
			m.F32 = append(m.F32, float32(scale*float32(binary.LittleEndian.Uint16(b[8+2*j:])))+least)
		}
	}
	return m, nil
}

// LogProbs is the logarithm of softmax of rows lo to hi.
func (m Matrix) LogProbs(lo, hi int) Matrix {
	out := Matrix{Rows: hi - lo, Cols: m.Cols}
	buf := make([]float64, m.Cols)
	for i := lo; i < hi; i++ {
		row := m.Row(i, buf)
		sum := logSum(row)
		for _, v := range row {
			out.F64 = append(out.F64, v-sum)
		}
	}
	return out
}
