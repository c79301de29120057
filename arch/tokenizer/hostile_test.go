package tokenizer

import (
	"fmt"
	"os"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/bowline-ml/bowline/formats"
)

// vocabulary is a tokenizer.json with this vocabulary and these merges.
func vocabulary(vocab, merges string) string {
	return fmt.Sprintf(`{"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},`+
		`"post_processor":null,"model":{"type":"BPE","unk_token":null,"fuse_unk":false,"byte_fallback":false,"vocab":{%s},"merges":[%s]}}`, vocab, merges)
}

// many is n entries of a form that takes their number.
func many(n int, form string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, form, i)
	}
	return b.String()
}

func TestHostile(t *testing.T) {
	deep := strings.Repeat("[", 1_000_000)
	for _, x := range []struct {
		name, text string
		code       formats.Code
		says       string
	}{
		{"a web page", "¦<!doctype html>", formats.JSON, ""},
		{"a pointer of Git LFS", "¦version https://git-lfs.github.com/spec/v1\n", formats.JSON, ""},
		{"zeros", "¦\x00\x00\x00\x00", formats.JSON, ""},
		{"a byte order mark", "¦\ufeff" + minimal, formats.JSON, ""},
		{"null", "null¦", formats.BadType, ""},
		{"a number", "7¦", formats.BadType, ""},
		{"an empty object", "{}", formats.Missing, ""},
		{"a model that is null", `{"model":null¦}`, formats.BadType, ""},
		{"a model that is a list", `{"model":[¦]}`, formats.BadType, ""},
		{"a vocabulary that is a list", strings.Replace(minimal, `{"a": 0, "b": 1, "ab": 2}`, `[¦"a","b","ab"]`, 1), formats.BadType, ""},
		{"a vocabulary that is null", strings.Replace(minimal, `{"a": 0, "b": 1, "ab": 2}`, `null¦`, 1), formats.BadType, ""},
		{"a million brackets", `{"model":[¦` + deep, formats.BadType, ""},
		{"a million brackets in a token", strings.Replace(minimal, `"a": 0`, `"a": [¦`+deep, 1), formats.BadType, ""},
		{"a million sequences", strings.Replace(minimal, `"normalizer": null`, `"normalizer"¦: `+strings.Repeat(`{"type":"Sequence","normalizers":[`, 9_000), 1), formats.JSON, ""},
		{"100,000 tokens of one id", vocabulary(many(100_000, `"t%d":0`), ""), formats.Dup, "id 0"},
		{"one token 100,000 times", vocabulary(`"t":0,"t":1¦,`+many(100_000, `"t":%d`), ""), formats.Dup, `"t"`},
		{"100,000 merges of what is no token", vocabulary(`"a":0`, `"x y"¦,`+many(100_000, `"x%d y"`)), formats.Mismatch, ""},
		{"a token of a million bytes twice", vocabulary(`"`+strings.Repeat("a", 1_000_000)+`":0,"`+strings.Repeat("a", 1_000_000)+`":1¦`, ""), formats.Dup, ""},
		{"an id of 2^63", vocabulary(`"a":9223372036854775808¦`, ""), formats.Bounds, ""},
		{"an id of a thousand digits", vocabulary(`"a":`+strings.Repeat("9", 1000)+"¦", ""), formats.Bounds, ""},
		{"an id of 1e9", vocabulary(`"a":1e9¦`, ""), formats.Bounds, ""},
		{"an id of 2^31", vocabulary(`"a":2147483648¦`, ""), formats.Bounds, ""},
		{"an id of -2^63", vocabulary(`"a":-9223372036854775808¦`, ""), formats.Bounds, ""},
		{"an id that leaves a hole of a billion", vocabulary(`"a":0,"b":1000000000¦`, ""), formats.Bounds, ""},
		{"control characters in a token twice", vocabulary(`"\u001b[2J":0,"\u001b[2J":1¦`, ""), formats.Dup, `\x1b`},
		{"added tokens that are an object", strings.Replace(minimal, `: [{"id": 3, "content": "<e>", "special": true}]`, `¦: {}`, 1), formats.BadType, ""},
		{"an added token that is text", strings.Replace(minimal, `: [{"id": 3, "content": "<e>", "special": true}`, `¦: ["<e>"`, 1), formats.BadType, ""},
		{"an added id of 2^40", strings.Replace(minimal, `"id": 3`, `"id": 1099511627776`, 1), formats.Bounds, ""},
		{"a negative added id", strings.Replace(minimal, `"id": 3`, `"id": -1`, 1), formats.Bounds, ""},
		{"a pattern that is a bomb", strings.Replace(minimal, `{"type": "ByteLevel"`, `{"type":"Split","pattern":{"Regex":"(a{1000}){1000}"},"behavior":"Isolated","invert":false,"x":"ByteLevel"`, 1), formats.Unsupported, ""},
		{"merges in each other", strings.Replace(minimal, `["a", "b"]`, `[[¦"a","b"],["a","b"]]`, 1), formats.BadType, ""},
		{"a merge that is null", strings.Replace(minimal, `["a", "b"]`, `null¦`, 1), formats.BadType, ""},
		{"a merge of nothing", strings.Replace(minimal, `["a", "b"]`, `["",""]¦`, 1), formats.Mismatch, ""},
		{"NUL padding", minimal + "¦\x00\x00", formats.JSON, ""},
	} {
		at := int64(strings.Index(x.text, "¦")) // behind what is wrong, which the decoder has read, or behind the key of what it took whole
		x.text = strings.Replace(x.text, "¦", "", 1)
		start, before := time.Now(), allocated()
		_, _, err := FromHF(func(name string) ([]byte, error) {
			if name == "tokenizer.json" {
				return []byte(x.text), nil
			}
			return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
		}, Model{})
		got, limit := allocated()-before, uint64(32*len(x.text)+16<<20)
		if got > limit {
			t.Errorf("%s: allocated %d bytes for %d, want at most %d", x.name, got, len(x.text), limit)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("%s: took %v", x.name, d)
		}
		if err == nil {
			t.Errorf("%s: read, want %s", x.name, x.code)
			continue
		}
		e := formats.Errors(err)[0]
		if e.Code != x.code || at >= 0 && e.Offset != at || e.Path != "tokenizer.json" || !strings.Contains(e.Error(), x.says) {
			t.Errorf("%s: got %s at %d, want %s at %d: %.300v", x.name, e.Code, e.Offset, x.code, at, err)
		}
		if len(e.Error()) > 8<<10 || strings.ContainsFunc(e.Error(), func(r rune) bool { return r < ' ' }) {
			t.Errorf("%s: the message is too long or holds control characters: %.300q", x.name, e.Error())
		}
	}
}

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
