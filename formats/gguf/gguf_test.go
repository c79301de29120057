package gguf_test

import (
	"testing"

	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/gguf"
)

func TestConformance(t *testing.T) { formatstest.Run(t, gguf.Format) }
