package pytorch_test

import (
	"testing"

	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

func TestConformance(t *testing.T) { formatstest.Run(t, pytorch.Format) }

func TestFaults(t *testing.T) { formatstest.Faults(t, pytorch.Format) }
