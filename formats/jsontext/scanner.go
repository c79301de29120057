// Package jsontext reads the JSON of model files: strictly, with an offset for every complaint.
package jsontext

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
)

// maxDepth is how deep the JSON may nest; serde_json, which reads the reference's headers, stops at the same depth.
const maxDepth = 128

// Scanner reads JSON strictly, in one pass and without recursion. The standard decoder is of no use here: it takes the last of two
// equal names, folds the case of keys and replaces bad UTF-8, so that two different files read as one.
//
// The first error in the syntax sticks: every later call does nothing. Names without escapes are substrings of Src.
type Scanner struct {
	Src  string
	At   int   // the cursor in Src
	Base int64 // offset of Src[0] in the file
	Path string
	// Tensor and Field say where the scanner is, for errors.
	Tensor, Field string

	Err *formats.Error
}

// New checks what concerns the text as a whole: it is UTF-8, without a byte order mark.
func New(path, src string, base int64) *Scanner {
	s := &Scanner{Src: src, Base: base, Path: path}
	if i := invalidUTF8(src); i >= 0 {
		s.Fail(formats.UTF8, i, "got byte 0x%02x, want UTF-8", src[i])
	} else if strings.HasPrefix(src, "\ufeff") {
		s.Fail(formats.UTF8, 0, "got a byte order mark, want JSON")
	}
	return s
}

// invalidUTF8 is the offset of the first byte that is not UTF-8, or -1.
func invalidUTF8(src string) int {
	if utf8.ValidString(src) {
		return -1
	}
	for i, r := range src {
		if r == utf8.RuneError {
			if _, w := utf8.DecodeRuneInString(src[i:]); w == 1 {
				return i
			}
		}
	}
	return -1
}

// Problem is an error at an offset of Src, in the tensor and field that are being read.
func (s *Scanner) Problem(code formats.Code, at int, format string, args ...any) *formats.Error {
	return formats.Errorf(code, format, args...).At(s.Path, s.Base+int64(at)).In(s.Tensor, s.Field)
}

// Fail ends the scan.
func (s *Scanner) Fail(code formats.Code, at int, format string, args ...any) {
	if s.Err == nil {
		s.Err = s.Problem(code, at, format, args...)
	}
	s.At = len(s.Src)
}

// Got says what stands at the cursor, for messages.
func (s *Scanner) Got() string {
	if s.At >= len(s.Src) {
		return "the end"
	}
	r, _ := utf8.DecodeRuneInString(s.Src[s.At:])
	return strconv.QuoteRune(r)
}

// Peek skips white space and gives the next byte, 0 at the end. (A byte 0 is no token either.)
func (s *Scanner) Peek() byte {
	for s.At < len(s.Src) {
		switch c := s.Src[s.At]; c {
		case ' ', '\t', '\n', '\r':
			s.At++
		default:
			return c
		}
	}
	return 0
}

// Want consumes one byte of punctuation.
func (s *Scanner) Want(c byte) {
	if s.Err != nil {
		return
	}
	if s.Peek() != c {
		s.Fail(formats.JSON, s.At, "got %s, want %q", s.Got(), c)
		return
	}
	s.At++
}

// More steps through an object or array whose opening bracket is consumed: it reports whether an element follows, and consumes
// the comma before it or the closing bracket. first is set by the caller and cleared here.
func (s *Scanner) More(end byte, first *bool) bool {
	if s.Err != nil {
		return false
	}
	c := s.Peek()
	if c == end {
		s.At++
		return false
	}
	if !*first {
		if c != ',' {
			s.Fail(formats.JSON, s.At, "got %s, want \",\" or %q", s.Got(), end)
			return false
		}
		s.At++
		if s.Peek() == end {
			s.Fail(formats.JSON, s.At, "got %s after a comma", s.Got())
			return false
		}
	}
	*first = false
	return s.Err == nil
}

// Key reads a name and its colon, and gives the offset where the name starts.
func (s *Scanner) Key() (name string, at int) {
	s.Peek()
	at = s.At
	name = s.Str()
	s.Want(':')
	return name, at
}

// End checks that nothing but white space is left.
func (s *Scanner) End() {
	if s.Err != nil {
		return
	}
	if s.Peek(); s.At == len(s.Src) {
		return
	}
	at := s.At
	if strings.Trim(s.Src[at:], "\x00") == "" {
		s.Fail(formats.JSON, at, "got %d NUL bytes after the JSON", len(s.Src)-at)
		s.Err = s.Err.Hinted("NUL padding: the format pads with spaces")
		return
	}
	s.Fail(formats.JSON, at, "got %s after the JSON, want spaces", s.Got())
}

