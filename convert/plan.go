// Package convert is the life of a weight. A Plan is what a family's table makes of headers, config, options and evidence: data, pure, printable.
// Its stages are names, ties, layout, fuse, dtypes, share and shards, in that order; evidence.go reads what they need to know beforehand,
// and exec.go copies views to their final offsets.
package convert

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/arch/config"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/view"
)

// Dialect is how a target states what is no tensor: config and tokenizer.
type Dialect string

// The dialects.
const (
	SideFiles Dialect = "side files" // config.json and tokenizer files beside the weights
	Keys      Dialect = "keys"       // metadata of the weights file
	Params    Dialect = "params"     // TorchChat's params.json beside the weights
)

// TypeRule is how a target chooses the type of each tensor.
type TypeRule string

// The rules.
const (
	Uniform TypeRule = "uniform" // every floating tensor alike
	GGML    TypeRule = "ggml"    // vectors and norms stay F32: what llama.cpp's runtime wants
)

// Target is what can be converted to: a format, a naming scheme, a dialect and a rule for types.
type Target struct {
	Name    string
	Format  formats.Format
	Scheme  arch.Scheme
	Dialect Dialect
	Types   TypeRule
	// Stem names the weights in a directory destination ("model"); File does so where the name is fixed and there are no shards.
	Stem, File string
	// Fixed is that what reads the files knows the shape of embedding and head, and wants the embedding.
	Fixed bool
	// Record is that a weights file alone holds its config.json as metadata.
	Record bool
	// Convention names the file in a directory destination by GGUF's convention: NAME-TYPE.
	Convention bool
	// Tied is how a tie is written: as one name or as two over one storage.
	Tied formats.AliasRule
	// Sorted puts the tensors of a file in the order of their names when they come from another scheme.
	Sorted bool
	// Shard is the default size of a shard in a directory destination, 0 for one file.
	Shard int64
}

// Policy is what --ties says.
type Policy string

// The policies.
const (
	Auto     Policy = "auto"
	Keep     Policy = "keep"
	TieAny   Policy = "tie"
	TieEmbed Policy = "tie=embed"
	TieHead  Policy = "tie=head"
	Untie    Policy = "untie"
)

// Options are the choices of a conversion. The zero value keeps types, judges ties by auto and takes the target's own names.
type Options struct {
	DType            string // "", "keep", or a type in any case
	Ties             Policy
	DiscardDiffering bool
	Dedup            bool  // store byte-equal tensors once where the target can say so
	ShardSize        int64 // 0 is the target's default, -1 one file
	KeepNames        bool
	Set              []string // KEY=VALUE, for GGUF
	ChatTemplate     string   // for GGUF
	Pre              string   // pre-tokenizer name for GGUF
	Name             string   // general.name
}

// Destination is where the result goes.
type Destination struct {
	Path string
	Dir  bool
}

// Op is one operation of a chain; which fields it uses depends on Kind.
type Op struct {
	Kind  string // "rows", "slice", "transpose", "add", "cast", "const"
	Heads int64
	Dir   view.Direction
	Lo    int64
	Hi    int64
	From  dtype.Type
	To    dtype.Type
	Value float32 `json:",omitempty"`
	Data  []byte
}

func (o Op) String() string {
	switch o.Kind {
	case "rows":
		return fmt.Sprintf("rows(%d heads, %s)", o.Heads, o.Dir)
	case "slice":
		return fmt.Sprintf("slice(rows %d:%d)", o.Lo, o.Hi)
	case "transpose":
		return "transpose"
	case "add":
		return fmt.Sprintf("add(%v)", o.Value)
	case "cast":
		return fmt.Sprintf("cast(%s to %s)", o.From, o.To)
	}
	return fmt.Sprintf("const(%d bytes)", len(o.Data))
}

// Part is one source of a step and what is done to it before the parts are joined.
type Part struct {
	From string
	Ops  []Op
}

