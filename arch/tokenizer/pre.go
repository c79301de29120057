package tokenizer

import (
	"fmt"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// Step is one step of a pre-tokenizer, named as in tokenizer.json. Only the fields that its kind has are set.
type Step struct {
	Kind         string // "Split", "Digits", "ByteLevel", ...
	Pattern      string // Split: as the file spells it
	Literal      bool   // Split: the pattern is a string, not an expression
	Behavior     string // Split, Punctuation
	Invert       bool   // Split
	Individual   bool   // Digits
	AddPrefix    bool   // ByteLevel: add_prefix_space
	UseRegex     bool   // ByteLevel
	TrimOffsets  bool   // ByteLevel; changes no ids
	Unrecognized string // JSON of a step that is none of these
}

// String is the canonical form, in which spelling and order of keys make no difference.
func (s Step) String() string {
	var on []string
	switch s.Kind {
	case "Split":
		p := "/" + s.Pattern + "/"
		if s.Literal {
			p = fmt.Sprintf("%q", s.Pattern)
		} else if n := known(s.Pattern); n != "" {
			p = n
		}
		on = append(on, p, s.Behavior)
		if s.Invert {
			on = append(on, "invert")
		}
	case "Punctuation":
		on = append(on, s.Behavior)
	}
	for _, f := range []struct {
		name string
		on   bool
	}{{"individual", s.Individual}, {"add_prefix_space", s.AddPrefix}, {"use_regex", s.UseRegex}} {
		if f.on {
			on = append(on, f.name)
		}
	}
	if s.Unrecognized != "" {
		on = append(on, s.Unrecognized)
	}
	return s.Kind + "{" + strings.Join(on, ", ") + "}"
}

// Canonical is the canonical form of a pre-tokenizer.
func Canonical(pre []Step) string {
	if len(pre) == 0 {
		return "none"
	}
	l := make([]string, len(pre))
	for i, s := range pre {
		l[i] = s.String()
	}
	return strings.Join(l, " ")
}

// splitter is the short name of the splitter of a step, "" for a step that does not cut. ok is false for a step that is not known.
func (s Step) splitter() (name string, ok bool) {
	switch s.Kind {
	case "Digits":
		return "digit", s.Individual
	case "ByteLevel":
		if s.UseRegex {
			name = "gpt2"
		}
		return name, !s.AddPrefix
	case "Split":
		name = known(s.Pattern)
		isolated := s.Behavior == "Isolated" && !s.Invert
		// The pieces that match are kept and the rest is dropped; but for "digit", nothing is left.
		matches := s.Behavior == "Removed" && s.Invert && name != "digit"
		return name, name != "" && !s.Literal && (isolated || matches)
	}
	return "", false
}

// chain is the short names of the splitters of a pre-tokenizer that ends in byte-level text.
func chain(pre []Step) ([]string, error) {
	var out []string
	bytes := false
	for _, s := range pre {
		n, ok := s.splitter()
		if !ok || bytes {
			return nil, formats.Errorf(formats.Unsupported, "pre-tokenizer is %s", Canonical(pre)).In("", "pre_tokenizer")
		}
		if n != "" {
			out = append(out, n)
		}
		bytes = s.Kind == "ByteLevel"
	}
	if !bytes {
		return nil, formats.Errorf(formats.Unsupported, "pre-tokenizer is %s, want one that ends in ByteLevel", Canonical(pre)).In("", "pre_tokenizer")
	}
	return out, nil
}

// cut applies splitters one after the other.
func cut(text string, names []string) []string {
	pieces := []string{text}
	for _, n := range names {
		f := splitters[n]
		var next []string
		for _, p := range pieces {
			for len(p) > 0 {
				k := f(p)
				next = append(next, p[:k])
				p = p[k:]
			}
		}
		pieces = next
	}
	if text == "" {
		return nil
	}
	return pieces
}

// spellings are the ways in which published files write the same expression.
var spellings = strings.NewReplacer(
	"\r", `\r`, "\n", `\n`,
	`(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])`, "ASCII",
	`'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])`, "ASCII",
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)`, "FOLD",
	`'(?i:[sdmt]|ll|ve|re)`, "FOLD",
	// Possessive where the next class excludes what was taken: no difference.
	`]?+\p{L}`, `]?\p{L}`,
	`\p{N}]++[`, `\p{N}]+[`,
	`\p{N}{1}`, `\p{N}`,
	// \s* takes line ends too, so both end at the last one of the white space.
	`|\s*[\r\n]|`, `|\s*[\r\n]+|`,
)

// known is the short name of an expression, "" if it is none of the known ones.
func known(regex string) string {
	const (
		head = `|[^\r\n\p{L}\p{N}]?\p{L}+|`
		tail = `| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
		gpt2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`
	)
	s := spellings.Replace(regex)
	suffix := ""
	if t, ok := strings.CutPrefix(s, "ASCII"); ok {
		s, suffix = "FOLD"+t, "-ascii"
	}
	switch s {
	case `\p{N}`:
		return "digit"
	case gpt2, gpt2 + `|\s+`: // what does not match is a piece too
		return "gpt2"
	case "FOLD" + head + `\p{N}{1,3}` + tail:
		return "cl100-3" + suffix
	case "FOLD" + head + `\p{N}` + tail:
		return "cl100-1" + suffix
	case `FOLD|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`:
		return "cl100-1-marks" + suffix
	}
	return ""
}
