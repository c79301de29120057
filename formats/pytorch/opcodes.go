package pytorch

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
)

// step runs one opcode. All opcodes of protocols 0 to 5 are here (CPython, Lib/pickletools.py), those that are refused too.
func (m *machine) step(c byte) {
	switch c {
	// The stack.
	case '(':
		m.mark()
	case '0':
		// As in CPython, what is popped may be a mark.
		if n := len(m.marks); n > 0 && m.marks[n-1] == len(m.stack) {
			m.marks = m.marks[:n-1]
		} else {
			m.pop()
		}
	case '1':
		m.popMark()
	case '2':
		m.push(m.top())
	case 0x80:
		m.proto()
	case 0x95:
		m.frame()

	// Values.
	case 'N':
		m.push(nil)
	case 0x88, 0x89:
		m.push(c == 0x88)
	case 'I':
		m.textInt()
	case 'J':
		m.value(int64(int32(m.u32())))
	case 'K':
		m.push(int64(m.u8()))
	case 'M':
		m.value(int64(m.uint(2)))
	case 'L':
		m.textLong()
	case 0x8a:
		m.long(m.counted(1))
	case 0x8b:
		m.long(m.signed())
	case 'F':
		m.textFloat()
	case 'G':
		var b [8]byte
		copy(b[:], m.take(8))
		m.value(math.Float64frombits(binary.BigEndian.Uint64(b[:])))
	case 'S':
		m.quoted()
	case 'T':
		m.bytestring(m.signed())
	case 'U':
		m.bytestring(m.counted(1))
	case 'V':
		m.escaped()
	case 'X':
		m.value(text(m.counted(4)))
	case 0x8c:
		m.value(text(m.counted(1)))
	case 0x8d:
		m.value(text(m.counted(8)))
	case 'B':
		m.value(raw(m.counted(4)))
	case 'C':
		m.value(raw(m.counted(1)))
	case 0x8e, 0x96:
		m.value(raw(m.counted(8)))

	// Containers.
	case ')':
		if m.none == nil {
			m.none = m.object(tuple, nil, nil)
		}
		m.push(m.none)
	case 0x85, 0x86, 0x87:
		m.tuple(int(c) - 0x84)
	case 't':
		m.push(m.object(tuple, nil, m.popMark()))
	case ']':
		m.push(m.object(list, nil, nil))
	case 'l':
		m.push(m.object(list, nil, m.popMark()))
	case 'a':
		v := m.pop()
		m.extend(m.top(), []any{v})
	case 'e':
		items := m.popMark()
		m.extend(m.top(), items)
	case '}':
		m.push(m.newDict(nil))
	case 'd':
		m.push(m.newDict(m.popMark()))
	case 's':
		v, k := m.pop(), m.pop()
		m.set(m.top(), []any{k, v})
	case 'u':
		items := m.popMark()
		m.set(m.top(), items)
	case 0x8f:
		m.push(m.object(set, nil, nil))
	case 0x90:
		items := m.popMark()
		if s, ok := m.top().(*node); ok && s.kind == set {
			m.grow(s, items)
		} else if m.fatal == nil {
			m.fail(formats.BadType, "got ADDITEMS on %s, want a set", describe(m.top()))
		}
	case 0x91:
		m.push(m.object(set, nil, m.popMark()))

	// The memo.
	case 'p':
		m.put(m.slot())
	case 'q':
		m.put(m.u8())
	case 'r':
		m.put(m.u32())
	case 0x94:
		m.put(uint64(len(m.memo)))
	case 'g':
		m.get(m.slot())
	case 'h':
		m.get(m.u8())
	case 'j':
		m.get(m.u32())

	// Names and what is done with them.
	case 'c':
		module, name := m.line(maxName), m.line(maxName)
		m.global(module, name)
	case 0x93:
		m.stackGlobal()
	case 'R':
		args, f := m.pop(), m.pop()
		m.call(f, args, "REDUCE")
	case 0x81:
		args, class := m.pop(), m.pop()
		m.call(class, args, "NEWOBJ")
	case 0x92:
		m.newObjectEx()
	case 'b':
		state := m.pop()
		m.build(m.top(), state)
	case 'Q':
		m.persistent(m.pop())
	case 'P':
		m.persistentText(m.line(maxName))

	// What is never read: opcodes that torch does not write, and that make objects past every check.
	case 'i', 'o', 0x82, 0x83, 0x84:
		names := map[byte]string{'i': "INST", 'o': "OBJ", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4"}
		m.fail(formats.Unsafe, "got opcode %s, which makes objects of any class", names[c])
	case 0x97, 0x98:
		m.fail(formats.Unsupported, "got a buffer that is not in the pickle")
	default:
		m.fail(formats.BadType, "got opcode 0x%02x, which no protocol has", c)
	}
}

func (m *machine) proto() {
	if n := m.u8(); n > 5 && m.fatal == nil {
		m.fail(formats.Version, "got protocol %d, want at most 5", n)
	} else if m.op != 0 {
		m.fail(formats.Version, "got PROTO within the pickle")
	}
}

func (m *machine) frame() {
	if m.end > 0 {
		m.fail(formats.Bounds, "got a frame within a frame, which ends at byte %d", m.end)
		return
	}
	n := m.uint(8)
	if m.fatal == nil && n > uint64(len(m.src)-m.at) {
		m.fail(formats.Bounds, "got a frame of %d bytes, want at most the %d that are left", n, len(m.src)-m.at)
		return
	}
	m.end = m.at + int(n)
}

// signed reads a string behind a signed length of four bytes.
func (m *machine) signed() string {
	n := m.u32()
	if n > math.MaxInt32 {
		m.fail(formats.Bounds, "got length %d", int32(n))
		return ""
	}
	return m.take(n)
}

// slot reads the number of a memo slot in text.
func (m *machine) slot() uint64 {
	s := m.line(maxLine)
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		m.fail(formats.BadType, "got memo slot \"%s\", want a number", clip(s))
	}
	return n
}

