package bowline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/diff"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/all"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/safetensors"
	"github.com/bowline-ml/bowline/verify"
)

// VerifyOptions are the choices of a forward pass and its judgement.
type VerifyOptions struct {
	Tokens    []int32 // nil: the reference's, or a built-in suite
	Prompt    string  // instead of Tokens: a text, which the model's own tokenizer encodes
	Class     string  // "" is inferred
	Precision verify.Precision
	Workers   int
	Hidden    bool // Logits: write the hidden states
}

func (o VerifyOptions) run() verify.Options {
	return verify.Options{Precision: o.Precision, Workers: o.Workers, Hidden: o.Hidden}
}

// Verify runs a model and compares it with a reference: recorded logits, or another checkpoint, which is run too and whose weights are compared.
// A difference is no error: the report says that it does not pass.
func Verify(ctx context.Context, src, ref Source, o VerifyOptions) (*verify.Report, error) {
	var r *verify.Report
	err := withModel(src, func(m *arch.Model) error {
		if err := runnable(m); err != nil {
			return err
		}
		tokens, err := prompted(m, o)
		if err != nil {
			return err
		}
		given := o
		o.Tokens = tokens
		if k, f, err := baseFile(m.FS, ref.Path); k != nil || err != nil {
			if err != nil {
				return err
			}
			defer f.Close()
			if r, err = againstBase(ctx, m, k, ref.Path, o); err != nil {
				return err
			}
			return checked(ctx, m)
		}
		trace, subject, err := recorded(m.FS, ref, o.Tokens)
		if err != nil {
			return err
		}
		if trace != nil {
			if r, err = againstTrace(ctx, m, trace, subject, o); err != nil {
				return err
			}
			return checked(ctx, m)
		}
		return withModel(ref, func(rm *arch.Model) error {
			if err := errors.Join(runnable(rm), agreed(tokens, m, rm, given)); err != nil {
				return err
			}
			if r, err = against(ctx, m, rm, o); err != nil {
				return err
			}
			return errors.Join(checked(ctx, m), checked(ctx, rm))
		})
	})
	return r, err
}

// prompted gives the tokens that a model's own tokenizer makes of the prompt; those of the options if there is none.
func prompted(m *arch.Model, o VerifyOptions) ([]int32, error) {
	if o.Prompt == "" {
		return o.Tokens, nil
	}
	if o.Tokens != nil {
		return nil, formats.Errorf(formats.Usage, "got tokens and a prompt, want one of them")
	}
	v, _, err := convert.Vocabulary(m)
	if err != nil {
		return nil, formats.Errors(err)[0].Hinted("--tokens LIST")
	}
	ids, err := v.Encode(o.Prompt, true)
	if err != nil {
		return nil, formats.At(err, m.Path())
	}
	if len(ids) == 0 {
		return nil, formats.Errorf(formats.Usage, "the prompt has no tokens").At(m.Path(), -1)
	}
	tokens := make([]int32, len(ids))
	for i, id := range ids {
		tokens[i] = int32(id)
	}
	return tokens, nil
}

// agreed is an error if the reference has a tokenizer of its own that makes other ids of the prompt.
func agreed(tokens []int32, m, ref *arch.Model, o VerifyOptions) error {
	theirs, err := prompted(ref, o)
	if o.Prompt == "" || formats.CodeOf(err) == formats.Missing || err == nil && slices.Equal(theirs, tokens) {
		return nil
	}
	if err != nil {
		return err
	}
	return formats.Errorf(formats.Mismatch, "the prompt is ids %v here and %v by %s: the tokenizers differ", tokens[:min(len(tokens), 16)], theirs[:min(len(theirs), 16)], ref.Path()).At(m.Path(), -1)
}

// runnable refuses what has no forward pass.
func runnable(m *arch.Model) error {
	if err := m.Stated(); err != nil {
		return err
	}
	if verify.Supported(m.Family) {
		if m.Foreign != "" {
			return formats.Errorf(formats.Unsupported, "got %s, which no forward pass here computes", m.Foreign).At(m.Path(), -1)
		}
		return nil
	}
	if m.Class == "" {
		return formats.Errorf(formats.Missing, "no config.json says what the model is").At(m.Path(), -1).Hinted("--config FILE")
	}
	return formats.Errorf(formats.Unsupported, "no forward pass for %q", formats.Escape(m.Class, 200)).At(m.Path(), -1)
}

