package arch

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// Model is a checkpoint with what is known about it. Family and Config are nil where the family is unknown.
type Model struct {
	*formats.Checkpoint
	FS     fsio.FS
	Side   []formats.File // files beside the weights, by name
	Doc    *config.Doc    // config.json; nil if there is none
	Config *config.Model
	Family *Family
	Scheme Scheme // whose names the tensors have
	Notes  []formats.Note
	// Class is what the source calls itself: transformers' class or GGUF's architecture. It is "" if it does not say.
	Class string
	// Foreign names a quantization method or an adapter whose tensors this tool only copies, "" if there is none.
	Foreign string
}

// Resolve finds the family, the parameters and the naming scheme of a checkpoint. configFile, if it is not "", is read instead of the config.json
// beside the weights. An unknown family is no error; a config that cannot be read is.
func Resolve(fsys fsio.FS, ck *formats.Checkpoint, side []formats.File, configFile string) (*Model, error) {
	m := &Model{Checkpoint: ck, FS: fsys, Side: side, Scheme: HF, Notes: ck.Notes}
	if gguf, ok, err := ck.Metadata.Str("general.architecture"); err != nil {
		return nil, err
	} else if ok && configFile == "" {
		m.Class, m.Scheme = gguf, GGUF
		for _, f := range All() {
			if f.GGUF == gguf {
				m.Family = f
				break
			}
		}
		if m.Family == nil {
			return m, nil
		}
		if m.Config, err = config.FromGGUF(&ck.Header, gguf, m.Family.Params(m.Family.Classes[0])); err != nil {
			if m.named(GGUF) == 0 { // a file whose names were kept says its architecture, and nothing that belongs to it
				m.Family, m.Config = nil, nil
				return m, nil
			}
			return nil, formats.At(err, m.path())
		}
		m.Config.Architecture = m.Family.Classes[0]
		for _, t := range slices.Sorted(maps.Keys(m.Family.Types)) {
			if m.Family.Types[t] == m.Config.Architecture {
				m.Config.ModelType = t
				break
			}
		}
		return m, m.finish()
	}
	if configFile == "" {
		configFile = filepath.Join(ck.Dir, "config.json")
		if _, err := fsys.Stat(configFile); errors.Is(err, fs.ErrNotExist) {
			m.Foreign, err = m.foreign()
			return m, err
		}
	}
	b, err := fsio.ReadFile(fsys, configFile, 64<<20)
	if err != nil {
		return nil, formats.Errorf(formats.IO, "%w", err).At(configFile, -1)
	}
	if m.Doc, err = config.Parse(configFile, b); err != nil {
		return nil, err
	}
	if m.Foreign, err = m.foreign(); err != nil {
		return nil, err
	}
	classes, err := m.Doc.Strs("architectures")
	if err != nil {
		return nil, err
	}
	kind, _, err := m.Doc.Str("model_type")
	if err != nil {
		return nil, err
	}
	m.Class = kind
	if len(classes) > 0 {
		m.Class = classes[0]
	}
	for _, f := range All() {
		for _, c := range f.Classes {
			if c == m.Class {
				m.Family = f
			}
		}
		if c, ok := f.Types[kind]; ok && m.Family == nil && len(classes) == 0 {
			m.Family, m.Class = f, c
		}
	}
	if m.Family == nil {
		return m, nil
	}
	if m.Config, err = config.FromHF(m.Doc, m.Family.Params(m.Class)); err != nil {
		return nil, err
	}
	if m.Config.Architecture == "" {
		m.Config.Architecture = m.Class
	}
	m.Notes = append(m.Notes[:len(m.Notes):len(m.Notes)], m.Config.Notes...)
	return m, m.finish()
}

// finish chooses the scheme by the names that the file has, and looks for contradictions between names and parameters.
func (m *Model) finish() error {
	if m.Config.Layers > 100_000 {
		return formats.Errorf(formats.Limit, "got %d layers", m.Config.Layers).At(m.path(), -1)
	}
	best := 0
	for _, s := range []Scheme{HF, GGUF} {
		if n := m.named(s); n > best {
			best, m.Scheme = n, s
		}
	}
	return nil
}

// named counts the family's tensors, of the first layer and outside the layers, that are stored by their names in a scheme.
func (m *Model) named(s Scheme) int {
	n := 0
	for _, t := range m.Family.Tensors {
		if name := t.In(s, 0); name != "" && m.Lookup(name) != nil {
			n++
		}
	}
	return n
}

func (m *Model) path() string {
	if len(m.Files) == 0 {
		return m.Dir
	}
	return filepath.Join(m.Dir, m.Files[0].Path)
}

// Path is the first file of the weights.
func (m *Model) Path() string { return m.path() }

