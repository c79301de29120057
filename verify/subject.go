package verify

import (
	"path/filepath"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// Kind is what a side of a comparison is.
type Kind string

// The kinds.
const (
	Checkpoint Kind = "checkpoint"
	Logits     Kind = "logits"
)

const engine = "bowline"

// Subject is one side of a comparison: what it is and what is known of how it was made.
type Subject struct {
	Path       string     `json:"path"`
	Kind       Kind       `json:"kind"`
	Schema     string     `json:"schema,omitempty"` // of reference logits
	Engine     string     `json:"engine"`
	Version    string     `json:"engine_version"`
	DType      string     `json:"dtype"` // that the engine computed in
	Attention  string     `json:"attn_implementation"`
	Device     string     `json:"device"`
	Stored     dtype.Type `json:"stored,omitempty"`     // type of reference logits in their file
	Weights    dtype.Type `json:"weights,omitempty"`    // type that holds most bytes of the checkpoint
	Parameters int64      `json:"parameters,omitempty"` // stored values
	Layers     int        `json:"layers,omitempty"`
	Digest     string     `json:"digest,omitempty"` // of a checkpoint, if it was asked for
	Files      []string   `json:"-"`                // of a checkpoint and beside it
	Window     int        `json:"-"`                // sliding window, 0 if there is none
}

// Describe is a checkpoint as this package runs it. version is that of the program.
func Describe(m *arch.Model, version string, o Options) Subject {
	s := Subject{Path: m.Path(), Kind: Checkpoint, Engine: engine, Version: version, DType: "float32", Attention: "eager", Device: "cpu"}
	if o.Precision == F64 {
		s.DType = "float64"
	}
	for _, list := range [][]formats.File{m.Files, m.Side} {
		for _, f := range list {
			s.Files = append(s.Files, filepath.Join(m.Dir, f.Path))
		}
	}
	if m.Config != nil {
		s.Layers, s.Window = int(m.Config.Layers), int(m.Config.SlidingWindow)
	}
	sizes := map[dtype.Type]int64{}
	for _, t := range m.Tensors {
		s.Parameters += t.Elems()
		sizes[t.DType] += t.Bytes
	}
	for _, t := range m.Tensors { // in file order, so that equal sizes have one winner
		if s.Weights == "" || sizes[t.DType] > sizes[s.Weights] {
			s.Weights = t.DType
		}
	}
	return s
}
