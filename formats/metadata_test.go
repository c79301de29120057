package formats_test

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
)

func TestMetadata(t *testing.T) {
	m := formats.Metadata{
		{Key: "str", Value: "s"}, {Key: "bool", Value: true},
		{Key: "u8", Value: uint8(255)}, {Key: "u16", Value: uint16(65535)}, {Key: "u32", Value: uint32(1<<32 - 1)},
		{Key: "u64", Value: uint64(1<<63 - 1)}, {Key: "u64 too large", Value: uint64(1 << 63)},
		{Key: "i8", Value: int8(-1)}, {Key: "i16", Value: int16(-2)}, {Key: "i32", Value: int32(-3)}, {Key: "i64", Value: int64(-1 << 63)},
		{Key: "f32", Value: float32(1e-5)}, {Key: "f64", Value: 1e-5}, {Key: "inf", Value: float32(math.Inf(-1))},
		{Key: "strs", Value: []string{"a", ""}}, {Key: "bools", Value: []bool{true, false}},
		{Key: "i32s", Value: []int32{-1, 2}}, {Key: "u64s", Value: []uint64{1, 1 << 63}}, {Key: "f32s", Value: []float32{0.1, 1e6}},
	}
	str := func(k string) (any, bool, error) { return three(m.Str(k)) }
	boolean := func(k string) (any, bool, error) { return three(m.Bool(k)) }
	integer := func(k string) (any, bool, error) { return three(m.Int(k)) }
	float := func(k string) (any, bool, error) { return three(m.Float(k)) }
	strs := func(k string) (any, bool, error) { return three(m.Strs(k)) }
	bools := func(k string) (any, bool, error) { return three(m.Bools(k)) }
	ints := func(k string) (any, bool, error) { return three(m.Ints(k)) }
	floats := func(k string) (any, bool, error) { return three(m.Floats(k)) }
	for _, x := range []struct {
		name, key string
		get       func(string) (any, bool, error)
		want      any
		code      formats.Code
		says      string
	}{
		{"string", "str", str, "s", "", ""},
		{"bool", "bool", boolean, true, "", ""},
		{"uint8", "u8", integer, int64(255), "", ""},
		{"uint16", "u16", integer, int64(65535), "", ""},
		{"uint32", "u32", integer, int64(1<<32 - 1), "", ""},
		{"uint64", "u64", integer, int64(math.MaxInt64), "", ""},
		{"int8", "i8", integer, int64(-1), "", ""},
		{"int16", "i16", integer, int64(-2), "", ""},
		{"int32", "i32", integer, int64(-3), "", ""},
		{"int64", "i64", integer, int64(math.MinInt64), "", ""},
		{"uint64 beyond int64", "u64 too large", integer, nil, formats.Overflow, "9223372036854775808"},
		{"float32 is its shortest decimal", "f32", float, 1e-5, "", ""},
		{"float64", "f64", float, 1e-5, "", ""},
		{"infinity", "inf", float, math.Inf(-1), "", ""},
		{"strings", "strs", strs, []string{"a", ""}, "", ""},
		{"bools", "bools", bools, []bool{true, false}, "", ""},
		{"integers", "i32s", ints, []int64{-1, 2}, "", ""},
		{"an integer beyond int64", "u64s", ints, nil, formats.Overflow, "element 1"},
		{"floats", "f32s", floats, []float64{0.1, 1e6}, "", ""},
		{"a string is no bool", "str", boolean, nil, formats.BadType, "str: got string, want bool"},
		{"an integer is no float", "u32", float, nil, formats.BadType, "u32: got uint32, want a float32"},
		{"a float is no integer", "f32", integer, nil, formats.BadType, "got float32"},
		{"a bool is no string", "bool", str, nil, formats.BadType, "got bool"},
		{"int32s are no strings", "i32s", strs, nil, formats.BadType, "got []int32"},
		{"strings are no integers", "strs", ints, nil, formats.BadType, "got []string"},
		{"integers are no floats", "i32s", floats, nil, formats.BadType, "got []int32"},
		{"a string is no array of bools", "str", bools, nil, formats.BadType, "array of bools"},
	} {
		t.Run(x.name, func(t *testing.T) {
			got, ok, err := x.get(x.key)
			if !ok || formats.CodeOf(err) != x.code {
				t.Fatalf("got %v, %v, want code %q", ok, err, x.code)
			}
			if x.code == "" && !reflect.DeepEqual(got, x.want) {
				t.Errorf("got %v, want %v", got, x.want)
			}
			if err != nil && !strings.Contains(err.Error(), x.says) {
				t.Errorf("got %v, want it to say %q", err, x.says)
			}
		})
	}
	for i, get := range []func(string) (any, bool, error){str, boolean, integer, float, strs, bools, ints, floats} {
		if _, ok, err := get("absent"); ok || err != nil {
			t.Errorf("getter %d of an absent key: got %v, %v", i, ok, err)
		}
	}
}

func three[T any](v T, ok bool, err error) (any, bool, error) { return v, ok, err }

func TestShortest(t *testing.T) {
	for _, want := range []float64{0, 1e-5, 1e-6, 0.1, 0.0078125, 1e6, 500000, 12.0, 0.22, 1e-45, 3.4e38} {
		if got := formats.Shortest(float32(want)); got != want && want != 3.4e38 && want != 1e-45 {
			t.Errorf("got %v, want %v", got, want)
		}
		if float32(formats.Shortest(float32(want))) != float32(want) {
			t.Errorf("%v: the decimal rounds to another float32", want)
		}
	}
	if got := formats.Shortest(float32(math.NaN())); got == got {
		t.Errorf("got %v, want NaN", got)
	}
}
