package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// A splitter gives the length in bytes of the first piece of s, which is not empty. The expressions that it stands for have
// look-ahead, which package regexp lacks; and a file's expression is never run.
type splitter func(s string) int

// splitters are the known ones by their short names. Each expression covers every text, so that "Isolated" and "Removed, inverted"
// cut alike.
var splitters = map[string]splitter{
	// \p{N}, and Digits{individual_digits}: everything between two digits is one piece.
	"digit": func(s string) int {
		n := 0
		for i, r := range s {
			if !isNumber(r) && !unicode.Is(newDigits, r) {
				n = i + utf8.RuneLen(r)
				continue
			}
			if i == 0 {
				return utf8.RuneLen(r)
			}
			break
		}
		return n
	},
	// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
	"gpt2": gpt2,
	// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
	"cl100-3": cl100(3, false, "ſ"),
	// the same with \p{N}
	"cl100-1": cl100(1, false, "ſ"),
	// the same with \p{N}, and [\p{L}\p{M}] for \p{L}
	"cl100-1-marks": cl100(1, true, "ſ"),
	// The same with '[sS]|'[tT]|... spelled out, as the runtime has them: (?i:'s) matches a long s too.
	"cl100-3-ascii":       cl100(3, false, ""),
	"cl100-1-ascii":       cl100(1, false, ""),
	"cl100-1-marks-ascii": cl100(1, true, ""),
}

func gpt2(s string) int {
	if n := contraction(s); n > 0 {
		return n
	}
	sp := 0
	if s[0] == ' ' {
		sp = 1
	}
	for _, class := range []func(rune) bool{isLetter, isNumber, isOther} {
		if n := run(s[sp:], class, -1); n > 0 {
			return sp + n
		}
	}
	return spaces(s)
}

func cl100(digits int, marks bool, longS string) splitter {
	word, other := isLetter, isOther
	if marks {
		word = func(r rune) bool { return isLetter(r) || isMark(r) }
		other = func(r rune) bool { return isOther(r) && !isMark(r) }
	}
	return func(s string) int {
		if s[0] == '\'' && longS != "" && strings.HasPrefix(s[1:], longS) {
			return 1 + len(longS)
		}
		if n := contraction("'" + strings.ToLower(s[1:min(len(s), 3)])); s[0] == '\'' && n > 0 {
			return n
		}
		r, w := utf8.DecodeRuneInString(s)
		if r != '\r' && r != '\n' && !isLetter(r) && !isNumber(r) {
			if n := run(s[w:], word, -1); n > 0 {
				return w + n
			}
		}
		if n := run(s, word, -1); n > 0 {
			return n
		}
		if n := run(s, isNumber, digits); n > 0 {
			return n
		}
		sp := 0
		if r == ' ' {
			sp = 1
		}
		if n := run(s[sp:], other, -1); n > 0 {
			n += sp
			for n < len(s) && (s[n] == '\r' || s[n] == '\n') {
				n++
			}
			return n
		}
		if n := strings.LastIndexAny(s[:run(s, isSpace, -1)], "\r\n"); n >= 0 {
			return n + 1
		}
		return spaces(s)
	}
}

// contraction matches 's|'t|'re|'ve|'m|'ll|'d.
func contraction(s string) int {
	for _, c := range []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"} {
		if strings.HasPrefix(s, c) {
			return len(c)
		}
	}
	return 0
}

// spaces matches \s+(?!\S)|\s+: white space but for its last character, which belongs to the word that follows. A text that
// nothing else matches starts with white space; the length is never 0.
func spaces(s string) int {
	n := run(s, isSpace, -1)
	if n == len(s) {
		return n
	}
	_, w := utf8.DecodeLastRuneInString(s[:n])
	if n > w {
		return n - w
	}
	return max(n, 1)
}

// run is the length of the longest start of s that is in the class, of at most limit characters if that is not negative.
func run(s string, class func(rune) bool, limit int) int {
	for i, r := range s {
		if limit == 0 || !class(r) {
			return i
		}
		limit--
	}
	return len(s)
}

// The classes of the tokenizers library 0.23: Unicode 16, one edition after Go 1.26's tables.
func isLetter(r rune) bool { return unicode.IsLetter(r) || r > 0x7f && unicode.Is(newLetters, r) }
func isNumber(r rune) bool { return unicode.Is(unicode.N, r) || r > 0x7f && unicode.Is(newNumbers, r) }
func isMark(r rune) bool   { return unicode.Is(unicode.M, r) || r > 0x7f && unicode.Is(newMarks, r) }
func isSpace(r rune) bool  { return unicode.IsSpace(r) }

// isOther is [^\s\p{L}\p{N}].
func isOther(r rune) bool { return !isSpace(r) && !isLetter(r) && !isNumber(r) }

// What Unicode 15.1 and 16.0 added.
var (
	newLetters = &unicode.RangeTable{
		R16: []unicode.Range16{
			{0x1c89, 0x1c8a, 1}, {0xa7cb, 0xa7cd, 1}, {0xa7da, 0xa7dc, 1},
		},
		R32: []unicode.Range32{
			{0x105c0, 0x105f3, 1}, {0x10d4a, 0x10d65, 1}, {0x10d6f, 0x10d85, 1}, {0x10ec2, 0x10ec4, 1}, {0x11380, 0x11389, 1},
			{0x1138b, 0x1138b, 1}, {0x1138e, 0x1138e, 1}, {0x11390, 0x113b5, 1}, {0x113b7, 0x113b7, 1}, {0x113d1, 0x113d1, 1},
			{0x113d3, 0x113d3, 1}, {0x11bc0, 0x11be0, 1}, {0x13460, 0x143fa, 1}, {0x16100, 0x1611d, 1}, {0x16d40, 0x16d6c, 1},
			{0x18cff, 0x18cff, 1}, {0x1e5d0, 0x1e5ed, 1}, {0x1e5f0, 0x1e5f0, 1}, {0x2ebf0, 0x2ee5d, 1},
		},
	}
	newNumbers = &unicode.RangeTable{
		R32: []unicode.Range32{
			{0x10d40, 0x10d49, 1}, {0x116d0, 0x116e3, 1}, {0x11bf0, 0x11bf9, 1}, {0x16130, 0x16139, 1}, {0x16d70, 0x16d79, 1},
			{0x1ccf0, 0x1ccf9, 1}, {0x1e5f1, 0x1e5fa, 1},
		},
	}
	// newDigits are numbers of Unicode 17, which the library's digit step knows already and its expressions do not.
	newDigits = &unicode.RangeTable{R32: []unicode.Range32{{0x11de0, 0x11de9, 1}, {0x16ff4, 0x16ff6, 1}}}
	newMarks  = &unicode.RangeTable{
		R16: []unicode.Range16{
			{0x897, 0x897, 1},
		},
		R32: []unicode.Range32{
			{0x10d69, 0x10d6d, 1}, {0x10efc, 0x10efc, 1}, {0x113b8, 0x113c0, 1}, {0x113c2, 0x113c2, 1}, {0x113c5, 0x113c5, 1},
			{0x113c7, 0x113ca, 1}, {0x113cc, 0x113d0, 1}, {0x113d2, 0x113d2, 1}, {0x113e1, 0x113e2, 1}, {0x11f5a, 0x11f5a, 1},
			{0x1611e, 0x1612f, 1}, {0x1e5ee, 0x1e5ef, 1},
		},
	}
)
