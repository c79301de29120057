package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"github.com/bowline-ml/bowline"
)

// appHelp is the tool's first page.
const appHelp = `bowline - {{.Usage}}

Usage:
   bowline COMMAND [flags] [operands]

Commands:{{range .VisibleCommands}}
   {{printf "%-10s" .Name}} {{.Usage}}{{end}}

bowline COMMAND --help says more, with an example. "bowline demo" shows everything on a model that it carries.
Exit codes: 0 done, 1 a difference, 2 usage, 65 input, 73 cannot create output, 74 I/O, 75 try again, 130 and 143 interrupted.
`

func versionCmd() *cli.Command {
	return &cli.Command{
		Name:        "version",
		Usage:       "say which version this is",
		Description: "Example:\n   bowline version --json",
		Flags:       common(jsonFlag()),
		Action: func(c *cli.Context) error {
			if _, err := operands(c); err != nil {
				return err
			}
			v := struct {
				Schema   string `json:"schema"`
				Version  string `json:"version"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
				Revision string `json:"revision"`
			}{"bowline.version/1", bowline.Version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, ""}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						v.Revision = s.Value
					}
				}
			}
			if c.Bool("json") {
				return printJSON(c.App.Writer, v)
			}
			fmt.Fprintf(c.App.Writer, "bowline %s (%s, %s)\n", v.Version, v.Go, v.Platform)
			return nil
		},
	}
}
