package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A Q8_0 block is 2 bytes of float16 scale and 32 int8.
const (
	q8Values = 32
	q8Bytes  = 34
)

func q8() {
	encodeQ8()
	decodeQ8()
}

func encodeQ8() {
	text("encodeQ8AVX2", "func(dst []byte, src []float32) (done int)",
		"encodeQ8AVX2 encodes whole blocks of Q8_0 and stops before one that holds a magnitude above 2^22, infinity or NaN.",
		"It returns the number of blocks done.")
	dst, src, n, done := base("dst"), base("src"), length("src"), GP64()
	XORQ(done, done)
	abs, sign, half := bits(0x7fffffff), bits(0x80000000), bits(0x3effffff) // half: the float32 below 0.5
	order := YMM()
	VMOVDQU(table("order", 0, 4, 1, 5, 2, 6, 3, 7), order)
	most, one := bits(0x42fe0000).AsX(), bits(0x3f800000).AsX() // 127, 1
	tiny := bits(0x00200000).AsX()                              // 2^-128: 1/d is infinite up to here
	times(n, q8Values, func() {
		var v [4]reg.VecVirtual
		top := YMM()
		for i := range v {
			v[i] = YMM()
			VMOVUPS(at(src, 32*i), v[i])
			if i == 0 {
				VPAND(abs, v[i], top)
				continue
			}
			t := YMM()
			VPAND(abs, v[i], t)
			VPMAXUD(t, top, top)
		}
		amax, swap := top.AsX(), XMM()
		VEXTRACTI128(Imm(1), top, swap)
		VPMAXUD(swap, amax, amax)
		VPSHUFD(Imm(0x4e), amax, swap)
		VPMAXUD(swap, amax, amax)
		VPSHUFD(Imm(0xb1), amax, swap)
		VPMAXUD(swap, amax, amax)
		limit := GP32()
		VMOVD(amax, limit)
		CMPL(limit, U32(0x4a800000)) // 2^22
		JHI(LabelRef("done"))

		d, id, code, some := XMM(), YMM(), XMM(), XMM()
		VDIVPS(most, amax, d)
		VDIVPS(d, one, id.AsX())
		VCMPPS(Imm(14), tiny, d, some) // 14: greater than
		VPAND(some, id.AsX(), id.AsX())
		VBROADCASTSS(id.AsX(), id)
		VCVTPS2PH(Imm(0), d, code)
		VPEXTRW(Imm(0), code, at(dst, 0))

		for _, y := range v {
			// Adding the float below one half and cutting is rounding half away from zero; adding one half itself would carry
			// 0.49999997 up.
			t := YMM()
			VMULPS(id, y, y)
			VPAND(sign, y, t)
			VPOR(half, t, t)
			VADDPS(t, y, y)
			VCVTTPS2DQ(y, y)
		}
		VPACKSSDW(v[1], v[0], v[0])
		VPACKSSDW(v[3], v[2], v[2])
		VPACKSSWB(v[2], v[0], v[0])
		VPERMD(v[0], order, v[0])
		VMOVDQU(v[0], at(dst, 2))
		INCQ(done)
		ADDQ(Imm(4*q8Values), src)
		ADDQ(Imm(q8Bytes), dst)
	})
	Store(done, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

func decodeQ8() {
	text("decodeQ8AVX2", "func(dst []float32, src []byte)", "decodeQ8AVX2 decodes whole blocks of Q8_0.")
	dst, src, n := base("dst"), base("src"), length("dst")
	times(n, q8Values, func() {
		d := YMM()
		VPBROADCASTW(at(src, 0), d.AsX())
		VCVTPH2PS(d.AsX(), d)
		for i := 0; i < 4; i++ {
			y := YMM()
			VPMOVSXBD(at(src, 2+8*i), y)
			VCVTDQ2PS(y, y)
			VMULPS(d, y, y)
			VMOVUPS(y, at(dst, 32*i))
		}
		ADDQ(Imm(q8Bytes), src)
		ADDQ(Imm(4*q8Values), dst)
	})
	VZEROUPPER()
	RET()
}

// table is a constant of 32-bit words.
func table(name string, words ...uint32) Mem {
	m := GLOBL(name, attr.RODATA|attr.NOPTR)
	for i, w := range words {
		DATA(4*i, U32(w))
	}
	return m
}
