package formats

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/bowline-ml/bowline/formats/fsio"
)

// move is a rename that Commit made, or at least tried.
type move struct{ from, to string }

// Commit makes the staged files durable and moves them to the destination. It demands that every byte of every tensor is accounted
// for, and that nothing came to the destination meanwhile. On an error the destination is what it was before, but for a single file
// that was replaced and whose new name could not be made durable: it is complete. If an fsync was what failed, the staging is
// gone too; else Abort or Keep decides.
func (w *Writer) Commit() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || w.tried {
		return w.err
	}
	if err := w.complete(); err != nil {
		return err // the caller may still write what is missing
	}
	w.tried = true
	durable, err := w.publish()
	switch {
	case err == nil:
		w.over = true
		if err = w.clear(); err != nil {
			err = Errorf(IO, "the result is complete, but not all that was in its way could be removed: %w", err).At(w.t.Dst, -1)
		}
	case !durable:
		err = errors.Join(err, w.discard())
	}
	w.err = err
	return err
}

// complete checks the account.
func (w *Writer) complete() error {
	var errs []error
	for i, p := range w.l.Places {
		if n := w.written[i].Load(); n != p.Bytes {
			errs = append(errs, Errorf(Mismatch, "got %d bytes of tensor %d, want %d", n, i, p.Bytes).At(w.staged(p.File), p.Offset))
		}
		if len(errs) == 10 {
			break
		}
	}
	if w.l.Seal != nil && !w.sealed {
		errs = append(errs, Errorf(Mismatch, "the checksums are missing").At(w.stage(), -1))
	}
	return errors.Join(errs...)
}

// publish is Commit without its beginning and end. durable is false if the staging can no longer be believed.
func (w *Writer) publish() (durable bool, err error) {
	for i := range w.files {
		if durable, err := w.settle(i); err != nil {
			return durable, err
		}
	}
	if err := w.closeFiles(); err != nil {
		return false, err
	}
	// A directory moves with its entries. A set moves file by file, and recover goes by what is still staged.
	if w.folder() {
		if err := w.syncDir(w.stage()); err != nil {
			return false, err
		}
	}
	if err := w.vacant(); err != nil {
		return true, err
	}
	durable, err = w.swap()
	if err != nil {
		err = errors.Join(err, w.undo())
	}
	return durable, err
}

// settle gives a file its last permissions and makes it durable. It stays open meanwhile: the permissions may not let us open it again.
func (w *Writer) settle(i int) (durable bool, err error) {
	durable = true
	err = w.files[i].use(false, func(f fsio.File) error {
		st, err := f.Stat()
		if err != nil {
			return err
		}
		if st.Size() != w.l.Files[i].Bytes {
			durable = false
			return Errorf(IO, "the file has %d bytes, %d were written", st.Size(), w.l.Files[i].Bytes).At(w.staged(i), -1)
		}
		if err := w.keepMode(i, 0); err != nil {
			return err
		}
		if err := w.files[i].Sync(); err != nil {
			durable = false
			return syncError(w.staged(i), err)
		}
		return nil
	})
	if err != nil {
		err = outputError("look at it", w.staged(i), err)
	}
	return durable && !w.set.failed(), err
}

// swap brings the staging to the destination. What crash tests rely on: the first file of several is there only while all are.
func (w *Writer) swap() (durable bool, err error) {
	switch {
	case w.t.Dir:
		durable, err = w.swapDir()
	case w.folder():
		durable, err = w.swapSet()
	default:
		durable, err = w.swapFile()
	}
	if err != nil {
		return durable, err
	}
	for _, d := range w.made {
		if err := w.syncDir(filepath.Dir(d)); err != nil {
			return false, err
		}
	}
	return true, nil
}

func (w *Writer) swapFile() (durable bool, err error) {
	there, err := w.look(w.t.Dst)
	if err != nil {
		return true, err
	}
	if there == nil {
		err = w.move(w.stage(), w.t.Dst)
	} else {
		err = w.replace(w.stage(), w.t.Dst)
		w.moves = nil // the old file is gone for good, so this is not undone
	}
	if err != nil {
		return true, err
	}
	return false, w.syncDir(w.parent)
}

func (w *Writer) swapDir() (durable bool, err error) {
	there, err := w.look(w.t.Dst)
	if err != nil {
		return true, err
	}
	if there != nil && there.IsDir() {
		entries, err := w.fs.ReadDir(w.t.Dst)
		if err != nil {
			return true, outputError("list it", w.t.Dst, err)
		}
		w.empty = len(entries) == 0
	}
	if there != nil && !w.empty {
		if err := w.move(w.t.Dst, w.aside(0)); err != nil {
			return true, err
		}
	}
	bring := w.move
	if w.empty {
		bring = w.replace // which replaces no directory that has got entries meanwhile
	}
	if err := bring(w.stage(), w.t.Dst); err != nil {
		return true, err
	}
	return false, w.syncDir(w.parent)
}

