//go:build peers

package safetensors_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/safetensors"
)

// verdict is what the Python package says of a file.
type verdict struct {
	Error    string
	Refused  string
	Tensors  map[string][3]json.RawMessage // dtype, shape, sha256
	Metadata map[string]string
}

// judged has the Python package read files; see testdata/peers/safetensors_judge.py.
func judged(t *testing.T, files [][]byte) []verdict {
	t.Helper()
	root := os.Getenv("BOWLINE_PEERS")
	if root == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		root = filepath.Join(home, ".cache", "bowline-peers-ci")
	}
	var in, said bytes.Buffer
	for _, b := range files {
		if err := json.NewEncoder(&in).Encode(map[string]string{"file": base64.StdEncoding.EncodeToString(b)}); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(root, "venv/bin/python"), "../../testdata/peers/safetensors_judge.py")
	cmd.Stdin, cmd.Stderr = &in, &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: install the programs with .ci/peers.sh\n%s", err, said.String())
	}
	t.Log(strings.TrimSpace(said.String()))
	var all []verdict
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var v verdict
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	if len(all) != len(files) {
		t.Fatalf("got %d verdicts on %d files", len(all), len(files))
	}
	return all
}

// TestPeers compares our verdict and reading with those of the Python package, on the corpus, on damaged files, and on files of our own.
func TestPeers(t *testing.T) {
	var files [][]byte
	for _, x := range corpus.Safetensors().Cases() {
		if x.Size == 0 && len(x.Bytes) < 64<<10 {
			files = append(files, x.Bytes)
		}
	}
	files = slices.AppendSeq(files, mutants(11, 20_000))
	n := 0
	for s := range formatstest.Checkpoints(13, safetensors.Format.Limits) {
		if n++; n > 200 {
			break
		}
		files = append(files, written(t, s))
	}
	for _, c := range formatstest.Corners(safetensors.Format.Limits) {
		files = append(files, written(t, c.Sample))
	}
	both, neither, tight, loose := 0, 0, 0, 0
	for i, v := range judged(t, files) {
		if v.Error != "" {
			t.Errorf("%q: %s", clipped(files[i]), v.Error)
			continue
		}
		c, err := safetensors.Format.Open(formatstest.OneFile(files[i]), formats.Set{Dir: "", Files: []string{"x"}})
		switch {
		case err != nil && v.Refused != "":
			neither++
		case err != nil:
			if tight++; !stricterThan(err) {
				t.Errorf("%q: refused with %v, the reference reads it", clipped(files[i]), err)
			}
		case v.Refused != "":
			if loose++; !strings.Contains(v.Refused, "overflow") {
				t.Errorf("%q: read, the reference says %s", clipped(files[i]), v.Refused)
			}
			c.Close()
		default:
			both++
			same(t, c, v, files[i])
			c.Close()
		}
	}
	t.Logf("%d files: %d read by both, %d refused by both, %d refused by us alone, %d by the reference alone", len(files), both, neither, tight, loose)
}

func written(t *testing.T, s formatstest.Sample) []byte {
	t.Helper()
	s = s.In(safetensors.Format, 1, 0)
	l, err := safetensors.Format.Layout(s.Header)
	if err != nil {
		t.Fatal(err)
	}
	files, err := s.Files(l)
	if err != nil {
		t.Fatal(err)
	}
	return files[l.Files[0].Path]
}

func clipped(b []byte) string { return string(b[:min(len(b), 300)]) }

// stricterThan: what we refuse and the reference reads, as the list in reference_test.go has it.
func stricterThan(err error) bool {
	for _, e := range formats.Errors(err) {
		switch {
		case e.Code == formats.Dup || e.Code == formats.Limit || e.Code == formats.Overflow:
		case e.Code == formats.JSON && e.Field == "__metadata__" && strings.Contains(e.Message, "null"):
		case e.Code == formats.JSON && strings.Contains(e.Message, "got an array, want an object"):
		case e.Code == formats.JSON && e.Field == "dtype" && strings.Contains(e.Message, "got an object"):
		case e.Code == formats.JSON && strings.Contains(e.Message, "got field"): // differs by case alone
		default:
			return false
		}
	}
	return true
}

func same(t *testing.T, c *formats.Checkpoint, v verdict, b []byte) {
	t.Helper()
	if len(c.Tensors) != len(v.Tensors) || len(c.Metadata) != len(v.Metadata) {
		t.Errorf("%q: got %d tensors, %d entries, want %d, %d", clipped(b), len(c.Tensors), len(c.Metadata), len(v.Tensors), len(v.Metadata))
	}
	for _, kv := range c.Metadata {
		if v.Metadata[kv.Key] != kv.Value {
			t.Errorf("%q: metadata %q: got %q, want %q", clipped(b), kv.Key, kv.Value, v.Metadata[kv.Key])
		}
	}
	for _, x := range c.Tensors {
		shape := x.Shape
		if shape == nil {
			shape = []int64{}
		}
		got, err := json.Marshal([]any{x.DType, shape, digest(formatstest.Bytes(t, c, x.Name))})
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(v.Tensors[x.Name])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%q: tensor %q: got %s, want %s", clipped(b), x.Name, got, want)
		}
	}
}