// Str reads a string.
func (s *Scanner) Str() string {
	s.Want('"')
	if s.Err != nil {
		return ""
	}
	start := s.At
	n := strings.IndexByte(s.Src[start:], '"')
	if n < 0 {
		s.Fail(formats.JSON, start-1, "a string that does not end")
		return ""
	}
	for k := start; k < start+n; k++ {
		switch c := s.Src[k]; {
		case c == '\\':
			return s.escaped(start, k, n)
		case c < 0x20:
			s.Fail(formats.JSON, k, "got control character 0x%02x in a string, want it escaped", c)
			return ""
		}
	}
	s.At = start + n + 1
	return s.Src[start : start+n]
}

// escaped finishes a string that started at start, has its first backslash at k, and n bytes before the next quote, escaped or not.
func (s *Scanner) escaped(start, k, n int) string {
	out := append(make([]byte, 0, n), s.Src[start:k]...)
	for k < len(s.Src) {
		c := s.Src[k]
		switch {
		case c == '"':
			s.At = k + 1
			return string(out)
		case c < 0x20:
			s.Fail(formats.JSON, k, "got control character 0x%02x in a string, want it escaped", c)
			return ""
		case c != '\\':
			out = append(out, c)
			k++
			continue
		}
		if k+1 >= len(s.Src) {
			break
		}
		if e := strings.IndexByte(`"\/bfnrt`, s.Src[k+1]); e >= 0 {
			out = append(out, "\"\\/\b\f\n\r\t"[e])
			k += 2
			continue
		}
		r, ok := s.hex4(k)
		if !ok {
			s.Fail(formats.JSON, k, "got an unknown escape in a string")
			return ""
		}
		w := 6
		if utf16.IsSurrogate(r) {
			low, ok := s.hex4(k + 6)
			r = utf16.DecodeRune(r, low)
			if !ok || r == utf8.RuneError {
				s.Fail(formats.UTF8, k, "got half of a surrogate pair")
				return ""
			}
			w = 12
		}
		out = utf8.AppendRune(out, r)
		k += w
	}
	s.Fail(formats.JSON, start-1, "a string that does not end")
	return ""
}

// hex4 reads \uXXXX at k.
func (s *Scanner) hex4(k int) (rune, bool) {
	if k+6 > len(s.Src) || s.Src[k] != '\\' || s.Src[k+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s.Src[k+2 : k+6]) {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// Number reads a JSON number and gives its text.
func (s *Scanner) Number() string {
	s.Peek()
	start := s.At
	if s.At < len(s.Src) && s.Src[s.At] == '-' {
		s.At++
	}
	zero := s.At < len(s.Src) && s.Src[s.At] == '0'
	if n := s.digits(); n == 0 || zero && n > 1 {
		s.Fail(formats.JSON, start, "got a malformed number")
		return ""
	}
	if s.At < len(s.Src) && s.Src[s.At] == '.' {
		s.At++
		if s.digits() == 0 {
			s.Fail(formats.JSON, start, "got a malformed number")
			return ""
		}
	}
	if s.At < len(s.Src) && s.Src[s.At]|0x20 == 'e' {
		s.At++
		if s.At < len(s.Src) && (s.Src[s.At] == '+' || s.Src[s.At] == '-') {
			s.At++
		}
		if s.digits() == 0 {
			s.Fail(formats.JSON, start, "got a malformed number")
			return ""
		}
	}
	return s.Src[start:s.At]
}

func (s *Scanner) digits() int {
	start := s.At
	for s.At < len(s.Src) && s.Src[s.At] >= '0' && s.Src[s.At] <= '9' {
		s.At++
	}
	return s.At - start
}

// IsValue reports whether a byte can start a JSON value; the others are errors of syntax.
func IsValue(c byte) bool {
	switch c {
	case '{', '[', '"', 't', 'f', 'n', '-':
		return true
	}
	return c >= '0' && c <= '9'
}

// Kind names the value that starts with c, for messages.
func Kind(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// Skip consumes any value. Its brackets are kept on a stack of fixed size, depth is that of the value's parent.
func (s *Scanner) Skip(depth int) {
	var stack [maxDepth]byte
	n := depth
	first := true
	for s.Err == nil {
		if n > depth {
			if !s.More(stack[n-1], &first) {
				n--
				first = false
				if n == depth {
					return
				}
				continue
			}
			if stack[n-1] == '}' {
				s.Key()
			}
		}
		switch c := s.Peek(); {
		case s.Err != nil:
		case c == '{' || c == '[':
			if n == maxDepth {
				s.Fail(formats.Limit, s.At, "JSON nests deeper than %d", maxDepth)
				return
			}
			s.At++
			stack[n] = c + 2 // '[' + 2 is ']', '{' + 2 is '}'
			n++
			first = true
			continue
		case c == '"':
			s.Str()
		case c == '-' || c >= '0' && c <= '9':
			s.Number()
		default:
			s.literal()
		}
		if n == depth {
			return
		}
	}
}

func (s *Scanner) literal() {
	for _, l := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(s.Src[s.At:], l) {
			s.At += len(l)
			return
		}
	}
	s.Fail(formats.JSON, s.At, "got %s, want a value", s.Got())
}
