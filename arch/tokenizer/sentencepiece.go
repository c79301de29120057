package tokenizer

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
)

// The file tokenizer.model of SentencePiece is one message of Protocol Buffers. Source: sentencepiece src/sentencepiece_model.proto.

// piece is a token of tokenizer.model. Its type is numbered as in GGUF but for user-defined ones, which GGUF takes for normal text.
type piece struct {
	text  string
	score float32
	typ   Type
}

// spModel is what is read of tokenizer.model.
type spModel struct {
	pieces       []piece
	kind         int64 // 1 Unigram, 2 BPE, 3 words, 4 characters
	byteFallback bool
	normalizer   string // its name
	charsmap     bool   // it changes characters
	prefix       bool   // it puts a blank before the text
	squeezes     bool   // it takes repeated blanks away
	suffix       bool   // blanks end words and do not begin them
}

// fieldReader walks the fields of a message.
type fieldReader struct {
	b  []byte
	at int64 // in the file, of b[0]
}

func (r *fieldReader) fail(format string, args ...any) error {
	return formats.Errorf(formats.Trunc, format, args...).At("tokenizer.model", r.at)
}

func (r *fieldReader) varint() (uint64, error) {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		return 0, r.fail("no number of at most 64 bits where one has to be: the file is cut off or is no SentencePiece model")
	}
	r.b, r.at = r.b[n:], r.at+int64(n)
	return v, nil
}

// next gives a field: its number, the value of a number, or the bytes of anything else and where they stand.
func (r *fieldReader) next() (field int64, num uint64, data fieldReader, err error) {
	key, err := r.varint()
	if err != nil {
		return 0, 0, data, err
	}
	size := uint64(0)
	switch key & 7 {
	case 0:
		num, err = r.varint()
		return int64(key >> 3), num, data, err
	case 1:
		size = 8
	case 2:
		if size, err = r.varint(); err != nil {
			return 0, 0, data, err
		}
	case 5:
		size = 4
	default:
		return 0, 0, data, r.fail("got wire type %d, want 0, 1, 2 or 5: the file is no SentencePiece model", key&7)
	}
	if size > uint64(len(r.b)) {
		return 0, 0, data, r.fail("got a field of %d bytes, %d are left", size, len(r.b))
	}
	data = fieldReader{r.b[:size], r.at}
	r.b, r.at = r.b[size:], r.at+int64(size)
	return int64(key >> 3), 0, data, nil
}

// parseModel reads tokenizer.model.
func parseModel(b []byte) (*spModel, error) {
	m := &spModel{kind: 1, prefix: true, squeezes: true} // the message's defaults
	seen := map[string]int{}
	for r := (fieldReader{b, 0}); len(r.b) > 0; {
		field, _, data, err := r.next()
		if err != nil {
			return nil, err
		}
		switch field {
		case 1:
			at := data.at
			p, err := parsePiece(data)
			if err != nil {
				return nil, err
			}
			bad := func(code formats.Code, format string, args ...any) (*spModel, error) {
				return nil, formats.Errorf(code, format, args...).At("tokenizer.model", at)
			}
			if other, ok := seen[p.text]; ok {
				return bad(formats.Dup, "pieces %d and %d are both %q", other, len(m.pieces), short(p.text))
			}
			if !utf8.ValidString(p.text) {
				return bad(formats.UTF8, "piece %d is not UTF-8", len(m.pieces))
			}
			if len(m.pieces) == maxRows {
				return bad(formats.Limit, "more than %d pieces", maxRows)
			}
			seen[p.text] = len(m.pieces)
			m.pieces = append(m.pieces, p)
		case 2, 3:
			for len(data.b) > 0 {
				f, num, text, err := data.next()
				if err != nil {
					return nil, err
				}
				switch field*100 + f {
				case 203:
					m.kind = int64(num)
				case 224:
					m.suffix = num != 0
				case 235:
					m.byteFallback = num != 0
				case 301:
					m.normalizer = string(text.b)
				case 302:
					m.charsmap = len(text.b) > 0
				case 303:
					m.prefix = num != 0
				case 304:
					m.squeezes = num != 0
				}
			}
		}
	}
	if len(m.pieces) == 0 {
		return nil, formats.Errorf(formats.Missing, "no pieces: the file is no SentencePiece model").At("tokenizer.model", 0)
	}
	return m, nil
}

func parsePiece(r fieldReader) (p piece, err error) {
	p.typ = Normal
	for len(r.b) > 0 {
		field, num, data, err := r.next()
		if err != nil {
			return p, err
		}
		switch {
		case field == 1:
			p.text = string(data.b)
		case field == 2 && len(data.b) == 4:
			p.score = math.Float32frombits(binary.LittleEndian.Uint32(data.b))
		case field == 3 && num >= 1 && num <= 6:
			p.typ = Type(num)
		case field <= 3:
			return p, data.fail("field %d of a piece is not what it has to be", field)
		}
	}
	return p, nil
}

// refuse says what a SentencePiece model is if it is not one that GGUF's vocabulary of that kind can hold.
func (m *spModel) refuse() error {
	bad := func(format string, args ...any) error {
		return formats.Errorf(formats.Unsupported, format, args...).At("tokenizer.model", -1).Hinted("a tokenizer.json of the same tokenizer")
	}
	switch {
	case m.kind == 1:
		return bad("got a Unigram model, want BPE: GGUF's vocabulary for this architecture joins pairs by their score")
	case m.kind != 2:
		return bad("got a model of words or characters, want BPE")
	case m.suffix:
		return bad("got treat_whitespace_as_suffix, which no runtime follows")
	}
	return nil
}
