package corpus

import (
	"hash/crc32"
	"strings"
)

// oddPickles are files that no common program writes, and that have to be read all the same: the tensors and aliases found, in order.
func oddPickles() (out []Case) {
	for _, x := range []struct {
		name  string
		image Archive
		names string
		notes int
	}{
		{"plain", Plain(), "x", 0},
		{"nothing in it", Checkpoint(State()), "", 0},
		{"large archive's records", func() Archive { z, _ := Zip64(); return z }(), "x", 0},
		{"no byteorder", Pack(instead("byteorder", "")...), "x", 0},
		{"version 10", Pack(instead("version", "10")...), "x", 0},
		{"folders", Pack(append([]Record{{Folder, ""}, {Folder + "data/", ""}}, beside()...)...), "x", 0},
		{"a pickle that nobody reads", Pack(beside(Record{Folder + "evil.pkl", Proto + Global("os", "system") + "."})...), "x", 1},
		{"a storage that nobody uses", Pack(beside(Record{Folder + "data/7", "seven"})...), "x", 1},
		{"an extra file", Pack(beside(Record{Folder + "extra/a%2Fb.json", "{}"})...), "x", 0},
		{"an extra file that is no text", Pack(beside(Record{Folder + "extra/b", "\xff"})...), "x", 1},
		{"no checksums", Unsummed(Plain()), "x", 1},
		{"descriptor", withDescriptor(Plain(), "PK\x07\x08", 4), "x", 0},
		{"descriptor without signature", withDescriptor(Plain(), "", 4), "x", 0},
		{"descriptor of 64 bits", withDescriptor(Plain(), "PK\x07\x08", 8), "x", 0},
		{"descriptor of 64 bits without signature", withDescriptor(Plain(), "", 8), "x", 0},

		{"protocol 0", Checkpoint("(dp0\nVx\np1\n"+text0()+"s.", Sixty4), "x", 0},
		{"protocol 0, name in escapes", Checkpoint("(dV\\u6a21\\U0001faa2\xe9\n"+Good()+"s.", Sixty4), "模🪢é", 0},
		{"names of Python 2", Checkpoint(Proto+"}(U\x01x"+Good()+"T\x01\x00\x00\x00y"+Good()+"S'z\\x41\\n'\n"+Good()+"u.", Sixty4), "x y=x zA\n=x", 0},
		{"frames", Checkpoint("\x80\x04\x95"+LE64(1)+"}\x95"+LE64(len(Str("x")+Good()))+Str("x")+Good()+"s.", Sixty4), "x", 0},
		{"short strings of protocol 4", Checkpoint("\x80\x04}\x8c\x01x"+Good()+"s.", Sixty4), "x", 0},
		{"long strings of protocol 4", Checkpoint("\x80\x04}\x8d"+LE64(1)+"x"+Good()+"s.", Sixty4), "x", 0},
		{"names by STACK_GLOBAL", Checkpoint("\x80\x04}"+Str("x")+strings.Replace(Good(), Global("torch._utils", "_rebuild_tensor_v2"), Str("torch._utils")+"\x94"+Str("_rebuild_tensor_v2")+"\x94\x93", 1)+"s.", Sixty4), "x", 0},
		{"integers of all lengths", Checkpoint(State("x", Rebuild(Storage("FloatStorage", "0", "\x8b\x01\x00\x00\x00\x10"), "\x8a\x00", "(I16\nt", "(L1L\nt"), "n", "\x8a\x10"+Sixty4[:16], "m", "\x8a\x01\xff"), Sixty4), "x", 1},
		{"a float in text, bools of protocol 0", Checkpoint(State("x", Good(), "f", "F-1e400\n", "t", "I01\n"), Sixty4), "x", 1},
		{"memo slot 2^32-1", Checkpoint(Proto+"}r\xff\xff\xff\xff"+Str("x")+Good()+"s0j\xff\xff\xff\xff.", Sixty4), "x", 0},
		{"DUP, POP, POP_MARK", Checkpoint(Proto+"}NN00(NN1"+Str("x")+"2"+"0"+Good()+"s(0.", Sixty4), "x", 0},
		{"POP of a mark", Checkpoint(Proto+"}(0"+Str("x")+Good()+"s.", Sixty4), "x", 0},
		{"a list that contains itself", Checkpoint(State("x", Good(), "l", "]q\x63h\x63a"), Sixty4), "x", 1},
		{"9 layers of 9 times the layer below", Checkpoint(State("x", Good(), "l", strings.Repeat("(", 9)+"N"+strings.Repeat("22222222t", 9)), Sixty4), "x", 1},
		{"sets and bytes", Checkpoint(State("x", Good(), "s", "\x8f(K\x01\x90", "f", "(K\x01K\x02\x91", "b", "\x96"+LE64(1)+"a", "c", Global("_codecs", "encode")+Tuple(Str("é"), Str("latin1"))+"R"), Sixty4), "x", 1},
		{"unknown classes", Checkpoint(State("x", Good(), "o", Global("my.lib", "C")+")\x81"+Dict("a", "K\x01")+"b", "p", Global("my.lib", "D")+")R(NNu", "q", Global("my.lib", "E")+")R(Ne"), Sixty4), "x", 4},
		{"an unknown name that is never used", Checkpoint(Proto+Global("my.lib", "f")+"0"+Dict("x", Good())+".", Sixty4), "x", 1},
		{"other keys", Checkpoint(Proto+"}(G"+Sixty4[:8]+"K\x01N\x88\x88NC\x01a])K\x05"+"K\x07"+Good()+"u.", Sixty4), "7", 1},
		{"the same dictionary twice", Checkpoint(State("a", Dict("x", Good())+"q\x63", "b", "h\x63"), Sixty4), "a.x b.x=a.x", 0},
		{"one tensor twice", Checkpoint(State("x", Good()+"q\x63", "y", "h\x63"), Sixty4), "x y=x", 0},
		{"two tensors over one storage", Checkpoint(State("x", Good(), "y", Good()), Sixty4), "x y=x", 0},
		{"parts of one storage", Checkpoint(State("x", Good(), "y", view(Num(16), Num(4), Ints(4), Ints(1))), Sixty4), "x y", 0},
		{"shapes that differ", Checkpoint(State("x", Good(), "y", view(Num(16), Num(0), Ints(4, 4), Ints(4, 1))), Sixty4), "x y", 0},
		{"strides that do not matter", Checkpoint(State("x", view(Num(16), Num(0), Ints(1, 16), Ints(16, 1)), "y", view(Num(16), Num(0), Ints(1, 16), Ints(7, 1))), Sixty4), "x y=x", 0},
		{"_rebuild_tensor", Checkpoint(State("x", Global("torch._utils", "_rebuild_tensor")+Tuple(Store, Num(0), Ints(16), Ints(1))+"R"), Sixty4), "x", 0},
		{"OrderedDict of pairs", Checkpoint(Proto+Global("collections", "OrderedDict")+"(](]"+Str("x")+"a"+Good()+"aetR.", Sixty4), "x", 0},
		{"dict()", Checkpoint(Proto+"c__builtin__\ndict\n)R"+Str("x")+Good()+"s.", Sixty4), "x", 0},
		{"metadata that is false", Checkpoint(State("x", v2(Store, Num(0), Ints(16), Ints(1), "\x89", "N", Dict("conj", "\x89"))), Sixty4), "x", 0},
		{"another device", Checkpoint(strings.ReplaceAll(State("x", Good()), Str("cpu"), Str("cuda:0")), Sixty4), "x", 0},
		{"bytes without a type", Checkpoint(State("x", Rebuild(strings.Replace(Storage("UntypedStorage", "0", Num(64)), Global("torch", "UntypedStorage"), Global("torch.storage", "UntypedStorage"), 1), Num(0), Ints(64), Ints(1))), Sixty4), "x", 0},
		{"an empty slice at any offset", Checkpoint(State("x", Good(), "y", view(Num(16), Num(99), Ints(0, 3), Ints(7, 1))), Sixty4), "x y", 0},
		{"a scalar", Checkpoint(State("x", view(Num(16), Num(15), ")", ")")), Sixty4), "x", 0},
		{"expanded", Checkpoint(State("x", view(Num(16), Num(0), Ints(1000, 16), Ints(0, 1))), Sixty4), "x", 0},
		{"the empty name", Checkpoint(State("", Good()), Sixty4), "", 0},

		{"a list of tensors", Checkpoint(State("x", "]("+Good()+view(Num(16), Num(1), Ints(1), Ints(1))+"e"), Sixty4), "x.0 x.1", 1},
		{"a tuple with other things", Checkpoint(State("x", "(N"+Good()+Str("s")+"t"), Sixty4), "x.1", 2},
		{"a list of dictionaries of lists", Checkpoint(State("x", "]("+Dict("a", "]"+Good()+"a")+"e"), Sixty4), "x.0.a.0", 1},
		{"a list alone", Checkpoint(Proto+"]("+Good()+"e.", Sixty4), "0", 1},
		{"a tuple alone", Checkpoint(Proto+Good()+"N\x86.", Sixty4), "0", 2},
		{"a list that is filled after it was put away", Checkpoint(Proto+"}"+Str("x")+"]q\x63s0h\x63"+Good()+"a0}"+Str("y")+"h\x63s.", Sixty4), "y.0", 1},
		{"a dictionary of itself, without tensors", Checkpoint(Proto+"}q\x00"+Str("a")+"h\x00s.", Sixty4), "", 2},
		{"an optimizer beside", Checkpoint(State("x", Good(), "optimizer", Dict("state", Dict("m", Good()), "param_groups", "]")), Sixty4), "x", 2},
		{"optimizers beside, by their form", Checkpoint(State("x", Good(), "o", "]"+Dict("state", Dict("m", Good()), "param_groups", "]")+"a"), Sixty4), "x", 2},
		{"an optimizer alone", Checkpoint(State("state", "}K\x00"+Dict("m", Good())+"s", "param_groups", "]"), Sixty4), "state.0.m", 2},
		{"a weight called optimizer", Checkpoint(State("x", Good(), "optimizer", Good()), Sixty4), "optimizer=x x", 0},
		{"random state beside", Checkpoint(State("x", Good(), "rng_state", Rebuild(Storage("FloatStorage", "0", Num(16)), Num(1), Ints(1), Ints(1))), Sixty4), "x", 2},
		{"model_state_dict", Checkpoint(State("model_state_dict", Dict("x", Good()), "optimizer_state_dict", Dict("state", Dict("m", Good()), "param_groups", "]"), "epoch", "K\x01"), Sixty4), "x", 4},
		{"a wrapper in a wrapper", Checkpoint(State("state_dict", Dict("module", Dict("x", Good()))), Sixty4), "x", 2},
		{"two wrappers are none", Checkpoint(State("model", Dict("x", Good()), "module", Dict("y", view(Num(16), Num(0), Ints(2), Ints(1)))), Sixty4), "model.x module.y", 0},
		{"a Counter", Checkpoint(State("x", Good(), "n", Global("collections", "Counter")+Dict("a", "K\x01")+"\x85R"), Sixty4), "x", 1},
		{"defaultdict", Checkpoint(Proto+Global("collections", "defaultdict")+Global("builtins", "list")+"\x85R"+Str("x")+Good()+"s.", Sixty4), "x", 0},
		{"a parameter", Checkpoint(State("x", Global("torch._utils", "_rebuild_parameter")+Tuple(Good(), "\x88", Ordered())+"R"), Sixty4), "x", 0},
		{"a parameter with a state", Checkpoint(State("x", Global("torch._utils", "_rebuild_parameter_with_state")+Tuple(Good(), "\x88", Ordered(), Dict("tag", "K\x01"))+"R"), Sixty4), "x", 1},
		{"a tensor by its type", Checkpoint(State("x", Global("torch._tensor", "_rebuild_from_type_v2")+Tuple(Global("torch._utils", "_rebuild_tensor_v2"), Global("torch.nn.parameter", "Parameter"),
			Tuple(Store, Num(0), Ints(16), Ints(1), "\x89", Ordered()), "}")+"R"), Sixty4), "x", 0},
		{"a tensor by its type, torch 1.7", Checkpoint(State("x", Global("torch.tensor", "_rebuild_from_type")+Tuple(Global("torch._utils", "_rebuild_tensor_v2"), Global("torch", "Tensor"),
			Tuple(Store, Num(0), Ints(16), Ints(1), "\x89", Ordered()), "}")+"R"), Sixty4), "x", 0},
		{"v3 with a type", Checkpoint(State("x", strings.Replace(v2(strings.Replace(Storage("UntypedStorage", "0", Num(64)), "ctorch\n", "ctorch.storage\n", 1), Num(0), Ints(32), Ints(1), "\x89", Ordered(), Global("torch", "uint16")), "_v2", "_v3", 1)), Sixty4), "x", 0},
		{"from another device", Checkpoint(State("x", Global("torch._utils", "_rebuild_device_tensor_from_cpu_tensor")+Tuple(Good(), Global("torch", "float32"), Str("xla:0"), "\x89")+"R"), Sixty4), "x", 0},
		{"a storage of cuda's", Checkpoint(State("x", strings.Replace(Good(), "ctorch\nFloatStorage", "ctorch.cuda\nFloatStorage", 1)), Sixty4), "x", 0},
		{"names of torch 1.11", Checkpoint(State("x", Rebuild(strings.Replace(Storage("_UntypedStorage", "0", Num(64)), "ctorch\n", "ctorch.storage\n", 1), Num(0), Ints(64), Ints(1))), Sixty4), "x", 0},
		{"Size, device, dtype and layout", Checkpoint(State("x", Good(), "s", Global("torch", "Size")+Ints(2)+"\x85R", "d", Global("torch", "device")+Tuple(Str("cpu"))+"R", "t", Global("torch", "bfloat16"),
			"l", Global("torch.serialization", "_get_layout")+Tuple(Str("torch.strided"))+"R", "i", Global("torch", "uint4")), Sixty4), "x", 1},
		{"a sparse tensor beside in training", Checkpoint(State("model", Dict("x", Good()), "best", Global("torch._utils", "_rebuild_sparse_tensor")+")R"), Sixty4), "x", 2},
		{"numpy's scalars and arrays", Checkpoint(State("x", Good(), "f", Global("numpy.core.multiarray", "scalar")+Tuple(Global("numpy", "dtype")+Tuple(Str("f8"), "\x89", "\x88")+"R", "C\x0812345678")+"R",
			"a", Global("numpy.core.multiarray", "_reconstruct")+Tuple(Global("numpy", "ndarray"), Ints(0), "C\x01b")+"R"), Sixty4), "x", 5},
		{"big-endian", Pack(instead("byteorder", "big")...), "x", 0},
		{"a storage within the pickle, in training", Checkpoint(State("model", Dict("x", Good()), "loss", Within(Old().Bytes)+"R"), Sixty4), "x", 2},
	} {
		out = append(out, Case{Name: x.name, Bytes: x.image.Bytes, Reads: &Reads{Names: x.names, Count: x.notes}})
	}
	return out
}

// text0 is Good in protocol 0.
func text0() string {
	return "ctorch._utils\n_rebuild_tensor_v2\n(P('storage', <class 'torch.FloatStorage'>, '0', 'cpu', 16)\nI0\n(I16\nt(I1\nt" + "I00\nccollections\nOrderedDict\n(tRtR"
}

// Unsummed clears all checksums.
func Unsummed(z Archive) Archive {
	for name := range z.Local {
		z.Put(z.Local[name]+14, LE32(0)).Put(z.Central[name]+16, LE32(0))
	}
	return z
}

// withDescriptor moves the sizes of the last record behind its data.
func withDescriptor(z Archive, signature string, width int) Archive {
	last := Folder + "version"
	sizes := LE32(2) + LE32(2)
	if width == 8 {
		sizes = LE64(2) + LE64(2)
	}
	z.Put(z.Local[last]+6, "\x08").Put(z.Central[last]+8, "\x08").Put(z.Local[last]+14, strings.Repeat("\x00", 12))
	return insert(z, z.Dir, signature+LE32(int(crc32.ChecksumIEEE([]byte("3\n"))))+sizes)
}
