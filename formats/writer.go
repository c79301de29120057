package formats

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/bowline-ml/bowline/formats/fsio"
)

// Target is where a Writer puts a result.
type Target struct {
	Dst  string // the destination as the user named it, cleaned
	Dir  bool   // Dst is a directory that gets all files of the layout; else Dst is the first file's name and the others go beside it
	ID   string // 12 hex digits of the plan's id
	Over bool   // replace what is there
}

const (
	// window is how much of a file is complete before its writeback is started. Starting early is what hides the final fsync
	// behind the conversion.
	window = 8 << 20
	// piece is how much of a part is copied at a time.
	piece = 1 << 20
)

// Writer stages a Layout under ".NAME.bowline-ID" beside the destination and moves it there on Commit, so that the destination is old,
// absent or complete whatever happens. WriteAt and Account are safe for concurrent use. Every Writer ends with Commit, Abort or
// Keep; after a Commit that failed, Abort or Keep is still due.
type Writer struct {
	*site
	set     handles
	files   []*handle // by index in the layout
	made    []string  // directories above the destination that did not exist
	written []atomic.Int64
	left    [][]atomic.Int64 // left[file][k]: bytes of window k that are still to come

	mu     sync.Mutex
	held   io.Closer // the lock
	closed bool      // the files are
	named  bool      // the names of the staging are durable
	sealed bool
	over   bool  // ended: by Commit, Abort, Keep or a failed fsync
	err    error // the outcome of the first Commit, or why there can be none
	tried  bool  // Commit was called
	moves  []move
	empty  bool // an empty directory was at the destination
}

// Create locks the destination, checks it, and stages the files of l at their full size with all parts that are no tensor data. inputs
// are the files that the tensors come from: none of them may be the destination. A staging that a killed run with the same ID
// left is removed.
func Create(fsys fsio.FS, t Target, l Layout, inputs []string) (*Writer, error) {
	w, err := prepare(fsys, t, l, inputs)
	if err != nil {
		return nil, err
	}
	if err := w.make(); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	return w, nil
}

// Reopen takes over the staging that an earlier run with the same ID left, and writes the parts again, but no tensor: which
// ranges can be kept the caller must know, and tell Account. The error is fs.ErrNotExist if there is no staging or its sizes are
// others; then Create begins anew.
func Reopen(fsys fsio.FS, t Target, l Layout, inputs []string) (*Writer, error) {
	s, err := newSite(fsys, t, l)
	if err != nil {
		return nil, err
	}
	if st, err := s.look(s.stage()); err != nil {
		return nil, err
	} else if st == nil {
		return nil, s.nothing()
	}
	w, err := prepare(fsys, t, l, inputs)
	if err != nil {
		return nil, err
	}
	if err := w.takeOver(); err != nil {
		return nil, errors.Join(err, w.Keep())
	}
	return w, nil
}

func (s *site) nothing() error {
	return Errorf(Missing, "there is no staging of this layout: %w", fs.ErrNotExist).At(s.stage(), -1)
}

// prepare does what comes before the first byte: the checks, the lock, and clearing up after a commit that was cut short.
func prepare(fsys fsio.FS, t Target, l Layout, inputs []string) (*Writer, error) {
	s, err := newSite(fsys, t, l)
	if err != nil {
		return nil, err
	}
	w := &Writer{site: s, written: make([]atomic.Int64, len(l.Places))}
	if err := s.distinct(inputs); err != nil {
		return nil, err
	}
	// Refusing comes before locking, which makes a file, unless something is to be cleared up that may be what is in the way.
	if err := s.vacant(); CodeOf(err) == Exists {
		if pending, err2 := s.pending(); err2 != nil || !pending {
			return nil, errors.Join(err, err2)
		}
	} else if err != nil {
		return nil, err
	}
	w.made, err = s.parents()
	if err == nil {
		w.held, err = fsys.Lock(s.lock())
		if errors.Is(err, fsio.ErrLocked) {
			err = Errorf(Locked, "another run is writing to it").At(t.Dst, -1)
		} else if err != nil {
			err = outputError("lock", s.lock(), err)
		}
	}
	if err == nil {
		err = s.recover()
	}
	if err == nil {
		err = s.vacant()
	}
	if err != nil {
		// Not Abort: a staging that is there is not of our making.
		return nil, errors.Join(err, w.release())
	}
	w.count()
	return w, nil
}

// count sets up the account of windows.
func (w *Writer) count() {
	w.left = make([][]atomic.Int64, len(w.l.Files))
	for i, f := range w.l.Files {
		w.left[i] = make([]atomic.Int64, (f.Bytes+window-1)/window)
		for _, p := range f.Parts {
			windows(p.Offset, p.Size, func(k, n int64) { w.left[i][k].Add(n) })
		}
	}
	for _, p := range w.l.Places {
		windows(p.Offset, p.Bytes, func(k, n int64) { w.left[p.File][k].Add(n) })
	}
}

