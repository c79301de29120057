package verify_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/safetensors"
	"github.com/bowline-ml/bowline/verify"
)

func TestReadLogits(t *testing.T) {
	got, s := recorded(t, "../testdata/expected/llama3/logits.safetensors")
	want := verify.Subject{Path: s.Path, Kind: verify.Logits, Schema: "logits/v1", Engine: "transformers", Version: "5.23.0",
		DType: "float32", Attention: "eager", Device: "cpu", Stored: dtype.F32}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got %+v, want %+v", s, want)
	}
	if len(got.Tokens) != 48 || got.Tokens[1] != 346 || got.Logits.Rows != 48 || got.Logits.Cols != 347 || len(got.Layers) != 3 || got.FinalNorm.Cols != 60 {
		t.Errorf("got %d tokens, logits %d x %d, %d layers", len(got.Tokens), got.Logits.Rows, got.Logits.Cols, len(got.Layers))
	}
}

// file is a checkpoint of these tensors in memory.
func file(md formats.Metadata, t ...formats.Tensor) *formats.Checkpoint {
	for i := range t {
		t[i].Bytes, _ = formats.TensorBytes(t[i].DType, t[i].Shape)
	}
	return formats.NewCheckpoint("", formats.Header{Tensors: t, Metadata: md}, func(i int) (io.ReaderAt, error) {
		b := make([]byte, t[i].Bytes)
		if t[i].Name == "tokens" {
			binary.LittleEndian.PutUint32(b, 0xFFFF_FFFF)
		}
		return bytes.NewReader(b), nil
	}, nil)
}

func TestReadLogitsShapes(t *testing.T) {
	tensor := func(name string, kind dtype.Type, shape ...int64) formats.Tensor {
		return formats.Tensor{Name: name, DType: kind, Shape: shape}
	}
	for _, c := range []struct {
		name string
		ck   *formats.Checkpoint
		code formats.Code
	}{
		{"[T, V] F32 and I64", file(nil, tensor("logits", dtype.F32, 2, 5), tensor("input_ids", dtype.I64, 2)), ""},
		{"[1, T, V] F16 and [1, T] I32", file(nil, tensor("logits", dtype.F16, 1, 2, 5), tensor("input_ids", dtype.I32, 1, 2)), ""},
		{"F64 alone", file(nil, tensor("logits", dtype.F64, 2, 5)), ""},
		{"BF16", file(nil, tensor("logits", dtype.BF16, 2, 5)), ""},
		{"no logits", file(nil, tensor("input_ids", dtype.I64, 2)), formats.Missing},
		{"two in a batch", file(nil, tensor("logits", dtype.F32, 2, 2, 5)), formats.BadShape},
		{"a vector", file(nil, tensor("logits", dtype.F32, 5)), formats.BadShape},
		{"integers", file(nil, tensor("logits", dtype.I32, 2, 5)), formats.BadDType},
		{"fewer ids than rows", file(nil, tensor("logits", dtype.F32, 2, 5), tensor("input_ids", dtype.I64, 1)), formats.BadShape},
		{"ids that are floats", file(nil, tensor("logits", dtype.F32, 2, 5), tensor("input_ids", dtype.F32, 2)), formats.BadDType},
		{"an id below zero", file(nil, tensor("logits", dtype.F32, 2, 5), tensor("tokens", dtype.I32, 2)), formats.Bounds},
		{"hidden states of other rows", file(nil, tensor("logits", dtype.F32, 2, 5), tensor("embed", dtype.F32, 3, 4)), formats.BadShape},
		{"metadata that is no text", file(formats.Metadata{{Key: "engine", Value: true}}, tensor("logits", dtype.F32, 2, 5)), formats.BadType},
	} {
		got, _, err := verify.ReadLogits(c.ck)
		if formats.CodeOf(err) != c.code {
			t.Errorf("%s: got %v, want %q", c.name, err, c.code)
		}
		if err == nil && (got.Logits.Rows != 2 || got.Logits.Cols != 5 || len(got.Logits.F32)+len(got.Logits.F64) != 10) {
			t.Errorf("%s: got %d x %d, want 2 x 5", c.name, got.Logits.Rows, got.Logits.Cols)
		}
	}
}

