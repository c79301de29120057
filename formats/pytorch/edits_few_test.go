//go:build !exhaustive

package pytorch_test

const everyCut, everyFlip, everyLength = 17, 67, 211
