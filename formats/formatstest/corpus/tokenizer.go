package corpus

import (
	"fmt"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// Tokenizer is texts of tokenizer.json, alone or with other files beside.
func Tokenizer() Group {
	return group("tokenizer", "arch/tokenizer", "tokenizer.json", tokenizerBudget, tokenizerTexts(), tokenizerFiles())
}

// TokenizerJSON is a tokenizer.json of four tokens; the cases replace parts of it.
const TokenizerJSON = `{"version": "1.0", "added_tokens": [{"id": 3, "content": "<e>", "special": true}], "normalizer": null, "pre_tokenizer": {"type": "ByteLevel",
"add_prefix_space": false, "trim_offsets": true, "use_regex": true}, "post_processor": null, "model": {"type": "BPE", "unk_token": null, "continuing_subword_prefix": null,
"end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}}`

// tokenizerOf is a tokenizer.json with this vocabulary and these merges.
func tokenizerOf(vocab, merges string) string {
	return fmt.Sprintf(`{"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},`+
		`"post_processor":null,"model":{"type":"BPE","unk_token":null,"fuse_unk":false,"byte_fallback":false,"vocab":{%s},"merges":[%s]}}`, vocab, merges)
}

// listed is n entries of a form that takes their number.
func listed(n int, form string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, form, i)
	}
	return b.String()
}

// tokenizerTexts are texts to refuse. A "¦" marks where: behind what is wrong, which the decoder has read, or behind the key of what it took
// whole.
func tokenizerTexts() (out []Case) {
	deep := strings.Repeat("[", 1_000_000)
	for _, x := range []struct {
		name, text string
		code       formats.Code
		says       string
	}{
		{"a web page", "¦<!doctype html>", formats.JSON, ""},
		{"a pointer of Git LFS", "¦version https://git-lfs.github.com/spec/v1\n", formats.JSON, ""},
		{"zeros", "¦\x00\x00\x00\x00", formats.JSON, ""},
		{"a byte order mark", "¦\ufeff" + TokenizerJSON, formats.JSON, ""},
		{"null", "null¦", formats.BadType, ""},
		{"a number", "7¦", formats.BadType, ""},
		{"an empty object", "{}", formats.Missing, ""},
		{"a model that is null", `{"model":null¦}`, formats.BadType, ""},
		{"a model that is a list", `{"model":[¦]}`, formats.BadType, ""},
		{"a vocabulary that is a list", strings.Replace(TokenizerJSON, `{"a": 0, "b": 1, "ab": 2}`, `[¦"a","b","ab"]`, 1), formats.BadType, ""},
		{"a vocabulary that is null", strings.Replace(TokenizerJSON, `{"a": 0, "b": 1, "ab": 2}`, `null¦`, 1), formats.BadType, ""},
		{"a million brackets", `{"model":[¦` + deep, formats.BadType, ""},
		{"a million brackets in a token", strings.Replace(TokenizerJSON, `"a": 0`, `"a": [¦`+deep, 1), formats.BadType, ""},
		{"a million sequences", strings.Replace(TokenizerJSON, `"normalizer": null`, `"normalizer"¦: `+strings.Repeat(`{"type":"Sequence","normalizers":[`, 9_000), 1), formats.JSON, ""},
		{"100,000 tokens of one id", tokenizerOf(listed(100_000, `"t%d":0`), ""), formats.Dup, "id 0"},
		{"one token 100,000 times", tokenizerOf(`"t":0,"t":1¦,`+listed(100_000, `"t":%d`), ""), formats.Dup, `"t"`},
		{"100,000 merges of what is no token", tokenizerOf(`"a":0`, `"x y"¦,`+listed(100_000, `"x%d y"`)), formats.Mismatch, ""},
		{"a token of a million bytes twice", tokenizerOf(`"`+strings.Repeat("a", 1_000_000)+`":0,"`+strings.Repeat("a", 1_000_000)+`":1¦`, ""), formats.Dup, ""},
		{"an id of 2^63", tokenizerOf(`"a":9223372036854775808¦`, ""), formats.Bounds, ""},
		{"an id of a thousand digits", tokenizerOf(`"a":`+strings.Repeat("9", 1000)+"¦", ""), formats.Bounds, ""},
		{"an id of 1e9", tokenizerOf(`"a":1e9¦`, ""), formats.Bounds, ""},
		{"an id of 2^31", tokenizerOf(`"a":2147483648¦`, ""), formats.Bounds, ""},
		{"an id of -2^63", tokenizerOf(`"a":-9223372036854775808¦`, ""), formats.Bounds, ""},
		{"an id that leaves a hole of a billion", tokenizerOf(`"a":0,"b":1000000000¦`, ""), formats.Bounds, ""},
		{"control characters in a token twice", tokenizerOf(`"\u001b[2J":0,"\u001b[2J":1¦`, ""), formats.Dup, `\x1b`},
		{"added tokens that are an object", strings.Replace(TokenizerJSON, `: [{"id": 3, "content": "<e>", "special": true}]`, `¦: {}`, 1), formats.BadType, ""},
		{"an added token that is text", strings.Replace(TokenizerJSON, `: [{"id": 3, "content": "<e>", "special": true}`, `¦: ["<e>"`, 1), formats.BadType, ""},
		{"an added id of 2^40", strings.Replace(TokenizerJSON, `"id": 3`, `"id": 1099511627776`, 1), formats.Bounds, ""},
		{"a negative added id", strings.Replace(TokenizerJSON, `"id": 3`, `"id": -1`, 1), formats.Bounds, ""},
		{"a pattern that is a bomb", strings.Replace(TokenizerJSON, `{"type": "ByteLevel"`, `{"type":"Split","pattern":{"Regex":"(a{1000}){1000}"},"behavior":"Isolated","invert":false,"x":"ByteLevel"`, 1), formats.Unsupported, ""},
		{"merges in each other", strings.Replace(TokenizerJSON, `["a", "b"]`, `[[¦"a","b"],["a","b"]]`, 1), formats.BadType, ""},
		{"a merge that is null", strings.Replace(TokenizerJSON, `["a", "b"]`, `null¦`, 1), formats.BadType, ""},
		{"a merge of nothing", strings.Replace(TokenizerJSON, `["a", "b"]`, `["",""]¦`, 1), formats.Mismatch, ""},
		{"NUL padding", TokenizerJSON + "¦\x00\x00", formats.JSON, ""},
	} {
		text, at := marked(x.text)
		c := Case{Name: x.name, Bytes: []byte(text), Code: x.code, Offset: int64(at), Field: AnyField, Says: []string{x.says}}
		if at < 0 {
			c.Offset = Anywhere
		}
		out = append(out, c)
	}
	return out
}

