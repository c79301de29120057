//go:build crash && linux

package bowline_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/bowline-ml/bowline/formats/fsio"
)

// program builds the tool once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bowline-crash")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "bowline")
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/bowline").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

// number is a setting of a suite.
func number(t *testing.T, name string, standard int) int {
	if s := os.Getenv(name); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			t.Fatalf("%s: want a number, got %q", name, s)
		}
		return n
	}
	return standard
}

// errand is a conversion by the real program, from root/in to root/out.
type errand struct {
	name, root, bin string
	src, dst        string            // below root
	flags           []string          //
	start           map[string]string // what is below out at the start, as names below root
	done            map[string]string // the tree below root when it is done
	half            string            // a directory to copy to out instead: of an interrupted run
	vouch           int64             // if not 0, a child of the test does it, and enters so many bytes at a time in the receipt
}

func (e *errand) path(name string) string { return filepath.Join(e.root, name) }

// reset brings out back to the start.
func (e *errand) reset() error {
	if err := os.RemoveAll(e.path("out")); err != nil {
		return err
	}
	if e.half != "" {
		return os.CopyFS(e.path("out"), os.DirFS(e.half))
	}
	if err := os.Mkdir(e.path("out"), 0o777); err != nil {
		return err
	}
	return lay(e.root, e.start)
}

// lay writes files below a directory.
func lay(root string, files map[string]string) error {
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// tree reads all files below a directory; directories end in a slash.
func readTree(root string) (map[string]string, error) {
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			out["/"+name+"/"] = ""
			return nil
		}
		b, err := os.ReadFile(path)
		out["/"+name] = string(b)
		return err
	})
	return out, err
}

func (e *errand) args() []string {
	return append([]string{"convert", e.path(e.src), e.path(e.dst), "--json", "--workers", "1"}, e.flags...)
}

// cmd is the process.
func (e *errand) cmd(more ...string) *exec.Cmd {
	args := append(e.args(), more...)
	if e.vouch == 0 {
		return exec.Command(e.bin, args...)
	}
	c := exec.Command(os.Args[0], "-test.run=^TestChild$")
	c.Env = append(os.Environ(), "BOWLINE_CHILD="+fmt.Sprint(e.vouch), "BOWLINE_SRC="+e.path(e.src), "BOWLINE_DST="+e.path(e.dst))
	return c
}

// finish runs to the end.
func (e *errand) finish(more ...string) (kept int64, err error) {
	out, err := e.cmd(more...).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	if m := regexp.MustCompile(`(\d+) bytes that an interrupted run left`).FindSubmatch(out); m != nil {
		kept, err = strconv.ParseInt(string(m[1]), 10, 64)
	}
	return kept, err
}

// TestChild converts for TestKills when it asks for it by the environment. Otherwise there is nothing to do.
func TestChild(t *testing.T) {
	vouch, err := strconv.ParseInt(os.Getenv("BOWLINE_CHILD"), 10, 64)
	if err != nil {
		return
	}
	w := workflow{flow: &flow{src: os.Getenv("BOWLINE_SRC"), dst: os.Getenv("BOWLINE_DST")}, vouch: vouch}
	n, err := w.execute(fsio.OS{}, false)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%d bytes that an interrupted run left were kept\n", n)
}

// flow is the errand as the judge of trees knows it.
func (e *errand) workflow() workflow {
	before := map[string]string{}
	for name, content := range e.done {
		if strings.HasPrefix(name, "/in/") {
			before[name] = content
		}
	}
	for name, content := range e.start {
		before["/"+name] = content
	}
	return workflow{flow: &flow{dst: "/" + e.dst, before: before, after: e.done}}
}

// judge says what state is left, and whether it is one that may be.
func (e *errand) judge() (state string, left []string, err error) {
	tree, err := readTree(e.root)
	if err != nil {
		return "", nil, err
	}
	left, _ = litter(tree)
	state, err = e.workflow().state(tree)
	return state, left, err
}

// settle runs to the end and demands the result and nothing else.
func (e *errand) settle(more ...string) (kept int64, err error) {
	if kept, err = e.finish(more...); err != nil {
		return kept, fmt.Errorf("the next run: %w", err)
	}
	tree, err := readTree(e.root)
	if err == nil && !maps.Equal(tree, e.done) {
		err = fmt.Errorf("the next run left %v", slices.Sorted(maps.Keys(tree)))
	}
	return kept, err
}

