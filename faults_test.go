package bowline_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/diff"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
)

// tinyConfig is of the smallest model that has everything: two heads, one layer, a tie.
const tinyConfig = `{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2,
  "intermediate_size": 48, "vocab_size": 160, "max_position_embeddings": 64, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "hidden_act": "silu",
  "torch_dtype": "bfloat16", "transformers_version": "4.57.6", "tie_word_embeddings": true}`

// tiny is a model as a safetensors file. Its embedding spans pages, its norms no sector; the values are like those of weights. repeat makes
// the vocabulary larger.
func tiny(repeat int) map[string]string {
	type tensor struct {
		name  string
		shape []int
	}
	const p = "model.layers.0."
	list := []tensor{{"model.embed_tokens.weight", []int{160 * repeat, 32}}, {p + "input_layernorm.weight", []int{32}}, {p + "mlp.down_proj.weight", []int{32, 48}},
		{p + "mlp.gate_proj.weight", []int{48, 32}}, {p + "mlp.up_proj.weight", []int{48, 32}}, {p + "post_attention_layernorm.weight", []int{32}},
		{p + "self_attn.k_proj.weight", []int{32, 32}}, {p + "self_attn.o_proj.weight", []int{32, 32}}, {p + "self_attn.q_proj.weight", []int{32, 32}},
		{p + "self_attn.v_proj.weight", []int{32, 32}}, {"model.norm.weight", []int{32}}}
	var header strings.Builder
	var data []byte
	header.WriteString(`{"__metadata__":{"format":"pt"}`)
	seed := uint32(1)
	for _, x := range list {
		from := len(data)
		n := 1
		for _, d := range x.shape {
			n *= d
		}
		for range n {
			seed = seed*1664525 + 1013904223
			data = binary.LittleEndian.AppendUint16(data, uint16(seed>>16&0x80ff)|0x3d00) // a sixteenth to a half, of both signs
		}
		dims, _ := strings.CutPrefix(fmt.Sprint(x.shape), "[")
		fmt.Fprintf(&header, `,%q:{"dtype":"BF16","shape":[%s,"data_offsets":[%d,%d]}`, x.name, strings.ReplaceAll(dims, " ", ","), from, len(data))
	}
	header.WriteString("}")
	file := string(binary.LittleEndian.AppendUint64(nil, uint64(header.Len()))) + header.String() + string(data)
	return map[string]string{"config.json": strings.Replace(tinyConfig, "160", fmt.Sprint(160*repeat), 1), "model.safetensors": file}
}

// form is a shape that a model comes in: what it is called as a source below /in and as a destination below /out, and how it is asked for.
type form struct {
	name, src, dst string
	o              bowline.ConvertOptions
}

// shards makes three or four files of the tiny model.
var shards = convert.Options{ShardSize: 9000}

var forms = []form{
	{"safetensors file", "model.safetensors", "x.safetensors", bowline.ConvertOptions{}},
	{"safetensors directory", "", "x", bowline.ConvertOptions{}},
	{"safetensors shards", "", "x", bowline.ConvertOptions{Options: shards}},
	{"pytorch file", "pytorch_model.bin", "x.bin", bowline.ConvertOptions{}},
	{"pytorch directory", "", "x", bowline.ConvertOptions{To: "pytorch"}},
	{"torchchat file", "model.pth", "x.pth", bowline.ConvertOptions{To: "torchchat"}},
	{"torchchat directory", "", "x", bowline.ConvertOptions{To: "torchchat"}},
	{"gguf file", "m.gguf", "x.gguf", bowline.ConvertOptions{}},
	{"gguf split", "m.gguf", "x.gguf", bowline.ConvertOptions{Options: shards}},
}

func formOf(t testing.TB, name string) form {
	for _, f := range forms {
		if f.name == name {
			return f
		}
	}
	t.Fatalf("no form %s", name)
	return form{}
}

// flow is one conversion on a file system in memory.
type flow struct {
	name     string
	src, dst string
	o        bowline.ConvertOptions
	before   map[string]string // the tree before
	after    map[string]string // and after
}

