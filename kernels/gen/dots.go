package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tile writes the kernel that makes rows x cols dot products at once, one register of four lanes each. 3 x 4 fills the sixteen
// registers: twelve sums, three of x, one of w.
func tile(rows, cols int, masks Mem) {
	name := fmt.Sprintf("dots%dx%dAVX2", rows, cols)
	text(name, "func(out, x, w []float64, k, ldo int)",
		fmt.Sprintf("%s makes %d x %d dot products of k values; rows of out are ldo values apart.", name, rows, cols))
	x, w := base("x"), base("w")
	k := Load(Param("k"), GP64()).(reg.GPVirtual)
	stride, stride3 := GP64().(reg.GPVirtual), GP64().(reg.GPVirtual) // one and three rows of x or w, in bytes
	MOVQ(k, stride)
	SHLQ(Imm(3), stride)
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	row := func(p reg.GPVirtual, r int) Mem {
		return []Mem{{Base: p}, {Base: p, Index: stride, Scale: 1}, {Base: p, Index: stride, Scale: 2}, {Base: p, Index: stride3, Scale: 1}}[r]
	}
	sums := make([][]reg.VecVirtual, rows)
	for r := range sums {
		for c := 0; c < cols; c++ {
			y := YMM()
			VXORPD(y, y, y)
			sums[r] = append(sums[r], y)
		}
	}
	// group adds four products to each sum; load reads their factors.
	group := func(load func(m Mem, y reg.VecVirtual)) {
		xs := make([]reg.VecVirtual, rows)
		for r := range xs {
			xs[r] = YMM()
			load(row(x, r), xs[r])
		}
		for c := 0; c < cols; c++ {
			y := YMM()
			load(row(w, c), y)
			for r := range xs {
				VFMADD231PD(xs[r], y, sums[r][c])
			}
		}
	}
	whole := GP64().(reg.GPVirtual)
	MOVQ(k, whole)
	SHRQ(Imm(2), whole)
	times(whole, 1, func() {
		group(func(m Mem, y reg.VecVirtual) { VMOVUPD(m, y) })
		ADDQ(Imm(32), x)
		ADDQ(Imm(32), w)
	})
	// The last group is filled up with zeros. A masked load does not touch what it leaves out.
	ANDQ(Imm(3), k)
	JE(LabelRef("reduce"))
	mask := GP64().(reg.GPVirtual)
	LEAQ(masks, mask)
	SHLQ(Imm(5), k)
	ADDQ(k, mask)
	group(func(m Mem, y reg.VecVirtual) {
		VMOVUPD(at(mask, 0), y)
		VMASKMOVPD(m, y, y)
	})
	Label("reduce")
	out := base("out")
	ldo := Load(Param("ldo"), GP64()).(reg.GPVirtual)
	for r := range sums {
		for c, y := range sums[r] {
			lo, hi := XMM(), XMM()
			VEXTRACTF128(Imm(1), y, hi)
			VADDPD(hi, y.AsX(), lo) // lanes 0+2, 1+3
			VUNPCKHPD(lo, lo, hi)
			VADDSD(hi, lo, lo)
			VMOVSD(lo, at(out, 8*c))
		}
		if r+1 < rows {
			LEAQ(Mem{Base: out, Index: ldo, Scale: 8}, out)
		}
	}
	VZEROUPPER()
	RET()
}

// maskTable holds, for 0 to 3 values left, the mask of the lanes that hold them.
func maskTable() Mem {
	masks := GLOBL("masks", attr.RODATA|attr.NOPTR)
	for left := 0; left < 4; left++ {
		for lane := 0; lane < 4; lane++ {
			m := uint64(0)
			if lane < left {
				m = ^uint64(0)
			}
			DATA(32*left+8*lane, U64(m))
		}
	}
	return masks
}
