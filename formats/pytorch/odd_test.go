package pytorch_test

import (
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

// odd are files that no common program writes, and that have to be read all the same: the tensors and aliases found, in order.
var odd = []struct {
	name  string
	image image
	want  string
	notes int
}{
	{"plain", plain(), "x", 0},
	{"nothing in it", checkpoint(state()), "", 0},
	{"large archive's records", func() image { z, _ := located(); return z }(), "x", 0},
	{"no byteorder", archive(mark("byteorder", "")...), "x", 0},
	{"version 10", archive(mark("version", "10")...), "x", 0},
	{"folders", archive(append([]rec{{folder, ""}, {folder + "data/", ""}}, more()...)...), "x", 0},
	{"a pickle that nobody reads", archive(more(rec{folder + "evil.pkl", proto + global("os", "system") + "."})...), "x", 1},
	{"a storage that nobody uses", archive(more(rec{folder + "data/7", "seven"})...), "x", 1},
	{"an extra file", archive(more(rec{folder + "extra/a%2Fb.json", "{}"})...), "x", 0},
	{"an extra file that is no text", archive(more(rec{folder + "extra/b", "\xff"})...), "x", 1},
	{"no checksums", unsummed(plain()), "x", 1},
	{"descriptor", withDescriptor(plain(), "PK\x07\x08", 4), "x", 0},
	{"descriptor without signature", withDescriptor(plain(), "", 4), "x", 0},
	{"descriptor of 64 bits", withDescriptor(plain(), "PK\x07\x08", 8), "x", 0},
	{"descriptor of 64 bits without signature", withDescriptor(plain(), "", 8), "x", 0},

	{"protocol 0", checkpoint("(dp0\nVx\np1\n"+text0()+"s.", sixty4), "x", 0},
	{"protocol 0, name in escapes", checkpoint("(dV\\u6a21\\U0001faa2\xe9\n"+good()+"s.", sixty4), "模🪢é", 0},
	{"names of Python 2", checkpoint(proto+"}(U\x01x"+good()+"T\x01\x00\x00\x00y"+good()+"S'z\\x41\\n'\n"+good()+"u.", sixty4), "x y=x zA\n=x", 0},
	{"frames", checkpoint("\x80\x04\x95"+le64(1)+"}\x95"+le64(len(str("x")+good()))+str("x")+good()+"s.", sixty4), "x", 0},
	{"short strings of protocol 4", checkpoint("\x80\x04}\x8c\x01x"+good()+"s.", sixty4), "x", 0},
	{"long strings of protocol 4", checkpoint("\x80\x04}\x8d"+le64(1)+"x"+good()+"s.", sixty4), "x", 0},
	{"names by STACK_GLOBAL", checkpoint("\x80\x04}"+str("x")+strings.Replace(good(), global("torch._utils", "_rebuild_tensor_v2"), str("torch._utils")+"\x94"+str("_rebuild_tensor_v2")+"\x94\x93", 1)+"s.", sixty4), "x", 0},
	{"integers of all lengths", checkpoint(state("x", rebuild(storage("FloatStorage", "0", "\x8b\x01\x00\x00\x00\x10"), "\x8a\x00", "(I16\nt", "(L1L\nt"), "n", "\x8a\x10"+sixty4[:16], "m", "\x8a\x01\xff"), sixty4), "x", 1},
	{"a float in text, bools of protocol 0", checkpoint(state("x", good(), "f", "F-1e400\n", "t", "I01\n"), sixty4), "x", 1},
	{"memo slot 2^32-1", checkpoint(proto+"}r\xff\xff\xff\xff"+str("x")+good()+"s0j\xff\xff\xff\xff.", sixty4), "x", 0},
	{"DUP, POP, POP_MARK", checkpoint(proto+"}NN00(NN1"+str("x")+"2"+"0"+good()+"s(0.", sixty4), "x", 0},
	{"POP of a mark", checkpoint(proto+"}(0"+str("x")+good()+"s.", sixty4), "x", 0},
	{"a list that contains itself", checkpoint(state("x", good(), "l", "]q\x63h\x63a"), sixty4), "x", 1},
	{"9 layers of 9 times the layer below", checkpoint(state("x", good(), "l", strings.Repeat("(", 9)+"N"+strings.Repeat("22222222t", 9)), sixty4), "x", 1},
	{"sets and bytes", checkpoint(state("x", good(), "s", "\x8f(K\x01\x90", "f", "(K\x01K\x02\x91", "b", "\x96"+le64(1)+"a", "c", global("_codecs", "encode")+tuple(str("é"), str("latin1"))+"R"), sixty4), "x", 1},
	{"unknown classes", checkpoint(state("x", good(), "o", global("my.lib", "C")+")\x81"+dict("a", "K\x01")+"b", "p", global("my.lib", "D")+")R(NNu", "q", global("my.lib", "E")+")R(Ne"), sixty4), "x", 4},
	{"an unknown name that is never used", checkpoint(proto+global("my.lib", "f")+"0"+dict("x", good())+".", sixty4), "x", 1},
	{"other keys", checkpoint(proto+"}(G"+sixty4[:8]+"K\x01N\x88\x88NC\x01a])K\x05"+"K\x07"+good()+"u.", sixty4), "7", 1},
	{"the same dictionary twice", checkpoint(state("a", dict("x", good())+"q\x63", "b", "h\x63"), sixty4), "a.x b.x=a.x", 0},
	{"one tensor twice", checkpoint(state("x", good()+"q\x63", "y", "h\x63"), sixty4), "x y=x", 0},
	{"two tensors over one storage", checkpoint(state("x", good(), "y", good()), sixty4), "x y=x", 0},
	{"parts of one storage", checkpoint(state("x", good(), "y", float(num(16), num(4), ints(4), ints(1))), sixty4), "x y", 0},
	{"shapes that differ", checkpoint(state("x", good(), "y", float(num(16), num(0), ints(4, 4), ints(4, 1))), sixty4), "x y", 0},
	{"strides that do not matter", checkpoint(state("x", float(num(16), num(0), ints(1, 16), ints(16, 1)), "y", float(num(16), num(0), ints(1, 16), ints(7, 1))), sixty4), "x y=x", 0},
	{"_rebuild_tensor", checkpoint(state("x", global("torch._utils", "_rebuild_tensor")+tuple(store, num(0), ints(16), ints(1))+"R"), sixty4), "x", 0},
	{"OrderedDict of pairs", checkpoint(proto+global("collections", "OrderedDict")+"(](]"+str("x")+"a"+good()+"aetR.", sixty4), "x", 0},
	{"dict()", checkpoint(proto+"c__builtin__\ndict\n)R"+str("x")+good()+"s.", sixty4), "x", 0},
	{"metadata that is false", checkpoint(state("x", v2(store, num(0), ints(16), ints(1), "\x89", "N", dict("conj", "\x89"))), sixty4), "x", 0},
	{"another device", checkpoint(strings.ReplaceAll(state("x", good()), str("cpu"), str("cuda:0")), sixty4), "x", 0},
	{"bytes without a type", checkpoint(state("x", rebuild(strings.Replace(storage("UntypedStorage", "0", num(64)), global("torch", "UntypedStorage"), global("torch.storage", "UntypedStorage"), 1), num(0), ints(64), ints(1))), sixty4), "x", 0},
	{"an empty slice at any offset", checkpoint(state("x", good(), "y", float(num(16), num(99), ints(0, 3), ints(7, 1))), sixty4), "x y", 0},
	{"a scalar", checkpoint(state("x", float(num(16), num(15), ")", ")")), sixty4), "x", 0},
	{"expanded", checkpoint(state("x", float(num(16), num(0), ints(1000, 16), ints(0, 1))), sixty4), "x", 0},
	{"the empty name", checkpoint(state("", good()), sixty4), "", 0},

	{"a list of tensors", checkpoint(state("x", "]("+good()+float(num(16), num(1), ints(1), ints(1))+"e"), sixty4), "x.0 x.1", 1},
	{"a tuple with other things", checkpoint(state("x", "(N"+good()+str("s")+"t"), sixty4), "x.1", 2},
	{"a list of dictionaries of lists", checkpoint(state("x", "]("+dict("a", "]"+good()+"a")+"e"), sixty4), "x.0.a.0", 1},
	{"a list alone", checkpoint(proto+"]("+good()+"e.", sixty4), "0", 1},
	{"a tuple alone", checkpoint(proto+good()+"N\x86.", sixty4), "0", 2},
	{"a list that is filled after it was put away", checkpoint(proto+"}"+str("x")+"]q\x63s0h\x63"+good()+"a0}"+str("y")+"h\x63s.", sixty4), "y.0", 1},
	{"a dictionary of itself, without tensors", checkpoint(proto+"}q\x00"+str("a")+"h\x00s.", sixty4), "", 2},
	{"an optimizer beside", checkpoint(state("x", good(), "optimizer", dict("state", dict("m", good()), "param_groups", "]")), sixty4), "x", 2},
	{"optimizers beside, by their form", checkpoint(state("x", good(), "o", "]"+dict("state", dict("m", good()), "param_groups", "]")+"a"), sixty4), "x", 2},
	{"an optimizer alone", checkpoint(state("state", "}K\x00"+dict("m", good())+"s", "param_groups", "]"), sixty4), "state.0.m", 2},
	{"a weight called optimizer", checkpoint(state("x", good(), "optimizer", good()), sixty4), "optimizer=x x", 0},
	{"random state beside", checkpoint(state("x", good(), "rng_state", rebuild(storage("FloatStorage", "0", num(16)), num(1), ints(1), ints(1))), sixty4), "x", 2},
	{"model_state_dict", checkpoint(state("model_state_dict", dict("x", good()), "optimizer_state_dict", dict("state", dict("m", good()), "param_groups", "]"), "epoch", "K\x01"), sixty4), "x", 4},
	{"a wrapper in a wrapper", checkpoint(state("state_dict", dict("module", dict("x", good()))), sixty4), "x", 2},
	{"two wrappers are none", checkpoint(state("model", dict("x", good()), "module", dict("y", float(num(16), num(0), ints(2), ints(1)))), sixty4), "model.x module.y", 0},
	{"a Counter", checkpoint(state("x", good(), "n", global("collections", "Counter")+dict("a", "K\x01")+"\x85R"), sixty4), "x", 1},
	{"defaultdict", checkpoint(proto+global("collections", "defaultdict")+global("builtins", "list")+"\x85R"+str("x")+good()+"s.", sixty4), "x", 0},
	{"a parameter", checkpoint(state("x", global("torch._utils", "_rebuild_parameter")+tuple(good(), "\x88", ordered())+"R"), sixty4), "x", 0},
	{"a parameter with a state", checkpoint(state("x", global("torch._utils", "_rebuild_parameter_with_state")+tuple(good(), "\x88", ordered(), dict("tag", "K\x01"))+"R"), sixty4), "x", 1},
	{"a tensor by its type", checkpoint(state("x", global("torch._tensor", "_rebuild_from_type_v2")+tuple(global("torch._utils", "_rebuild_tensor_v2"), global("torch.nn.parameter", "Parameter"),
		tuple(store, num(0), ints(16), ints(1), "\x89", ordered()), "}")+"R"), sixty4), "x", 0},
	{"a tensor by its type, torch 1.7", checkpoint(state("x", global("torch.tensor", "_rebuild_from_type")+tuple(global("torch._utils", "_rebuild_tensor_v2"), global("torch", "Tensor"),
		tuple(store, num(0), ints(16), ints(1), "\x89", ordered()), "}")+"R"), sixty4), "x", 0},
	{"v3 with a type", checkpoint(state("x", strings.Replace(v2(strings.Replace(storage("UntypedStorage", "0", num(64)), "ctorch\n", "ctorch.storage\n", 1), num(0), ints(32), ints(1), "\x89", ordered(), global("torch", "uint16")), "_v2", "_v3", 1)), sixty4), "x", 0},
	{"from another device", checkpoint(state("x", global("torch._utils", "_rebuild_device_tensor_from_cpu_tensor")+tuple(good(), global("torch", "float32"), str("xla:0"), "\x89")+"R"), sixty4), "x", 0},
	{"a storage of cuda's", checkpoint(state("x", strings.Replace(good(), "ctorch\nFloatStorage", "ctorch.cuda\nFloatStorage", 1)), sixty4), "x", 0},
	{"names of torch 1.11", checkpoint(state("x", rebuild(strings.Replace(storage("_UntypedStorage", "0", num(64)), "ctorch\n", "ctorch.storage\n", 1), num(0), ints(64), ints(1))), sixty4), "x", 0},
	{"Size, device, dtype and layout", checkpoint(state("x", good(), "s", global("torch", "Size")+ints(2)+"\x85R", "d", global("torch", "device")+tuple(str("cpu"))+"R", "t", global("torch", "bfloat16"),
		"l", global("torch.serialization", "_get_layout")+tuple(str("torch.strided"))+"R", "i", global("torch", "uint4")), sixty4), "x", 1},
	{"a sparse tensor beside in training", checkpoint(state("model", dict("x", good()), "best", global("torch._utils", "_rebuild_sparse_tensor")+")R"), sixty4), "x", 2},
	{"numpy's scalars and arrays", checkpoint(state("x", good(), "f", global("numpy.core.multiarray", "scalar")+tuple(global("numpy", "dtype")+tuple(str("f8"), "\x89", "\x88")+"R", "C\x0812345678")+"R",
		"a", global("numpy.core.multiarray", "_reconstruct")+tuple(global("numpy", "ndarray"), ints(0), "C\x01b")+"R"), sixty4), "x", 5},
	{"big-endian", archive(mark("byteorder", "big")...), "x", 0},
	{"a storage within the pickle, in training", checkpoint(state("model", dict("x", good()), "loss", within(old().b)+"R"), sixty4), "x", 2},
}

// text0 is good in protocol 0.
func text0() string {
	return "ctorch._utils\n_rebuild_tensor_v2\n(P('storage', <class 'torch.FloatStorage'>, '0', 'cpu', 16)\nI0\n(I16\nt(I1\nt" + "I00\nccollections\nOrderedDict\n(tRtR"
}

// unsummed clears all checksums.
func unsummed(z image) image {
	for name := range z.local {
		z.put(z.local[name]+14, le32(0)).put(z.central[name]+16, le32(0))
	}
	return z
}

// withDescriptor moves the sizes of the last record behind its data.
func withDescriptor(z image, signature string, width int) image {
	last := folder + "version"
	sizes := le32(2) + le32(2)
	if width == 8 {
		sizes = le64(2) + le64(2)
	}
	z.put(z.local[last]+6, "\x08").put(z.central[last]+8, "\x08").put(z.local[last]+14, strings.Repeat("\x00", 12))
	return insert(z, z.dir, signature+le32(int(crc32.ChecksumIEEE([]byte("3\n"))))+sizes)
}

func TestOdd(t *testing.T) {
	for _, x := range odd {
		t.Run(x.name, func(t *testing.T) {
			c, err := pytorch.Format.Open(formatstest.OneFile(x.image.b), formats.Set{Dir: "/", Files: []string{"m.bin"}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			var got []string
			for _, s := range c.Tensors {
				got = append(got, s.Name)
				formatstest.Bytes(t, c, s.Name)
			}
			for _, a := range c.Aliases {
				got = append(got, a.Name+"="+a.Of)
			}
			slices.Sort(got)
			if strings.Join(got, " ") != x.want || len(c.Notes) != x.notes {
				t.Errorf("got %q with notes %v, want %q with %d", got, c.Notes, x.want, x.notes)
			}
		})
	}
	if n := len(odd) + len(oddRelics); n < 80 {
		t.Errorf("got %d cases, want at least 80", n)
	}
}

// TestExtra reads and writes texts beside the tensors.
func TestExtra(t *testing.T) {
	z := archive(more(rec{folder + "extra/a%2Fb.json", "{}"}, rec{folder + "extra/plain", "text"})...)
	c, err := pytorch.Format.Open(formatstest.OneFile(z.b), formats.Set{Dir: "/", Files: []string{"m.bin"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := fmt.Sprint(c.Metadata); got != "[{a/b.json {}} {plain text}]" {
		t.Errorf("got %s", got)
	}
}
