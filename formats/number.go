package formats

import (
	"math"
	"strconv"
)

// Number is a measured value, which JSON holds exactly even if it is not finite: NaN, Inf and -Inf are strings there.
type Number float64

// MarshalJSON writes the shortest decimal that is read back as the same number.
func (n Number) MarshalJSON() ([]byte, error) {
	switch f := float64(n); {
	case math.IsNaN(f):
		return []byte(`"NaN"`), nil
	case math.IsInf(f, 1):
		return []byte(`"Inf"`), nil
	case math.IsInf(f, -1):
		return []byte(`"-Inf"`), nil
	default:
		return strconv.AppendFloat(nil, f, 'g', -1, 64), nil
	}
}

// String rounds to four digits.
func (n Number) String() string { return strconv.FormatFloat(float64(n), 'g', 4, 64) }
