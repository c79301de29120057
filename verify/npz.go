package verify

import (
	"archive/zip"
	"bytes"
	"io"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// inflated is how many times larger than in the archive an entry can be: no stream of deflate says more.
const inflated = 1040

// ReadNPZ reads logits.npy, and input_ids.npy or tokens.npy if there is one, from an archive that numpy.savez or savez_compressed wrote. Source:
// numpy/lib/_npyio_impl.py, _savez.
func ReadNPZ(r io.ReaderAt, size int64) (*Trace, dtype.Type, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, "", formats.Errorf(formats.Mismatch, "archive: %w", err)
	}
	entries := map[string]*zip.File{}
	for _, f := range z.File {
		if entries[f.Name] != nil {
			return nil, "", formats.Errorf(formats.Dup, "entry %q is there twice", formats.Escape(f.Name, 200))
		}
		entries[f.Name] = f
	}
	read := func(f *zip.File) ([]byte, error) {
		if f.CompressedSize64 > uint64(size) || f.UncompressedSize64 > inflated*f.CompressedSize64 {
			return nil, formats.Errorf(formats.Limit, "got %d bytes of %d in the archive", f.UncompressedSize64, f.CompressedSize64).In(f.Name, "")
		}
		e, err := f.Open()
		if err != nil {
			return nil, formats.Errorf(formats.Unsupported, "%w", err).In(f.Name, "")
		}
		defer e.Close()
		b, err := io.ReadAll(e) // to the end, where the checksum is compared
		if err != nil {
			return nil, formats.Errorf(formats.Mismatch, "%w", err).In(f.Name, "")
		}
		return b, nil
	}
	f := entries["logits.npy"]
	if f == nil {
		return nil, "", formats.Errorf(formats.Missing, "the archive holds no logits.npy").In("logits", "")
	}
	b, err := read(f)
	if err != nil {
		return nil, "", err
	}
	m, stored, err := ReadNPY(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, "", formats.Errors(err)[0].In("logits.npy", "")
	}
	t := &Trace{Logits: m}
	for _, name := range []string{"input_ids.npy", "tokens.npy"} {
		if f := entries[name]; f != nil && t.Tokens == nil {
			if b, err = read(f); err != nil {
				return nil, "", err
			}
			if t.Tokens, err = readIDs(b, name, m.Rows); err != nil {
				return nil, "", err
			}
		}
	}
	return t, stored, nil
}
