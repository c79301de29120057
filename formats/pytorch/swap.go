package pytorch

import (
	"errors"
	"io"

	"github.com/bowline-ml/bowline/formats/dtype"
)

// width is how many bytes a machine swaps at once: those of a number, of which complex ones have two (torch/storage.py, byteswap).
func width(t dtype.Type) int64 {
	if t == dtype.C64 {
		return t.BlockBytes() / 2
	}
	return t.BlockBytes()
}

// swapped is a tensor of numbers in the other byte order.
type swapped struct {
	src   io.ReaderAt
	width int64
	bytes int64
}

// ReadAt follows io.SectionReader. It reads whole numbers; those that a range cuts are read beside it.
func (s swapped) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("pytorch: negative offset")
	}
	if off >= s.bytes {
		return 0, io.EOF
	}
	var short error
	if left := s.bytes - off; int64(len(p)) > left {
		p, short = p[:left], io.EOF
	}
	done := 0
	for done < len(p) {
		at := off + int64(done)
		cut, whole := at%s.width, int64(len(p)-done)/s.width*s.width
		if cut == 0 && whole > 0 {
			part := p[done : done+int(whole)]
			n, err := s.src.ReadAt(part, at)
			if n < len(part) {
				n -= n % int(s.width)
				s.swap(part[:n])
				return done + n, failing(err)
			}
			s.swap(part)
			done += len(part)
			continue
		}
		var one [8]byte
		n, err := s.src.ReadAt(one[:s.width], at-cut)
		if n < int(s.width) {
			return done, failing(err)
		}
		s.swap(one[:s.width])
		done += copy(p[done:], one[cut:s.width])
	}
	return done, short
}

// failing is the error of a read that gave less than it should.
func failing(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (s swapped) swap(p []byte) {
	w := int(s.width)
	for ; len(p) >= w; p = p[w:] {
		for i, k := 0, w-1; i < k; i, k = i+1, k-1 {
			p[i], p[k] = p[k], p[i]
		}
	}
}
