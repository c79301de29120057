// Package arch is the model families, each one a table: what its tensors are called in each scheme, what shapes they have, how they are laid
// out, which of them are tied. Package convert derives its plans from these tables, package verify its names. Resolve finds the family of a
// checkpoint. Adding a family is adding a file and a line in all.go.
package arch

import (
	"slices"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/arch/config"
)

// Scheme is a naming dialect with its layout facts.
type Scheme string

// The schemes. HF is the hub: every other one is described against the same roles.
const (
	HF        Scheme = "hf"
	GGUF      Scheme = "gguf"
	Meta      Scheme = "meta"      // Meta's own files: wq, wk and wv apart
	TorchChat Scheme = "torchchat" // the same names, with wqkv fused
)

// schemes are in the order in which they are tried on a file's names.
var schemes = []Scheme{HF, GGUF, Meta, TorchChat}

// Pairing is which two elements of a head rope rotates together.
type Pairing string

const (
	Half        Pairing = "half"        // (i, i+d/2): transformers' rotate_half, ggml's NEOX
	Interleaved Pairing = "interleaved" // (2i, 2i+1): Meta's original, ggml's NORM
)

// Layout is the layout facts of a scheme. Where two schemes differ in one, the plan transforms; where they agree, it copies.
type Layout struct {
	Rope   Pairing
	Window bool // the programs that read it have sliding windows
}

// Kind is what a tensor is used as.
type Kind string

const (
	Embedding Kind = "embedding" // [vocab, hidden], looked up by row
	Head      Kind = "head"      // [vocab, hidden], multiplied
	Linear    Kind = "linear"    // [out, in]
	Bias      Kind = "bias"      // [out]
	Norm      Kind = "norm"      // [hidden]
	Factors   Kind = "factors"   // rope divisors: implied by the config, not trained
)

// Dim is one dimension of a shape, from the parameters.
type Dim func(*config.Model) int64

// The dimensions that families share.
func Vocab(m *config.Model) int64    { return m.Vocab }
func Hidden(m *config.Model) int64   { return m.Hidden }
func FFN(m *config.Model) int64      { return m.FFN }
func QRows(m *config.Model) int64    { return m.Heads * m.HeadDim }
func KVRows(m *config.Model) int64   { return m.KVHeads * m.HeadDim }
func HalfHead(m *config.Model) int64 { return m.HeadDim / 2 }
func heads(m *config.Model) int64    { return m.Heads }
func kvHeads(m *config.Model) int64  { return m.KVHeads }

// Tensor is one row of a family's table: a tensor of the model, once or once a layer.
type Tensor struct {
	Role  string // in GGUF's words, without the layer: "attn_q.weight"
	Kind  Kind
	Shape []Dim             // outermost first, in HF orientation
	Name  map[Scheme]string // {i} stands for the layer; a scheme that is absent does not store the tensor
	// When says whether the parameters imply the tensor; nil is always. One that is there although When is false is an error, but for Factors,
	// which a file may hold without a key that says so.
	When func(*config.Model) bool
	// Rotary, for rows that rope rotates, is the number of heads they belong to.
	Rotary func(*config.Model) int64
	// Value makes a Factors tensor from the parameters where a scheme stores it.
	Value func(*config.Model) []float32
}

// PerLayer reports whether there is one for each layer.
func (t Tensor) PerLayer() bool { return strings.Contains(t.Name[HF]+t.Name[GGUF], "{i}") }

// In is the name of the tensor of layer i in a scheme, "" if the scheme does not store it.
func (t Tensor) In(s Scheme, i int64) string {
	return strings.ReplaceAll(t.Name[s], "{i}", strconv.FormatInt(i, 10))
}

// Fused is a tensor that files of a scheme store instead of several: parts joined along the rows, in this order. In a scheme where the parts have
// names of their own too, both forms are read and the parts are written.
type Fused struct {
	Name  map[Scheme]string
	Parts []string // roles
}

// Slot is whether a GGUF runtime wants the output head stored.
type Slot string

const (
	Optional  Slot = "optional"  // absent means tied
	Required  Slot = "required"  // a tied model needs a copy
	Forbidden Slot = "forbidden" // the embedding is always used
)

// Tie is a group of tensors that a model may share.
type Tie struct {
	ID      string
	Source  string   // role: the one to keep
	Targets []string // roles
	Flag    string   // the key of config.json that declares it
	// Default is the flag's default in the class of each major version of transformers.
	Default map[int]bool
	Slot    Slot // of the GGUF architecture
}

// Family is one model family.
type Family struct {
	Name    string
	Classes []string          // transformers' architectures
	Types   map[string]string // model_type to the class that config.json names when it is rebuilt
	GGUF    string            // GGUF's general.architecture, "" if there is none
	Params  func(class string) []config.Param
	Layouts map[Scheme]Layout
	Tensors []Tensor
	Fused   []Fused
	Ties    []Tie
	// Drop are names that a scheme may hold and that carry nothing: buffers that old versions saved.
	Drop map[Scheme][]string
	// Check refuses parameters that the table cannot describe; for a scheme, what that scheme cannot say.
	Check func(*config.Model, Scheme) error
	// Caveat says what computes the same only up to a stated length in a scheme, "" if nothing does.
	Caveat func(*config.Model, Scheme) string
}

// Tensor finds a row by role, or nil.
func (f *Family) Tensor(role string) *Tensor {
	for i := range f.Tensors {
		if f.Tensors[i].Role == role {
			return &f.Tensors[i]
		}
	}
	return nil
}

// FusedWith is the fused tensor that has a role among its parts in a scheme, or nil.
func (f *Family) FusedWith(s Scheme, role string) *Fused {
	for k := range f.Fused {
		if f.Fused[k].Name[s] != "" && slices.Contains(f.Fused[k].Parts, role) {
			return &f.Fused[k]
		}
	}
	return nil
}

// In is the name of the fused tensor of layer i in a scheme, "" if there is none.
func (u Fused) In(s Scheme, i int64) string {
	return strings.ReplaceAll(u.Name[s], "{i}", strconv.FormatInt(i, 10))
}

// Names is the name in scheme s of a role in layer i, "" if the scheme does not store it.
func (f *Family) Names(s Scheme, role string, i int64) string {
	if t := f.Tensor(role); t != nil {
		return t.In(s, i)
	}
	return ""
}
