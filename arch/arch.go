// Package arch is the model families, each one a table: what its tensors are called in each scheme, what shapes they have, how they are laid
// out, which of them are tied. Package convert derives its plans from these tables, package verify its names. Resolve finds the family of a
// checkpoint. Adding a family is adding a file and a line in all.go.
package arch

import (
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
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
	Rope   Pairing // "" if the family has no rope
	Window bool    // the programs that read it have sliding windows
	InOut  bool    // matrices of layers are stored [in, out], as transformers' Conv1D
	// NormShift is what the programs add to a stored norm before they multiply by it.
	NormShift float32
}

// Kind is what a tensor is used as.
type Kind string

const (
	Embedding Kind = "embedding" // [vocab, hidden], looked up by row
	Head      Kind = "head"      // [vocab, hidden], multiplied
	Position  Kind = "position"  // [positions, hidden], looked up by position
	Linear    Kind = "linear"    // [out, in]; [experts, out, in]
	Router    Kind = "router"    // [experts, hidden]
	Bias      Kind = "bias"      // [out]
	Norm      Kind = "norm"      // [hidden], or [head]
	Factors   Kind = "factors"   // rope divisors: implied by the config, not trained
)

// Wide reports whether GGUF keeps such a matrix in F32. Source: llama.cpp conversion/base.py, prepare_tensors.
func (k Kind) Wide() bool { return k == Router || k == Position }

// Dim is one dimension of a shape, from the parameters.
type Dim func(*config.Model) int64

// The dimensions that families share.
func Vocab(m *config.Model) int64    { return m.Vocab }
func Hidden(m *config.Model) int64   { return m.Hidden }
func FFN(m *config.Model) int64      { return m.FFN }
func QRows(m *config.Model) int64    { return m.Heads * m.HeadDim }
func KVRows(m *config.Model) int64   { return m.KVHeads * m.HeadDim }
func HeadDim(m *config.Model) int64  { return m.HeadDim }
func HalfHead(m *config.Model) int64 { return m.HeadDim / 2 }
func Experts(m *config.Model) int64  { return m.Experts }
func heads(m *config.Model) int64    { return m.Heads }
func kvHeads(m *config.Model) int64  { return m.KVHeads }

// Tensor is one row of a family's table: a tensor of the model, once or once a layer.
type Tensor struct {
	Role  string // in GGUF's words, without the layer: "attn_q.weight"
	Kind  Kind
	Shape []Dim // outermost first, in HF orientation
	// Name is what it is called: {i} stands for the layer, {e} for the expert where each has a tensor of its own. A scheme that is absent
	// does not store the tensor, or only as a part of a fused one.
	Name map[Scheme]string
	// Also are other names that files of a scheme have for it. They are read and not written.
	Also map[Scheme][]string
	// When says whether the parameters imply the tensor; nil is always. One that is there although When is false is an error, but for Factors,
	// which a file may hold without a key that says so.
	When func(*config.Model) bool
	// Rotary, for rows that rope rotates, is the number of heads they belong to.
	Rotary func(*config.Model) int64
	// Blocks, for a scheme, is how its rows lie otherwise than in the hub: blocks of rows that the hub has as [outer][inner] it has as
	// [inner][outer].
	Blocks map[Scheme]func(*config.Model) (outer, inner int64)
	// Value makes a Factors tensor from the parameters where a scheme stores it.
	Value func(*config.Model) []float32
	// Take is the reverse: it puts what such a tensor holds into the parameters.
	Take func(*config.Model, []float32)
}

// PerLayer reports whether there is one for each layer. What has no name of its own is a part of a fused tensor, and these are in layers.
func (t Tensor) PerLayer() bool {
	for _, name := range t.Name {
		return strings.Contains(name, "{i}")
	}
	return true
}

// In is the name of the tensor of layer i in a scheme, "" if the scheme does not store it. It holds {e} where each expert has its own.
func (t Tensor) In(s Scheme, i int64) string { return layer(t.Name[s], i) }

