//go:build !exhaustive

package safetensors_test

import "time"

// A sample of the edits, by steps that meet every bit of a byte, and sizes that are done fast; all of it with the tag exhaustive.
const (
	editStep    = 13
	numberStep  = 4
	mostTensors = 100_000
	mostHeader  = 4_000_000
	mostTime    = 2 * time.Second
)
