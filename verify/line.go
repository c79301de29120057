package verify

import "strings"

// Line is the verdict in one line.
func (r *Report) Line() string {
	var b strings.Builder
	r.Text(&b) // a Builder does not fail
	line, _, _ := strings.Cut(b.String(), "\n")
	return line
}
