package pytorch_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

func float(numel, offset, shape, stride string) string {
	return rebuild(storage("FloatStorage", "0", numel), offset, shape, stride)
}

// v2 is a call of _rebuild_tensor_v2 with other arguments.
func v2(args ...string) string {
	return global("torch._utils", "_rebuild_tensor_v2") + tuple(args...) + "R"
}

var (
	store = storage("FloatStorage", "0", num(16))
	big62 = "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40"
	neg1  = "J\xff\xff\xff\xff"
)

// The machine: what no protocol has, what ends too early, what contradicts itself.
var machines = []formatstest.Hostile{
	badPickle("empty", formats.Trunc, "¦"),
	badPickle("no STOP", formats.Trunc, proto+"}¦"),
	badPickle("STOP on nothing", formats.BadType, proto+"¦."),
	badPickle("two values at STOP", formats.BadType, proto+"}}¦."),
	badPickle("open mark at STOP", formats.BadType, proto+"}(¦."),
	badPickle("bytes after STOP", formats.Trail, proto+"}.¦}."),
	badPickle("a second pickle", formats.Trail, state()+"¦"+proto+global("os", "system")+"."),
	badPickle("opcode FF", formats.BadType, proto+"¦\xff"),
	badPickle("lone FF", formats.BadType, "¦\xff"),
	badPickle("opcode 00", formats.BadType, proto+"¦\x00"),
	badPickle("protocol 6", formats.Version, "¦\x80\x06}."),
	badPickle("PROTO in the middle", formats.Version, proto+"¦\x80\x02}."),
	badPickle("PROTO cut", formats.Bounds, "¦\x80"),
	badPickle("empty stack", formats.Bounds, proto+"¦0."),
	badPickle("APPEND to nothing", formats.Bounds, proto+"N¦a."),
	badPickle("pop below a mark", formats.Bounds, proto+"}(K\x01¦s."),
	badPickle("TUPLE without a mark", formats.Bounds, proto+"N¦t."),
	badPickle("TUPLE2 of one", formats.Bounds, proto+"N¦\x86."),
	badPickle("TUPLE3 over a mark", formats.Bounds, proto+"NN(N¦\x87."),
	badPickle("memo slot never set", formats.Bounds, proto+"¦h\x07."),
	badPickle("memo slot 2^32-1", formats.Bounds, proto+"¦j\xff\xff\xff\xff."),
	badPickle("memo slot in text that is none", formats.BadType, "¦gx\n."),
	badPickle("PUT on nothing", formats.Bounds, proto+"¦q\x00."),
	badPickle("string of 2^62", formats.Bounds, proto+"¦\x8d"+le64(1<<62)+"."),
	badPickle("string of 2^64-1", formats.Bounds, proto+"¦\x8d"+le64(-1)+"."),
	badPickle("bytes of 2^40", formats.Bounds, proto+"¦\x8e"+le64(1<<40)+"."),
	badPickle("bytearray of 2^62", formats.Bounds, proto+"¦\x96"+le64(1<<62)+"."),
	badPickle("string of 2^32-1", formats.Bounds, proto+"¦X\xff\xff\xff\xffx."),
	badPickle("string cut", formats.Bounds, proto+"¦X\x09\x00\x00\x00abc"),
	badPickle("BINSTRING -1", formats.Bounds, proto+"¦T\xff\xff\xff\xffx."),
	badPickle("LONG4 -1", formats.Bounds, proto+"¦\x8b\xff\xff\xff\xff."),
	badPickle("LONG4 of 2^31-1", formats.Bounds, proto+"¦\x8b\xff\xff\xff\x7f."),
	badPickle("LONG1 of 17 bytes", formats.Limit, proto+"¦\x8a\x11"+sixty4[:17]+"."),
	badPickle("an integer of 10^6 digits", formats.Limit, "¦L"+strings.Repeat("9", 1e6)+"L\n."),
	badPickle("an integer that is none", formats.BadType, "¦I12x\n."),
	badPickle("a float of 10^6 digits", formats.Limit, "¦F"+strings.Repeat("9", 1e6)+"\n."),
	badPickle("a float that is none", formats.BadType, "¦F0x1p3\n."),
	badPickle("a line without end", formats.Bounds, "¦I12"),
	badPickle("a string without quotes", formats.BadType, "¦Sabc\n."),
	badPickle("an escape that is none", formats.BadType, "¦S'\\q'\n."),
	badPickle("half of a surrogate", formats.UTF8, "¦V\\ud800\n."),
	badPickle("frame of 2^62", formats.Bounds, "\x80\x04¦\x95"+le64(1<<62)+"}."),
	badPickle("frame past the end", formats.Bounds, "\x80\x04¦\x95"+le64(3)+"}."),
	badPickle("frame in a frame", formats.Bounds, "\x80\x04\x95"+le64(11)+"¦\x95"+le64(1)+"}."),
	badPickle("frame of 2 around a long argument", formats.Bounds, "\x80\x04\x95"+le64(2)+"¦B"+le32(0x107)+strings.Repeat("x", 0x107)+"."),
	badPickle("line across the end of a frame", formats.Bounds, "\x80\x04\x95"+le64(4)+"¦cbuiltins\nlist\n."),
	badPickle("buffers outside", formats.Unsupported, "\x80\x05¦\x97."),
	badPickle("10^6 nested tuples", formats.Limit, proto+"N"+strings.Repeat("\x85", 1000)+"¦"+strings.Repeat("\x85", 1e6)+"."),
	badPickle("10^6 marks", formats.Limit, proto+strings.Repeat("(", 1000)+"¦"+strings.Repeat("(", 1e6)),
	badPickle("nested lists", formats.Limit, proto+strings.Repeat("]", 2000)+strings.Repeat("a", 1000)+"¦"+strings.Repeat("a", 999)+"."),
	badPickle("dictionaries that contain each other", formats.Limit, laugh()),
	badPickle("a dictionary that contains itself", formats.Limit, proto+"}q\x00"+str("t")+good()+"s"+str("a")+"h\x00¦s."),

	badPickle("SETITEM on a list", formats.BadType, proto+"]NN¦s."),
	badPickle("SETITEMS of three", formats.BadType, proto+"}(NNN¦u."),
	badPickle("DICT of one", formats.BadType, proto+"(N¦d."),
	badPickle("a list as a key", formats.BadType, proto+"}]N¦s."),
	badPickle("APPEND to a dict", formats.BadType, proto+"}N¦a."),
	badPickle("APPENDS to a tuple", formats.BadType, proto+")(N¦e."),
	badPickle("ADDITEMS to a list", formats.BadType, "\x80\x04](N¦\x90."),
	badPickle("BUILD on a tuple", formats.BadType, proto+")}¦b."),
	badPickle("BUILD on a storage", formats.BadType, proto+store+"}¦b."),
	badPickle("REDUCE of a string", formats.BadType, proto+str("f")+")¦R."),
	badPickle("REDUCE with a list", formats.BadType, proto+global("x", "f")+"]¦R."),
	badPickle("NEWOBJ_EX without keywords", formats.BadType, proto+global("x", "f")+"))¦\x92."),
	badPickle("STACK_GLOBAL of numbers", formats.BadType, "\x80\x04K\x01K\x02¦\x93."),
	badPickle("OrderedDict of no pairs", formats.BadType, proto+global("collections", "OrderedDict")+"(](K\x01et¦R."),
	badPickle("latin1 that is none", formats.BadType, proto+global("_codecs", "encode")+tuple(str("€"), str("latin1"))+"¦R."),
}

