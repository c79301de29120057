package bowline

import (
	"context"
	"errors"
	"runtime"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/diff"
	"github.com/bowline-ml/bowline/formats"
)

// DiffOptions are the choices of a comparison.
type DiffOptions struct {
	Tolerance string // "" or exact, cast, or a type
	Workers   int
	Progress  func(done, total int64) // bytes of A; called from several goroutines
}

// DiffReport is how the weights of two checkpoints compare.
type DiffReport struct {
	Schema    string `json:"schema"`
	Tolerance string `json:"tolerance"`
	A         string `json:"a"`
	B         string `json:"b"`
	*diff.Report
}

// Diff compares weights with weights across formats, names, layouts, shards and ties. A difference is no error: the report says that the two are not
// equal.
func Diff(ctx context.Context, a, b Source, o DiffOptions) (*DiffReport, error) {
	tol, err := diff.ParseTolerance(o.Tolerance)
	if err != nil {
		return nil, err
	}
	r := &DiffReport{Schema: "bowline.diff/1", Tolerance: tol.String(), A: a.Path, B: b.Path}
	err = withModel(a, func(x *arch.Model) error {
		return withModel(b, func(y *arch.Model) (err error) {
			if err := errors.Join(judgeable(x), judgeable(y)); err != nil {
				return err
			}
			if r.Report, err = diff.Compare(ctx, x, y, diff.Options{Tolerance: tol, Workers: workers(o.Workers), Progress: o.Progress}); err != nil {
				return err
			}
			r.Notes = append(append(append([]formats.Note{}, x.Notes...), y.Notes...), r.Notes...)
			return errors.Join(checked(ctx, x), checked(ctx, y))
		})
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// judgeable refuses a checkpoint of which nothing can be said: nothing compared is no agreement.
func judgeable(m *arch.Model) error {
	if len(m.Tensors) == 0 {
		return formats.Errorf(formats.Missing, "the checkpoint holds no tensors").At(m.Path(), -1)
	}
	return m.Stated()
}

// checked compares the checksums that a file states with what was read of it.
func checked(ctx context.Context, m *arch.Model) error {
	return formats.At(m.Check(ctx), m.Path())
}

// workers is how many to run: one for each processor if nobody says.
func workers(n int) int {
	if n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}