// errands makes the conversions that are killed: to a file, to a directory, over what is there, and resumed. repeat says how large the model is.
func errands(t *testing.T, repeat int) []*errand {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	list := []*errand{
		{name: "file", src: "in/m", dst: "out/x.gguf"},
		{name: "directory", src: "in/m.gguf", dst: "out/x"},
		{name: "set", src: "in/m", dst: "out/x.pth", flags: []string{"--to", "torchchat"}},
		{name: "file by force", src: "in/m", dst: "out/x.gguf", flags: []string{"--force"}, start: map[string]string{"out/x.gguf": "old"}},
		{name: "directory by force", src: "in/m.gguf", dst: "out/x", flags: []string{"--force"},
			start: map[string]string{"out/x/config.json": "{}", "out/x/model.safetensors": "old"}},
		{name: "file, resumed", src: "in/m", dst: "out/x.gguf", flags: []string{"--resumable"}},
		{name: "directory, resumed", src: "in/m.gguf", dst: "out/x", flags: []string{"--resumable"}},
	}
	for _, e := range list {
		e.root, e.bin = t.TempDir(), bin
		model := map[string]string{}
		for name, content := range tiny(repeat) {
			model["in/m/"+name] = content
		}
		if err := lay(e.root, model); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(bin, "convert", e.path("in/m"), e.path("in/m.gguf")).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if strings.HasSuffix(e.name, "resumed") {
			if err := e.reset(); err != nil {
				t.Fatal(err)
			}
			w := workflow{flow: &flow{src: e.path(e.src), dst: e.path(e.dst)}}
			if _, err := w.execute(fsio.OS{}, true); !strings.Contains(fmt.Sprint(err), "canceled") {
				t.Fatalf("got %v, want it interrupted", err)
			}
			e.half = e.path("half")
			if err := os.Rename(e.path("out"), e.half); err != nil {
				t.Fatal(err)
			}
			e.root = t.TempDir() // half must not be in the tree that is judged, and the source must stay where it is: its inodes are noted
			if err := os.Rename(filepath.Dir(e.half)+"/in", e.path("in")); err != nil {
				t.Fatal(err)
			}
		}
		err := e.reset()
		kept := int64(0)
		if err == nil {
			kept, err = e.finish()
		}
		if err == nil {
			e.done, err = readTree(e.root)
		}
		if err != nil || e.half != "" && kept == 0 {
			t.Fatalf("%s: kept %d: %v", e.name, kept, err)
		}
	}
	return list
}

// strace is there, or the suite fails, unless BOWLINE_NO_STRACE says that it cannot be.
func strace(t *testing.T) bool {
	out, err := exec.Command("strace", "-f", "-qq", "-e", "trace=none", "true").CombinedOutput()
	if err == nil {
		return true
	}
	if os.Getenv("BOWLINE_NO_STRACE") == "1" {
		fmt.Printf("NOT RUN: %s: strace cannot run here: %v %s\n", t.Name(), err, out)
		return false
	}
	t.Fatalf("strace is needed (or BOWLINE_NO_STRACE=1, which leaves this out): %v %s", err, out)
	return false
}

// calls are what the tool does to files, each with the spellings that it has on different machines.
var calls = []string{"pwrite64", "fsync", "?rename,?renameat,?renameat2", "ftruncate", "fallocate", "?unlink,unlinkat,?rmdir", "?mkdir,mkdirat", "openat"}

// traced runs an errand under strace with something injected at the k-th call, and gives the injected lines of the trace. strace counts by
// thread, so k may strike more than once.
func (e *errand) traced(log, call, what string, k int) (state *os.ProcessState, lines []string, said string, err error) {
	args := append([]string{"-f", "-qq", "-y", "-s", "0", "--seccomp-bpf", "-o", log, "-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:%s:when=%d", call, what, k), e.bin}, e.args()...)
	c := exec.Command("strace", args...)
	c.Env = append(os.Environ(), "GOMAXPROCS=1")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		return nil, nil, "", err
	}
	b, err := os.ReadFile(log)
	for _, l := range strings.Split(string(b), "\n") {
		if strings.Contains(l, "(INJECTED)") {
			lines = append(lines, l)
		}
	}
	return c.ProcessState, lines, out.String(), err
}

