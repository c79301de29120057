package corpus

import (
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// Config is texts of config.json. A duplicate key is the field that is wrong.
func Config() Group {
	return group("config", "arch/config", "config.json", textBudget, configTexts(), configForms())
}

// Params is texts of config.json that are well-formed and say what no Llama is.
func Params() Group {
	return group("config values", "arch/config", "config.json", textBudget, configValues())
}

// configTexts are texts to refuse; a "¦" marks where.
func configTexts() (out []Case) {
	for _, x := range []struct {
		name, text string
		code       formats.Code
		field      string
	}{
		{"nothing", "¦", formats.Trunc, ""},
		{"a web page", "¦<!doctype html>", formats.JSON, ""},
		{"a pointer of Git LFS", "¦version https://git-lfs.github.com/spec/v1\n", formats.JSON, ""},
		{"zeros", "¦\x00\x00\x00\x00", formats.JSON, ""},
		{"a byte order mark", "¦\xef\xbb\xbf{}", formats.JSON, ""},
		{"UTF-16", "¦\xff\xfe{\x00}\x00", formats.JSON, ""},
		{"a list", "¦[]", formats.JSON, ""},
		{"a string", `¦"a"`, formats.JSON, ""},
		{"null", `¦null`, formats.JSON, ""},
		{"cut in a key", `{¦"a`, formats.Trunc, ""},
		{"cut after a key", `{"a"¦`, formats.JSON, ""},
		{"cut in a list", `{"a":[1,¦`, formats.Trunc, ""},
		{"a second document", `{}¦{}`, formats.Trail, ""},
		{"NUL padding", "{}¦\x00", formats.Trail, ""},
		{"a key twice", `{"hidden_size":1,¦"hidden_size":2}`, formats.Dup, "hidden_size"},
		{"a key twice, once escaped", `{"a":1,¦"\u0061":2}`, formats.Dup, "a"},
		{"a key twice, deep", `{"a":[{"b":{"c":1,¦"c":1}}]}`, formats.Dup, "c"},
		{"the empty key twice", `{"":1,¦"":1}`, formats.Dup, ""},
		{"a million objects in each other", strings.Repeat(`{"a":`, 64) + "¦" + strings.Repeat(`{"a":`, 1_000_000), formats.Limit, ""},
		{"a million lists in each other", `{"a":` + strings.Repeat("[", 63) + "¦" + strings.Repeat("[", 1_000_000), formats.Limit, ""},
		{"a key twice among 100,000", `{` + numbered(100_000) + `,¦"7":0}`, formats.Dup, "7"},
		{"a comma after 100,000 keys", `{` + numbered(100_000) + `,¦}`, formats.JSON, ""},
		{"a million values", `{"a":[` + strings.Repeat("0,", 1<<18-2) + "¦" + strings.Repeat("0,", 700_000) + `0]}`, formats.Limit, ""},
		{"hexadecimal", `{"a":0¦x10}`, formats.JSON, ""},
		{"a number with two points", `{"a":¦1.2.3}`, formats.JSON, ""},
		{"a number of a million digits and an x", `{"a":` + strings.Repeat("1", 1_000_000) + `¦x}`, formats.JSON, ""},
		{"nan in lower case", `{"a":¦nan}`, formats.JSON, ""},
		{"plus infinity", `{"a":¦+Infinity}`, formats.JSON, ""},
	} {
		text, at := marked(x.text)
		out = append(out, Case{Name: x.name, Bytes: []byte(text), Code: x.code, Offset: int64(at), Field: x.field})
	}
	return out
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

// configForms are the forms that JSON has, and those that it has not.
func configForms() (out []Case) {
	for _, x := range []struct {
		name, text string
		code       formats.Code // "" is read
		field      string
	}{
		{"empty object", `{}`, "", ""},
		{"white space around", " \n\t{ \"a\" : [ ] , \"b\" : { } } \r\n", "", ""},
		{"NaN and infinities of Python", `{"a": NaN, "b": [Infinity, -Infinity]}`, "", ""},
		{"a surrogate pair", `{"a": "\ud83d\ude00"}`, "", ""},
		{"every escape", `{"a": "\"\\\/\b\f\n\r\t\u00e9"}`, "", ""},
		{"numbers", `{"a": [0, -0, 1.5, -2e10, 3E-4, 1e+3, 123456789012345678901234567890]}`, "", ""},
		{"depth 64", strings.Repeat(`{"a":`, 63) + `{}` + strings.Repeat("}", 63), "", ""},
		{"the same key in two objects", `{"a": {"k": 1}, "b": {"k": 2}, "c": [{"k": 1}, {"k": 1}]}`, "", ""},

		{"no bytes", ``, formats.Trunc, ""},
		{"white space only", " \n", formats.Trunc, ""},
		{"a list at the root", `[]`, formats.JSON, ""},
		{"a number at the root", `1`, formats.JSON, ""},
		{"a byte order mark and an object", "\xef\xbb\xbf{}", formats.JSON, ""},
		{"UTF-16 without a mark", "{\x00}\x00", formats.JSON, ""},
		{"bytes after the end", `{} {}`, formats.Trail, ""},
		{"a second comma", `{"a": 1,,"b": 2}`, formats.JSON, ""},
		{"a comma before the end of an object", `{"a": 1,}`, formats.JSON, ""},
		{"a comma before the end of a list", `{"a": [1,]}`, formats.JSON, ""},
		{"a comma first", `{,"a": 1}`, formats.JSON, ""},
		{"no comma", `{"a": 1 "b": 2}`, formats.JSON, ""},
		{"no colon", `{"a" 1}`, formats.JSON, ""},
		{"a key without quotes", `{a: 1}`, formats.JSON, ""},
		{"single quotes", `{'a': 1}`, formats.JSON, ""},
		{"a comment", `{"a": 1 /* b */}`, formats.JSON, ""},
		{"the wrong bracket", `{"a": [1}`, formats.JSON, ""},
		{"a duplicate key", `{"a": 1, "a": 1}`, formats.Dup, "a"},
		{"a duplicate key behind an escape", `{"a": 1, "\u0061": 2}`, formats.Dup, "a"},
		{"a duplicate key, nested", `{"a": {"b": 1, "b": 2}}`, formats.Dup, "b"},
		{"depth 65", strings.Repeat(`{"a":`, 64) + `{}` + strings.Repeat("}", 64), formats.Limit, ""},
		{"lists deeper than any stack", `{"a":` + strings.Repeat("[", 100_000), formats.Limit, ""},
		{"a lone high surrogate", `{"a": "\ud83d"}`, formats.JSON, ""},
		{"a lone low surrogate", `{"a": "\ude00"}`, formats.JSON, ""},
		{"a high surrogate and a letter", `{"a": "\ud83d\u0061"}`, formats.JSON, ""},
		{"a high surrogate at the end", `{"a": "\ud83d\u`, formats.Trunc, ""},
		{"an unknown escape", `{"a": "\x41"}`, formats.JSON, ""},
		{"a short escape", `{"a": "\u12"}`, formats.JSON, ""},
		{"a control character", "{\"a\": \"\x01\"}", formats.JSON, ""},
		{"a line break in a string", "{\"a\": \"b\nc\"}", formats.JSON, ""},
		{"bytes that are not UTF-8", "{\"a\": \"\xff\"}", formats.JSON, ""},
		{"a key that is not UTF-8", "{\"\xc3\": 1}", formats.JSON, ""},
		{"a leading zero", `{"a": 01}`, formats.JSON, ""},
		{"a plus", `{"a": +1}`, formats.JSON, ""},
		{"a point first", `{"a": .5}`, formats.JSON, ""},
		{"a point last", `{"a": 1.}`, formats.JSON, ""},
		{"no exponent", `{"a": 1e}`, formats.JSON, ""},
		{"hexadecimal after a space", `{"a": 0x10}`, formats.JSON, ""},
		{"None of Python", `{"a": None}`, formats.JSON, ""},
		{"True of Python", `{"a": True}`, formats.JSON, ""},
		{"nan in lower case after a space", `{"a": nan}`, formats.JSON, ""},
		{"a key without a value", `{"a":}`, formats.JSON, ""},
		{"a string that does not end", `{"a": "b`, formats.Trunc, ""},
		{"a backslash at the end", `{"a": "\`, formats.Trunc, ""},
	} {
		out = append(out, Case{Name: x.name, Bytes: []byte(x.text), Code: x.code, Offset: Anywhere, Field: x.field})
	}
	return out
}

// ConfigBase is what a config.json of a Llama has to say, without its braces.
const ConfigBase = `"num_hidden_layers": 2, "hidden_size": 60, "num_attention_heads": 6, "intermediate_size": 88, "vocab_size": 347`

// configValues are texts in which one value is not what it has to be.
func configValues() (out []Case) {
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
		for _, line := range strings.Split(ConfigBase, ",") {
			if !strings.Contains(line, key) {
				lines = append(lines, line)
			}
		}
		text := "{" + strings.Join(append(lines, x.more), ",") + "}"
		out = append(out, Case{Name: x.name, Bytes: []byte(text), Code: x.code, Offset: Anywhere, Field: x.field})
	}
	return out
}
