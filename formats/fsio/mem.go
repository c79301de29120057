package fsio

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mem is a file system in memory for tests, with files, directories, symbolic and hard links, and POSIX's rules about them. It
// keeps a log of what changed it, from which Crashes makes the states that a power cut may leave. Relative names are below "/".
type Mem struct {
	// Space is what Free reports minus the bytes in use, and the bound beyond which files do not grow; 0 is no bound.
	Space int64
	// Fold says that names which differ in case alone are one, as on Windows and macOS. What is made keeps its spelling.
	Fold bool

	mu     sync.Mutex
	root   *node
	made   int    // nodes ever made: their numbers
	base   *image // what was there when the log began
	log    []change
	locked map[*node]bool
}

// node is a file, directory or link. Its number is its identity in the log.
type node struct {
	id      int
	kind    fs.FileMode // 0 (a file), fs.ModeDir or fs.ModeSymlink
	data    []byte
	entries map[string]*node
	target  string
	mode    fs.FileMode // permissions; the log does not have them
	changed int         // ticks; a modification time that tests can rely on
}

// NewMem is an empty file system: the directory "/".
func NewMem() *Mem {
	m := &Mem{locked: map[*node]bool{}}
	m.root = m.node(fs.ModeDir)
	m.base = m.image()
	return m
}

func (m *Mem) node(kind fs.FileMode) *node {
	n := &node{id: m.made, kind: kind, mode: 0o644, changed: len(m.log)}
	if kind == fs.ModeDir {
		n.entries, n.mode = map[string]*node{}, 0o755
	}
	m.made++
	return n
}

// clean is the absolute slash-separated form of a name.
func clean(name string) string { return path.Clean("/" + filepath.ToSlash(name)) }

func failed(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// find walks to the directory that holds a name, and to the node itself, which is nil if it is not there. Links on the way are
// followed, one at the end if follow says so.
func (m *Mem) find(name string, follow bool) (dir *node, base string, n *node, err error) {
	todo := strings.Split(clean(name), "/")[1:]
	stack := []*node{m.root} // where "name" is, so that ".." of a link's target can be followed
	for hops := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			stack = stack[:max(1, len(stack)-1)]
			continue
		}
		dir = stack[len(stack)-1]
		if dir.kind != fs.ModeDir {
			return nil, "", nil, syscall.ENOTDIR
		}
		part = m.spelled(dir, part)
		n = dir.entries[part]
		switch {
		case n == nil && len(todo) == 0:
			return dir, part, nil, nil
		case n == nil:
			return nil, "", nil, fs.ErrNotExist
		case n.kind == fs.ModeSymlink && (follow || len(todo) > 0):
			if hops++; hops > 40 {
				return nil, "", nil, errors.New("too many symbolic links")
			}
			target := filepath.ToSlash(n.target)
			if strings.HasPrefix(target, "/") {
				stack = stack[:1]
			}
			todo = append(strings.Split(target, "/"), todo...)
			continue
		case len(todo) == 0:
			return dir, part, n, nil
		}
		stack = append(stack, n)
	}
	n = stack[len(stack)-1]
	return nil, "", n, nil
}

// spelled is how a directory spells a name.
func (m *Mem) spelled(dir *node, name string) string {
	if m.Fold && dir.entries[name] == nil {
		for other := range dir.entries {
			if strings.EqualFold(other, name) {
				return other
			}
		}
	}
	return name
}

// get is find for names that must exist.
func (m *Mem) get(op, name string, follow bool) (*node, error) {
	_, _, n, err := m.find(name, follow)
	if err == nil && n == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, failed(op, name, err)
	}
	return n, nil
}

func (m *Mem) Open(name string) (File, error)   { return m.open(name, false) }
func (m *Mem) OpenRW(name string) (File, error) { return m.open(name, true) }

func (m *Mem) open(name string, rw bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.get("open", name, !rw)
	if err != nil {
		return nil, err
	}
	if n.kind != 0 {
		return nil, failed("open", name, errIrregular)
	}
	return &memFile{m: m, node: n, name: name, rw: rw}, nil
}

// add makes a node under a new name.
func (m *Mem) add(op, name string, kind fs.FileMode) (*node, error) {
	dir, base, n, err := m.find(name, false)
	if err == nil && n != nil {
		err = fs.ErrExist
	}
	if err != nil {
		return nil, failed(op, name, err)
	}
	n = m.node(kind)
	m.apply(change{kind: linked, node: n.id, made: kind, dir: dir.id, name: base}, n, dir, nil)
	return n, nil
}

func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.add("create", name, 0)
	if err != nil {
		return nil, err
	}
	return &memFile{m: m, node: n, name: name, rw: true}, nil
}

