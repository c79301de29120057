package safetensors_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	nlp "github.com/nlpodyssey/safetensors"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// differ compares our verdict and reading of a file with those of nlpodyssey/safetensors, which knows 13 of the 22 types.
func differ(t *testing.T, b []byte) {
	t.Helper()
	c, err := safetensors.Format.Open(formatstest.OneFile(b), formats.Set{Dir: "", Files: []string{"x"}})
	want, oracle := nlp.Deserialize(b)
	if err != nil {
		if oracle == nil && !tighter(err) && !repeats(b) {
			t.Fatalf("refused with %v, the oracle reads it\n%q", err, b)
		}
		return
	}
	defer c.Close()
	if oracle != nil {
		if !looser(c, oracle) {
			t.Fatalf("accepted, the oracle says %.200v\n%q", oracle, b)
		}
		return
	}
	if want.Len() != len(c.Tensors) {
		t.Fatalf("got %d tensors, the oracle %d", len(c.Tensors), want.Len())
	}
	for _, x := range c.Tensors {
		w, ok := want.Tensor(x.Name)
		if !ok {
			t.Fatalf("the oracle has no tensor %q", x.Name)
		}
		shape := make([]int64, len(w.Shape()))
		for i, d := range w.Shape() {
			shape[i] = int64(d)
		}
		if w.DType().String() != string(x.DType) || !slices.Equal(shape, x.Shape) || !bytes.Equal(w.Data(), formatstest.Bytes(t, c, x.Name)) {
			t.Fatalf("tensor %q: got %s %v, the oracle %s %v, or other bytes", x.Name, x.DType, x.Shape, w.DType(), w.Shape())
		}
	}
}

// tighter reports whether we refuse knowingly what the oracle reads. It takes the header apart with encoding/json, so that it keeps the
// last of two equal names and fields, replaces what is not UTF-8, and takes null for an empty header or empty metadata; it knows no
// limits; and it multiplies the factors of a shape in their order, so that one beyond 63 bits is harmless behind a zero.
func tighter(err error) bool {
	all := true
	for _, e := range formats.Errors(err) {
		switch e.Code {
		case formats.Dup:
			return true // other problems may be of the copy that the oracle dropped
		case formats.UTF8, formats.Limit, formats.Overflow:
		case formats.JSON:
			all = all && strings.Contains(e.Message, "null") || strings.Contains(e.Message, "got 'n', want")
		default:
			all = false
		}
	}
	return all
}

// repeats reports whether a name stands twice in a header that encoding/json reads. We do not call it so if one of the two is no tensor.
func repeats(b []byte) bool {
	d := json.NewDecoder(bytes.NewReader(b[8:]))
	seen, depth := map[string]bool{}, 0
	for {
		tok, err := d.Token()
		if err != nil {
			return false
		}
		switch x := tok.(type) {
		case json.Delim:
			if x == '{' || x == '[' {
				depth++
			} else {
				depth--
			}
		case string:
			if depth == 1 { // all values of that depth are objects, or the oracle had refused them
				if seen[x] {
					return true
				}
				seen[x] = true
			}
		}
	}
}

// looser reports whether we accept knowingly what the oracle refuses: types and fields that it does not know, and shapes with a
// zero that it multiplies in another order.
func looser(c *formats.Checkpoint, oracle error) bool {
	for _, x := range c.Tensors {
		if _, err := nlp.ParseDType(string(x.DType)); err != nil {
			return true
		}
		if slices.Contains(x.Shape, 0) && strings.Contains(oracle.Error(), "multiplication overflow") {
			return true
		}
	}
	return slices.ContainsFunc(c.Notes, func(n formats.Note) bool { return strings.Contains(n.Because, "unknown fields") })
}

