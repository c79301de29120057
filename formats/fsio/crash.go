package fsio

import (
	"io/fs"
	"slices"
)

// What a power cut leaves. The model is the weakest that POSIX and careful file systems share:
//
//   - what a file holds is durable once the file was synced after the write; a write that was not may be there, be lost, or be
//     torn at sectors of 512 bytes or pages of 4096, and a new size may be lost while later writes are kept;
//   - an entry (a new name, a rename, a removal) is durable once its directory was synced after it; one that was not may be there
//     or be lost, in any combination with others. A rename within a directory happens wholly or not at all; between two
//     directories the new name may come without the loss of the old one, but never the other way round;
//   - syncing a file does not make its name durable, nor syncing a directory the data of its files.
//
// Real file systems keep more than this. (Pillai and others, "All File Systems Are Not Created Equal", OSDI 2014, lists what they
// keep.)

type kind int

const (
	linked   kind = iota // dir[name] = node
	renamed              // dir[name] = node, and from[old] goes
	unlinked             // dir[name] goes
	wrote                // node's bytes from off
	sized                // node's size is off
	synced               // node was synced
)

// change is one line of the log. Nodes are named by number, as the log is replayed on copies.
type change struct {
	kind      kind
	node      int
	made      fs.FileMode // linked: what the node is
	dir, from int
	name, old string
	off       int64
	data      []byte
}

// apply logs a change and does it. The nodes are those that c names by number.
func (m *Mem) apply(c change, n, dir, from *node) {
	m.log = append(m.log, c)
	c.run(n, dir, from, whole)
	if n != nil {
		n.changed = len(m.log)
	}
}

// fate is what a crash did to a change: bit i stands for the i-th sector of a write (modulo 64), bit 0 for a new name, bit 1 for
// the loss of an old one.
type fate uint64

const (
	lost  fate = 0
	whole fate = ^fate(0)
	// sector is the size that disks write whole; page is that of the page cache, and of many disks.
	sector = 512
	page   = 4096
)

// run does as much of a change as its fate leaves.
func (c change) run(n, dir, from *node, f fate) {
	switch c.kind {
	case linked:
		if f&1 != 0 {
			dir.entries[c.name] = n
		}
	case renamed:
		// The old name goes only if it still means this node: it may have been given away by a change that was kept.
		if f&2 != 0 && from.entries[c.old] == n {
			delete(from.entries, c.old)
		}
		if f&1 != 0 {
			dir.entries[c.name] = n
		}
	case unlinked:
		if f&1 != 0 {
			delete(dir.entries, c.name)
		}
	case sized:
		if f&1 != 0 {
			n.resize(c.off)
		}
	case wrote:
		for i := 0; i*sector < len(c.data); i++ {
			if f>>(i%64)&1 == 0 {
				continue
			}
			part := c.data[i*sector : min(len(c.data), (i+1)*sector)]
			off := c.off + int64(i*sector)
			if end := off + int64(len(part)); end > int64(len(n.data)) {
				n.resize(end)
			}
			copy(n.data[off:], part)
		}
	}
}

func (n *node) resize(size int64) {
	if size <= int64(len(n.data)) {
		n.data = n.data[:size:size]
		return
	}
	n.data = append(n.data, make([]byte, size-int64(len(n.data)))...)
}

// image is a copy of a file system: nodes by number, entries by number.
type image struct {
	nodes map[int]*node // entries are empty; they are in names
	names map[int]map[string]int
	made  int
}

// image copies what can be reached. The caller holds the lock.
func (m *Mem) image() *image {
	im := &image{nodes: map[int]*node{}, names: map[int]map[string]int{}, made: m.made}
	for todo := []*node{m.root}; len(todo) > 0; {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if im.nodes[n.id] != nil {
			continue
		}
		im.nodes[n.id] = &node{id: n.id, kind: n.kind, data: slices.Clone(n.data), target: n.target, mode: n.mode, changed: n.changed}
		if n.kind != fs.ModeDir {
			continue
		}
		names := map[string]int{}
		for name, child := range n.entries {
			names[name] = child.id
			todo = append(todo, child)
		}
		im.names[n.id] = names
	}
	return im
}

