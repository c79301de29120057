package pytorch

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"math"
)

const (
	// folder holds all records, as in what torch.save writes to a stream.
	folder = "archive/"
	// alignment of the records' data (torch.utils.serialization.config.save.storage_alignment).
	alignment = 64
)

// zipWriter writes an archive as miniz does for torch (caffe2/serialize/inline_container.cc, PyTorchStreamWriter): sizes and checksum
// behind the data, a padding field "FB" that aligns it, 64-bit sizes where they are needed and at the end always. torch can work out
// where each record is without reading their headers, and relies on all of this then (getRecordOffsetNoRead).
type zipWriter struct {
	at      int64 // the size so far
	pieces  []piece
	places  []int64
	central []byte
	entries int
	names   []string
	crcs    []uint32
}

// bytes are the end of the last piece, to be appended to.
func (w *zipWriter) add(b []byte) {
	if n := len(w.pieces); n > 0 && w.pieces[n-1].at+int64(len(w.pieces[n-1].b)) == w.at {
		w.pieces[n-1].b = append(w.pieces[n-1].b, b...)
	} else {
		w.pieces = append(w.pieces, piece{at: w.at, b: b})
	}
	w.at += int64(len(b))
}

// text writes a record whose content is known.
func (w *zipWriter) text(name, content string) {
	crc := crc32.ChecksumIEEE([]byte(content))
	at := w.header(name, int64(len(content)), crc)
	w.add([]byte(content))
	w.descriptor(int64(len(content)), crc, at)
}

// tensor leaves room for a tensor.
func (w *zipWriter) tensor(name string, size int64, crc uint32) {
	at := w.header(name, size, crc)
	w.places = append(w.places, w.at)
	w.at += size
	w.descriptor(size, crc, at)
}

// wide appends a zip64 field with those of the sizes and the offset that 32 bits do not hold. In a local header the packed size is not
// known yet.
func wide(b []byte, size, packed, at int64) []byte {
	var v []byte
	if size >= math.MaxUint32 {
		v = binary.LittleEndian.AppendUint64(v, uint64(size))
		v = binary.LittleEndian.AppendUint64(v, uint64(packed))
	}
	if at >= math.MaxUint32 {
		v = binary.LittleEndian.AppendUint64(v, uint64(at))
	}
	if len(v) == 0 {
		return b
	}
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(v)))
	return append(b, v...)
}

func (w *zipWriter) header(name string, size int64, crc uint32) (at int64) {
	at = w.at
	if w.names = append(w.names, name); size > 0 {
		w.crcs = append(w.crcs, crc)
	}
	name = folder + name
	flags := uint16(flagUTF8)
	if size > 0 {
		flags |= flagDescriptor
	}
	extra := wide(nil, size, 0, at)
	pad := int(-(at + localBytes + int64(len(name)+len(extra)) + 4) & (alignment - 1))
	extra = append(extra, 'F', 'B')
	extra = binary.LittleEndian.AppendUint16(extra, uint16(pad))
	for range pad {
		extra = append(extra, 'Z')
	}
	b := binary.LittleEndian.AppendUint32(nil, sigLocal)
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = binary.LittleEndian.AppendUint16(b, flags)
	b = append(b, make([]byte, 18)...) // stored; no time; checksum and sizes come later
	b = binary.LittleEndian.AppendUint16(b, uint16(len(name)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(extra)))
	b = append(b, name...)
	w.add(append(b, extra...))

	extra = wide(nil, size, size, at)
	c := binary.LittleEndian.AppendUint32(w.central, sigCentral)
	c = binary.LittleEndian.AppendUint32(c, 0)
	c = binary.LittleEndian.AppendUint16(c, flags)
	c = append(c, make([]byte, 6)...) // stored; no time
	c = binary.LittleEndian.AppendUint32(c, crc)
	c = binary.LittleEndian.AppendUint32(c, narrow(size))
	c = binary.LittleEndian.AppendUint32(c, narrow(size))
	c = binary.LittleEndian.AppendUint16(c, uint16(len(name)))
	c = binary.LittleEndian.AppendUint16(c, uint16(len(extra)))
	c = append(c, make([]byte, 10)...)
	c = binary.LittleEndian.AppendUint32(c, narrow(at))
	c = append(c, name...)
	w.central = append(c, extra...)
	w.entries++
	return at
}

// narrow is a size in 32 bits, all ones for one that is elsewhere.
func narrow(n int64) uint32 { return uint32(min(n, math.MaxUint32)) }

// descriptor follows the data, if there is any. Its sizes have 64 bits if the header has a zip64 field.
func (w *zipWriter) descriptor(size int64, crc uint32, at int64) {
	if size == 0 {
		return
	}
	b := binary.LittleEndian.AppendUint32(nil, sigDescriptor)
	b = binary.LittleEndian.AppendUint32(b, crc)
	for range 2 {
		if size >= math.MaxUint32 || at >= math.MaxUint32 {
			b = binary.LittleEndian.AppendUint64(b, uint64(size))
		} else {
			b = binary.LittleEndian.AppendUint32(b, uint32(size))
		}
	}
	w.add(b)
}

// identity is 40 digits that differ for files that differ: a hash of the records' names and one of their checksums. torch reads them
// only to count which files it loads. Its second half is made as torch makes it; its first depends on the order of a hash table.
func (w *zipWriter) identity() string {
	names := fnv.New64a()
	for _, n := range w.names {
		names.Write([]byte(n + "\n"))
	}
	sums := uint64(0)
	for _, crc := range w.crcs {
		sums ^= uint64(crc) + 0x9e3779b9 + sums<<6 + sums>>2 // ATen's hash_combine
	}
	return fmt.Sprintf("%020d%020d", names.Sum64(), sums)
}

// finish writes the directory and the three records that end an archive.
func (w *zipWriter) finish() {
	at, n := w.at, int64(len(w.central))
	b := w.central
	end64 := at + n
	b = binary.LittleEndian.AppendUint32(b, sigEnd64)
	b = binary.LittleEndian.AppendUint64(b, end64Bytes-12)
	b = binary.LittleEndian.AppendUint16(b, 0x031e) // made by version 3.0 on Unix
	b = binary.LittleEndian.AppendUint16(b, 45)     // the version that has zip64
	b = binary.LittleEndian.AppendUint64(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(w.entries))
	b = binary.LittleEndian.AppendUint64(b, uint64(w.entries))
	b = binary.LittleEndian.AppendUint64(b, uint64(n))
	b = binary.LittleEndian.AppendUint64(b, uint64(at))
	b = binary.LittleEndian.AppendUint32(b, sigLocator)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(end64))
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint32(b, sigEnd)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(min(w.entries, math.MaxUint16)))
	b = binary.LittleEndian.AppendUint16(b, uint16(min(w.entries, math.MaxUint16)))
	b = binary.LittleEndian.AppendUint32(b, narrow(n))
	b = binary.LittleEndian.AppendUint32(b, narrow(at))
	b = binary.LittleEndian.AppendUint16(b, 0)
	w.add(b)
	w.central = nil
}
