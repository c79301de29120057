package gguf

import (
	"encoding/binary"

	"github.com/bowline-ml/bowline/formats"
)

// encode builds the header of file f of n, padded, for the tensors of h in that file; the offsets of places are still those from the
// start of the data. Everything in h but the metadata's values has been checked.
func encode(h formats.Header, f, n int, tensors []int, places []formats.Place) ([]byte, *formats.Error) {
	var kvs formats.Metadata
	if f == 0 {
		for _, kv := range own(h.Metadata) {
			if kv.Key != alignmentKey {
				kvs = append(kvs, kv)
			}
		}
	}
	if n > 1 {
		kvs = append(kvs, formats.KV{Key: splitNo, Value: uint16(f)}, formats.KV{Key: splitCount, Value: uint16(n)},
			formats.KV{Key: splitTensors, Value: int32(len(h.Tensors))})
	}
	if len(tensors) > maxEntries || len(kvs) > maxEntries {
		return nil, formats.Errorf(formats.Limit, "got %d tensors and %d metadata entries, want at most %d of each in a file", len(tensors), len(kvs), maxEntries)
	}
	le := binary.LittleEndian
	b := make([]byte, 0, estimate(kvs, h.Tensors, tensors))
	b = append(b, magic...)
	b = le.AppendUint32(b, version)
	b = le.AppendUint64(b, uint64(len(tensors)))
	b = le.AppendUint64(b, uint64(len(kvs)))
	for _, kv := range kvs {
		b = appendText(b, kv.Key)
		if d, ok := kv.Value.(formats.Deferred); ok {
			v, err := d.Load()
			if err != nil {
				return nil, formats.Errors(err)[0].In("", kv.Key)
			}
			kv.Value = v
		}
		var err *formats.Error
		if b, err = appendValue(b, kv.Value); err != nil {
			return nil, err.In("", kv.Key)
		}
	}
	for _, i := range tensors {
		t := h.Tensors[i]
		id, _ := idOf(t.DType)
		b = appendText(b, t.Name)
		b = le.AppendUint32(b, uint32(len(t.Shape)))
		for j := len(t.Shape) - 1; j >= 0; j-- {
			b = le.AppendUint64(b, uint64(t.Shape[j]))
		}
		b = le.AppendUint32(b, id)
		b = le.AppendUint64(b, uint64(places[i].Offset))
	}
	b = append(b, make([]byte, pad(int64(len(b)), alignment)-int64(len(b)))...)
	if len(b) > maxHeader {
		return nil, formats.Errorf(formats.Limit, "the header has %d bytes, want at most %d", len(b), maxHeader)
	}
	return b, nil
}

// estimate is about the size of a header, not less but for nested arrays: it saves growing the bytes of a large vocabulary.
func estimate(kvs formats.Metadata, ts []formats.Tensor, tensors []int) int {
	n := 24 + alignment
	for _, kv := range kvs {
		n += 8 + len(kv.Key) + 4 + 12
		switch v := kv.Value.(type) {
		case *deferred:
			n += int(v.end - v.at)
		case string:
			n += len(v)
		case []string:
			for _, s := range v {
				n += 8 + len(s)
			}
		default:
			n += binary.Size(v) + 1 // -1 for what has no fixed size
		}
	}
	for _, i := range tensors {
		n += 8 + len(ts[i].Name) + 4 + 8*len(ts[i].Shape) + 12
	}
	return n
}

func appendText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

// appendValue appends the type and the value of a metadata entry.
func appendValue(b []byte, v any) ([]byte, *formats.Error) {
	le := binary.LittleEndian
	if s, ok := v.(string); ok {
		return appendText(le.AppendUint32(b, typeString), s), nil
	}
	if t, ok := scalarType(v); ok {
		b, _ = binary.Append(le.AppendUint32(b, t), le, v) // cannot fail: v is of fixed size
		return b, nil
	}
	// An array: the element type and the count, then the elements, which for an array of arrays are again that. The stack
	// holds what is still to come of each open level.
	b = le.AppendUint32(b, typeArray)
	for stack := [][]any{{v}}; len(stack) > 0; {
		top := len(stack) - 1
		if len(stack[top]) == 0 {
			stack = stack[:top]
			continue
		}
		v, stack[top] = stack[top][0], stack[top][1:]
		if nested, ok := v.([]any); ok {
			if len(stack) == maxDepth {
				return nil, formats.Errorf(formats.Limit, "arrays are nested deeper than %d", maxDepth)
			}
			b = le.AppendUint64(le.AppendUint32(b, typeArray), uint64(len(nested)))
			stack = append(stack, nested)
			continue
		}
		if s, ok := v.([]string); ok {
			b = le.AppendUint64(le.AppendUint32(b, typeString), uint64(len(s)))
			for _, s := range s {
				b = appendText(b, s)
			}
			continue
		}
		t, n, ok := elementType(v)
		if !ok {
			return nil, formats.Errorf(formats.BadType, "got a value of Go type %T, which GGUF has no type for", v)
		}
		b, _ = binary.Append(le.AppendUint64(le.AppendUint32(b, t), uint64(n)), le, v)
	}
	return b, nil
}

// scalarType is the value type of a Go value of fixed size.
func scalarType(v any) (uint32, bool) {
	switch v.(type) {
	case uint8:
		return typeU8, true
	case int8:
		return typeI8, true
	case uint16:
		return typeU16, true
	case int16:
		return typeI16, true
	case uint32:
		return typeU32, true
	case int32:
		return typeI32, true
	case float32:
		return typeF32, true
	case bool:
		return typeBool, true
	case uint64:
		return typeU64, true
	case int64:
		return typeI64, true
	case float64:
		return typeF64, true
	}
	return 0, false
}

// elementType is the value type of the elements of a Go slice of fixed-size values, and their number.
func elementType(v any) (t uint32, n int, ok bool) {
	switch s := v.(type) {
	case []uint8:
		return typeU8, len(s), true
	case []int8:
		return typeI8, len(s), true
	case []uint16:
		return typeU16, len(s), true
	case []int16:
		return typeI16, len(s), true
	case []uint32:
		return typeU32, len(s), true
	case []int32:
		return typeI32, len(s), true
	case []float32:
		return typeF32, len(s), true
	case []bool:
		return typeBool, len(s), true
	case []uint64:
		return typeU64, len(s), true
	case []int64:
		return typeI64, len(s), true
	case []float64:
		return typeF64, len(s), true
	}
	return 0, 0, false
}
