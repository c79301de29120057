package convert

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/arch/tokenizer"
	"github.com/bowline-ml/bowline/formats"
)

// tokenizerFiles are the side files that go with a model.pth.
var tokenizerFiles = []string{"tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
	"chat_template.jinja", "chat_template.json"}

// params writes what TorchChat reads beside its model.pth: params.json, which is its TransformerArgs, and in a directory the tokenizer and the
// config.json that tells what params.json cannot. The weights file holds that config.json too.
func (d *draft) params(p *Plan) error {
	m := d.m
	if m.Family == nil || m.Foreign != "" || d.keep && m.Scheme != d.t.Scheme {
		return formats.Errorf(formats.Unsupported, "TorchChat loads its own names of known families only").At(m.Path(), -1)
	}
	if err := m.Family.Check(m.Config, d.t.Scheme); err != nil {
		return formats.At(err, m.Path())
	}
	text, err := d.configJSON(p)
	if err != nil {
		return err
	}
	if !m.Keyed {
		p.Target.Metadata = d.metadata()
	}
	if text != nil {
		p.record(text)
	}
	tied, err := d.declares()
	if err != nil {
		return err
	}
	run, err := d.runtime(p, text)
	if err != nil {
		return err
	}
	c := cmp.Or(d.stated, m.Config)
	p.add("params.json", c.ToParams(m.Family.Params(c.Architecture), run, tied))
	if run.Found {
		p.Run = d.command(run)
	}
	return nil
}

// declares is the flag of params.json, which is always explicit. A policy that changes no flag can ask for what TorchChat would not load.
func (d *draft) declares() (bool, error) {
	tied := d.statesTied()
	for _, g := range d.groups {
		if d.o.Ties == Keep && g.head == nil && !tied {
			return false, formats.Errorf(formats.Tie, "TorchChat does not load a model whose head is absent and whose flag does not say tied").
				In(g.TargetKeys[0], "").At(d.m.Path(), -1).Hinted("--ties auto or tie")
		}
	}
	return tied, nil
}

// runtime finds the tokenizer, and carries its files into a directory.
func (d *draft) runtime(p *Plan, text []byte) (config.Runtime, error) {
	m := d.m
	if m.Keyed {
		if !d.dest.Dir {
			d.note(levelWarn, "tokenizer and all other keys", "not carried", "the destination is a single weights file; a directory has a place for them")
			return config.Runtime{HFTokenizer: true}, nil
		}
		before := len(p.Sides)
		if err := d.sidesFromKeys(p, text); err != nil {
			return config.Runtime{}, err
		}
		made := map[string][]byte{}
		sides := p.Sides[before:]
		p.Sides = p.Sides[:before:before]
		for _, s := range sides {
			if s.Path == "config.json" || slices.Contains(tokenizerFiles, s.Path) {
				p.Sides = append(p.Sides, s)
				made[s.Path] = s.Data
			} else {
				d.note(levelNote, s.Path, "not made", "TorchChat does not read it")
			}
		}
		return d.tokenizes(p, func(name string) ([]byte, error) {
			if b, ok := made[name]; ok {
				return b, nil
			}
			return nil, fs.ErrNotExist
		})
	}
	if d.dest.Dir {
		var left []string
		for _, f := range m.Side {
			switch {
			case f.Path == "config.json" || f.Path == "params.json" && m.Params != nil:
			case slices.Contains(tokenizerFiles, f.Path):
				p.Sides = append(p.Sides, Side{Path: f.Path, Bytes: f.Bytes, From: f.Path})
			default:
				left = append(left, f.Path)
			}
		}
		if len(left) > 0 {
			d.note(levelNote, strings.Join(left, " "), "not carried", "TorchChat does not read them")
		}
		if text != nil {
			p.add("config.json", text)
		}
	}
	return d.tokenizes(p, m.ReadSide)
}

