package safetensors

import "github.com/bowline-ml/bowline/formats/index"

const suffix = ".safetensors"

func shardName(stem string, i, n int) string { return index.ShardName(stem, suffix, i, n) }

func indexName(stem string) string { return stem + suffix + index.Suffix }

func siblings(name string) []string { return index.Siblings(name, suffix) }