func killed(s *os.ProcessState) bool {
	ws, ok := s.Sys().(syscall.WaitStatus)
	return ok && (ws.Signaled() && ws.Signal() == syscall.SIGKILL || ws.ExitStatus() == 128+int(syscall.SIGKILL))
}

// touching are the calls that touch files.
func touching() map[uint64]bool {
	out := map[uint64]bool{unix.SYS_PWRITE64: true, unix.SYS_FSYNC: true, unix.SYS_RENAMEAT: true, unix.SYS_RENAMEAT2: true, unix.SYS_FTRUNCATE: true,
		unix.SYS_FALLOCATE: true, unix.SYS_UNLINKAT: true, unix.SYS_MKDIRAT: true, unix.SYS_OPENAT: true, unix.SYS_FCHMODAT: true, unix.SYS_FLOCK: true}
	if runtime.GOARCH == "amd64" {
		out[82] = true // rename, which others do not have
	}
	return out
}

// killAt runs a process until its k-th call that touches a file, kills it there, and tells how many it came to. It counts over all threads, which
// strace does not: there the k-th call of a thread is another one in each run.
func killAt(c *exec.Cmd, k int) (n int, state unix.WaitStatus, err error) {
	runtime.LockOSThread() // the tracer is this thread
	defer runtime.UnlockOSThread()
	watched := touching()
	c.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Setpgid: true} // a group of its own, so that no other child is waited for
	if err := c.Start(); err != nil {
		return 0, 0, err
	}
	pid := c.Process.Pid
	defer c.Process.Release()
	var ws unix.WaitStatus
	if _, err := unix.Wait4(pid, &ws, unix.WALL, nil); err != nil {
		return 0, 0, err
	}
	if err := errors.Join(unix.PtraceSetOptions(pid, unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL|unix.PTRACE_O_TRACESYSGOOD), unix.PtraceSyscall(pid, 0)); err != nil {
		return 0, 0, err
	}
	for {
		tid, err := unix.Wait4(-pid, &ws, unix.WALL, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return n, 0, err
		case ws.Exited() || ws.Signaled():
			if tid == pid {
				return n, ws, nil
			}
			continue
		}
		pass := 0
		switch s := ws.StopSignal(); s {
		case unix.SIGTRAP | 0x80:
			var info struct { // struct ptrace_syscall_info, of an entry
				op       uint8
				arch     uint32
				ip, sp   uint64
				nr       uint64
				args     [6]uint64
				retData  uint64
				reserved uint64
			}
			const getSyscallInfo, entry = 0x420e, 1
			if _, _, e := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0); e != 0 && e != unix.ESRCH {
				return n, 0, e
			}
			if info.op == entry && watched[info.nr] {
				if n++; n == k {
					if err := unix.Kill(pid, unix.SIGKILL); err != nil {
						return n, 0, err
					}
				}
			}
		case unix.SIGTRAP, unix.SIGSTOP: // a thread was made, or is new
		default:
			pass = int(s)
		}
		_ = unix.PtraceSyscall(tid, pass) // it may be dead by now
	}
}

