package pytorch_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

// payloads are pickles that make a file called PWNED in Python, or would where what they name exists. The mark is the opcode that names what
// must not be run. Python 3.11's pickle was given them all (-dump leaves them as files), and 26 made the file there without torch.
func payloads(path string) []struct {
	name, pickle string
	code         formats.Code
} {
	shell := tuple(str("touch " + path))
	code := tuple(str("open(" + quote(path) + ", 'w').close()"))
	list := "(" + "](" + str("touch") + str(path) + "e" + "t"
	inner := "cos\nsystem\n" + shell + "R."
	unsafe := formats.Unsafe
	return []struct {
		name, pickle string
		code         formats.Code
	}{
		{"os.system", proto + "¦" + global("os", "system") + shell + "R.", unsafe},
		{"posix.system", proto + "¦" + global("posix", "system") + shell + "R.", unsafe},
		{"nt.system", proto + "¦" + global("nt", "system") + shell + "R.", unsafe},
		{"os.popen", proto + "¦" + global("os", "popen") + shell + "R.", unsafe},
		{"subprocess.Popen", proto + "¦" + global("subprocess", "Popen") + list + "R.", unsafe},
		{"subprocess.check_output", proto + "¦" + global("subprocess", "check_output") + list + "R.", unsafe},
		{"commands of Python 2", proto + "¦" + global("commands", "getoutput") + shell + "R.", unsafe},
		{"builtins.eval", proto + "¦" + global("builtins", "eval") + code + "R.", unsafe},
		{"__builtin__.eval", proto + "¦" + global("__builtin__", "eval") + code + "R.", unsafe},
		{"builtins.exec", proto + "¦" + global("builtins", "exec") + code + "R.", unsafe},
		{"builtins.__import__", proto + "¦" + global("builtins", "__import__") + tuple(str("os")) + "R.", unsafe},
		{"builtins.open", proto + "¦" + global("builtins", "open") + tuple(str(path), str("w")) + "R.", unsafe},
		{"io.open", proto + "¦" + global("io", "open") + tuple(str(path), str("w")) + "R.", unsafe},
		{"runpy", proto + "¦" + global("runpy", "_run_code") + tuple(code[1:len(code)-1], "}") + "R.", unsafe},
		{"timeit.timeit", proto + "¦" + global("timeit", "timeit") + tuple(str("pass"), code[1:len(code)-1]) + "R.", unsafe},
		{"pickle.loads", proto + "¦" + global("pickle", "loads") + tuple("C"+string(rune(len(inner)))+inner) + "R.", unsafe},
		{"importlib", proto + "¦" + global("importlib", "import_module") + tuple(str("os")) + "R.", unsafe},
		{"STACK_GLOBAL", "\x80\x04" + str("os") + str("system") + "¦\x93" + shell + "R.", unsafe},
		{"STACK_GLOBAL from the memo", "\x80\x04" + str("system") + "q\x000" + str("os") + "q\x010" + "h\x01h\x00¦\x93" + shell + "R.", unsafe},
		{"STACK_GLOBAL by DUP and POP", "\x80\x04" + str("os") + "2N00" + "2" + "0" + str("x") + "0" + str("system") + "¦\x93" + shell + "R.", unsafe},
		{"INST", "(S'touch " + path + "'\n¦ios\nsystem\n.", unsafe},
		{"INST of a harmless class", "(¦icollections\nOrderedDict\n.", unsafe},
		{"OBJ and POP", "(¦cos\nsystem\nS'touch " + path + "'\no0}.", unsafe},
		{"OBJ of a harmless class", "(cbuiltins\nlist\n¦o.", unsafe},
		{"EXT1", proto + "¦\x82\x01" + shell + "R.", unsafe},
		{"EXT2", proto + "¦\x83\x01\x00" + shell + "R.", unsafe},
		{"EXT4", proto + "¦\x84\x01\x00\x00\x00" + shell + "R.", unsafe},
		{"called and popped", proto + "¦" + global("os", "system") + shell + "R0" + dict("x", good()) + ".", unsafe},
		{"NEWOBJ", proto + "¦" + global("subprocess", "Popen") + list + "\x81.", unsafe},
		{"NEWOBJ_EX", "\x80\x04¦" + global("subprocess", "Popen") + list + "}\x92.", unsafe},
		{"BUILD with __setstate__", proto + global("argparse", "Namespace") + ")R" + "}" + str("__setstate__") + "¦" + global("os", "system") + "sb" + str("touch "+path) + "b.", unsafe},
		{"a dotted name", "\x80\x04" + str("torch.serialization") + str("os.system") + "¦\x93" + shell + "R.", unsafe},
		{"a module of another module", proto + "¦" + global("torch.serialization", "os") + ".", unsafe},
		{"a module that another one imports", proto + "¦" + global("torch.os", "system") + shell + "R.", unsafe},
		{"os.path", proto + "¦" + global("os.path", "exists") + tuple(str(path)) + "R.", unsafe},
		{"sys.modules", proto + "¦" + global("sys", "modules") + ".", unsafe},
		{"a name with a control character", proto + "¦" + global("os\r", "system") + shell + "R.", unsafe},
		{"a name with a space", proto + "¦" + global("os ", "system") + shell + "R.", unsafe},
		{"no module", proto + "¦" + global("", "system") + shell + "R.", unsafe},
		{"in the hooks of a tensor", proto + dict("x", v2(store, num(0), ints(1), ints(1), "\x89", "¦"+global("os", "system")+shell+"R")) + ".", unsafe},
		{"in the class of a storage", proto + tuple(str("storage"), "¦"+global("os", "system"), str("0"), str("cpu"), num(16)) + "Q.", unsafe},
		{"as a function for tensors", proto + dict("x", global("torch._tensor", "_rebuild_from_type_v2")+tuple("¦"+global("os", "system"), global("torch", "Tensor"), shell, "}")+"R") + ".", unsafe},
		{"beside good tensors", proto + dict("x", good(), "epoch", "¦"+global("os", "system")+shell+"R") + ".", unsafe},
		{"as a value, never called", proto + dict("x", good(), "f", "¦"+global("os", "system")) + ".", unsafe},
		{"as a factory", proto + global("collections", "defaultdict") + tuple("¦"+global("os", "system")) + "R.", unsafe},
		{"by functools", proto + global("functools", "partial") + tuple("¦"+global("os", "system"), str("touch "+path)) + "R)R.", unsafe},
		{"webbrowser", proto + "¦" + global("webbrowser", "open") + tuple(str("file://"+path)) + "R.", unsafe},
		{"torch.hub.load", proto + "¦" + global("torch.hub", "load") + tuple(str(filepath.Dir(path)), str("f")) + "R.", unsafe},
		{"torch.serialization.load", proto + "¦" + global("torch.serialization", "load") + tuple(str(path)) + "R.", unsafe},
		{"a compiler", proto + "¦" + global("torch.utils.cpp_extension", "load_inline") + tuple(str("x"), str("int x;")) + "R.", unsafe},
		{"codecs.open", proto + "¦" + global("codecs", "open") + tuple(str(path), str("w")) + "R.", unsafe},
		{"by copyreg", proto + global("copyreg", "_reconstructor") + tuple("¦"+global("subprocess", "Popen"), global("builtins", "object"), "N") + "R.", unsafe},
		{"as an array of numpy", proto + global("numpy.core.multiarray", "_reconstruct") + tuple("¦"+global("os", "system"), ints(0), str("b")) + "R.", unsafe},
		{"in a scalar of numpy", proto + global("numpy.core.multiarray", "scalar") + tuple(global("numpy", "dtype")+tuple("¦"+global("os", "system")+shell+"R")+"R") + "R.", unsafe},
		{"in the metadata of a tensor", proto + dict("x", v2(store, num(0), ints(1), ints(1), "\x89", "N", "¦"+global("os", "system")+shell+"R")) + ".", unsafe},
		{"protocol 0", "¦cposix\nsystem\n(S'touch " + path + "'\ntR.", unsafe},
		{"protocol 3", "\x80\x03¦" + global("posix", "system") + shell + "R.", unsafe},
		{"protocol 5", "\x80\x05" + str("posix") + "\x94" + str("system") + "\x94¦\x93" + shell + "R.", unsafe},
		{"after STOP", state() + "¦" + global("os", "system") + shell + "R.", formats.Trail},
	}
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, `\`, `\\`) + "'" }

// TestPayloads opens pickles that ask for code to be run. All are refused where they ask, and nothing happens.
func TestPayloads(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "PWNED")
	list := payloads(path)
	for _, x := range list {
		s, at := marked(x.pickle)
		b := checkpoint(s, sixty4).b
		if *dump != "" {
			if err := os.WriteFile(filepath.Join(*dump, strings.ReplaceAll(x.name, " ", "-")+".pkl"), []byte(s), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		name := filepath.Join(dir, "model.bin")
		if err := os.WriteFile(name, b, 0o666); err != nil {
			t.Fatal(err)
		}
		c, err := pytorch.Format.Open(fsio.OS{}, formats.Set{Dir: dir, Files: []string{"model.bin"}})
		if err == nil {
			c.Close()
		}
		list := formats.Errors(err)
		if len(list) == 0 || list[0].Code != x.code || list[0].Offset != int64(pickleAt+at) {
			t.Errorf("%s: got %v, want %s at %d", x.name, err, x.code, pickleAt+at)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Fatalf("%s: made %v (%v)", x.name, left, err)
		}
	}
	if len(list) < 59 {
		t.Errorf("got %d payloads, want at least 59", len(list))
	}
}
