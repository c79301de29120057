package convert

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// whole is the layout of all files, side files included; release closes those that are copied.
func (p *Plan) whole() (formats.Layout, func(), error) {
	l := p.Layout
	l.Files = append([]formats.FileLayout(nil), l.Files...)
	sides := formats.FileSet{FS: p.Source.FS, Dir: p.Source.Dir}
	release := func() { sides.Close() } // opened for reading: nothing can be lost
	for _, s := range p.Sides {
		part := formats.Part{File: len(l.Files), Size: s.Bytes, Data: bytes.NewReader(s.Data)}
		if s.From != "" {
			path := filepath.Join(p.Source.Dir, s.From)
			f, size, err := sides.Open(s.From)
			if err != nil {
				return l, release, formats.Errorf(formats.IO, "%w", err).At(path, -1)
			}
			if size != s.Bytes {
				return l, release, formats.Errorf(formats.Changed, "got %d bytes, want the %d that were planned", size, s.Bytes).At(path, -1)
			}
			part.Data = f
		}
		l.Files = append(l.Files, formats.FileLayout{Path: s.Path, Bytes: s.Bytes, Parts: []formats.Part{part}})
	}
	return l, release, nil
}

// occupied reports whether something is at the destination: an empty directory does not count.
func occupied(fsys fsio.FS, t formats.Target) (bool, error) {
	st, err := fsys.Lstat(t.Dst)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, formats.OutputError("look at it", t.Dst, err)
	case !t.Dir || !st.IsDir():
		return true, nil
	}
	list, err := fsys.ReadDir(t.Dst)
	if err != nil {
		return false, formats.OutputError("list it", t.Dst, err)
	}
	return len(list) > 0, nil
}

// beside is a name next to the destination that belongs to this plan's run, as package formats makes it.
func beside(t formats.Target, suffix string) string {
	return filepath.Join(filepath.Dir(t.Dst), "."+filepath.Base(t.Dst)+".bowline-"+t.ID+suffix)
}

// sweep removes what a run left beside a result that is complete because its last step, removing this, failed. What another run works on
// is locked, and stays.
func sweep(fsys fsio.FS, t formats.Target) error {
	var names []string
	for _, name := range []string{beside(t, ".receipt"), beside(t, "")} {
		if st, err := fsys.Lstat(name); err == nil {
			if st.IsDir() {
				list, err := fsys.ReadDir(name)
				if err != nil {
					return formats.OutputError("list it", name, err)
				}
				for _, e := range list {
					names = append(names, filepath.Join(name, e.Name()))
				}
			}
			names = append(names, name)
		}
	}
	lock := formats.LockName(t.Dst)
	if _, err := fsys.Lstat(lock); err != nil && len(names) == 0 {
		return nil
	}
	held, err := fsys.Lock(lock) // whose file goes when it is released
	if err != nil {
		return nil // nothing is wrong with the result
	}
	for _, name := range names {
		if err = fsys.Remove(name); err != nil {
			err = formats.OutputError("remove", name, err)
			break
		}
	}
	return errors.Join(err, held.Close())
}

// alreadyThere reports whether the destination is byte for byte what the plan would write.
func (p *Plan) alreadyThere(ctx context.Context, t formats.Target, l formats.Layout, o ExecOptions) (bool, error) {
	c, err := formats.Compare(o.FS, t, l)
	if formats.CodeOf(err) == formats.Differs {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	sums := formats.NewSums(l.Places)
	if _, _, err = p.fill(ctx, summed(l, c, sums), keptRanges{}, o); err == nil {
		err = p.Source.Check(ctx)
	}
	if err == nil {
		err = seal(l, c, sums) // what belongs to no tensor has to be right too
	}
	if err = errors.Join(err, c.Close()); formats.CodeOf(err) == formats.Differs {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return true, nil
}
