package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/formats"
)

func demoCmd() *cli.Command {
	return &cli.Command{
		Name:      "demo",
		Usage:     "convert, tie, untie and verify a tiny model that the tool carries",
		ArgsUsage: "[DIR]",
		Description: `Unpacks a tiny Granite Code checkpoint that transformers wrote, converts it to every format, unties and ties it, and verifies
each result against logits that transformers computed. The files are kept when DIR is given.

Example:
   bowline demo /tmp/bowline-demo`,
		Flags: common(jsonFlag()),
		Action: func(c *cli.Context) error {
			var dir string
			if c.NArg() == 0 {
				if _, err := operands(c); err != nil {
					return err
				}
				tmp, err := os.MkdirTemp("", "bowline-demo-")
				if err != nil {
					return formats.OutputError("make a directory in", os.TempDir(), err)
				}
				defer os.RemoveAll(tmp)
				dir = filepath.Join(tmp, "demo")
			} else {
				args, err := operands(c, "DIR")
				if err != nil {
					return err
				}
				dir = args[0]
			}
			r, err := bowline.Demo(c.Context, dir, func(s bowline.DemoStep) {
				if c.Bool("json") {
					return
				}
				if s.Command != "" {
					fmt.Fprintf(c.App.Writer, "$ bowline %s\n", s.Command)
				}
				for _, line := range s.Result {
					fmt.Fprintf(c.App.Writer, "  %s\n", line)
				}
			})
			if err != nil {
				return err
			}
			if c.NArg() == 0 {
				r.Dir = nil
			}
			if c.Bool("json") {
				return printJSON(c.App.Writer, r)
			}
			if c.NArg() > 0 {
				fmt.Fprintf(c.App.Writer, "the files are in %s\n", formats.Escape(dir, 500))
			}
			return nil
		},
	}
}
