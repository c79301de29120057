package arch

import (
	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// T5 is T5ForConditionalGeneration and MT5ForConditionalGeneration, as far as their embedding goes: encoder and decoder always look up the
// shared one, and the head is the same matrix if the flag says so. All else is carried as it is.
// Sources: transformers models/t5 and models/mt5 (configuration_*.py, modeling_*.py: _tied_weights_keys, set_input_embeddings).
var T5 = Family{
	Name:    "t5",
	Classes: []string{"T5ForConditionalGeneration", "MT5ForConditionalGeneration"},
	Types:   map[string]string{"t5": "T5ForConditionalGeneration", "mt5": "MT5ForConditionalGeneration"},
	Params: func(string) []config.Param {
		return []config.Param{required(integer("d_model", "", hidden, 0)), required(integer("vocab_size", "", vocab, 0)), required(integer("num_layers", "", layers, 0))}
	},
	Layouts: map[Scheme]Layout{HF: {}},
	Tensors: []Tensor{
		{Role: "token_embd.weight", Kind: Embedding, Shape: []Dim{Vocab, Hidden}, Name: map[Scheme]string{HF: "shared.weight"}},
		{Role: "enc.token_embd.weight", Kind: Embedding, Shape: []Dim{Vocab, Hidden}, Name: map[Scheme]string{HF: "encoder.embed_tokens.weight"}},
		{Role: "dec.token_embd.weight", Kind: Embedding, Shape: []Dim{Vocab, Hidden}, Name: map[Scheme]string{HF: "decoder.embed_tokens.weight"}},
		{Role: "output.weight", Kind: Head, Shape: []Dim{Vocab, Hidden}, Name: map[Scheme]string{HF: "lm_head.weight"}},
	},
	Ties: []Tie{{
		ID: "shared", Source: "token_embd.weight", Targets: []string{"output.weight", "enc.token_embd.weight", "dec.token_embd.weight"},
		Flag: "tie_word_embeddings", Default: map[int]bool{4: true, 5: true}, Slot: Optional,
	}},
	Open:  true,
	Check: tiesAlone,
}

// Bert is BertForMaskedLM and BertForPreTraining, as far as the head of their language model goes: its matrix is the embedding, and its bias is
// stored twice over in old files. All else is carried as it is.
// Source: transformers models/bert/modeling_bert.py, BertLMPredictionHead.
var Bert = Family{
	Name:    "bert",
	Classes: []string{"BertForMaskedLM", "BertForPreTraining"},
	Types:   map[string]string{},
	Params: func(string) []config.Param {
		return []config.Param{required(integer("hidden_size", "", hidden, 0)), required(integer("vocab_size", "", vocab, 0)), required(integer("num_hidden_layers", "", layers, 0))}
	},
	Layouts: map[Scheme]Layout{HF: {}},
	Tensors: []Tensor{
		{Role: "token_embd.weight", Kind: Embedding, Shape: []Dim{Vocab, Hidden}, Name: map[Scheme]string{HF: "bert.embeddings.word_embeddings.weight"}},
		{Role: "output.weight", Kind: Head, Shape: []Dim{Vocab, Hidden}, Name: map[Scheme]string{HF: "cls.predictions.decoder.weight"}},
		{Role: "cls.bias", Kind: Bias, Shape: []Dim{Vocab}, Name: map[Scheme]string{HF: "cls.predictions.bias"}},
		{Role: "output.bias", Kind: Bias, Shape: []Dim{Vocab}, Name: map[Scheme]string{HF: "cls.predictions.decoder.bias"}},
	},
	Ties: []Tie{
		{ID: "decoder.weight", Source: "token_embd.weight", Targets: []string{"output.weight"}, Flag: "tie_word_embeddings", Default: map[int]bool{4: true, 5: true}, Slot: Optional},
		{ID: "decoder.bias", Source: "cls.bias", Targets: []string{"output.bias"}, Flag: "tie_word_embeddings", Default: map[int]bool{4: true, 5: true}, Slot: Optional},
	},
	Open:  true,
	Check: tiesAlone,
}

// tiesAlone refuses every scheme but the hub's for a table of ties.
func tiesAlone(_ *config.Model, s Scheme) error {
	if s == HF {
		return nil
	}
	return formats.Errorf(formats.Unsupported, "of this family only the ties are known, not how its tensors are called in other programs").Hinted("--names keep")
}
