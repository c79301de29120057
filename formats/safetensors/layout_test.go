package safetensors_test

import (
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

func tensor(name string) formats.Tensor {
	return formats.Tensor{Name: name, DType: "F32", Shape: []int64{1}, Bytes: 4, File: "model.safetensors"}
}

func TestLayoutRefuses(t *testing.T) {
	change := func(f func(*formats.Tensor)) formats.Header {
		x := tensor("a")
		f(&x)
		return formats.Header{Tensors: []formats.Tensor{x}}
	}
	meta := func(kv ...formats.KV) formats.Header { return formats.Header{Metadata: kv} }
	for _, x := range []struct {
		name string
		h    formats.Header
		code formats.Code
	}{
		{"name twice", formats.Header{Tensors: []formats.Tensor{tensor("a"), tensor("a")}}, formats.Dup},
		{"name __metadata__", change(func(x *formats.Tensor) { x.Name = "__metadata__" }), formats.Unsupported},
		{"name not UTF-8", change(func(x *formats.Tensor) { x.Name = "\xff" }), formats.UTF8},
		{"type of GGUF", change(func(x *formats.Tensor) { x.DType = "Q8_0" }), formats.BadDType},
		{"65 dimensions", change(func(x *formats.Tensor) { x.Shape = make([]int64, 65) }), formats.Limit},
		{"size wrong", change(func(x *formats.Tensor) { x.Bytes = 5 }), formats.BadShape},
		{"size overflows", change(func(x *formats.Tensor) { x.Shape = []int64{1 << 40, 1 << 40} }), formats.Overflow},
		{"negative dimension", change(func(x *formats.Tensor) { x.Shape = []int64{-1} }), formats.Overflow},
		{"no file", change(func(x *formats.Tensor) { x.File = "" }), formats.BadPath},
		{"file above", change(func(x *formats.Tensor) { x.File = "../model.safetensors" }), formats.BadPath},
		{"metadata a number", meta(formats.KV{Key: "k", Value: uint32(1)}), formats.BadType},
		{"metadata not UTF-8", meta(formats.KV{Key: "k", Value: "\xff"}), formats.UTF8},
		{"metadata twice", meta(formats.KV{Key: "k", Value: ""}, formats.KV{Key: "k", Value: ""}), formats.Dup},
		{"header over 100,000,000 bytes", meta(formats.KV{Key: "k", Value: strings.Repeat("x", 100_000_000)}), formats.Limit},
	} {
		t.Run(x.name, func(t *testing.T) {
			if _, err := safetensors.Format.Layout(x.h); formats.CodeOf(err) != x.code {
				t.Errorf("got %v, want %s", err, x.code)
			}
		})
	}
}

// header is the JSON of a layout's first file.
func header(t *testing.T, l formats.Layout) string {
	t.Helper()
	b := make([]byte, l.Files[0].Parts[0].Size)
	if _, err := l.Files[0].Parts[0].Data.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(string(b[8:]), " ")
}

func TestLayout(t *testing.T) {
	half := func(name string) formats.Tensor {
		return formats.Tensor{Name: name, DType: "BF16", Shape: []int64{1}, Bytes: 2, File: "model.safetensors"}
	}
	for _, x := range []struct {
		name, want string
		h          formats.Header
	}{
		{"nothing", `{"__metadata__":{"format":"pt"}}`, formats.Header{}},
		{"format is kept where it stands", `{"__metadata__":{"a":"b","format":"np"}}`,
			formats.Header{Metadata: formats.Metadata{{Key: "a", Value: "b"}, {Key: "format", Value: "np"}}}},
		{"format comes first", `{"__metadata__":{"format":"pt","a":"b"}}`, formats.Header{Metadata: formats.Metadata{{Key: "a", Value: "b"}}}},
		{"aliases are recorded", `{"__metadata__":{"format":"pt","head":"a"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`,
			formats.Header{Tensors: []formats.Tensor{tensor("a")}, Aliases: []formats.Alias{{Name: "head", Of: "a"}, {Name: "format", Of: "a"}}}},
		{"order is kept if all are aligned", `{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]},` +
			`"c":{"dtype":"BF16","shape":[1],"data_offsets":[2,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`,
			formats.Header{Tensors: []formats.Tensor{half("b"), half("c"), tensor("a")}}},
		{"large elements come first otherwise", `{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},` +
			`"b":{"dtype":"BF16","shape":[1],"data_offsets":[4,6]}}`,
			formats.Header{Tensors: []formats.Tensor{half("b"), tensor("a")}}},
		{"escapes", `{"__metadata__":{"format":"pt","\u0000\u001f\b\f\n\r\t":"\"\\/` + "\x7f\u2028🪢" + `"}}`,
			formats.Header{Metadata: formats.Metadata{{Key: "\x00\x1f\b\f\n\r\t", Value: "\"\\/\x7f\u2028🪢"}}}},
	} {
		t.Run(x.name, func(t *testing.T) {
			l, err := safetensors.Format.Layout(x.h)
			if err != nil {
				t.Fatal(err)
			}
			if got := header(t, l); got != x.want {
				t.Errorf("got  %s\nwant %s", got, x.want)
			}
			if n := l.Files[0].Parts[0].Size; n%4096 != 0 {
				t.Errorf("data starts at %d, want a multiple of 4096", n)
			}
		})
	}
}

func TestSniff(t *testing.T) {
	for _, x := range []struct {
		name string
		head []byte
		want bool
	}{
		{"file", file(`{}`, 0), true},
		{"white space first", file(" \n{}", 0), true},
		{"cut in the header", file(`{"a":{}}`, 0)[:12], true},
		{"empty", nil, false},
		{"length alone", make([]byte, 8), false},
		{"Git LFS pointer", []byte("version https://git-lfs.github.com/spec/v1\n"), false},
		{"GGUF", []byte("GGUF\x03\x00\x00\x00{"), false},
		{"zip", []byte("PK\x03\x04\x00\x00\x08\x08\x00\x00"), false},
		{"JSON", []byte(`{"a": {"b": 1}}`), false},
	} {
		if got := safetensors.Format.Sniff(x.head, int64(len(x.head))); got != x.want {
			t.Errorf("%s: got %v, want %v", x.name, got, x.want)
		}
	}
}
