package convert

import (
	"slices"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/arch/config"
)

// Reading is what another program makes of a tie group. The zero value is that it does not read such a source; JSON has null for it.
type Reading string

// The readings.
const (
	ReadTied   Reading = "tied"   // the embedding is the head
	ReadUntied Reading = "untied" // the stored head is the head
	ReadRandom Reading = "random" // a matrix that is not stored is made up
	ReadFails  Reading = "fails"  // it does not load, or does not run
)

// MarshalJSON writes null for a source that is not read.
func (r Reading) MarshalJSON() ([]byte, error) {
	if r == "" {
		return []byte("null"), nil
	}
	return []byte(`"` + string(r) + `"`), nil
}

// Readings is what each program makes of a checkpoint. Of a Hugging Face directory, llama.cpp and TorchChat read what their own
// converters make of it.
type Readings struct {
	Transformers4 Reading `json:"transformers4"`
	Transformers5 Reading `json:"transformers5"`
	LlamaCPP      Reading `json:"llama.cpp"`
	TorchChat     Reading `json:"torchchat"`
}

// Reader is a program with its reading.
type Reader struct {
	Name    string
	Reading Reading
}

// Each lists the readings, in the order of the fields.
func (r Readings) Each() []Reader {
	return []Reader{{"transformers4", r.Transformers4}, {"transformers5", r.Transformers5}, {"llama.cpp", r.LlamaCPP}, {"torchchat", r.TorchChat}}
}

// container is where a reader finds the members.
type container string

const (
	hub      container = "hugging face" // config.json beside safetensors or .bin, one file or shards: no reader tells these apart
	keyed    container = "gguf"
	pth      container = "model.pth" // with params.json
	nobodys  container = ""
	wrapping           = "text_config" // a config.json whose text_config is an object, which no class of ours has
)

// members is what is stored of a group, as far as a reader sees it.
type members string

const (
	embedOnly  members = "embedding only"
	headOnly   members = "head only"
	equal      members = "equal" // after widening
	oneStorage members = "one storage"
	different  members = "different"
	otherShape members = "other shape"
	neither    members = "neither"
)

// readingsOf is what each program was seen to do: a row for what is stored where, with the answers for a flag that this program takes for
// true and for one it takes for false, in the order of Readings. llama.cpp asks no flag. Source: testdata/readers/answers.json (transformers
// 4.57.6 and 5.23.0, llama.cpp of 2026-10, TorchChat a1a7f370), all of whose rows are held against this table.
var readingsOf = []struct {
	in       container
	stored   members
	yes, not [4]Reading
}{
	{hub, embedOnly, [4]Reading{ReadTied, ReadTied, ReadTied, ReadTied}, [4]Reading{ReadRandom, ReadRandom, ReadTied, ReadFails}},
	{hub, headOnly, [4]Reading{ReadFails, ReadTied, ReadFails, ReadFails}, [4]Reading{ReadRandom, ReadRandom, ReadFails, ReadFails}},
	{hub, equal, [4]Reading{ReadTied, ReadTied, ReadUntied, ReadUntied}, [4]Reading{ReadUntied, ReadUntied, ReadUntied, ReadUntied}},
	{hub, oneStorage, [4]Reading{ReadTied, ReadTied, ReadUntied, ReadTied}, [4]Reading{ReadTied, ReadTied, ReadUntied, ReadTied}},
	{hub, different, [4]Reading{ReadTied, ReadUntied, ReadUntied, ReadUntied}, [4]Reading{ReadUntied, ReadUntied, ReadUntied, ReadUntied}},
	{hub, otherShape, [4]Reading{ReadFails, ReadFails, ReadFails, ReadFails}, [4]Reading{ReadFails, ReadFails, ReadFails, ReadFails}},
	{hub, neither, [4]Reading{ReadRandom, ReadRandom, ReadFails, ReadFails}, [4]Reading{ReadRandom, ReadRandom, ReadFails, ReadFails}},
	{pth, embedOnly, [4]Reading{3: ReadTied}, [4]Reading{3: ReadFails}},
	{pth, headOnly, [4]Reading{3: ReadFails}, [4]Reading{3: ReadFails}},
	{pth, equal, [4]Reading{3: ReadUntied}, [4]Reading{3: ReadUntied}},
	{pth, oneStorage, [4]Reading{3: ReadTied}, [4]Reading{3: ReadTied}},
	{pth, different, [4]Reading{3: ReadUntied}, [4]Reading{3: ReadUntied}},
	{pth, otherShape, [4]Reading{3: ReadFails}, [4]Reading{3: ReadFails}},
	{pth, neither, [4]Reading{3: ReadFails}, [4]Reading{3: ReadFails}},
	{keyed, embedOnly, [4]Reading{2: ReadTied}, [4]Reading{2: ReadTied}},
	{keyed, headOnly, [4]Reading{2: ReadFails}, [4]Reading{2: ReadFails}},
	{keyed, equal, [4]Reading{2: ReadUntied}, [4]Reading{2: ReadUntied}},
	{keyed, different, [4]Reading{2: ReadUntied}, [4]Reading{2: ReadUntied}},
	{keyed, otherShape, [4]Reading{2: ReadFails}, [4]Reading{2: ReadFails}},
	{keyed, neither, [4]Reading{2: ReadFails}, [4]Reading{2: ReadFails}},
}