// tokenizerFiles are such texts, and files beside a good one.
func tokenizerFiles() (out []Case) {
	type files map[string]string
	swap := func(old, new string) files {
		s := strings.Replace(TokenizerJSON, old, new, 1)
		if s == TokenizerJSON {
			panic(fmt.Sprintf("corpus: %q is not in the file", old))
		}
		return files{"tokenizer.json": s}
	}
	with := func(name, text string) files { return files{"tokenizer.json": TokenizerJSON, name: text} }
	for _, x := range []struct {
		name string
		in   files
		code formats.Code
		says string
	}{
		{"sound", files{"tokenizer.json": TokenizerJSON}, "", ""},
		{"merges before the vocabulary", swap(`"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]`, `"merges": [["a", "b"]], "vocab": {"a": 0, "b": 1, "ab": 2}`), "", ""},
		{"merges before another vocabulary", swap(`"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]`, `"merges": [["a", "b"]], "vocab": {"a": 0, "ab": 1, "c": 2}`), formats.Mismatch, `"a" and "b"`},
		{"no file", files{}, formats.Missing, "tokenizer.json"},
		{"empty", files{"tokenizer.json": ""}, formats.JSON, "EOF"},
		{"cut short", files{"tokenizer.json": TokenizerJSON[:len(TokenizerJSON)-2]}, formats.JSON, "EOF"},
		{"more after the end", files{"tokenizer.json": TokenizerJSON + "{}"}, formats.Trail, "after the end"},
		{"not UTF-8", swap(`"a"`, "\"\xff\""), formats.UTF8, ""},
		{"an array", files{"tokenizer.json": "[]"}, formats.BadType, "got an array, want an object"},
		{"two models", swap(`"version": "1.0"`, `"model": {}`), formats.Dup, `key "model" twice`},
		{"a token twice", swap(`"b": 1`, `"a": 1`), formats.Dup, `token "a" twice`},
		{"an id twice", swap(`"b": 1`, `"b": 0`), formats.Dup, `id 0 is "a" and "b"`},
		{"a negative id", swap(`"b": 1`, `"b": -1`), formats.Bounds, "-1"},
		{"an id that is no integer", swap(`"b": 1`, `"b": 1.5`), formats.Bounds, "1.5"},
		{"an id beyond any model", swap(`"b": 1`, `"b": 4000000000`), formats.Bounds, "4000000000"},
		{"an id of another type", swap(`"b": 1`, `"b": "1"`), formats.BadType, "a string"},
		{"a hole without rows to fill", swap(`"b": 1`, `"b": 7`), formats.Mismatch, "highest id is 7, the model has 4 rows"},
		{"a merge of what is no token", swap(`["a", "b"]`, `["a", "c"]`), formats.Mismatch, `"a" and "c"`},
		{"a merge into what is no token", swap(`["a", "b"]`, `["b", "a"]`), formats.Mismatch, "no token"},
		{"a merge of three", swap(`["a", "b"]`, `["a", "b", "a"]`), formats.BadType, "merges"},
		{"a merge of one", swap(`["a", "b"]`, `"ab"`), formats.JSON, "two parts"},
		{"merges of numbers", swap(`["a", "b"]`, `7`), formats.BadType, "a number"},
		{"merges that are no list", swap(`[["a", "b"]]`, `{}`), formats.BadType, "merges"},
		{"an added token twice", swap(`[{"id"`, `[{"id": 3, "content": "<e>", "special": true}, {"id"`), formats.Dup, `"<e>"`},
		{"WordPiece", swap(`"BPE"`, `"WordPiece"`), formats.Unsupported, "got WordPiece, want BPE"},
		{"Unigram", swap(`"type": "BPE"`, `"type": "Unigram", "unk_id": 0`), formats.Unsupported, "got Unigram"},
		{"SentencePiece BPE", swap(`"byte_fallback": false`, `"byte_fallback": true`), formats.Unsupported, "byte_fallback"},
		{"subword marks", swap(`"end_of_word_suffix": null`, `"end_of_word_suffix": "</w>"`), formats.Unsupported, "</w>"},
		{"Metaspace", swap(`"type": "ByteLevel"`, `"type": "Metaspace"`), formats.Unsupported, "Metaspace"},
		{"a normalizer with lower case", swap(`"normalizer": null`, `"normalizer": {"type": "Lowercase"}`), formats.Unsupported, "normalizer is Lowercase"},
		{"a pattern of neither kind", swap(`{"type": "ByteLevel"`, `{"type": "Split", "pattern": {}`), formats.JSON, "pattern"},
		{"a template with an id that is none", swap(`"post_processor": null`, `"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<e>", "type_id": 0}}],
			"special_tokens": {"<e>": {"id": "<e>", "ids": [77], "tokens": ["<e>"]}}}`), formats.Bounds, "id 77"},
		{"an unknown post-processor", swap(`"post_processor": null`, `"post_processor": {"type": "Other"}`), formats.Unsupported, "Other"},
		{"an unknown token that is none", swap(`"unk_token": null`, `"unk_token": "<u>"`), formats.Missing, `"<u>"`},
		{"sequences without end", swap(`"normalizer": null`, `"normalizer": `+strings.Repeat(`{"type": "Sequence", "normalizers": [`, 200)+strings.Repeat("]}", 200)), formats.Limit, "100"},
		{"arrays without end", swap(`"normalizer": null`, `"normalizer": `+strings.Repeat("[", 20000)+strings.Repeat("]", 20000)), formats.JSON, "depth"},
		{"a config that is no object", with("tokenizer_config.json", "7"), formats.BadType, "tokenizer_config.json"},
		{"a config with a key twice", with("tokenizer_config.json", `{"a": 1, "a": 2}`), formats.Dup, `"a"`},
		{"a config with another id", with("tokenizer_config.json", `{"added_tokens_decoder": {"2": {"content": "<e>"}}}`), formats.Mismatch, "has id 2, in tokenizer.json 3"},
		{"a template that is none", with("tokenizer_config.json", `{"chat_template": 7}`), formats.BadType, "chat_template"},
	} {
		c := Case{Name: x.name, Files: map[string][]byte{}, Code: x.code, Offset: Anywhere, Field: AnyField, Says: []string{x.says}}
		for name, text := range x.in {
			c.Files[name] = []byte(text)
		}
		out = append(out, c)
	}
	return out
}
