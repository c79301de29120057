package safetensors

import (
	"fmt"
	"strconv"
	"strings"
)

const suffix = ".safetensors"

// shardName and indexName follow huggingface_hub's serialization: five digits, counted from 1.
func shardName(stem string, i, n int) string {
	if n == 1 {
		return stem + suffix
	}
	return fmt.Sprintf("%s-%05d-of-%05d%s", stem, i+1, n, suffix)
}

func indexName(stem string) string { return stem + suffix + ".index.json" }

// splitShard takes the name of a shard apart; ok is false if it is none. i counts from 0.
func splitShard(name string) (stem string, i, n int, ok bool) {
	name, found := strings.CutSuffix(name, suffix)
	const tail = len("-00001-of-00003")
	if !found || len(name) <= tail {
		return "", 0, 0, false
	}
	stem, name = name[:len(name)-tail], name[len(name)-tail:]
	if name[0] != '-' || name[6:10] != "-of-" {
		return "", 0, 0, false
	}
	i, errI := strconv.Atoi(name[1:6])
	n, errN := strconv.Atoi(name[10:])
	if errI != nil || errN != nil || i < 1 || i > n || name[1] == '+' || name[10] == '+' {
		return "", 0, 0, false
	}
	return stem, i - 1, n, true
}

// siblings are the shards of the set that a name is of.
func siblings(name string) []string {
	stem, _, n, ok := splitShard(name)
	if !ok || n > maxShards {
		return nil
	}
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s-%05d-of-%05d%s", stem, i+1, n, suffix)
	}
	return all
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