// slots is where a runtime's rule for the head changes what llama.cpp does with a GGUF file. Read in its source, not run: load_tensors of
// the architectures ("missing tensor 'output.weight'"), done_getting_tensors ("wrong number of tensors").
var slots = []struct {
	slot    arch.Slot
	stored  members
	reading Reading
}{
	{arch.Required, embedOnly, ReadFails},
	{arch.Forbidden, equal, ReadFails},
	{arch.Forbidden, different, ReadFails},
}

// readerNotes are what a table of words cannot say. A row applies where all that it names is so; an empty field is anything.
var readerNotes = []struct {
	reader  string
	in      container
	stored  members
	reading Reading
	note    string
}{
	{"transformers4", hub, different, ReadTied, "transformers 4 overwrites the stored head with the embedding, without a message"},
	{"transformers4", hub, headOnly, ReadFails, "transformers 4 loads it without a message, and fails when it is run: the tensors have no data"},
	{"transformers4", hub, embedOnly, ReadRandom, "transformers 4 makes up a random head, and reports it as a missing key only"},
	{"transformers4", hub, headOnly, ReadRandom, "transformers 4 makes up a random embedding, and reports it as a missing key only"},
	{"transformers4", hub, neither, ReadRandom, "transformers 4 makes up a random embedding, and reports it as a missing key only"},
	{"transformers5", hub, different, ReadUntied, "transformers 5 keeps the stored head, and saves the flag as it was"},
	{"transformers5", hub, embedOnly, ReadRandom, "transformers 5 makes up a random head, and reports it as a missing key only"},
	{"transformers5", hub, headOnly, ReadRandom, "transformers 5 makes up a random embedding, and reports it as a missing key only"},
	{"transformers5", hub, neither, ReadRandom, "transformers 5 makes up a random embedding, and reports it as a missing key only"},
	{"llama.cpp", hub, embedOnly, ReadTied, "llama.cpp ties where no head is stored, whatever the flag says"},
	{"llama.cpp", hub, headOnly, ReadFails, "llama.cpp's converter writes a file without token_embd.weight, which its runtime does not load"},
	{"llama.cpp", hub, equal, ReadUntied, "llama.cpp's converter writes the head a second time, although it is equal"},
	{"llama.cpp", hub, oneStorage, ReadUntied, "llama.cpp's converter writes the head a second time: it does not see that the two share one storage"},
	{"llama.cpp", keyed, embedOnly, ReadFails, "llama.cpp's runtime needs output.weight for this architecture"},
	{"llama.cpp", keyed, equal, ReadFails, "llama.cpp's runtime takes no output.weight for this architecture"},
	{"llama.cpp", keyed, different, ReadFails, "llama.cpp's runtime takes no output.weight for this architecture"},
	{"torchchat", "", embedOnly, ReadFails, "TorchChat does not load it: model.output.weight is missing, and the flag is not true"},
	{"torchchat", "", headOnly, ReadFails, "TorchChat does not load it: model.tok_embeddings.weight is missing"},
	{"torchchat", hub, equal, ReadUntied, "TorchChat's converter writes the head a second time, although it is equal"},
}

