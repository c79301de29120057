package tokenizer

import (
	"container/heap"
	"encoding/json"
	goruntime "runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/bowline-ml/bowline/formats"
)

// A vocabulary of SentencePiece's BPE: characters are joined by the score of what they make, blanks are written as ▁, and what has no token is
// spelled by bytes. GGUF stores the scores (llama.cpp src/llama-vocab.cpp, llm_tokenizer_spm); tokenizer.json says the same by merges, with
// byte_fallback (transformers convert_slow_tokenizer.py).

const blank = "▁"

// scores of tokens that are no pieces, as the converter writes them (conversion/base.py, _create_vocab_sentencepiece).
const addedScore, unusedScore = -1000, -10000

// pieced reports whether the vocabulary is of this kind.
func (v *Vocab) pieced() bool { return v.Scores != nil }

// spaces reads how tokenizer.json writes blanks: Prepend and Replace as normalizers, Metaspace as pre-tokenizer, or both.
func (v *Vocab) spaces(d *document) error {
	bad := func(field string, raw json.RawMessage) error {
		return formats.Errorf(formats.Unsupported, "got %s beside byte_fallback, want blanks written as %s", formats.Escape(string(raw), 200), blank).In("", field)
	}
	replaced := false
	for todo, n := []json.RawMessage{d.normalizer}, 0; len(todo) > 0; n++ {
		if n > maxSteps {
			return formats.Errorf(formats.Limit, "more than %d steps", maxSteps).In("", "normalizer")
		}
		raw := todo[0]
		if todo = todo[1:]; len(raw) == 0 || string(raw) == "null" {
			continue
		}
		var s struct {
			Type, Prepend, Content string
			Pattern                struct{ String *string }
			Normalizers            []json.RawMessage
		}
		if err := json.Unmarshal(raw, &s); err != nil {
			return formats.Errorf(formats.JSON, "%w", err).In("", "normalizer")
		}
		switch {
		case s.Type == "Sequence":
			todo = append(slices.Clone(s.Normalizers), todo...)
		case s.Type == "Prepend" && s.Prepend == blank && !replaced:
			v.Blank = "always"
		case s.Type == "Replace" && s.Pattern.String != nil && *s.Pattern.String == " " && s.Content == blank:
			replaced = true
		case s.Type == "Precompiled" || strings.HasPrefix(s.Type, "NF"):
			v.Normalizers = append(v.Normalizers, s.Type)
		default:
			return bad("normalizer", raw)
		}
	}
	for todo, n := []json.RawMessage{d.pre}, 0; len(todo) > 0; n++ {
		if n > maxSteps {
			return formats.Errorf(formats.Limit, "more than %d steps", maxSteps).In("", "pre_tokenizer")
		}
		raw := todo[0]
		if todo = todo[1:]; len(raw) == 0 || string(raw) == "null" {
			continue
		}
		var s struct {
			Type, Replacement, Behavior string
			Scheme                      string `json:"prepend_scheme"`
			AddPrefix                   *bool  `json:"add_prefix_space"`
			Split                       *bool
			Pattern                     struct{ String *string }
			Pretokenizers               []json.RawMessage
		}
		if err := json.Unmarshal(raw, &s); err != nil {
			return formats.Errorf(formats.JSON, "%w", err).In("", "pre_tokenizer")
		}
		switch {
		case s.Type == "Sequence":
			todo = append(slices.Clone(s.Pretokenizers), todo...)
		case s.Type == "Metaspace" && s.Replacement == blank:
			if s.Scheme == "" && (s.AddPrefix == nil || *s.AddPrefix) {
				s.Scheme = "always"
			}
			if replaced = true; s.Scheme != "never" && s.Scheme != "" {
				v.Blank = s.Scheme
			}
			v.Words = s.Split == nil || *s.Split
		case s.Type == "Split" && s.Pattern.String != nil && *s.Pattern.String == " " && replaced: // there are none any more
		default:
			return bad("pre_tokenizer", raw)
		}
	}
	if !replaced {
		return formats.Errorf(formats.Unsupported, "nothing writes blanks as %s beside byte_fallback", blank).In("", "normalizer")
	}
	return nil
}

