//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// place is where everything is.
type place struct {
	work, tool, scripts string
	python, versions    string // the peers' interpreter, "" without peers
}

// outcome is one run.
type outcome struct{ wall, cpu, peak, load float64 } // seconds, seconds, MiB, load average of the minute before

// row is a line of the table: a program and its runs.
type row struct {
	job, program string
	bars         bars
	args         []string
	runs         []outcome
	ratios       []float64 // to the first program of the job, in the same turn
}

// run measures one process and its children. What an earlier run made is removed and the disk idle before the clock starts.
func (b *place) run(args []string, in string) (outcome, error) {
	out := filepath.Join(b.work, "out")
	if err := os.RemoveAll(out); err != nil {
		return outcome{}, err
	}
	if err := os.Mkdir(out, 0o777); err != nil {
		return outcome{}, err
	}
	syscall.Sync()
	full := slices.Clone(args)
	for i, a := range full {
		switch {
		case a == "IN":
			full[i] = in
		case a == "OUT":
			full[i] = out
		case strings.HasPrefix(a, "OUT."):
			full[i] = filepath.Join(out, "out"+a[3:])
		}
	}
	var said bytes.Buffer
	cmd := exec.Command(full[0], full[1:]...)
	cmd.Stderr = &said
	load := loadAverage()
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start).Seconds()
	if err != nil {
		return outcome{}, fmt.Errorf("%w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	use := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return outcome{wall, cpu.Seconds(), float64(use.Maxrss) / 1024, load}, os.RemoveAll(out)
}

func loadAverage() (l float64) {
	b, _ := os.ReadFile("/proc/loadavg")
	fmt.Sscan(string(b), &l)
	return l
}

// readAll brings a file, or all files of a directory, into the page cache. Holes are not read: nothing but headers is asked of such files.
func readAll(path string) error {
	return filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close() // opened for reading
		st, err := f.Stat()
		if err != nil || st.Sys().(*syscall.Stat_t).Blocks*512 < st.Size()/2 {
			return err
		}
		_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
		return err
	})
}

// findPeers looks for what .ci/peers.sh makes.
func (b *place) findPeers() error {
	root := os.Getenv("BOWLINE_PEERS")
	if root == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return err
		}
		root = filepath.Join(home, ".cache", "bowline-peers-ci")
		os.Setenv("BOWLINE_PEERS", root)
	}
	python := filepath.Join(root, "venv", "bin", "python")
	const ask = `import importlib.metadata as m; print(", ".join(f"{p} {m.version(p)}" for p in ("torch", "transformers")))`
	out, err := exec.Command(python, "-c", ask).Output()
	if err != nil {
		return fmt.Errorf("peers: %s: %w: .ci/peers.sh installs them", python, err)
	}
	vendored, err := os.ReadFile(filepath.Join(root, "llama.cpp", ".version"))
	if err != nil {
		return fmt.Errorf("peers: %w", err)
	}
	b.python, b.versions = python, fmt.Sprintf("%s, llama.cpp as in llama-cpp-python %s", bytes.TrimSpace(out), bytes.TrimSpace(vendored))
	return nil
}

// print writes the tables.
func (b *place) print(rows []row, runs int) {
	fmt.Printf("%d runs of each program, in turns; medians of times and of the ratios within a turn; the greatest peak. Page cache warm, results durable.\n\n", runs)
	fmt.Printf("- machine: %s, %d processors, %s, Linux %s, %s\n", line("/proc/cpuinfo", "model name"), runtime.NumCPU(), memory(),
		said("uname", "-r"), said("stat", "-f", "-c", "%T", b.work))
	fmt.Printf("- programs: %s; %s", said(b.tool, "version"), said("cp", "--version"))
	if b.python != "" {
		fmt.Print("; ", b.versions)
	}
	fmt.Print("\n- date: ", time.Now().UTC().Format(time.DateOnly), "\n\n")
	fmt.Print("| job | program | wall, s | to the first | CPU, s | peak, MiB | bar | |\n|---|---|--:|--:|--:|--:|---|---|\n")
	own := ownPeak()
	for _, r := range rows {
		peak, name := fmt.Sprintf("%.1f", r.peak()), r.program
		if r.peak() <= own { // a child starts with its parent's memory, which counts
			peak = "< " + peak
		}
		bar, met := r.judge()
		fmt.Printf("| %s | %s | %.3f | %.2f | %.2f | %s | %s | %s |\n", r.job, name, r.median(wall), middle(r.ratios), r.median(cpu), peak, bar, met)
	}
	fmt.Print("\nEach run: wall time in seconds (load average before it)\n\n| job | program | runs |\n|---|---|---|\n")
	for _, r := range rows {
		var each []string
		for _, o := range r.runs {
			each = append(each, fmt.Sprintf("%.3f (%.1f)", o.wall, o.load))
		}
		fmt.Printf("| %s | %s | %s |\n", r.job, r.program, strings.Join(each, ", "))
	}
}

// judge says what the bars are and whether the row keeps to all of them.
func (r row) judge() (bar, met string) {
	var l []string
	met = "met"
	for _, b := range []struct {
		format     string
		limit, got float64
	}{{"%.1f x floor", r.bars.ratio, middle(r.ratios)}, {"%.1f s", r.bars.wall, r.median(wall)}, {"%.1f MiB", r.bars.peak, r.peak()}} {
		if b.limit == 0 {
			continue
		}
		l = append(l, fmt.Sprintf(b.format, b.limit))
		if b.got > b.limit {
			met = "missed"
		}
	}
	if l == nil {
		return "", ""
	}
	return strings.Join(l, ", "), met
}

func wall(o outcome) float64 { return o.wall }
func cpu(o outcome) float64  { return o.cpu }

func (r row) peak() (most float64) {
	for _, o := range r.runs {
		most = max(most, o.peak)
	}
	return most
}

func (r row) median(of func(outcome) float64) float64 {
	var l []float64
	for _, o := range r.runs {
		l = append(l, of(o))
	}
	return middle(l)
}

// middle is the median.
func middle(l []float64) float64 {
	l = slices.Sorted(slices.Values(l))
	return (l[(len(l)-1)/2] + l[len(l)/2]) / 2
}

// ownPeak is the most memory that this process had, in MiB.
func ownPeak() float64 {
	var kib float64
	fmt.Sscan(line("/proc/self/status", "VmHWM"), &kib)
	return kib / 1024
}

func memory() string {
	var kib float64
	fmt.Sscan(line("/proc/meminfo", "MemTotal"), &kib)
	return fmt.Sprintf("%.0f GiB", kib/(1<<20))
}

// line is the value of a "key: value" line of a file.
func line(path, key string) string {
	b, _ := os.ReadFile(path)
	for l := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

// said is the first line that a program prints.
func said(args ...string) string {
	out, err := exec.Command(args[0], args[1:]...).Output()
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(first)
}
