package tokenizer

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
)

// idKeys are the keys of roles (gguf-py, constants.py; the runtime has "seperator" too). There is none for "cls".
var idKeys = map[string]string{
	"bos": "bos_token_id", "eos": "eos_token_id", "eot": "eot_token_id", "eom": "eom_token_id", "unk": "unknown_token_id",
	"sep": "seperator_token_id", "pad": "padding_token_id", "mask": "mask_token_id",
}

// GGUF gives the keys of a vocabulary in the order of llama.cpp's converter. pre names the pre-tokenizer; "" finds it by structure.
// Values share memory with v.
func (v *Vocab) GGUF(pre string) ([]formats.KV, []formats.Note, error) {
	r, notes, err := v.runtime(pre)
	if err != nil {
		return nil, nil, err
	}
	note := func(subject, decision, because string) {
		notes = append(notes, formats.Note{Subject: subject, Decision: decision, Because: because, Warn: true})
	}
	var out []formats.KV
	add := func(key string, value any) { out = append(out, formats.KV{Key: "tokenizer." + key, Value: value}) }
	if v.AddSpacePrefix != nil {
		add("ggml.add_space_prefix", *v.AddSpacePrefix)
	}
	add("ggml.model", r.model())
	add("ggml.pre", r.name)
	add("ggml.tokens", v.Tokens)
	if v.pieced() {
		add("ggml.scores", v.Scores)
	}
	types := make([]int32, len(v.Types))
	for i, t := range v.Types {
		types[i] = int32(t)
	}
	add("ggml.token_type", types)
	if len(v.Merges) > 0 && !v.pieced() {
		add("ggml.merges", v.mergeTexts())
	}
	for _, s := range v.Specials {
		if k, ok := idKeys[s.Role]; ok {
			add("ggml."+k, uint32(s.ID))
		}
	}
	for _, a := range v.Adds {
		add("ggml.add_"+a.Role+"_token", a.On)
	}
	bos, eos := len(v.Prefix) > 0, len(v.Suffix) > 0
	if _, said := v.adds("bos"); !said && r.addBOS != bos {
		add("ggml.add_bos_token", bos)
		note("tokenizer.ggml.add_bos_token", fmt.Sprint(bos), "the source says nothing, and the runtime's default for "+r.name+" is the opposite of what the source does")
	}
	if !v.frames() {
		note("post_processor", "not what the keys say", fmt.Sprintf("tokenizer.json puts ids %v before a text and %v after it; the runtime puts BOS and EOS where add_bos_token and add_eos_token say so", v.Prefix, v.Suffix))
	}
	if bos && v.Special("bos") < 0 || eos && v.Special("eos") < 0 {
		note("tokenizer.ggml.bos_token_id", "not written", "no file names the token that the post-processor adds")
	}
	if len(v.Normalizers) > 0 {
		note("normalizer "+strings.Join(v.Normalizers, ", "), "dropped", "the runtime does not normalize text")
	}
	var names []string
	for _, t := range v.Templates {
		if t.Name != "" {
			add("chat_template."+t.Name, t.Text)
			names = append(names, t.Name)
		}
	}
	if len(names) > 0 {
		add("chat_templates", names)
	}
	for _, t := range v.Templates {
		if t.Name == "" {
			add("chat_template", t.Text)
		}
	}
	if v.pieced() {
		prefix := v.Blank != ""
		if v.AddSpacePrefix == nil && !prefix {
			add("ggml.add_space_prefix", false)
		} else if v.AddSpacePrefix != nil && *v.AddSpacePrefix != prefix {
			out[0].Value = prefix
			note("tokenizer.ggml.add_space_prefix", fmt.Sprint(prefix), "it is what the tokenizer does, whatever tokenizer_config.json says")
		}
		if v.Blank == "first" {
			note("prepend_scheme first", "always", "the runtime puts a blank after each special token too, and has no key for anything else")
		}
	}
	return out, notes, nil
}

// runtime is how the runtime reads the vocabulary. One of SentencePiece's needs no pre-tokenizer.
func (v *Vocab) runtime(pre string) (*runtime, []formats.Note, error) {
	if !v.pieced() {
		return v.choose(pre)
	}
	var notes []formats.Note
	if pre != "" && pre != spm.name {
		notes = append(notes, formats.Note{Subject: "--pre " + pre, Decision: "not used", Because: "a SentencePiece vocabulary has no pre-tokenizer"})
	}
	return &spm, notes, place(v.check(), "tokenizer.json")
}

