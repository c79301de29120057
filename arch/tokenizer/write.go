package tokenizer

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// HF gives Hugging Face files by name: tokenizer.json, tokenizer_config.json, special_tokens_map.json and, if it has anything to say,
// generation_config.json. They are written as the tokenizers library writes its own: indented by two, text as UTF-8, ids in order.
func (v *Vocab) HF() (map[string][]byte, []formats.Note, error) {
	if len(v.Pre) == 0 && !v.pieced() {
		field := "tokenizer.ggml.pre"
		switch r := runtimeByName(v.PreName); {
		case v.PreName == "":
			return nil, nil, formats.Errorf(formats.Missing, "the file does not name its pre-tokenizer").In("", field)
		case r == nil:
			return nil, nil, formats.Errorf(formats.Unsupported, "no pre-tokenizer of the runtime is called %q", short(v.PreName)).In("", field)
		}
		return nil, nil, formats.Errorf(formats.Unsupported, "pre-tokenizer %q is not rebuilt", short(v.PreName)).In("", field)
	}
	var notes []formats.Note
	n := len(v.Tokens)
	for n > 0 && v.Types[n-1] == Unused && v.Tokens[n-1] == fmt.Sprintf("[PAD%d]", n-1) {
		n--
	}
	if n < len(v.Tokens) {
		notes = append(notes, formats.Note{Subject: "tokenizer.json", Decision: fmt.Sprintf("%d tokens", n), Because: fmt.Sprintf("the last %d of %d rows have no token", len(v.Tokens)-n, len(v.Tokens))})
	}
	added, roles := v.named(&notes)
	files := map[string][]byte{
		"tokenizer.json":          v.tokenizerJSON(n, added),
		"tokenizer_config.json":   v.configJSON(added, roles),
		"special_tokens_map.json": mapJSON(roles),
	}
	if b := v.generationJSON(); b != nil {
		files["generation_config.json"] = b
	}
	return files, notes, nil
}

// named gives the added tokens, those with a role special as transformers makes them, and the texts of roles. A token that text alone
// leads to cannot have its role named: transformers would cut it out of every text.
func (v *Vocab) named(notes *[]formats.Note) ([]Added, map[string]string) {
	added, roles := slices.Clone(v.Added), map[string]string{}
	for _, s := range v.Specials {
		i := slices.IndexFunc(added, func(a Added) bool { return a.ID == s.ID })
		if i < 0 {
			*notes = append(*notes, formats.Note{Subject: s.Role + " token", Decision: "named by id alone", Because: fmt.Sprintf("%q is an ordinary token; named in tokenizer_config.json it would become a special one and change how text is read", v.Tokens[s.ID]), Warn: true})
			continue
		}
		if !added[i].Special {
			*notes = append(*notes, formats.Note{Subject: fmt.Sprintf("added token %q", added[i].Content), Decision: "special", Because: "transformers makes the " + s.Role + " token so"})
		}
		added[i].Special, roles[s.Role] = true, added[i].Content
	}
	return added, roles
}

func (v *Vocab) tokenizerJSON(n int, added []Added) []byte {
	texts, merges := v.texts(), v.Merges
	if v.pieced() && merges == nil {
		merges = v.derived()
	}
	// Added tokens at the end are not in the vocabulary: the library numbers them on.
	vocab := n
	for i := len(added) - 1; i >= 0 && added[i].ID == vocab-1; i-- {
		vocab--
	}
	// A merge may name one.
	for _, m := range merges {
		if int(max(m[0], m[1])) >= vocab {
			vocab = n
			break
		}
	}
	var w writer
	w.open('{')
	w.key("version").text("1.0")
	w.key("truncation").raw("null")
	w.key("padding").raw("null")
	w.key("added_tokens").open('[')
	for _, a := range added {
		w.item().open('{')
		w.key("id").int(a.ID)
		w.key("content").text(a.Content)
		w.key("single_word").bool(a.SingleWord)
		w.key("lstrip").bool(a.LStrip)
		w.key("rstrip").bool(a.RStrip)
		w.key("normalized").bool(a.Normalized)
		w.key("special").bool(a.Special)
		w.close('}')
	}
	w.close(']')
	w.key("normalizer")
	if v.pieced() {
		v.normalizerJSON(&w)
		w.key("pre_tokenizer").raw("null")
	} else {
		sequence(&w, "normalizers", v.Normalizers, func(n string) {
			w.open('{')
			w.key("type").text(n)
			w.close('}')
		})
		w.key("pre_tokenizer")
		sequence(&w, "pretokenizers", v.Pre, w.step)
	}
	w.key("post_processor")
	var post []string
	if !v.pieced() {
		post = append(post, "ByteLevel")
	}
	if len(v.Prefix)+len(v.Suffix) > 0 {
		post = append(post, "TemplateProcessing")
	}
	sequence(&w, "processors", post, func(kind string) {
		if kind == "ByteLevel" {
			w.step(Step{Kind: kind, AddPrefix: true, UseRegex: true})
			return
		}
		v.templateJSON(&w, texts)
	})
	w.key("decoder")
	if v.pieced() {
		v.decoderJSON(&w)
	} else {
		w.step(Step{Kind: "ByteLevel", AddPrefix: true, TrimOffsets: true, UseRegex: true})
	}
	w.key("model").open('{')
	w.key("type").text("BPE")
	w.key("dropout").raw("null")
	w.key("unk_token")
	if v.Unk >= 0 {
		w.text(texts[v.Unk])
	} else {
		w.raw("null")
	}
	w.key("continuing_subword_prefix").raw("null")
	w.key("end_of_word_suffix").raw("null")
	w.key("fuse_unk").bool(v.FuseUnk)
	w.key("byte_fallback").bool(v.pieced())
	w.key("ignore_merges").bool(v.IgnoreMerges)
	w.key("vocab").open('{')
	for i := range vocab {
		w.key(texts[i]).int(i)
	}
	w.close('}')
	w.key("merges").open('[')
	for _, m := range merges {
		w.item().open('[')
		w.item().text(texts[m[0]])
		w.item().text(texts[m[1]])
		w.close(']')
	}
	w.close(']')
	w.close('}')
	w.close('}')
	return w.Bytes()
}

