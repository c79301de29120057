package config_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// fromParams reads a params.json of a file that holds an embedding of 347 rows.
func fromParams(t *testing.T, text string) (*config.Model, error) {
	t.Helper()
	d, err := config.Parse("params.json", []byte(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	h := &formats.Header{Tensors: []formats.Tensor{{Name: "tok_embeddings.weight", Shape: []int64{347, 60}}}}
	return config.FromParams(h, d, arch.Llama.Params(llama))
}

// TestPublishedWidths derives the width of the MLP from the params.json that Meta publishes, which do not state it. The widths are those of the
// intermediate_size in the config.json of the same models.
func TestPublishedWidths(t *testing.T) {
	for _, x := range []struct {
		name, text    string
		ffn, kv, head int64
		theta         float64
	}{
		{"Llama 2 7B", `{"dim": 4096, "multiple_of": 256, "n_heads": 32, "n_layers": 32, "norm_eps": 1e-05, "vocab_size": -1}`, 11008, 32, 128, 10000},
		{"Llama 2 13B", `{"dim": 5120, "multiple_of": 256, "n_heads": 40, "n_layers": 40, "norm_eps": 1e-05, "vocab_size": -1}`, 13824, 40, 128, 10000},
		{"Llama 2 70B", `{"dim": 8192, "multiple_of": 4096, "ffn_dim_multiplier": 1.3, "n_heads": 64, "n_kv_heads": 8, "n_layers": 80, "norm_eps": 1e-05, "vocab_size": -1}`, 28672, 8, 128, 10000},
		{"Llama 3 8B", `{"dim": 4096, "n_layers": 32, "n_heads": 32, "n_kv_heads": 8, "vocab_size": 128256, "multiple_of": 1024, "ffn_dim_multiplier": 1.3, "norm_eps": 1e-05, "rope_theta": 500000.0}`, 14336, 8, 128, 500000},
		{"Llama 3 70B", `{"dim": 8192, "n_layers": 80, "n_heads": 64, "n_kv_heads": 8, "vocab_size": 128256, "multiple_of": 4096, "ffn_dim_multiplier": 1.3, "norm_eps": 1e-05, "rope_theta": 500000.0}`, 28672, 8, 128, 500000},
		{"Llama 3.2 1B", `{"dim": 2048, "n_layers": 16, "n_heads": 32, "n_kv_heads": 8, "vocab_size": 128256, "ffn_dim_multiplier": 1.5, "multiple_of": 256, "norm_eps": 1e-05, "rope_theta": 500000.0,
			"use_scaled_rope": true, "rope_scaling_factor": 32}`, 8192, 8, 64, 500000},
		{"Llama 3.2 3B", `{"dim": 3072, "n_layers": 28, "n_heads": 24, "n_kv_heads": 8, "vocab_size": 128256, "ffn_dim_multiplier": 1.0, "multiple_of": 256, "norm_eps": 1e-05, "rope_theta": 500000.0,
			"use_scaled_rope": true, "rope_scaling_factor": 32}`, 8192, 8, 128, 500000},
	} {
		m, err := fromParams(t, x.text)
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		if m.FFN != x.ffn || m.KVHeads != x.kv || m.HeadDim != x.head || m.Rope.Theta != x.theta {
			t.Errorf("%s: got width %d, %d key heads of %d, theta %v; want %d, %d of %d, %v", x.name, m.FFN, m.KVHeads, m.HeadDim, m.Rope.Theta, x.ffn, x.kv, x.head, x.theta)
		}
		if len(m.Notes) != 0 || len(m.Unread) != 0 {
			t.Errorf("%s: got notes %v, unread %v, want none", x.name, m.Notes, m.Unread)
		}
	}
}

// few is a params.json that says no more than TorchChat's class defaults do not.
const few = `"dim": 60, "n_layers": 2, "n_heads": 6, "hidden_dim": 92`

func TestFromParams(t *testing.T) {
	for _, x := range []struct {
		name, more string
		want       func(m *config.Model) any
		is         any
	}{
		{"key heads are the heads", "", func(m *config.Model) any { return m.KVHeads }, int64(6)},
		{"key heads by TorchChat's name", `, "n_local_heads": 2`, func(m *config.Model) any { return m.KVHeads }, int64(2)},
		{"key heads by Meta's name", `, "n_kv_heads": 3`, func(m *config.Model) any { return m.KVHeads }, int64(3)},
		{"key heads -1 are the heads", `, "n_local_heads": -1`, func(m *config.Model) any { return m.KVHeads }, int64(6)},
		{"key heads -1 beside Meta's name", `, "n_local_heads": -1, "n_kv_heads": 2`, func(m *config.Model) any { return m.KVHeads }, int64(2)},
		{"size of a head", "", func(m *config.Model) any { return m.HeadDim }, int64(10)},
		{"size of a head, said again", `, "head_dim": 10`, func(m *config.Model) any { return len(m.Unread) }, 0},
		{"vocabulary by the embedding", "", func(m *config.Model) any { return m.Vocab }, int64(347)},
		{"vocabulary -1", `, "vocab_size": -1`, func(m *config.Model) any { return m.Vocab }, int64(347)},
		{"vocabulary stated", `, "vocab_size": 300`, func(m *config.Model) any { return m.Vocab }, int64(300)},
		{"positions", "", func(m *config.Model) any { return m.MaxPos }, int64(2048)},
		{"positions stated", `, "block_size": 131072, "max_seq_length": 8192`, func(m *config.Model) any { return m.MaxPos }, int64(131072)},
		{"epsilon", "", func(m *config.Model) any { return m.NormEps }, 1e-5},
		{"epsilon stated", `, "norm_eps": 1e-6`, func(m *config.Model) any { return m.NormEps }, 1e-6},
		{"theta", "", func(m *config.Model) any { return m.Rope }, config.Rope{Type: "default", Theta: 10000}},
		{"theta by TorchChat's name", `, "rope_base": 10000000`, func(m *config.Model) any { return m.Rope.Theta }, 1e7},
		{"theta by Meta's name", `, "rope_theta": 500000.0`, func(m *config.Model) any { return m.Rope.Theta }, 5e5},
		{"activation", "", func(m *config.Model) any { return m.Act }, "silu"},
		{"biases", "", func(m *config.Model) any { return fmt.Sprint(m.AttnBias, m.MLPBias) }, "false false"},
		{"biases stated", `, "attention_bias": true, "feed_forward_bias": true`, func(m *config.Model) any { return fmt.Sprint(m.AttnBias, m.MLPBias) }, "true true"},
		{"tie flag absent", "", func(m *config.Model) any { return len(m.Tie) }, 0},
		{"tie flag", `, "tie_word_embeddings": true`, func(m *config.Model) any { return m.Tie }, []config.Declared{{Path: config.ParamsTie, Value: true, Explicit: true}}},
		{"rope_scaling null", `, "rope_scaling": null`, func(m *config.Model) any { return m.Rope.Type }, "default"},
		{"rope_scaling", `, "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}`, func(m *config.Model) any { return m.Rope },
			config.Rope{Type: "llama3", Theta: 10000, Factor: 8, Low: 1, High: 4, Original: 64}},
		{"rope_scaling of another type is read as TorchChat reads it, with a note", `, "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}`,
			func(m *config.Model) any {
				return m.Rope.Type + " " + fmt.Sprint(len(m.Notes)) + fmt.Sprint(strings.Contains(fmt.Sprint(m.Notes), "yarn"))
			}, "llama3 1true"},
		{"use_scaled_rope false", `, "use_scaled_rope": false`, func(m *config.Model) any { return m.Rope.Type }, "default"},
		{"use_scaled_rope", `, "use_scaled_rope": true, "rope_scaling_factor": 32.0, "high_freq_factor": 4.0`, func(m *config.Model) any { return m.Rope },
			config.Rope{Type: "llama3", Theta: 10000, Factor: 32, Low: 1, High: 4, Original: 8192}},
		{"what says nothing of the numbers", `, "use_tiktoken": true, "use_hf_tokenizer": false, "tokenizer_prepend_bos": false, "max_seq_length": 100, "n_stages": 1, "stage_idx": 0, "use_qk_norm": false`,
			func(m *config.Model) any { return fmt.Sprint(len(m.Notes), len(m.Unread)) }, "0 0"},
		{"multipliers that are null", `, "embedding_multiplier": null, "attention_multiplier": null, "residual_multiplier": null, "logits_scaling": null`,
			func(m *config.Model) any { return fmt.Sprint(len(m.Notes), len(m.Unread)) }, "0 0"},
		{"an unknown key", `, "colour": "blue"`, func(m *config.Model) any { return strings.Contains(fmt.Sprint(m.Notes), "colour") }, true},
		{"an unknown key changes nothing", `, "colour": "blue"`, func(m *config.Model) any { return len(m.Unread) }, 0},
		{"width by the formula", `, "hidden_dim": null, "multiple_of": 16`, func(m *config.Model) any { return m.FFN }, int64(160)},
	} {
		m, err := fromParams(t, "{"+strings.TrimSuffix(few, map[bool]string{true: `, "hidden_dim": 92`}[strings.Contains(x.more, "hidden_dim")])+x.more+"}")
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
		} else if got := x.want(m); !reflect.DeepEqual(got, x.is) {
			t.Errorf("%s: got %v, want %v", x.name, got, x.is)
		}
	}
}

// TestParamsThatMatter keeps what changes the numbers for the family to refuse, by the key's name.
func TestParamsThatMatter(t *testing.T) {
	for _, x := range []struct{ key, value string }{
		{"quantization_args", `{"scheme": "int8_weight_int4_activation"}`}, {"lora_args", `{"rank": 16}`}, {"moe", `{"num_experts": 8}`}, {"moe_args", `{"num_experts": 8}`},
		{"vision_args", `{}`}, {"vision_chunk_size", "448"}, {"use_qk_norm", "true"}, {"attention_chunk_size", "8192"}, {"nope_layer_interval", "4"}, {"sliding_window", "4096"},
		{"embedding_multiplier", "12.0"}, {"attention_multiplier", "0.3125"}, {"residual_multiplier", "0.22"}, {"logits_scaling", "8.0"}, {"head_dim", "12"}, {"n_stages", "2"}, {"stage_idx", "1"},
	} {
		m, err := fromParams(t, fmt.Sprintf("{%s, %q: %s}", few, x.key, x.value))
		if err != nil {
			t.Errorf("%s: %v", x.key, err)
			continue
		}
		if len(m.Unread) != 1 || m.Unread[0].Key != x.key {
			t.Errorf("%s: got unread %v, want it", x.key, m.Unread)
		}
		for _, s := range []arch.Scheme{arch.HF, arch.GGUF, arch.TorchChat} {
			if err := arch.Llama.Check(m, s); formats.CodeOf(err) != formats.Unsupported || !strings.Contains(err.Error(), x.key) {
				t.Errorf("%s for %s: got %v, want unsupported, with the key", x.key, s, err)
			}
		}
	}
}

func TestBadParams(t *testing.T) {
	const scaling = `"rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}`
	without := func(key string) string {
		var keep []string
		for _, kv := range strings.Split(strings.TrimSuffix(strings.TrimPrefix(scaling, `"rope_scaling": {`), "}"), ", ") {
			if !strings.HasPrefix(kv, `"`+key+`"`) {
				keep = append(keep, kv)
			}
		}
		return `"rope_scaling": {` + strings.Join(keep, ", ") + "}"
	}
	for _, x := range []struct {
		name, text string
		want       map[string]formats.Code // by field
	}{
		{"no heads", `"dim": 60, "n_layers": 2`, map[string]formats.Code{"n_heads": formats.Missing}},
		{"no width and no depth", `"n_heads": 6`, map[string]formats.Code{"dim": formats.Missing, "n_layers": formats.Missing}},
		{"no layers but -1", `"dim": 60, "n_layers": -1, "n_heads": 6`, map[string]formats.Code{"n_layers": formats.Missing}},
		{"layers are a string", `"dim": 60, "n_layers": "2", "n_heads": 6`, map[string]formats.Code{"n_layers": formats.BadType}},
		{"heads are half", `"dim": 60, "n_layers": 2, "n_heads": 5.5`, map[string]formats.Code{"n_heads": formats.BadType}},
		{"a tie flag of text", few + `, "tie_word_embeddings": "yes"`, map[string]formats.Code{"tie_word_embeddings": formats.BadType}},
		{"biases of text", few + `, "attention_bias": "yes", "feed_forward_bias": 1`, map[string]formats.Code{"attention_bias": formats.BadType, "feed_forward_bias": formats.BadType}},
		{"theta 0", few + `, "rope_base": 0`, map[string]formats.Code{"rope_base": formats.Bounds}},
		{"theta below 0", few + `, "rope_theta": -1`, map[string]formats.Code{"rope_base": formats.Bounds}},
		{"theta of text", few + `, "rope_theta": "big"`, map[string]formats.Code{"rope_theta": formats.BadType}},
		{"multiple of 0", `"dim": 60, "n_layers": 2, "n_heads": 6, "multiple_of": 0`, map[string]formats.Code{"multiple_of": formats.Bounds}},
		{"a multiplier below 0", `"dim": 60, "n_layers": 2, "n_heads": 6, "ffn_dim_multiplier": -1.3`, map[string]formats.Code{"ffn_dim_multiplier": formats.Bounds}},
		{"rope_scaling empty", few + `, "rope_scaling": {}`, map[string]formats.Code{"rope_scaling.factor": formats.Missing, "rope_scaling.low_freq_factor": formats.Missing,
			"rope_scaling.high_freq_factor": formats.Missing, "rope_scaling.original_max_position_embeddings": formats.Missing}},
		{"rope_scaling linear", few + `, "rope_scaling": {"rope_type": "linear", "factor": 2.0}`, map[string]formats.Code{"rope_scaling.low_freq_factor": formats.Missing,
			"rope_scaling.high_freq_factor": formats.Missing, "rope_scaling.original_max_position_embeddings": formats.Missing}},
		{"rope_scaling without factor", few + ", " + without("factor"), map[string]formats.Code{"rope_scaling.factor": formats.Missing}},
		{"rope_scaling without low", few + ", " + without("low_freq_factor"), map[string]formats.Code{"rope_scaling.low_freq_factor": formats.Missing}},
		{"rope_scaling without high", few + ", " + without("high_freq_factor"), map[string]formats.Code{"rope_scaling.high_freq_factor": formats.Missing}},
		{"rope_scaling without length", few + ", " + without("original_max_position_embeddings"), map[string]formats.Code{"rope_scaling.original_max_position_embeddings": formats.Missing}},
		{"rope_scaling is a number", few + `, "rope_scaling": 8`, map[string]formats.Code{"rope_scaling": formats.BadType}},
		{"use_scaled_rope without its factor", few + `, "use_scaled_rope": true`, map[string]formats.Code{"rope_scaling_factor": formats.Missing}},
		{"use_scaled_rope of text", few + `, "use_scaled_rope": "yes"`, map[string]formats.Code{"use_scaled_rope": formats.BadType}},
	} {
		_, err := fromParams(t, "{"+x.text+"}")
		got := map[string]formats.Code{}
		for _, e := range formats.Errors(err) {
			got[e.Field] = e.Code
			if e.Path != "params.json" {
				t.Errorf("%s: an error without its file: %v", x.name, e)
			}
		}
		if !reflect.DeepEqual(got, x.want) {
			t.Errorf("%s:\ngot  %v (%v)\nwant %v", x.name, got, err, x.want)
		}
	}
}

// TestHugeParams reads sizes that no product of holds.
func TestHugeParams(t *testing.T) {
	for _, text := range []string{
		`{"dim": 9223372036854775807, "n_layers": 2, "n_heads": 1}`,
		`{"dim": 4611686018427387904, "n_layers": 9223372036854775807, "n_heads": 4611686018427387904, "ffn_dim_multiplier": 1e300}`,
		`{"dim": 60, "n_layers": 2, "n_heads": 6, "multiple_of": 9223372036854775807}`,
		`{"dim": 60, "n_layers": 2, "n_heads": 0}`,
		`{"dim": 0, "n_layers": 0, "n_heads": 0}`,
	} {
		m, err := fromParams(t, text)
		if err == nil {
			err = arch.Llama.Check(m, arch.TorchChat)
		}
		if err == nil && m.FFN <= 0 {
			t.Errorf("%s: got width %d and no error", text, m.FFN)
		}
	}
}

// TestTransformerArgs holds the defaults and formulas against those that TorchChat's own class gave.
func TestTransformerArgs(t *testing.T) {
	var args struct {
		Fields []struct {
			Name    string
			Default any
		}
		Derived struct {
			Given     map[string]any
			HeadDim   int64 `json:"head_dim"`
			Local     int64 `json:"n_local_heads"`
			HiddenDim int64 `json:"hidden_dim"`
		}
		Renamed map[string]string
		Scaling []struct {
			Scaling json.RawMessage `json:"rope_scaling"`
			Angles  []float64
			Error   string
		} `json:"rope_scaling"`
	}
	b, err := os.ReadFile(filepath.FromSlash("../../testdata/torchchat/args.json"))
	if err == nil {
		err = json.Unmarshal(b, &args)
	}
	if err != nil || len(args.Fields) < 20 || len(args.Scaling) < 8 || len(args.Renamed) != 2 {
		t.Fatalf("got %+v, %v", args, err)
	}
	known := map[string]any{}
	for _, f := range args.Fields {
		known[f.Name] = f.Default
	}

	m, err := fromParams(t, `{"dim": 60, "n_layers": 2, "n_heads": 6}`)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]float64{"block_size": float64(m.MaxPos), "rope_base": m.Rope.Theta, "norm_eps": m.NormEps} {
		if got != known[name] {
			t.Errorf("%s: got default %v, want %v", name, got, known[name])
		}
	}

	// A file that states all the defaults reads like one that states none, but for what depends on the weights.
	all := map[string]any{}
	for k, v := range known {
		if all[k] = v; k == "head_dim" || k == "vocab_size" { // TorchChat replaces the first by dim / n_heads
			delete(all, k)
		}
	}
	all["dim"], all["n_layers"], all["n_heads"] = 60, 2, 6
	if b, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	stated, err := fromParams(t, string(b))
	if err != nil {
		t.Fatal(err)
	}
	stated.Tie = nil
	if !reflect.DeepEqual(stated, m) {
		t.Errorf("defaults stated: got %+v\nwant %+v", stated, m)
	}

	given := args.Derived.Given
	delete(given, "head_dim") // which its class overrides; here it is a contradiction, see TestParamsThatMatter
	given["n_layers"] = 2
	if b, err = json.Marshal(given); err != nil {
		t.Fatal(err)
	}
	if m, err = fromParams(t, string(b)); err != nil || m.HeadDim != args.Derived.HeadDim || m.KVHeads != args.Derived.Local || m.FFN != args.Derived.HiddenDim {
		t.Errorf("%s: got %d, %d, %d, want %+v, %v", b, m.HeadDim, m.KVHeads, m.FFN, args.Derived, err)
	}
	for from, to := range args.Renamed {
		a, err1 := fromParams(t, "{"+few+`, "`+from+`": 3}`)
		b, err2 := fromParams(t, "{"+few+`, "`+to+`": 3}`)
		if err1 != nil || err2 != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%s: got %+v, want it as %s, %+v; %v, %v", from, a, to, b, err1, err2)
		}
	}

	// TorchChat rotates by the angles of these; where it refuses one, so do we.
	for _, x := range args.Scaling {
		m, err := fromParams(t, fmt.Sprintf(`{"dim": 8, "n_layers": 1, "n_heads": 1, "hidden_dim": 8, "rope_scaling": %s}`, x.Scaling))
		if (err != nil) != (x.Error != "") {
			t.Errorf("%s: got %v, TorchChat says %q", x.Scaling, err, x.Error)
			continue
		}
		if err != nil {
			continue
		}
		div := m.Rope.Divisors(m.HeadDim)
		for i, want := range x.Angles {
			got := math.Pow(m.Rope.Theta, -2*float64(i)/float64(m.HeadDim))
			if div != nil {
				got /= float64(div[i])
			}
			if math.Abs(got-want) > 1e-6*want { // float32 there
				t.Errorf("%s: angle %d: got %v, want %v", x.Scaling, i, got, want)
			}
		}
	}

	// What we write has no key that its class does not take.
	c, err := read(t, llama, "{"+base+"}")
	if err != nil {
		t.Fatal(err)
	}
	d, err := config.Parse("params.json", c.ToParams(arch.Llama.Params(llama), config.Runtime{HFTokenizer: true}, true))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range d.Keys() {
		if _, ok := known[k]; !ok {
			t.Errorf("params.json has %s, which TransformerArgs does not take", k)
		}
	}
	if !config.IsParams(d) {
		t.Error("what we write is not taken for a params.json")
	}
}