// laugh is 12 dictionaries of 10 times the one before: 10^12 names.
func laugh() string {
	s := proto + "}q\x00(" + str("t") + good() + "u"
	for i := range 12 {
		s += "0}q" + string(rune(i+1)) + "("
		for k := range 10 {
			s += str(string(rune('a'+k))) + "h" + string(rune(i))
		}
		if i == 0 {
			s += "¦" // what is walked most
		}
		s += "u"
	}
	return s + "."
}

// Storages and tensors.
var tensors = []formatstest.Hostile{
	badPickle("persistent id that is a string", formats.BadType, proto+str("0")+"¦Q."),
	badPickle("persistent id of four", formats.BadType, proto+tuple(str("storage"), global("torch", "FloatStorage"), str("0"), str("cpu"))+"¦Q."),
	badPickle("persistent id of another kind", formats.BadType, proto+tuple(str("module"), global("torch", "FloatStorage"), str("0"), str("cpu"), "N")+"¦Q."),
	badPickle("persistent id with a list", formats.BadType, proto+tuple(str("storage"), "]", str("0"), str("cpu"), num(1))+"¦Q."),
	badPickle("persistent id in text", formats.BadType, "¦P0\n."),
	badPickle("a storage that is not there", formats.Missing, proto+dict("x", rebuild(strings.Replace(storage("FloatStorage", "7", num(4)), "Q", "¦Q", 1), num(0), ints(4), ints(1)))+"."),
	badPickle("a storage with a path for a key", formats.BadPath, proto+dict("x", rebuild(strings.Replace(storage("FloatStorage", "../x", num(4)), "Q", "¦Q", 1), num(0), ints(4), ints(1)))+"."),
	badPickle("a record that is too long", formats.Mismatch, proto+dict("x", rebuild(strings.Replace(storage("FloatStorage", "0", num(15)), "Q", "¦Q", 1), num(0), ints(4), ints(1)))+".", "64 bytes", "want 60"),
	badPickle("a record that is too short", formats.Mismatch, proto+dict("x", rebuild(strings.Replace(storage("FloatStorage", "0", num(17)), "Q", "¦Q", 1), num(0), ints(4), ints(1)))+"."),
	badPickle("numel that wraps", formats.Overflow, proto+dict("x", rebuild(strings.Replace(storage("FloatStorage", "0", "\x8a\x08\x01\x00\x00\x00\x00\x00\x00\x40"), "Q", "¦Q", 1), num(0), ints(1), ints(1)))+"."),
	badPickle("numel negative", formats.Overflow, proto+dict("x", rebuild(strings.Replace(storage("FloatStorage", "0", neg1), "Q", "¦Q", 1), num(0), ints(1), ints(1)))+"."),
	badPickle("numel beyond 64 bits", formats.BadType, proto+strings.Replace(storage("FloatStorage", "0", "\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01"), "Q", "¦Q", 1)+"."),
	badPickle("a storage of an unknown class", formats.BadDType, proto+dict("x", rebuild(strings.Replace(storage("Float7Storage", "0", num(16)), "Q", "¦Q", 1), num(0), ints(1), ints(1)))+"."),
	badPickle("a storage of a class that is none", formats.BadDType, proto+dict("x", rebuild(strings.Replace(storage("float32", "0", num(16)), "Q", "¦Q", 1), num(0), ints(1), ints(1)))+"."),
	badPickle("one storage as two types", formats.Mismatch, proto+dict("x", good(), "y", rebuild(strings.Replace(storage("IntStorage", "0", num(16)), "Q", "¦Q", 1), num(0), ints(1), ints(1)))+"."),
	badPickle("one storage of two sizes", formats.Mismatch, proto+dict("x", good(), "y", rebuild(strings.Replace(storage("FloatStorage", "0", num(8)), "Q", "¦Q", 1), num(0), ints(1), ints(1)))+"."),

	badPickle("tensor of one argument", formats.BadType, proto+dict("x", strings.TrimSuffix(v2(store), "R")+"¦R")+"."),
	badPickle("tensor of nine arguments", formats.BadType, proto+dict("x", strings.TrimSuffix(v2(store, num(0), ints(1), ints(1), "\x89", "N", "N", "N", "N"), "R")+"¦R")+"."),
	badPickle("tensor without a storage", formats.BadType, proto+dict("x", strings.TrimSuffix(v2("N", num(0), ints(1), ints(1), "\x89", "N"), "R")+"¦R")+"."),
	badPickle("tensor of a shape of strings", formats.BadType, proto+dict("x", strings.TrimSuffix(v2(store, num(0), tuple(str("1")), ints(1), "\x89", "N"), "R")+"¦R")+"."),
	badPickle("v3 without a type", formats.BadType, proto+dict("x", strings.TrimSuffix(strings.Replace(v2(store, num(0), ints(1), ints(1), "\x89", "N", "N"), "_v2", "_v3", 1), "R")+"¦R")+"."),
	badPickle("parameter of a number", formats.BadType, proto+dict("x", global("torch._utils", "_rebuild_parameter")+tuple(num(1), "\x88", "N")+"¦R")+"."),
	badPickle("type of a string", formats.BadType, proto+dict("x", global("torch._tensor", "_rebuild_from_type_v2")+tuple(str("f"), "N", ")", "N")+"¦R")+"."),
	badTensor("an unknown type in v3", formats.BadDType, strings.Replace(v2(store, num(0), ints(1), ints(1), "\x89", "N", global("torch", "float9")), "_v2", "_v3", 1)),
	badTensor("one element past the end", formats.Bounds, float(num(16), num(1), ints(16), ints(1)), "element 16 of a storage of 16"),
	badTensor("offset past the end", formats.Bounds, float(num(16), num(16), ints(1), ints(1))),
	badTensor("offset past the end, scalar", formats.Bounds, float(num(16), num(16), ")", ")")),
	badTensor("offset negative", formats.Bounds, float(num(16), neg1, ints(1), ints(1))),
	badTensor("stride past the end", formats.Bounds, float(num(16), num(0), ints(2, 2), ints(15, 1))),
	badTensor("stride negative", formats.BadShape, float(num(16), num(15), ints(16), "("+neg1+"t"), "negative"),
	badTensor("size negative", formats.BadShape, float(num(16), num(0), "("+neg1+"t", ints(1))),
	badTensor("more strides than sizes", formats.BadShape, float(num(16), num(0), ints(1), ints(1, 1))),
	badTensor("65 dimensions", formats.Limit, float(num(16), num(0), ints(make([]int, 65)...), ints(make([]int, 65)...))),
	badTensor("span that wraps", formats.Overflow, float(num(16), num(0), ints(5), "("+big62+"t")),
	badTensor("span that wraps to 0", formats.Overflow, float(num(16), num(0), ints(5, 5), "("+big62+big62+"t")),
	badTensor("shape that wraps", formats.Overflow, float(num(16), num(0), "("+big62+big62+"t", ints(0, 0))),
	badTensor("expanded to 2^40", formats.Limit, float(num(16), num(0), "(\x8a\x06\x00\x00\x00\x00\x00\x01t", ints(0)), "expanded"),
	badTensor("values to be conjugated", formats.Unsupported, v2(store, num(0), ints(1), ints(1), "\x89", "N", dict("conj", "\x88")), "conj"),
	func() formatstest.Hostile {
		x := badTensor("all that is wrong at once", formats.Bounds, float(num(16), num(1), ints(16), ints(1)))
		s := proto + "}(" + str("x") + strings.TrimSuffix(float(num(16), num(1), ints(16), ints(1)), "R")
		x.Offset = int64(pickleAt + len(s))
		s += "R" + str("y") + float(num(16), num(0), ints(1), "("+neg1+"t") + str("z") + rebuild(storage("FloatStorage", "9", num(1)), num(0), ints(1), ints(1)) + "u."
		x.Bytes, x.Codes = checkpoint(s, sixty4).b, []formats.Code{formats.Bounds, formats.BadShape, formats.Missing}
		return x
	}(),
}

