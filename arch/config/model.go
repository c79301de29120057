// Package config is the parameters of a model, read from config.json (as transformers 4 and 5 write it) or GGUF keys, and written back.
// Which keys a family has, and what they default to, is in its table: a list of Params.
package config

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// Model is what config.json or the GGUF keys say of a model, in one form.
type Model struct {
	Architecture        string // transformers' class, such as LlamaForCausalLM
	ModelType           string // transformers' model_type
	TransformersVersion string // of the program that wrote config.json, "" if it does not say
	DType               string // dtype or torch_dtype as written, such as bfloat16
	FileType            int64  // GGUF's general.file_type

	Vocab   int64 // rows of the embedding
	Hidden  int64 // width of the residual stream
	Layers  int64
	Heads   int64 // query heads
	KVHeads int64 // key and value heads
	HeadDim int64
	FFN     int64 // width of the MLP
	MaxPos  int64

	NormEps       float64
	Act           string
	AttnBias      bool // q, k, v and o have biases
	MLPBias       bool // gate, up and down have biases
	SlidingWindow int64
	Rope          Rope

	// LayerTypes are what config.json calls each layer; nil if it does not say.
	LayerTypes []string
	// LayerWindows says of each layer whether the window applies to it; nil if it does to all.
	LayerWindows []bool

	// Experts of each layer, 0 for a dense model, how many a token uses, and the width of the one that all tokens use.
	Experts, ExpertsUsed, SharedFFN int64

	// Multipliers of the embedding, of what each branch adds, and of the logits' divisor; 1 changes nothing. AttnScale is what scores are
	// multiplied by, 0 for 1/sqrt(HeadDim).
	EmbedScale, ResidualScale, LogitScale, AttnScale float64
	// AttnCap and LogitCap are the bounds that scores and logits approach; 0 is none.
	AttnCap, LogitCap float64

	MultiQuery bool // gpt_bigcode: one key head
	Parallel   bool // gpt_neox: attention and MLP read the same residual
	NoRope     bool // no position encoding, neither rope nor another

	BOS, PAD *int64
	EOS      []int64

	// Tie is the tie flag at each level that states it, outermost first.
	Tie []Declared

	// Unread are GGUF keys that change what is computed and that no parameter stands for, but for values that change nothing.
	Unread []formats.KV

	// Notes are contradictions of the source, and how they were read.
	Notes []formats.Note
}

// Slides reports whether layer i sees a window alone.
func (m *Model) Slides(i int) bool {
	return m.SlidingWindow > 0 && (m.LayerWindows == nil || m.LayerWindows[i])
}

// Windows is Slides of all layers.
func (m *Model) Windows() []bool {
	out := make([]bool, m.Layers)
	for i := range out {
		out[i] = m.Slides(i)
	}
	return out
}

func (m *Model) note(subject, decision, because string) {
	m.Notes = append(m.Notes, formats.Note{Subject: subject, Decision: decision, Because: because, Warn: true})
}

// Declared is one explicit statement of the tie flag.
type Declared struct {
	Path     string `json:"path"` // "tie_word_embeddings", "text_config.tie_word_embeddings", or the GGUF slot
	Value    bool   `json:"value"`
	Explicit bool   `json:"explicit"`
}

// Rope is the position encoding.
type Rope struct {
	Type     string // default, linear, llama3
	Theta    float64
	Factor   float64
	Low      float64 // llama3: low_freq_factor
	High     float64 // llama3: high_freq_factor
	Original int64   // llama3: original_max_position_embeddings
	// Factors are GGUF's rope_freqs.weight: divisors of each pair's frequency. Nil if there are none.
	Factors []float32

	Share float64 // of a head that is rotated; 0 is all of it
	Local float64 // theta of layers with a window, 0 if it is that of the others
	// Short and Long are longrope's divisors, for contexts up to Original and beyond. Attn is what multiplies queries and keys, 0 for what follows
	// from the lengths.
	Short, Long []float64
	Attn        float64
}

