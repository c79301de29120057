package tokenizer

import (
	"encoding/json"

	"github.com/bowline-ml/bowline/formats"
)

// steps reads a pre-tokenizer, sequences within sequences flattened.
func steps(raw json.RawMessage) ([]Step, error) {
	var out []Step
	for todo, n := []json.RawMessage{raw}, 0; len(todo) > 0; n++ {
		if n > maxSteps {
			return nil, formats.Errorf(formats.Limit, "more than %d steps", maxSteps).In("", "pre_tokenizer")
		}
		raw := todo[0]
		todo = todo[1:]
		if len(raw) == 0 {
			continue
		}
		var s struct {
			Type          string
			Pretokenizers []json.RawMessage
			Pattern       json.RawMessage
			Behavior      string
			Invert        bool
			Individual    bool  `json:"individual_digits"`
			AddPrefix     *bool `json:"add_prefix_space"`
			UseRegex      *bool `json:"use_regex"`
			TrimOffsets   bool  `json:"trim_offsets"`
		}
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, formats.Errorf(formats.JSON, "%w", err).In("", "pre_tokenizer")
		}
		switch s.Type {
		case "Sequence":
			todo = append(append([]json.RawMessage(nil), s.Pretokenizers...), todo...)
		case "Split":
			var p struct{ String, Regex *string }
			if err := json.Unmarshal(s.Pattern, &p); err != nil || (p.String == nil) == (p.Regex == nil) {
				return nil, formats.Errorf(formats.JSON, "pattern is %s", s.Pattern).In("", "pre_tokenizer.pattern")
			}
			step := Step{Kind: s.Type, Behavior: s.Behavior, Invert: s.Invert, Literal: p.Regex == nil}
			if step.Literal {
				step.Pattern = *p.String
			} else {
				step.Pattern = *p.Regex
			}
			out = append(out, step)
		case "Digits":
			out = append(out, Step{Kind: s.Type, Individual: s.Individual})
		case "ByteLevel":
			// The library's defaults for the two flags are true.
			out = append(out, Step{Kind: s.Type, AddPrefix: s.AddPrefix == nil || *s.AddPrefix, UseRegex: s.UseRegex == nil || *s.UseRegex, TrimOffsets: s.TrimOffsets})
		case "Punctuation":
			out = append(out, Step{Kind: s.Type, Behavior: s.Behavior})
		default:
			out = append(out, Step{Kind: s.Type, Unrecognized: string(raw)})
		}
	}
	return out, nil
}

// normalizers reads the names of a normalizer's parts.
func normalizers(raw json.RawMessage) ([]string, error) {
	var out []string
	for todo, count := []json.RawMessage{raw}, 0; len(todo) > 0; count++ {
		if count > maxSteps {
			return nil, formats.Errorf(formats.Limit, "more than %d steps", maxSteps).In("", "normalizer")
		}
		raw := todo[0]
		todo = todo[1:]
		if len(raw) == 0 {
			continue
		}
		var n struct {
			Type        string
			Normalizers []json.RawMessage
		}
		if err := json.Unmarshal(raw, &n); err != nil {
			return nil, formats.Errorf(formats.JSON, "%w", err).In("", "normalizer")
		}
		if n.Type == "Sequence" {
			todo = append(append([]json.RawMessage(nil), n.Normalizers...), todo...)
			continue
		}
		switch n.Type {
		case "NFC", "NFD", "NFKC", "NFKD":
			out = append(out, n.Type)
		default:
			return nil, formats.Errorf(formats.Unsupported, "normalizer is %s", n.Type).In("", "normalizer")
		}
	}
	return out, nil
}

// refuse says what a model is if it is not BPE.
func (m *model) refuse() error {
	switch {
	case m.kind != "" && m.kind != "BPE":
		return formats.Errorf(formats.Unsupported, "got %s, want BPE", m.kind).In("", "model.type")
	case m.prefix != "" || m.suffix != "":
		return formats.Errorf(formats.Unsupported, "got subword marks %q and %q, want none", short(m.prefix), short(m.suffix)).In("", "model.continuing_subword_prefix")
	case m.vocab == nil:
		return formats.Errorf(formats.Missing, "no vocabulary").In("", "model.vocab")
	}
	return nil
}

func boolOf(raw json.RawMessage) *bool {
	var b bool
	if len(raw) == 0 || string(raw) == "null" || json.Unmarshal(raw, &b) != nil {
		return nil
	}
	return &b
}

// contentOf reads a special token of tokenizer_config.json: a string, or an object that has its content.
func contentOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var o struct{ Content string }
	if json.Unmarshal(raw, &o) == nil {
		return o.Content
	}
	return ""
}