// frames reports whether the runtime puts the same ids around a text as the source.
func (v *Vocab) frames() bool {
	frame := func(ids []int, role string, fallback bool) bool {
		on, said := v.adds(role)
		if !said {
			on = fallback
		}
		return len(ids) == 0 && !on || len(ids) == 1 && on && ids[0] == v.Special(role)
	}
	// Where the source is silent, GGUF writes what it does.
	return frame(v.Prefix, "bos", len(v.Prefix) > 0) && frame(v.Suffix, "eos", false)
}

// mergeTexts gives merges as "a b". A blank inside a part is written as Ġ, which it would be in byte-level spelling.
func (v *Vocab) mergeTexts() []string {
	texts := v.texts()
	part := func(id int32) string { return strings.ReplaceAll(texts[id], " ", "Ġ") }
	out := make([]string, len(v.Merges))
	for i, m := range v.Merges {
		out[i] = part(m[0]) + " " + part(m[1])
	}
	return out
}

// FromGGUF reads a vocabulary from the keys of a GGUF file. Its strings share memory with m.
func FromGGUF(m formats.Metadata) (*Vocab, []formats.Note, error) {
	g := keys{m: m}
	kind := get[string](&g, "ggml.model")
	if g.err == nil && kind == "" {
		return nil, nil, formats.Errorf(formats.Missing, "no such key").In("", "tokenizer.ggml.model")
	}
	if g.err == nil && kind != "gpt2" && kind != "llama" {
		return nil, nil, formats.Errorf(formats.Unsupported, "got %q, want \"gpt2\", byte-level BPE, or \"llama\", SentencePiece's BPE", short(kind)).In("", "tokenizer.ggml.model")
	}
	v := &Vocab{Unk: -1, PreName: get[string](&g, "ggml.pre"), Tokens: get[[]string](&g, "ggml.tokens")}
	types, merges := get[[]int32](&g, "ggml.token_type"), get[[]string](&g, "ggml.merges")
	if g.err != nil {
		return nil, nil, g.err
	}
	if kind == "llama" {
		if v.Scores = get[[]float32](&g, "ggml.scores"); g.err != nil {
			return nil, nil, g.err
		}
		if len(v.Scores) < len(v.Tokens) {
			return nil, nil, formats.Errorf(formats.Mismatch, "got %d scores, want %d", len(v.Scores), len(v.Tokens)).In("", "tokenizer.ggml.scores")
		}
		v.Scores, merges, v.FuseUnk = v.Scores[:len(v.Tokens):len(v.Tokens)], nil, true
		if i := slices.IndexFunc(v.Scores, func(s float32) bool { return s != s }); i >= 0 {
			return nil, nil, formats.Errorf(formats.Bounds, "score %d is not a number", i).In("", "tokenizer.ggml.scores")
		}
	}
	if len(v.Tokens) == 0 {
		return nil, nil, formats.Errorf(formats.Missing, "no tokens").In("", "tokenizer.ggml.tokens")
	}
	if types != nil && len(types) != len(v.Tokens) {
		return nil, nil, formats.Errorf(formats.Mismatch, "got %d types, want %d", len(types), len(v.Tokens)).In("", "tokenizer.ggml.token_type")
	}
	var notes []formats.Note
	ids := make(map[string]int32, len(v.Tokens))
	v.Types = make([]Type, len(v.Tokens))
	copied := false
	for i, t := range v.Tokens {
		if !utf8.ValidString(t) {
			return nil, nil, formats.Errorf(formats.UTF8, "token %d is not UTF-8", i).In("", "tokenizer.ggml.tokens")
		}
		if t == "" {
			if !copied {
				v.Tokens, copied = append([]string(nil), v.Tokens...), true
			}
			t = fmt.Sprintf("[EMPTY_%d]", i)
			v.Tokens[i] = t
			notes = append(notes, formats.Note{Subject: fmt.Sprintf("token %d", i), Decision: t, Because: "its text is empty; the runtime calls it so"})
		}
		if j, ok := ids[t]; ok {
			return nil, nil, formats.Errorf(formats.Dup, "tokens %d and %d are both %q", j, i, short(t)).In("", "tokenizer.ggml.tokens")
		}
		ids[t] = int32(i)
		v.Types[i] = Normal
		if types != nil {
			v.Types[i] = Type(types[i])
		}
		switch v.Types[i] {
		case Normal, Unused, Byte:
		case Control, UnknownType:
			v.Added = append(v.Added, Added{ID: i, Content: t, Special: true})
		case UserDefined:
			v.Added = append(v.Added, Added{ID: i, Content: t})
		default:
			return nil, nil, formats.Errorf(formats.Bounds, "type of token %d is %d", i, types[i]).In("", "tokenizer.ggml.token_type")
		}
	}
	if !v.pieced() {
		v.Merges = make([][2]int32, len(merges))
	}
	for i, s := range merges {
		// The runtime looks for the blank from the second byte on.
		at := -1
		if len(s) > 1 {
			at = 1 + strings.IndexByte(s[1:], ' ')
		}
		if at < 1 {
			return nil, nil, formats.Errorf(formats.Mismatch, "merge %d is %q, want two parts", i, short(s)).In("", "tokenizer.ggml.merges")
		}
		a, okA := ids[s[:at]]
		b, okB := ids[s[at+1:]]
		_, okAB := ids[s[:at]+s[at+1:]]
		if !okA || !okB || !okAB {
			return nil, nil, formats.Errorf(formats.Mismatch, "merge %d, %q, names what is no token", i, short(s)).In("", "tokenizer.ggml.merges")
		}
		v.Merges[i] = [2]int32{a, b}
	}
	for _, role := range []string{"bos", "eos", "unk", "sep", "pad", "mask", "eot", "eom"} {
		key := "ggml." + idKeys[role]
		if m.Get("tokenizer."+key) == nil {
			continue
		}
		id := get[uint32](&g, key)
		if g.err == nil && int64(id) >= int64(len(v.Tokens)) || id > math.MaxInt32 {
			notes = append(notes, formats.Note{Subject: "tokenizer." + key, Decision: "left out", Because: fmt.Sprintf("it is %d, the vocabulary has %d tokens", id, len(v.Tokens)), Warn: true})
			continue
		}
		v.Specials = append(v.Specials, Special{role, int(id)})
	}
	for _, role := range []string{"bos", "eos", "sep"} {
		if m.Get("tokenizer.ggml.add_"+role+"_token") != nil {
			v.Adds = append(v.Adds, Add{role, get[bool](&g, "ggml.add_"+role+"_token")})
		}
	}
	if m.Get("tokenizer.ggml.add_space_prefix") != nil {
		on := get[bool](&g, "ggml.add_space_prefix")
		v.AddSpacePrefix = &on
	}
	for _, name := range get[[]string](&g, "chat_templates") {
		v.Templates = append(v.Templates, Template{name, get[string](&g, "chat_template."+name)})
	}
	if m.Get("tokenizer.chat_template") != nil {
		v.Templates = append(v.Templates, Template{"", get[string](&g, "chat_template")})
	}
	if g.err != nil {
		return nil, nil, g.err
	}
	return v, append(notes, v.behave()...), nil
}

