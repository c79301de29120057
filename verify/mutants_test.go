package verify_test

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/verify"
)

// A mutant is a converted model whose file is to be changed in place.
type mutant struct {
	m       *arch.Model
	file    []byte
	read    map[int32]bool // tokens that the texts have
	touched []string       // names of what was changed, by the file and by transformers
}

// matrix are the rows of a role in a layer, wherever they lie; nil if the model has none. Vectors have rows of one value.
func (x *mutant) matrix(role string, layer int) [][]float32 {
	runs := x.runs(role, layer)
	var out [][]float32
	for _, r := range runs {
		w := width(r)
		for i := range r.Rows {
			row := make([]float32, w)
			for j := range row {
				row[j] = math.Float32frombits(binary.LittleEndian.Uint32(x.file[x.at(r, i)+4*int64(j):]))
			}
			out = append(out, row)
		}
	}
	return out
}

func width(r arch.Run) int64 {
	if len(r.Tensor.Shape) == 1 {
		return 1
	}
	return r.Tensor.Shape[len(r.Tensor.Shape)-1]
}

func (x *mutant) at(r arch.Run, row int64) int64 { return r.Tensor.Offset + 4*(r.First+row)*width(r) }

func (x *mutant) runs(role string, layer int) []arch.Run {
	row := x.m.Family.Tensor(role)
	if row == nil || row.When != nil && !row.When(x.m.Config) {
		return nil
	}
	runs := x.m.Find(row, int64(layer))
	for _, r := range runs {
		if r.Tensor == nil || r.Tensor.DType != "F32" || r.Turned {
			return nil
		}
	}
	return runs
}

// put writes the rows of a role back and remembers that they were touched. It reports whether there were any and one differs.
func (x *mutant) put(role string, layer int, rows [][]float32) bool {
	changed := false
	n := 0
	x.touched = append(x.touched, x.m.Family.Names(arch.HF, role, int64(layer)))
	for _, r := range x.runs(role, layer) {
		x.touched = append(x.touched, r.Name)
		for i := range r.Rows {
			for j, v := range rows[n] {
				b := x.file[x.at(r, i)+4*int64(j):]
				changed = changed || binary.LittleEndian.Uint32(b) != math.Float32bits(v)
				binary.LittleEndian.PutUint32(b, math.Float32bits(v))
			}
			n++
		}
	}
	return changed
}

// edit changes each value of a role.
func (x *mutant) edit(role string, layer int, f func(v float32) float32) bool {
	rows := x.matrix(role, layer)
	for _, r := range rows {
		for j := range r {
			r[j] = f(r[j])
		}
	}
	return rows != nil && x.put(role, layer, rows)
}

// order puts the rows of a role into another order: row i is what row at(i) was.
func (x *mutant) order(role string, layer int, at func(i, n int) int) bool {
	rows := x.matrix(role, layer)
	out := make([][]float32, len(rows))
	for i := range out {
		out[i] = rows[at(i, len(rows))]
	}
	return rows != nil && x.put(role, layer, out)
}

// swap exchanges two roles of one shape.
func (x *mutant) swap(a string, i int, b string, j int) bool {
	p, q := x.matrix(a, i), x.matrix(b, j)
	return p != nil && len(p) == len(q) && len(p[0]) == len(q[0]) && x.put(a, i, q) && x.put(b, j, p)
}

// interleave is the order of rows that llama.cpp's converter makes of n rows of heads: reshape(heads, 2, d/2).swapaxes(1, 2).
func interleave(heads int64) func(i, n int) int {
	return func(i, n int) int {
		d := n / int(heads)
		h, k := i/d, i%d
		return h*d + k%2*(d/2) + k/2
	}
}

// value changes a scalar of the file's metadata, a float32 or uint32 of GGUF; false if there is none.
func (x *mutant) value(key string, f func(v float64) float64) bool {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(key)))
	i := strings.Index(string(x.file), string(append(b, key...)))
	if i < 0 || x.m.Scheme != arch.GGUF {
		return false
	}
	v := x.file[i+8+len(key):]
	old := binary.LittleEndian.Uint32(v[4:])
	switch binary.LittleEndian.Uint32(v) {
	case 4:
		binary.LittleEndian.PutUint32(v[4:], uint32(f(float64(old))))
	case 6:
		binary.LittleEndian.PutUint32(v[4:], math.Float32bits(float32(f(float64(math.Float32frombits(old))))))
	case 7:
		v[4] ^= 1
		return true
	default:
		return false
	}
	return binary.LittleEndian.Uint32(v[4:]) != old
}

