package corpus

import (
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// The machine: what no protocol has, what ends too early, what contradicts itself.
func machines() []Case {
	return []Case{
		badPickle("empty", formats.Trunc, "¦"),
		badPickle("no STOP", formats.Trunc, Proto+"}¦"),
		badPickle("STOP on nothing", formats.BadType, Proto+"¦."),
		badPickle("two values at STOP", formats.BadType, Proto+"}}¦."),
		badPickle("open mark at STOP", formats.BadType, Proto+"}(¦."),
		badPickle("bytes after STOP", formats.Trail, Proto+"}.¦}."),
		badPickle("a second pickle", formats.Trail, State()+"¦"+Proto+Global("os", "system")+"."),
		badPickle("opcode FF", formats.BadType, Proto+"¦\xff"),
		badPickle("lone FF", formats.BadType, "¦\xff"),
		badPickle("opcode 00", formats.BadType, Proto+"¦\x00"),
		badPickle("protocol 6", formats.Version, "¦\x80\x06}."),
		badPickle("PROTO in the middle", formats.Version, Proto+"¦\x80\x02}."),
		badPickle("PROTO cut", formats.Bounds, "¦\x80"),
		badPickle("empty stack", formats.Bounds, Proto+"¦0."),
		badPickle("APPEND to nothing", formats.Bounds, Proto+"N¦a."),
		badPickle("pop below a mark", formats.Bounds, Proto+"}(K\x01¦s."),
		badPickle("TUPLE without a mark", formats.Bounds, Proto+"N¦t."),
		badPickle("TUPLE2 of one", formats.Bounds, Proto+"N¦\x86."),
		badPickle("TUPLE3 over a mark", formats.Bounds, Proto+"NN(N¦\x87."),
		badPickle("memo slot never set", formats.Bounds, Proto+"¦h\x07."),
		badPickle("memo slot 2^32-1 never set", formats.Bounds, Proto+"¦j\xff\xff\xff\xff."),
		badPickle("memo slot in text that is none", formats.BadType, "¦gx\n."),
		badPickle("PUT on nothing", formats.Bounds, Proto+"¦q\x00."),
		badPickle("string of 2^62", formats.Bounds, Proto+"¦\x8d"+LE64(1<<62)+"."),
		badPickle("string of 2^64-1", formats.Bounds, Proto+"¦\x8d"+LE64(-1)+"."),
		badPickle("bytes of 2^40", formats.Bounds, Proto+"¦\x8e"+LE64(1<<40)+"."),
		badPickle("bytearray of 2^62", formats.Bounds, Proto+"¦\x96"+LE64(1<<62)+"."),
		badPickle("string of 2^32-1", formats.Bounds, Proto+"¦X\xff\xff\xff\xffx."),
		badPickle("string cut", formats.Bounds, Proto+"¦X\x09\x00\x00\x00abc"),
		badPickle("BINSTRING -1", formats.Bounds, Proto+"¦T\xff\xff\xff\xffx."),
		badPickle("LONG4 -1", formats.Bounds, Proto+"¦\x8b\xff\xff\xff\xff."),
		badPickle("LONG4 of 2^31-1", formats.Bounds, Proto+"¦\x8b\xff\xff\xff\x7f."),
		badPickle("LONG1 of 17 bytes", formats.Limit, Proto+"¦\x8a\x11"+Sixty4[:17]+"."),
		badPickle("an integer of 10^6 digits", formats.Limit, "¦L"+strings.Repeat("9", 1e6)+"L\n."),
		badPickle("an integer that is none", formats.BadType, "¦I12x\n."),
		badPickle("a float of 10^6 digits", formats.Limit, "¦F"+strings.Repeat("9", 1e6)+"\n."),
		badPickle("a float that is none", formats.BadType, "¦F0x1p3\n."),
		badPickle("a line without end", formats.Bounds, "¦I12"),
		badPickle("a string without quotes", formats.BadType, "¦Sabc\n."),
		badPickle("an escape that is none", formats.BadType, "¦S'\\q'\n."),
		badPickle("half of a surrogate", formats.UTF8, "¦V\\ud800\n."),
		badPickle("frame of 2^62", formats.Bounds, "\x80\x04¦\x95"+LE64(1<<62)+"}."),
		badPickle("frame past the end", formats.Bounds, "\x80\x04¦\x95"+LE64(3)+"}."),
		badPickle("frame in a frame", formats.Bounds, "\x80\x04\x95"+LE64(11)+"¦\x95"+LE64(1)+"}."),
		badPickle("frame of 2 around a long argument", formats.Bounds, "\x80\x04\x95"+LE64(2)+"¦B"+LE32(0x107)+strings.Repeat("x", 0x107)+"."),
		badPickle("line across the end of a frame", formats.Bounds, "\x80\x04\x95"+LE64(4)+"¦cbuiltins\nlist\n."),
		badPickle("buffers outside", formats.Unsupported, "\x80\x05¦\x97."),
		badPickle("10^6 nested tuples", formats.Limit, Proto+"N"+strings.Repeat("\x85", 1000)+"¦"+strings.Repeat("\x85", 1e6)+"."),
		badPickle("10^6 marks", formats.Limit, Proto+strings.Repeat("(", 1000)+"¦"+strings.Repeat("(", 1e6)),
		badPickle("nested lists", formats.Limit, Proto+strings.Repeat("]", 2000)+strings.Repeat("a", 1000)+"¦"+strings.Repeat("a", 999)+"."),
		badPickle("dictionaries that contain each other", formats.Limit, laugh()),
		badPickle("a dictionary that contains itself", formats.Limit, Proto+"}q\x00"+Str("t")+Good()+"s"+Str("a")+"h\x00¦s."),

		badPickle("SETITEM on a list", formats.BadType, Proto+"]NN¦s."),
		badPickle("SETITEMS of three", formats.BadType, Proto+"}(NNN¦u."),
		badPickle("DICT of one", formats.BadType, Proto+"(N¦d."),
		badPickle("a list as a key", formats.BadType, Proto+"}]N¦s."),
		badPickle("APPEND to a dict", formats.BadType, Proto+"}N¦a."),
		badPickle("APPENDS to a tuple", formats.BadType, Proto+")(N¦e."),
		badPickle("ADDITEMS to a list", formats.BadType, "\x80\x04](N¦\x90."),
		badPickle("BUILD on a tuple", formats.BadType, Proto+")}¦b."),
		badPickle("BUILD on a storage", formats.BadType, Proto+Store+"}¦b."),
		badPickle("REDUCE of a string", formats.BadType, Proto+Str("f")+")¦R."),
		badPickle("REDUCE with a list", formats.BadType, Proto+Global("x", "f")+"]¦R."),
		badPickle("NEWOBJ_EX without keywords", formats.BadType, Proto+Global("x", "f")+"))¦\x92."),
		badPickle("STACK_GLOBAL of numbers", formats.BadType, "\x80\x04K\x01K\x02¦\x93."),
		badPickle("OrderedDict of no pairs", formats.BadType, Proto+Global("collections", "OrderedDict")+"(](K\x01et¦R."),
		badPickle("latin1 that is none", formats.BadType, Proto+Global("_codecs", "encode")+Tuple(Str("€"), Str("latin1"))+"¦R."),
	}
}

// laugh is 12 dictionaries of 10 times the one before: 10^12 names.
func laugh() string {
	s := Proto + "}q\x00(" + Str("t") + Good() + "u"
	for i := range 12 {
		s += "0}q" + string(rune(i+1)) + "("
		for k := range 10 {
			s += Str(string(rune('a'+k))) + "h" + string(rune(i))
		}
		if i == 0 {
			s += "¦" // what is walked most
		}
		s += "u"
	}
	return s + "."
}
