package bowline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/all"
	"github.com/bowline-ml/bowline/verify"
)

// ConvertOptions are the choices of a conversion; the zero value keeps types and judges ties by auto.
type ConvertOptions struct {
	convert.Options
	To        string // "" is by the destination's name
	Require   string // "", "tied", "untied" or "consistent": judged on the source before anything is written
	Verify    bool   // run source and result, and compare
	Force     bool   // replace the destination
	Resumable bool   // keep what was made when interrupted
	Workers   int    // 0 is one for each processor
	// Progress is called from several goroutines with the bytes made so far.
	Progress func(done, total int64)
}

// PlanReport is what a conversion would do.
type PlanReport struct {
	Schema     string         `json:"schema"`
	PlanID     string         `json:"plan_id"`
	Source     SourceReport   `json:"source"`
	Target     TargetReport   `json:"target"`
	Steps      []StepReport   `json:"steps"`
	Notes      []formats.Note `json:"notes"`
	ReadBytes  int64          `json:"read_bytes"`
	WriteBytes int64          `json:"write_bytes"`
}

// TargetReport is the files that would be written.
type TargetReport struct {
	Path   string         `json:"path"`
	Format string         `json:"format"`
	Files  []formats.File `json:"files"` // whole files, side files included
}

// StepReport is one tensor of the target and what makes it.
type StepReport struct {
	Name  string   `json:"name"`
	DType string   `json:"dtype"`
	Shape []int64  `json:"shape"`
	Bytes int64    `json:"bytes"`
	File  string   `json:"file"`
	From  []string `json:"from"`
	Ops   []string `json:"ops"`
}

// Plan says what Convert would do and writes nothing. An existing destination is a note.
func Plan(ctx context.Context, src Source, dst string, o ConvertOptions) (*PlanReport, error) {
	var r *PlanReport
	src = src.withFS()
	dest, target, err := destination(src.FS, dst, o.To)
	if err != nil {
		return nil, err
	}
	err = withModel(src, func(m *arch.Model) error {
		p, err := plan(ctx, m, dest, target, o)
		if err != nil {
			return err
		}
		r = p.report(src.Path)
		if _, err := m.FS.Lstat(p.Dest.Path); err == nil {
			r.Notes = append(r.Notes, formats.Note{Subject: p.Dest.Path, Decision: "exists", Because: "convert refuses it without --force, unless it is this result already"})
		}
		return nil
	})
	return r, err
}

// planned is a plan with what its commands add.
type planned struct{ *convert.Plan }

// plan judges, gathers and plans, and refuses what could only fail later.
func plan(ctx context.Context, m *arch.Model, dest convert.Destination, target convert.Target, o ConvertOptions) (planned, error) {
	if o.Require != "" {
		t, err := ties(ctx, m, TiesOptions{})
		if err != nil {
			return planned{}, err
		}
		if err := t.Require(o.Require, m.Path()); err != nil {
			return planned{}, err
		}
	}
	if o.Verify && (m.Family == nil || !verify.Supported(m.Family)) {
		name := m.Class
		if name == "" {
			name = "unknown"
		}
		return planned{}, formats.Errorf(formats.Unsupported, "--verify: no forward pass for family %s", name).At(m.Path(), -1)
	}
	ev, err := gather(ctx, m, target, o.Options)
	if err != nil {
		return planned{}, err
	}
	p, err := convert.New(m, target, dest, o.Options, ev)
	return planned{p}, formats.At(err, m.Path())
}

func (p planned) report(path string) *PlanReport {
	r := &PlanReport{Schema: "bowline.plan/1", PlanID: p.ID, Source: source(p.Source, path), Notes: p.Notes, ReadBytes: p.ReadBytes, WriteBytes: p.WriteBytes,
		Target: TargetReport{Path: p.Dest.Path, Format: p.To.Format.Name, Files: append([]formats.File{}, p.Target.Files...)}, Steps: []StepReport{}}
	if r.Notes == nil {
		r.Notes = []formats.Note{}
	}
	for _, s := range p.Sides {
		r.Target.Files = append(r.Target.Files, formats.File{Path: s.Path, Bytes: s.Bytes})
	}
	for i, s := range p.Steps {
		t := p.Target.Tensors[i]
		line := StepReport{Name: t.Name, DType: string(t.DType), Shape: shape(t.Shape), Bytes: t.Bytes, File: t.File, From: []string{}, Ops: []string{}}
		for _, part := range s.Parts {
			line.From = append(line.From, part.From)
			for _, op := range part.Ops {
				line.Ops = append(line.Ops, op.String())
			}
		}
		for _, op := range s.Ops {
			line.Ops = append(line.Ops, op.String())
		}
		r.Steps = append(r.Steps, line)
	}
	return r
}