// Step makes Target.Tensors[i] of the plan that it is Steps[i] of.
type Step struct {
	Parts []Part // joined along the rows; empty for a constant
	Ops   []Op   // after the join
}

// Side is a file of the result that holds no tensors: made from parameters, or copied from the source's directory.
type Side struct {
	Path  string
	Bytes int64
	Data  []byte
	From  string // name in the source's directory, if copied
}

// Plan is everything that a conversion will do. It holds no reader and no absolute path but Dest.
type Plan struct {
	ID     string // hex SHA-256 of all that determines the result
	Source *arch.Model
	To     Target
	Dest   Destination
	Target formats.Header
	Layout formats.Layout
	Steps  []Step
	Sides  []Side
	Notes  []formats.Note
	Groups []*Group        // the source's ties, judged
	Saved  int64           // bytes that the tie stage saves; negative if it adds
	Want   map[string]bool // by tie group: is one copy stored?
	// Factors are the rope divisors that the source stores as tensors, by role.
	Factors map[string][]float32
	Flag    *bool  // the tie flag that the target states, nil if it leaves it as it was
	Run     string // how to run the result, where there is one way
	// ReadBytes and WriteBytes are what executing reads of tensors and writes of files.
	ReadBytes, WriteBytes int64
}

// draft is a plan in the making: what the stages hand on.
type draft struct {
	m     *arch.Model
	t     Target
	o     Options
	ev    *Evidence
	dest  Destination
	items []*item
	// aliases are names of the target that share the bytes of an item.
	aliases []formats.Alias
	keep    bool     // names are kept
	dropped []string // names of the source that carry nothing
	notes   []formats.Note
	groups  []*Group
	flag    *bool // the tie flag to write; nil leaves it
	want    map[string]bool
	saved   int64
	file    []string // of each item
	matrix  dtype.Type
	stated  *config.Model // the parameters as the result states them, where that is not as the source does
}

// item is one tensor of the target.
type item struct {
	spec  *arch.Tensor // nil for a tensor without a role
	layer int64
	name  string
	shape []int64
	runs  []run
	ops   []Op       // after the runs are joined
	from  dtype.Type // as stored
	to    dtype.Type
	// shared says that the source holds it as another name of what an earlier item is made of. A target that can say so does.
	shared bool
	of     []*item // the parts of a join in the making
}

func (d *draft) note(level, subject, decision, because string) {
	d.notes = append(d.notes, formats.Note{Subject: subject, Decision: decision, Because: because, Warn: level == levelWarn})
}

// New makes the plan of converting m to t. It reads nothing but what m already holds. All problems of a stage come together.
func New(m *arch.Model, t Target, dest Destination, o Options, ev *Evidence) (*Plan, error) {
	if ev == nil {
		ev = &Evidence{}
	}
	d := &draft{m: m, t: t, o: o, ev: ev, dest: dest, want: map[string]bool{}}
	d.notes = append(d.notes, m.Notes...)
	for _, stage := range []func(*draft) error{(*draft).names, (*draft).ties, (*draft).layout, (*draft).fuse, (*draft).dtypes, (*draft).share, (*draft).shards} {
		if err := stage(d); err != nil {
			return nil, err
		}
	}
	p := &Plan{Source: m, To: t, Dest: dest, Notes: d.notes, Groups: d.groups, Saved: d.saved, Want: d.want, Flag: d.flag, Factors: d.ev.Factors}
	p.Target.Format = t.Format.Name
	for i, it := range d.items {
		n, err := d.bytes(it)
		if err != nil {
			return nil, err
		}
		p.Target.Tensors = append(p.Target.Tensors, formats.Tensor{Name: it.name, DType: it.to, Shape: it.shape, Bytes: n, File: d.file[i], Offset: -1})
		p.Steps = append(p.Steps, it.step())
	}
	p.Target.Aliases = d.aliases
	if err := d.dialect(p); err != nil {
		return nil, err
	}
	return p, p.place()
}

