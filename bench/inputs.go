//go:build linux

package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/dtype"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// llama is the size of a checkpoint with tied embeddings.
type llama struct {
	hidden, layers, heads, groups, ffn, vocab, shards int64
	biases                                            bool
	contents                                          contents
}

var models = map[string]llama{
	"1b":         {2048, 16, 32, 8, 8192, 128256, 3, false, random},
	"135m":       {576, 30, 9, 3, 1536, 49152, 1, false, random},
	"granite-8b": {4096, 36, 32, 8, 14336, 49152, 4, true, holes},
}

// makeInputs makes what the jobs need and is not there. Then it starts the program anew, because the memory that this took would
// count as every child's.
func makeInputs(dir, tool string, todo []job) error {
	made := false
	for _, j := range todo {
		model, _, _ := strings.Cut(j.input, "-")
		if _, ok := models[j.input]; ok {
			model = j.input
		}
		for _, name := range slices.Compact([]string{model, j.input}) {
			path := filepath.Join(dir, name)
			if _, err := os.Stat(path); err == nil {
				continue
			}
			log.Printf("making %s", path)
			made = true
			tmp := path + ".part"
			if err := errors.Join(os.RemoveAll(tmp), os.MkdirAll(tmp, 0o777), makeInput(tmp, name, tool)); err != nil {
				return err
			}
			if err := os.Rename(tmp, path); err != nil {
				return err
			}
		}
	}
	if made {
		return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	}
	return nil
}

func makeInput(dir, name, tool string) error {
	of, form, _ := strings.Cut(name, "-")
	of = filepath.Join(filepath.Dir(dir), of)
	switch form {
	case "bin":
		return made(exec.Command(tool, "convert", of, filepath.Join(dir, "pytorch_model.bin"), "--quiet"), os.Symlink(filepath.Join(of, "config.json"), filepath.Join(dir, "config.json")))
	case "gguf":
		return made(exec.Command(tool, "convert", of, filepath.Join(dir, "x.gguf"), "--quiet", "--pre", "gpt-2"), os.Symlink(of, filepath.Join(dir, "hf")))
	}
	if name == "pair" {
		return pair(dir)
	}
	if name == "20k" {
		var h formats.Header
		for i := range 20000 {
			name := fmt.Sprintf("model.layers.%d.mlp.experts.%d.down_proj.weight", i/100, i%100)
			h.Tensors = append(h.Tensors, formats.Tensor{Name: name, DType: dtype.BF16, Shape: []int64{8, 16}, Bytes: 256, File: "model.safetensors"})
		}
		return write(dir, h, random)
	}
	if of, ok := strings.CutSuffix(name, "-bare"); ok { // links to the model, without its tokenizer
		list, err := filepath.Glob(filepath.Join(filepath.Dir(dir), of, "*"))
		for _, p := range list {
			if base := filepath.Base(p); !strings.HasPrefix(base, "tokenizer") {
				err = errors.Join(err, os.Symlink(p, filepath.Join(dir, base)))
			}
		}
		return err
	}
	m := models[name]
	return errors.Join(writeJSON(dir, "config.json", map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "torch_dtype": "bfloat16", "tie_word_embeddings": true, "transformers_version": "4.57.6",
		"hidden_size": m.hidden, "num_hidden_layers": m.layers, "num_attention_heads": m.heads, "num_key_value_heads": m.groups, "intermediate_size": m.ffn,
		"vocab_size": m.vocab, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
		"attention_bias": m.biases, "mlp_bias": m.biases, "bos_token_id": m.vocab - 2, "eos_token_id": m.vocab - 1,
	}), tokenizer(dir, int(m.vocab)), write(dir, m.header(), m.contents))
}

// made runs a command that makes an input.
func made(cmd *exec.Cmd, err error) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return err
}

// pair is a model of nothing but an embedding and an equal head.
func pair(dir string) error {
	const vocab, hidden = 128256, 2048
	var h formats.Header
	for _, name := range []string{"lm_head.weight", "model.embed_tokens.weight"} {
		h.Tensors = append(h.Tensors, formats.Tensor{Name: name, DType: dtype.BF16, Shape: []int64{vocab, hidden}, Bytes: vocab * hidden * 2, File: "model.safetensors"})
	}
	err := writeJSON(dir, "config.json", map[string]any{"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "hidden_size": hidden, "num_hidden_layers": 0,
		"num_attention_heads": 32, "intermediate_size": 64, "vocab_size": vocab, "tie_word_embeddings": true})
	return errors.Join(err, write(dir, h, equal))
}

func writeJSON(dir, name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	return errors.Join(err, os.WriteFile(filepath.Join(dir, name), b, 0o666))
}

