package gguf

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// The keys of a split set. Each file has all three; every other key is in the first file only (gguf-split, gguf-py).
const (
	splitNo      = "split.no"            // uint16, from 0
	splitCount   = "split.count"         // uint16
	splitTensors = "split.tensors.count" // int32, of all files
)

// maxShards bounds the files of one set.
const maxShards = 10000

// siblings lists the set that a name like "x-00002-of-00003.gguf" belongs to.
func siblings(name string) []string {
	const tail = "-00000-of-00000"
	rest, ok := strings.CutSuffix(name, ".gguf")
	if !ok || len(rest) < len(tail) {
		return nil
	}
	stem, at := rest[:len(rest)-len(tail)], rest[len(rest)-len(tail):]
	if at[0] != '-' || at[6:10] != "-of-" || strings.Trim(at[1:6]+at[10:], "0123456789") != "" {
		return nil
	}
	i, _ := strconv.Atoi(at[1:6])
	n, _ := strconv.Atoi(at[10:])
	if i < 1 || i > n || n > maxShards {
		return nil
	}
	out := make([]string, n)
	for i := range out {
		out[i] = numbered(stem, i, n)
	}
	return out
}

func shardName(stem string, i, n int) string {
	if n == 1 {
		return stem + ".gguf"
	}
	return numbered(stem, i, n)
}

func numbered(stem string, i, n int) string { return fmt.Sprintf("%s-%05d-of-%05d.gguf", stem, i+1, n) }

// join makes one header of the files of a set, in order, after checking that they are one set.
func join(parts []*part) (formats.Header, error) {
	h := formats.Header{Format: "gguf"}
	var problems []error
	holder := map[string]string{}
	for i, p := range parts {
		problems = append(problems, p.checkPlace(i, len(parts))...)
		h.Files = append(h.Files, formats.File{Path: p.name, Bytes: p.size})
		for _, t := range p.tensors {
			if len(parts) == 1 {
				break // parse has seen to it
			}
			if first, dup := holder[t.Name]; dup {
				problems = append(problems, formats.Errorf(formats.Dup, "the tensor is in %s too", first).In(t.Name, "").At(p.path, -1))
			}
			holder[t.Name] = p.name
		}
		if i == 0 {
			h.Metadata, h.Tensors, h.Notes = own(p.metadata), p.tensors, p.said()
			continue
		}
		h.Tensors = append(h.Tensors, p.tensors...)
		for _, kv := range own(p.metadata) {
			if kv.Key != alignmentKey {
				p.note(formats.Note{Subject: p.name, Decision: fmt.Sprintf("key %.64q is ignored", kv.Key),
					Because: "the metadata of a set is that of its first file", Warn: true})
			}
		}
		h.Notes = append(h.Notes, p.said()...)
	}
	if len(problems) == 0 && len(parts) > 1 { // else a wrong total is a consequence
		for i, p := range parts {
			problems = append(problems, p.check(splitTensors, int32(min(len(h.Tensors), math.MaxInt32)), i == 0)...)
		}
	}
	return h, errors.Join(problems...)
}

// own drops the keys that say how files belong together: the header says so with its Files.
func own(m formats.Metadata) formats.Metadata {
	split := func(kv formats.KV) bool { return kv.Key == splitNo || kv.Key == splitCount || kv.Key == splitTensors }
	if !slices.ContainsFunc(m, split) {
		return m
	}
	return slices.DeleteFunc(slices.Clone(m), split)
}

// checkPlace checks that p says that it is file i of n.
func (p *part) checkPlace(i, n int) []error {
	if n > 1 {
		// llama.cpp reads split.no of every file and the other keys of the first.
		return append(p.check(splitNo, uint16(i), true), p.check(splitCount, uint16(n), i == 0)...)
	}
	c, ok := p.metadata.Get(splitCount).(uint16)
	if !ok {
		return p.check(splitCount, uint16(1), false)
	}
	if c > 1 {
		return []error{formats.Errorf(formats.Missing, "the file is one of %d, and the others were not opened", c).
			Hinted("the files of a set are called NAME-00001-of-%05d.gguf and so on", c).In("", splitCount).At(p.path, p.valueAt[splitCount])}
	}
	return nil // gguf-split --merge leaves the keys in place, with a count of 0
}

// check checks the value of a key of the set.
func (p *part) check(key string, want any, required bool) []error {
	var e *formats.Error
	at := int64(-1)
	switch v := p.metadata.Get(key); {
	case v == want, v == nil && !required:
		return nil
	case v == nil:
		e = formats.Errorf(formats.Missing, "the key is not there, want %d", want)
	case fmt.Sprintf("%T", v) != fmt.Sprintf("%T", want):
		e, at = formats.Errorf(formats.BadType, "got %T, want %T", v, want), p.valueAt[key]
	default:
		e, at = formats.Errorf(formats.Mismatch, "got %d, want %d", v, want), p.valueAt[key]
	}
	return []error{e.In("", key).At(p.path, at)}
}
