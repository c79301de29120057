package diff

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/view"
)

// explain looks for the transform that makes B of A, for every pair that nothing explains yet. A candidate has to pass on a few values of the
// tensor before it is tried on all, so tensors that have nothing to do with each other cost little.
func explain(ctx context.Context, r *runner, pairs []*pair, a, b *reading) error {
	var open []*pair
	for _, p := range pairs {
		if (p.result.Verdict == Differs || p.result.Verdict == Shape) && !p.x.opaque && !p.y.opaque {
			open = append(open, p)
		}
	}
	if len(open) == 0 {
		return nil
	}
	e := &explainer{a: a, b: b, samples: map[*logical][]float64{}}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(r.workers, 1))
	for _, p := range open {
		g.Go(func() error {
			s, err := e.transform(ctx, p)
			if err == nil && s != "" {
				p.result.explain(s)
			}
			return err
		})
	}
	return g.Wait()
}

// explainer remembers a few values of each tensor.
type explainer struct {
	a, b    *reading
	mu      sync.Mutex
	samples map[*logical][]float64
}

// candidate is a transform to try: the tensor that x would be, against the tensor that y would be. Where test is nil they have to agree but for
// rounding, else it judges their values.
type candidate struct {
	name string
	x, y *logical
	test func(x, y []float64) bool
}

// transform names the first transform that explains a difference, "" if none does.
func (e *explainer) transform(ctx context.Context, p *pair) (string, error) {
	if p.result.Verdict == Shape {
		return first(ctx, e.shapes(p))
	}
	// As the model has them: the pair may be compared as it is stored.
	x, y := e.entry(e.a, p, p.x), e.entry(e.b, p, p.y)
	sx, err := e.sample(x)
	if err != nil {
		return "", err
	}
	sy, err := e.sample(y)
	if err != nil {
		return "", err
	}
	if s, err := first(ctx, values(x, y, sx, sy)); s != "" || err != nil {
		return s, err
	}
	if s, err := first(ctx, e.rows(x, y)); s != "" || err != nil {
		return s, err
	}
	if s, err := e.places(ctx, p, x, y, sx, sy); s != "" || err != nil {
		return s, err
	}
	c := append(swappedBytes(x, y), transposes(x, y)...)
	c = append(c, shifts(x, y)...)
	return first(ctx, c)
}

// entry is the tensor of a name in the hub's order.
func (e *explainer) entry(r *reading, p *pair, fallback *logical) *logical {
	if x := r.find(p.result.Name); x != nil {
		return x.logical
	}
	return fallback
}

// first is the name of the first candidate that holds for all values.
func first(ctx context.Context, list []candidate) (string, error) {
	for _, c := range list {
		ok, err := c.holds(ctx)
		if ok || err != nil {
			return c.name, err
		}
	}
	return "", nil
}

func (c candidate) holds(ctx context.Context) (bool, error) {
	if c.x.elems() != c.y.elems() || c.x.elems() == 0 {
		return false, nil
	}
	if c.test == nil {
		if ok, err := c.likely(); !ok || err != nil {
			return false, err
		}
		p := &pair{x: c.x, y: c.y, both: true}
		p.result = Tensor{}
		if err := (&runner{workers: 1}).compare(ctx, []*pair{p}); err != nil {
			return false, err
		}
		return p.result.Verdict.OK(), nil
	}
	k := step([]*logical{c.x, c.y}, cell)
	var bx, by []byte
	var vx, vy []float64
	for at := int64(0); at < c.x.elems(); at += k {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n := min(k, c.x.elems()-at)
		wx, wy := room(&vx, n), room(&vy, n)
		if err := c.x.load(wx, at, &bx); err != nil {
			return false, err
		}
		if err := c.y.load(wy, at, &by); err != nil {
			return false, err
		}
		if !c.test(wx, wy) {
			return false, nil
		}
	}
	return true, nil
}

// load decodes len(v) values from at on.
func (l *logical) load(v []float64, at int64, buf *[]byte) error {
	p := room(buf, l.bytes(at+int64(len(v)))-l.bytes(at))
	if err := l.read(p, at); err != nil {
		return err
	}
	l.as.DecodeWide(v, p)
	return nil
}

// value is one value.
func (l *logical) value(at int64) (float64, error) {
	in := at % l.as.BlockElems()
	v := make([]float64, l.as.BlockElems())
	var buf []byte
	err := l.load(v, at-in, &buf)
	return v[in], err
}

// sampled is how many values stand for a tensor. Their places depend on its size alone, and fall on no row or column of all.
const sampled = 24

func place(k, n int64) int64 {
	if n <= sampled {
		return k % max(n, 1)
	}
	const golden = 0.6180339887498949
	_, f := math.Modf(float64(k+1) * golden)
	return int64(f * float64(n))
}

// sample is a few values of a tensor.
func (e *explainer) sample(l *logical) ([]float64, error) {
	e.mu.Lock()
	s, ok := e.samples[l]
	e.mu.Unlock()
	if ok {
		return s, nil
	}
	for k := range int64(sampled) {
		v, err := l.value(place(k, l.elems()))
		if err != nil {
			return nil, err
		}
		s = append(s, v)
	}
	e.mu.Lock()
	e.samples[l] = s
	e.mu.Unlock()
	return s, nil
}

