package pytorch_test

import "github.com/bowline-ml/bowline/formats/formatstest/corpus"

// The builder of the corpus, by the short names that the tests here use.
var (
	le16, le32, le64                          = corpus.LE16, corpus.LE32, corpus.LE64
	archive, records, checkpoint              = corpus.Pack, corpus.Records, corpus.Checkpoint
	rec, plain, unsummed                      = corpus.Rec, corpus.Plain, corpus.Unsummed
	str, global, tuple, num, ordered          = corpus.Str, corpus.Global, corpus.Tuple, corpus.Num, corpus.Ordered
	dict, ints, storage, rebuild, good, state = corpus.Dict, corpus.Ints, corpus.Storage, corpus.Rebuild, corpus.Good, corpus.State
	relicOf, older, part, parts16, system     = corpus.RelicOf, corpus.Older, corpus.Part, corpus.Parts16, corpus.System
	listOf                                    = corpus.ListOf
)

const (
	proto, folder, sixty4    = corpus.Proto, corpus.Folder, corpus.Sixty4
	magicPickle, thousandOne = corpus.MagicPickle, corpus.ThousandOne
	pkl, zero                = folder + "data.pkl", folder + "data/0"

	cdField    = "central directory"
	endField   = "end of central directory"
	localField = "local header"
)
