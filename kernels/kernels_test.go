package kernels

import (
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name, want string
		has        path
		path       path
		err        string
	}{
		{"nothing asked, new processor", "", avx2, avx2, ""},
		{"nothing asked, old processor", "", plain, plain, ""},
		{"plain asked", "plain", avx2, plain, ""},
		{"avx2 asked and there", "avx2", avx2, avx2, ""},
		{"avx2 asked and not there", "avx2", plain, plain, "lacks"},
		{"neon on arm64", "", neon, neon, ""},
		{"plain on arm64", "plain", neon, plain, ""},
		{"neon elsewhere", "neon", avx2, plain, "no arm64"},
		{"a path that does not exist", "mmx", avx2, plain, "want plain, avx2 or neon"},
	} {
		got, err := choose(c.want, c.has)
		if got != c.path || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %v, %v, want %v and an error with %q", c.name, got, err, c.path, c.err)
		}
	}
	if name, err := Active(); name != string(active) || err != problem {
		t.Errorf("Active: got %q, %v, want %q, %v", name, err, active, problem)
	}
}

// sequence is a splitmix64 generator: the same values in every run.
type sequence uint64

func (s *sequence) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
