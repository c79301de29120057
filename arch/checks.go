package arch

import (
	"errors"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// What tables refuse, and what they warn of, where several do.

// decodes refuses keys that nobody here reads, and what no gated decoder is: another activation, heads that do not divide.
func decodes(m *config.Model, activation string) error {
	var errs []error
	for _, kv := range m.Unread {
		errs = append(errs, formats.Errorf(formats.Unsupported, "got %v: the key changes what is computed, and this tool does not know how", kv.Value).In("", kv.Key))
	}
	if m.Act != activation {
		errs = append(errs, formats.Errorf(formats.Unsupported, "got activation %q, want %s", m.Act, activation).In("", "hidden_act"))
	}
	if m.HeadDim%2 != 0 || m.HeadDim == 0 || m.Heads == 0 || m.KVHeads == 0 || m.Heads%m.KVHeads != 0 {
		errs = append(errs, formats.Errorf(formats.BadShape, "got %d heads, %d key heads, head dimension %d; want heads a multiple of key heads and an even dimension",
			m.Heads, m.KVHeads, m.HeadDim).In("", "num_attention_heads"))
	}
	return errors.Join(errs...)
}

// unwindowed is the Caveats of families whose windows neither a GGUF architecture nor TorchChat has.
func unwindowed(architecture string) func(*config.Model, Scheme) []Caveat {
	return func(m *config.Model, s Scheme) []Caveat {
		without := map[Scheme]string{GGUF: "the GGUF architecture " + architecture, TorchChat: "TorchChat"}[s]
		if without == "" || m.SlidingWindow == 0 || m.SlidingWindow >= m.MaxPos {
			return nil
		}
		return []Caveat{{Upto: m.SlidingWindow, Note: formats.Note{Subject: "sliding_window", Decision: "not carried", Warn: true,
			Because: without + " has no sliding window: beyond " + itoa(m.SlidingWindow) + " tokens the result attends to more than the source does"}}}
	}
}

// llamaless refuses what the GGUF architectures of other decoders lack where llama's has it: the divisors of rope type llama3, which llama.cpp
// reads and writes for a few architectures alone; and TorchChat, whose models are Llama and Granite.
func llamaless(m *config.Model, s Scheme) error {
	switch {
	case s == TorchChat || s == Meta:
		return formats.Errorf(formats.Unsupported, "got %s: no model of TorchChat's is one", m.Architecture).In("", "architectures")
	case s == GGUF && m.Rope.Type == "llama3":
		return formats.Errorf(formats.Unsupported, "got rope type llama3: the GGUF architecture has no divisors").In("", "rope_scaling")
	}
	return nil
}

// square refuses for GGUF heads that do not make up the model's width: llama.cpp's loader takes the one for the other in some architectures.
func square(m *config.Model, s Scheme) error {
	if s != GGUF || m.HeadDim*m.Heads == m.Hidden {
		return nil
	}
	return formats.Errorf(formats.Unsupported, "got %d for %d heads of a width of %d: llama.cpp wants %d / %d here", m.HeadDim, m.Heads, m.Hidden, m.Hidden, max(m.Heads, 1)).In("", "head_dim")
}

// torchChat refuses what TransformerArgs cannot say. Source: TorchChat torchchat/model.py, TransformerArgs and Attention: the head dimension is
// dim / n_heads always, and wo is a square.
func torchChat(m *config.Model) error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, formats.Errorf(formats.Unsupported, format, args...).In("", key))
	}
	if m.HeadDim*m.Heads != m.Hidden {
		bad("head_dim", "got %d for %d heads of a width of %d: TorchChat computes with %d / %d", m.HeadDim, m.Heads, m.Hidden, m.Hidden, max(m.Heads, 1))
	}
	if m.Rope.Type != "default" && m.Rope.Type != "llama3" {
		bad("rope_scaling", "got rope type %q: TorchChat has default and llama3", m.Rope.Type)
	}
	return errors.Join(errs...)
}

func attnBias(m *config.Model) bool { return m.AttnBias }

func mlpBias(m *config.Model) bool { return m.MLPBias }
