package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
)

// conversion are the flags that plan and convert share.
func conversion(more ...cli.Flag) []cli.Flag {
	return reading(append([]cli.Flag{
		&cli.StringFlag{Name: "to", Usage: "target `FORMAT`: " + targetNames() + " (default: by the destination's name)"},
		&cli.StringFlag{Name: "dtype", Aliases: []string{"outtype"}, Value: "keep", Usage: "`T`: keep, " + strings.Join(convert.Writable(), ", ")},
		&cli.StringFlag{Name: "ties", Value: "auto", Usage: "`P`: auto, keep, tie, tie=embed, tie=head or untie"},
		&cli.StringFlag{Name: "require", Usage: "refuse unless the source is `V`: tied, untied or consistent"},
		&cli.BoolFlag{Name: "dedup", Usage: "store other tensors with equal bytes once, where the target can say so (PyTorch, raw)"},
		&cli.BoolFlag{Name: "discard-differing", Usage: "with --ties tie=embed or tie=head: drop the other even if it differs"},
		&cli.StringFlag{Name: "shard-size", Usage: "`SIZE` of a shard in tensor bytes, such as 5GB (default: 5GB for Hugging Face directories)"},
		&cli.StringFlag{Name: "names", Value: "auto", Usage: "`N`: auto for the target's own names, keep for the source's"},
		&cli.StringFlag{Name: "pre", Usage: "pre-tokenizer `NAME` for GGUF, where it is not recognised"},
		&cli.StringFlag{Name: "config", Usage: "read `FILE` instead of the config.json beside the weights"},
		&cli.StringFlag{Name: "name", Usage: "the model's `NAME` in GGUF's general.name"},
		&cli.StringSliceFlag{Name: "set", Usage: "set `KEY=VALUE` in GGUF's metadata; may be given again"},
		&cli.StringFlag{Name: "chat-template", Usage: "put the text of `FILE` into GGUF's tokenizer.chat_template"},
		&cli.BoolFlag{Name: "verify", Usage: "run source and result and compare logits; on failure nothing is written"},
		&cli.BoolFlag{Name: "force", Usage: "replace the destination"},
		&cli.BoolFlag{Name: "resumable", Usage: "when interrupted, keep what was made for the next run"},
		&cli.IntFlag{Name: "workers", Usage: "`N` workers (default: one for each processor)"},
		jsonFlag(),
	}, more...)...)
}

func targetNames() string {
	var out []string
	for _, t := range bowline.Targets() {
		out = append(out, t.Name)
	}
	return strings.Join(out, ", ")
}

// conversionOptions reads the flags of conversion.
func conversionOptions(c *cli.Context) (bowline.ConvertOptions, error) {
	o := bowline.ConvertOptions{
		Options: convert.Options{DType: c.String("dtype"), Ties: convert.Policy(c.String("ties")), DiscardDiffering: c.Bool("discard-differing"), Dedup: c.Bool("dedup"),
			KeepNames: c.String("names") == "keep", Pre: c.String("pre"), Name: c.String("name")},
		To: c.String("to"), Require: c.String("require"), Verify: c.Bool("verify"), Force: c.Bool("force"), Resumable: c.Bool("resumable"), Workers: c.Int("workers"),
	}
	if err := oneOf(c, "ties", "auto", "keep", "tie", "tie=embed", "tie=head", "untie"); err != nil {
		return o, err
	}
	if err := oneOf(c, "names", "auto", "keep"); err != nil {
		return o, err
	}
	if c.IsSet("require") {
		if err := oneOf(c, "require", "tied", "untied", "consistent"); err != nil {
			return o, err
		}
	}
	if c.IsSet("to") {
		if err := oneOf(c, "to", strings.Split(targetNames(), ", ")...); err != nil {
			return o, err
		}
	}
	if t := strings.ToLower(o.DType); t != "keep" {
		known := false
		for _, w := range convert.Writable() {
			known = known || w == t
		}
		if !known {
			return o, usage("--dtype takes keep, %s, got %q", strings.Join(convert.Writable(), ", "), o.DType)
		}
	}
	if o.DiscardDiffering && o.Ties != convert.TieEmbed && o.Ties != convert.TieHead {
		return o, usage("--discard-differing goes with --ties tie=embed or tie=head")
	}
	if o.Workers < 0 || c.IsSet("workers") && o.Workers == 0 {
		return o, usage("--workers takes a positive number, got %d", o.Workers)
	}
	o.Set = c.StringSlice("set")
	if path := c.String("chat-template"); path != "" {
		b, err := bowline.ReadFile(path, 1<<20)
		if err != nil {
			return o, usage("--chat-template: %s: %v", formats.Escape(path, 200), err)
		}
		if !utf8.Valid(b) || len(b) == 0 {
			return o, usage("--chat-template: %s is no text of 1 byte to 1 MiB", path)
		}
		o.ChatTemplate = string(b)
	}
	if s := c.String("shard-size"); s != "" {
		n, err := parseSize("shard-size", s)
		if err != nil {
			return o, err
		}
		o.ShardSize = n
	}
	return o, nil
}