// Major is the major version of transformers whose class defaults apply: that of the program that wrote config.json, or 4.
func (m *Model) Major() int {
	head, _, _ := strings.Cut(m.TransformersVersion, ".")
	if v, err := strconv.Atoi(head); err == nil && v > 4 {
		return v
	}
	return 4
}

// Param is one parameter: where it stands in config.json and in GGUF, and where in a Model.
// Exactly one of Int, Float, Bool and Str is set.
type Param struct {
	HF   []string // keys of config.json, the first is the one to write
	GGUF string   // key after "{architecture}."; "" if GGUF has none
	// Params are keys of params.json: TorchChat's, which is written, and Meta's.
	Params []string
	Int    func(*Model) *int64
	Float  func(*Model) *float64
	Bool   func(*Model) *bool
	Str    func(*Model) *string
	// Default fills an absent value as transformers' class does; nil makes the parameter required.
	Default func(*Model)
	// Null is what an explicit null means; nil is the same as absent.
	Null func(*Model)
	// GGUFDefault does the same as llama.cpp's loader; nil means Default.
	GGUFDefault func(*Model)
	// ParamsDefault does the same as TorchChat's TransformerArgs; nil makes the key required in params.json.
	ParamsDefault func(*Model)
	// Needed marks a key that llama.cpp's loader insists on.
	Needed bool
	// Repeats marks a key that says again what an earlier one said: read, it must agree.
	Repeats bool
	// FromHeader reads what GGUF says with a tensor (its presence, its shape) and reports whether it did.
	FromHeader func(*formats.Header, *Model) bool
	// OmitGGUF leaves the key out where the value is what llama.cpp's converter does not write.
	OmitGGUF func(*Model) bool
	// OmitHF does the same for config.json; a key with a Null is written as null then.
	OmitHF func(*Model) bool
	// Custom is for what is no single value; the fields above are empty then.
	Custom *Custom
}

// Custom reads and writes parameters that are lists, or that depend on others before them. A function that is nil does nothing.
type Custom struct {
	FromHF func(*Doc, *Model) error
	// ToHF gives keys of config.json and their JSON texts; a key with the text "" is left out.
	ToHF     func(*Model) map[string]string
	FromGGUF func(h *formats.Header, arch string, m *Model) error
	ToGGUF   func(m *Model, arch string) []formats.KV
	Keys     []string // of GGUF that are read, after "{architecture}."
}

// Rotated is how many elements of a head are rotated. Source: transformers modeling_rope_utils.py: int(head_dim * partial_rotary_factor).
func (m *Model) Rotated() int64 {
	if m.Rope.Share == 0 {
		return m.HeadDim
	}
	return int64(float64(m.HeadDim) * m.Rope.Share)
}

// Magnitude is what longrope multiplies queries and keys by, in whatever length of text. Source: transformers modeling_rope_utils.py,
// _compute_longrope_parameters.
func (m *Model) Magnitude() float64 {
	r := m.Rope
	if r.Attn != 0 {
		return r.Attn
	}
	factor := r.Factor
	if factor == 0 {
		factor = float64(m.MaxPos) / float64(r.Original)
	}
	if factor <= 1 {
		return 1
	}
	return math.Sqrt(1 + math.Log(factor)/math.Log(float64(r.Original)))
}

