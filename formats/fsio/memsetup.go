package fsio

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// Put makes a file with this content, and the directories above it. It is for setting up a test: what it makes is durable, and
// the log so far is forgotten.
func (m *Mem) Put(name, content string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.place(name, 0)
	n.data = []byte(content)
	m.settle()
}

// PutDir, Symlink and Link are Put for a directory, a symbolic link to a target and a second name of a file.
func (m *Mem) PutDir(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.place(name, fs.ModeDir)
	m.settle()
}

func (m *Mem) Symlink(target, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.place(name, fs.ModeSymlink).target = target
	m.settle()
}

func (m *Mem) Link(old, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.get("link", old, true)
	if err != nil {
		panic(err)
	}
	dir, base, _, err := m.find(name, false)
	if err != nil {
		panic(err)
	}
	dir.entries[base] = n
	m.settle()
}

// place finds or makes a node with all that leads to it. A name in the way is a mistake in the test.
func (m *Mem) place(name string, kind fs.FileMode) *node {
	parts := strings.Split(clean(name), "/")[1:]
	at := m.root
	for i, p := range parts {
		want := fs.ModeDir
		if i == len(parts)-1 {
			want = kind
		}
		p = m.spelled(at, p)
		next := at.entries[p]
		if next == nil {
			next = m.node(want)
			at.entries[p] = next
		}
		if next.kind != want {
			panic(fmt.Sprintf("fsio: %s is in the way of %s", p, name))
		}
		at = next
	}
	return at
}

// settle makes what is there the durable start of the log. The caller holds the lock.
func (m *Mem) settle() { m.log, m.base = nil, m.image() }

// Tree is everything that is there: the content of each file, "-> target" for links, "" with a trailing slash in the name for
// directories. It is for comparing in tests.
func (m *Mem) Tree() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]string{}
	type item struct {
		name string
		n    *node
	}
	for todo := []item{{"", m.root}}; len(todo) > 0; {
		it := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for base, n := range it.n.entries {
			name := it.name + "/" + base
			switch n.kind {
			case fs.ModeDir:
				out[name+"/"] = ""
				todo = append(todo, item{name, n})
			case fs.ModeSymlink:
				out[name] = "-> " + n.target
			default:
				out[name] = string(n.data)
			}
		}
	}
	return out
}

// Clone is an independent copy of what is there now, with an empty log. Locks are not held in it: it is what another process
// would find after this one was killed.
func (m *Mem) Clone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.image().replay(nil, nil)
	s.Space, s.Fold = m.Space, m.Fold
	return s
}

// Names lists Tree's names in order.
func (m *Mem) Names() []string { return slices.Sorted(maps.Keys(m.Tree())) }
