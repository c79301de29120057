package arch

import (
	"errors"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// What GPT-2 and its descendants have in common: rows of tables, parameters, and what they refuse.

// QKVRows is the rows of query, key and value together.
func QKVRows(m *config.Model) int64 { return QRows(m) + 2*KVRows(m) }

// gptRows are the rows of GPT-2 and what descends from it, in HF's names without more before them than the base.
func gptRows(qkv Dim) []Tensor {
	out := []Tensor{
		{Role: "token_embd.weight", Kind: Embedding, Shape: []Dim{Vocab, Hidden}, Name: names("transformer.wte.weight", "token_embd.weight", "")},
		{Role: "position_embd.weight", Kind: Position, Shape: []Dim{MaxPos, Hidden}, Name: names("transformer.wpe.weight", "position_embd.weight", "")},
	}
	for _, x := range []struct {
		role, hf  string
		kind      Kind
		rows, col Dim
	}{
		{"attn_norm", "ln_1", Norm, Hidden, nil}, {"attn_qkv", "attn.c_attn", Linear, qkv, Hidden}, {"attn_output", "attn.c_proj", Linear, Hidden, QRows},
		{"ffn_norm", "ln_2", Norm, Hidden, nil}, {"ffn_up", "mlp.c_fc", Linear, FFN, Hidden}, {"ffn_down", "mlp.c_proj", Linear, Hidden, FFN},
	} {
		w := Tensor{Role: x.role + ".weight", Kind: x.kind, Shape: []Dim{x.rows}, Name: names("transformer.h.{i}."+x.hf+".weight", "blk.{i}."+x.role+".weight", "")}
		if x.col != nil {
			w.Shape = append(w.Shape, x.col)
		}
		out = append(out, w, Tensor{Role: x.role + ".bias", Kind: Bias, Shape: []Dim{x.rows}, Name: names("transformer.h.{i}."+x.hf+".bias", "blk.{i}."+x.role+".bias", "")})
	}
	return hub(append(out,
		Tensor{Role: "output_norm.weight", Kind: Norm, Shape: []Dim{Hidden}, Name: names("transformer.ln_f.weight", "output_norm.weight", "")},
		Tensor{Role: "output_norm.bias", Kind: Bias, Shape: []Dim{Hidden}, Name: names("transformer.ln_f.bias", "output_norm.bias", "")},
		Tensor{Role: "output.weight", Kind: Head, Shape: []Dim{Vocab, Hidden}, Name: names("lm_head.weight", "output.weight", "")}))
}

// blocked is a table in which GGUF has the rows of one role, and of its bias, in other blocks.
func blocked(t []Tensor, role string, f func(*config.Model) (outer, inner int64)) []Tensor {
	for i := range t {
		if t[i].Role == role+".weight" || t[i].Role == role+".bias" {
			t[i].Blocks = map[Scheme]func(*config.Model) (int64, int64){GGUF: f}
		}
	}
	return t
}

// MaxPos is how many positions are learned.
func MaxPos(m *config.Model) int64 { return m.MaxPos }

// gptFFN is n_inner, which is four times the width where it is null.
var gptFFN = config.Param{HF: []string{"n_inner"}, GGUF: "feed_forward_length", Int: ffn, Default: fourfold, Null: fourfold}

func fourfold(m *config.Model) { m.FFN = 4 * m.Hidden }

// gptHeads is what follows from the number of heads.
var gptHeads = config.Param{Custom: &config.Custom{
	FromHF:   func(_ *config.Doc, m *config.Model) error { headsOf(m); return nil },
	FromGGUF: func(_ *formats.Header, _ string, m *config.Model) error { headsOf(m); return nil },
}}

func headsOf(m *config.Model) {
	eachHead(m)
	if m.KVHeads = m.Heads; m.MultiQuery {
		m.KVHeads = 1
	}
}

// vocabulary is the number of tokens, which a GGUF file says with the rows of its embedding.
func vocabulary(absent int64) config.Param {
	p := integer("vocab_size", "", vocab, absent)
	p.FromHeader = func(h *formats.Header, m *config.Model) bool {
		if t := h.Tensor("token_embd.weight"); t != nil && len(t.Shape) == 2 {
			m.Vocab = t.Shape[0]
		}
		return true
	}
	return p
}

// noScale reads what GPT-2 and its kin call no scaling of scores.
func noScale(d *config.Doc, m *config.Model) error {
	v, ok, err := d.Bool("scale_attn_weights")
	if ok && !v {
		m.AttnScale = 1
	}
	return err
}

// unreadKeys refuses keys of a GGUF file that change what is computed and that nobody reads.
func unreadKeys(m *config.Model) error {
	var errs []error
	for _, kv := range m.Unread {
		errs = append(errs, formats.Errorf(formats.Unsupported, "got %v: the key changes what is computed, and this tool does not know how", kv.Value).In("", kv.Key))
	}
	return errors.Join(errs...)
}

// tanhGelu refuses what is not computed: another activation, which of llama.cpp's is the tanh form, and scores without a scale there.
func tanhGelu(m *config.Model, s Scheme) error {
	switch m.Act {
	case "gelu_pytorch_tanh", "gelu_new":
	case "gelu", "relu":
		if s == GGUF {
			return formats.Errorf(formats.Unsupported, "got activation %q: the GGUF architecture computes gelu by tanh", m.Act).In("", "activation_function")
		}
	default:
		return formats.Errorf(formats.Unsupported, "got activation %q, want gelu_pytorch_tanh, gelu_new, gelu or relu", m.Act).In("", "activation_function")
	}
	if s == GGUF && m.AttnScale != 0 {
		return formats.Errorf(formats.Unsupported, "got false: the GGUF architecture always scales").In("", "scale_attn_weights")
	}
	return nil
}

// wholeHeads refuses a width that is no multiple of the heads.
func wholeHeads(m *config.Model) error {
	if m.Heads == 0 || m.HeadDim == 0 || m.Heads*m.HeadDim != m.Hidden {
		return formats.Errorf(formats.BadShape, "got %d heads in a width of %d, want a multiple", m.Heads, m.Hidden).In("", "n_head")
	}
	return nil
}
