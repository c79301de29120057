package corpus

import (
	"bytes"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

const (
	cdField                  = "central directory"
	endField                 = "end of central directory"
	localField               = "local header"
	descField                = "data descriptor"
	pickleRecord, zeroRecord = Folder + "data.pkl", Folder + "data/0"
)

// Plain is a good checkpoint of one tensor.
func Plain() Archive { return Checkpoint(State("x", Good()), Sixty4) }

// broken is Plain after a change. The error points to what at gives.
func broken(name string, code formats.Code, field string, change func(z Archive) (b []byte, at int), says ...string) Case {
	b, at := change(Plain())
	return Case{Name: name, Bytes: b, Code: code, Offset: int64(at), Field: field, Says: says}
}

// inLocal and inCentral overwrite a field of a header of data/0; the error points to it.
func inLocal(at int, s string) func(z Archive) ([]byte, int) {
	return func(z Archive) ([]byte, int) { return z.Put(z.Local[zeroRecord]+at, s).Bytes, z.Local[zeroRecord] }
}

func inCentral(at int, s string) func(z Archive) ([]byte, int) {
	return func(z Archive) ([]byte, int) { return z.Put(z.Central[zeroRecord]+at, s).Bytes, z.Central[zeroRecord] }
}

// inBoth overwrites a field in both headers of data/0; the places differ.
func inBoth(inLocal, inCentral int, s string) func(z Archive) ([]byte, int) {
	return func(z Archive) ([]byte, int) {
		return z.Put(z.Local[zeroRecord]+inLocal, s).Put(z.Central[zeroRecord]+inCentral, s).Bytes, z.Central[zeroRecord]
	}
}

// inEnd overwrites a field of the end record.
func inEnd(at int, s string) func(z Archive) ([]byte, int) {
	return func(z Archive) ([]byte, int) { return z.Put(z.End+at, s).Bytes, z.End }
}

// archived is a checkpoint with other records than Plain's.
func archived(name string, code formats.Code, field string, at func(z Archive) int, recs []Record, says ...string) Case {
	z := Pack(recs...)
	return Case{Name: name, Bytes: z.Bytes, Code: code, Offset: int64(at(z)), Field: field, Says: says}
}

func centralOf(name string) func(z Archive) int {
	return func(z Archive) int { return z.Central[name] }
}
func dataOf(name string) func(z Archive) int { return func(z Archive) int { return z.Data[name] } }
func directory(z Archive) int                { return z.Dir }

// instead is the records of Plain with another content of one, or without it.
func instead(name, content string) []Record {
	var out []Record
	for _, r := range Records(State("x", Good()), Sixty4) {
		if r.Name == Folder+name {
			if r.Data = content; content == "" {
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

func beside(recs ...Record) []Record { return append(Records(State("x", Good()), Sixty4), recs...) }

// insert puts bytes into the archive at a place, so that all offsets behind it are wrong by as much, and mends those in the directory.
func insert(z Archive, at int, s string) Archive {
	b := bytes.Clone(z.Bytes)
	for name, c := range z.Central {
		if z.Local[name] >= at {
			b = []byte(string(b[:c+42]) + LE32(z.Local[name]+len(s)) + string(b[c+46:]))
		}
	}
	b = []byte(string(b[:z.End+16]) + LE32(z.Dir+len(s)) + string(b[z.End+20:]))
	z.Bytes = []byte(string(b[:at]) + s + string(b[at:]))
	return z
}

// Zip64 is Plain with the records that large archives have before the end record.
func Zip64() (z Archive, at int) {
	z = Plain()
	n := strings.Count(string(z.Bytes), "PK\x01\x02")
	e64 := "PK\x06\x06" + LE64(44) + LE16(45) + LE16(45) + LE32(0) + LE32(0) + LE64(n) + LE64(n) + LE64(z.End-z.Dir) + LE64(z.Dir)
	locator := "PK\x06\x07" + LE32(0) + LE64(z.End) + LE32(1)
	z.Bytes = []byte(string(z.Bytes[:z.End]) + e64 + locator + string(z.Bytes[z.End:]))
	return z, z.End
}

func end64(at int, s string, points int) func(Archive) ([]byte, int) {
	return func(Archive) ([]byte, int) {
		z, e := Zip64()
		return z.Put(e+at, s).Bytes, e + points
	}
}