// layer puts the number of a layer into a name.
func layer(name string, i int64) string { return strings.ReplaceAll(name, "{i}", itoa(i)) }

// Expert puts the number of an expert into a name.
func Expert(name string, e int64) string { return strings.ReplaceAll(name, "{e}", itoa(e)) }

// Split reports whether a name stands for one tensor for each expert.
func Split(name string) bool { return strings.Contains(name, "{e}") }

// Fused is a tensor that files of a scheme store instead of several: parts joined along the rows (of three dimensions, those of each expert), in
// this order. In a scheme where the parts have names of their own too, both forms are read and the parts are written.
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
	Targets []string // roles; the flag is about the first, the others are always tied
	Flag    string   // the key of config.json that declares it
	// Default is the flag's default in the class of each major version of transformers.
	Default map[int]bool
	Slot    Slot // of the GGUF architecture
}

// Caveat is something that the programs of a scheme compute otherwise.
type Caveat struct {
	formats.Note
	Upto int64 // tokens, up to which they compute the same; 0 if the length of a text is nothing to it
}

// Family is one model family.
type Family struct {
	Name    string
	Classes []string          // transformers' architectures
	Types   map[string]string // model_type to the class that config.json names when it is rebuilt
	GGUF    string            // GGUF's general.architecture, "" if there is none
	// LlamaVocab are the classes whose vocabulary llama.cpp's converter writes as it does Llama's: conversion/llama.py, LlamaModel.set_vocab.
	LlamaVocab []string
	// Is tells the family's GGUF files from those of others with the same architecture; nil if there are none, or they ask first.
	Is func(*formats.Header) bool
	// Has tells its config.json from those of others with the same class, and its params.json, for which class is "", from the first family's.
	// Nil is that no other has its classes, and that it has no params.json of its own.
	Has func(class string, d *config.Doc) bool
	// Class is what parameters that name no class are; nil is always the first of Classes.
	Class   func(*config.Model) string
	Params  func(class string) []config.Param
	Layouts map[Scheme]Layout
	Tensors []Tensor
	Fused   []Fused
	Ties    []Tie
	// Written are tables for classes whose HF files have other names for the same roles. Those names are read whatever the class.
	Written map[string]*Family
	// Open is that the table names the members of ties and nothing else: every other tensor is carried as it is.
	Open bool
	// Drop are names that a scheme may hold and that carry nothing: buffers that old versions saved.
	Drop map[Scheme][]string
	// Base is what the names of HF's tensors begin with but for the head: files of the model without a head leave it out, and files that hold
	// another model beside it have more before it.
	Base string
	// Inner is, for a class that holds the model within another, the key of config.json whose object has the model's own parameters.
	Inner map[string]string
	// Beside is what the names of the other model's tensors begin with in HF's files of such a class. They are carried within the scheme, and no
	// other scheme has them.
	Beside []string
	// Check refuses parameters that the table cannot describe; for a scheme, what that scheme cannot say.
	Check func(*config.Model, Scheme) error
	// Caveats are what a scheme's programs compute otherwise although the model is carried; nil if there is nothing.
	Caveats func(*config.Model, Scheme) []Caveat
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

// Table is what gives the names of a class's files.
func (f *Family) Table(class string) *Family {
	if t := f.Written[class]; t != nil {
		return t
	}
	return f
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
func (u Fused) In(s Scheme, i int64) string { return layer(u.Name[s], i) }

// Names is the name in scheme s of a role in layer i, "" if the scheme does not store it.
func (f *Family) Names(s Scheme, role string, i int64) string {
	if t := f.Tensor(role); t != nil {
		return t.In(s, i)
	}
	return ""
}

// CaveatsOf is Caveats, nil where the family has none.
func (f *Family) CaveatsOf(m *config.Model, s Scheme) []Caveat {
	if f.Caveats == nil {
		return nil
	}
	return f.Caveats(m, s)
}
