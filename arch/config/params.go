package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// IsParams reports whether a document is a params.json, of Meta's files or TorchChat's, and no config.json.
func IsParams(d *Doc) bool {
	return d.Has("dim") && d.Has("n_layers") && !d.Has("model_type") && !d.Has("architectures")
}

// ParamsTie is where params.json declares the tie.
const ParamsTie = "params.json: tie_word_embeddings"

// Keys of params.json that no Param stands for: what is read below, and what says nothing about the numbers.
var (
	paramsRead = []string{"rope_base", "rope_theta", "rope_scaling", "use_scaled_rope", "rope_scaling_factor", "low_freq_factor", "high_freq_factor",
		"tie_word_embeddings", "multiple_of", "ffn_dim_multiplier", "head_dim"}
	paramsIdle = []string{"max_seq_length", "use_tiktoken", "use_hf_tokenizer", "tokenizer_prepend_bos", "max_batch_size", "max_seq_len", "model_parallel_size"}
	// paramsMatter change what is computed or what is stored.
	paramsMatter = []string{"embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling", "quantization_args", "lora_args",
		"moe_args", "moe", "vision_chunk_size", "vision_args", "use_qk_norm", "attention_chunk_size", "nope_layer_interval", "n_stages", "stage_idx", "sliding_window"}
)

// idle are values that change nothing.
var idle = map[string][]string{"n_stages": {"1"}, "stage_idx": {"0"}, "embedding_multiplier": {"1", "1.0"}, "residual_multiplier": {"1", "1.0"}, "logits_scaling": {"1", "1.0"}}

// FromParams reads the parameters from params.json: TorchChat's TransformerArgs, or what Meta publishes beside its weights, which says the same
// under other names. The vocabulary may be left to the weights. All problems come together.
// Sources: TorchChat torchchat/model.py, TransformerArgs; Meta llama_models/llama3/args.py.
func FromParams(h *formats.Header, d *Doc, params []Param) (*Model, error) {
	m := &Model{Rope: Rope{Type: "default", Theta: 10000}}
	var errs []error
	keep := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	known := slices.Concat(paramsRead, paramsIdle)
	for _, p := range params {
		known = append(known, p.Params...)
		switch {
		case len(p.Params) > 0:
			keep(p.readParams(d, m))
		case p.Default != nil:
			p.Default(m)
		}
	}
	if m.FFN == 0 {
		m.FFN = m.impliedFFN(d, keep)
	}
	if v, ok, _ := d.Int("vocab_size"); !ok || v < 0 {
		if t := h.Tensor("tok_embeddings.weight"); t != nil && len(t.Shape) == 2 {
			m.Vocab = t.Shape[0]
		}
	}
	if v, ok, err := d.Int("head_dim"); err != nil {
		keep(err)
	} else if ok && v != m.HeadDim { // TorchChat does not read it; Mistral's own files mean it
		m.Unread = append(m.Unread, formats.KV{Key: "head_dim", Value: v})
	}
	keep(m.paramsRope(d))
	v, ok, err := d.Bool("tie_word_embeddings")
	keep(err)
	if ok {
		m.Tie = append(m.Tie, Declared{Path: ParamsTie, Value: v, Explicit: true})
	}
	for _, k := range d.Keys() {
		switch {
		case slices.Contains(known, k) || d.Null(k):
		case slices.Contains(paramsMatter, k):
			if raw := d.Raw(k); !slices.Contains(idle[k], raw) && raw != "false" {
				m.Unread = append(m.Unread, formats.KV{Key: k, Value: raw})
			}
		default:
			m.note(d.Path, "key "+formats.Escape(k, 80)+" is not read", "it is unknown; TorchChat refuses a file that has it")
		}
	}
	return m, errors.Join(errs...)
}

// readParams reads a parameter whose first key present counts. -1 is how the two programs say "not stated".
func (p Param) readParams(d *Doc, m *Model) error {
	if !slices.ContainsFunc(p.Params, func(k string) bool { return d.Has(k) && d.Raw(k) != "-1" }) {
		if p.ParamsDefault == nil {
			return formats.Errorf(formats.Missing, "the key is absent").At(d.Path, -1).In("", p.Params[0])
		}
		p.ParamsDefault(m)
		return nil
	}
	q := p
	q.HF, q.Null, q.Default = nil, nil, p.ParamsDefault
	for _, k := range p.Params {
		if d.Raw(k) != "-1" {
			q.HF = append(q.HF, k)
		}
	}
	return q.readHF(d, m)
}

