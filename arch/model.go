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
	Params *config.Doc    // params.json of a file with Meta's names; nil if there is none
	Bare   bool           // Meta's names, and no config of any kind
	Keyed  bool           // the metadata says what the model is, as in GGUF
	Config *config.Model
	Family *Family
	Scheme Scheme // whose names the tensors have
	wrap   *wrap  // how the names differ from the table's, nil if they do not
	Notes  []formats.Note
	// Class is what the source calls itself: transformers' class or GGUF's architecture. It is "" if it does not say.
	Class string
	// Foreign names a quantization method or an adapter whose tensors this tool only copies, "" if there is none.
	Foreign string
}

// Resolve finds the family, the parameters and the naming scheme of a checkpoint. configFile, if it is not "", is read instead of what lies beside the
// weights or in them: a config.json, or a params.json as Meta and TorchChat write it. An unknown family is no error; a config that cannot be read is.
func Resolve(fsys fsio.FS, ck *formats.Checkpoint, side []formats.File, configFile string) (*Model, error) {
	m := &Model{Checkpoint: ck, FS: fsys, Side: side, Scheme: HF, Notes: ck.Notes}
	class, keyed, err := ck.Metadata.Str("general.architecture")
	if err != nil {
		return nil, err
	}
	m.Keyed = keyed
	if keyed && configFile == "" {
		return m, m.fromKeys(class)
	}
	doc, params, err := m.documents(configFile)
	if err != nil {
		return nil, err
	}
	m.Doc = doc
	if m.Foreign, err = m.foreign(); err != nil {
		return nil, err
	}
	switch {
	case doc != nil:
		if err = m.fromConfig(); err == nil && m.Family == nil && params == nil {
			m.Bare = m.metas()
		}
	}
	if err != nil {
		return nil, err
	}
	switch {
	case m.Family != nil || doc != nil && params == nil:
	case params != nil:
		m.Params = params
		if err = m.fromParams(); err == nil {
			m.fromRecord()
		}
	default:
		m.Bare = m.metas()
	}
	if err != nil || m.Config == nil {
		return m, err
	}
	m.Notes = append(m.Notes[:len(m.Notes):len(m.Notes)], m.Config.Notes...)
	if err := m.finish(); err != nil {
		return nil, err
	}
	if doc != nil && params != nil && m.Scheme.params() {
		m.Params = params
		return m, m.agree()
	}
	return m, nil
}

