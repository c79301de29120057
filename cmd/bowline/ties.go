package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
)

func tiesCmd() *cli.Command {
	return &cli.Command{
		Name:      "ties",
		Usage:     "judge how the embeddings are tied, and gate CI on it",
		ArgsUsage: "SRC",
		Description: `Compares what the checkpoint declares with what it holds: the verdict, the distance of the two matrices where both are
stored, and whether everything agrees. With --require the exit code is 1 if the verdict is outside the set.

Example:
   bowline ties granite-3b-code/ --require consistent`,
		Flags: reading(
			&cli.StringFlag{Name: "require", Usage: "`V`: tied, untied or consistent"},
			&cli.StringFlag{Name: "config", Usage: "read `FILE` instead of the config.json beside the weights"},
			&cli.BoolFlag{Name: "digest", Usage: "add the SHA-256 of matrices that are compared, which takes longer than comparing them"},
			jsonFlag()),
		Action: func(c *cli.Context) error {
			args, err := operands(c, "SRC")
			if err != nil {
				return err
			}
			if c.IsSet("require") {
				if err := oneOf(c, "require", "tied", "untied", "consistent"); err != nil {
					return err
				}
			}
			src, err := source(c, args[0])
			if err != nil {
				return err
			}
			r, err := bowline.Ties(c.Context, src, bowline.TiesOptions{Digest: c.Bool("digest")})
			if err != nil {
				return err
			}
			notes(c, r.Notes)
			failed := r.Require(c.String("require"), args[0])
			if c.Bool("json") {
				err = printJSON(c.App.Writer, r)
			} else {
				printTies(c, r)
			}
			if failed != nil {
				fmt.Fprintf(c.App.ErrWriter, "bowline: %s\n", failed)
				return reported{failed}
			}
			return err
		},
	}
}

func printTies(c *cli.Context, r *bowline.TiesReport) {
	w := c.App.Writer
	for _, g := range r.Groups {
		fmt.Fprintf(w, "%-12s %s\n", g.ID, g.Verdict)
		var said []string
		for _, d := range g.Declared {
			said = append(said, formats.Escape(fmt.Sprintf("%s: %v", d.Path, d.Value), 400))
		}
		if len(said) == 0 {
			said = append(said, "nothing explicit")
			if g.ClassDefault != nil {
				said = append(said, fmt.Sprintf("default %v (%s)", g.ClassDefault.Value, formats.Escape(g.ClassDefault.Basis, 400)))
			}
		}
		fmt.Fprintf(w, "  declared   %s\n", strings.Join(said, ", "))
		for _, k := range append([]string{g.SourceKey}, g.TargetKeys...) {
			if p := g.Present[k]; p != nil {
				fmt.Fprintf(w, "  stored     %s %s %v in %s\n", formats.Escape(k, 200), p.DType, p.Shape, formats.Escape(p.File, 200))
			} else {
				fmt.Fprintf(w, "  absent     %s\n", formats.Escape(k, 200))
			}
		}
		if s := g.Describe(); s != "" {
			fmt.Fprintf(w, "  values     %s: %s\n", *g.ValueRelation, formats.Escape(s, 2000))
		} else if g.ValueRelation != nil {
			fmt.Fprintf(w, "  values     %s\n", *g.ValueRelation)
		}
		for _, k := range append([]string{g.SourceKey}, g.TargetKeys...) {
			if d := g.Digest[k]; d != "" {
				fmt.Fprintf(w, "  sha256     %s %s\n", d, formats.Escape(k, 200))
			}
		}
		if len(g.Flags) > 0 {
			fmt.Fprintf(w, "  flags      %s\n", strings.Join(g.Flags, ", "))
		}
		fmt.Fprintf(w, "  convert    %s\n", g.Action)
	}
	if len(r.Groups) > 0 {
		fmt.Fprintln(w, "read as")
		for _, p := range r.Reads.Each() {
			fmt.Fprintf(w, "  %-13s  %s\n", p.Name, readings[p.Reading])
		}
		for _, g := range r.Groups {
			for _, n := range g.Notes {
				fmt.Fprintf(w, "  note: %s\n", formats.Escape(n, 2000))
			}
		}
	}
	state := "consistent"
	if !r.Consistent {
		state = "not consistent"
	}
	if r.Why != "" {
		state += ": " + formats.Escape(r.Why, 2000)
	}
	fmt.Fprintln(w, state)
}

// readings says each reading in words.
var readings = map[convert.Reading]string{
	convert.ReadTied:   "tied: the embedding is the head",
	convert.ReadUntied: "untied: the stored head is the head",
	convert.ReadRandom: "random: a matrix that is not stored is made up",
	convert.ReadFails:  "fails",
	"":                 "not known to read it",
}
