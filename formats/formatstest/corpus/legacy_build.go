package corpus

import (
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// Relic is a file from before 1.6, and where its parts are.
type Relic struct {
	Bytes []byte
	// Where the parts start.
	protocol, system, object, keys, Counts int
}

const MagicPickle = Proto + "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."

// Block is a storage behind the pickles: its key, its count and its bytes.
type Block struct {
	Key  string
	N    int
	Data string
}

// RelicOf joins the parts of a file.
func RelicOf(magic, protocol, system, object, keys string, blocks ...Block) Relic {
	r := Relic{protocol: len(magic)}
	r.system = r.protocol + len(protocol)
	r.object = r.system + len(system)
	r.keys = r.object + len(object)
	r.Counts = r.keys + len(keys)
	b := magic + protocol + system + object + keys
	for _, x := range blocks {
		b += LE64(x.N) + x.Data
	}
	r.Bytes = []byte(b)
	return r
}

const ThousandOne = Proto + "M\xe9\x03."

// System is the sys_info that torch writes.
func System(little string) string {
	return Proto + Dict("protocol_version", "M\xe9\x03", "little_endian", little, "type_sizes", Dict("short", Num(2), "int", Num(4), "long", Num(8))) + "."
}

func ListOf(keys ...string) string {
	s := Proto + "]("
	for _, k := range keys {
		s += Str(k)
	}
	return s + "e."
}

// Older is a file of an object and its storages, with all else as torch writes it.
func Older(object string, blocks []Block) Relic {
	var keys []string
	for _, x := range blocks {
		keys = append(keys, x.Key)
	}
	return RelicOf(MagicPickle, ThousandOne, System("\x88"), Proto+object+".", ListOf(keys...), blocks...)
}

// Part is a persistent id of six; metadata is None or a tuple.
func Part(class, key, numel, metadata string) string {
	return Tuple(Str("storage"), Global("torch", class), Str(key), Str("cpu"), numel, metadata) + "Q"
}

func piece(key string, first, n int) string { return Tuple(Str(key), Num(first), Num(n)) }

var (
	block16 = Block{"7", 16, Sixty4}
	Old16   = Rebuild(Part("FloatStorage", "7", Num(16), "N"), Num(0), Ints(16), Ints(1))
)

// Old is a good file of one tensor x.
func Old() Relic { return Older(Dict("x", Old16), []Block{block16}) }

// badOld is a file that has to be refused at a place of it.
func badOld(name string, code formats.Code, field string, r Relic, at int, says ...string) Case {
	return Case{Name: name, Bytes: r.Bytes, Code: code, Offset: int64(at), Field: field, Says: says}
}

// badObject is one whose object has to be refused at the mark.
func badObject(name string, code formats.Code, object string, blocks []Block, says ...string) Case {
	s, at := marked(object)
	r := Older(s, blocks)
	return badOld(name, code, "pickle", r, r.object+len(Proto)+at, says...)
}

// cut16 is a tensor of a part of the storage of 16.
func cut16(metadata string, n int) string {
	return Rebuild(strings.TrimSuffix(Part("FloatStorage", "7", Num(16), metadata), "Q")+"¦Q", Num(0), Ints(n), Ints(1))
}
