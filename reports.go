package bowline

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/verify"
)

// reports are how a verification is written, by extension.
var reports = map[string]func(r *verify.Report, w io.Writer) error{
	".json": (*verify.Report).JSON, ".xml": (*verify.Report).JUnit, ".md": (*verify.Report).Markdown, ".html": (*verify.Report).HTML,
}

// CheckReport is an error unless path has an extension that says how a report is written: .json, .xml (JUnit), .md or .html.
func CheckReport(path string) error {
	if reports[strings.ToLower(filepath.Ext(path))] == nil {
		return formats.Errorf(formats.Usage, "a report is .json, .xml, .md or .html, got %q", formats.Escape(filepath.Base(path), 200))
	}
	return nil
}

// WriteReport writes a verification to path, as its extension says. An earlier report is replaced, a file of what was verified never, any other only if force is
// set.
func WriteReport(path string, r *verify.Report, force bool) error {
	if err := CheckReport(path); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := reports[strings.ToLower(filepath.Ext(path))](r, &b); err != nil {
		return err
	}
	fsys := fsio.OS{}
	n := int64(b.Len())
	l := formats.Layout{Files: []formats.FileLayout{{Path: filepath.Base(path), Bytes: n, Parts: []formats.Part{{Size: n, Data: bytes.NewReader(b.Bytes())}}}}}
	w, err := formats.Create(fsys, formats.Target{Dst: filepath.Clean(path), ID: "report", Over: force || holdsReport(fsys, path)}, l, slices.Concat([]string{r.Test.Path, r.Reference.Path}, r.Test.Files, r.Reference.Files))
	if err != nil {
		return err
	}
	if err := w.Commit(); err != nil {
		w.Abort()
		return err
	}
	return nil
}

// holdsReport reports whether a file is an earlier report, which all say at their start.
func holdsReport(fsys fsio.FS, path string) bool {
	f, err := fsys.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	b := make([]byte, 512)
	n, _ := f.ReadAt(b, 0)
	return bytes.Contains(b[:n], []byte("bowline.verify/1"))
}

// Digests puts the digest of each checkpoint into a report. It reads both once more.
func Digests(ctx context.Context, r *verify.Report, src, ref Source) error {
	for _, side := range []struct {
		src Source
		to  *verify.Subject
	}{{src, &r.Test}, {ref, &r.Reference}} {
		if side.to.Kind != verify.Checkpoint {
			continue
		}
		h, err := Hash(ctx, side.src, HashOptions{})
		if err != nil {
			return err
		}
		side.to.Digest = h.Digest
	}
	return nil
}
