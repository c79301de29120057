package convert

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// placed are keys that follow from the file itself: nobody can set them.
var placed = []string{"general.alignment", "split.no", "split.count", "split.tensors.count", "general.quantization_version"}

// edit makes the changes to metadata that the user asks for. A key that is there keeps its type and its place; a new one gets the type of its
// text: true and false are bools, numbers without a point int32 or the next type that holds them, others float32, JSON arrays of one kind arrays,
// all else a string, and so is JSON's text in quotes.
func (d *draft) edit(md formats.Metadata) (formats.Metadata, error) {
	if len(d.o.Set) == 0 && d.o.ChatTemplate == "" {
		return md, nil
	}
	md = slices.Clone(md)
	put := func(key string, v any) {
		for i := range md {
			if md[i].Key == key {
				md[i].Value = v
				return
			}
		}
		md = append(md, formats.KV{Key: key, Value: v})
	}
	if d.o.ChatTemplate != "" {
		put("tokenizer.chat_template", d.o.ChatTemplate)
	}
	for _, s := range d.o.Set {
		key, text, ok := strings.Cut(s, "=")
		bad := func(format string, args ...any) error {
			return formats.Errorf(formats.Usage, format, args...).In("", key)
		}
		switch {
		case !ok || key == "" || strings.ContainsAny(key, " \t\r\n"):
			return nil, formats.Errorf(formats.Usage, "--set takes KEY=VALUE, got %q", s)
		case slices.Contains(placed, key):
			return nil, bad("--set: the key follows from the file's layout")
		case key == "general.architecture":
			return nil, bad("--set: another architecture is another model: its keys and tensors have other names")
		}
		was := md.Get(key)
		v, err := typed(text, was)
		if err != nil {
			return nil, bad("--set: %v", err)
		}
		if f := d.m.Family; f != nil && d.m.Config != nil {
			for _, p := range f.Params(d.m.Config.Architecture) {
				if p.GGUF != "" && p.Key(f.GGUF) == key && fmt.Sprint(was) != fmt.Sprint(v) && key != "general.file_type" {
					d.note(levelWarn, key, formats.Escape(fmt.Sprint(v), 80), fmt.Sprintf("--set; it was %s, and what is computed depends on it", formats.Escape(fmt.Sprint(was), 80)))
				}
			}
		}
		put(key, v)
	}
	return md, nil
}

// typed reads a text as a value of the type of was, or, if that is nil, of the type that the text has.
func typed(text string, was any) (any, error) {
	whole := func(bits int, signed bool) (any, error) {
		if signed {
			n, err := strconv.ParseInt(text, 10, bits)
			if err != nil {
				return nil, fmt.Errorf("got %q, want an integer of %d bits", text, bits)
			}
			return map[int]any{8: int8(n), 16: int16(n), 32: int32(n), 64: n}[bits], nil
		}
		n, err := strconv.ParseUint(text, 10, bits)
		if err != nil {
			return nil, fmt.Errorf("got %q, want an integer of %d bits that is not negative", text, bits)
		}
		return map[int]any{8: uint8(n), 16: uint16(n), 32: uint32(n), 64: n}[bits], nil
	}
	real := func(bits int) (any, error) {
		f, err := strconv.ParseFloat(text, bits)
		if err != nil {
			return nil, fmt.Errorf("got %q, want a number of %d bits", text, bits)
		}
		if bits == 32 {
			return float32(f), nil
		}
		return f, nil
	}
	switch was.(type) {
	case nil:
		return untyped(text)
	case string:
		return text, nil
	case bool:
		if text != "true" && text != "false" {
			return nil, fmt.Errorf("got %q, want true or false", text)
		}
		return text == "true", nil
	case uint8:
		return whole(8, false)
	case uint16:
		return whole(16, false)
	case uint32:
		return whole(32, false)
	case uint64:
		return whole(64, false)
	case int8:
		return whole(8, true)
	case int16:
		return whole(16, true)
	case int32:
		return whole(32, true)
	case int64:
		return whole(64, true)
	case float32:
		return real(32)
	case float64:
		return real(64)
	}
	v, err := untyped(text)
	if err == nil && fmt.Sprintf("%T", v) != fmt.Sprintf("%T", was) {
		return nil, fmt.Errorf("got %T, and the key holds %T", v, was)
	}
	return v, err
}

func untyped(text string) (any, error) {
	if text == "true" || text == "false" {
		return text == "true", nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n < math.MinInt32 || n > math.MaxInt32 {
			return n, nil
		}
		return int32(n), nil
	}
	if f, err := strconv.ParseFloat(text, 32); err == nil && !strings.ContainsAny(text, "xXnN_") {
		return float32(f), nil
	}
	if !strings.HasPrefix(text, "[") && !strings.HasPrefix(text, `"`) {
		return text, nil
	}
	for _, to := range []any{new(string), new([]string), new([]bool), new([]int32), new([]float32)} {
		if json.Unmarshal([]byte(text), to) != nil {
			continue
		}
		switch v := to.(type) {
		case *string:
			return *v, nil
		case *[]string:
			return *v, nil
		case *[]bool:
			return *v, nil
		case *[]int32:
			return *v, nil
		case *[]float32:
			return *v, nil
		}
	}
	return nil, fmt.Errorf("got %q, which is no JSON text and no array of one kind", text)
}
