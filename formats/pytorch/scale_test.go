//go:build unix

package pytorch_test

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

// many is an archive of n tensors over n storages in one record each, or one for all, whose pickle is as torch's: with a memo.
func many(n int, alone bool) []byte {
	var p strings.Builder
	p.WriteString(proto + global("torch._utils", "_rebuild_tensor_v2") + "q\x000" + global("torch", "FloatStorage") + "q\x010" + str("cpu") + "q\x020" + ordered() + "q\x030" + str("storage") + "q\x040}(")
	recs := make([]corpus.Record, 0, n+3)
	for i := range n {
		key := "0"
		if alone {
			key = fmt.Sprint(i)
			recs = append(recs, rec(folder+"data/"+key, sixty4))
		}
		if i%1000 == 999 {
			p.WriteString("u(")
		}
		p.WriteString(str(fmt.Sprintf("model.layers.%d.self_attn.%d.weight", i/8, i%8)) + "h\x00((h\x04h\x01" + str(key) + "h\x02K\x10tQ" + num(i%16) + "K\x01\x85K\x01\x85\x89h\x03tR")
	}
	p.WriteString("u.")
	if !alone {
		recs = append(recs, rec(folder+"data/0", sixty4))
	}
	return archive(append(recs, rec(folder+"data.pkl", p.String()), rec(folder+"version", "3\n"))...).Bytes
}

// opening is the least processor time of some to open a file: what else the machine does does not count.
func opening(t testing.TB, b []byte, tensors int) time.Duration {
	fsys := formatstest.OneFile(b)
	best := time.Hour
	for range 3 {
		runtime.GC()
		start := cpu(t)
		c, err := pytorch.Format.Open(fsys, formats.Set{Dir: "/", Files: []string{"m.bin"}})
		if err != nil {
			t.Fatal(err)
		}
		best = min(best, cpu(t)-start)
		if got := len(c.Tensors) + len(c.Aliases); got != tensors {
			t.Fatalf("got %d tensors, want %d", got, tensors)
		}
		c.Close()
	}
	return best
}

// TestLinear: twice as many tensors take about twice as long. BenchmarkOpen tells how long; -tags exhaustive goes to 400,000. Memory stays
// within its limit.
func TestLinear(t *testing.T) {
	for _, alone := range []bool{false, true} {
		var last time.Duration
		for _, n := range sizes {
			b := many(n, alone)
			before := allocated()
			d := opening(t, b, n)
			if got, limit := (allocated()-before)/3, uint64(16*len(b)+16<<20); got > limit {
				t.Errorf("%d tensors took %d bytes, want at most %d", n, got, limit)
			}
			if ratio := float64(d) / float64(last); last > 5*time.Millisecond && ratio > growth {
				t.Errorf("%d tensors took %v, %.1f times as long as the size before", n, d, ratio)
			}
			if limit := time.Duration(n) * 20 * time.Microsecond; d > limit {
				t.Errorf("%d tensors took %v, want at most %v", n, d, limit)
			}
			last = d
		}
	}
}

// cpu is the processor time that the program has used.
func cpu(t testing.TB) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano())
}

func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{100_000, 200_000, 400_000} {
		for _, alone := range []bool{false, true} {
			file := many(n, alone)
			b.Run(fmt.Sprintf("%d tensors, own records %v", n, alone), func(b *testing.B) {
				fsys := formatstest.OneFile(file)
				b.ReportAllocs()
				for b.Loop() {
					c, err := pytorch.Format.Open(fsys, formats.Set{Dir: "/", Files: []string{"m.bin"}})
					if err != nil {
						b.Fatal(err)
					}
					c.Close()
				}
			})
		}
	}
}
