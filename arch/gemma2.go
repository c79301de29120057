package arch

import (
	"errors"
	"math"
	"slices"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// Gemma2 is Gemma2ForCausalLM: Gemma with a norm after each branch too, bounds that scores and logits approach, a scale of the scores that is stated,
// and a window in every other layer.
// Sources: transformers models/gemma2 (configuration_gemma2.py, modeling_gemma2.py); llama.cpp conversion/gemma.py and src/models/gemma2.cpp.
var Gemma2 = Family{
	Name:    "gemma2",
	Classes: []string{"Gemma2ForCausalLM"},
	Types:   map[string]string{"gemma2": "Gemma2ForCausalLM"},
	GGUF:    "gemma2",
	Base:    "model.",
	Params: func(string) []config.Param {
		p := widthFirst(gemma(defaults{MaxPos: 8192, KVHeads: 4, HeadDim: 256}, 8, 256_000, text("hidden_activation", "", act, "gelu_pytorch_tanh")))
		p = behind(p, "general.file_type", capped("attn_logit_softcapping", attnCap, 50), capped("final_logit_softcapping", logitCap, 30), alternating(2, ""))
		return append(p, attentionBias, causal, queryScalar(46))
	},
	Layouts: map[Scheme]Layout{HF: {Rope: Half, Window: true, NormShift: 1}, GGUF: {Rope: Half, Window: true}},
	Tensors: hub(slices.Concat(
		[]Tensor{embedding(names("model.embed_tokens.weight", "token_embd.weight", ""))},
		attentionNorm, attention(attnBias), fourNorms, gatedMLP(never),
		[]Tensor{finalNorm, head},
	)),
	Fused: fusedQKV[:2:2],
	Ties:  gemmaTies(Forbidden),
	Drop:  map[Scheme][]string{HF: Llama.Drop[HF]},
	Check: func(m *config.Model, s Scheme) error {
		errs := []error{gemmaCheck(m, s), hardScale(m, s, 46)}
		for key, v := range map[string]float64{"attn_logit_softcapping": m.AttnCap, "final_logit_softcapping": m.LogitCap} {
			if s == GGUF && v == 0 {
				errs = append(errs, formats.Errorf(formats.Unsupported, "got none: llama.cpp divides by it always").In("", key))
			}
		}
		return errors.Join(errs...)
	},
}

// fourNorms are the norms of a layer but for the first: HF's post_attention_layernorm comes after attention here, where Llama's comes before the MLP.
var fourNorms = []Tensor{
	{Role: "post_attention_norm.weight", Kind: Norm, Shape: []Dim{Hidden}, Name: names("model.layers.{i}.post_attention_layernorm.weight", "blk.{i}.post_attention_norm.weight", "")},
	{Role: "ffn_norm.weight", Kind: Norm, Shape: []Dim{Hidden}, Name: names("model.layers.{i}.pre_feedforward_layernorm.weight", "blk.{i}.ffn_norm.weight", "")},
	{Role: "post_ffw_norm.weight", Kind: Norm, Shape: []Dim{Hidden}, Name: names("model.layers.{i}.post_feedforward_layernorm.weight", "blk.{i}.post_ffw_norm.weight", "")},
}

func attnCap(m *config.Model) *float64  { return &m.AttnCap }
func logitCap(m *config.Model) *float64 { return &m.LogitCap }

// capped is a bound, which null says there is none of.
func capped(key string, to func(*config.Model) *float64, absent float64) config.Param {
	p := float(key, key, to, absent)
	p.Null = func(m *config.Model) { *to(m) = 0 }
	p.OmitHF = func(m *config.Model) bool { return *to(m) == 0 }
	p.OmitGGUF = p.OmitHF
	return p
}

// hardwired is the scalar that llama.cpp takes whatever a file says: the size of a head, or the width for each head in the model that has so many
// layers. Source: src/models/gemma2.cpp and gemma3.cpp, load_arch_hparams.
func hardwired(m *config.Model, layers int64) int64 {
	if m.Layers == layers && m.Heads > 0 {
		return m.Hidden / m.Heads
	}
	return m.HeadDim
}

// queryScalar is query_pre_attn_scalar: scores are divided by its square root.
func queryScalar(layers int64) config.Param {
	const key = "query_pre_attn_scalar"
	return config.Param{Custom: &config.Custom{
		FromHF: func(d *config.Doc, m *config.Model) error {
			v, ok, err := d.Float(key)
			if !ok && err == nil {
				v = 256
			}
			if err == nil && (!(v > 0) || math.IsInf(v, 0)) {
				err = formats.Errorf(formats.Bounds, "got %v, want a positive number", v).At(d.Path, -1).In("", key)
			}
			m.AttnScale = 1 / math.Sqrt(v)
			return err
		},
		FromGGUF: func(_ *formats.Header, _ string, m *config.Model) error {
			m.AttnScale = 1 / math.Sqrt(float64(hardwired(m, layers)))
			return nil
		},
		ToHF: func(m *config.Model) map[string]string { return map[string]string{key: itoa(hardwired(m, layers))} },
	}}
}

// hardScale refuses for GGUF a scale that llama.cpp would replace by its own.
func hardScale(m *config.Model, s Scheme, layers int64) error {
	own := hardwired(m, layers)
	if s != GGUF || float32(m.AttnScale) == float32(1/math.Sqrt(float64(own))) {
		return nil
	}
	return formats.Errorf(formats.Unsupported, "got %.6g: llama.cpp computes with %d, whatever a file says", 1/(m.AttnScale*m.AttnScale), own).In("", "query_pre_attn_scalar")
}