// likely compares a few values, and stops early where they have nothing to do with each other.
func (c candidate) likely() (bool, error) {
	var x, y []float64
	for k := range int64(sampled) {
		i := place(k, c.x.elems())
		v, err := c.x.value(i)
		if err != nil {
			return false, err
		}
		w, err := c.y.value(i)
		if err != nil {
			return false, err
		}
		x, y = append(x, v), append(y, w)
		if k >= 3 && !alike(x, y, c.x.dtype, c.y.dtype) {
			return false, nil
		}
	}
	return true, nil
}

// alike reports whether values are those of another type: no more noise than four times that of the coarser type.
func alike(x, y []float64, tx, ty dtype.Type) bool {
	decibel := 100.0
	for _, t := range []dtype.Type{tx, ty} {
		if d, ok := expected[t]; ok {
			decibel = min(decibel, d)
		} else if t.IsQuantized() || t.IsFloat() && t.BlockBytes() == 1 {
			decibel = min(decibel, 12)
		}
	}
	var sig, noise float64
	for i, v := range x {
		if v == y[i] || v != v && y[i] != y[i] {
			sig += v * v
			continue
		}
		d := v - y[i]
		sig, noise = sig+v*v, noise+d*d
	}
	return noise == 0 || sig/noise >= math.Pow(10, (decibel-12)/10)
}

// values are the transforms of each value by itself.
func values(x, y *logical, sx, sy []float64) []candidate {
	var out []candidate
	add := func(name string, test func(x, y []float64) bool) {
		if test(sx, sy) {
			out = append(out, candidate{name, x, y, test})
		}
	}
	each := func(f func(v, w float64) bool) func(x, y []float64) bool {
		return func(x, y []float64) bool {
			for i, v := range x {
				if !f(v, y[i]) {
					return false
				}
			}
			return true
		}
	}
	eps := epsilon(x, y)
	near := func(v, w float64) bool { return v == w || math.Abs(v-w) <= eps*max(math.Abs(v), math.Abs(w)) }
	add("all zeros", each(func(_, w float64) bool { return w == 0 }))
	add("all zeros in A", each(func(v, _ float64) bool { return v == 0 }))
	add("sign flipped", each(func(v, w float64) bool { return near(-v, w) }))
	for _, t := range encodable {
		// As many values as make a block of the type are needed to try it, so the sample cannot.
		if y.dtype == t || x.elems()%t.BlockElems() != 0 || x.cols()%t.BlockElems() != 0 {
			continue
		}
		var s scratch
		test := func(x, y []float64) bool { return rounds(x, y, t, int64(len(x)), &s) }
		if t.BlockElems() > 1 || test(sx, sy) {
			out = append(out, candidate{roundedTo(t), x, y, test})
		}
	}
	big := 0 // the largest value tells a factor best
	for i, v := range sx {
		if math.Abs(v) > math.Abs(sx[big]) {
			big = i
		}
	}
	if v := sx[big]; v != 0 && sy[big] != 0 {
		c := neat(sy[big]/v, eps)
		if math.Abs(c-1) > 4*eps {
			add(fmt.Sprintf("scaled by %.6g", c), each(func(v, w float64) bool { return near(c*v, w) || math.Abs(c*v-w) < 1e-38 }))
		}
	}
	if c := neat(sy[0]-sx[0], eps*max(math.Abs(sx[0]), math.Abs(sy[0]))/max(math.Abs(sy[0]-sx[0]), 1e-300)); c != 0 && math.Abs(c) > 4*eps*math.Abs(largest(sx)) {
		add(fmt.Sprintf("offset by %.6g", c), each(func(v, w float64) bool {
			return math.Abs(v+c-w) <= 2*eps*max(math.Abs(v), math.Abs(w), math.Abs(c))
		}))
	}
	return out
}

// largest is the largest magnitude.
func largest(s []float64) float64 {
	m := 0.0
	for _, v := range s {
		m = max(m, math.Abs(v))
	}
	return m
}

// epsilon is how far rounding moves a value of the coarser type, relative to it.
func epsilon(x, y *logical) float64 {
	e := 0x1p-22
	for _, t := range []dtype.Type{x.dtype, y.dtype} {
		switch {
		case t == dtype.F16:
			e = max(e, 0x1p-10)
		case t == dtype.BF16:
			e = max(e, 0x1p-7)
		case t.IsQuantized(), t.IsFloat() && t.BlockBytes() == 1:
			e = max(e, 0x1p-4)
		}
	}
	return e
}

// neat is the number of fewest digits within a relative distance of c: what a person would have scaled by.
func neat(c, eps float64) float64 {
	if c == 0 || math.IsNaN(c) || math.IsInf(c, 0) || eps >= 1 {
		return 0
	}
	if p := math.Exp2(math.Round(math.Log2(math.Abs(c)))); math.Abs(math.Abs(c)/p-1) <= eps {
		return math.Copysign(p, c)
	}
	for digits := 1; digits < 9; digits++ {
		scale := math.Pow(10, float64(digits-1)-math.Floor(math.Log10(math.Abs(c))))
		if n := math.Round(c*scale) / scale; math.Abs(n-c) <= eps*math.Abs(c) {
			return n
		}
	}
	return c
}

