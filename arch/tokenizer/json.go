package tokenizer

import (
	"encoding/json"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
)

const (
	maxRows = 1 << 24 // tokens
	// Steps of a normalizer, pre-tokenizer or post-processor, sequences within sequences counted. Each is parsed anew.
	maxSteps = 100
)

// document is what tokenizer.json says.
type document struct {
	added      []Added
	normalizer json.RawMessage
	pre        json.RawMessage
	post       json.RawMessage
	decoder    json.RawMessage
	model      model
	cuts       bool // has a truncation or padding
}

type model struct {
	kind         string
	vocab        map[string]int32
	merges       [][2]int32
	early        [][2]string // merges that come before the vocabulary
	unk          string
	prefix       string // continuing_subword_prefix
	suffix       string // end_of_word_suffix
	fuseUnk      bool
	byteFallback bool
	ignoreMerges bool
	dropout      bool
}

// reader walks one JSON file as a stream of tokens, so that a vocabulary is never held as a tree.
type reader struct {
	stream
	name string
}

func newReader(name string, b []byte) (*reader, error) {
	if !utf8.Valid(b) {
		return nil, formats.Errorf(formats.UTF8, "not UTF-8").At(name, -1)
	}
	return &reader{stream{b: b}, name}, nil
}

// fail makes an error at the place that was read last.
func (r *reader) fail(code formats.Code, field, format string, args ...any) error {
	return formats.Errorf(code, format, args...).At(r.name, r.InputOffset()).In("", field)
}

func (r *reader) broken(field string, err error) error {
	return r.fail(formats.JSON, field, "%w", err)
}

// delim reads one bracket.
func (r *reader) delim(field string, want json.Delim) error {
	t, err := r.Token()
	if err != nil {
		return r.broken(field, err)
	}
	if t != want {
		return r.fail(formats.BadType, field, "got %s, want %s", kindOf(t), kindOf(want))
	}
	return nil
}

func kindOf(t json.Token) string {
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return "an object"
		}
		if t == '[' {
			return "an array"
		}
		return string(t)
	case nil:
		return "null"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	}
	return "a number"
}

// object calls f for each key; f reads the value. A key twice is an error.
func (r *reader) object(field string, f func(key string) error) error {
	if err := r.delim(field, '{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for r.More() {
		t, err := r.Token()
		if err != nil {
			return r.broken(field, err)
		}
		key := t.(string) // the decoder allows nothing else here
		if seen[key] {
			return r.fail(formats.Dup, field, "key %q twice", key)
		}
		seen[key] = true
		if err := f(key); err != nil {
			return err
		}
	}
	return r.delim(field, '}')
}

// value reads the next value into dst.
func (r *reader) value(field string, dst any) error {
	if err := r.Decode(dst); err != nil {
		if t, ok := err.(*json.UnmarshalTypeError); ok {
			return r.fail(formats.BadType, field, "got %s, want %s", t.Value, t.Type)
		}
		return r.broken(field, err)
	}
	return nil
}

func (r *reader) end() error {
	if t, err := r.Token(); err != io.EOF {
		if err != nil {
			return r.broken("", err)
		}
		return r.fail(formats.Trail, "", "%s after the end", kindOf(t))
	}
	return nil
}