// put makes a file system of a tree.
func put(tree map[string]string) *fsio.Mem {
	m := fsio.NewMem()
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		if strings.HasSuffix(name, "/") {
			m.PutDir(strings.TrimSuffix(name, "/"))
		} else {
			m.Put(name, tree[name])
		}
	}
	return m
}

func (f *flow) run(fsys fsio.FS) error {
	o := f.o
	o.Workers = 1 // so that operations come in one order
	_, err := bowline.Convert(context.Background(), bowline.Source{Path: f.src, FS: fsys}, f.dst, o)
	return err
}

// flowOf is the conversion of one form to another. With force every file of an older result is in the way.
func flowOf(t testing.TB, from, to string, force bool) *flow {
	t.Helper()
	m := fsio.NewMem()
	m.PutDir("/in")
	for name, content := range tiny(1) {
		m.Put("/tiny/"+name, content)
	}
	s, d := formOf(t, from), formOf(t, to)
	dst := path.Join("/in", s.src)
	if s.src == "" {
		dst = "/in/m"
	}
	o := s.o
	o.Workers = 1
	r, err := bowline.Convert(context.Background(), bowline.Source{Path: "/tiny", FS: m}, dst, o)
	if err != nil {
		t.Fatalf("%s: %v", from, err)
	}
	f := &flow{name: from + " to " + to, src: dst, dst: path.Join("/out", d.dst), o: d.o, before: map[string]string{"/out/": ""}}
	if s.src != "" {
		f.src = r.Written[0].Path // of a split set, a part
	}
	for name, content := range m.Tree() {
		if strings.HasPrefix(name, "/in/") {
			f.before[name] = content
		}
	}
	if from == "safetensors file" {
		f.before["/in/config.json"] = tiny(1)["config.json"]
	}
	if force {
		f.name += " by force"
		m := put(f.before)
		if err := f.run(m); err != nil {
			t.Fatalf("%s: %v", f.name, err)
		}
		for name, content := range m.Tree() {
			if strings.HasPrefix(name, "/out/") && !strings.HasSuffix(name, "/") {
				f.before[name] = "old: " + content[:min(40, len(content))]
			}
		}
		f.o.Force = true
	}
	m = put(f.before)
	if err := f.run(m); err != nil {
		t.Fatalf("%s: %v", f.name, err)
	}
	f.after = m.Tree()
	return f
}

// pairs has every form as a source and as a destination, and the three ways to replace one.
func pairs(t testing.TB) (out []*flow) {
	for _, p := range [][2]string{
		{"safetensors file", "gguf file"}, {"safetensors file", "torchchat file"}, {"safetensors directory", "gguf split"}, {"safetensors directory", "torchchat directory"},
		{"safetensors directory", "safetensors directory"}, {"safetensors shards", "pytorch directory"}, {"pytorch file", "safetensors directory"},
		{"pytorch directory", "safetensors shards"}, {"pytorch directory", "gguf file"}, {"torchchat file", "safetensors file"}, {"torchchat directory", "gguf file"},
		{"torchchat directory", "pytorch directory"}, {"gguf file", "safetensors directory"}, {"gguf file", "torchchat directory"}, {"gguf split", "pytorch file"},
		{"gguf split", "safetensors shards"},
	} {
		out = append(out, flowOf(t, p[0], p[1], false))
	}
	for _, p := range [][2]string{{"safetensors directory", "gguf file"}, {"gguf file", "safetensors directory"}, {"pytorch file", "gguf split"}, {"gguf split", "torchchat file"}} {
		out = append(out, flowOf(t, p[0], p[1], true))
	}
	return out
}

// faultKind is how an operation goes wrong.
type faultKind struct {
	name string
	mode fsio.Mode
	err  error
}

var faultKinds = []faultKind{
	{"EIO", fsio.Fail, syscall.EIO}, {"ENOSPC", fsio.Fail, syscall.ENOSPC}, {"EDQUOT", fsio.Fail, syscall.EDQUOT}, {"EFBIG", fsio.Fail, syscall.EFBIG},
	{"EACCES", fsio.Fail, syscall.EACCES}, {"EXDEV", fsio.Fail, syscall.EXDEV}, {"ENOSYS", fsio.Fail, syscall.ENOSYS}, {"EINTR", fsio.Fail, syscall.EINTR},
	{"short read or write", fsio.Short, syscall.EIO}, {"done, but reported as failed", fsio.Late, syscall.EIO},
	{"lie: nothing done", fsio.Lie, nil}, {"lie: something else written", fsio.Wrong, nil},
}

