package config

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
)

// Limits of a JSON side file.
const (
	maxDepth  = 64
	maxValues = 1 << 18 // each costs far more memory than it has bytes
)

type kind int

const (
	null kind = iota
	boolean
	number
	text
	object
	array
)

// node is one JSON value by its place in the text.
type node struct {
	kind       kind
	start, end int
	parent     int
	key        string // within an object
	keyStart   int
	children   []int
}

// Doc is a JSON document that remembers its text, so that an edit changes nothing but the values it names. Python's NaN, Infinity and
// -Infinity are read; duplicate keys are refused.
type Doc struct {
	Path  string
	text  []byte
	nodes []node
	most  int64  // bytes
	at    int    // the object that paths begin in
	under string // its key, "" for the root
}

// Under is the document with all paths beginning in an object of its root, whose presence the caller has seen.
func (d *Doc) Under(key string) *Doc {
	c := *d
	c.at, c.under = d.find(key), key
	return &c
}

// Root is the document with all paths beginning where it does.
func (d *Doc) Root() *Doc {
	c := *d
	c.at, c.under = 0, ""
	return &c
}

// Parse reads a document whose root is an object.
func Parse(path string, b []byte) (*Doc, error) {
	return ParseWithin(path, b, formats.ConfigBound.Default())
}

// ParseWithin is Parse of at most as many bytes.
func ParseWithin(path string, b []byte, most int64) (*Doc, error) {
	d := &Doc{Path: path, text: b, most: most}
	if int64(len(b)) > most {
		return nil, formats.Errorf(formats.Limit, "got %d bytes of JSON, want at most %d", len(b), most).At(path, 0)
	}
	if err := d.parse(); err != nil {
		return nil, err
	}
	if d.nodes[0].kind != object {
		return nil, d.errorf(0, "got %s, want an object", d.snippet(0))
	}
	return d, nil
}

func (d *Doc) errorf(at int, format string, args ...any) *formats.Error {
	return formats.Errorf(formats.JSON, format, args...).At(d.Path, int64(at))
}

func (d *Doc) snippet(at int) string {
	return strconv.Quote(string(d.text[at:min(at+16, len(d.text))]))
}

// parse is a state machine with an explicit stack (parent links), so depth costs no Go stack.
func (d *Doc) parse() error {
	b, i := d.text, 0
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		return d.errorf(0, "got a byte order mark, want {")
	}
	ws := func() {
		for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
			i++
		}
	}
	cur, depth := -1, 0
	d.nodes = make([]node, 0, min(bytes.Count(b, []byte(","))+8, maxValues)) // a value more than commas, if no list holds another
	seen := []map[string]bool{}
	for {
		// A value is expected here; in an object, its key first.
		ws()
		n := node{parent: cur, start: i}
		if cur >= 0 && d.nodes[cur].kind == object {
			n.keyStart = i
			key, end, err := d.str(i)
			if err != nil {
				return err
			}
			if seen[depth-1][key] {
				return formats.Errorf(formats.Dup, "key %q stands twice", key).At(d.Path, int64(i)).In("", key)
			}
			seen[depth-1][key] = true
			n.key, i = key, end
			ws()
			if i >= len(b) || b[i] != ':' {
				return d.errorf(i, "got %s after key %q, want a colon", d.snippet(i), key)
			}
			i++
			ws()
			n.start = i
		}
		if i >= len(b) {
			return formats.Errorf(formats.Trunc, "the JSON ends in the middle of a value").At(d.Path, int64(i))
		}
		open := false
		switch c := b[i]; {
		case c == '{' || c == '[':
			n.kind = object
			if c == '[' {
				n.kind = array
			}
			if depth++; depth > maxDepth {
				return formats.Errorf(formats.Limit, "got JSON nested deeper than %d", maxDepth).At(d.Path, int64(i))
			}
			seen = append(seen[:depth-1], map[string]bool{})
			i++
			open = true
		case c == '"':
			_, end, err := d.str(i)
			if err != nil {
				return err
			}
			n.kind, i = text, end
		default:
			j := i
			for j < len(b) && strings.IndexByte("+-.0123456789aAeEfiIlnNrstuy", b[j]) >= 0 {
				j++
			}
			switch w := string(b[i:j]); {
			case w == "true" || w == "false":
				n.kind = boolean
			case w == "null":
				n.kind = null
			case validNumber(w) || w == "NaN" || w == "Infinity" || w == "-Infinity":
				n.kind = number
			default:
				return d.errorf(i, "got %s, want a JSON value", d.snippet(i))
			}
			i = j
		}
		n.end = i
		if len(d.nodes) == maxValues {
			return formats.Errorf(formats.Limit, "got more than %d values", maxValues).At(d.Path, int64(n.start))
		}
		d.nodes = append(d.nodes, n)
		id := len(d.nodes) - 1
		if cur >= 0 {
			d.nodes[cur].children = append(d.nodes[cur].children, id)
		}
		if open {
			cur = id
			ws()
			if i < len(b) && b[i] != closer(n.kind) {
				continue
			}
		}
		// After a value: a comma, the end of what is open, or the end of all.
		for {
			ws()
			if cur < 0 {
				if i != len(b) {
					return formats.Errorf(formats.Trail, "got %s after the JSON value", d.snippet(i)).At(d.Path, int64(i))
				}
				return nil
			}
			if i >= len(b) {
				return formats.Errorf(formats.Trunc, "the JSON ends inside a value that starts at %d", d.nodes[cur].start).At(d.Path, int64(i))
			}
			if b[i] == ',' && len(d.nodes[cur].children) > 0 {
				i++
				break
			}
			if b[i] != closer(d.nodes[cur].kind) {
				return d.errorf(i, "got %s, want a comma or the end of the value that starts at %d", d.snippet(i), d.nodes[cur].start)
			}
			i++
			d.nodes[cur].end = i
			cur = d.nodes[cur].parent
			depth--
		}
	}
}

