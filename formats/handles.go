package formats

import (
	"errors"
	"io/fs"
	"math"
	"sync"

	"github.com/bowline-ml/bowline/formats/fsio"
)

// mostOpen is how many files of one set are open at a time. A folder may have one for each of a hundred thousand tensors, and many
// systems let a process open 1024, or 256: a source, a target and its judge have to fit.
const mostOpen = 64

// handles are the files of one set. All can be used at any time; those that were used longest ago are closed where too many are open,
// and opened again for their next use.
//
// A file that was written is synced before it is closed: a failed writeback is told to who has the file open, and forgotten when
// nobody has. After a sync that failed no file of the set can be used, so that nobody takes for written what is lost.
type handles struct {
	mu   sync.Mutex
	turn sync.Cond // what moves has moved
	open []*handle
	tick uint64
	lost error // of a sync
}

// handle is a file of a set. It is safe for concurrent use as a fsio.File is.
type handle struct {
	set    *handles
	path   string
	reopen func(string) (fsio.File, error)
	first  fs.FileInfo // what was there when it was opened first

	// All below belongs to set.mu.
	file   fsio.File // nil while it is not open
	users  int
	used   uint64 // tick of the last use
	moving bool   // it is being opened or closed
	shut   bool
	wrote  bool // data since the last sync
	owed   bool // anything since the last sync
}

// add takes over an open file. reopen opens it again.
func (s *handles) add(f fsio.File, path string, reopen func(string) (fsio.File, error)) (*handle, error) {
	first, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	h := &handle{set: s, path: path, reopen: reopen, first: first, owed: true}
	s.mu.Lock()
	if s.turn.L == nil {
		s.turn.L = &s.mu
	}
	victim := s.victim()
	h.file = f
	s.stamp(h)
	s.open = append(s.open, h)
	s.mu.Unlock()
	if err := s.close(victim); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (s *handles) stamp(h *handle) {
	s.tick++
	h.used = s.tick
}

// victim takes the file that has to make room for another off the list of those that are open; nil if there is room, or all are in use.
func (s *handles) victim() *handle {
	if len(s.open) < mostOpen {
		return nil
	}
	at, oldest := -1, uint64(math.MaxUint64)
	for i, h := range s.open {
		if h.users == 0 && h.used < oldest {
			at, oldest = i, h.used
		}
	}
	if at < 0 {
		return nil
	}
	h := s.open[at]
	s.open[at] = s.open[len(s.open)-1]
	s.open = s.open[:len(s.open)-1]
	h.moving = true
	return h
}

// close closes a victim.
func (s *handles) close(h *handle) error {
	if h == nil {
		return nil
	}
	var lost, err error
	if h.wrote {
		if lost = h.file.Sync(); lost != nil {
			lost = syncError(h.path, lost)
		}
	}
	if err = h.file.Close(); err != nil {
		err = outputError("close", h.path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.wrote {
		h.wrote, h.owed = false, false
	}
	h.file, h.moving = nil, false
	s.turn.Broadcast()
	s.lost = cmpError(s.lost, lost)
	return errors.Join(lost, err)
}

// cmpError is the first that is one.
func cmpError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// failed reports whether a sync failed.
func (s *handles) failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost != nil
}

// use calls do with the file, open. The file stays open meanwhile.
func (h *handle) use(writes bool, do func(fsio.File) error) error {
	f, err := h.hold()
	if err != nil {
		return err
	}
	err = do(f)
	h.set.mu.Lock()
	if h.users--; writes { // a write that failed too may have left something
		h.wrote, h.owed = true, true
	}
	h.set.mu.Unlock()
	return err
}

// hold opens the file if it is not, and keeps it so.
func (h *handle) hold() (fsio.File, error) {
	s := h.set
	s.mu.Lock()
	for h.moving {
		s.turn.Wait()
	}
	switch {
	case h.shut:
		s.mu.Unlock()
		return nil, fs.ErrClosed
	case s.lost != nil:
		defer s.mu.Unlock()
		return nil, s.lost
	}
	s.stamp(h)
	h.users++
	if h.file != nil {
		defer s.mu.Unlock()
		return h.file, nil
	}
	h.moving = true
	victim := s.victim()
	s.mu.Unlock()

	err := s.close(victim)
	var f fsio.File
	if err == nil {
		f, err = h.again()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h.moving = false
	s.turn.Broadcast()
	if err != nil {
		h.users--
		return nil, err
	}
	h.file = f
	s.open = append(s.open, h)
	return f, nil
}

// again opens the file once more. Its name may mean another by now.
func (h *handle) again() (fsio.File, error) {
	f, err := h.reopen(h.path)
	if err != nil {
		return nil, err
	}
	now, err := f.Stat()
	if err == nil && (!fsio.SameFile(now, h.first) || now.Size() != h.first.Size()) {
		err = Errorf(Changed, "it is not the file of %d bytes that was opened first", h.first.Size()).At(h.path, -1)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (h *handle) ReadAt(p []byte, off int64) (n int, err error) {
	err = h.use(false, func(f fsio.File) error { n, err = f.ReadAt(p, off); return err })
	return n, err
}

func (h *handle) WriteAt(p []byte, off int64) (n int, err error) {
	err = h.use(true, func(f fsio.File) error { n, err = f.WriteAt(p, off); return err })
	return n, err
}

func (h *handle) Stat() (st fs.FileInfo, err error) {
	err = h.use(false, func(f fsio.File) error { st, err = f.Stat(); return err })
	return st, err
}

// Flush is for a file that is open: what is closed is written already.
func (h *handle) Flush(off, n int64) {
	s := h.set
	s.mu.Lock()
	f := h.file
	if f == nil || h.moving || h.shut {
		s.mu.Unlock()
		return
	}
	h.users++
	s.mu.Unlock()
	f.Flush(off, n)
	s.mu.Lock()
	h.users--
	s.mu.Unlock()
}

// Sync makes the file durable, unless it is and nothing came since.
func (h *handle) Sync() error {
	h.set.mu.Lock()
	owed, lost := h.owed, h.set.lost
	h.set.mu.Unlock()
	if lost != nil || !owed {
		return lost
	}
	return h.use(false, func(f fsio.File) error {
		// What is written from here on is owed to the next sync.
		h.set.mu.Lock()
		h.wrote, h.owed = false, false
		h.set.mu.Unlock()
		err := f.Sync()
		if err != nil {
			h.set.mu.Lock()
			h.set.lost = cmpError(h.set.lost, syncError(h.path, err))
			h.set.mu.Unlock()
		}
		return err
	})
}

// Allocate sets the size. There is no data in it that could be lost, so that it is no write.
func (h *handle) Allocate(size int64) error {
	return h.use(false, func(f fsio.File) error {
		if err := f.Allocate(size); err != nil {
			return err
		}
		st, err := f.Stat()
		if err != nil {
			return err
		}
		h.set.mu.Lock()
		h.first, h.owed = st, true
		h.set.mu.Unlock()
		return nil
	})
}

// touched says that the file was changed by its name.
func (h *handle) touched() {
	h.set.mu.Lock()
	h.owed = true
	h.set.mu.Unlock()
}

// Close closes the file for good.
func (h *handle) Close() error {
	s := h.set
	s.mu.Lock()
	for h.moving {
		s.turn.Wait()
	}
	f := h.file
	for i, o := range s.open {
		if o == h {
			s.open = append(s.open[:i], s.open[i+1:]...)
			break
		}
	}
	h.shut, h.file = true, nil
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	return f.Close()
}
