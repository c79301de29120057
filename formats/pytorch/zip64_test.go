package pytorch_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

// vast is a file of which some ranges are given; all between them is zero.
type vast struct {
	fsio.FS

	parts []span
	size  int64
}

type span struct {
	at int64
	b  []byte
}

func (v vast) Open(string) (fsio.File, error) { return vastFile{nil, v}, nil }

type vastFile struct {
	fsio.File
	vast vast
}

func (f vastFile) Stat() (fs.FileInfo, error) { return sized{nil, f.vast.size}, nil }
func (f vastFile) Close() error               { return nil }

func (f vastFile) ReadAt(p []byte, off int64) (int, error) {
	n := int(max(0, min(int64(len(p)), f.vast.size-off)))
	clear(p[:n])
	for _, s := range f.vast.parts {
		from, to := max(off, s.at), min(off+int64(n), s.at+int64(len(s.b)))
		if from < to {
			copy(p[from-off:to-off], s.b[from-s.at:])
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// huge64 is an archive whose record data/0 has bytes bytes, and whose other records lie behind it. field may change any 64-bit number of
// it: those of the local headers, of the directory, and of its end.
func huge64(bytes int64, numel string, field func(what string, n uint64) uint64) (v vast, central map[string]int64) {
	if field == nil {
		field = func(_ string, n uint64) uint64 { return n }
	}
	text := state("big", rebuild(storage("ByteStorage", "0", numel), numel8(bytes-8), ints(8), ints(1)), "x", rebuild(storage("FloatStorage", "1", num(16)), num(0), ints(16), ints(1)))
	var dir []byte
	central = map[string]int64{}
	u64 := binary.LittleEndian.AppendUint64
	at, n := int64(0), 0
	for _, r := range []struct {
		name string
		data string
		size int64
	}{{folder + "data/0", "", bytes}, {folder + "data/1", sixty4, 64}, {folder + "data.pkl", text, int64(len(text))}, {folder + "version", "3\n", 2}} {
		n++
		crc := crc32.ChecksumIEEE([]byte(r.data))
		if r.size != int64(len(r.data)) {
			crc = 1
		}
		extra := u64(u64([]byte("\x01\x00\x10\x00"), field("local size "+r.name, uint64(r.size))), field("local packed "+r.name, uint64(r.size)))
		fixed := le16(45) + le16(0) + le16(0) + le32(0) + le32(int(crc)) + "\xff\xff\xff\xff\xff\xff\xff\xff" + le16(len(r.name))
		local := "PK\x03\x04" + fixed + le16(len(extra)) + r.name + string(extra)
		v.parts = append(v.parts, span{at, []byte(local + r.data)})
		wide := u64(u64(u64([]byte("\x01\x00\x18\x00"), field("size "+r.name, uint64(r.size))), field("packed "+r.name, uint64(r.size))), field("offset "+r.name, uint64(at)))
		central[r.name] = int64(len(dir))
		dir = append(dir, "PK\x01\x02"+le16(45)+fixed+le16(len(wide))+le16(0)+le16(0)+le16(0)+le32(0)+"\xff\xff\xff\xff"+r.name+string(wide)...)
		at += int64(len(local)) + r.size
	}
	for name := range central {
		central[name] += at
	}
	end := at + int64(len(dir))
	central[""] = end
	tail := "PK\x06\x06" + le64(44) + le16(45) + le16(45) + le32(0) + le32(0)
	for _, x := range []struct {
		what string
		n    uint64
	}{{"entries here", uint64(n)}, {"entries", uint64(n)}, {"directory size", uint64(len(dir))}, {"directory offset", uint64(at)}} {
		tail += string(u64(nil, field(x.what, x.n)))
	}
	tail += "PK\x06\x07" + le32(0) + string(u64(nil, field("locator", uint64(end)))) + le32(1) + "PK\x05\x06" + le32(0) + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" + le16(0)
	v.parts = append(v.parts, span{at, append(dir, tail...)})
	v.size = end + int64(len(tail))
	return v, central
}

// numel8 is an integer of 8 bytes.
func numel8(n int64) string {
	return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

// TestVast reads headers of files of 4 GiB to 1 EiB, with all sizes, counts and offsets in 64 bits.
func TestVast(t *testing.T) {
	for _, n := range []int64{64, 1<<32 - 2, 1<<32 - 1, 1 << 32, 1<<40 + 1, 1 << 60} {
		v, _ := huge64(n, numel8(n), nil)
		c, err := pytorch.Format.Open(v, formats.Set{Dir: "/", Files: []string{"m.bin"}})
		if err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		if got := formatstest.Bytes(t, c, "x"); string(got) != sixty4 {
			t.Errorf("%d: got %q", n, got)
		}
		if got := formatstest.Bytes(t, c, "big"); !bytes.Equal(got, make([]byte, 8)) {
			t.Errorf("%d: got % x", n, got)
		}
		if x := c.Tensor("big"); x.Offset != v.parts[1].at-8 {
			t.Errorf("%d: got offset %d, want %d", n, x.Offset, v.parts[1].at-8)
		}
		c.Close()
	}
}

// TestVastRefused changes one number of such a file.
func TestVastRefused(t *testing.T) {
	const n = 1 << 33
	end64 := "zip64 end of central directory"
	zero := folder + "data/0"
	for _, x := range []struct {
		what  string
		value uint64
		code  formats.Code
		field string
		at    func(v vast, c map[string]int64) int64
	}{
		{"entries", 5, formats.Unsupported, end64, func(_ vast, c map[string]int64) int64 { return c[""] }},
		{"entries", 1<<64 - 1, formats.Unsupported, end64, func(_ vast, c map[string]int64) int64 { return c[""] }},
		{"directory size", 1 << 63, formats.Overflow, end64, func(_ vast, c map[string]int64) int64 { return c[""] + 40 }},
		{"directory size", 1 << 62, formats.Limit, endField, func(v vast, _ map[string]int64) int64 { return v.size - 22 }},
		{"directory size", 1<<64 - 1, formats.Overflow, end64, func(_ vast, c map[string]int64) int64 { return c[""] + 40 }},
		{"directory size", 8, formats.Bounds, endField, func(v vast, _ map[string]int64) int64 { return v.size - 22 }},
		{"directory offset", 1 << 63, formats.Overflow, end64, func(_ vast, c map[string]int64) int64 { return c[""] + 48 }},
		{"directory offset", 1 << 62, formats.Bounds, endField, func(v vast, _ map[string]int64) int64 { return v.size - 22 }},
		{"directory offset", 1<<63 - 1, formats.Bounds, endField, func(v vast, _ map[string]int64) int64 { return v.size - 22 }},
		{"locator", 1<<64 - 1, formats.Mismatch, end64, func(v vast, _ map[string]int64) int64 { return v.size - 42 }},
		{"size " + zero, 1 << 63, formats.Overflow, cdField, func(_ vast, c map[string]int64) int64 { return c[zero] }},
		{"size " + zero, n - 1, formats.Mismatch, cdField, func(_ vast, c map[string]int64) int64 { return c[zero] }},
		{"packed " + zero, 1<<64 - 1, formats.Overflow, cdField, func(_ vast, c map[string]int64) int64 { return c[zero] }},
		{"packed " + zero, 1<<63 - 1, formats.Mismatch, cdField, func(_ vast, c map[string]int64) int64 { return c[zero] }},
		{"offset " + zero, 1 << 63, formats.Overflow, cdField, func(_ vast, c map[string]int64) int64 { return c[zero] }},
		{"offset " + zero, 1<<63 - 1, formats.Bounds, cdField, func(_ vast, c map[string]int64) int64 { return c[zero] }},
		{"offset " + zero, 1, formats.Hole, localField, func(vast, map[string]int64) int64 { return 0 }},
		{"local size " + zero, 1<<64 - 1, formats.Mismatch, localField, func(vast, map[string]int64) int64 { return 0 }},
		{"local packed " + zero, n + 1, formats.Mismatch, localField, func(vast, map[string]int64) int64 { return 0 }},
		{"local size " + zero, n & (1<<32 - 1), formats.Mismatch, localField, func(vast, map[string]int64) int64 { return 0 }},
	} {
		t.Run(fmt.Sprintf("%s is %d", x.what, x.value), func(t *testing.T) {
			v, central := huge64(n, numel8(n), func(what string, n uint64) uint64 {
				if what == x.what {
					return x.value
				}
				return n
			})
			before := allocated()
			c, err := pytorch.Format.Open(v, formats.Set{Dir: "/", Files: []string{"m.bin"}})
			if err == nil {
				c.Close()
				t.Fatal("accepted")
			}
			if got := allocated() - before; got > 1<<20 {
				t.Errorf("allocated %d bytes", got)
			}
			if e := formats.Errors(err)[0]; e.Code != x.code || e.Field != x.field || e.Offset != x.at(v, central) {
				t.Errorf("got %v, want %s at %d, %s", err, x.code, x.at(v, central), x.field)
			}
		})
	}
}

// TestManyRecords has more records than 16 bits count.
func TestManyRecords(t *testing.T) {
	recs := records(state("x", good()), sixty4)
	for i := range 1 << 16 {
		recs = append(recs, rec(folder+fmt.Sprintf("extra%d", i), ""))
	}
	c, err := pytorch.Format.Open(formatstest.OneFile(archive(recs...).Bytes), formats.Set{Dir: "/", Files: []string{"m.bin"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := string(formatstest.Bytes(t, c, "x")); got != sixty4 {
		t.Errorf("got %q", got)
	}
}
