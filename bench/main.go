//go:build linux

// Command bench measures bowline as a whole process: beside the floor, which is cp of the same bytes and sync of the copies, or cat of them for
// what only reads, and with -peers beside programs that .ci/peers.sh installs. A table in Markdown goes to stdout, each run as it ends to stderr.
//
//	go run ./bench -peers >table.md
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

// job is one thing to do, by programs that take turns: the floor if there is one, bowline, and a peer if there is one. In commands IN and
// OUT stand for the input and for a directory that each run finds empty.
type job struct {
	name, input    string
	bars           bars
	floor          floor
	tool           string // bowline's arguments
	peer, peerArgs string // a script in testdata/peers and its arguments
}

// floor is what a job cannot do faster than.
type floor string

const (
	copies floor = "cp; sync -d"
	reads  floor = "cat"
)

// bars are what a job must keep to: times the floor, seconds, MiB. 0 is none.
type bars struct{ ratio, wall, peak float64 }

const (
	convert = "convert IN OUT/x.gguf --quiet --dtype "
	script  = "llama_convert.py IN OUT/x.gguf --pre gpt-2 --outtype "
)

// jobs are in the order of the table.
var jobs = []job{
	{"HF bf16 to GGUF bf16, 1.24 B", "1b", bars{1.5, 0, 64}, copies, convert + "bf16", "llama.cpp convert_hf_to_gguf.py", script + "bf16"},
	{"HF bf16 to GGUF bf16, 1.24 B, no tokenizer", "1b-bare", bars{1.5, 0, 64}, copies, convert + "bf16", "", ""},
	{"HF bf16 to GGUF bf16, 135 M", "135m", bars{0, 0, 64}, copies, convert + "bf16", "llama.cpp convert_hf_to_gguf.py", script + "bf16"},
	{"HF bf16 to GGUF Q8_0, 1.24 B", "1b", bars{}, copies, convert + "q8_0", "llama.cpp convert_hf_to_gguf.py", script + "q8_0"},
	{"PyTorch bf16, one file, to safetensors, 1.24 B", "1b-bin", bars{1.3, 0, 64}, copies, "convert IN OUT/x --quiet", "", ""},
	{"HF bf16 to TorchChat's model.pth, 1.24 B", "1b", bars{1.5, 0, 64}, copies, "convert IN OUT/x --to torchchat --quiet", "", ""},
	{"ties of an equal pair, 2 x 0.5 GB", "pair", bars{1 / 0.8, 0, 64}, reads, "ties IN --quiet", "", ""},
	{"diff with the same as GGUF, 2 x 1.24 B", "1b-gguf", bars{1 / 0.7, 0, 64}, reads, "diff IN/hf IN/x.gguf --quiet", "", ""},
	{"hash, 1.24 B", "1b-bare", bars{0, 0, 64}, reads, "hash IN --quiet", "", ""},
	{"inspect, 20,000 tensors", "20k", bars{0, 0.1, 0}, "", "inspect IN --quiet", "", ""},
	{"inspect --tensors, 20,000 tensors", "20k", bars{0, 0.05, 64}, "", "inspect IN --tensors --quiet", "", ""},
	{"inspect, GGUF with 128,256 tokens", "1b-gguf", bars{0, 0.03, 64}, "", "inspect IN/x.gguf --quiet", "", ""},
	{"plan, Granite 8B Code", "granite-8b", bars{0, 0.1, 0}, "", "plan IN OUT/x.gguf --quiet", "", ""},
	{"logits of 64 tokens, 135 M", "135m", bars{0, 2, 300}, "", "logits IN -o OUT/x.safetensors --quiet --tokens " + ids(),
		"transformers, float32", "hf_load.py IN --out OUT/x.safetensors --tokens " + ids()},
}

