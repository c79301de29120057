package tokenizer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// Model is what a vocabulary has to know of its model.
type Model struct {
	// Rows is the number of embedding rows, vocab_size of config.json. 0 is as many as there are tokens.
	Rows int
	// IDs are the ids that config.json gives for roles: "bos" for bos_token_id, and so on. A list of ids is left out.
	IDs map[string]int
	// Type is model_type of config.json.
	Type string
	// Llama marks the families that llama.cpp converts by LlamaModel or a class derived from it (llama, mistral, granite, ...). It
	// writes add_space_prefix if tokenizer_config.json has add_prefix_space, and add_bos_token false for 49152 rows.
	Llama bool
}

// FromHF reads a vocabulary from Hugging Face files. read gives a file of the model's directory, or an error that wraps
// fs.ErrNotExist; each file is read once and not kept, and read bounds its size. tokenizer.json has to be there, or the
// tokenizer.model of a SentencePiece BPE.
func FromHF(read func(name string) ([]byte, error), m Model) (*Vocab, []formats.Note, error) {
	d, sp, err := vocabularies(read)
	if err != nil {
		return nil, nil, err
	}
	at := func(err error) error { return place(err, "tokenizer.json") }
	v := &Vocab{IgnoreMerges: d.model.ignoreMerges, FuseUnk: d.model.fuseUnk}
	switch {
	case !d.model.byteFallback:
		err = v.cuts(d)
	case d.pre == nil && d.normalizer == nil && sp != nil:
		if sp.prefix {
			v.Blank = "always"
		}
		if sp.charsmap || sp.squeezes {
			v.Normalizers = []string{cmp.Or(sp.normalizer, "remove_extra_whitespaces")}
		}
	default:
		err = v.spaces(d)
	}
	if err != nil {
		return nil, nil, at(err)
	}
	files := map[string]map[string]json.RawMessage{}
	for _, name := range []string{"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "generation_config.json", "chat_template.json"} {
		if b, err := read(name); err == nil {
			if files[name], err = fields(name, b); err != nil {
				return nil, nil, err
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
	}
	config := files["tokenizer_config.json"]
	v.AddSpacePrefix, v.CleanSpaces = boolOf(config["add_prefix_space"]), boolOf(config["clean_up_tokenization_spaces"])
	if !m.Llama {
		v.AddSpacePrefix = nil
	}

	var notes []formats.Note
	note := func(subject, decision, because string, warn bool) {
		notes = append(notes, formats.Note{Subject: subject, Decision: decision, Because: because, Warn: warn})
	}
	all, more, err := d.allAdded(files)
	if err != nil {
		return nil, nil, at(err)
	}
	notes = append(notes, more...)
	if err := v.fill(d, all, m.Rows, note); err != nil {
		return nil, nil, at(err)
	}
	if d.model.byteFallback {
		if err := v.score(d, sp); err != nil {
			return nil, nil, at(err)
		}
	}
	if more, err = v.specials(d, config, m.IDs); err != nil {
		return nil, nil, at(err)
	}
	notes = append(notes, more...)
	if id := v.Special("bos"); d.post == nil && v.pieced() && id >= 0 { // transformers' classes for such files add it if nothing says otherwise
		on, said := v.adds("bos")
		if !said {
			v.setAdd("bos", true)
		}
		if on || !said {
			v.Prefix = []int{id}
		}
	}
	if m.Llama && len(v.Tokens) == 49152 {
		if on, _ := v.adds("bos"); on {
			note("tokenizer.ggml.add_bos_token", "false", "llama.cpp's converter sets it for 49152 rows, though tokenizer.json adds a BOS", true)
		}
		v.setAdd("bos", false)
	}
	if err := v.templates(read, files, note); err != nil {
		return nil, nil, err
	}
	if d.cuts {
		note("tokenizer.json: truncation and padding", "ignored", "they belong to batches, not to the vocabulary", false)
	}
	if d.model.dropout {
		note("tokenizer.json: dropout", "ignored", "it belongs to training", true)
	}
	if c := contentOf(config["tokenizer_class"]); len(v.Pre) > 0 && m.Type == "llama" && strings.HasPrefix(c, "GPT2Tokenizer") && v.Pre[0].Kind == "Digits" {
		note("tokenizer_config.json: tokenizer_class", "not followed", "transformers 5 rebuilds a "+c+" of a llama model without the Digits step and so reads other ids; tokenizer.json decides", true)
	}
	return v, notes, nil
}

// vocabularies reads tokenizer.json and, where that says SentencePiece's BPE or is not there, tokenizer.model, which holds the scores.
func vocabularies(read func(name string) ([]byte, error)) (*document, *spModel, error) {
	var d *document
	b, err := read("tokenizer.json")
	absent := errors.Is(err, fs.ErrNotExist)
	if err != nil && !absent {
		return nil, nil, err
	}
	if !absent {
		if d, err = parse("tokenizer.json", b); err == nil {
			err = place(d.model.refuse(), "tokenizer.json")
		}
		if err != nil || !d.model.byteFallback {
			return d, nil, err
		}
	}
	if b, err = read("tokenizer.model"); errors.Is(err, fs.ErrNotExist) {
		if absent {
			return nil, nil, formats.Errorf(formats.Missing, "no such file: %w", err).At("tokenizer.json", -1)
		}
		return d, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	m, err := parseModel(b)
	if err == nil {
		err = m.refuse()
	}
	if err == nil && absent {
		d = m.document()
	}
	return d, m, err
}

// cuts reads how byte-level BPE normalizes text and cuts it.
func (v *Vocab) cuts(d *document) (err error) {
	if v.Normalizers, err = normalizers(d.normalizer); err != nil {
		return err
	}
	if v.Pre, err = steps(d.pre); err != nil {
		return err
	}
	if n := len(v.Pre); n == 0 || v.Pre[n-1].Kind != "ByteLevel" {
		return formats.Errorf(formats.Unsupported, "got %s, want one that ends in ByteLevel", Canonical(v.Pre)).In("", "pre_tokenizer")
	}
	return nil
}

// allAdded gives the added tokens as AutoTokenizer has them: those of tokenizer.json, and what the other files make of them.
// added_tokens_decoder of tokenizer_config.json lets its flags win, and keeps special_tokens_map.json and added_tokens.json from being
// read (tokenization_utils_base.py, _from_pretrained; tried with transformers 5.23).
func (d *document) allAdded(files map[string]map[string]json.RawMessage) ([]Added, []formats.Note, error) {
	all, index := slices.Clone(d.added), map[string]int{}
	for i, a := range all {
		if _, ok := index[a.Content]; ok {
			return nil, nil, formats.Errorf(formats.Dup, "%q twice", short(a.Content)).In("", "added_tokens")
		}
		index[a.Content] = i
	}
	find := func(content string) int {
		if i, ok := index[content]; ok {
			return i
		}
		return -1
	}
	var notes []formats.Note
	add := func(file string, a Added) {
		a.ID, index[a.Content] = -1, len(all)
		all = append(all, a)
		notes = append(notes, formats.Note{Subject: fmt.Sprintf("added token %q", a.Content), Decision: "appended", Because: file + " names it and tokenizer.json does not", Warn: true})
	}
	flag := func(i int, a Added, file string) {
		if a.ID = all[i].ID; all[i] != a {
			notes = append(notes, formats.Note{Subject: fmt.Sprintf("added token %q", a.Content), Decision: "flags of " + file, Because: "transformers lets them win over those of tokenizer.json"})
			all[i] = a
		}
	}
	const configFile, mapFile, addedFile = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
	config := files[configFile]
	raw, decoder := config["added_tokens_decoder"]

	// The tokens that have a role, in the order in which they would be appended.
	type named struct{ file, text string }
	var roles []named
	for _, r := range []string{"bos", "eos", "unk", "sep", "pad", "cls", "mask"} {
		n := named{configFile, contentOf(config[r+"_token"])}
		if c := contentOf(files[mapFile][r+"_token"]); c != "" && !decoder {
			n = named{mapFile, c}
		}
		if n.text != "" {
			roles = append(roles, n)
		}
	}
	hasRole := func(text string) bool {
		return slices.ContainsFunc(roles, func(n named) bool { return n.text == text })
	}
	if decoder {
		byID := map[string]addedJSON{}
		if err := json.Unmarshal(raw, &byID); err != nil {
			return nil, nil, formats.Errorf(formats.JSON, "%w", err).At(configFile, -1).In("", "added_tokens_decoder")
		}
		for _, k := range sortedIDs(byID) {
			t := byID[k].token()
			t.Special = t.Special || hasRole(t.Content)
			if i := find(t.Content); i < 0 {
				add(configFile, t)
			} else if strconv.Itoa(all[i].ID) != k && all[i].ID >= 0 {
				return nil, nil, formats.Errorf(formats.Mismatch, "%q has id %s, in tokenizer.json %d", short(t.Content), short(k), all[i].ID).At(configFile, -1).In("", "added_tokens_decoder")
			} else {
				flag(i, t, configFile)
			}
		}
	} else {
		for _, k := range sortedValues(files[addedFile]) {
			if find(k) < 0 && d.hasNot(k) {
				add(addedFile, Added{Content: k, Special: hasRole(k), Normalized: !hasRole(k)})
			}
		}
	}
	for _, n := range roles {
		if i := find(n.text); i < 0 {
			add(n.file, Added{Content: n.text, Special: true})
		} else if !decoder {
			t := all[i]
			t.Special = true
			flag(i, t, n.file)
		}
	}
	for _, name := range []string{configFile, mapFile} {
		var l []json.RawMessage
		if name == configFile || !decoder {
			json.Unmarshal(files[name]["additional_special_tokens"], &l) // a list, or nothing
		}
		for _, raw := range l {
			if c := contentOf(raw); c != "" && find(c) < 0 {
				add(name, Added{Content: c, Special: true})
			}
		}
	}
	return all, notes, nil
}

// sortedIDs are the keys of an object of ids, by number.
func sortedIDs(m map[string]addedJSON) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
}

// sortedValues are the keys of an object whose values are ids, by id.
func sortedValues(m map[string]json.RawMessage) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(m[a]), len(m[b])), cmp.Compare(string(m[a]), string(m[b])), cmp.Compare(a, b))
	})
}

