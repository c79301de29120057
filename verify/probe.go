package verify

import (
	"context"
	"errors"
	"iter"
	"math"
	"strings"

	"github.com/bowline-ml/bowline/arch"
)

// Step is what one operation of a layer made: [T, n], the heads of queries and keys turned and in half order whatever the file's order is, so that
// the steps of a GGUF file compare with those of its twin.
type Step struct {
	Name   string // the role of the weight that made it, or what the operation is: attn_q, attention, act, residual, out
	Tensor string // the stored tensor that made it, "" if none did
	X      Matrix
}

// probe makes a pass run one layer alone, on an input of the caller's, and keeps all its steps.
type probe struct {
	layer int
	input []float64
	steps []Step
	names map[string]string // stored names of the weights used, by role
}

// errProbed ends a pass that has run the layer it was for.
var errProbed = errors.New("verify: probed")

// Steps runs one layer of a model alone on input [T, H], the hidden state before it, and gives what each of its operations made. Two models that
// are given the same input differ by the fault of that layer alone, whatever came before. The experts of a mixture are one step.
func Steps(ctx context.Context, m *arch.Model, tokens []int32, layer int, input Matrix, o Options) ([]Step, error) {
	p, err := newPass(ctx, m, tokens, o)
	if err != nil {
		return nil, err
	}
	p.probe = &probe{layer: layer, names: map[string]string{}}
	for i := range input.Rows {
		p.probe.input = append(p.probe.input, input.Row(i, nil)...)
	}
	if _, err := forwards[m.Family.Name](p, &weights{m: m}, tokens); !errors.Is(err, errProbed) {
		return nil, err
	}
	return p.probe.steps, nil
}

// only is the layers that a pass runs: all, or that of its probe.
func only[L any](p *pass, layers []L) iter.Seq2[int, L] {
	return func(yield func(int, L) bool) {
		for i, l := range layers {
			if (p.probe == nil || p.probe.layer == i) && !yield(i, l) {
				return
			}
		}
	}
}

// enter is what the first layer reads: x, the embeddings.
func (p *pass) enter(out *Trace, x []float64) []float64 {
	p.layer = 0
	if p.probe != nil {
		p.layer = p.probe.layer
		return p.probe.input
	}
	if p.hidden {
		out.Embed = p.keep(x)
	}
	return x
}

// leave ends a layer that gives x.
func (p *pass) leave(out *Trace, x []float64) {
	p.step("out", "", x)
	switch {
	case p.err != nil:
	case p.probe != nil:
		p.err = errProbed
	case p.hidden:
		out.Layers = append(out.Layers, p.keep(x))
	}
	p.layer++
}

// step keeps a result if a probe wants it.
func (p *pass) step(name, tensor string, x []float64) {
	if p.probe != nil && p.layer == p.probe.layer && p.err == nil {
		p.probe.steps = append(p.probe.steps, Step{name, tensor, p.keep(x)})
	}
}

// made keeps what a weight made. Queries, keys and values are kept by attention, where their order is the same in all files.
func (p *pass) made(w *weight, x []float64) {
	if p.probe == nil {
		return
	}
	p.probe.names[w.role] = w.name
	part, _, _ := strings.Cut(w.role, ".")
	if part = strings.TrimSuffix(part, "_norm"); part != "attn_q" && part != "attn_k" && part != "attn_v" && part != "attn_qkv" {
		p.step(w.role, w.name, x)
	}
}

// maker is the stored weight that attention got its queries, keys or values from.
func (p *pass) maker(name string) string {
	if s := p.probe.names[name+".weight"]; s != "" {
		return s
	}
	return p.probe.names["attn_qkv.weight"]
}

// Fact is a number that a pass computed with and no tensor holds.
type Fact struct {
	Layer  int // -1 before the first layer; their number after the last
	Name   string
	Values []float64
}

func (p *pass) fact(name string, values ...float64) {
	if p.probe == nil {
		p.facts = append(p.facts, Fact{p.layer, name, values})
	}
}

// turned are the facts of a rope: how far each pair turns from one token to the next, and what its length is multiplied by.
func (p *pass) turned(a angles) {
	if p.T < 2 {
		return
	}
	half := len(a.cos) / p.T
	var turn, length []float64
	for i := half; i < 2*half; i++ {
		turn, length = append(turn, math.Atan2(a.sin[i], a.cos[i])), append(length, math.Hypot(a.sin[i], a.cos[i]))
	}
	p.fact("rope angle per token", turn...)
	p.fact("rope magnitude", single(length[0]))
}