// templateJSON writes TemplateProcessing: prefix, text, suffix; for a pair the second text goes before the suffix.
func (v *Vocab) templateJSON(w *writer, texts []string) {
	part := func(kind, id string, typ int) {
		w.item().open('{')
		w.key(kind).open('{')
		w.key("id").text(id)
		w.key("type_id").int(typ)
		w.close('}')
		w.close('}')
	}
	w.open('{')
	w.key("type").text("TemplateProcessing")
	for _, form := range []struct {
		name string
		pair bool
	}{{"single", false}, {"pair", true}} {
		w.key(form.name).open('[')
		for _, id := range v.Prefix {
			part("SpecialToken", texts[id], 0)
		}
		part("Sequence", "A", 0)
		if form.pair {
			part("Sequence", "B", 1)
		}
		for _, id := range v.Suffix {
			part("SpecialToken", texts[id], 0)
		}
		w.close(']')
	}
	w.key("special_tokens").open('{')
	ids := slices.Concat(v.Prefix, v.Suffix)
	slices.SortFunc(ids, func(a, b int) int { return strings.Compare(texts[a], texts[b]) })
	for _, id := range slices.Compact(ids) {
		w.key(texts[id]).open('{')
		w.key("id").text(texts[id])
		w.key("ids").open('[')
		w.item().int(id)
		w.close(']')
		w.key("tokens").open('[')
		w.item().text(texts[id])
		w.close(']')
		w.close('}')
	}
	w.close('}')
	w.close('}')
}

// roleTokens are the keys that both majors of transformers know.
var roleTokens = []string{"bos", "cls", "eos", "mask", "pad", "sep", "unk"}

// configJSON writes tokenizer_config.json. Its class is the one that reads tokenizer.json as it stands in transformers 4 and 5.
func (v *Vocab) configJSON(added []Added, roles map[string]string) []byte {
	var w writer
	w.open('{')
	if v.AddSpacePrefix != nil {
		w.key("add_prefix_space").bool(*v.AddSpacePrefix)
	}
	w.key("added_tokens_decoder").open('{')
	for _, a := range added {
		w.key(strconv.Itoa(a.ID)).open('{')
		w.key("content").text(a.Content)
		w.key("lstrip").bool(a.LStrip)
		w.key("normalized").bool(a.Normalized)
		w.key("rstrip").bool(a.RStrip)
		w.key("single_word").bool(a.SingleWord)
		w.key("special").bool(a.Special)
		w.close('}')
	}
	w.close('}')
	for _, role := range roleTokens {
		if role == "cls" { // keys go by the alphabet, as transformers writes them
			v.chatJSON(&w)
			if v.CleanSpaces != nil {
				w.key("clean_up_tokenization_spaces").bool(*v.CleanSpaces)
			}
		}
		if t, ok := roles[role]; ok {
			w.key(role + "_token").text(t)
		}
	}
	w.key("tokenizer_class").text("PreTrainedTokenizerFast")
	w.close('}')
	return append(w.Bytes(), '\n')
}

// chatJSON writes the chat template: a string if there is one, else a list.
func (v *Vocab) chatJSON(w *writer) {
	if len(v.Templates) == 1 && v.Templates[0].Name == "" {
		w.key("chat_template").text(v.Templates[0].Text)
	} else if len(v.Templates) > 0 {
		w.key("chat_template").open('[')
		for _, t := range v.Templates {
			w.item().open('{')
			w.key("name").text(cmp.Or(t.Name, "default"))
			w.key("template").text(t.Text)
			w.close('}')
		}
		w.close(']')
	}
}

func mapJSON(roles map[string]string) []byte {
	var w writer
	w.open('{')
	for _, role := range roleTokens {
		if t, ok := roles[role]; ok {
			w.key(role + "_token").text(t)
		}
	}
	w.close('}')
	return append(w.Bytes(), '\n')
}

// generationJSON writes the ids that start and end generation: EOS, EOT and EOM all end it.
func (v *Vocab) generationJSON() []byte {
	var ends []int
	for _, role := range []string{"eos", "eot", "eom"} {
		if id := v.Special(role); id >= 0 && !slices.Contains(ends, id) {
			ends = append(ends, id)
		}
	}
	bos, pad := v.Special("bos"), v.Special("pad")
	if bos < 0 && pad < 0 && len(ends) == 0 {
		return nil
	}
	var w writer
	w.open('{')
	if bos >= 0 {
		w.key("bos_token_id").int(bos)
	}
	if len(ends) == 1 {
		w.key("eos_token_id").int(ends[0])
	} else if len(ends) > 1 {
		w.key("eos_token_id").open('[')
		for _, id := range ends {
			w.item().int(id)
		}
		w.close(']')
	}
	if pad >= 0 {
		w.key("pad_token_id").int(pad)
	}
	w.close('}')
	return append(w.Bytes(), '\n')
}
