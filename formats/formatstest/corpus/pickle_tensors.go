package corpus

import (
	"fmt"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// Storages and tensors.
func tensors() []Case {
	return []Case{
		badPickle("persistent id that is a string", formats.BadType, Proto+Str("0")+"¦Q."),
		badPickle("persistent id of four", formats.BadType, Proto+Tuple(Str("storage"), Global("torch", "FloatStorage"), Str("0"), Str("cpu"))+"¦Q."),
		badPickle("persistent id of another kind", formats.BadType, Proto+Tuple(Str("module"), Global("torch", "FloatStorage"), Str("0"), Str("cpu"), "N")+"¦Q."),
		badPickle("persistent id with a list", formats.BadType, Proto+Tuple(Str("storage"), "]", Str("0"), Str("cpu"), Num(1))+"¦Q."),
		badPickle("persistent id in text", formats.BadType, "¦P0\n."),
		badPickle("a storage that is not there", formats.Missing, Proto+Dict("x", Rebuild(strings.Replace(Storage("FloatStorage", "7", Num(4)), "Q", "¦Q", 1), Num(0), Ints(4), Ints(1)))+"."),
		badPickle("a storage with a path for a key", formats.BadPath, Proto+Dict("x", Rebuild(strings.Replace(Storage("FloatStorage", "../x", Num(4)), "Q", "¦Q", 1), Num(0), Ints(4), Ints(1)))+"."),
		badPickle("a record that is too long", formats.Mismatch, Proto+Dict("x", Rebuild(strings.Replace(Storage("FloatStorage", "0", Num(15)), "Q", "¦Q", 1), Num(0), Ints(4), Ints(1)))+".", "64 bytes", "want 60"),
		badPickle("a record that is too short", formats.Mismatch, Proto+Dict("x", Rebuild(strings.Replace(Storage("FloatStorage", "0", Num(17)), "Q", "¦Q", 1), Num(0), Ints(4), Ints(1)))+"."),
		badPickle("numel that wraps", formats.Overflow, Proto+Dict("x", Rebuild(strings.Replace(Storage("FloatStorage", "0", "\x8a\x08\x01\x00\x00\x00\x00\x00\x00\x40"), "Q", "¦Q", 1), Num(0), Ints(1), Ints(1)))+"."),
		badPickle("numel negative", formats.Overflow, Proto+Dict("x", Rebuild(strings.Replace(Storage("FloatStorage", "0", neg1), "Q", "¦Q", 1), Num(0), Ints(1), Ints(1)))+"."),
		badPickle("numel beyond 64 bits", formats.BadType, Proto+strings.Replace(Storage("FloatStorage", "0", "\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01"), "Q", "¦Q", 1)+"."),
		badPickle("a storage of an unknown class", formats.BadDType, Proto+Dict("x", Rebuild(strings.Replace(Storage("Float7Storage", "0", Num(16)), "Q", "¦Q", 1), Num(0), Ints(1), Ints(1)))+"."),
		badPickle("a storage of a class that is none", formats.BadDType, Proto+Dict("x", Rebuild(strings.Replace(Storage("float32", "0", Num(16)), "Q", "¦Q", 1), Num(0), Ints(1), Ints(1)))+"."),
		badPickle("one storage as two types", formats.Mismatch, Proto+Dict("x", Good(), "y", Rebuild(strings.Replace(Storage("IntStorage", "0", Num(16)), "Q", "¦Q", 1), Num(0), Ints(1), Ints(1)))+"."),
		badPickle("one storage of two sizes", formats.Mismatch, Proto+Dict("x", Good(), "y", Rebuild(strings.Replace(Storage("FloatStorage", "0", Num(8)), "Q", "¦Q", 1), Num(0), Ints(1), Ints(1)))+"."),

		badPickle("tensor of one argument", formats.BadType, Proto+Dict("x", strings.TrimSuffix(v2(Store), "R")+"¦R")+"."),
		badPickle("tensor of nine arguments", formats.BadType, Proto+Dict("x", strings.TrimSuffix(v2(Store, Num(0), Ints(1), Ints(1), "\x89", "N", "N", "N", "N"), "R")+"¦R")+"."),
		badPickle("tensor without a storage", formats.BadType, Proto+Dict("x", strings.TrimSuffix(v2("N", Num(0), Ints(1), Ints(1), "\x89", "N"), "R")+"¦R")+"."),
		badPickle("tensor of a shape of strings", formats.BadType, Proto+Dict("x", strings.TrimSuffix(v2(Store, Num(0), Tuple(Str("1")), Ints(1), "\x89", "N"), "R")+"¦R")+"."),
		badPickle("v3 without a type", formats.BadType, Proto+Dict("x", strings.TrimSuffix(strings.Replace(v2(Store, Num(0), Ints(1), Ints(1), "\x89", "N", "N"), "_v2", "_v3", 1), "R")+"¦R")+"."),
		badPickle("parameter of a number", formats.BadType, Proto+Dict("x", Global("torch._utils", "_rebuild_parameter")+Tuple(Num(1), "\x88", "N")+"¦R")+"."),
		badPickle("type of a string", formats.BadType, Proto+Dict("x", Global("torch._tensor", "_rebuild_from_type_v2")+Tuple(Str("f"), "N", ")", "N")+"¦R")+"."),
		badTensor("an unknown type in v3", formats.BadDType, strings.Replace(v2(Store, Num(0), Ints(1), Ints(1), "\x89", "N", Global("torch", "float9")), "_v2", "_v3", 1)),
		badTensor("one element past the end", formats.Bounds, view(Num(16), Num(1), Ints(16), Ints(1)), "element 16 of a storage of 16"),
		badTensor("offset past the end", formats.Bounds, view(Num(16), Num(16), Ints(1), Ints(1))),
		badTensor("offset past the end, scalar", formats.Bounds, view(Num(16), Num(16), ")", ")")),
		badTensor("offset negative", formats.Bounds, view(Num(16), neg1, Ints(1), Ints(1))),
		badTensor("stride past the end", formats.Bounds, view(Num(16), Num(0), Ints(2, 2), Ints(15, 1))),
		badTensor("stride negative", formats.BadShape, view(Num(16), Num(15), Ints(16), "("+neg1+"t"), "negative"),
		badTensor("size negative", formats.BadShape, view(Num(16), Num(0), "("+neg1+"t", Ints(1))),
		badTensor("more strides than sizes", formats.BadShape, view(Num(16), Num(0), Ints(1), Ints(1, 1))),
		badTensor("65 dimensions", formats.Limit, view(Num(16), Num(0), Ints(make([]int, 65)...), Ints(make([]int, 65)...))),
		badTensor("span that wraps", formats.Overflow, view(Num(16), Num(0), Ints(5), "("+big62+"t")),
		badTensor("span that wraps to 0", formats.Overflow, view(Num(16), Num(0), Ints(5, 5), "("+big62+big62+"t")),
		badTensor("shape that wraps", formats.Overflow, view(Num(16), Num(0), "("+big62+big62+"t", Ints(0, 0))),
		badTensor("expanded to 2^40", formats.Limit, view(Num(16), Num(0), "(\x8a\x06\x00\x00\x00\x00\x00\x01t", Ints(0)), "expanded"),
		badTensor("values to be conjugated", formats.Unsupported, v2(Store, Num(0), Ints(1), Ints(1), "\x89", "N", Dict("conj", "\x88")), "conj"),
		func() Case {
			x := badTensor("all that is wrong at once", formats.Bounds, view(Num(16), Num(1), Ints(16), Ints(1)))
			s := Proto + "}(" + Str("x") + strings.TrimSuffix(view(Num(16), Num(1), Ints(16), Ints(1)), "R")
			x.Offset = int64(PickleAt + len(s))
			s += "R" + Str("y") + view(Num(16), Num(0), Ints(1), "("+neg1+"t") + Str("z") + Rebuild(Storage("FloatStorage", "9", Num(1)), Num(0), Ints(1), Ints(1)) + "u."
			x.Bytes, x.Codes = Checkpoint(s, Sixty4).Bytes, []formats.Code{formats.Bounds, formats.BadShape, formats.Missing}
			return x
		}(),
	}
}

// The dictionary.
func states() []Case {
	return []Case{
		badPickle("a set of tensors", formats.Unsupported, "¦"+Proto+"\x8f("+Good()+"\x90."),
		badPickle("a list without tensors", formats.Unsupported, "¦"+Proto+"](NNe."),
		badPickle("a number", formats.Unsupported, "¦"+Proto+"K\x01."),
		badPickle("a whole module", formats.Unsupported, "¦"+Proto+Global("torch.nn.modules.linear", "Linear")+")R"+Dict("_parameters", Dict("w", Good()))+"b.", "Linear", "state_dict"),
		named("x", badPickle("a name twice", formats.Dup, Proto+"}("+Str("x")+Good()+Str("x")+Good()+"¦u.", "byte")),
		named("a.b", badPickle("a name twice by joining", formats.Dup, Proto+"}("+Str("a")+Dict("b", Good())+Str("a.b")+strings.TrimSuffix(Good(), "R")+"¦Ru.")),
		named("a\xff", badPickle("a name that is not UTF-8", formats.UTF8, Proto+"}("+Str("a\xff")+Good()+"¦u.")),
		named(strings.Repeat("n", 4097), badPickle("a name of 4097 bytes", formats.Limit, Proto+"}("+Str(strings.Repeat("n", 4097))+Good()+"¦u.")),
		named("(a float)", badPickle("a number as a name", formats.BadType, Proto+"}(G"+Sixty4[:8]+Good()+"¦u.")),
		named("x", badPickle("a tensor in a set", formats.Unsupported, Proto+"}("+Str("x")+"\x8f("+Good()+"\x90¦u.")),
		named("x.1", badPickle("a tensor in a set in a list", formats.Unsupported, Proto+"}("+Str("x")+"¦](N\x8f("+Good()+"\x90eu.")),
		named("l.0", badPickle("a name twice by a place", formats.Dup, Proto+"}("+Str("l")+"]"+Good()+"a"+Str("l.0")+strings.TrimSuffix(Good(), "R")+"¦Ru.")),
		badPickle("a list of itself and tensors", formats.Limit, Proto+"}"+Str("x")+"¦]q\x00("+Good()+"h\x00es."),
		named("x", badPickle("a bare storage", formats.Unsupported, Proto+"}("+Str("x")+Store+"¦u.")),
		named("x", badPickle("a tensor in an unknown class", formats.Unsupported, Proto+"}("+Str("x")+Global("my.lib", "Quantized")+Tuple(Good(), Num(4))+"R¦u.", "my.lib.Quantized")),
		named("x", badPickle("a subclass", formats.Unsupported, Proto+"}("+Str("x")+Global("torch._tensor", "_rebuild_from_type_v2")+Tuple(Global("torch._utils", "_rebuild_tensor_v2"),
			Global("my.lib", "Sub"), Tuple(Store, Num(0), Ints(1), Ints(1), "\x89", "N"), "}")+"R¦u.", "my.lib.Sub")),
		named("x", badPickle("a tensor made by an unknown function", formats.Unsupported, Proto+"}("+Str("x")+Global("torch._tensor", "_rebuild_from_type_v2")+Tuple(Global("my.lib", "make"),
			Global("torch", "Tensor"), Tuple(Store), "}")+"R¦u.", "my.lib.make")),
		named("x", badPickle("a sparse tensor", formats.Unsupported, Proto+"}("+Str("x")+Global("torch._utils", "_rebuild_sparse_tensor")+Tuple("N", Tuple(Good(), Good()))+"R¦u.", "_rebuild_sparse_tensor")),
		named("x", badPickle("a compressed sparse tensor", formats.Unsupported, Proto+"}("+Str("x")+Global("torch._utils", "_rebuild_sparse_csr_tensor")+Tuple("N", Tuple(Good(), Good()))+"R¦u.", "_rebuild_sparse_csr_tensor")),
		named("x", badPickle("a quantized tensor", formats.Unsupported, Proto+"}("+Str("x")+Global("torch._utils", "_rebuild_qtensor")+Tuple(Store)+"R¦u.", "_rebuild_qtensor")),
		named("x", badPickle("a nested tensor", formats.Unsupported, Proto+"}("+Str("x")+Global("torch._utils", "_rebuild_nested_tensor")+Tuple(Good())+"R¦u.", "_rebuild_nested_tensor")),
		named("x", badPickle("a tensor without values", formats.Unsupported, Proto+"}("+Str("x")+Global("torch._utils", "_rebuild_meta_tensor_no_storage")+Tuple(Global("torch", "float32"), Ints(2), Ints(1), "\x89")+"R¦u.", "_rebuild_meta_tensor_no_storage")),
		named("x", badPickle("a wrapper", formats.Unsupported, Proto+"}("+Str("x")+Global("torch._utils", "_rebuild_wrapper_subclass")+Tuple(Global("my.lib", "W"))+"R¦u.", "_rebuild_wrapper_subclass")),
		named("x", badPickle("a tensor in an array", formats.Unsupported, Proto+"}("+Str("x")+Global("torch._utils", "_rebuild_device_tensor_from_numpy")+Tuple("N", Global("torch", "float32"), Str("xla:0"), "\x89")+"R¦u.", "from_numpy")),
		named("x", badPickle("another type on another device", formats.Unsupported, Proto+"}("+Str("x")+Global("torch._utils", "_rebuild_device_tensor_from_cpu_tensor")+Tuple(Good(), Global("torch", "bfloat16"), Str("xla:0"), "\x89")+"R¦u.", "from_cpu_tensor")),
		badPickle("from another device, of three", formats.BadType, Proto+"}("+Str("x")+Global("torch._utils", "_rebuild_device_tensor_from_cpu_tensor")+Tuple(Good(), Global("torch", "float32"), Str("xla:0"))+"¦Ru."),
		named("x", badPickle("a file in the pickle", formats.Unsupported, Proto+"}("+Str("x")+Within(Old().Bytes)+"R¦u.", "_load_from_bytes")),
		badPickle("a file in the pickle that is none", formats.Bounds, Proto+"}("+Str("x")+Global("torch.storage", "_load_from_bytes")+"C\x03abc\x85¦Ru."),
		badPickle("a file in the pickle that asks for os.system", formats.Unsafe, Proto+"}("+Str("x")+Within(Older(Global("os", "system")+")R", nil).Bytes)+"¦Ru.", fmt.Sprintf("offset %d", Old().object+len(Proto))),
		badPickle("a file in the pickle that is cut", formats.Trunc, Proto+"}("+Str("x")+Within(Old().Bytes[:len(Old().Bytes)-1])+"¦Ru."),
		badPickle("a file in a file in a file in the pickle", formats.Limit, Proto+"}("+Str("x")+Within(Older(Within(Older(Within(Old().Bytes)+"R", nil).Bytes)+"R", nil).Bytes)+"¦Ru.", "deeper"),
		badPickle("a file in the pickle over and over", formats.Limit, Proto+Global("torch.storage", "_load_from_bytes")+"q\x00"+"B"+LE32(len(Old().Bytes))+string(Old().Bytes)+"\x85q\x01"+strings.Repeat("h\x00h\x01R0", 4)+"h\x00h\x01¦R0h\x00h\x01R0h\x00h\x01R.", "in all"),
		badPickle("a file in the pickle that is text", formats.BadType, Proto+Global("torch.storage", "_load_from_bytes")+Str("abc")+"\x85¦R."),
	}
}

// Within is the arguments of torch.storage._load_from_bytes, without the call.
func Within(b []byte) string {
	return Global("torch.storage", "_load_from_bytes") + "B" + LE32(len(b)) + string(b) + "\x85"
}

func named(tensor string, x Case) Case {
	x.Tensor = tensor
	return x
}
