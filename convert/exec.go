package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/view"
)

// chunk is how many bytes of the target a worker makes at once: source, values and result of one chunk stay in the cache.
const chunk = 1 << 20

// ExecOptions are how, not what: no choice here changes a byte of the result.
type ExecOptions struct {
	FS        fsio.FS
	Workers   int  // 0 is one for each processor
	Force     bool // replace the destination
	Resumable bool // leave the staging when interrupted
	// Vouch is how many bytes are made before they are synced and entered in the receipt; 0 is 256 MiB.
	Vouch int64
	// Progress is called from several goroutines with the bytes made so far.
	Progress func(done, total int64)
	// Judge looks at the staged result (a file or a directory) before it appears at the destination; an error discards it.
	Judge func(ctx context.Context, p *Plan, staged string) error
}

// Result is what executing a plan did.
type Result struct {
	Plan     *Plan
	Written  []formats.File // relative to the destination's directory
	UpToDate bool           // the destination was the result already
	Resumed  int64          // bytes kept from an interrupted run
}

// Execute carries out plans over one source, one after the other. Memory is a few MiB a worker, whatever the model. The destination
// is old, absent or complete whatever happens, and the bytes are the same for any number of workers.
func Execute(ctx context.Context, plans []*Plan, o ExecOptions) ([]*Result, error) {
	var out []*Result
	for _, p := range plans {
		r, err := execute(ctx, p, o)
		if err != nil {
			return out, err
		}
		out = append(out, r)
	}
	return out, nil
}

// sink takes the bytes of tensors: a staged file, or a comparison with what is there.
type sink interface {
	WriteAt(tensor int, p []byte, off int64) error
}

func execute(ctx context.Context, p *Plan, o ExecOptions) (*Result, error) {
	layout, release, err := p.whole()
	defer release()
	if err != nil {
		return nil, err
	}
	res := &Result{Plan: p}
	for _, f := range layout.Files {
		res.Written = append(res.Written, formats.File{Path: f.Path, Bytes: f.Bytes})
	}
	before, err := p.sourceState(o.FS)
	if err != nil {
		return nil, err
	}
	target := formats.Target{Dst: filepath.Clean(p.Dest.Path), Dir: p.Dest.Dir, ID: p.ID[:12], Over: o.Force}
	there := false
	if !o.Force {
		if there, err = occupied(o.FS, target); err != nil {
			return nil, err
		}
	}
	if there {
		same, err := p.alreadyThere(ctx, target, layout, o)
		if err != nil {
			return nil, err
		}
		if same {
			res.UpToDate = true
			return res, sweep(o.FS, target)
		}
		return nil, formats.Errorf(formats.Exists, "the destination exists and is not this conversion's result").At(p.Dest.Path, -1).Hinted("--force replaces it")
	}
	sums := formats.NewSums(layout.Places)
	log, kept, w, err := p.stage(target, layout, before, sums, o)
	if err != nil {
		return nil, err
	}
	abandon := func(err error) (*Result, error) {
		if o.Resumable && ctx.Err() != nil {
			return nil, errors.Join(err, log.flush(w), log.close(), w.Keep())
		}
		return nil, errors.Join(err, log.discard(), w.Abort())
	}
	lost, resumed, err := p.fill(ctx, summed(layout, recording{w, log}, sums), kept, o)
	res.Resumed = resumed
	if err == nil {
		err = p.Source.Check(ctx)
	}
	if err == nil {
		err = seal(layout, w, sums)
	}
	if err != nil {
		return abandon(err)
	}
	if err := p.overflows(lost); err != nil {
		return abandon(err)
	}
	after, err := p.sourceState(o.FS)
	if err != nil {
		return abandon(err)
	}
	if err := before.same(after); err != nil {
		return abandon(err)
	}
	if o.Judge != nil {
		if err := o.Judge(ctx, p, w.Staged()); err != nil {
			return abandon(unread(err, w.Staged()))
		}
	}
	if err := ctx.Err(); err != nil {
		return abandon(err)
	}
	if err := w.Commit(); err != nil {
		return abandon(err)
	}
	return res, log.discard()
}

// unread gives what could not be read back of a staged result the code of a failing disk: to who opens a file that is a missing or
// shorter one, but this one was written just now.
func unread(err error, staged string) error {
	changed := false
	var out []error
	for _, e := range formats.Errors(err) {
		ours := e.Path == staged || strings.HasPrefix(e.Path, staged+string(filepath.Separator))
		// Readers put these two in words of their own.
		system := errors.As(e.Err, new(*fs.PathError)) || errors.Is(e.Err, fs.ErrPermission) || errors.Is(e.Err, fs.ErrNotExist)
		if ours && (system || e.Code == formats.Changed) {
			c := *e
			c.Code = formats.IO
			e, changed = &c, true
		}
		out = append(out, e)
	}
	if !changed {
		return err
	}
	return errors.Join(out...)
}

// adding is a sink that adds up the checksums of what it takes.
type adding struct {
	sink
	sums *formats.Sums
}

func (s adding) WriteAt(tensor int, p []byte, off int64) error {
	s.sums.Add(tensor, p, off)
	return s.sink.WriteAt(tensor, p, off)
}

