package index

import (
	"fmt"
	"strconv"
	"strings"
)

// maxShards is the most files of a set.
const maxShards = 10_000

// Suffix ends the name of an index.
const Suffix = ".index.json"

// ShardName is the name of shard i of n, from 0, as huggingface_hub's serialization has it: five digits, counted from 1.
func ShardName(stem, suffix string, i, n int) string {
	if n == 1 {
		return stem + suffix
	}
	return fmt.Sprintf("%s-%05d-of-%05d%s", stem, i+1, n, suffix)
}

// Stem is what stands before the number in the name of a shard; ok is false if the name is none.
func Stem(name, suffix string) (stem string, ok bool) {
	stem, _, ok = split(name, suffix)
	return stem, ok
}

// split takes the name of a shard apart.
func split(name, suffix string) (stem string, n int, ok bool) {
	name, found := strings.CutSuffix(name, suffix)
	const tail = len("-00001-of-00003")
	if !found || len(name) <= tail {
		return "", 0, false
	}
	stem, name = name[:len(name)-tail], name[len(name)-tail:]
	if name[0] != '-' || name[6:10] != "-of-" {
		return "", 0, false
	}
	i, errI := strconv.Atoi(name[1:6])
	n, errN := strconv.Atoi(name[10:])
	if errI != nil || errN != nil || i < 1 || i > n || name[1] == '+' || name[10] == '+' {
		return "", 0, false
	}
	return stem, n, true
}

// Siblings are the shards of the set that a name is of, nil if it is no shard.
func Siblings(name, suffix string) []string {
	stem, n, ok := split(name, suffix)
	if !ok || n > maxShards {
		return nil
	}
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s-%05d-of-%05d%s", stem, i+1, n, suffix)
	}
	return all
}

// Unsafe says why a name is no single element of a path on some system, "" if it is one. transformers, diffusers and
// huggingface_hub have all followed such names out of the model's directory (transformers issue 46913).
func Unsafe(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case name == "." || name == "..":
		return "it is a directory"
	case strings.ContainsAny(name, `/\`):
		return "it has a separator"
	case strings.Contains(name, ":"):
		return "it has a colon"
	case strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return "it has a control character"
	case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " "):
		return "it ends in a dot or a space"
	}
	stem, _, _ := strings.Cut(strings.ToUpper(name), ".")
	switch stem = strings.TrimRight(stem, " "); {
	case stem == "CON" || stem == "PRN" || stem == "AUX" || stem == "NUL",
		len(stem) == 4 && (stem[:3] == "COM" || stem[:3] == "LPT") && stem[3] >= '0' && stem[3] <= '9':
		return "it is a device on Windows"
	}
	return ""
}
