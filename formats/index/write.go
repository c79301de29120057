package index

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/jsontext"
)

// Part is the index of h as part of file k: as transformers writes it, with sorted names, two spaces of indent, a line feed at the end.
// Aliases are listed in the file of the tensor that they share. total is the sum of the tensors' bytes.
func Part(k int, h formats.Header, total int64) formats.Part {
	type row struct{ name, file string }
	rows := make([]row, 0, len(h.Tensors)+len(h.Aliases))
	files := map[string]string{}
	for _, t := range h.Tensors {
		rows = append(rows, row{t.Name, t.File})
		if len(h.Aliases) > 0 {
			files[t.Name] = t.File
		}
	}
	for _, a := range h.Aliases {
		rows = append(rows, row{a.Name, files[a.Of]})
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.name, b.name) })
	b := append([]byte(nil), "{\n  \"metadata\": {\n    \"total_size\": "...)
	b = strconv.AppendInt(b, total, 10)
	b = append(b, "\n  },\n  \"weight_map\": {"...)
	for n, r := range rows {
		if n > 0 {
			b = append(b, ',')
		}
		b = append(b, "\n    "...)
		b = jsontext.Quote(b, r.name)
		b = append(b, ": "...)
		b = jsontext.Quote(b, r.file)
	}
	b = append(b, "\n  }\n}\n"...)
	return formats.Part{File: k, Size: int64(len(b)), Data: strings.NewReader(string(b))}
}

// NameFor is the name of the index of files: after the set that the first of them is a shard of, or as the header's own files have it,
// else of the set called stem.
func NameFor(first, suffix string, files []formats.File, stem string) string {
	if s, ok := Stem(first, suffix); ok {
		return s + suffix + Suffix
	}
	for _, f := range files {
		if strings.HasSuffix(f.Path, Suffix) && Unsafe(f.Path) == "" {
			return f.Path
		}
	}
	return stem + suffix + Suffix
}
