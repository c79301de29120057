package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/formats"
)

// group is the heading in the help.
const group = "Most that is read, such as 2000, 500M or 1GiB; what is larger is refused:"

// reading are the flags of a command that reads checkpoints: its own, those that every command takes, and in a group of their own those
// that bound what is read.
func reading(more ...cli.Flag) []cli.Flag {
	flags := common(more...)
	for _, k := range formats.AllBounds() {
		most := fmt.Sprint(k.Default())
		if k.Bytes() {
			most = plainSize(k.Default())
		}
		flags = append(flags, &cli.StringFlag{Name: k.Flag(), Category: group, Usage: k.Usage() + " (default: " + most + ")"})
	}
	return flags
}

// source is an operand that is read.
func source(c *cli.Context, path string) (bowline.Source, error) {
	src := bowline.Source{Path: path, Config: c.String("config")}
	for _, k := range formats.AllBounds() {
		if !c.IsSet(k.Flag()) {
			continue
		}
		n, err := parseSize(k.Flag(), c.String(k.Flag()))
		if err != nil {
			return src, err
		}
		if n > k.Highest() {
			return src, usage("--%s takes at most %d, got %d", k.Flag(), k.Highest(), n)
		}
		src.Bounds = src.Bounds.With(k, n)
	}
	return src, nil
}

// plainSize is a size as parseSize reads it.
func plainSize(n int64) string {
	switch {
	case n%(1<<30) == 0:
		return fmt.Sprintf("%dGiB", n>>30)
	case n%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", n>>20)
	case n%1e6 == 0:
		return fmt.Sprintf("%dM", n/1e6)
	}
	return fmt.Sprint(n)
}
