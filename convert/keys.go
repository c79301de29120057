package convert

import (
	"cmp"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/arch/tokenizer"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// keys makes a GGUF file's metadata from config, tokenizer and model card, or carries it over.
func (d *draft) keys(p *Plan) error {
	m := d.m
	// The converter states the type that was asked for, whatever rows are too short for its blocks (conversion/base.py, add_file_type).
	main := cmp.Or(d.o.requested(), d.mainType(p))
	if m.Scheme == d.t.Scheme && m.Keyed {
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
		if kv.Key != "format" && !(kv.Key == arch.Record && m.Doc != nil) {
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
	if !m.HasSide("tokenizer.json") && !m.HasSide("tokenizer.model") {
		for _, name := range []string{"tekken.json", "vocab.json"} {
			if m.HasSide(name) {
				return nil, formats.Errorf(formats.Unsupported, "got %s and no tokenizer.json, want a tokenizer.json", name).At(filepath.Join(m.Dir, name), -1)
			}
		}
		d.note(levelWarn, "tokenizer", "none: the result has no vocabulary", "there is no tokenizer.json beside the weights")
		return []formats.KV{{Key: "tokenizer.ggml.model", Value: "no_vocab"}}, nil
	}
	v, notes, err := Vocabulary(m)
	d.notes = append(d.notes, notes...)
	if d.keep && formats.CodeOf(err) == formats.Unsupported { // no runtime knows the model either
		d.note(levelWarn, "tokenizer", "not carried", err.Error())
		return []formats.KV{{Key: "tokenizer.ggml.model", Value: "no_vocab"}}, nil
	}
	if err != nil {
		return nil, err
	}
	kv, notes, err := v.GGUF(d.o.Pre)
	d.notes = append(d.notes, notes...)
	return kv, atDir(err, m)
}

// Vocabulary reads the tokenizer of a checkpoint: the keys of a GGUF file, or the files beside the weights.
func Vocabulary(m *arch.Model) (*tokenizer.Vocab, []formats.Note, error) {
	if m.Keyed {
		v, notes, err := tokenizer.FromGGUF(m.Metadata)
		return v, notes, formats.At(err, m.Path())
	}
	tm := tokenizer.Model{IDs: map[string]int{}}
	if c := m.Config; c != nil {
		tm.Rows, tm.Type, tm.Llama = int(c.Vocab), c.ModelType, slices.Contains(m.Family.LlamaVocab, c.Architecture)
		for role, id := range map[string]*int64{"bos": c.BOS, "pad": c.PAD, "eos": only(c.EOS)} {
			if id != nil {
				tm.IDs[role] = int(*id)
			}
		}
	}
	v, notes, err := tokenizer.FromHF(m.ReadSide, tm)
	return v, notes, atDir(err, m)
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
