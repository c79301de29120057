package arch_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/all"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// model is parameters whose sizes all differ.
var model = config.Model{Vocab: 331, Hidden: 96, Layers: 3, Heads: 6, KVHeads: 2, HeadDim: 10, FFN: 160, MaxPos: 512, NormEps: 1e-5, Act: "silu", AttnBias: true, MLPBias: true,
	Experts: 5, ExpertsUsed: 2, SharedFFN: 44, EmbedScale: 3, ResidualScale: 0.5, LogitScale: 7, AttnScale: 0.25,
	Rope: config.Rope{Type: "llama3", Theta: 1e4, Factor: 8, Low: 1, High: 4, Original: 64, Long: []float64{1, 2, 3, 4, 5}, Short: []float64{1, 1, 2, 2, 3}}}

// TestTables looks for slips in the families' tables.
func TestTables(t *testing.T) {
	for _, f := range arch.All() {
		roles := map[string]bool{}
		names := map[arch.Scheme]map[string]string{}
		for _, x := range f.Tensors {
			if roles[x.Role] {
				t.Errorf("%s: role %s stands twice", f.Name, x.Role)
			}
			roles[x.Role] = true
			if len(x.Name) == 0 {
				t.Errorf("%s: %s has no name in any scheme", f.Name, x.Role)
			}
			for s, pattern := range x.Name {
				if _, ok := f.Layouts[s]; !ok {
					t.Errorf("%s: %s has a name in scheme %s, which has no layout", f.Name, x.Role, s)
				}
				if names[s] == nil {
					names[s] = map[string]string{}
				}
				for i := range int64(3) {
					name := arch.Expert(x.In(s, i), 0)
					if strings.ContainsAny(name, "{}") {
						t.Errorf("%s: %s is called %s", f.Name, x.Role, name)
					}
					if other, ok := names[s][name]; ok && other != x.Role {
						t.Errorf("%s: %s is the name of %s and of %s", f.Name, name, other, x.Role)
					}
					names[s][name] = x.Role
				}
				if x.PerLayer() != strings.Contains(pattern, "{i}") {
					t.Errorf("%s: %s is there for each layer in one scheme only", f.Name, x.Role)
				}
				if s == arch.GGUF && strings.ReplaceAll(pattern, "blk.{i}.", "") != x.Role {
					t.Errorf("%s: role %s is not what GGUF calls it, %s", f.Name, x.Role, pattern)
				}
			}
			rank := map[arch.Kind]int{arch.Embedding: 2, arch.Head: 2, arch.Linear: 2, arch.Router: 2, arch.Position: 2, arch.Bias: 1, arch.Norm: 1,
				arch.Factors: 1}[x.Kind]
			if x.Kind == arch.Linear && strings.Contains(x.Role, "_exps.") {
				rank = 3
			}
			if len(x.Shape) != rank {
				t.Errorf("%s: %s is a %s of %d dimensions, want %d", f.Name, x.Role, x.Kind, len(x.Shape), rank)
			}
			for _, d := range x.Shape {
				if d(&model) <= 0 {
					t.Errorf("%s: %s has a dimension of %d", f.Name, x.Role, d(&model))
				}
			}
			if x.Rotary != nil {
				if n := x.Rotary(&model); n <= 0 || x.Shape[0](&model) != n*model.HeadDim {
					t.Errorf("%s: the rows of %s are not %d heads", f.Name, x.Role, n)
				}
			}
			if (x.Kind == arch.Factors) != (x.Value != nil) {
				t.Errorf("%s: %s: factors, and only they, come from the parameters", f.Name, x.Role)
			}
			if x.Value != nil && int64(len(x.Value(&model))) != x.Shape[0](&model) {
				t.Errorf("%s: %s: got %d values, want %d", f.Name, x.Role, len(x.Value(&model)), x.Shape[0](&model))
			}
			// A bias turns with its weight.
			if w := f.Tensor(strings.TrimSuffix(x.Role, ".bias") + ".weight"); x.Kind == arch.Bias && !f.Open && (w == nil || (w.Rotary == nil) != (x.Rotary == nil) || w.Shape[0](&model) != x.Shape[0](&model)) {
				t.Errorf("%s: %s does not go with its weight", f.Name, x.Role)
			}
		}
		for _, u := range f.Fused {
			for _, r := range u.Parts {
				if !roles[r] {
					t.Errorf("%s: a fused tensor has a part %s that is no role", f.Name, r)
				}
			}
			for s, pattern := range u.Name {
				if names[s][strings.ReplaceAll(pattern, "{i}", "0")] != "" {
					t.Errorf("%s: the fused name %s is taken", f.Name, pattern)
				}
			}
		}
		for _, tie := range f.Ties {
			for _, r := range append([]string{tie.Source}, tie.Targets...) {
				if !roles[r] {
					t.Errorf("%s: tie %s names %s, which is no role", f.Name, tie.ID, r)
				}
			}
			if _, ok := tie.Default[4]; !ok || len(tie.Default) < 2 || tie.Flag == "" || tie.Slot == "" || len(tie.Targets) == 0 {
				t.Errorf("%s: tie %s is incomplete: %+v", f.Name, tie.ID, tie)
			}
		}
		for kind, class := range f.Types {
			if !slices.Contains(f.Classes, class) {
				t.Errorf("%s: model_type %s leads to %s, which is no class of it", f.Name, kind, class)
			}
		}
		if f.Tensor("no such role") != nil || f.Names(arch.HF, "no such role", 0) != "" {
			t.Errorf("%s: finds a role that it has not", f.Name)
		}
		for _, c := range f.Classes {
			m := model
			if f.Tensor("ffn_gate_inp.weight") == nil {
				m.Experts = 0
			}
			keys := map[string]bool{}
			for _, p := range f.Params(c) {
				set := 0
				for _, is := range []bool{p.Int != nil, p.Float != nil, p.Bool != nil, p.Str != nil} {
					if is {
						set++
					}
				}
				if p.Custom != nil && len(p.HF) == 0 && p.GGUF == "" {
					set++
				}
				if set != 1 {
					t.Errorf("%s: parameter %v %s has %d places in a model, want 1", c, p.HF, p.GGUF, set)
				}
				for _, k := range append(slices.Clone(p.HF), "gguf "+p.GGUF) {
					if k != "gguf " && keys[k] {
						t.Errorf("%s: key %s stands twice", c, k)
					}
					keys[k] = true
				}
			}
			if err := f.Check(&m, arch.GGUF); f.Open && err == nil {
				t.Errorf("%s: whose parameters are not read, goes to GGUF", c)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	for _, x := range []struct {
		name   string
		change func(m *config.Model)
		ok     bool
	}{
		{"as it is", func(m *config.Model) {}, true},
		{"linear", func(m *config.Model) { m.Rope.Type = "linear" }, true},
		{"linear without a factor", func(m *config.Model) { m.Rope = config.Rope{Type: "linear", Theta: 1e4} }, false},
		{"llama3 without its lengths", func(m *config.Model) { m.Rope = config.Rope{Type: "llama3", Theta: 1e4, Factor: 8} }, false},
		{"a key that nothing reads", func(m *config.Model) { m.Unread = []formats.KV{{Key: "llama.attention.scale", Value: float32(1)}} }, false},
		{"yarn", func(m *config.Model) { m.Rope.Type = "yarn" }, false},
		{"gelu", func(m *config.Model) { m.Act = "gelu" }, false},
		{"an odd head", func(m *config.Model) { m.HeadDim = 11 }, false},
		{"no heads", func(m *config.Model) { m.Heads = 0 }, false},
		{"no key heads", func(m *config.Model) { m.KVHeads = 0 }, false},
		{"heads that are no multiple of key heads", func(m *config.Model) { m.KVHeads = 4 }, false},
	} {
		m := model
		x.change(&m)
		if err := arch.Llama.Check(&m, arch.GGUF); (err == nil) != x.ok {
			t.Errorf("%s: got %v, want %v", x.name, err, x.ok)
		}
	}
	m := model
	if w := arch.Llama.Caveats(&m, arch.GGUF); w != nil {
		t.Errorf("no window: got %v", w)
	}
	if m.SlidingWindow = 100; arch.Llama.Caveats(&m, arch.GGUF) == nil || arch.Llama.Caveats(&m, arch.HF) != nil {
		t.Error("a window is a caveat for GGUF, and for it alone")
	}
	if m.SlidingWindow = 512; arch.Llama.Caveats(&m, arch.GGUF) != nil {
		t.Error("a window as long as the positions cuts nothing")
	}
}

// resolve opens a checkpoint by its bytes and looks for its family.
func resolve(t *testing.T, fsys fsio.FS, at, configFile string) (*arch.Model, error) {
	t.Helper()
	ck, err := all.Open(fsys, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	var side []formats.File
	if ck.Format != "gguf" {
		if side, _, err = all.Side(fsys, ck.Dir); err != nil {
			t.Fatal(err)
		}
	}
	return arch.Resolve(fsys, ck, side, configFile)
}

// TestResolve knows every fixture and takes its parameters, and holds its table against the file: each tensor that the table gives the model is there, in the
// table's shape, and there is no other.
func TestResolve(t *testing.T) {
	var paths []string
	for _, pattern := range []string{"checkpoints/*/config.json", "ties/*/config.json", "gguf/llamacpp/*.gguf"} {
		found, _ := filepath.Glob("../testdata/" + pattern)
		paths = append(paths, found...)
	}
	if len(paths) < 20 {
		t.Fatalf("got %d fixtures, want 20", len(paths))
	}
	for _, p := range paths {
		p = strings.TrimSuffix(p, "/config.json")
		m, err := resolve(t, fsio.OS{}, p, "")
		if err != nil {
			t.Errorf("%s: %v", p, err)
			continue
		}
		scheme := arch.HF
		if strings.HasSuffix(p, ".gguf") {
			scheme = arch.GGUF
		}
		if m.Family == nil || m.Scheme != scheme || m.Foreign != "" || len(m.Notes) > 0 || m.Config.Architecture == "" || m.Config.ModelType == "" {
			t.Errorf("%s: got scheme %s, foreign %q, notes %v, class %q", p, m.Scheme, m.Foreign, m.Notes, m.Class)
			continue
		}
		if err := m.Family.Check(m.Config, arch.GGUF); (err != nil) != m.Family.Open {
			t.Errorf("%s: parameters of an ordinary model: got %v", p, err)
		}
		seen := m.Dropped()
		for k := range m.Family.Tensors {
			x := &m.Family.Tensors[k]
			layers := int64(1)
			if x.PerLayer() {
				layers = m.Config.Layers
			}
			for i := range layers {
				runs := m.Find(x, i)
				has := x.When == nil || x.When(m.Config)
				tied := x.Kind == arch.Head || x.Kind == arch.Embedding || m.Family.Open
				if name := m.Missing(x, i); runs == nil && has && !tied && name != "" {
					t.Errorf("%s: %s is not there", p, name)
				}
				for _, r := range runs {
					seen[r.Name] = true
					if r.Tensor == nil || !slices.Equal(r.Tensor.Shape, r.Want) {
						t.Errorf("%s: %s: got %v, want %v", p, r.Name, r.Tensor, r.Want)
					}
				}
			}
		}
		for _, s := range m.Tensors {
			if !seen[s.Name] && !m.Family.Open {
				t.Errorf("%s: the table does not know %s", p, s.Name)
			}
		}
	}
}

func TestResolveOther(t *testing.T) {
	weights, err := os.ReadFile("../testdata/ties/tied/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile("../testdata/ties/tied/config.json")
	if err != nil {
		t.Fatal(err)
	}
	with := func(old, new string) string { return strings.Replace(string(good), old, new, 1) }
	const classes = "\"architectures\": [\n    \"LlamaForCausalLM\"\n  ],"
	for _, x := range []struct {
		name, config, file string
		side               string
		code               formats.Code
		family             bool
		class, foreign     string
		note               string // the subject of one
	}{
		{name: "no config"},
		{name: "the class decides", config: string(good), family: true, class: "LlamaForCausalLM"},
		{name: "model_type alone", config: with(classes, ""), family: true, class: "LlamaForCausalLM"},
		{name: "another class of a known type", config: with("LlamaForCausalLM", "LlamaForSequenceClassification"), class: "LlamaForSequenceClassification"},
		{name: "an unknown type", config: `{"model_type": "strange"}`, class: "strange"},
		{name: "an empty config", config: `{}`},
		{name: "a config that is no JSON", config: `{`, code: formats.Trunc},
		{name: "a key twice", config: `{"a": 1, "a": 2}`, code: formats.Dup},
		{name: "architectures of the wrong type", config: `{"architectures": "x"}`, code: formats.BadType},
		{name: "a known family without its sizes", config: `{"architectures": ["LlamaForCausalLM"]}`, code: formats.Missing},
		{name: "too many layers", config: with(`"num_hidden_layers": 2`, `"num_hidden_layers": 100001`), code: formats.Limit},
		{name: "a config elsewhere", config: `{"model_type": "strange"}`, file: "/other.json", family: true, class: "LlamaForCausalLM"},
		{name: "a config elsewhere that is not there", file: "/none.json", code: formats.IO},
		{name: "quantization", config: with("{", `{"quantization_config": {"quant_method": "awq"},`), family: true, class: "LlamaForCausalLM", foreign: "awq (quantization_config)"},
		{name: "quantization that is null", config: with("{", `{"quantization_config": null,`), family: true, class: "LlamaForCausalLM"},
		{name: "an adapter", side: "adapter_config.json", foreign: "adapter (adapter_config.json)"},
		{name: "rope keys of both majors", config: with("{", `{"rope_parameters": {"rope_theta": 5.0},`), family: true, class: "LlamaForCausalLM", note: "rope_theta"},
	} {
		fsys := fsio.NewMem()
		fsys.Put("/m/model.safetensors", string(weights))
		fsys.Put("/other.json", string(good))
		if x.config != "" {
			fsys.Put("/m/config.json", x.config)
		}
		if x.side != "" {
			fsys.Put("/m/"+x.side, "{}")
		}
		m, err := resolve(t, fsys, "/m", x.file)
		if formats.CodeOf(err) != x.code {
			t.Errorf("%s: got %v, want %q", x.name, err, x.code)
		}
		if err != nil {
			continue
		}
		subject := ""
		for _, n := range m.Notes {
			subject += n.Subject
		}
		if (m.Family != nil) != x.family || m.Class != x.class || m.Foreign != x.foreign || subject != x.note {
			t.Errorf("%s: got family %v, class %q, foreign %q, notes on %q, want %+v", x.name, m.Family != nil, m.Class, m.Foreign, subject, x)
		}
		if m.HasSide("config.json") != (x.config != "") || m.HasSide("model.safetensors") {
			t.Errorf("%s: the side files are wrong: %v", x.name, m.Side)
		}
	}
}
