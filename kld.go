package bowline

import (
	"context"
	"fmt"

	"github.com/bowline-ml/bowline/arch"
	"github.com/bowline-ml/bowline/convert"
	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/fsio"
	"github.com/bowline-ml/bowline/verify"
)

// kldValues is how many log-probabilities are compared at most: more chunks tell no more of a conversion.
const kldValues = 1 << 27

// baseFile opens a KLD base file of llama-perplexity; nil if path is something else. The caller closes the file.
func baseFile(fsys fsio.FS, path string) (*verify.KLD, fsio.File, error) {
	st, err := fsys.Stat(path)
	if err != nil || !st.Mode().IsRegular() {
		return nil, nil, nil // what it is, others say
	}
	f, err := fsys.Open(path)
	if err != nil {
		return nil, nil, unreadable(err, path)
	}
	magic := make([]byte, len(verify.KLDMagic))
	if n, _ := f.ReadAt(magic, 0); n < len(magic) || string(magic) != verify.KLDMagic {
		return nil, nil, f.Close()
	}
	k, err := verify.OpenKLD(f, st.Size())
	if err != nil {
		f.Close()
		return nil, nil, formats.At(err, path)
	}
	return k, f, nil
}

// againstBase judges a model by log-probabilities of llama-perplexity, a chunk at a time.
func againstBase(ctx context.Context, m *arch.Model, k *verify.KLD, path string, o VerifyOptions) (*verify.Report, error) {
	if o.Tokens != nil {
		return nil, formats.Errorf(formats.Usage, "the base file has tokens of its own").At(path, -1)
	}
	if int64(k.Vocab) != m.Config.Vocab {
		return nil, formats.Errorf(formats.Mismatch, "got a vocabulary of %d, want the model's %d", k.Vocab, m.Config.Vocab).At(path, -1)
	}
	var notes []formats.Note
	bos, err := addsBOS(m)
	if err != nil {
		notes = append(notes, formats.Note{Subject: "tokens", Decision: "as the file has them", Warn: true,
			Because: "no tokenizer says whether llama-perplexity put BOS in place of the first of each chunk"})
	}
	chunks := min(k.Chunks, max(1, kldValues/(k.Rows()*k.Vocab)))
	if chunks < k.Chunks {
		notes = append(notes, formats.Note{Subject: "tokens", Decision: fmt.Sprintf("%d of %d chunks compared", chunks, k.Chunks), Because: "more would need much memory and tell no more"})
	}
	ref, test := &verify.Trace{}, &verify.Trace{}
	for i := range chunks {
		tokens := append([]int32{}, k.Tokens[i*k.Context:(i+1)*k.Context]...)
		if bos != nil {
			tokens[0] = int32(*bos)
		}
		want, err := k.Chunk(i)
		if err != nil {
			return nil, formats.At(err, path)
		}
		t, err := verify.Run(ctx, m, tokens, o.run())
		if err != nil {
			return nil, formats.At(err, m.Path())
		}
		last := k.Context - 1
		ref.Append(tokens[k.First():last], want)
		test.Append(tokens[k.First():last], t.Logits.LogProbs(k.First(), last))
	}
	subject := verify.Subject{Path: path, Kind: verify.Logits, Schema: verify.KLDSchema, Engine: "llama.cpp"}
	r, err := verify.Compare(ref, test, verify.CompareOptions{Class: o.Class, Reference: subject, Test: verify.Describe(m, Version, o.run())})
	if err != nil {
		return nil, err
	}
	r.Notes = append(r.Notes, notes...)
	return r, nil
}

// addsBOS is the token that a model's tokenizer puts before a text, nil if it puts none.
func addsBOS(m *arch.Model) (*int64, error) {
	v, _, err := convert.Vocabulary(m)
	if err != nil {
		return nil, err
	}
	with, err := v.Encode("", true)
	if err != nil || len(with) == 0 || m.Config.BOS == nil || int64(with[0]) != *m.Config.BOS {
		return nil, err
	}
	return m.Config.BOS, nil
}