// replay is the file system after the changes, each with its fate.
func (im *image) replay(log []change, fates []fate) *Mem {
	nodes := make(map[int]*node, len(im.nodes)+len(log))
	for id, n := range im.nodes {
		c := *n
		c.data = slices.Clone(n.data)
		nodes[id] = &c
	}
	for id, names := range im.names {
		entries := make(map[string]*node, len(names))
		for name, child := range names {
			entries[name] = nodes[child]
		}
		nodes[id].entries = entries
	}
	made := im.made
	for _, c := range log {
		if c.kind == linked && nodes[c.node] == nil {
			n := &node{id: c.node, kind: c.made, mode: 0o644}
			if c.made == fs.ModeDir {
				n.entries, n.mode = map[string]*node{}, 0o755
			}
			nodes[c.node] = n
			made = max(made, c.node+1)
		}
	}
	for i, c := range log {
		c.run(nodes[c.node], nodes[c.dir], nodes[c.from], fates[i])
	}
	s := &Mem{root: nodes[0], made: made, locked: map[*node]bool{}}
	s.base = s.image()
	return s
}

// Logged is the length of the log: how far a run has come. Crashes reports positions on this scale.
func (m *Mem) Logged() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.log)
}

// Crashes calls visit with states that a power cut may have left: for each position in the log the changes before it, of which
// those that were not durable have met different fates. Of all combinations it takes, at each position: all lost, all kept, each
// alone lost, each alone kept, all kept up to some point, each write torn in several ways, and as many random ones as random says. The
// states and their order are the same in every run. It stops at the first error of visit and returns it.
func (m *Mem) Crashes(random int, visit func(at int, state *Mem) error) error {
	m.mu.Lock()
	log, base := slices.Clone(m.log), m.base
	m.mu.Unlock()
	for at := 0; at <= len(log); at++ {
		seed := uint64(at)*0x9e3779b97f4a7c15 + 1
		for _, fates := range combinations(log[:at], random, &seed) {
			if err := visit(at, base.replay(log[:at], fates)); err != nil {
				return err
			}
		}
	}
	return nil
}

// durable is the part of each change's fate that is settled: nothing of a change that may still be lost wholly.
func durable(log []change) []fate {
	settled := make([]fate, len(log))
	safe := map[int]bool{} // synced later on, going backwards
	for i, c := range slices.Backward(log) {
		switch c.kind {
		case synced:
			safe[c.node] = true
			settled[i] = whole
		case wrote, sized:
			if safe[c.node] {
				settled[i] = whole
			}
		case renamed:
			switch {
			case safe[c.from]:
				settled[i] = whole
			case safe[c.dir]:
				settled[i] = 1
			}
		case linked, unlinked:
			if safe[c.dir] {
				settled[i] = whole
			}
		}
	}
	return settled
}

// combinations chooses the fates of the changes of a log.
func combinations(log []change, random int, seed *uint64) [][]fate {
	settled := durable(log)
	var open []int // changes that are not durable
	for i, c := range log {
		full := whole
		if c.kind == renamed {
			full = 3
		}
		if settled[i]&full != full {
			open = append(open, i)
		}
	}
	var out [][]fate
	add := func(choose func(k, i int) fate) {
		f := slices.Clone(settled)
		for k, i := range open {
			f[i] |= choose(k, i)
		}
		out = append(out, f)
	}
	only := func(yes bool, then fate) fate {
		if yes {
			return then
		}
		return lost
	}
	add(func(int, int) fate { return lost })
	if len(open) == 0 {
		return out
	}
	add(func(int, int) fate { return whole })
	for one := range open {
		add(func(k, _ int) fate { return only(k == one, whole) })
		add(func(k, _ int) fate { return only(k != one, whole) })
		add(func(k, _ int) fate { return only(k < one, whole) })
		for _, torn := range tears(log[open[one]]) {
			add(func(k, _ int) fate {
				if k == one {
					return torn
				}
				return whole
			})
		}
	}
	for range random {
		add(func(_, i int) fate {
			r := next(seed)
			choices := append(tears(log[i]), lost, whole)
			return choices[r%uint64(len(choices))]
		})
	}
	return out
}

// tears are the fates between lost and whole.
func tears(c change) []fate {
	switch {
	case c.kind == wrote && len(c.data) > sector:
		n := (len(c.data) + sector - 1) / sector
		half := fate(1)<<(min(n, 64)/2) - 1
		torn := []fate{1, half, ^half, 0x5555555555555555}
		if n > page/sector {
			torn = append(torn, 0xff, ^fate(0xff), 0x00ff00ff00ff00ff)
		}
		return torn
	case c.kind == renamed && c.dir != c.from:
		return []fate{1}
	}
	return nil
}

// next is splitmix64.
func next(seed *uint64) uint64 {
	*seed += 0x9e3779b97f4a7c15
	z := *seed
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
