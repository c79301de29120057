package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/formats"
)

func diffCmd() *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "compare weights with weights, across formats, names, shards and ties",
		ArgsUsage: "A B",
		Description: `Compares every tensor after undoing names, permutations, fusing, sharding and ties. Each one that differs is named, with
how it differs and, where one is found, the transform that makes B of A. The exit code is 1 if the two differ by more than the tolerance:
exact (the same values), cast (equal after rounding to the narrower type), or a type: B is A quantized to it, or within 3 dB of the noise
that the type is expected to add. 0 and -0 are the same value.

Example:
   bowline diff granite-3b-code/ granite-q8_0.gguf --tolerance q8_0`,
		Flags: reading(
			&cli.StringFlag{Name: "tolerance", Value: "exact", Usage: "`exact`, cast or a type"},
			&cli.IntFlag{Name: "workers", Usage: "`N` workers (default: one for each processor)"},
			jsonFlag()),
		Action: func(c *cli.Context) error {
			args, err := operands(c, "A", "B")
			if err != nil {
				return err
			}
			n, err := workers(c)
			if err != nil {
				return err
			}
			a, err := source(c, args[0])
			if err != nil {
				return err
			}
			b := a
			b.Path = args[1]
			report, done := progress(c, "compared")
			r, err := bowline.Diff(c.Context, a, b,
				bowline.DiffOptions{Tolerance: c.String("tolerance"), Workers: n, Progress: report})
			done()
			if err != nil {
				return err
			}
			notes(c, r.Notes)
			if c.Bool("json") {
				err = printJSON(c.App.Writer, r)
			} else {
				printDiff(c.App.Writer, r)
			}
			if !r.Equal {
				return reported{formats.Errorf(formats.Differs, "they differ")}
			}
			return err
		},
	}
}

// workers is the value of --workers, 0 if it is not given.
func workers(c *cli.Context) (int, error) {
	n := c.Int("workers")
	if n < 0 || c.IsSet("workers") && n == 0 {
		return 0, usage("--workers takes a positive number, got %d", n)
	}
	return n, nil
}

func printDiff(w io.Writer, r *bowline.DiffReport) {
	accepted := 0
	for _, t := range r.Tensors {
		if t.OK {
			if t.Differing > 0 {
				accepted++
			}
			continue
		}
		s := fmt.Sprintf("%s: ", formats.Escape(t.Name, 300))
		switch {
		case t.Differing == 0:
			s += fmt.Sprintf("shape %v, %v", t.ShapeA, t.ShapeB)
		default:
			n, _ := formats.Elems(t.ShapeA)
			if t.Differing > n { // of a type that nobody can read
				s += fmt.Sprintf("%s in %s bytes", t.Verdict, count(t.Differing))
				break
			}
			s += fmt.Sprintf("%s, %s of %s values, by up to %s", t.Verdict, count(t.Differing), count(n), t.MaxAbs)
		}
		if t.DTypeA != t.DTypeB {
			s += fmt.Sprintf(", %s to %s", t.DTypeA, t.DTypeB)
		}
		if t.Transform != nil {
			s += ": " + formats.Escape(*t.Transform, 400)
		}
		fmt.Fprintln(w, s)
	}
	for _, side := range []struct {
		what  string
		names []string
	}{{"A", r.OnlyA}, {"B", r.OnlyB}} {
		for _, n := range side.names {
			fmt.Fprintf(w, "%s: only in %s\n", formats.Escape(n, 300), side.what)
		}
	}
	n, total := r.Differing()
	switch {
	case n > 0:
		fmt.Fprintf(w, "%d of %d tensors differ\n", n, total)
	case accepted > 0:
		fmt.Fprintf(w, "equal: %d tensors, %d of them within %s\n", total, accepted, r.Tolerance)
	default:
		fmt.Fprintf(w, "equal: %d tensors\n", total)
	}
}
