package verify_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/verify"
)

// rows is a trace of these logits, tokens 0, 1, 2...
func rows(v ...[]float64) *verify.Trace {
	t := &verify.Trace{}
	for i, r := range v {
		t.Tokens = append(t.Tokens, int32(i))
		t.Logits.Rows, t.Logits.Cols = len(v), len(r)
		t.Logits.F64 = append(t.Logits.F64, r...)
	}
	return t
}

func TestMetrics(t *testing.T) {
	ln3 := math.Log(3)
	for _, c := range []struct {
		name      string
		ref, test *verify.Trace
		want      verify.Row
		pass      bool
	}{
		{"equal rows", rows([]float64{1, 2}), rows([]float64{1, 2}), verify.Row{Top1: true, Top5: 1, Finite: true}, true},
		{"two zero rows", rows([]float64{0, 0}), rows([]float64{0, 0}), verify.Row{Top1: true, Top5: 1, Finite: true}, true},
		{"a zero reference", rows([]float64{0, 0}), rows([]float64{0, 1}),
			verify.Row{NMSE: formats.Number(math.Inf(1)), MaxAbs: 1, MaxRel: formats.Number(math.Inf(1)), KL: 0.12011450695827758, Top5: 1, Excused: true, Finite: true}, false},
		// p = (1/4, 3/4) against (1/2, 1/2): 1/4 ln 1/2 + 3/4 ln 3/2
		{"divergence by hand", rows([]float64{0, ln3}), rows([]float64{7, 7}),
			verify.Row{NMSE: formats.Number((49 + (7-ln3)*(7-ln3)) / (ln3 * ln3)), MaxAbs: 7, MaxRel: formats.Number(7 / (ln3 / math.Sqrt2)), KL: 0.13081203594113694, Top5: 1, Finite: true}, false},
		{"a shift of all logits", rows([]float64{3, 4}), rows([]float64{4, 5}),
			verify.Row{NMSE: 2.0 / 25, MaxAbs: 1, MaxRel: formats.Number(1 / math.Sqrt(12.5)), Top1: true, Top5: 1, Finite: true}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := compare(t, c.ref, c.test, verify.CompareOptions{Class: "A"})
			got := r.Rows[0]
			for _, n := range []struct {
				name      string
				got, want formats.Number
			}{{"nmse", got.NMSE, c.want.NMSE}, {"kl", got.KL, c.want.KL}, {"max_abs", got.MaxAbs, c.want.MaxAbs}, {"max_rel", got.MaxRel, c.want.MaxRel}, {"top5", got.Top5, c.want.Top5}} {
				if n.got != n.want && !(math.Abs(float64(n.got-n.want)) <= 1e-15*math.Abs(float64(n.want))+1e-16) {
					t.Errorf("%s: got %v, want %v", n.name, float64(n.got), float64(n.want))
				}
			}
			if got.Top1 != c.want.Top1 || got.Finite != c.want.Finite || r.Pass != c.pass {
				t.Errorf("got top1 %v, finite %v, pass %v; want %v, %v, %v", got.Top1, got.Finite, r.Pass, c.want.Top1, c.want.Finite, c.pass)
			}
		})
	}
}

func TestNotFiniteFails(t *testing.T) {
	good := []float64{1, 2, 3}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		bad := []float64{1, v, 3}
		for _, c := range []struct {
			name      string
			ref, test *verify.Trace
		}{{"test", rows(good, good), rows(good, bad)}, {"reference", rows(good, bad), rows(good, good)}, {"both alike", rows(good, bad), rows(good, bad)}} {
			r := compare(t, c.ref, c.test, verify.CompareOptions{Class: "D:Q2_K"})
			if r.Pass || r.Summary.NonFinite != 1 || r.Summary.WorstRow != 1 || r.FirstBad.Row != 1 {
				t.Errorf("%v in %s: got\n%s", v, c.name, text(r))
			}
		}
	}
	m := load(t, model(t, "checkpoints/smollm2"))
	m.tensors["model.layers.1.mlp.up_proj.weight"].v[3] = float32(math.NaN())
	x := m.model(t)
	out := run(t, x, []int32{1, 2, 3}, verify.Options{Hidden: true})
	r := compare(t, run(t, model(t, "checkpoints/smollm2"), []int32{1, 2, 3}, verify.Options{Hidden: true}), out, verify.CompareOptions{})
	if r.Pass || r.FirstBad.Layer == nil || *r.FirstBad.Layer != 1 || !strings.Contains(text(r), "not finite") {
		t.Errorf("a weight that is NaN: got\n%s", text(r))
	}
}

