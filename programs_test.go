//go:build peers || real

package bowline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/all"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/verify"
)

// programs is the folder that .ci/peers.sh fills with the programs of others. One that is missing is a failure.
func programs(t *testing.T) string {
	t.Helper()
	root := os.Getenv("BOWLINE_PEERS")
	if root == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		root = filepath.Join(home, ".cache", "bowline-peers-ci")
	}
	root, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"venv/bin/python", "tf4/transformers", "llama.cpp/convert_hf_to_gguf.py", "libllama/libllama.so", "smollm2.gguf"} {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Fatalf("%v: install the programs with BOWLINE_PEERS=%s bash .ci/peers.sh", err, root)
		}
	}
	return root
}

// answer is what a job gives, whichever script ran it.
type answer struct {
	Error      string
	Engine     string
	Version    string `json:"engine_version"`
	Missing    []string
	Unexpected []string
	Mismatched []string
	Tied       bool
	Kind       string
	IDs, Plain [][]int
	Out        string
	Values     map[string]*string
	KV         []entry
	Tensors    json.RawMessage
	Metadata   map[string]string
	DataOffset int64 `json:"data_offset"`
}

// entry is a metadata entry as gguf_dump.py prints it.
type entry struct {
	Key   string
	Type  any
	Value json.RawMessage
}

// job is one line for a script of testdata/peers.
type job map[string]any

