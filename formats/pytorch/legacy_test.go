package pytorch_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

// relic is a file from before 1.6, and where its parts are.
type relic struct {
	b                                      []byte
	protocol, system, object, keys, counts int
}

const magicPickle = proto + "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."

// block is a storage behind the pickles: its key, its count and its bytes.
type block struct {
	key  string
	n    int
	data string
}

// relicOf joins the parts of a file.
func relicOf(magic, protocol, system, object, keys string, blocks ...block) relic {
	r := relic{protocol: len(magic)}
	r.system = r.protocol + len(protocol)
	r.object = r.system + len(system)
	r.keys = r.object + len(object)
	r.counts = r.keys + len(keys)
	b := magic + protocol + system + object + keys
	for _, x := range blocks {
		b += le64(x.n) + x.data
	}
	r.b = []byte(b)
	return r
}

const thousandOne = proto + "M\xe9\x03."

// system is the sys_info that torch writes.
func system(little string) string {
	return proto + dict("protocol_version", "M\xe9\x03", "little_endian", little, "type_sizes", dict("short", num(2), "int", num(4), "long", num(8))) + "."
}

func listOf(keys ...string) string {
	s := proto + "]("
	for _, k := range keys {
		s += str(k)
	}
	return s + "e."
}

// older is a file of an object and its storages, with all else as torch writes it.
func older(object string, blocks []block) relic {
	var keys []string
	for _, x := range blocks {
		keys = append(keys, x.key)
	}
	return relicOf(magicPickle, thousandOne, system("\x88"), proto+object+".", listOf(keys...), blocks...)
}

// part is a persistent id of six; metadata is None or a tuple.
func part(class, key, numel, metadata string) string {
	return tuple(str("storage"), global("torch", class), str(key), str("cpu"), numel, metadata) + "Q"
}

func piece(key string, first, n int) string { return tuple(str(key), num(first), num(n)) }

var (
	block16 = block{"7", 16, sixty4}
	old16   = rebuild(part("FloatStorage", "7", num(16), "N"), num(0), ints(16), ints(1))
)

// old is a good file of one tensor x.
func old() relic { return older(dict("x", old16), []block{block16}) }

// badOld is a file that has to be refused at a place of it.
func badOld(name string, code formats.Code, field string, r relic, at int, says ...string) formatstest.Hostile {
	return formatstest.Hostile{Name: name, Bytes: r.b, Code: code, Offset: int64(at), Field: field, Says: says}
}

// badObject is one whose object has to be refused at the mark.
func badObject(name string, code formats.Code, object string, blocks []block, says ...string) formatstest.Hostile {
	s, at := marked(object)
	r := older(s, blocks)
	return badOld(name, code, "pickle", r, r.object+len(proto)+at, says...)
}

// cut16 is a tensor of a part of the storage of 16.
func cut16(metadata string, n int) string {
	return rebuild(strings.TrimSuffix(part("FloatStorage", "7", num(16), metadata), "Q")+"¦Q", num(0), ints(n), ints(1))
}

