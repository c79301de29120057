package pytorch

import (
	"fmt"

	"github.com/bowline-ml/bowline/formats/dtype"
)

// What the machine's stack holds, all values of type any:
//
//	nil, bool, int64, float64   as in Python
//	huge                        an integer beyond 64 bits
//	text, raw                   str and bytes, substrings of the stream
//	*global                     a class or function, by name
//	*node                       a tuple, list, set, or an object that is not made
//	*dict                       a dictionary, ordered or not
//	*storage, *tensor           what all this is about
type (
	text string
	raw  string
	huge struct{}
)

// global is a class or function that the pickle names.
type global struct {
	module, name string
	full         string // module.name
	at           int32
	known        bool // in the table: no note is due
}

func (g *global) String() string { return g.full }

// kind tells nodes apart.
type kind uint8

const (
	tuple kind = iota + 1
	list
	set
	inert   // the result of a call that was not made
	refused // the same, of a function that would make a tensor
)

// node is a value with parts. Parts are shared by pointer, so nothing that a pickle says makes more of them than it has opcodes.
type node struct {
	kind  kind
	holds bool // see walk.reach
	depth uint16
	at    int32
	id    int32   // the same
	class *global // of inert and refused
	items []any
}

// dict keeps its entries in order, and twice the same key if the pickle sets it twice.
type dict struct {
	holds   bool // see walk.reach
	depth   uint16
	id      int32 // the same
	entries []entry
}

type entry struct {
	key, value any
	at         int32 // of the opcode that set it
}

// storage is a record of the archive as the pickle describes it.
type storage struct {
	key     string
	class   string
	at      int32
	dtype   dtype.Type // of the class; U8 for untyped storages
	foreign string     // the name of a class whose type is not read
	item    int64      // bytes of an element
	numel   int64
	data    int64 // its first byte in the file
	bytes   int64
	wrong   bool // a problem was told; what is built on it is not judged

	// A part of another storage, in files from before 1.6: from which of its elements on.
	root  *storage
	first int64
}

// start is where the storage begins in the file.
func (s *storage) start() int64 {
	if s.root != nil {
		return s.root.data + s.first*s.item
	}
	return s.data
}

// whole is the storage that has the bytes.
func (s *storage) whole() *storage {
	if s.root != nil {
		return s.root
	}
	return s
}

// tensor is a view of a storage. Offset, shape and stride count elements.
type tensor struct {
	at      int32
	storage *storage
	dtype   dtype.Type
	offset  int64
	shape   []int64
	stride  []int64
	bytes   int64
	problem *problem // what is wrong with it, told when it has a name
	name    string   // the first that it has
	named   bool
}

// describe names the kind of a value for messages.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "a bool"
	case int64, huge:
		return "an int"
	case float64:
		return "a float"
	case text:
		return "a str"
	case raw:
		return "bytes"
	case *global:
		return "the name " + v.String()
	case *dict:
		return "a dict"
	case *storage:
		return "a storage"
	case *tensor:
		return "a tensor"
	case *node:
		switch v.kind {
		case tuple:
			return "a tuple"
		case list:
			return "a list"
		case set:
			return "a set"
		}
		return "an object of " + v.class.String()
	}
	return fmt.Sprintf("a %T", v)
}

// depthOf is how deep a value nests.
func depthOf(v any) uint16 {
	switch v := v.(type) {
	case *node:
		return v.depth
	case *dict:
		return v.depth
	}
	return 0
}
