package verify

// suite is the number of tokens that tell faults apart; a window or a rope's original length below reach makes the suite longer.
const (
	suite = 64
	past  = 8 // rows beyond a window or an original length
	reach = 512
)

// Tokens is the built-in prompt: the ids 0 and vocab-1 and all special ones, a spread over the vocabulary, and some ids again. It is longer than
// a sliding window and than the original length of a scaled rope where these are under 512, and never longer than maxPos. A zero says that the
// model has no such limit.
func Tokens(vocab, maxPos, window, original int64, special []int64) []int32 {
	n := int64(suite)
	for _, limit := range []int64{window, original} {
		if limit > 0 && limit < reach {
			n = max(n, limit+past)
		}
	}
	if maxPos > 0 {
		n = min(n, maxPos)
	}
	if vocab <= 0 || n <= 0 {
		return nil
	}
	seen := map[int64]bool{}
	var out []int32
	add := func(id int64) {
		if id >= 0 && id < vocab && !seen[id] && int64(len(out)) < n {
			seen[id] = true
			out = append(out, int32(id))
		}
	}
	add(0)
	add(vocab - 1)
	for _, id := range special {
		add(id)
	}
	repeats := n / 8
	// Both ends, where padding and added tokens are, then steps through the middle.
	for i := range min(8, n/8) {
		add(1 + i)
		add(vocab - 2 - i)
	}
	ends := len(out)
	for i := range n {
		if int64(len(out)) < n-repeats {
			add((2*i + 1) * vocab / (2 * n))
		}
	}
	// Ids come again, in another order than before. They are ordinary ones if there are any: a trained model that meets a special token twice
	// in a row of text may be at the edge of an outlier channel, where the least rounding moves a whole row.
	again := out[ends:]
	if len(again) == 0 {
		again = out
	}
	for i, fresh := 0, len(again); int64(len(out)) < n; i++ {
		out = append(out, again[(3*i+2)%fresh])
	}
	return out
}