// FromHF reads the parameters from config.json. All problems come together.
func FromHF(d *Doc, params []Param) (*Model, error) {
	m := &Model{EmbedScale: 1, ResidualScale: 1, LogitScale: 1}
	var errs []error
	keep := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	root := d.Root() // of a model within another: what they share stands there
	archs, err := root.Strs("architectures")
	keep(err)
	if len(archs) > 0 {
		m.Architecture = archs[0]
	}
	m.ModelType, _, err = d.Str("model_type")
	keep(err)
	m.TransformersVersion, _, err = root.Str("transformers_version")
	keep(err)
	for _, at := range []*Doc{root, d} {
		for _, k := range []string{"dtype", "torch_dtype"} {
			if s, ok, err := at.Str(k); err == nil && ok && m.DType == "" {
				m.DType = s
			} else {
				keep(err)
			}
		}
		for _, k := range []struct {
			key string
			to  **int64
		}{{"bos_token_id", &m.BOS}, {"pad_token_id", &m.PAD}} {
			ids, err := at.Ints(k.key)
			keep(err)
			if len(ids) > 0 && *k.to == nil {
				*k.to = &ids[0]
			}
		}
		ids, err := at.Ints("eos_token_id")
		if keep(err); m.EOS == nil {
			m.EOS = ids
		}
		if d.under == "" {
			break
		}
	}
	for _, path := range [][]string{{"tie_word_embeddings"}, {"text_config", "tie_word_embeddings"}} {
		v, ok, err := root.Bool(path...)
		keep(err)
		if ok {
			m.Tie = append(m.Tie, Declared{Path: strings.Join(path, "."), Value: v, Explicit: true})
		}
	}
	keep(m.readRope(d))
	for _, p := range params {
		switch {
		case p.Custom != nil && p.Custom.FromHF != nil:
			keep(p.Custom.FromHF(d, m))
		case len(p.HF) > 0:
			keep(p.readHF(d, m))
		}
	}
	return m, errors.Join(errs...)
}

func (p Param) readHF(d *Doc, m *Model) error {
	for _, k := range p.HF {
		if p.Null != nil && d.Null(k) {
			p.Null(m)
			return nil
		}
		var ok bool
		var err error
		switch {
		case p.Int != nil:
			var v int64
			if v, ok, err = d.Int(k); ok {
				if v < 0 || v > math.MaxInt32 {
					return formats.Errorf(formats.Bounds, "got %d, want 0 to %d", v, math.MaxInt32).At(d.Path, -1).In("", k)
				}
				*p.Int(m) = v
			}
		case p.Float != nil:
			var v float64
			if v, ok, err = d.Float(k); ok {
				*p.Float(m) = v
			}
		case p.Bool != nil:
			var v bool
			if v, ok, err = d.Bool(k); ok {
				*p.Bool(m) = v
			}
		case p.Str != nil:
			var v string
			if v, ok, err = d.Str(k); ok {
				*p.Str(m) = v
			}
		}
		if err != nil {
			return err
		}
		if ok {
			return nil
		}
	}
	if p.Default == nil {
		return formats.Errorf(formats.Missing, "the key is absent, and the family has no default for it").At(d.Path, -1).In("", p.HF[0])
	}
	p.Default(m)
	return nil
}

// Computes reports whether the position encoding is one that the forward passes and GGUF tables know, with all that it needs. Others are
// refused where the numbers matter. A GGUF file that says llama3 lacks what the type needs: there the divisors are a tensor.
func (r Rope) Computes() bool {
	switch r.Type {
	case "default":
		return true
	case "linear":
		return r.Factor > 0
	case "llama3":
		return r.Factor > 0 && r.Low > 0 && r.High > r.Low && r.Original > 0
	}
	return false
}