// documents finds what says the parameters: the file that was named, or config.json and params.json beside the weights, or the config.json that
// the weights file holds as metadata.
func (m *Model) documents(named string) (doc, params *config.Doc, err error) {
	if named != "" {
		d, err := m.document(named)
		if err == nil && config.IsParams(d) {
			return nil, d, nil
		}
		return d, nil, err
	}
	if doc, err = m.document(filepath.Join(m.Dir, "config.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if m.metas() { // the params.json beside other names is of another file
		if params, err = m.document(filepath.Join(m.Dir, "params.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
		if params != nil && !config.IsParams(params) {
			params = nil // a name that others use too
		}
	}
	if doc == nil && params == nil {
		doc = m.record()
	}
	return doc, params, nil
}

// Record is the key of metadata under which a weights file may hold its own config.json.
const Record = "config.json"

// record is the config.json that the weights file holds, nil if it holds none. Metadata is anybody's: a text under this key that is no config is a text.
func (m *Model) record() *config.Doc {
	text, ok, _ := m.Metadata.Str(Record)
	if !ok {
		return nil
	}
	doc, err := config.Parse(m.path()+": "+Record+" in its metadata", []byte(text))
	if err != nil || !doc.Has("model_type") && !doc.Has("architectures") {
		m.Notes = append(m.Notes[:len(m.Notes):len(m.Notes)], formats.Note{Subject: m.path() + ": " + Record + " in its metadata", Decision: "not read", Because: "it is no config that names a model_type"})
		return nil
	}
	return doc
}

func (m *Model) document(path string) (*config.Doc, error) {
	b, err := m.read(path, formats.ConfigBound)
	if formats.CodeOf(err) == formats.Limit {
		return nil, err
	} else if err != nil {
		return nil, formats.Errorf(formats.IO, "%w", err).At(path, -1)
	}
	return config.ParseWithin(path, b, m.Bounds.Of(formats.ConfigBound))
}

// read reads a file that lies beside the weights.
func (m *Model) read(path string, k formats.Bound) ([]byte, error) {
	most := m.Bounds.Of(k)
	b, err := fsio.ReadFile(m.FS, path, most)
	if errors.Is(err, fsio.ErrTooLarge) {
		need := most + 1
		if st, err := m.FS.Stat(path); err == nil {
			need = max(need, st.Size())
		}
		return nil, formats.Errorf(formats.Limit, "got a file of %d bytes, want at most %d", need, most).At(path, 0).Hinted("%s", k.Hint(need))
	}
	return b, err
}

// fromKeys reads the parameters of a GGUF file.
func (m *Model) fromKeys(architecture string) (err error) {
	m.Class, m.Scheme = architecture, GGUF
	for _, f := range All() {
		if f.GGUF == architecture && (f.Is == nil || f.Is(&m.Header)) {
			m.Family = f
			break
		}
	}
	if m.Family == nil {
		return nil
	}
	if m.Config, err = config.FromGGUF(&m.Header, architecture, m.Family.Params(m.Family.Classes[0])); err != nil {
		if m.named(GGUF) == 0 { // a file whose names were kept says its architecture, and nothing that belongs to it
			m.Family, m.Config = nil, nil
			return nil
		}
		return formats.At(err, m.path())
	}
	m.christen()
	return m.finish()
}

// christen gives parameters that name no class the family's.
func (m *Model) christen() {
	if m.Config.Architecture = m.Family.Classes[0]; m.Family.Class != nil {
		m.Config.Architecture = m.Family.Class(m.Config)
	}
	for _, t := range slices.Sorted(maps.Keys(m.Family.Types)) {
		if m.Family.Types[t] == m.Config.Architecture {
			m.Config.ModelType = t
			break
		}
	}
}

// fromConfig reads the parameters of config.json.
func (m *Model) fromConfig() error {
	classes, err := m.Doc.Strs("architectures")
	if err != nil {
		return err
	}
	kind, _, err := m.Doc.Str("model_type")
	if err != nil {
		return err
	}
	m.Class = kind
	if len(classes) > 0 {
		m.Class = classes[0]
	}
	if len(classes) == 0 {
		for _, f := range All() {
			if c, ok := f.Types[kind]; ok {
				m.Class = c
			}
		}
	}
	for _, f := range All() {
		if slices.Contains(f.Classes, m.Class) && (f.Has == nil || f.Has(m.Class, m.Doc)) {
			m.Family = f
		}
	}
	if m.Family == nil {
		return nil
	}
	if m.Config, err = m.Reading(m.Doc); err != nil {
		return err
	}
	if m.Config.Architecture == "" {
		m.Config.Architecture = m.Class
	}
	return nil
}

// Reading is the parameters that a config.json of the model's class states.
func (m *Model) Reading(doc *config.Doc) (*config.Model, error) {
	if key := m.Family.Inner[m.Class]; key != "" {
		if !doc.IsObject(key) {
			return nil, formats.Errorf(formats.Missing, "a %s has the language model's parameters there, and it is no object", m.Class).At(doc.Path, -1).In("", key)
		}
		doc = doc.Under(key)
	}
	return config.FromHF(doc, m.Family.Params(m.Class))
}

// Beside reports whether a name is of a tensor of another model that the checkpoint holds beside the family's.
func (m *Model) Beside(name string) bool {
	return m.Scheme == HF && m.Family.Inner[m.Class] != "" && slices.ContainsFunc(m.Family.Beside, func(s string) bool { return strings.HasPrefix(name, s) })
}

// fromParams reads the parameters of params.json, which names no class: what it describes is the first family that has such a file,
// but for what another knows as its own.
func (m *Model) fromParams() (err error) {
	for _, f := range All() {
		if _, ok := f.Layouts[TorchChat]; ok && (m.Family == nil || f.Has != nil && f.Has("", m.Params)) {
			m.Family = f
		}
	}
	m.Class = m.Family.Classes[0]
	if m.Config, err = config.FromParams(&m.Header, m.Params, m.Family.Params(m.Class)); err != nil {
		return err
	}
	m.christen()
	return nil
}

// fromRecord takes the config.json that the weights file holds, which says more, where params.json, which comes first, says the same.
func (m *Model) fromRecord() {
	doc := m.record()
	if doc == nil {
		return
	}
	ignored := func(because string) {
		m.Notes = append(m.Notes[:len(m.Notes):len(m.Notes)], formats.Note{Subject: doc.Path, Decision: "not read", Because: because})
	}
	r := Model{Checkpoint: m.Checkpoint, Doc: doc}
	if err := r.fromConfig(); err != nil || r.Config == nil {
		ignored("it cannot be read as the config of a known family, and params.json says what is needed")
		return
	}
	said := func(c *config.Model, v bool) bool {
		return slices.ContainsFunc(c.Tie, func(d config.Declared) bool { return d.Value == v })
	}
	if r.Family != m.Family || len(config.Disagree(r.Config, m.Config, m.Params, r.Family.Params(r.Class))) > 0 || said(r.Config, true) && said(m.Config, false) || said(r.Config, false) && said(m.Config, true) {
		ignored("params.json, which comes first, says something else")
		return
	}
	r.Config.Tie = append(r.Config.Tie, m.Config.Tie...)
	r.Config.Unread, r.Config.Notes = append(r.Config.Unread, m.Config.Unread...), append(r.Config.Notes, m.Config.Notes...)
	m.Doc, m.Family, m.Class, m.Config = r.Doc, r.Family, r.Class, r.Config
}

// metas reports whether the tensors have Meta's names, or TorchChat's. Such a file is nothing without its parameters: it tells neither the size of
// a head nor the position encoding, and its layout is not the hub's.
func (m *Model) metas() bool {
	layered := func(f *Family, s Scheme) bool { // names within a layer, which are Meta's alone
		return slices.ContainsFunc(f.Tensors, func(t Tensor) bool { return t.PerLayer() && t.Name[s] != "" && m.Lookup(t.In(s, 0)) != nil }) ||
			slices.ContainsFunc(f.Fused, func(u Fused) bool { return u.Name[s] != "" && m.Lookup(u.In(s, 0)) != nil })
	}
	return slices.ContainsFunc(All(), func(f *Family) bool { return layered(f, Meta) || layered(f, TorchChat) })
}

// Stated is an error for a model whose parameters have to be known and are not.
func (m *Model) Stated() error {
	if !m.Bare {
		return nil
	}
	return formats.Errorf(formats.Missing, "the tensors have Meta's names, and nothing says the model's parameters: there is no config.json, no params.json and no record extra/%s", Record).
		At(m.path(), -1).Hinted("--config FILE, or --names keep to copy the tensors as they are")
}

// params reports whether files of a scheme have a params.json, which their own program reads and not config.json.
func (s Scheme) params() bool { return s == Meta || s == TorchChat }

// agree holds params.json against config.json: what both say must be the same. What it says of the tie is one more level.
func (m *Model) agree() error {
	other, err := config.FromParams(&m.Header, m.Params, m.Family.Params(m.Class))
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range config.Disagree(m.Config, other, m.Params, m.Family.Params(m.Class)) {
		errs = append(errs, d.Hinted("remove the wrong one, or name the right one with --config"))
	}
	m.Config.Tie = append(m.Config.Tie[:len(m.Config.Tie):len(m.Config.Tie)], other.Tie...)
	m.Config.Unread = append(m.Config.Unread[:len(m.Config.Unread):len(m.Config.Unread)], other.Unread...)
	m.Notes = append(m.Notes[:len(m.Notes):len(m.Notes)], other.Notes...)
	return errors.Join(errs...)
}

// finish chooses the scheme by the names that the file has, and looks for contradictions between names and parameters.
func (m *Model) finish() error {
	if m.Config.Layers > 100_000 {
		return formats.Errorf(formats.Limit, "got %d layers", m.Config.Layers).At(m.path(), -1)
	}
	if m.Config.Experts > 10_000 {
		return formats.Errorf(formats.Limit, "got %d experts in a layer", m.Config.Experts).At(m.path(), -1)
	}
	best := 0
	for _, s := range schemes {
		if n := m.named(s); n > best {
			best, m.Scheme = n, s
		}
	}
	if m.Scheme != HF {
		return nil
	}
	for k, w := range wraps(m.Family.Base) {
		was := m.wrap
		if m.wrap = &w; k == 0 {
			m.wrap = nil
		}
		if n := m.named(HF); n > best {
			best = n
		} else {
			m.wrap = was
		}
	}
	return nil
}

// named counts the family's tensors, of the first layer and outside the layers, that are stored by their names in a scheme, alone or fused.
func (m *Model) named(s Scheme) int {
	as := *m
	as.Scheme = s
	if s != HF {
		as.wrap = nil
	}
	n := 0
	for k := range m.Family.Tensors {
		if as.Find(&m.Family.Tensors[k], 0) != nil {
			n++
		}
	}
	return n
}

// NameOf is the name that the file has, or should have, for a role of layer i; "" if its scheme does not store it.
func (m *Model) NameOf(role string, i int64) string {
	return m.Called(m.Family.Names(m.Scheme, role, i))
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

// ReadSide reads a side file; an absent one is fs.ErrNotExist.
func (m *Model) ReadSide(name string) ([]byte, error) {
	return m.read(filepath.Join(m.Dir, name), formats.SideBound)
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
	for i := range h.Tensors {
		// Part by part: a search in the whole name for each of them takes longer than reading the header.
		for rest, found := h.Tensors[i].Name, true; ; {
			if _, rest, found = strings.Cut(rest, "."); !found {
				break
			}
			if rest == "weight" || len(rest) < 2 || !strings.Contains("lo qw we SC", rest[:2]) {
				continue // no part below starts like it
			}
			for _, s := range sideTensors {
				if after, ok := strings.CutPrefix(rest, s.part); ok && (after == "" && !s.inside || strings.HasPrefix(after, ".")) {
					return s.method
				}
			}
		}
	}
	return ""
}

// sideTensors are parts of names, between dots, that quantization methods and adapters have; inside means that more follows.
var sideTensors = [...]struct {
	part, method string
	inside       bool
}{
	{"lora_A", "adapter (LoRA tensors)", true}, {"lora_B", "adapter (LoRA tensors)", true},
	{"qweight", "gptq or awq (qweight tensors)", false}, {"weight_packed", "compressed-tensors (weight_packed tensors)", false},
	{"weight_scale_inv", "fp8 (weight_scale_inv tensors)", false}, {"weight_scale", "compressed-tensors (weight_scale tensors)", false},
	{"weight.quant_state", "bitsandbytes (quant_state tensors)", false}, {"weight.absmax", "bitsandbytes (absmax tensors)", false},
	{"SCB", "bitsandbytes (SCB tensors)", false},
}

// Reread is another checkpoint with the family and the parameters of m, such as what m was converted to. factors are rope divisors that m's
// scheme stores as tensors, by role; tied is what the other declares, nil for what m does.
func (m *Model) Reread(ck *formats.Checkpoint, factors map[string][]float32, tied *bool) (*Model, error) {
	out := &Model{Checkpoint: ck, FS: m.FS, Class: m.Class, Foreign: m.Foreign, Family: m.Family, Scheme: m.Scheme}
	if m.Config == nil {
		return out, nil
	}
	c := *m.Config
	for role, v := range factors {
		m.Family.Tensor(role).Take(&c, v)
	}
	if tied != nil {
		c.Tie = []config.Declared{{Path: "tie_word_embeddings", Value: *tied, Explicit: true}}
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
				tied[m.NameOf(r, 0)] = m.Lookup(m.NameOf(t.Source, 0)) != nil
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

// Dropped are the names that the model may hold and that carry nothing.
func (m *Model) Dropped() map[string]bool {
	out := map[string]bool{}
	for _, n := range m.Family.Drop[m.Scheme] {
		for i := range m.Config.Layers {
			out[m.Called(layer(n, i))] = true
		}
	}
	return out
}

// Strangers are the stored names, of tensors and aliases, that have no role in the family, as it is called in the model's scheme.
func (m *Model) Strangers() []string {
	known := map[string]bool{}
	for k := range m.Family.Tensors {
		spec := &m.Family.Tensors[k]
		layers := int64(1)
		if spec.PerLayer() {
			layers = m.Config.Layers
		}
		for i := range layers {
			for _, r := range m.Find(spec, i) {
				known[r.Name] = true
			}
		}
	}
	for name := range m.Dropped() {
		known[name] = true
	}
	var out []string
	for _, t := range m.Tensors {
		if !known[t.Name] {
			out = append(out, t.Name)
		}
	}
	for _, a := range m.Aliases { // which of two names is the tensor's own is an accident
		if !known[a.Name] {
			out = append(out, a.Name)
		}
	}
	return out
}
