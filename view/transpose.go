package view

// Transpose turns a matrix of rows x cols elements of size bytes into one of cols x rows. The elements of a row of the result lie a row of v
// apart; a read gathers the tile that it covers, so that each byte of v is asked for once.
func Transpose(v View, rows, cols, size int64) View {
	return &transpose{v: v, rows: rows, cols: cols, size: size}
}

type transpose struct {
	v                View
	rows, cols, size int64 // of v
}

func (t *transpose) Size() int64              { return t.rows * t.cols * t.size }
func (t *transpose) Cut(off, max int64) int64 { return cut(off, max, t.rows*t.size, t.Size()) }

func (t *transpose) ReadAt(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	row := t.rows * t.size // of the result
	first, last := off/row, (off+int64(len(p))-1)/row
	width := (last - first + 1) * t.size // of the tile's rows
	tile := borrow(t.rows * width)
	defer scratch.Put(tile)
	if width == t.cols*t.size {
		if _, err := t.v.ReadAt(*tile, 0); err != nil {
			return 0, err
		}
	} else {
		for r := range t.rows {
			if _, err := t.v.ReadAt((*tile)[r*width:(r+1)*width], (r*t.cols+first)*t.size); err != nil {
				return 0, err
			}
		}
	}
	for done := int64(0); done < int64(len(p)); {
		at := off + done
		c, r, in := at/row-first, at%row/t.size, at%t.size
		done += int64(copy(p[done:], (*tile)[r*width+c*t.size+in:r*width+(c+1)*t.size]))
	}
	return len(p), nil
}
