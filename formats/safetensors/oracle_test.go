package safetensors_test

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	nlp "github.com/nlpodyssey/safetensors"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// differ compares our verdict and reading of a file with those of nlpodyssey/safetensors, which knows 13 of the 22 types.
func differ(t *testing.T, b []byte) {
	t.Helper()
	c, err := safetensors.Format.Open(formatstest.OneFile(b), "", []string{"x"}, "")
	want, oracle := nlp.Deserialize(b)
	if err != nil {
		return // we may be stricter
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

func TestOracle(t *testing.T) {
	for _, x := range append(refused(), odd...) {
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
		c, err := safetensors.Format.Open(formatstest.OneFile(b), "", []string{"x"}, "")
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
		back, err := safetensors.Format.Open(formatstest.OneFile(theirs), "", []string{"x"}, "")
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

// TestMutants damages headers at random, in ways that often leave them JSON.
func TestMutants(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	var seeds [][]byte
	for _, x := range append(refused(), odd...) {
		if len(x.Bytes) > 8 && len(x.Bytes) < 1000 {
			seeds = append(seeds, x.Bytes)
		}
	}
	bits := []string{`"`, `,`, `{`, `}`, `[`, `]`, `:`, `0`, `4`, `8`, ` `, `\u0061`, `"a"`, `null`, `-`, `1e1`, `[0,4]`, "\xff", "\x00"}
	for range 20_000 {
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
		differ(t, b)
	}
}

func TestViewErrors(t *testing.T) {
	c, err := safetensors.Format.Open(formatstest.OneFile(file(`{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}`, 1)), "", []string{"x"}, "")
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

// FuzzOpen: no input panics or is accepted where the oracle refuses it, and what is accepted is written and read again as the same.
func FuzzOpen(f *testing.F) {
	for _, x := range append(refused(), odd...) {
		if len(x.Bytes) < 2000 {
			f.Add(x.Bytes)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		differ(t, b)
		c, err := safetensors.Format.Open(formatstest.OneFile(b), "d", []string{"x.safetensors"}, "")
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
		back, err := safetensors.Format.Open(formatstest.OneFile(files["x.safetensors"]), "d", []string{"x.safetensors"}, "")
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
