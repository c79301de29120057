package raw

import (
	"io"
	"path/filepath"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// held is how many files stay open. A folder may have one for each of a hundred thousand tensors, which is more than systems let a program
// open; the others are opened again for each read, and reads are large.
const held = 256

// fileSet is the files of a folder.
type fileSet struct {
	formats.FileSet
	kept  map[string]fsio.File
	sizes map[string]int64
}

// open opens a file to be looked at; done comes after that.
func (s *fileSet) open(name string) (f fsio.File, size int64, done func(), err error) {
	if s.sizes == nil {
		s.kept, s.sizes = map[string]fsio.File{}, map[string]int64{}
	}
	if len(s.kept) < held {
		if f, size, err = s.FileSet.Open(name); err == nil {
			s.kept[name], s.sizes[name] = f, size
		}
		return f, size, func() {}, err
	}
	if f, err = s.FS.Open(filepath.Join(s.Dir, name)); err != nil {
		return nil, 0, nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, nil, err
	}
	s.sizes[name] = st.Size()
	return f, st.Size(), func() { f.Close() }, nil
}

// reader reads a tensor of a file.
func (s *fileSet) reader(name string, p place) io.ReaderAt {
	if f := s.kept[name]; f != nil {
		return p.in(f)
	}
	return reopened{fs: s.FS, path: filepath.Join(s.Dir, name), size: s.sizes[name], place: p}
}

// reopened is a tensor whose file is opened for each read.
type reopened struct {
	fs   fsio.FS
	path string
	size int64
	place
}

func (r reopened) ReadAt(p []byte, off int64) (n int, err error) {
	f, err := r.fs.Open(r.path)
	if err != nil {
		return 0, err
	}
	defer f.Close() // read only: nothing is lost if it fails
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if st.Size() != r.size {
		return 0, formats.Errorf(formats.Changed, "got %d bytes, there were %d when it was opened first", st.Size(), r.size).At(r.path, -1)
	}
	return r.place.in(f).ReadAt(p, off)
}