// impliedFFN is the width of the MLP where params.json does not state it: two thirds of four times the model's, times the multiplier, rounded
// up. Source: TorchChat torchchat/model.py, TransformerArgs.__post_init__, which cuts to integers where this does.
func (m *Model) impliedFFN(d *Doc, keep func(error)) int64 {
	multiple := int64(256)
	if v, ok, err := d.Int("multiple_of"); err != nil {
		keep(err)
	} else if ok {
		multiple = v
	}
	if multiple <= 0 || multiple > math.MaxInt32 {
		keep(formats.Errorf(formats.Bounds, "got %d, want a positive number", multiple).At(d.Path, -1).In("", "multiple_of"))
		return 0
	}
	n := 2 * (4 * m.Hidden) / 3
	if v, ok, err := d.Float("ffn_dim_multiplier"); err != nil {
		keep(err)
	} else if ok {
		f := v * float64(n)
		if !(f >= 0 && f <= math.MaxInt32) {
			keep(formats.Errorf(formats.Bounds, "got %v, want a positive number", v).At(d.Path, -1).In("", "ffn_dim_multiplier"))
			return 0
		}
		n = int64(f)
	}
	return (n + multiple - 1) / multiple * multiple
}

// paramsRope reads the position encoding. Meta's use_scaled_rope names no factor: 8 for Llama 3.1, 32 for 3.2.
func (m *Model) paramsRope(d *Doc) error {
	r := &m.Rope
	var errs []error
	float := func(to *float64, path ...string) (ok bool) {
		v, ok, err := d.Float(path...)
		if err != nil {
			errs = append(errs, err)
		} else if ok {
			*to = v
		}
		return ok
	}
	if !float(&r.Theta, "rope_base") {
		float(&r.Theta, "rope_theta")
	}
	if !(r.Theta > 0) || math.IsInf(r.Theta, 0) {
		errs = append(errs, formats.Errorf(formats.Bounds, "got %v, want a positive number", r.Theta).At(d.Path, -1).In("", "rope_base"))
	}
	missing := func(key, of string) {
		errs = append(errs, formats.Errorf(formats.Missing, "the key is absent, and %s needs it", of).At(d.Path, -1).In("", key))
	}
	scaled, _, err := d.Bool("use_scaled_rope")
	if err != nil {
		errs = append(errs, err)
	}
	switch {
	case d.Has("rope_scaling"):
		if !d.IsObject("rope_scaling") {
			return formats.Errorf(formats.BadType, "got %s, want an object or null", d.Raw("rope_scaling")).At(d.Path, -1).In("", "rope_scaling")
		}
		r.Type = "llama3"
		for key, to := range map[string]*float64{"factor": &r.Factor, "low_freq_factor": &r.Low, "high_freq_factor": &r.High} {
			if !float(to, "rope_scaling", key) {
				missing("rope_scaling."+key, "rope_scaling")
			}
		}
		v, ok, err := d.Int("rope_scaling", "original_max_position_embeddings")
		if err != nil {
			errs = append(errs, err)
		} else if !ok {
			missing("rope_scaling.original_max_position_embeddings", "rope_scaling")
		}
		r.Original = v
		for _, key := range []string{"rope_type", "type"} {
			if kind, ok, _ := d.Str("rope_scaling", key); ok && kind != "llama3" {
				m.note(d.Path, "rope_scaling."+key+" "+formats.Escape(kind, 80)+" is not read", "TorchChat scales as llama3 whatever it says")
			}
		}
	case scaled:
		r.Type, r.Low, r.High, r.Original = "llama3", 1, 4, 8192
		float(&r.Low, "low_freq_factor")
		float(&r.High, "high_freq_factor")
		if !float(&r.Factor, "rope_scaling_factor") {
			e := formats.Errorf(formats.Missing, "the key is absent, and use_scaled_rope does not say by how much").At(d.Path, -1).In("", "rope_scaling_factor")
			errs = append(errs, e.Hinted("name the model's config.json with --config, or state it: 8 for Llama 3.1, 32 for Llama 3.2"))
		}
	}
	return errors.Join(errs...)
}

