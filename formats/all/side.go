package all

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/formats/index"
)

// weights are the suffixes of files that hold weights, of this tool's formats and of others that lie beside them on model hubs.
var weights = []string{".safetensors", ".gguf", ".bin", ".pt", ".pth", ".npy", ".npz", ".raw", ".ckpt", ".h5", ".msgpack", ".ot", ".onnx", ".tflite"}

// Side lists the side files of a directory: configuration, tokenizer, whatever is copied along with a model. They are its regular
// files (links followed) but for weights, indexes and dot files, sorted by name. A link that leads nowhere is left out, with a note.
func Side(fsys fsio.FS, dir string) ([]formats.File, []formats.Note, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, nil, unreadable(dir, err)
	}
	var notes []formats.Note
	var files []formats.File
	for _, e := range entries {
		name := e.Name()
		if _, list := index.Weights(name); strings.HasPrefix(name, ".") || list || name == "tensors.json" ||
			slices.Contains(weights, strings.ToLower(filepath.Ext(name))) {
			continue
		}
		st, err := fsys.Stat(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) || err != nil && e.Type()&fs.ModeSymlink != 0 {
			notes = append(notes, formats.Note{Subject: name, Decision: "left out", Because: "the link leads to no file", Warn: true})
			continue
		}
		if err != nil {
			return nil, nil, unreadable(filepath.Join(dir, name), err)
		}
		if st.Mode().IsRegular() {
			files = append(files, formats.File{Path: name, Bytes: st.Size()})
		}
	}
	slices.SortFunc(files, func(a, b formats.File) int { return strings.Compare(a.Path, b.Path) })
	return files, notes, nil
}