// againstTrace judges a model by recorded logits.
func againstTrace(ctx context.Context, m *arch.Model, ref *verify.Trace, subject verify.Subject, o VerifyOptions) (*verify.Report, error) {
	tokens := ref.Tokens
	switch {
	case len(tokens) == 0 && len(o.Tokens) == 0:
		return nil, formats.Errorf(formats.Usage, "the reference holds no tokens").At(subject.Path, -1).Hinted("--tokens LIST")
	case len(tokens) == 0:
		tokens = o.Tokens
	case len(o.Tokens) > 0 && !slices.Equal(tokens, o.Tokens):
		return nil, formats.Errorf(formats.Usage, "the tokens are not those of the reference").At(subject.Path, -1)
	}
	if len(tokens) != ref.Logits.Rows || int64(ref.Logits.Cols) != m.Config.Vocab {
		return nil, formats.Errorf(formats.Mismatch, "got logits [%d, %d], want [%d, %d]", ref.Logits.Rows, ref.Logits.Cols, len(tokens), m.Config.Vocab).At(subject.Path, -1)
	}
	if err := inRange(tokens, m, formats.Bounds); err != nil {
		return nil, err
	}
	run := o.run()
	run.Hidden = len(ref.Layers) > 0
	t, err := verify.Run(ctx, m, tokens, run)
	if err != nil {
		return nil, formats.At(err, m.Path())
	}
	return verify.Compare(ref, t, verify.CompareOptions{Class: o.Class, Reference: subject, Test: verify.Describe(m, Version, run)})
}

// against runs two checkpoints and compares logits, hidden states and weights.
func against(ctx context.Context, m, ref *arch.Model, o VerifyOptions) (*verify.Report, error) {
	if m.Config.Vocab != ref.Config.Vocab {
		return nil, formats.Errorf(formats.Mismatch, "got a vocabulary of %d, want the reference's %d", m.Config.Vocab, ref.Config.Vocab).At(m.Path(), -1)
	}
	if m.Config.Hidden != ref.Config.Hidden {
		return nil, formats.Errorf(formats.Mismatch, "got a hidden size of %d, want the reference's %d", m.Config.Hidden, ref.Config.Hidden).At(m.Path(), -1)
	}
	tokens := o.Tokens
	if tokens == nil {
		tokens = builtIn(ref)
	}
	if err := inRange(tokens, m, formats.Usage); err != nil {
		return nil, err
	}
	run := o.run()
	run.Hidden = true
	want, err := verify.Run(ctx, ref, tokens, run)
	if err != nil {
		return nil, formats.At(err, ref.Path())
	}
	got, err := verify.Run(ctx, m, tokens, run)
	if err != nil {
		return nil, formats.At(err, m.Path())
	}
	r, err := verify.Compare(want, got, verify.CompareOptions{
		Class: o.Class, Reference: verify.Describe(ref, Version, run), Test: verify.Describe(m, Version, run), Weighed: true})
	if err != nil {
		return nil, err
	}
	workers := o.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	list, err := diff.Weights(ctx, ref, m, workers)
	if err != nil {
		return nil, err
	}
	beside := 0
	for _, side := range []struct {
		m, other *arch.Model
		what     string
	}{{ref, m, "the reference"}, {m, ref, "the model"}} {
		for _, name := range side.m.Strangers() {
			if side.m.Beside(name) {
				beside++
				continue
			}
			if side.other.Lookup(name) == nil {
				list = append(list, diff.Tensor{Name: name, Verdict: diff.Missing})
			}
			r.Notes = append(r.Notes, formats.Note{Subject: name, Decision: "not computed with", Because: "the family has no such tensor; " + side.what + " holds it", Warn: true})
		}
	}
	if beside > 0 {
		r.Notes = append(r.Notes, formats.Note{Subject: strings.Join(ref.Family.Beside, " "), Decision: fmt.Sprintf("%d tensors not computed with", beside), Because: "they are of another model beside the language model", Warn: true})
	}
	if err := weigh(r, list); err != nil {
		return nil, err
	}
	return r, bisect(ctx, r, m, ref, want, run)
}

