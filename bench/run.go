//go:build linux

package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// outcome is one run: seconds, seconds, MiB, and the load average of the minute before.
type outcome struct{ wall, cpu, peak, load float64 }

// row is a line of the table: a program and its runs.
type row struct {
	job, program string
	bars         bars
	args         []string
	runs         []outcome
	ratios       []float64 // to the first program of the job in the same turn
}

// run measures one process and the children that it waits for. The disk is idle before the clock starts.
func run(args []string, in, out string) (outcome, error) {
	if err := errors.Join(os.RemoveAll(out), os.Mkdir(out, 0o777)); err != nil {
		return outcome{}, err
	}
	syscall.Sync()
	args = slices.Clone(args)
	for i, a := range args {
		if rest, ok := strings.CutPrefix(a, "IN"); ok && (rest == "" || rest[0] == '/') {
			args[i] = in + rest
		} else if rest, ok := strings.CutPrefix(a, "OUT"); ok {
			args[i] = out + rest
		}
	}
	var said bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = &said
	var load float64
	fmt.Sscan(content("/proc/loadavg"), &load)
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start).Seconds()
	if err != nil {
		return outcome{}, fmt.Errorf("%w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	s := cmd.ProcessState
	peak := float64(s.SysUsage().(*syscall.Rusage).Maxrss) / 1024
	return outcome{wall, (s.UserTime() + s.SystemTime()).Seconds(), peak, load}, os.RemoveAll(out)
}

// findPeers looks for what .ci/peers.sh makes, at the same place as the scripts.
func findPeers() (python, versions string, err error) {
	root := os.Getenv("BOWLINE_PEERS")
	if root == "" {
		root = filepath.Join(os.Getenv("HOME"), ".cache", "bowline-peers-ci")
	}
	python = filepath.Join(root, "venv", "bin", "python")
	const ask = `import importlib.metadata as m; print(", ".join(f"{p} {m.version(p)}" for p in ("torch", "transformers")))`
	out, err := exec.Command(python, "-c", ask).Output()
	if err != nil {
		return "", "", fmt.Errorf("%s: %w (.ci/peers.sh installs the peers)", python, err)
	}
	return python, fmt.Sprintf("; %s, llama.cpp of llama-cpp-python %s", bytes.TrimSpace(out), content(filepath.Join(root, "llama.cpp", ".version"))), nil
}

// printTable writes what was measured, and on what.
func printTable(rows []row, work, tool, versions string) {
	fmt.Printf("Whole processes, in turns. Wall and CPU time are medians, the ratio is the median of the ratios within a turn, the peak is the greatest.\n\n")
	fmt.Printf("- machine: %s, %d processors, %s of memory, Linux %s, %s\n", field("/proc/cpuinfo", "model name"), runtime.NumCPU(),
		field("/proc/meminfo", "MemTotal"), said("uname", "-r"), said("stat", "-f", "-c", "%T", work))
	fmt.Printf("- programs: %s; %s%s\n- date: %s\n\n", said(tool, "version"), said("cp", "--version"), versions, time.Now().UTC().Format(time.DateOnly))
	fmt.Print("| job | program | wall, s | to the first | CPU, s | peak, MiB | bar | | load before each run |\n|---|---|--:|--:|--:|--:|---|---|---|\n")
	// A child begins with its parent's memory, which the kernel counts, so what is not above it is not known.
	var own float64
	fmt.Sscan(field("/proc/self/status", "VmHWM"), &own)
	for _, r := range rows {
		var walls, cpus, peaks []float64
		var loads []string
		for _, o := range r.runs {
			walls, cpus, peaks = append(walls, o.wall), append(cpus, o.cpu), append(peaks, o.peak)
			loads = append(loads, fmt.Sprintf("%.1f", o.load))
		}
		below := ""
		if slices.Max(peaks) <= own/1024 {
			below = "< "
		}
		bar, met := r.bars.judge(median(r.ratios), median(walls), slices.Max(peaks))
		fmt.Printf("| %s | %s | %.3f | %.2f | %.2f | %s%.1f | %s | %s | %s |\n", r.job, r.program, median(walls), median(r.ratios), median(cpus),
			below, slices.Max(peaks), bar, met, strings.Join(loads, " "))
	}
}

// judge spells the bars and says whether all are kept.
func (b bars) judge(ratio, wall, peak float64) (bar, met string) {
	for _, x := range []struct {
		format     string
		limit, got float64
	}{{"%.1f x floor", b.ratio, ratio}, {"%.3g s", b.wall, wall}, {"%.1f MiB", b.peak, peak}} {
		if x.limit > 0 {
			bar += ", " + fmt.Sprintf(x.format, x.limit)
			if met = cmp.Or(met, "met"); x.got > x.limit {
				met = "missed"
			}
		}
	}
	return strings.TrimPrefix(bar, ", "), met
}

func median(l []float64) float64 {
	l = slices.Sorted(slices.Values(l))
	return (l[(len(l)-1)/2] + l[len(l)/2]) / 2
}

// field is the value of a "key: value" line of a file.
func field(path, key string) string {
	for l := range strings.Lines(content(path)) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

// content is a small file, "" if it cannot be read.
func content(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b))
}

// said is the first line that a program prints.
func said(args ...string) string {
	out, _ := exec.Command(args[0], args[1:]...).Output()
	first, _, _ := strings.Cut(string(out), "\n")
	return first
}