func closer(k kind) byte {
	if k == object {
		return '}'
	}
	return ']'
}

// validNumber is JSON's grammar, which is narrower than strconv's.
func validNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	digits := func() bool {
		n := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		ok := n > 0
		s = s[n:]
		return ok
	}
	if strings.HasPrefix(s, "0") {
		s = s[1:]
	} else if !digits() {
		return false
	}
	if strings.HasPrefix(s, ".") {
		s = s[1:]
		if !digits() {
			return false
		}
	}
	if strings.HasPrefix(s, "e") || strings.HasPrefix(s, "E") {
		if s = s[1:]; s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if !digits() {
			return false
		}
	}
	return s == ""
}

// str reads the string literal at i and returns its value and the index after it.
func (d *Doc) str(i int) (string, int, error) {
	b := d.text
	if i >= len(b) || b[i] != '"' {
		return "", 0, d.errorf(i, "got %s, want a string", d.snippet(min(i, len(b))))
	}
	j := i + 1
	for j < len(b) && b[j] != '"' {
		if b[j] < 0x20 {
			return "", 0, d.errorf(j, "got control character 0x%02x in a string", b[j])
		}
		if b[j] == '\\' {
			j++
		}
		j++
	}
	if j >= len(b) {
		return "", 0, formats.Errorf(formats.Trunc, "a string does not end").At(d.Path, int64(i))
	}
	s, ok := unquote(b[i+1 : j])
	if !ok {
		return "", 0, d.errorf(i, "got %s: a wrong escape, a lone surrogate or bytes that are not UTF-8", d.snippet(i))
	}
	return s, j + 1, nil
}

func unquote(b []byte) (string, bool) {
	if !utf8.Valid(b) {
		return "", false
	}
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b), true
	}
	hex4 := func(p []byte) (rune, bool) {
		if len(p) < 4 {
			return 0, false
		}
		v, err := strconv.ParseUint(string(p[:4]), 16, 32)
		return rune(v), err == nil
	}
	var out []byte
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			out = append(out, b[i])
			continue
		}
		if i++; i >= len(b) {
			return "", false
		}
		if k := strings.IndexByte(`"\/bfnrt`, b[i]); k >= 0 {
			out = append(out, "\"\\/\b\f\n\r\t"[k])
			continue
		}
		if b[i] != 'u' {
			return "", false
		}
		r, ok := hex4(b[i+1:])
		if !ok {
			return "", false
		}
		i += 4
		if r >= 0xd800 && r < 0xe000 {
			if r >= 0xdc00 || i+6 >= len(b) || b[i+1] != '\\' || b[i+2] != 'u' {
				return "", false
			}
			lo, ok := hex4(b[i+3:])
			if !ok || lo < 0xdc00 || lo >= 0xe000 {
				return "", false
			}
			r = 0x10000 + (r-0xd800)<<10 + (lo - 0xdc00)
			i += 6
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out), true
}

