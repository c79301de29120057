//go:build !exhaustive && unix

package pytorch_test

// A short test on a busy machine measures little: eight times as many would take 64 times as long if each looked at all others.
var sizes = []int{2_000, 16_000}

const growth = 24
