package verify

import (
	"math"
	"strconv"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/jsontext"
)

// ReadJSON reads {"input_ids": [...], "logits": [[...], ...]}: ids, and a row of numbers for each. Other keys are skipped. Bare NaN and Infinity, as
// Python writes them, are errors: a reference that is not finite proves nothing.
func ReadJSON(src string) (*Trace, error) {
	s := jsontext.New("", src, 0)
	t := &Trace{}
	seen := map[string]bool{}
	s.Want('{')
	for first := true; s.More('}', &first); {
		key, at := s.Key()
		if seen[key] {
			s.Fail(formats.Dup, at, "key %q is there twice", formats.Escape(key, 64))
			break
		}
		switch key {
		case "input_ids":
			t.Tokens = []int32{}
			list(s, func() {
				at := s.At
				n, err := strconv.ParseInt(s.Number(), 10, 32)
				if s.Err == nil && (err != nil || n < 0) {
					s.Fail(formats.Bounds, at, "got no token id")
				}
				t.Tokens = append(t.Tokens, int32(n))
			})
		case "logits":
			m := &t.Logits
			list(s, func() {
				at, before := s.At, len(m.F64)
				list(s, func() {
					at := s.At
					v, err := strconv.ParseFloat(s.Number(), 64)
					if s.Err == nil && (err != nil || math.IsInf(v, 0)) {
						s.Fail(formats.Bounds, at, "got a number beyond float64")
					}
					m.F64 = append(m.F64, v)
				})
				if cols := len(m.F64) - before; m.Rows == 0 {
					m.Cols = cols
				} else if s.Err == nil && cols != m.Cols {
					s.Fail(formats.BadShape, at, "got a row of %d values, want %d like the first", cols, m.Cols)
				}
				m.Rows++
			})
		default:
			s.Skip(64)
		}
		seen[key] = true
	}
	s.End()
	switch {
	case s.Err != nil:
		return nil, s.Err
	case t.Logits.Rows == 0 || t.Logits.Cols == 0:
		return nil, formats.Errorf(formats.Missing, "the file holds no logits").In("logits", "")
	case t.Tokens != nil && len(t.Tokens) != t.Logits.Rows:
		return nil, formats.Errorf(formats.BadShape, "got %d ids for %d rows of logits", len(t.Tokens), t.Logits.Rows).In("input_ids", "")
	}
	return t, nil
}

// list reads an array, of which item reads each value.
func list(s *jsontext.Scanner, item func()) {
	s.Want('[')
	for first := true; s.Err == nil && s.More(']', &first); {
		item()
	}
}
