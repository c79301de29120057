package pytorch

import (
	"compress/flate"
	"fmt"
	"hash/crc32"
	"io"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// Limits of records that are read whole.
const (
	maxMark  = 20       // of those that hold a word or a number
	maxExtra = 32 << 20 // of all metadata
)

// opened is an archive of torch.save.
type opened struct {
	*archive
	top   string // the folder that all records are in
	notes []string
}

// parts are the records that mean something.
type parts struct {
	pickle  *record
	marks   map[string]*record // version, byteorder
	data    map[string]*record // by the key of their storage
	extra   formats.Metadata
	ignored []string
	big     bool // the data is big-endian
}

// foreign says what a file that starts with head is, if it is no archive of torch.save.
func foreign(head string) *formats.Error {
	if strings.HasPrefix(head, zipMagic[:min(len(head), len(zipMagic))]) && !numpyZip([]byte(head)) {
		return nil
	}
	if err := olderForm(head); err != nil {
		return err
	}
	return formats.Errorf(formats.Magic, "got % x at the start, want a zip archive of torch.save", head[:min(len(head), 8)])
}

// openArchive reads a zip archive.
func openArchive(f fsio.File, path string, size int64, b formats.ReadBounds) (*opened, *formats.Error) {
	z, err := readArchive(f, path, size, b)
	if err != nil {
		return nil, err
	}
	return &opened{archive: z}, nil
}

// parts sorts the records and checks those that say how to read the others. Problems are in a; nil if there are any that leave nothing to say.
func (a *opened) parts() *parts {
	if a.Err(a.path) != nil {
		return nil
	}
	p := &parts{marks: map[string]*record{}, data: map[string]*record{}}
	var extra []*record
	for i := range a.records {
		r := &a.records[i]
		top, name, ok := strings.Cut(r.name, "/")
		switch {
		case !ok:
			a.Add(a.bad(formats.BadPath, r.central, "central directory", "got record \"%s\", want all in one folder", clip(r.name)))
			continue
		case a.top == "":
			a.top = top
		case top != a.top:
			code := formats.BadPath
			if name == "data.pkl" {
				code = formats.Dup
			}
			a.Add(a.bad(code, r.central, "central directory", "got record \"%s\", want all in the folder \"%s\"", clip(r.name), clip(a.top)))
			continue
		}
		key, isData := strings.CutPrefix(name, "data/")
		switch {
		case strings.HasSuffix(name, "/") || name == "":
			if r.size != 0 {
				a.Add(a.bad(formats.Mismatch, r.central, "central directory", "got a folder \"%s\" of %d bytes", clip(r.name), r.size))
			}
		case name == "data.pkl":
			p.pickle = r
		case isData:
			p.data[key] = r
		case name == "version" || name == "byteorder":
			p.marks[name] = r
		case name == "constants.pkl" || strings.HasPrefix(name, "code/"):
			a.Add(a.bad(formats.Unsupported, r.central, "central directory", "got record \"%s\": this is a program of TorchScript, which is not read", clip(r.name)).
				Hinted("load it with torch.jit.load and save its state_dict()"))
			return nil
		case strings.HasPrefix(name, "extra/"):
			extra = append(extra, r)
		case strings.HasPrefix(name, "."): // hints of torch, which nothing here relies on
		default:
			p.ignored = append(p.ignored, name)
		}
	}
	if p.pickle == nil {
		a.Add(a.bad(formats.Missing, a.directory, "central directory", "there is no record data.pkl in %d records", len(a.records)))
		return nil
	}
	a.marks(p)
	a.extras(p, extra)
	return p
}

// marks checks the records that say how to read the others.
func (a *opened) marks(p *parts) {
	version := p.marks["version"]
	if version == nil {
		a.Add(a.bad(formats.Missing, a.directory, "version", "there is no such record, which torch.load wants"))
	} else if s, err := a.content(version, maxMark); err != nil {
		a.Add(err.In("", "version"))
	} else if n, err := strconv.Atoi(strings.TrimSuffix(s, "\n")); err != nil || n < 1 || n > 10 {
		// caffe2/serialize/versions.h, kMinSupportedFileFormatVersion and kMaxSupportedFileFormatVersion
		a.Add(a.bad(formats.Version, version.data, "version", "got \"%s\", want 1 to 10", clip(s)))
	}
	order := p.marks["byteorder"]
	if order == nil {
		return // written before torch 2.1, or without it: little
	}
	switch s, err := a.content(order, maxMark); {
	case err != nil:
		a.Add(err.In("", "byteorder"))
	case s == "big":
		p.big = true
	case s != "little":
		a.Add(a.bad(formats.Version, order.data, "byteorder", "got \"%s\", want \"little\" or \"big\"", clip(s)))
	}
}

// extras reads the texts beside the tensors (torch calls them _extra_files). The names of ours are escaped like parts of a URL.
func (a *opened) extras(p *parts, list []*record) {
	left := int64(maxExtra)
	for _, r := range list {
		name := strings.TrimPrefix(below(r.name), "extra/")
		key, err := url.PathUnescape(name)
		if err != nil {
			key = name
		}
		if left -= r.size; left < 0 || r.method != stored {
			left += r.size
			p.ignored = append(p.ignored, below(r.name))
			continue
		}
		s, failed := a.content(r, maxExtra)
		if failed != nil {
			a.Add(failed)
			continue
		}
		if !utf8.ValidString(s) || !utf8.ValidString(key) || p.extra.Get(key) != nil {
			p.ignored = append(p.ignored, below(r.name))
			continue
		}
		p.extra = append(p.extra, formats.KV{Key: key, Value: s})
	}
}

// content reads a record whole, unpacks it and verifies its checksum.
func (a *opened) content(r *record, most int64) (string, *formats.Error) {
	if r.size > most || r.packed > most {
		return "", a.bad(formats.Limit, r.data, "", "got %d bytes of record \"%s\", want at most %d", max(r.size, r.packed), clip(r.name), most)
	}
	var b strings.Builder
	sum := crc32.NewIEEE()
	var from io.Reader = io.NewSectionReader(a.f, r.data, r.packed)
	if r.method == deflated {
		from = flate.NewReader(from)
	} else {
		b.Grow(int(r.size)) // the file's size vouches for it
	}
	n, err := io.Copy(io.MultiWriter(&b, sum), io.LimitReader(from, r.size+1))
	switch {
	case err != nil && r.method == deflated:
		return "", a.bad(formats.Mismatch, r.data, "", "record \"%s\" does not unpack: %w", clip(r.name), err)
	case err != nil:
		return "", a.bad(formats.IO, r.data, "", "%w", err)
	case n < r.size && r.method == stored:
		return "", a.bad(formats.Changed, r.data+n, "", "the file became shorter while it was read: %w", io.ErrUnexpectedEOF)
	case n != r.size:
		return "", a.bad(formats.Mismatch, r.data, "", "got other than %d bytes of record \"%s\" when it was unpacked", r.size, clip(r.name))
	}
	if got := sum.Sum32(); got != r.crc {
		if r.crc != 0 || !a.unsummed() {
			return "", a.bad(formats.Mismatch, r.data, "", "got checksum %08x of record \"%s\", want %08x", got, clip(r.name), r.crc)
		}
		if len(a.notes) == 0 {
			a.notes = append(a.notes, "the archive has no checksums")
		}
	}
	return b.String(), nil
}

// unsummed reports whether no record has a checksum: torch leaves them out on demand (torch.serialization.set_crc32_options).
func (a *opened) unsummed() bool {
	for _, r := range a.records {
		if r.crc != 0 {
			return false
		}
	}
	return true
}

// pickle is the text of data.pkl and where it starts in the file: ^base if it is compressed.
func (a *opened) pickle(p *parts) (src string, base int64, err *formats.Error) {
	src, err = a.content(p.pickle, a.bounds.Of(formats.PickleBound))
	if err != nil {
		if err.Code == formats.Limit {
			err = err.Hinted("%s", formats.PickleBound.Hint(max(p.pickle.size, p.pickle.packed)))
		}
		return "", 0, err.In("", "data.pkl")
	}
	if p.pickle.method == deflated {
		return src, ^p.pickle.data, nil
	}
	return src, p.pickle.data, nil
}

// storage finds the record of a storage.
func (p *parts) storage(key string) (at, n int64, ok bool) {
	r := p.data[key]
	if r == nil {
		return 0, 0, false
	}
	return r.data, r.size, true
}

// datas makes the data of storages, one for each.
func (a *opened) datas(f io.ReaderAt, p *parts) func(*storage) *data {
	made, unsummed := map[string]*data{}, a.unsummed()
	return func(s *storage) *data {
		d := made[s.key]
		if d == nil {
			r := p.data[s.key]
			d = &data{f: f, path: a.path, name: r.name, at: r.data, bytes: r.size, want: r.crc, unknown: unsummed}
			made[s.key] = d
		}
		return d
	}
}

// unused tells of records that are not read.
func (p *parts) unused(m *machine) string {
	idle := 0
	for key := range p.data {
		if m.storages[key] == nil {
			idle++
		}
	}
	switch {
	case idle > 0 && len(p.ignored) > 0:
		return fmt.Sprintf("%d records of data are no storage of the pickle, and %d others have no meaning here, the first is %s", idle, len(p.ignored), clip(p.ignored[0]))
	case idle > 0:
		return fmt.Sprintf("%d records of data are no storage of the pickle", idle)
	case len(p.ignored) > 0:
		return fmt.Sprintf("%d records have no meaning here, the first is %s", len(p.ignored), clip(p.ignored[0]))
	}
	return ""
}
