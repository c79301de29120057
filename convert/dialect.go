package convert

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/arch/tokenizer"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// dialects write what is no tensor, each its own way.
var dialects = map[Dialect]func(*draft, *Plan) error{SideFiles: (*draft).sideFiles, Keys: (*draft).keys}

func (d *draft) dialect(p *Plan) error {
	err := dialects[d.t.Dialect](d, p)
	p.Notes = d.notes
	return err
}

// sideFiles copies the files beside the weights, with config.json brought up to date, or makes them from a GGUF file's keys.
func (d *draft) sideFiles(p *Plan) error {
	fromKeys := d.m.Metadata.Get("general.architecture") != nil
	if !fromKeys {
		p.Target.Metadata = d.metadata()
	}
	if !d.dest.Dir {
		if d.flag != nil && d.m.Doc != nil && len(d.unstated(*d.flag)) > 0 {
			d.note(levelWarn, "config.json", fmt.Sprintf("not written: it has to say tie_word_embeddings: %v", *d.flag), "the destination is a single weights file")
		}
		if fromKeys {
			d.note(levelWarn, "config, tokenizer and all other keys", "not carried", "the destination is a single weights file; a directory has a place for them")
		}
		return nil
	}
	if fromKeys {
		return d.sidesFromKeys(p)
	}
	for _, f := range d.m.Side {
		if strings.HasSuffix(f.Path, ".py") {
			d.note(levelNote, f.Path, "copied as data", "code is never run")
		}
		if f.Path == "config.json" && d.m.Doc != nil {
			doc, err := d.editConfig(p)
			if err != nil {
				return err
			}
			p.Sides = append(p.Sides, Side{Path: f.Path, Data: doc.Bytes(), Bytes: int64(len(doc.Bytes()))})
			continue
		}
		p.Sides = append(p.Sides, Side{Path: f.Path, Bytes: f.Bytes, From: f.Path})
	}
	if d.m.Doc != nil && !d.m.HasSide("config.json") {
		doc, err := d.editConfig(p)
		if err != nil {
			return err
		}
		p.Sides = append(p.Sides, Side{Path: "config.json", Data: doc.Bytes(), Bytes: int64(len(doc.Bytes()))})
	}
	return nil
}

// metadata is the source's, but for records that a name is an alias where the target stores a tensor of that name.
func (d *draft) metadata() formats.Metadata {
	stored := map[string]bool{}
	for _, it := range d.items {
		stored[it.name] = true
	}
	var out formats.Metadata
	for _, kv := range d.m.Metadata {
		of, text := kv.Value.(string)
		if !text {
			d.note(levelNote, kv.Key, "not carried", "metadata of the target is text")
			continue
		}
		if stored[kv.Key] && stored[of] {
			d.note(levelNote, "__metadata__."+kv.Key, "not carried", "it says that the name is an alias, and the tensor is stored")
			continue
		}
		out = append(out, kv)
	}
	return out
}

// unstated are the places of config.json where readers look for the flag (the top, and a text_config if there is one) and where it does not
// say v.
func (d *draft) unstated(v bool) [][]string {
	var out [][]string
	for _, path := range [][]string{{"tie_word_embeddings"}, {"text_config", "tie_word_embeddings"}} {
		if said := (config.Declared{Path: strings.Join(path, "."), Value: v, Explicit: true}); d.m.Doc.IsObject(path[:len(path)-1]...) && !slices.Contains(d.m.Config.Tie, said) {
			out = append(out, path)
		}
	}
	return out
}

// editConfig changes the tie flag and the type in config.json and nothing else.
func (d *draft) editConfig(p *Plan) (*config.Doc, error) {
	doc := d.m.Doc
	var err error
	if d.flag != nil {
		for _, path := range d.unstated(*d.flag) {
			if doc, err = doc.Set(fmt.Sprint(*d.flag), path...); err != nil {
				return nil, err
			}
			d.note(levelNote, "config.json", fmt.Sprintf("%s: %v", strings.Join(path, "."), *d.flag), "the file says explicitly what the weights are")
		}
	}
	if c := d.m.Config; c != nil && doc.Has("rope_parameters") && !doc.Has("rope_scaling") {
		if theta, ok, _ := doc.Float("rope_theta"); c.Rope.Type != "default" || c.Rope.Theta != theta && (ok || c.Rope.Theta != 10000) {
			d.note(levelNote, "config.json", "rope_parameters stays", "transformers 4 does not read it, and will compute something else")
		}
	}
	if to := d.mainType(p); to != d.matrix && torchNames[to] != "" {
		for _, k := range []string{"dtype", "torch_dtype"} {
			if doc.Has(k) {
				if doc, err = doc.Set(config.Quote(torchNames[to]), k); err != nil {
					return nil, err
				}
			}
		}
	}
	return doc, nil
}