func TestNothingComparedFails(t *testing.T) {
	empty := &verify.Trace{Logits: verify.Matrix{Rows: 0, Cols: 5}}
	if r := compare(t, empty, empty, verify.CompareOptions{}); r.Pass || r.Gates[0].Name != "compared" || r.Gates[0].Pass {
		t.Errorf("got %+v", r)
	}
}

func TestTracesThatCannotBeCompared(t *testing.T) {
	other := rows([]float64{1, 2})
	other.Tokens = []int32{9}
	for _, c := range []struct {
		name      string
		ref, test *verify.Trace
		o         verify.CompareOptions
		code      formats.Code
	}{
		{"other tokens", other, rows([]float64{1, 2}), verify.CompareOptions{}, formats.Mismatch},
		{"another vocabulary", rows([]float64{1, 2, 3}), rows([]float64{1, 2}), verify.CompareOptions{}, formats.BadShape},
		{"other row count", &verify.Trace{Logits: verify.Matrix{Rows: 2, Cols: 1, F32: []float32{1, 2}}}, rows([]float64{1}), verify.CompareOptions{}, formats.BadShape},
		{"an unknown class", rows([]float64{1, 2}), rows([]float64{1, 2}), verify.CompareOptions{Class: "Z"}, formats.Usage},
	} {
		if _, err := verify.Compare(c.ref, c.test, c.o); formats.CodeOf(err) != c.code {
			t.Errorf("%s: got %v, want %s", c.name, err, c.code)
		}
	}
}

func TestClasses(t *testing.T) {
	small, large := int64(135_000_000), int64(8_000_000_000)
	for _, c := range []struct {
		class      string
		weights    dtype.Type
		parameters int64
		name       string // "" for an error
		nmse, kl   float64
		rule       string
	}{
		{"S", dtype.F32, small, "S", 1e-10, 1e-10, ""},
		{"a", dtype.F32, small, "A", 1e-8, 1e-7, ""},
		{"B", dtype.F16, small, "B", 1e-4, 1e-5, ""},
		{"C", dtype.BF16, small, "C", 5e-3, 1e-3, ""},
		{"D:Q8_0", dtype.Q8_0, small, "D:Q8_0", 3e-2, 2e-2, "Q8_0 under 1B parameters"},
		{"d:q8_0", dtype.Q8_0, large, "D:Q8_0", 1e-2, 5e-3, "Q8_0 from 1B parameters"},
		{"D:Q6_K", dtype.Q6_K, small, "D:Q6_K", 5e-2, 2e-2, ""},
		{"D:Q5_K", dtype.Q5_K, small, "D:Q5_K", 0.1, 4e-2, ""},
		{"D:Q5_1", dtype.Q5_1, small, "D:Q5_1", 0.1, 4e-2, "Q5_1 has no limits of its own: those of Q5_K"},
		{"D:Q5_0", dtype.Q5_0, small, "D:Q5_0", 0.3, 0.1, "Q5_0 has no limits of its own: those of Q4_K"},
		{"D:Q4_K_M", dtype.Q4_K, small, "D:Q4_K", 0.3, 0.1, ""},
		{"D:IQ4_XS", "IQ4_XS", small, "D:IQ4_XS", 0.3, 0.1, ""},
		{"D:Q4_0", dtype.Q4_0, small, "D:Q4_0", 0, 0.3, "Q4_0 has no limits of its own: those of Q3_K"},
		{"D:Q2_K", "Q2_K", small, "D:Q2_K", 0, 1, ""},
		{"D:IQ1_S", "IQ1_S", small, "D:IQ1_S", 0, 1, "IQ1_S has no limits of its own: those of Q2_K"},
		{"E", dtype.F32, small, "E", 0, 5e-4 + 1e-7, ""},
		{"Q", dtype.Q8_0, small, "Q", 1e-2, 5e-3, ""},
		{"Q", dtype.Q4_K, small, "Q", 5e-2, 5e-3, "K-quants"},
		{"D", dtype.Q8_0, small, "", 0, 0, ""},
		{"D:F16", dtype.F16, small, "", 0, 0, ""},
		{"D:nothing", dtype.F16, small, "", 0, 0, ""},
		{"A:Q8_0", dtype.Q8_0, small, "", 0, 0, ""},
		{"", dtype.F32, small, "", 0, 0, ""},
	} {
		got, err := verify.FindClass(c.class, verify.Subject{Weights: c.weights, Parameters: c.parameters})
		if (err != nil) != (c.name == "") || got.Name != c.name || got.NMSE != c.nmse || got.KLMean != c.kl || got.Rule != c.rule {
			t.Errorf("%q of %s with %d parameters: got %s, nmse %v, kl %v, rule %q, %v; want %s, %v, %v, %q",
				c.class, c.weights, c.parameters, got.Name, got.NMSE, got.KLMean, got.Rule, err, c.name, c.nmse, c.kl, c.rule)
		}
	}
}

