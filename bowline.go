// Package bowline converts model checkpoints among formats, judges and changes their tied embeddings, and proves with a reference forward pass
// that a result computes what its source did.
//
// Each function is one command of the tool: options in, one call, a struct back whose JSON is what the command prints with --json.
// They are safe to call concurrently; errors are those of package formats.
package bowline

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/all"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/gguf"
	"github.com/bowline-ml/bowline/formats/pytorch"
	"github.com/bowline-ml/bowline/formats/raw"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// Version is the version of the tool.
const Version = "0.1.0"

// Targets are what a checkpoint can be converted to. This table is the only place that ties a format to a scheme and a dialect.
func Targets() []convert.Target {
	return []convert.Target{
		{Name: "safetensors", Format: safetensors.Format, Scheme: arch.HF, Dialect: convert.SideFiles, Types: convert.Uniform,
			Tied: formats.NameDropped, Stem: "model", Sorted: true, Shard: 5_000_000_000},
		{Name: "pytorch", Format: pytorch.Format, Scheme: arch.HF, Dialect: convert.SideFiles, Types: convert.Uniform,
			Tied: formats.SharedStorage, Stem: "pytorch_model", Record: true, Shard: 5_000_000_000},
		{Name: "torchchat", Format: pytorch.Format, Scheme: arch.TorchChat, Dialect: convert.Params, Types: convert.Uniform,
			Tied: formats.NameDropped, Stem: "model", File: "model.pth", Record: true, Fixed: true},
		{Name: "gguf", Format: gguf.Format, Scheme: arch.GGUF, Dialect: convert.Keys, Types: convert.GGML,
			Tied: formats.Absence, Stem: "model", Convention: true, Fixed: true},
		{Name: "raw", Format: raw.Format, Scheme: arch.HF, Dialect: convert.SideFiles, Types: convert.Uniform,
			Tied: formats.SharedFile, Sorted: true},
	}
}

// Source is where a model is read from.
type Source struct {
	Path   string             // a weights file, an index, a shard or a model directory
	Config string             // a config.json to read instead of the one beside the weights
	FS     fsio.FS            // nil is the operating system's
	Bounds formats.ReadBounds // the most that is read of headers and side files; zero is the defaults
}

func (s Source) withFS() Source {
	if s.FS == nil {
		s.FS = fsio.OS{}
	}
	return s
}

// Open opens a model: headers, config and the list of its side files. The caller closes it.
func Open(src Source) (*arch.Model, error) {
	src = src.withFS()
	ck, err := all.OpenWithin(src.FS, src.Path, src.Bounds)
	if err != nil {
		return nil, unreadable(err, src.Path)
	}
	var side []formats.File
	var notes []formats.Note
	if ck.Format != gguf.Format.Name {
		if side, notes, err = all.Side(src.FS, ck.Dir); err != nil {
			return nil, errors.Join(unreadable(err, ck.Dir), ck.Close())
		}
	}
	side = slices.DeleteFunc(side, func(f formats.File) bool { // a manifest may give any name to its dumps
		return slices.ContainsFunc(ck.Files, func(w formats.File) bool { return w.Path == f.Path })
	})
	ck.Notes = append(ck.Notes, notes...)
	m, err := arch.Resolve(src.FS, ck, side, src.Config)
	if err == nil {
		err = m.Incomplete()
	}
	if err != nil {
		return nil, errors.Join(unreadable(err, src.Path), ck.Close())
	}
	return m, nil
}

// unreadable gives a source that cannot be opened the code of a missing input: the request is wrong, not the disk.
func unreadable(err error, path string) error {
	var out []error
	for _, e := range formats.Errors(err) {
		if e.Code == formats.IO && !errors.Is(e.Err, syscall.EIO) {
			c := *e
			c.Code = formats.Missing
			e = &c
		}
		out = append(out, e.At(path, -1))
	}
	return errors.Join(out...)
}

// suffixes tell a file destination, its format, and its target where --to does not.
var suffixes = map[string]string{".gguf": "gguf", ".safetensors": "safetensors", ".pt": "pytorch", ".pth": "pytorch", ".bin": "pytorch"}

// destination resolves a destination and the target that it asks for.
func destination(fsys fsio.FS, dst, to string) (convert.Destination, convert.Target, error) {
	var none convert.Target
	bySuffix := suffixes[strings.ToLower(filepath.Ext(dst))]
	d := convert.Destination{Path: filepath.Clean(dst), Dir: bySuffix == ""}
	if dst == "" {
		return d, none, formats.Errorf(formats.Usage, "the destination is empty")
	}
	if st, err := fsys.Stat(dst); err == nil {
		if st.Mode().IsRegular() {
			d.Dir = false
		} else if st.IsDir() && !d.Dir {
			return d, none, formats.Errorf(formats.Exists, "the destination is a directory, but its name is that of a file").At(dst, -1)
		}
	}
	name := to
	switch {
	case name == "" && bySuffix != "":
		name = bySuffix
	case name == "":
		name = "safetensors"
	}
	var known []string
	for _, t := range Targets() {
		switch {
		case t.Name != name:
			known = append(known, t.Name)
		case bySuffix != "" && bySuffix != t.Format.Name:
			return d, none, formats.Errorf(formats.Usage, "--to %s contradicts the name %s", to, filepath.Base(dst))
		case t.Stem == "" && !d.Dir:
			return d, none, formats.Errorf(formats.Usage, "%s is a directory of files, and the destination is a file", t.Name).At(dst, -1)
		default:
			return d, t, nil
		}
	}
	return d, none, formats.Errorf(formats.Usage, "%s cannot be written; known are %s", name, strings.Join(known, ", "))
}

// withModel opens a model for one call.
func withModel(src Source, f func(*arch.Model) error) error {
	m, err := Open(src)
	if err != nil {
		return err
	}
	return errors.Join(f(m), m.Close())
}

// gather answers what a plan needs to know.
func gather(ctx context.Context, m *arch.Model, t convert.Target, o convert.Options) (*convert.Evidence, error) {
	return convert.Gather(ctx, m, convert.Questions(m, t, o))
}
