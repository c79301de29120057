//go:build exhaustive

package safetensors_test

import "time"

const (
	editStep    = 1
	numberStep  = 1
	mostTensors = 1_000_000
	mostHeader  = 100_000_000
	mostTime    = 2 * time.Second
)
