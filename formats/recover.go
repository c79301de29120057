package formats

import "github.com/bowline-ml/bowline/formats/fsio"

// pending reports whether a run with the same ID left something.
func (s *site) pending() (bool, error) {
	names := []string{s.stage()}
	for i := range s.asides() {
		names = append(names, s.aside(i))
	}
	for _, n := range names {
		if st, err := s.look(n); err != nil || st != nil {
			return st != nil, err
		}
	}
	return false, nil
}

// recover clears up after a commit that a kill or a power cut ended in the middle: if the destination is absent and the old one
// is still aside, it goes back; what is aside while the destination is there has been replaced, and goes. The lock is held.
func (s *site) recover() error {
	if s.asides() == 0 {
		return nil
	}
	dst, err := s.look(s.t.Dst)
	if err != nil {
		return err
	}
	if dst != nil {
		return s.forget()
	}
	for i := s.asides() - 1; i >= 0; i-- {
		old, err := s.look(s.aside(i))
		if err != nil {
			return err
		}
		to := s.final(i)
		switch {
		case s.t.Dir:
			to = s.t.Dst
		case i == 0 && old != nil:
			// The first file stands for all: it comes when the others are there to stay.
			if err := s.fs.SyncDir(s.parent); err != nil {
				return syncError(s.parent, err)
			}
		case i > 0 && old == nil:
			brought, err := s.brought(i)
			if err == nil && brought {
				err = s.remove(to)
			}
			if err != nil {
				return err
			}
		}
		if old == nil {
			continue
		}
		if err := s.fs.Rename(s.aside(i), to); err != nil {
			return outputError("put back what was there, from "+s.aside(i), to, err)
		}
	}
	return nil
}

// brought reports whether file i of a set came to the destination by a commit that was cut short. The marks of it: the first file,
// which is made last and moved last, is staged; file i is not any more, or is under both names; and the size is right.
func (s *site) brought(i int) (bool, error) {
	first, err := s.look(s.staged(0))
	if err != nil || first == nil {
		return false, err
	}
	final, err := s.look(s.final(i))
	if err != nil || final == nil || !final.Mode().IsRegular() || final.Size() != s.l.Files[i].Bytes {
		return false, err
	}
	staged, err := s.look(s.staged(i))
	if err != nil {
		return false, err
	}
	return staged == nil || fsio.SameFile(final, staged), nil
}

// forget removes what has been replaced, the first file last: its being there is what recover goes by.
func (s *site) forget() error {
	for i := s.asides() - 1; i >= 0; i-- {
		if err := s.removeAll(s.aside(i)); err != nil {
			return err
		}
	}
	return nil
}
