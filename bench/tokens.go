//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// writeTokenizer writes a byte-level BPE of n tokens as the tokenizers library prints one: the bytes, pairs and triples of bytes in a
// fixed order, each by a merge, and two special tokens at the end.
func writeTokenizer(dir string, n int) error {
	f, err := os.Create(filepath.Join(dir, "tokenizer.json"))
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	special := func(id int, text string) string {
		return fmt.Sprintf(`    {
      "id": %d,
      "content": %q,
      "single_word": false,
      "lstrip": false,
      "rstrip": false,
      "normalized": false,
      "special": true
    }`, id, text)
	}
	const level = `{
    "type": "ByteLevel",
    "add_prefix_space": false,
    "trim_offsets": true,
    "use_regex": true
  }`
	fmt.Fprintf(w, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [\n%s,\n%s\n  ],\n",
		special(n-2, "<|bos|>"), special(n-1, "<|eos|>"))
	fmt.Fprintf(w, "  \"normalizer\": null,\n  \"pre_tokenizer\": %s,\n  \"post_processor\": null,\n  \"decoder\": %s,\n", level, level)
	fmt.Fprint(w, `  "model": {
    "type": "BPE",
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": null,
    "end_of_word_suffix": null,
    "fuse_unk": false,
    "byte_fallback": false,
    "ignore_merges": false,
    "vocab": {`)
	for i := range n - 2 {
		fmt.Fprintf(w, "%s\n      %s: %d", comma(i), quoted(token(i)), i)
	}
	fmt.Fprint(w, "\n    },\n    \"merges\": [")
	for i := 256; i < n-2; i++ {
		t := []rune(token(i))
		last := len(t) - 1
		fmt.Fprintf(w, "%s\n      [\n        %s,\n        %s\n      ]", comma(i-256), quoted(string(t[:last])), quoted(string(t[last:])))
	}
	fmt.Fprint(w, "\n    ]\n  }\n}\n")
	config := `{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|bos|>", "eos_token": "<|eos|>"}` + "\n"
	return errors.Join(w.Flush(), f.Close(), os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(config), 0o666))
}

// token is the spelling of an id: 256 bytes, then their pairs, then triples, the first of which are those of the first pairs.
func token(id int) string {
	const pairs = 256 * 256
	switch {
	case id < 256:
		return string(spelling(id))
	case id < 256+pairs:
		id -= 256
		return string([]rune{spelling(id / 256), spelling(id % 256)})
	}
	id -= 256 + pairs
	return string([]rune{spelling(id / pairs), spelling(id / 256 % 256), spelling(id % 256)})
}

// spelling is GPT-2's letter for a byte: printable ones of Latin-1 stand for themselves, the others for U+0100 and on. Letters come
// first in this order, so that text merges.
func spelling(i int) rune {
	b := (i + 'a') % 256
	switch {
	case b < '!':
		return rune(0x100 + b)
	case b > '~' && b < 0xa1:
		return rune(0x100 + 33 + b - 0x7f)
	case b == 0xad:
		return 0x143
	}
	return rune(b)
}

func comma(i int) string {
	if i == 0 {
		return ""
	}
	return ","
}

func quoted(s string) string {
	b, _ := json.Marshal(s) // a string always marshals
	return string(b)
}