// A fault is what conversions do wrong.
type fault struct {
	name    string
	apply   func(x *mutant) bool // false where a model cannot have it
	suspect string               // a part of the suspect's transform; the tensor is one of those touched, or config
	config  bool                 // it is in no tensor
	unseen  bool                 // logits cannot show it
}

func weightFault(name, suspect string, apply func(x *mutant) bool) fault {
	return fault{name: name, suspect: suspect, apply: apply}
}

// eachOf applies a change to several roles of layer 1 or, for a model of one layer, 0: it counts if any is there.
func eachOf(roles []string, change func(x *mutant, role string) bool) func(x *mutant) bool {
	return func(x *mutant) bool {
		any := false
		for _, r := range roles {
			any = change(x, r) || any
		}
		return any
	}
}

const one = 1 // the layer that is changed

func times(c float32) func(v float32) float32 { return func(v float32) float32 { return v * c } }

// Sources: transformers, llama.cpp, TorchChat and mergekit issues; each has happened.
var killed = []fault{
	weightFault("q rows in the other rope order", "rope", func(x *mutant) bool {
		return ropes(x) && x.order("attn_q.weight", one, interleave(x.m.Config.Heads))
	}),
	weightFault("q and k rows in the other rope order, biases too", "rope", func(x *mutant) bool {
		q, k := interleave(x.m.Config.Heads), interleave(x.m.Config.KVHeads)
		ok := ropes(x) && x.order("attn_q.weight", one, q) && x.order("attn_k.weight", one, k)
		return ok && (x.order("attn_q.bias", one, q) || true) && (x.order("attn_k.bias", one, k) || true)
	}),
	weightFault("q and k biases in the other rope order, weights not", "", func(x *mutant) bool {
		return ropes(x) && x.order("attn_q.bias", one, interleave(x.m.Config.Heads)) && x.order("attn_k.bias", one, interleave(x.m.Config.KVHeads))
	}),
	weightFault("k permuted with the queries' number of heads", "", func(x *mutant) bool {
		c := x.m.Config
		return ropes(x) && c.KVHeads != c.Heads && c.KVHeads*c.HeadDim%(2*c.Heads) == 0 && x.order("attn_k.weight", one, interleave(c.Heads))
	}),
	weightFault("query heads tiled over key heads", "", func(x *mutant) bool {
		c := x.m.Config
		h, kv, d := int(c.Heads), int(c.KVHeads), int(c.HeadDim)
		return kv > 1 && h > kv && x.order("attn_q.weight", one, func(i, _ int) int { g := i / d; return (g%(h/kv)*kv+g/(h/kv))*d + i%d })
	}),
	weightFault("key heads in reverse order", "", func(x *mutant) bool {
		kv, d := int(x.m.Config.KVHeads), int(x.m.Config.HeadDim)
		back := func(i, _ int) int { return (kv-1-i/d)*d + i%d }
		return kv > 1 && x.order("attn_k.weight", one, back) && x.order("attn_v.weight", one, back)
	}),
	weightFault("qkv side by side in each head where the file has them apart", "", func(x *mutant) bool {
		c := x.m.Config
		if x.m.Family.Tensor("attn_qkv.weight") == nil || c.Heads != c.KVHeads || x.m.Scheme != arch.GGUF {
			return false
		}
		h, d := int(c.Heads), int(c.HeadDim)
		return x.order("attn_qkv.weight", one, func(i, n int) int { return i/d%3*h*d + i/(3*d)*d + i%d })
	}),
	bias("attn_q.bias"), bias("attn_k.bias"), bias("attn_v.bias"), bias("attn_output.bias"), bias("attn_qkv.bias"),
	bias("ffn_gate.bias"), bias("ffn_up.bias"), bias("ffn_down.bias"), bias("attn_norm.bias"), bias("ffn_norm.bias"),
	weightFault("norms of a layer swapped", "", func(x *mutant) bool {
		return x.swap("attn_norm.weight", one, "ffn_norm.weight", one) || x.swap("post_attention_norm.weight", one, "post_ffw_norm.weight", one)
	}),
	weightFault("norm + 1 once more", "", eachOf([]string{"attn_norm.weight", "post_attention_norm.weight"}, func(x *mutant, role string) bool {
		return x.edit(role, one, func(v float32) float32 { return v + 1 })
	})),
	weightFault("head norms + 1", "", eachOf([]string{"attn_q_norm.weight", "attn_k_norm.weight"}, func(x *mutant, role string) bool {
		return x.edit(role, one, func(v float32) float32 { return v + 1 })
	})),
	weightFault("final norm - 1", "", func(x *mutant) bool { return x.edit("output_norm.weight", 0, func(v float32) float32 { return v - 1 }) }),
	weightFault("o of another layer", "", func(x *mutant) bool { return x.put2("attn_output.weight", one, "attn_output.weight", 0) }),
	weightFault("down of two layers swapped", "", func(x *mutant) bool {
		return x.swap("ffn_down.weight", one, "ffn_down.weight", 0) || x.swap("ffn_down_exps.weight", one, "ffn_down_exps.weight", 0)
	}),
	weightFault("a square matrix transposed", "transpose", func(x *mutant) bool {
		m := x.matrix("attn_output.weight", one)
		if m == nil || len(m) != len(m[0]) {
			return false
		}
		for i := range m {
			for j := range i {
				m[i][j], m[j][i] = m[j][i], m[i][j]
			}
		}
		return x.put("attn_output.weight", one, m)
	}),
	weightFault("gate and up swapped", "", func(x *mutant) bool {
		return x.swap("ffn_gate.weight", one, "ffn_up.weight", one) || x.swap("ffn_gate_exps.weight", one, "ffn_up_exps.weight", one) ||
			x.m.Family.Name == arch.Phi3.Name && x.order("ffn_up.weight", one, func(i, n int) int { return (i + n/2) % n })
	}),
	weightFault("two experts swapped", "", func(x *mutant) bool {
		e := int(x.m.Config.Experts)
		return e > 1 && x.order("ffn_down_exps.weight", one, func(i, n int) int { return (i + n/e) % n })
	}),
	weightFault("rows of the router rotated", "", func(x *mutant) bool {
		return x.order("ffn_gate_inp.weight", one, func(i, n int) int { return (i + 1) % n })
	}),
	weightFault("one value + 0.01", "", func(x *mutant) bool { return x.poke("ffn_up", 0.01) || x.poke("ffn_up_exps", 0.01) }),
	weightFault("one sign flipped", "", func(x *mutant) bool {
		rows := x.matrix("attn_output.weight", one)
		if rows == nil {
			return false
		}
		rows[3][5] = -rows[3][5]
		return x.put("attn_output.weight", one, rows)
	}),
	weightFault("one value NaN", "", func(x *mutant) bool {
		rows := x.matrix("attn_output.weight", one)
		if rows == nil {
			return false
		}
		rows[3][5] = float32(math.NaN())
		return x.put("attn_output.weight", one, rows)
	}),
	weightFault("rounded to 4 bits", "", func(x *mutant) bool {
		return x.edit("attn_output.weight", one, func(v float32) float32 { return float32(math.Round(float64(v)*8) / 8) })
	}),
	weightFault("embeddings times sqrt(H)", "", func(x *mutant) bool {
		return x.edit("token_embd.weight", 0, times(float32(math.Sqrt(float64(x.m.Config.Hidden)))))
	}),
	weightFault("embedding rows off by one", "", func(x *mutant) bool {
		return x.order("token_embd.weight", 0, func(i, n int) int { return (i + 1) % n })
	}),
	weightFault("positions off by one", "", func(x *mutant) bool {
		return x.order("position_embd.weight", 0, func(i, n int) int { return (i + 1) % n })
	}),
	weightFault("residual branch times 0.22", "", func(x *mutant) bool {
		return x.edit("attn_output.weight", one, times(0.22))
	}),
	weightFault("head divided by 8", "", func(x *mutant) bool { return x.edit("output.weight", 0, times(1.0/8)) }),
	weightFault("the embedding as head", "", func(x *mutant) bool { return x.put2("output.weight", 0, "token_embd.weight", 0) }),
	weightFault("last rows of the head zero", "", func(x *mutant) bool {
		rows := x.matrix("output.weight", 0)
		for _, r := range rows[max(0, len(rows)-3):] {
			clear(r)
		}
		return rows != nil && x.put("output.weight", 0, rows)
	}),
	{name: "an embedding that no token reads", unseen: true, apply: func(x *mutant) bool {
		rows := x.matrix("token_embd.weight", 0)
		if x.runs("output.weight", 0) == nil { // else it is a row of the head too
			return false
		}
		for i := range rows {
			if !x.read[int32(i)] {
				rows[i][1]++
				return x.put("token_embd.weight", 0, rows)
			}
		}
		return false
	}},
	{name: "a position that no token has", unseen: true, apply: func(x *mutant) bool {
		rows := x.matrix("position_embd.weight", 0)
		if len(rows) <= 64 {
			return false
		}
		rows[len(rows)-1][1] += 1
		return x.put("position_embd.weight", 0, rows)
	}},
	param("theta times 50", "rope angle", "rope.freq_base", 50), param("theta of sliding layers times 50", "rope angle", "rope.freq_base_swa", 50),
	param("rope scaling times 2", "rope angle", "rope.scaling.factor", 2),
	param("epsilon times 10", "norm epsilon", "attention.layer_norm_rms_epsilon", 10), param("epsilon of layer norm times 10", "norm epsilon", "attention.layer_norm_epsilon", 10),
	param("a window of a third", "window", "attention.sliding_window", 1.0/3), param("a window of one more", "window", "attention.sliding_window", 0),
	param("soft cap of scores doubled", "soft cap", "attn_logit_softcapping", 2), param("soft cap of logits doubled", "logit made of 1", "final_logit_softcapping", 2),
	param("embedding multiplier doubled", "embedding multiplier", "embedding_scale", 2), param("residual multiplier doubled", "residual multiplier", "residual_scale", 2),
	param("logits divisor doubled", "logit made of 1", "logit_scale", 2), param("attention multiplier doubled", "attention scale", "attention.scale", 2),
	param("half the experts used", "experts used", "expert_used_count", 0.5), param("residual branches in sequence", "", "use_parallel_residual", 1),
	{name: "factors of rope times 2", suspect: "rope angle", config: true, apply: func(x *mutant) bool {
		t := x.m.Lookup("rope_freqs.weight")
		if t == nil {
			return false
		}
		for i := range t.Shape[0] {
			b := x.file[t.Offset+4*i:]
			binary.LittleEndian.PutUint32(b, math.Float32bits(2*math.Float32frombits(binary.LittleEndian.Uint32(b))))
		}
		return true
	}},
}

