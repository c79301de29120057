package dtype

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// recorded is a block and what another program decodes it to. Every NaN is 7fc00000.
type recorded struct {
	Kind   string   `json:"kind"`
	Block  string   `json:"block"`
	First  []string `json:"first"`  // the bits of the first values
	SHA256 string   `json:"sha256"` // of all as little-endian float32, its first 8 bytes
}

func shared(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../testdata/dtype", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func blocks(t testing.TB) map[Type][]recorded {
	t.Helper()
	var out map[Type][]recorded
	if err := json.Unmarshal(shared(t, "blocks.json"), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// plainBits are the bits of v; NaN payloads and signs depend on the machine.
func plainBits(v float32) uint32 {
	if v != v {
		return 0x7fc00000
	}
	return math.Float32bits(v)
}

func TestDecodeBlocksRecorded(t *testing.T) {
	all := blocks(t)
	for name, s := range table {
		_, err := os.Stat(filepath.Join("testdata", strings.ToLower(string(name))+".f32"))
		if s.class == quantized && (s.decode == nil || len(all[name]) == 0 && err != nil) {
			t.Errorf("%s is not decoded, or nothing is recorded about it", name)
		}
	}
	for dtype, rs := range all {
		t.Run(string(dtype), func(t *testing.T) {
			if len(rs) < 40 {
				t.Fatalf("got %d blocks, want 40 or more", len(rs))
			}
			for i, r := range rs {
				block := unhex(t, r.Block)
				if int64(len(block)) != dtype.BlockBytes() {
					t.Fatalf("block %d has %d bytes, want %d", i, len(block), dtype.BlockBytes())
				}
				got := make([]float32, dtype.BlockElems())
				if n := dtype.Decode(got, block); n != 0 {
					t.Errorf("got %d overflows, want 0", n)
				}
				var raw []byte
				for _, v := range got {
					raw = binary.LittleEndian.AppendUint32(raw, plainBits(v))
				}
				for j, want := range r.First {
					if have := fmt.Sprintf("%08x", plainBits(got[j])); have != want {
						t.Fatalf("block %d, %s, value %d: got %s, want %s\n%s", i, r.Kind, j, have, want, r.Block)
					}
				}
				if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:8]) != r.SHA256 {
					t.Fatalf("block %d, %s: got values of sum %x, want %s\n%s", i, r.Kind, sum[:8], r.SHA256, r.Block)
				}
			}
		})
	}
}

// A row of several blocks is the blocks one after the other, and float64 is the same values.
func TestDecodeRows(t *testing.T) {
	for dtype, rs := range blocks(t) {
		var row []byte
		var want []float32
		for _, r := range rs {
			block := unhex(t, r.Block)
			one := make([]float32, dtype.BlockElems())
			dtype.Decode(one, block)
			row, want = append(row, block...), append(want, one...)
		}
		got, wide := make([]float32, len(want)), make([]float64, len(want))
		dtype.Decode(got, row)
		dtype.DecodeWide(wide, row)
		for i, w := range want {
			if plainBits(got[i]) != plainBits(w) || plainBits(float32(wide[i])) != plainBits(w) {
				t.Fatalf("%s: value %d: got %v and %v, want %v", dtype, i, got[i], wide[i], w)
			}
		}
	}
}

func TestSmallFloatsRecorded(t *testing.T) {
	codes := make([]byte, 256)
	for i := range codes {
		codes[i] = byte(i)
	}
	for _, c := range []struct {
		dtype Type
		want  string
		holds []Type
	}{
		{F4, "f4.f32", []Type{F16, BF16, F32, F64}},
		{F8_E8M0, "f8_e8m0.f32", []Type{BF16, F32, F64}},
		{F8_E4M3FNUZ, "f8_e4m3fnuz.f32", []Type{F16, BF16, F32, F64}},
		{F8_E5M2FNUZ, "f8_e5m2fnuz.f32", []Type{F16, BF16, F32, F64}},
	} {
		t.Run(string(c.dtype), func(t *testing.T) {
			want := floats(shared(t, c.want))
			got, wide := make([]float32, len(want)), make([]float64, len(want))
			c.dtype.Decode(got, codes)
			c.dtype.DecodeWide(wide, codes)
			sameFloats(t, got, want, true)
			for i, v := range wide {
				got[i] = float32(v)
			}
			sameFloats(t, got, want, true)
			for _, to := range []Type{F16, BF16, F32, F64} {
				code, back := make([]byte, int64(len(want))*to.BlockBytes()), make([]float32, len(want))
				to.Encode(code, want)
				to.Decode(back, code)
				exact := true
				for i, v := range want {
					exact = exact && plainBits(v) == plainBits(back[i])
				}
				if to.Holds(c.dtype) != exact {
					t.Errorf("%s holds it: got %v, want %v", to, !exact, exact)
				}
			}
		})
	}
}

// What has no real values, or no order of bytes that anybody has written down, is moved and never read.
func TestOpaque(t *testing.T) {
	for _, name := range []Type{F6_E2M3, F6_E3M2, C64} {
		if !name.Known() || name.CanDecode() || name.CanEncode() || F32.Holds(name) {
			t.Errorf("%s: got values, want bytes only", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for name, rs := range blocks(f) {
		f.Add(string(name), unhex(f, rs[0].Block+rs[len(rs)-1].Block))
	}
	for name, s := range table {
		f.Add(string(name), make([]byte, 3*s.bytes+1))
	}
	f.Fuzz(func(t *testing.T, name string, src []byte) {
		d := Type(name)
		if !d.CanDecode() {
			return
		}
		const guard = 12345.5
		n := int64(len(src)) / d.BlockBytes() * d.BlockElems()
		dst, wide := make([]float32, n+1), make([]float64, n)
		for i := range dst {
			dst[i] = guard
		}
		d.Decode(dst[:n], src)
		if dst[n] != guard {
			t.Fatalf("%s: a value beyond the last one was written", name)
		}
		again := make([]float32, n)
		d.Decode(again, src[:n/d.BlockElems()*d.BlockBytes()])
		d.DecodeWide(wide, src)
		for i, v := range dst[:n] {
			if plainBits(v) != plainBits(again[i]) {
				t.Fatalf("%s: value %d is %v, then %v", name, i, v, again[i])
			}
			if table[d].decodeWide == nil && plainBits(v) != plainBits(float32(wide[i])) {
				t.Fatalf("%s: value %d is %v in float32, %v in float64", name, i, v, wide[i])
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for dtype, rs := range blocks(b) {
		b.Run(string(dtype), func(b *testing.B) {
			var src []byte
			for len(src) < 64<<10 {
				src = append(src, unhex(b, rs[len(src)%len(rs)].Block)...)
			}
			dst := make([]float32, int64(len(src))/dtype.BlockBytes()*dtype.BlockElems())
			b.SetBytes(int64(4 * len(dst)))
			for b.Loop() {
				dtype.Decode(dst, src)
			}
		})
	}
}
