package all

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// signature is how files start that stand where weights should be.
type signature struct {
	at     int
	bytes  string
	what   string
	hint   string
	suffix []string // names under which it is what it should be, though it is not read
}

// torch are the suffixes of PyTorch's files.
var torch = []string{".bin", ".pt", ".pth", ".ckpt"}

var signatures = []signature{
	{bytes: "version https://git-lfs.github.com/spec/", what: "a Git LFS pointer", hint: "run git lfs pull"},
	{bytes: "version https://hawser.github.com/spec/", what: "a Git LFS pointer", hint: "run git lfs pull"},
	{bytes: "PK\x03\x04", what: "a zip archive of NumPy arrays", suffix: []string{".npz"}},
	{bytes: "\x80\x02", what: "a pickle, as PyTorch writes", suffix: torch},
	{bytes: "\x80\x03", what: "a pickle", suffix: torch},
	{bytes: "\x80\x04", what: "a pickle", suffix: torch},
	{bytes: "\x80\x05", what: "a pickle", suffix: torch},
	{bytes: "\x93NUMPY", what: "an array of NumPy"},
	{bytes: "\x1f\x8b", what: "compressed with gzip", hint: "decompress it first"},
	{bytes: "BZh", what: "compressed with bzip2", hint: "decompress it first"},
	{bytes: "\xfd7zXZ\x00", what: "compressed with xz", hint: "decompress it first"},
	{bytes: "\x28\xb5\x2f\xfd", what: "compressed with zstd", hint: "decompress it first"},
	{bytes: "7z\xbc\xaf\x27\x1c", what: "a 7z archive", hint: "unpack it first"},
	{at: 257, bytes: "ustar", what: "a tar archive", hint: "unpack it first"},
	{bytes: "\x89HDF\r\n\x1a\n", what: "an HDF5 file, as Keras writes"},
	{bytes: "lmgg", what: "a GGML file from before GGUF"},
	{bytes: "tjgg", what: "a GGML file from before GGUF"},
	{bytes: "fmgg", what: "a GGML file from before GGUF"},
	{bytes: "{", what: "JSON text", hint: "the server may have sent an error instead of the file"},
}

// foreign says what a file is that no format recognises, or nil. The rules are for files that are no weights of a known format: they
// are too short to decide about others.
func foreign(path string, head []byte) error {
	bad := func(what, hint string) error {
		e := formats.Errorf(formats.Magic, "this is %s", what).At(path, 0)
		if hint != "" {
			e = e.Hinted("%s", hint)
		}
		return e
	}
	for _, s := range signatures {
		if len(head) < s.at || !bytes.HasPrefix(head[s.at:], []byte(s.bytes)) {
			continue
		}
		// The length at the start of a damaged safetensors file may look like a short signature, but ends in zeros.
		if len(s.bytes) <= 3 && len(head) >= 8 && bytes.Equal(head[4:8], make([]byte, 4)) {
			continue
		}
		if slices.Contains(s.suffix, filepath.Ext(path)) {
			return unbuilt(path, s.what)
		}
		return bad(s.what, s.hint)
	}
	text := strings.ToLower(string(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")))
	for _, tag := range []string{"<!doctype html", "<html", "<head", "<!--", "<?xml"} {
		if strings.HasPrefix(text, tag) {
			return bad("a web page", "the server may want you to log in, or the address is wrong")
		}
	}
	if len(head) > 0 && len(bytes.Trim(head, "\x00")) == 0 {
		return bad("a file that starts with zeros", "the copy or download may have been cut off")
	}
	return nil
}
