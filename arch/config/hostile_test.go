package config_test

import (
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// hostile are files that are refused; a "¦" marks where.
var hostile = []struct {
	name, text string
	code       formats.Code
}{
	{"nothing", "¦", formats.Trunc},
	{"a web page", "¦<!doctype html>", formats.JSON},
	{"a pointer of Git LFS", "¦version https://git-lfs.github.com/spec/v1\n", formats.JSON},
	{"zeros", "¦\x00\x00\x00\x00", formats.JSON},
	{"a byte order mark", "¦\xef\xbb\xbf{}", formats.JSON},
	{"UTF-16", "¦\xff\xfe{\x00}\x00", formats.JSON},
	{"a list", "¦[]", formats.JSON},
	{"a string", `¦"a"`, formats.JSON},
	{"null", `¦null`, formats.JSON},
	{"cut in a key", `{¦"a`, formats.Trunc},
	{"cut after a key", `{"a"¦`, formats.JSON},
	{"cut in a list", `{"a":[1,¦`, formats.Trunc},
	{"a second document", `{}¦{}`, formats.Trail},
	{"NUL padding", "{}¦\x00", formats.Trail},
	{"a key twice", `{"hidden_size":1,¦"hidden_size":2}`, formats.Dup},
	{"a key twice, once escaped", `{"a":1,¦"\u0061":2}`, formats.Dup},
	{"a key twice, deep", `{"a":[{"b":{"c":1,¦"c":1}}]}`, formats.Dup},
	{"the empty key twice", `{"":1,¦"":1}`, formats.Dup},
	{"a million objects in each other", strings.Repeat(`{"a":`, 64) + "¦" + strings.Repeat(`{"a":`, 1_000_000), formats.Limit},
	{"a million lists in each other", `{"a":` + strings.Repeat("[", 63) + "¦" + strings.Repeat("[", 1_000_000), formats.Limit},
	{"a key twice among 100,000", `{` + numbered(100_000) + `,¦"7":0}`, formats.Dup},
	{"a comma after 100,000 keys", `{` + numbered(100_000) + `,¦}`, formats.JSON},
	{"a million values", `{"a":[` + strings.Repeat("0,", 1<<18-2) + "¦" + strings.Repeat("0,", 700_000) + `0]}`, formats.Limit},
	{"hexadecimal", `{"a":0¦x10}`, formats.JSON},
	{"a number with two points", `{"a":¦1.2.3}`, formats.JSON},
	{"a number of a million digits and an x", `{"a":` + strings.Repeat("1", 1_000_000) + `¦x}`, formats.JSON},
	{"nan in lower case", `{"a":¦nan}`, formats.JSON},
	{"plus infinity", `{"a":¦+Infinity}`, formats.JSON},
}

// numbered are n different keys.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + strconv.Itoa(i) + `":0`)
	}
	return b.String()
}

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

func TestHostile(t *testing.T) {
	for _, x := range hostile {
		at := strings.Index(x.text, "¦")
		text := []byte(strings.Replace(x.text, "¦", "", 1))
		start, before := time.Now(), allocated()
		_, err := config.Parse("config.json", text)
		if got, limit := allocated()-before, uint64(32*len(text)+1<<20); got > limit {
			t.Errorf("%s: allocated %d bytes for %d, want at most %d", x.name, got, len(text), limit)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("%s: took %v", x.name, d)
		}
		if err == nil {
			t.Errorf("%s: read, want %s", x.name, x.code)
			continue
		}
		e := formats.Errors(err)[0]
		if e.Code != x.code || e.Offset != int64(at) || e.Path != "config.json" || len(e.Error()) > 1<<10 || strings.ContainsFunc(e.Error(), func(r rune) bool { return r < ' ' }) {
			t.Errorf("%s: got %s at %d, want %s at %d: %v", x.name, e.Code, e.Offset, x.code, at, err)
		}
	}
}

// TestHostileValues are files that are well-formed and say what no model is.
func TestHostileValues(t *testing.T) {
	for _, x := range []struct {
		name, more string
		code       formats.Code
		field      string
	}{
		{"a billion layers", `"num_hidden_layers": 10000000000`, formats.Bounds, "num_hidden_layers"},
		{"layers below zero", `"num_hidden_layers": -1`, formats.Bounds, "num_hidden_layers"},
		{"layers with a fraction", `"num_hidden_layers": 1.5`, formats.BadType, "num_hidden_layers"},
		{"layers as text", `"num_hidden_layers": "1"`, formats.BadType, "num_hidden_layers"},
		{"layers NaN", `"num_hidden_layers": NaN`, formats.BadType, "num_hidden_layers"},
		{"layers 1e400", `"num_hidden_layers": 1e400`, formats.BadType, "num_hidden_layers"},
		{"a vocabulary of 2^63", `"vocab_size": 9223372036854775808`, formats.BadType, "vocab_size"},
		{"a vocabulary of a list", `"vocab_size": [1]`, formats.BadType, "vocab_size"},
		{"a hidden size of a thousand digits", `"hidden_size": ` + strings.Repeat("9", 1000), formats.BadType, "hidden_size"},
		{"heads that are an object", `"num_attention_heads": {}`, formats.BadType, "num_attention_heads"},
		{"epsilon as a list", `"rms_norm_eps": []`, formats.BadType, "rms_norm_eps"},
		{"a tie that is a number", `"tie_word_embeddings": 1`, formats.BadType, "tie_word_embeddings"},
		{"a tie that is text", `"tie_word_embeddings": "true"`, formats.BadType, "tie_word_embeddings"},
		{"architectures as an object", `"architectures": {}`, formats.BadType, "architectures"},
		{"architectures of numbers", `"architectures": [1]`, formats.BadType, "architectures"},
		{"rope theta negative", `"rope_theta": -1`, formats.Bounds, "rope_theta"},
		{"rope theta infinite", `"rope_theta": Infinity`, formats.Bounds, "rope_theta"},
	} {
		key, _, _ := strings.Cut(x.more, ":")
		var lines []string
		for _, line := range strings.Split(base, ",") {
			if !strings.Contains(line, key) {
				lines = append(lines, line)
			}
		}
		_, err := read(t, llama, `{`+strings.Join(append(lines, x.more), ",")+`}`)
		if err == nil {
			t.Errorf("%s: read, want %s", x.name, x.code)
			continue
		}
		if e := formats.Errors(err)[0]; e.Code != x.code || e.Field != x.field || e.Path != "config.json" {
			t.Errorf("%s: got %s about %q, want %s about %q: %v", x.name, e.Code, e.Field, x.code, x.field, err)
		}
	}
}
