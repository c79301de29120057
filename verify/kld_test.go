package verify_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/verify"
)

func baseFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/kld/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func openKLD(b []byte) (*verify.KLD, error) { return verify.OpenKLD(bytes.NewReader(b), int64(len(b))) }

// llama-perplexity wrote the file: three chunks of 32 tokens, of which the last 15 but one have a row.
func TestKLD(t *testing.T) {
	k, err := openKLD(baseFile(t, "base.kld"))
	if err != nil {
		t.Fatal(err)
	}
	if k.Context != 32 || k.Vocab != 347 || k.Chunks != 3 || len(k.Tokens) != 96 || k.First() != 16 || k.Rows() != 15 || k.Tokens[0] != 339 {
		t.Fatalf("got %d chunks of %d, vocabulary %d, tokens %v", k.Chunks, k.Context, k.Vocab, k.Tokens)
	}
	for i := range k.Chunks {
		m, err := k.Chunk(i)
		if err != nil || m.Rows != 15 || m.Cols != 347 {
			t.Fatalf("got %d x %d, %v", m.Rows, m.Cols, err)
		}
		same := m.LogProbs(0, m.Rows) // they sum to one but for the steps of 16 bits
		for j, v := range m.F32 {
			if d := float64(v) - same.F64[j]; d > 1e-3 || d < -1e-3 {
				t.Fatalf("chunk %d, value %d: got %v, after softmax %v", i, j, v, same.F64[j])
			}
		}
	}
}

func TestKLDRefuses(t *testing.T) {
	put := func(at int, v uint32) func(b []byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], v); return b }
	}
	for _, c := range []struct {
		name  string
		edit  func(b []byte) []byte
		code  formats.Code
		wants string
	}{
		{"a row short, as a full disk leaves it", func(b []byte) []byte { return b[:len(b)-704] }, formats.Trunc, "want"},
		{"a byte more", func(b []byte) []byte { return append(b, 0) }, formats.Trunc, "want"},
		{"a header cut", func(b []byte) []byte { return b[:19] }, formats.Trunc, "header"},
		{"another magic", func(b []byte) []byte { b[0] = 'x'; return b }, formats.Magic, "_logits_"},
		{"no chunk", put(16, 0), formats.Bounds, "chunks"},
		{"a negative context", put(8, 0xffffffff), formats.Bounds, "chunks"},
		{"a vocabulary of 2^31-1", put(12, 0x7fffffff), formats.Bounds, "vocabulary"},
		{"a token beyond the vocabulary", put(24, 347), formats.Bounds, "got token 347, want 0 to 346"},
		{"a negative token", put(28, 0xffffffff), formats.Bounds, "token -1"},
	} {
		if _, err := openKLD(c.edit(baseFile(t, "base.kld"))); formats.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.wants) {
			t.Errorf("%s: got %v, want %s with %q", c.name, err, c.code, c.wants)
		}
	}
}

func FuzzKLD(f *testing.F) {
	for _, name := range []string{"base.kld", "bos.kld", "no-bos.kld"} {
		f.Add(baseFile(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := openKLD(b)
		if err != nil {
			return
		}
		if k.Rows() < 1 || len(k.Tokens) != k.Chunks*k.Context {
			t.Fatalf("got %+v", k)
		}
		if m, err := k.Chunk(k.Chunks - 1); err != nil || m.Rows*m.Cols != len(m.F32) {
			t.Fatal(err)
		}
	})
}
