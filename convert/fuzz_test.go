package convert_test

import (
	"context"
	"errors"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
)

// FuzzReceipt resumes a conversion whose receipt holds any text, behind its own first line or instead of it. What it vouches for is checked, so
// that the result has the bytes of an uninterrupted run whatever it says, and costs no more than that one and its own reading.
func FuzzReceipt(f *testing.F) {
	const src, dst = "/granite-code", "/out.gguf"
	source := disk(f, "checkpoints/granite-code").Tree()
	clean := restore(source)
	before := heap()
	if _, err := run(clean, src, dst, bowline.ConvertOptions{}); err != nil {
		f.Fatal(err)
	}
	cost, want := heap()-before, clean.Tree()
	left := restore(source)
	if err := interrupt(left, src, dst, bowline.ConvertOptions{Resumable: true}, int64(len(want[dst])/2)); !errors.Is(err, context.Canceled) {
		f.Fatalf("got %v, want context.Canceled", err)
	}
	tree := left.Tree()
	receipt := ""
	for name := range tree {
		if strings.HasSuffix(name, ".receipt") {
			receipt = name
		}
	}
	first, entries, ok := strings.Cut(tree[receipt], "\n")
	if !ok || len(entries) < 100 {
		f.Fatalf("the receipt is %q", tree[receipt])
	}
	one, _, _ := strings.Cut(entries, "\n")
	for _, text := range []string{"", entries, entries[:len(entries)-5], entries + entries, entries + "\x00\xff{{{", one + "\n" + strings.Replace(one, `"n":`, `"n":1`, 1) + "\n",
		`{"s":99999,"o":0,"n":4,"x":"1"}` + "\n", `{"s":0,"o":-4,"n":4,"x":"1"}` + "\n", `{"s":0,"o":0,"n":9000000000000000000,"x":"1"}` + "\n",
		`{"s":0,"o":9223372036854775807,"n":9223372036854775807,"x":"18446744073709551615"}` + "\n", `{"s":-1}` + "\n", "null\n", "[]\n", `{"S":0,"O":0,"N":1,"X":"1"}` + "\n"} {
		f.Add(false, text)
		f.Add(true, text)
	}
	f.Add(true, tree[receipt])
	f.Add(true, strings.Replace(tree[receipt], `"plan_id":"`, `"plan_id":"0`, 1))
	f.Add(true, strings.Replace(first, `"sources":`, `"sources":null,"x":`, 1)+"\n"+entries)
	f.Add(true, strings.Replace(first, `"bytes":`, `"bytes":-`, 1)+"\n"+entries)
	f.Fuzz(func(t *testing.T, whole bool, text string) {
		fsys := restore(tree)
		if !whole {
			text = first + "\n" + text
		}
		fsys.Put(receipt, text)
		start, before := time.Now(), heap()
		if kept := resume(t, fsys, src, dst, convert.Options{}); kept < 0 || kept > int64(len(want[dst])) {
			t.Errorf("got %d bytes kept of %d", kept, len(want[dst]))
		}
		if got, limit := heap()-before, 2*cost+uint64(16*len(text))+16<<20; got > limit {
			t.Errorf("allocated %d bytes, want at most %d for a receipt of %d", got, limit, len(text))
		}
		if d := time.Since(start); d > 5*time.Second { // milliseconds, on an idle machine
			t.Errorf("took %v", d)
		}
		if err := sameTree(fsys.Tree(), want); err != nil {
			t.Error(err)
		}
	})
}

// heap is what the program has allocated so far.
func heap() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
