package corpus

import "github.com/bowline-ml/bowline/formats"

// What the readers of each format may allocate in all; what small files may is what their windows and tables take, which were measured.
var (
	pickleBudget      = budget{times: 16, plus: 16 << 20, smallTimes: 16, smallPlus: 64 << 10}
	safetensorsBudget = budget{times: 8, plus: 16 << 20, smallTimes: 8, smallPlus: 64 << 10}
	indexBudget       = budget{times: 8, plus: 16 << 20, smallTimes: 8, smallPlus: 96 << 10} // of three files, each with a window
	ggufBudget        = budget{times: 4, plus: 16 << 20, smallTimes: 4, smallPlus: 64 << 10}
	rawBudget         = budget{times: 8, plus: 16 << 20, smallTimes: 8, smallPlus: 16 << 10}
	tokenizerBudget   = budget{times: 32, plus: 16 << 20, smallTimes: 32, smallPlus: 64 << 10}
	textBudget        = budget{times: 32, plus: 1 << 20, smallTimes: 32, smallPlus: 64 << 10}
)

// Pickle is the pickles of archives: what no protocol has, storages and tensors, dictionaries.
func Pickle() Group {
	bad := append(append(machines(), tensors()...), states()...)
	for i := range bad {
		if bad[i].Code == formats.Limit && bad[i].Len() <= smallFile {
			bad[i].Memory = 1 << 20 // what contains itself is walked until its budget is spent, in small steps
		}
	}
	return group("pickle", "formats/pytorch", "model.bin", pickleBudget, bad, oddPickles())
}

// Payload is pickles that ask for code to be run.
func Payload() Group {
	return group("payload", "formats/pytorch", "model.bin", pickleBudget, Payloads("PWNED"))
}

// Zip is archives around a good pickle.
func Zip() Group { return group("zip", "formats/pytorch", "model.bin", pickleBudget, containers()) }

// Legacy is files from before PyTorch 1.6, and tar files.
func Legacy() Group {
	return group("legacy and tar", "formats/pytorch", "model.bin", pickleBudget, relics(), oddRelics())
}

// Safetensors is single files.
func Safetensors() Group {
	return group("safetensors", "formats/safetensors", "model.safetensors", safetensorsBudget, refused(), oddST())
}

// Index is indexes of shards, beside two shards of safetensors.
func Index() Group {
	return group("index", "formats/index", IndexName, indexBudget, indexes(), oddIndexes())
}

// GGUF is files and sets.
func GGUF() Group {
	return group("gguf", "formats/gguf", "model.gguf", ggufBudget, hostileFiles(), moreHostile(), hostileSets(), oddGGUF())
}

// NPY is arrays of NumPy.
func NPY() Group { return group("npy", "formats/raw", "model.npy", rawBudget, arrays(), oddArrays()) }

// Raw is folders of arrays and dumps with a manifest.
func Raw() Group {
	return group("raw", "formats/raw", manifestName, rawBudget, manifests(), oddManifests())
}
