// Write puts the hostile corpus into a directory: a file or, for sets, a directory for each case, and vectors.json, which says what each has
// to be taken for.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
)

// vector is what vectors.json says of a case.
type vector struct {
	Path     string       `json:"path"` // of the file, or of the directory
	Open     []string     `json:"open,omitempty"`
	Index    string       `json:"index,omitempty"`
	Group    string       `json:"group"`
	Name     string       `json:"name"`
	Expect   string       `json:"expect"` // refuse or accept
	Class    formats.Code `json:"class,omitempty"`
	Offset   int64        `json:"offset"` // -1 for none, -2 for any
	Tensor   string       `json:"tensor,omitempty"`
	Field    string       `json:"field,omitempty"` // "*" for any
	MaxAlloc int64        `json:"max-alloc"`
	MaxMS    int64        `json:"max-ms"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: write DIR")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "write:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	var vectors []vector
	for _, g := range corpus.Groups() {
		for i, c := range g.Cases() {
			v := vector{Open: c.Open, Index: c.Index, Group: g.Name, Name: c.Name, Expect: "accept", Class: c.Code, Offset: c.Offset, Tensor: c.Tensor, Field: c.Field,
				MaxAlloc: c.Memory, MaxMS: c.Time.Milliseconds()}
			if c.Code != "" {
				v.Expect = "refuse"
			}
			v.Path = filepath.ToSlash(filepath.Join(strings.ReplaceAll(g.Name, " ", "-"), fmt.Sprintf("%03d-%s", i, g.File)))
			files := c.Files
			if files == nil {
				files = map[string][]byte{"": c.Bytes}
			}
			for name, b := range files {
				path := filepath.Join(dir, v.Path, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
					return err
				}
				if err := os.WriteFile(path, b, 0o666); err != nil {
					return err
				}
				if c.Size > int64(len(b)) { // a hole
					if err := os.Truncate(path, c.Size); err != nil {
						return err
					}
				}
			}
			vectors = append(vectors, v)
		}
	}
	b, err := json.MarshalIndent(vectors, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "vectors.json"), append(b, '\n'), 0o666)
}
