// Command bowline converts model checkpoints, judges their tied embeddings, and proves that a result computes what its source did.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/bowline-ml/bowline"
	"github.com/bowline-ml/bowline/formats"
)

func main() { os.Exit(run(os.Args, os.Stdout, os.Stderr)) }

// run is the whole program, so that tests can call it.
func run(args []string, stdout, stderr io.Writer) int {
	signal.Ignore(syscall.SIGPIPE) // a reader that has gone shows as an error of the write, see pipe
	ctx, stop := interruptible(context.Background())
	defer stop()
	out := &pipe{w: stdout}
	app := newApp(out, stderr)
	jsonOut := wantsJSON(args)
	err := func() error {
		ordered, err := order(app, args)
		if err != nil {
			return err
		}
		return app.RunContext(ctx, ordered)
	}()
	if out.closed {
		return 0 // a closed stdout, as by "| head", is no error
	}
	if out.err != nil && err == nil {
		err = formats.Errorf(formats.IO, "writing the results: %w", out.err)
	}
	code := exitCode(ctx, err)
	if code == 130 || code == 143 {
		err = formats.Errorf(formats.Interrupted, "%s", context.Cause(ctx))
	}
	if code != 0 && jsonOut && out.err == nil && !errors.As(err, new(reported)) {
		printError(out, err, code)
	} else if err != nil && !errors.As(err, new(reported)) {
		for i, e := range formats.Errors(err) {
			if i == 20 {
				fmt.Fprintf(stderr, "bowline: ... and %d more\n", len(formats.Errors(err))-i)
				break
			}
			fmt.Fprintf(stderr, "bowline: %s\n", e.Error())
		}
	}
	return code
}

// wantsJSON looks for --json before the line is parsed, so that errors in it are JSON too.
func wantsJSON(args []string) bool {
	for _, a := range args {
		switch a {
		case "--":
			return false
		case "--json", "-json", "--json=true":
			return true
		}
	}
	return false
}

// reported is an outcome that has been printed already and only sets the exit code.
type reported struct{ error }

func (r reported) Unwrap() error { return r.error }

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:                      "bowline",
		Usage:                     "convert model checkpoints, keep their ties, prove the result",
		Version:                   bowline.Version,
		HideVersion:               true,
		Writer:                    stdout,
		ErrWriter:                 stderr,
		Suggest:                   true,
		UseShortOptionHandling:    false,
		DisableSliceFlagSeparator: true,
		Commands:                  []*cli.Command{inspectCmd(), tiesCmd(), planCmd(), convertCmd(), diffCmd(), verifyCmd(), logitsCmd(), hashCmd(), demoCmd(), versionCmd()},
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              func(_ *cli.Context, err error, _ bool) error { return usage("%s", err) },
		CommandNotFound:           nil,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return unknownCommand(c.App, c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		CustomAppHelpTemplate: appHelp,
		HideHelpCommand:       true,
	}
	for _, c := range app.Commands {
		c.HideHelpCommand = true // "help" is an operand like any other
		c.OnUsageError = app.OnUsageError
	}
	return app
}

func unknownCommand(app *cli.App, name string) error {
	return usage("no command %q; nearest is %q", formats.Escape(name, 64), unknownNearest(app, name))
}

func unknownNearest(app *cli.App, name string) string {
	var known []string
	for _, c := range app.Commands {
		known = append(known, c.Name)
	}
	return nearest(name, known)
}

func usage(format string, args ...any) error { return formats.Errorf(formats.Usage, format, args...) }

// interruptible is a context that ends on the first SIGINT or SIGTERM, with the signal as its cause. More of them change nothing: the staging is
// being removed, which takes no time, and SIGKILL leaves what the next run clears up.
func interruptible(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	go func() {
		for s := range ch {
			cancel(signalled{s}) // the first cause stays
		}
	}()
	return ctx, func() { signal.Stop(ch); close(ch); cancel(nil) }
}

type signalled struct{ os.Signal }

func (s signalled) Error() string {
	if s.Signal == syscall.SIGTERM {
		return "interrupted by SIGTERM"
	}
	return "interrupted by SIGINT"
}

