package tokenizer

import (
	"encoding/json"
	"slices"

	"github.com/bowline-ml/bowline/formats"
)

// processor is a post-processor of tokenizer.json.
type processor struct {
	Type       string
	Processors []json.RawMessage
	Single     []item
	Pair       []item
	Tokens     map[string]struct{ IDs []int } `json:"special_tokens"`
	Cls, Sep   []json.RawMessage              // RobertaProcessing, BertProcessing: [text, id]
}

// item is a part of a template: a special token, or the text.
type item struct {
	SpecialToken *struct{ ID string }
	Sequence     *struct{ ID string }
}

func (t item) special() string {
	if t.SpecialToken != nil {
		return t.SpecialToken.ID
	}
	return ""
}

// specials finds the ids of roles and what is added to texts, in the order and with the precedence of gguf-py's SpecialVocab, which
// reads tokenizer.json's post-processor, then tokenizer_config.json, then config.json. Added tokens are those of tokenizer.json alone.
func (v *Vocab) specials(d *document, config map[string]json.RawMessage, ids map[string]int) ([]formats.Note, error) {
	roles := []string{"bos", "eos", "unk", "sep", "pad", "cls", "mask"}
	token := map[string]string{} // by role
	if config != nil {
		for _, r := range roles {
			token[r] = contentOf(config[r+"_token"])
		}
		if token["bos"] == "" {
			token["bos"] = token["cls"]
		}
		if token["eos"] == "" {
			token["eos"] = token["sep"]
		}
	}
	procs, err := processors(d.post)
	if err != nil {
		return nil, err
	}
	var notes []formats.Note
	for _, p := range procs {
		switch p.Type {
		case "ByteLevel":
			for _, r := range []string{"bos", "eos"} {
				if _, said := v.adds(r); !said {
					v.setAdd(r, false)
				}
			}
		case "RobertaProcessing":
			for _, r := range []string{"bos", "eos", "sep"} {
				v.setAdd(r, true)
			}
			if config != nil && token["cls"] == "" {
				token["cls"] = pairText(p.Cls)
			}
			if config != nil && token["sep"] == "" {
				token["sep"] = pairText(p.Sep)
			}
		case "TemplateProcessing":
			roles = v.template(p, config != nil, token, roles)
		}
		if err := v.surround(p); err != nil {
			return nil, err
		}
	}
	for _, r := range roles {
		on := boolOf(config["add_"+r+"_token"])
		if on == nil || (r != "bos" && r != "eos" && r != "sep") {
			continue // no key for the others
		}
		if was, said := v.adds(r); !said {
			v.setAdd(r, *on)
		} else if was != *on {
			notes = append(notes, formats.Note{Subject: "tokenizer_config.json: add_" + r + "_token", Decision: "ignored",
				Because: "the post-processor of tokenizer.json says otherwise, and is what runs", Warn: true})
		}
	}
	for _, r := range roles {
		i := slices.IndexFunc(d.added, func(a Added) bool { return a.Content == token[r] })
		if config == nil || token[r] == "" || i < 0 {
			continue
		}
		if given, ok := ids[r]; ok && given != d.added[i].ID {
			notes = append(notes, formats.Note{Subject: r + " token", Decision: "taken from tokenizer_config.json", Because: "config.json has another id; llama.cpp's converter reads this one"})
		}
		v.Specials = append(v.Specials, Special{r, d.added[i].ID})
	}
	for _, r := range roles {
		id, ok := ids[r]
		if !ok || v.Special(r) >= 0 {
			continue
		}
		if id < 0 || id >= len(v.Tokens) {
			notes = append(notes, formats.Note{Subject: "config.json: " + r + "_token_id", Decision: "left out", Because: "it is no id of the vocabulary", Warn: true})
			continue
		}
		v.Specials = append(v.Specials, Special{r, id})
	}
	return notes, nil
}

func (v *Vocab) setAdd(role string, on bool) {
	for i := range v.Adds {
		if v.Adds[i].Role == role {
			v.Adds[i].On = on
			return
		}
	}
	v.Adds = append(v.Adds, Add{role, on})
}

