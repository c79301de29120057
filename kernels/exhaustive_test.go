//go:build exhaustive

package kernels

import (
	"testing"
)

// All 2^32 floats, in pieces: go test -tags exhaustive -run Every -timeout 30m ./kernels
func TestEveryFloat(t *testing.T) {
	const piece = 1 << 22
	in := make([]uint32, piece)
	for start := uint64(0); start < 1<<32; start += piece {
		for i := range in {
			in[i] = uint32(start) + uint32(i)
		}
		narrowF16(t, in)
		narrowBF16(t, in)
	}
}
