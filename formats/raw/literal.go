package raw

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
)

// literal reads the header, a dictionary as Python prints it, of exactly descr, fortran_order and shape. Nothing of it is ever evaluated.
type literal struct {
	src     string
	at      int
	base    int64
	old     bool // version 1.0 or 2.0, in which Python 2 wrote long integers as 3L
	shapeAt int64
	errs    []error
	broken  bool // the syntax is wrong: the rest cannot be read
}

func (l *literal) bad(code formats.Code, at int, field, format string, args ...any) {
	l.errs = append(l.errs, formats.Errorf(code, format, args...).At("", l.base+int64(at)).In("", field))
}

// fail ends the reading.
func (l *literal) fail(field, want string) {
	if l.broken {
		return
	}
	l.broken = true
	if l.at == len(l.src) {
		l.bad(formats.BadType, l.at, field, "got the end of the header, want %s", want)
		return
	}
	// What a call, an attribute or a lambda is, only an interpreter could answer.
	if word := l.word(); word != "" {
		next := strings.TrimLeft(l.src[l.at+len(word):], " ")
		if word == "lambda" || next != "" && strings.IndexByte("(.[", next[0]) >= 0 {
			l.bad(formats.Unsafe, l.at, field, "got \"%s\", want %s: a header is data, not code", clip(word), want)
			return
		}
	}
	r, _ := utf8.DecodeRuneInString(l.src[l.at:])
	l.bad(formats.BadType, l.at, field, "got %s, want %s", strconv.QuoteRune(r), want)
}

// word is the name that starts at the cursor, "" if none does.
func (l *literal) word() string {
	isName := func(r rune) bool { return r == '_' || r|0x20 >= 'a' && r|0x20 <= 'z' || r >= '0' && r <= '9' }
	rest := l.src[l.at:]
	n := strings.IndexFunc(rest, func(r rune) bool { return !isName(r) })
	if n < 0 {
		n = len(rest)
	}
	if n == 0 || rest[0] >= '0' && rest[0] <= '9' {
		return ""
	}
	return rest[:n]
}

// peek skips white space and gives the next byte, 0 at the end.
func (l *literal) peek() byte {
	for l.at < len(l.src) {
		switch c := l.src[l.at]; c {
		case ' ', '\t', '\n', '\r', '\f':
			l.at++
		default:
			return c
		}
	}
	return 0
}

// take consumes a byte of punctuation if it is next.
func (l *literal) take(c byte) bool {
	if l.broken || l.peek() != c || l.at == len(l.src) {
		return false
	}
	l.at++
	return true
}

func (l *literal) dict(a *array) {
	if !l.take('{') {
		l.fail("header", "a dictionary")
		return
	}
	seen := map[string]bool{}
	for n := 0; !l.take('}'); n++ {
		if n > 0 && !l.take(',') {
			l.fail("header", "',' or '}'")
			return
		}
		if n > 0 && l.take('}') {
			break
		}
		l.peek()
		at := l.at
		key, ok := l.text("header", "a key in quotes")
		if !ok {
			return
		}
		if !l.take(':') {
			l.fail("header", "':'")
			return
		}
		if seen[key] {
			l.bad(formats.Dup, at, "header", "got %q twice", clip(key))
		}
		first := !seen[key]
		seen[key] = true
		switch key {
		case "descr":
			l.descr(a, first)
		case "fortran_order":
			if word := l.boolean(); word != "" {
				a.fortran = word == "True"
			}
		case "shape":
			l.shape(a)
		default:
			l.bad(formats.BadType, at, "header", "got key %q, want descr, fortran_order and shape", clip(key))
			l.broken = true // what the value is, only Python would know
		}
		if l.broken {
			return
		}
	}
	if l.broken {
		return
	}
	for _, key := range []string{"descr", "fortran_order", "shape"} {
		if !seen[key] {
			l.bad(formats.BadType, 0, "header", "%s is missing", key)
		}
	}
	if l.peek(); l.at < len(l.src) {
		l.fail("header", "nothing but spaces after the dictionary")
	}
}

