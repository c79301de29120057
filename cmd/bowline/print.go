package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/bowline-ml/bowline/formats"
)

// common are the flags that every command takes.
func common(more ...cli.Flag) []cli.Flag {
	return append(more,
		&cli.BoolFlag{Name: "quiet", Usage: "print warnings and results only"},
		&cli.StringFlag{Name: "progress", Value: "auto", Usage: "`auto`, plain or none"},
		&cli.StringFlag{Name: "color", Value: "auto", Usage: "`auto`, always or never (and NO_COLOR)"})
}

func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print one JSON object"} }

// operands are a command's operands, which must be as many as named.
func operands(c *cli.Context, names ...string) ([]string, error) {
	for flag, allowed := range map[string][]string{"progress": {"auto", "plain", "none"}, "color": {"auto", "always", "never"}} {
		if err := oneOf(c, flag, allowed...); err != nil {
			return nil, err
		}
	}
	if c.NArg() != len(names) {
		return nil, usage("%s takes %s, got %d operands", c.Command.Name, strings.Join(names, " and "), c.NArg())
	}
	for i, a := range c.Args().Slice() {
		if a == "" || a == "-" && names[i] == "DST" {
			return nil, usage("%s takes the path of a file or a directory for %s, got %q", c.Command.Name, names[i], a)
		}
	}
	return c.Args().Slice(), nil
}

func oneOf(c *cli.Context, flag string, allowed ...string) error {
	for _, a := range allowed {
		if c.String(flag) == a {
			return nil
		}
	}
	return usage("--%s takes %s, got %q", flag, strings.Join(allowed, ", "), c.String(flag))
}

// printJSON prints a struct as one object.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(harmless{w})
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// harmless writes JSON with what a terminal might obey as \u escapes, which say the same: encoding/json leaves DEL, the controls of C1 and the
// characters that turn the direction of text as they are. Those can only be in strings. Each write has to be whole characters.
type harmless struct{ w io.Writer }

func (h harmless) Write(p []byte) (int, error) {
	from := 0
	var out []byte
	for at := 0; at < len(p); {
		if p[at] < 0x7f { // what is below space are line ends and indents
			at++
			continue
		}
		r, n := utf8.DecodeRune(p[at:])
		if !unicode.IsPrint(r) {
			out = append(out, p[from:at]...)
			for _, u := range utf16.AppendRune(nil, r) {
				out = fmt.Appendf(out, `\u%04x`, u)
			}
			from = at + n
		}
		at += n
	}
	text := p
	if out != nil {
		text = append(out, p[from:]...)
	}
	if _, err := h.w.Write(text); err != nil {
		return 0, err
	}
	return len(p), nil
}

// printError prints what went wrong as one object.
func printError(w io.Writer, err error, code int) {
	type problem struct {
		Code    string  `json:"code"`
		Path    *string `json:"path"`
		Tensor  *string `json:"tensor"`
		Offset  *int64  `json:"offset"`
		Message string  `json:"message"`
		Hint    *string `json:"hint"`
	}
	text := func(s string, limit int) *string {
		if s == "" {
			return nil
		}
		s = formats.Escape(s, limit)
		return &s
	}
	var list []problem
	for i, e := range formats.Errors(err) {
		if i == 100 {
			break
		}
		message := e.Message
		if e.Field != "" {
			message = e.Field + ": " + message
		}
		p := problem{Code: string(e.Code), Path: text(e.Path, 1024), Tensor: text(e.Tensor, 256), Message: formats.Escape(message, 4096), Hint: text(e.Hint, 1024)}
		if e.Offset >= 0 {
			p.Offset = &e.Offset
		}
		list = append(list, p)
	}
	// An error here means that stdout is gone; the exit code still tells.
	printJSON(w, struct {
		Schema string    `json:"schema"`
		Errors []problem `json:"errors"`
		Exit   int       `json:"exit"`
	}{"bowline.error/1", list, code})
}

// notes go to stderr: warnings always, the rest unless --quiet.
func notes(c *cli.Context, list []formats.Note) {
	for _, n := range list {
		kind := "note"
		if n.Warn {
			kind = "warning"
		} else if c.Bool("quiet") {
			continue
		}
		s := fmt.Sprintf("%s: %s", formats.Escape(n.Subject, 300), formats.Escape(n.Decision, 300))
		if n.Because != "" {
			s += ": " + formats.Escape(n.Because, 600)
		}
		line := "bowline: " + kind + ": " + s
		if n.Warn && colored(c) {
			line = "\x1b[33m" + line + "\x1b[0m"
		}
		fmt.Fprintln(c.App.ErrWriter, line)
	}
}

// colored reports whether stderr takes colour.
func colored(c *cli.Context) bool {
	switch c.String("color") {
	case "always":
		return true
	case "never":
		return false
	}
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && terminal(c.App.ErrWriter)
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func newTable(w io.Writer, header ...any) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.Style().Options.SeparateRows = false
	t.Style().Format.Header = 0
	t.AppendHeader(table.Row(header))
	return t
}

func size(n int64) string { return humanize.Bytes(uint64(max(n, 0))) }

func count(n int64) string { return humanize.Comma(n) }

// progress shows how far a job is: a bar on a terminal, a line every 10 seconds elsewhere, nothing with none or --quiet.
// The function that it returns is for Convert; done ends it.
func progress(c *cli.Context, what string) (report func(done, total int64), done func()) {
	mode := c.String("progress")
	if c.Bool("quiet") || mode == "none" {
		return nil, func() {}
	}
	if mode == "auto" && terminal(c.App.ErrWriter) {
		return bar(c, what)
	}
	var mu sync.Mutex
	last := time.Now()
	return func(n, total int64) {
		mu.Lock()
		defer mu.Unlock()
		if mode == "plain" && n == total || time.Since(last) >= 10*time.Second {
			last = time.Now()
			fmt.Fprintf(c.App.ErrWriter, "bowline: %s: %s of %s (%d %%)\n", what, size(n), size(total), n*100/max(total, 1))
		}
	}, func() {}
}

func bar(c *cli.Context, what string) (func(n, total int64), func()) {
	p := mpb.New(mpb.WithOutput(c.App.ErrWriter), mpb.WithWidth(48))
	b := p.AddBar(0, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(what+" "), decor.CountersKibiByte("% .1f / % .1f")),
		mpb.AppendDecorators(decor.AverageSpeed(decor.SizeB1024(0), "% .1f "), decor.AverageETA(decor.ET_STYLE_GO)))
	var mu sync.Mutex
	high := int64(0)
	return func(n, total int64) {
			mu.Lock()
			defer mu.Unlock()
			if n > high {
				high = n
				b.SetTotal(total, false)
				b.SetCurrent(n)
			}
		}, func() {
			b.Abort(true)
			p.Wait()
		}
}
