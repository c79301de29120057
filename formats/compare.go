package formats

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/bowline-ml/bowline/formats/fsio"
)

// Comparer takes what a Writer takes and compares it with a destination that exists: is it already the result? A difference is an
// error of code E_DIFFERS. WriteAt is safe for concurrent use.
type Comparer struct {
	*site
	set      handles
	files    []*handle
	compared []atomic.Int64
	bufs     sync.Pool // *[]byte of comparePiece bytes
}

const comparePiece = 256 << 10

// Compare opens the destination, which has to have all files of the layout at their sizes, no others if it is a directory, and the
// same parts. Links are followed.
func Compare(fsys fsio.FS, t Target, l Layout) (*Comparer, error) {
	s, err := newSite(fsys, t, l)
	if err != nil {
		return nil, err
	}
	c := &Comparer{site: s, compared: make([]atomic.Int64, len(l.Places))}
	c.bufs.New = func() any { b := make([]byte, comparePiece); return &b }
	if err := c.open(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Comparer) open() error {
	if c.t.Dir {
		if err := c.onlyOurs(); err != nil {
			return err
		}
	}
	for i, f := range c.l.Files {
		name := c.final(i)
		st, err := c.fs.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return Errorf(Differs, "it is not there").At(name, -1)
		case err != nil:
			return outputError("look at it", name, err)
		case !st.Mode().IsRegular():
			return Errorf(Differs, "it is no regular file").At(name, -1)
		case st.Size() != f.Bytes:
			return Errorf(Differs, "got %d bytes, want %d", st.Size(), f.Bytes).At(name, -1)
		}
		open, err := c.fs.Open(name)
		if err != nil {
			return outputError("open", name, err)
		}
		h, err := c.set.add(open, name, c.fs.Open)
		if err != nil {
			return outputError("look at it", name, err)
		}
		c.files = append(c.files, h)
	}
	// What Seal will write over a part cannot be compared before the checksums are known.
	later, err := sealed(c.l, make([]uint32, len(c.l.Places)))
	if err != nil {
		return err
	}
	for i, f := range c.l.Files {
		for _, p := range f.Parts {
			p.File = i
			if err := c.comparePart(p, spans(later, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// onlyOurs refuses a directory with other files than those of the layout.
func (c *Comparer) onlyOurs() error {
	entries, err := c.fs.ReadDir(c.t.Dst)
	if errors.Is(err, fs.ErrNotExist) {
		return Errorf(Differs, "it is not there").At(c.t.Dst, -1)
	}
	if err != nil {
		return outputError("list it", c.t.Dst, err)
	}
	for _, e := range entries {
		if !slices.Contains(c.names, e.Name()) {
			return Errorf(Differs, "it is not part of the result").At(filepath.Join(c.t.Dst, e.Name()), -1)
		}
	}
	return nil
}

// span is a range of bytes in a file.
type span struct{ begin, end int64 }

// spans are the ranges of the parts in a file, in order.
func spans(parts []Part, file int) []span {
	var out []span
	for _, p := range parts {
		if p.File == file {
			out = append(out, span{p.Offset, p.Offset + p.Size})
		}
	}
	slices.SortFunc(out, func(a, b span) int { return cmp.Compare(a.begin, b.begin) })
	return out
}

// outside calls each with what is left of s when the holes, which are in order, are cut out of it.
func (s span) outside(holes []span, each func(span) error) error {
	at := s.begin
	for _, h := range holes {
		if h.begin > at && at < s.end {
			if err := each(span{at, min(h.begin, s.end)}); err != nil {
				return err
			}
		}
		at = max(at, h.end)
	}
	if at < s.end {
		return each(span{at, s.end})
	}
	return nil
}

// comparePart compares a part, but for the holes.
func (c *Comparer) comparePart(p Part, holes []span) error {
	buf := c.bufs.Get().(*[]byte)
	defer c.bufs.Put(buf)
	return span{p.Offset, p.Offset + p.Size}.outside(holes, func(s span) error {
		cut := p
		cut.Size = s.end - p.Offset // so that the last piece ends with s
		for done := s.begin - p.Offset; done < cut.Size; {
			want, err := nextPiece(cut, done, *buf)
			if err != nil {
				return err
			}
			if err := c.compare(p.File, want, p.Offset+done); err != nil {
				return err
			}
			done += int64(len(want))
		}
		return nil
	})
}

// compare compares bytes of a file.
func (c *Comparer) compare(file int, want []byte, off int64) error {
	buf := c.bufs.Get().(*[]byte)
	defer c.bufs.Put(buf)
	for len(want) > 0 {
		got := (*buf)[:min(len(*buf), len(want))]
		if n, err := c.files[file].ReadAt(got, off); n < len(got) {
			if err == nil || err == io.EOF {
				return Errorf(Differs, "the file ends here").At(c.final(file), off+int64(n))
			}
			return Errorf(IO, "cannot read: %w", err).At(c.final(file), off)
		}
		if !bytes.Equal(got, want[:len(got)]) {
			i := 0
			for got[i] == want[i] {
				i++
			}
			return Errorf(Differs, "got byte %02x, want %02x", got[i], want[i]).At(c.final(file), off+int64(i))
		}
		want, off = want[len(got):], off+int64(len(got))
	}
	return nil
}

// WriteAt compares bytes of a tensor, from off on.
func (c *Comparer) WriteAt(tensor int, p []byte, off int64) error {
	if err := checkRange(c.l, tensor, int64(len(p)), off); err != nil {
		return err
	}
	at := c.l.Places[tensor]
	if err := c.compare(at.File, p, at.Offset+off); err != nil {
		return err
	}
	c.compared[tensor].Add(int64(len(p)))
	return nil
}

// Seal compares what is left when the tensors are done: the parts that depend on the data, and the bytes that belong to nothing and
// have to be zero. It demands that every byte of every tensor was compared, so nil means that every byte of every file is right.
func (c *Comparer) Seal(crc []uint32) error {
	for i, p := range c.l.Places {
		if n := c.compared[i].Load(); n != p.Bytes {
			return Errorf(Mismatch, "compared %d bytes of tensor %d, want %d", n, i, p.Bytes).At(c.final(p.File), p.Offset)
		}
	}
	parts, err := sealed(c.l, crc)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := c.comparePart(p, nil); err != nil {
			return err
		}
	}
	// Everything that something covers.
	all := parts
	for i, f := range c.l.Files {
		for _, p := range f.Parts {
			p.File = i
			all = append(all, p)
		}
	}
	for _, p := range c.l.Places {
		all = append(all, Part{File: p.File, Offset: p.Offset, Size: p.Bytes})
	}
	zero := make([]byte, comparePiece)
	for i, f := range c.l.Files {
		err := span{0, f.Bytes}.outside(spans(all, i), func(s span) error {
			for s.begin < s.end {
				n := min(int64(len(zero)), s.end-s.begin)
				if err := c.compare(i, zero[:n], s.begin); err != nil {
					return err
				}
				s.begin += n
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Close closes the files.
func (c *Comparer) Close() error {
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	c.files = nil
	return errors.Join(errs...)
}