func ropes(x *mutant) bool {
	return x.m.Family.Tensor("position_embd.weight") == nil && !x.m.Config.NoRope
}

func bias(role string) fault {
	return weightFault(role+" dropped", "", func(x *mutant) bool { return x.edit(role, one, times(0)) })
}

func param(name, suspect, key string, by float64) fault {
	return fault{name: name, suspect: suspect, config: true, apply: func(x *mutant) bool {
		return x.value(x.m.Class+"."+key, func(v float64) float64 {
			if by == 0 {
				return v + 1
			}
			return v * by
		})
	}}
}

// put2 writes the values of one role into another.
func (x *mutant) put2(to string, i int, from string, j int) bool {
	rows := x.matrix(from, j)
	have := x.matrix(to, i)
	return rows != nil && have != nil && len(rows) == len(have) && x.put(to, i, rows)
}

// poke adds to one value of a role.
func (x *mutant) poke(role string, d float32) bool {
	rows := x.matrix(role+".weight", one)
	if rows == nil {
		return false
	}
	rows[1][7] += d
	return x.put(role+".weight", one, rows)
}

// TestMutation applies every fault to a converted model of every family, and verifies it against its source and against the logits that transformers
// recorded. Each has to fail, and the report has to name what was changed. It prints the kill table, which docs/kills.md holds.
func TestMutation(t *testing.T) {
	names := []string{"granite-code", "llama3", "llama-linear", "mistral", "smollm2", "granite", "granitemoe", "granitemoeshared", "granitemoehybrid-dense", "mixtral",
		"gpt-bigcode-mha", "gpt-bigcode-mq", "gpt2", "gpt-neox", "starcoder2", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3", "olmo2"}
	cells := make([]map[string]string, len(names))
	var mu sync.Mutex
	t.Run("families", func(t *testing.T) {
		for i, name := range names {
			cells[i] = map[string]string{}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				mutate(t, name, func(fault, cell string) { mu.Lock(); cells[i][fault] = cell; mu.Unlock() })
			})
		}
	})
	table := killTable(names, cells)
	t.Log("\n" + table)
	doc, err := os.ReadFile(filepath.Join("..", "docs", "kills.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), table) {
		t.Error("docs/kills.md has another table: copy this one")
	}
}

