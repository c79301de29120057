package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// stream gives the tokens of JSON text that is in memory, as a json.Decoder does with UseNumber. The decoder sets up a scan for each
// string and makes and drops an error at its end, which is most of the time that a vocabulary takes. The syntax stays the library's:
// what is not a bracket, a plain string or a plain integer goes to json.Unmarshal.
type stream struct {
	b    []byte
	at   int
	open []level
}

// level is an open bracket and the values read in it; the keys of an object count.
type level struct {
	bracket byte // '{' or '['
	values  int
}

// InputOffset is the end of what was read last.
func (s *stream) InputOffset() int64 { return int64(s.at) }

// More reports whether something other than a closing bracket follows.
func (s *stream) More() bool {
	i := s.blanks(s.at)
	return i < len(s.b) && s.b[i] != ']' && s.b[i] != '}'
}

func (s *stream) blanks(i int) int {
	for i < len(s.b) && (s.b[i] == ' ' || s.b[i] == '\n' || s.b[i] == '\r' || s.b[i] == '\t') {
		i++
	}
	return i
}

// Token reads a bracket, a key or a value that is no array or object. It is io.EOF after the end.
func (s *stream) Token() (json.Token, error) {
	i := s.blanks(s.at)
	if n := len(s.open); n > 0 && i < len(s.b) {
		l := s.open[n-1]
		if c := s.b[i]; c == ']' && l.bracket == '[' || c == '}' && l.bracket == '{' && l.values%2 == 0 {
			s.at, s.open = i+1, s.open[:n-1]
			return json.Delim(c), nil
		}
	}
	i, err := s.lead(i)
	if err != nil {
		return nil, err
	}
	if c := s.b[i]; c == '[' || c == '{' {
		s.count()
		s.at, s.open = i+1, append(s.open, level{bracket: c})
		return json.Delim(c), nil
	}
	stop := s.extent(i)
	t, err := scalar(s.b[i:stop])
	if err != nil {
		return nil, err
	}
	s.count()
	s.at = stop
	return t, nil
}

// Decode reads a whole value into dst.
func (s *stream) Decode(dst any) error {
	i, err := s.lead(s.blanks(s.at))
	if err != nil {
		return err
	}
	stop := s.extent(i)
	if err := json.Unmarshal(s.b[i:stop], dst); err != nil {
		return err
	}
	s.count()
	s.at = stop
	return nil
}

// lead passes the comma or colon that must come before a key or value, and gives the place where that starts.
func (s *stream) lead(i int) (int, error) {
	if len(s.open) == 0 {
		if i == len(s.b) {
			return 0, io.EOF
		}
		return i, nil
	}
	l := s.open[len(s.open)-1]
	key := l.bracket == '{' && l.values%2 == 0
	if l.values > 0 && i < len(s.b) {
		want := byte(',')
		if l.bracket == '{' && !key {
			want = ':'
		}
		if s.b[i] != want {
			return 0, unexpected(s.b[i], "want "+string(want))
		}
		i = s.blanks(i + 1)
	}
	if i >= len(s.b) {
		return 0, io.ErrUnexpectedEOF
	}
	if key && s.b[i] != '"' {
		return 0, unexpected(s.b[i], "want a key")
	}
	return i, nil
}

func unexpected(c byte, want string) error { return fmt.Errorf("unexpected %q, %s", c, want) }

func (s *stream) count() {
	if n := len(s.open); n > 0 {
		s.open[n-1].values++
	}
}

// extent is the end of the value at i: of the string, of what brackets enclose, or of a word. It is the end of the text if the value has
// none.
func (s *stream) extent(i int) int {
	depth := 0
	for i < len(s.b) {
		switch c := s.b[i]; {
		case c == '"':
			i = s.quoted(i + 1)
		case c == '[' || c == '{':
			depth++
			i++
		case depth > 0 && (c == ']' || c == '}'):
			depth--
			i++
		case depth > 0:
			i++
			continue
		default:
			i++
			for i < len(s.b) && bytes.IndexByte([]byte("\",:[]{} \t\r\n"), s.b[i]) < 0 {
				i++
			}
		}
		if depth == 0 {
			break
		}
	}
	return i
}

// quoted is the place after the quotation mark that ends a string.
func (s *stream) quoted(i int) int {
	for ; i < len(s.b); i++ {
		switch s.b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s.b)
}

// scalar is the value of a string, a number, a boolean or null.
func scalar(b []byte) (json.Token, error) {
	switch string(b) {
	case "null":
		return nil, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	if n := len(b) - 1; b[0] == '"' {
		if n > 0 && b[n] == '"' && !slices.ContainsFunc(b[1:n], func(c byte) bool { return c < ' ' || c == '"' || c == '\\' }) {
			return string(b[1:n]), nil
		}
		var text string
		err := json.Unmarshal(b, &text)
		return text, err
	}
	if (b[0] != '0' || len(b) == 1) && !slices.ContainsFunc(b, func(c byte) bool { return c < '0' || c > '9' }) {
		return json.Number(b), nil
	}
	var n json.Number
	err := json.Unmarshal(b, &n)
	return n, err
}