var relics = func() []formatstest.Hostile {
	good := old()
	whole := []block{block16}
	with := func(change func(r relic) relic) relic { return change(old()) }
	magic := func(m string) relic {
		return relicOf(m, thousandOne, system("\x88"), proto+dict("x", old16)+".", listOf("7"), block16)
	}
	protocol := func(p string) relic {
		return relicOf(magicPickle, p, system("\x88"), proto+dict("x", old16)+".", listOf("7"), block16)
	}
	info := func(s string) relic {
		return relicOf(magicPickle, thousandOne, s, proto+dict("x", old16)+".", listOf("7"), block16)
	}
	keyed := func(keys string, blocks ...block) relic {
		return relicOf(magicPickle, thousandOne, system("\x88"), proto+dict("x", old16)+".", keys, blocks...)
	}
	blocks := func(list ...block) relic { return keyed(listOf("7"), list...) }
	number := "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
	forged := magic(proto + global("builtins", "int") + number + "\x85R.")
	shell := magic(proto + global("os", "system") + str("x") + "\x85R0" + number + ".")
	popped := magic(proto + "N0" + number + ".")
	reduced := protocol(proto + global("builtins", "int") + "M\xe9\x03\x85R.")
	pid := info(proto + str("x") + "Q.")
	large := info(system("\x88"))
	large.b = large.b[:large.object]
	dicts := info(proto + "].")
	lie := info(proto + dict("protocol_version", "M\xea\x03") + ".")
	lieAt := lie.system + len(proto+dict("protocol_version", "M\xea\x03")) - 1
	middle := info(proto + dict("little_endian", str("middle")) + ".")
	middleAt := middle.system + len(proto+dict("little_endian", str("middle"))) - 1
	tar := func(first, rest string) []byte {
		h := make([]byte, 512)
		copy(h, first)
		copy(h[257:], "ustar\x0000")
		return append(h, rest...)
	}
	list := []formatstest.Hostile{
		badOld("a magic number made by a call", formats.BadType, "magic number", forged, 2, "builtins.int"),
		badOld("a magic number behind os.system", formats.Unsafe, "magic number", shell, 2),
		badOld("a magic number behind POP", formats.Magic, "magic number", popped, 0, "spell out"),
		badOld("only the magic number", formats.Trunc, "protocol version", relicOf(magicPickle, "", "", "", ""), len(magicPickle)),
		badOld("half of the magic number's pickle", formats.Trunc, "magic number", relicOf(magicPickle[:len(magicPickle)-1], "", "", "", ""), len(magicPickle)-1),
		badOld("version 1000", formats.Version, "protocol version", protocol(proto+"M\xe8\x03."), good.protocol, "1000", "1001"),
		badOld("a version that is text", formats.Version, "protocol version", protocol(proto+str("1001")+"."), good.protocol),
		badOld("a version made by a call", formats.BadType, "protocol version", reduced, good.protocol+2),
		badOld("no sys_info", formats.Trunc, "sys_info", relicOf(magicPickle, thousandOne, "", "", ""), good.system),
		badOld("sys_info that is a list", formats.BadType, "sys_info", dicts, good.system),
		badOld("sys_info of another version", formats.Mismatch, "sys_info", lie, lieAt),
		badOld("sys_info of a middle-endian machine", formats.BadType, "sys_info", middle, middleAt),
		badOld("sys_info with a persistent id", formats.BadType, "sys_info", pid, good.system+len(proto+str("x"))),
		badOld("sys_info that names a module", formats.Unsafe, "sys_info", info(proto+global("os", "name")+"."), good.system+2),
		badOld("no object", formats.Trunc, "pickle", large, good.object),
		badOld("an object that is cut", formats.Bounds, "pickle", relicOf(magicPickle, thousandOne, system("\x88"), proto+"}X\x09\x00\x00\x00abc", ""), good.object+3),
		badOld("an object of an unknown opcode", formats.BadType, "pickle", relicOf(magicPickle, thousandOne, system("\x88"), proto+"}\xff.", ""), good.object+3),
		{Name: "an object of 2^62 bytes", Bytes: relicOf(magicPickle, thousandOne, system("\x88"), proto+"\x8e"+le64(1<<62), "").b, Size: 1 << 40, Code: formats.Bounds, Offset: int64(good.object + 2), Field: "pickle"},
		badObject("os.system", formats.Unsafe, "¦"+global("os", "system")+str("x")+"\x85R", nil),
		badObject("INST", formats.Unsafe, "(¦ios\nsystem\n", nil),
		badObject("an id of five", formats.BadType, dict("x", rebuild(strings.TrimSuffix(storage("FloatStorage", "7", num(16)), "Q")+"¦Q", num(0), ints(16), ints(1))), whole),
		badObject("an id in text", formats.BadType, "¦P7\n", whole),
		badObject("a storage larger than the file", formats.Bounds, dict("x", rebuild(strings.TrimSuffix(part("FloatStorage", "7", num(1<<30), "N"), "Q")+"¦Q", num(0), ints(16), ints(1))), whole),
		badObject("a storage of 2^64 bytes", formats.Overflow, dict("x", rebuild(strings.TrimSuffix(part("FloatStorage", "7", big62, "N"), "Q")+"¦Q", num(0), ints(16), ints(1))), whole),
		badObject("a storage of another class", formats.Mismatch, dict("x", old16, "y", rebuild(strings.TrimSuffix(part("IntStorage", "7", num(16), "N"), "Q")+"¦Q", num(0), ints(16), ints(1))), whole),
		badObject("a part that is a number", formats.BadType, dict("x", cut16("K\x01", 1)), whole),
		badObject("a part of two", formats.BadType, dict("x", cut16(tuple(str("8"), num(0)), 1)), whole),
		badObject("a part with a list", formats.BadType, dict("x", cut16(tuple(str("8"), "]", num(1)), 1)), whole),
		badObject("a part past the end", formats.Bounds, dict("x", cut16(piece("8", 1, 16), 1)), whole, "16 elements from 1"),
		badObject("a part that starts past the end", formats.Bounds, dict("x", cut16(piece("8", 17, 0), 1)), whole),
		badObject("a part before the start", formats.Bounds, dict("x", cut16(tuple(str("8"), neg1, num(4)), 1)), whole),
		badObject("a part of a negative size", formats.Bounds, dict("x", cut16(tuple(str("8"), num(4), neg1), 1)), whole),
		badObject("a part whose end wraps", formats.Bounds, dict("x", cut16(tuple(str("8"), num(8), "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"), 1)), whole),
		badObject("one part in two ways", formats.Mismatch, dict("x", strings.Replace(cut16(piece("8", 0, 4), 1), "¦", "", 1), "y", cut16(piece("8", 1, 4), 1)), whole),
		badObject("a part with the key of a storage", formats.Mismatch, dict("x", cut16(piece("7", 0, 4), 1)), whole),
		badObject("a storage with the key of a part", formats.Mismatch, dict("x", strings.Replace(cut16(piece("8", 0, 4), 1), "¦", "", 1),
			"y", rebuild(strings.TrimSuffix(part("FloatStorage", "8", num(16), "N"), "Q")+"¦Q", num(0), ints(16), ints(1))), []block{block16, {"8", 16, sixty4}}),
		func() formatstest.Hostile {
			x := badObject("a tensor past its part", formats.Bounds, dict("x", strings.TrimSuffix(strings.Replace(cut16(piece("8", 4, 4), 5), "¦", "", 1), "R")+"¦R"), whole)
			x.Tensor = "x"
			return x
		}(),
		badOld("no keys", formats.Trunc, "storage keys", relicOf(magicPickle, thousandOne, system("\x88"), proto+dict("x", old16)+".", ""), good.keys),
		badOld("keys that are a dictionary", formats.BadType, "storage keys", keyed(proto+"}.", block16), good.keys),
		badOld("keys that are numbers", formats.BadType, "storage keys", keyed(proto+"]K\x07a.", block16), good.keys),
		badOld("a key that is missing", formats.Missing, "storage keys", keyed(listOf()), good.keys, `"7"`),
		badOld("a key too many", formats.Mismatch, "storage keys", keyed(listOf("7", "8"), block16, block{"8", 16, sixty4}), good.keys, `"8"`),
		badOld("a key twice", formats.Dup, "storage keys", keyed(listOf("7", "7"), block16, block16), good.keys),
		badOld("keys that name a class", formats.BadType, "storage keys", keyed(proto+global("builtins", "list")+")R.", block16), good.keys+2),
		badOld("no storage", formats.Trunc, "storage", blocks(), good.counts),
		badOld("half a count", formats.Trunc, "storage", with(func(r relic) relic { r.b = r.b[:r.counts+4]; return r }), good.counts),
		badOld("15 elements said", formats.Mismatch, "storage", blocks(block{"7", 15, sixty4}), good.counts, "got 15", "16 in the pickle"),
		badOld("17 elements said", formats.Mismatch, "storage", blocks(block{"7", 17, sixty4 + "1234"}), good.counts),
		badOld("2^63 elements said", formats.Mismatch, "storage", blocks(block{"7", -1 << 63, sixty4}), good.counts),
		badOld("a big-endian count of a little-endian machine", formats.Mismatch, "storage", blocks(block{"7", 16 << 56, sixty4}), good.counts),
		badOld("a storage that is cut", formats.Trunc, "storage", blocks(block{"7", 16, sixty4[:63]}), good.counts+8),
		badOld("a byte too many", formats.Trail, "storage", blocks(block{"7", 16, sixty4 + "x"}), good.counts+8+64),
		badOld("a file after the file", formats.Trail, "storage", with(func(r relic) relic { r.b = append(r.b, r.b...); return r }), len(good.b)),
		{Name: "a tar file of 0.1", Bytes: tar("sys_info", ""), Code: formats.Unsupported, Says: []string{"0.1", "save it again"}},
		{Name: "a tar file of 0.1, other order", Bytes: tar("./storages", strings.Repeat("\x00", 2048)), Code: formats.Unsupported, Says: []string{"0.1"}},
		{Name: "a tar file of 0.1, tensors first", Bytes: tar("tensors", ""), Code: formats.Unsupported, Says: []string{"0.1"}},
		{Name: "a tar file of GNU's, pickle first", Bytes: bytes.Replace(tar("pickle", ""), []byte("ustar\x0000"), []byte("ustar  \x00"), 1), Code: formats.Unsupported, Says: []string{"0.1"}},
		{Name: "another tar file", Bytes: tar("README", ""), Code: formats.Magic},
		{Name: "a tar file that climbs", Bytes: tar("../storages", ""), Code: formats.Magic},
		{Name: "the number as text alone", Bytes: []byte("L119547037146038801333356L\n"), Code: formats.Trunc, Offset: 27, Field: "magic number"},
	}
	return list
}()