// find follows keys from the root; -1 if one is absent.
func (d *Doc) find(path ...string) int {
	at := d.at
	for _, k := range path {
		next := -1
		if d.nodes[at].kind == object {
			for _, c := range d.nodes[at].children {
				if d.nodes[c].key == k {
					next = c
				}
			}
		}
		if next < 0 {
			return -1
		}
		at = next
	}
	return at
}

// Has reports whether a key is present with a value other than null.
func (d *Doc) Has(path ...string) bool {
	n := d.find(path...)
	return n >= 0 && d.nodes[n].kind != null
}

// Null reports whether a key is present as null.
func (d *Doc) Null(path ...string) bool {
	n := d.find(path...)
	return n >= 0 && d.nodes[n].kind == null
}

// Keys are the keys of an object in file order.
func (d *Doc) Keys(path ...string) []string {
	n := d.find(path...)
	if n < 0 || d.nodes[n].kind != object {
		return nil
	}
	var out []string
	for _, c := range d.nodes[n].children {
		out = append(out, d.nodes[c].key)
	}
	return out
}

// IsObject reports whether a key holds an object.
func (d *Doc) IsObject(path ...string) bool {
	n := d.find(path...)
	return n >= 0 && d.nodes[n].kind == object
}

func (d *Doc) wrong(n int, want string, path []string) error {
	return formats.Errorf(formats.BadType, "got %s, want %s", d.snippet(d.nodes[n].start), want).
		At(d.Path, int64(d.nodes[n].start)).In("", strings.Join(path, "."))
}

// Raw is the text of a value, "" if absent.
func (d *Doc) Raw(path ...string) string {
	n := d.find(path...)
	if n < 0 {
		return ""
	}
	return string(d.text[d.nodes[n].start:d.nodes[n].end])
}

// Bool, Int, Float and Str read a value; ok is false if it is absent or null, and the wrong type is an E_TYPE error.
func (d *Doc) Bool(path ...string) (v, ok bool, err error) {
	n := d.find(path...)
	if n < 0 || d.nodes[n].kind == null {
		return false, false, nil
	}
	if d.nodes[n].kind != boolean {
		return false, false, d.wrong(n, "true or false", path)
	}
	return d.text[d.nodes[n].start] == 't', true, nil
}

// Int reads an integer; 2048.0 and 1e3 are integers, 0.5 is not.
func (d *Doc) Int(path ...string) (v int64, ok bool, err error) {
	n := d.find(path...)
	if n < 0 || d.nodes[n].kind == null {
		return 0, false, nil
	}
	raw := string(d.text[d.nodes[n].start:d.nodes[n].end])
	if d.nodes[n].kind == number {
		if v, err := strconv.ParseInt(raw, 10, 64); err == nil {
			return v, true, nil
		}
		if f, err := strconv.ParseFloat(raw, 64); err == nil && f == float64(int64(f)) && f < 1<<53 && f > -1<<53 {
			return int64(f), true, nil
		}
	}
	return 0, false, d.wrong(n, "an integer", path)
}

// Float reads a number, NaN and Infinity included.
func (d *Doc) Float(path ...string) (v float64, ok bool, err error) {
	n := d.find(path...)
	if n < 0 || d.nodes[n].kind == null {
		return 0, false, nil
	}
	if d.nodes[n].kind == number {
		if f, err := strconv.ParseFloat(string(d.text[d.nodes[n].start:d.nodes[n].end]), 64); err == nil {
			return f, true, nil
		}
	}
	return 0, false, d.wrong(n, "a number", path)
}

