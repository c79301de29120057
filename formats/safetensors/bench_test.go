package safetensors_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// big is a header of n tensors in the form that real models have, or, with short names, of as many tensors as fit.
func big(n int, entry string) []byte {
	var b strings.Builder
	b.WriteByte('{')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, entry, i, 4*i, 4*i+4)
	}
	b.WriteByte('}')
	return file(b.String(), 4*n)
}

const (
	realistic = `"model.layers.%d.mlp.experts.gate_up_proj.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[%d,%d]}`
	shortest  = `"%d":{"dtype":"F32","shape":[],"data_offsets":[%d,%d]}`
	backwards = `"%[1]d":{"dtype":"F32","shape":[],"data_offsets":[%[2]d,%[2]d]}` // all empty, at wrong places
)

// TestManyTensors bounds memory (by Table) and time on large headers. The times are ten times what they take, for slow machines.
func TestManyTensors(t *testing.T) {
	var cases []corpus.Case
	for _, x := range []corpus.Case{{Name: "100,000 tensors", Bytes: big(100_000, realistic)}, {Name: "100,000 short names", Bytes: big(100_000, shortest)}} {
		x.Memory, x.Time = 8*x.Len()+16<<20, time.Second
		cases = append(cases, x)
	}
	formatstest.Table(t, safetensors.Format, cases)
	// Every entry is wrong: what is told of it is bounded too.
	c, err := safetensors.Format.Open(formatstest.OneFile(big(100_000, backwards)), formats.Set{Dir: "", Files: []string{"x"}})
	if err == nil {
		c.Close()
		t.Fatal("accepted")
	}
	if n := len(formats.Errors(err)); n != 21 || len(err.Error()) > 8<<10 {
		t.Errorf("got %d problems in %d bytes, want 21 in at most 8 KiB", n, len(err.Error()))
	}
}

func BenchmarkOpen(b *testing.B) {
	for name, bytes := range map[string][]byte{"20k": big(20_000, realistic), "100k": big(100_000, realistic)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(bytes)))
			b.ReportAllocs()
			for b.Loop() {
				c, err := safetensors.Format.Open(formatstest.OneFile(bytes), formats.Set{Dir: "", Files: []string{"x"}})
				if err != nil {
					b.Fatal(err)
				}
				c.Close()
			}
		})
	}
}

func BenchmarkLayout(b *testing.B) {
	c, err := safetensors.Format.Open(formatstest.OneFile(big(20_000, realistic)), formats.Set{Dir: "", Files: []string{"x"}})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := safetensors.Format.Layout(c.Header); err != nil {
			b.Fatal(err)
		}
	}
}
