package bowline

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/diff"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// HashOptions are the choices of a digest.
type HashOptions struct {
	Check    string // the JSON of an earlier digest to compare with, "" for none
	Workers  int
	Progress func(done, total int64) // bytes; called from several goroutines
}

// HashReport is the digest of what a model is. Tensors are in the order of their names.
type HashReport struct {
	Schema    string              `json:"schema"`
	Digest    string              `json:"digest"`
	Algorithm string              `json:"algorithm"`
	Tensors   []diff.TensorDigest `json:"tensors"`
	Check     *HashCheck          `json:"check"` // nil if there was nothing to compare with
	Notes     []formats.Note      `json:"notes"`
}

// HashCheck is how a digest compares with an earlier one: the names that differ, that only the earlier one has, that only this one has.
type HashCheck struct {
	Path    string   `json:"path"`
	Equal   bool     `json:"equal"`
	Differs []string `json:"differs"`
	Missing []string `json:"missing"`
	New     []string `json:"new"`
}

// Hash makes the digest of a model: of logical names, shapes and values, so that it is equal for all forms that lose nothing. What differs from the
// saved one is no error: the report says so.
func Hash(ctx context.Context, src Source, o HashOptions) (*HashReport, error) {
	src = src.withFS()
	var saved *HashReport
	if o.Check != "" {
		var err error
		if saved, err = ReadHash(src.FS, o.Check); err != nil {
			return nil, err
		}
	}
	r := &HashReport{Schema: hashSchema, Algorithm: diff.Algorithm}
	err := withModel(src, func(m *arch.Model) error {
		if err := judgeable(m); err != nil {
			return err
		}
		for _, g := range convert.Groups(m) {
			switch g.Verdict {
			case convert.HeadMissing, convert.EmbedMissing, convert.GroupMissing:
				return formats.Errorf(formats.Missing, "%s: what the model computes with is not stored", g.Verdict).In(g.TargetKeys[0], "").At(m.Path(), -1).
					Hinted("bowline ties says what is there; convert --ties tie makes a tied model of it")
			}
		}
		d, err := diff.Digest(ctx, m, workers(o.Workers), o.Progress)
		if err != nil {
			return err
		}
		r.Digest, r.Tensors = d.Digest, d.Tensors
		r.Notes = append(append([]formats.Note{}, m.Notes...), d.Notes...)
		return checked(ctx, m)
	})
	if err != nil {
		return nil, err
	}
	if saved != nil {
		r.Check = r.against(saved, o.Check)
	}
	return r, nil
}

const hashSchema = "bowline.hash/1"

// ReadHash reads a digest that was saved as JSON. One that contradicts itself, or of another algorithm, is an error.
func ReadHash(fsys fsio.FS, path string) (*HashReport, error) {
	b, err := fsio.ReadFile(fsys, path, 256<<20)
	if err != nil {
		return nil, unreadable(formats.Errorf(formats.IO, "%w", err), path)
	}
	var r HashReport
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&r); err != nil {
		return nil, formats.Errorf(formats.JSON, "it is not what hash prints: %w", err).At(path, dec.InputOffset()).Hinted("bowline hash SRC --json > FILE makes one")
	}
	if rest := bytes.TrimSpace(b[dec.InputOffset():]); len(rest) > 0 {
		return nil, formats.Errorf(formats.Trail, "got more after the object").At(path, dec.InputOffset())
	}
	if r.Schema != hashSchema {
		return nil, formats.Errorf(formats.JSON, "got %q, want %q", r.Schema, hashSchema).In("", "schema").At(path, -1)
	}
	if r.Algorithm != diff.Algorithm {
		return nil, formats.Errorf(formats.Unsupported, "got %q, want %q", r.Algorithm, diff.Algorithm).In("", "algorithm").At(path, -1)
	}
	total, err := diff.Total(r.Tensors)
	if err != nil {
		return nil, formats.At(err, path)
	}
	if total != r.Digest {
		return nil, formats.Errorf(formats.Mismatch, "got %q, but the tensors give %s", r.Digest, total).In("", "digest").At(path, -1)
	}
	return &r, nil
}

// against names what differs from a saved digest.
func (r *HashReport) against(saved *HashReport, path string) *HashCheck {
	c := &HashCheck{Path: path, Equal: r.Digest == saved.Digest, Differs: []string{}, Missing: []string{}, New: []string{}}
	want := make(map[string]string, len(saved.Tensors))
	for _, t := range saved.Tensors {
		want[t.Name] = t.Digest
	}
	for _, t := range r.Tensors {
		switch d, ok := want[t.Name]; {
		case !ok:
			c.New = append(c.New, t.Name)
		case d != t.Digest:
			c.Differs = append(c.Differs, t.Name)
		}
		delete(want, t.Name)
	}
	for _, t := range saved.Tensors {
		if _, left := want[t.Name]; left {
			c.Missing = append(c.Missing, t.Name)
		}
	}
	return c
}