// read finds what each program makes of a judged group, and what is to be said about it.
func (g *Group) read(m *arch.Model) {
	g.Notes = []string{}
	in, stored := g.container(m), g.stored()
	if in == nobodys {
		return
	}
	var all [4]Reading
	for _, row := range readingsOf {
		if row.in != in || row.stored != stored {
			continue
		}
		for i, takes := range g.taken(m) {
			all[i] = row.not[i]
			if takes {
				all[i] = row.yes[i]
			}
		}
	}
	for _, s := range slots {
		if in == keyed && s.slot == g.tie.Slot && s.stored == stored {
			all[2] = s.reading
		}
	}
	if in == hub {
		if m.Family.GGUF == "" || g.tie.Slot != arch.Optional { // what its converters do then was not looked at
			all[2] = ""
		}
		if m.Family.Check == nil || m.Family.Layouts[arch.TorchChat] == (arch.Layout{}) || m.Family.Check(m.Config, arch.TorchChat) != nil {
			all[3] = "" // it has no such models
		}
		if m.Doc != nil && m.Doc.IsObject(wrapping) && m.Family.Inner[m.Class] == "" {
			all[0], all[1] = ReadFails, ReadFails
			g.Notes = append(g.Notes, "transformers does not load a "+m.Class+" whose config.json has a text_config")
		}
	}
	g.Reads = Readings{all[0], all[1], all[2], all[3]}
	for _, n := range readerNotes {
		for _, r := range g.Reads.Each() {
			if n.reader == r.Name && n.reading == r.Reading && n.stored == stored && (n.in == in || n.in == "") && g.deserves(n.stored, n.reading) {
				g.Notes = append(g.Notes, n.note)
			}
		}
	}
	if in == keyed && m.Family.Layouts[arch.TorchChat] != (arch.Layout{}) {
		// utils/gguf_loader.py: every name has to end in "weight", and the tie flag is never set.
		g.Notes = append(g.Notes, "TorchChat's own reader of GGUF knows no ties and no biases: convert to torchchat")
	}
}

// deserves keeps notes for where a declaration and what is stored disagree: that an untied model is read as one is no news.
func (g *Group) deserves(stored members, r Reading) bool {
	switch {
	case (stored == different || stored == equal) && r == ReadUntied:
		return g.column == colTrue || g.column == colTrueDef
	case stored == embedOnly && r == ReadTied:
		return g.column != colTrue
	}
	return true
}

// container says which program's files these are.
func (g *Group) container(m *arch.Model) container {
	switch {
	case m.Config == nil || m.Foreign != "":
		return nobodys
	case m.Keyed && m.Scheme == arch.GGUF:
		return keyed
	case m.Keyed:
		return nobodys // its names were kept, so no runtime reads it
	case m.Scheme == arch.HF && m.Doc != nil && (m.Format == "safetensors" || m.Format == "pytorch"):
		return hub
	case (m.Scheme == arch.TorchChat || m.Scheme == arch.Meta) && m.Format == "pytorch":
		return pth
	}
	return nobodys
}

// stored is what a reader finds.
func (g *Group) stored() members {
	switch {
	case g.embed == nil && g.head == nil:
		return neither
	case g.head == nil:
		return embedOnly
	case g.embed == nil:
		return headOnly
	case g.Storage == "same":
		return oneStorage
	case !slices.Equal(g.embed.Shape, g.head.Shape):
		return otherShape
	case g.ValueRelation == nil || *g.ValueRelation == Incomparable:
		return ""
	case *g.ValueRelation == Equal || *g.ValueRelation == CastEqual:
		return equal
	}
	return different
}

// taken is what each reader takes the flag for: what the outermost level states, else its own default. The class default of the version that
// wrote the file is nobody's.
func (g *Group) taken(m *arch.Model) [4]bool {
	out := [4]bool{g.tie.Default[4], g.tie.Default[5], false, false}
	for _, d := range g.Declared {
		if d.Path == g.tie.Flag {
			out = [4]bool{d.Value, d.Value, d.Value, d.Value}
		}
	}
	if m.Params != nil { // the one file that TorchChat reads
		out[3] = slices.ContainsFunc(m.Config.Tie, func(d config.Declared) bool { return d.Path == config.ParamsTie && d.Value })
	}
	return out
}
