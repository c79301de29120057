package formats

import "io"

// ReadAt reads back bytes of a tensor that were staged, so that a resumed run can hold them against their digest.
func (w *Writer) ReadAt(tensor int, p []byte, off int64) error {
	if err := checkRange(w.l, tensor, int64(len(p)), off); err != nil {
		return err
	}
	at := w.l.Places[tensor]
	if n, err := w.files[at.File].ReadAt(p, at.Offset+off); n < len(p) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return outputError("read back", w.staged(at.File), err)
	}
	return nil
}

// OutputError gives an error of the file system on a path of the output its code: E_NOSPACE where the system refused, E_IO where it failed.
func OutputError(doing, path string, err error) error { return outputError(doing, path, err) }