// tokenizes says how TorchChat is to read the tokenizer that is there.
func (d *draft) tokenizes(p *Plan, read func(string) ([]byte, error)) (config.Runtime, error) {
	var r config.Runtime
	b, err := read("tokenizer.json")
	switch {
	case err == nil:
		r.HFTokenizer, r.Found = true, true
		if r.PrependsBOS, err = tokenizer.Prepends(b); err != nil {
			return r, atDir(err, d.m)
		}
		return r, d.chat(p, read)
	case !errors.Is(err, fs.ErrNotExist):
		return r, err
	}
	b, err = read("tokenizer.model")
	if errors.Is(err, fs.ErrNotExist) {
		d.note(levelWarn, "tokenizer", "none", "there is no tokenizer.json or tokenizer.model, and TorchChat needs one")
		return config.Runtime{HFTokenizer: true}, nil
	}
	r.Found = true
	r.PrependsBOS = true                         // TorchChat's default, as for the models that come with such a file
	r.Tiktoken = !bytes.HasPrefix(b, []byte{10}) // SentencePiece's is a protocol buffer that starts with its first field; tiktoken's is text
	return r, err
}

// plainTemplate is the chat template of a model that has none: the text alone.
const plainTemplate = "{% for message in messages %}{{ message['content'] }}{% endfor %}"

// chat makes tokenizer_config.json one that TorchChat takes: it looks there for the tokens that begin and end a text, and stops without a
// chat_template in it even where nobody chats. Source: TorchChat tokenizer/hf_tokenizer.py and torchchat/generate.py, a run of both.
func (d *draft) chat(p *Plan, read func(string) ([]byte, error)) error {
	const name = "tokenizer_config.json"
	b, err := read(name)
	if errors.Is(err, fs.ErrNotExist) {
		d.note(levelWarn, name, "absent", "TorchChat looks there for the tokens that begin and end a text, and for a chat template")
		return nil
	} else if err != nil {
		return err
	}
	doc, err := config.Parse(filepath.Join(d.m.Dir, name), b)
	if err != nil {
		return err
	}
	for _, k := range []string{"bos_token", "eos_token"} {
		if !doc.Has(k) {
			d.note(levelWarn, name, "has no "+k, "TorchChat needs it, or guesses")
		}
	}
	if doc.Has("chat_template") && !strings.HasPrefix(doc.Raw("chat_template"), `"`) {
		d.note(levelWarn, name, "has several chat templates", "TorchChat takes one, as a string")
	}
	at := slices.IndexFunc(p.Sides, func(s Side) bool { return s.Path == name })
	switch {
	case doc.Has("chat_template"):
		return nil
	case at < 0:
		d.note(levelWarn, name, "has no chat_template", "TorchChat does not run without one; a directory as destination gets it")
		return nil
	}
	template, because := plainTemplate, "TorchChat does not run without one, and the source has none: this one is the text alone"
	if b, err := read("chat_template.jinja"); err == nil {
		template, because = string(b), "TorchChat does not see chat_template.jinja, whose text it is"
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if doc, err = doc.Set(config.Quote(template), "chat_template"); err != nil {
		return err
	}
	d.note(levelNote, name, "chat_template added", because)
	p.Sides[at] = Side{Path: name, Data: doc.Bytes(), Bytes: int64(len(doc.Bytes()))}
	return nil
}

// command runs the result, from a checkout of TorchChat.
func (d *draft) command(r config.Runtime) string {
	dest := d.dest.Path
	if abs, err := filepath.Abs(dest); err == nil {
		dest = abs
	}
	weights, beside := dest, d.m.Dir // where the tokenizer is
	if d.dest.Dir {
		weights, beside = filepath.Join(dest, d.t.File), dest
	} else if abs, err := filepath.Abs(beside); err == nil {
		beside = abs
	}
	name := "tokenizer.json"
	if !r.HFTokenizer {
		name = "tokenizer.model"
	}
	return fmt.Sprintf("python3 torchchat.py generate --checkpoint-path %s --params-path %s --tokenizer-path %s --prompt \"Hello\"",
		shell(weights), shell(filepath.Join(filepath.Dir(weights), "params.json")), shell(filepath.Join(beside, name)))
}

// shell quotes a word where it has to be.
func shell(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./+=:,@%") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