// swapSet takes the old first file away before anything else is touched, and brings the new one last. Between these the
// destination counts as absent. Each step is durable before the next, so that recover can tell how far it came.
func (w *Writer) swapSet() (durable bool, err error) {
	var old []int
	for i := range w.names {
		st, err := w.look(w.final(i))
		if err != nil {
			return true, err
		}
		if st != nil {
			old = append(old, i)
		}
	}
	// The first step is made durable even if it is empty: the staging directory itself has to outlive the moves out of it.
	steps := make([][]move, 4)
	for _, i := range old {
		if i == 0 {
			steps[0] = []move{{w.final(0), w.aside(0)}}
		} else {
			steps[1] = append(steps[1], move{w.final(i), w.aside(i)})
		}
	}
	for i := 1; i < len(w.names); i++ {
		steps[2] = append(steps[2], move{w.staged(i), w.final(i)})
	}
	steps[3] = []move{{w.staged(0), w.final(0)}}
	for k, step := range steps {
		for _, m := range step {
			if err := w.move(m.from, m.to); err != nil {
				return true, err
			}
		}
		if k > 0 && len(step) == 0 {
			continue
		}
		if err := w.syncDir(w.parent); err != nil {
			return false, err
		}
	}
	return true, nil
}

// move brings something to a name that is free, also if it was taken a moment ago by somebody else: that stays.
func (w *Writer) move(from, to string) error { return w.rename(from, to, w.fs.Move) }

// replace is move to a name that may be taken.
func (w *Writer) replace(from, to string) error { return w.rename(from, to, w.fs.Rename) }

// rename remembers what it does before trying: a file server may do it and report that it failed.
func (w *Writer) rename(from, to string, call func(from, to string) error) error {
	w.moves = append(w.moves, move{from, to})
	if err := call(from, to); err != nil {
		if st, err2 := w.look(from); err2 == nil && st != nil && (errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY)) {
			return Errorf(Exists, "it came into being meanwhile").At(to, -1)
		}
		return outputError("rename "+from, to, err)
	}
	// Nor is a success always one: some network file systems answer before they know.
	if st, err := w.look(from); err != nil {
		return err
	} else if st != nil {
		return Errorf(IO, "it was renamed to %s, but is still there", to).At(from, -1)
	}
	return nil
}

// undo takes the moves back, the last one first.
func (w *Writer) undo() error {
	var errs []error
	for i := len(w.moves) - 1; i >= 0; i-- {
		m := w.moves[i]
		from, err := w.look(m.from)
		if err != nil || from != nil {
			errs = append(errs, err)
			continue
		}
		if err := w.fs.Rename(m.to, m.from); err != nil {
			errs = append(errs, outputError("rename back from "+m.to, m.from, err))
		}
	}
	w.moves = nil
	if w.empty {
		if st, err := w.look(w.t.Dst); err != nil || st != nil {
			errs = append(errs, err)
		} else if err := w.fs.Mkdir(w.t.Dst); err != nil {
			errs = append(errs, outputError("make the directory", w.t.Dst, err))
		}
	}
	return errors.Join(errs...)
}

func (w *Writer) syncDir(name string) error {
	if err := w.fs.SyncDir(name); err != nil {
		return syncError(name, err)
	}
	return nil
}

// clear removes what a commit leaves: what was replaced, an empty staging directory, the lock.
func (w *Writer) clear() error {
	errs := []error{w.forget()}
	if w.folder() && !w.t.Dir {
		errs = append(errs, w.removeAll(w.stage()))
	}
	w.made = nil
	return errors.Join(append(errs, w.release())...)
}

// Abort removes the staging and releases the lock. The destination is untouched. After the end it does nothing.
func (w *Writer) Abort() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return nil
	}
	w.err = fs.ErrClosed
	return w.discard()
}

// Keep closes the files and releases the lock, but leaves the staging for Reopen. After the end it does nothing.
func (w *Writer) Keep() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return nil
	}
	w.over, w.err = true, fs.ErrClosed
	w.made = nil // they hold the staging
	return errors.Join(w.closeFiles(), w.release())
}

// ended is what a call after the end gets.
func (w *Writer) ended() error {
	if w.err != nil {
		return w.err
	}
	return fs.ErrClosed
}

// discard is the end without a result.
func (w *Writer) discard() error {
	w.over = true
	_ = w.closeFiles() // nothing of theirs is wanted
	return errors.Join(w.removeAll(w.stage()), w.release())
}

// closeFiles closes all files and returns the first error: some file systems report a failed write only here.
func (w *Writer) closeFiles() error {
	if w.closed {
		return nil
	}
	w.closed = true
	var first error
	for i, f := range w.files {
		if f == nil {
			continue
		}
		if err := f.Close(); err != nil && first == nil {
			first = outputError("close", w.staged(i), err)
		}
	}
	return first
}

// release gives back the lock and the directories that were made for nothing.
func (w *Writer) release() error {
	var err error
	if w.held != nil {
		if err = w.held.Close(); err != nil {
			err = outputError("release the lock", w.lock(), err)
		}
		w.held = nil
	}
	for i := len(w.made) - 1; i >= 0; i-- {
		if w.fs.Remove(w.made[i]) != nil {
			break // somebody else uses it by now
		}
	}
	return err
}

// removeAll removes a file, a link or a directory of files, if it is there.
func (s *site) removeAll(name string) error {
	st, err := s.look(name)
	if err != nil || st == nil {
		return err
	}
	if st.IsDir() {
		entries, err := s.fs.ReadDir(name)
		if err != nil {
			return outputError("list it", name, err)
		}
		for _, e := range entries {
			if err := s.remove(filepath.Join(name, e.Name())); err != nil {
				return err
			}
		}
	}
	return s.remove(name)
}

func (s *site) remove(name string) error {
	if err := s.fs.Remove(name); err != nil {
		return outputError("remove", name, err)
	}
	return nil
}