// HasSide reports whether a side file is there.
func (m *Model) HasSide(name string) bool {
	for _, f := range m.Side {
		if f.Path == name {
			return true
		}
	}
	return false
}

// ReadSide reads a side file of at most 256 MiB; an absent one is fs.ErrNotExist.
func (m *Model) ReadSide(name string) ([]byte, error) {
	return fsio.ReadFile(m.FS, filepath.Join(m.Dir, name), 256<<20)
}

// foreign names the quantization method that config.json declares or that the tensors show, or the adapter.
func (m *Model) foreign() (string, error) {
	if m.HasSide("adapter_config.json") {
		return "adapter (adapter_config.json)", nil
	}
	if m.Doc != nil && m.Doc.IsObject("quantization_config") {
		method, ok, err := m.Doc.Str("quantization_config", "quant_method")
		if err != nil {
			return "", err
		}
		if !ok {
			for _, k := range []string{"load_in_4bit", "load_in_8bit"} {
				if v, _, _ := m.Doc.Bool("quantization_config", k); v {
					return "bitsandbytes (quantization_config." + k + ")", nil
				}
			}
			return "unnamed (quantization_config)", nil
		}
		return method + " (quantization_config)", nil
	}
	return foreignTensors(&m.Header), nil
}

// foreignTensors recognises quantization by its side tensors. Suffixes: GPTQ and AWQ (qweight, qzeros, g_idx), compressed-tensors
// (weight_packed, weight_scale), FP8 (weight_scale_inv), bitsandbytes (quant_state, absmax), PEFT (lora_A, lora_B).
func foreignTensors(h *formats.Header) string {
	for _, t := range h.Tensors {
		for _, s := range []struct{ part, method string }{
			{".lora_A.", "adapter (LoRA tensors)"}, {".lora_B.", "adapter (LoRA tensors)"},
			{".qweight", "gptq or awq (qweight tensors)"}, {".weight_packed", "compressed-tensors (weight_packed tensors)"},
			{".weight_scale_inv", "fp8 (weight_scale_inv tensors)"}, {".weight_scale", "compressed-tensors (weight_scale tensors)"},
			{".weight.quant_state", "bitsandbytes (quant_state tensors)"}, {".weight.absmax", "bitsandbytes (absmax tensors)"},
			{".SCB", "bitsandbytes (SCB tensors)"},
		} {
			if strings.HasSuffix(t.Name, s.part) || strings.HasSuffix(s.part, ".") && strings.Contains(t.Name, s.part) || strings.Contains(t.Name, s.part+".") {
				return s.method
			}
		}
	}
	return ""
}

// Reread is another checkpoint with the family and the parameters of m, such as what m was converted to. factors are rope divisors that m's
// scheme stores as a tensor, nil if there are none.
func (m *Model) Reread(ck *formats.Checkpoint, factors []float32) (*Model, error) {
	out := &Model{Checkpoint: ck, FS: m.FS, Class: m.Class, Foreign: m.Foreign, Family: m.Family, Scheme: m.Scheme}
	if m.Config == nil {
		return out, nil
	}
	c := *m.Config
	if factors != nil {
		c.Rope.Factors = factors
	}
	out.Config = &c
	return out, out.finish()
}

// Incomplete lists the index entries that no file holds, but for tie targets whose source is there: those are flagged in the tie report.
func (m *Model) Incomplete() error {
	tied := map[string]bool{}
	if m.Family != nil {
		for _, t := range m.Family.Ties {
			for _, r := range t.Targets {
				tied[m.Family.Names(m.Scheme, r, 0)] = m.Lookup(m.Family.Names(m.Scheme, t.Source, 0)) != nil
			}
		}
	}
	var errs []error
	for _, n := range m.Dangling {
		if !tied[n] {
			errs = append(errs, formats.Errorf(formats.Missing, "the index lists it, but no file holds it").In(n, "").At(m.path(), -1))
		}
	}
	return errors.Join(errs...)
}

// Strangers are the stored tensors that have no role in the family, as it is called in the model's scheme, in file order.
func (m *Model) Strangers() []string {
	known := map[string]bool{}
	add := func(pattern string, layers int64) {
		for i := range layers {
			known[strings.ReplaceAll(pattern, "{i}", itoa(i))] = true
		}
	}
	for _, t := range m.Family.Tensors {
		add(t.Name[m.Scheme], m.Config.Layers)
	}
	for _, u := range m.Family.Fused {
		add(u.Name[m.Scheme], m.Config.Layers)
	}
	for _, d := range m.Family.Drop[m.Scheme] {
		add(d, m.Config.Layers)
	}
	var out []string
	for _, t := range m.Tensors {
		if !known[t.Name] {
			out = append(out, t.Name)
		}
	}
	return out
}
