//go:build exhaustive

package bowline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats/fsio"
)

// TestEveryFaultOfConversions lets every operation of every flow go wrong in every way.
func TestEveryFaultOfConversions(t *testing.T) {
	c := &tally{}
	t.Cleanup(func() {
		t.Log(c)
		if n := c.runs.Load(); n < 20_000 {
			t.Errorf("got %d runs, want 20000", n)
		}
	})
	inject(t, c, func(_, _, ops int) []int64 {
		all := make([]int64, ops)
		for i := range all {
			all[i] = int64(i + 1)
		}
		return all
	})
}

// mutate leaves out each fsync in turn, of files and of directories: none is there for nothing, so a promise has to break.
func (w workflow) mutate(random int) (left int, err error) {
	isSync := func(op string) bool { return op == "sync" || op == "syncdir" }
	for k := int64(1); ; k++ {
		hit := ""
		broken := error(nil)
		for _, rerun := range []int{0, -1} {
			m := put(w.before)
			f := &fsio.Fault{FS: m, At: k, Mode: fsio.Lie, Only: isSync}
			_, broken = w.cut(f, m, random, rerun)
			if hit = f.Hit(); broken != nil || hit == "" {
				break
			}
		}
		if hit == "" {
			return int(k - 1), nil
		}
		if broken == nil && !slices.ContainsFunc(w.spare, func(s string) bool { return strings.Contains(fmt.Sprintf("%d: %s", k, hit), s) }) {
			return int(k), fmt.Errorf("without %s (fsync %d) no promise breaks", hit, k)
		}
	}
}

// TestEveryPowerCut looks at 10,000 states and more of each workflow, and gives every one that differs from the others a next run. Then it
// leaves out each fsync.
func TestEveryPowerCut(t *testing.T) {
	for _, w := range workflows(t) {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			random, n := 60, 0
			for n < 10_000 {
				m := put(w.before)
				var err error
				if n, err = w.cut(m, m, random, -1); err != nil {
					t.Fatal(err)
				}
				random *= 3
			}
			if w.vouch > 0 { // its many fsyncs stand in for each other
				t.Logf("%d states, 0 violations", n)
				return
			}
			left, err := w.mutate(0)
			if err != nil {
				t.Error(err)
			}
			t.Logf("%d states, 0 violations; without any one of %d fsyncs a promise breaks (spare: %v)", n, left, w.spare)
		})
	}
}

// TestEveryFileOfMany has as many files as a real folder.
func TestEveryFileOfMany(t *testing.T) { manyFiles(t, 4000) }