func TestHostileLegacy(t *testing.T) {
	formatstest.Table(t, pytorch.Format, relics)
	if len(relics) < 50 {
		t.Errorf("got %d cases, want at least 50", len(relics))
	}
}

// oddRelics are files from before 1.6 that no common program writes, and that have to be read all the same.
var oddRelics = func() []struct {
	name  string
	relic relic
	want  string
	notes int
} {
	whole := proto + dict("x", old16) + "."
	return []struct {
		name  string
		relic relic
		want  string
		notes int
	}{
		{"plain", old(), "x", 1},
		{"nothing in it", older("}", nil), "", 1},
		{"parts of storages", parts16(), "a again=a b b2=b b3=b c e", 1},
		{"the number in text", relicOf("L119547037146038801333356L\n.", "I1001\n.", system("\x88"), whole, listOf("7"), block16), "x", 1},
		{"the number in a frame", relicOf("\x80\x04\x95"+le64(13)+magicPickle[2:], thousandOne, system("\x88"), whole, listOf("7"), block16), "x", 1},
		{"no sys_info to speak of", relicOf(magicPickle, thousandOne, proto+"}.", whole, listOf("7"), block16), "x", 1},
		{"a count as LONG1", relicOf(magicPickle, proto+"\x8a\x02\xe9\x03.", system("\x88"), whole, listOf("7"), block16), "x", 1},
		{"keys of Python 2", relicOf(magicPickle, thousandOne, system("\x88"), whole, proto+"]U\x017a.", block16), "x", 1},
		{"keys by APPEND", relicOf(magicPickle, thousandOne, system("\x88"), whole, "(lp0\nS'7'\na.", block16), "x", 1},
		{"an empty part", older(dict("x", rebuild(part("FloatStorage", "7", num(16), piece("8", 16, 0)), num(0), ints(0), ints(1))), []block{block16}), "x", 1},
		{"a part of all", older(dict("x", rebuild(part("FloatStorage", "7", num(16), piece("8", 0, 16)), num(0), ints(16), ints(1)), "y", old16), []block{block16}), "x y=x", 1},
		{"complex128 in training", older(dict("model", dict("x", old16), "best", rebuild(part("ComplexDoubleStorage", "3", num(1), "N"), num(0), ints(1), ints(1))), []block{{"3", 1, sixty4[:16]}, block16}), "x", 4},
		{"a module's class with its source", older(dict("model", dict("x", old16), "config", tuple(str("module"), global("my.net", "Net"), str("net.py"), str("class Net: pass"))+"Q)R"), []block{block16}), "x", 4},
		{"an object of protocol 4", relicOf(magicPickle, thousandOne, system("\x88"), "\x80\x04"+dict("x", old16)+".", listOf("7"), block16), "x", 1},
	}
}()