func (d *document) hasNot(token string) bool { _, ok := d.model.vocab[token]; return !ok }

// fill makes tokens, types and merges. An added token that the vocabulary lacks gets the next id, whatever the file states: so does the
// library, and a file that states another one is refused.
func (v *Vocab) fill(d *document, added []Added, rows int, note func(subject, decision, because string, warn bool)) error {
	m := &d.model
	count, top := len(m.vocab), -1
	for _, id := range m.vocab {
		top = max(top, int(id))
	}
	next := count
	for i, a := range added {
		id, ok := m.vocab[a.Content]
		if !ok {
			id = int32(next)
			next++
			count++
		}
		if a.ID >= 0 && a.ID != int(id) {
			return formats.Errorf(formats.Mismatch, "%q states id %d, the library gives it %d", short(a.Content), a.ID, id).In("", "added_tokens")
		}
		added[i].ID = int(id)
		top = max(top, int(id))
	}
	if rows == 0 {
		rows = count
	}
	if rows > maxRows {
		return formats.Errorf(formats.Limit, "got %d rows, want at most %d", rows, maxRows).In("", "vocab_size")
	}
	if top >= rows {
		return formats.Errorf(formats.Mismatch, "highest id is %d, the model has %d rows", top, rows).In("", "vocab_size")
	}
	v.Tokens, v.Types, v.Added = make([]string, rows), make([]Type, rows), added
	for t, id := range m.vocab {
		if v.Types[id] != 0 {
			return formats.Errorf(formats.Dup, "id %d is %q and %q", id, short(min(t, v.Tokens[id])), short(max(t, v.Tokens[id]))).In("", "model.vocab")
		}
		v.Tokens[id], v.Types[id] = t, Normal
	}
	for _, a := range added {
		if t := v.Types[a.ID]; t != 0 && (t != Normal || v.Tokens[a.ID] != a.Content) {
			return formats.Errorf(formats.Dup, "id %d is %q and %q", a.ID, short(v.Tokens[a.ID]), short(a.Content)).In("", "added_tokens")
		}
		text := a.Content
		if !a.Normalized && !m.byteFallback {
			// The converter stores what the token decodes to, for which the byte-level decoder takes it if it can.
			if s, ok := unspell(text); ok {
				text = strings.ToValidUTF8(s, "\ufffd")
			}
		}
		v.Types[a.ID] = Control
		if !a.Special && !looksSpecial(text) {
			v.Types[a.ID] = UserDefined
			text = strings.ReplaceAll(text, "▁", " ")
		}
		if text != a.Content {
			note(fmt.Sprintf("added token %q", a.Content), fmt.Sprintf("GGUF text %q", text), "llama.cpp's converter stores what the token decodes to, and the runtime looks for that in the text", true)
		}
		if a.LStrip || a.RStrip || a.SingleWord {
			note(fmt.Sprintf("added token %q", a.Content), "lstrip, rstrip and single_word have no GGUF key", "the runtime takes no blanks along with it and finds it inside words", true)
		}
		v.Tokens[a.ID] = text
	}
	holes := 0
	for i, t := range v.Types {
		if t == 0 {
			v.Tokens[i], v.Types[i] = fmt.Sprintf("[PAD%d]", i), Unused
			holes++
		}
	}
	if holes > 0 {
		note("tokenizer.ggml.tokens", fmt.Sprintf("%d rows without token are [PADn], unused", holes), fmt.Sprintf("the model has %d rows and the tokenizer %d tokens", rows, count), false)
	}
	v.Unk = -1
	id := func(text string) (int32, bool) {
		if id, ok := m.vocab[text]; ok {
			return id, true
		}
		i := slices.IndexFunc(added, func(a Added) bool { return a.Content == text })
		if i < 0 {
			return 0, false
		}
		return int32(added[i].ID), true
	}
	if m.unk != "" {
		unk, ok := id(m.unk)
		if !ok {
			return formats.Errorf(formats.Missing, "%q is no token", short(m.unk)).In("", "model.unk_token")
		}
		v.Unk = int(unk)
	}
	v.Merges = m.merges
	slices.SortFunc(v.Added, func(a, b Added) int { return a.ID - b.ID })
	return nil
}