// The dictionary.
var states = []formatstest.Hostile{
	badPickle("a set of tensors", formats.Unsupported, "¦"+proto+"\x8f("+good()+"\x90."),
	badPickle("a list without tensors", formats.Unsupported, "¦"+proto+"](NNe."),
	badPickle("a number", formats.Unsupported, "¦"+proto+"K\x01."),
	badPickle("a whole module", formats.Unsupported, "¦"+proto+global("torch.nn.modules.linear", "Linear")+")R"+dict("_parameters", dict("w", good()))+"b.", "Linear", "state_dict"),
	named("x", badPickle("a name twice", formats.Dup, proto+"}("+str("x")+good()+str("x")+good()+"¦u.", "byte")),
	named("a.b", badPickle("a name twice by joining", formats.Dup, proto+"}("+str("a")+dict("b", good())+str("a.b")+strings.TrimSuffix(good(), "R")+"¦Ru.")),
	named("a\xff", badPickle("a name that is not UTF-8", formats.UTF8, proto+"}("+str("a\xff")+good()+"¦u.")),
	named(strings.Repeat("n", 4097), badPickle("a name of 4097 bytes", formats.Limit, proto+"}("+str(strings.Repeat("n", 4097))+good()+"¦u.")),
	named("(a float)", badPickle("a number as a name", formats.BadType, proto+"}(G"+sixty4[:8]+good()+"¦u.")),
	named("x", badPickle("a tensor in a set", formats.Unsupported, proto+"}("+str("x")+"\x8f("+good()+"\x90¦u.")),
	named("x.1", badPickle("a tensor in a set in a list", formats.Unsupported, proto+"}("+str("x")+"¦](N\x8f("+good()+"\x90eu.")),
	named("l.0", badPickle("a name twice by a place", formats.Dup, proto+"}("+str("l")+"]"+good()+"a"+str("l.0")+strings.TrimSuffix(good(), "R")+"¦Ru.")),
	badPickle("a list of itself and tensors", formats.Limit, proto+"}"+str("x")+"¦]q\x00("+good()+"h\x00es."),
	named("x", badPickle("a bare storage", formats.Unsupported, proto+"}("+str("x")+store+"¦u.")),
	named("x", badPickle("a tensor in an unknown class", formats.Unsupported, proto+"}("+str("x")+global("my.lib", "Quantized")+tuple(good(), num(4))+"R¦u.", "my.lib.Quantized")),
	named("x", badPickle("a subclass", formats.Unsupported, proto+"}("+str("x")+global("torch._tensor", "_rebuild_from_type_v2")+tuple(global("torch._utils", "_rebuild_tensor_v2"),
		global("my.lib", "Sub"), tuple(store, num(0), ints(1), ints(1), "\x89", "N"), "}")+"R¦u.", "my.lib.Sub")),
	named("x", badPickle("a tensor made by an unknown function", formats.Unsupported, proto+"}("+str("x")+global("torch._tensor", "_rebuild_from_type_v2")+tuple(global("my.lib", "make"),
		global("torch", "Tensor"), tuple(store), "}")+"R¦u.", "my.lib.make")),
	named("x", badPickle("a sparse tensor", formats.Unsupported, proto+"}("+str("x")+global("torch._utils", "_rebuild_sparse_tensor")+tuple("N", tuple(good(), good()))+"R¦u.", "_rebuild_sparse_tensor")),
	named("x", badPickle("a compressed sparse tensor", formats.Unsupported, proto+"}("+str("x")+global("torch._utils", "_rebuild_sparse_csr_tensor")+tuple("N", tuple(good(), good()))+"R¦u.", "_rebuild_sparse_csr_tensor")),
	named("x", badPickle("a quantized tensor", formats.Unsupported, proto+"}("+str("x")+global("torch._utils", "_rebuild_qtensor")+tuple(store)+"R¦u.", "_rebuild_qtensor")),
	named("x", badPickle("a nested tensor", formats.Unsupported, proto+"}("+str("x")+global("torch._utils", "_rebuild_nested_tensor")+tuple(good())+"R¦u.", "_rebuild_nested_tensor")),
	named("x", badPickle("a tensor without values", formats.Unsupported, proto+"}("+str("x")+global("torch._utils", "_rebuild_meta_tensor_no_storage")+tuple(global("torch", "float32"), ints(2), ints(1), "\x89")+"R¦u.", "_rebuild_meta_tensor_no_storage")),
	named("x", badPickle("a wrapper", formats.Unsupported, proto+"}("+str("x")+global("torch._utils", "_rebuild_wrapper_subclass")+tuple(global("my.lib", "W"))+"R¦u.", "_rebuild_wrapper_subclass")),
	named("x", badPickle("a tensor in an array", formats.Unsupported, proto+"}("+str("x")+global("torch._utils", "_rebuild_device_tensor_from_numpy")+tuple("N", global("torch", "float32"), str("xla:0"), "\x89")+"R¦u.", "from_numpy")),
	named("x", badPickle("another type on another device", formats.Unsupported, proto+"}("+str("x")+global("torch._utils", "_rebuild_device_tensor_from_cpu_tensor")+tuple(good(), global("torch", "bfloat16"), str("xla:0"), "\x89")+"R¦u.", "from_cpu_tensor")),
	badPickle("from another device, of three", formats.BadType, proto+"}("+str("x")+global("torch._utils", "_rebuild_device_tensor_from_cpu_tensor")+tuple(good(), global("torch", "float32"), str("xla:0"))+"¦Ru."),
	named("x", badPickle("a file in the pickle", formats.Unsupported, proto+"}("+str("x")+within(old().b)+"R¦u.", "_load_from_bytes")),
	badPickle("a file in the pickle that is none", formats.Bounds, proto+"}("+str("x")+global("torch.storage", "_load_from_bytes")+"C\x03abc\x85¦Ru."),
	badPickle("a file in the pickle that asks for os.system", formats.Unsafe, proto+"}("+str("x")+within(older(global("os", "system")+")R", nil).b)+"¦Ru.", fmt.Sprintf("offset %d", old().object+len(proto))),
	badPickle("a file in the pickle that is cut", formats.Trunc, proto+"}("+str("x")+within(old().b[:len(old().b)-1])+"¦Ru."),
	badPickle("a file in a file in a file in the pickle", formats.Limit, proto+"}("+str("x")+within(older(within(older(within(old().b)+"R", nil).b)+"R", nil).b)+"¦Ru.", "deeper"),
	badPickle("a file in the pickle over and over", formats.Limit, proto+global("torch.storage", "_load_from_bytes")+"q\x00"+"B"+le32(len(old().b))+string(old().b)+"\x85q\x01"+strings.Repeat("h\x00h\x01R0", 4)+"h\x00h\x01¦R0h\x00h\x01R0h\x00h\x01R.", "in all"),
	badPickle("a file in the pickle that is text", formats.BadType, proto+global("torch.storage", "_load_from_bytes")+str("abc")+"\x85¦R."),
}

// within is the arguments of torch.storage._load_from_bytes, without the call.
func within(b []byte) string {
	return global("torch.storage", "_load_from_bytes") + "B" + le32(len(b)) + string(b) + "\x85"
}

func named(tensor string, x formatstest.Hostile) formatstest.Hostile {
	x.Tensor = tensor
	return x
}

func TestHostilePickle(t *testing.T) {
	for _, cases := range [][]formatstest.Hostile{machines, tensors, states} {
		formatstest.Table(t, pytorch.Format, cases)
	}
	if n := len(machines) + len(tensors) + len(states); n < 90 {
		t.Errorf("got %d cases, want at least 90", n)
	}
}
