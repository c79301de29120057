package verify

import (
	"fmt"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// Class is a kind of reference and how closely a right model agrees with it. A limit of 0 is no limit.
type Class struct {
	Name     string
	Rule     string  // which size or type rule chose this row, "" if the class has one row
	NMSE     float64 // worst row, at most
	Expected float64 // worst row of a right model
	PerLayer bool    // Expected is for one layer
	KLMean   float64 // nats, at most
	KLMax    float64
	Top1     float64 // share of rows, at least; flips within the expected noise are excused
	Top5     float64 // mean overlap of the five best, at least
	Cut      float64 // reference log-probabilities below this are not compared; 0 compares all

	types []dtype.Type // D: judged by this row
	bits  float64      // D: bits a weight of the first type
	under int64        // applies below this many parameters only
	mixes bool         // applies to K-quants only
}

const billion = 1_000_000_000

// classes are measured: the expected column is what right engines and files reach, the limits leave room for wide trained models and
// stay below the mildest real fault. Of rows with one name the first that applies counts. Rows D are in order of bits a weight.
// Q8_0 below a billion parameters: SmolLM2-135M worst row 0.0168, Gemma 3 270M KL 0.0079. Q: llama.cpp rounds activations to 8 bits, 7e-4 at
// 6 layers, 0.018 in Q4_K_M. E: the log-probabilities in the file are steps of 16/65535 above a floor of -16.
var classes = []Class{
	{Name: "S", NMSE: 1e-10, Expected: 1e-11, KLMean: 1e-10, KLMax: 1e-9, Top1: 1, Top5: 1},
	{Name: "A", NMSE: 1e-8, Expected: 1e-9, KLMean: 1e-7, KLMax: 1e-6, Top1: 1, Top5: 0.999},
	{Name: "B", NMSE: 1e-4, Expected: 1e-5, KLMean: 1e-5, KLMax: 1e-3, Top1: 0.995, Top5: 0.98},
	{Name: "C", NMSE: 5e-3, Expected: 1e-4, PerLayer: true, KLMean: 1e-3, KLMax: 0.1, Top1: 0.99, Top5: 0.95},
	{Name: "D", types: []dtype.Type{dtype.Q8_0}, bits: 8.5, under: billion, Rule: "Q8_0 under 1B parameters",
		NMSE: 3e-2, Expected: 1.7e-2, KLMean: 2e-2, KLMax: 0.5, Top1: 0.96, Top5: 0.93},
	{Name: "D", types: []dtype.Type{dtype.Q8_0}, bits: 8.5, Rule: "Q8_0 from 1B parameters",
		NMSE: 1e-2, Expected: 1.5e-3, KLMean: 5e-3, KLMax: 0.5, Top1: 0.96, Top5: 0.93},
	{Name: "D", types: []dtype.Type{dtype.Q6_K}, bits: 6.5625, NMSE: 5e-2, Expected: 1e-2, KLMean: 2e-2, KLMax: 1, Top1: 0.93, Top5: 0.85},
	{Name: "D", types: []dtype.Type{dtype.Q5_K}, bits: 5.5, NMSE: 0.1, Expected: 3.5e-2, KLMean: 4e-2, KLMax: 2, Top1: 0.90},
	{Name: "D", types: []dtype.Type{dtype.Q4_K, "IQ4_NL", "IQ4_XS"}, bits: 4.5, NMSE: 0.3, Expected: 0.12, KLMean: 0.1, Top1: 0.87},
	{Name: "D", types: []dtype.Type{"Q3_K"}, bits: 3.4375, Expected: 0.3, KLMean: 0.3, Top1: 0.75},
	{Name: "D", types: []dtype.Type{"Q2_K"}, bits: 2.625, Expected: 0.7, KLMean: 1, Top1: 0.60},
	{Name: "E", Expected: 1e-3, KLMean: 5e-4 + 1e-7, KLMax: 5e-4 + 1e-6, Top1: 1, Cut: -16},
	{Name: "Q", mixes: true, Rule: "K-quants", NMSE: 5e-2, Expected: 1.8e-2, KLMean: 5e-3, Top1: 0.95},
	{Name: "Q", NMSE: 1e-2, Expected: 7e-4, KLMean: 5e-3, Top1: 0.95},
}

// FindClass finds the row for a name of the command line, S A B C E Q or D:TYPE, for a tested model. A type without a row takes the next
// row of fewer bits a weight, or the last.
func FindClass(name string, test Subject) (Class, error) {
	letter, kind, typed := strings.Cut(strings.ToUpper(name), ":")
	t := quantType(kind)
	if typed != (letter == "D") || typed && !t.IsQuantized() {
		return Class{}, unknownClass(name)
	}
	for i, c := range classes {
		if c.Name != letter || c.under != 0 && (test.Parameters == 0 || test.Parameters >= c.under) || c.mixes && !strings.HasSuffix(string(test.Weights), "_K") {
			continue
		}
		if typed {
			last := i+1 == len(classes) || classes[i+1].Name != letter
			exact := holds(c.types, t)
			if !exact && (hasRow(t) || bits(t) <= c.bits && !last) {
				continue
			}
			c.Name = letter + ":" + string(t)
			if !exact {
				c.Rule = fmt.Sprintf("%s has no limits of its own: those of %s", t, c.types[0])
			}
		}
		if letter == "E" && test.Weights.IsQuantized() { // what quantizing costs, besides the file's own steps
			d, err := FindClass("D:"+string(test.Weights), test)
			if err != nil {
				return Class{}, err
			}
			d.Name, d.Rule, d.NMSE, d.Cut, d.KLMean = "E", "those of "+d.Name+" and the steps of the file", 0, c.Cut, d.KLMean+c.KLMean
			if d.KLMax > 0 {
				d.KLMax += c.KLMax
			}
			return d, nil
		}
		if c.PerLayer {
			c.Expected *= float64(max(1, test.Layers))
		}
		return c, nil
	}
	return Class{}, unknownClass(name)
}

func unknownClass(name string) error {
	return formats.Errorf(formats.Usage, "got class %q, want S, A, B, C, D:TYPE with a quantized type, E or Q", name)
}

// quantType is a type by its name, or the type that a mix such as Q4_K_M is named after.
func quantType(name string) dtype.Type {
	if t := dtype.Type(name); t.Known() || len(name) < 2 {
		return t
	}
	return dtype.Type(strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_S"), "_M"), "_L"))
}

func bits(t dtype.Type) float64 { return 8 * float64(t.BlockBytes()) / float64(t.BlockElems()) }

func holds(types []dtype.Type, t dtype.Type) bool {
	for _, u := range types {
		if u == t {
			return true
		}
	}
	return false
}

func hasRow(t dtype.Type) bool {
	for _, c := range classes {
		if holds(c.types, t) {
			return true
		}
	}
	return false
}

// Infer names the class of a comparison and says why. identical says that the logits should be equal to the bit: the tested file
// holds the very values of the reference checkpoint.
func Infer(ref, test Subject) (class, because string, identical bool) {
	w := test.Weights
	if ref.Schema == KLDSchema {
		return "E", "log-probabilities in 16 bits", false
	}
	known := ref.Weights != "" && (ref.Kind == Checkpoint || ref.Engine == engine)
	switch {
	case known && w.Holds(ref.Weights):
		return "A", fmt.Sprintf("%s holds every value of %s", w, ref.Weights), ref.Kind == Checkpoint
	case w.IsQuantized() && !known && strings.EqualFold(ref.DType, string(w)):
		return "Q", fmt.Sprintf("the reference was run on %s weights", w), false
	case w.IsQuantized():
		return "D:" + string(w), fmt.Sprintf("most weights are %s", w), false
	case known && w == dtype.F16:
		return "B", fmt.Sprintf("F16 copy of %s", ref.Weights), false
	case known && w == dtype.BF16:
		return "C", fmt.Sprintf("BF16 copy of %s", ref.Weights), false
	case known:
		return "A", fmt.Sprintf("%s copy of %s", w, ref.Weights), false
	}
	for _, r := range references {
		if r.is(ref) {
			return r.class, r.because, false
		}
	}
	return "A", "reference logits in float32", false
}

// references are what tells the class of reference logits, first match first.
var references = []struct {
	is             func(Subject) bool
	class, because string
}{
	{func(r Subject) bool { return computedIn(r, "bf16", "bfloat16") || r.Stored == dtype.BF16 }, "C", "the reference was computed or stored in bfloat16"},
	{func(r Subject) bool { return computedIn(r, "f16", "fp16", "float16", "half") || r.Stored == dtype.F16 }, "B", "the reference was computed or stored in float16"},
	{func(r Subject) bool {
		return strings.Contains(strings.ToLower(r.Engine), "llama.cpp") && r.Attention == ""
	}, "B",
		"llama.cpp keeps keys and values in float16 unless told otherwise, and attn_implementation does not say"},
}

func computedIn(r Subject, names ...string) bool {
	d := strings.TrimPrefix(strings.ToLower(r.DType), "torch.")
	for _, n := range names {
		if d == n {
			return true
		}
	}
	return false
}
