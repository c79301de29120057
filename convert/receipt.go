package convert

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// A receipt stands beside the staging and says which chunks of it are durable, with their digests. It is written after the data that it
// vouches for was synced, so what it says can be kept by the next run.

// How much is made before the staging is synced and the receipt written.
const (
	receiptBytes = 256 << 20
	receiptTime  = 10 * time.Second
)

// state is what a source looked like: a change between planning and the end is an error.
type state []fileState

type fileState struct {
	Path  string `json:"path"` // name in the source's directory
	Bytes int64  `json:"bytes"`
	Time  int64  `json:"mtime"` // nanoseconds
	Inode uint64 `json:"inode"`
}

func (p *Plan) sourceState(fsys fsio.FS) (state, error) {
	var out state
	for _, path := range p.reads() {
		st, err := fsys.Stat(path)
		if err != nil {
			return nil, formats.Errorf(formats.IO, "%w", err).At(path, -1)
		}
		out = append(out, fileState{filepath.Base(path), st.Size(), st.ModTime().UnixNano(), fsio.Inode(st)})
	}
	return out, nil
}

func (s state) same(now state) error {
	for i := range s {
		if i >= len(now) || s[i] != now[i] {
			return formats.Errorf(formats.Changed, "the file changed while it was read").At(s[i].Path, -1)
		}
	}
	return nil
}

// head is the first line of a receipt.
type head struct {
	Schema  string `json:"schema"`
	PlanID  string `json:"plan_id"`
	Sources state  `json:"sources"`
}

// entry is one durable chunk.
type entry struct {
	Step int    `json:"s"`
	Off  int64  `json:"o"`
	Len  int64  `json:"n"`
	Sum  uint64 `json:"x,string"` // XXH3 of the bytes
	crc  uint32 // their CRC-32, once they were read again
}

// holds reports whether the staging has what an entry says, and fills in its checksum. The length of an entry is anybody's: it is read in pieces.
func (e *entry) holds(w *formats.Writer, buf []byte) bool {
	h := xxh3.New()
	e.crc = 0
	for off := int64(0); off < e.Len; {
		b := buf[:min(int64(len(buf)), e.Len-off)]
		if w.ReadAt(e.Step, b, e.Off+off) != nil {
			return false
		}
		h.Write(b)
		e.crc = crc32.Update(e.crc, crc32.IEEETable, b)
		off += int64(len(b))
	}
	return h.Sum64() == e.Sum
}

// keptRanges are the chunks that a resumed run need not make again.
type keptRanges struct {
	at   map[[2]int64]entry
	keep func(entry) // accounts for it
}

// use reports whether a chunk is there, and accounts for it. Entries of other chunks, as another version of this tool cut them, are not used.
func (k keptRanges) use(step int, off, n int64) bool {
	e, ok := k.at[[2]int64{int64(step), off}]
	if ok = ok && e.Len == n; ok {
		k.keep(e)
	}
	return ok
}

// receipt collects entries and writes them after their data.
type receipt struct {
	fs    fsio.FS
	path  string
	file  fsio.File
	mu    sync.Mutex
	new   []entry
	bytes int64
	due   int64 // bytes at which it is time
	at    time.Time
	size  int64
	busy  sync.Mutex // one flush at a time
}

// stage opens the staging: a new one, or what an interrupted run of the same plan over the same source left, of which every chunk that
// the receipt lists and whose bytes still have their digest is kept.
func (p *Plan) stage(t formats.Target, l formats.Layout, src state, sums *formats.Sums, o ExecOptions) (*receipt, keptRanges, *formats.Writer, error) {
	r := &receipt{fs: o.FS, path: beside(t, ".receipt"), at: time.Now(), due: o.Vouch}
	if r.due <= 0 {
		r.due = receiptBytes
	}
	inputs := sourceFiles(p.Source)
	if entries, ok := r.read(p.ID, src); ok {
		w, err := formats.Reopen(o.FS, t, l, inputs)
		if err == nil {
			kept := keptRanges{at: map[[2]int64]entry{}, keep: func(e entry) {
				w.Account(e.Step, e.Len)
				sums.AddCRC(e.Step, e.Off, e.Len, e.crc)
			}}
			buf := make([]byte, evidenceChunk)
			for _, e := range entries {
				if e.Step < 0 || e.Step >= len(p.Steps) || e.Off < 0 || e.Len <= 0 || e.Len > p.Target.Tensors[e.Step].Bytes-e.Off {
					continue
				}
				key := [2]int64{int64(e.Step), e.Off}
				if _, dup := kept.at[key]; !dup && e.holds(w, buf) {
					kept.at[key] = e
				}
			}
			return r, kept, w, nil
		}
		err = errors.Join(err, r.close())
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, keptRanges{}, nil, err
		}
	}
	w, err := formats.Create(o.FS, t, l, inputs)
	if err != nil {
		return nil, keptRanges{}, nil, err
	}
	if err := r.start(p.ID, src); err != nil {
		return nil, keptRanges{}, nil, errors.Join(err, r.discard(), w.Abort())
	}
	return r, keptRanges{}, w, nil
}

