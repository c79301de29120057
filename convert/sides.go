package convert

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
)

// add puts a file that was made into the result.
func (p *Plan) add(name string, b []byte) {
	p.Sides = append(p.Sides, Side{Path: name, Data: b, Bytes: int64(len(b))})
}

// sideFiles copies the files beside the weights, with config.json brought up to date, or makes them from a GGUF file's keys.
func (d *draft) sideFiles(p *Plan) error {
	var text []byte
	if d.dest.Dir || d.t.Record {
		var err error
		if text, err = d.configJSON(p); err != nil {
			return err
		}
	}
	if !d.m.Keyed {
		p.Target.Metadata = d.metadata()
	}
	if !d.dest.Dir {
		d.alone(p, text)
		return nil
	}
	if d.m.Keyed {
		return d.sidesFromKeys(p, text)
	}
	for _, f := range d.m.Side {
		switch {
		case f.Path == "config.json" && text != nil:
			p.add(f.Path, text)
			continue
		case f.Path == "params.json" && d.m.Params != nil && text != nil:
			d.note(levelNote, f.Path, "not carried", "config.json says what it says; it belongs to files with Meta's names")
			continue
		case strings.HasSuffix(f.Path, ".py"):
			d.note(levelNote, f.Path, "copied as data", "code is never run")
		}
		p.Sides = append(p.Sides, Side{Path: f.Path, Bytes: f.Bytes, From: f.Path})
	}
	if text != nil && !d.m.HasSide("config.json") {
		p.add("config.json", text)
	}
	return nil
}

// alone is a weights file without a directory. Where the format's readers pass over what they do not know, it holds its config.
func (d *draft) alone(p *Plan, text []byte) {
	switch {
	case d.t.Record && text != nil:
		p.record(text)
	case d.flag != nil && d.m.Doc != nil && len(d.unstated(*d.flag)) > 0:
		d.note(levelWarn, "config.json", fmt.Sprintf("not written: it has to say tie_word_embeddings: %v", *d.flag), "the destination is a single weights file")
	}
	if d.m.Keyed {
		what := "config, tokenizer and all other keys"
		if d.t.Record && text != nil {
			what = "tokenizer and all other keys"
		}
		d.note(levelWarn, what, "not carried", "the destination is a single weights file; a directory has a place for them")
	}
}

// record puts config.json into the weights file.
func (p *Plan) record(text []byte) {
	p.Target.Metadata = append(p.Target.Metadata, formats.KV{Key: arch.Record, Value: string(text)})
}

// metadata is the source's, but for its config and for records that a name is an alias where the target stores a tensor of that name.
func (d *draft) metadata() formats.Metadata {
	stored := map[string]bool{}
	for _, it := range d.items {
		stored[it.name] = true
	}
	for _, a := range d.aliases {
		stored[a.Name] = true
	}
	var out formats.Metadata
	for _, kv := range d.m.Metadata {
		of, text := kv.Value.(string)
		switch {
		case !text:
			d.note(levelNote, kv.Key, "not carried", "metadata of the target is text")
		case kv.Key == arch.Record && (d.m.Doc != nil || d.m.Params != nil): // what the result says is in its own config.json
		case stored[kv.Key] && stored[of]:
			d.note(levelNote, "__metadata__."+kv.Key, "not carried", "it says that the name is an alias, and the tensor is stored")
		default:
			out = append(out, kv)
		}
	}
	return out
}

// sidesFromKeys makes config.json, generation_config.json and the tokenizer's files from the keys of a GGUF file.
func (d *draft) sidesFromKeys(p *Plan, text []byte) error {
	m := d.m
	if text == nil {
		d.note(levelWarn, "config.json", "not written", "the names are kept, and no class of transformers reads them")
		d.note(levelWarn, "tokenizer and all other keys", "not carried", "the files that would hold them belong to a config.json")
		return nil
	}
	p.add("config.json", text)
	p.add("generation_config.json", generationConfig(m.Config, m.Metadata))
	used := map[string]bool{}
	for _, param := range m.Family.Params(m.Config.Architecture) {
		if param.GGUF != "" {
			used[param.Key(m.Family.GGUF)] = true
		}
		if param.Custom != nil {
			for _, k := range param.Custom.Keys {
				used[m.Family.GGUF+"."+k] = true
			}
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
		v, notes, err := Vocabulary(m)
		d.notes = append(d.notes, notes...)
		if err != nil {
			return err
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
			p.add(n, files[n])
		}
	}
	var left []string
	for _, kv := range m.Metadata {
		if !used[kv.Key] {
			left = append(left, kv.Key)
		}
	}
	if len(left) > 0 {
		d.note(levelNote, strings.Join(left, " "), "not carried", "a directory has no place for these keys")
	}
	return nil
}
