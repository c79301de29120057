package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// step is the number of values in one turn of a cast's loop: four registers of eight float32.
const step = 32

// input is how a cast reads: load gives the values 8i to 8i+7 as float32.
type input struct {
	bytes int
	load  func(src reg.GPVirtual, i int) reg.VecVirtual
}

// output is how a cast writes: store rounds and stores the values 16i to 16i+15. It may change a and b.
type output struct {
	bytes int
	store func(dst reg.GPVirtual, i int, a, b reg.VecVirtual)
}

// The float32 bits of the smallest value that rounds to infinity. Both are ties that go to the even infinity.
const (
	overBF16 = 0x7f7f8000
	overF16  = 0x477ff000 // 65520
)

func casts() {
	cast("bf16ToF32AVX2", "func(dst []float32, src []byte)", "widens bfloat16", bf16In, f32Out, 0)
	cast("f16ToF32AVX2", "func(dst []float32, src []byte)", "widens float16", f16In, f32Out, 0)
	cast("loadF32AVX2", "func(dst []float32, src []byte)", "copies float32", f32In, f32Out, 0)
	cast("storeF32AVX2", "func(dst []byte, src []float32)", "copies float32", f32In, f32Out, 0)
	cast("f32ToBF16AVX2", "func(dst []byte, src []float32) (overflows int)", "rounds to bfloat16", f32In, bf16Out, overBF16)
	cast("f32ToF16AVX2", "func(dst []byte, src []float32) (overflows int)", "rounds to float16", f32In, f16Out, overF16)
	cast("bf16ToF16AVX2", "func(dst, src []byte) (overflows int)", "rounds bfloat16 to float16", bf16In, f16Out, overF16)
	cast("f16ToBF16AVX2", "func(dst, src []byte)", "rounds float16 to bfloat16", f16In, bf16Out, 0)
	widen()
}

// cast writes one function. first is the smallest magnitude to count as an overflow, 0 for none. in and out make their
// constants, so they run inside the function.
func cast(name, signature, does string, in func() input, out func() output, first uint32) {
	text(name, signature, name+" "+does+". The number of values must be a multiple of 32.")
	dst, src, n := base("dst"), base("src"), length("dst")
	from, to := in(), out()
	var count, abs, lift, last reg.VecVirtual
	if first != 0 {
		// Adding 2^23 to the bits of |x| makes infinities and NaN negative and keeps the order of the finite values, so
		// one signed comparison finds the finite values from first on.
		count, abs, lift, last = YMM(), bits(0x7fffffff), bits(1<<23), bits(first-1+1<<23)
		VPXOR(count, count, count)
	}
	size := to.bytes
	if signature == "func(dst []float32, src []byte)" {
		size = 1 // dst counts values
	}
	times(n, uint32(step*size), func() {
		for i := 0; i < step/16; i++ {
			a, b := from.load(src, 2*i), from.load(src, 2*i+1)
			if first != 0 {
				for _, v := range []reg.VecVirtual{a, b} {
					t := YMM()
					VPAND(abs, v, t)
					VPADDD(lift, t, t)
					VPCMPGTD(last, t, t)
					VPSUBD(t, count, count)
				}
			}
			to.store(dst, i, a, b)
		}
		ADDQ(Imm(uint64(step*from.bytes)), src)
		ADDQ(Imm(uint64(step*to.bytes)), dst)
	})
	if first != 0 {
		sum(count)
	}
	VZEROUPPER()
	RET()
}

// sum returns the sum of the eight lanes of count.
func sum(count reg.VecVirtual) {
	half, n := XMM(), GP64()
	VEXTRACTI128(Imm(1), count, half)
	VPADDD(count.AsX(), half, half)
	VPHADDD(half, half, half)
	VPHADDD(half, half, half)
	VMOVD(half, n.As32())
	Store(n, ReturnIndex(0))
}

func f32In() input {
	return input{4, func(src reg.GPVirtual, i int) reg.VecVirtual {
		y := YMM()
		VMOVUPS(at(src, 32*i), y)
		return y
	}}
}

func f16In() input {
	return input{2, func(src reg.GPVirtual, i int) reg.VecVirtual {
		y := YMM()
		VCVTPH2PS(at(src, 16*i), y)
		return y
	}}
}

func bf16In() input {
	return input{2, func(src reg.GPVirtual, i int) reg.VecVirtual {
		y := YMM()
		VPMOVZXWD(at(src, 16*i), y)
		VPSLLD(Imm(16), y, y)
		return y
	}}
}

func f32Out() output {
	return output{4, func(dst reg.GPVirtual, i int, a, b reg.VecVirtual) {
		VMOVUPS(a, at(dst, 64*i))
		VMOVUPS(b, at(dst, 64*i+32))
	}}
}

func f16Out() output {
	return output{2, func(dst reg.GPVirtual, i int, a, b reg.VecVirtual) {
		VCVTPS2PH(Imm(0), a, at(dst, 32*i)) // 0: nearest even, whatever MXCSR says
		VCVTPS2PH(Imm(0), b, at(dst, 32*i+16))
	}}
}

// bf16Out rounds by integer arithmetic. VCVTNEPS2BF16 would not do: it takes subnormals for zero.
func bf16Out() output {
	half, one, quiet := bits(0x7fff), bits(1), bits(0x400000)
	round := func(y reg.VecVirtual) {
		nan, odd, q := YMM(), YMM(), YMM()
		VCMPPS(Imm(3), y, y, nan) // 3: unordered
		VPOR(quiet, y, q)
		VPSRLD(Imm(16), y, odd)
		VPAND(one, odd, odd)
		VPADDD(half, y, y)
		VPADDD(odd, y, y)
		VBLENDVPS(nan, q, y, y)
		VPSRLD(Imm(16), y, y)
	}
	return output{2, func(dst reg.GPVirtual, i int, a, b reg.VecVirtual) {
		round(a)
		round(b)
		VPACKUSDW(b, a, a) // a0-3 b0-3 a4-7 b4-7
		VPERMQ(Imm(0xd8), a, a)
		VMOVDQU(a, at(dst, 32*i))
	}}
}

func widen() {
	text("widenAVX2", "func(dst []float64, src []float32)", "widenAVX2 copies float32 to float64. The number of values must be a multiple of 16.")
	dst, src, n := base("dst"), base("src"), length("dst")
	times(n, 16, func() {
		for i := 0; i < 4; i++ {
			y := YMM()
			VCVTPS2PD(at(src, 16*i), y)
			VMOVUPD(y, at(dst, 32*i))
		}
		ADDQ(Imm(64), src)
		ADDQ(Imm(128), dst)
	})
	VZEROUPPER()
	RET()
}
