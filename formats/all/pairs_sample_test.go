//go:build !exhaustive

package all_test

// pairSamples is how many random checkpoints go through each pair of formats.
const pairSamples = 20