func TestInfer(t *testing.T) {
	checkpoint := func(w dtype.Type) verify.Subject {
		return verify.Subject{Kind: verify.Checkpoint, Engine: "bowline", DType: "float32", Weights: w}
	}
	logits := func(engine, kind, attention string, stored dtype.Type) verify.Subject {
		return verify.Subject{Kind: verify.Logits, Engine: engine, DType: kind, Attention: attention, Stored: stored}
	}
	own := verify.Subject{Kind: verify.Logits, Engine: "bowline", DType: "float32", Attention: "eager", Stored: dtype.F32, Weights: dtype.Q8_0}
	for _, c := range []struct {
		name      string
		ref       verify.Subject
		test      dtype.Type
		want      string
		identical bool
	}{
		{"the same type", checkpoint(dtype.BF16), dtype.BF16, "A", true},
		{"a lossless copy", checkpoint(dtype.BF16), dtype.F32, "A", true},
		{"a quantized file decoded", checkpoint(dtype.Q8_0), dtype.F32, "A", true},
		{"F32 and its F16", checkpoint(dtype.F32), dtype.F16, "B", false},
		{"BF16 and its F16", checkpoint(dtype.BF16), dtype.F16, "B", false},
		{"F32 and its BF16", checkpoint(dtype.F32), dtype.BF16, "C", false},
		{"F32 and its Q8_0", checkpoint(dtype.F32), dtype.Q8_0, "D:Q8_0", false},
		{"Q8_0 and its Q4_K", checkpoint(dtype.Q8_0), dtype.Q4_K, "D:Q4_K", false},
		{"logits without metadata", logits("", "", "", dtype.F32), dtype.BF16, "A", false},
		{"transformers in float32", logits("transformers", "float32", "eager", dtype.F32), dtype.BF16, "A", false},
		{"transformers in bfloat16", logits("transformers", "torch.bfloat16", "sdpa", dtype.F32), dtype.BF16, "C", false},
		{"transformers in float16", logits("transformers", "float16", "sdpa", dtype.F32), dtype.BF16, "B", false},
		{"logits stored in F16", logits("", "", "", dtype.F16), dtype.BF16, "B", false},
		{"llama.cpp that does not say how", logits("llama.cpp", "float32", "", dtype.F32), dtype.F32, "B", false},
		{"llama.cpp with plain attention", logits("llama.cpp", "float32", "eager", dtype.F32), dtype.F32, "A", false},
		{"logits and a quantized file", logits("transformers", "float32", "eager", dtype.F32), dtype.Q4_K, "D:Q4_K", false},
		{"llama.cpp on the same quantized file", logits("llama.cpp", "q8_0", "", dtype.F32), dtype.Q8_0, "Q", false},
		{"our logits of the same quantized weights", own, dtype.Q8_0, "A", false},
	} {
		got, because, identical := verify.Infer(c.ref, verify.Subject{Kind: verify.Checkpoint, Weights: c.test})
		if got != c.want || identical != c.identical || because == "" {
			t.Errorf("%s: got %s, identical %v, because %q; want %s, %v", c.name, got, identical, because, c.want, c.identical)
		}
	}
}

// random are n rows whose best token leads by margin, and the same with the two best swapped in every flip-th row.
func random(n, flip int, margin float64) (ref, test *verify.Trace) {
	g := rand.New(rand.NewPCG(1, 2))
	var a, b [][]float64
	for i := range n {
		r := make([]float64, 50)
		for j := range r {
			r[j] = g.NormFloat64()
		}
		r[7], r[8] = 5+margin, 5
		t := append([]float64{}, r...)
		if flip > 0 && i%flip == 0 {
			t[7], t[8] = t[8], t[7]
		}
		a, b = append(a, r), append(b, t)
	}
	return rows(a...), rows(b...)
}

