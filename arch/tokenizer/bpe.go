package tokenizer

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/bowline-ml/bowline/formats"
)

// encoder is what Encode needs, made at its first use.
type encoder struct {
	split  []string
	ids    map[string]int32 // normal tokens, in byte-level spelling
	bytes  [256]int32       // the token of each byte, -1 for none
	merges map[[2]int32]merge
	// Of a SentencePiece vocabulary: the token that spells each byte, -1 for none, and the rank of each token's score.
	spelled [256]int32
	order   []int32
	added   [2]map[byte][]Added // before and after normalizing, by first byte, longest first
}

type merge struct{ rank, id int32 }

func newEncoder(v *Vocab) (*encoder, error) {
	e := &encoder{ids: make(map[string]int32, len(v.Tokens)), merges: make(map[[2]int32]merge, len(v.Merges))}
	var err error
	if e.split, err = chain(v.Pre); err != nil && !v.pieced() {
		return nil, err
	}
	for id, t := range v.Tokens {
		if v.Types[id] == Normal || v.Types[id] == Byte {
			e.ids[t] = int32(id)
		}
	}
	if v.pieced() {
		e.order = v.ordered()
		for b := range e.spelled {
			e.spelled[b] = -1
			if id, ok := e.ids[fmt.Sprintf("<0x%02X>", b)]; ok {
				e.spelled[b] = id
			}
		}
	}
	for _, a := range v.Added {
		// A merge may lead to an added token that the vocabulary lists too.
		if _, ok := e.ids[a.Content]; !ok {
			e.ids[a.Content] = int32(a.ID)
		}
		set := 0
		if a.Normalized && !v.pieced() {
			set = 1
			if a.Content, err = normal(a.Content, v.Normalizers); err != nil {
				return nil, err
			}
		}
		if a.Content == "" {
			continue
		}
		if e.added[set] == nil {
			e.added[set] = map[byte][]Added{}
		}
		e.added[set][a.Content[0]] = append(e.added[set][a.Content[0]], a)
	}
	for _, set := range e.added {
		for _, l := range set {
			slices.SortStableFunc(l, func(a, b Added) int { return len(b.Content) - len(a.Content) })
		}
	}
	for b := range e.bytes {
		e.bytes[b] = -1
		if id, ok := e.ids[string(byteRunes[b])]; ok {
			e.bytes[b] = id
		}
	}
	texts := v.texts()
	for rank, m := range v.Merges {
		// The token that a merge makes is the two texts joined. Of two merges of one pair the library keeps the later.
		id, ok := e.ids[texts[m[0]]+texts[m[1]]]
		if !ok {
			return nil, formats.Errorf(formats.Mismatch, "merge %d makes %q, which is no token", rank, short(texts[m[0]]+texts[m[1]])).In("", "merges")
		}
		e.merges[m] = merge{int32(rank), id}
	}
	return e, nil
}

// Encode gives the ids of a text as the tokenizers library does, with what its post-processor puts around it if addSpecial is set. The
// text has to be UTF-8.
func (v *Vocab) Encode(text string, addSpecial bool) ([]int, error) {
	v.once.Do(func() { v.enc, v.err = newEncoder(v) })
	if v.err != nil {
		return nil, v.err
	}
	if !utf8.ValidString(text) {
		return nil, formats.Errorf(formats.UTF8, "text is not UTF-8")
	}
	out := []int{}
	if addSpecial {
		out = append(out, v.Prefix...)
	}
	for i, s := range v.enc.extract(text, 0) {
		if s.id >= 0 {
			out = append(out, s.id)
			continue
		}
		if s.text == "" {
			continue
		}
		var err error
		if s.text, err = normal(s.text, v.Normalizers); err != nil {
			return nil, err
		}
		if v.pieced() {
			for _, p := range v.pieces(v.written(s.text, i == 0)) {
				var err error
				if out, err = v.joined(out, p, v.Merges != nil); err != nil {
					return nil, err
				}
			}
			continue
		}
		for _, s := range v.enc.extract(s.text, 1) {
			if s.id >= 0 {
				out = append(out, s.id)
				continue
			}
			for _, p := range cut(s.text, v.enc.split) {
				var err error
				if out, err = v.piece(out, p, v.IgnoreMerges); err != nil {
					return nil, err
				}
			}
		}
	}
	if addSpecial {
		out = append(out, v.Suffix...)
	}
	return out, nil
}