// ask is answers that the test cannot go on without.
func ask(t *testing.T, root, script string, jobs []job, args ...string) []answer {
	t.Helper()
	a, err := answers(root, script, jobs, args...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// answers runs one process of a script for all jobs: importing torch costs more than any of them.
func answers(root, script string, jobs []job, args ...string) ([]answer, error) {
	var in, said bytes.Buffer
	enc := json.NewEncoder(&in)
	for _, j := range jobs {
		if err := enc.Encode(j); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(filepath.Join(root, "venv/bin/python"), append([]string{filepath.Join("testdata/peers", script)}, args...)...)
	// One thread: sums in another order have other last bits.
	cmd.Env = append(os.Environ(), "BOWLINE_PEERS="+root, "OMP_NUM_THREADS=1", "HF_HUB_OFFLINE=1", "TOKENIZERS_PARALLELISM=false", "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stdin, cmd.Stderr = &in, &said
	out, err := cmd.Output()
	var got []answer
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var a answer
		if err := dec.Decode(&a); err != nil {
			return nil, fmt.Errorf("%s: answer %d: %w", script, len(got), err)
		}
		got = append(got, a)
	}
	if err != nil || len(got) != len(jobs) {
		return nil, fmt.Errorf("%s: %v, %d answers to %d jobs\n%s", script, err, len(got), len(jobs), tail(said.String(), 2000))
	}
	return got, nil
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// made converts and returns the report; the destination must not exist.
func made(t *testing.T, src, dst string, o bowline.ConvertOptions) *bowline.ConvertReport {
	t.Helper()
	r, err := bowline.Convert(context.Background(), bowline.Source{Path: src}, dst, o)
	if err != nil {
		t.Fatalf("convert %s %s: %v", src, dst, err)
	}
	return r
}

// opened opens a checkpoint for the length of the test.
func opened(t *testing.T, path string) *formats.Checkpoint {
	t.Helper()
	c, err := all.Open(fsio.OS{}, path)
	if err != nil {
		t.Fatal(path, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// content is the bytes of a tensor.
func content(t *testing.T, c *formats.Checkpoint, name string) []byte {
	t.Helper()
	r, err := c.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, c.Lookup(name).Bytes)
	if n, err := r.ReadAt(b, 0); n < len(b) {
		t.Fatal(name, err)
	}
	return b
}

// trace reads logits and hidden states that a program wrote.
func trace(t *testing.T, path string) *verify.Trace {
	t.Helper()
	tr, _, err := verify.ReadLogits(opened(t, path))
	if err != nil {
		t.Fatal(path, err)
	}
	return tr
}

// ours is our forward pass of a model, by way of the file that bowline logits writes.
func ours(t *testing.T, model string, tokens []int32) verify.Matrix {
	t.Helper()
	out := filepath.Join(t.TempDir(), "logits.safetensors")
	if _, err := bowline.Logits(context.Background(), bowline.Source{Path: model}, out, false, bowline.VerifyOptions{Tokens: tokens}); err != nil {
		t.Fatal(model, err)
	}
	return trace(t, out).Logits
}

// nmse is the squared error over the squared reference, of the worst row: 0 for equal bits, NaN if anything is not a number or shapes differ.
func nmse(ref, test verify.Matrix) float64 {
	if ref.Rows != test.Rows || ref.Cols != test.Cols || ref.Rows == 0 {
		return math.NaN()
	}
	var a, b []float64
	worst := 0.0
	for i := range ref.Rows {
		x, y := ref.Row(i, a), test.Row(i, b)
		dd, rr := 0.0, 0.0
		for j := range x {
			dd += (y[j] - x[j]) * (y[j] - x[j])
			rr += x[j] * x[j]
		}
		if dd != 0 || dd != dd {
			worst = math.Max(worst, dd/rr) // NaN stays NaN
		}
	}
	return worst
}

// below fails unless v is a number of at most limit.
func below(t *testing.T, what string, v, limit float64) {
	t.Helper()
	if !(v <= limit) {
		t.Errorf("%s: got NMSE %.2g, want at most %.0g", what, v, limit)
	}
}

// worst is a maximum over what it is shown, and how many that were.
type worst struct {
	n   int
	max float64
}

func (w *worst) see(v float64) float64 {
	w.n++
	w.max = math.Max(w.max, v)
	return v
}

// table is what a run checked: a line says what, against which program, with which result. It goes to standard output and into a file
// beside the programs, since go test keeps the output of a package that passes to itself.
type table struct{ rows [][3]string }

func (b *table) add(what, against, format string, args ...any) {
	b.rows = append(b.rows, [3]string{what, against, fmt.Sprintf(format, args...)})
}

func (b *table) print(t *testing.T, file string) {
	t.Helper()
	var width [2]int
	for _, r := range b.rows {
		for i := range width {
			width[i] = max(width[i], utf8.RuneCountInString(r[i]))
		}
	}
	var s strings.Builder
	for _, r := range b.rows {
		fmt.Fprintf(&s, "%-*s  %-*s  %s\n", width[0], r[0], width[1], r[1], r[2])
	}
	if t.Failed() {
		s.WriteString("some of this FAILED\n")
	}
	io.WriteString(os.Stdout, s.String())
	if err := os.WriteFile(file, []byte(s.String()), 0o666); err != nil {
		t.Error(err)
	}
}

// texts are what tokenizers are asked to read: prose, code, chat, scripts, blanks, and random mixtures of them, the same every time.
func texts() []string {
	list := []string{
		"", " ", "   ", "\n", "\r\n\t ", "a", "Hello, World!", "  leading and trailing  ", "A bowline holds; a granny knot slips.",
		"It's what they'd've said, isn't it? WE'LL SEE.", "rock’n’roll l’été d'accord", "0", "12345678901234567890", "3.14159 1,000,000 1e-9 0x7fff",
		"func main() {\n\tfmt.Println(\"hi\")\n}\n", "for (int i=0;i<n;++i) { a[i] += b[i]*c; } // sum\r\n", "SELECT * FROM t WHERE x >= 10 AND name LIKE '%a_b%';",
		"<html><body class=\"x\">&nbsp;</body></html>", "{\"a\": [1, 2.5, null], \"b\": \"c\\n\"}", "def f(x):\n    if x:\n        return x ** 2\n    return None\n",
		"https://example.com/path?q=1&r=%20#top user@example.com", "/usr/local/bin/../lib C:\\Windows\\System32", "$12.50 €3,99 £7 ¥800 50% 1/2 #1 @home",
		"Übermäßig größere Straßen", "Ça va très bien, naïve façade", "Žluťoučký kůň úpěl ďábelské ódy", "Съешь ещё этих мягких французских булок", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
		"我能吞下玻璃而不伤身体。", "いろはにほへと ちりぬるを", "키스의 고유조건은 입술끼리", "عربي ١٢٣ نص", "דג סקרן שט בים", "ऋषियों को सताने वाले", "เป็นมนุษย์สุดประเสริฐ", "Tôi có thể ăn thủy tinh",
		"😀😃 👨‍👩‍👧 🇳🇴 👍🏽", "x² + y³ ≠ z⁴ ∑∫√ ⅓ Ⅻ", "a\u00a0b\u2003c\u3000d\u200be", "\u0000\u0001\u007f\u0085", "\ufeffstart", "é é ﬁ Å", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 𠀀",
		"<|endoftext|>", "text<|endoftext|>text", "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n", "<|begin_of_text|>Hi<|eot_id|>", "<fim_prefix>x<fim_suffix>y<fim_middle>",
		"<|not_a_token|> <| endoftext |>", "------ ====== ...... !!!!!! ??????", "a  b   c    d     e", "line one\n\nline three\n\n\n\nline seven", "\t\tindented\n\t\t\tmore\n", "MixedCASE camelCase snake_case kebab-case SHOUT",
		"1st 2nd 3rd 10th 2024-11-23T20:22:10Z", "''\"\"``«»„“", "ĠĊĉ ▁token Ġ", "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
	}
	r := rand.New(rand.NewSource(20261123))
	parts := strings.Split("the|Knot| |  |\n|\t|é|ß|漢字|かな|мир|שלום|9|42|1999|'s|'LL|.|,|!?|--|_|😀|\u0301|\u00a0|(|)|{}|=>|http|://|<|\\", "|")
	for range 30 {
		var s strings.Builder
		for range 3 + r.Intn(25) {
			s.WriteString(parts[r.Intn(len(parts))])
		}
		list = append(list, s.String())
	}
	return list
}
