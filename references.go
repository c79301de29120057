package bowline

import (
	"bytes"
	"io"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/all"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/verify"
)

// maxLogitsText is how large reference logits in JSON may be.
const maxLogitsText = 1 << 30

// recordings are the files of reference logits that are no checkpoint, by how they start.
var recordings = []struct {
	is   func(start []byte) bool
	read func(r io.ReaderAt, size int64) (*verify.Trace, dtype.Type, error)
}{
	{func(b []byte) bool { return bytes.HasPrefix(b, []byte("\x93NUMPY")) }, func(r io.ReaderAt, size int64) (*verify.Trace, dtype.Type, error) {
		m, stored, err := verify.ReadNPY(r, size)
		return &verify.Trace{Logits: m}, stored, err
	}},
	// The first entry of an archive of numpy's; a checkpoint of PyTorch has folders.
	{func(b []byte) bool {
		return bytes.HasPrefix(b, []byte("PK\x03\x04")) && len(b) > 30 && bytes.Contains(b[30:min(len(b), 30+int(b[26]))], []byte(".npy"))
	}, verify.ReadNPZ},
	{func(b []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) }, func(r io.ReaderAt, size int64) (*verify.Trace, dtype.Type, error) {
		if size > maxLogitsText {
			return nil, "", formats.Errorf(formats.Limit, "got %d bytes of JSON, want at most %d", size, maxLogitsText).Hinted("write logits to .npy or .safetensors")
		}
		b := make([]byte, size)
		if n, err := r.ReadAt(b, 0); int64(n) < size {
			return nil, "", formats.Errorf(formats.IO, "%w", err)
		}
		t, err := verify.ReadJSON(string(b))
		return t, "", err
	}},
}

// recorded reads reference logits; nil if the path is a checkpoint. What a file is, its bytes say, and for a file of tensors their names: logits is one of them.
func recorded(fsys fsio.FS, ref Source, tokens []int32) (*verify.Trace, verify.Subject, error) {
	var none verify.Subject
	path := ref.Path
	if st, err := fsys.Stat(path); err == nil && st.Mode().IsRegular() {
		f, err := fsys.Open(path)
		if err != nil {
			return nil, none, unreadable(err, path)
		}
		defer f.Close()
		start := make([]byte, 256)
		n, _ := f.ReadAt(start, 0)
		for _, k := range recordings {
			if !k.is(start[:n]) || isIndex(path) {
				continue
			}
			t, stored, err := k.read(io.NewSectionReader(f, 0, st.Size()), st.Size())
			if err != nil {
				return nil, none, formats.At(err, path)
			}
			if len(t.Tokens) == 0 {
				if t.Tokens = tokens; len(tokens) == 0 {
					return nil, none, formats.Errorf(formats.Usage, "the file holds no tokens").At(path, -1).Hinted("--tokens LIST")
				}
			}
			return t, verify.Subject{Path: path, Kind: verify.Logits, Stored: stored}, nil
		}
	}
	ck, err := all.OpenWithin(fsys, path, ref.Bounds)
	if err != nil {
		return nil, none, unreadable(err, path)
	}
	defer ck.Close()
	if ck.Lookup("logits") == nil {
		return nil, none, nil
	}
	t, s, err := verify.ReadLogits(ck)
	if err != nil {
		return nil, none, formats.At(err, path)
	}
	s.Path = path
	return t, s, nil
}

// isIndex reports whether a path is the index of a sharded checkpoint, which is JSON too.
func isIndex(path string) bool { return strings.HasSuffix(path, ".index.json") }
