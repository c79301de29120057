package arch

import (
	"math"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// multipliers are Granite's four, with the names of transformers, GGUF and TorchChat, which takes one that is absent for none. llama.cpp does, and
// takes 0 for none too, but insists on that of the logits.
func multipliers() []config.Param {
	one := func(hf, gguf string, to func(*config.Model) *float64) config.Param {
		p := float(hf, gguf, to, 1)
		p.Params = []string{hf}
		return p
	}
	none := func(m *config.Model) { m.AttnScale = formats.Shortest(float32(1 / math.Sqrt(float64(m.HeadDim)))) }
	scores := one("attention_multiplier", "attention.scale", func(m *config.Model) *float64 { return &m.AttnScale })
	scores.GGUFDefault, scores.ParamsDefault = none, none
	embed := one("embedding_multiplier", "embedding_scale", func(m *config.Model) *float64 { return &m.EmbedScale })
	residual := one("residual_multiplier", "residual_scale", func(m *config.Model) *float64 { return &m.ResidualScale })
	logits := needed(one("logits_scaling", "logit_scale", func(m *config.Model) *float64 { return &m.LogitScale }))
	out := []config.Param{scores, embed, residual, logits}
	for i := range out {
		if out[i].ParamsDefault == nil {
			out[i].ParamsDefault = out[i].Default
		}
	}
	return append(out, config.Param{Custom: &config.Custom{FromGGUF: func(_ *formats.Header, _ string, m *config.Model) error {
		if m.AttnScale == 0 {
			none(m)
		}
		for _, p := range []config.Param{embed, residual} {
			if *p.Float(m) == 0 {
				p.Default(m)
			}
		}
		return nil
	}}})
}
