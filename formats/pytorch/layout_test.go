package pytorch_test

import (
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

// TestLayoutRefuses is headers that no file can hold. All problems of one come together.
func TestLayoutRefuses(t *testing.T) {
	one := func(change func(x *formats.Tensor)) formats.Header {
		x := formats.Tensor{Name: "a", DType: "F32", Shape: []int64{2}, Bytes: 8, File: "m.bin"}
		change(&x)
		return formats.Header{Tensors: []formats.Tensor{x}}
	}
	same := func(*formats.Tensor) {}
	alias := func(name, of string) formats.Header {
		h := one(same)
		h.Aliases = []formats.Alias{{Name: name, Of: of}}
		return h
	}
	meta := func(key string, value any) formats.Header {
		h := one(same)
		h.Metadata = formats.Metadata{{Key: key, Value: value}}
		return h
	}
	two := one(same)
	two.Tensors = append(two.Tensors, two.Tensors[0])
	for _, x := range []struct {
		name string
		h    formats.Header
		code formats.Code
	}{
		{"good", one(same), ""},
		{"a name twice", two, formats.Dup},
		{"an alias with a tensor's name", alias("a", "a"), formats.Dup},
		{"an alias of nothing", alias("b", "c"), formats.Missing},
		{"an alias that is not UTF-8", alias("\xff", "a"), formats.UTF8},
		{"a name that is too long", one(func(x *formats.Tensor) { x.Name = strings.Repeat("n", 4097) }), formats.Limit},
		{"a type of GGUF", one(func(x *formats.Tensor) { x.DType = "Q8_0" }), formats.BadDType},
		{"a type that torch has not", one(func(x *formats.Tensor) { x.DType = "F6_E2M3" }), formats.BadDType},
		{"other bytes than the shape has", one(func(x *formats.Tensor) { x.Bytes = 4 }), formats.BadShape},
		{"a negative size", one(func(x *formats.Tensor) { x.Shape = []int64{-2} }), formats.Overflow},
		{"65 dimensions", one(func(x *formats.Tensor) { x.Shape = make([]int64, 65) }), formats.Limit},
		{"a file elsewhere", one(func(x *formats.Tensor) { x.File = "../m.bin" }), formats.BadPath},
		{"metadata of GGUF", meta("general.architecture", uint32(1)), formats.BadType},
		{"metadata that is not UTF-8", meta("k", "\xff"), formats.UTF8},
		{"metadata without a key", meta("", "v"), formats.Unsupported},
	} {
		if _, err := pytorch.Format.Layout(x.h); formats.CodeOf(err) != x.code {
			t.Errorf("%s: got %v, want %s", x.name, err, x.code)
		}
	}
}

// TestMetadata writes texts under names that would be no paths, and reads them again. What goes without saying is not written.
func TestMetadata(t *testing.T) {
	h := formats.Header{Tensors: []formats.Tensor{{Name: "a", DType: "U8", Shape: []int64{1}, Bytes: 1, File: "m.bin"}}}
	want := formats.Metadata{{Key: "config.json", Value: "{}"}, {Key: "../x", Value: "1"}, {Key: "..", Value: "2"}, {Key: `C:\x`, Value: "3"}, {Key: "a\x00\n模", Value: ""},
		{Key: "%2e", Value: "4"}}
	h.Metadata = append(formats.Metadata{{Key: "format", Value: "pt"}}, want...)
	l, err := pytorch.Format.Layout(h)
	if err != nil {
		t.Fatal(err)
	}
	files, err := formatstest.Sample{Header: h, Data: [][]byte{{7}}}.Files(l)
	if err != nil {
		t.Fatal(err)
	}
	c, err := pytorch.Format.Open(formatstest.OneFile(files["m.bin"]), formats.Set{Dir: "/", Files: []string{"m.bin"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if len(c.Metadata) != len(want) || len(c.Notes) > 0 {
		t.Fatalf("got %v, notes %v, want %v", c.Metadata, c.Notes, want)
	}
	for i := range want {
		if c.Metadata[i] != want[i] {
			t.Errorf("got %v, want %v", c.Metadata[i], want[i])
		}
	}
}

func TestSniff(t *testing.T) {
	for name, want := range map[string]bool{"tied.bin": true, "repacked.pt": true, "legacy1.pt": true, "legacy5.pt": true, "script.pt": true, "arrays.npz": false,
		"golden.json": false} {
		b := file(t, name)
		if got := pytorch.Format.Sniff(b[:min(len(b), 4096)], int64(len(b))); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}
