package convert

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// sampling are the keys that generation_config.json and GGUF share, in the order in which llama.cpp's converter writes them.
// Source: gguf-py metadata.py, Metadata.load.
var sampling = []struct {
	hf, gguf string
	integer  bool
}{
	{"top_k", "general.sampling.top_k", true}, {"top_p", "general.sampling.top_p", false}, {"min_p", "general.sampling.min_p", false},
	{"temperature", "general.sampling.temp", false}, {"repetition_penalty", "general.sampling.penalty_repeat", false},
}

// card is the front matter of a model card (README.md) as the Hub defines it.
type card struct {
	Name        string `yaml:"model_name"`
	License     any    `yaml:"license"`
	LicenseName string `yaml:"license_name"`
	LicenseLink string `yaml:"license_link"`
	Pipeline    string `yaml:"pipeline_tag"`
	Tags        any    `yaml:"tags"`
	Language    any    `yaml:"language"`
}

// general is the general.* keys: what the model card, the generation config and the user say of the model, never what its path is called.
func (d *draft) general(p *Plan) ([]formats.KV, error) {
	var out []formats.KV
	gen := filepath.Join(d.m.Dir, "generation_config.json")
	if b, err := d.m.ReadSide("generation_config.json"); err == nil {
		doc, err := config.Parse(gen, b)
		if err != nil {
			return nil, err
		}
		for _, s := range sampling {
			if s.integer {
				v, ok, err := doc.Int(s.hf)
				if err != nil {
					return nil, err
				}
				if ok {
					out = append(out, formats.KV{Key: s.gguf, Value: int32(v)})
				}
				continue
			}
			v, ok, err := doc.Float(s.hf)
			if err != nil {
				return nil, err
			}
			if ok {
				out = append(out, formats.KV{Key: s.gguf, Value: float32(v)})
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, formats.Errorf(formats.IO, "%w", err).At(gen, -1)
	}
	c, err := d.card()
	if err != nil {
		return nil, err
	}
	str := func(key, v string) {
		if v != "" {
			out = append(out, formats.KV{Key: key, Value: v})
		}
	}
	name := d.o.Name
	if name == "" {
		name = c.Name
	}
	str("general.name", name)
	str("general.size_label", sizeOf(p.Target.Tensors))
	str("general.license", strings.Join(list(c.License), ","))
	str("general.license.name", c.LicenseName)
	str("general.license.link", c.LicenseLink)
	tags := list(c.Tags)
	if c.Pipeline != "" {
		tags = append(tags, c.Pipeline)
	}
	if len(tags) > 0 {
		out = append(out, formats.KV{Key: "general.tags", Value: tags})
	}
	if l := list(c.Language); len(l) > 0 {
		out = append(out, formats.KV{Key: "general.languages", Value: l})
	}
	return out, nil
}

// card reads the front matter of README.md; a card without one, or none, is empty.
func (d *draft) card() (c card, err error) {
	b, err := d.m.ReadSide("README.md")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.note(levelWarn, "README.md", "its front matter is not read", formats.Escape(err.Error(), 200))
	}
	if err != nil || !bytes.HasPrefix(b, []byte("---\n")) {
		return c, nil
	}
	front, _, ok := bytes.Cut(b[4:], []byte("\n---"))
	if !ok {
		return c, nil
	}
	if err := yaml.Unmarshal(front, &c); err != nil {
		d.note(levelNote, "README.md", "its front matter is not read", formats.Escape(err.Error(), 200))
		return card{}, nil
	}
	return c, nil
}

// list is a YAML value that may be one string or several.
func list(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, fmt.Sprint(e))
		}
		return out
	}
	return nil
}

// sizeOf is the size label of a model: of one with experts, how many there are and what all tokens pass together with one of each.
// Source: gguf-py gguf_writer.py, get_total_parameter_count; utility.py, size_label.
func sizeOf(tensors []formats.Tensor) string {
	total, experts, of := int64(0), int64(0), int64(0)
	for _, t := range tensors {
		n := t.Elems()
		if strings.Contains(t.Name, "_exps.") && len(t.Shape) >= 3 && t.Shape[len(t.Shape)-3] > 0 {
			e := t.Shape[len(t.Shape)-3]
			n, experts, of = n/e, experts+e, of+1
		}
		total += n
	}
	if of == 0 || experts/of == 0 {
		return sizeLabel(total)
	}
	return fmt.Sprintf("%dx%s", experts/of, sizeLabel(total))
}

// sizeLabel is a parameter count as GGUF's naming convention writes it: two digits and a letter.
// Source: gguf-py utility.py, model_weight_count_rounded_notation.
func sizeLabel(n int64) string {
	f, suffix := float64(n)*1e-3, "K"
	switch {
	case n > 1e12:
		f, suffix = float64(n)*1e-12, "T"
	case n > 1e9:
		f, suffix = float64(n)*1e-9, "B"
	case n > 1e6:
		f, suffix = float64(n)*1e-6, "M"
	}
	digits := len(strings.TrimLeft(fmt.Sprint(int64(math.RoundToEven(f))), "0"))
	return fmt.Sprintf("%.*f%s", max(2-digits, 0), f, suffix)
}

// generationConfig is generation_config.json from the keys of a GGUF file.
func generationConfig(m *config.Model, md formats.Metadata) []byte {
	var lines []string
	put := func(key, raw string) { lines = append(lines, "  "+config.Quote(key)+": "+raw) }
	if m.BOS != nil {
		put("bos_token_id", fmt.Sprint(*m.BOS))
	}
	if len(m.EOS) > 0 {
		put("eos_token_id", fmt.Sprint(m.EOS[0]))
	}
	if m.PAD != nil {
		put("pad_token_id", fmt.Sprint(*m.PAD))
	}
	for _, s := range sampling {
		if s.integer {
			if v, ok, err := md.Int(s.gguf); ok && err == nil {
				put(s.hf, fmt.Sprint(v))
			}
		} else if v, ok, err := md.Float(s.gguf); ok && err == nil {
			put(s.hf, fmt.Sprint(v))
		}
	}
	if len(lines) == 0 {
		return []byte("{}\n")
	}
	return []byte("{\n" + strings.Join(lines, ",\n") + "\n}\n")
}