// tally counts what a suite did.
type tally struct{ runs, violations, refused, seen, unseen atomic.Int64 }

func (c *tally) String() string {
	return fmt.Sprintf("%d faulted runs, each run again; %d refused, %d lies seen by --verify, %d by comparing only; %d violations",
		c.runs.Load(), c.refused.Load(), c.seen.Load(), c.unseen.Load(), c.violations.Load())
}

// inject lets operations of every flow go wrong in every way; pick says which.
func inject(t *testing.T, c *tally, pick func(flow, kind, ops int) []int64) {
	for i, f := range pairs(t) {
		for j, kind := range faultKinds {
			g := *f
			g.o.Verify = kind.mode == fsio.Lie || kind.mode == fsio.Wrong
			clean := &fsio.Fault{FS: put(g.before)}
			if err := g.run(clean); err != nil {
				t.Fatalf("%s: %v", g.name, err)
			}
			t.Run(g.name+"/"+kind.name, func(t *testing.T) {
				t.Parallel()
				for _, k := range pick(i, j, int(clean.Ops())) {
					if problem := g.fail(kind, k, c); problem != "" {
						c.violations.Add(1)
						t.Error(problem)
					}
				}
			})
		}
	}
}

// fail lets operation k go wrong and judges what comes of it. Of a lie it is asked that the run fails, or leaves the result, or that a second
// run, which compares every byte, refuses what is there; and that no lie about a weight gets past --verify.
func (f *flow) fail(kind faultKind, k int64, c *tally) (problem string) {
	m := put(f.before)
	fault := &fsio.Fault{FS: m, At: k, Mode: kind.mode, Err: kind.err}
	err := f.run(fault)
	hit := fault.Hit()
	lies := kind.mode == fsio.Lie || kind.mode == fsio.Wrong
	if hit == "" && lies {
		return "" // what has a result cannot lie
	}
	c.runs.Add(1)
	where := fmt.Sprintf("operation %d, %s: %v", k, hit, err)
	op, about, _ := strings.Cut(hit, " ")
	tree := m.Tree()
	for name, content := range f.before {
		if strings.HasPrefix(name, "/in/") && tree[name] != content {
			return where + ": the source " + name + " changed"
		}
	}
	left, out := litter(tree)
	_, wasOld := litter(f.before)
	_, complete := litter(f.after)
	isOld, isDone := maps.Equal(out, wasOld), maps.Equal(out, complete)
	switch {
	case err == nil && lies && !isDone:
		if op != "write" {
			return where + ": success, and the result is not there"
		}
		return f.unnoticed(where, m, c)
	case err == nil && !isDone:
		return where + ": success, and the result is not there"
	case err != nil && !isOld && !isDone:
		return fmt.Sprintf("%s: the destination is neither old nor complete: %v", where, slices.Sorted(maps.Keys(out)))
	case len(left) > 0 && op != "remove" && op != "unlock" && !strings.Contains(fmt.Sprint(err), "the result is complete, but"):
		return fmt.Sprintf("%s: left %v", where, left)
	}
	if err != nil {
		c.refused.Add(1)
		if lies && op == "write" {
			c.seen.Add(1)
		}
		if p := f.class(kind, op, about, err); p != "" && !lies {
			return where + ": " + p
		}
	}
	if err := f.run(m); err != nil {
		return fmt.Sprintf("%s: run again: %v", where, err)
	}
	if tree := m.Tree(); !maps.Equal(tree, f.after) {
		return fmt.Sprintf("%s: run again: got %v, want %v", where, m.Names(), slices.Sorted(maps.Keys(f.after)))
	}
	return ""
}

// litter divides what is below /out into temporary names and the others.
func litter(tree map[string]string) (left []string, out map[string]string) {
	out = map[string]string{}
	for name, content := range tree {
		switch {
		case !strings.HasPrefix(name, "/out/"), strings.HasSuffix(name, "/") && !strings.Contains(name, ".bowline-"):
		case strings.Contains(name, ".bowline-"):
			left = append(left, name)
		default:
			out[name] = content
		}
	}
	return left, out
}