// bisect names the first step that differs, if the logits fail and something that they are computed of differs: both run the first bad layer on the
// reference's hidden state before it.
func bisect(ctx context.Context, r *verify.Report, m, ref *arch.Model, want *verify.Trace, run verify.Options) error {
	if !r.Pass && len(r.Suspects) == 0 {
		r.Notes = append(r.Notes, formats.Note{Subject: "suspects", Decision: "none",
			Because: "weights and parameters agree as closely as their types allow, so the logits differ by rounding alone"})
		return nil
	}
	if r.FirstBad == nil || r.FirstBad.Layer == nil {
		return nil
	}
	layer, input := *r.FirstBad.Layer, want.Embed
	if layer > 0 {
		input = want.Layers[layer-1]
	}
	a, err := verify.Steps(ctx, ref, want.Tokens, layer, input, run)
	if err != nil {
		return formats.At(err, ref.Path())
	}
	b, err := verify.Steps(ctx, m, want.Tokens, layer, input, run)
	if err != nil {
		return formats.At(err, m.Path())
	}
	return r.Bisect(a, b)
}

// weigh adds the gate of the weights: every tensor equal, or as different as its type explains. Those that are not come first among the suspects.
func weigh(r *verify.Report, list []diff.Tensor) error {
	if len(list) == 0 {
		return errors.New("bowline: no weights were compared")
	}
	var weights []verify.Weight
	var elements []int64
	suspects := []verify.Suspect{}
	for _, t := range list {
		w := verify.Weight{Name: t.Name, DTypeA: t.DTypeA, DTypeB: t.DTypeB, Verdict: string(t.Verdict), SQNR: t.SQNR, Transform: t.Transform, OK: t.Verdict.OK()}
		if db, ok := diff.Expected(dtype.Type(t.DTypeB)); ok && t.DTypeA != t.DTypeB {
			n := formats.Number(db)
			w.Expected = &n
		}
		n, _ := formats.Elems(t.ShapeB) // of a stored tensor
		weights, elements = append(weights, w), append(elements, n)
		if w.OK || len(suspects) == 20 {
			continue
		}
		s := verify.Suspect{Tensor: t.Name, Transform: string(t.Verdict), Evidence: fmt.Sprintf("%d values differ, by up to %g (%s, %s)", t.Differing, float64(t.MaxAbs), t.DTypeA, t.DTypeB)}
		if t.Transform != nil {
			s.Transform = *t.Transform
		}
		if t.Verdict == diff.Missing {
			s.Evidence = "only one of the two holds it"
		}
		suspects = append(suspects, s)
	}
	r.Suspects = append(suspects, r.Suspects...)
	r.Weigh(weights, elements)
	return nil
}

// builtIn is the suite of tokens for a model.
func builtIn(m *arch.Model) []int32 {
	c := m.Config
	special := append([]int64{}, c.EOS...)
	for _, id := range []*int64{c.BOS, c.PAD} {
		if id != nil {
			special = append(special, *id)
		}
	}
	return verify.Tokens(c.Vocab, c.MaxPos, c.SlidingWindow, c.Rope.Original, special)
}

func inRange(tokens []int32, m *arch.Model, code formats.Code) error {
	for i, t := range tokens {
		if int64(t) >= m.Config.Vocab || t < 0 {
			return formats.Errorf(code, "token %d at position %d, want 0 to %d", t, i, m.Config.Vocab-1).In("", "tokens")
		}
	}
	return nil
}

// LogitsReport is what a forward pass gave.
type LogitsReport struct {
	Schema   string  `json:"schema"`
	InputIDs []int32 `json:"input_ids"`
	Shape    [2]int  `json:"shape"`
	Top      [][]Top `json:"top"` // the five best tokens of each position
	Output   *string `json:"output"`
}

// Top is one of the best tokens of a position.
type Top struct {
	ID    int            `json:"id"`
	Logit formats.Number `json:"logit"`
}

