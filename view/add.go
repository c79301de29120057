package view

import (
	"encoding/binary"
	"math"
)

// Add adds a constant to each value of v, which are float32: the sum is rounded once.
func Add(v View, c float32) View { return &add{v, c} }

type add struct {
	v View
	c float32
}

func (a *add) Size() int64              { return a.v.Size() }
func (a *add) Cut(off, max int64) int64 { return a.v.Cut(off, max) }

func (a *add) ReadAt(p []byte, off int64) (int, error) {
	lo := off - off%4
	buf := borrow((off + int64(len(p)) + 3 - lo) / 4 * 4)
	defer scratch.Put(buf)
	if _, err := a.v.ReadAt(*buf, lo); err != nil {
		return 0, err
	}
	for i := 0; i < len(*buf); i += 4 {
		b := (*buf)[i:]
		binary.LittleEndian.PutUint32(b, math.Float32bits(math.Float32frombits(binary.LittleEndian.Uint32(b))+a.c))
	}
	return copy(p, (*buf)[off-lo:]), nil
}
