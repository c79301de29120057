package index

import (
	"fmt"
	"strconv"
	"strings"
)

// maxShards is the most files that the name of one of them speaks for; of more an index has to speak.
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
	sh, ok := split(name, suffix)
	return sh.stem, ok
}

// shard is the name of a shard taken apart.
type shard struct {
	stem  string
	of    string // the text of the number of shards
	n     int
	width int // of the shard's own number, 1 if it is not padded
}

// split takes the name of a shard apart. Most have five digits; on the hub there are also model-00001-of-000163 (DeepSeek) and
// model-1-of-61 (Kimi). Sets that count from 0 differ in what the last number means, so that only their index can tell the files.
func split(name, suffix string) (sh shard, ok bool) {
	name, found := strings.CutSuffix(name, suffix)
	rest, of, n, good := number(name)
	if !found || !good || !strings.HasSuffix(rest, "-of-") {
		return shard{}, false
	}
	rest, at, i, good := number(strings.TrimSuffix(rest, "-of-"))
	stem, dash := strings.CutSuffix(rest, "-")
	if !good || !dash || stem == "" || i < 1 || i > n || len(at) > len(of) {
		return shard{}, false
	}
	sh = shard{stem: stem, of: of, n: n, width: 1}
	if at[0] == '0' || len(at) >= 5 {
		sh.width = len(at)
	}
	return sh, true
}

// number cuts the digits off the end of a name.
func number(name string) (rest, digits string, n int, ok bool) {
	rest = strings.TrimRight(name, "0123456789")
	digits = name[len(rest):]
	n, err := strconv.Atoi(digits)
	return rest, digits, n, err == nil && len(digits) <= 6
}

// Siblings are the shards of the set that a name is of, nil if it is no shard.
func Siblings(name, suffix string) []string {
	sh, ok := split(name, suffix)
	if !ok || sh.n > maxShards {
		return nil
	}
	all := make([]string, sh.n)
	for i := range all {
		all[i] = fmt.Sprintf("%s-%0*d-of-%s%s", sh.stem, sh.width, i+1, sh.of, suffix)
	}
	return all
}

// Weights is the name that the index of a set is called after: "model.safetensors" for model.safetensors.index.json and for
// model.safetensors.index.fp16.json, which is how diffusers names the index of a variant.
func Weights(name string) (of string, ok bool) {
	of, variant, ok := strings.Cut(name, ".index.")
	if !ok || of == "" {
		return "", false
	}
	if variant == "json" {
		return of, true
	}
	variant, ok = strings.CutSuffix(variant, ".json")
	return of, ok && variant != "" && !strings.Contains(variant, ".")
}

// Unsafe says why a name is no single element of a path on some system, "" if it is one. transformers, diffusers and
// huggingface_hub have all followed such names out of the model's directory (transformers issue 46913).
func Unsafe(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case len(name) > 255:
		return "it is longer than 255 bytes, which no file system takes"
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
