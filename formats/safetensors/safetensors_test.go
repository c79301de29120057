package safetensors_test

import (
	"testing"

	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

func TestConformance(t *testing.T) { formatstest.Run(t, safetensors.Format) }

func TestFaults(t *testing.T) { formatstest.Faults(t, safetensors.Format) }
