// Package tokenizer moves vocabularies between Hugging Face tokenizer files and GGUF keys, and encodes text with them.
// It knows byte-level BPE, the kind that GPT-2 made, and SentencePiece's BPE, the kind of Llama 2; anything else is refused by name.
//
// The keys are those that llama.cpp's converter writes for the same directory (conversion/base.py, _set_vocab_gpt2; gguf-py's
// SpecialVocab). The name of the pre-tokenizer is found by structure, where that converter looks up a hash of ids that any change
// of the vocabulary breaks.
package tokenizer

import (
	"slices"
	"sync"

	"github.com/bowline-ml/bowline/formats"
)

// Type is the kind of a token, numbered as in tokenizer.ggml.token_type.
type Type int32

// The types.
const (
	Normal      Type = 1 // from the vocabulary, in byte-level spelling
	UnknownType Type = 2
	Control     Type = 3 // an added token that is special
	UserDefined Type = 4 // an added token that is text
	Unused      Type = 5 // a row without token
	Byte        Type = 6
)

// Added is a token that is found in the text before anything else is done to it.
type Added struct {
	ID      int
	Content string
	// Normalized tokens are looked for after the normalizer, the others before it.
	Special, Normalized bool
	// SingleWord tokens match between word boundaries only; LStrip and RStrip tokens take the white space beside them along.
	SingleWord, LStrip, RStrip bool
}

// Special is the id of a token with a role: "bos", "eos", "unk", "sep", "pad", "cls", "mask", "eot" or "eom".
type Special struct {
	Role string
	ID   int
}

// Add says whether the token of a role ("bos", "eos", "sep") is added to every text.
type Add struct {
	Role string
	On   bool
}

// Template is a chat template. The default one has no name.
type Template struct {
	Name, Text string
}

// Vocab is a BPE vocabulary in a form that belongs to neither side. Orders are kept, because GGUF keys have one.
// It is safe for concurrent use as long as nothing changes its fields.
type Vocab struct {
	// Tokens has the text of each id as GGUF stores it: byte-level spelling for normal tokens, plain text for added ones.
	Tokens []string
	Types  []Type
	Merges [][2]int32 // the ids of left and right part, by rank
	Added  []Added    // by id

	// Scores are those of SentencePiece: of two pairs the one that makes the token with the higher score is joined first. Nil for byte-level BPE.
	Scores []float32
	Blank  string // SentencePiece: "always" if a blank comes before every stretch of text, "first" if before the first, "" if before none
	Words  bool   // SentencePiece: no token is longer than a word

	Normalizers []string // names, in order: "NFC"
	Pre         []Step   // what cuts text into pieces
	// PreName is the runtime's name of the pre-tokenizer where the source gave one (GGUF).
	PreName      string
	IgnoreMerges bool // a piece that is a token as a whole is that token, whatever the merges say
	Unk          int  // the model's own unknown token, -1 for none
	FuseUnk      bool

	Specials []Special
	Adds     []Add
	// Prefix and Suffix are what the source's post-processor puts around a text.
	Prefix, Suffix []int
	Templates      []Template

	// AddSpacePrefix and CleanSpaces are what the source says, nil if it is silent.
	AddSpacePrefix, CleanSpaces *bool

	once sync.Once
	enc  *encoder
	err  error
}

// Special gives the id of a role, -1 if it has none.
func (v *Vocab) Special(role string) int {
	for _, s := range v.Specials {
		if s.Role == role {
			return s.ID
		}
	}
	return -1
}

// adds reports what the source says about adding the token of a role.
func (v *Vocab) adds(role string) (on, said bool) {
	for _, a := range v.Adds {
		if a.Role == role {
			return a.On, true
		}
	}
	return false, false
}

// texts are the tokens as the merges spell them: added tokens as in the source's vocabulary.
func (v *Vocab) texts() []string {
	t := slices.Clone(v.Tokens)
	for _, a := range v.Added {
		t[a.ID] = a.Content
	}
	return t
}

// short is text of a file for an error.
func short(s string) string { return formats.Escape(s, 80) }