// rows are the ways in which rope's rows are not where they belong. Biases have such rows too.
func (e *explainer) rows(x, y *logical) []candidate {
	if x.heads == 0 || len(x.shape) == 0 {
		return nil
	}
	heads := []int64{x.heads}
	for _, other := range e.a.entries { // the number of heads that another tensor has is a mistake to be made
		if other.heads > 0 && !slices.Contains(heads, other.heads) {
			heads = append(heads, other.heads)
		}
	}
	var out []candidate
	for _, h := range heads {
		if h <= 0 || x.shape[0]%h != 0 || x.shape[0]/h%2 != 0 || x.row == 0 || len(x.shape) == 1 && x.as.BlockElems() > 1 {
			continue
		}
		suffix := ""
		if h != x.heads {
			suffix = fmt.Sprintf(" as %d heads", h)
		}
		for _, d := range []struct {
			dir  view.Direction
			name string
		}{{view.Interleave, "rope rows interleaved"}, {view.Halve, "rope rows halved"}} {
			c := *x
			c.view = view.Rows(x.view, h, d.dir, x.row)
			out = append(out, candidate{name: d.name + suffix, x: &c, y: y})
		}
	}
	return out
}

// places looks for another tensor of A in B's.
func (e *explainer) places(ctx context.Context, p *pair, x, y *logical, sx, sy []float64) (string, error) {
	var likely, mutual []candidate
	for _, o := range e.a.entries {
		if o.logical == x || o.tied || o.opaque || !slices.Equal(o.shape, y.shape) {
			continue
		}
		so, err := e.sample(o.logical)
		if err != nil {
			return "", err
		}
		if !alike(so, sy, o.dtype, y.dtype) {
			continue
		}
		c := candidate{name: "copy of " + o.name, x: o.logical, y: y}
		if back := e.b.find(o.name); back != nil && !back.opaque && slices.Equal(back.shape, x.shape) {
			sb, err := e.sample(back.logical)
			if err != nil {
				return "", err
			}
			if alike(sx, sb, x.dtype, back.dtype) {
				c.name = "swapped with " + o.name
				mutual = append(mutual, c)
				continue
			}
		}
		likely = append(likely, c)
	}
	list := append(mutual, likely...)
	return first(ctx, list[:min(len(list), 8)])
}

// wide is a tensor as float32 where its type has blocks, so that values can be moved one by one.
func wide(l *logical) *logical {
	if l.as.BlockElems() == 1 {
		return l
	}
	c := *l
	c.as, c.view = dtype.F32, casted(l)
	c.row = 4 * l.cols()
	return &c
}

// shapes are the transforms that change the shape.
func (e *explainer) shapes(p *pair) []candidate {
	x, y := e.entry(e.a, p, p.x), e.entry(e.b, p, p.y)
	out := transposes(x, y)
	if x.elems() == y.elems() && len(out) == 0 {
		return []candidate{{name: "reshaped", x: flat(x), y: flat(y)}}
	}
	if len(x.shape) != 2 || len(y.shape) != 2 || x.shape[1] != y.shape[1] || x.row == 0 || y.row == 0 {
		return out
	}
	more, less := y.shape[0]-x.shape[0], min(x.shape[0], y.shape[0])
	if less == 0 {
		return out
	}
	name, shift := fmt.Sprintf("padded by %d rows", more), fmt.Sprintf("rows shifted by %d", more)
	if more < 0 {
		name = fmt.Sprintf("cut by %d rows", -more)
	}
	out = append(out, candidate{name: name, x: x.part(0, less), y: y.part(0, less)})
	return append(out, candidate{name: shift, x: x.part(x.shape[0]-less, less), y: y.part(y.shape[0]-less, less)})
}

// maxShift is how many rows a vocabulary is looked for.
const maxShift = 64

// shifts are an embedding or head whose rows begin earlier or later.
func shifts(x, y *logical) []candidate {
	if len(x.shape) != 2 || x.row == 0 || y.row == 0 || x.kind != arch.Embedding && x.kind != arch.Head && x.kind != "" {
		return nil
	}
	var out []candidate
	rows := x.shape[0]
	for k := int64(1); k <= min(maxShift, rows/2); k++ {
		out = append(out, candidate{name: fmt.Sprintf("rows shifted by %d", k), x: x.part(0, rows-k), y: y.part(k, rows-k)},
			candidate{name: fmt.Sprintf("rows shifted by %d", -k), x: x.part(k, rows-k), y: y.part(0, rows-k)})
	}
	return out
}

// part is n rows of a matrix.
func (l *logical) part(first, n int64) *logical {
	c := *l
	c.shape = append([]int64{n}, l.shape[1:]...)
	c.view = view.Slice(l.view, first, first+n, l.row)
	return &c
}

func flat(l *logical) *logical {
	c := *l
	c.shape = []int64{l.elems()}
	return &c
}