// TestIntended pins every difference from the oracle that is meant, on one file each.
func TestIntended(t *testing.T) {
	for _, x := range []struct {
		name   string
		b      []byte
		code   formats.Code // ours, "" is read
		oracle bool         // reads it
	}{
		// We refuse what makes two readers see different things.
		{"name twice", file(`{`+a4+`,"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4), formats.Dup, true},
		{"name twice, of which the first is no tensor", file(`{"a":{},`+a4+`}`, 4), formats.JSON, true},
		{"field twice", file(`{"a":{"dtype":"I32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4), formats.Dup, true},
		{"metadata twice", file(`{"__metadata__":{"a":"1"},"__metadata__":{"b":"2"},`+a4+`}`, 4), formats.Dup, true},
		{"metadata key twice", file(`{"__metadata__":{"k":"1","k":"2"},`+a4+`}`, 4), formats.Dup, true},
		{"name that is not UTF-8", file("{\"a\xff\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4), formats.UTF8, true},
		{"half a surrogate pair", file(`{"\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4), formats.UTF8, true},
		{"header null", file(`null`, 0), formats.JSON, true},
		{"metadata null", file(`{"__metadata__":null}`, 0), formats.JSON, true},
		{"65 dimensions", file(with(`"F32"`, `[1`+strings.Repeat(",1", 64)+`]`, `[0,4]`), 4), formats.Limit, true},
		{"2^63 behind a zero", file(with(`"F32"`, `[0,9223372036854775808]`, `[0,0]`), 0), formats.Overflow, true},
		{"65,537 metadata entries", file(`{"__metadata__":{`+keys(1<<16+1, `""`)+`}}`, 0), formats.Limit, true},
		// We read what the reference reads.
		{"float of 8 bits", file(with(`"F8_E4M3"`, `[4]`, `[0,4]`), 4), "", false},
		{"floats of 4 bits", file(with(`"F4"`, `[8]`, `[0,4]`), 4), "", false},
		{"floats of 6 bits", file(with(`"F6_E2M3"`, `[4]`, `[0,3]`), 3), "", false},
		{"scales of 8 bits", file(with(`"F8_E8M0"`, `[4]`, `[0,4]`), 4), "", false},
		{"complex", file(with(`"C64"`, `[1]`, `[0,8]`), 8), "", false},
		{"unknown field", file(`{"a":{"x":1,"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4), "", false},
		{"zero behind a product of more than 64 bits", file(with(`"F32"`, `[9223372036854775807,4,0]`, `[0,0]`), 0), "", false},
		{"zero behind 2^63-1, size in bytes", file(with(`"F64"`, `[4611686018427387904,4,0]`, `[0,0]`), 0), "", false},
	} {
		_, oracle := nlp.Deserialize(x.b)
		if (oracle == nil) != x.oracle {
			t.Errorf("%s: the oracle says %v", x.name, oracle)
		}
		c, err := safetensors.Format.Open(formatstest.OneFile(x.b), formats.Set{Dir: "", Files: []string{"x"}})
		if formats.CodeOf(err) != x.code {
			t.Errorf("%s: got %v, want %q", x.name, err, x.code)
		}
		if err == nil {
			c.Close()
		}
	}
}

func TestOracle(t *testing.T) {
	for _, x := range corpus.Safetensors().Cases() {
		if x.Size == 0 {
			differ(t, x.Bytes)
		}
	}
}

// known is a sample of types that the oracle has.
func known() formats.Limits {
	l := safetensors.Format.Limits
	l.DTypes = slices.DeleteFunc(slices.Clone(l.DTypes), func(d dtype.Type) bool { _, err := nlp.ParseDType(string(d)); return err != nil })
	return l
}

// TestWrittenByOracle reads what the oracle writes, and has it read what we write.
func TestWrittenByOracle(t *testing.T) {
	n := 0
	for s := range formatstest.Checkpoints(7, known()) {
		if n++; n > 40 {
			break
		}
		s = s.In(safetensors.Format, 1, 0)
		l, err := safetensors.Format.Layout(s.Header)
		if err != nil {
			t.Fatal(err)
		}
		files, err := s.Files(l)
		if err != nil {
			t.Fatal(err)
		}
		b := files["model.safetensors"]
		if _, err := nlp.Deserialize(b); err != nil {
			t.Fatalf("the oracle does not read our file: %v", err)
		}
		differ(t, b)

		// Through the adapter: our tensors, written by the oracle.
		c, err := safetensors.Format.Open(formatstest.OneFile(b), formats.Set{Dir: "", Files: []string{"x"}})
		if err != nil {
			t.Fatal(err)
		}
		views := map[string]*safetensors.View{}
		for _, x := range c.Tensors {
			if views[x.Name], err = safetensors.NewView(c, x.Name); err != nil {
				t.Fatal(err)
			}
		}
		meta := map[string]string{}
		for _, kv := range c.Metadata {
			meta[kv.Key] = kv.Value.(string)
		}
		theirs, err := nlp.Serialize(views, meta)
		if err != nil {
			t.Fatal(err)
		}
		for v := range maps.Values(views) {
			if v.Err() != nil {
				t.Fatal(v.Err())
			}
		}
		back, err := safetensors.Format.Open(formatstest.OneFile(theirs), formats.Set{Dir: "", Files: []string{"x"}})
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range s.Header.Tensors {
			if !bytes.Equal(formatstest.Bytes(t, back, x.Name), s.Data[i]) {
				t.Errorf("tensor %q: other bytes", x.Name)
			}
		}
		differ(t, theirs)
	}
}

// mutants damages headers at random, in ways that often leave them JSON.
func mutants(seed uint64, n int) iter.Seq[[]byte] {
	r := rand.New(rand.NewPCG(seed, 5))
	var seeds [][]byte
	for _, x := range corpus.Safetensors().Cases() {
		if len(x.Bytes) > 8 && len(x.Bytes) < 1000 {
			seeds = append(seeds, x.Bytes)
		}
	}
	bits := []string{`"`, `,`, `{`, `}`, `[`, `]`, `:`, `0`, `4`, `8`, ` `, `\u0061`, `"a"`, `null`, `-`, `1e1`, `[0,4]`, "\xff", "\x00"}
	return func(yield func([]byte) bool) {
		for range n {
			b := bytes.Clone(seeds[r.IntN(len(seeds))])
			for range 1 + r.IntN(3) {
				at := 8 + r.IntN(len(b)-8)
				switch r.IntN(3) {
				case 0:
					b[at] = bits[r.IntN(len(bits))][0]
				case 1:
					b = slices.Insert(b, at, []byte(bits[r.IntN(len(bits))])...)
					b[0] += byte(len(b)) // mostly wrong, sometimes not
				default:
					b = slices.Delete(b, at, at+1)
				}
				if len(b) < 10 {
					break
				}
				if end := bytes.LastIndexByte(b, '}'); end > 8 {
					b[0], b[1] = byte(end-7), byte((end-7)>>8)
				}
			}
			if !yield(b) {
				return
			}
		}
	}
}

func TestMutants(t *testing.T) {
	for b := range mutants(5, 20_000) {
		differ(t, b)
	}
}

func TestViewErrors(t *testing.T) {
	c, err := safetensors.Format.Open(formatstest.OneFile(file(`{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}`, 1)), formats.Set{Dir: "", Files: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := safetensors.NewView(c, "a"); formats.CodeOf(err) != formats.BadDType {
		t.Errorf("got %v, want %s", err, formats.BadDType)
	}
	if _, err := safetensors.NewView(c, "b"); formats.CodeOf(err) != formats.Missing {
		t.Errorf("got %v, want %s", err, formats.Missing)
	}
}

// FuzzHeader is FuzzOpen for inputs whose length is right, with data of the size that makes the most of them whole.
func FuzzHeader(f *testing.F) {
	for _, x := range corpus.Safetensors().Cases() {
		if n := len(x.Bytes) - 8; n > 0 && n < 2000 {
			size := min(int(binary.LittleEndian.Uint64(x.Bytes)), n)
			if size > 0 {
				f.Add(string(x.Bytes[8:8+size]), uint16(n-size))
			}
		}
	}
	f.Fuzz(func(t *testing.T, header string, data uint16) {
		b := file(header, int(data))
		differ(t, b)
		_ = attempt(t, "fuzzed", b)
	})
}

// FuzzOpen: no input panics or is accepted where the oracle refuses it, and what is accepted is written and read again as the same.
func FuzzOpen(f *testing.F) {
	for _, x := range corpus.Safetensors().Cases() {
		if len(x.Bytes) < 2000 {
			f.Add(x.Bytes)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		differ(t, b)
		c, err := safetensors.Format.Open(formatstest.OneFile(b), formats.Set{Dir: "d", Files: []string{"x.safetensors"}})
		if err != nil {
			for _, e := range formats.Errors(err) {
				if e.Offset > int64(len(b)) || e.Code == formats.IO || e.Path == "" {
					t.Fatalf("got %+v", e)
				}
			}
			return
		}
		s := formatstest.Sample{Header: c.Header}
		for _, x := range c.Tensors {
			s.Data = append(s.Data, formatstest.Bytes(t, c, x.Name))
		}
		l, err := safetensors.Format.Layout(c.Header)
		if err != nil {
			t.Fatalf("read, but not written: %v", err)
		}
		files, err := s.Files(l)
		if err != nil {
			t.Fatal(err)
		}
		back, err := safetensors.Format.Open(formatstest.OneFile(files["x.safetensors"]), formats.Set{Dir: "d", Files: []string{"x.safetensors"}})
		if err != nil {
			t.Fatalf("written, but not read: %v", err)
		}
		for i, x := range c.Tensors {
			y := back.Lookup(x.Name)
			if y == nil || y.DType != x.DType || !slices.Equal(y.Shape, x.Shape) || !bytes.Equal(formatstest.Bytes(t, back, x.Name), s.Data[i]) {
				t.Fatalf("tensor %q: written %+v, read %+v", x.Name, x, y)
			}
		}
		for _, kv := range c.Metadata {
			if back.Metadata.Get(kv.Key) != kv.Value {
				t.Fatalf("metadata %q: written %q, read %v", kv.Key, kv.Value, back.Metadata.Get(kv.Key))
			}
		}
	})
}
