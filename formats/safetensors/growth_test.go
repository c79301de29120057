package safetensors_test

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// opening is the least time of a few that opening takes, and what it allocates.
func opening(t *testing.T, x corpus.Case, tries int) (least time.Duration, bytes uint64) {
	t.Helper()
	least = time.Hour
	for range tries {
		start, before := time.Now(), allocated()
		c, err := formatstest.OpenCase(t, safetensors.Format, x)
		least, bytes = min(least, time.Since(start)), allocated()-before
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	return least, bytes
}

// TestGrowth: twice the tensors take about twice the time. Names that were compared pair by pair would take four times.
func TestGrowth(t *testing.T) {
	small, large := corpus.Case{Bytes: big(mostTensors/2, shortest)}, corpus.Case{Bytes: big(mostTensors, shortest)}
	ratio := 0.0
	for range 4 { // others use the machine too
		half, _ := opening(t, small, 3)
		whole, bytes := opening(t, large, 3)
		ratio = float64(whole) / float64(half)
		t.Logf("%d tensors, header of %d bytes: %v, %d bytes allocated; half of them %v, ratio %.2f", mostTensors, len(large.Bytes)-4*mostTensors-8, whole, bytes, half, ratio)
		if ratio < 2.6 {
			return
		}
	}
	t.Errorf("got ratio %.2f, want less than 2.6", ratio)
}

// TestLongHeader is one of the most bytes that are read, or a part of it: entries that are cheap in bytes, and text that is dear in memory.
func TestLongHeader(t *testing.T) {
	fill := func(begin, part string) corpus.Case {
		var b strings.Builder
		b.WriteString(begin)
		for i := 0; b.Len() < mostHeader-200; i++ {
			b.WriteString(strings.ReplaceAll(part, "#", strconv.Itoa(i)))
		}
		return corpus.Case{Bytes: file(strings.TrimRight(b.String(), ","), 0)}
	}
	for _, x := range []struct {
		name string
		file corpus.Case
		end  string
	}{
		{"empty tensors", fill("{", `"#":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},`), "}"},
		{"names of escapes", fill("{", `"#`+strings.Repeat(`\u0001`, 40)+`":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},`), "}"},
		{"many dimensions", fill("{", `"#":{"dtype":"U8","shape":[0`+strings.Repeat(",0", 63)+`],"data_offsets":[0,0]},`), "}"},
		{"an unknown field of brackets", fill(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":[`, `[],#,`), "]}}"},
		{"a long string", fill(`{"__metadata__":{"k":"`, `#\n`), `"}}`},
		{"spaces", fill(`{`, strings.Repeat(" ", 100)), "}"},
	} {
		t.Run(x.name, func(t *testing.T) {
			x.file.Bytes = append(x.file.Bytes, x.end...)
			n := len(x.file.Bytes) - 8
			binary.LittleEndian.PutUint64(x.file.Bytes, uint64(n))
			d, bytes := opening(t, x.file, 2)
			t.Logf("header of %d bytes: %v, %d bytes allocated", n, d, bytes)
			if limit := 8*uint64(n) + 16<<20; bytes > limit {
				t.Errorf("allocated %d bytes, want at most %d", bytes, limit)
			}
			if d > mostTime {
				t.Errorf("took %v, want at most %v", d, mostTime)
			}
		})
	}
}

// TestTerabyte opens a file of 1 TiB that is nothing but holes: only its header costs anything.
func TestTerabyte(t *testing.T) {
	const size = 1 << 40
	header := fmt.Sprintf(`{"a":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]},"b":{"dtype":"U8","shape":[4,%d],"data_offsets":[%[2]d,%[4]d]}}`,
		size/8, size/2, (size/2-4096)/4, size-4096)
	header += strings.Repeat(" ", 4096-8-len(header))
	x := corpus.Case{Bytes: file(header, 0), Size: size}
	d, bytes := opening(t, x, 1)
	if d > time.Second || bytes > 1<<20 {
		t.Errorf("took %v and %d bytes", d, bytes)
	}
	c, err := formatstest.OpenCase(t, safetensors.Format, x)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := c.Open("b")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.ReadAt(make([]byte, 16), c.Lookup("b").Bytes-16); n != 16 {
		t.Errorf("the last bytes: got %d, %v", n, err)
	}
	x.Size--
	if _, err := formatstest.OpenCase(t, safetensors.Format, x); formats.CodeOf(err) != formats.Trunc || formats.Errors(err)[0].Offset != size-1 {
		t.Errorf("one byte short: got %v", err)
	}
}
