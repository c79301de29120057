package convert

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// fileTypes are GGUF's general.file_type by the type of most matrices. Source: llama.h, enum llama_ftype.
var fileTypes = map[dtype.Type]int64{
	dtype.F32: 0, dtype.F16: 1, dtype.Q4_0: 2, dtype.Q4_1: 3, dtype.Q8_0: 7, dtype.Q5_0: 8, dtype.Q5_1: 9, dtype.Q4_K: 15, dtype.Q5_K: 17,
	dtype.Q6_K: 18, dtype.BF16: 32,
}

// torchNames are what config.json calls a type.
var torchNames = map[dtype.Type]string{
	dtype.F64: "float64", dtype.F32: "float32", dtype.F16: "float16", dtype.BF16: "bfloat16", dtype.F8_E4M3: "float8_e4m3fn", dtype.F8_E5M2: "float8_e5m2",
}

// rules choose the type of an item: the type that the user asked for ("" for keep) is a wish.
var rules = map[TypeRule]func(d *draft, it *item, want dtype.Type) (dtype.Type, string){
	Uniform: func(d *draft, it *item, want dtype.Type) (dtype.Type, string) {
		switch {
		case want != "":
			return want, ""
		case d.restores(it):
			return d.matrix, ""
		case d.t.Format.Limits.Allows(it.from):
			return it.from, ""
		}
		return dtype.F32, fmt.Sprintf("%s has no type %s; F32 loses nothing", d.t.Format.Name, it.from)
	},
	// Source: llama.cpp conversion/base.py, prepare_tensors: vectors, norms and what does not end in .weight are F32 for the runtime's sake.
	GGML: func(d *draft, it *item, want dtype.Type) (dtype.Type, string) {
		switch {
		case want == "" && (d.m.Scheme == d.t.Scheme || d.keep):
			return it.from, ""
		case len(it.shape) <= 1 || it.spec != nil && it.spec.Kind.Wide() || strings.HasSuffix(it.name, "_norm.weight") || !d.keep && !strings.HasSuffix(it.name, ".weight"):
			return dtype.F32, ""
		case want == "":
			return it.from, ""
		case it.shape[len(it.shape)-1]%want.BlockElems() != 0:
			return dtype.F16, fmt.Sprintf("rows of %d values are no multiple of the %d in a block of %s", it.shape[len(it.shape)-1], want.BlockElems(), want)
		}
		return want, ""
	},
}

// dtypes chooses the type of each item and casts where it changes. Only floating tensors change.
func (d *draft) dtypes() error {
	want := d.o.requested()
	if want != "" && !want.CanEncode() {
		return formats.Errorf(formats.Usage, "type %s cannot be written", want).Hinted("types that can: %s", strings.Join(Writable(), " "))
	}
	if want != "" && !d.t.Format.Limits.Allows(want) {
		return formats.Errorf(formats.Usage, "%s does not hold type %s", d.t.Name, want)
	}
	d.matrix = d.matrixType()
	var errs []error
	notes := map[string]int{}
	var first = map[string]string{}
	var order []string
	for _, it := range d.items {
		it.to = it.from
		if !it.from.Known() && want != "" {
			errs = append(errs, formats.Errorf(formats.BadDType, "values of type %s cannot be read, so they cannot become %s", it.from, want).In(it.name, "").At(d.m.Path(), -1))
		}
		if !it.from.IsFloat() && !it.from.IsQuantized() {
			continue
		}
		if d.m.Foreign == "" {
			var why string
			if it.to, why = rules[d.t.Types](d, it, want); why != "" {
				if notes[why] == 0 {
					first[why] = it.name
					order = append(order, why)
				}
				notes[why]++
			}
		}
		if it.to == it.from {
			continue
		}
		if !it.from.CanDecode() {
			errs = append(errs, formats.Errorf(formats.BadDType, "values of type %s cannot be read", it.from).In(it.name, "").At(d.m.Path(), -1))
			continue
		}
		it.ops = append(it.ops, Op{Kind: "cast", From: it.from, To: it.to})
	}
	for _, why := range order {
		subject := first[why]
		if n := notes[why]; n > 1 {
			subject = fmt.Sprintf("%s and %d more", subject, n-1)
		}
		d.note(levelNote, subject, "type changed", why)
	}
	return errors.Join(errs...)
}

// Writable lists the types that --dtype takes.
func Writable() []string {
	var out []string
	for _, t := range []dtype.Type{dtype.F32, dtype.F16, dtype.BF16, dtype.Q8_0} {
		if t.CanEncode() {
			out = append(out, strings.ToLower(string(t)))
		}
	}
	return out
}

// matrixType is the stored type that holds most bytes of the matrices.
func (d *draft) matrixType() dtype.Type {
	n := map[dtype.Type]int64{}
	best := dtype.Type("")
	for _, it := range d.items {
		if len(it.shape) < 2 {
			continue
		}
		b, err := formats.TensorBytes(it.from, it.shape)
		if err != nil {
			continue
		}
		n[it.from] += b
		if best == "" || n[it.from] > n[best] {
			best = it.from
		}
	}
	return best
}

// restores reports whether a vector that a GGUF file keeps in F32 for its runtime's sake goes back to the type of the matrices: when the evidence
// shows that every value is exact in it.
func (d *draft) restores(it *item) bool {
	for _, r := range it.runs {
		if !d.ev.Exact[Question{Exact: r.from, In: d.matrix, Shift: d.shift(it.spec)}] {
			return false
		}
	}
	return len(it.runs) > 0
}

// Questions are what New needs to know of the data.
func Questions(m *arch.Model, t Target, o Options) []Question {
	var qs []Question
	if o.Dedup {
		qs = append(qs, Question{Same: true})
	}
	if m.Foreign != "" || m.Family == nil {
		return qs
	}
	for _, g := range Groups(m) {
		qs = append(qs, g.questions(false)...)
	}
	if o.KeepNames || m.Scheme == t.Scheme {
		return qs
	}
	for _, f := range m.Family.Tensors {
		if name := m.Called(f.In(m.Scheme, 0)); f.Kind == arch.Factors && name != "" && m.Lookup(name) != nil {
			qs = append(qs, Question{Factors: f.Role})
		}
	}
	if t.Types != Uniform || o.requested() != "" {
		return qs
	}
	d := &draft{m: m, t: t, o: o}
	for i := range m.Tensors {
		d.items = append(d.items, &item{shape: m.Tensors[i].Shape, from: m.Tensors[i].DType})
	}
	if d.matrix = d.matrixType(); d.matrix != dtype.BF16 && d.matrix != dtype.F16 {
		return qs
	}
	asked := map[string]bool{}
	for k := range m.Family.Tensors {
		spec, layers := &m.Family.Tensors[k], int64(1)
		if spec.PerLayer() {
			layers = m.Config.Layers
		}
		for i := range layers {
			for _, r := range m.Find(spec, i) {
				if t := r.Tensor; t != nil && t.DType == dtype.F32 && (len(t.Shape) < 2 || spec.Kind.Wide()) && !asked[t.Name] {
					asked[t.Name] = true
					qs = append(qs, Question{Exact: t.Name, In: d.matrix, Shift: d.shift(spec)})
				}
			}
		}
	}
	return qs
}