// looksSpecial names the tokens that the converter makes control tokens though no flag says so (does_token_look_special).
func looksSpecial(t string) bool {
	between := func(a, b string) bool { return strings.HasPrefix(t, a) && strings.HasSuffix(t, b) }
	return t == "<pad>" || t == "<mask>" || t == "<2mass>" || t == "[@BOS@]" || between("<|", "|>") || between("<｜", "｜>") || between("<unused", ">")
}

// templates finds the chat templates: of tokenizer_config.json, else of a file of their own.
func (v *Vocab) templates(read func(string) ([]byte, error), files map[string]map[string]json.RawMessage, note func(subject, decision, because string, warn bool)) error {
	var list []Template
	jinja, err := read("chat_template.jinja")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	raw := files["tokenizer_config.json"]["chat_template"]
	if (len(raw) == 0 || string(raw) == "null") && err != nil {
		raw = files["chat_template.json"]["chat_template"]
	}
	if len(raw) > 0 && string(raw) != "null" {
		var named []struct {
			Name     string
			Template *string
		}
		var one string
		if json.Unmarshal(raw, &one) == nil {
			list = append(list, Template{"", one})
		} else if err := json.Unmarshal(raw, &named); err != nil {
			return formats.Errorf(formats.BadType, "want a string or a list of {name, template}").At("tokenizer_config.json", -1).In("", "chat_template")
		}
		for _, t := range named {
			if t.Template == nil || t.Name == "" {
				continue
			}
			name := strings.Map(func(r rune) rune {
				if r < 0x80 && (isLetter(r) || isNumber(r)) {
					return r
				}
				return '_'
			}, t.Name)
			if name == "default" {
				name = ""
			}
			if slices.ContainsFunc(list, func(t Template) bool { return t.Name == name }) {
				return formats.Errorf(formats.Dup, "template %q twice", short(t.Name)).At("tokenizer_config.json", -1).In("", "chat_template")
			}
			list = append(list, Template{name, *t.Template})
		}
	}
	if err == nil {
		i := slices.IndexFunc(list, func(t Template) bool { return t.Name == "" })
		switch {
		case len(list) == 0:
			list = []Template{{"", string(jinja)}}
		case i >= 0 && list[i].Text != string(jinja):
			note("chat_template.jinja", "not used", "tokenizer_config.json has another template, which llama.cpp's converter takes; transformers takes the file", true)
		}
	}
	v.Templates = list
	return nil
}

// place adds the file to errors that have none.
func place(err error, name string) error {
	var e *formats.Error
	if errors.As(err, &e) {
		return e.At(name, -1)
	}
	return err
}
