package formats

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Code is a stable class of an error. A published code never changes its meaning.
type Code string

// The codes. What a file holds:
const (
	Magic       Code = "E_MAGIC"       // the bytes are of another format, or of none
	Version     Code = "E_VERSION"     // a version that is not read
	Trunc       Code = "E_TRUNC"       // the file ends too early
	Trail       Code = "E_TRAIL"       // bytes after the end
	Hole        Code = "E_HOLE"        // bytes that belong to nothing
	Overlap     Code = "E_OVERLAP"     // bytes that belong to two tensors
	Bounds      Code = "E_BOUNDS"      // an index or length outside what it counts
	Overflow    Code = "E_OVERFLOW"    // a size that does not fit 63 bits
	Limit       Code = "E_LIMIT"       // larger than this tool reads
	Dup         Code = "E_DUP"         // a name twice
	BadType     Code = "E_TYPE"        // a value of the wrong type
	BadDType    Code = "E_DTYPE"       // an element type that is unknown or not allowed here
	BadShape    Code = "E_SHAPE"       // a shape that contradicts the bytes, the config or the family
	Align       Code = "E_ALIGN"       // an offset or alignment that is not allowed
	UTF8        Code = "E_UTF8"        // text that is not UTF-8
	JSON        Code = "E_JSON"        // JSON that is malformed, or not of the required form
	BadPath     Code = "E_PATH"        // a file name that would leave its directory
	Mismatch    Code = "E_MISMATCH"    // two statements that contradict each other
	Unsupported Code = "E_UNSUPPORTED" // well-formed, but not something this tool handles
	Unsafe      Code = "E_UNSAFE"      // content that asks for code to be run
	Missing     Code = "E_MISSING"     // something that has to be there is not
	Unknown     Code = "E_UNKNOWN"     // a tensor or key that the family does not know
	Tie         Code = "E_TIE"         // a tie that cannot be judged, made or kept
	NonFinite   Code = "E_NONFINITE"   // a finite value that would become infinite
)

// What happens at run time:
const (
	Changed  Code = "E_CHANGED"  // an input changed while it was read
	IO       Code = "E_IO"       // reading or writing failed
	NoSpace  Code = "E_NOSPACE"  // no space, quota or permission to write, or no such place
	Locked   Code = "E_LOCKED"   // another process writes to the same destination
	Exists   Code = "E_EXISTS"   // the destination exists
	SameFile Code = "E_SAMEFILE" // the destination is an input
	Usage    Code = "E_USAGE"    // the request contradicts itself
	// Interrupted is a SIGINT or SIGTERM.
	Interrupted Code = "E_INTERRUPTED"
	Differs     Code = "E_DIFFERS" // a difference, a failed verification, a verdict outside what was required
)

// Error is one problem: where it is, what was found and what was expected. Offset is -1 where there is none.
type Error struct {
	Code    Code
	Path    string // the file
	Offset  int64  // bytes from the start of the file, or -1
	Tensor  string // the tensor, if it is about one
	Field   string // the field of the format, such as "n_kv" or "data_offsets"
	Message string // "got 7, want at least 8"
	Hint    string // what to do about it
	Err     error  // the cause, if there is one
}

// Errorf makes an Error without a place. Callers that know the place add it with At.
func Errorf(code Code, format string, args ...any) *Error {
	e := fmt.Errorf(format, args...)
	return &Error{Code: code, Offset: -1, Message: e.Error(), Err: errors.Unwrap(e)}
}

// At, In and Hinted return a copy of e with a place or a hint added; they never overwrite what is known already.
func (e *Error) At(path string, offset int64) *Error {
	c := *e
	if c.Path == "" {
		c.Path = path
	}
	if c.Offset < 0 {
		c.Offset = offset
	}
	return &c
}

// In names the tensor and the field.
func (e *Error) In(tensor, field string) *Error {
	c := *e
	if c.Tensor == "" {
		c.Tensor = tensor
	}
	if c.Field == "" {
		c.Field = field
	}
	return &c
}

// Hinted adds what the user can do.
func (e *Error) Hinted(format string, args ...any) *Error {
	c := *e
	if c.Hint == "" {
		c.Hint = fmt.Sprintf(format, args...)
	}
	return &c
}

// Error is "path: offset N: tensor "x": field: message (hint)". Text from files is escaped and shortened.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Path != "" {
		b.WriteString(Escape(e.Path, 1024))
		b.WriteString(": ")
	}
	if e.Offset >= 0 {
		fmt.Fprintf(&b, "offset %d: ", e.Offset)
	}
	if e.Tensor != "" {
		fmt.Fprintf(&b, "tensor \"%s\": ", Escape(e.Tensor, 256))
	}
	if e.Field != "" {
		fmt.Fprintf(&b, "%s: ", Escape(e.Field, 256))
	}
	b.WriteString(Escape(e.Message, 4096))
	if e.Hint != "" {
		fmt.Fprintf(&b, " (%s)", Escape(e.Hint, 1024))
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// Escape makes text from a file safe to print: control characters, invalid UTF-8 and invisible or direction-changing runes
// become \x or \u escapes, and at most limit bytes are kept.
func Escape(s string, limit int) string {
	if len(s) <= limit && plain(s) {
		return s
	}
	var b strings.Builder
	for i, w := 0, 0; i < len(s); i += w {
		if b.Len() >= limit {
			fmt.Fprintf(&b, "... (%d bytes)", len(s))
			break
		}
		var r rune
		r, w = utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && w <= 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// plain reports whether s is printable ASCII, as nearly all names are.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Errors flattens joined and wrapped errors into the list of problems that they hold, in order. An error that is no *Error
// becomes one with code E_IO.
func Errors(err error) []*Error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok {
		return []*Error{e}
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var out []*Error
		for _, e := range j.Unwrap() {
			out = append(out, Errors(e)...)
		}
		return out
	}
	var e *Error
	if errors.As(err, &e) {
		c := *e
		c.Message = err.Error()
		if c.Path != "" || c.Tensor != "" || c.Offset >= 0 || c.Field != "" {
			c.Message = e.Message
		}
		return []*Error{&c}
	}
	return []*Error{{Code: IO, Offset: -1, Message: err.Error(), Err: err}}
}

// At places every problem in err that has no file yet.
func At(err error, path string) error {
	var out []error
	for _, e := range Errors(err) {
		out = append(out, e.At(path, -1))
	}
	return errors.Join(out...)
}

// CodeOf is the code of the first problem in err, or "" for nil.
func CodeOf(err error) Code {
	if l := Errors(err); len(l) > 0 {
		return l[0].Code
	}
	return ""
}