// parseSize reads the value of a flag: 5GB, 300M or 1000. K, M, G and T are powers of 1000, Ki, Mi, Gi and Ti of 1024.
func parseSize(flag, s string) (int64, error) {
	t := strings.TrimSuffix(strings.ToUpper(s), "B")
	scale := int64(1)
	for suffix, by := range map[string]int64{"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "KI": 1 << 10, "MI": 1 << 20, "GI": 1 << 30, "TI": 1 << 40} {
		if strings.HasSuffix(t, suffix) {
			t, scale = strings.TrimSuffix(t, suffix), by
			break
		}
	}
	f, err := strconv.ParseFloat(t, 64)
	if err != nil || !(f > 0) || f*float64(scale) > 1<<62 || f*float64(scale) < 1 {
		return 0, usage("--%s takes a size such as 5GB or 300M, got %q", flag, s)
	}
	return int64(f * float64(scale)), nil
}

func planCmd() *cli.Command {
	return &cli.Command{
		Name:      "plan",
		Usage:     "say what convert would do, and write nothing",
		ArgsUsage: "SRC DST",
		Description: `Every tensor of the target with what makes it, every file with its exact size, and every decision with its reason.

Example:
   bowline plan granite-3b-code/ granite.gguf --dtype q8_0`,
		Flags: conversion(),
		Action: func(c *cli.Context) error {
			args, err := operands(c, "SRC", "DST")
			if err != nil {
				return err
			}
			return doPlan(c, args)
		},
	}
}

func doPlan(c *cli.Context, args []string) error {
	o, err := conversionOptions(c)
	if err != nil {
		return err
	}
	src, err := source(c, args[0])
	if err != nil {
		return err
	}
	r, err := bowline.Plan(c.Context, src, args[1], o)
	if err != nil {
		return err
	}
	notes(c, r.Notes)
	if c.Bool("json") {
		return printJSON(c.App.Writer, r)
	}
	w := c.App.Writer
	fmt.Fprintf(w, "plan %s\n", r.PlanID[:12])
	fmt.Fprintf(w, "read %s from %s (%s)\n", size(r.ReadBytes), formats.Escape(r.Source.Path, 500), r.Source.Format)
	fmt.Fprintf(w, "write %s to %s (%s)\n", size(r.WriteBytes), formats.Escape(r.Target.Path, 500), r.Target.Format)
	for _, f := range r.Target.Files {
		fmt.Fprintf(w, "  %14s  %s\n", count(f.Bytes), formats.Escape(f.Path, 300))
	}
	for _, s := range r.Steps {
		how := "copy"
		if len(s.Ops) > 0 {
			how = formats.Escape(strings.Join(s.Ops, ", "), 600)
		}
		fmt.Fprintf(w, "%s %s %v <- %s: %s\n", formats.Escape(s.Name, 256), s.DType, s.Shape, formats.Escape(strings.Join(s.From, " + "), 600), how)
	}
	return nil
}

func convertCmd() *cli.Command {
	return &cli.Command{
		Name:      "convert",
		Usage:     "convert a checkpoint",
		ArgsUsage: "SRC DST",
		Description: `Reads each byte once, writes it once to its final place, and moves the whole result to the destination when it is complete
and judged. The destination is old, absent or complete, whatever happens.

Example:
   bowline convert granite-3b-code/ granite.gguf --dtype q8_0 --verify`,
		Flags: conversion(&cli.BoolFlag{Name: "dry-run", Usage: "print the plan and write nothing"}),
		Action: func(c *cli.Context) error {
			args, err := operands(c, "SRC", "DST")
			if err != nil {
				return err
			}
			if c.Bool("dry-run") {
				return doPlan(c, args)
			}
			o, err := conversionOptions(c)
			if err != nil {
				return err
			}
			src, err := source(c, args[0])
			if err != nil {
				return err
			}
			report, done := progress(c, "convert")
			o.Progress = report
			r, err := bowline.Convert(c.Context, src, args[1], o)
			done()
			if err != nil {
				return err
			}
			notes(c, r.Notes)
			if c.Bool("json") {
				return printJSON(c.App.Writer, r)
			}
			printConvert(c, r)
			return nil
		},
	}
}

func printConvert(c *cli.Context, r *bowline.ConvertReport) {
	w := c.App.Writer
	total := int64(0)
	for _, f := range r.Written {
		total += f.Bytes
	}
	switch {
	case r.UpToDate:
		fmt.Fprintf(w, "up to date: %s, %s in %d files\n", formats.Escape(r.Written[0].Path, 500), size(total), len(r.Written))
	default:
		fmt.Fprintf(w, "wrote %d tensors, %s in %d files, in %.1f s\n", r.Tensors, size(total), len(r.Written), r.Seconds)
		for _, f := range r.Written {
			fmt.Fprintf(w, "  %14s  %s\n", count(f.Bytes), formats.Escape(f.Path, 500))
		}
	}
	if r.Ties.Before != nil && r.Ties.After != nil {
		fmt.Fprintf(w, "ties: %s -> %s", *r.Ties.Before, *r.Ties.After)
		if r.Ties.BytesSaved > 0 {
			fmt.Fprintf(w, ", %s saved", size(r.Ties.BytesSaved))
		}
		if r.Ties.BytesSaved < 0 {
			fmt.Fprintf(w, ", %s added", size(-r.Ties.BytesSaved))
		}
		fmt.Fprintln(w)
	}
	if r.Verification != nil {
		fmt.Fprintln(w, formats.Escape(r.Verification.Line(), 4000))
	}
	if r.Run != "" {
		fmt.Fprintf(w, "run: %s\n", formats.Escape(r.Run, 4000))
	}
}
