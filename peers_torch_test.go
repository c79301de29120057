//go:build peers

package bowline_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
)

// zips are what is written of each checkpoint; a directory where the name has no suffix.
var zips = []struct {
	name, dst, to string
	o             convert.Options
	chat          bool // a model.pth
	record        bool // the archive says what it is
}{
	{name: "bin", dst: "x.bin", record: true},
	{name: "f16", dst: "x.pt", o: convert.Options{DType: "f16"}, record: true},
	{name: "directory", dst: "dir", to: "pytorch"},
	{name: "shards", dst: "shards", to: "pytorch", o: convert.Options{ShardSize: 60_000}},
	{name: "untied", dst: "untied", to: "pytorch", o: convert.Options{Ties: convert.Untie}},
	{name: "untied shards", dst: "untied-shards", to: "pytorch", o: convert.Options{Ties: convert.Untie, ShardSize: 60_000}},
	{name: "model.pth", dst: "tied/model.pth", to: "torchchat", chat: true, record: true},
	{name: "model.pth untied", dst: "apart/model.pth", to: "torchchat", o: convert.Options{Ties: convert.Untie}, chat: true, record: true},
}

// TestTorchPeers opens every zip that this tool writes with torch, mapped and restricted to weights, and with Python's own reader of archives, and
// loads the directories with both transformers.
func TestTorchPeers(t *testing.T) {
	p := &peers{root: programs(t), dir: t.TempDir(), table: &table{}}
	sources := map[string]string{"llama": torchChats["llama"], "llama3-rope": torchChats["llama3-rope"]}
	for _, name := range []string{"granite-code", "smollm2", "llama3", "mistral"} {
		sources[name] = filepath.Join("testdata/checkpoints", name)
	}
	type written struct {
		model, what, dst string
		record           bool
	}
	var files, dirs []written
	for _, model := range slices.Sorted(maps.Keys(sources)) {
		for _, z := range zips {
			if z.chat && torchChats[model] == "" { // which TorchChat cannot say
				continue
			}
			dst := filepath.Join(p.dir, model, z.dst)
			r := made(t, sources[model], dst, bowline.ConvertOptions{To: z.to, Options: z.o})
			for _, f := range r.Written {
				if s := filepath.Ext(f.Path); s == ".bin" || s == ".pt" || s == ".pth" {
					files = append(files, written{model, z.name, f.Path, z.record})
				}
			}
			if filepath.Ext(dst) == "" {
				dirs = append(dirs, written{model, z.name, dst, z.record})
			}
		}
	}
	t.Run("torch", func(t *testing.T) {
		var jobs []job
		for _, f := range files {
			jobs = append(jobs, job{"torch": f.dst})
		}
		for i, a := range ask(t, p.root, "torch_check.py", jobs) {
			f := files[i]
			var got struct {
				Tensors []struct {
					Name, DType, SHA256 string
					Shape               []int64
				}
				Shared  [][]string
				Records []string
				Bad     *string
			}
			if a.Error != "" {
				t.Errorf("%s %s: %s", f.model, f.what, a.Error)
				continue
			}
			if err := json.Unmarshal(a.Tensors, &got); err != nil {
				t.Fatal(err)
			}
			if got.Bad != nil {
				t.Errorf("%s %s: zipfile.testzip says %s", f.model, f.what, *got.Bad)
			}
			ck, here := opened(t, f.dst), 0 // the whole set, if it is a shard
			for _, s := range ck.Tensors {
				if s.File == filepath.Base(f.dst) {
					here++
				}
			}
			var want [][]string
			for _, al := range ck.Aliases {
				if ck.Lookup(al.Of).File == filepath.Base(f.dst) {
					want = append(want, []string{al.Name, al.Of})
				}
			}
			if len(got.Tensors) != here+len(want) {
				t.Errorf("%s %s: torch sees %d names, want %d", f.model, f.what, len(got.Tensors), here+len(want))
			}
			for _, x := range got.Tensors {
				s := ck.Lookup(x.Name)
				if s == nil {
					t.Errorf("%s %s: torch sees %s", f.model, f.what, x.Name)
					continue
				}
				sum := sha256.Sum256(content(t, ck, x.Name))
				if string(s.DType) != x.DType || fmt.Sprint(s.Shape) != fmt.Sprint(x.Shape) || hex.EncodeToString(sum[:]) != x.SHA256 {
					t.Errorf("%s %s: %s: torch sees %s %v, want %s %v with the same bytes", f.model, f.what, x.Name, x.DType, x.Shape, s.DType, s.Shape)
				}
			}
			if len(want)+len(got.Shared) > 0 && !reflect.DeepEqual(got.Shared, want) {
				t.Errorf("%s %s: torch sees %v over one storage, want %v", f.model, f.what, got.Shared, want)
			}
			if slices.Contains(got.Records, "extra/config.json") != f.record {
				t.Errorf("%s %s: got records %v, want a config there: %v", f.model, f.what, got.Records, f.record)
			}
		}
		p.table.add("zips opened with weights_only and mmap, right checksums", "torch", "%d", len(files))
	})
	t.Run("transformers", func(t *testing.T) {
		var jobs []job
		add := func(model, dir string) {
			jobs = append(jobs, job{"dir": dir, "tokens": []int{1, 5, 3, 200, 17, 17, 2, 99, 250, 4, 8, 16, 32, 64, 128, 256}, "out": filepath.Join(t.TempDir(), "logits")})
		}
		for _, model := range slices.Sorted(maps.Keys(sources)) {
			add(model, sources[model])
		}
		for _, d := range dirs {
			add(d.model, d.dst)
		}
		tf5, tf4 := p.majors(t, jobs, func(j job) bool { return v4(t, j["dir"].(string)) })
		for major, answers := range map[string][]*answer{"5": tf5, "4": tf4} {
			originals, n := map[string]*answer{}, 0
			for i, model := range slices.Sorted(maps.Keys(sources)) {
				if originals[model] = answers[i]; answers[i] != nil {
					complete(t, model, answers[i])
				}
			}
			for i, d := range dirs {
				a, original := answers[len(sources)+i], originals[d.model]
				what := fmt.Sprintf("%s %s, transformers %s", d.model, d.what, major)
				if a == nil || original == nil {
					if major == "5" || v4(t, sources[d.model]) {
						t.Errorf("%s: not asked", what)
					}
					continue
				}
				if !complete(t, what, a) {
					continue
				}
				if diff := nmse(trace(t, original.Out).Logits, trace(t, a.Out).Logits); diff != 0 {
					t.Errorf("%s: got logits with NMSE %.2g to the original's, want the same bits", what, diff)
				}
				if want := original.Tied && !strings.HasPrefix(d.what, "untied"); a.Tied != want {
					t.Errorf("%s: got tied %v, want %v", what, a.Tied, want)
				}
				n++
			}
			p.table.add(".bin directories loaded, logits the same bits", "transformers "+major, "%d", n)
		}
	})
	p.table.print(t, filepath.Join(p.root, "checked-torch.txt"))
}