// readRope reads v4's rope_theta and rope_scaling and v5's rope_parameters as transformers 5 does: rope_scaling, if it holds anything,
// replaces rope_parameters whole, and the root's rope_theta counts where neither states one.
// Source: transformers modeling_rope_utils.py, convert_rope_params_to_dict.
func (m *Model) readRope(d *Doc) error {
	r := &m.Rope
	r.Type, r.Theta = "default", 10000
	var errs []error
	group := ""
	for _, g := range []string{"rope_scaling", "rope_parameters"} {
		if !d.Has(g) {
			continue
		}
		if !d.IsObject(g) {
			return formats.Errorf(formats.BadType, "got %s, want an object or null", d.Raw(g)).At(d.Path, -1).In("", g)
		}
		if len(d.Keys(g)) == 0 {
			continue
		}
		if group != "" {
			m.note(g, "not read", "rope_scaling is there too, and transformers 5 lets it win")
			continue
		}
		group = g
	}
	float := func(to *float64, path ...string) bool {
		v, ok, err := d.Float(path...)
		if err != nil {
			errs = append(errs, err)
		}
		if ok {
			*to = v
		}
		return ok
	}
	root := float(&r.Theta, "rope_theta")
	if group != "" {
		for _, k := range []string{"type", "rope_type"} {
			if s, ok, err := d.Str(group, k); err != nil {
				errs = append(errs, err)
			} else if ok {
				r.Type = s
			}
		}
		if outer := r.Theta; float(&r.Theta, group, "rope_theta") && root && r.Theta != outer {
			m.note("rope_theta", strconv.FormatFloat(r.Theta, 'g', -1, 64), group+" states it, and transformers 5 lets that beat the root's")
		}
		float(&r.Factor, group, "factor")
		float(&r.Low, group, "low_freq_factor")
		float(&r.High, group, "high_freq_factor")
		const key = "original_max_position_embeddings"
		inner, stated, err := d.Int(group, key)
		outer, mirrored, err2 := d.Int(key)
		if err = errors.Join(err, err2); err != nil {
			errs = append(errs, err)
		}
		switch {
		case stated:
			r.Original = inner
			if mirrored && outer != inner {
				m.note(key, strconv.FormatInt(inner, 10), "it is what "+group+" says; the root says "+strconv.FormatInt(outer, 10))
			}
		case mirrored:
			r.Original = outer
		}
		need := func(ok bool, key string) {
			if !ok {
				errs = append(errs, formats.Errorf(formats.Missing, "rope type %q needs %s", r.Type, key).At(d.Path, -1).In("", group))
			}
		}
		switch r.Type {
		case "linear":
			need(r.Factor > 0, "factor")
		case "llama3":
			need(r.Factor > 0, "factor")
			need(r.Low > 0, "low_freq_factor")
			need(r.High > r.Low, "high_freq_factor above low_freq_factor")
			need(r.Original > 0, "original_max_position_embeddings")
		}
	}
	if !(r.Theta > 0) || math.IsInf(r.Theta, 0) {
		errs = append(errs, formats.Errorf(formats.Bounds, "got %v, want a positive number", r.Theta).At(d.Path, -1).In("", "rope_theta"))
	}
	return errors.Join(errs...)
}

// Divisors are llama3's rope factors, one for each pair of a head: 1 for short wavelengths, factor for long ones, a ramp between. Nil for
// other types. They are those of llama.cpp's converter bit for bit, which computes them in torch's float32, where a number divided by a
// tensor is the number times the rounded reciprocal.
// Source: llama.cpp conversion/llama.py, generate_extra_tensors; transformers modeling_rope_utils.py, _compute_llama3_parameters.
func (r Rope) Divisors(headDim int64) []float32 {
	if r.Factors != nil {
		return r.Factors
	}
	if r.Type != "llama3" {
		return nil
	}
	out := make([]float32, headDim/2)
	lowWave := float32(float64(r.Original) / r.Low)
	highWave := float32(float64(r.Original) / r.High)
	for i := range out {
		exp := float32(2*i) / float32(headDim)
		freq := 1 / float32(math.Pow(float64(float32(r.Theta)), float64(exp)))
		wave := float32(1/freq) * float32(2*math.Pi)
		switch {
		case wave < highWave:
			out[i] = 1
		case wave > lowWave:
			out[i] = float32(r.Factor)
		default:
			turns := float32(float32(1/wave) * float32(r.Original))
			smooth := float32(turns-float32(r.Low)) / float32(r.High-r.Low)
			ramp := float32(1-smooth) / float32(r.Factor)
			out[i] = 1 / float32(ramp+smooth)
		}
	}
	return out
}

// Llama3 finds the parameters of rope type llama3 that give divisors bit for bit. Low and high factor are 1 and 4, as in every published
// model; divisors fix nothing but the original length then. ok is false if no power of two gives them.
func Llama3(divisors []float32, theta float64, headDim int64) (r Rope, ok bool) {
	if len(divisors) == 0 || int64(len(divisors)) != headDim/2 {
		return r, false
	}
	r = Rope{Type: "llama3", Theta: theta, Factor: formats.Shortest(divisors[len(divisors)-1]), Low: 1, High: 4}
	lengths := []int64{8192}
	for n := int64(8); n <= 1<<22; n *= 2 {
		lengths = append(lengths, n)
	}
	for _, r.Original = range lengths {
		if slices.Equal(r.Divisors(headDim), divisors) {
			return r, true
		}
	}
	return r, false
}
