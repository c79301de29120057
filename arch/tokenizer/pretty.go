package tokenizer

import (
	"bytes"
	"fmt"
	"strconv"
)

// writer prints JSON as serde_json's pretty printer does.
type writer struct {
	bytes.Buffer
	depth int
	full  bool // the open bracket has an element
}

func (w *writer) open(b byte) {
	w.WriteByte(b)
	w.depth++
	w.full = false
}

func (w *writer) close(b byte) {
	w.depth--
	if w.full {
		w.line()
	}
	w.WriteByte(b)
	w.full = true
}

func (w *writer) line() {
	w.WriteByte('\n')
	for range w.depth {
		w.WriteString("  ")
	}
}

// item starts an element of an array.
func (w *writer) item() *writer {
	if w.full {
		w.WriteByte(',')
	}
	w.full = true
	w.line()
	return w
}

func (w *writer) key(k string) *writer {
	w.item().text(k)
	w.WriteString(": ")
	return w
}

func (w *writer) raw(s string)  { w.WriteString(s) }
func (w *writer) int(n int)     { w.WriteString(strconv.Itoa(n)) }
func (w *writer) bool(b bool)   { w.WriteString(strconv.FormatBool(b)) }
func (w *writer) text(s string) { w.Write(quote(w.AvailableBuffer(), s)) }

// quote escapes what JSON requires and nothing else.
func quote(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			if c < 0x20 {
				b = fmt.Appendf(b, `\u%04x`, c)
			} else {
				b = append(b, c)
			}
		}
	}
	return append(b, '"')
}

// sequence writes null, the one element, or a Sequence.
func sequence[T any](w *writer, list string, elems []T, write func(T)) {
	switch len(elems) {
	case 0:
		w.raw("null")
	case 1:
		write(elems[0])
	default:
		w.open('{')
		w.key("type").text("Sequence")
		w.key(list).open('[')
		for _, e := range elems {
			w.item()
			write(e)
		}
		w.close(']')
		w.close('}')
	}
}

// step writes a step of a pre-tokenizer.
func (w *writer) step(s Step) {
	if s.Unrecognized != "" {
		w.raw(s.Unrecognized)
		return
	}
	w.open('{')
	w.key("type").text(s.Kind)
	switch s.Kind {
	case "Split":
		kind := "Regex"
		if s.Literal {
			kind = "String"
		}
		w.key("pattern").open('{')
		w.key(kind).text(s.Pattern)
		w.close('}')
		w.key("behavior").text(s.Behavior)
		w.key("invert").bool(s.Invert)
	case "Digits":
		w.key("individual_digits").bool(s.Individual)
	case "Punctuation":
		w.key("behavior").text(s.Behavior)
	case "ByteLevel":
		w.key("add_prefix_space").bool(s.AddPrefix)
		w.key("trim_offsets").bool(s.TrimOffsets)
		w.key("use_regex").bool(s.UseRegex)
	}
	w.close('}')
}