// What Header describes is written as a safetensors file and read back.
func TestHeader(t *testing.T) {
	m := model(t, "checkpoints/llama3")
	o := verify.Options{Hidden: true}
	want := run(t, m, []int32{3, 1, 4, 1, 5}, o)
	h, data := want.Header("x.safetensors", verify.Metadata(m, "1.2", o))
	l, err := safetensors.Format.Layout(h)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, l.Files[0].Bytes)
	for _, p := range l.Files[0].Parts {
		readAll(t, p.Data, b[p.Offset:p.Offset+p.Size])
	}
	for i, p := range l.Places {
		readAll(t, data(i), b[p.Offset:p.Offset+p.Bytes])
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	got, s := recorded(t, path)
	if s.Engine != "bowline" || s.Version != "1.2" || s.DType != "float32" || s.Weights != dtype.F32 || s.Schema != "logits/v1" {
		t.Errorf("got %+v", s)
	}
	if !slices.Equal(got.Tokens, want.Tokens) || len(got.Layers) != 3 || got.Embed.Rows != 5 || got.FinalNorm.Rows != 5 {
		t.Errorf("got tokens %v, %d layers", got.Tokens, len(got.Layers))
	}
	if r := compare(t, got, want, verify.CompareOptions{}); !r.BitIdentical || len(r.Layers) != 5 || r.Layers[4].MaxAbs != 0 {
		t.Errorf("got\n%s", text(r))
	}
}

// readAll fills b in two reads that do not end with a value.
func readAll(t *testing.T, r io.ReaderAt, b []byte) {
	t.Helper()
	n := min(7, len(b))
	for _, part := range []struct{ lo, hi int }{{0, n}, {n, len(b)}} {
		if got, err := r.ReadAt(b[part.lo:part.hi], int64(part.lo)); got < part.hi-part.lo {
			t.Fatalf("got %d bytes, %v", got, err)
		}
	}
}

func readNPY(t testing.TB, name string) ([]byte, verify.Matrix, dtype.Type, error) {
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	m, kind, err := verify.ReadNPY(bytes.NewReader(b), int64(len(b)))
	return b, m, kind, err
}

// numpy wrote the first rows of the logits that the safetensors file has.
func TestReadNPY(t *testing.T) {
	ref, _ := recorded(t, "testdata/mistral-window-7.safetensors")
	for _, c := range []struct {
		name string
		kind dtype.Type
		tol  float64
	}{{"f4.npy", dtype.F32, 0}, {"f8.npy", dtype.F64, 0}, {"f2.npy", dtype.F16, 1.0 / 2048}, {"v2.npy", dtype.F32, 0}, {"v3.npy", dtype.F32, 0}} {
		_, m, kind, err := readNPY(t, c.name)
		if err != nil || kind != c.kind || m.Rows != 3 || m.Cols != 5 {
			t.Fatalf("%s: got %d x %d %s, %v", c.name, m.Rows, m.Cols, kind, err)
		}
		for i := range 3 {
			want := ref.Logits.Row(i, nil)
			for j, v := range m.Row(i, nil) {
				if d := v - want[j]; d > c.tol*max(want[j], -want[j]) || -d > c.tol*max(want[j], -want[j]) {
					t.Errorf("%s: row %d, column %d: got %v, want %v", c.name, i, j, v, want[j])
				}
			}
		}
	}
}

