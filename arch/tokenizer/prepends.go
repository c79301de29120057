package tokenizer

// Prepends reports whether the post-processor of a tokenizer.json puts a token before every text, which is BOS where there is one.
func Prepends(b []byte) (bool, error) {
	d, err := parse("tokenizer.json", b)
	if err != nil {
		return false, err
	}
	procs, err := processors(d.post)
	if err != nil {
		return false, place(err, "tokenizer.json")
	}
	for _, p := range procs {
		before, _, err := p.around()
		if err != nil {
			return false, place(err, "tokenizer.json")
		}
		if len(before) > 0 {
			return true, nil
		}
	}
	return false, nil
}