func (m *machine) textInt() {
	switch s := m.line(maxLine); s {
	case "00", "01":
		m.push(s == "01")
	default:
		m.decimal(s)
	}
}

func (m *machine) textLong() { m.decimal(strings.TrimSuffix(m.line(maxLine), "L")) }

func (m *machine) decimal(s string) {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err == nil:
		m.value(n)
	case strings.Trim(strings.TrimPrefix(s, "-"), "0123456789") == "" && s != "" && s != "-":
		m.push(huge{})
	default:
		m.fail(formats.BadType, "got \"%s\", want an integer", clip(s))
	}
}

func (m *machine) textFloat() {
	s := m.line(maxLine)
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) || strings.ContainsAny(s, "_xXpP") {
		m.fail(formats.BadType, "got \"%s\", want a float", clip(s))
	}
	m.value(f)
}

// long is an integer in two's complement, the lowest byte first.
func (m *machine) long(s string) {
	const most = 16
	if len(s) > most {
		m.fail(formats.Limit, "got an integer of %d bytes, want at most %d", len(s), most)
		return
	}
	fill := byte(0)
	if s != "" && s[len(s)-1]&0x80 != 0 {
		fill = 0xff
	}
	b := [most]byte{}
	for i := range b {
		if b[i] = fill; i < len(s) {
			b[i] = s[i]
		}
	}
	n := int64(binary.LittleEndian.Uint64(b[:8]))
	if high := int64(binary.LittleEndian.Uint64(b[8:])); high != n>>63 {
		m.push(huge{})
		return
	}
	m.value(n)
}

// bytestring is a str of Python 2: text if it can be, as torch.load has it.
func (m *machine) bytestring(s string) {
	if utf8.ValidString(s) {
		m.value(text(s))
	} else {
		m.value(raw(s))
	}
}

// quoted is a str of Python 2 as its repr.
func (m *machine) quoted() {
	s := m.line(len(m.src))
	if len(s) < 2 || s[0] != '\'' && s[0] != '"' || s[len(s)-1] != s[0] {
		m.fail(formats.BadType, "got a string without quotes")
		return
	}
	s = s[1 : len(s)-1]
	if !strings.Contains(s, `\`) {
		m.bytestring(s)
		return
	}
	if !m.spend(2 * len(s)) {
		return
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		if i++; i == len(s) {
			m.fail(formats.BadType, "got a string that ends in a backslash")
			return
		}
		if e := strings.IndexByte(`\'"nrtabfv`, s[i]); e >= 0 {
			out = append(out, "\\'\"\n\r\t\a\b\f\v"[e])
		} else if n, err := strconv.ParseUint(s[min(i+1, len(s)):min(i+3, len(s))], 16, 8); s[i] == 'x' && err == nil && i+3 <= len(s) {
			out = append(out, byte(n))
			i += 2
		} else {
			m.fail(formats.BadType, "got an unknown escape in a string")
			return
		}
	}
	m.bytestring(string(out))
}