// template judges TemplateProcessing as SpecialVocab does: the first and the last token of the template for one text, and what is
// between the two of a pair. It sets roles in token, and gives the roles, to which a declared EOS that the template replaces adds one.
func (v *Vocab) template(p processor, config bool, token map[string]string, roles []string) []string {
	first, last := "", ""
	if len(p.Single) > 1 {
		first, last = p.Single[0].special(), p.Single[len(p.Single)-1].special()
	}
	if first != "" {
		if !config || first != token["bos"] && first != token["cls"] {
			if token["bos"] == "" || !config {
				token["bos"] = first
			}
			if token["cls"] == "" && config {
				token["cls"] = first
			}
		}
		v.setAdd("bos", first == token["bos"] || first == token["cls"])
	}
	if last != "" {
		if config && last != token["eos"] {
			for _, r := range []string{"eot", "eom"} {
				if !slices.Contains(roles, r) {
					roles = append(slices.Clone(roles), r)
					token[r] = token["eos"]
					break
				}
			}
		}
		token["eos"] = last
		v.setAdd("eos", true)
	}
	pair := p.Pair
	if first != "" && len(pair) > 0 && pair[0].special() == first {
		pair = pair[1:]
	}
	if last != "" && len(pair) > 0 && pair[len(pair)-1].special() == last {
		pair = pair[:len(pair)-1]
	}
	between := func(i item, id string) bool { return i.Sequence != nil && i.Sequence.ID == id }
	if len(pair) < 3 || !between(pair[0], "A") || !between(pair[len(pair)-1], "B") {
		return roles
	}
	pair = pair[1 : len(pair)-1]
	ends := func(s string) bool { return s != "" && (s == token["sep"] || s == token["eos"]) }
	sep := ends(pair[0].special()) && last == "" || len(pair) == 2 && ends(pair[1].special())
	v.setAdd("sep", sep)
	if sep && token["sep"] == "" && config {
		token["sep"] = token["eos"]
	}
	return roles
}

// surround adds what a post-processor puts around one text.
func (v *Vocab) surround(p processor) error {
	before, after, err := p.around()
	if err != nil {
		return err
	}
	for _, id := range slices.Concat(before, after) {
		if id < 0 || id >= len(v.Tokens) {
			return formats.Errorf(formats.Bounds, "id %d, the vocabulary has %d", id, len(v.Tokens)).In("", "post_processor")
		}
	}
	v.Prefix = append(before, v.Prefix...)
	v.Suffix = append(v.Suffix, after...)
	return nil
}

// around is the ids that a post-processor puts before and after a text.
func (p processor) around() (before, after []int, err error) {
	switch p.Type {
	case "ByteLevel":
	case "RobertaProcessing", "BertProcessing":
		for _, side := range []struct {
			pair []json.RawMessage
			to   *[]int
		}{{p.Cls, &before}, {p.Sep, &after}} {
			var id int
			if len(side.pair) != 2 || json.Unmarshal(side.pair[1], &id) != nil {
				return nil, nil, formats.Errorf(formats.JSON, "%s without [text, id]", p.Type).In("", "post_processor")
			}
			*side.to = []int{id}
		}
	case "TemplateProcessing":
		text := false
		for _, t := range p.Single {
			switch {
			case t.Sequence != nil && !text:
				text = true
			case t.SpecialToken == nil:
				return nil, nil, formats.Errorf(formats.Unsupported, "template for one text has it twice").In("", "post_processor.single")
			case text:
				after = append(after, p.Tokens[t.special()].IDs...)
			default:
				before = append(before, p.Tokens[t.special()].IDs...)
			}
		}
	default:
		return nil, nil, formats.Errorf(formats.Unsupported, "got %s", p.Type).In("", "post_processor")
	}
	return before, after, nil
}

// processors reads a post-processor, sequences flattened.
func processors(raw json.RawMessage) ([]processor, error) {
	var out []processor
	for todo, n := []json.RawMessage{raw}, 0; len(todo) > 0; n++ {
		if n > maxSteps {
			return nil, formats.Errorf(formats.Limit, "more than %d steps", maxSteps).In("", "post_processor")
		}
		raw := todo[0]
		todo = todo[1:]
		if len(raw) == 0 {
			continue
		}
		var p processor
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, formats.Errorf(formats.JSON, "%w", err).In("", "post_processor")
		}
		if p.Type == "Sequence" {
			todo = append(slices.Clone(p.Processors), todo...)
			continue
		}
		out = append(out, p)
	}
	return out, nil
}

func pairText(pair []json.RawMessage) string {
	var s string
	if len(pair) > 0 {
		json.Unmarshal(pair[0], &s) // a text, or none
	}
	return s
}
