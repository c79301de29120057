// Package kernels is the arithmetic on many values at once: casts, block codecs and dot products. Every function has a plain Go
// form, which defines its result to the last bit, and some have an AVX2 or NEON form that must give the same bits.
//
// All multi-byte values in byte slices are little-endian. A slice that is too short for its partner is a programmer's mistake
// and panics. All functions are safe for concurrent use on disjoint destinations.
package kernels

import (
	"fmt"
	"os"
)

//go:generate go run -C gen . -out ../kernels_amd64.s -stubs ../stubs_amd64.go -pkg kernels

// path is a set of implementations.
type path string

const (
	plain path = "plain"
	avx2  path = "avx2" // AVX2, FMA and F16C
	neon  path = "neon" // NEON, for dot products alone
)

var active, problem = choose(os.Getenv("BOWLINE_KERNELS"), fastest)

// choose obeys want, the value of BOWLINE_KERNELS, where the processor can, and else takes the fastest path that it has.
func choose(want string, fastest path) (path, error) {
	switch path(want) {
	case "", fastest:
		return fastest, nil
	case plain:
		return plain, nil
	case avx2:
		return plain, fmt.Errorf("BOWLINE_KERNELS: got %q, but this processor lacks AVX2, FMA or F16C", want)
	case neon:
		return plain, fmt.Errorf("BOWLINE_KERNELS: got %q, but this is no arm64", want)
	}
	return plain, fmt.Errorf("BOWLINE_KERNELS: got %q, want plain, avx2 or neon", want)
}

// Active is the name of the path in use, "plain", "avx2" or "neon". The error says why BOWLINE_KERNELS was not obeyed; plain Go runs then,
// with the same results.
func Active() (string, error) { return string(active), problem }
