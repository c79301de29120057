// Command gen writes the AVX2 kernels of package kernels: kernels_amd64.s and stubs_amd64.go.
// It is a module of its own so that users of bowline never fetch avo.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64")
	casts()
	q8()
	masks := maskTable()
	for rows := 1; rows <= 3; rows++ {
		tile(rows, 1, masks)
		tile(rows, 4, masks)
	}
	Generate()
}

// text starts a function whose pointers do not escape: without the pragma every slice of a caller would move to the heap.
func text(name, signature string, doc ...string) {
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(doc...)
}

// base is the address of a slice parameter.
func base(name string) reg.GPVirtual {
	return Load(Param(name).Base(), GP64()).(reg.GPVirtual)
}

// length is the length of a slice parameter.
func length(name string) reg.GPVirtual {
	return Load(Param(name).Len(), GP64()).(reg.GPVirtual)
}

// at is the memory disp bytes after the address in r.
func at(r reg.GPVirtual, disp int) Mem { return Mem{Base: r, Disp: disp} }

// times repeats body while count, which it lowers by step each time, is not zero. count must be a multiple of step.
func times(count reg.GPVirtual, step uint32, body func()) {
	Label("loop")
	TESTQ(count, count)
	JE(LabelRef("done"))
	body()
	SUBQ(Imm(uint64(step)), count)
	JMP(LabelRef("loop"))
	Label("done")
}

// bits fills all lanes of a new register with a constant.
func bits(u uint32) reg.VecVirtual {
	r, y := GP32(), YMM()
	MOVL(U32(u), r)
	VMOVD(r, y.AsX())
	VPBROADCASTD(y.AsX(), y)
	return y
}