// TestKilledAtSyscalls kills the tool at each call that touches a file.
func TestKilledAtSyscalls(t *testing.T) {
	var kills, torn atomic.Int64
	states := map[string]int{}
	var mu sync.Mutex
	g := new(errgroup.Group)
	g.SetLimit(2)
	for _, e := range errands(t, 1) {
		g.Go(func() error {
			for k := 1; ; k++ {
				if err := e.reset(); err != nil {
					return err
				}
				n, ws, err := killAt(e.cmd(), k)
				if err != nil {
					return fmt.Errorf("%s, call %d: %w", e.name, k, err)
				}
				if n < k {
					if is, _, err := e.judge(); !ws.Exited() || ws.ExitStatus() != 0 || is != "complete" {
						return fmt.Errorf("%s: not killed, and got %v, %s, %v", e.name, ws, is, err)
					}
					return nil
				}
				kills.Add(1)
				is, left, err := e.judge()
				mu.Lock()
				states[is]++
				mu.Unlock()
				if err == nil && is == "absent" && len(e.start) > 0 && !slices.ContainsFunc(left, func(s string) bool { return strings.Contains(s, ".old") }) {
					err = errors.New("what was there is gone")
				}
				if err == nil {
					_, err = e.settle()
				}
				if err != nil {
					torn.Add(1)
					t.Errorf("%s, killed at call %d (%s, left %v): %v", e.name, k, is, left, err)
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("SIGKILL at every syscall: %d kills (destination then %v), %d torn\n", kills.Load(), states, torn.Load())
	if kills.Load() < 300 {
		t.Errorf("got %d kills, want 300", kills.Load())
	}
}

// TestErrorsAtSyscalls lets each call that touches a file fail. The exit says 73 for what is refused, 74 for what fails.
func TestErrorsAtSyscalls(t *testing.T) {
	if !strace(t) {
		return
	}
	var runs, struck, bad atomic.Int64
	g := new(errgroup.Group)
	g.SetLimit(2)
	for _, e := range errands(t, 1) {
		g.Go(func() error {
			log := filepath.Join(t.TempDir(), "log")
			for _, call := range append(slices.Clone(calls), "pread64") {
				for _, errno := range []string{"EIO", "ENOSPC"} {
					for k, missed := 1, 0; missed < 2; k++ {
						if err := e.reset(); err != nil {
							return err
						}
						state, lines, said, err := e.traced(log, call, "error="+errno, k)
						if err != nil {
							return err
						}
						runs.Add(1)
						if len(lines) == 0 {
							missed++
							continue
						}
						struck.Add(1)
						if err := e.failed(call, errno, state.ExitCode(), lines, said); err != nil {
							bad.Add(1)
							t.Errorf("%s, %s %d: %v", e.name, call, k, err)
						}
					}
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("errors at syscalls: %d runs, %d struck, %d violations\n", runs.Load(), struck.Load(), bad.Load())
}

// failed judges a run with an error in it.
func (e *errand) failed(call, errno string, exit int, lines []string, said string) error {
	is, left, err := e.judge()
	if err != nil {
		return err
	}
	where := fmt.Sprintf("exit %d, %s, left %v: %s %s", exit, is, left, strings.Join(lines, "; "), said)
	ours := strings.Contains(lines[0], e.path("out"))
	complete := is == "complete"
	switch {
	case exit == 0 && !complete:
		return errors.New("success, and it is not there: " + where)
	case exit != 0 && is == "absent" && len(e.start) > 0:
		return errors.New("what was there is gone: " + where)
	case exit != 0 && ours && !(exit == 74 || exit == 73 && errno == "ENOSPC" && call != "fsync"):
		return errors.New("the wrong exit: " + where)
	case exit == 74 && errno == "ENOSPC" && slices.Contains([]string{"pwrite64", "fallocate", "ftruncate", "?mkdir,mkdirat"}, call):
		return errors.New("the wrong exit: " + where)
	case exit != 0 && !strings.Contains(said, e.root):
		return errors.New("no file is named: " + where)
	case len(left) > 0 && !strings.Contains(call, "unlink") && !(e.half != "" && exit != 0) && !strings.Contains(said, "the result is complete, but"):
		return errors.New("litter: " + where)
	}
	_, err = e.settle()
	if err != nil {
		return fmt.Errorf("%w: %s", err, where)
	}
	return nil
}

// TestWithoutRenameat2 runs where the call is missing.
func TestWithoutRenameat2(t *testing.T) {
	if !strace(t) {
		return
	}
	for _, e := range errands(t, 1) {
		for _, errno := range []string{"ENOSYS", "EINVAL"} {
			if err := e.reset(); err != nil {
				t.Fatal(err)
			}
			state, lines, said, err := e.traced(filepath.Join(t.TempDir(), "log"), "renameat2", "error="+errno, 1)
			if is, left, err2 := e.judge(); err != nil || err2 != nil || state.ExitCode() != 0 || is != "complete" || len(left) > 0 || len(lines) == 0 && len(e.start) == 0 {
				t.Errorf("%s, %s: %v %v, exit %d, %s, left %v: %v %s", e.name, errno, err, err2, state.ExitCode(), is, left, lines, said)
			}
		}
	}
}

// TestKills kills the tool at random moments: BOWLINE_KILLS times, 2,000 if that is not set. Half of the kills are followed by a run to the
// end; the others by one that is killed again, over what was left.
func TestKills(t *testing.T) {
	want := int64(number(t, "BOWLINE_KILLS", 2000))
	list := errands(t, 60)
	for _, e := range errands(t, 60)[:1] { // what is in the receipt before a kill can be kept
		e.name, e.vouch, e.flags = "file, vouched for", 20_000, []string{"--resumable"}
		list = append(list, e)
	}
	var kills, interrupts, resumed, kept, torn atomic.Int64
	g := new(errgroup.Group)
	start := time.Now()
	next := make(chan *errand, len(list)) // a token for each: an errand has one directory
	for _, e := range list {
		next <- e
	}
	for worker := range 2 {
		rng := rand.New(rand.NewPCG(1, uint64(worker)))
		g.Go(func() error {
			for kills.Load() < want {
				e := <-next
				err := e.round(rng, &kills, &interrupts, &resumed, &kept, &torn, t)
				next <- e
				if err != nil {
					return fmt.Errorf("%s: %w", e.name, err)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("random kills: %d kills, %d interrupts before, %d runs to the end after (%d bytes kept), %d torn, %.0f s\n",
		kills.Load(), interrupts.Load(), resumed.Load(), kept.Load(), torn.Load(), time.Since(start).Seconds())
	if kept.Load() == 0 && want >= 100 {
		t.Error("nothing was ever kept")
	}
}

// round is a start, one or two kills, and a run to the end.
func (e *errand) round(rng *rand.Rand, kills, interrupts, resumed, kept, torn *atomic.Int64, t *testing.T) error {
	if err := e.reset(); err != nil {
		return err
	}
	begin := time.Now()
	if _, err := e.settle("--resumable"); err != nil { // how long it takes today
		return err
	}
	whole := time.Since(begin)
	for range 8 {
		if err := e.reset(); err != nil {
			return err
		}
		for shot := 0; shot < 2; {
			c := e.cmd("--resumable")
			if err := c.Start(); err != nil {
				return err
			}
			time.Sleep(time.Duration(rng.Int64N(int64(whole))))
			if e.vouch == 0 && rng.IntN(4) == 0 {
				_ = c.Process.Signal(os.Interrupt) // which makes a receipt; the kill is for who takes over, or for the clearing up
				interrupts.Add(1)
				time.Sleep(time.Duration(rng.Int64N(int64(whole))))
			}
			_ = c.Process.Kill()
			_ = c.Wait()
			if shot++; !killed(c.ProcessState) {
				continue
			}
			kills.Add(1)
			if is, left, err := e.judge(); err != nil {
				torn.Add(1)
				t.Errorf("%s: killed: %s, left %v: %v", e.name, is, left, err)
			}
		}
		n, err := e.settle("--resumable")
		resumed.Add(1)
		kept.Add(n)
		if err != nil {
			torn.Add(1)
			t.Errorf("%s: after two kills: %v", e.name, err)
		}
	}
	return nil
}

// TestResumedAtEveryChunk kills at every operation of a run that enters each chunk in its receipt, and resumes. At every chunk it then harms
// what was made: one flipped byte of any finished chunk is found, and so is a source that is not the same any more.
func TestResumedAtEveryChunk(t *testing.T) {
	before := map[string]string{"/out/": ""}
	for name, content := range tiny(400) {
		before["/in/"+name] = content
	}
	changed := maps.Clone(before)
	b := []byte(changed["/in/model.safetensors"])
	b[len(b)-1] ^= 1
	changed["/in/model.safetensors"] = string(b)
	w := workflow{flow: &flow{src: "/in", dst: "/out/x.gguf", before: before}, vouch: 1}
	result := func(tree map[string]string) string {
		m := put(tree)
		if _, err := w.execute(m, false); err != nil {
			t.Fatal(err)
		}
		return m.Tree()["/out/x.gguf"]
	}
	want, other := result(before), result(changed)
	source, p, err := w.plan(t.Context(), put(before))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	resume := func(m *fsio.Mem, want, where string) int64 {
		n, err := w.execute(m, false)
		if left, _ := litter(m.Tree()); err != nil || m.Tree()["/out/x.gguf"] != want || len(left) > 0 {
			t.Errorf("%s: %v, left %v, or other bytes", where, err, left)
		}
		return n
	}
	var kills, chunks, harmed, found int
	entered := ""
	for k := int64(1); ; k++ {
		m := put(before)
		f := &fsio.Fault{FS: m, At: k, Stuck: true}
		if _, err := w.execute(f, false); f.Hit() == "" {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		kills++
		left, _ := litter(m.Tree())
		kept := resume(m.Clone(), want, "killed at "+f.Hit())
		receipt, staging := "", ""
		for _, name := range left {
			if strings.HasSuffix(name, ".receipt") {
				receipt = name
			} else if !strings.HasSuffix(name, "-lock") {
				staging = name
			}
		}
		lines := strings.Split(m.Tree()[receipt], "\n")
		if m.Tree()[receipt] == entered || len(lines) < 3 || staging == "" {
			continue
		}
		entered = m.Tree()[receipt]
		chunks++
		for _, l := range lines[1 : len(lines)-1] {
			var x struct{ S, O, N int64 }
			if err := json.Unmarshal([]byte(l), &x); err != nil {
				t.Fatal(err)
			}
			c := m.Clone()
			f, err := c.OpenRW(staging)
			if err != nil {
				t.Fatal(err)
			}
			at := p.Layout.Places[x.S].Offset + x.O + int64(harmed*7919)%x.N
			if _, err := f.WriteAt([]byte{want[at] ^ 1<<(harmed%8)}, at); err != nil {
				t.Fatal(err)
			}
			harmed++
			if n := resume(c, want, "a byte flipped"); n == kept-x.N {
				found++
			} else {
				t.Errorf("a byte of %d flipped: kept %d of %d", x.N, n, kept)
			}
		}
		c := m.Clone()
		fd, err := c.OpenRW("/in/model.safetensors")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // twice, as a clone keeps no time but the number of its changes
			if _, err := fd.WriteAt(b[len(b)-1:], int64(len(b)-1)); err != nil {
				t.Fatal(err)
			}
		}
		if n := resume(c, other, "the source changed"); n != 0 {
			t.Errorf("the source changed: kept %d", n)
		}
	}
	fmt.Printf("resume: %d kills, %d of them with a chunk more; %d of %d flipped bytes found, %d changed sources found\n", kills, chunks, found, harmed, chunks)
	if chunks < 14 {
		t.Errorf("got %d chunks, want 14", chunks)
	}
}

// TestDiskFull runs on file systems of all sizes, and under limits of file size at every edge: what does not fit is exit 73, and leaves what
// was there.
func TestDiskFull(t *testing.T) {
	if os.Getenv("BOWLINE_SPACE") == "" {
		// Again in a mount namespace of its own, where everybody may mount.
		c := exec.Command(os.Args[0], "-test.run=^TestDiskFull$", "-test.v")
		c.Env = append(os.Environ(), "BOWLINE_SPACE=1")
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		if os.Getuid() != 0 {
			c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
			c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
		}
		out, err := c.CombinedOutput()
		os.Stdout.Write(out)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	runs, refused := 0, 0
	check := func(e *errand, c *exec.Cmd, where string) {
		out, err := c.CombinedOutput()
		exit := c.ProcessState.ExitCode()
		is, left, jerr := e.judge()
		runs++
		switch {
		case jerr != nil:
			t.Errorf("%s, %s: %v", e.name, where, jerr)
		case exit == 0 && is == "complete" && len(left) == 0:
		case exit == 73 && (is == "old" || is == "absent" && len(e.start) == 0) && len(left) == 0 && strings.Contains(string(out), e.root):
			refused++
		default:
			t.Errorf("%s, %s: exit %d, %s, left %v: %v %s", e.name, where, exit, is, left, err, out)
		}
	}
	for _, e := range errands(t, 1) {
		if e.half != "" {
			continue
		}
		need := int64(0)
		for name, content := range e.done {
			if strings.HasPrefix(name, "/out/") {
				need += int64(len(content)+4095)&^4095 + 4096
			}
		}
		mount := func(options string) {
			if err := errors.Join(os.RemoveAll(e.path("out")), os.Mkdir(e.path("out"), 0o777), syscall.Mount("tmpfs", e.path("out"), "tmpfs", 0, options)); err != nil {
				t.Fatal(err)
			}
			if err := lay(e.root, e.start); err != nil && !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			} else if err == nil {
				check(e, e.cmd(), options)
			}
			if err := syscall.Unmount(e.path("out"), 0); err != nil {
				t.Fatal(err)
			}
		}
		for k := range int64(64) {
			mount(fmt.Sprintf("size=%d", max(4096, (need+16384)*k/63&^4095)))
		}
		for n := 2; n < 12; n++ {
			mount(fmt.Sprintf("nr_inodes=%d", n))
		}
		edges := map[int64]bool{0: true, 1: true}
		for _, content := range e.done {
			for n := int64(0); n <= int64(len(content)); n += 4096 {
				for d := int64(-1); d <= 1; d++ {
					edges[max(0, n+d)], edges[int64(len(content))+d] = true, true
				}
			}
		}
		for n := range edges {
			if err := e.reset(); err != nil {
				t.Fatal(err)
			}
			c := exec.Command("prlimit", append([]string{fmt.Sprintf("--fsize=%d", max(0, n)), e.bin}, e.args()...)...)
			check(e, c, fmt.Sprintf("files of %d bytes at most", n))
		}
	}
	fmt.Printf("disk full: %d runs, %d refused with 73, the others complete\n", runs, refused)
	if refused < 100 || refused == runs {
		t.Errorf("got %d refused of %d", refused, runs)
	}
}

// TestOneDestination starts two to eight processes at once on one destination: BOWLINE_TRIALS times, 100 if that is not set. One makes it, the
// others are told that it is taken, or, if they ask for the same, that it is there.
func TestOneDestination(t *testing.T) {
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	model := map[string]string{}
	for name, content := range tiny(60) {
		model["in/m/"+name] = content
	}
	if err := lay(root, model); err != nil {
		t.Fatal(err)
	}
	var processes, wrote, locked, exists, same, bad int
	trials := number(t, "BOWLINE_TRIALS", 100)
	for trial := range trials {
		force := trial%4 == 3
		dir := trial%2 == 1
		differ := trial%3 != 0
		dst := filepath.Join(root, fmt.Sprintf("out%d", trial), "x.gguf")
		if dir {
			dst = strings.TrimSuffix(dst, ".gguf")
		}
		if err := os.Mkdir(filepath.Dir(dst), 0o777); err != nil {
			t.Fatal(err)
		}
		if force {
			name := dst
			if dir {
				name = dst + "/config.json"
			}
			if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o777), os.WriteFile(name, []byte("{}"), 0o666)); err != nil {
				t.Fatal(err)
			}
		}
		n := 2 + trial%7
		args := func(i int, dst string) []string {
			a := []string{"convert", filepath.Join(root, "in/m"), dst, "--json"}
			if differ && i%2 == 1 {
				a = append(a, "--dtype", "f32")
			}
			if dir && differ && i%3 == 2 {
				a = append(a, "--to", "pytorch")
			}
			if force {
				a = append(a, "--force")
			}
			return a
		}
		cmds := make([]*exec.Cmd, n)
		outs := make([]bytes.Buffer, n)
		for i := range cmds {
			cmds[i] = exec.Command(bin, args(i, dst)...)
			cmds[i].Stdout = &outs[i]
		}
		for _, c := range cmds {
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
		}
		winners := 0
		for i, c := range cmds {
			_ = c.Wait()
			processes++
			var r struct {
				UpToDate bool `json:"up_to_date"`
				Errors   []struct{ Code string }
			}
			if err := json.Unmarshal(outs[i].Bytes(), &r); err != nil {
				t.Fatalf("%v: %s", err, outs[i].Bytes())
			}
			switch exit := c.ProcessState.ExitCode(); {
			case exit == 0 && r.UpToDate:
				same++
			case exit == 0:
				wrote++
				winners++
			case exit == 73 && r.Errors[0].Code == "E_LOCKED":
				locked++
			case exit == 73 && r.Errors[0].Code == "E_EXISTS":
				exists++
			default:
				bad++
				t.Errorf("trial %d: exit %d: %s", trial, exit, outs[i].Bytes())
			}
		}
		got, err := readTree(filepath.Dir(dst))
		if err != nil {
			t.Fatal(err)
		}
		// What is there is what one of them makes alone.
		valid := false
		for i := range cmds {
			alone := filepath.Join(root, "alone", filepath.Base(dst))
			if err := errors.Join(os.RemoveAll(filepath.Dir(alone)), os.Mkdir(filepath.Dir(alone), 0o777)); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(bin, args(i, alone)...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			want, err := readTree(filepath.Dir(alone))
			if err != nil {
				t.Fatal(err)
			}
			if valid = maps.Equal(got, want); valid {
				break
			}
		}
		if !valid || winners == 0 || winners > 1 && !force {
			bad++
			t.Errorf("trial %d: %d winners, valid %v: %v", trial, winners, valid, slices.Sorted(maps.Keys(got)))
		}
	}
	fmt.Printf("one destination: %d trials, %d processes: %d wrote, %d found it locked, %d found another, %d the same; %d violations\n",
		trials, processes, wrote, locked, exists, same, bad)
}