// summed adds up checksums where the layout has a place for them.
func summed(l formats.Layout, to sink, sums *formats.Sums) sink {
	if l.Seal == nil {
		return to
	}
	return adding{to, sums}
}

// seal ends a sink with the checksums of all tensors.
func seal(l formats.Layout, to interface{ Seal([]uint32) error }, sums *formats.Sums) error {
	if l.Seal == nil {
		return to.Seal(nil)
	}
	crc, err := sums.All()
	if err != nil {
		return err
	}
	return to.Seal(crc)
}

// job is one chunk.
type job struct {
	step int
	off  int64
	n    int64
	view view.View
}

// fill makes every byte of every tensor that is not kept, and hands it to the sink. lost[i] counts the values of tensor i that became infinite.
func (p *Plan) fill(ctx context.Context, to sink, kept keptRanges, o ExecOptions) (lost []atomic.Int64, resumed int64, err error) {
	lost = make([]atomic.Int64, len(p.Steps))
	total := int64(0)
	for _, t := range p.Target.Tensors {
		total += t.Bytes
	}
	var done atomic.Int64
	workers := o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	jobs := make(chan job, 2*workers)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(jobs)
		for i := range p.Steps {
			v, err := p.open(i, &lost[i])
			if err != nil {
				return err
			}
			for off := int64(0); off < v.Size(); {
				n := v.Cut(off, chunk)
				if n <= 0 || off+n > v.Size() {
					panic(fmt.Sprintf("convert: step %d cut %d bytes at %d of %d", i, n, off, v.Size()))
				}
				if kept.use(i, off, n) {
					done.Add(n)
					resumed += n // only here, and Wait comes before it is returned
				} else {
					select {
					case jobs <- job{i, off, n, v}:
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				off += n
			}
		}
		return nil
	})
	buffers := sync.Pool{New: func() any { b := make([]byte, 0, chunk); return &b }}
	for range workers {
		g.Go(func() error {
			buf := buffers.Get().(*[]byte)
			defer buffers.Put(buf)
			for j := range jobs {
				if err := ctx.Err(); err != nil {
					return err
				}
				if int64(cap(*buf)) < j.n {
					*buf = make([]byte, j.n)
				}
				b := (*buf)[:j.n]
				if _, err := j.view.ReadAt(b, j.off); err != nil {
					return p.readError(j, err)
				}
				if err := to.WriteAt(j.step, b, j.off); err != nil {
					return err
				}
				if o.Progress != nil {
					o.Progress(done.Add(j.n), total)
				}
			}
			return nil
		})
	}
	err = g.Wait()
	return lost, resumed, err
}

// readError names what was read: a file that ends early has changed since its header was checked.
func (p *Plan) readError(j job, err error) error {
	from := p.Target.Tensors[j.step].Name
	var path string
	if parts := p.Steps[j.step].Parts; len(parts) > 0 {
		from = parts[0].From
		path = filepath.Join(p.Source.Dir, p.Source.Lookup(from).File)
	}
	code := formats.IO
	if errors.Is(err, io.ErrUnexpectedEOF) {
		code = formats.Changed
	}
	return formats.Errorf(code, "reading: %w", err).In(from, "").At(path, -1)
}

// overflows turns lost values into errors that name every tensor.
func (p *Plan) overflows(lost []atomic.Int64) error {
	var errs []error
	for i := range lost {
		if n := lost[i].Load(); n > 0 {
			t := p.Target.Tensors[i]
			e := formats.Errorf(formats.NonFinite, "%d of %d values are not finite in %s", n, t.Elems(), t.DType).Hinted("--dtype bf16 has the range of f32")
			if b := t.DType.BlockElems(); b > 1 {
				e = formats.Errorf(formats.NonFinite, "%d of %d values are not finite in %s, where one that overflows, or that is infinite or NaN in the source, takes the %d of its block along",
					n, t.Elems(), t.DType, b).Hinted("--dtype bf16 holds whatever the source does")
			}
			errs = append(errs, e.In(t.Name, "").At(p.Source.Path(), -1))
		}
	}
	return errors.Join(errs...)
}

// sourceFiles are the files that a plan reads.
func sourceFiles(m *arch.Model) []string {
	var out []string
	for _, f := range m.Files {
		out = append(out, filepath.Join(m.Dir, f.Path))
	}
	for _, f := range m.Side {
		out = append(out, filepath.Join(m.Dir, f.Path))
	}
	return out
}

// read are side files that the stages read; the others matter only where they are copied. A log that grows beside the weights does not.
var read = []string{"config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "generation_config.json", "README.md",
	"params.json", "tokenizer.model", "adapter_config.json"}

// reads are the files that the result depends on.
func (p *Plan) reads() []string {
	m, copied := p.Source, map[string]bool{}
	for _, s := range p.Sides {
		copied[s.From] = true
	}
	var out []string
	for _, f := range m.Files {
		out = append(out, filepath.Join(m.Dir, f.Path))
	}
	for _, f := range m.Side {
		if copied[f.Path] || slices.Contains(read, f.Path) {
			out = append(out, filepath.Join(m.Dir, f.Path))
		}
	}
	return out
}
