package formats

import "errors"

// maxProblems is how many problems of one checkpoint are told in full.
const maxProblems = 20

// Problems collects what is wrong with a header, so that all of it is reported at once.
type Problems struct {
	list []error
	rest int
}

// Add keeps a problem, or counts it.
func (p *Problems) Add(e *Error) {
	if !p.Full() {
		p.list = append(p.list, e)
	}
}

// Full counts a problem that is not told any more. Asked before an error is made, it keeps a million problems cheap.
func (p *Problems) Full() bool {
	if len(p.list) < maxProblems {
		return false
	}
	p.rest++
	return true
}

// Err is all problems joined, nil if nothing is wrong. path is that of the checkpoint.
func (p *Problems) Err(path string) error {
	if len(p.list) == 0 {
		return nil
	}
	list := p.list
	if p.rest > 0 {
		last := Errors(list[len(list)-1])[0]
		list = append(list[:len(list):len(list)], Errorf(last.Code, "and %d more problems", p.rest).At(path, -1))
	}
	return errors.Join(list...)
}