// Str reads a string.
func (d *Doc) Str(path ...string) (v string, ok bool, err error) {
	n := d.find(path...)
	if n < 0 || d.nodes[n].kind == null {
		return "", false, nil
	}
	if d.nodes[n].kind != text {
		return "", false, d.wrong(n, "a string", path)
	}
	s, _, err := d.str(d.nodes[n].start)
	return s, true, err
}

// Ints reads an integer or a list of integers (eos_token_id is either).
func (d *Doc) Ints(path ...string) ([]int64, error) {
	n := d.find(path...)
	if n < 0 || d.nodes[n].kind == null {
		return nil, nil
	}
	ids := []int{n}
	if d.nodes[n].kind == array {
		ids = d.nodes[n].children
	}
	var out []int64
	for _, c := range ids {
		v, err := strconv.ParseInt(string(d.text[d.nodes[c].start:d.nodes[c].end]), 10, 64)
		if err != nil {
			return nil, d.wrong(c, "an integer or a list of integers", path)
		}
		out = append(out, v)
	}
	return out, nil
}

// Floats reads a list of numbers.
func (d *Doc) Floats(path ...string) ([]float64, error) {
	n := d.find(path...)
	if n < 0 || d.nodes[n].kind == null {
		return nil, nil
	}
	if d.nodes[n].kind != array {
		return nil, d.wrong(n, "a list of numbers", path)
	}
	var out []float64
	for _, c := range d.nodes[n].children {
		if d.nodes[c].kind != number {
			return nil, d.wrong(c, "a number", path)
		}
		v, err := strconv.ParseFloat(string(d.text[d.nodes[c].start:d.nodes[c].end]), 64)
		if err != nil {
			return nil, d.wrong(c, "a number", path)
		}
		out = append(out, v)
	}
	return out, nil
}

// Strs reads a list of strings.
func (d *Doc) Strs(path ...string) ([]string, error) {
	n := d.find(path...)
	if n < 0 || d.nodes[n].kind == null {
		return nil, nil
	}
	if d.nodes[n].kind != array {
		return nil, d.wrong(n, "a list of strings", path)
	}
	var out []string
	for _, c := range d.nodes[n].children {
		if d.nodes[c].kind != text {
			return nil, d.wrong(c, "a string", path)
		}
		s, _, err := d.str(d.nodes[c].start)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// Bytes is the text of the document. It must not be changed.
func (d *Doc) Bytes() []byte { return d.text }

// Set returns a document in which the key at path holds the JSON text raw; all other bytes stay. A new key goes to the end of its
// object, in the style of its neighbours. The objects on the way must exist.
func (d *Doc) Set(raw string, path ...string) (*Doc, error) {
	if n := d.find(path...); n >= 0 {
		return ParseWithin(d.Path, splice(d.text, d.nodes[n].start, d.nodes[n].end, raw), d.most)
	}
	p := d.find(path[:len(path)-1]...)
	if p < 0 || d.nodes[p].kind != object {
		return nil, formats.Errorf(formats.Missing, "no object at %q", strings.Join(path[:len(path)-1], ".")).At(d.Path, -1)
	}
	key := Quote(path[len(path)-1])
	kids := d.nodes[p].children
	if len(kids) == 0 {
		return ParseWithin(d.Path, splice(d.text, d.nodes[p].start, d.nodes[p].end, "{"+key+": "+raw+"}"), d.most)
	}
	last := d.nodes[kids[len(kids)-1]]
	// The white space before the last key is that of a neighbour.
	from := last.keyStart
	for from > 0 && strings.IndexByte(" \n\r\t", d.text[from-1]) >= 0 {
		from--
	}
	lead := string(d.text[from:last.keyStart])
	if len(kids) == 1 && lead == "" {
		lead = " "
	}
	return ParseWithin(d.Path, splice(d.text, last.end, last.end, fmt.Sprintf(",%s%s: %s", lead, key, raw)), d.most)
}

func splice(b []byte, from, to int, s string) []byte {
	out := make([]byte, 0, len(b)+len(s))
	return append(append(append(out, b[:from]...), s...), b[to:]...)
}

// Quote is a JSON string literal with non-ASCII text kept.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
