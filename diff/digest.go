package diff

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// Algorithm names how a digest is made. Another result for the same values is another name.
//
// The values of a tensor, in the hub's layout, are little-endian: floats as float32 ("f32") if that holds each of them exactly, else as float64
// ("f64"), every NaN as the positive quiet one without payload, zeros with their sign; integers as 64 bits ("i64", "u64" for U64), booleans as a byte
// ("bool"), types that nobody can decode as their bytes ("raw:TYPE"). V is the SHA-256 of these bytes. The digest of the tensor is the SHA-256 of
// "bowline.tensor/1", kind, shape (decimal, by commas) and name, each with a line feed after it, and the 32 bytes of V. The digest of the model is the
// SHA-256 of "bowline.model/1", a line feed and the digests of its tensors, sorted by name. A member of a tie group whose values are those of the
// source is left out.
const Algorithm = "bowline-sha256/1"

// Digests are the digest of a model and of its tensors, in the order of names.
type Digests struct {
	Digest  string         `json:"digest"`
	Tensors []TensorDigest `json:"tensors"`
	Notes   []formats.Note `json:"notes"`
}

// TensorDigest is the digest of a logical tensor.
type TensorDigest struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// content is what a tensor holds, without its name.
type content struct {
	kind  string
	shape []int64
	sum   [sha256.Size]byte
}

