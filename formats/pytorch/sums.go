package pytorch

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/index"
)

// Ranges of a record that are remembered: small ones that touch no other and no end are not, and none beyond so many. check reads them again.
const (
	minNoted = 16 << 10
	maxNoted = 1024
)

// checkBytes is how much check reads at once.
const checkBytes = 1 << 20

// data is the record of a storage. All reads of tensors go through it: it takes the checksum of what they read while the bytes are at hand.
type data struct {
	f       io.ReaderAt
	path    string // of the file
	name    string // of the record
	at      int64  // its first byte in the file
	bytes   int64
	want    uint32
	unknown bool // the archive has no checksums

	read atomic.Bool // some byte of it
	mu   sync.Mutex
	got  formats.Spans // within the record
}

// ReadAt reads from the file.
func (d *data) ReadAt(p []byte, off int64) (int, error) {
	n, err := d.f.ReadAt(p, off)
	if n > 0 && !d.unknown {
		d.read.Store(true)
		if n == len(p) {
			d.note(p, off-d.at)
		}
	}
	return n, err
}

// note keeps the checksums of what is new in bytes of the record.
func (d *data) note(p []byte, off int64) {
	if off < 0 || off+int64(len(p)) > d.bytes {
		return
	}
	for again := true; again; {
		fresh := d.fresh(off, off+int64(len(p)))
		for i, x := range fresh {
			fresh[i].CRC = crc32.ChecksumIEEE(p[x.From-off : x.To-off])
		}
		again = !d.keep(fresh)
	}
}

// fresh is what of a range is new and worth to be noted.
func (d *data) fresh(from, to int64) []formats.Span {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(d.got.Gaps(from, to), func(x formats.Span) bool { return !d.worth(x) })
}

// keep adds ranges that were fresh. It is false if another reader of some of these bytes has been faster: then the rest is still to be done.
func (d *data) keep(fresh []formats.Span) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := true
	for _, x := range fresh {
		if !d.worth(x) { // others have taken the entries
			continue
		}
		var ok bool
		d.got, ok = d.got.Add(x)
		all = all && ok
	}
	return all
}

// worth reports whether a range is worth an entry, or needs none of its own.
func (d *data) worth(x formats.Span) bool {
	return x.To-x.From >= minNoted && len(d.got) < maxNoted || x.From == 0 || x.To == d.bytes || d.got.Touch(x.From, x.To)
}

// check compares the checksum of the whole record. buf is scratch.
func (d *data) check(ctx context.Context, buf []byte) error {
	if d.unknown || !d.read.Load() {
		return nil
	}
	if err := d.rest(ctx, buf); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if got := d.got[0].CRC; got != d.want {
		return formats.Errorf(formats.Mismatch, "got crc32 %08x, want %08x", got, d.want).At(d.path, d.at).In("", d.name).
			Hinted("the data was damaged after it was written: copy or download the file again")
	}
	return nil
}

// rest reads all that was not noted.
func (d *data) rest(ctx context.Context, buf []byte) error {
	for {
		d.mu.Lock()
		gaps := d.got.Gaps(0, d.bytes)
		d.mu.Unlock()
		if len(gaps) == 0 {
			return nil
		}
		for at, end := gaps[0].From, gaps[0].To; at < end; {
			if err := ctx.Err(); err != nil {
				return err
			}
			p := buf[:min(end-at, int64(len(buf)))]
			if err := index.Full(d.f, p, d.at+at); err != nil {
				return index.Failed(d.path, d.at+at, err).In("", d.name)
			}
			x := formats.Span{From: at, To: at + int64(len(p)), CRC: crc32.ChecksumIEEE(p)}
			if !d.add(x) {
				break // somebody reads the tensors meanwhile: there are other gaps now
			}
			at = x.To
		}
	}
}

func (d *data) add(x formats.Span) (ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.got, ok = d.got.Add(x)
	return ok
}

// check compares the checksums of all records of which something was read.
func (c *checkpoint) check(ctx context.Context) error {
	var problems formats.Problems
	var buf []byte
	seen := map[*data]bool{}
	for i, t := range c.Tensors {
		d := c.views[i].data
		if seen[d] {
			continue
		}
		if seen[d] = true; buf == nil {
			buf = make([]byte, checkBytes)
		}
		err := d.check(ctx, buf)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, e := range formats.Errors(err) {
			if !problems.Full() {
				e.Message += c.within(d, i)
				problems.Add(e.In(t.Name, ""))
			}
		}
	}
	return problems.Err(c.dir)
}

// within names the tensors besides the first one that are in a record.
func (c *checkpoint) within(d *data, first int) string {
	const most = 4
	var names []string
	for i, t := range c.Tensors[first+1:] {
		if c.views[first+1+i].data == d {
			names = append(names, `"`+formats.Escape(t.Name, 64)+`"`)
		}
	}
	for _, a := range c.Aliases {
		if c.views[c.names[a.Of]].data == d {
			names = append(names, `"`+formats.Escape(a.Name, 64)+`"`)
		}
	}
	more := ""
	if n := len(names); n > most {
		names, more = names[:most], fmt.Sprintf(" and %d more", n-most)
	}
	if len(names) == 0 {
		return ""
	}
	return "; the record also holds " + strings.Join(names, ", ") + more
}
