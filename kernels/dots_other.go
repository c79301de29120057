//go:build !amd64 && !arm64

package kernels

const fastest = plain

func fastDots(out, x, w []float64, rows, cols, k, ldo int) bool { return false }