// Digest reads a checkpoint once.
func Digest(ctx context.Context, m *arch.Model, workers int, progress func(done, total int64)) (*Digests, error) {
	r, groups, err := alone(m)
	if err != nil {
		return nil, err
	}
	var list []*logical
	seen := map[*logical]*content{}
	total := int64(0)
	for _, e := range r.entries {
		if !e.derived && !e.tied && seen[e.logical] == nil {
			seen[e.logical] = &content{}
			list = append(list, e.logical)
			total += e.view.Size()
		}
	}
	slices.SortStableFunc(list, func(a, b *logical) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.stored.Offset, b.stored.Offset))
	})
	var done atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(workers, 1))
	for _, l := range list {
		g.Go(func() error {
			c, err := digest(gctx, l, func(n int64) {
				if d := done.Add(n); progress != nil {
					progress(d, total)
				}
			})
			*seen[l] = c
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := &Digests{Tensors: []TensorDigest{}, Notes: r.notes}
	have := map[string]*content{}
	for _, e := range r.entries {
		if !e.derived && !e.tied {
			have[e.name] = seen[e.logical]
		}
	}
	for _, names := range groups {
		source := have[names[0]]
		for _, n := range names[1:] {
			switch c := have[n]; {
			case c == nil:
			case source == nil: // stored under the head's name
				have[names[0]], source = c, c
				delete(have, n)
			case c.kind == source.kind && c.sum == source.sum && slices.Equal(c.shape, source.shape):
				delete(have, n)
			}
		}
	}
	for n, c := range have {
		out.Tensors = append(out.Tensors, TensorDigest{Name: n, Digest: c.named(n)})
	}
	slices.SortFunc(out.Tensors, func(a, b TensorDigest) int { return cmp.Compare(a.Name, b.Name) })
	out.Digest, err = Total(out.Tensors)
	return out, err
}

// alone reads a checkpoint that has no other beside it, with the names of its tie groups.
func alone(m *arch.Model) (*reading, [][]string, error) {
	if !known(m) {
		if m.Family == nil && m.Class == "" && m.Foreign == "" {
			if err := ordered(m); err != nil {
				return nil, nil, err
			}
		}
		r, err := byName(m)
		return r, lonePairs(m), err
	}
	if err := usable(m); err != nil {
		return nil, nil, err
	}
	var groups [][]string
	for _, t := range m.Family.Ties {
		names := []string{m.Family.Names(arch.HF, t.Source, 0)}
		for _, role := range t.Targets {
			names = append(names, m.Family.Names(arch.HF, role, 0))
		}
		groups = append(groups, names)
	}
	r, err := byTable(m, m.Config.Layers)
	return r, groups, err
}

// ordered refuses a file without config whose names are those of a scheme with another order of rows than the hub's: only the parameters tell how
// to undo it.
func ordered(m *arch.Model) error {
	for _, f := range arch.All() {
		for s, layout := range f.Layouts {
			if layout == f.Layouts[arch.HF] {
				continue
			}
			for _, t := range f.Tensors {
				if t.PerLayer() && t.Name[s] != "" && t.Name[s] != t.Name[arch.HF] && m.Lookup(t.In(s, 0)) != nil {
					return formats.Errorf(formats.Missing, "no config says how many heads the rows of %s belong to", f.Name).At(m.Path(), -1).Hinted("--config FILE")
				}
			}
		}
	}
	return nil
}

// named is the digest of a tensor, in hex.
func (c *content) named(name string) string {
	var dims []string
	for _, d := range c.shape {
		dims = append(dims, fmt.Sprint(d))
	}
	h := sha256.New()
	fmt.Fprintf(h, "bowline.tensor/1\n%s\n%s\n%s\n", c.kind, strings.Join(dims, ","), name)
	h.Write(c.sum[:])
	return hex.EncodeToString(h.Sum(nil))
}

// Total is the digest of a model from those of its tensors.
func Total(list []TensorDigest) (string, error) {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b TensorDigest) int { return cmp.Compare(a.Name, b.Name) })
	h := sha256.New()
	h.Write([]byte("bowline.model/1\n"))
	for i, t := range list {
		b, err := hex.DecodeString(t.Digest)
		if err != nil || len(b) != sha256.Size || i > 0 && list[i-1].Name == t.Name {
			return "", formats.Errorf(formats.JSON, "got digest %q, want 64 hexadecimal digits, once for each name", formats.Escape(t.Digest, 80)).In(t.Name, "")
		}
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashed is how many values are decoded and hashed at once: they stay in the second-level cache.
const hashed = 32 << 10

// digest reads and decodes a tensor in one goroutine and hashes it in another, a chunk at a time.
func digest(ctx context.Context, l *logical, progress func(n int64)) (content, error) {
	c := content{shape: l.shape}
	forms := kinds(l)
	hashes := make([]hash.Hash, len(forms))
	for i := range hashes {
		hashes[i] = sha256.New()
	}
	type chunk struct {
		data  [2][]byte
		exact bool
	}
	free, full := make(chan *chunk, 3), make(chan *chunk, 3)
	for range cap(free) {
		free <- new(chunk)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(full)
		var raw []byte
		var tmp decoded
		k := step([]*logical{l}, hashed)
		n := l.values(l.view.Size())
		for at := int64(0); at < n; at += k {
			var b *chunk
			select {
			case b = <-free:
			case <-ctx.Done():
				return ctx.Err()
			}
			v := min(k, n-at)
			p := room(&raw, l.bytes(at+v)-l.bytes(at))
			if err := l.read(p, at); err != nil {
				return err
			}
			b.exact = tmp.forms(&b.data, l, p, v)
			progress(int64(len(p)))
			full <- b // there are no more chunks than full has room for
		}
		return nil
	})
	g.Go(func() error {
		for b := range full {
			if !b.exact && len(hashes) > 1 && hashes[0] != nil {
				hashes[0] = nil
			}
			for i, h := range hashes {
				if h != nil {
					h.Write(b.data[i])
				}
			}
			free <- b
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return c, err
	}
	for i, h := range hashes {
		if h != nil {
			c.kind = forms[i]
			copy(c.sum[:], h.Sum(nil))
			break
		}
	}
	return c, nil
}

// kinds are the forms in which the values of a type may be hashed, the preferred one first: which one it is, only the values of an F64 tensor tell.
func kinds(l *logical) []string {
	t := l.as
	switch {
	case l.opaque:
		return []string{"raw:" + string(t)}
	case t == dtype.F64:
		return []string{"f32", "f64"}
	case t.IsFloat(), t.IsQuantized():
		return []string{"f32"}
	case t == dtype.BOOL:
		return []string{"bool"}
	case t == dtype.U64:
		return []string{"u64"}
	}
	return []string{"i64"}
}

// decoded is the room in which a chunk is decoded.
type decoded struct {
	f32 []float32
	f64 []float64
}

// forms fills out with the n values of p in each form of kinds; exact is whether the first of two holds them all.
func (d *decoded) forms(out *[2][]byte, l *logical, p []byte, n int64) (exact bool) {
	switch t := l.as; {
	case l.opaque:
		out[0] = append(out[0][:0], p...)
	case t == dtype.F64:
		f, w := room(&d.f32, n), room(&d.f64, n)
		t.DecodeWide(w, p)
		exact = true
		for i, v := range w {
			if v != v {
				w[i] = math.NaN()
			}
			f[i] = float32(v)
			exact = exact && (v != v || float64(f[i]) == v)
		}
		out[0], out[1] = room(&out[0], 4*n), room(&out[1], 8*n)
		quiet(f)
		dtype.F32.Encode(out[0], f)
		for i, v := range w {
			u := math.Float64bits(v)
			if v != v {
				u = 0x7ff8 << 48
			}
			binary.LittleEndian.PutUint64(out[1][8*i:], u)
		}
	case t.IsFloat(), t.IsQuantized():
		f := room(&d.f32, n)
		t.Decode(f, p)
		quiet(f)
		out[0] = room(&out[0], 4*n)
		dtype.F32.Encode(out[0], f)
	case t == dtype.BOOL:
		out[0] = append(out[0][:0], p...)
		for i, b := range out[0] {
			if b != 0 {
				out[0][i] = 1
			}
		}
	default:
		out[0] = widened(out[0], p, t)
	}
	return exact
}

// quiet makes every NaN the same one.
func quiet(f []float32) {
	one := math.Float32frombits(0x7fc00000)
	for i, v := range f {
		if v != v {
			f[i] = one
		}
	}
}

// widened is integers as 64 bits, with their sign.
func widened(out, p []byte, t dtype.Type) []byte {
	size := int(t.BlockBytes())
	out = out[:0]
	signed := strings.HasPrefix(string(t), "I")
	for ; len(p) >= size; p = p[size:] {
		var fill byte
		if signed && p[size-1] >= 0x80 {
			fill = 0xff
		}
		out = append(out, p[:size]...)
		for range 8 - size {
			out = append(out, fill)
		}
	}
	return out
}
