//go:build exhaustive

package all_test

const pairSamples = 2000
