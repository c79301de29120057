package gguf

import "hash/maphash"

// names is a set of names that somebody else holds: it keeps their numbers and half of their hashes, 11 to 22 bytes a name, where a map of
// strings would take more than the file itself. The hash is seeded at random: a file cannot be made so that its names collide.
type names struct {
	at    func(i int) string // the name with a number
	seed  maphash.Seed
	slots []slot // a power of two of them
	n     int
}

// slot is a name, or free: number is 1 more than the name's.
type slot struct{ hash, number uint32 }

// add adds the name that will have number i; false if it is there already.
func (s *names) add(name string, i int) bool {
	if 4*s.n >= 3*len(s.slots) {
		s.grow()
	}
	h := uint32(maphash.String(s.seed, name))
	k := int(h) & (len(s.slots) - 1)
	for ; s.slots[k].number != 0; k = (k + 1) & (len(s.slots) - 1) {
		if s.slots[k].hash == h && s.at(int(s.slots[k].number-1)) == name {
			return false
		}
	}
	s.slots[k] = slot{h, uint32(i) + 1}
	s.n++
	return true
}

func (s *names) grow() {
	old := s.slots
	if old == nil {
		s.seed = maphash.MakeSeed()
	}
	s.slots = make([]slot, max(64, 2*len(old)))
	for _, x := range old {
		if x.number == 0 {
			continue
		}
		k := int(x.hash) & (len(s.slots) - 1)
		for s.slots[k].number != 0 {
			k = (k + 1) & (len(s.slots) - 1)
		}
		s.slots[k] = x
	}
}

// firstEntries is how many entries a list has room for before any is read. A count is known to fit the file, but a file may be all
// hole.
const firstEntries = 512

// room gives list room for one more of n entries: for a few at first, then for all.
func room[T any](list []T, n uint64) []T {
	if len(list) < cap(list) {
		return list
	}
	size := min(n, firstEntries)
	if len(list) > 0 {
		size = n
	}
	return append(make([]T, 0, size), list...)
}
