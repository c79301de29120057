package verify_test

import (
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/verify"
)

// The faults that conversions have had. Each must fail class S against what transformers recorded, and the report must point at it.
func TestFaultsAreCaught(t *testing.T) {
	layer := func(name string) string { return "model.layers.1." + name }
	none := -1
	for _, c := range []struct {
		name, from string
		fault      func(x *snapshot)
		config     func(m *arch.Model)
		layer      int    // that first_bad should name, none for null
		step       string // of first_bad
		suspect    string // in the suspects' text
	}{
		{name: "q and k left in GGUF's order", from: "granite-code", layer: 0, step: "out", suspect: "attn_q.weight, attn_k.weight: rows in the rope order",
			fault: func(x *snapshot) { x.interleave("q_proj", 6); x.interleave("k_proj", 2) }},
		{name: "q alone permuted", from: "granite-code", layer: 0, step: "out", suspect: "rope order", fault: func(x *snapshot) { x.interleave("q_proj", 6) }},
		{name: "weights permuted, biases not", from: "granite-code", layer: 0, step: "out", suspect: "attn_q.bias, attn_k.bias",
			fault: func(x *snapshot) { x.interleave("q_proj.bias", 6); x.interleave("k_proj.bias", 2) }},
		{name: "q permuted in one layer", from: "llama3", layer: 1, step: "out", suspect: "layer 1: attn_q.weight", fault: func(x *snapshot) { x.interleave(layer("self_attn.q_proj"), 6) }},
		{name: "theta 1e4", from: "granite-code", layer: 0, step: "out", suspect: "rope theta", config: func(m *arch.Model) { m.Config.Rope.Theta = 1e4 }},
		{name: "linear scaling dropped", from: "llama-linear", layer: 0, step: "out", suspect: "scaling", config: func(m *arch.Model) { m.Config.Rope.Type = "default" }},
		{name: "llama3 scaling dropped", from: "llama3", layer: 0, step: "out", suspect: "scaling", config: func(m *arch.Model) { m.Config.Rope.Type = "default" }},
		{name: "interleaved rope", from: "smollm2", layer: 0, step: "out", suspect: "rope order", config: func(m *arch.Model) {
			f := *m.Family
			f.Layouts = map[arch.Scheme]arch.Layout{arch.HF: {Rope: arch.Interleaved}}
			m.Family = &f
		}},
		{name: "a window that the model has not", from: "mistral", layer: 0, step: "out", suspect: "sliding window", config: func(m *arch.Model) { m.Config.SlidingWindow = 17 }},
		{name: "key heads in another order", from: "granite-code", layer: 0, step: "out", suspect: "key heads", fault: func(x *snapshot) {
			for _, n := range []string{"k_proj.weight", "v_proj.weight", "k_proj.bias", "v_proj.bias"} {
				x.swapHalves("model.layers.0.self_attn." + n)
			}
		}},
		{name: "q biases dropped", from: "granite-code", layer: 0, step: "out", suspect: "attn_q.bias", fault: func(x *snapshot) { x.scale("q_proj.bias", 0) }},
		{name: "k biases dropped", from: "granite-code", layer: 0, step: "out", suspect: "attn_k.bias", fault: func(x *snapshot) { x.scale("k_proj.bias", 0) }},
		{name: "v biases dropped", from: "granite-code", layer: 0, step: "out", suspect: "biases: dropped", fault: func(x *snapshot) { x.scale("v_proj.bias", 0) }},
		{name: "o biases dropped", from: "granite-code", layer: 0, step: "out", suspect: "biases: dropped", fault: func(x *snapshot) { x.scale("o_proj.bias", 0) }},
		{name: "gate biases dropped", from: "granite-code", layer: 0, step: "out", suspect: "biases: dropped", fault: func(x *snapshot) { x.scale("gate_proj.bias", 0) }},
		{name: "up biases dropped", from: "granite-code", layer: 0, step: "out", suspect: "biases: dropped", fault: func(x *snapshot) { x.scale("up_proj.bias", 0) }},
		{name: "down bias of the last layer dropped", from: "granite-code", layer: 1, step: "out", suspect: "biases: dropped", fault: func(x *snapshot) { x.scale(layer("mlp.down_proj.bias"), 0) }},
		{name: "gate and up swapped", from: "llama3", layer: 1, step: "out", suspect: "layer 1: ffn_gate.weight, ffn_up.weight: swapped",
			fault: func(x *snapshot) { x.swap(layer("mlp.gate_proj.weight"), layer("mlp.up_proj.weight")) }},
		{name: "norms of a layer swapped", from: "mistral", layer: 1, step: "out", suspect: "norms: swapped",
			fault: func(x *snapshot) { x.swap(layer("input_layernorm.weight"), layer("post_attention_layernorm.weight")) }},
		{name: "o of the next layer", from: "smollm2", layer: 0, step: "out", suspect: "layer 0",
			fault: func(x *snapshot) { x.swap("model.layers.0.self_attn.o_proj.weight", layer("self_attn.o_proj.weight")) }},
		{name: "norm + 1 twice", from: "llama3", layer: 0, step: "out", suspect: "norm + 1", fault: func(x *snapshot) { x.add("norm.weight", 1) }},
		{name: "final norm + 1", from: "smollm2", layer: none, step: "final_norm", suspect: "output_norm.weight", fault: func(x *snapshot) { x.add("model.norm.weight", 1) }},
		{name: "embedding times sqrt(H)", from: "mistral", layer: none, step: "embed", suspect: "token_embd.weight", fault: func(x *snapshot) { x.scale("embed_tokens", 8.48528137) }},
		{name: "logits divided by 8", from: "llama3", layer: none, step: "logits", suspect: "a multiplier of the logits", fault: func(x *snapshot) { x.scale("lm_head", 0.125) }},
		{name: "embedding as head of an untied model", from: "llama3", layer: none, step: "logits", suspect: "output.weight: another head",
			fault: func(x *snapshot) { x.tensors["lm_head.weight"] = x.tensors["model.embed_tokens.weight"] }},
		{name: "eps 1e-3 for 1e-6", from: "llama-linear", layer: none, step: "", suspect: "", config: func(m *arch.Model) { m.Config.NormEps = 1e-3 }},
		{name: "one element + 0.01", from: "llama3", layer: 0, step: "out", suspect: "row 0",
			fault: func(x *snapshot) { x.tensors["model.layers.0.mlp.up_proj.weight"].v[7] += 0.01 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := model(t, "checkpoints/"+c.from)
			ref, how := recorded(t, "../testdata/expected/"+c.from+"/logits.safetensors")
			x := load(t, m)
			if c.fault != nil {
				c.fault(x)
			}
			m = x.model(t)
			if c.config != nil {
				c.config(m)
			}
			o := verify.Options{Hidden: true}
			r := compare(t, ref, run(t, m, ref.Tokens, o), verify.CompareOptions{Class: "S", Reference: how, Test: verify.Describe(m, "test", o)})
			if r.Pass {
				t.Fatalf("got a pass\n%s", text(r))
			}
			got := text(r)
			if !strings.Contains(got, c.suspect) {
				t.Errorf("got no suspect %q\n%s", c.suspect, got)
			}
			if c.step == "" {
				return
			}
			at := none
			if r.FirstBad.Layer != nil {
				at = *r.FirstBad.Layer
			}
			if at != c.layer || r.FirstBad.Step != c.step {
				t.Errorf("got layer %d, step %s; want %d, %s\n%s", at, r.FirstBad.Step, c.layer, c.step, got)
			}
			if t.Failed() {
				t.Log(r.Layers)
			}
		})
	}
}