func TestOddLegacy(t *testing.T) {
	for _, x := range oddRelics {
		t.Run(x.name, func(t *testing.T) {
			c, err := pytorch.Format.Open(formatstest.OneFile(x.relic.b), formats.Set{Dir: "/", Files: []string{"m.bin"}})
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
}

// parts16 are a tied, a shifted and a strided part of one storage, and a storage after it.
func parts16() relic {
	return older(dict("a", old16, "again", old16,
		"b", rebuild(part("FloatStorage", "7", num(16), piece("8", 4, 8)), num(1), ints(3), ints(2)),
		"b2", rebuild(part("FloatStorage", "7", num(16), piece("8", 4, 8)), num(1), ints(3), ints(2)),
		"b3", rebuild(part("FloatStorage", "7", num(16), "N"), num(5), ints(3), ints(2)),
		"c", rebuild(part("HalfStorage", "9", num(2), "N"), num(0), ints(2), ints(1)),
		"e", rebuild(part("FloatStorage", "6", num(0), "N"), num(0), ints(0), ints(1)),
	), []block{{"6", 0, ""}, block16, {"9", 2, "half"}})
}

// TestParts reads parts of storages, as torch 0.3 wrote them. torch 2.13 gives the same values (testdata/gen/pytorch.py, parts).
func TestParts(t *testing.T) {
	r := parts16()
	c, err := pytorch.Format.Open(formatstest.OneFile(r.b), formats.Set{Dir: "/", Files: []string{"m.bin"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, want := range map[string]string{"a": sixty4, "b": sixty4[20:24] + sixty4[28:32] + sixty4[36:40], "c": "half", "e": ""} {
		if got := string(formatstest.Bytes(t, c, name)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	var aliases []string
	for _, a := range c.Aliases {
		aliases = append(aliases, a.Name+"="+a.Of)
	}
	slices.Sort(aliases)
	if got := strings.Join(aliases, " "); got != "again=a b2=b b3=b" {
		t.Errorf("got aliases %q", got)
	}
	if x := c.Tensor("b"); x.Offset != int64(r.counts+8+8+20) {
		t.Errorf("got offset %d, want %d", x.Offset, r.counts+8+8+20)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestBigEndianMachine: the tensors of legacy files are little-endian wherever they were written, the counts of old ones are not.
func TestBigEndianMachine(t *testing.T) {
	for _, n := range []int{16, 16 << 56} {
		r := relicOf(magicPickle, thousandOne, system("\x89"), proto+dict("x", old16)+".", listOf("7"), block{"7", n, sixty4})
		c, err := pytorch.Format.Open(formatstest.OneFile(r.b), formats.Set{Dir: "/", Files: []string{"m.bin"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(formatstest.Bytes(t, c, "x")); got != sixty4 {
			t.Errorf("got %q", got)
		}
		if len(c.Notes) != 1 || !strings.Contains(c.Notes[0].Because, "big-endian") {
			t.Errorf("got notes %v", c.Notes)
		}
		c.Close()
	}
}

// TestLongPickle reads a pickle of many times the first read, and nothing behind it: a file of 2^40 bytes takes no longer.
func TestLongPickle(t *testing.T) {
	numel := "\x8a\x05\x00\x00\x00\x00\x10" // 2^36
	object := dict("note", str(strings.Repeat("n", 300_000)), "x", rebuild(part("DoubleStorage", "7", numel, "N"), "\x8a\x05\xff\xff\xff\xff\x0f", ints(1), ints(1)))
	r := older(object, []block{{"7", 1 << 36, ""}})
	c, err := pytorch.Format.Open(formatstest.OneFile(r.b), formats.Set{Dir: "/", Files: []string{"m.bin"}})
	if err == nil || formats.CodeOf(err) != formats.Bounds {
		t.Fatalf("got %v, want it beyond the file", err)
	}
	_ = c
	c, err = pytorch.Format.Open(long{nil, r.b, int64(len(r.b)) + 8<<36}, formats.Set{Dir: "/", Files: []string{"m.bin"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if x := c.Tensor("x"); x == nil || x.Offset != int64(len(r.b))+8*(1<<36-1) {
		t.Errorf("got %+v", x)
	}
	if got := formatstest.Bytes(t, c, "x"); !bytes.Equal(got, make([]byte, 8)) {
		t.Errorf("got % x", got)
	}
}

// long is a file system of one file that ends in zeros.
type long struct {
	fsio.FS
	head []byte
	size int64
}

func (l long) Open(string) (fsio.File, error) {
	return endsFile{nil, ends{nil, l.head, nil, l.size}}, nil
}