// windows calls each with the windows that a range touches and the bytes that it has there.
func windows(off, n int64, each func(k, n int64)) {
	for n > 0 {
		k := off / window
		here := min(n, (k+1)*window-off)
		each(k, here)
		off, n = off+here, n-here
	}
}

// make stages the files.
func (w *Writer) make() error {
	if err := w.removeAll(w.stage()); err != nil {
		return err
	}
	room, err := w.fs.Free(w.parent)
	if err != nil {
		return outputError("tell the free space", w.parent, err)
	}
	if room < w.total {
		return Errorf(NoSpace, "the result needs %d bytes, %d are free", w.total, room).At(w.t.Dst, -1)
	}
	if w.folder() {
		if err := w.fs.Mkdir(w.stage()); err != nil {
			return outputError("make the directory", w.stage(), err)
		}
		if err := w.keepMode(-1, 0o700); err != nil {
			return err
		}
	}
	w.files = make([]*handle, len(w.names))
	// The first file is made last: if it is staged and another is not, then a commit had begun (see recover).
	for i := len(w.names) - 1; i >= 0; i-- {
		f, err := w.fs.Create(w.staged(i))
		if err != nil {
			return outputError("create", w.staged(i), err)
		}
		if w.files[i], err = w.set.add(f, w.staged(i), w.fs.OpenRW); err != nil {
			return outputError("look at it", w.staged(i), err)
		}
		// What was private stays so from the start; we ourselves must be able to write, now and when resuming.
		if err := w.keepMode(i, 0o600); err != nil {
			return err
		}
		if err := w.files[i].Allocate(w.l.Files[i].Bytes); err != nil {
			return outputError("reserve its bytes", w.staged(i), err)
		}
	}
	return w.writeParts()
}

// takeOver opens what is staged.
func (w *Writer) takeOver() error {
	if w.folder() {
		if st, err := w.look(w.stage()); err != nil {
			return err
		} else if st == nil || !st.IsDir() {
			return w.nothing()
		}
	}
	w.files = make([]*handle, len(w.names))
	for i := range w.names {
		// Lstat first: the staging is ours only if it is no link to something else.
		st, err := w.look(w.staged(i))
		if err != nil {
			return err
		}
		if st == nil || !st.Mode().IsRegular() || st.Size() != w.l.Files[i].Bytes {
			return w.nothing()
		}
		f, err := w.fs.OpenRW(w.staged(i))
		if err != nil {
			return outputError("open", w.staged(i), err)
		}
		if w.files[i], err = w.set.add(f, w.staged(i), w.fs.OpenRW); err != nil {
			return outputError("look at it", w.staged(i), err)
		}
	}
	return w.writeParts()
}

// keepMode gives staged file i, or the staged directory for -1, the permissions of what it will replace, and those of with. New names have
// the permissions that the umask leaves.
func (w *Writer) keepMode(i int, with fs.FileMode) error {
	if !w.t.Over || i < 0 && !w.t.Dir {
		return nil
	}
	old, staged := w.t.Dst, w.stage()
	if i >= 0 {
		if w.t.Dir {
			if st, err := w.look(old); err != nil || st == nil || !st.IsDir() {
				return err
			}
		}
		old, staged = w.final(i), w.staged(i)
	}
	there, err := w.look(old)
	if err != nil || there == nil {
		return err
	}
	st, err := w.fs.Lstat(staged)
	if err != nil {
		return outputError("look at it", staged, err)
	}
	mode := there.Mode().Perm() | with
	if st.Mode().Type() != there.Mode().Type() || st.Mode().Perm() == mode {
		return nil // a link has no permissions of its own
	}
	if err := w.fs.Chmod(staged, mode); err != nil {
		return outputError("set its permissions", staged, err)
	}
	if i >= 0 {
		w.files[i].touched()
	}
	return nil
}