func killTable(names []string, cells []map[string]string) string {
	var b strings.Builder
	b.WriteString("| fault |")
	for _, n := range names {
		b.WriteString(" " + n + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(names)) + "\n")
	for _, f := range killed {
		b.WriteString("| " + f.name + " |")
		for _, c := range cells {
			b.WriteString(" " + c[f.name] + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// mutate tells a cell for each fault that the fixture can have: L if the logits show it, W if the weights alone do, C if the config alone does.
func mutate(t *testing.T, name string, tell func(fault, cell string)) {
	ctx := context.Background()
	fsys := fsio.NewMem()
	put := func(path string, b []byte) { fsys.Put(path, string(b)) }
	tree := filepath.Join("..", "testdata", "checkpoints", name)
	entries, err := os.ReadDir(tree)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(tree, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		put("/m/"+e.Name(), b)
	}
	logits, err := os.ReadFile(filepath.Join("..", "testdata", "expected", name, "logits.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	put("/logits.safetensors", logits)
	at := func(p string) bowline.Source { return bowline.Source{Path: p, FS: fsys} }
	base := "/m.gguf" // but llama.cpp has no window for these two
	if name == "phi3" || name == "starcoder2" {
		base = "/x/model.safetensors"
	}
	dst := base
	if filepath.Dir(base) != "/" {
		dst = filepath.Dir(base)
	}
	if _, err := bowline.Convert(ctx, at("/m"), dst, bowline.ConvertOptions{Options: convert.Options{DType: "f32", Pre: "gpt-2"}, Workers: 1}); err != nil {
		t.Fatal(err)
	}
	clean := []byte(fsys.Tree()[base])
	read := map[int32]bool{}
	judge := func(ref string) (r *verify.Report, suspects []string, seen bool) {
		r, err := bowline.Verify(ctx, at(dst), at(ref), bowline.VerifyOptions{Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.Suspects {
			suspects = append(suspects, s.Tensor+": "+s.Transform+": "+s.Evidence)
		}
		for _, g := range r.Gates {
			seen = seen || !g.Pass && g.Name != "weights" && g.Name != "config"
		}
		return r, suspects, seen
	}
	for _, ref := range []string{"/m", "/logits.safetensors"} {
		r, suspects, _ := judge(ref)
		if !r.Pass {
			t.Fatalf("without a fault, against %s: got %v", ref, suspects)
		}
		for _, w := range r.Rows {
			read[w.Token] = true
		}
	}
	for _, f := range killed {
		m, err := bowline.Open(at(dst))
		if err != nil {
			t.Fatal(err)
		}
		x := &mutant{m: m, file: slices.Clone(clean), read: read}
		ok := f.apply(x)
		m.Close()
		if !ok {
			continue
		}
		put(base, x.file)
		r, suspects, seen := judge("/m")
		recorded, _, seenToo := judge("/logits.safetensors")
		if r.Pass {
			t.Errorf("%s: got a pass", f.name)
		}
		if !named(f, x, suspects) {
			t.Errorf("%s: want one of %v with %q, got\n%s", f.name, x.touched, f.suspect, strings.Join(suspects, "\n"))
		}
		if f.unseen && (seen || seenToo) {
			t.Errorf("%s: the logits show it", f.name)
		}
		for _, r := range []*verify.Report{r, recorded} {
			if got := r.FirstBad; x.inOne() && got != nil && (got.Layer == nil || *got.Layer != one) {
				t.Errorf("%s: got first bad %+v, want layer %d\n%s", f.name, got, one, text(r))
			}
		}
		switch {
		case r.Pass:
			tell(f.name, "ALIVE")
		case seen || seenToo:
			tell(f.name, "L")
		case f.config:
			tell(f.name, "C")
		default:
			tell(f.name, "W")
		}
		put(base, clean)
	}
}

// inOne reports whether all that was changed is in the layer.
func (x *mutant) inOne() bool {
	for _, n := range x.touched {
		if !strings.Contains(n, ".1.") {
			return false
		}
	}
	return len(x.touched) > 0
}

// named reports whether a suspect is what a fault touched.
func named(f fault, x *mutant, suspects []string) bool {
	for _, s := range suspects {
		if !strings.Contains(s, f.suspect) {
			continue
		}
		if f.config {
			return strings.HasPrefix(s, "config: ")
		}
		for _, n := range x.touched {
			if strings.Contains(strings.SplitN(s, ": ", 2)[0], n) {
				return true
			}
		}
	}
	return false
}