// read parses a receipt that was left; ok is false if there is none for this plan and source.
func (r *receipt) read(id string, src state) ([]entry, bool) {
	b, err := fsio.ReadFile(r.fs, r.path, 1<<30)
	if err != nil {
		return nil, false
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, 16<<20)
	var h head
	if !sc.Scan() || json.Unmarshal(sc.Bytes(), &h) != nil || h.PlanID != id || src.same(h.Sources) != nil {
		return nil, false
	}
	var out []entry
	for sc.Scan() {
		var e entry
		if json.Unmarshal(sc.Bytes(), &e) != nil {
			break // the last line may be torn
		}
		out = append(out, e)
	}
	if r.file, err = r.fs.OpenRW(r.path); err != nil {
		return nil, false
	}
	r.size = int64(bytes.LastIndexByte(b, '\n') + 1)
	return out, true
}

func (r *receipt) start(id string, src state) error {
	if err := r.fs.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r.wrap(err)
	}
	f, err := r.fs.Create(r.path)
	if err != nil {
		return r.wrap(err)
	}
	r.file, r.size = f, 0
	b, err := json.Marshal(head{"bowline.receipt/1", id, src})
	if err != nil {
		return err
	}
	return r.write(append(b, '\n'))
}

func (r *receipt) wrap(err error) error {
	return formats.OutputError("write", r.path, err)
}

func (r *receipt) write(b []byte) error {
	if _, err := r.file.WriteAt(b, r.size); err != nil {
		return r.wrap(err)
	}
	r.size += int64(len(b))
	return nil
}

// recording is a writer whose chunks are entered in the receipt.
type recording struct {
	w *formats.Writer
	r *receipt
}

func (s recording) WriteAt(tensor int, p []byte, off int64) error {
	if err := s.w.WriteAt(tensor, p, off); err != nil {
		return err
	}
	e := entry{Step: tensor, Off: off, Len: int64(len(p)), Sum: xxh3.Hash(p)}
	s.r.mu.Lock()
	s.r.new = append(s.r.new, e)
	s.r.bytes += e.Len
	due := s.r.bytes >= s.r.due || time.Since(s.r.at) >= receiptTime
	s.r.mu.Unlock()
	if due && s.r.busy.TryLock() {
		defer s.r.busy.Unlock()
		return s.r.flush(s.w)
	}
	return nil
}

// flush makes the data durable, then the entries that vouch for it.
func (r *receipt) flush(w *formats.Writer) error {
	r.mu.Lock()
	batch := r.new
	r.new, r.bytes, r.at = nil, 0, time.Now()
	r.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	if err := w.Sync(); err != nil {
		return err
	}
	var b strings.Builder
	for _, e := range batch {
		fmt.Fprintf(&b, "{\"s\":%d,\"o\":%d,\"n\":%d,\"x\":\"%d\"}\n", e.Step, e.Off, e.Len, e.Sum)
	}
	if err := r.write([]byte(b.String())); err != nil {
		return err
	}
	if err := r.file.Sync(); err != nil {
		return r.wrap(err)
	}
	return nil
}

func (r *receipt) close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// discard removes the receipt: its staging is gone, or is the result now.
func (r *receipt) discard() error {
	err := r.close()
	if e := r.fs.Remove(r.path); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, r.wrap(e))
	}
	return err
}
