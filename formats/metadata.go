package formats

import (
	"math"
	"strconv"
)

// Str is the string of a key. Like all getters here it returns ok = false for an absent key and E_TYPE for a value of another kind.
func (m Metadata) Str(key string) (v string, ok bool, err error) {
	return get[string](m, key, "string")
}

// Bool is the bool of a key.
func (m Metadata) Bool(key string) (v, ok bool, err error) {
	return get[bool](m, key, "bool")
}

// Int is the integer of a key, whatever its width; one beyond int64 is E_OVERFLOW.
func (m Metadata) Int(key string) (v int64, ok bool, err error) {
	x := m.Get(key)
	if x == nil {
		return 0, false, nil
	}
	switch n := x.(type) {
	case uint8:
		return int64(n), true, nil
	case uint16:
		return int64(n), true, nil
	case uint32:
		return int64(n), true, nil
	case uint64:
		if n > math.MaxInt64 {
			return 0, true, Errorf(Overflow, "got %d, want at most %d", n, int64(math.MaxInt64)).In("", key)
		}
		return int64(n), true, nil
	case int8:
		return int64(n), true, nil
	case int16:
		return int64(n), true, nil
	case int32:
		return int64(n), true, nil
	case int64:
		return n, true, nil
	}
	return 0, true, wrongType(key, x, "an integer")
}

// Float is the real number of a key. A float32 stands for the shortest decimal that rounds to it: 1e-05, not 9.99999974e-06, which is
// what the config that it was made from said.
func (m Metadata) Float(key string) (v float64, ok bool, err error) {
	x := m.Get(key)
	switch n := x.(type) {
	case nil:
		return 0, false, nil
	case float32:
		return Shortest(n), true, nil
	case float64:
		return n, true, nil
	}
	return 0, true, wrongType(key, x, "a float32 or float64")
}

// Strs is the string array of a key. The caller must not change it.
func (m Metadata) Strs(key string) (v []string, ok bool, err error) {
	return get[[]string](m, key, "an array of strings")
}

// Bools is the bool array of a key. The caller must not change it.
func (m Metadata) Bools(key string) (v []bool, ok bool, err error) {
	return get[[]bool](m, key, "an array of bools")
}

// Ints is the integer array of a key, whatever the width of its elements.
func (m Metadata) Ints(key string) (v []int64, ok bool, err error) {
	x := m.Get(key)
	switch s := x.(type) {
	case nil:
		return nil, false, nil
	case []uint8:
		return widen(s), true, nil
	case []uint16:
		return widen(s), true, nil
	case []uint32:
		return widen(s), true, nil
	case []int8:
		return widen(s), true, nil
	case []int16:
		return widen(s), true, nil
	case []int32:
		return widen(s), true, nil
	case []int64:
		return widen(s), true, nil
	case []uint64:
		for i, n := range s {
			if n > math.MaxInt64 {
				return nil, true, Errorf(Overflow, "element %d: got %d, want at most %d", i, n, int64(math.MaxInt64)).In("", key)
			}
		}
		return widen(s), true, nil
	}
	return nil, true, wrongType(key, x, "an array of integers")
}

// Floats is the real array of a key, each float32 as by Float.
func (m Metadata) Floats(key string) (v []float64, ok bool, err error) {
	x := m.Get(key)
	switch s := x.(type) {
	case nil:
		return nil, false, nil
	case []float64:
		return s, true, nil
	case []float32:
		v = make([]float64, len(s))
		for i, f := range s {
			v[i] = Shortest(f)
		}
		return v, true, nil
	}
	return nil, true, wrongType(key, x, "an array of float32 or float64")
}

// Shortest is the float64 nearest to the shortest decimal that rounds to f. NaN and infinities stay what they are.
func Shortest(f float32) float64 {
	if f != f {
		return float64(f)
	}
	v, _ := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	return v
}

func get[T any](m Metadata, key, want string) (v T, ok bool, err error) {
	x := m.Get(key)
	if x == nil {
		return v, false, nil
	}
	v, ok = x.(T)
	if !ok {
		return v, true, wrongType(key, x, want)
	}
	return v, true, nil
}

func widen[T uint8 | uint16 | uint32 | uint64 | int8 | int16 | int32 | int64](s []T) []int64 {
	out := make([]int64, len(s))
	for i, n := range s {
		out[i] = int64(n)
	}
	return out
}

// wrongType is also where a deferred array ends that could not be read.
func wrongType(key string, got any, want string) *Error {
	if err, ok := got.(error); ok {
		return Errorf(CodeOf(err), "%w", err).In("", key)
	}
	return Errorf(BadType, "got %T, want %s", got, want).In("", key)
}
