package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/formats"
)

func hashCmd() *cli.Command {
	return &cli.Command{
		Name:      "hash",
		Usage:     "make a digest of what a model is, whatever its form",
		ArgsUsage: "SRC",
		Description: `The digest is of names, shapes and values in the hub's form, and does not depend on format, naming, stored type, shards, order, ties
or tensors that the config stands for (rope factors and old rotary buffers, whatever they hold): every form that loses nothing has the
same one. With --check the exit code is 1 if it is not the saved one, and what differs is named. Every NaN counts as the same; 0 and -0
do not.

Example:
   bowline hash granite-3b-code/ --json > granite.json
   bowline hash granite.gguf --check granite.json`,
		Flags: reading(
			&cli.StringFlag{Name: "check", Usage: "compare with `FILE`, a saved --json"},
			&cli.StringFlag{Name: "config", Usage: "read `FILE` instead of the config.json beside the weights"},
			&cli.IntFlag{Name: "workers", Usage: "`N` workers (default: one for each processor)"},
			jsonFlag()),
		Action: func(c *cli.Context) error {
			args, err := operands(c, "SRC")
			if err != nil {
				return err
			}
			n, err := workers(c)
			if err != nil {
				return err
			}
			if c.IsSet("check") && c.String("check") == "" {
				return usage("--check needs a file")
			}
			src, err := source(c, args[0])
			if err != nil {
				return err
			}
			report, done := progress(c, "hashed")
			r, err := bowline.Hash(c.Context, src,
				bowline.HashOptions{Check: c.String("check"), Workers: n, Progress: report})
			done()
			if err != nil {
				return err
			}
			notes(c, r.Notes)
			if c.Bool("json") {
				err = printJSON(c.App.Writer, r)
			} else {
				printHash(c, r)
			}
			if r.Check != nil && !r.Check.Equal {
				return reported{formats.Errorf(formats.Differs, "the digest differs")}
			}
			return err
		},
	}
}

func printHash(c *cli.Context, r *bowline.HashReport) {
	w := c.App.Writer
	fmt.Fprintf(w, "%s  %s, %d tensors\n", r.Digest, r.Algorithm, len(r.Tensors))
	if r.Check == nil {
		return
	}
	wrong := 0
	for _, l := range []struct {
		what  string
		names []string
	}{{"differs", r.Check.Differs}, {"missing", r.Check.Missing}, {"new", r.Check.New}} {
		for _, n := range l.names {
			fmt.Fprintf(w, "%s: %s\n", formats.Escape(n, 300), l.what)
		}
		wrong += len(l.names)
	}
	if r.Check.Equal {
		fmt.Fprintf(w, "as in %s\n", formats.Escape(r.Check.Path, 500))
		return
	}
	fmt.Fprintf(w, "%d of %d tensors differ\n", wrong, len(r.Tensors)+len(r.Check.Missing))
}
