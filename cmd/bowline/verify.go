package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/verify"
)

func verifyCmd() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "prove that a checkpoint computes what a reference does",
		ArgsUsage: "MODEL",
		Description: `REF is another checkpoint, whose forward pass is run too and whose weights are compared, or recorded logits (safetensors, .npy, .npz,
.pt, JSON, or a base file of llama-perplexity).
The class of the reference chooses the gates; it is inferred, and printed.

Example:
   bowline verify granite.gguf --against granite-3b-code/ --report verdict.html --report junit.xml`,
		Flags: reading(
			&cli.StringSliceFlag{Name: "report", Usage: "write the verdict to `FILE`.json, .xml (JUnit), .md or .html; may be repeated"},
			&cli.BoolFlag{Name: "force", Usage: "replace FILE even if it is no earlier report"},
			&cli.StringFlag{Name: "against", Usage: "`REF`: a checkpoint or recorded logits"},
			tokensFlag(), promptFlag(), precisionFlag(),
			&cli.StringFlag{Name: "class", Usage: "tolerance class `C`: S, A, B, C, D:TYPE, E or Q (default: inferred)"},
			&cli.StringFlag{Name: "config", Usage: "read `FILE` instead of the config.json beside the weights"},
			&cli.IntFlag{Name: "workers", Usage: "`N` workers (default: one for each processor)"},
			jsonFlag()),
		Action: func(c *cli.Context) error {
			args, err := operands(c, "MODEL")
			if err != nil {
				return err
			}
			if !c.IsSet("against") {
				return usage("verify needs --against REF")
			}
			o, err := runOptions(c)
			if err != nil {
				return err
			}
			o.Class = c.String("class")
			for _, f := range c.StringSlice("report") {
				if err := bowline.CheckReport(f); err != nil {
					return err
				}
			}
			src, err := source(c, args[0])
			if err != nil {
				return err
			}
			ref := bowline.Source{Path: c.String("against"), Bounds: src.Bounds}
			r, err := bowline.Verify(c.Context, src, ref, o)
			if err != nil {
				return err
			}
			if c.IsSet("report") {
				if err := bowline.Digests(c.Context, r, src, ref); err != nil {
					return err
				}
			}
			if c.Bool("json") {
				err = printJSON(c.App.Writer, r)
			} else {
				err = r.Text(c.App.Writer)
			}
			if os.Getenv("GITHUB_ACTIONS") == "true" {
				err = errors.Join(err, r.Annotations(c.App.ErrWriter))
			}
			for _, f := range c.StringSlice("report") {
				err = errors.Join(err, bowline.WriteReport(f, r, c.Bool("force")))
			}
			if err != nil {
				return err
			}
			if !r.Pass {
				return reported{formats.Errorf(formats.Differs, "%s", r.Line())}
			}
			return err
		},
	}
}

func logitsCmd() *cli.Command {
	return &cli.Command{
		Name:      "logits",
		Usage:     "run the reference forward pass",
		ArgsUsage: "MODEL",
		Description: `Writes the logits of every position, for another program or another checkpoint to be compared with; without -o, prints the
five best tokens of each.

Example:
   bowline logits granite-3b-code/ --tokens 1,2,3 -o logits.safetensors`,
		Flags: reading(
			tokensFlag(), promptFlag(), precisionFlag(),
			&cli.BoolFlag{Name: "hidden", Usage: "write the hidden states too"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE`.safetensors or .npy"},
			&cli.BoolFlag{Name: "force", Usage: "replace FILE even if it holds no logits"},
			&cli.StringFlag{Name: "config", Usage: "read `FILE` instead of the config.json beside the weights"},
			&cli.IntFlag{Name: "workers", Usage: "`N` workers (default: one for each processor)"},
			jsonFlag()),
		Action: func(c *cli.Context) error {
			args, err := operands(c, "MODEL")
			if err != nil {
				return err
			}
			o, err := runOptions(c)
			if err != nil {
				return err
			}
			o.Hidden = c.Bool("hidden")
			src, err := source(c, args[0])
			if err != nil {
				return err
			}
			r, err := bowline.Logits(c.Context, src, c.String("output"), c.Bool("force"), o)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.App.Writer, r)
			}
			if c.String("output") != "" {
				fmt.Fprintf(c.App.Writer, "wrote logits %v to %s\n", r.Shape, formats.Escape(c.String("output"), 500))
				return nil
			}
			t := newTable(c.App.Writer, "position", "token", "1", "2", "3", "4", "5")
			for i, top := range r.Top {
				row := []any{i, r.InputIDs[i]}
				for _, x := range top {
					row = append(row, fmt.Sprintf("%d (%.4g)", x.ID, float64(x.Logit)))
				}
				t.AppendRow(row)
			}
			t.Render()
			return nil
		},
	}
}

func tokensFlag() cli.Flag {
	return &cli.StringFlag{Name: "tokens", Usage: "token ids: `LIST` is 1,2,3 or @file (default: a built-in suite)"}
}

func promptFlag() cli.Flag {
	return &cli.StringFlag{Name: "prompt", Usage: "a `TEXT`, which the model's own tokenizer makes token ids of"}
}

func precisionFlag() cli.Flag {
	return &cli.StringFlag{Name: "precision", Value: "f32", Usage: "`P`: f32 with f64 reductions, or f64 throughout"}
}

func runOptions(c *cli.Context) (bowline.VerifyOptions, error) {
	o := bowline.VerifyOptions{Workers: c.Int("workers"), Precision: verify.Precision(c.String("precision"))}
	if err := oneOf(c, "precision", "f32", "f64"); err != nil {
		return o, err
	}
	if o.Workers < 0 || c.IsSet("workers") && o.Workers == 0 {
		return o, usage("--workers takes a positive number, got %d", o.Workers)
	}
	if c.IsSet("prompt") {
		if o.Prompt = c.String("prompt"); o.Prompt == "" || c.IsSet("tokens") {
			return o, usage("--prompt takes a text, and no --tokens beside it")
		}
	}
	if !c.IsSet("tokens") {
		return o, nil
	}
	list := c.String("tokens")
	if file, ok := strings.CutPrefix(list, "@"); ok {
		b, err := bowline.ReadFile(file, 16<<20)
		if err != nil {
			return o, usage("--tokens: %s: %v", formats.Escape(file, 200), err)
		}
		list = string(b)
	}
	if l := strings.Trim(list, " \n\r\t"); strings.Contains(l, ",,") || strings.HasPrefix(l, ",") || strings.HasSuffix(l, ",") {
		return o, usage("--tokens: a token id is missing beside a comma")
	}
	for _, f := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' }) {
		id, err := strconv.ParseInt(f, 10, 32)
		if err != nil || id < 0 {
			return o, usage("--tokens: got %q, want a token id", formats.Escape(f, 64))
		}
		o.Tokens = append(o.Tokens, int32(id))
	}
	if len(o.Tokens) == 0 {
		return o, usage("--tokens: the list is empty")
	}
	return o, nil
}