// header names the tensors of a model and cuts them into shards of about one size.
func (m llama) header() (h formats.Header) {
	total, done := int64(0), int64(0)
	add := func(name string, shape ...int64) {
		n, _ := formats.Elems(shape)
		h.Tensors = append(h.Tensors, formats.Tensor{Name: name, DType: dtype.BF16, Shape: shape, Bytes: 2 * n, File: "model.safetensors"})
		total += 2 * n
	}
	add("model.embed_tokens.weight", m.vocab, m.hidden)
	for i := range m.layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		add(p+"input_layernorm.weight", m.hidden)
		add(p+"post_attention_layernorm.weight", m.hidden)
		narrow := m.groups * (m.hidden / m.heads)
		for _, w := range []struct {
			name    string
			out, in int64
		}{{"mlp.down_proj", m.hidden, m.ffn}, {"mlp.gate_proj", m.ffn, m.hidden}, {"mlp.up_proj", m.ffn, m.hidden}, {"self_attn.k_proj", narrow, m.hidden},
			{"self_attn.o_proj", m.hidden, m.hidden}, {"self_attn.q_proj", m.hidden, m.hidden}, {"self_attn.v_proj", narrow, m.hidden}} {
			add(p+w.name+".weight", w.out, w.in)
			if m.biases {
				add(p+w.name+".bias", w.out)
			}
		}
	}
	add("model.norm.weight", m.hidden)
	for i := range h.Tensors {
		if t := &h.Tensors[i]; m.shards > 1 {
			t.File = safetensors.Format.ShardName("model", int((done+t.Bytes/2)*m.shards/total), int(m.shards))
			done += t.Bytes
		}
	}
	return h
}

// contents are what the tensors of an input hold.
type contents string

const (
	random contents = "random values"
	equal  contents = "the same random values in each tensor"
	holes  contents = "nothing, in a sparse file"
)

// write lays out a header and fills its tensors.
func write(dir string, h formats.Header, with contents) error {
	l, err := safetensors.Format.Layout(h)
	r := rand.New(rand.NewPCG(1, uint64(len(h.Tensors))))
	for i, file := range l.Files {
		f, err2 := os.Create(filepath.Join(dir, file.Path))
		if err2 != nil {
			return err2
		}
		err = errors.Join(err, f.Truncate(file.Bytes))
		for _, p := range file.Parts {
			_, err2 := io.Copy(io.NewOffsetWriter(f, p.Offset), io.NewSectionReader(p.Data, 0, p.Size))
			err = errors.Join(err, err2)
		}
		for k, at := range l.Places {
			if with == equal {
				r = rand.New(rand.NewPCG(1, 2))
			}
			if at.File == i && with != holes && err == nil {
				err = fill(io.NewOffsetWriter(f, at.Offset), h.Tensors[k], r)
			}
		}
		err = errors.Join(err, f.Sync(), f.Close())
	}
	return err
}

// fill writes random values of the size that a trained model's have: norms about 1, rows of matrices of length about 1. They are
// drawn from a table of 65,536, since drawing so many normal values one by one takes minutes.
func fill(w io.Writer, t formats.Tensor, r *rand.Rand) error {
	table := make([]uint16, 1<<16)
	for i := range table {
		v := 1 + 0.3*r.NormFloat64()
		if len(t.Shape) > 1 {
			v = r.NormFloat64() / math.Sqrt(float64(t.Shape[1]))
		}
		table[i] = uint16(math.Float32bits(float32(v)) >> 16)
	}
	buf := make([]byte, 1<<20)
	for left := t.Bytes; left > 0; left -= int64(len(buf)) {
		buf = buf[:min(left, 1<<20)]
		for i := 0; i+8 <= len(buf); i += 8 {
			u := r.Uint64()
			v := uint64(table[u&0xffff]) | uint64(table[u>>16&0xffff])<<16 | uint64(table[u>>32&0xffff])<<32 | uint64(table[u>>48])<<48
			binary.LittleEndian.PutUint64(buf[i:], v)
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

// tokenizer writes a byte-level BPE of n tokens: the bytes, then a merge for pairs and triples of them in a fixed order, letters first,
// and two special tokens.
func tokenizer(dir string, n int) error {
	// GPT-2's letters for bytes: printable ones of Latin-1 stand for themselves, the others for U+0100 and on.
	var letters []string
	for b, next := rune(0), rune(0x100); b < 256; b++ {
		if b >= '!' && b <= '~' || b >= 0xa1 && b != 0xad {
			letters = append(letters, string(b))
		} else {
			letters = append(letters, string(next))
			next++
		}
	}
	letters = append(letters['a':], letters[:'a']...)
	vocab, merges := map[string]int{}, [][]string{}
	tokens := append([]string{""}, letters...) // tokens[0] is what single letters grow from
	for i := 0; len(vocab) < n-2; i++ {
		left, right := tokens[i/256], letters[i%256]
		vocab[left+right] = i
		if left != "" {
			tokens = append(tokens, left+right)
			merges = append(merges, []string{left, right})
		}
	}
	level := map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	special := func(id int, text string) map[string]any {
		return map[string]any{"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}
	}
	return errors.Join(writeJSON(dir, "tokenizer.json", map[string]any{"version": "1.0", "truncation": nil, "padding": nil, "normalizer": nil,
		"added_tokens": []any{special(n-2, "<|bos|>"), special(n-1, "<|eos|>")}, "pre_tokenizer": level, "post_processor": nil, "decoder": level,
		"model": struct { // in the order that files have
			Type   string         `json:"type"`
			Vocab  map[string]int `json:"vocab"`
			Merges [][]string     `json:"merges"`
		}{"BPE", vocab, merges}}),
		writeJSON(dir, "tokenizer_config.json", map[string]any{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|bos|>", "eos_token": "<|eos|>"}))
}