// ids are 64 token ids, spread over 49,152.
func ids() string {
	var l []string
	for i := range 64 {
		l = append(l, fmt.Sprint(i*761))
	}
	return strings.Join(l, ",")
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	work := flag.String("work", filepath.Join(os.TempDir(), "bowline-bench"), "`DIR` for inputs, which are made once, and results: 8 GB")
	runs := flag.Int("runs", 5, "times that each program runs, in turns")
	pick := flag.String("jobs", "", "only jobs whose name matches this `REGEXP`")
	peers := flag.Bool("peers", false, "measure the peers in $BOWLINE_PEERS, too")
	flag.Parse()
	re, err := regexp.Compile(*pick)
	if err != nil || *runs < 1 || flag.NArg() > 0 {
		log.Fatalf("want no operands, a regular expression and at least one run: %v", err)
	}
	todo := slices.DeleteFunc(slices.Clone(jobs), func(j job) bool { return !re.MatchString(j.name) })
	if err := bench(*work, todo, *runs, *peers); err != nil {
		log.Fatal(err)
	}
}

func bench(work string, todo []job, runs int, peers bool) error {
	work, err := filepath.Abs(work)
	if err != nil {
		return err
	}
	tool := filepath.Join(work, "bowline")
	build := exec.Command("go", "build", "-trimpath", "-o", tool, "./cmd/bowline")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := os.MkdirAll(work, 0o777); err != nil {
		return err
	}
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build, at the module's root: %w\n%s", err, out)
	}
	if err := makeInputs(filepath.Join(work, "in"), tool, todo); err != nil {
		return err
	}
	python, versions := "", ""
	if peers {
		if python, versions, err = findPeers(); err != nil {
			return err
		}
	}
	var rows []row
	for _, j := range todo {
		l, err := measure(j, work, tool, python, runs)
		if err != nil {
			return fmt.Errorf("%s: %w", j.name, err)
		}
		rows = append(rows, l...)
	}
	printTable(rows, work, tool, versions)
	return nil
}

// measure runs the programs of a job in turns: A B A B.
func measure(j job, work, tool, python string, runs int) ([]row, error) {
	in, out := filepath.Join(work, "in", j.input), filepath.Join(work, "out")
	if models[j.input].contents != holes { // no run is to wait for reads from the disk
		if out, err := exec.Command("sh", "-c", `find -L "$0" -type f -exec cat {} + >/dev/null`, in).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("reading %s: %w: %s", in, err, out)
		}
	}
	var rows []row
	if j.floor != "" {
		// The tool's own memory does not depend on the model; the tokenizer's does.
		if st, err := os.Stat(filepath.Join(in, "tokenizer.json")); err == nil && j.bars.peak > 0 {
			j.bars.peak += float64(st.Size()) / (1 << 20)
		}
		var weights []string
		for _, pattern := range []string{"*.safetensors", "*/*.safetensors", "*.gguf", "*.bin"} {
			list, err := filepath.Glob(filepath.Join(in, pattern))
			if err != nil {
				return nil, err
			}
			weights = append(weights, list...)
		}
		script := map[floor]string{copies: `cp -L -t "$0" "$@" && sync -d "$0"/*`, reads: `cat "$@" >/dev/null`}[j.floor]
		rows = append(rows, row{job: j.name, program: string(j.floor), args: append([]string{"sh", "-c", script, "OUT"}, weights...)})
	}
	rows = append(rows, row{job: j.name, program: "bowline", bars: j.bars, args: append([]string{tool}, strings.Fields(j.tool)...)})
	if python != "" && j.peer != "" {
		args := strings.Fields(j.peerArgs)
		args[0] = filepath.Join("testdata", "peers", args[0])
		rows = append(rows, row{job: j.name, program: j.peer, args: append([]string{python}, args...)})
	}
	for turn := range runs {
		for i := range rows {
			r, err := run(rows[i].args, in, out)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", rows[i].program, err)
			}
			log.Printf("%s: %s: %.3f s, CPU %.2f s, %.1f MiB, load before %.2f", j.name, rows[i].program, r.wall, r.cpu, r.peak, r.load)
			rows[i].runs = append(rows[i].runs, r)
			rows[i].ratios = append(rows[i].ratios, r.wall/rows[0].runs[turn].wall)
		}
	}
	return rows, nil
}