// mainType is the type that holds most bytes of the target's matrices.
func (d *draft) mainType(p *Plan) dtype.Type {
	n, best := map[dtype.Type]int64{}, dtype.Type("")
	for _, t := range p.Target.Tensors {
		if len(t.Shape) < 2 {
			continue
		}
		n[t.DType] += t.Bytes
		if best == "" || n[t.DType] > n[best] {
			best = t.DType
		}
	}
	return best
}

// sidesFromKeys makes config.json, generation_config.json and the tokenizer's files from the keys of a GGUF file.
func (d *draft) sidesFromKeys(p *Plan) error {
	m := d.m
	if m.Config == nil || d.keep {
		d.note(levelWarn, "config.json", "not written", "the names are kept, and no class of transformers reads them")
		d.note(levelWarn, "tokenizer and all other keys", "not carried", "the files that would hold them belong to a config.json")
		return nil
	}
	if m.Doc == nil { // names judges only where the scheme changes; a file that has the target's names gets a new config too
		if err := m.Family.Check(m.Config, d.t.Scheme); err != nil {
			return formats.At(err, m.Path())
		}
	}
	c := *m.Config
	c.DType = torchNames[d.mainType(p)]
	switch f := d.ev.Factors; {
	case f == nil:
	case m.Doc != nil:
		if !slices.Equal(f, c.Rope.Divisors(c.HeadDim)) {
			return formats.Errorf(formats.Mismatch, "the config %s gives other divisors", m.Doc.Path).In("rope_freqs.weight", "").At(m.Path(), -1)
		}
	default:
		rope, ok := config.Llama3(f, c.Rope.Theta, c.HeadDim)
		if !ok {
			return formats.Errorf(formats.Unsupported, "no factor and original length of rope type llama3 gives these divisors").In("rope_freqs.weight", "").At(m.Path(), -1)
		}
		c.Rope = rope
		d.note(levelNote, "rope_freqs.weight", fmt.Sprintf("rope_scaling llama3: factor %g, original length %d", rope.Factor, rope.Original), "these parameters give the stored divisors bit for bit")
	}
	tied := d.flag
	if tied == nil {
		v := len(d.groups) > 0 && d.groups[0].column == colTrue
		tied = &v
	}
	c.Tie = []config.Declared{{Path: "tie_word_embeddings", Value: *tied, Explicit: true}}
	add := func(name string, b []byte) {
		p.Sides = append(p.Sides, Side{Path: name, Data: b, Bytes: int64(len(b))})
	}
	if m.Doc == nil {
		add("config.json", c.ToHF(m.Family.Params(c.Architecture)))
	} else {
		doc, err := d.editConfig(p)
		if err != nil {
			return err
		}
		add("config.json", doc.Bytes())
	}
	add("generation_config.json", generationConfig(&c, m.Metadata))
	used := map[string]bool{}
	for _, param := range m.Family.Params(c.Architecture) {
		if param.GGUF != "" {
			used[param.Key(m.Family.GGUF)] = true
		}
	}
	for _, kv := range m.Metadata {
		if strings.HasPrefix(kv.Key, "tokenizer.") || strings.HasPrefix(kv.Key, "general.sampling.") ||
			strings.HasPrefix(kv.Key, "split.") || slices.Contains([]string{"general.architecture", "general.file_type", "general.quantization_version", "general.alignment", "general.type"}, kv.Key) {
			used[kv.Key] = true
		}
	}
	if model, _, _ := m.Metadata.Str("tokenizer.ggml.model"); model == "" || model == "no_vocab" || model == "none" {
		d.note(levelWarn, "tokenizer.json", "not written", "the GGUF file holds no vocabulary")
	} else {
		v, notes, err := tokenizer.FromGGUF(m.Metadata)
		d.notes = append(d.notes, notes...)
		if err != nil {
			return formats.At(err, m.Path())
		}
		files, notes, err := v.HF()
		d.notes = append(d.notes, notes...)
		if err != nil {
			return formats.At(err, m.Path())
		}
		var names []string
		for n := range files {
			if n != "generation_config.json" { // written above, with the sampling keys
				names = append(names, n)
			}
		}
		slices.Sort(names)
		for _, n := range names {
			add(n, files[n])
		}
	}
	var left []string
	for _, kv := range m.Metadata {
		if !used[kv.Key] {
			left = append(left, kv.Key)
		}
	}
	if len(left) > 0 {
		d.note(levelNote, strings.Join(left, " "), "not carried", "a Hugging Face directory has no place for these keys")
	}
	return nil
}

