package dtype

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func file(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func floats(b []byte) []float32 {
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

// sameFloats compares bits. Where programs disagree about NaN payloads, any NaN equals any other.
func sameFloats(t *testing.T, got, want []float32, anyNaN bool) {
	t.Helper()
	if len(got) != len(want) || len(want) == 0 {
		t.Fatalf("got %d values, want %d", len(got), len(want))
	}
	for i := range want {
		g, w := math.Float32bits(got[i]), math.Float32bits(want[i])
		if g != w && !(anyNaN && got[i] != got[i] && want[i] != want[i]) {
			t.Fatalf("value %d: got %v (%#08x), want %v (%#08x)", i, got[i], g, want[i], w)
		}
	}
}

func TestDecodeRecorded(t *testing.T) {
	codes := make([]byte, 256)
	for i := range codes {
		codes[i] = byte(i)
	}
	for _, c := range []struct {
		dtype  Type
		blocks []byte
		want   string
		anyNaN bool // infinity times zero: the sign depends on the machine
	}{
		{F8_E4M3, codes, "f8_e4m3.f32", false},
		{F8_E5M2, codes, "f8_e5m2.f32", false},
		{Q4_0, file(t, "q4_0.blocks"), "q4_0.f32", true},
		{Q4_1, file(t, "q4_1.blocks"), "q4_1.f32", true},
		{Q5_0, file(t, "q5_0.blocks"), "q5_0.f32", true},
		{Q5_1, file(t, "q5_1.blocks"), "q5_1.f32", true},
		{Q8_0, file(t, "q8_0.blocks"), "q8_0.f32", true},
		{Q4_K, file(t, "q4_k.blocks"), "q4_k.f32", true},
		{Q5_K, file(t, "q5_k.blocks"), "q5_k.f32", true},
		{Q6_K, file(t, "q6_k.blocks"), "q6_k.f32", true},
	} {
		t.Run(string(c.dtype), func(t *testing.T) {
			want := floats(file(t, c.want))
			got := make([]float32, int64(len(c.blocks))/c.dtype.BlockBytes()*c.dtype.BlockElems())
			if n := c.dtype.Decode(got, c.blocks); n != 0 {
				t.Errorf("got %d overflows, want 0", n)
			}
			sameFloats(t, got, want, c.anyNaN)
			wide, narrow := make([]float64, len(got)), make([]float32, len(got))
			c.dtype.DecodeWide(wide, c.blocks)
			for i, v := range wide {
				narrow[i] = float32(v)
			}
			sameFloats(t, narrow, want, c.anyNaN)
		})
	}
}

func TestNarrowRecorded(t *testing.T) {
	in := floats(file(t, "casts.f32"))
	for _, c := range []struct {
		dtype  Type
		want   string
		inf    uint16
		anyNaN bool // numpy shortens payloads in its own way
	}{
		{F16, "casts.f16", 0x7c00, true},
		{BF16, "casts.bf16", 0x7f80, false},
	} {
		t.Run(string(c.dtype), func(t *testing.T) {
			want, got := file(t, c.want), make([]byte, 2*len(in))
			over := 0
			n := c.dtype.Encode(got, in)
			for i, f := range in {
				g, w := binary.LittleEndian.Uint16(got[2*i:]), binary.LittleEndian.Uint16(want[2*i:])
				if w&0x7fff == c.inf && !math.IsInf(float64(f), 0) {
					over++
				}
				if g != w && !(c.anyNaN && f != f && g&0x7fff > c.inf && w&0x7fff > c.inf) {
					t.Fatalf("%v (%#08x): got %#04x, want %#04x", f, math.Float32bits(f), g, w)
				}
			}
			if n != over {
				t.Errorf("got %d overflows, want %d", n, over)
			}
			back, again := make([]float32, len(in)), make([]byte, len(got))
			c.dtype.Decode(back, got)
			if c.dtype.Encode(again, back); !bytes.Equal(again, got) {
				t.Error("codes do not survive decoding and encoding")
			}
		})
	}
}

func TestEncodeQ8Recorded(t *testing.T) {
	in, want := floats(file(t, "q8_0.in")), file(t, "q8_0.blocks")
	got := make([]byte, len(want))
	lost := 0
	for i := 0; i < len(want); i += 34 {
		if binary.LittleEndian.Uint16(want[i:]) == 0x7c00 {
			lost += 32
		}
	}
	if n := Q8_0.Encode(got, in); n != lost || lost == 0 {
		t.Errorf("got %d values lost, want %d, not 0", n, lost)
	}
	for i := 0; i < len(want); i += 34 {
		if !bytes.Equal(got[i:i+34], want[i:i+34]) {
			t.Fatalf("block %d of %v:\ngot  %x\nwant %x", i/34, in[i/34*32:i/34*32+32], got[i:i+34], want[i:i+34])
		}
	}
}

// sample is 4 kinds of 64 rows of 512 values: uniform, cubic, small, and lumpy, from a splitmix64 counter, so that any language
// can make it.
func sample() []float32 {
	const n = 64 * 512
	out := make([]float32, 0, 4*n)
	for kind := range uint64(4) {
		for i := range uint64(n) {
			z := (i + 1 + kind<<32) * 0x9e3779b97f4a7c15
			z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
			z = (z ^ z>>27) * 0x94d049bb133111eb
			z ^= z >> 31
			r := float32(int64(z>>40)-1<<23) / (1 << 23)
			switch {
			case kind == 1:
				r = r * r * r * 8
			case kind == 2:
				r /= 65536
			case kind == 3 && i%61 == 0:
				r *= 30
			}
			out = append(out, r)
		}
	}
	return out
}

// The hashes were made by ggml_quantize_chunk of llama.cpp 0c1e57098, built without fused multiply-add, and by gguf 0.19.0,
// which agree.
func TestEncodeQ8Sample(t *testing.T) {
	in := sample()
	raw, out := make([]byte, 4*len(in)), make([]byte, len(in)/32*34)
	if n := F32.Encode(raw, in); n != 0 {
		t.Errorf("F32: got %d overflows, want 0", n)
	}
	if n := Q8_0.Encode(out, in); n != 0 {
		t.Errorf("Q8_0: got %d values lost, want 0", n)
	}
	for _, c := range []struct {
		name  string
		got   []byte
		bytes int
		want  string
	}{
		{"input", raw, 524288, "888f5cccbdfeeb40dbc78fd17dd3ef4f16a1ede36241720fe370ceaf49def0f2"},
		{"blocks", out, 139264, "488f67991ed188e288afeacd3f4dbe6c6f6720492591ba1879e102f897f261a4"},
	} {
		sum := sha256.Sum256(c.got)
		if got := hex.EncodeToString(sum[:]); got != c.want || len(c.got) != c.bytes {
			t.Errorf("%s: got %d bytes, %s, want %d, %s", c.name, len(c.got), got, c.bytes, c.want)
		}
	}
}

func TestScalars(t *testing.T) {
	le := binary.LittleEndian
	f64 := func(v float64) []byte { return le.AppendUint64(nil, math.Float64bits(v)) }
	for _, c := range []struct {
		name  string
		dtype Type
		src   []byte
		f32   float32
		f64   float64
		over  int
	}{
		{"f32", F32, []byte{0, 0, 0xc0, 0xbf}, -1.5, -1.5, 0},
		{"f64 rounds to nearest", F64, f64(1 + 0x1p-24 + 0x1p-40), 1 + 0x1p-23, 1 + 0x1p-24 + 0x1p-40, 0},
		{"f64 ties to even", F64, f64(1 + 0x1p-24), 1, 1 + 0x1p-24, 0},
		{"f64 beyond float32", F64, f64(-1e300), float32(math.Inf(-1)), -1e300, 1},
		{"f64 infinity is no overflow", F64, f64(math.Inf(1)), float32(math.Inf(1)), math.Inf(1), 0},
		{"f16", F16, []byte{0x01, 0x80}, -0x1p-24, -0x1p-24, 0},
		{"bf16", BF16, []byte{0x49, 0x40}, 3.140625, 3.140625, 0},
		{"i64", I64, le.AppendUint64(nil, 1<<53+1), 1 << 53, 1 << 53, 0},
		{"u64", U64, le.AppendUint64(nil, 1<<64-1), 1 << 64, 1 << 64, 0},
		{"i32", I32, le.AppendUint32(nil, 1<<24+1), 1 << 24, 1<<24 + 1, 0},
		{"u32", U32, le.AppendUint32(nil, 1<<32-1), 1 << 32, 1<<32 - 1, 0},
		{"i16", I16, []byte{0, 0x80}, -32768, -32768, 0},
		{"u16", U16, []byte{0, 0x80}, 32768, 32768, 0},
		{"i8", I8, []byte{0x80}, -128, -128, 0},
		{"u8", U8, []byte{0x80}, 128, 128, 0},
		{"true", BOOL, []byte{1}, 1, 1, 0},
		{"true, not 1", BOOL, []byte{0x80}, 1, 1, 0},
		{"false", BOOL, []byte{0}, 0, 0, 0},
	} {
		a, b := [1]float32{-7}, [1]float64{-7}
		over := c.dtype.Decode(a[:], c.src)
		c.dtype.DecodeWide(b[:], c.src)
		if a[0] != c.f32 || b[0] != c.f64 || over != c.over {
			t.Errorf("%s: got %v, %v and %d overflows, want %v, %v and %d", c.name, a[0], b[0], over, c.f32, c.f64, c.over)
		}
		if !c.dtype.CanEncode() || over != 0 {
			continue
		}
		back := make([]byte, len(c.src))
		if c.dtype.Encode(back, a[:]); float64(c.f32) == c.f64 && !bytes.Equal(back, c.src) {
			t.Errorf("%s: encoded again: got %x, want %x", c.name, back, c.src)
		}
	}
}

// Rows longer than DecodeWide's buffer, and shorter.
func TestDecodeWideLengths(t *testing.T) {
	blocks := file(t, "q8_0.blocks")
	for _, n := range []int{0, 32, 256, 288, len(blocks) / 34 * 32} {
		a, b := make([]float32, n), make([]float64, n)
		Q8_0.Decode(a, blocks)
		Q8_0.DecodeWide(b, blocks)
		for i := range a {
			if float64(a[i]) != b[i] && a[i] == a[i] {
				t.Fatalf("%d values: value %d: got %v, want %v", n, i, b[i], a[i])
			}
		}
	}
}

func TestTable(t *testing.T) {
	for name, s := range table {
		if s.elems < 1 || s.bytes < 1 {
			t.Errorf("%s: a block of %d values in %d bytes", name, s.elems, s.bytes)
		}
		if s.encode != nil && s.decode == nil {
			t.Errorf("%s is written but not read", name)
		}
		if strings.ToUpper(string(name)) != string(name) {
			t.Errorf("%s is not in upper case", name)
		}
	}
	if u := Type("F80"); u.Known() || u.CanDecode() || u.CanEncode() || u.BlockElems() != 1 || u.BlockBytes() != 0 {
		t.Error("an unknown type has facts")
	}
}

// TestHolds casts every value of the small floating types to the larger ones and back.
func TestHolds(t *testing.T) {
	for _, from := range []Type{F16, BF16, F8_E4M3, F8_E5M2} {
		n := 1 << (8 * from.BlockBytes())
		src, v := make([]byte, int64(n)*from.BlockBytes()), make([]float32, n)
		for i := range n {
			src[int64(i)*from.BlockBytes()] = byte(i)
			if from.BlockBytes() == 2 {
				src[2*i+1] = byte(i >> 8)
			}
		}
		from.Decode(v, src)
		for _, to := range []Type{F64, F32, BF16, F16} {
			code, back := make([]byte, int64(n)*to.BlockBytes()), make([]float32, n)
			to.Encode(code, v)
			to.Decode(back, code)
			exact := true
			for i := range v {
				exact = exact && (v[i] == back[i] || v[i] != v[i] && back[i] != back[i])
			}
			if to.Holds(from) != exact {
				t.Errorf("%s holds %s: got %v, want %v", to, from, !exact, exact)
			}
		}
	}
}
