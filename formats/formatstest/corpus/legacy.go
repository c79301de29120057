package corpus

import (
	"bytes"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// relics are files from before 1.6 that have to be refused.
func relics() []Case {
	good := Old()
	whole := []Block{block16}
	with := func(change func(r Relic) Relic) Relic { return change(Old()) }
	magic := func(m string) Relic {
		return RelicOf(m, ThousandOne, System("\x88"), Proto+Dict("x", Old16)+".", ListOf("7"), block16)
	}
	protocol := func(p string) Relic {
		return RelicOf(MagicPickle, p, System("\x88"), Proto+Dict("x", Old16)+".", ListOf("7"), block16)
	}
	info := func(s string) Relic {
		return RelicOf(MagicPickle, ThousandOne, s, Proto+Dict("x", Old16)+".", ListOf("7"), block16)
	}
	keyed := func(keys string, blocks ...Block) Relic {
		return RelicOf(MagicPickle, ThousandOne, System("\x88"), Proto+Dict("x", Old16)+".", keys, blocks...)
	}
	blocks := func(list ...Block) Relic { return keyed(ListOf("7"), list...) }
	number := "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
	forged := magic(Proto + Global("builtins", "int") + number + "\x85R.")
	shell := magic(Proto + Global("os", "system") + Str("x") + "\x85R0" + number + ".")
	popped := magic(Proto + "N0" + number + ".")
	reduced := protocol(Proto + Global("builtins", "int") + "M\xe9\x03\x85R.")
	pid := info(Proto + Str("x") + "Q.")
	large := info(System("\x88"))
	large.Bytes = large.Bytes[:large.object]
	dicts := info(Proto + "].")
	lie := info(Proto + Dict("protocol_version", "M\xea\x03") + ".")
	lieAt := lie.system + len(Proto+Dict("protocol_version", "M\xea\x03")) - 1
	middle := info(Proto + Dict("little_endian", Str("middle")) + ".")
	middleAt := middle.system + len(Proto+Dict("little_endian", Str("middle"))) - 1
	tar := func(first, rest string) []byte {
		h := make([]byte, 512)
		copy(h, first)
		copy(h[257:], "ustar\x0000")
		return append(h, rest...)
	}
	return []Case{
		badOld("a magic number made by a call", formats.BadType, "magic number", forged, 2, "builtins.int"),
		badOld("a magic number behind os.system", formats.Unsafe, "magic number", shell, 2),
		badOld("a magic number behind POP", formats.Magic, "magic number", popped, 0, "spell out"),
		badOld("only the magic number", formats.Trunc, "protocol version", RelicOf(MagicPickle, "", "", "", ""), len(MagicPickle)),
		badOld("half of the magic number's pickle", formats.Trunc, "magic number", RelicOf(MagicPickle[:len(MagicPickle)-1], "", "", "", ""), len(MagicPickle)-1),
		badOld("version 1000", formats.Version, "protocol version", protocol(Proto+"M\xe8\x03."), good.protocol, "1000", "1001"),
		badOld("a version that is text", formats.Version, "protocol version", protocol(Proto+Str("1001")+"."), good.protocol),
		badOld("a version made by a call", formats.BadType, "protocol version", reduced, good.protocol+2),
		badOld("no sys_info", formats.Trunc, "sys_info", RelicOf(MagicPickle, ThousandOne, "", "", ""), good.system),
		badOld("sys_info that is a list", formats.BadType, "sys_info", dicts, good.system),
		badOld("sys_info of another version", formats.Mismatch, "sys_info", lie, lieAt),
		badOld("sys_info of a middle-endian machine", formats.BadType, "sys_info", middle, middleAt),
		badOld("sys_info with a persistent id", formats.BadType, "sys_info", pid, good.system+len(Proto+Str("x"))),
		badOld("sys_info that names a module", formats.Unsafe, "sys_info", info(Proto+Global("os", "name")+"."), good.system+2),
		badOld("no object", formats.Trunc, "pickle", large, good.object),
		badOld("an object that is cut", formats.Bounds, "pickle", RelicOf(MagicPickle, ThousandOne, System("\x88"), Proto+"}X\x09\x00\x00\x00abc", ""), good.object+3),
		badOld("an object of an unknown opcode", formats.BadType, "pickle", RelicOf(MagicPickle, ThousandOne, System("\x88"), Proto+"}\xff.", ""), good.object+3),
		{Name: "an object of 2^62 bytes", Bytes: RelicOf(MagicPickle, ThousandOne, System("\x88"), Proto+"\x8e"+LE64(1<<62), "").Bytes, Size: 1 << 40, Code: formats.Bounds, Offset: int64(good.object + 2), Field: "pickle"},
		badObject("os.system", formats.Unsafe, "¦"+Global("os", "system")+Str("x")+"\x85R", nil),
		badObject("INST", formats.Unsafe, "(¦ios\nsystem\n", nil),
		badObject("an id of five", formats.BadType, Dict("x", Rebuild(strings.TrimSuffix(Storage("FloatStorage", "7", Num(16)), "Q")+"¦Q", Num(0), Ints(16), Ints(1))), whole),
		badObject("an id in text", formats.BadType, "¦P7\n", whole),
		badObject("a storage larger than the file", formats.Bounds, Dict("x", Rebuild(strings.TrimSuffix(Part("FloatStorage", "7", Num(1<<30), "N"), "Q")+"¦Q", Num(0), Ints(16), Ints(1))), whole),
		badObject("a storage of 2^64 bytes", formats.Overflow, Dict("x", Rebuild(strings.TrimSuffix(Part("FloatStorage", "7", big62, "N"), "Q")+"¦Q", Num(0), Ints(16), Ints(1))), whole),
		badObject("a storage of another class", formats.Mismatch, Dict("x", Old16, "y", Rebuild(strings.TrimSuffix(Part("IntStorage", "7", Num(16), "N"), "Q")+"¦Q", Num(0), Ints(16), Ints(1))), whole),
		badObject("a part that is a number", formats.BadType, Dict("x", cut16("K\x01", 1)), whole),
		badObject("a part of two", formats.BadType, Dict("x", cut16(Tuple(Str("8"), Num(0)), 1)), whole),
		badObject("a part with a list", formats.BadType, Dict("x", cut16(Tuple(Str("8"), "]", Num(1)), 1)), whole),
		badObject("a part past the end", formats.Bounds, Dict("x", cut16(piece("8", 1, 16), 1)), whole, "16 elements from 1"),
		badObject("a part that starts past the end", formats.Bounds, Dict("x", cut16(piece("8", 17, 0), 1)), whole),
		badObject("a part before the start", formats.Bounds, Dict("x", cut16(Tuple(Str("8"), neg1, Num(4)), 1)), whole),
		badObject("a part of a negative size", formats.Bounds, Dict("x", cut16(Tuple(Str("8"), Num(4), neg1), 1)), whole),
		badObject("a part whose end wraps", formats.Bounds, Dict("x", cut16(Tuple(Str("8"), Num(8), "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"), 1)), whole),
		badObject("one part in two ways", formats.Mismatch, Dict("x", strings.Replace(cut16(piece("8", 0, 4), 1), "¦", "", 1), "y", cut16(piece("8", 1, 4), 1)), whole),
		badObject("a part with the key of a storage", formats.Mismatch, Dict("x", cut16(piece("7", 0, 4), 1)), whole),
		badObject("a storage with the key of a part", formats.Mismatch, Dict("x", strings.Replace(cut16(piece("8", 0, 4), 1), "¦", "", 1),
			"y", Rebuild(strings.TrimSuffix(Part("FloatStorage", "8", Num(16), "N"), "Q")+"¦Q", Num(0), Ints(16), Ints(1))), []Block{block16, {"8", 16, Sixty4}}),
		func() Case {
			x := badObject("a tensor past its part", formats.Bounds, Dict("x", strings.TrimSuffix(strings.Replace(cut16(piece("8", 4, 4), 5), "¦", "", 1), "R")+"¦R"), whole)
			x.Tensor = "x"
			return x
		}(),
		badOld("no keys", formats.Trunc, "storage keys", RelicOf(MagicPickle, ThousandOne, System("\x88"), Proto+Dict("x", Old16)+".", ""), good.keys),
		badOld("keys that are a dictionary", formats.BadType, "storage keys", keyed(Proto+"}.", block16), good.keys),
		badOld("keys that are numbers", formats.BadType, "storage keys", keyed(Proto+"]K\x07a.", block16), good.keys),
		badOld("a key that is missing", formats.Missing, "storage keys", keyed(ListOf()), good.keys, `"7"`),
		badOld("a key too many", formats.Mismatch, "storage keys", keyed(ListOf("7", "8"), block16, Block{"8", 16, Sixty4}), good.keys, `"8"`),
		badOld("a key twice", formats.Dup, "storage keys", keyed(ListOf("7", "7"), block16, block16), good.keys),
		badOld("keys that name a class", formats.BadType, "storage keys", keyed(Proto+Global("builtins", "list")+")R.", block16), good.keys+2),
		badOld("no storage", formats.Trunc, "storage", blocks(), good.Counts),
		badOld("half a count", formats.Trunc, "storage", with(func(r Relic) Relic { r.Bytes = r.Bytes[:r.Counts+4]; return r }), good.Counts),
		badOld("15 elements said", formats.Mismatch, "storage", blocks(Block{"7", 15, Sixty4}), good.Counts, "got 15", "16 in the pickle"),
		badOld("17 elements said", formats.Mismatch, "storage", blocks(Block{"7", 17, Sixty4 + "1234"}), good.Counts),
		badOld("2^63 elements said", formats.Mismatch, "storage", blocks(Block{"7", -1 << 63, Sixty4}), good.Counts),
		badOld("a big-endian count of a little-endian machine", formats.Mismatch, "storage", blocks(Block{"7", 16 << 56, Sixty4}), good.Counts),
		badOld("a storage that is cut", formats.Trunc, "storage", blocks(Block{"7", 16, Sixty4[:63]}), good.Counts+8),
		badOld("a byte too many", formats.Trail, "storage", blocks(Block{"7", 16, Sixty4 + "x"}), good.Counts+8+64),
		badOld("a file after the file", formats.Trail, "storage", with(func(r Relic) Relic { r.Bytes = append(r.Bytes, r.Bytes...); return r }), len(good.Bytes)),
		{Name: "a tar file of 0.1", Bytes: tar("sys_info", ""), Code: formats.Unsupported, Says: []string{"0.1", "save it again"}},
		{Name: "a tar file of 0.1, other order", Bytes: tar("./storages", strings.Repeat("\x00", 2048)), Code: formats.Unsupported, Says: []string{"0.1"}},
		{Name: "a tar file of 0.1, tensors first", Bytes: tar("tensors", ""), Code: formats.Unsupported, Says: []string{"0.1"}},
		{Name: "a tar file of GNU's, pickle first", Bytes: bytes.Replace(tar("pickle", ""), []byte("ustar\x0000"), []byte("ustar  \x00"), 1), Code: formats.Unsupported, Says: []string{"0.1"}},
		{Name: "another tar file", Bytes: tar("README", ""), Code: formats.Magic},
		{Name: "a tar file that climbs", Bytes: tar("../storages", ""), Code: formats.Magic},
		{Name: "the number as text alone", Bytes: []byte("L119547037146038801333356L\n"), Code: formats.Trunc, Offset: 27, Field: "magic number"},
	}
}

// oddRelics are files from before 1.6 that no common program writes, and that have to be read all the same.
func oddRelics() (out []Case) {
	whole := Proto + Dict("x", Old16) + "."
	for _, x := range []struct {
		name  string
		relic Relic
		names string
		notes int
	}{
		{"plain", Old(), "x", 1},
		{"nothing in it", Older("}", nil), "", 1},
		{"parts of storages", Parts16(), "a again=a b b2=b b3=b c e", 1},
		{"the number in text", RelicOf("L119547037146038801333356L\n.", "I1001\n.", System("\x88"), whole, ListOf("7"), block16), "x", 1},
		{"the number in a frame", RelicOf("\x80\x04\x95"+LE64(13)+MagicPickle[2:], ThousandOne, System("\x88"), whole, ListOf("7"), block16), "x", 1},
		{"no sys_info to speak of", RelicOf(MagicPickle, ThousandOne, Proto+"}.", whole, ListOf("7"), block16), "x", 1},
		{"a count as LONG1", RelicOf(MagicPickle, Proto+"\x8a\x02\xe9\x03.", System("\x88"), whole, ListOf("7"), block16), "x", 1},
		{"keys of Python 2", RelicOf(MagicPickle, ThousandOne, System("\x88"), whole, Proto+"]U\x017a.", block16), "x", 1},
		{"keys by APPEND", RelicOf(MagicPickle, ThousandOne, System("\x88"), whole, "(lp0\nS'7'\na.", block16), "x", 1},
		{"an empty part", Older(Dict("x", Rebuild(Part("FloatStorage", "7", Num(16), piece("8", 16, 0)), Num(0), Ints(0), Ints(1))), []Block{block16}), "x", 1},
		{"a part of all", Older(Dict("x", Rebuild(Part("FloatStorage", "7", Num(16), piece("8", 0, 16)), Num(0), Ints(16), Ints(1)), "y", Old16), []Block{block16}), "x y=x", 1},
		{"complex128 in training", Older(Dict("model", Dict("x", Old16), "best", Rebuild(Part("ComplexDoubleStorage", "3", Num(1), "N"), Num(0), Ints(1), Ints(1))), []Block{{"3", 1, Sixty4[:16]}, block16}), "x", 4},
		{"a module's class with its source", Older(Dict("model", Dict("x", Old16), "config", Tuple(Str("module"), Global("my.net", "Net"), Str("net.py"), Str("class Net: pass"))+"Q)R"), []Block{block16}), "x", 4},
		{"an object of protocol 4", RelicOf(MagicPickle, ThousandOne, System("\x88"), "\x80\x04"+Dict("x", Old16)+".", ListOf("7"), block16), "x", 1},
	} {
		out = append(out, Case{Name: x.name, Bytes: x.relic.Bytes, Reads: &Reads{Names: x.names, Count: x.notes}})
	}
	return out
}

// Parts16 are a tied, a shifted and a strided part of one storage, and a storage after it.
func Parts16() Relic {
	return Older(Dict("a", Old16, "again", Old16,
		"b", Rebuild(Part("FloatStorage", "7", Num(16), piece("8", 4, 8)), Num(1), Ints(3), Ints(2)),
		"b2", Rebuild(Part("FloatStorage", "7", Num(16), piece("8", 4, 8)), Num(1), Ints(3), Ints(2)),
		"b3", Rebuild(Part("FloatStorage", "7", Num(16), "N"), Num(5), Ints(3), Ints(2)),
		"c", Rebuild(Part("HalfStorage", "9", Num(2), "N"), Num(0), Ints(2), Ints(1)),
		"e", Rebuild(Part("FloatStorage", "6", Num(0), "N"), Num(0), Ints(0), Ints(1)),
	), []Block{{"6", 0, ""}, block16, {"9", 2, "half"}})
}