// The same without hidden states: a reference of logits alone.
func TestSymptomsInLogitsAlone(t *testing.T) {
	for _, c := range []struct {
		name, from, suspect string
		row                 int
		fault               func(x *snapshot)
		config              func(m *arch.Model)
	}{
		{name: "q permuted", from: "granite-code", suspect: "rope order", row: 1, fault: func(x *snapshot) { x.interleave("q_proj", 6) }},
		{name: "a window", from: "mistral", suspect: "sliding window", row: 17, config: func(m *arch.Model) { m.Config.SlidingWindow = 17 }},
		{name: "logits divided by 8", from: "llama3", suspect: "a multiplier of the logits", fault: func(x *snapshot) { x.scale("lm_head", 0.125) }},
		{name: "embedding as head", from: "llama3", suspect: "the embedding used as head",
			fault: func(x *snapshot) { x.tensors["lm_head.weight"] = x.tensors["model.embed_tokens.weight"] }},
		{name: "the last rows of the head", from: "llama3", suspect: "padded or added rows at the end", fault: func(x *snapshot) {
			h := x.tensors["lm_head.weight"]
			clear(h.v[len(h.v)-5*60:])
		}},
		{name: "gate and up swapped", from: "mistral", suspect: "swapped, or another activation", fault: func(x *snapshot) {
			x.swap("model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.up_proj.weight")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := model(t, "checkpoints/"+c.from)
			ref, how := recorded(t, "../testdata/expected/"+c.from+"/logits.safetensors")
			x := load(t, m)
			if c.fault != nil {
				c.fault(x)
			}
			m = x.model(t)
			if c.config != nil {
				c.config(m)
			}
			r := compare(t, ref, run(t, m, ref.Tokens, verify.Options{}), verify.CompareOptions{Reference: how, Test: verify.Describe(m, "test", verify.Options{})})
			if r.Pass || r.Class != "A" || len(r.Layers) != 0 {
				t.Fatalf("got class %s, %d layers\n%s", r.Class, len(r.Layers), text(r))
			}
			if r.FirstBad.Row != c.row || !strings.Contains(text(r), c.suspect) {
				t.Errorf("want row %d, suspect %q; got\n%s", c.row, c.suspect, text(r))
			}
		})
	}
}

// each calls f for the tensors whose names contain part.
func (s *snapshot) each(part string, f func(x *stored)) {
	found := false
	for name, x := range s.tensors {
		if strings.Contains(name, part) {
			f(x)
			found = true
		}
	}
	if !found {
		panic("no tensor " + part)
	}
}

func (s *snapshot) scale(part string, by float32) {
	s.each(part, func(x *stored) {
		for i := range x.v {
			x.v[i] *= by
		}
	})
}

func (s *snapshot) add(part string, by float32) {
	s.each(part, func(x *stored) {
		for i := range x.v {
			x.v[i] += by
		}
	})
}

func (s *snapshot) swap(a, b string) { s.tensors[a], s.tensors[b] = s.tensors[b], s.tensors[a] }

// interleave puts rows in the order of llama.cpp's converter: reshape(heads, 2, d/2).swapaxes(1, 2).
func (s *snapshot) interleave(part string, heads int) {
	s.each(part, func(x *stored) {
		rows := int(x.shape[0])
		width, d := len(x.v)/rows, rows/heads
		out := make([]float32, 0, len(x.v))
		for h := range heads {
			for i := range d / 2 {
				for half := range 2 {
					row := h*d + half*d/2 + i
					out = append(out, x.v[row*width:(row+1)*width]...)
				}
			}
		}
		x.v = out
	})
}

func (s *snapshot) swapHalves(name string) {
	v := s.tensors[name].v
	s.tensors[name].v = append(append([]float32{}, v[len(v)/2:]...), v[:len(v)/2]...)
}
