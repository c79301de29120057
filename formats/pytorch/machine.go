package pytorch

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// Limits of a pickle, besides those of formats.ReadBounds. One byte of it can make a value of fifty, and one of two can copy a megabyte, hence the last two: what all values
// take may be spared times the pickle, and spare more. A state dictionary takes about 15 times its pickle, and what
// the directory says of its storages another 10.
const (
	maxPickle = 64 << 20 // that is written
	maxLine   = 64       // of a number in text
	spared    = 15
	spare     = 12 << 20
)

// What values take, with what is made of them later.
const (
	valueBytes   = 16 // of one behind an interface
	nodeBytes    = 48
	dictBytes    = 32
	entryBytes   = 40
	globalBytes  = 400
	storageBytes = 300
	recordBytes  = 1300 // what a record of the file vouches for: its name and sizes stand there three times
	blockBytes   = 450  // the same in a file from before 1.6
	tensorBytes  = 230
	nameBytes    = 240
	reachBytes   = 20 // of a container that is looked at, and of a way to it
	edgeBytes    = 8
	keyBytes     = 48 // of a dictionary that is walked
)

// maxTold is how many problems of a pickle are told in full.
const maxTold = 64

// problem is what is wrong at a place of the pickle.
type problem struct {
	code   formats.Code
	at     int // the opcode
	tensor string
	text   string
	hint   string
}

// machine runs one pickle. Its source is a string so that strings in it need no copies.
type machine struct {
	src     string
	bounds  formats.ReadBounds
	deepest int   // levels of values
	longest int64 // bytes of a name
	at      int   // of the next byte
	op      int   // of the opcode that is being run
	end     int   // of the frame, 0 outside of one
	stack   []any
	marks   []int
	memo    []any
	far     map[uint32]any // memo slots that do not follow the others
	spent   int            // bytes of values
	vouched int            // bytes more that may be
	steps   int            // opcodes
	none    *node          // the empty tuple

	globals   map[string]*global
	records   func(key string) (at, bytes int64, ok bool)
	blocks    int64   // bytes of the storages of a file from before 1.6
	legacy    *legacy // of a file from before 1.6, whose storages have no records
	bare      bool    // a pickle of plain values, which names nothing
	big       bool    // the records are big-endian
	nested    int     // pickles around this one
	inner     int     // bytes of pickles within this one that were run
	storages  map[string]*storage
	tensors   []*tensor
	unknown   []*global // names that are not in the table, in order
	dropped   int       // attributes of tensors
	attribute string    // the first of them
	problems  []*problem
	broken    int // tensors with a problem
	more      int // problems that are not told
	fatal     *problem
}

// run interprets the pickle and gives its value. It stops at the first opcode that makes no sense; problems of storages and tensors are
// collected.
func (m *machine) run() (any, bool) {
	m.globals, m.storages = map[string]*global{}, map[string]*storage{}
	m.deepest, m.longest = int(m.bounds.Of(formats.DepthBound)), m.bounds.Of(formats.NameBound)
	for m.fatal == nil {
		m.op = m.at
		if m.end > 0 && m.at >= m.end {
			m.end = 0
		}
		if m.at >= len(m.src) {
			m.fail(formats.Trunc, "the pickle ends without STOP")
			break
		}
		c := m.src[m.at]
		m.at++
		m.steps++
		if c == '.' {
			return m.stop()
		}
		m.step(c)
	}
	return nil, false
}

func (m *machine) stop() (any, bool) {
	switch {
	case m.at < len(m.src):
		m.op = m.at
		m.fail(formats.Trail, "got %d bytes after STOP, want none", len(m.src)-m.at)
	case len(m.marks) > 0:
		m.fail(formats.BadType, "got STOP with %d open marks", len(m.marks))
	case len(m.stack) != 1:
		m.fail(formats.BadType, "got %d values at STOP, want 1", len(m.stack))
	default:
		return m.stack[0], true
	}
	return nil, false
}

// fail ends the run.
func (m *machine) fail(code formats.Code, format string, args ...any) {
	if m.fatal == nil {
		m.fatal = m.problem(code, format, args...)
	}
}

// beyond ends the run at what a bound does not allow.
func (m *machine) beyond(k formats.Bound, need int, format string, args ...any) {
	if m.fatal == nil {
		m.fail(formats.Limit, format, args...)
		m.fatal.hint = k.Hint(int64(need))
	}
}

func (m *machine) problem(code formats.Code, format string, args ...any) *problem {
	return &problem{code: code, at: m.op, text: fmt.Sprintf(format, args...)}
}

// take reads n bytes of an argument. They may end neither the pickle nor the frame: readers differ in what they do then (CPython issue
// 154848).
func (m *machine) take(n uint64) string {
	if m.fatal != nil {
		return ""
	}
	if n > uint64(len(m.src)-m.at) {
		m.fail(formats.Bounds, "got an argument of %d bytes, want at most the %d that are left", n, len(m.src)-m.at)
		return ""
	}
	stop := m.at + int(n)
	if m.end > 0 && stop > m.end {
		m.fail(formats.Bounds, "got an argument up to byte %d, beyond the frame, which ends at byte %d", stop, m.end)
		return ""
	}
	s := m.src[m.at:stop]
	m.at = stop
	return s
}