// segment is an added token, or text between two if id is negative.
type segment struct {
	text string
	id   int
}

// extract finds added tokens: at the leftmost place the longest, not overlapping (added_vocabulary.rs, find_matches).
func (e *encoder) extract(text string, set int) []segment {
	if len(e.added[set]) == 0 {
		return []segment{{text, -1}}
	}
	var out []segment
	from := 0
	for i := 0; i < len(text); {
		at := slices.IndexFunc(e.added[set][text[i]], func(a Added) bool { return strings.HasPrefix(text[i:], a.Content) })
		if at < 0 {
			i++
			continue
		}
		a := e.added[set][text[i]][at]
		start, stop := i, i+len(a.Content)
		i = stop
		if a.SingleWord && (endsInWord(text[:start]) || startsWithWord(text[stop:])) {
			continue
		}
		if a.LStrip {
			start = max(from, len(strings.TrimRightFunc(text[:start], unicode.IsSpace)))
		}
		if a.RStrip {
			stop += run(text[stop:], isSpace, -1)
		}
		if from < start {
			out = append(out, segment{text[from:start], -1})
		}
		out = append(out, segment{text[start:max(start, stop)], a.ID})
		from = stop
	}
	if from < len(text) {
		out = append(out, segment{text[from:], -1})
	}
	return out
}

// isWord is \w.
func isWord(r rune) bool {
	return isLetter(r) || isMark(r) || unicode.In(r, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}

func endsInWord(s string) bool {
	r, _ := utf8.DecodeLastRuneInString(s)
	return s != "" && isWord(r)
}

func startsWithWord(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return s != "" && isWord(r)
}

// forms are the normalizers that Unicode defines (UAX 15).
var forms = map[string]norm.Form{"NFC": norm.NFC, "NFD": norm.NFD, "NFKC": norm.NFKC, "NFKD": norm.NFKD}

// normal is a text after the normalizers. Of one that Unicode does not define only ASCII is known to stay as it is.
func normal(text string, normalizers []string) (string, error) {
	for _, n := range normalizers {
		f, ok := forms[n]
		switch {
		case ok:
			text = f.String(text)
		case strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 || r < ' ' }) || strings.Contains(text, "  "):
			return "", formats.Errorf(formats.Unsupported, "the text may change under the normalizer %s", formats.Escape(n, 80)).In("", "normalizer")
		}
	}
	return text, nil
}

// piece appends the ids of one piece.
func (v *Vocab) piece(out []int, p string, ignoreMerges bool) ([]int, error) {
	e := v.enc
	if ignoreMerges {
		if id, ok := e.ids[spell(p)]; ok {
			return append(out, int(id)), nil
		}
	}
	// A list of symbols, each linked to its neighbours; next is -1 at the end, and id -1 for a symbol that was merged away.
	type symbol struct{ id, prev, next int32 }
	var l []symbol
	for i := range len(p) {
		id := e.bytes[p[i]]
		if id < 0 {
			if id = int32(v.Unk); id < 0 {
				return nil, formats.Errorf(formats.Missing, "no token for byte 0x%02x", p[i]).In("", "vocab")
			}
			if v.FuseUnk && len(l) > 0 && l[len(l)-1].id == id {
				continue
			}
		}
		l = append(l, symbol{id, int32(len(l)) - 1, int32(len(l)) + 1})
	}
	l[len(l)-1].next = -1
	var q queue
	push := func(i int32) {
		if i < 0 || l[i].next < 0 {
			return
		}
		if m, ok := e.merges[[2]int32{l[i].id, l[l[i].next].id}]; ok {
			heap.Push(&q, candidate{m, i})
		}
	}
	for i := range l {
		push(int32(i))
	}
	for len(q) > 0 {
		c := heap.Pop(&q).(candidate)
		a := &l[c.at]
		if a.id < 0 || a.next < 0 {
			continue
		}
		// The pair may be another one by now.
		if m, ok := e.merges[[2]int32{a.id, l[a.next].id}]; !ok || m.id != c.id {
			continue
		}
		b := &l[a.next]
		a.id, b.id, a.next = c.id, -1, b.next
		if a.next >= 0 {
			l[a.next].prev = c.at
		}
		push(a.prev)
		push(c.at)
	}
	for i := int32(0); i >= 0; i = l[i].next {
		out = append(out, int(l[i].id))
	}
	return out, nil
}

