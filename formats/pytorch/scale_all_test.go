//go:build exhaustive && unix

package pytorch_test

var sizes = []int{50_000, 100_000, 200_000, 400_000}

const growth = 2.6