func (w *Writer) writeParts() error {
	for i, f := range w.l.Files {
		for _, p := range f.Parts {
			if err := w.writePart(i, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *Writer) writePart(file int, p Part) error {
	buf := make([]byte, min(piece, p.Size))
	for done := int64(0); done < p.Size; {
		b, err := nextPiece(p, done, buf)
		if err != nil {
			return err
		}
		if err := w.put(file, b, p.Offset+done); err != nil {
			return err
		}
		done += int64(len(b))
	}
	return nil
}

// nextPiece reads some of a part into buf.
func nextPiece(p Part, done int64, buf []byte) ([]byte, error) {
	b := buf[:min(int64(len(buf)), p.Size-done)]
	n, err := p.Data.ReadAt(b, done)
	if n == len(b) {
		return b, nil
	}
	if err == io.EOF || err == nil {
		return nil, Errorf(Trunc, "a part has %d bytes, want %d", done+int64(n), p.Size)
	}
	return nil, Errorf(IO, "cannot read a part: %w", err)
}

// put writes bytes of a file and starts writeback of the windows that they complete.
func (w *Writer) put(file int, p []byte, off int64) error {
	n, err := w.files[file].WriteAt(p, off)
	if err == nil && n != len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return outputError("write", w.staged(file), err)
	}
	windows(off, int64(len(p)), func(k, n int64) {
		if w.left[file][k].Add(-n) == 0 {
			w.files[file].Flush(k*window, min(window, w.l.Files[file].Bytes-k*window))
		}
	})
	return nil
}

// WriteAt writes bytes of a tensor, from off on. Each byte is to be written once: the account counts bytes, not ranges.
func (w *Writer) WriteAt(tensor int, p []byte, off int64) error {
	if err := checkRange(w.l, tensor, int64(len(p)), off); err != nil {
		return err
	}
	at := w.l.Places[tensor]
	if err := w.put(at.File, p, at.Offset+off); err != nil {
		return err
	}
	w.written[tensor].Add(int64(len(p)))
	return nil
}

func checkRange(l Layout, tensor int, n, off int64) error {
	if tensor < 0 || tensor >= len(l.Places) {
		return Errorf(Bounds, "there is no tensor %d among %d", tensor, len(l.Places))
	}
	if at := l.Places[tensor]; !within(off, n, at.Bytes) {
		return Errorf(Bounds, "%d bytes from %d on are beyond the %d bytes of tensor %d", n, off, at.Bytes, tensor).
			At(l.Files[at.File].Path, at.Offset)
	}
	return nil
}

// Account says that n bytes of a tensor are there from an earlier run.
func (w *Writer) Account(tensor int, n int64) { w.written[tensor].Add(n) }

// Seal writes the parts that depend on the data: crc[i] is the IEEE CRC-32 of tensor i. Formats without such parts have none.
func (w *Writer) Seal(crc []uint32) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return w.ended()
	}
	parts, err := sealed(w.l, crc)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := w.writePart(p.File, p); err != nil {
			return err
		}
	}
	w.sealed = true
	return nil
}

// sealed is the layout's own parts for these checksums, checked.
func sealed(l Layout, crc []uint32) ([]Part, error) {
	if l.Seal == nil {
		return nil, nil
	}
	if len(crc) != len(l.Places) {
		return nil, Errorf(Bounds, "got %d checksums, want %d", len(crc), len(l.Places))
	}
	parts := l.Seal(crc)
	for _, p := range parts {
		if p.File < 0 || p.File >= len(l.Files) || !within(p.Offset, p.Size, l.Files[p.File].Bytes) {
			return nil, Errorf(Bounds, "a sealing part of %d bytes at %d of file %d does not fit", p.Size, p.Offset, p.File)
		}
	}
	return parts, nil
}

// Sync makes durable what was written so far. If it fails nothing that was written can be believed (a second fsync would succeed,
// as the kernel marks the lost pages clean: Rebello and others, "Can Applications Recover from fsync Failures?", ATC 2020), so
// the staging is removed and the Writer is at its end.
//
// The names are made durable too, once: a staging that a power cut left without a name cannot be resumed. So is every other name
// beside it that is there already, as a receipt's.
func (w *Writer) Sync() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return w.ended()
	}
	err := w.syncFiles()
	if err == nil && !w.named {
		err = w.syncNames()
		w.named = err == nil
	}
	if err != nil {
		w.err = errors.Join(err, w.discard())
		return w.err
	}
	return nil
}

// syncNames makes durable that the staging is there.
func (w *Writer) syncNames() error {
	dirs := []string{w.parent}
	if w.folder() {
		dirs = append(dirs, w.stage())
	}
	for _, d := range w.made {
		dirs = append(dirs, filepath.Dir(d))
	}
	for _, d := range dirs {
		if err := w.syncDir(d); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) syncFiles() error {
	for i, f := range w.files {
		if err := f.Sync(); err != nil {
			return syncError(w.staged(i), err)
		}
	}
	return nil
}

// syncError has one code for every cause: even "no space" comes too late to be about this write alone.
func syncError(path string, err error) error {
	if known := (*Error)(nil); errors.As(err, &known) {
		return err
	}
	return Errorf(IO, "cannot make it durable: %w", err).At(path, -1)
}

// Staged is the path of the staged file, or of the directory with the staged files.
func (w *Writer) Staged() string { return w.stage() }
