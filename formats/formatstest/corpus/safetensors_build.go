package corpus

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/bowline-ml/bowline/formats"
)

// STFile is a safetensors file with a header and n zero bytes of data.
func STFile(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

// badST is a file whose header has a mark, "¦", where the error should point to.
func badST(name string, code formats.Code, tensor, field, header string, n int, says ...string) Case {
	at := int64(-1)
	if i := strings.Index(header, "¦"); i >= 0 {
		at = int64(i) + 8
	}
	return Case{Name: name, Bytes: STFile(strings.Replace(header, "¦", "", 1), n), Code: code, Offset: at,
		Tensor: tensor, Field: field, Says: says}
}

func goodST(name, header string, n int) Case {
	return Case{Name: name, Bytes: STFile(header, n)}
}

// STWith is a header of one F32 tensor "a" with other text for one of its parts.
func STWith(dtype, shape, offsets string) string {
	return fmt.Sprintf(`{"a":{"dtype":%s,"shape":%s,"data_offsets":%s}}`, dtype, shape, offsets)
}

const (
	A4 = `"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`
	B4 = `"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}`
)

func badLength(name string, code formats.Code, n uint64, rest string, says ...string) Case {
	return Case{Name: name, Bytes: append(binary.LittleEndian.AppendUint64(nil, n), rest...), Code: code, Offset: 0,
		Field: "header length", Says: says}
}

// Keys are n different keys with one value.
func Keys(n int, value string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%d":%s`, i, value)
	}
	return b.String()
}

func zeros(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"t%d":0`, i+1)
	}
	return b.String()
}