// Disagree lists what params.json, read into other, says differently from m.
func Disagree(m, other *Model, d *Doc, params []Param) []*formats.Error {
	var out []*formats.Error
	bad := func(key string, got, want any) {
		out = append(out, formats.Errorf(formats.Mismatch, "got %v, and config.json says %v", got, want).At(d.Path, -1).In("", key))
	}
	for _, p := range params {
		switch {
		case len(p.Params) == 0 || !slices.ContainsFunc(p.Params, func(k string) bool { return d.Has(k) }) && !slices.Contains(paramsMatter, p.Params[0]):
		case p.Int != nil && *p.Int(m) != *p.Int(other):
			bad(p.Params[0], *p.Int(other), *p.Int(m))
		case p.Float != nil && *p.Float(m) != *p.Float(other):
			bad(p.Params[0], *p.Float(other), *p.Float(m))
		case p.Bool != nil && *p.Bool(m) != *p.Bool(other):
			bad(p.Params[0], *p.Bool(other), *p.Bool(m))
		}
	}
	if a, b := m.Rope, other.Rope; a.Type != b.Type || a.Theta != b.Theta || a.Type != "default" && (a.Factor != b.Factor || a.Low != b.Low || a.High != b.High || a.Original != b.Original) {
		bad("rope_base and rope_scaling", fmt.Sprintf("%s, base %v", b.Type, b.Theta), fmt.Sprintf("%s, base %v", a.Type, a.Theta))
	}
	return out
}

// Runtime is what TorchChat's params.json says that is no parameter of the model.
type Runtime struct {
	HFTokenizer bool // tokenizer.json, not tokenizer.model
	Tiktoken    bool // tokenizer.model is tiktoken's, not SentencePiece's
	PrependsBOS bool
	Found       bool // there is a tokenizer
}

// paramsOrder is the order in which ToParams writes.
var paramsOrder = []string{"block_size", "vocab_size", "n_layers", "n_heads", "n_local_heads", "dim", "hidden_dim", "rope_base", "norm_eps", "max_seq_length",
	"rope_scaling", "use_tiktoken", "use_hf_tokenizer", "tokenizer_prepend_bos", "attention_bias", "feed_forward_bias", "tie_word_embeddings",
	"embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling"} // the last four of Granite alone

// maxSeqLength is TorchChat's default: longer caches are the user's choice.
const maxSeqLength = 8192

// ToParams writes TorchChat's params.json. TransformerArgs takes no key that it does not know, so there are no others.
func (m *Model) ToParams(params []Param, r Runtime, tied bool) []byte {
	kv := map[string]string{
		"rope_base": Number(m.Rope.Theta), "max_seq_length": strconv.FormatInt(min(maxSeqLength, m.MaxPos), 10), "rope_scaling": "null",
		"use_tiktoken": strconv.FormatBool(r.Tiktoken), "use_hf_tokenizer": strconv.FormatBool(r.HFTokenizer), "tokenizer_prepend_bos": strconv.FormatBool(r.PrependsBOS),
		"tie_word_embeddings": strconv.FormatBool(tied),
		"attention_bias":      "false", "feed_forward_bias": "false", // of classes that have none
	}
	if m.Rope.Type == "llama3" {
		kv["rope_scaling"] = fmt.Sprintf("{\n    \"factor\": %s,\n    \"low_freq_factor\": %s,\n    \"high_freq_factor\": %s,\n    \"original_max_position_embeddings\": %d\n  }",
			Number(m.Rope.Factor), Number(m.Rope.Low), Number(m.Rope.High), m.Rope.Original)
	}
	for _, p := range params {
		if len(p.Params) > 0 {
			kv[p.Params[0]] = p.text(m)
		}
	}
	var lines []string
	for _, k := range paramsOrder {
		if kv[k] != "" {
			lines = append(lines, fmt.Sprintf("  %s: %s", Quote(k), kv[k]))
		}
	}
	return []byte("{\n" + strings.Join(lines, ",\n") + "\n}\n")
}

// text is the value in JSON.
func (p Param) text(m *Model) string {
	switch {
	case p.Int != nil:
		return strconv.FormatInt(*p.Int(m), 10)
	case p.Float != nil:
		return Number(*p.Float(m))
	case p.Bool != nil:
		return strconv.FormatBool(*p.Bool(m))
	}
	return Quote(*p.Str(m))
}