// behave sets what the name of the pre-tokenizer implies.
func (v *Vocab) behave() []formats.Note {
	r := runtimeByName(v.PreName)
	if v.pieced() {
		r = &spm
		v.pieceDefaults()
	}
	if r == nil {
		return nil // HF and Encode say so
	}
	v.Pre, v.IgnoreMerges = r.steps(), r.ignore
	clean := r.clean
	v.CleanSpaces = &clean
	var notes []formats.Note
	if r.nfc {
		v.Normalizers = []string{"NFC"}
		notes = append(notes, formats.Note{Subject: "normalizer", Decision: "NFC", Because: "the tokenizers published with pre-tokenizer " + r.name + " have it; GGUF has no key for it"})
	}
	frame := func(role string, fallback bool) []int {
		on, said := v.adds(role)
		if !said {
			on = fallback
		}
		if id := v.Special(role); on && id >= 0 {
			return []int{id}
		}
		return nil
	}
	v.Prefix, v.Suffix = frame("bos", r.addBOS), frame("eos", false)
	return notes
}

// pieceDefaults are what the runtime takes for keys that are not there: ids 1, 2 and 0, and a blank before the text.
func (v *Vocab) pieceDefaults() {
	for i, role := range []string{"unk", "bos", "eos"} {
		if v.Special(role) < 0 && i < len(v.Tokens) && (v.Types[i] == Control || v.Types[i] == UnknownType) {
			v.Specials = append(v.Specials, Special{role, i})
		}
	}
	v.Unk = v.Special("unk")
	if v.AddSpacePrefix == nil || *v.AddSpacePrefix {
		v.Blank = "always"
	}
}

// keys reads typed values and keeps the first error.
type keys struct {
	m   formats.Metadata
	err error
}

// get is the value of a key, or the zero value if the key is not there.
func get[T any](g *keys, key string) (out T) {
	switch v := g.m.Get("tokenizer." + key).(type) {
	case nil:
	case T:
		return v
	default:
		if g.err == nil {
			g.err = formats.Errorf(formats.BadType, "got %T, want %T", v, out).In("", "tokenizer."+key)
		}
	}
	return out
}