func TestReadNPYRefuses(t *testing.T) {
	good, _, _, _ := readNPY(t, "f4.npy")
	with := func(old, new string) []byte {
		return bytes.Replace(good, []byte(old), []byte(new), 1)
	}
	for _, c := range []struct {
		name string
		b    []byte
		code formats.Code
	}{
		{"Fortran order", raw(t, "fortran.npy"), formats.Unsupported},
		{"objects", raw(t, "object.npy"), formats.BadDType},
		{"big-endian", raw(t, "big-endian.npy"), formats.BadDType},
		{"nothing", nil, formats.Trunc},
		{"half a header", good[:60], formats.Bounds},
		{"a byte less", good[:len(good)-1], formats.Trunc},
		{"a byte more", append(slices.Clone(good), 0), formats.Trail},
		{"another magic", with("NUMPY", "NUMPX"), formats.Magic},
		{"version 4", with("NUMPY\x01", "NUMPY\x04"), formats.Version},
		{"a key twice", with("'fortran_order': False", "'descr': '<f4'        "), formats.Mismatch},
		{"an unknown key", with("'descr'", "'dexcr'"), formats.Mismatch},
		{"a vector", with("(3, 5)", "(15,) "), formats.BadShape},
		{"a shape that overflows", with("(3, 5), }          ", "(3, 99999999999999)"), formats.Mismatch},
		{"text after the dict", with("}  ", "} x"), formats.Mismatch},
	} {
		if _, _, err := verify.ReadNPY(bytes.NewReader(c.b), int64(len(c.b))); formats.CodeOf(err) != c.code {
			t.Errorf("%s: got %v, want %s", c.name, err, c.code)
		}
	}
}

func raw(t *testing.T, name string) []byte {
	b, _, _, _ := readNPY(t, name)
	return b
}

func TestWriteNPY(t *testing.T) {
	for _, name := range []string{"f4.npy", "f8.npy"} {
		want, m, _, err := readNPY(t, name)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := verify.WriteNPY(&b, m); err != nil {
			t.Fatal(err)
		}
		if name == "f8.npy" { // numpy was given a batch of one
			want = bytes.Replace(want, []byte("(1, 3, 5), }"), []byte("(3, 5), }   "), 1)
		}
		if !bytes.Equal(b.Bytes(), want) {
			t.Errorf("%s: got\n%q, numpy wrote\n%q", name, b.Bytes(), want)
		}
	}
}

func FuzzReadNPY(f *testing.F) {
	for _, name := range []string{"f2.npy", "f4.npy", "f8.npy", "v2.npy", "v3.npy", "fortran.npy", "object.npy"} {
		b, _, _, _ := readNPY(f, name)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, _, err := verify.ReadNPY(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if n := len(m.F32) + len(m.F64); n != m.Rows*m.Cols || n > len(b)/2 {
			t.Errorf("got %d values for %d x %d from %d bytes", n, m.Rows, m.Cols, len(b))
		}
	})
}

func TestTokens(t *testing.T) {
	for _, c := range []struct {
		name                            string
		vocab, maxPos, window, original int64
		special                         []int64
		want                            int
	}{
		{"the usual suite", 49152, 8192, 0, 0, []int64{0, 1, 2, 49151}, 64},
		{"a small vocabulary", 20, 0, 0, 0, []int64{3}, 64},
		{"one id", 1, 0, 0, 0, nil, 64},
		{"a window", 331, 512, 100, 0, []int64{330}, 108},
		{"a window of 7", 331, 512, 7, 0, nil, 64},
		{"a window that is out of reach", 331, 9999, 4096, 0, nil, 64},
		{"an original length", 331, 512, 0, 300, nil, 308},
		{"few positions", 331, 40, 100, 0, []int64{7, 8, 9}, 40},
		{"no vocabulary", 0, 40, 0, 0, nil, 0},
		{"special ids outside", 331, 0, 0, 0, []int64{-1, 331, 1 << 40}, 64},
	} {
		got := verify.Tokens(c.vocab, c.maxPos, c.window, c.original, c.special)
		if len(got) != c.want {
			t.Errorf("%s: got %d tokens, want %d", c.name, len(got), c.want)
		}
		count := map[int64]int{}
		for _, id := range got {
			if id < 0 || int64(id) >= c.vocab {
				t.Errorf("%s: got id %d of %d", c.name, id, c.vocab)
			}
			count[int64(id)]++
		}
		for _, id := range append([]int64{0, c.vocab - 1}, c.special...) {
			if id >= 0 && id < c.vocab && count[id] == 0 {
				t.Errorf("%s: id %d is not there", c.name, id)
			}
		}
		if len(got) > 0 && len(count) == len(got) {
			t.Errorf("%s: no id comes twice", c.name)
		}
		if c.vocab > 64 && len(got) == 64 && len(count) < 50 {
			t.Errorf("%s: got %d ids, want a spread", c.name, len(count))
		}
	}
}
