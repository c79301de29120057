//go:build !exhaustive

package gguf_test

// editStep is the distance of the edits that are tried; a prime, so that it meets every bit of a byte.
const editStep = 7

// mostTensors is the longest list of TestGrowth.
const mostTensors = 100_000