// TestToParams writes what it reads back.
func TestToParams(t *testing.T) {
	for _, more := range []string{"", `, "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}`,
		`, "attention_bias": true, "mlp_bias": true, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "max_position_embeddings": 131072`} {
		for _, class := range []string{llama, mistral} {
			if class == mistral && strings.Contains(more, "bias") {
				continue
			}
			text := "{" + base + more + "}"
			if class == mistral {
				text = "{" + base + `, "num_key_value_heads": 3, "sliding_window": null` + more + "}"
			}
			m, err := read(t, class, text)
			if err != nil {
				t.Fatal(err)
			}
			b := m.ToParams(arch.Llama.Params(class), config.Runtime{HFTokenizer: true, PrependsBOS: true}, false)
			back, err := fromParams(t, string(b))
			if err != nil {
				t.Fatalf("%v in %s", err, b)
			}
			d, err := config.Parse("params.json", b)
			if err != nil {
				t.Fatal(err)
			}
			if list := config.Disagree(m, back, d, arch.Llama.Params(llama)); len(list) != 0 {
				t.Errorf("%s%s: reads back as another: %v", class, more, list)
			}
			if v, ok, err := d.Bool("tie_word_embeddings"); v || !ok || err != nil {
				t.Errorf("tie_word_embeddings: got %v %v %v, want it stated", v, ok, err)
			}
			if n, _, _ := d.Int("max_seq_length"); n != min(8192, m.MaxPos) {
				t.Errorf("max_seq_length: got %d, want at most 8192 of %d", n, m.MaxPos)
			}
		}
	}
}

