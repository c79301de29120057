package gguf

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
)

const (
	version   = 3
	alignment = 32 // the default, which every reader knows, and the one that is written
)

// layout lays h out as version 3, little-endian, alignment 32. Tensors in more than one file make a split set, in the order of h.Files
// or, without these, of first appearance. An incoming general.alignment and incoming split keys are replaced by what is written.
func layout(h formats.Header) (formats.Layout, error) {
	names, err := fileNames(h)
	if err := errors.Join(err, checkMetadata(h.Metadata), checkTensors(h.Tensors)); err != nil {
		return formats.Layout{}, err
	}
	out := formats.Layout{Files: make([]formats.FileLayout, len(names)), Places: make([]formats.Place, len(h.Tensors))}
	number := make(map[string]int, len(names))
	for i, name := range names {
		number[name] = i
	}
	inFile := make([][]int, len(names)) // tensors of each file
	ends := make([]int64, len(names))   // of the data of each file, from its start
	for i, t := range h.Tensors {
		f := number[t.File]
		inFile[f] = append(inFile[f], i)
		out.Places[i] = formats.Place{File: f, Offset: ends[f], Bytes: t.Bytes}
		if t.Bytes > math.MaxInt64-2*maxHeader-ends[f] { // room for the header, and for padding
			return formats.Layout{}, formats.Errorf(formats.Overflow, "ends beyond what 63 bits count").In(t.Name, "").At(t.File, -1)
		}
		ends[f] += pad(t.Bytes, alignment)
	}
	var problems []error
	for f, name := range names {
		header, problem := encode(h, f, len(names), inFile[f], out.Places)
		if problem != nil {
			problems = append(problems, problem.At(name, -1))
			continue
		}
		end := int64(len(header))
		for _, i := range inFile[f] {
			p := &out.Places[i]
			p.Offset += int64(len(header))
			end = p.Offset + pad(p.Bytes, alignment)
		}
		out.Files[f] = formats.FileLayout{Path: name, Bytes: end,
			Parts: []formats.Part{{File: f, Size: int64(len(header)), Data: bytes.NewReader(header)}}}
	}
	if err := errors.Join(problems...); err != nil {
		return formats.Layout{}, err
	}
	return out, nil
}

// fileNames lists the files of h in order.
func fileNames(h formats.Header) ([]string, error) {
	var names []string
	known := map[string]bool{}
	for _, f := range h.Files {
		if known[f.Path] {
			return nil, formats.Errorf(formats.Dup, "the file is listed twice").At(f.Path, -1)
		}
		known[f.Path] = true
		names = append(names, f.Path)
	}
	var problems []error
	for _, t := range h.Tensors {
		switch {
		case t.File == "":
			problems = append(problems, formats.Errorf(formats.Missing, "has no file").In(t.Name, ""))
		case known[t.File]:
		case len(h.Files) > 0:
			problems = append(problems, formats.Errorf(formats.Mismatch, "is in file %q, which is not listed", t.File).In(t.Name, ""))
		default:
			known[t.File] = true
			names = append(names, t.File)
		}
	}
	if len(names) == 0 && len(h.Tensors) == 0 {
		problems = append(problems, formats.Errorf(formats.Missing, "there are no tensors, and no file is named"))
	}
	if len(names) > maxShards {
		problems = append(problems, formats.Errorf(formats.Limit, "got %d files, want at most %d", len(names), maxShards))
	}
	return names, errors.Join(problems...)
}

func checkMetadata(m formats.Metadata) error {
	var problems []error
	seen := map[string]bool{}
	for i, kv := range m {
		where := field{"kv", i, "key"}.String()
		switch {
		case kv.Key == "":
			problems = append(problems, formats.Errorf(formats.Missing, "the key is empty").In("", where))
		case len(kv.Key) > maxKeyBytes:
			problems = append(problems, formats.Errorf(formats.Limit, "got a key of %d bytes, want at most %d", len(kv.Key), maxKeyBytes).In("", where))
		case !printable(kv.Key):
			problems = append(problems, formats.Errorf(formats.UTF8, "got %.64q, want printable ASCII", kv.Key).In("", where))
		case seen[kv.Key]:
			problems = append(problems, formats.Errorf(formats.Dup, "the key %.64q is there twice", kv.Key).In("", where))
		}
		seen[kv.Key] = true
	}
	return errors.Join(problems...)
}

func checkTensors(ts []formats.Tensor) error {
	var problems []error
	seen := make(map[string]bool, len(ts))
	for _, t := range ts {
		report := func(code formats.Code, format string, args ...any) {
			problems = append(problems, formats.Errorf(code, format, args...).In(t.Name, "").At(t.File, -1))
		}
		switch {
		case t.Name == "":
			report(formats.Missing, "a tensor has no name")
		case len(t.Name) >= maxName:
			report(formats.Limit, "got a name of %d bytes, want at most %d", len(t.Name), maxName-1)
		case !utf8.ValidString(t.Name) || strings.IndexByte(t.Name, 0) >= 0:
			report(formats.UTF8, "got a name of other than UTF-8 without NUL")
		case seen[t.Name]:
			report(formats.Dup, "the name is there twice")
		}
		seen[t.Name] = true
		if len(t.Shape) > maxRank {
			report(formats.Limit, "got %d dimensions, want at most %d", len(t.Shape), maxRank)
		}
		if _, ok := idOf(t.DType); !ok {
			report(formats.BadDType, "GGUF has no type %s", t.DType)
			continue
		}
		if !t.DType.Known() {
			if _, ok := formats.Elems(t.Shape); !ok || t.Bytes < 0 {
				report(formats.BadShape, "got shape %v and %d bytes", t.Shape, t.Bytes)
			}
			continue
		}
		n, err := formats.TensorBytes(t.DType, t.Shape)
		for _, e := range formats.Errors(err) {
			problems = append(problems, e.In(t.Name, "").At(t.File, -1))
		}
		if err == nil && n != t.Bytes {
			report(formats.Mismatch, "got %d bytes, want %d for %s %v", t.Bytes, n, t.DType, t.Shape)
		}
	}
	return errors.Join(problems...)
}