// document is a tokenizer.json's worth of a model without one, but for merges: the scores say what they say.
func (m *spModel) document() *document {
	d := &document{model: model{kind: "BPE", vocab: make(map[string]int32, len(m.pieces)), fuseUnk: true, byteFallback: true}}
	for i, p := range m.pieces {
		d.model.vocab[p.text] = int32(i)
		switch p.typ {
		case UnknownType:
			d.model.unk = p.text
			fallthrough
		case Control:
			d.added = append(d.added, Added{ID: i, Content: p.text, Special: true})
		case UserDefined:
			d.added = append(d.added, Added{ID: i, Content: p.text})
		}
	}
	return d
}

// score sets the scores: those of tokenizer.model, or falling ones in the order of the merges.
func (v *Vocab) score(d *document, m *spModel) error {
	scores := make([]float32, len(v.Tokens))
	if m == nil {
		texts, next := v.texts(), float32(0)
		done := make([]bool, len(v.Tokens))
		for _, pair := range v.Merges {
			if id, ok := d.model.vocab[texts[pair[0]]+texts[pair[1]]]; ok && !done[id] {
				done[id], scores[id] = true, next
				next--
			}
		}
		for id, t := range v.Tokens { // characters, and what no merge makes
			if !done[id] && !isByte(t) {
				scores[id] = next
				next--
			}
		}
	} else {
		for id, p := range m.pieces {
			if id >= len(v.Tokens) {
				return formats.Errorf(formats.Mismatch, "got %d pieces, the model has %d rows", len(m.pieces), len(v.Tokens)).At("tokenizer.model", -1).In("", "vocab_size")
			}
			scores[id] = p.score
			at, ok := d.model.vocab[p.text]
			if added := slices.ContainsFunc(v.Added, func(a Added) bool { return a.ID == id }); !added && (!ok || int(at) != id) {
				return formats.Errorf(formats.Mismatch, "piece %d is %q, and tokenizer.json has %q there: they are not of one tokenizer", id, short(p.text), short(v.Tokens[id])).
					At("tokenizer.model", -1)
			}
			if v.Types[id] == Normal && (p.typ == Unused || p.typ == Byte) {
				v.Types[id] = p.typ
			}
		}
	}
	for _, a := range v.Added {
		scores[a.ID] = addedScore
	}
	for id, t := range v.Types {
		switch {
		case t == Unused && (m == nil || id >= len(m.pieces)):
			scores[id] = unusedScore
		case t == Normal && isByte(v.Tokens[id]):
			v.Types[id] = Byte
			if m == nil {
				scores[id] = 0
			}
		}
	}
	v.Scores = scores
	return nil
}

// isByte reports whether a token spells a byte: <0x00> to <0xFF>.
func isByte(t string) bool {
	return len(t) == 6 && strings.HasPrefix(t, "<0x") && t[5] == '>' && hexDigit(t[3]) >= 0 && hexDigit(t[4]) >= 0
}

func hexDigit(c byte) int { return strings.IndexByte("0123456789ABCDEF", c) }