// ConvertReport is what a conversion did.
type ConvertReport struct {
	Schema       string         `json:"schema"`
	PlanID       string         `json:"plan_id"`
	UpToDate     bool           `json:"up_to_date"` // the destination was the result already; nothing was written
	Written      []formats.File `json:"written"`
	Tensors      int            `json:"tensors"`
	Ties         TieChange      `json:"ties"`
	Notes        []formats.Note `json:"notes"`
	Seconds      float64        `json:"seconds"`
	Verification *verify.Report `json:"verification"`
	Run          string         `json:"run,omitempty"` // a command that runs the result, where there is one way
}

// TieChange is the tie before and after.
type TieChange struct {
	Before     *convert.Verdict `json:"before"`
	After      *convert.Verdict `json:"after"`
	BytesSaved int64            `json:"bytes_saved"`
}

// Convert carries out a plan. The destination is old, absent or complete whatever happens.
func Convert(ctx context.Context, src Source, dst string, o ConvertOptions) (*ConvertReport, error) {
	var r *ConvertReport
	start := time.Now()
	src = src.withFS()
	dest, target, err := destination(src.FS, dst, o.To)
	if err != nil {
		return nil, err
	}
	err = withModel(src, func(m *arch.Model) error {
		p, err := plan(ctx, m, dest, target, o)
		if err != nil {
			return err
		}
		r = &ConvertReport{Schema: "bowline.convert/1", PlanID: p.ID, Written: []formats.File{}, Tensors: len(p.Steps), Notes: p.Notes, Run: p.Run}
		if r.Notes == nil {
			r.Notes = []formats.Note{}
		}
		r.Ties.BytesSaved = p.Saved
		if len(p.Groups) > 0 {
			r.Ties.Before = &p.Groups[0].Verdict
		}
		judge := func(ctx context.Context, p *convert.Plan, staged string) error {
			return r.judge(ctx, m, planned{p}, staged, o)
		}
		res, err := convert.Execute(ctx, []*convert.Plan{p.Plan}, convert.ExecOptions{FS: m.FS, Workers: o.Workers, Force: o.Force,
			Resumable: o.Resumable, Progress: o.Progress, Judge: judge})
		if err != nil {
			return err
		}
		r.UpToDate = res[0].UpToDate
		if n := res[0].Resumed; n > 0 {
			r.Notes = append(r.Notes, formats.Note{Subject: p.Dest.Path, Decision: "resumed", Because: fmt.Sprintf("%d bytes that an interrupted run left were kept", n)})
		}
		for _, f := range res[0].Written {
			if p.Dest.Dir {
				f.Path = filepath.Join(p.Dest.Path, f.Path)
			} else {
				f.Path = filepath.Join(filepath.Dir(p.Dest.Path), f.Path)
			}
			r.Written = append(r.Written, f)
		}
		if r.UpToDate {
			return r.judge(ctx, m, p, p.Dest.Path, o)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.Seconds = time.Since(start).Seconds()
	return r, nil
}

// judge opens a written result as a stranger would: its ties must be what was planned and, if asked, its logits and weights the source's.
func (r *ConvertReport) judge(ctx context.Context, m *arch.Model, p planned, staged string, o ConvertOptions) error {
	out, err := p.reopen(m, staged)
	if err != nil {
		return err
	}
	err = func() error {
		if err := p.Rejudge(ctx, out); err != nil {
			return err
		}
		if groups := convert.Groups(out); len(groups) > 0 && len(p.Groups) > 0 {
			judged, err := convert.Judged(ctx, out, convert.JudgeOptions{})
			if err != nil {
				return err
			}
			r.Ties.After = &judged[0].Verdict
		}
		if !o.Verify {
			return nil
		}
		v := VerifyOptions{Workers: o.Workers}
		var short *arch.Caveat // the two compute the same up to some length, as the plan has said
		for _, c := range m.Family.CaveatsOf(m.Config, out.Scheme) {
			if c.Upto > 0 && m.Scheme != out.Scheme {
				short = &c
				if v.Tokens = builtIn(m); int64(len(v.Tokens)) > c.Upto {
					v.Tokens = v.Tokens[:c.Upto]
				}
			}
		}
		if r.Verification, err = against(ctx, out, m, v); err != nil {
			return err
		}
		if err := checked(ctx, out); err != nil {
			return err
		}
		if short != nil {
			r.Verification.Notes = append(r.Verification.Notes, formats.Note{Subject: "tokens", Decision: "no more than the window", Because: short.Because, Warn: true})
		}
		if !r.Verification.Pass {
			return formats.Errorf(formats.Differs, "the result does not compute what the source does: %s", r.Verification.Line()).At(p.Dest.Path, -1)
		}
		return nil
	}()
	return errors.Join(err, out.Close())
}

// reopen opens a written result. A weights file without a config of its own is read by the source's parameters: what lies beside the destination
// is not of this plan.
func (p planned) reopen(m *arch.Model, staged string) (*arch.Model, error) {
	if p.Dest.Dir || p.To.Dialect == convert.Keys {
		return Open(Source{Path: staged, FS: m.FS, Bounds: m.Bounds.Raised()})
	}
	ck, err := all.OpenWithin(m.FS, staged, m.Bounds.Raised())
	if err != nil {
		return nil, err
	}
	return m.Reread(ck, p.Factors, p.Flag)
}