// exits maps the class of an error to the exit code; what is not listed is 65: the input.
var exits = map[formats.Code]int{
	formats.Differs: 1, formats.Usage: 2, formats.NoSpace: 73, formats.Locked: 73, formats.Exists: 73, formats.SameFile: 73, formats.IO: 74,
}

func exitCode(ctx context.Context, err error) int {
	if err == nil {
		return 0
	}
	var s signalled
	if errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &s) {
		if s.Signal == syscall.SIGTERM {
			return 143
		}
		return 130
	}
	if code, ok := exits[formats.CodeOf(err)]; ok {
		return code
	}
	return 65
}

// pipe remembers that the reader of stdout has gone.
type pipe struct {
	w      io.Writer
	err    error
	closed bool
}

func (p *pipe) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	if err != nil && p.err == nil {
		p.err = err
		p.closed = errors.Is(err, syscall.EPIPE)
	}
	return n, err
}

// order puts the flags of a command line before its operands, because urfave/cli takes what follows the first operand for operands, flags
// too, without a word. "--" ends the flags. An unknown flag is an error that names the nearest known one.
func order(app *cli.App, args []string) ([]string, error) {
	if len(args) < 2 {
		return args, nil
	}
	if args[1] == "help" {
		if len(args) > 2 {
			return []string{args[0], args[2], "--help"}, nil
		}
		return []string{args[0], "--help"}, nil
	}
	// The command may come after flags that every command takes.
	at := -1
	for i := 1; i < len(args) && at < 0; i++ {
		if args[i] == "--" {
			break
		}
		if !strings.HasPrefix(args[i], "-") {
			if app.Command(args[i]) == nil {
				return nil, unknownCommand(app, args[i])
			}
			at = i
			continue
		}
		if name, _, has := strings.Cut(strings.TrimLeft(args[i], "-"), "="); !has && takesValue(common(), name) {
			i++
		}
	}
	if at < 0 {
		for _, a := range args[1:] {
			if name := strings.TrimLeft(a, "-"); a != "--" && name != "help" && name != "h" {
				return nil, usage("unknown flag %s before a command; nearest command is %q", formats.Escape(a, 64), unknownNearest(app, name))
			}
		}
		return args, nil
	}
	cmd := app.Command(args[at])
	rest := append(slices.Clone(args[1:at]), args[at+1:]...)
	var flags, operands []string
	for i := 0; i < len(rest); i++ {
		a := rest[i]
		switch {
		case a == "--":
			operands = append(operands, rest[i+1:]...)
			i = len(rest)
		case len(a) < 2 || a[0] != '-':
			operands = append(operands, a)
		default:
			name, _, has := strings.Cut(strings.TrimLeft(a, "-"), "=")
			if name == "help" || name == "h" {
				return []string{args[0], cmd.Name, "--help"}, nil
			}
			if !knownFlag(cmd.Flags, name) {
				return nil, usage("unknown flag --%s; nearest is --%s", formats.Escape(name, 64), nearest(name, flagNames(cmd.Flags)))
			}
			flags = append(flags, a)
			if !has && takesValue(cmd.Flags, name) {
				if i+1 == len(rest) {
					return nil, usage("--%s needs a value", name)
				}
				i++
				flags = append(flags, rest[i])
			}
		}
	}
	return append(append(append([]string{args[0], cmd.Name}, flags...), "--"), operands...), nil
}

func knownFlag(flags []cli.Flag, name string) bool { return slices.Contains(flagNames(flags), name) }

func flagNames(flags []cli.Flag) []string {
	var out []string
	for _, f := range flags {
		out = append(out, f.Names()...)
	}
	return out
}

func takesValue(flags []cli.Flag, name string) bool {
	for _, f := range flags {
		if d, ok := f.(cli.DocGenerationFlag); ok && slices.Contains(f.Names(), name) {
			return d.TakesValue()
		}
	}
	return false
}

// nearest is the known word with the smallest edit distance.
func nearest(word string, known []string) string {
	best, least := "", 1<<30
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	return best
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := last
			if a[i] != b[j] {
				next = min(last, row[j], row[j+1]) + 1
			}
			last, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