func TestTopGatesNeedRows(t *testing.T) {
	big := verify.Subject{Weights: dtype.Q6_K, Parameters: 3e9}
	small := verify.Subject{Weights: dtype.Q6_K, Parameters: 3e8}
	for _, c := range []struct {
		name    string
		n, flip int
		margin  float64
		test    verify.Subject
		agree   int
		pass    bool
		limited bool // the top-1 gate has a limit
	}{
		{"199 rows, one in ten flips", 199, 10, 1.5, big, 179, true, false},
		{"200 rows, one in ten flips", 200, 10, 1.5, big, 180, false, true},
		{"200 rows, one in ten flips within the noise of the class", 200, 10, 0.1, big, 180, true, true},
		{"200 rows, no flip", 200, 0, 1.5, big, 200, true, true},
		{"200 rows, one in ten flips, a small model", 200, 10, 1.5, small, 180, true, false},
	} {
		ref, test := random(c.n, c.flip, c.margin)
		r := compare(t, ref, test, verify.CompareOptions{Class: "D:Q6_K", Test: c.test})
		var top1 verify.Gate
		for _, g := range r.Gates {
			if g.Name == "top1" {
				top1 = g
			}
		}
		if r.Summary.Top1 != c.agree || top1.Pass != c.pass || (top1.Limit != nil) != c.limited {
			t.Errorf("%s: got\n%s", c.name, text(r))
		}
	}
}

func TestQuantized(t *testing.T) {
	m := model(t, "checkpoints/granite-code")
	x := load(t, m)
	for name := range x.tensors {
		if strings.HasSuffix(name, "proj.weight") || strings.Contains(name, "embed") {
			x.types[name] = dtype.Q8_0
		}
	}
	q := x.model(t)
	tokens := verify.Tokens(331, 0, 0, 0, nil)
	o := verify.Options{}
	r := compare(t, run(t, m, tokens, o), run(t, q, tokens, o), verify.CompareOptions{Reference: verify.Describe(m, "1", o), Test: verify.Describe(q, "1", o)})
	if !r.Pass || r.Class != "D:Q8_0" || r.BitIdentical || r.Summary.NMSE < 1e-5 {
		t.Errorf("got\n%s", text(r))
	}
}

func TestReportText(t *testing.T) {
	m := model(t, "checkpoints/granite-code")
	ref, how := recorded(t, "../testdata/expected/granite-code/logits.safetensors")
	r := compare(t, ref, run(t, m, ref.Tokens, verify.Options{}), verify.CompareOptions{Reference: how, Test: verify.Describe(m, "1.0", verify.Options{})})
	want := regexp.MustCompile(`^PASS class A  nmse \d\.?\d*e-13 \(limit 1e-08\)  kl \d\.?\d*e-\d\d  top1 48/48  worst row \d+  2 layers  ref: transformers 5\.23\.0 float32 eager cpu\n`)
	if !want.MatchString(text(r)) {
		t.Errorf("got\n%s\nwant %s", text(r), want)
	}
	r.Add(verify.Gate{Name: "weights", Value: 3})
	if r.Pass || !strings.HasPrefix(text(r), "FAIL class A") {
		t.Errorf("with a gate that fails: got\n%s", text(r))
	}
}

func TestReportJSON(t *testing.T) {
	r := compare(t, rows([]float64{0, 0}), rows([]float64{math.NaN(), 1}), verify.CompareOptions{Reference: verify.Subject{Path: "a"}})
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(b), `{"schema":"bowline.verify/1","pass":false,"class":"A",`) {
		t.Errorf("got %s", b)
	}
	var got struct {
		Gates []struct {
			Name  string
			Value any
			Limit any
			Pass  bool
		}
		Rows      []map[string]any
		Layers    []any
		First     map[string]any `json:"first_bad"`
		Suspects  []map[string]string
		Reference map[string]any
		Same      *bool `json:"bit_identical"`
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.Gates[2].Name != "nmse" || got.Gates[2].Value != "NaN" || got.Gates[2].Limit != 1e-8 || got.Gates[2].Pass {
		t.Errorf("got gate %+v", got.Gates[2])
	}
	if got.Rows[0]["row"] != 0.0 || got.Rows[0]["nmse"] != "NaN" || got.Layers == nil || got.Same == nil || got.Reference["path"] != "a" {
		t.Errorf("got %s", b)
	}
	if layer, ok := got.First["layer"]; !ok || layer != nil || got.First["row"] != 0.0 || got.First["step"] != "logits" {
		t.Errorf("got first_bad %v", got.First)
	}
	if len(got.Suspects) == 0 || got.Suspects[0]["tensor"] == "" || got.Suspects[0]["transform"] == "" || got.Suspects[0]["evidence"] == "" {
		t.Errorf("got suspects %v", got.Suspects)
	}
	for n, want := range map[formats.Number]string{1e-8: "1e-08", 0.5: "0.5", formats.Number(math.Inf(1)): `"Inf"`, formats.Number(math.Inf(-1)): `"-Inf"`} {
		if b, _ := json.Marshal(n); string(b) != want {
			t.Errorf("got %s, want %s", b, want)
		}
	}
}
