// Package verify runs models forward, compares logits and hidden states with a reference, and says whether they agree as closely as
// the kind of reference allows. It shares no code with the conversion: a verifier that undid the conversion's own transforms would agree
// with its mistakes. A file is run by the rules of its own scheme, with GGUF's rope for GGUF.
package verify

import (
	"context"
	"errors"
	"runtime"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
)

// Precision is how activations are kept between operations. Sums are in float64 in both.
type Precision string

const (
	F32 Precision = "f32" // rounded to float32 after each operation, as transformers' eager attention does in float32
	F64 Precision = "f64"
)

// Options of Run. The zero value computes in f32 on all processors and keeps the logits alone.
type Options struct {
	Precision Precision
	Workers   int  // 0 is GOMAXPROCS; results do not depend on it
	Hidden    bool // keep the hidden states of all layers
}

// Trace is what a run computed: a row for each token.
type Trace struct {
	Tokens    []int32
	Logits    Matrix // [T, V]
	Embed     Matrix // [T, H]; this and what follows is empty unless Options.Hidden
	Layers    []Matrix
	FinalNorm Matrix
	Facts     []Fact // what it was computed with besides tensors; empty if another program computed it
}

// Matrix is Rows x Cols values, row after row, in one of the two slices.
type Matrix struct {
	Rows, Cols int
	F32        []float32
	F64        []float64
}

// Row gives the values of row i, widened into buf if they have to be. The caller must not change them.
func (m Matrix) Row(i int, buf []float64) []float64 {
	if m.F64 != nil {
		return m.F64[i*m.Cols : (i+1)*m.Cols]
	}
	buf = buf[:0]
	for _, v := range m.F32[i*m.Cols : (i+1)*m.Cols] {
		buf = append(buf, float64(v))
	}
	return buf
}

// newMatrix is a matrix of zeros for results of a precision.
func newMatrix(rows, cols int, p Precision) Matrix {
	m := Matrix{Rows: rows, Cols: cols}
	if p == F64 {
		m.F64 = make([]float64, rows*cols)
	} else {
		m.F32 = make([]float32, rows*cols)
	}
	return m
}

// set stores v from element i on.
func (m Matrix) set(i int, v []float64) {
	if m.F64 != nil {
		copy(m.F64[i:], v)
		return
	}
	for j, x := range v {
		m.F32[i+j] = float32(x)
	}
}

// forward is a forward pass: straight code over the blocks of pass.
type forward func(p *pass, w *weights, tokens []int32) (*Trace, error)

// forwards are the families that can be run.
var forwards = map[string]forward{
	arch.Llama.Name:      llama,
	arch.Granite.Name:    granite,
	arch.GraniteMoe.Name: graniteMoe,
	arch.Mixtral.Name:    mixtral,
	arch.Gemma.Name:      gemma,
	arch.Gemma2.Name:     gemma2,
	arch.Gemma3.Name:     gemma2,
	arch.GPTBigCode.Name: gpt,
	arch.GPT2.Name:       gpt,
	arch.GPTNeoX.Name:    gptNeoX,
	arch.Starcoder2.Name: starcoder2,
	arch.Olmo2.Name:      olmo2,
	arch.Phi3.Name:       phi3,
	arch.Qwen2.Name:      llama,
	arch.Qwen3.Name:      qwen3,
}

// Supported reports whether there is a forward pass for a family; a nil family has none.
func Supported(f *arch.Family) bool { return f != nil && forwards[f.Name] != nil }

// Run computes the logits of all positions of tokens in one causal pass, reading each weight once, a block of rows at a time.
// Values that are not finite are results like others. Missing tensors and wrong shapes come all together.
func Run(ctx context.Context, m *arch.Model, tokens []int32, o Options) (*Trace, error) {
	p, err := newPass(ctx, m, tokens, o)
	if err != nil {
		return nil, err
	}
	t, err := forwards[m.Family.Name](p, &weights{m: m}, tokens)
	if err != nil {
		return nil, err
	}
	t.Facts = p.facts
	return t, nil
}

// newPass checks what a pass needs but for the weights.
func newPass(ctx context.Context, m *arch.Model, tokens []int32, o Options) (*pass, error) {
	if !Supported(m.Family) {
		return nil, formats.Errorf(formats.Unsupported, "no forward pass for architecture %q", formats.Escape(m.Class, 200)).At(m.Path(), -1)
	}
	if o.Precision == "" {
		o.Precision = F32
	}
	if o.Precision != F32 && o.Precision != F64 {
		return nil, formats.Errorf(formats.Usage, "got precision %q, want f32 or f64", o.Precision)
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if m.Foreign != "" {
		return nil, formats.Errorf(formats.Unsupported, "the weights need %s", m.Foreign).At(m.Path(), -1)
	}
	if m.Family.Check != nil {
		if err := m.Family.Check(m.Config, m.Scheme); err != nil {
			return nil, err
		}
	}
	if err := checkTokens(tokens, m.Config.Vocab); err != nil {
		return nil, err
	}
	return &pass{ctx: ctx, T: len(tokens), precision: o.Precision, hidden: o.Hidden, layer: -1, scratch: make([]scratch, o.Workers)}, nil
}

func checkTokens(tokens []int32, vocab int64) error {
	if len(tokens) == 0 {
		return formats.Errorf(formats.Usage, "got no tokens, want at least one")
	}
	var errs []error
	for i, t := range tokens {
		if (t < 0 || int64(t) >= vocab) && len(errs) < 8 {
			errs = append(errs, formats.Errorf(formats.Bounds, "token %d: got id %d, want 0 to %d", i, t, vocab-1))
		}
	}
	return errors.Join(errs...)
}

// Append adds rows of logits, of one vocabulary and one precision.
func (t *Trace) Append(tokens []int32, rows Matrix) {
	t.Tokens = append(t.Tokens, tokens...)
	t.Logits.Rows, t.Logits.Cols = t.Logits.Rows+rows.Rows, rows.Cols
	t.Logits.F32, t.Logits.F64 = append(t.Logits.F32, rows.F32...), append(t.Logits.F64, rows.F64...)
}