// fields reads a file that is one object of small values.
func fields(name string, b []byte) (map[string]json.RawMessage, error) {
	r, err := newReader(name, b)
	if err != nil {
		return nil, err
	}
	out := map[string]json.RawMessage{}
	err = r.object("", func(key string) error {
		var v json.RawMessage
		err := r.value(key, &v)
		out[key] = v
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, r.end()
}

// parse reads tokenizer.json.
func parse(name string, b []byte) (*document, error) {
	r, err := newReader(name, b)
	if err != nil {
		return nil, err
	}
	d := &document{}
	raw := map[string]*json.RawMessage{"normalizer": &d.normalizer, "pre_tokenizer": &d.pre, "post_processor": &d.post, "decoder": &d.decoder}
	err = r.object("", func(key string) error {
		switch key {
		case "model":
			return r.model(&d.model)
		case "added_tokens":
			var l []addedJSON
			if err := r.value(key, &l); err != nil {
				return err
			}
			for _, a := range l {
				if a.ID < 0 || a.ID >= maxRows {
					return r.fail(formats.Bounds, key, "id of %q is %d", a.Content, a.ID)
				}
				d.added = append(d.added, a.token())
			}
			return nil
		}
		var v json.RawMessage
		if err := r.value(key, &v); err != nil {
			return err
		}
		if dst := raw[key]; dst != nil && string(v) != "null" {
			*dst = v
		}
		d.cuts = d.cuts || (key == "truncation" || key == "padding") && string(v) != "null"
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d, r.end()
}

// addedJSON is an added token as files have it.
type addedJSON struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized *bool  `json:"normalized"` // true for tokens that are not special
	Special    bool   `json:"special"`
}

func (a addedJSON) token() Added {
	normalized := !a.Special
	if a.Normalized != nil {
		normalized = *a.Normalized
	}
	return Added{a.ID, a.Content, a.Special, normalized, a.SingleWord, a.LStrip, a.RStrip}
}

func (r *reader) model(m *model) error {
	text := map[string]*string{"type": &m.kind, "unk_token": &m.unk, "continuing_subword_prefix": &m.prefix, "end_of_word_suffix": &m.suffix}
	flag := map[string]*bool{"fuse_unk": &m.fuseUnk, "byte_fallback": &m.byteFallback, "ignore_merges": &m.ignoreMerges}
	err := r.object("model", func(key string) error {
		field := "model." + key
		switch {
		case key == "vocab" && (m.kind == "" || m.kind == "BPE"):
			return r.vocab(m)
		case key == "merges":
			return r.merges(m)
		case text[key] != nil:
			return r.value(field, text[key]) // null leaves ""
		case flag[key] != nil:
			return r.value(field, flag[key])
		}
		var v json.RawMessage
		if err := r.value(field, &v); err != nil {
			return err
		}
		m.dropout = m.dropout || key == "dropout" && string(v) != "null" && strings.Trim(string(v), "0.") != ""
		return nil
	})
	if err != nil || m.refuse() != nil {
		return err // the caller refuses another kind by name
	}
	for _, pair := range m.early {
		if err := r.merge(m, pair); err != nil {
			return err
		}
	}
	m.early = nil
	return nil
}

// vocab reads an object of ids. Anything else is the vocabulary of another kind of model, to be named by the caller.
func (r *reader) vocab(m *model) error {
	m.vocab = make(map[string]int32, len(r.b)/64) // about what a token and its merge take in the file
	if err := r.delim("model.vocab", '{'); err != nil {
		return err
	}
	for r.More() {
		t, err := r.Token()
		if err != nil {
			return r.broken("model.vocab", err)
		}
		key := t.(string)
		if t, err = r.Token(); err != nil {
			return r.broken("model.vocab", err)
		}
		n, ok := t.(json.Number)
		if !ok {
			return r.fail(formats.BadType, "model.vocab", "id of %q is %s", short(key), kindOf(t))
		}
		id, err := n.Int64()
		if err != nil || id < 0 || id >= maxRows {
			return r.fail(formats.Bounds, "model.vocab", "id of %q is %s", short(key), short(n.String()))
		}
		if _, ok := m.vocab[key]; ok {
			return r.fail(formats.Dup, "model.vocab", "token %q twice", short(key))
		}
		m.vocab[key] = int32(id)
	}
	return r.delim("model.vocab", '}')
}

// merges reads "a b" or ["a", "b"].
func (r *reader) merges(m *model) error {
	const field = "model.merges"
	if err := r.delim(field, '['); err != nil {
		return err
	}
	for r.More() {
		t, err := r.Token()
		if err != nil {
			return r.broken(field, err)
		}
		if s, ok := t.(string); ok {
			a, b, ok := strings.Cut(s, " ")
			if !ok || strings.Contains(b, " ") {
				return r.fail(formats.JSON, field, "merge %d is %q, want two parts", len(m.merges)+len(m.early), short(s))
			}
			if err := r.merge(m, [2]string{a, b}); err != nil {
				return err
			}
			continue
		}
		if t != json.Delim('[') {
			return r.fail(formats.BadType, field, "merge %d is %s", len(m.merges)+len(m.early), kindOf(t))
		}
		var pair [2]string
		for i := range pair {
			t, err := r.Token()
			if err != nil {
				return r.broken(field, err)
			}
			s, ok := t.(string)
			if !ok {
				return r.fail(formats.BadType, field, "part of merge %d is %s", len(m.merges)+len(m.early), kindOf(t))
			}
			pair[i] = s
		}
		if err := r.delim(field, ']'); err != nil {
			return err
		}
		if err := r.merge(m, pair); err != nil {
			return err
		}
	}
	return r.delim(field, ']')
}

// merge keeps a merge as ids, which are an eighth of its text, unless the vocabulary is yet to come.
func (r *reader) merge(m *model, pair [2]string) error {
	if m.vocab == nil {
		m.early = append(m.early, pair)
		return nil
	}
	a, okA := m.vocab[pair[0]]
	b, okB := m.vocab[pair[1]]
	_, okAB := m.vocab[pair[0]+pair[1]]
	if !okA || !okB || !okAB {
		return r.fail(formats.Mismatch, "model.merges", "merge %d of %q and %q names what is no token", len(m.merges), short(pair[0]), short(pair[1]))
	}
	m.merges = append(m.merges, [2]int32{a, b})
	return nil
}
