package formats

import (
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/bowline-ml/bowline/formats/fsio"
)

// site is a destination with the names around it that its Writer uses. For /out/m and ID 0123456789ab they are
//
//	/out/.m.bowline-0123456789ab        the staging: a file for a target of one file, else a directory
//	/out/.m.bowline-lock                the lock: whatever is written to /out/m, one run at a time does it
//	/out/.m.bowline-0123456789ab.old    a replaced directory, or one of several replaced files, until the new one is durable
type site struct {
	fs     fsio.FS
	t      Target
	l      Layout
	parent string
	names  []string // of the files, as they will be called
	total  int64    // bytes of all files
}

// ours are the files that this tool puts into a model directory: what Over may replace even if the new layout has no such file. GGUF
// and .npy files are not here: one directory often holds several results of that kind.
var ours = []string{
	"model*.safetensors", "*.safetensors.index.json",
	"pytorch_model*.bin", "*.bin.index.json", "model.pth", "params.json", "tensors.json",
	"config.json", "generation_config.json",
	"tokenizer*", "special_tokens_map.json", "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json",
	"spiece.model", "sentencepiece.bpe.model", "chat_template.jinja", "chat_template.json",
	"preprocessor_config.json", "processor_config.json",
	"README.md", "LICENSE*", "NOTICE*",
}