// candidate is a merge at a place. The best is the one of the lowest rank, then the leftmost.
type candidate struct {
	merge
	at int32
}

type queue []candidate

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].rank < q[j].rank || q[i].rank == q[j].rank && q[i].at < q[j].at
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(candidate)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// unreachable is a token that its own text leads to only with ignore_merges; "" if there is none.
func (v *Vocab) unreachable() string {
	if v.once.Do(func() { v.enc, v.err = newEncoder(v) }); v.err != nil {
		return ""
	}
	for id, t := range v.Tokens {
		if v.Types[id] != Normal {
			continue
		}
		p, ok := unspell(t)
		if !ok || p == "" {
			continue
		}
		if ids, err := v.piece(nil, p, false); err != nil || len(ids) != 1 || ids[0] != id {
			return t
		}
	}
	return ""
}

// Decode gives the bytes that ids stand for. They need not be UTF-8.
func (v *Vocab) Decode(ids []int) ([]byte, error) {
	var out []byte
	for i, id := range ids {
		if id < 0 || id >= len(v.Tokens) {
			return nil, formats.Errorf(formats.Bounds, "id %d is %d, the vocabulary has %d", i, id, len(v.Tokens))
		}
		s := v.Tokens[id]
		if v.pieced() {
			if isByte(s) && v.Types[id] == Byte {
				s = string([]byte{byte(hexDigit(s[3])<<4 | hexDigit(s[4]))})
			} else if v.Types[id] == Normal {
				s = strings.ReplaceAll(s, blank, " ")
			}
			out = append(out, s...)
			continue
		}
		if v.Types[id] == Normal || v.Types[id] == Byte {
			if p, ok := unspell(s); ok {
				s = p
			}
		}
		out = append(out, s...)
	}
	return out, nil
}

// byteRunes is the byte-level spelling: printable bytes of Latin-1 stand for themselves, the others, in order, for U+0100 and on
// (GPT-2, encoder.py, bytes_to_unicode).
var byteRunes = func() (t [256]rune) {
	next := rune(0x100)
	for b := range t {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			t[b] = rune(b)
			continue
		}
		t[b] = next
		next++
	}
	return t
}()

// runeBytes is the inverse for runes below U+0144, -1 for runes that spell no byte.
var runeBytes = func() (t [0x144]int16) {
	for i := range t {
		t[i] = -1
	}
	for b, r := range byteRunes {
		t[r] = int16(b)
	}
	return t
}()

// spell gives the byte-level spelling of bytes.
func spell(p string) string {
	var b strings.Builder
	for i := range len(p) {
		b.WriteRune(byteRunes[p[i]])
	}
	return b.String()
}

// unspell is its inverse; ok is false if some rune spells no byte.
func unspell(s string) (p string, ok bool) {
	var b strings.Builder
	for _, r := range s {
		if int(r) >= len(runeBytes) || runeBytes[r] < 0 {
			return "", false
		}
		b.WriteByte(byte(runeBytes[r]))
	}
	return b.String(), true
}
