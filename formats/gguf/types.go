package gguf

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
)

// types maps the ids of ggml.h (enum ggml_type) to element types; an empty name is an id that was removed.
var types = []dtype.Type{
	0: dtype.F32, 1: dtype.F16, 2: dtype.Q4_0, 3: dtype.Q4_1, 6: dtype.Q5_0, 7: dtype.Q5_1, 8: dtype.Q8_0, 9: dtype.Q8_1,
	10: dtype.Q2_K, 11: dtype.Q3_K, 12: dtype.Q4_K, 13: dtype.Q5_K, 14: dtype.Q6_K, 15: dtype.Q8_K,
	16: dtype.IQ2_XXS, 17: dtype.IQ2_XS, 18: dtype.IQ3_XXS, 19: dtype.IQ1_S, 20: dtype.IQ4_NL, 21: dtype.IQ3_S, 22: dtype.IQ2_S, 23: dtype.IQ4_XS,
	24: dtype.I8, 25: dtype.I16, 26: dtype.I32, 27: dtype.I64, 28: dtype.F64, 29: dtype.IQ1_M, 30: dtype.BF16,
	34: dtype.TQ1_0, 35: dtype.TQ2_0, 39: dtype.MXFP4, 40: dtype.NVFP4, 41: dtype.Q1_0, 42: dtype.Q2_0,
}

// removed names the ids that ggml.h keeps commented out.
var removed = map[uint32]string{
	4: "Q4_2", 5: "Q4_3", 31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8", 36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8",
}

// private names ids that ik_llama.cpp gave to types of its own (its ggml.h); 36 is also a removed id of mainline.
var private = map[uint32]string{
	36: "I2_S", 97: "Q8_x_X4", 98: "Q8_x_X4", 99: "Q8_x_X4", 133: "Q6_0", 134: "IQ1_BN", 135: "IQ2_BN", 137: "IQ2_K", 138: "IQ3_K",
	139: "IQ4_K", 140: "IQ5_K", 141: "IQ6_K", 144: "IQ4_KS", 145: "IQ2_KS", 146: "IQ4_KSS", 152: "IQ5_KS", 153: "IQ2_KT",
	154: "IQ3_KT", 155: "IQ4_KT", 156: "IQ3_KS", 157: "IQ2_KL", 158: "IQ1_KT",
}

// privatePrefix starts the dtype name of a tensor whose type id is in no table: "GGML_152". Such tensors are listed and copied
// between GGUF files; nothing knows their values.
const privatePrefix = "GGML_"

// all lists the types of the table in the order of their ids.
func all() []dtype.Type {
	var out []dtype.Type
	for _, t := range types {
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}

// typeOf gives the element type of an id. The type of an id beyond the table is not Known.
func typeOf(id uint32) (dtype.Type, *formats.Error) {
	if name, ok := removed[id]; ok {
		e := formats.Errorf(formats.BadDType, "type %d (%s) was removed from GGUF", id, name)
		if p := private[id]; p != "" {
			e = e.Hinted("ik_llama.cpp calls it %s", p)
		}
		return "", e
	}
	if id > math.MaxInt32 {
		return "", formats.Errorf(formats.BadDType, "got type %d, want an id from 0 to %d", int32(id), len(types)-1)
	}
	if int(id) < len(types) {
		return types[id], nil
	}
	return dtype.Type(fmt.Sprintf("%s%d", privatePrefix, id)), nil
}

// idOf is the reverse of typeOf.
func idOf(t dtype.Type) (uint32, bool) {
	for id, d := range types {
		if d == t && d != "" {
			return uint32(id), true
		}
	}
	if s, ok := strings.CutPrefix(string(t), privatePrefix); ok {
		id, err := strconv.ParseUint(s, 10, 31)
		if err == nil && id >= uint64(len(types)) && strconv.FormatUint(id, 10) == s {
			return uint32(id), true
		}
	}
	return 0, false
}

// privateNote says what is known about a type id beyond the table.
func privateNote(id uint32, tensor string) formats.Note {
	because := fmt.Sprintf("type %d is unknown to GGUF mainline", id)
	switch name := private[id]; {
	case name != "":
		because += "; ik_llama.cpp calls it " + name
	case id >= 202 && id <= 399:
		because += "; ik_llama.cpp numbers its row-interleaved types from 202 to 399"
	}
	return formats.Note{Subject: tensor, Decision: fmt.Sprintf("listed as %s%d, sized by the offsets; its values cannot be read", privatePrefix, id),
		Because: because, Warn: true}
}