// bytes is the size of an item in the target. A type that this tool does not know keeps the size that it has.
func (d *draft) bytes(it *item) (int64, error) {
	if !it.to.Known() {
		return d.m.Lookup(it.runs[0].from).Bytes, nil
	}
	n, err := formats.TensorBytes(it.to, it.shape)
	if err != nil {
		return 0, formats.Errors(err)[0].In(it.name, "")
	}
	return n, nil
}

// place lays the target out, so that every offset and size is known, and names the plan.
func (p *Plan) place() error {
	for _, t := range p.Target.Tensors {
		if t.DType.Known() && !p.To.Format.Limits.Allows(t.DType) { // of unknown types the format's Layout decides
			return formats.Errorf(formats.BadDType, "%s does not hold type %s", p.To.Format.Name, t.DType).In(t.Name, "")
		}
		if len(t.Shape) > p.To.Format.Limits.Rank {
			return formats.Errorf(formats.BadShape, "%s holds at most %d dimensions, got %d", p.To.Format.Name, p.To.Format.Limits.Rank, len(t.Shape)).In(t.Name, "")
		}
	}
	var err error
	if p.Layout, err = p.To.Format.Layout(p.Target); err != nil {
		return err
	}
	for i := range p.Target.Tensors {
		t, at := &p.Target.Tensors[i], p.Layout.Places[i]
		t.File, t.Offset = p.Layout.Files[at.File].Path, at.Offset
	}
	for _, f := range p.Layout.Files {
		p.Target.Files = append(p.Target.Files, formats.File{Path: f.Path, Bytes: f.Bytes})
		p.WriteBytes += f.Bytes
	}
	if !p.Dest.Dir { // a set is found by its first file, which has another name than was asked for
		p.Dest.Path = filepath.Join(filepath.Dir(p.Dest.Path), p.Layout.Files[0].Path)
	}
	read := map[string]bool{}
	for _, s := range p.Steps {
		for _, part := range s.Parts {
			if t := p.Source.Lookup(part.From); !read[t.Name] {
				read[t.Name] = true
				p.ReadBytes += t.Bytes
			}
		}
	}
	for _, s := range p.Sides {
		p.WriteBytes += s.Bytes
	}
	return p.identify()
}

// identify hashes what determines the result: the source's headers and files, the steps, and every byte of the target that is not tensor data.
// Paths but for names within the destination, times and notes stay out of it.
func (p *Plan) identify() error {
	h := sha256.New()
	enc := json.NewEncoder(h)
	var errs []error
	put := func(v any) { errs = append(errs, enc.Encode(v)) }
	put("bowline.plan/2") // raised whenever the same steps would give other bytes
	put(p.To.Name)
	put(p.Source.Files)
	for _, t := range p.Source.Tensors {
		put([]any{t.Name, t.DType, t.Shape, t.File, t.Offset})
	}
	for i, s := range p.Steps {
		t := p.Target.Tensors[i]
		put([]any{t.Name, t.DType, t.Shape, t.File, t.Offset, s})
	}
	put(p.Target.Aliases)
	for _, f := range p.Layout.Files {
		put([]any{f.Path, f.Bytes})
		for _, part := range f.Parts {
			buf := make([]byte, part.Size)
			if _, err := part.Data.ReadAt(buf, 0); err != nil && part.Size > 0 && err != io.EOF {
				errs = append(errs, err)
			}
			put([]any{part.Offset, sha256.Sum256(buf)})
		}
	}
	for _, s := range p.Sides {
		put([]any{s.Path, s.Bytes, s.From, sha256.Sum256(s.Data)})
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	p.ID = hex.EncodeToString(h.Sum(nil))
	return nil
}

// requested is the type of --dtype, "" for keep.
func (o Options) requested() dtype.Type {
	t := dtype.Type(strings.ToUpper(o.DType))
	if t == "KEEP" {
		return ""
	}
	return t
}
