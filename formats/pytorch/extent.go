package pytorch

import (
	"encoding/binary"
	"io"
	"math"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/index"
)

// firstRead is how much of a pickle whose length nothing tells is read before any of it was looked at.
const firstRead = 64 << 10

// stream reads pickles that follow each other from the start of a file. Only opcodes tell where one ends, so they are counted, not run,
// before the machine gets them: it always has a whole pickle, and what is behind the last one is never taken for one.
type stream struct {
	f    io.ReaderAt
	path string
	size int64
	at   int64  // of the next pickle
	from int64  // of text
	text string // what has been read
	most int64  // bytes of a pickle
}

// next gives the next pickle and where it starts. One that does not end, or has an opcode that does not exist, is given as far as it was
// read, for the machine to say what is wrong with it.
func (s *stream) next() (src string, base int64, err *formats.Error) {
	base = s.at
	pos := 0 // in the pickle
	for {
		rest := s.text[min(s.at-s.from, int64(len(s.text))):]
		n, done := opcode(rest[min(pos, len(rest)):], s.most)
		left := s.size - s.at
		switch {
		case done && n == 0:
			return rest, base, nil
		case done && int64(pos+n) > s.most:
			if int64(pos+n) > left { // which the machine knows to say
				return rest, base, nil
			}
			return "", base, s.beyond(base, int64(pos+n))
		case done:
			s.at += int64(pos + n)
			return rest[:pos+n], base, nil
		case n > 0 && n <= len(rest)-pos:
			pos += n
			continue
		}
		if int64(len(rest)) == left {
			return rest, base, nil
		}
		if int64(len(rest)) > s.most {
			return "", base, s.beyond(base, s.most+1)
		}
		// Never more than twice what the opcodes read so far have proved to be there.
		want := min(left, max(firstRead, 2*int64(len(rest))), s.most+1)
		text, failed := index.Text(s.f, s.at, want)
		if failed != nil {
			return "", base, index.Failed(s.path, s.at, failed)
		}
		s.text, s.from = text, s.at
	}
}

// beyond is the error for a pickle of need bytes at least.
func (s *stream) beyond(base, need int64) *formats.Error {
	return formats.Errorf(formats.Limit, "got a pickle of more than %d bytes", s.most).At(s.path, base).Hinted("%s", formats.PickleBound.Hint(need))
}

// opcode is the length of the opcode at the start of s with its argument, 0 if s does not hold enough to tell. done is STOP, or an
// argument that is too long for a pickle of most bytes, or, with length 0, an opcode that does not exist.
func opcode(s string, most int64) (n int, done bool) {
	if s == "" {
		return 0, false
	}
	counted := func(width int) (int, bool) {
		var b [8]byte
		if len(s) < 1+width {
			return 0, false
		}
		copy(b[:], s[1:1+width])
		n := binary.LittleEndian.Uint64(b[:])
		if n > uint64(most) {
			return 1 + width + int(min(n, math.MaxInt/2)), true
		}
		return 1 + width + int(n), false
	}
	lines := func(count int) (int, bool) {
		n := 1
		for range count {
			i := strings.IndexByte(s[n:], '\n')
			if i < 0 {
				return 0, false
			}
			n += i + 1
		}
		return n, false
	}
	switch s[0] {
	case '.':
		return 1, true
	case '(', '0', '1', '2', 'N', ')', 't', ']', 'l', 'a', 'e', '}', 'd', 's', 'u', 'R', 'b', 'Q', 'o',
		0x81, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8f, 0x90, 0x91, 0x92, 0x93, 0x94, 0x97, 0x98:
		return 1, false
	case 'K', 'q', 'h', 0x80, 0x82:
		return 2, false
	case 'M', 0x83:
		return 3, false
	case 'J', 'r', 'j', 0x84:
		return 5, false
	case 'G', 0x95:
		return 9, false
	case 'U', 'C', 0x8a, 0x8c:
		return counted(1)
	case 'T', 'X', 'B', 0x8b:
		return counted(4)
	case 0x8d, 0x8e, 0x96:
		return counted(8)
	case 'I', 'L', 'F', 'S', 'V', 'p', 'g', 'P':
		return lines(1)
	case 'c', 'i':
		return lines(2)
	}
	return 0, true
}
