package bowline_test

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// workflow is a flow with all that it does to a file system, for a power cut at any moment of it.
type workflow struct {
	*flow
	half  bool     // it is interrupted in the middle with --resumable, and then run to its end
	vouch int64    // bytes between two entries in the receipt
	spare []string // fsyncs that it could do without
}

// workflows are a file, a set and a directory, new and replaced, and interrupted ones.
func workflows(t testing.TB) []workflow {
	var out []workflow
	for _, force := range []bool{false, true} {
		out = append(out,
			workflow{flow: flowOf(t, "safetensors directory", "gguf file", force)},
			workflow{flow: flowOf(t, "gguf file", "safetensors directory", force)},
			workflow{flow: flowOf(t, "safetensors directory", "torchchat file", force)})
	}
	out[len(out)-1].spare = []string{"syncdir /out/.x.pth.bowline-"} // every file of it has an old one, which is still there
	for _, w := range []workflow{
		{flow: flowOf(t, "safetensors directory", "gguf file", false), half: true},
		// The first run made durable what has no tensors in it, and the names of the staging; the second writes the same again.
		{flow: flowOf(t, "gguf file", "pytorch directory", true), half: true, spare: []string{"config.json", "syncdir /out/.x.bowline-"}},
		{flow: flowOf(t, "safetensors directory", "torchchat file", false), half: true, spare: []string{"params.json", "syncdir /out/.x.pth.bowline-", "9: syncdir /out"}},
		{flow: flowOf(t, "safetensors directory", "gguf split", false), half: true, vouch: 4000},
	} {
		w.name += ", interrupted and resumed"
		out = append(out, w)
	}
	return out
}

// plan makes the plan of a flow. The caller closes the model.
func (w workflow) plan(ctx context.Context, fsys fsio.FS) (*arch.Model, *convert.Plan, error) {
	m, err := bowline.Open(bowline.Source{Path: w.src, FS: fsys})
	if err != nil {
		return nil, nil, err
	}
	name := w.o.To
	if name == "" {
		name = map[string]string{".gguf": "gguf", ".bin": "pytorch", ".safetensors": "safetensors", "": "safetensors"}[path.Ext(w.dst)]
	}
	tg := bowline.Targets()[slices.IndexFunc(bowline.Targets(), func(t convert.Target) bool { return t.Name == name })]
	o := w.o.Options
	ev, err := convert.Gather(ctx, m, convert.Questions(m, tg, o))
	if err != nil {
		return nil, nil, errors.Join(err, m.Close())
	}
	p, err := convert.New(m, tg, convert.Destination{Path: w.dst, Dir: path.Ext(w.dst) == ""}, o, ev)
	if err != nil {
		return nil, nil, errors.Join(err, m.Close())
	}
	return m, p, nil
}

// execute carries the plan of a flow out to its end, or to the middle, and tells how much was kept from before.
func (w workflow) execute(fsys fsio.FS, half bool) (resumed int64, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	m, p, err := w.plan(ctx, fsys)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	res, err := convert.Execute(ctx, []*convert.Plan{p}, convert.ExecOptions{FS: fsys, Workers: 1, Force: w.o.Force, Resumable: true, Vouch: w.vouch,
		Progress: func(done, total int64) {
			if half && done >= total/2 {
				cancel()
			}
		}})
	if err != nil {
		return 0, err
	}
	return res[0].Resumed, nil
}

// abandoned is a run that is interrupted at its first chunk.
func (w workflow) abandoned(fsys fsio.FS) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o := w.o
	o.Workers, o.Progress = 1, func(int64, int64) { cancel() }
	if _, err := bowline.Convert(ctx, bowline.Source{Path: w.src, FS: fsys}, w.dst, o); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("interrupted: got %v, want context.Canceled", err)
	}
	return nil
}

// old is what was at the destination.
func (w workflow) old() map[string]string {
	_, old := litter(w.before)
	return old
}

// story does all of a workflow, and gives the length of the log in the middle and at the end.
func (w workflow) story(fsys fsio.FS, m *fsio.Mem) (middle, end int, err error) {
	if w.half {
		if _, err := w.execute(fsys, true); !errors.Is(err, context.Canceled) {
			return 0, 0, fmt.Errorf("interrupted: got %v, want context.Canceled", err)
		}
		middle = m.Logged()
		_, err = w.execute(fsys, false)
	} else {
		err = w.run(fsys)
	}
	return middle, m.Logged(), err
}