func (m *Mem) Mkdir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.add("mkdir", name, fs.ModeDir)
	return err
}

func (m *Mem) Rename(oldName, newName string) error { return m.rename(oldName, newName, true) }
func (m *Mem) Move(oldName, newName string) error   { return m.rename(oldName, newName, false) }

func (m *Mem) Chmod(name string, mode fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.get("chmod", name, true)
	if err == nil {
		n.mode = mode.Perm()
	}
	return err
}

func (m *Mem) rename(oldName, newName string, replace bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, oldBase, n, err := m.find(oldName, false)
	if err != nil || n == nil || from == nil {
		return failed("rename", oldName, cmpErr(err, fs.ErrNotExist))
	}
	to, newBase, there, err := m.find(newName, false)
	if err != nil || to == nil {
		return failed("rename", newName, cmpErr(err, fs.ErrInvalid))
	}
	switch {
	case there != nil && !replace:
		return failed("rename", newName, fs.ErrExist)
	case there == n:
		return nil
	case there == nil:
	case n.kind == fs.ModeDir && there.kind != fs.ModeDir:
		return failed("rename", newName, syscall.ENOTDIR)
	case n.kind != fs.ModeDir && there.kind == fs.ModeDir:
		return failed("rename", newName, syscall.EISDIR)
	case len(there.entries) > 0:
		return failed("rename", newName, syscall.ENOTEMPTY)
	}
	if n.kind == fs.ModeDir && strings.HasPrefix(clean(newName), clean(oldName)+"/") {
		return failed("rename", newName, fs.ErrInvalid)
	}
	m.apply(change{kind: renamed, node: n.id, dir: to.id, name: newBase, from: from.id, old: oldBase}, n, to, from)
	return nil
}

func cmpErr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, n, err := m.find(name, false)
	switch {
	case err != nil || n == nil || dir == nil:
		return failed("remove", name, cmpErr(err, fs.ErrNotExist))
	case len(n.entries) > 0:
		return failed("remove", name, syscall.ENOTEMPTY)
	}
	m.apply(change{kind: unlinked, dir: dir.id, name: base}, nil, dir, nil)
	return nil
}

func (m *Mem) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.get("syncdir", name, true)
	if err != nil {
		return err
	}
	if n.kind != fs.ModeDir {
		return failed("syncdir", name, syscall.ENOTDIR)
	}
	m.log = append(m.log, change{kind: synced, node: n.id})
	return nil
}

func (m *Mem) Stat(name string) (fs.FileInfo, error)  { return m.stat("stat", name, true) }
func (m *Mem) Lstat(name string) (fs.FileInfo, error) { return m.stat("lstat", name, false) }

func (m *Mem) stat(op, name string, follow bool) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.get(op, name, follow)
	if err != nil {
		return nil, err
	}
	return n.info(path.Base(clean(name))), nil
}

func (m *Mem) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.get("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if n.kind != fs.ModeDir {
		return nil, failed("readdir", name, syscall.ENOTDIR)
	}
	var out []fs.DirEntry
	for _, base := range slices.Sorted(maps.Keys(n.entries)) {
		out = append(out, fs.FileInfoToDirEntry(n.entries[base].info(base)))
	}
	return out, nil
}

func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _, n, err := m.find(name, false)
	if err != nil {
		return nil, failed("lock", name, err)
	}
	if n == nil {
		if n, err = m.add("lock", name, 0); err != nil {
			return nil, err
		}
	}
	if n.kind != 0 {
		return nil, failed("lock", name, errIrregular)
	}
	if m.locked[n] {
		return nil, ErrLocked
	}
	m.locked[n] = true
	return memLock{m, n, name}, nil
}

type memLock struct {
	m    *Mem
	n    *node
	name string
}

func (l memLock) Close() error {
	err := l.m.Remove(l.name)
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locked, l.n)
	return err
}

func (m *Mem) Free(dir string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.get("free", dir, true); err != nil {
		return 0, err
	}
	if m.Space == 0 {
		return math.MaxInt64, nil
	}
	return max(0, m.Space-m.used()), nil
}

// used is the bytes of all files that have a name.
func (m *Mem) used() (n int64) {
	for _, f := range m.image().nodes {
		n += int64(len(f.data))
	}
	return n
}

// info is a fs.FileInfo of a node at one moment.
type info struct {
	name string
	size int64
	tick int
	kind fs.FileMode
	mode fs.FileMode
	node *node
}

func (n *node) info(name string) info {
	return info{name, int64(len(n.data)), n.changed, n.kind, n.mode, n}
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return time.Unix(int64(i.tick), 0) }
func (i info) IsDir() bool        { return i.kind == fs.ModeDir }
func (i info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode  { return i.kind | i.mode }
