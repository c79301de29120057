package corpus

import (
	"path/filepath"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// Payloads are pickles that make a file called PWNED in Python, or would where what they name exists. The mark is the opcode that names what
// must not be run. Python 3.11's pickle was given them all (-dump leaves them as files), and 26 made the file there without torch.
func Payloads(path string) (out []Case) {
	shell := Tuple(Str("touch " + path))
	code := Tuple(Str("open(" + quote(path) + ", 'w').close()"))
	list := "(" + "](" + Str("touch") + Str(path) + "e" + "t"
	inner := "cos\nsystem\n" + shell + "R."
	unsafe := formats.Unsafe
	for _, x := range []struct {
		name, pickle string
		code         formats.Code
	}{
		{"os.system", Proto + "¦" + Global("os", "system") + shell + "R.", unsafe},
		{"posix.system", Proto + "¦" + Global("posix", "system") + shell + "R.", unsafe},
		{"nt.system", Proto + "¦" + Global("nt", "system") + shell + "R.", unsafe},
		{"os.popen", Proto + "¦" + Global("os", "popen") + shell + "R.", unsafe},
		{"subprocess.Popen", Proto + "¦" + Global("subprocess", "Popen") + list + "R.", unsafe},
		{"subprocess.check_output", Proto + "¦" + Global("subprocess", "check_output") + list + "R.", unsafe},
		{"commands of Python 2", Proto + "¦" + Global("commands", "getoutput") + shell + "R.", unsafe},
		{"builtins.eval", Proto + "¦" + Global("builtins", "eval") + code + "R.", unsafe},
		{"__builtin__.eval", Proto + "¦" + Global("__builtin__", "eval") + code + "R.", unsafe},
		{"builtins.exec", Proto + "¦" + Global("builtins", "exec") + code + "R.", unsafe},
		{"builtins.__import__", Proto + "¦" + Global("builtins", "__import__") + Tuple(Str("os")) + "R.", unsafe},
		{"builtins.open", Proto + "¦" + Global("builtins", "open") + Tuple(Str(path), Str("w")) + "R.", unsafe},
		{"io.open", Proto + "¦" + Global("io", "open") + Tuple(Str(path), Str("w")) + "R.", unsafe},
		{"runpy", Proto + "¦" + Global("runpy", "_run_code") + Tuple(code[1:len(code)-1], "}") + "R.", unsafe},
		{"timeit.timeit", Proto + "¦" + Global("timeit", "timeit") + Tuple(Str("pass"), code[1:len(code)-1]) + "R.", unsafe},
		{"pickle.loads", Proto + "¦" + Global("pickle", "loads") + Tuple("C"+string(rune(len(inner)))+inner) + "R.", unsafe},
		{"importlib", Proto + "¦" + Global("importlib", "import_module") + Tuple(Str("os")) + "R.", unsafe},
		{"STACK_GLOBAL", "\x80\x04" + Str("os") + Str("system") + "¦\x93" + shell + "R.", unsafe},
		{"STACK_GLOBAL from the memo", "\x80\x04" + Str("system") + "q\x000" + Str("os") + "q\x010" + "h\x01h\x00¦\x93" + shell + "R.", unsafe},
		{"STACK_GLOBAL by DUP and POP", "\x80\x04" + Str("os") + "2N00" + "2" + "0" + Str("x") + "0" + Str("system") + "¦\x93" + shell + "R.", unsafe},
		{"INST", "(S'touch " + path + "'\n¦ios\nsystem\n.", unsafe},
		{"INST of a harmless class", "(¦icollections\nOrderedDict\n.", unsafe},
		{"OBJ and POP", "(¦cos\nsystem\nS'touch " + path + "'\no0}.", unsafe},
		{"OBJ of a harmless class", "(cbuiltins\nlist\n¦o.", unsafe},
		{"EXT1", Proto + "¦\x82\x01" + shell + "R.", unsafe},
		{"EXT2", Proto + "¦\x83\x01\x00" + shell + "R.", unsafe},
		{"EXT4", Proto + "¦\x84\x01\x00\x00\x00" + shell + "R.", unsafe},
		{"called and popped", Proto + "¦" + Global("os", "system") + shell + "R0" + Dict("x", Good()) + ".", unsafe},
		{"NEWOBJ", Proto + "¦" + Global("subprocess", "Popen") + list + "\x81.", unsafe},
		{"NEWOBJ_EX", "\x80\x04¦" + Global("subprocess", "Popen") + list + "}\x92.", unsafe},
		{"BUILD with __setstate__", Proto + Global("argparse", "Namespace") + ")R" + "}" + Str("__setstate__") + "¦" + Global("os", "system") + "sb" + Str("touch "+path) + "b.", unsafe},
		{"a dotted name", "\x80\x04" + Str("torch.serialization") + Str("os.system") + "¦\x93" + shell + "R.", unsafe},
		{"a module of another module", Proto + "¦" + Global("torch.serialization", "os") + ".", unsafe},
		{"a module that another one imports", Proto + "¦" + Global("torch.os", "system") + shell + "R.", unsafe},
		{"os.path", Proto + "¦" + Global("os.path", "exists") + Tuple(Str(path)) + "R.", unsafe},
		{"sys.modules", Proto + "¦" + Global("sys", "modules") + ".", unsafe},
		{"a name with a control character", Proto + "¦" + Global("os\r", "system") + shell + "R.", unsafe},
		{"a name with a space", Proto + "¦" + Global("os ", "system") + shell + "R.", unsafe},
		{"no module", Proto + "¦" + Global("", "system") + shell + "R.", unsafe},
		{"in the hooks of a tensor", Proto + Dict("x", v2(Store, Num(0), Ints(1), Ints(1), "\x89", "¦"+Global("os", "system")+shell+"R")) + ".", unsafe},
		{"in the class of a storage", Proto + Tuple(Str("storage"), "¦"+Global("os", "system"), Str("0"), Str("cpu"), Num(16)) + "Q.", unsafe},
		{"as a function for tensors", Proto + Dict("x", Global("torch._tensor", "_rebuild_from_type_v2")+Tuple("¦"+Global("os", "system"), Global("torch", "Tensor"), shell, "}")+"R") + ".", unsafe},
		{"beside good tensors", Proto + Dict("x", Good(), "epoch", "¦"+Global("os", "system")+shell+"R") + ".", unsafe},
		{"as a value, never called", Proto + Dict("x", Good(), "f", "¦"+Global("os", "system")) + ".", unsafe},
		{"as a factory", Proto + Global("collections", "defaultdict") + Tuple("¦"+Global("os", "system")) + "R.", unsafe},
		{"by functools", Proto + Global("functools", "partial") + Tuple("¦"+Global("os", "system"), Str("touch "+path)) + "R)R.", unsafe},
		{"webbrowser", Proto + "¦" + Global("webbrowser", "open") + Tuple(Str("file://"+path)) + "R.", unsafe},
		{"torch.hub.load", Proto + "¦" + Global("torch.hub", "load") + Tuple(Str(filepath.Dir(path)), Str("f")) + "R.", unsafe},
		{"torch.serialization.load", Proto + "¦" + Global("torch.serialization", "load") + Tuple(Str(path)) + "R.", unsafe},
		{"a compiler", Proto + "¦" + Global("torch.utils.cpp_extension", "load_inline") + Tuple(Str("x"), Str("int x;")) + "R.", unsafe},
		{"codecs.open", Proto + "¦" + Global("codecs", "open") + Tuple(Str(path), Str("w")) + "R.", unsafe},
		{"by copyreg", Proto + Global("copyreg", "_reconstructor") + Tuple("¦"+Global("subprocess", "Popen"), Global("builtins", "object"), "N") + "R.", unsafe},
		{"as an array of numpy", Proto + Global("numpy.core.multiarray", "_reconstruct") + Tuple("¦"+Global("os", "system"), Ints(0), Str("b")) + "R.", unsafe},
		{"in a scalar of numpy", Proto + Global("numpy.core.multiarray", "scalar") + Tuple(Global("numpy", "dtype")+Tuple("¦"+Global("os", "system")+shell+"R")+"R") + "R.", unsafe},
		{"in the metadata of a tensor", Proto + Dict("x", v2(Store, Num(0), Ints(1), Ints(1), "\x89", "N", "¦"+Global("os", "system")+shell+"R")) + ".", unsafe},
		{"protocol 0", "¦cposix\nsystem\n(S'touch " + path + "'\ntR.", unsafe},
		{"protocol 3", "\x80\x03¦" + Global("posix", "system") + shell + "R.", unsafe},
		{"protocol 5", "\x80\x05" + Str("posix") + "\x94" + Str("system") + "\x94¦\x93" + shell + "R.", unsafe},
		{"after STOP", State() + "¦" + Global("os", "system") + shell + "R.", formats.Trail},
	} {
		c := badPickle(x.name, x.code, x.pickle)
		c.Field = "data.pkl"
		out = append(out, c)
	}
	return out
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, `\`, `\\`) + "'" }
