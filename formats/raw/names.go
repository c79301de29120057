package raw

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/bowline-ml/bowline/formats/index"
)

// maxBase is the longest name of a file without its suffix; file systems take 255 bytes.
const maxBase = 200

// namer names files after tensors. Names that differ only by case get numbers, in the order of the tensors: some file systems hold
// only one of them.
type namer map[string]int // by lower case: how many have it

// file is the name of the file of a tensor.
func (n namer) file(tensor string) string {
	base := escaped(tensor)
	for {
		lower := strings.ToLower(base)
		n[lower]++
		if n[lower] == 1 {
			return base + suffix
		}
		base = fmt.Sprintf("%s~%d", escaped(tensor), n[lower]) // ~ is in no other name
	}
}

// escaped is a name as one element of a path on every system: other bytes than letters, digits, dot, minus and underscore as %XX. A name
// that is too long is cut, with a digest of all of it.
func escaped(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
		if b.Len() > maxBase {
			sum := sha256.Sum256([]byte(name))
			return fmt.Sprintf("%s~%x", b.String()[:maxBase-17], sum[:8])
		}
	}
	switch s := b.String(); {
	case s == "":
		return "~"
	case index.Unsafe(s+suffix) != "": // a device on Windows
		return fmt.Sprintf("%%%02X%s", s[0], s[1:])
	default:
		return s
	}
}
