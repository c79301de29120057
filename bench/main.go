//go:build linux

// Command bench measures bowline as a whole process: beside the floor, which is cp of the same bytes and sync of the copies, and with
// -peers beside the programs that .ci/peers.sh installs. The table goes to stdout as Markdown, each run as it ends to stderr.
//
//	go run ./bench -work /var/tmp/bench -peers > table.md
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// bars are what a job must keep to; 0 is no bar.
type bars struct {
	ratio float64 // times the floor's wall time
	wall  float64 // seconds
	peak  float64 // MiB
	sides string  // an input whose tokenizer.json comes on top of peak
}

// job is one thing to do, by commands that take turns. The first is the floor if the job has one, and ratios are to the first.
type job struct {
	name, input string
	bars        bars
	floor       bool
	tool        []string // arguments of bowline
	peer        string   // what the table calls the peer, "" for none
	script      []string // below testdata/peers, with arguments
}

// ids are 64 token ids that are spread over the vocabulary.
var ids = func() string {
	var l []string
	for i := range 64 {
		l = append(l, fmt.Sprint(i*761%49152))
	}
	return strings.Join(l, ",")
}()

const (
	converter    = "llama.cpp convert_hf_to_gguf.py"
	transformers = "transformers, float32"
)

// jobs are in the order of the table. IN and OUT stand for the input and for a file that each run makes anew.
var jobs = []job{
	{"HF bf16 to GGUF bf16, 1.24 B", "1b", bars{ratio: 1.5, peak: 64, sides: "1b"}, true, []string{"convert", "IN", "OUT.gguf", "--dtype", "bf16", "--quiet"},
		converter, []string{"llama_convert.py", "IN", "OUT.gguf", "--outtype", "bf16", "--pre", "gpt-2"}},
	{"the same without tokenizer files", "1b-bare", bars{ratio: 1.5, peak: 64}, true, []string{"convert", "IN", "OUT.gguf", "--dtype", "bf16", "--quiet"}, "", nil},
	{"HF bf16 to GGUF bf16, 135 M", "135m", bars{peak: 64, sides: "135m"}, true, []string{"convert", "IN", "OUT.gguf", "--dtype", "bf16", "--quiet"},
		converter, []string{"llama_convert.py", "IN", "OUT.gguf", "--outtype", "bf16", "--pre", "gpt-2"}},
	{"HF bf16 to GGUF Q8_0, 1.24 B", "1b", bars{}, true, []string{"convert", "IN", "OUT.gguf", "--dtype", "q8_0", "--quiet"},
		converter, []string{"llama_convert.py", "IN", "OUT.gguf", "--outtype", "q8_0", "--pre", "gpt-2"}},
	{"inspect, 20,000 tensors", "20k", bars{wall: 0.1}, false, []string{"inspect", "IN", "--tensors", "--quiet"}, "", nil},
	{"plan, Granite 8B Code", "granite-8b", bars{wall: 0.1}, false, []string{"plan", "IN", "OUT.gguf", "--quiet"}, "", nil},
	{"logits of 64 tokens, 135 M", "135m", bars{wall: 2, peak: 300}, false, []string{"logits", "IN", "--tokens", ids, "-o", "OUT.safetensors", "--quiet"},
		transformers, []string{"hf_load.py", "IN", "--tokens", ids, "--out", "OUT.safetensors"}},
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	work := flag.String("work", filepath.Join(os.TempDir(), "bowline-bench"), "`DIR` for inputs, which are made once, and results: 8 GB")
	runs := flag.Int("runs", 5, "times that each command of a job runs, in turns")
	pick := flag.String("jobs", "", "only jobs whose name matches this `REGEXP`")
	peers := flag.Bool("peers", false, "measure the peers that are installed in $BOWLINE_PEERS, too")
	flag.Parse()
	re, err := regexp.Compile(*pick)
	switch {
	case err != nil:
		log.Fatalf("-jobs: %v", err)
	case *runs < 1 || flag.NArg() > 0:
		log.Fatal("want -runs of at least 1 and no operands")
	}
	todo := slices.DeleteFunc(slices.Clone(jobs), func(j job) bool { return !re.MatchString(j.name) })
	if len(todo) == 0 {
		log.Fatalf("no job matches %q", *pick)
	}
	if err := bench(*work, todo, *runs, *peers); err != nil {
		log.Fatal(err)
	}
}

func bench(work string, todo []job, runs int, withPeers bool) error {
	// Of the module's root, where the scripts are.
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("go list: %w: run it in the module", err)
	}
	b := &place{work: work, scripts: filepath.Join(strings.TrimSpace(string(root)), "testdata", "peers"), tool: filepath.Join(work, "bowline")}
	if err := makeInputs(filepath.Join(work, "in"), todo); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-trimpath", "-o", b.tool, "./cmd/bowline")
	build.Dir, build.Env = strings.TrimSpace(string(root)), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	if withPeers {
		if err := b.findPeers(); err != nil {
			return err
		}
	}
	var rows []row
	for _, j := range todo {
		r, err := b.measure(j, runs)
		if err != nil {
			return fmt.Errorf("%s: %w", j.name, err)
		}
		rows = append(rows, r...)
	}
	b.print(rows, runs)
	return nil
}

// measure runs the commands of a job in turns: A B A B.
func (b *place) measure(j job, runs int) ([]row, error) {
	in := filepath.Join(b.work, "in", j.input)
	if err := readAll(in); err != nil { // so that no run has to wait for the disk's reads
		return nil, err
	}
	limit := j.bars
	if limit.sides != "" {
		st, err := os.Stat(filepath.Join(b.work, "in", limit.sides, "tokenizer.json"))
		if err != nil {
			return nil, err
		}
		limit.peak += float64(st.Size()) / (1 << 20)
	}
	var rows []row
	if j.floor {
		weights, _ := filepath.Glob(filepath.Join(in, "*.safetensors"))
		rows = append(rows, row{job: j.name, program: "cp, sync -d", args: append([]string{"sh", "-c", `cp -L -t "$0" "$@" && sync -d "$0"/*`, "OUT"}, weights...)})
	}
	rows = append(rows, row{job: j.name, program: "bowline", bars: limit, args: append([]string{b.tool}, j.tool...)})
	if b.python != "" && j.peer != "" {
		script := append([]string{b.python, filepath.Join(b.scripts, j.script[0])}, j.script[1:]...)
		rows = append(rows, row{job: j.name, program: j.peer, args: script})
	}
	for range runs {
		for i := range rows {
			r, err := b.run(rows[i].args, in)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", rows[i].program, err)
			}
			log.Printf("%s: %s: %.3f s, CPU %.2f s, %.1f MiB, load before %.2f", j.name, rows[i].program, r.wall, r.cpu, r.peak, r.load)
			rows[i].runs = append(rows[i].runs, r)
			rows[i].ratios = append(rows[i].ratios, r.wall/rows[0].runs[len(rows[i].runs)-1].wall)
		}
	}
	return rows, nil
}
