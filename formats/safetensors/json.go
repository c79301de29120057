package safetensors

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
)

// maxDepth is how deep the JSON may nest; serde_json, which reads the reference's headers, stops at the same depth.
const maxDepth = 128

// scanner reads JSON strictly, in one pass and without recursion. The standard decoder is of no use here: it takes the last of two
// equal names, folds the case of keys and replaces bad UTF-8, so that two different files read as one.
//
// The first error in the syntax sticks: every later call does nothing. Names without escapes are substrings of src.
type scanner struct {
	src  string
	i    int
	base int64 // offset of src[0] in the file
	path string
	// where the scanner is, for errors
	tensor, field string

	err *formats.Error
}

// newScanner checks what concerns the text as a whole: it is UTF-8, without a byte order mark.
func newScanner(path, src string, base int64) *scanner {
	s := &scanner{src: src, base: base, path: path}
	if i := invalidUTF8(src); i >= 0 {
		s.fail(formats.UTF8, i, "got byte 0x%02x, want UTF-8", src[i])
	} else if strings.HasPrefix(src, "\ufeff") {
		s.fail(formats.UTF8, 0, "got a byte order mark, want JSON")
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

// problem is an error at an offset of src, in the tensor and field that are being read.
func (s *scanner) problem(code formats.Code, at int, format string, args ...any) *formats.Error {
	return formats.Errorf(code, format, args...).At(s.path, s.base+int64(at)).In(s.tensor, s.field)
}

// fail ends the scan.
func (s *scanner) fail(code formats.Code, at int, format string, args ...any) {
	if s.err == nil {
		s.err = s.problem(code, at, format, args...)
	}
	s.i = len(s.src)
}

// got says what stands at the cursor, for messages.
func (s *scanner) got() string {
	if s.i >= len(s.src) {
		return "the end"
	}
	r, _ := utf8.DecodeRuneInString(s.src[s.i:])
	return strconv.QuoteRune(r)
}

// peek skips white space and gives the next byte, 0 at the end. (A byte 0 is no token either.)
func (s *scanner) peek() byte {
	for s.i < len(s.src) {
		switch c := s.src[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// want consumes one byte of punctuation.
func (s *scanner) want(c byte) {
	if s.err != nil {
		return
	}
	if s.peek() != c {
		s.fail(formats.JSON, s.i, "got %s, want %q", s.got(), c)
		return
	}
	s.i++
}

// more steps through an object or array whose opening bracket is consumed: it reports whether an element follows, and consumes
// the comma before it or the closing bracket. first is set by the caller and cleared here.
func (s *scanner) more(end byte, first *bool) bool {
	if s.err != nil {
		return false
	}
	c := s.peek()
	if c == end {
		s.i++
		return false
	}
	if !*first {
		if c != ',' {
			s.fail(formats.JSON, s.i, "got %s, want \",\" or %q", s.got(), end)
			return false
		}
		s.i++
		if s.peek() == end {
			s.fail(formats.JSON, s.i, "got %s after a comma", s.got())
			return false
		}
	}
	*first = false
	return s.err == nil
}

// key reads a name and its colon, and gives the offset where the name starts.
func (s *scanner) key() (name string, at int) {
	s.peek()
	at = s.i
	name = s.str()
	s.want(':')
	return name, at
}

// end checks that nothing but white space is left.
func (s *scanner) end() {
	if s.err != nil {
		return
	}
	if s.peek(); s.i == len(s.src) {
		return
	}
	at := s.i
	if strings.Trim(s.src[at:], "\x00") == "" {
		s.fail(formats.JSON, at, "got %d NUL bytes after the JSON", len(s.src)-at)
		s.err = s.err.Hinted("NUL padding: the format pads with spaces")
		return
	}
	s.fail(formats.JSON, at, "got %s after the JSON, want spaces", s.got())
}

// str reads a string.
func (s *scanner) str() string {
	s.want('"')
	if s.err != nil {
		return ""
	}
	start := s.i
	n := strings.IndexByte(s.src[start:], '"')
	if n < 0 {
		s.fail(formats.JSON, start-1, "a string that does not end")
		return ""
	}
	for k := start; k < start+n; k++ {
		switch c := s.src[k]; {
		case c == '\\':
			return s.escaped(start, k)
		case c < 0x20:
			s.fail(formats.JSON, k, "got control character 0x%02x in a string, want it escaped", c)
			return ""
		}
	}
	s.i = start + n + 1
	return s.src[start : start+n]
}

// escaped finishes a string that started at start and has its first backslash at k.
func (s *scanner) escaped(start, k int) string {
	out := []byte(s.src[start:k])
	for k < len(s.src) {
		c := s.src[k]
		switch {
		case c == '"':
			s.i = k + 1
			return string(out)
		case c < 0x20:
			s.fail(formats.JSON, k, "got control character 0x%02x in a string, want it escaped", c)
			return ""
		case c != '\\':
			out = append(out, c)
			k++
			continue
		}
		if k+1 >= len(s.src) {
			break
		}
		if e := strings.IndexByte(`"\/bfnrt`, s.src[k+1]); e >= 0 {
			out = append(out, "\"\\/\b\f\n\r\t"[e])
			k += 2
			continue
		}
		r, ok := s.hex4(k)
		if !ok {
			s.fail(formats.JSON, k, "got an unknown escape in a string")
			return ""
		}
		w := 6
		if utf16.IsSurrogate(r) {
			low, ok := s.hex4(k + 6)
			r = utf16.DecodeRune(r, low)
			if !ok || r == utf8.RuneError {
				s.fail(formats.UTF8, k, "got half of a surrogate pair")
				return ""
			}
			w = 12
		}
		out = utf8.AppendRune(out, r)
		k += w
	}
	s.fail(formats.JSON, start-1, "a string that does not end")
	return ""
}

// hex4 reads \uXXXX at k.
func (s *scanner) hex4(k int) (rune, bool) {
	if k+6 > len(s.src) || s.src[k] != '\\' || s.src[k+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s.src[k+2 : k+6]) {
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

// number reads a JSON number and gives its text.
func (s *scanner) number() string {
	s.peek()
	start := s.i
	if s.i < len(s.src) && s.src[s.i] == '-' {
		s.i++
	}
	zero := s.i < len(s.src) && s.src[s.i] == '0'
	if n := s.digits(); n == 0 || zero && n > 1 {
		s.fail(formats.JSON, start, "got a malformed number")
		return ""
	}
	if s.i < len(s.src) && s.src[s.i] == '.' {
		s.i++
		if s.digits() == 0 {
			s.fail(formats.JSON, start, "got a malformed number")
			return ""
		}
	}
	if s.i < len(s.src) && s.src[s.i]|0x20 == 'e' {
		s.i++
		if s.i < len(s.src) && (s.src[s.i] == '+' || s.src[s.i] == '-') {
			s.i++
		}
		if s.digits() == 0 {
			s.fail(formats.JSON, start, "got a malformed number")
			return ""
		}
	}
	return s.src[start:s.i]
}

func (s *scanner) digits() int {
	start := s.i
	for s.i < len(s.src) && s.src[s.i] >= '0' && s.src[s.i] <= '9' {
		s.i++
	}
	return s.i - start
}

// isValue reports whether a byte can start a JSON value; the others are errors of syntax.
func isValue(c byte) bool {
	switch c {
	case '{', '[', '"', 't', 'f', 'n', '-':
		return true
	}
	return c >= '0' && c <= '9'
}

// kind names the value that starts with c, for messages.
func kind(c byte) string {
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

// skip consumes any value. Its brackets are kept on a stack of fixed size, depth is that of the value's parent.
func (s *scanner) skip(depth int) {
	var stack [maxDepth]byte
	n := depth
	first := true
	for s.err == nil {
		if n > depth {
			if !s.more(stack[n-1], &first) {
				n--
				first = false
				if n == depth {
					return
				}
				continue
			}
			if stack[n-1] == '}' {
				s.key()
			}
		}
		switch c := s.peek(); {
		case s.err != nil:
		case c == '{' || c == '[':
			if n == maxDepth {
				s.fail(formats.Limit, s.i, "JSON nests deeper than %d", maxDepth)
				return
			}
			s.i++
			stack[n] = c + 2 // '[' + 2 is ']', '{' + 2 is '}'
			n++
			first = true
			continue
		case c == '"':
			s.str()
		case c == '-' || c >= '0' && c <= '9':
			s.number()
		default:
			s.literal()
		}
		if n == depth {
			return
		}
	}
}

func (s *scanner) literal() {
	for _, l := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(s.src[s.i:], l) {
			s.i += len(l)
			return
		}
	}
	s.fail(formats.JSON, s.i, "got %s, want a value", s.got())
}

// problems collects what is wrong with a header, so that all of it is reported at once.
type problems struct {
	list []error
	rest int
}

// maxProblems is how many are told in full.
const maxProblems = 20

func (p *problems) add(e *formats.Error) {
	if !p.full() {
		p.list = append(p.list, e)
	}
}

// full counts a problem that is not told any more. Asked before an error is made, it keeps a million problems cheap.
func (p *problems) full() bool {
	if len(p.list) < maxProblems {
		return false
	}
	p.rest++
	return true
}

// err is nil if nothing is wrong.
func (p *problems) err(path string) error {
	if len(p.list) == 0 {
		return nil
	}
	list := p.list
	if p.rest > 0 {
		last := formats.Errors(list[len(list)-1])[0]
		list = append(list[:len(list):len(list)], formats.Errorf(last.Code, "and %d more problems", p.rest).At(path, -1))
	}
	return errors.Join(list...)
}