// keys makes a GGUF file's metadata from config, tokenizer and model card, or carries it over.
func (d *draft) keys(p *Plan) error {
	m := d.m
	// The converter states the type that was asked for, whatever rows are too short for its blocks (conversion/base.py, add_file_type).
	main := cmp.Or(d.o.requested(), d.mainType(p))
	if m.Scheme == d.t.Scheme && m.Metadata.Get("general.architecture") != nil {
		return d.carryKeys(p, main)
	}
	md := formats.Metadata{}
	architecture := ""
	if m.Family != nil && !d.keep {
		architecture = m.Family.GGUF
		if architecture == "" {
			return formats.Errorf(formats.Unsupported, "family %s has no GGUF architecture", m.Family.Name).At(m.Path(), -1).Hinted("--names keep")
		}
	} else {
		architecture = "unknown"
		if m.Doc != nil {
			if t, ok, err := m.Doc.Str("model_type"); err != nil {
				return err
			} else if ok {
				architecture = t
			}
		}
		d.note(levelWarn, "general.architecture", architecture, "no runtime may load a file whose names are kept")
	}
	md = append(md, formats.KV{Key: "general.architecture", Value: architecture}, formats.KV{Key: "general.type", Value: "model"})
	general, err := d.general(p)
	if err != nil {
		return err
	}
	md = append(md, general...)
	if m.Config != nil && architecture == m.Family.GGUF { // with kept names too: whoever reads the file again knows its parameters
		c := *m.Config
		c.FileType = fileTypes[main]
		md = append(md, c.ToGGUF(architecture, m.Family.Params(c.Architecture))...)
	} else {
		md = append(md, formats.KV{Key: "general.file_type", Value: uint32(fileTypes[main])})
	}
	md = append(md, formats.KV{Key: "general.quantization_version", Value: uint32(2)})
	vocab, err := d.vocabulary()
	if err != nil {
		return err
	}
	p.Target.Metadata = append(md, vocab...)
	for _, kv := range m.Metadata {
		if kv.Key != "format" {
			d.note(levelNote, "__metadata__."+kv.Key, "not carried", "GGUF has no key for it")
		}
	}
	return nil
}

// carryKeys keeps the metadata of a GGUF file but for what follows from its tensors and files.
func (d *draft) carryKeys(p *Plan, main dtype.Type) error {
	for _, kv := range d.m.Metadata {
		switch {
		case strings.HasPrefix(kv.Key, "split.") || kv.Key == "general.alignment":
			continue
		case kv.Key == "general.file_type" && d.o.requested() != "":
			kv.Value = uint32(fileTypes[main])
		case kv.Key == "general.name" && d.o.Name != "":
			kv.Value = d.o.Name
		}
		p.Target.Metadata = append(p.Target.Metadata, kv)
	}
	if d.o.Name != "" && p.Target.Metadata.Get("general.name") == nil {
		p.Target.Metadata = append(p.Target.Metadata, formats.KV{Key: "general.name", Value: d.o.Name})
	}
	return nil
}

// vocabulary is the tokenizer as GGUF keys.
func (d *draft) vocabulary() ([]formats.KV, error) {
	m := d.m
	if !m.HasSide("tokenizer.json") {
		for _, name := range []string{"tokenizer.model", "tekken.json", "vocab.json"} {
			if m.HasSide(name) {
				return nil, formats.Errorf(formats.Unsupported, "got %s and no tokenizer.json, want a tokenizer.json", name).At(filepath.Join(m.Dir, name), -1)
			}
		}
		d.note(levelWarn, "tokenizer", "none: the result has no vocabulary", "there is no tokenizer.json beside the weights")
		return []formats.KV{{Key: "tokenizer.ggml.model", Value: "no_vocab"}}, nil
	}
	tm := tokenizer.Model{IDs: map[string]int{}}
	if c := m.Config; c != nil {
		tm.Rows, tm.Type, tm.Llama = int(c.Vocab), c.ModelType, m.Family.GGUF == "llama"
		for role, id := range map[string]*int64{"bos": c.BOS, "pad": c.PAD, "eos": only(c.EOS)} {
			if id != nil {
				tm.IDs[role] = int(*id)
			}
		}
	}
	v, notes, err := tokenizer.FromHF(m.ReadSide, tm)
	d.notes = append(d.notes, notes...)
	if err != nil {
		return nil, atDir(err, m)
	}
	kv, notes, err := v.GGUF(d.o.Pre)
	d.notes = append(d.notes, notes...)
	return kv, atDir(err, m)
}

// only is the single id of a list, nil for none or several.
func only(ids []int64) *int64 {
	if len(ids) != 1 {
		return nil
	}
	return &ids[0]
}

// atDir places errors of the tokenizer, which names files of the model's directory.
func atDir(err error, m *arch.Model) error {
	var out []error
	for _, e := range formats.Errors(err) {
		c := *e
		if c.Path == "" {
			c.Path = "tokenizer.json"
		}
		if !filepath.IsAbs(c.Path) {
			c.Path = filepath.Join(m.Dir, c.Path)
		}
		out = append(out, &c)
	}
	return errors.Join(out...)
}
