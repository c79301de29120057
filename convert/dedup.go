package convert

import (
	"context"
	"crypto/sha256"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
)

// probe is how much of each tensor is compared before any is read whole: tensors that differ do so at once.
const probe = 64 << 10

// same finds, among those that of picks, tensors with equal types, shapes and bytes: by the name of each but the first in file order, the name of that first. read is how
// many bytes were read to see that.
func same(ctx context.Context, m *arch.Model, of func(*formats.Tensor) bool) (out map[string]string, read int64, err error) {
	groups := map[string][]*formats.Tensor{}
	for i := range m.Tensors {
		if t := &m.Tensors[i]; t.Bytes > 0 && of(t) {
			k := fmt.Sprint(t.DType, t.Shape)
			groups[k] = append(groups[k], t)
		}
	}
	// First the beginnings, then, of those that are alike there, the whole.
	for _, part := range []func(*formats.Tensor) int64{func(t *formats.Tensor) int64 { return min(t.Bytes, probe) }, func(t *formats.Tensor) int64 { return t.Bytes }} {
		var alike []*formats.Tensor
		for i := range m.Tensors { // in file order
			t := &m.Tensors[i]
			if len(groups[fmt.Sprint(t.DType, t.Shape)]) > 1 && t.Bytes > 0 && of(t) && (out == nil || out[t.Name] != "") {
				alike = append(alike, t)
			}
		}
		sums := make([]string, len(alike))
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(runtime.GOMAXPROCS(0))
		for i, t := range alike {
			read += part(t)
			g.Go(func() (err error) {
				sums[i], err = digest(gctx, m, t, part(t))
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return nil, read, err
		}
		out = map[string]string{}
		first, count := map[string]string{}, map[string]int{}
		for i, t := range alike {
			k := fmt.Sprint(t.DType, t.Shape, sums[i])
			if count[k]++; count[k] == 1 {
				first[k] = t.Name
			}
		}
		for i, t := range alike {
			if k := fmt.Sprint(t.DType, t.Shape, sums[i]); count[k] > 1 {
				out[t.Name] = first[k]
			}
		}
	}
	for name, of := range out {
		if name == of {
			delete(out, name)
		}
	}
	return out, read, nil
}

// digest is the SHA-256 of the first n bytes of a tensor.
func digest(ctx context.Context, m *arch.Model, t *formats.Tensor, n int64) (string, error) {
	r, err := m.Open(t.Name)
	if err != nil {
		return "", err
	}
	h, buf := sha256.New(), make([]byte, min(n, evidenceChunk))
	for off := int64(0); off < n; off += int64(len(buf)) {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		buf = buf[:min(int64(len(buf)), n-off)]
		if err := readFull(r, buf, off, m, t); err != nil {
			return "", err
		}
		h.Write(buf)
	}
	return string(h.Sum(nil)), nil
}

// dedup marks the items that hold the bytes of an earlier one, members of tie groups apart, so that a target that can say so stores them once.
func (d *draft) dedup() {
	tied := map[string]bool{}
	for _, g := range d.groups {
		for _, name := range append([]string{g.SourceKey}, g.TargetKeys...) {
			if t := d.m.Lookup(name); t != nil {
				tied[t.Name] = true
			}
		}
	}
	var names []string
	bytes := int64(0)
	for _, it := range d.items {
		for i, r := range it.runs {
			of, ok := d.ev.Same[r.from]
			if !ok || tied[r.from] || tied[of] {
				continue
			}
			if len(it.runs) == 1 && r.lo == 0 && r.hi == r.of {
				names, bytes = append(names, it.name), bytes+d.m.Lookup(r.from).Bytes
				if d.t.Format.Aliases.Shares() {
					it.runs[i].from, it.shared = of, true
				}
			}
		}
	}
	if len(names) == 0 {
		return
	}
	subject := names[0]
	if n := len(names) - 1; n > 0 {
		subject = fmt.Sprintf("%s and %d more", subject, n)
	}
	if d.t.Format.Aliases.Shares() {
		d.note(levelNote, subject, "stored once with the tensor that it equals", fmt.Sprintf("--dedup: %d bytes less", bytes))
		d.saved += bytes
		return
	}
	d.note(levelNote, subject, "stored again although it equals another tensor", fmt.Sprintf("--dedup: %d bytes, but %s cannot say so", bytes, strings.TrimSpace(d.t.Name)))
}
