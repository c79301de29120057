package pytorch

import (
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// moved renames the modules that Python 2 called otherwise (CPython, Lib/_compat_pickle.py), whatever protocol the pickle says.
var moved = map[string]string{
	"__builtin__": "builtins", "copy_reg": "copyreg", "commands": "subprocess", "cPickle": "pickle", "Queue": "queue", "UserDict": "collections",
	"torch.tensor": "torch._tensor", // moved by torch itself (torch/serialization.py, load_module_mapping)
}

// forbidden modules run programs, load code, or open what the system has; a file that names one of them, for whatever reason, is
// refused. torch refuses the first four too (torch/_weights_only_unpickler.py, _blocklisted_modules).
var forbidden = map[string]bool{
	"sys": true, "os": true, "posix": true, "nt": true, "subprocess": true,
	"_posixsubprocess": true, "_winapi": true, "asyncio": true, "bdb": true, "cffi": true, "code": true, "codeop": true, "ctypes": true, "ftplib": true,
	"http": true, "imp": true, "importlib": true, "marshal": true, "multiprocessing": true, "pdb": true, "pip": true, "pkgutil": true, "popen2": true,
	"pty": true, "pydoc": true, "runpy": true, "shutil": true, "smtplib": true, "socket": true, "tempfile": true, "timeit": true, "urllib": true,
	"urllib2": true, "webbrowser": true,
}

// reachable are those that no class is called after.
var reachable = map[string]bool{
	"sys": true, "os": true, "posix": true, "nt": true, "subprocess": true, "ctypes": true, "importlib": true, "pty": true, "runpy": true, "shutil": true,
}

// forbiddenNames are the functions of other modules that do the same.
var forbiddenNames = map[string]bool{
	"builtins.eval": true, "builtins.exec": true, "builtins.__import__": true,
	"builtins.apply": true, "builtins.breakpoint": true, "builtins.compile": true, "builtins.execfile": true, "builtins.file": true, "builtins.globals": true,
	"builtins.input": true, "builtins.locals": true, "builtins.open": true, "builtins.raw_input": true, "builtins.vars": true,
	"_io.FileIO": true, "_io.open": true, "_io.open_code": true, "io.FileIO": true, "io.open": true, "io.open_code": true, "codecs.open": true,
	"_pickle.load": true, "_pickle.loads": true, "pickle.load": true, "pickle.loads": true, "dill.load": true, "dill.loads": true,
	"cloudpickle.load": true, "cloudpickle.loads": true, "joblib.load": true, "numpy.load": true, "torch.load": true, "torch.jit.load": true,
	"torch.hub.load": true, "torch.hub.load_state_dict_from_url": true, "torch.hub.download_url_to_file": true, "torch.serialization.load": true,
	"torch.utils.cpp_extension.load": true, "torch.utils.cpp_extension.load_inline": true, "doctest.debug_script": true, "cProfile.run": true, "cProfile.runctx": true, "profile.run": true, "profile.runctx": true, "trace.Trace": true,
}

// plain are names that need no note: what they make is no tensor and nobody misses it, or it is understood.
var plain = map[string]bool{
	"collections.OrderedDict": true, "collections.defaultdict": true, "collections.Counter": true,
	"builtins.dict": true, "builtins.set": true, "builtins.frozenset": true, "builtins.list": true, "builtins.tuple": true, "builtins.bytes": true,
	"builtins.bytearray": true, "builtins.complex": true, "builtins.object": true, "builtins.int": true, "builtins.float": true, "builtins.bool": true,
	"builtins.str": true, "builtins.slice": true, "builtins.range": true, "_codecs.encode": true,
	"torch.Size": true, "torch.device": true, "torch.Tensor": true, "torch._tensor.Tensor": true, "torch.nn.parameter.Parameter": true,
	"torch.nn.parameter.Buffer": true, "torch.serialization._get_layout": true, "torch.storage.TypedStorage": true, "torch.storage._TypedStorage": true,
}

// rebuilds make tensors (torch/_utils.py, torch/_tensor.py). Those without a function are known and refused.
var rebuilds = map[string]func(*machine, *global, []any) any{
	"torch._utils._rebuild_tensor":                              (*machine).rebuild,
	"torch._utils._rebuild_tensor_v2":                           (*machine).rebuild,
	"torch._utils._rebuild_tensor_v3":                           (*machine).rebuild,
	"torch._utils._rebuild_parameter":                           (*machine).parameter,
	"torch._utils._rebuild_parameter_with_state":                (*machine).parameter,
	"torch._tensor._rebuild_from_type":                          nil, // they call back: see rebuildFromType
	"torch._tensor._rebuild_from_type_v2":                       nil,
	"torch._utils._rebuild_qtensor":                             nil,
	"torch._utils._rebuild_sparse_tensor":                       nil,
	"torch._utils._rebuild_sparse_csr_tensor":                   nil,
	"torch._utils._rebuild_nested_tensor":                       nil,
	"torch._utils._rebuild_meta_tensor_no_storage":              nil,
	"torch._utils._rebuild_wrapper_subclass":                    nil,
	"torch._utils._rebuild_device_tensor_from_numpy":            nil,
	"torch._utils._rebuild_device_tensor_from_cpu_tensor":       (*machine).moved,
	"torch._utils._rebuild_xla_tensor":                          nil,
	"torch.storage._load_from_bytes":                            nil, // see within
	"torch.nested._internal.nested_tensor._rebuild_njt":         nil,
	"torch.distributed.tensor.DTensor":                          nil,
	"torch.distributed._shard.sharded_tensor.api.ShardedTensor": nil,
}

const (
	fromType    = "torch._tensor._rebuild_from_type"
	fromTypeV2  = "torch._tensor._rebuild_from_type_v2"
	loadStorage = "torch.storage._load_from_bytes"
)

// global looks a name up. What it means is decided here, on the values that the machine has, so that no detour of a pickle hides it.
func (m *machine) global(module, name string) {
	if m.fatal != nil {
		return
	}
	if to, ok := moved[module]; ok {
		module = to
	}
	full := module + "." + name
	g := m.globals[module+"\n"+name] // a.b and c is not a and b.c
	if g == nil {
		if bad := dangerous(module, name); bad != "" {
			m.fail(formats.Unsafe, "got the name %s: %s", formats.Escape(full, 200), bad)
			m.fatal.hint = "nothing was run; do not load this file with other programs"
			return
		}
		if m.bare {
			m.fail(formats.BadType, "got the name %s, want plain values", formats.Escape(full, 200))
			return
		}
		if !m.spend(globalBytes) {
			return
		}
		g = &global{module: module, name: name, full: full, at: int32(m.op)}
		_, rebuild := rebuilds[full]
		g.known = plain[full] || rebuild || untyped[full] || (module == "torch" || module == "torch.cuda") && isScalar(name)
		m.globals[module+"\n"+name] = g
		if !g.known {
			m.unknown = append(m.unknown, g)
		}
	}
	m.push(g)
}

// isScalar reports whether torch.NAME is an element type or a class of storages.
func isScalar(name string) bool {
	if _, ok := find(func(s scalar) bool { return s.name == name || s.storage == name }); ok && name != "" {
		return true
	}
	for _, o := range others {
		if o.name == name || o.storage == name {
			return name != ""
		}
	}
	return false
}

// dangerous says why a name is refused, "" if it is not.
func dangerous(module, name string) string {
	for _, s := range []string{module, name} {
		if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\ufffd' }) {
			return "no name in Python is spelled like this"
		}
	}
	if strings.Contains(name, ".") {
		return "it reaches into a module by a dotted path"
	}
	first, rest, _ := strings.Cut(module, ".")
	if forbidden[first] {
		return "the module " + first + " runs programs, loads code or reaches files"
	}
	// A module that another one imported is reachable through it: torch.serialization has an os.
	for part := range strings.SplitSeq(rest+"."+name, ".") {
		if reachable[part] {
			return "the module " + part + " runs programs, loads code or reaches files"
		}
	}
	if forbiddenNames[module+"."+name] {
		return "it runs code or opens files"
	}
	return ""
}

func (m *machine) stackGlobal() {
	name, module := m.pop(), m.pop()
	n, ok1 := name.(text)
	mod, ok2 := module.(text)
	if m.fatal != nil {
		return
	}
	if !ok1 || !ok2 {
		m.fail(formats.BadType, "got %s and %s as the name of a global, want strings", describe(module), describe(name))
		return
	}
	m.global(string(mod), string(n))
}