func TestIsParams(t *testing.T) {
	for text, want := range map[string]bool{
		`{"dim": 60, "n_layers": 2}`:                                     true,
		`{"dim": 60, "n_layers": 2, "model_type": "llama"}`:              false,
		`{"dim": 60, "n_layers": 2, "architectures": ["x"]}`:             false,
		`{"hidden_size": 60, "num_hidden_layers": 2}`:                    false,
		`{"temperature": 0.7, "top_p": 0.9}`:                             false,
		`{"dim": 60}`:                                                    false,
		`{"learning_rate": 0.1, "n_layers": 2, "optimizer": {"dim": 1}}`: false,
		`{}`: false,
	} {
		d, err := config.Parse("params.json", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := config.IsParams(d); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

// TestDisagree names each key that says another thing, and both values.
func TestDisagree(t *testing.T) {
	m, err := read(t, llama, "{"+base+`, "rms_norm_eps": 1e-5, "num_key_value_heads": 2}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ name, change, key, got, want string }{
		{"agrees", "", "", "", ""},
		{"says less", `"n_local_heads"`, "", "", ""},
		{"layers", `"n_layers": 3`, "n_layers", "3", "2"},
		{"heads", `"n_heads": 5`, "n_heads", "5", "6"},
		{"key heads", `"n_local_heads": 3`, "n_local_heads", "3", "2"},
		{"width", `"dim": 66`, "dim", "66", "60"},
		{"width of the MLP", `"hidden_dim": 99`, "hidden_dim", "99", "88"},
		{"positions", `"block_size": 4096`, "block_size", "4096", "2048"},
		{"vocabulary", `"vocab_size": 300`, "vocab_size", "300", "347"},
		{"epsilon", `"norm_eps": 1e-6`, "norm_eps", "1e-06", "1e-05"},
		{"attention biases", `"attention_bias": true`, "attention_bias", "true", "false"},
		{"MLP biases", `"feed_forward_bias": true`, "feed_forward_bias", "true", "false"},
		{"theta", `"rope_base": 500000`, "rope_base and rope_scaling", "500000", "10000"},
		{"scaling", `"rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}`, "rope_base and rope_scaling", "llama3", "default"},
	} {
		keys := []string{`"n_layers": 2`, `"n_heads": 6`, `"n_local_heads": 2`, `"dim": 60`, `"hidden_dim": 88`, `"block_size": 2048`, `"vocab_size": 347`, `"norm_eps": 1e-5`, `"rope_base": 10000.0`}
		name, value, _ := strings.Cut(x.change, ":")
		keys = slices.DeleteFunc(keys, func(k string) bool {
			return name != "" && strings.HasPrefix(k, name+":") || strings.HasPrefix(k, name) && value == "" && name != ""
		})
		if value != "" {
			keys = append(keys, x.change)
		}
		text := "{" + strings.Join(keys, ", ") + "}"
		other, err := fromParams(t, text)
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		d, err := config.Parse("params.json", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		list := config.Disagree(m, other, d, arch.Llama.Params(llama))
		if x.key == "" {
			if len(list) != 0 {
				t.Errorf("%s: got %v, want none", x.name, list)
			}
			continue
		}
		if len(list) != 1 || list[0].Field != x.key || !strings.Contains(list[0].Error(), x.got) || !strings.Contains(list[0].Error(), x.want) {
			t.Errorf("%s: got %v, want %s with %s and %s", x.name, list, x.key, x.got, x.want)
		}
	}
}

// FuzzParams reads any params.json: an error or a model, and no panic.
func FuzzParams(f *testing.F) {
	f.Add([]byte(`{"dim": 60, "n_layers": 2, "n_heads": 6}`))
	f.Add([]byte(`{"dim": 4096, "n_layers": 32, "n_heads": 32, "n_kv_heads": 8, "vocab_size": -1, "multiple_of": 1024, "ffn_dim_multiplier": 1.3, "norm_eps": 1e-05, "rope_theta": 500000.0}`))
	f.Add([]byte(`{"dim": 8, "n_layers": 1, "n_heads": 0, "head_dim": 0, "use_scaled_rope": true, "rope_scaling_factor": 0, "rope_scaling": {"factor": 0}}`))
	for _, name := range []string{"granite", "granite-code", "llama", "llama3-rope"} {
		b, err := os.ReadFile(filepath.FromSlash("../../testdata/torchchat/" + name + "/params.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := config.Parse("params.json", b)
		if err != nil {
			return
		}
		h := &formats.Header{Tensors: []formats.Tensor{{Name: "tok_embeddings.weight", Shape: []int64{347, 60}}}}
		for _, class := range []string{llama, mistral} {
			m, err := config.FromParams(h, d, arch.Llama.Params(class))
			if err != nil {
				continue
			}
			if arch.Llama.Check(m, arch.TorchChat) != nil {
				continue
			}
			out, err := config.Parse("out", m.ToParams(arch.Llama.Params(class), config.Runtime{}, true))
			if err != nil {
				t.Fatalf("%v in what was written of %s", err, b)
			}
			back, err := config.FromParams(h, out, arch.Llama.Params(class))
			if err != nil {
				t.Fatalf("%v in %s, written of %s", err, m.ToParams(arch.Llama.Params(class), config.Runtime{}, true), b)
			}
			if list := config.Disagree(m, back, out, arch.Llama.Params(class)); len(list) > 0 {
				t.Fatalf("%v of %s", list, b)
			}
		}
	})
}
