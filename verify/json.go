package verify

import (
	"encoding/json"
	"io"
)

// JSON writes the report as `bowline verify --json` prints it.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