// unnoticed judges a result that is wrong although --verify passed: its weights must be the same, or as close as a change of type makes them (one bit
// of one value that was rounded), and the next run must not take it for right.
func (f *flow) unnoticed(where string, m *fsio.Mem, c *tally) string {
	c.unseen.Add(1)
	d, err := bowline.Diff(context.Background(), bowline.Source{Path: f.src, FS: m}, bowline.Source{Path: f.result(), FS: m}, bowline.DiffOptions{})
	if err == nil && slices.ContainsFunc(d.Tensors, func(x diff.Tensor) bool { return !x.Verdict.OK() }) {
		return where + ": --verify passed, and the weights differ"
	}
	again := *f
	again.o.Force = false
	if err := again.run(m); formats.CodeOf(err) != formats.Exists {
		return fmt.Sprintf("%s: --verify passed, and the next run took it for the result: %v", where, err)
	}
	again.o.Force = true
	if err := again.run(m); err != nil {
		return fmt.Sprintf("%s: by force: %v", where, err)
	}
	if tree := m.Tree(); !maps.Equal(tree, f.after) {
		return fmt.Sprintf("%s: by force: got %v", where, m.Names())
	}
	return ""
}

// result is what to open of the result: a set has no file of the destination's name.
func (f *flow) result() string {
	if _, ok := f.after[f.dst+"/"]; ok {
		return f.dst
	}
	if _, ok := f.after[f.dst]; ok {
		return f.dst
	}
	for _, name := range slices.Sorted(maps.Keys(f.after)) {
		if strings.HasPrefix(name, "/out/") && !strings.HasSuffix(name, "/") {
			return name
		}
	}
	return ""
}

// class says what is wrong with the code and the text of an error.
func (f *flow) class(kind faultKind, op, about string, err error) string {
	code := formats.CodeOf(err)
	said := err.Error()
	for _, e := range formats.Errors(err) {
		if e.Code == "" || e.Message == "" || len(e.Error()) > 8192 {
			return "an error without code or text, or with too much of it"
		}
	}
	if !strings.HasPrefix(about, "/out") {
		// Sources: what the disk refuses is 65, what it fails at 74.
		switch code {
		case formats.Missing, formats.IO, formats.Changed, formats.Trunc, formats.Mismatch:
		default:
			return "got " + string(code) + " for a source"
		}
		if !strings.Contains(said, "/in") {
			return "the error names no source"
		}
		return ""
	}
	// Writing is 73 where the system refuses it. Looking and reading back are either; a failed fsync and clearing up after success are 74.
	refused := kind.mode == fsio.Fail && fsio.Refused(kind.err)
	switch {
	case code == formats.IO && (!refused || !slices.Contains([]string{"create", "mkdir", "write", "allocate", "rename", "chmod", "lock"}, op)):
	case code == formats.NoSpace && refused && op != "sync" && op != "syncdir":
	default:
		return "got " + string(code)
	}
	if kind.mode != fsio.Short && !errors.Is(err, kind.err) && !(kind.err == syscall.EACCES && errors.Is(err, fs.ErrPermission)) {
		return "the cause is lost"
	}
	if !strings.Contains(said, "/out") {
		return "the error names no file"
	}
	return ""
}

// meanwhile is a file system where somebody else is faster: just before the result comes to its name, a file does.
type meanwhile struct {
	fsio.FS
	at, content string
}

func (m meanwhile) Move(from, to string) error {
	if to == m.at {
		f, err := m.Create(m.at)
		if err == nil {
			_, err = f.WriteAt([]byte(m.content), 0)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return err
		}
	}
	return m.FS.Move(from, to)
}

