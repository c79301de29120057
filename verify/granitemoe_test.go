package verify_test

import (
	"testing"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/verify"
)

// TestMixtures runs Granite's families and Mixtral against what transformers and llama.cpp recorded. A fault that belongs to the family has to be
// seen.
func TestMixtures(t *testing.T) {
	experts := func(layer int, part string) string { // of Mixtral
		return "model.layers." + string(rune('0'+layer)) + ".block_sparse_moe.experts." + part
	}
	for _, x := range []struct {
		name, from string
		fault      func(x *snapshot)
		config     func(m *arch.Model)
	}{
		{name: "granite", from: "granite"},
		{name: "granitemoe", from: "granitemoe"},
		{name: "granitemoeshared", from: "granitemoeshared"},
		{name: "granitemoehybrid-dense", from: "granitemoehybrid-dense"},
		{name: "mixtral", from: "mixtral"},
		{name: "the embedding is not multiplied", from: "granite", config: func(m *arch.Model) { m.Config.EmbedScale = 1 }},
		{name: "branches are not multiplied", from: "granite", config: func(m *arch.Model) { m.Config.ResidualScale = 1 }},
		{name: "scores by the head's size", from: "granite", config: func(m *arch.Model) { m.Config.AttnScale = 0.31622776 }},
		{name: "logits are not divided", from: "granitemoe", config: func(m *arch.Model) { m.Config.LogitScale = 1 }},
		{name: "no position encoding", from: "granitemoehybrid-dense", config: func(m *arch.Model) { m.Config.NoRope = true }},
		{name: "one expert for each token", from: "mixtral", config: func(m *arch.Model) { m.Config.ExpertsUsed = 1 }},
		{name: "another order of experts", from: "mixtral", fault: func(x *snapshot) {
			x.swap(experts(0, "1.w2.weight"), experts(0, "2.w2.weight"))
		}},
		{name: "gate and up swapped", from: "mixtral", fault: func(x *snapshot) { x.swap(experts(1, "3.w1.weight"), experts(1, "3.w3.weight")) }},
		{name: "up before gate in all experts", from: "granitemoe", fault: func(x *snapshot) {
			v := x.tensors["model.layers.0.block_sparse_moe.input_linear.weight"].v
			for n := len(v) / 5; len(v) > 0; v = v[n:] {
				for i := range n / 2 {
					v[i], v[n/2+i] = v[n/2+i], v[i]
				}
			}
		}},
		{name: "up before gate in the shared MLP", from: "granitemoeshared", fault: func(x *snapshot) { x.swapHalves("model.layers.1.shared_mlp.input_linear.weight") }},
		{name: "no shared MLP", from: "granitemoeshared", fault: func(x *snapshot) { x.scale("shared_mlp.output_linear", 0) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			m := model(t, "checkpoints/"+x.from)
			right := x.fault == nil && x.config == nil
			if x.fault != nil {
				s := load(t, m)
				x.fault(s)
				m = s.model(t)
			}
			if x.config != nil {
				x.config(m)
			}
			for _, by := range []string{"logits", "llamacpp"} {
				ref, how := recorded(t, "../testdata/expected/"+x.from+"/"+by+".safetensors")
				o := verify.Options{Hidden: true}
				r := compare(t, ref, run(t, m, ref.Tokens, o), verify.CompareOptions{Class: "S", Reference: how, Test: verify.Describe(m, "test", o)})
				if r.Pass != right || right && !(r.Summary.WorstNMSE <= 1e-11) {
					t.Errorf("%s: got\n%s", by, text(r))
				}
			}
		})
	}
}