// state is what is at the destination: "old", "absent" or "complete". All else is an error.
func (w workflow) state(tree map[string]string) (string, error) {
	for name, content := range w.before {
		if strings.HasPrefix(name, "/in/") && tree[name] != content {
			return "", fmt.Errorf("the source %s changed", name)
		}
	}
	_, out := litter(tree)
	old := w.old()
	_, done := litter(w.after)
	_, dir := tree[w.dst+"/"]
	first := w.dst // of a set, the first file stands for all
	if _, ok := done[first]; !ok {
		first = w.result()
	}
	switch {
	case maps.Equal(out, done):
		return "complete", nil
	case maps.Equal(out, old) && (len(old) > 0 || !dir):
		return map[bool]string{true: "old", false: "absent"}[len(old) > 0], nil
	case out[first] == "" && !dir:
		return "absent", nil
	}
	return "", fmt.Errorf("the destination is neither old, absent nor complete: %v", slices.Sorted(maps.Keys(tree)))
}

// cut looks at what a power cut may leave of a workflow that runs over fsys, whose changes m logs, and returns the first broken promise:
// sources stay, the destination is old, absent or complete, success is complete, what was kept when interrupted is still there, and the
// next run leaves the result and nothing else. rerun is how many different states are given a next run, -1 for all.
func (w workflow) cut(fsys fsio.FS, m *fsio.Mem, random, rerun int) (states int, err error) {
	middle, end, err := w.story(fsys, m)
	if err != nil {
		return 0, fmt.Errorf("without a power cut: %w", err)
	}
	kept := int64(0)
	if w.half {
		alive := put(w.before)
		if _, err := w.execute(alive, true); !errors.Is(err, context.Canceled) {
			return 0, err
		}
		if kept, err = w.execute(alive, false); err != nil || kept == 0 {
			return 0, fmt.Errorf("resumed: kept %d, %v", kept, err)
		}
	}
	seed := maphash.MakeSeed()
	seen := map[uint64]bool{}
	err = m.Crashes(random, func(at int, s *fsio.Mem) error {
		states++
		tree := s.Tree()
		state, err := w.state(tree)
		if err != nil {
			return fmt.Errorf("at %d of %d: %w", at, end, err)
		}
		if at == end && state != "complete" {
			return fmt.Errorf("after success the destination is %s", state)
		}
		if w.half && at == middle {
			// Promised even if the next run comes after a power cut.
			if n, err := w.execute(s, false); err != nil || n != kept {
				return fmt.Errorf("interrupted, and then a power cut: kept %d, want %d; %v", n, kept, err)
			}
			return nil
		}
		if len(w.old()) > 0 && state == "absent" {
			// It waits under another name: whatever the next run does, it puts that back first.
			c := s.Clone()
			err := w.abandoned(c)
			if again, err2 := w.state(c.Tree()); err != nil || err2 != nil || again != "old" {
				return fmt.Errorf("at %d of %d: what was there is not put back, but %s: %v %v", at, end, again, err, err2)
			}
		}
		if h := treeHash(seed, tree); rerun == 0 || seen[h] {
			return nil
		} else {
			seen[h] = true
		}
		rerun--
		if w.half {
			_, err = w.execute(s, false)
		} else {
			err = w.run(s)
		}
		if err != nil {
			return fmt.Errorf("at %d of %d, %s: the next run: %w", at, end, state, err)
		}
		if tree := s.Tree(); !maps.Equal(tree, w.after) {
			return fmt.Errorf("at %d of %d, %s: the next run left %v", at, end, state, slices.Sorted(maps.Keys(tree)))
		}
		return nil
	})
	return states, err
}

func treeHash(seed maphash.Seed, tree map[string]string) uint64 {
	sum := uint64(0)
	for name, content := range tree {
		sum += maphash.String(seed, name+"\x00"+content)
	}
	return sum
}

// TestPowerCuts is a sample of the states; many more are tried with -tags exhaustive.
func TestPowerCuts(t *testing.T) {
	total := 0
	for _, w := range workflows(t) {
		if w.name != "gguf file to safetensors directory by force" && w.name != "safetensors directory to gguf file, interrupted and resumed" {
			continue
		}
		m := put(w.before)
		n, err := w.cut(m, m, 0, 40)
		if err != nil {
			t.Errorf("%s: %v", w.name, err)
		}
		total += n
	}
	t.Logf("%d states after power cuts", total)
	if total < 1000 {
		t.Errorf("got %d states, want 1000", total)
	}
}
