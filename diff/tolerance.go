package diff

import (
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// expected is the signal to quantization noise of Gaussian rows in dB, by type. Source: measured over the reference codecs' output.
var expected = map[dtype.Type]float64{
	dtype.F16: 73.7, dtype.BF16: 55.6, dtype.Q8_0: 45.4, dtype.Q6_K: 35.0, dtype.Q5_K: 28.8, dtype.Q5_1: 28.4, dtype.Q5_0: 27.4,
	dtype.Q4_K: 22.9, dtype.Q4_1: 22.1, dtype.Q4_0: 21.3,
}

// Expected is the signal to noise ratio in dB that a cast of Gaussian rows to t leaves; false if it is not known.
func Expected(t dtype.Type) (float64, bool) {
	db, ok := expected[t]
	return db, ok
}

// slack is how far below its type's expectation a tensor may be, in dB.
const slack = 3

// Tolerance is which differences are accepted. The zero value accepts none.
type Tolerance struct {
	cast bool
	typ  dtype.Type
}

// ParseTolerance reads "exact" (the same values), "cast" (equal after rounding to the narrower type) or a type: B is A quantized to it, or within
// 3 dB of the noise that it is expected to add. Case does not matter.
func ParseTolerance(s string) (Tolerance, error) {
	switch low := strings.ToLower(s); low {
	case "", "exact":
		return Tolerance{}, nil
	case "cast":
		return Tolerance{cast: true}, nil
	default:
		t := dtype.Type(strings.ToUpper(s))
		if _, known := expected[t]; known || t.Known() && t.CanEncode() && (t.IsFloat() || t.IsQuantized()) {
			return Tolerance{typ: t}, nil
		}
		return Tolerance{}, formats.Errorf(formats.Usage, "--tolerance takes exact, cast or a type such as BF16 or Q8_0, got %q", formats.Escape(s, 64))
	}
}

// String is the tolerance as it is written on the command line.
func (t Tolerance) String() string {
	switch {
	case t.typ != "":
		return string(t.typ)
	case t.cast:
		return "cast"
	}
	return "exact"
}