// newSite checks that the target and the layout can be written at all.
func newSite(fsys fsio.FS, t Target, l Layout) (*site, error) {
	t.Dst = filepath.Clean(t.Dst)
	s := &site{fs: fsys, t: t, l: l, parent: filepath.Dir(t.Dst)}
	base := filepath.Base(t.Dst)
	if base == "." || base == ".." || base == string(filepath.Separator) || t.Dst == s.parent {
		return nil, Errorf(Usage, "the destination has to be a name in a directory").At(t.Dst, -1)
	}
	if t.ID == "" || strings.ContainsAny(t.ID, `/\`) {
		return nil, Errorf(Usage, "the id %q of the target is no name", t.ID).At(t.Dst, -1)
	}
	if len(l.Files) == 0 {
		return nil, Errorf(Missing, "the layout has no files").At(t.Dst, -1)
	}
	var errs []error
	taken := map[string]string{}
	for i, f := range l.Files {
		name := f.Path
		if i == 0 && !t.Dir {
			name = base
		}
		if !flat(name) {
			errs = append(errs, Errorf(BadPath, "not a plain file name").At(f.Path, -1))
		}
		// Some file systems fold case; a result has to be the same on all of them.
		if other, ok := taken[strings.ToLower(name)]; ok {
			errs = append(errs, Errorf(Dup, "the name is taken by %q where case does not count", other).At(f.Path, -1))
		}
		taken[strings.ToLower(name)] = name
		s.names = append(s.names, name)
		if f.Bytes < 0 || s.total+f.Bytes < 0 {
			errs = append(errs, Errorf(Overflow, "the files of the layout have more bytes than 63 bits count").At(f.Path, -1))
			break
		}
		s.total += f.Bytes
		for _, p := range f.Parts {
			if !within(p.Offset, p.Size, f.Bytes) {
				errs = append(errs, Errorf(Bounds, "a part of %d bytes does not fit %d bytes", p.Size, f.Bytes).At(f.Path, p.Offset))
			}
		}
	}
	for i, p := range l.Places {
		if p.File < 0 || p.File >= len(l.Files) {
			errs = append(errs, Errorf(Bounds, "tensor %d is in file %d of %d", i, p.File, len(l.Files)).At(t.Dst, -1))
		} else if f := l.Files[p.File]; !within(p.Offset, p.Bytes, f.Bytes) {
			errs = append(errs, Errorf(Bounds, "tensor %d of %d bytes does not fit %d bytes", i, p.Bytes, f.Bytes).At(f.Path, p.Offset))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return s, nil
}

// flat reports whether a name is that of a file in this directory on every system.
func flat(name string) bool {
	return filepath.IsLocal(name) && name != "." && !strings.ContainsAny(name, "/\\\x00")
}

// within reports whether n bytes from off are inside of size bytes.
func within(off, n, size int64) bool { return off >= 0 && n >= 0 && off <= size && n <= size-off }

// folder reports whether the staging is a directory.
func (s *site) folder() bool { return s.t.Dir || len(s.names) > 1 }

func (s *site) beside(name, suffix string) string {
	return filepath.Join(s.parent, "."+name+".bowline-"+s.t.ID+suffix)
}

func (s *site) stage() string { return s.beside(filepath.Base(s.t.Dst), "") }
func (s *site) lock() string  { return LockName(s.t.Dst) }

// LockName is the file whose lock a Writer holds while it works on a destination.
func LockName(dst string) string {
	dst = filepath.Clean(dst)
	return filepath.Join(filepath.Dir(dst), "."+filepath.Base(dst)+".bowline-lock")
}

// staged is where file i is staged, final where it will be.
func (s *site) staged(i int) string {
	if s.folder() {
		return filepath.Join(s.stage(), s.names[i])
	}
	return s.stage()
}

func (s *site) final(i int) string {
	if s.t.Dir {
		return filepath.Join(s.t.Dst, s.names[i])
	}
	return filepath.Join(s.parent, s.names[i])
}

// aside is where the old file i waits; for a directory, aside(0) is where the whole of it does.
func (s *site) aside(i int) string {
	if s.t.Dir {
		return s.beside(filepath.Base(s.t.Dst), ".old")
	}
	return s.beside(s.names[i], ".old")
}

// asides is how many names aside gives. A single file is replaced in one step and needs none.
func (s *site) asides() int {
	switch {
	case s.t.Dir:
		return 1
	case s.folder():
		return len(s.names)
	}
	return 0
}

// look is Lstat, with nil for what is not there.
func (s *site) look(name string) (fs.FileInfo, error) {
	st, err := s.fs.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, outputError("look at it", name, err)
	}
	return st, nil
}

// vacant says what stands in the way of the destination: nil if it is free, or may be replaced.
func (s *site) vacant() error {
	if s.t.Dir {
		return s.vacantDir()
	}
	first := false // what is to be replaced is there
	for i := range s.names {
		name := s.final(i)
		st, err := s.look(name)
		if err == nil {
			err = s.device(name, st)
		}
		first = first || i == 0 && st != nil
		switch {
		case err != nil:
			return err
		case st == nil:
		case i > 0 && !first:
			return Errorf(Exists, "it exists, and belongs to something else: there is no %s", filepath.Base(s.final(0))).At(name, -1).Hinted("take a directory of its own")
		case st.IsDir():
			return Errorf(Exists, "it is a directory").At(name, -1)
		case !st.Mode().IsRegular() && st.Mode()&fs.ModeSymlink == 0:
			return Errorf(Exists, "it is no regular file").At(name, -1)
		case !s.t.Over:
			return Errorf(Exists, "it exists").At(name, -1).Hinted("--force replaces it")
		}
	}
	return nil
}

// device refuses a symbolic link to a device or a pipe, as /dev/stdout is: a rename would replace the name that others write to.
func (s *site) device(name string, st fs.FileInfo) error {
	if at, err := filepath.Abs(name); err == nil && st != nil && (strings.HasPrefix(at, "/dev/") && !strings.HasPrefix(at, "/dev/shm/") || strings.HasPrefix(at, "/proc/")) {
		return Errorf(Exists, "it is the system's, and a result is a file of its own").At(name, -1)
	}
	if st == nil || st.Mode()&fs.ModeSymlink == 0 {
		return nil
	}
	to, err := s.fs.Stat(name)
	if err == nil && !to.Mode().IsRegular() && !to.IsDir() {
		return Errorf(Exists, "it is a symbolic link to a device or a pipe, and a result is a file").At(name, -1)
	}
	return nil // a link that leads nowhere is a name like any other
}

func (s *site) vacantDir() error {
	st, err := s.look(s.t.Dst)
	if err == nil {
		err = s.device(s.t.Dst, st)
	}
	if err != nil || st == nil {
		return err
	}
	if st.Mode()&fs.ModeSymlink != 0 {
		// The link is what gets replaced; what it points to is not looked at.
		if s.t.Over {
			return nil
		}
		return Errorf(Exists, "it exists, as a symbolic link").At(s.t.Dst, -1)
	}
	if !st.IsDir() {
		return Errorf(Exists, "it is no directory").At(s.t.Dst, -1)
	}
	entries, err := s.fs.ReadDir(s.t.Dst)
	if err != nil {
		return outputError("list it", s.t.Dst, err)
	}
	if len(entries) == 0 {
		return nil
	}
	if !s.t.Over {
		return Errorf(Exists, "the directory exists and is not empty").At(s.t.Dst, -1)
	}
	for _, e := range entries {
		if t := e.Type(); !t.IsRegular() && t&fs.ModeSymlink == 0 || !s.owns(e.Name()) {
			return Errorf(Exists, "the directory holds something that is not of this tool's making").
				At(filepath.Join(s.t.Dst, e.Name()), -1)
		}
	}
	return nil
}

// owns reports whether a file of this name may be replaced.
func (s *site) owns(name string) bool {
	for _, n := range s.names {
		if n == name {
			return true
		}
	}
	for _, pattern := range ours {
		if ok, err := path.Match(pattern, name); err == nil && ok {
			return true
		}
	}
	return false
}

// distinct refuses a destination that is one of the inputs, by whatever names: also where the rename would replace no more than
// a name, because a rule with exceptions is a rule to get wrong.
func (s *site) distinct(inputs []string) error {
	if len(inputs) == 0 {
		return nil
	}
	var names []string
	var there []fs.FileInfo
	// Stat follows links: what cannot be followed cannot be an input either.
	find := func(name string) (fs.FileInfo, error) {
		st, err := s.fs.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, outputError("look at it", name, err)
		}
		names, there = append(names, name), append(there, st)
		return st, nil
	}
	for i := 1; i < len(s.names) && !s.t.Dir; i++ {
		if _, err := find(s.final(i)); err != nil {
			return err
		}
	}
	// With Over, all that is in a directory goes; so does what is staged.
	for _, dir := range []string{s.t.Dst, s.stage()} {
		st, err := find(dir)
		if err != nil {
			return err
		}
		if st == nil || !st.IsDir() {
			continue
		}
		entries, err := s.fs.ReadDir(dir)
		if err != nil {
			return outputError("list it", dir, err)
		}
		for _, e := range entries {
			if _, err := find(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if len(there) == 0 {
		return nil
	}
	for _, in := range inputs {
		st, err := s.fs.Stat(in)
		if err != nil {
			return Errorf(IO, "cannot look at the input: %w", err).At(in, -1)
		}
		for i, o := range there {
			if fsio.SameFile(st, o) {
				return Errorf(SameFile, "it is the same file as the input %s", Escape(in, 1024)).At(names[i], -1)
			}
		}
	}
	return nil
}

// parents makes the directories above the destination that are missing, and returns them, outermost first.
func (s *site) parents() (made []string, err error) {
	var missing []string
	for d := s.parent; ; d = filepath.Dir(d) {
		st, err := s.fs.Stat(d)
		if err == nil {
			if !st.IsDir() {
				return nil, Errorf(Exists, "it is no directory").At(d, -1)
			}
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || d == filepath.Dir(d) {
			return nil, outputError("look at it", d, err)
		}
		missing = append(missing, d)
	}
	for i := len(missing) - 1; i >= 0; i-- {
		d := missing[i]
		// It counts as made before the attempt: a file server may do a thing and report that it failed. Only empty directories
		// are ever removed again.
		made = append(made, d)
		if err := s.fs.Mkdir(d); errors.Is(err, fs.ErrExist) {
			made = made[:len(made)-1] // another run was faster: it is theirs
		} else if err != nil {
			return made, outputError("make the directory", d, err)
		}
	}
	return made, nil
}

// outputError is an error of the file system on a path of the output.
func outputError(doing, path string, err error) error {
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	code := IO
	if fsio.Refused(err) || fsio.Impossible(err) {
		code = NoSpace
	}
	cause := err
	var p *fs.PathError
	if errors.As(err, &p) {
		cause = p.Err
	}
	return &Error{Code: code, Path: path, Offset: -1, Message: "cannot " + doing + ": " + cause.Error(), Err: err}
}