// escaped is a str of protocol 0: Latin-1, with \u and \U for all else (the codec raw-unicode-escape).
func (m *machine) escaped() {
	s := m.line(len(m.src))
	if !m.spend(4 * len(s)) {
		return
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		if s[i] == '\\' && i+1 < len(s) && (s[i+1] == 'u' || s[i+1] == 'U') {
			w := 6
			if s[i+1] == 'U' {
				w = 10
			}
			n, err := strconv.ParseUint(s[i+2:min(i+w, len(s))], 16, 32)
			if err != nil || i+w > len(s) || !utf8.ValidRune(rune(n)) {
				m.fail(formats.UTF8, "got a malformed escape in a string")
				return
			}
			out = utf8.AppendRune(out, rune(n))
			i += w
			continue
		}
		out = utf8.AppendRune(out, rune(s[i]))
		i++
	}
	m.value(text(out))
}

func (m *machine) tuple(n int) {
	if len(m.stack)-m.floor() < n {
		m.fail(formats.Bounds, "got %d values, want %d", len(m.stack)-m.floor(), n)
		return
	}
	at := len(m.stack) - n
	t := m.object(tuple, nil, m.stack[at:])
	m.stack = append(m.stack[:at], t)
}

func (m *machine) newDict(items []any) *dict {
	d := &dict{}
	if m.spend(dictBytes) {
		m.set(d, items)
	}
	return d
}

// extend appends to a list, or to an object that may be one.
func (m *machine) extend(to any, items []any) {
	n, ok := to.(*node)
	if m.fatal != nil {
		return
	}
	if !ok || n.kind != list && n.kind != inert && n.kind != refused {
		m.fail(formats.BadType, "got APPEND on %s, want a list", describe(to))
		return
	}
	m.grow(n, items)
}

func (m *machine) grow(n *node, items []any) {
	if have := len(n.items) + len(items); have > cap(n.items) {
		most := max(have, 2*len(n.items)) // append would copy more often
		if !m.spend(valueBytes * most) {
			return
		}
		n.items = slices.Grow(n.items, most-len(n.items))
	}
	n.items = append(n.items, items...)
	for _, v := range items {
		m.deepen(&n.depth, v)
	}
}

// set sets the items of a dictionary, key by value, or of an object that may be one.
func (m *machine) set(to any, items []any) {
	if m.fatal != nil {
		return
	}
	if len(items)%2 != 0 {
		m.fail(formats.BadType, "got %d keys and values, want pairs", len(items))
		return
	}
	switch to := to.(type) {
	case *dict:
		if have := len(to.entries) + len(items)/2; have > cap(to.entries) {
			most := max(have, 2*len(to.entries))
			if !m.spend(entryBytes * most) {
				return
			}
			to.entries = slices.Grow(to.entries, most-len(to.entries))
		}
		for i := 0; i < len(items); i += 2 {
			k, v := items[i], items[i+1]
			if !hashable(k) {
				m.fail(formats.BadType, "got %s as a key", describe(k))
				return
			}
			to.entries = append(to.entries, entry{k, v, int32(m.op)})
			m.deepen(&to.depth, v)
		}
	case *node:
		if to.kind == inert || to.kind == refused {
			m.grow(to, items)
			return
		}
		m.fail(formats.BadType, "got SETITEM on %s, want a dict", describe(to))
	default:
		m.fail(formats.BadType, "got SETITEM on %s, want a dict", describe(to))
	}
}

// hashable reports whether Python takes a value as a key. Objects may be, for all that is known of them.
func hashable(v any) bool {
	switch v := v.(type) {
	case *dict:
		return false
	case *node:
		return v.kind != list && v.kind != set
	}
	return true
}

// clip shortens text for a message.
func clip(s string) string { return formats.Escape(s, 64) }
