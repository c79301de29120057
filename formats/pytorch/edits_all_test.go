//go:build exhaustive

package pytorch_test

const everyCut, everyFlip, everyLength = 1, 1, 1