// check holds what the runtime will do against tokenizer.json's merges, over texts and over the text of every token.
func (v *Vocab) check() error {
	if v.Merges == nil {
		return nil // the scores are all there is
	}
	if v.once.Do(func() { v.enc, v.err = newEncoder(v) }); v.err != nil {
		return v.err
	}
	var list []string
	// Both find added tokens before they join anything.
	for _, t := range selfCheck {
		for i, s := range v.enc.extract(t, 0) {
			if s.id < 0 && s.text != "" {
				list = append(list, v.written(s.text, i == 0))
			}
		}
	}
	for id, t := range v.Tokens {
		if v.Types[id] != Normal {
			continue
		}
		if l := v.enc.extract(strings.ReplaceAll(t, blank, " "), 0); len(l) == 1 && l[0].id < 0 {
			list = append(list, t)
		}
	}
	differ := make([][2][]int, len(list)) // ids by merges and by score, where they are not the same
	workers := goruntime.GOMAXPROCS(0)
	var g errgroup.Group
	for k := range workers {
		g.Go(func() error {
			for i := k; i < len(list); i += workers {
				a, err := v.joined(nil, list[i], true)
				if err != nil {
					return err
				}
				b, err := v.joined(nil, list[i], false)
				if err != nil {
					return err
				}
				if !slices.Equal(a, b) {
					differ[i] = [2][]int{a, b}
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	bad, first := 0, -1
	for i, d := range differ {
		if d[0] != nil {
			if bad++; first < 0 {
				first = i
			}
		}
	}
	if bad == 0 {
		return nil
	}
	d := differ[first]
	return formats.Errorf(formats.Mismatch, "the runtime, which joins by score, gives other ids than the merges in %d of %d texts, first %q: ids %v, by score %v",
		bad, len(list), short(list[first]), d[0][:min(len(d[0]), 12)], d[1][:min(len(d[1]), 12)]).In("", "model.merges")
}

// written is a text as the pieces have it. start says that it is the beginning of all.
func (v *Vocab) written(text string, start bool) string {
	text = strings.ReplaceAll(text, " ", blank)
	if v.Blank == "always" || v.Blank == "first" && start {
		// Metaspace leaves a blank that is there alone; Prepend does not.
		if !v.Words && v.Blank == "always" || !strings.HasPrefix(text, blank) {
			text = blank + text
		}
	}
	return text
}

// pieces cuts a written text where the source does: nowhere, or before each blank.
func (v *Vocab) pieces(text string) []string {
	if !v.Words {
		return []string{text}
	}
	var out []string
	for from := 0; from < len(text); {
		to := strings.Index(text[from+1:], blank)
		if to < 0 {
			return append(out, text[from:])
		}
		out, from = append(out, text[from:from+1+to]), from+1+to
	}
	return out
}

// joined appends the ids of a written text: pairs are joined by the merges, or by the scores as the runtime does.
func (v *Vocab) joined(out []int, text string, merges bool) ([]int, error) {
	e := v.enc
	type symbol struct {
		id, prev, next int32
		from, to       int
	}
	if merges && v.IgnoreMerges {
		if id, ok := e.ids[text]; ok {
			return append(out, int(id)), nil
		}
	}
	l := make([]symbol, 0, len(text))
	add := func(id int32, from, to int) {
		l = append(l, symbol{id, int32(len(l)) - 1, int32(len(l)) + 1, from, to})
	}
	for i := 0; i < len(text); {
		_, n := utf8.DecodeRuneInString(text[i:])
		if id, ok := e.ids[text[i:i+n]]; ok {
			add(id, i, i+n)
		} else {
			for k := i; k < i+n; k++ {
				id := e.spelled[text[k]]
				if id < 0 {
					if id = int32(v.Unk); id < 0 {
						return nil, formats.Errorf(formats.Missing, "no token for byte 0x%02x", text[k]).In("", "vocab")
					}
				}
				if id == int32(v.Unk) && v.FuseUnk && len(l) > 0 && l[len(l)-1].id == id {
					continue
				}
				add(id, k, k+1)
			}
		}
		i += n
	}
	if len(l) == 0 {
		return out, nil
	}
	l[len(l)-1].next = -1
	// better makes of two neighbours the token that they join to, and how early.
	better := func(a, b symbol) (merge, bool) {
		if merges {
			m, ok := e.merges[[2]int32{a.id, b.id}]
			return m, ok
		}
		id, ok := e.ids[text[a.from:b.to]]
		if !ok || b.to-a.from == 1 {
			return merge{}, false
		}
		return merge{e.order[id], id}, true
	}
	var q queue
	push := func(i int32) {
		if i < 0 || l[i].next < 0 {
			return
		}
		if m, ok := better(l[i], l[l[i].next]); ok {
			heap.Push(&q, candidate{m, i})
		}
	}
	for i := range l {
		push(int32(i))
	}
	for len(q) > 0 {
		c := heap.Pop(&q).(candidate)
		a := &l[c.at]
		if a.id < 0 || a.next < 0 {
			continue
		}
		b := &l[a.next]
		if m, ok := better(*a, *b); !ok || m.id != c.id {
			continue
		}
		a.id, a.to, a.next, b.id = c.id, b.to, b.next, -1
		if a.next >= 0 {
			l[a.next].prev = c.at
		}
		push(a.prev)
		push(c.at)
	}
	for i := int32(0); i >= 0; i = l[i].next {
		out = append(out, int(l[i].id))
	}
	return out, nil
}

// ordered gives each token the rank of its score: the highest is 0, and equal scores are one rank.
func (v *Vocab) ordered() []int32 {
	ids := make([]int32, len(v.Scores))
	for i := range ids {
		ids[i] = int32(i)
	}
	slices.SortStableFunc(ids, func(a, b int32) int {
		switch {
		case v.Scores[a] > v.Scores[b]:
			return -1
		case v.Scores[a] < v.Scores[b]:
			return 1
		}
		return 0
	})
	out, rank := make([]int32, len(ids)), int32(0)
	for i, id := range ids {
		if i > 0 && v.Scores[id] != v.Scores[ids[i-1]] {
			rank++
		}
		out[id] = rank
	}
	return out
}

// derived are the merges that the scores imply: all ways to make a piece of two, the best piece first, and of one piece those with the longer
// parts first. Source: transformers convert_slow_tokenizer.py, generate_merges.
func (v *Vocab) derived() [][2]int32 {
	ids := make(map[string]int32, len(v.Tokens))
	for id, t := range v.Tokens {
		if v.Types[id] == Normal {
			ids[t] = int32(id)
		}
	}
	type way struct {
		pair [2]int32
		of   int32
		l, r int // lengths in characters
	}
	var ways []way
	for id, t := range v.Tokens {
		if v.Types[id] != Normal {
			continue
		}
		from := len(ways)
		count := utf8.RuneCountInString(t)
		k := 0
		for i := range t {
			if i > 0 {
				a, okA := ids[t[:i]]
				b, okB := ids[t[i:]]
				if okA && okB {
					ways = append(ways, way{[2]int32{a, b}, int32(id), k, count - k})
				}
			}
			k++
		}
		slices.SortStableFunc(ways[from:], func(a, b way) int { return slices.Compare(a.pair[:], b.pair[:]) })
	}
	slices.SortStableFunc(ways, func(a, b way) int {
		switch x, y := v.Scores[a.of], v.Scores[b.of]; {
		case x > y:
			return -1
		case x < y:
			return 1
		case a.l != b.l:
			return b.l - a.l
		}
		return b.r - a.r
	})
	out := make([][2]int32, len(ways))
	for i, w := range ways {
		out[i] = w.pair
	}
	return out
}

// normalizerJSON and decoderJSON are what tokenizer.json says of blanks: as transformers writes it for Llama and, without a blank before the text,
// for Gemma.
func (v *Vocab) normalizerJSON(w *writer) {
	steps := []string{"Replace"}
	if v.Blank != "" {
		steps = []string{"Prepend", "Replace"}
	}
	sequence(w, "normalizers", steps, func(kind string) {
		w.open('{')
		w.key("type").text(kind)
		if kind == "Prepend" {
			w.key("prepend").text(blank)
		} else {
			w.replace(" ", blank)
		}
		w.close('}')
	})
}

func (v *Vocab) decoderJSON(w *writer) {
	steps := []string{"Replace", "ByteFallback", "Fuse"}
	if v.Blank != "" {
		steps = append(steps, "Strip")
	}
	sequence(w, "decoders", steps, func(kind string) {
		w.open('{')
		w.key("type").text(kind)
		switch kind {
		case "Replace":
			w.replace(blank, " ")
		case "Strip":
			w.key("content").text(" ")
			w.key("start").int(1)
			w.key("stop").int(0)
		}
		w.close('}')
	})
}

// replace writes the pattern and the content of a Replace.
func (w *writer) replace(from, to string) {
	w.key("pattern").open('{')
	w.key("String").text(from)
	w.close('}')
	w.key("content").text(to)
}
