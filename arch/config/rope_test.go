package config_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/bowline-ml/bowline/arch/config"
)

// recorded is testdata/rope.json: what llama.cpp's converter and transformers make of rope parameters.
type recorded struct {
	Divisors []struct {
		HeadDim  int64 `json:"head_dim"`
		Theta    float64
		Factor   float64
		Original int64
		Low      float64
		High     float64
		Bits     []uint32
	}
	Configs []struct {
		Name   string
		Config json.RawMessage
		Rope   struct {
			Theta    float64 `json:"rope_theta"`
			Type     string  `json:"rope_type"`
			Factor   float64
			Low      float64 `json:"low_freq_factor"`
			High     float64 `json:"high_freq_factor"`
			Original int64   `json:"original_max_position_embeddings"`
		}
	}
}

func ropes(t *testing.T) recorded {
	t.Helper()
	b, err := os.ReadFile("testdata/rope.json")
	if err != nil {
		t.Fatal(err)
	}
	var r recorded
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Divisors) < 50 || len(r.Configs) < 15 {
		t.Fatalf("got %d divisors and %d configs: the recording is cut short", len(r.Divisors), len(r.Configs))
	}
	return r
}

// TestDivisors demands llama.cpp's rope_freqs.weight bit for bit, and the parameters back from it.
func TestDivisors(t *testing.T) {
	for _, x := range ropes(t).Divisors {
		r := config.Rope{Type: "llama3", Theta: x.Theta, Factor: x.Factor, Original: x.Original, Low: x.Low, High: x.High}
		got := r.Divisors(x.HeadDim)
		want := make([]float32, len(x.Bits))
		for i, b := range x.Bits {
			want[i] = math.Float32frombits(b)
			if i < len(got) && math.Float32bits(got[i]) != b {
				t.Errorf("%+v: divisor %d: got %v (%08x), want %v (%08x)", r, i, got[i], math.Float32bits(got[i]), want[i], b)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%+v: got %d divisors, want %d", r, len(got), len(want))
		}
		back, ok := config.Llama3(want, x.Theta, x.HeadDim)
		if x.Low != 1 || x.High != 4 {
			continue
		}
		if !ok {
			t.Errorf("%+v, head %d: no parameters found", r, x.HeadDim)
			continue
		}
		for i, d := range back.Divisors(x.HeadDim) {
			if d != want[i] {
				t.Errorf("%+v: the parameters found, %+v, give divisor %d as %v, want %v", r, back, i, d, want[i])
			}
		}
	}
}
