package verify

import (
	"math"
	"slices"
)

// experts are the weights of a mixture: of each expert gate [F, H], up [F, H] and down [H, F].
type experts struct {
	router         *weight // [E, H]
	gate, up, down []*weight
	used           int // by each token
	act            string
}

// mixture finds the experts of a layer.
func (w *weights) mixture(i int64) experts {
	return experts{
		router: w.find("ffn_gate_inp.weight", i), gate: w.experts("ffn_gate_exps.weight", i), up: w.experts("ffn_up_exps.weight", i), down: w.experts("ffn_down_exps.weight", i),
		used: int(w.m.Config.ExpertsUsed), act: w.m.Config.Act,
	}
}

// mix sends each row of x [T, H] to the experts that the router gives the highest scores, and sums what they make of it, weighed by the softmax
// of those scores: [T, H]. Each expert's weights are read once. Of equal scores the lower expert's counts. Softmax over all and dividing by the
// sum of those chosen, as Mixtral does it, is the same. Source: transformers modeling_granitemoe.py, modeling_mixtral.py.
func (p *pass) mix(x []float64, e experts) []float64 {
	n := len(e.gate)
	p.fact("experts used", float64(e.used))
	p.fact("activation of -1", activations[e.act](-1))
	H := len(x) / p.T
	scores := p.linear(x, e.router, nil) // [T, E]
	out := make([]float64, len(x))
	if p.err != nil {
		return out
	}
	tokens := make([][]int, n)    // of each expert
	share := make([][]float64, n) // and what each is multiplied by
	for t := range p.T {
		row := scores[t*n : (t+1)*n]
		order := make([]int, n)
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int {
			switch {
			case row[a] > row[b]:
				return -1
			case row[a] < row[b]:
				return 1
			}
			return 0
		})
		order = order[:min(e.used, n)]
		sum := 0.0
		for _, k := range order {
			sum += math.Exp(row[k] - row[order[0]])
		}
		for _, k := range order {
			tokens[k] = append(tokens[k], t)
			share[k] = append(share[k], p.store(math.Exp(row[k]-row[order[0]])/sum))
		}
	}
	for k := range n {
		if len(tokens[k]) == 0 {
			continue
		}
		part := *p
		part.T, part.probe, part.facts = len(tokens[k]), nil, nil
		var rows []float64
		for _, t := range tokens[k] {
			rows = append(rows, x[t*H:(t+1)*H]...)
		}
		y := part.linear(part.act(e.act, part.linear(rows, e.gate[k], nil), part.linear(rows, e.up[k], nil)), e.down[k], nil)
		if p.err = part.err; p.err != nil {
			return out
		}
		for i, t := range tokens[k] {
			for j, v := range y[i*H : (i+1)*H] {
				out[t*H+j] = p.store(out[t*H+j] + p.store(v*share[k][i]))
			}
		}
	}
	p.step("experts", e.down[0].name, out)
	return out
}
