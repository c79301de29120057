//go:build exhaustive

package gguf_test

const (
	editStep    = 1
	mostTensors = 1_000_000
)
