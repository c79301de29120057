package diff

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// runner compares pairs chunk by chunk, on its workers.
type runner struct {
	workers   int
	progress  func(done, total int64)
	scratches sync.Pool // *scratch
}

// cell is how many values a chunk has, if the units of the views allow; most is the largest unit that chunks respect, in bytes.
const (
	cell = 128 << 10
	most = 4 << 20
)

// group is pairs that share tensors, which are read once for all of them: an embedding, and the two of an untied model beside it.
type group struct {
	sides []*logical
	pairs []*pair
	step  int64 // values
}

// groups joins the pairs that share a tensor and have one shape. They are in the order of a's file.
func groups(pairs []*pair) []*group {
	of := map[*logical]*group{}
	var out []*group
	for _, p := range pairs {
		if !p.comparable() || p.x.elems() == 0 {
			continue
		}
		g := of[p.x]
		if g == nil {
			g = of[p.y]
		}
		if g == nil {
			g = &group{}
			out = append(out, g)
		}
		for _, l := range []*logical{p.x, p.y} {
			of[l] = g
			if !slices.Contains(g.sides, l) {
				g.sides = append(g.sides, l)
			}
		}
		g.pairs = append(g.pairs, p)
	}
	for _, g := range out {
		g.step = step(g.sides, cell)
		for _, p := range g.pairs {
			p.parts = make([]stats, g.chunks())
		}
	}
	slices.SortStableFunc(out, func(a, b *group) int {
		s, t := a.sides[0], b.sides[0]
		return cmp.Or(cmp.Compare(s.path, t.path), cmp.Compare(s.stored.Offset, t.stored.Offset))
	})
	return out
}

func (g *group) chunks() int64 { return (g.sides[0].elems() + g.step - 1) / g.step }

// step is how many values to read at once, about as many as are wanted, so that no view reads a byte twice and no block is cut.
func step(sides []*logical, want int64) int64 {
	u, largest := int64(256), int64(256) // a multiple of every type's block
	for _, l := range sides {
		k := l.view.Cut(0, 1)
		if k > most || k <= 0 { // such units are cut anywhere
			continue
		}
		n := l.values(k)
		if n > 1 && n < l.elems() {
			u, largest = lcm(u, n), max(largest, n)
		}
		if u > most {
			u = largest
		}
	}
	return max(1, want/u) * u
}

func lcm(a, b int64) int64 {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}

// compare fills the results. What differs is read again where the signal of its equal parts is not known.
func (r *runner) compare(ctx context.Context, pairs []*pair) error {
	list := groups(pairs)
	if err := r.pass(ctx, list, nil, r.progress); err != nil {
		return err
	}
	var again []*group
	for _, g := range list {
		c := &group{sides: g.sides, step: g.step}
		for _, p := range g.pairs {
			if slices.ContainsFunc(p.parts, func(s stats) bool { return s.differing > 0 }) && slices.ContainsFunc(p.parts, func(s stats) bool { return s.skipped }) {
				c.pairs = append(c.pairs, p)
			}
		}
		if len(c.pairs) > 0 {
			again = append(again, c)
		}
	}
	skipped := func(g *group, i int64) bool {
		return slices.ContainsFunc(g.pairs, func(p *pair) bool { return p.parts[i].skipped })
	}
	if err := r.pass(ctx, again, skipped, nil); err != nil {
		return err
	}
	for _, p := range pairs {
		p.judge()
	}
	return nil
}

// pass compares all chunks, or fully those that want says.
func (r *runner) pass(ctx context.Context, list []*group, want func(*group, int64) bool, progress func(done, total int64)) error {
	type task struct {
		g *group
		i int64
	}
	var done atomic.Int64
	total := int64(0)
	for _, g := range list {
		total += g.sides[0].view.Size()
	}
	tasks := make(chan task)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(tasks)
		for _, g := range list {
			for i := range g.chunks() {
				if want != nil && !want(g, i) {
					continue
				}
				select {
				case tasks <- task{g, i}:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return ctx.Err()
	})
	for range max(r.workers, 1) {
		g.Go(func() error {
			s, _ := r.scratches.Get().(*scratch)
			if s == nil {
				s = new(scratch)
			}
			defer r.scratches.Put(s)
			for t := range tasks {
				if err := ctx.Err(); err != nil {
					return err
				}
				n, err := t.g.chunk(t.i, want != nil, s)
				if err != nil {
					return err
				}
				if progress != nil {
					progress(done.Add(n), total)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// chunk reads chunk i of each tensor and compares the pairs; n is how many bytes of the first it read.
func (g *group) chunk(i int64, full bool, s *scratch) (n int64, err error) {
	at := i * g.step
	k := min(g.step, g.sides[0].elems()-at)
	for len(s.sides) < len(g.sides) {
		s.sides = append(s.sides, nil)
	}
	read := make([][]byte, len(g.sides))
	for j, l := range g.sides {
		read[j] = room(&s.sides[j], l.bytes(at+k)-l.bytes(at))
		if l.opaque && l.unit() == 1 { // a type of unknown size
			lo, hi := portion(l, at), portion(l, at+k)
			read[j] = room(&s.sides[j], hi-lo)
			if _, err := l.view.ReadAt(read[j], lo); err != nil {
				return 0, l.failed(err)
			}
			continue
		}
		if err := l.read(read[j], at); err != nil {
			return 0, err
		}
	}
	for _, p := range g.pairs {
		st := p.chunk(read[slices.Index(g.sides, p.x)], read[slices.Index(g.sides, p.y)], k, full, s)
		p.parts[i] = st
	}
	return int64(len(read[0])), nil
}

// portion is where value at of a tensor begins whose blocks have no known size: all its bytes are spread over its values.
func portion(l *logical, at int64) int64 {
	n := l.elems()
	if at == n {
		return l.view.Size()
	}
	return int64(float64(l.view.Size()) / float64(n) * float64(at))
}
