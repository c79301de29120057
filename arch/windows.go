package arch

import (
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
)

// every is which layers see a window alone: all but each n-th, all for 0.
func every(n, layers int64) []bool {
	out := make([]bool, layers)
	for i := range out {
		out[i] = n == 0 || (int64(i)+1)%n != 0
	}
	return out
}

// slide sets the windows of the layers.
func slide(m *config.Model, window int64, slides []bool) {
	if m.SlidingWindow, m.LayerWindows = window, nil; !slices.Contains(slides, true) {
		m.SlidingWindow = 0
	} else if slices.Contains(slides, false) {
		m.LayerWindows = slides
	}
}

// step is which n makes every(n) of what layers see, the usual one if it does; 0 if none does.
func step(of []bool, usual int64) int64 {
	for _, n := range []int64{usual, int64(slices.Index(of, false)) + 1} {
		if n > 0 && slices.Equal(of, every(n, int64(len(of)))) {
			return n
		}
	}
	return 0
}

// alternating is the windows of an architecture of which each pattern-th layer has none, if layer_types does not say otherwise. key is what states
// another pattern in config.json, "" if nothing does. llama.cpp's converter writes no pattern, and its loader takes the architecture's: it is written
// where it is another. Sources: transformers configuration_gemma2.py, configuration_gemma3.py; llama.cpp src/llama-model.cpp, load_swa_pattern, and
// src/llama-hparams.cpp, set_swa_pattern.
func alternating(pattern int64, key string) config.Param {
	const windowKey, patternKey, most = "attention.sliding_window", "attention.sliding_window_pattern", 100_000
	return config.Param{Custom: &config.Custom{
		FromHF: func(d *config.Doc, m *config.Model) error {
			window, stated, err := d.Int("sliding_window")
			types, err2 := d.Strs("layer_types")
			n, err3 := pattern, error(nil)
			if key != "" {
				if v, ok, err := d.Int(key); ok {
					n, err3 = v, err
				}
			}
			if err := errors.Join(err, err2, err3); err != nil || m.Layers > most {
				return err
			}
			if !stated && !d.Null("sliding_window") {
				window = 4096
			}
			bad := func(code formats.Code, field, format string, args ...any) error {
				return formats.Errorf(code, format, args...).At(d.Path, -1).In("", field)
			}
			switch {
			case window < 0 || window > math.MaxInt32:
				return bad(formats.Bounds, "sliding_window", "got %d, want 0 to %d", window, math.MaxInt32)
			case n <= 0:
				return bad(formats.Bounds, key, "got %d, want a positive number", n)
			case types != nil && int64(len(types)) != m.Layers:
				return bad(formats.Mismatch, "layer_types", "got %d types for %d layers", len(types), m.Layers)
			}
			of := every(n, m.Layers)
			for i, t := range types {
				if of[i] = t == "sliding_attention"; !of[i] && t != "full_attention" {
					return bad(formats.Unsupported, "layer_types", "got %q, want full_attention or sliding_attention", formats.Escape(t, 80))
				}
			}
			if m.LayerTypes = types; window == 0 && slices.Contains(of, true) {
				return bad(formats.Mismatch, "sliding_window", "got none, and layer %d has a window", slices.Index(of, true))
			}
			slide(m, window, of)
			return nil
		},
		ToHF: func(m *config.Model) map[string]string {
			out, of := map[string]string{}, m.Windows()
			if m.SlidingWindow > 0 {
				out["sliding_window"] = itoa(m.SlidingWindow)
			}
			switch n := step(of, pattern); {
			case key != "" && n > 0:
				out[key] = itoa(n)
			case n != pattern:
				var names []string
				for _, s := range of {
					names = append(names, map[bool]string{true: `"sliding_attention"`, false: `"full_attention"`}[s])
				}
				out["layer_types"] = "[" + strings.Join(names, ", ") + "]"
			}
			return out
		},
		FromGGUF: func(h *formats.Header, arch string, m *config.Model) error {
			window, stated, err := h.Metadata.Int(arch + "." + windowKey)
			if err != nil || m.Layers > most {
				return err
			}
			switch {
			case !stated && key == "": // the loader of Gemma 2
				window = 4096
			case window < 0 || window > math.MaxInt32 || window == 0 && key == "":
				return formats.Errorf(formats.Bounds, "got %d", window).In("", arch+"."+windowKey)
			}
			of := every(pattern, m.Layers)
			switch v := h.Metadata.Get(arch + "." + patternKey).(type) {
			case nil:
			case []bool:
				if of = v; int64(len(v)) != m.Layers {
					return formats.Errorf(formats.Mismatch, "got %d values for %d layers", len(v), m.Layers).In("", arch+"."+patternKey)
				}
			default:
				n, _, err := h.Metadata.Int(arch + "." + patternKey)
				if err != nil || n < 0 {
					return formats.Errorf(formats.BadType, "got %v, want a list of bools or a number", v).In("", arch+"."+patternKey)
				}
				of = every(n, m.Layers)
			}
			if window == 0 {
				of = nil
			}
			slide(m, window, of)
			return nil
		},
		ToGGUF: func(m *config.Model, arch string) []formats.KV {
			var out []formats.KV
			of := m.Windows()
			if m.SlidingWindow > 0 {
				out = append(out, formats.KV{Key: arch + "." + windowKey, Value: uint32(m.SlidingWindow)})
			}
			if !slices.Equal(of, every(pattern, m.Layers)) && (m.SlidingWindow > 0 || key == "") {
				out = append(out, formats.KV{Key: arch + "." + patternKey, Value: of})
			}
			return out
		},
		Keys: []string{windowKey, patternKey},
	}}
}
