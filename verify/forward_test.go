package verify_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/all"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/verify"
)

// model opens a checkpoint below the repository's testdata.
func model(t *testing.T, path string) *arch.Model {
	t.Helper()
	path = filepath.Join("..", "testdata", filepath.FromSlash(path))
	ck, err := all.Open(fsio.OS{}, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	m, err := arch.Resolve(fsio.OS{}, ck, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// recorded reads logits that another program computed.
func recorded(t *testing.T, path string) (*verify.Trace, verify.Subject) {
	t.Helper()
	ck, err := all.Open(fsio.OS{}, filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	trace, s, err := verify.ReadLogits(ck)
	if err != nil {
		t.Fatal(err)
	}
	return trace, s
}

func run(t *testing.T, m *arch.Model, tokens []int32, o verify.Options) *verify.Trace {
	t.Helper()
	out, err := verify.Run(context.Background(), m, tokens, o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func compare(t *testing.T, ref, test *verify.Trace, o verify.CompareOptions) *verify.Report {
	t.Helper()
	r, err := verify.Compare(ref, test, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// text is a report as a person reads it.
func text(r *verify.Report) string {
	var b strings.Builder
	if err := r.Text(&b); err != nil {
		return err.Error()
	}
	return b.String()
}

// Transformers and llama.cpp computed these in float32, so the limit is that of class S; 1e-10 on the worst row.
func TestLogitsAreThoseOfOtherPrograms(t *testing.T) {
	for _, c := range []struct {
		name, checkpoint, reference string
		window                      int64
	}{
		{"Granite Code, biases, tied, BF16", "checkpoints/granite-code", "testdata/expected/granite-code/logits", 0},
		{"Granite Code in three shards", "checkpoints/granite-code-sharded", "testdata/expected/granite-code/logits", 0},
		{"Llama 3, scaled rope, own head, F32", "checkpoints/llama3", "testdata/expected/llama3/logits", 0},
		{"Llama, linear rope", "checkpoints/llama-linear", "testdata/expected/llama-linear/logits", 0},
		{"Mistral, F16", "checkpoints/mistral", "testdata/expected/mistral/logits", 0},
		{"SmolLM2, head size that is not hidden/heads", "checkpoints/smollm2", "testdata/expected/smollm2/logits", 0},
		{"Granite Code in GGUF BF16", "gguf/llamacpp/granite-code-bf16.gguf", "testdata/expected/granite-code/logits", 0},
		{"Llama 3 in GGUF F32, rope factors", "gguf/llamacpp/llama3-f32.gguf", "testdata/expected/llama3/logits", 0},
		{"Mistral with a window of 7", "checkpoints/mistral", "verify/testdata/mistral-window-7", 7},
		{"Granite Code against llama.cpp", "checkpoints/granite-code", "testdata/expected/granite-code/llamacpp", 0},
		{"Llama 3 against llama.cpp", "checkpoints/llama3", "testdata/expected/llama3/llamacpp", 0},
		{"linear rope against llama.cpp", "checkpoints/llama-linear", "testdata/expected/llama-linear/llamacpp", 0},
		{"Mistral against llama.cpp", "checkpoints/mistral", "testdata/expected/mistral/llamacpp", 0},
		{"SmolLM2 against llama.cpp", "checkpoints/smollm2", "testdata/expected/smollm2/llamacpp", 0},
	} {
		for _, precision := range []verify.Precision{verify.F32, verify.F64} {
			t.Run(fmt.Sprintf("%s, %s", c.name, precision), func(t *testing.T) {
				m := model(t, c.checkpoint)
				m.Config.SlidingWindow = c.window
				ref, how := recorded(t, "../"+c.reference+".safetensors")
				o := verify.Options{Precision: precision, Hidden: true}
				got := run(t, m, ref.Tokens, o)
				r := compare(t, ref, got, verify.CompareOptions{Class: "S", Reference: how, Test: verify.Describe(m, "test", o)})
				if !r.Pass {
					t.Errorf("got\n%s", text(r))
				}
				for _, l := range r.Layers {
					if !(l.Worst <= 1e-10) {
						t.Errorf("%s: got nmse %v, want at most 1e-10", l.Name, l.Worst)
					}
				}
				if want := int(m.Config.Layers) + 2; len(ref.Layers) > 0 && len(r.Layers) != want {
					t.Errorf("got %d hidden states compared, want %d", len(r.Layers), want)
				}
				t.Logf("worst row %v, kl %v", r.Summary.WorstNMSE, r.Summary.KLMax)
			})
		}
	}
}

func TestBitsDoNotDependOnLayout(t *testing.T) {
	tokens := verify.Tokens(331, 0, 0, 0, []int64{5})
	for _, c := range []struct {
		name string
		a, b *arch.Model
	}{
		{"Granite Code BF16 and its GGUF", model(t, "checkpoints/granite-code"), model(t, "gguf/llamacpp/granite-code-bf16.gguf")},
		{"Llama 3 F32 and its GGUF", model(t, "checkpoints/llama3"), model(t, "gguf/llamacpp/llama3-f32.gguf")},
		{"one file and three shards", model(t, "checkpoints/granite-code"), model(t, "checkpoints/granite-code-sharded")},
		{"BF16 and F32", model(t, "checkpoints/granite-code"), load(t, model(t, "checkpoints/granite-code")).model(t)},
		{"split and fused qkv", model(t, "gguf/llamacpp/granite-code-bf16.gguf"), fused(t, model(t, "gguf/llamacpp/granite-code-bf16.gguf"))},
		{"tied, and with an equal head", model(t, "ties/tied"), model(t, "ties/tied-equal-head")},
		{"tied, and declared nowhere", model(t, "ties/tied"), model(t, "ties/absent-no-head")},
		{"tied, and under the head's name", model(t, "ties/tied"), model(t, "ties/head-only")},
		{"a head of its own, and declared nowhere", model(t, "ties/untied"), model(t, "ties/absent-different-head")},
		{"a head of its own, and declared tied", model(t, "ties/untied"), model(t, "ties/tied-distinct-head")},
	} {
		for _, precision := range []verify.Precision{verify.F32, verify.F64} {
			t.Run(fmt.Sprintf("%s, %s", c.name, precision), func(t *testing.T) {
				o := verify.Options{Precision: precision, Hidden: true}
				r := compare(t, run(t, c.a, tokens, o), run(t, c.b, tokens, o), verify.CompareOptions{})
				if !r.Pass || !r.BitIdentical {
					t.Errorf("got identical %v\n%s", r.BitIdentical, text(r))
				}
				for _, l := range r.Layers {
					if l.MaxAbs != 0 {
						t.Errorf("%s: got a difference of %v, want none", l.Name, l.MaxAbs)
					}
				}
			})
		}
	}
}

// fused joins q, k and v as llama.cpp's converter does with --fuse-qkv: in this order, after permuting.
func fused(t *testing.T, m *arch.Model) *arch.Model {
	x := load(t, m)
	for i := range m.Config.Layers {
		for _, kind := range []string{"weight", "bias"} {
			blk := fmt.Sprintf("blk.%d.attn_", i)
			whole := &stored{shape: slices.Clone(x.tensors[blk+"q."+kind].shape)}
			whole.shape[0] = 0
			for _, part := range []string{"q.", "k.", "v."} {
				p := x.tensors[blk+part+kind]
				whole.shape[0] += p.shape[0]
				whole.v = append(whole.v, p.v...)
				delete(x.tensors, blk+part+kind)
			}
			x.tensors[blk+"qkv."+kind] = whole
		}
	}
	return x.model(t)
}

func TestBitsDoNotDependOnWorkers(t *testing.T) {
	m := model(t, "checkpoints/llama3")
	tokens := verify.Tokens(m.Config.Vocab, 0, 0, 64, nil)
	want := run(t, m, tokens, verify.Options{Workers: 1})
	for _, workers := range []int{2, 7} {
		got := run(t, m, tokens, verify.Options{Workers: workers})
		if r := compare(t, want, got, verify.CompareOptions{}); !r.BitIdentical {
			t.Errorf("%d workers: got other bits than 1\n%s", workers, text(r))
		}
	}
}

// llama.cpp's architecture llama attends to everything, so a GGUF file is run without a window whatever was meant.
func TestAWindowIsOfTheScheme(t *testing.T) {
	tokens := verify.Tokens(331, 0, 0, 0, nil)
	for _, c := range []struct {
		path string
		same bool
	}{{"checkpoints/granite-code", false}, {"gguf/llamacpp/granite-code-bf16.gguf", true}} {
		m, windowed := model(t, c.path), model(t, c.path)
		windowed.Config.SlidingWindow = 9
		r := compare(t, run(t, m, tokens, verify.Options{}), run(t, windowed, tokens, verify.Options{}), verify.CompareOptions{Class: "S"})
		if r.BitIdentical != c.same {
			t.Errorf("%s: got identical %v, want %v", c.path, r.BitIdentical, c.same)
		}
		if !c.same && r.FirstBad.Row != 9 {
			t.Errorf("%s: got first bad row %d, want 9", c.path, r.FirstBad.Row)
		}
	}
}

func TestWhatCannotBeRunIsSaid(t *testing.T) {
	granite := func() *snapshot { return load(t, model(t, "checkpoints/granite-code")) }
	for _, c := range []struct {
		name   string
		m      *arch.Model
		tokens []int32
		code   formats.Code
		want   []string
	}{
		{"the head is missing and declared its own", model(t, "ties/untied-missing-head"), []int32{1}, formats.Missing, []string{"lm_head.weight", "not tied"}},
		{"embedding and head are missing", granite().drop("model.embed_tokens.weight").model(t), []int32{1}, formats.Missing, []string{"model.embed_tokens.weight"}},
		{"all missing tensors come together", granite().drop("model.norm.weight").drop("model.layers.1.mlp.up_proj.weight").drop("model.layers.0.self_attn.k_proj.bias").model(t),
			[]int32{1}, formats.Missing, []string{"model.norm.weight", "model.layers.1.mlp.up_proj.weight", "model.layers.0.self_attn.k_proj.bias"}},
		{"a shape is another one", granite().reshape("model.layers.0.mlp.down_proj.weight", 160, 96).model(t), []int32{1}, formats.BadShape, []string{"[160 96]", "[96 160]"}},
		{"a bias that the config denies", func() *arch.Model { m := granite().model(t); m.Config.AttnBias = false; return m }(), []int32{1}, formats.Mismatch,
			[]string{"model.layers.0.self_attn.q_proj.bias", "model.layers.1.self_attn.o_proj.bias"}},
		{"a token outside the vocabulary", model(t, "checkpoints/granite-code"), []int32{1, 331, -1}, formats.Bounds, []string{"token 1: got id 331, want 0 to 330", "token 2: got id -1"}},
		{"no tokens", model(t, "checkpoints/granite-code"), nil, formats.Usage, []string{"no tokens"}},
		{"an unknown family", func() *arch.Model { m := granite().model(t); m.Family, m.Class = nil, "BertModel"; return m }(), []int32{1}, formats.Unsupported, []string{"BertModel"}},
		{"an activation that is not silu", func() *arch.Model { m := granite().model(t); m.Config.Act = "gelu"; return m }(), []int32{1}, formats.Unsupported, []string{"gelu"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := verify.Run(context.Background(), c.m, c.tokens, verify.Options{})
			if formats.CodeOf(err) != c.code {
				t.Fatalf("got %v, want %s", err, c.code)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("got %v, want %q in it", err, w)
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := verify.Run(ctx, model(t, "checkpoints/granite-code"), []int32{1}, verify.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v, want %v", err, context.Canceled)
	}
	cut := load(t, model(t, "checkpoints/granite-code"))
	cut.short = true
	if _, err := verify.Run(context.Background(), cut.model(t), []int32{1}, verify.Options{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that has become shorter: got %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

func TestSupported(t *testing.T) {
	if !verify.Supported(&arch.Llama) || verify.Supported(nil) || verify.Supported(&arch.Family{Name: "x"}) {
		t.Error("want llama alone")
	}
}
