package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"bowline": main})
}

// The scripts are the manual as running tests. $TESTDATA is the tree's testdata.
func TestScripts(t *testing.T) {
	data, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("TESTDATA", data)
			return nil
		},
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exit": exitIs},
		RequireExplicitExec: true,
	})
}

// exitIs runs a command and requires its exit code: "exit 65 bowline inspect x".
func exitIs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit CODE COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		e, ok := err.(interface{ ExitCode() int })
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if want := args[0]; want != itoa(got) {
		ts.Fatalf("got exit %d, want %s", got, want)
	}
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

func TestMainHelp(t *testing.T) {
	if code := run([]string{"bowline"}, os.Stdout, os.Stderr); code != 0 {
		t.Errorf("got exit %d without arguments, want 0 and the help", code)
	}
}

// A reader of the results that goes early is no error, and nothing is said about it; a full disk behind stdout is one.
func TestClosedStdout(t *testing.T) {
	for _, args := range [][]string{{"inspect", "--tensors", "../../testdata/checkpoints/smollm2"}, {"inspect", "--json", "../../testdata/checkpoints/smollm2"},
		{"ties", "../../testdata/checkpoints/smollm2"}, {"hash", "../../testdata/checkpoints/smollm2"}, {"inspect", "--help"}} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		var stderr strings.Builder
		if code := run(append([]string{"bowline"}, args...), w, &stderr); code != 0 || stderr.Len() > 0 {
			t.Errorf("%v: got exit %d and %q, want 0 and nothing", args, code, stderr.String())
		}
		w.Close()
		stderr.Reset()
		if code := run(append([]string{"bowline"}, args...), full{}, &stderr); code != 74 || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("%v: got exit %d and %q, want 74", args, code, stderr.String())
		}
	}
}

// full is a stdout on a full disk.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }
