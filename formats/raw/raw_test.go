package raw_test

import (
	"testing"

	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/raw"
)

func TestConformance(t *testing.T) { formatstest.Run(t, raw.Format) }
