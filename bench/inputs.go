//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// llama is the size of a checkpoint. Its embeddings are tied.
type llama struct {
	hidden, layers, heads, groups, ffn, vocab int64
	shards                                    int
	biases, sparse                            bool // sparse: the data are holes
}

var models = map[string]llama{
	"1b":         {2048, 16, 32, 8, 8192, 128256, 3, false, false},
	"135m":       {576, 30, 9, 3, 1536, 49152, 1, false, false},
	"granite-8b": {4096, 36, 32, 8, 14336, 49152, 4, true, true},
}

// makeInputs makes what the jobs need and is not there. Having made something it starts the program anew: the memory that this took
// would count as every child's.
func makeInputs(dir string, todo []job) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	made := false
	for _, j := range todo {
		path := filepath.Join(dir, j.input)
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		log.Printf("making %s", path)
		tmp := path + ".part"
		if err := errors.Join(os.RemoveAll(tmp), os.Mkdir(tmp, 0o777)); err != nil {
			return err
		}
		err := error(nil)
		switch m, ok := models[j.input]; {
		case ok:
			err = m.write(tmp)
		case j.input == "20k":
			err = write(tmp, many(20000), rand.New(rand.NewPCG(2, 20)), false)
		case j.input == "1b-bare":
			err = links(tmp, filepath.Join(dir, "1b"))
		}
		if err != nil {
			return fmt.Errorf("making %s: %w", path, err)
		}
		if err := os.Rename(tmp, path); err != nil {
			return err
		}
		made = true
	}
	if !made {
		return nil
	}
	return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}

// links makes a directory of links to a model without its tokenizer.
func links(dir, model string) error {
	list, err := filepath.Glob(filepath.Join(model, "*.safetensors*"))
	for _, p := range append(list, filepath.Join(model, "config.json")) {
		abs, err2 := filepath.Abs(p)
		err = errors.Join(err, err2, os.Symlink(abs, filepath.Join(dir, filepath.Base(p))))
	}
	return err
}

// many is a header of small tensors.
func many(n int) (h formats.Header) {
	for i := range n {
		name := fmt.Sprintf("model.layers.%d.mlp.experts.%d.down_proj.weight", i/100, i%100)
		h.Tensors = append(h.Tensors, formats.Tensor{Name: name, DType: dtype.BF16, Shape: []int64{8, 16}, Bytes: 256, File: "model.safetensors"})
	}
	return h
}

// header names the tensors and cuts them into shards of about one size.
func (m llama) header() (h formats.Header) {
	total, size := int64(0), m.hidden/m.heads
	add := func(name string, shape ...int64) {
		n, _ := formats.TensorBytes(dtype.BF16, shape)
		h.Tensors = append(h.Tensors, formats.Tensor{Name: name, DType: dtype.BF16, Shape: shape, Bytes: n})
		total += n
	}
	linear := func(name string, out, in int64) {
		add(name+".weight", out, in)
		if m.biases {
			add(name+".bias", out)
		}
	}
	add("model.embed_tokens.weight", m.vocab, m.hidden)
	for i := range m.layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		add(p+"input_layernorm.weight", m.hidden)
		linear(p+"mlp.down_proj", m.hidden, m.ffn)
		linear(p+"mlp.gate_proj", m.ffn, m.hidden)
		linear(p+"mlp.up_proj", m.ffn, m.hidden)
		add(p+"post_attention_layernorm.weight", m.hidden)
		linear(p+"self_attn.k_proj", m.groups*size, m.hidden)
		linear(p+"self_attn.o_proj", m.hidden, m.hidden)
		linear(p+"self_attn.q_proj", m.hidden, m.hidden)
		linear(p+"self_attn.v_proj", m.groups*size, m.hidden)
	}
	add("model.norm.weight", m.hidden)
	done := int64(0)
	for i := range h.Tensors {
		t := &h.Tensors[i]
		t.File = "model.safetensors"
		if m.shards > 1 {
			t.File = safetensors.Format.ShardName("model", int((done+t.Bytes/2)*int64(m.shards)/total), m.shards)
		}
		done += t.Bytes
	}
	return h
}

func (m llama) write(dir string) error {
	config, err := json.MarshalIndent(map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "torch_dtype": "bfloat16", "tie_word_embeddings": true, "transformers_version": "4.57.6",
		"hidden_size": m.hidden, "num_hidden_layers": m.layers, "num_attention_heads": m.heads, "num_key_value_heads": m.groups, "head_dim": m.hidden / m.heads,
		"intermediate_size": m.ffn, "vocab_size": m.vocab, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
		"attention_bias": m.biases, "mlp_bias": m.biases, "bos_token_id": m.vocab - 2, "eos_token_id": m.vocab - 1,
	}, "", "  ")
	return errors.Join(err, os.WriteFile(filepath.Join(dir, "config.json"), config, 0o666),
		writeTokenizer(dir, int(m.vocab)), write(dir, m.header(), rand.New(rand.NewPCG(1, uint64(m.hidden))), m.sparse))
}

// write lays out a header and fills its tensors.
func write(dir string, h formats.Header, r *rand.Rand, sparse bool) error {
	l, err := safetensors.Format.Layout(h)
	if err != nil {
		return err
	}
	for i, file := range l.Files {
		f, err := os.Create(filepath.Join(dir, file.Path))
		if err != nil {
			return err
		}
		err = f.Truncate(file.Bytes)
		for _, p := range file.Parts {
			_, err2 := io.Copy(io.NewOffsetWriter(f, p.Offset), io.NewSectionReader(p.Data, 0, p.Size))
			err = errors.Join(err, err2)
		}
		for k, at := range l.Places {
			if at.File == i && !sparse && err == nil {
				err = fill(io.NewOffsetWriter(f, at.Offset), h.Tensors[k], r)
			}
		}
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// fill writes random values of the size that a trained model's have: norms about 1, rows of matrices of length about 1. They are
// drawn from a table of 65,536, since drawing normal values one by one takes longer than all runs.
func fill(to io.Writer, t formats.Tensor, r *rand.Rand) error {
	table := make([]uint16, 1<<16)
	for i := range table {
		v := 1 + 0.3*r.NormFloat64()
		if len(t.Shape) > 1 {
			v = r.NormFloat64() / math.Sqrt(float64(t.Shape[1]))
		}
		table[i] = uint16((math.Float32bits(float32(v)) + 1<<15) >> 16) // no infinities here, and ties do not matter
	}
	w := bufio.NewWriterSize(to, 1<<20)
	var b [8]byte
	for left := t.Bytes; left > 0; left -= 8 {
		u := r.Uint64()
		for i := range 4 {
			binary.LittleEndian.PutUint16(b[2*i:], table[uint16(u>>(16*i))])
		}
		if _, err := w.Write(b[:min(left, 8)]); err != nil {
			return err
		}
	}
	return w.Flush()
}