func (m *machine) u8() uint64  { return m.uint(1) }
func (m *machine) u32() uint64 { return m.uint(4) }

func (m *machine) uint(n int) uint64 {
	var b [8]byte
	copy(b[:], m.take(uint64(n)))
	return binary.LittleEndian.Uint64(b[:])
}

// counted reads a string behind its length of n bytes.
func (m *machine) counted(n int) string { return m.take(m.uint(n)) }

// line reads up to a line feed.
func (m *machine) line(most int) string {
	if m.fatal != nil {
		return ""
	}
	rest := m.src[m.at:]
	if m.end > 0 {
		rest = m.src[m.at:max(m.at, m.end)]
	}
	n := strings.IndexByte(rest[:min(len(rest), most+1)], '\n')
	switch {
	case n >= 0:
		m.at += n + 1
		return rest[:n]
	case len(rest) > most:
		m.fail(formats.Limit, "got a line of more than %d bytes", most)
	default:
		m.fail(formats.Bounds, "got a line that does not end")
	}
	return ""
}

func (m *machine) push(v any) {
	if len(m.stack) == cap(m.stack) {
		if !m.spend(valueBytes * (2*len(m.stack) + 64)) {
			return
		}
		m.stack = slices.Grow(m.stack, len(m.stack)+64) // twice as many: append would copy more often
	}
	m.stack = append(m.stack, v)
}

// value pushes what takes memory besides its place on the stack.
func (m *machine) value(v any) {
	n, isInt := v.(int64)
	if isInt && n >= 0 && n < 256 || m.spend(valueBytes) { // Go has those ready
		m.push(v)
	}
}

// spend accounts for memory before it is taken.
func (m *machine) spend(n int) bool {
	if m.spent += n; m.spent > spared*len(m.src)+spare+m.vouched {
		m.fail(formats.Limit, "got values that take more than %d bytes, in a pickle of %d", spared*len(m.src)+spare+m.vouched, len(m.src))
		return false
	}
	return true
}

// floor is the lowest place of the stack that may be popped: values below the last mark are out of reach.
func (m *machine) floor() int {
	if n := len(m.marks); n > 0 {
		return m.marks[n-1]
	}
	return 0
}

func (m *machine) pop() any {
	if m.fatal != nil {
		return nil
	}
	n := len(m.stack)
	if n <= m.floor() {
		m.fail(formats.Bounds, "got an empty stack")
		return nil
	}
	v := m.stack[n-1]
	m.stack = m.stack[:n-1]
	return v
}

// top is what pop would give.
func (m *machine) top() any {
	v := m.pop()
	if m.fatal == nil {
		m.push(v)
	}
	return v
}

func (m *machine) mark() {
	if len(m.marks) == m.deepest {
		m.beyond(formats.DepthBound, m.deepest+1, "got more than %d open marks", m.deepest)
		return
	}
	m.marks = append(m.marks, len(m.stack))
}

// popMark gives the values above the last mark. They are valid until the next push.
func (m *machine) popMark() []any {
	if len(m.marks) == 0 {
		m.fail(formats.Bounds, "got no open mark")
		return nil
	}
	at := m.floor()
	m.marks = m.marks[:len(m.marks)-1]
	items := m.stack[at:]
	m.stack = m.stack[:at]
	return items
}

// object makes a node of copies of items.
func (m *machine) object(k kind, class *global, items []any) *node {
	n := &node{kind: k, at: int32(m.op), class: class}
	if !m.spend(nodeBytes+valueBytes*len(items)) || len(items) == 0 {
		return n
	}
	n.items = append(make([]any, 0, len(items)), items...)
	for _, v := range items {
		m.deepen(&n.depth, v)
	}
	return n
}

// deepen accounts for a value inside of another.
func (m *machine) deepen(depth *uint16, v any) {
	if d := depthOf(v) + 1; d > *depth {
		if *depth = d; int(d) > m.deepest {
			m.beyond(formats.DepthBound, int(d), "got values that nest deeper than %d", m.deepest)
		}
	}
}

func (m *machine) put(slot uint64) {
	v := m.top()
	switch n := uint64(len(m.memo)); {
	case m.fatal != nil:
	case slot < n:
		m.memo[slot] = v
	case slot == n:
		if len(m.memo) == cap(m.memo) {
			if !m.spend(valueBytes * (2*len(m.memo) + 64)) {
				return
			}
			m.memo = slices.Grow(m.memo, len(m.memo)+64)
		}
		m.memo = append(m.memo, v)
	default:
		if m.far == nil {
			m.far = map[uint32]any{}
		}
		if m.spend(5 * valueBytes) {
			m.far[uint32(slot)] = v
		}
	}
}

func (m *machine) get(slot uint64) {
	if m.fatal != nil {
		return
	}
	if slot < uint64(len(m.memo)) {
		m.push(m.memo[slot])
		return
	}
	v, ok := m.far[uint32(slot)]
	if !ok {
		m.fail(formats.Bounds, "got memo slot %d, which holds nothing", slot)
		return
	}
	m.push(v)
}