func (l *literal) descr(a *array, first bool) {
	switch c := l.peek(); c {
	case '[', '(':
		l.bad(formats.Unsupported, l.at, "descr", "got a structure of several fields, want one type for all values")
		l.broken = true
		return
	}
	at := l.at
	s, ok := l.text("descr", "a type in quotes")
	if !ok || !first {
		return
	}
	e, err := parseDescr(s)
	if err != nil {
		l.errs = append(l.errs, err.At("", l.base+int64(at)).In("", "descr"))
	}
	a.element = e
}

// boolean is True or False, "" if neither comes.
func (l *literal) boolean() string {
	l.peek()
	switch w := l.word(); w {
	case "True", "False":
		l.at += len(w)
		return w
	}
	l.fail("fortran_order", "True or False")
	return ""
}

// text is a string in either quotes, with Python 2's mark of Unicode; none of those that numpy writes has an escape.
func (l *literal) text(field, want string) (string, bool) {
	if l.peek() == 'u' && l.at+1 < len(l.src) && (l.src[l.at+1] == '\'' || l.src[l.at+1] == '"') {
		l.at++
	}
	quote := l.peek()
	if quote != '\'' && quote != '"' {
		l.fail(field, want)
		return "", false
	}
	start := l.at + 1
	n := strings.IndexByte(l.src[start:], quote)
	if n < 0 {
		l.bad(formats.BadType, l.at, field, "a string that does not end")
		l.broken = true
		return "", false
	}
	s := l.src[start : start+n]
	if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '\\' }); i >= 0 {
		l.bad(formats.BadType, start+i, field, "got 0x%02x in a string, want plain text", s[i])
		l.broken = true
		return "", false
	}
	l.at = start + n + 1
	return s, true
}

// shape is a tuple: (), (3,), (3, 4).
func (l *literal) shape(a *array) {
	l.peek()
	l.shapeAt = int64(l.at)
	if !l.take('(') {
		l.fail("shape", "a tuple")
		return
	}
	a.shape = nil
	comma := true
	for n := 0; !l.take(')'); n++ {
		if n > 0 && !comma {
			l.fail("shape", "',' or ')'")
			return
		}
		if n == maxRank {
			l.bad(formats.Limit, l.at, "shape", "got more than %d dimensions", maxRank)
			l.broken = true
			return
		}
		d, ok := l.number()
		if !ok {
			return
		}
		a.shape = append(a.shape, d)
		comma = l.take(',')
		if l.broken {
			return
		}
	}
	if len(a.shape) == 1 && !comma {
		l.bad(formats.BadType, int(l.shapeAt), "shape", "got a number in brackets, want a tuple, (%d,)", a.shape[0])
	}
}

// number is one size of a shape. One that is out of range is a problem, but the reading goes on.
func (l *literal) number() (int64, bool) {
	negative := l.take('-')
	l.peek()
	start := l.at
	for l.at < len(l.src) && l.src[l.at] >= '0' && l.src[l.at] <= '9' {
		l.at++
	}
	digits := l.src[start:l.at]
	if digits == "" {
		l.fail("shape", "a number")
		return 0, false
	}
	if len(digits) > 1 && digits[0] == '0' && strings.Trim(digits, "0") != "" {
		l.bad(formats.BadType, start, "shape", "got a number that starts with 0")
	}
	if l.old && l.at < len(l.src) && l.src[l.at] == 'L' {
		l.at++
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case negative:
		l.bad(formats.BadShape, start, "shape", "got -%s, want at least 0", clip(digits))
		n = 0
	case err != nil:
		l.bad(formats.Overflow, start, "shape", "got %s, want at most %d", clip(digits), int64(1<<63-1))
		n = 0
	}
	return n, true
}
