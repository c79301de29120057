package gguf_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/gguf"
)

func tensor(name string, d dtype.Type, bytes int64, shape ...int64) formats.Tensor {
	return formats.Tensor{Name: name, DType: d, Shape: shape, Bytes: bytes, File: "m.gguf", Offset: -1}
}

func TestLayoutRefuses(t *testing.T) {
	kv := func(key string, v any) formats.Header {
		return formats.Header{Files: []formats.File{{Path: "m.gguf"}}, Metadata: formats.Metadata{{Key: key, Value: v}}}
	}
	ts := func(ts ...formats.Tensor) formats.Header { return formats.Header{Tensors: ts} }
	homeless := tensor("a", dtype.F32, 4, 1)
	homeless.File = ""
	for _, x := range []struct {
		name  string
		h     formats.Header
		codes []formats.Code
		says  string
	}{
		{"nothing at all", formats.Header{}, []formats.Code{formats.Missing}, "no file"},
		{"a Go int", kv("k", 7), []formats.Code{formats.BadType}, "k: got a value of Go type int"},
		{"nil", kv("k", nil), []formats.Code{formats.BadType}, "nil"},
		{"a map", kv("k", map[string]string{}), []formats.Code{formats.BadType}, "map"},
		{"an int in an array of arrays", kv("k", []any{uint8(1)}), []formats.Code{formats.BadType}, "uint8"},
		{"arrays 5 deep", kv("k", []any{[]any{[]any{[]any{[]uint8{1}}}}}), []formats.Code{formats.Limit}, "deeper than 4"},
		{"key empty", kv("", true), []formats.Code{formats.Missing}, "kv[0].key"},
		{"key not ASCII", kv("ü", true), []formats.Code{formats.UTF8}, "kv[0].key"},
		{"key too long", kv(long(1<<16), true), []formats.Code{formats.Limit}, "65536 bytes"},
		{"key twice", formats.Header{Files: []formats.File{{Path: "m"}}, Metadata: formats.Metadata{{Key: "k", Value: true}, {Key: "k", Value: true}}}, []formats.Code{formats.Dup}, `"k"`},
		{"file twice", formats.Header{Files: []formats.File{{Path: "m"}, {Path: "m"}}}, []formats.Code{formats.Dup}, "m: "},
		{"tensor in no file", ts(homeless), []formats.Code{formats.Missing}, "no file"},
		{"tensor in a file that is not listed", formats.Header{Files: []formats.File{{Path: "n"}}, Tensors: []formats.Tensor{tensor("a", dtype.F32, 4, 1)}}, []formats.Code{formats.Mismatch}, "m.gguf"},
		{"name of 64 bytes", ts(tensor(long(64), dtype.F32, 4, 1)), []formats.Code{formats.Limit}, "at most 63"},
		{"name empty", ts(tensor("", dtype.F32, 4, 1)), []formats.Code{formats.Missing}, "no name"},
		{"name with NUL", ts(tensor("a\x00", dtype.F32, 4, 1)), []formats.Code{formats.UTF8}, "NUL"},
		{"name twice", ts(tensor("a", dtype.F32, 4, 1), tensor("a", dtype.F32, 4, 1)), []formats.Code{formats.Dup}, "twice"},
		{"rank 5", ts(tensor("a", dtype.F32, 4, 1, 1, 1, 1, 1)), []formats.Code{formats.Limit}, "5 dimensions"},
		{"a type of another format", ts(tensor("a", dtype.F8_E4M3, 1, 1)), []formats.Code{formats.BadDType}, "F8_E4M3"},
		{"a private type by a wrong name", ts(tensor("a", "GGML_12", 1, 1)), []formats.Code{formats.BadDType}, "GGML_12"},
		{"row not of whole blocks", ts(tensor("a", dtype.Q8_0, 51, 48)), []formats.Code{formats.BadShape}, "Q8_0"},
		{"other bytes than the shape", ts(tensor("a", dtype.F32, 5, 1)), []formats.Code{formats.Mismatch}, "got 5 bytes, want 4"},
		{"sizes that wrap", ts(tensor("a", dtype.I8, 1<<62, 1<<62), tensor("b", dtype.I8, 1<<62, 1<<62)), []formats.Code{formats.Overflow}, "63 bits"},
		{"all that is wrong, at once", ts(tensor(long(64), dtype.F32, 4, 1), tensor("b", dtype.BOOL, 1, 1), tensor("c", dtype.F32, 5, 1)),
			[]formats.Code{formats.Limit, formats.BadDType, formats.Mismatch}, "BOOL"},
	} {
		t.Run(x.name, func(t *testing.T) {
			_, err := gguf.Format.Layout(x.h)
			var got []formats.Code
			for _, e := range formats.Errors(err) {
				got = append(got, e.Code)
			}
			if !slices.Equal(got, x.codes) || err != nil && !strings.Contains(err.Error(), x.says) {
				t.Errorf("got %v, %v; want %v, saying %q", got, err, x.codes, x.says)
			}
		})
	}
}

func TestTypes(t *testing.T) {
	if n := len(gguf.Format.Limits.DTypes); n != 35 { // the 43 ids of ggml.h without the 8 that were removed
		t.Errorf("got %d types, want 35", n)
	}
	for _, d := range gguf.Format.Limits.DTypes {
		if !d.Known() {
			t.Errorf("%s has no size", d)
		}
	}
}
