package config_test

import (
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
)

const llama, mistral = "LlamaForCausalLM", "MistralForCausalLM"

// base is a config that says no more than it has to.
const base = corpus.ConfigBase

func read(t *testing.T, class, text string) (*config.Model, error) {
	t.Helper()
	d, err := config.Parse("config.json", []byte(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return config.FromHF(d, arch.Llama.Params(class))
}

// TestRopeKeys reads the rope keys of both majors, alone and together, as transformers 5 does.
func TestRopeKeys(t *testing.T) {
	noted := map[string]string{
		"rope_parameters beat root theta":                   "rope_theta",
		"rope_scaling and root theta beat rope_parameters":  "rope_parameters",
		"rope_scaling beats rope_parameters, no root theta": "rope_parameters",
		"theta in rope_scaling beats root theta":            "rope_theta",
		"empty rope_scaling is none":                        "rope_theta",
		"original length at the root does not count":        "original_max_position_embeddings",
	}
	for _, x := range ropes(t).Configs {
		text := "{" + base + "}"
		if inner := strings.Trim(string(x.Config), "{} "); inner != "" {
			text = "{" + base + "," + strings.TrimPrefix(string(x.Config), "{")
		}
		m, err := read(t, llama, text)
		if err != nil {
			t.Errorf("%s: %v", x.Name, err)
			continue
		}
		want := config.Rope{Type: x.Rope.Type, Theta: x.Rope.Theta, Factor: x.Rope.Factor, Low: x.Rope.Low, High: x.Rope.High, Original: x.Rope.Original}
		if !reflect.DeepEqual(m.Rope, want) {
			t.Errorf("%s: got %+v, want %+v", x.Name, m.Rope, want)
		}
		subject := ""
		for _, n := range m.Notes {
			subject += n.Subject
		}
		if subject != noted[x.Name] {
			t.Errorf("%s: got notes on %q, want %q", x.Name, subject, noted[x.Name])
		}
	}
}

func TestDefaults(t *testing.T) {
	for _, x := range []struct {
		name, class, more string
		want              func(m *config.Model) any
		is                any
	}{
		{"llama: heads", llama, "", func(m *config.Model) any { return m.KVHeads }, int64(6)},
		{"llama: head size", llama, "", func(m *config.Model) any { return m.HeadDim }, int64(10)},
		{"llama: head size null", llama, `, "head_dim": null`, func(m *config.Model) any { return m.HeadDim }, int64(10)},
		{"llama: head size", llama, `, "head_dim": 16`, func(m *config.Model) any { return m.HeadDim }, int64(16)},
		{"llama: positions", llama, "", func(m *config.Model) any { return m.MaxPos }, int64(2048)},
		{"llama: epsilon", llama, "", func(m *config.Model) any { return m.NormEps }, 1e-6},
		{"llama: activation", llama, "", func(m *config.Model) any { return m.Act }, "silu"},
		{"llama: biases", llama, "", func(m *config.Model) any { return fmt.Sprint(m.AttnBias, m.MLPBias) }, "false false"},
		{"llama: theta", llama, "", func(m *config.Model) any { return m.Rope.Theta }, 10000.0},
		{"mistral: key heads", mistral, "", func(m *config.Model) any { return m.KVHeads }, int64(8)},
		{"mistral: key heads null", mistral, `, "num_key_value_heads": null`, func(m *config.Model) any { return m.KVHeads }, int64(6)},
		{"llama: key heads null", llama, `, "num_key_value_heads": null`, func(m *config.Model) any { return m.KVHeads }, int64(6)},
		{"mistral: positions", mistral, "", func(m *config.Model) any { return m.MaxPos }, int64(131072)},
		{"mistral: window absent", mistral, "", func(m *config.Model) any { return m.SlidingWindow }, int64(4096)},
		{"mistral: window null", mistral, `, "sliding_window": null`, func(m *config.Model) any { return m.SlidingWindow }, int64(0)},
		{"mistral: window", mistral, `, "sliding_window": 512`, func(m *config.Model) any { return m.SlidingWindow }, int64(512)},
		{"type, new key", llama, `, "dtype": "bfloat16"`, func(m *config.Model) any { return m.DType }, "bfloat16"},
		{"type, old key", llama, `, "torch_dtype": "float16"`, func(m *config.Model) any { return m.DType }, "float16"},
		{"no version is transformers 4", llama, "", func(m *config.Model) any { return m.Major() }, 4},
		{"version 4", llama, `, "transformers_version": "4.57.6"`, func(m *config.Model) any { return m.Major() }, 4},
		{"version 5", llama, `, "transformers_version": "5.0.0.dev0"`, func(m *config.Model) any { return m.Major() }, 5},
		{"an odd version", llama, `, "transformers_version": "main"`, func(m *config.Model) any { return m.Major() }, 4},
		{"several ends", llama, `, "eos_token_id": [3, 4]`, func(m *config.Model) any { return fmt.Sprint(m.EOS) }, "[3 4]"},
		{"no tie flag", llama, "", func(m *config.Model) any { return len(m.Tie) }, 0},
		{"a tie flag that is null", llama, `, "tie_word_embeddings": null`, func(m *config.Model) any { return len(m.Tie) }, 0},
		{"tie flags at two levels", llama, `, "text_config": {"tie_word_embeddings": false}, "tie_word_embeddings": true`,
			func(m *config.Model) any { return fmt.Sprint(m.Tie) }, "[{tie_word_embeddings true true} {text_config.tie_word_embeddings false true}]"},
	} {
		m, err := read(t, x.class, "{"+base+x.more+"}")
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
		} else if got := x.want(m); got != x.is {
			t.Errorf("%s: got %v, want %v", x.name, got, x.is)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, x := range []struct {
		name, text string
		code       formats.Code
		fields     string // all that are named, in order
	}{
		{"nothing", `{}`, formats.Missing, "num_hidden_layers hidden_size intermediate_size num_attention_heads vocab_size"},
		{"wrong types, all named", `{` + base + `, "rms_norm_eps": "x", "attention_bias": 1, "hidden_act": true, "tie_word_embeddings": "yes", "bos_token_id": "<s>"}`,
			formats.BadType, "bos_token_id tie_word_embeddings rms_norm_eps hidden_act attention_bias"},
		{"a fraction of a head", `{` + base + `, "num_key_value_heads": 1.5}`, formats.BadType, "num_key_value_heads"},
		{"a negative size", `{` + base + `, "head_dim": -16}`, formats.Bounds, "head_dim"},
		{"a size beyond 31 bits", `{` + base + `, "head_dim": 4294967296}`, formats.Bounds, "head_dim"},
		{"rope_scaling is a list", `{` + base + `, "rope_scaling": [1]}`, formats.BadType, "rope_scaling"},
		{"rope_parameters is text", `{` + base + `, "rope_parameters": "default"}`, formats.BadType, "rope_parameters"},
		{"linear without factor", `{` + base + `, "rope_scaling": {"type": "linear"}}`, formats.Missing, "rope_scaling"},
		{"llama3 without anything", `{` + base + `, "rope_scaling": {"rope_type": "llama3"}}`, formats.Missing, "rope_scaling rope_scaling rope_scaling rope_scaling"},
		{"theta is zero", `{` + base + `, "rope_theta": 0}`, formats.Bounds, "rope_theta"},
		{"theta is NaN", `{` + base + `, "rope_theta": NaN}`, formats.Bounds, "rope_theta"},
		{"theta is text", `{` + base + `, "rope_theta": "10000"}`, formats.BadType, "rope_theta"},
		{"architectures is text", `{` + base + `, "architectures": "LlamaForCausalLM"}`, formats.BadType, "architectures"},
	} {
		_, err := read(t, llama, x.text)
		var fields []string
		for _, e := range formats.Errors(err) {
			fields = append(fields, e.Field)
			if e.Path != "config.json" {
				t.Errorf("%s: an error without the file: %v", x.name, e)
			}
		}
		if formats.CodeOf(err) != x.code || strings.Join(fields, " ") != x.fields {
			t.Errorf("%s: got %s about %q, want %s about %q: %v", x.name, formats.CodeOf(err), fields, x.code, x.fields, err)
		}
	}
}

// same compares what two configs compute.
func same(t *testing.T, name string, got, want *config.Model) {
	t.Helper()
	g, w := *got, *want
	for _, m := range []*config.Model{&g, &w} {
		m.TransformersVersion, m.FileType, m.Notes = "", 0, nil
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("%s:\ngot  %+v\nwant %+v", name, g, w)
	}
}

// TestWritten rebuilds config.json from the parameters of each fixture of Llama and reads it again: the same parameters, in the keys of transformers 4.
func TestWritten(t *testing.T) {
	for _, name := range []string{"granite-code", "granite-code-sharded", "llama-linear", "llama3", "mistral", "smollm2"} {
		b, err := os.ReadFile(checkpoints + name + "/config.json")
		if err != nil {
			t.Fatal(err)
		}
		class := llama
		if strings.Contains(string(b), mistral) {
			class = mistral
		}
		want, err := read(t, class, string(b))
		if err != nil {
			t.Fatal(name, err)
		}
		if want.Notes != nil {
			t.Errorf("%s: got notes %+v on a config without contradictions", name, want.Notes)
		}
		out := want.ToHF(arch.Llama.Params(class))
		got, err := read(t, class, string(out))
		if err != nil {
			t.Fatalf("%s: %v in %s", name, err, out)
		}
		same(t, name, got, want)
		d, _ := config.Parse("c", out)
		if d.Has("rope_parameters") || d.Has("dtype") || !d.Has("rope_theta") || !d.Has("tie_word_embeddings") {
			t.Errorf("%s: not in the keys of transformers 4: %s", name, out)
		}
		if again := got.ToHF(arch.Llama.Params(class)); string(again) != string(out) {
			t.Errorf("%s: written again it is %s", name, again)
		}

		// The same through GGUF keys: what they cannot say is filled in as a conversion does.
		h := &formats.Header{Metadata: want.ToGGUF("llama", arch.Llama.Params(class))}
		tensor := func(n string) { h.Tensors = append(h.Tensors, formats.Tensor{Name: n}) }
		if want.AttnBias {
			tensor("blk.0.attn_q.bias")
		}
		if want.MLPBias {
			tensor("blk.0.ffn_gate.bias")
		}
		back, err := config.FromGGUF(h, "llama", arch.Llama.Params(llama))
		if err != nil {
			t.Fatal(name, err)
		}
		back.Architecture, back.ModelType, back.DType, back.Tie, back.BOS, back.EOS, back.PAD = want.Architecture, want.ModelType, want.DType, want.Tie, want.BOS, want.EOS, want.PAD
		if want.Rope.Type == "llama3" {
			back.Rope = want.Rope // a tensor says it
		}
		same(t, name+" through GGUF", back, want)
	}
}

// TestWrittenNumbers writes numbers as Python's json does, those that JSON lacks too.
func TestWrittenNumbers(t *testing.T) {
	for eps, want := range map[float64]string{
		1e-5: "1e-05", 1e-6: "1e-06", 0.001: "0.001", 0.0001: "0.0001", 1: "1.0", 0: "0.0", 1e16: "1e+16", 123456: "123456.0",
		math.NaN(): "NaN", math.Inf(1): "Infinity", math.Inf(-1): "-Infinity",
	} {
		m := &config.Model{NormEps: eps, Rope: config.Rope{Theta: 10000}}
		d, err := config.Parse("c", m.ToHF(arch.Llama.Params(llama)))
		if err != nil {
			t.Errorf("%v: %v", eps, err)
		} else if got := d.Raw("rms_norm_eps"); got != want {
			t.Errorf("%v: got %s, want %s", eps, got, want)
		}
	}
}

func TestFromGGUFRefused(t *testing.T) {
	good := formats.Metadata{
		{Key: "llama.block_count", Value: uint32(2)}, {Key: "llama.context_length", Value: uint32(512)}, {Key: "llama.embedding_length", Value: uint32(60)},
		{Key: "llama.feed_forward_length", Value: uint32(88)}, {Key: "llama.attention.head_count", Value: uint32(6)},
		{Key: "llama.attention.layer_norm_rms_epsilon", Value: float32(1e-5)}, {Key: "llama.vocab_size", Value: uint32(347)},
	}
	m, err := config.FromGGUF(&formats.Header{Metadata: good}, "llama", arch.Llama.Params(llama))
	if err != nil {
		t.Fatal(err)
	}
	if m.KVHeads != 6 || m.HeadDim != 10 || m.Rope.Theta != 10000 || m.NormEps != 1e-5 {
		t.Errorf("got %+v, want the loader's defaults, and 1e-05 as it was before it became a float32", m)
	}
	for _, x := range []struct {
		name, key string
		value     any // nil removes it
		code      formats.Code
	}{
		{"no layers", "llama.block_count", nil, formats.Missing},
		{"no epsilon", "llama.attention.layer_norm_rms_epsilon", nil, formats.Missing},
		{"layers are text", "llama.block_count", "2", formats.BadType},
		{"negative layers", "llama.block_count", int32(-2), formats.Bounds},
		{"layers with other heads", "llama.attention.head_count", []uint32{6, 3}, formats.Unsupported},
		{"heads of three layers", "llama.attention.head_count", []uint32{6, 6, 6}, formats.Mismatch},
		{"heads are fractions", "llama.attention.head_count", []float32{6, 6}, formats.BadType},
		{"another value head size", "llama.attention.value_length", uint32(12), formats.Unsupported},
		{"another rope size", "llama.rope.dimension_count", uint32(5), formats.Unsupported},
		{"theta NaN", "llama.rope.freq_base", float32(math.NaN()), formats.Bounds},
		{"theta text", "llama.rope.freq_base", "x", formats.BadType},
		{"begin is text", "tokenizer.ggml.bos_token_id", "x", formats.BadType},
	} {
		var md formats.Metadata
		for _, kv := range good {
			if kv.Key != x.key {
				md = append(md, kv)
			}
		}
		if x.value != nil {
			md = append(md, formats.KV{Key: x.key, Value: x.value})
		}
		_, err := config.FromGGUF(&formats.Header{Metadata: md}, "llama", arch.Llama.Params(llama))
		if formats.CodeOf(err) != x.code || !strings.Contains(err.Error(), x.key) {
			t.Errorf("%s: got %v, want %s about %s", x.name, err, x.code, x.key)
		}
	}
}
