package main

import (
	"bufio"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/formats"
)

func inspectCmd() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "say what a checkpoint is, from its headers alone",
		ArgsUsage: "SRC",
		Description: `Format, family, parameters, types, files and the tie verdict. Nothing but headers is read, so a terabyte answers as fast
as a megabyte.

Example:
   bowline inspect granite-3b-code/ --tensors`,
		Flags: reading(
			&cli.BoolFlag{Name: "tensors", Usage: "list the tensors in file order"},
			&cli.BoolFlag{Name: "metadata", Usage: "list the metadata, long arrays too"},
			&cli.StringFlag{Name: "config", Usage: "read `FILE` instead of the config.json beside the weights"},
			jsonFlag()),
		Action: func(c *cli.Context) error {
			debug.SetGCPercent(400) // headers are a few MiB, and reading them is all that this process does
			args, err := operands(c, "SRC")
			if err != nil {
				return err
			}
			src, err := source(c, args[0])
			if err != nil {
				return err
			}
			r, err := bowline.Inspect(src, bowline.InspectOptions{Metadata: c.Bool("metadata")})
			if err != nil {
				return err
			}
			notes(c, r.Notes)
			if c.Bool("json") {
				return printJSON(c.App.Writer, r)
			}
			return printInspect(c, r)
		},
	}
}

func printInspect(c *cli.Context, r *bowline.InspectReport) error {
	w := bufio.NewWriter(c.App.Writer)
	line := func(k, format string, args ...any) { fmt.Fprintf(w, "%-13s %s\n", k, fmt.Sprintf(format, args...)) }
	or := func(s *string) string {
		if s == nil {
			return "unknown"
		}
		return formats.Escape(*s, 200)
	}
	line("source", "%s", formats.Escape(r.Source.Path, 500))
	line("format", "%s, %d files", r.Source.Format, len(r.Source.Files))
	line("family", "%s (%s)", or(r.Family), or(r.Architecture))
	line("parameters", "%s unique, %s in all", count(r.Parameters.Unique), count(r.Parameters.Total))
	line("size", "%s in %d tensors", size(r.Bytes), len(r.Tensors)-len(r.Aliases))
	var types []string
	for t := range r.DTypes {
		types = append(types, t)
	}
	slices.SortFunc(types, func(a, b string) int {
		if d := r.DTypes[b].Bytes - r.DTypes[a].Bytes; d != 0 {
			return int(min(max(d, -1), 1))
		}
		return strings.Compare(a, b)
	})
	for _, t := range types {
		line("", "%s: %s in %d tensors", t, size(r.DTypes[t].Bytes), r.DTypes[t].Tensors)
	}
	verdict, says := "unknown", "nothing declares it"
	if r.Ties.Verdict != nil {
		verdict = string(*r.Ties.Verdict)
	}
	if r.Ties.Declared != nil {
		says = map[bool]string{true: "declared tied", false: "declared untied"}[*r.Ties.Declared]
	}
	line("ties", "%s, %s", verdict, says)
	if c.Bool("tensors") {
		listTensors(w, r.Tensors)
	}
	if c.Bool("metadata") {
		fmt.Fprintln(w, "metadata")
		for _, kv := range r.Metadata.Entries {
			fmt.Fprintf(w, "  %-44s  %s\n", formats.Escape(kv.Key, 256), formats.Escape(fmt.Sprint(kv.Value), 2000))
		}
	}
	return w.Flush()
}

// listTensors prints plain columns: a table with borders costs more than reading the headers of 20,000 tensors, and so does a string
// for every cell. The rows are made twice, once for their widths.
func listTensors(w *bufio.Writer, list []bowline.TensorReport) {
	const columns = 6
	var width [columns]int
	var cell []byte
	titles := [columns]string{"tensor", "dtype", "shape", "bytes", "file", "offset"}
	for i, name := range titles {
		width[i] = len(name)
	}
	for _, x := range list {
		for i := range columns - 1 {
			cell = appendCell(cell[:0], x, i)
			width[i] = max(width[i], len(cell))
		}
	}
	pad := strings.Repeat(" ", slices.Max(width[:])+2)
	write := func(i int, cell []byte) {
		w.Write(cell)
		if i < columns-1 {
			w.WriteString(pad[:width[i]+2-len(cell)])
		} else {
			w.WriteByte('\n')
		}
	}
	for i, name := range titles {
		write(i, []byte(name))
	}
	for _, x := range list {
		for i := range columns {
			cell = appendCell(cell[:0], x, i)
			write(i, cell)
		}
	}
}

// appendCell is column i of a tensor's row.
func appendCell(b []byte, x bowline.TensorReport, i int) []byte {
	switch i {
	case 0:
		return append(b, formats.Escape(x.Name, 256)...)
	case 1:
		return append(b, x.DType...)
	case 2:
		b = append(b, '[')
		for k, d := range x.Shape {
			if k > 0 {
				b = append(b, ' ')
			}
			b = strconv.AppendInt(b, d, 10)
		}
		return append(b, ']')
	case 3:
		return strconv.AppendInt(b, x.Bytes, 10)
	case 4:
		return append(b, formats.Escape(x.File, 200)...)
	}
	return strconv.AppendInt(b, x.Offset, 10)
}