// TestTakenMeanwhile: what comes to the destination at the last moment stays, also on a real disk, and with --force, which did not mean it.
func TestTakenMeanwhile(t *testing.T) {
	for _, force := range []bool{false, true} {
		for _, c := range []struct{ dst, at, to string }{{"x.gguf", "x.gguf", ""}, {"x.pth", "params.json", "torchchat"}, {"x.pth", "x.pth", "torchchat"}, {"x", "x", ""}} {
			for _, fsys := range []fsio.FS{fsio.NewMem(), fsio.OS{}} {
				root := t.TempDir()
				if m, ok := fsys.(*fsio.Mem); ok {
					root = "/r"
					for name, content := range tiny(1) {
						m.Put(root+"/in/"+name, content)
					}
				} else if err := os.Mkdir(filepath.Join(root, "in"), 0o777); err != nil {
					t.Fatal(err)
				} else {
					for name, content := range tiny(1) {
						write(t, filepath.Join(root, "in", name), content)
					}
				}
				at := filepath.Join(root, c.at)
				_, err := bowline.Convert(context.Background(), bowline.Source{Path: filepath.Join(root, "in"), FS: meanwhile{fsys, at, "mine"}}, filepath.Join(root, c.dst),
					bowline.ConvertOptions{To: c.to, Force: force})
				if formats.CodeOf(err) != formats.Exists || !strings.Contains(err.Error(), c.at) {
					t.Errorf("%T, %s: got %v, want %s", fsys, c.at, err, formats.Exists)
				}
				list, err := fsys.ReadDir(root)
				if err != nil {
					t.Fatal(err)
				}
				if b, err := fsio.ReadFile(fsys, at, 100); string(b) != "mine" || len(list) != 2 {
					t.Errorf("%T, %s: got %q, %v, left %v", fsys, c.at, b, err, list)
				}
			}
		}
	}
}

// TestModeIsKept: what is replaced keeps its permissions, from the first byte on; what is new has those that the umask leaves.
func TestModeIsKept(t *testing.T) {
	modes := func(m *fsio.Mem) (out []string) {
		for name := range m.Tree() {
			name = strings.TrimSuffix(name, "/")
			if st, err := m.Lstat(name); err == nil && strings.HasPrefix(name, "/out/") {
				out = append(out, fmt.Sprintf("%s %o", strings.TrimPrefix(name, "/out/"), st.Mode().Perm()))
			}
		}
		slices.Sort(out)
		return out
	}
	for _, c := range []struct {
		from, to string
		old      map[string]fs.FileMode
		want     []string
	}{
		{"safetensors directory", "gguf file", map[string]fs.FileMode{"/out/x.gguf": 0o600}, []string{"x.gguf 600"}},
		{"safetensors directory", "torchchat file", map[string]fs.FileMode{"/out/params.json": 0o440}, []string{"params.json 440", "x.pth 644"}},
		{"gguf file", "safetensors directory", map[string]fs.FileMode{"/out/x": 0o750, "/out/x/config.json": 0o604},
			[]string{"x 750", "x/config.json 604", "x/generation_config.json 644", "x/model.safetensors 644"}},
	} {
		f := flowOf(t, c.from, c.to, true)
		m := put(f.before)
		for name, mode := range c.old {
			if err := m.Chmod(name, mode); err != nil {
				t.Fatal(err)
			}
		}
		o := f.o
		o.Progress = func(int64, int64) { // staged, and not more open than it will be
			for name := range m.Tree() {
				st, err := m.Lstat(name)
				if mode, ok := c.old[f.dst]; ok && err == nil && strings.HasSuffix(f.dst, ".gguf") && strings.Contains(name, ".gguf.bowline-") &&
					!strings.HasSuffix(name, "-lock") && !strings.HasSuffix(name, ".receipt") && st.Mode().Perm() != mode {
					t.Errorf("%s: staged with %o", f.name, st.Mode().Perm())
				}
			}
		}
		if _, err := bowline.Convert(context.Background(), bowline.Source{Path: f.src, FS: m}, f.dst, o); err != nil {
			t.Fatal(err)
		}
		if got := modes(m); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", f.name, got, c.want)
		}
	}
}

// TestFaultsOfConversions is a sample; all operations are tried with -tags exhaustive.
func TestFaultsOfConversions(t *testing.T) {
	c := &tally{}
	t.Cleanup(func() { t.Log(c) })
	inject(t, c, func(flow, kind, ops int) []int64 {
		seed := uint64(flow*31+kind+1) * 0x9e3779b97f4a7c15
		return []int64{1 + int64(seed>>33)%int64(ops), 1 + int64(seed>>12&0xffff)%int64(ops)}
	})
}
