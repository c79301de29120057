// Package corpus is the hostile corpus: files that a reader has to refuse, each with what the refusal has to say and what it may cost, and
// odd ones that have to be read all the same. They are made byte by byte, by tables, without the readers and writers that they are for, and
// are the same each time.
package corpus

import (
	"time"

	"github.com/bowline-ml/bowline/formats"
)

// Case is a file, or a set of them, that has to be refused, or, without a Code, read.
type Case struct {
	Name  string
	Bytes []byte
	Size  int64 // of the file if it is longer than Bytes; the rest reads as zeros
	// Files are further files, or all of them where Open or Index says which to open.
	Files map[string][]byte
	Open  []string
	Index string

	// What the first problem has to say.
	Code   formats.Code
	Offset int64 // -1 for none, Anywhere for any
	Tensor string
	Field  string // AnyField for any
	// Says are texts that the message of some problem has to contain.
	Says []string
	// Codes are those of all problems; nil if it is Code alone.
	Codes []formats.Code

	// Reads is what an odd file has to be read as, nil if nothing is asked but that it is read.
	Reads *Reads

	// What opening it may cost at most: bytes that are allocated on the way, and time.
	Memory int64
	Time   time.Duration
}

// A problem may have any offset, any field.
const (
	Anywhere = -2
	AnyField = "*"
)

// Reads is what is found in an odd file. Each format states what matters there.
type Reads struct {
	Names     string           // of tensors and, as "name=of", of aliases, sorted
	Tensors   []string         // "name dtype shape bytes", in order
	Metadata  formats.Metadata // all of it if it is not nil
	Notes     []string         // texts of the notes, in order
	Count     int              // of the notes, where their texts are not given
	Warn      bool             // the first note is a warning
	Dangling  []string
	Unindexed []string
}

// Group is the cases of one reader.
type Group struct {
	Name   string
	Reader string // the package that reads them
	File   string // what a lone file is called
	Bad    []Case
	Odd    []Case
}

// Groups are all of them.
func Groups() []Group {
	return []Group{Pickle(), Payload(), Zip(), Legacy(), Safetensors(), Index(), GGUF(), NPY(), Raw(), Config(), Params(), Tokenizer()}
}

// Cases are the bad ones and then the odd ones.
func (g Group) Cases() []Case { return append(g.Bad[:len(g.Bad):len(g.Bad)], g.Odd...) }

// Len is how many bytes a case has in all its files; those of a hole are not counted.
func (c Case) Len() int64 {
	n := int64(len(c.Bytes))
	for _, b := range c.Files {
		n += int64(len(b))
	}
	return n
}

// budget is the memory that the readers of a group may allocate: a multiple of the bytes that they are given and a constant. A small file
// proves no more by its lengths than by its bytes, so that it is held to less.
type budget struct {
	times, plus           int64
	smallTimes, smallPlus int64
}

const (
	smallFile = 4 << 10
	smallTime = 50 * time.Millisecond // most of it is the machine's
	// A second is for 10 MB; a larger file may take as long for each.
	largeTime = time.Second
	perByte   = time.Second / 10_000_000
)

// group sorts cases into bad and odd ones and gives each its limits.
func group(name, reader, file string, b budget, tables ...[]Case) Group {
	g := Group{Name: name, Reader: reader, File: file}
	for _, table := range tables {
		for _, c := range table {
			n := c.Len()
			memory, limit := b.times*n+b.plus, max(largeTime, time.Duration(n)*perByte)
			if n <= smallFile {
				limit = smallTime
				if c.Size == 0 {
					memory = b.smallTimes*n + b.smallPlus
				}
			}
			if c.Memory == 0 {
				c.Memory = memory
			}
			c.Time = limit
			if c.Code == "" {
				g.Odd = append(g.Odd, c)
			} else {
				g.Bad = append(g.Bad, c)
			}
		}
	}
	return g
}