// Logits runs a model and, if output is not empty, writes its logits there: to .safetensors with tokens and metadata, to .npy alone. Earlier logits
// are replaced, any other file only if force is set.
func Logits(ctx context.Context, src Source, output string, force bool, o VerifyOptions) (*LogitsReport, error) {
	ext := strings.ToLower(filepath.Ext(output))
	if output != "" && ext != ".safetensors" && ext != ".npy" {
		return nil, formats.Errorf(formats.Usage, "the output is .safetensors or .npy, got %q", filepath.Base(output))
	}
	if o.Hidden && ext != ".safetensors" {
		return nil, formats.Errorf(formats.Usage, "hidden states are written to .safetensors only")
	}
	var r *LogitsReport
	err := withModel(src, func(m *arch.Model) error {
		if err := runnable(m); err != nil {
			return err
		}
		tokens, err := prompted(m, o)
		if err != nil {
			return err
		}
		if tokens == nil {
			tokens = builtIn(m)
		}
		if err := inRange(tokens, m, formats.Usage); err != nil {
			return err
		}
		t, err := verify.Run(ctx, m, tokens, o.run())
		if err == nil {
			err = m.Check(ctx)
		}
		if err != nil {
			return formats.At(err, m.Path())
		}
		r = &LogitsReport{Schema: "bowline.logits/1", InputIDs: tokens, Shape: [2]int{t.Logits.Rows, t.Logits.Cols}}
		var buf []float64
		for i := range t.Logits.Rows {
			r.Top = append(r.Top, best(t.Logits.Row(i, buf), 5))
		}
		if output == "" {
			return nil
		}
		r.Output = &output
		return writeLogits(m, t, output, ext, force, o)
	})
	return r, err
}

// best are the n largest logits, the first of equal ones first.
func best(row []float64, n int) []Top {
	var out []Top
	for i, v := range row {
		at := len(out)
		for at > 0 && float64(out[at-1].Logit) < v {
			at--
		}
		if at < n {
			out = slices.Insert(out, at, Top{i, formats.Number(v)})
			out = out[:min(len(out), n)]
		}
	}
	return out
}

// holdsLogits reports whether a file is an earlier output of this kind, which may be replaced without asking.
func holdsLogits(fsys fsio.FS, path string) bool {
	if strings.HasSuffix(path, ".npy") { // an array like any other
		return false
	}
	ck, err := all.Open(fsys, path)
	if err != nil {
		return false
	}
	found := ck.Lookup("logits") != nil
	return ck.Close() == nil && found
}

// inputs are the files of a checkpoint.
func inputs(m *arch.Model) []string {
	var out []string
	for _, f := range m.Files {
		out = append(out, filepath.Join(m.Dir, f.Path))
	}
	return out
}

// writeLogits stages the file as every result is staged.
func writeLogits(m *arch.Model, t *verify.Trace, output, ext string, force bool, o VerifyOptions) error {
	var l formats.Layout
	data := func(int) io.ReaderAt { return nil }
	var sizes []int64
	if ext == ".npy" {
		var b bytes.Buffer
		if err := verify.WriteNPY(&b, t.Logits); err != nil {
			return err
		}
		n := int64(b.Len())
		l.Files = []formats.FileLayout{{Path: filepath.Base(output), Bytes: n, Parts: []formats.Part{{Size: n, Data: bytes.NewReader(b.Bytes())}}}}
	} else {
		var h formats.Header
		h, data = t.Header(filepath.Base(output), verify.Metadata(m, Version, o.run()))
		var err error
		if l, err = safetensors.Format.Layout(h); err != nil {
			return err
		}
		for _, s := range h.Tensors {
			sizes = append(sizes, s.Bytes)
		}
	}
	over := force || holdsLogits(m.FS, output)
	w, err := formats.Create(m.FS, formats.Target{Dst: filepath.Clean(output), ID: "logits", Over: over}, l, inputs(m))
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for i, n := range sizes {
		r := data(i)
		for off := int64(0); off < n; {
			k := min(int64(len(buf)), n-off)
			if _, err := r.ReadAt(buf[:k], off); err != nil && !errors.Is(err, io.EOF) {
				return errors.Join(err, w.Abort())
			}
			if err := w.WriteAt(i, buf[:k], off); err != nil {
				return errors.Join(err, w.Abort())
			}
			off += k
		}
	}
	if err := w.Commit(); err != nil {
		return errors.Join(err, w.Abort())
	}
	return nil
}

// ReadFile reads a regular file of at most limit bytes, such as a list of tokens or a chat template.
func ReadFile(path string, limit int64) ([]byte, error) { return fsio.ReadFile(fsio.OS{}, path, limit) }
